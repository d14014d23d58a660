"""Checks that grants and sessions are still live: the one place for everything that can revoke them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ..errors import NotInStep, RevokedToken, SessionEnded, StoreUnavailable
from ..tokens import Grant
from ..wording import shown
from . import Store


class Liveness:
    """Checks that a grant, or a session, is still live.

    The plain functions answer in the process and at once, also on an event loop. The ``async`` ones do so, too, as long
    as this process is in step with the store; while it is not, they ask the store itself. A grant is revoked by the end
    of its session; further reasons (the token's id, the time of its issue) belong here alone.

    :param store: knows the ended sessions.
    :param look_up: asks the store itself whether a session has ended; None if it cannot be asked.
    """

    __slots__ = ("_look_up", "_store")

    def __init__(self, store: Store, look_up: Callable[[str], Awaitable[bool]] | None = None) -> None:
        self._store: Final = store
        self._look_up: Final = look_up

    def check(self, grant: Grant) -> None:
        """Refuse a revoked grant, at once.

        :raises RevokedToken: says why it was revoked.
        :raises NotInStep: if this process cannot tell; see :meth:`confirm`.
        :raises StoreUnavailable: if the store cannot tell.
        """
        if (ended := self._store.has_ended(grant.session_id)) is not False:
            _check_answer(ended)
            raise _revoked()

    def check_session(self, session_id: str) -> None:
        """Refuse a session that has ended, at once.

        :raises SessionEnded: if it has.
        :raises NotInStep: if this process cannot tell; see :meth:`confirm_session`.
        :raises StoreUnavailable: if the store cannot tell.
        """
        if (ended := self._store.has_ended(session_id)) is not False:
            _check_answer(ended)
            raise _ended()

    async def confirm(self, grant: Grant) -> None:
        """:meth:`check`, which may wait for the store.

        :raises StoreUnavailable: if the store cannot tell.
        """
        try:
            self.check(grant)
            return
        except NotInStep:
            if self._look_up is None:
                raise
        if await self._look_up(grant.session_id):
            raise _revoked()

    async def confirm_session(self, session_id: str) -> None:
        """:meth:`check_session`, which may wait for the store.

        :raises StoreUnavailable: if the store cannot tell.
        """
        try:
            self.check_session(session_id)
            return
        except NotInStep:
            if self._look_up is None:
                raise
        if await self._look_up(session_id):
            raise _ended()


class ImmediateLiveness(Liveness):
    """Asks the store itself at every check, so that nothing is live after the acknowledgement of its end."""

    __slots__ = ()

    def check(self, grant: Grant) -> None:
        raise NotInStep("the store itself has to be asked")

    def check_session(self, session_id: str) -> None:
        raise NotInStep("the store itself has to be asked")


def _check_answer(ended: object) -> None:
    """Refuse an answer that is neither True nor False: its truth value could admit somebody."""
    if ended is not True:
        raise StoreUnavailable(f"the store's has_ended returned {shown(ended)}; expected True or False")


def _revoked() -> RevokedToken:
    return RevokedToken("the token's session has ended")


def _ended() -> SessionEnded:
    return SessionEnded("the session has ended: it issues no tokens")
