"""Whether what was granted still stands: one place for all that can take it back."""

from __future__ import annotations

from typing import Final

from ..errors import RevokedToken, SessionEnded, StoreUnavailable
from ..tokens import Grant
from ..wording import shown
from . import Store


class Liveness:
    """Says whether a grant, or a session, still stands. It answers in the process and at once.

    Every door asks it for every token, also on an event loop. What takes a grant back is the end of its session;
    whatever else may come to do so (the token's id, the moment of its issue) is to be looked at here alone.

    :param store: keeps what has ended.
    """

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store: Final = store

    def check(self, grant: Grant) -> None:
        """Refuse a grant that was taken back.

        :raises RevokedToken: says by what.
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
    """Refuse what is no answer: read as a truth value it could let somebody in."""
    if ended is not True:
        raise StoreUnavailable(f"the store's has_ended returned {shown(ended)}; expected True or False")
