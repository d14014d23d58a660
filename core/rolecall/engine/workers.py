"""Warns if several workers use a store that only one process sees: then half of all requests fail."""

from __future__ import annotations

import logging
import os
from typing import Final
from weakref import WeakSet

from ..session_ids import SessionNames

#: The environment variable with the number of workers that a server is to start.
WEB_CONCURRENCY: Final = "WEB_CONCURRENCY"
_CONSEQUENCE: Final = (
    "the kit's store keeps sessions in the memory of one process: what one worker creates or ends, the others do not "
    'know. Let them share a store: Rolecall(store="sqlite:////var/lib/app/rolecall.db"), or ROLECALL_STORE'
)


class LoneStore:
    """Watches for signs of other processes, for a store that only this process sees; warns once for each kind.

    :param session_ids: makes and reads the kit's session ids.
    :param since: the time at which the store was empty, in Unix seconds by the kit's clock.
    """

    def __init__(self, session_ids: SessionNames, since: float) -> None:
        self._session_ids = session_ids
        self._since = since
        self._told: set[str] = set()
        workers = os.environ.get(WEB_CONCURRENCY, "").strip()
        if workers.isdecimal() and int(workers) > 1:
            self._tell(f"the environment variable {WEB_CONCURRENCY} asks for {workers} workers")
        _ALL.add(self)

    def lacks(self, session_id: str) -> None:
        """Record that the store lacks a session. If this kit's secret made its id, the session is in another store.

        An id from before this process started is no sign of that, because a store in memory forgets at exit; nor is an
        id without a tag, which another service made for the same API key.
        """
        made_at = self._session_ids.made_at(session_id)
        if made_at is not None and made_at > self._since:
            self._tell("another process, or another kit, created a session that was asked for here")

    def forked(self) -> None:
        """Record that this process was forked after the kit was made."""
        self._tell("this process was forked from the one that its kit was made in")

    def _tell(self, sign: str) -> None:
        if sign not in self._told:
            self._told.add(sign)
            logging.getLogger("rolecall").warning("%s, and %s", sign, _CONSEQUENCE)


# Kept so that a forked child can reach them.
_ALL: WeakSet[LoneStore] = WeakSet()


def _forked() -> None:
    for store in _ALL:
        store.forked()


if hasattr(os, "register_at_fork"):
    # After logging, which was imported above, so that a child renews the log's locks before it writes there.
    os.register_at_fork(after_in_child=_forked)
