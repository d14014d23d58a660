"""Checks open connections again and again until their grant ends: WebSockets, and streamed answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import monotonic
from typing import Any, Final

from ...engine import Call
from ...engine.watching import GrantWatch
from ...errors import RolecallError
from ...request import Request
from ...tokens import Grant
from ..guards.entries import ENTRIES, Entry
from ..problems import noted

#: The key of the :class:`~rolecall.http.gateways.websockets.GuardedSocket` of an open WebSocket in the same mapping.
SOCKET: Final = "rolecall.socket"


def granted(kept: Mapping[str, Any]) -> Grant | None:
    """The current grant of a request; None if it passed no guard, or has no token.

    :param kept: the mapping with its :data:`~rolecall.http.guards.entries.ENTRIES`, and with the adapter's
        :class:`~rolecall.http.gateways.websockets.GuardedSocket` as ``kept[SOCKET]``.
    """
    # Some middleware copies a scope, so the grant after a check of a WebSocket is read from the socket.
    socket = kept.get(SOCKET)
    entries = kept.get(ENTRIES)
    grant: Grant | None = None
    if socket is not None:
        grant = socket.grant
    elif entries:
        grant = Entry(*entries[-1]).grant
    return grant


def current_grant(kept: Mapping[str, Any]) -> Grant:
    """The current grant of a request; see :func:`granted`.

    :raises RuntimeError: if it has none.
    """
    grant = granted(kept)
    if grant is None:
        raise RuntimeError(
            "there is no grant here: what is called needs require_role, require_capability, require_token or protect "
            "around it; where the token is optional, ask find_grant"
        )
    return grant


class Watch(GrantWatch):
    """Watches the grant of an open connection, which the policies may end, too; each check asks them.

    A check never widens the grant beyond the one at the entrance, or the renewed one.
    """

    def __init__(self, entry: Entry, request: Request) -> None:
        api, self._requirement, self._session_id, self._entered, path_params = entry
        super().__init__(api.engine, self._entered, api.web.recheck)
        self._looked = monotonic()  # at the entrance
        self._request = request if path_params is None else request._replace(path_params=path_params)

    async def look(self) -> None:
        self._begin_look()
        entered = self._entered
        self._engine.check_expiry(self.grant, self._time_by_now())
        try:
            left = await self._engine.look_again(entered, self._requirement, self._session_id, Call(self._request))
        except RolecallError:
            if entered is self._entered:
                raise
        else:
            if entered is self._entered:  # unless it was renewed while the policies voted
                self.grant = left
        self._looked = monotonic()

    async def ask_to_renew(self, token: str) -> Grant:
        """Verify a token that is to replace this one, and return its grant; see :meth:`renew`.

        :raises RolecallError: if it cannot replace it; the plugins have been told.
        """
        try:
            return await self._engine.renew(
                token, self._entered, self._requirement, self._session_id, Call(self._request)
            )
        except Exception as caught:
            error = noted(caught)
            await self.tell(error)
            raise error from None

    def renew(self, grant: Grant) -> None:
        """Replace the grant at the entrance by another one."""
        self._entered = grant
        self.replace(grant)

    async def tell(self, error: RolecallError) -> None:
        """Tell the plugins of a refusal."""
        call = Call(self._request)
        call.bearer = self._entered.actor_id
        await self._engine.tell_of_refusal(error, self._entered.session_id, call)


def watches_of(kept: Mapping[str, Any], request: Request) -> list[Watch]:
    """A watch for each guard that a request passed, from the outermost.

    :param kept: its ASGI scope, or WSGI environment.
    :param request: the request for the policies.
    :raises RuntimeError: if it passed no guard.
    """
    watches = [Watch(Entry(*entry), request) for entry in kept.get(ENTRIES, ())]
    if not watches:
        raise RuntimeError(
            "there is no grant here: while_granted needs a route behind require_role, require_capability, "
            "require_token or protect"
        )
    return watches


async def stand(watches: Iterable[Watch], look: Callable[[Watch], Awaitable[None]]) -> bool:
    """Whether all grants are live; those that are due are checked. The plugins are told of one that has ended."""
    for watch in watches:
        if watch.due > 0:
            continue
        try:
            await look(watch)
        except Exception as caught:
            await watch.tell(noted(caught))
            return False
    return True
