"""Guards for endpoints, WebSockets and whole apps: ``require_role``, ``require_capability``, ``require_token``."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial, wraps
from typing import Any, TypeVar, cast, overload

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from rolecall import Grant, Rolecall
from rolecall.engine import Engine
from rolecall.errors import ConfigurationError, shown
from rolecall.http import messages
from rolecall.http.asgi import (
    GRANT,
    authorization_of,
    keep_grant,
    kept_out_of_caches,
    neutral_request,
    options_response,
    send_response,
    uncached,
)
from rolecall.http.guarding import SESSION_PARAM, bound_session
from rolecall.http.marks import check_guard, mark_guarded, unwrapped
from rolecall.http.service import GUARDED_CACHE_CONTROL, admit
from rolecall.http.websockets import serve_websocket
from rolecall.roles import ANY_TOKEN, Requirement

from .classes import guard_class
from .guarded_app import GuardedApp
from .kits import check_once, kit_of, stated_kit
from .translation import FRAMEWORK, starlette_response

Guarded = TypeVar("Guarded", bound=Callable[..., Any] | BaseRoute)

_NO_PARAMS: Mapping[str, Any] = {}
# What FastAPI puts into the scope before it runs dependencies and endpoint.
_IN_FASTAPI = "fastapi_inner_astack"


class Guard:
    """Lets a connection in if its token meets the requirement: for endpoints, routes, mounts and ASGI apps."""

    def __init__(self, requirement: Requirement, kit: Rolecall | None, session_param: str | None) -> None:
        self.requirement = requirement
        self.session_param = session_param
        self._kit = kit
        # The app that was last seen, and the engine of its kit.
        self._seen: tuple[Any, Engine] | None = None

    def __call__(self, target: Guarded) -> Guarded:
        if isinstance(target, BaseRoute):
            return cast("Guarded", self._guarded_route(target))
        if inspect.isclass(target):
            return cast("Guarded", self._guarded_class(target))
        if inspect.isroutine(_innermost(target)):
            return cast("Guarded", self._guarded_endpoint(target))
        if isinstance(target, Starlette):
            return cast("Guarded", self._guarded_whole(target))
        if hasattr(target, "include_router"):
            raise ConfigurationError(
                "a guard around a router of FastAPI's is lost where the router is included: use "
                "APIRouter(dependencies=[Depends(RoleRequired(…))])"
            )
        if callable(target):
            return cast("Guarded", GuardedApp(self, target))
        raise ConfigurationError(f"a guard protects an endpoint, a route, a mount or an ASGI app, not {shown(target)}")

    def _guarded_route(self, route: BaseRoute) -> BaseRoute:
        app = getattr(route, "app", None)
        if app is None:
            raise ConfigurationError(f"a guard cannot protect {route!r}: it leads to no app")
        if hasattr(route, "dependant"):
            # Where its router is included, FastAPI makes the route anew from the endpoint, and the guard would be lost.
            raise ConfigurationError(
                f"a guard cannot protect {route!r}, a route of FastAPI's: use dependencies=[Depends(RoleRequired(…))]"
            )
        guarded = GuardedApp(self, app, getattr(route, "routes", None))
        endpoint = getattr(route, "endpoint", None)
        if endpoint is not None:
            # FastAPI's include_router makes the route anew, from its endpoint alone.
            guarded.__wrapped__ = endpoint
            setattr(route, "endpoint", guarded)
        setattr(route, "app", guarded)
        return route

    def _guarded_whole(self, app: Starlette) -> Starlette:
        if app.middleware_stack is not None:
            raise ConfigurationError("this app has begun to answer; a guard protects it before its first request")
        # Innermost: it sees each request as the other middleware leaves it to the router, and not as it came.
        app.user_middleware.append(Middleware(self))
        return app

    def _guarded_class(self, endpoint: type[Any]) -> type[Any]:
        if not issubclass(endpoint, HTTPEndpoint | WebSocketEndpoint):
            raise ConfigurationError(
                f"a guard cannot protect the class {endpoint.__name__}: it is no HTTPEndpoint or WebSocketEndpoint"
            )
        guard_class(self, endpoint)
        mark_guarded(endpoint, self)
        return endpoint

    def _guarded_endpoint(self, endpoint: Callable[..., Any]) -> Callable[..., Any]:
        is_async = inspect.iscoroutinefunction(_innermost(endpoint))
        if inspect.isgeneratorfunction(endpoint) or inspect.isasyncgenfunction(endpoint):
            raise ConfigurationError(
                f"a guard cannot protect {_name(endpoint)}, which yields its answer: return a StreamingResponse(…), or "
                "in FastAPI use Depends(RoleRequired(…))"
            )

        @wraps(endpoint)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            connection = args[0] if args and type(args[0]) is Request else _connection(args, kwargs)
            if connection is None:
                # An ASGI app that is a function; or nothing that has a token.
                return await GuardedApp(self, _as_app(endpoint, args))(*args)
            scope = connection.scope
            if _IN_FASTAPI in scope:
                _refuse_dependency(guarded, scope)
            if isinstance(connection, WebSocket):
                return await self._serve_websocket(endpoint, connection, args, kwargs)
            waiting = self._enter(scope, scope)
            if waiting is not None and (refusal := await waiting) is not None:
                return starlette_response(refusal)
            try:
                if is_async:
                    response = await endpoint(*args, **kwargs)
                else:
                    response = await run_in_threadpool(endpoint, *args, **kwargs)
            except HTTPException as error:
                error.headers = _uncached_headers(error.headers)
                raise
            if isinstance(response, Response):
                kept_out_of_caches(response.raw_headers)
            return response

        mark_guarded(guarded, self, endpoint)
        return guarded

    async def enter(self, scope: Scope, seen: Scope | None = None) -> messages.Response | None:
        """The answer that keeps an HTTP request out, or None: it is in, and its scope has the grant.

        :param seen: the scope as the route will have it, where that is known before it is routed.
        """
        waiting = self._enter(scope, scope if seen is None else seen)
        return None if waiting is None else await waiting

    def _enter(self, scope: Scope, seen: Scope) -> Coroutine[Any, Any, messages.Response | None] | None:
        """None where the token alone let the request in, as it mostly does; otherwise what is to be awaited."""
        if scope["method"] == "OPTIONS":
            return _ready(options_response(getattr(seen.get("route"), "methods", None)))
        known = self._seen
        params: Any = seen.get("path_params") or _NO_PARAMS
        session_id = params.get(self.session_param)
        admitted = admit(
            known[1] if known is not None and known[0] is seen.get("app") else self._engine(seen),
            authorization_of(seen),
            self.requirement,
            # Nearly always text, and there.
            session_id if type(session_id) is str else bound_session(self.session_param, params, seen["path"]),
            lambda: neutral_request(seen, FRAMEWORK),
        )
        if not isinstance(admitted, Grant):
            return _settle(scope, admitted)
        keep_grant(scope, admitted)
        return None

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, seen: Scope | None = None) -> None:
        """Run an ASGI app for a connection that may enter; answer any other.

        :param seen: see :meth:`enter`.
        """
        if scope["type"] == "websocket":
            seen = scope if seen is None else seen
            engine = self._engine(seen)
            session_id = bound_session(self.session_param, seen.get("path_params") or _NO_PARAMS, seen["path"])
            gone = (WebSocketDisconnect,)
            await serve_websocket(
                app, engine, self.requirement, session_id, scope, receive, send, FRAMEWORK, gone, seen
            )
            return
        refusal = await self.enter(scope, seen)
        if refusal is None:
            await app(scope, receive, uncached(send))
        else:
            await send_response(refusal, scope, send)

    async def _serve_websocket(
        self, endpoint: Callable[..., Any], websocket: WebSocket, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if args and isinstance(args[0], WebSocketEndpoint):
            raise ConfigurationError(
                f"a guard on a method of {type(args[0]).__name__} does not see when the grant ends; guard the class"
            )
        if websocket.client_state is not WebSocketState.CONNECTING:
            raise ConfigurationError(
                f"the WebSocket at {websocket.scope['path']!r} was accepted before its guard, when nobody had looked "
                "at its token; accept it in the endpoint, and not in a dependency"
            )

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            watched = WebSocket(scope, receive, send)
            await endpoint(
                *(watched if value is websocket else value for value in args),
                **{name: watched if value is websocket else value for name, value in kwargs.items()},
            )

        await self.serve(run, websocket.scope, websocket.receive, websocket.send)
        if {websocket.application_state, websocket.client_state} == {WebSocketState.CONNECTED}:
            # Nobody watches it any longer, whoever called the endpoint.
            with suppress(WebSocketDisconnect, RuntimeError):
                await websocket.close()

    def _engine(self, scope: Scope) -> Engine:
        """The engine of the kit that verifies, for the app of this scope.

        :raises ConfigurationError: if there is none, or no telling which.
        """
        app, known = scope.get("app"), self._seen
        if known is not None and known[0] is app:
            return known[1]
        check_once(app)
        kit = self._kit or kit_of(app)
        if kit is self._kit or stated_kit(app) is None:
            self._seen = app, kit.aio.engine
        return kit.aio.engine


async def _settle(scope: Scope, admission: Coroutine[Any, Any, Grant | messages.Response]) -> messages.Response | None:
    entered = await admission
    if isinstance(entered, messages.Response):
        return entered
    keep_grant(scope, entered)
    return None


def _uncached_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    said = dict(headers or {})
    if not any(name.lower() == "cache-control" for name in said):
        said["Cache-Control"] = GUARDED_CACHE_CONTROL
    return said


async def _ready(response: messages.Response) -> messages.Response:
    return response


def _connection(args: tuple[Any, ...], kwargs: dict[str, Any]) -> HTTPConnection | None:
    """The request or WebSocket among the arguments of an endpoint, by what it is and not by a name."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, HTTPConnection):
            return value
    return None


def _as_app(endpoint: Callable[..., Any], args: tuple[Any, ...]) -> ASGIApp:
    if len(args) == 3 and isinstance(args[0], dict) and "type" in args[0]:
        return cast("Callable[..., Awaitable[None]]", endpoint)
    raise ConfigurationError(
        f"the guard of {_name(endpoint)} sees no request: let it take one "
        "(request: Request), or in FastAPI use Depends(RoleRequired(…))"
    )


def _refuse_dependency(guarded: Callable[..., Any], scope: Scope) -> None:
    """Stop what FastAPI runs as a dependency: it would take the guard's refusal for the value, and go on.

    :raises ConfigurationError: if the endpoint of the route is another one.
    """
    if not any(inner is guarded for inner in unwrapped(scope.get("endpoint"))):
        raise ConfigurationError(
            f"{_name(guarded)} is a dependency, where a guard cannot stop a request: use Depends(RoleRequired(…))"
        )


def _name(endpoint: Any) -> str:
    return getattr(endpoint, "__name__", "an endpoint")


def _innermost(endpoint: Any) -> Any:
    while isinstance(endpoint, partial):
        endpoint = endpoint.func
    return endpoint


def require_role(role: str, *, kit: Rolecall | None = None, session_param: str | None = SESSION_PARAM) -> Guard:
    """Admit tokens whose role may do all that ``role`` may.

    :param role: a standard role's name, a name that ``kit`` knows, or a :class:`~rolecall.Role`.
    :param kit: the kit that verifies; the app's only one unless given.
    :param session_param: the path parameter that names the session. On a route that has it the token must be for that
        session; None turns this off. A name of your own must be there: a route without it lets nobody in.
    :raises ConfigurationError: for a role that does not exist.
    """
    return Guard(Requirement.of_role(role, kit.roles if kit else None), kit, session_param)


def require_capability(
    capability: str, *, kit: Rolecall | None = None, session_param: str | None = SESSION_PARAM
) -> Guard:
    """Admit tokens that allow this act: ``require_capability("force_disconnect")``.

    :param kit: see :func:`require_role`.
    :param session_param: see :func:`require_role`.
    :raises ConfigurationError: for a capability that does not exist.
    """
    return Guard(Requirement.of_capability(capability), kit, session_param)


@overload
def require_token(target: Guarded, /) -> Guarded: ...
@overload
def require_token(*, kit: Rolecall | None = None, session_param: str | None = SESSION_PARAM) -> Guard: ...
def require_token(
    target: Any = None, /, *, kit: Rolecall | None = None, session_param: str | None = SESSION_PARAM
) -> Any:
    """Admit every good token, whatever its role; with or without parentheses.

    :param kit: see :func:`require_role`.
    :param session_param: see :func:`require_role`.
    """
    guard = Guard(ANY_TOKEN, kit, session_param)
    return guard if target is None else guard(target)


def protect(target: Guarded, guard: Guard | None = None) -> Guarded:
    """Guard everything in a mount or an app, now and later, but for endpoints that are marked with ``@public``.

    :param guard: what lets in, for example ``require_role("moderator")``; every good token unless given.
    """
    if guard is None:
        guard = Guard(ANY_TOKEN, None, SESSION_PARAM)
    check_guard(guard, Guard)
    return guard(target)


def current_grant(connection: HTTPConnection) -> Grant:
    """The grant with which a request or a WebSocket came through a guard.

    :raises RuntimeError: where there is none.
    """
    grant: Grant | None = connection.scope.get(GRANT)
    if grant is None:
        raise RuntimeError(
            "there is no grant here: current_grant needs an endpoint behind require_role, require_capability, "
            "require_token or protect"
        )
    return grant
