"""Tells that several workers use a store which only its own process sees: half of all requests go wrong then."""

from __future__ import annotations

import logging
import os
from typing import Final
from weakref import WeakSet

from ..session_ids import SessionNames

#: The variable in which servers are told how many workers they are to have.
WEB_CONCURRENCY: Final = "WEB_CONCURRENCY"
_CONSEQUENCE: Final = (
    "the kit's store keeps sessions in the memory of one process: what one worker creates or ends, the others do not "
    'know. Let them share a store: Rolecall(store="sqlite:////var/lib/app/rolecall.db"), or ROLECALL_STORE'
)


class LoneStore:
    """Watches, for a kit whose store only its own process sees, for signs of other processes; tells once of each kind.

    :param session_ids: makes and reads the kit's session ids.
    :param since: when the store was empty, in Unix seconds by the kit's clock.
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
        """Take note that the store does not know a session: if this kit's secret made the id, another store does.

        An id from before this process was ready is no sign of that, because a store in memory forgets at exit; nor is
        one without a tag, which another service made for the same API key.
        """
        made_at = self._session_ids.made_at(session_id)
        if made_at is not None and made_at > self._since:
            self._tell("another process, or another kit, created a session that was asked for here")

    def forked(self) -> None:
        """Take note that this process is a child of the one that the kit was made in."""
        self._tell("this process was forked from the one that its kit was made in")

    def _tell(self, sign: str) -> None:
        if sign not in self._told:
            self._told.add(sign)
            logging.getLogger("rolecall").warning("%s, and %s", sign, _CONSEQUENCE)


# Only so that a forked child finds them.
_ALL: WeakSet[LoneStore] = WeakSet()


def _forked() -> None:
    for store in _ALL:
        store.forked()


if hasattr(os, "register_at_fork"):
    # After logging, which was imported above, so that a child has made the log's locks its own before it writes there.
    os.register_at_fork(after_in_child=_forked)
