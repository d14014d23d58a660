"""Guards for endpoints, WebSockets and whole apps: ``require_role``, ``require_capability``, ``require_token``."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial, wraps
from typing import Any, TypeVar, cast, overload
from weakref import ReferenceType, ref

from anyio import from_thread
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from rolecall import Capability, CapabilityName, Grant, Role, Rolecall, RoleName
from rolecall.errors import ConfigurationError, RolecallError
from rolecall.http import adapter
from rolecall.http.adapter import (
    ANY_TOKEN,
    UNSAID,
    Api,
    GuardedPaths,
    Requirement,
    SessionParam,
    SessionResolver,
    dispatches_by_method,
    has_entered,
    is_run_as,
    mark_guarded,
    options_response,
    required_role,
    shown,
)
from rolecall.http.adapter import Guard as BaseGuard
from rolecall.http.gateways.asgi import (
    Channel,
    authorization_of,
    granted,
    keep_web,
    kept_out_of_caches,
    missing_headers,
    open_websocket,
    serve_websocket,
    settle,
    uncached,
)

from . import channels
from .classes import guard_class
from .guarded_app import BOUND, GuardedApp, guards_of_route, guards_that_bound, router_within
from .kits import check_once, kit_of, routes_of, stated_kit
from .refusals import Refusal, answer_http_error, as_exception, as_response
from .translation import GONE, Connection, neutral_request

Guarded = TypeVar("Guarded", bound=Callable[..., Any] | BaseRoute)

Result = TypeVar("Result")

dispatches_by_method("starlette.endpoints")

_NO_PARAMS: Mapping[str, Any] = {}


class Guard(BaseGuard):
    """Admits a connection if its token meets the requirement: for endpoints, routes, mounts and ASGI apps.

    :param prefixes: the paths that it guards, with all below them, around an app that does not show its routes.
    """

    def __init__(
        self,
        requirement: Requirement,
        kit: Rolecall | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
        optional: bool = False,
        *,
        prefixes: Iterable[str] = (),
    ) -> None:
        super().__init__(requirement, kit, session_param, session, optional)
        #: The paths that it guards; None for all paths.
        self.paths = GuardedPaths(self, prefixes) if prefixes else None
        # The last app, the kit that it states, and the API of its kit; forgotten when the app is.
        self._seen: tuple[ReferenceType[Any], Rolecall | None, Api] | None = None

    def _identity(self) -> tuple[object, ...]:
        return *super()._identity(), self.paths and repr(self.paths.prefixes)

    def __call__(self, target: Guarded) -> Guarded:
        if self.paths is not None and (isinstance(target, BaseRoute | Starlette) or not callable(target)):
            raise ConfigurationError("prefixes are for an app whose routes a guard does not see, and it sees these")
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
        if channels.is_router(target) and self.paths is None:
            return cast("Guarded", self._guarded_router(target))
        if callable(target):
            return cast("Guarded", GuardedApp(self, target))
        raise ConfigurationError(f"a guard protects an endpoint, a route, a mount or an ASGI app, not {shown(target)}")

    def _guarded_router(self, router: Any) -> Any:
        guarded = channels.guarded_router(router, partial(GuardedApp, self))
        mark_guarded(guarded, self)
        return guarded

    def _guarded_route(self, route: BaseRoute) -> BaseRoute:
        app = getattr(route, "app", None)
        if app is None:
            raise ConfigurationError(f"a guard cannot protect {route!r}: it leads to no app")
        if hasattr(route, "dependant"):
            # FastAPI makes the route anew from the endpoint where its router is included, so the guard would be lost.
            raise ConfigurationError(
                f"a guard cannot protect {route!r}, a route of FastAPI's: use dependencies=[Depends(RoleRequired(…))]"
            )
        # None if the app of a mount is of another framework, and shows none.
        routes = getattr(route, "routes", None) if routes_of(route) or router_within(app) is not None else None
        guarded = GuardedApp(self, app, routes, is_leaf=not hasattr(route, "routes"))
        endpoint = getattr(route, "endpoint", None)
        if endpoint is not None:
            # FastAPI's include_router makes the route anew from its endpoint alone.
            guarded.__wrapped__ = endpoint
            setattr(route, "endpoint", guarded)
        setattr(route, "app", guarded)
        return route

    def _guarded_whole(self, app: Starlette) -> Starlette:
        if app.middleware_stack is not None:
            raise ConfigurationError("this app has begun to answer; a guard protects it before its first request")
        # Innermost, so that it sees each request as the other middleware passes it to the router.
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

        guarded: Any = self._guarded_coroutine(endpoint) if is_async else self._guarded_function(endpoint)
        mark_guarded(guarded, self, endpoint)
        return cast("Callable[..., Any]", guarded)

    def _guarded_coroutine(self, endpoint: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(endpoint)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            connection = args[0] if args and type(args[0]) is Request else _connection(args, kwargs)
            if connection is None:
                # The endpoint is an ASGI app that is a function, or gets no connection.
                return await GuardedApp(self, _as_app(endpoint, args))(*args)
            scope = connection.scope
            # By its type first, because an abstract base class answers isinstance in Python.
            if type(connection) is not Request and isinstance(connection, WebSocket):
                return await self._serve_endpoint(
                    endpoint,
                    connection,
                    args,
                    kwargs,
                    _is_run(scope, guarded),
                )
            try:
                waiting = self._enter(scope, scope, connection)
                if waiting is not None and (refusal := await waiting) is not None:
                    if not _is_run(scope, guarded):
                        raise as_exception(scope, refusal)
                    return await as_response(connection, refusal)
                response = await endpoint(*args, **kwargs)
            except HTTPException as error:
                error.headers = _uncached_headers(error.headers, scope)
                raise
            if isinstance(response, Response):
                kept_out_of_caches(response.raw_headers, scope)
            return response

        return guarded

    def _guarded_function(self, endpoint: Callable[..., Any]) -> Callable[..., Any]:
        # A plain function, too, and no coroutine function: a caller without await would take the coroutine for "yes".
        @wraps(endpoint)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            connection = _connection(args, kwargs)
            if not isinstance(connection, Request):
                raise _sees_no_request(endpoint)
            _check_thread(endpoint)
            scope = connection.scope
            try:
                waiting = self._enter(scope, scope, connection)
                if waiting is not None and (refusal := from_thread.run(_awaited, waiting)) is not None:
                    if not _is_run(scope, guarded):
                        raise as_exception(scope, refusal)
                    return from_thread.run(as_response, connection, refusal)
                response = endpoint(*args, **kwargs)
            except HTTPException as error:
                error.headers = _uncached_headers(error.headers, scope)
                raise
            if isinstance(response, Response):
                kept_out_of_caches(response.raw_headers, scope)
            return response

        return guarded

    async def enter(self, scope: Scope, native: HTTPConnection, seen: Scope | None = None) -> Refusal | None:
        """Decide on an HTTP request: return the refusal, or None if it is admitted, with the grant in its scope.

        :param native: the connection, for the guard's ``session`` function.
        :param seen: the scope as the route will see it, if that is known before the request is routed.
        """
        waiting = self._enter(scope, scope if seen is None else seen, native)
        return None if waiting is None else await _settled(waiting, scope)

    def _enter(
        self, scope: Scope, seen: Scope, native: HTTPConnection | None
    ) -> Coroutine[Any, Any, Refusal | None] | None:
        """None if the token alone admitted the request, as in most cases; otherwise an awaitable."""
        if scope["method"] == "OPTIONS":
            return _ready(options_response(getattr(seen.get("route"), "methods", None)))
        params: Any = seen.get("path_params") or _NO_PARAMS
        session_id = params.get(self.session_param)
        api = self.api_of(seen)
        if not api.decides_at_once:  # which those do not whose tokens may be elsewhere than in the header
            keep_web(api.web, scope, seen)
        # In most cases it is present, and text; or there is none that could be, and nobody has said so.
        if type(session_id) is not str and (params or self.says):
            session_id = self._session_of(seen, params, seen is not scope)
        authorization = authorization_of(seen)
        admitted = adapter.admit(api, authorization, self, session_id, neutral_request, (seen, native), scope)
        return settle(admitted, scope)

    def is_met(self, scope: Scope) -> bool:
        """Whether a guard around has taken a token for the same session, as this one would, which requires no more."""
        if self.requirement is not ANY_TOKEN or self.resolver is not None:
            return False
        session_id = self._session_of(scope, scope.get("path_params") or _NO_PARAMS, is_around=False)
        return has_entered(scope, self.api_of(scope), session_id)

    def _session_of(self, seen: Scope, params: Mapping[str, Any], is_around: bool) -> str | None:
        return self.bound_session(params, seen["path"], partial(self._others, seen, is_around))

    def _others(self, seen: Scope, is_around: bool) -> tuple[Sequence[BaseGuard], Sequence[BaseGuard]]:
        guards, around = list(guards_of_route(seen)), guards_that_bound(seen)
        if (found := self.split(guards)) is not None:
            return [*around, *found[0]], found[1]
        # It is around an app; or it is a helper's, within all the others.
        return (around, guards) if is_around else ([*around, *guards], ())

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, seen: Scope | None = None) -> None:
        """Run an ASGI app for an admitted connection; answer a refused one.

        :param seen: see :meth:`enter`.
        """
        seen = scope if seen is None else seen
        if scope["type"] == "websocket":
            await self._serve_websocket(app, scope, receive, send, seen)
            return
        self._note_session(scope, seen)
        waiting = self._enter(scope, seen, None)
        try:
            refusal = None if waiting is None else await _settled(waiting, scope)
        except HTTPException as error:  # the answer of the app's own `session` function
            await answer_http_error(error, seen.get("app"), scope, receive, send)
            return
        if refusal is None:
            await app(scope, receive, uncached(send, scope))
        else:
            response = await as_response(Request(seen, receive), refusal)
            await response(scope, receive, send)

    def _note_session(self, scope: Scope, seen: Scope) -> None:
        """Tell guards within that the token is for the session of the connection."""
        if self.binds_in(seen.get("path_params") or _NO_PARAMS):
            scope[BOUND] = True

    async def _serve_websocket(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        send: Send,
        seen: Scope,
        on_refusal: Callable[[RolecallError], Awaitable[None]] | None = None,
    ) -> None:
        has_entered = False

        async def enter(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal has_entered
            has_entered = True
            await app(scope, receive, send)

        self._note_session(scope, seen)
        try:
            await serve_websocket(
                enter,
                self.api_of(seen),
                self,
                self._session_of(seen, seen.get("path_params") or _NO_PARAMS, seen is not scope),
                neutral_request(seen),
                scope,
                receive,
                send,
                GONE,
                on_refusal,
            )
        except HTTPException as error:
            if has_entered or on_refusal is not None:
                raise
            await answer_http_error(error, seen.get("app"), scope, receive, send)  # of the `session` function

    async def _serve_endpoint(
        self,
        endpoint: Callable[..., Any],
        websocket: WebSocket,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        is_run_by_route: bool,
    ) -> None:
        if args and isinstance(args[0], WebSocketEndpoint):
            raise ConfigurationError(
                f"a guard on a method of {type(args[0]).__name__} does not see when the grant ends; guard the class"
            )
        check_unaccepted(websocket)

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            watched = WebSocket(scope, receive, send)
            await endpoint(
                *(watched if value is websocket else value for value in args),
                **{name: watched if value is websocket else value for name, value in kwargs.items()},
            )

        async def refuse(error: RolecallError) -> None:
            # The caller of the endpoint must not continue.
            raise as_exception(websocket.scope, error)

        scope = websocket.scope
        on_refusal = None if is_run_by_route else refuse
        await self._serve_websocket(run, scope, websocket.receive, websocket.send, scope, on_refusal)
        if not is_run_by_route and websocket.application_state is WebSocketState.CONNECTING:
            raise ConfigurationError(
                f"the guard of {_name(endpoint)} does not see when the grant ends, because another function goes on "
                f"with the WebSocket at {scope['path']!r}; put the guard on the endpoint of the route"
            )
        await close_unwatched(websocket)

    async def open(self, websocket: WebSocket, receive: Receive, send: Send) -> Channel | RolecallError | None:
        """Decide who enters a WebSocket whose endpoint the framework runs; see :func:`open_websocket`."""
        check_unaccepted(websocket)
        scope = websocket.scope
        self._note_session(scope, scope)
        session_id = self._session_of(scope, scope.get("path_params") or _NO_PARAMS, is_around=False)
        request = neutral_request(scope, websocket)
        return await open_websocket(self.api_of(scope), self, session_id, request, scope, receive, send)

    def api_of(self, scope: Scope) -> Api:
        """The API of the kit that verifies, for the app of this scope.

        :raises ConfigurationError: if there is none, or more than one.
        """
        app, known = scope.get("app"), self._seen
        if known is not None and known[0]() is app and app is not None:
            try:
                # By the key, because the attribute is found in Python, and only after the class was searched for it.
                if known[1] is None or app.state["rolecall"] is known[1]:
                    return known[2]
            except (KeyError, TypeError):
                pass  # the app states none any longer, or keeps its state in attributes alone
        check_once(app)
        kit = self.kit or kit_of(app)
        with suppress(TypeError):  # no app, or one that takes no reference
            # What the app states may be another kit after its next start.
            self._seen = ref(app, self._forget), None if self.kit else stated_kit(app), kit.aio.api
        return kit.aio.api

    def _forget(self, _app: object) -> None:
        self._seen = None


def check_unaccepted(websocket: WebSocket) -> None:
    """Refuse to guard a WebSocket that is open already.

    :raises ConfigurationError: says where to accept it.
    """
    if websocket.client_state is not WebSocketState.CONNECTING:
        raise ConfigurationError(
            f"the WebSocket at {websocket.scope['path']!r} was accepted before its guard, when nobody had looked "
            "at its token; accept it in the endpoint, and not in a dependency"
        )


async def close_unwatched(websocket: WebSocket) -> None:
    """Close a WebSocket whose endpoint has left it open: nobody watches it any longer, whoever called the endpoint."""
    if {websocket.application_state, websocket.client_state} == {WebSocketState.CONNECTED}:
        with suppress(WebSocketDisconnect, RuntimeError):
            await websocket.close()


async def _settled(waiting: Awaitable[Refusal | None], scope: Scope) -> Refusal | None:
    try:
        return await waiting
    except HTTPException as error:  # of the guard's own `session` function
        error.headers = _uncached_headers(error.headers, scope)
        raise


def _uncached_headers(headers: Mapping[str, str] | None, scope: Scope) -> dict[str, str]:
    said = dict(headers or {})
    added = dict(missing_headers(said.items(), scope))
    names = {name.lower() for name in added}
    return {**{name: value for name, value in said.items() if name.lower() not in names}, **added}


async def _ready(response: adapter.Response) -> adapter.Response:
    return response


def _check_thread(endpoint: Any) -> None:
    """Refuse a guarded function where it cannot wait: everywhere except on the framework's own threads.

    :raises ConfigurationError: on the event loop, where the caller would have to take a coroutine for an answer.
    """
    try:
        from_thread.check_cancelled()
    except RuntimeError:
        raise ConfigurationError(
            f"the guard of {_name(endpoint)}, a function, cannot wait where it is called; make it an async def, and "
            "await it, or call it on a thread, with run_in_threadpool"
        ) from None


async def _awaited(waiting: Coroutine[Any, Any, Result]) -> Result:
    return await waiting


def _is_run(scope: Scope, guarded: Any) -> bool:
    return is_run_as(scope.get("endpoint"), scope.get("method", ""), guarded)


def _connection(args: tuple[Any, ...], kwargs: dict[str, Any]) -> HTTPConnection | None:
    """The request or WebSocket among the arguments of an endpoint, found by type and not by name."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, HTTPConnection):
            return value
    return None


def _as_app(endpoint: Callable[..., Any], args: tuple[Any, ...]) -> ASGIApp:
    if len(args) == 3 and isinstance(args[0], dict) and "type" in args[0]:
        return cast("Callable[..., Awaitable[None]]", endpoint)
    raise _sees_no_request(endpoint)


def _sees_no_request(endpoint: Any) -> ConfigurationError:
    return ConfigurationError(
        f"the guard of {_name(endpoint)} sees no request: let it take one "
        "(request: Request), or in FastAPI use Depends(RoleRequired(…))"
    )


def _name(endpoint: Any) -> str:
    return getattr(endpoint, "__name__", "an endpoint")


def _innermost(endpoint: Any) -> Any:
    while isinstance(endpoint, partial):
        endpoint = endpoint.func
    return endpoint


def require_role(
    role: Role | RoleName,
    *,
    exact: bool = False,
    kit: Rolecall | None = None,
    session_param: SessionParam = UNSAID,
    session: SessionResolver | None = None,
    prefixes: Iterable[str] = (),
) -> Guard:
    """Admit tokens whose role has all capabilities of ``role``.

    :param role: a standard role's name, a name that ``kit`` knows, or a :class:`~rolecall.Role`.
    :param exact: admit no other role, even with the same capabilities.
    :param kit: the kit that verifies; the app's only one unless given.
    :param session_param: the path parameter that names the session: the token must be for that session. The default is
        ``session_id``, if the route has it. None binds the guard to no session: a token for any is sufficient. It is
        required on a route that has only other path parameters, and around an app whose routes are not Starlette's.
    :param session: a function from the connection (a ``Request``, a ``WebSocket``, or an ``HTTPConnection`` around an
        app) to the session's id, ``def`` or ``async def``, for URLs with other ids. If it returns None, nobody is
        admitted; if it raises an ``HTTPException``, that is the answer.
    :param prefixes: around an app whose routes are not Starlette's: the guarded paths, with all below them, such as
        ``"/rooms/{session_id}"``.
    :raises ConfigurationError: for an unknown role, or an invalid argument.
    """
    requirement = required_role(role, kit, exact)
    return Guard(requirement, kit, session_param, session, prefixes=prefixes)


def require_capability(
    capability: Capability | CapabilityName,
    *,
    kit: Rolecall | None = None,
    session_param: SessionParam = UNSAID,
    session: SessionResolver | None = None,
    prefixes: Iterable[str] = (),
) -> Guard:
    """Admit tokens with this capability: ``require_capability("force_disconnect")``.

    :param kit: see :func:`require_role`, also for the others.
    :raises ConfigurationError: for an unknown capability, or an invalid argument.
    """
    return Guard(Requirement.of_capability(capability), kit, session_param, session, prefixes=prefixes)


@overload
def require_token(target: Guarded, /) -> Guarded: ...
@overload
def require_token(
    *,
    optional: bool = False,
    kit: Rolecall | None = None,
    session_param: SessionParam = UNSAID,
    session: SessionResolver | None = None,
    prefixes: Iterable[str] = (),
) -> Guard: ...
def require_token(
    target: Any = None,
    /,
    *,
    optional: bool = False,
    kit: Rolecall | None = None,
    session_param: SessionParam = UNSAID,
    session: SessionResolver | None = None,
    prefixes: Iterable[str] = (),
) -> Any:
    """Admit every good token, whatever its role; with or without parentheses.

    :param optional: admit connections without a token, too: they have no grant, see :func:`find_grant`. An invalid
        token is refused all the same.
    :param kit: see :func:`require_role`, also for the others.
    """
    guard = Guard(ANY_TOKEN, kit, session_param, session, optional, prefixes=prefixes)
    return guard if target is None else guard(target)


def protect(target: Guarded, guard: Guard | None = None) -> Guarded:
    """Guard everything in a mount or an app, now and later, except endpoints that are marked with ``@public``.

    :param guard: for example ``require_role("moderator")``; every good token is admitted unless given.
    """
    if guard is None:
        guard = Guard(ANY_TOKEN)
    Guard.check(guard)
    return guard(target)


def find_grant(connection: Connection) -> Grant | None:
    """The grant of a request or a WebSocket; None if a guard with ``optional=True`` admitted it without a token."""
    return granted(connection.scope)


def current_grant(connection: Connection) -> Grant:
    """The grant of a request or a WebSocket that passed a guard.

    :raises RuntimeError: if there is none.
    """
    grant = find_grant(connection)
    if grant is None:
        raise RuntimeError(
            "there is no grant here: current_grant needs an endpoint behind require_role, require_capability, "
            "require_token or protect; where the token is optional, ask find_grant(request)"
        )
    return grant
