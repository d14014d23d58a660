"""Guards for handlers, views and apps: ``require_role``, ``require_capability``, ``require_token``, ``protect``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from functools import partial, wraps
from typing import Any, TypeVar

from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy

from rolecall import Grant
from rolecall.errors import ConfigurationError, RolecallError
from rolecall.http import adapter

from .routes import (
    GUARDS,
    KEPT,
    PROTOCOL,
    authorization_of,
    guards_around,
    keep_out_of_caches,
    kept_of,
    kit_of,
    neutral_request,
)

Target = TypeVar("Target", bound=Callable[..., Any])
Run = Callable[[], Awaitable[web.StreamResponse]]


class Refused(web.HTTPException):
    """Refuses a request with the kit's answer: raised, so that no helper or decorator takes it for the handler's."""

    empty_body = True  # aiohttp would write one

    def __init__(self, answer: adapter.Response, error: RolecallError | None = None) -> None:
        super().__init__(headers=CIMultiDict(answer.headers))
        self.set_status(answer.status)
        self.body = answer.body
        self.error = error  # None for the answer to OPTIONS


class Guard(adapter.Guard):
    """Admits a request if its token meets the requirement: a decorator for handlers, views and methods of views."""

    def __call__(self, target: Target) -> Target:
        if isinstance(target, type) and issubclass(target, web.View):
            adapter.guard_awaited(target, lambda view, run: self.serve(view.request, run))
            adapter.mark_guarded(target, self)
            return target
        if not inspect.iscoroutinefunction(target):
            raise ConfigurationError(f"a guard protects a handler that is async def, or a View, not {target!r}")

        @wraps(target)
        async def guarded(*args: Any) -> web.StreamResponse:
            # The first argument of a method is its view, or any other object.
            is_method = type(args[0]) is not web.Request and isinstance(args[0], web.View)
            request = args[0].request if is_method else args[-1]
            return await self.serve(request, partial(target, *args))

        adapter.mark_guarded(guarded, self, target)
        return guarded  # type: ignore[return-value]

    async def serve(self, request: web.Request, run: Run) -> web.StreamResponse:
        """Answer an admitted request by ``run``.

        :raises Refused: if it is refused, and for OPTIONS.
        """
        match = request.match_info
        if request.method == "OPTIONS":  # a browser asks before it sends a token; no handler runs
            raise Refused(adapter.options_response({route.method for route in match.route.resource or ()}))
        api, session_id = kit_of(match.apps, self.kit).aio.api, match.get(self.session_param or "")
        if session_id is None:
            session_id = self.bound_session(match, request.path, partial(self._others, request))
        upgrade = request.headers.get(hdrs.UPGRADE)
        is_socket = upgrade is not None and upgrade.lower().strip() == "websocket"  # as aiohttp finds it
        try:
            if is_socket:
                response: web.StreamResponse = await self._serve_socket(api, session_id, request, run)
            else:
                kept, sent = kept_of(request), authorization_of(request)
                admitted = adapter.admit(api, sent, self, session_id, neutral_request, (request,), kept)
                entered = admitted if isinstance(admitted, Grant) else await admitted
                if isinstance(entered, RolecallError):
                    raise Refused(adapter.guard_answer(entered, api.web, request.rel_url.raw_query_string), entered)
                if entered is not None:
                    kept["web"] = api.web
                response = await run()
        except web.HTTPException as error:
            keep_out_of_caches(request, error)
            raise
        keep_out_of_caches(request, response)
        return response

    async def _serve_socket(self, api: adapter.Api, session_id: str | None, request: web.Request, run: Run) -> Any:
        kept = kept_of(request)
        if "tokens" not in kept:
            others, kept["tokens"] = adapter.split_offers(request.headers.getall(PROTOCOL, ()))
            kept["opened"], kept["web"] = [], api.web
            # So that neither the handler nor aiohttp's log sees the token.
            headers = CIMultiDict(request.headers)
            headers.popall(PROTOCOL, None)
            headers.extend({PROTOCOL: ", ".join(others)} if any(others) else {})
            request._cache["headers"] = CIMultiDictProxy(headers)

        async def close(error: RolecallError) -> None:
            code, reason = adapter.close_code(error.status), adapter.close_reason(error).encode()
            for response in kept["opened"]:
                await response.close(code=code, message=reason)

        handshake = adapter.Handshake(api, neutral_request(request), kept["tokens"])
        # aiohttp raises these in a handler that continues after its WebSocket is closed.
        answer = await handshake.serve(self, session_id, run, close, kept, (ConnectionResetError, RuntimeError))
        if isinstance(answer, RolecallError) and not kept["opened"]:
            raise Refused(adapter.guard_answer(answer, api.web, request.rel_url.raw_query_string), answer)
        return kept["opened"][0] if isinstance(answer, RolecallError) else answer

    def _others(self, request: web.Request) -> tuple[Sequence[adapter.Guard], Sequence[adapter.Guard]]:
        match = request.match_info
        guards = [*guards_around(match.apps), *adapter.view_guards(match.handler, request.method)]
        return self.split(guards) or (guards, ())


require_role, require_capability, require_token = Guard.of_role, Guard.of_capability, Guard.of_token


def protect(app: web.Application, guard: Guard | None = None) -> web.Application:
    """Guard every route of an app, and of the apps within it, except those that are marked with ``@public``.

    An unknown path needs a token, too, and so do static files; the kit's own routes need no guard.

    :param guard: for example ``require_role("moderator")``; every good token is admitted unless given.
    """
    if not isinstance(app, web.Application):
        raise ConfigurationError(f"protect guards an app, not a {type(app).__name__}")
    bound = Guard(adapter.ANY_TOKEN) if guard is None else guard
    Guard.check(bound)
    unbound = Guard(bound.requirement, bound.kit, session_param=None, optional=bound.optional)

    @web.middleware
    async def enter(request: web.Request, handler: Any) -> web.StreamResponse:
        match = request.match_info
        if adapter.is_spared(match.handler, request.method, whole=True):
            return await handler(request)  # type: ignore[no-any-return]
        # A path without a handler, and a file, belong to no session.
        guard = unbound if isinstance(match.route.resource, web.StaticResource | None) else bound
        return await guard.serve(request, partial(handler, request))

    app.middlewares.insert(0, enter)  # before the app's other middleware
    app[GUARDS] = (bound, *app.get(GUARDS, ()))
    return app


def find_grant(request: web.Request) -> Grant | None:
    """The grant of a request; None if a guard with ``optional=True`` admitted it without a token."""
    return adapter.granted(request.get(KEPT, {}))


def current_grant(request: web.Request) -> Grant:
    """The grant of a request that passed a guard; a ``RuntimeError`` if there is none."""
    return adapter.current_grant(request.get(KEPT, {}))


async def renew_grant(request: web.Request, token: str) -> Grant:
    """Replace the grant of an open WebSocket by another token's, to keep it open beyond its expiry.

    :raises RolecallError: if the token is refused, or for another session, or the WebSocket is closed already.
    """
    current_grant(request)
    grant: Grant = await request[KEPT][adapter.SOCKET].renew(token)
    return grant


def while_granted(request: web.Request, chunks: AsyncIterable[Any]) -> AsyncIterator[Any]:
    """Yield ``chunks`` while the grant of a guarded request is live, for a handler to write."""
    watches = adapter.watches_of(request.get(KEPT, {}), neutral_request(request))
    return adapter.while_granted(watches, chunks, asyncio.to_thread)
