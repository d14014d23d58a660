"""What stays open is looked at again and again, until its grant ends: WebSockets, and answers that stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from time import monotonic
from typing import Any, Final, NamedTuple

from ...driver import event_loops
from ...engine import Call
from ...errors import RolecallError
from ...request import Request
from ...roles import Requirement
from ...tokens import Grant
from ..api import Api
from ..problems import noted

#: Where the entries of a request are, one for each guard that it came through: in its ASGI scope or WSGI environment.
ENTRIES: Final = "rolecall.entries"
#: Where the :class:`~rolecall.http.gateways.websockets.GuardedSocket` of an open WebSocket is, in the same place.
SOCKET: Final = "rolecall.socket"


class Entry(NamedTuple):
    """How a request came through a guard.

    :param api: of the kit that let it in.
    :param requirement: what the guard requires.
    :param session_id: the session that the route is about; None where it is about none.
    :param grant: the grant that it entered with.
    :param path_params: the variable parts of the path, where only the guard knows them.
    """

    api: Api
    requirement: Requirement
    session_id: str | None
    grant: Grant
    path_params: Mapping[str, str] | None = None


def keep_entry(
    kept: MutableMapping[str, Any],
    api: Api,
    requirement: Requirement,
    session_id: str | None,
    grant: Grant,
    path_params: Mapping[str, str] | None = None,
) -> None:
    """Put an :class:`Entry` where :func:`watches_of` finds it: in an ASGI scope or a WSGI environment."""
    # A plain tuple: most requests stream nothing, and never need the entry. Nor does it hold the request, which would
    # be a cycle for the garbage collector.
    kept[ENTRIES] = (*kept.get(ENTRIES, ()), (api, requirement, session_id, grant, path_params))


def granted(kept: Mapping[str, Any]) -> Grant | None:
    """The grant of a request, as it is now; None if it came through no guard, or without a token.

    :param kept: where :func:`keep_entry` has put how the request came in, and the adapter its
        :class:`~rolecall.http.gateways.websockets.GuardedSocket`, as ``kept[SOCKET]``.
    """
    socket = kept.get(SOCKET)
    entries = kept.get(ENTRIES)
    grant: Grant | None = None
    if socket is not None:
        grant = socket.grant
    elif entries:
        grant = Entry(*entries[-1]).grant
    return grant


def current_grant(kept: Mapping[str, Any]) -> Grant:
    """The grant of a request, as it is now; see :func:`granted`.

    :raises RuntimeError: if it has none.
    """
    grant = granted(kept)
    if grant is None:
        raise RuntimeError(
            "there is no grant here: what is called needs require_role, require_capability, require_token or protect "
            "around it; where the token is optional, ask find_grant"
        )
    return grant


class Watch:
    """Looks again at the grant of something that stays open: every ``Web.recheck`` seconds, and when it expires.

    A look never widens the grant beyond the one that was entered with, or was renewed.
    """

    def __init__(self, entry: Entry, request: Request) -> None:
        self._api, self._requirement, self._session_id, self._entered, path_params = entry
        self._request = request if path_params is None else request._replace(path_params=path_params)
        #: What the last look has left.
        self.grant = self._entered
        # By both clocks: one that is set back while it is open makes no grant longer.
        self._opened = self._api.engine.state.clock(), monotonic()
        self._looked = self._opened[1]

    @property
    def due(self) -> float:
        """The seconds until the next look."""
        return max(0.0, min(self._looked + self._api.web.recheck - monotonic(), self._lasts))

    @property
    def _lasts(self) -> float:
        """The seconds until the grant expires."""
        return self.grant.expires_at - max(self._api.engine.state.clock(), self._time_by_now())

    def _time_by_now(self) -> float:
        opened, started = self._opened
        return opened + monotonic() - started

    async def look(self) -> None:
        """Look now.

        :raises RolecallError: if the grant has ended.
        """
        entered = self._entered
        self._api.engine.check_again(self.grant, self._time_by_now())
        try:
            left = await self._api.engine.look_again(entered, self._requirement, self._session_id, Call(self._request))
        except RolecallError:
            if entered is self._entered:
                raise
        else:
            if entered is self._entered:  # and was not renewed while the policies were asked
                self.grant = left
        self._looked = monotonic()

    async def look_in_time(self) -> None:
        """:meth:`look`, which gives up waiting for the policies when the grant expires."""
        grant = self.grant
        try:
            async with event_loops.running().timeout(max(0.0, self._lasts)):
                await self.look()
        except TimeoutError:
            if grant is self.grant:  # and was not renewed meanwhile
                self._api.engine.check_again(grant, grant.expires_at)

    async def ask_to_renew(self, token: str) -> Grant:
        """The grant of a token, which can take the place of this one; see :meth:`renew`.

        :raises RolecallError: if it cannot; the plugins have been told.
        """
        try:
            return await self._api.engine.renew(
                token, self._entered, self._requirement, self._session_id, Call(self._request)
            )
        except Exception as caught:
            error = noted(caught)
            await self.tell(error)
            raise error from None

    def renew(self, grant: Grant) -> None:
        """Put a grant in the place of the one that was entered with."""
        self._entered = self.grant = grant
        self._looked = monotonic()

    async def tell(self, error: RolecallError) -> None:
        """Tell the plugins of a refusal."""
        await self._api.engine.tell_of_refusal(error, self._entered.session_id, Call(self._request))


def watches_of(kept: Mapping[str, Any], request: Request) -> list[Watch]:
    """A watch for each guard that a request came through, from the outermost.

    :param kept: its ASGI scope, or WSGI environment.
    :param request: the request as the policies are shown it.
    :raises RuntimeError: if it came through none.
    """
    watches = [Watch(Entry(*entry), request) for entry in kept.get(ENTRIES, ())]
    if not watches:
        raise RuntimeError(
            "there is no grant here: while_granted needs a route behind require_role, require_capability, "
            "require_token or protect"
        )
    return watches


async def stand(watches: Iterable[Watch], look: Callable[[Watch], Awaitable[None]]) -> bool:
    """Whether all grants stand; those that are due are looked at. The plugins are told of one that does not."""
    for watch in watches:
        if watch.due > 0:
            continue
        try:
            await look(watch)
        except Exception as caught:
            await watch.tell(noted(caught))
            return False
    return True
