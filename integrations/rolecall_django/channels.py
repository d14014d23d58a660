"""Guards for Django Channels: for consumers, for what surrounds them, and for routers; and the grant of a connection.

``require_role("publisher")`` and the other guards of this package go on a consumer's class, on ``Chat.as_asgi()``, on
middleware around it, and on a ``URLRouter``. Nothing else of this package imports Channels before an app does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import suppress
from copy import copy
from functools import partial, wraps
from typing import Any, Final, TypeVar

from channels.consumer import AsyncConsumer
from channels.db import aclose_old_connections
from channels.routing import URLRouter

from rolecall import Grant
from rolecall.errors import ConfigurationError
from rolecall.http import adapter
from rolecall.http.adapter import SOCKET, GuardedSocket, Response, guards_of, is_spared, mark_guarded, shown
from rolecall.http.gateways.asgi import (
    Application,
    GrantEnded,
    Message,
    Receive,
    Scope,
    Send,
    authorization_of,
    granted,
    guard_refusal,
    keep_web,
    neutral_request,
    send_response,
    serve_websocket,
    settle,
    uncached,
)

from .guards import Guard
from .kits import apis_of, get_kit

__all__ = ["current_grant", "find_grant", "renew_grant", "while_granted"]

Chunk = TypeVar("Chunk")

# The key in a scope of the guards around, from the outermost.
_AROUND: Final = "rolecall.around"


def find_grant(consumer: AsyncConsumer) -> Grant | None:
    """The grant of a consumer's connection; None if a guard with ``optional=True`` admitted it without a token."""
    return granted(consumer.scope)


def current_grant(consumer: AsyncConsumer) -> Grant:
    """The grant of a consumer's connection, which a guard has admitted; a ``RuntimeError`` if there is none.

    It changes while a WebSocket is open: when it is renewed, and when a policy leaves less of it.
    """
    grant = find_grant(consumer)
    return adapter.current_grant({}) if grant is None else grant


async def renew_grant(consumer: AsyncConsumer, token: str) -> Grant:
    """Replace the grant of an open WebSocket by another token's, to keep it open beyond its expiry.

    A consumer that is not async calls ``async_to_sync(renew_grant)(self, token)``.

    :param token: the token, which the client has sent in a message of the app's own.
    :raises RolecallError: if the token is refused, or for another session, or the WebSocket is closed already.
    :raises RuntimeError: if there is no grant.
    """
    current_grant(consumer)
    socket: GuardedSocket = consumer.scope[SOCKET]
    return await socket.renew(token)


def while_granted(consumer: AsyncConsumer, chunks: AsyncIterable[Chunk]) -> AsyncIterator[Chunk]:
    """Yield ``chunks`` while the grant of a guarded request is live, for a consumer of requests to send.

    No chunk follows after the grant has ended, and ``chunks`` is closed. At intervals of ``Web(recheck=…)`` seconds the
    policies vote again.

    :param chunks: the data to send.
    :raises RuntimeError: if there is no grant.
    """
    scope = consumer.scope
    request = neutral_request(scope, "channels", path_params=_params(scope))
    return adapter.while_granted(adapter.watches_of(scope, request), chunks, asyncio.to_thread)


def guarded(guard: Guard, target: Any) -> Any:
    """A consumer's class, an application of Channels, or a router, behind a guard."""
    if isinstance(target, type):
        return _guarded_class(guard, target)
    if isinstance(target, URLRouter):
        return _guarded_router(guard, target)
    if hasattr(target, "application_mapping"):
        raise ConfigurationError(
            f"a guard does not go around a {type(target).__name__}, which also leads to what is no WebSocket; put it "
            "on the URLRouter within, or on the consumers"
        )
    return _guarded_app(guard, target)


def protected(guard: Guard, target: Any) -> Any:
    """What :func:`guarded` takes behind a guard, except for consumers that are marked with ``@public``."""
    if isinstance(target, URLRouter):
        return _guarded_router(guard, target, _is_public)
    return target if _is_public(target) else guarded(guard, target)


def _guarded_class(guard: Guard, consumer: type[Any]) -> type[Any]:
    adapter.guard_made(consumer, "as_asgi", partial(_guarded_app, guard))
    mark_guarded(consumer, guard)
    return consumer


def _guarded_router(guard: Guard, router: URLRouter, is_open: Callable[[Any], bool] = lambda _: False) -> URLRouter:
    """A copy of a router with the guard around each application, because only the router knows what is in a path."""
    copied = copy(router)
    copied.routes = [_guarded_route(guard, route, is_open) for route in router.routes]
    return copied


def _guarded_route(guard: Guard, route: Any, is_open: Callable[[Any], bool]) -> Any:
    copied, inner = copy(route), route.callback
    if isinstance(inner, URLRouter):
        copied.callback = _guarded_router(guard, inner, is_open)
    elif not is_open(inner):
        copied.callback = _guarded_app(guard, inner)
    return copied


def _is_public(app: Any) -> bool:
    return any(is_spared(one, "GET", whole=False) for one in (app, getattr(app, "consumer_class", None)))


def _guarded_app(guard: Guard, app: Any) -> Application:
    @wraps(app)
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "websocket":
            await _Connection(guard, app, scope).serve_websocket(receive, send)
        elif kind == "http":
            await _Connection(guard, app, scope).serve_http(receive, send)
        else:
            raise ConfigurationError(f"a guard has no token to look for in what is of the type {shown(kind)}")

    mark_guarded(guarded, guard, app)
    return guarded


class _Connection:
    """One connection at one guard."""

    def __init__(self, guard: Guard, app: Application, scope: Scope) -> None:
        self._guard = guard
        self._app = app
        self._scope = scope
        self._api = apis_of(guard.kit or get_kit()).loop
        self._params = _params(scope)
        self._session_id = self._bound_session()
        scope[_AROUND] = (*scope.get(_AROUND, ()), guard)

    async def serve_websocket(self, receive: Receive, send: Send) -> None:
        """Run the app on a WebSocket if its client may enter, until the grant ends."""
        await self._prepare()
        closed = asyncio.get_running_loop().create_future()

        async def send_and_note(message: Message) -> None:
            if message["type"] == "websocket.close" and not closed.done():
                closed.set_result(None)
            await send(message)

        await serve_websocket(
            partial(self._run, closed),
            self._api,
            self._guard,
            self._session_id,
            neutral_request(self._scope, "channels", path_params=self._params),
            self._scope,
            receive,
            send_and_note,
        )

    async def serve_http(self, receive: Receive, send: Send) -> None:
        """Run the app for an admitted request; answer a refused one."""
        scope = self._scope
        if scope["method"] == "OPTIONS":  # a browser asks so before it sends the token
            await send_response(Response(204), scope, send)
            return
        await self._prepare()
        keep_web(self._api.web, scope)
        request, sent = partial(neutral_request, path_params=self._params), authorization_of(scope)
        admitted = adapter.admit(self._api, sent, self._guard, self._session_id, request, (scope, "channels"), scope)
        entering = settle(admitted, scope)
        error = None if entering is None else await entering
        if error is None:
            await self._app(scope, receive, uncached(send, scope))
        else:
            await send_response(guard_refusal(error, scope), scope, send)

    async def _prepare(self) -> None:
        if not self._api.decides_at_once:
            await aclose_old_connections()  # a policy may ask the database, as Channels sees to it for a consumer

    async def _run(self, closed: asyncio.Future[None], scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app so that its consumer hears of the end, and leaves its groups, before it would be cancelled.

        :param closed: done when the WebSocket is closed from this side.
        """

        async def receive_until_closed() -> Message:
            if not closed.done():
                waiting = asyncio.ensure_future(receive())
                try:
                    await asyncio.wait((waiting, closed), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    message = waiting.result() if waiting.done() else None
                    waiting.cancel()
                if message is not None:
                    return message
            return await receive()  # once the grant has ended, this is the disconnection

        async def send_until_closed(message: Message) -> None:
            with suppress(GrantEnded):
                await send(message)

        await self._app(scope, receive_until_closed, send_until_closed)

    def _bound_session(self) -> str | None:
        guard, scope = self._guard, self._scope
        is_routed = "url_route" in scope and not scope.get("path_remaining")
        if not is_routed and not guard.is_settled(self._params):
            raise ConfigurationError(
                f"the guard around {shown(scope['path'], 80)} does not see the whole route, so it would bind no "
                "session; put it on the consumer, or on the URLRouter, pass session=… (a function that finds the "
                "session in the scope), or session_param=None if a token for any session is enough"
            )
        return guard.bound_session(self._params, scope["path"], lambda: (scope.get(_AROUND, ()), guards_of(self._app)))


def _params(scope: Scope) -> Mapping[str, Any]:
    """The parameters of a connection that Channels has routed, also those without a name, which no guard can bind."""
    routed = scope.get("url_route") or {}
    unnamed = {f"unnamed_{number}": value for number, value in enumerate(routed.get("args", ()), 1)}
    return {**unnamed, **routed.get("kwargs", {})}
