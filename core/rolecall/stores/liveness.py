"""Checks that grants and sessions are still live: the one place for everything that can revoke them."""

from __future__ import annotations

from typing import Final

from ..errors import RevokedToken, SessionEnded, StoreUnavailable
from ..tokens import Grant
from ..wording import shown
from . import Store


class Liveness:
    """Checks that a grant, or a session, is still live. It answers in the process and at once.

    It is called for every token, also on an event loop. A grant is revoked by the end of its session; further reasons
    (the token's id, the time of its issue) belong here alone.

    :param store: knows the ended sessions.
    """

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store: Final = store

    def check(self, grant: Grant) -> None:
        """Refuse a revoked grant.

        :raises RevokedToken: says why it was revoked.
        :raises StoreUnavailable: if the store cannot tell.
        """
        if (ended := self._store.has_ended(grant.session_id)) is not False:
            _check_answer(ended)
            raise RevokedToken("the token's session has ended")

    def check_session(self, session_id: str) -> None:
        """Refuse a session that has ended.

        :raises SessionEnded: if it has.
        :raises StoreUnavailable: if the store cannot tell.
        """
        if (ended := self._store.has_ended(session_id)) is not False:
            _check_answer(ended)
            raise SessionEnded("the session has ended: it issues no tokens")


def _check_answer(ended: object) -> None:
    """Refuse an answer that is neither True nor False: its truth value could admit somebody."""
    if ended is not True:
        raise StoreUnavailable(f"the store's has_ended returned {shown(ended)}; expected True or False")
