"""Whole apps and mounts behind a guard, which finds the route of a request before it is routed."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Host, Match, Mount, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from rolecall.errors import ConfigurationError, InvalidRequest
from rolecall.http.adapter import (
    ANY_TOKEN,
    guards_of,
    is_spared,
    mark_guarded,
    unsettled_app,
    unwrapped,
    view_guards,
)
from rolecall.http.adapter import Guard as BaseGuard
from rolecall.http.gateways.asgi import refuse

from . import channels
from .dialects import match_of, route_of
from .kits import routes_of
from .refusals import as_response
from .translation import neutral_request

if TYPE_CHECKING:
    from .guards import Guard

#: The key in a scope for: a guard around has demanded a token for the session of the connection.
BOUND: Final = "rolecall.bound"
# Represents that guard among the others of a route.
_BOUND_AROUND: Final = BaseGuard(ANY_TOKEN, session=lambda _: None)
# The modules of middleware that does not redirect a request to another route.
_HARMLESS: Final = ("starlette.middleware.", "fastapi.middleware.", "rolecall_starlette.")
# The key in a scope for the views of guards around an app with middleware.
_SEEN: Final = "rolecall.seen"


class GuardedApp:
    """An ASGI app behind a guard, with everything in it except routes that are marked as public.

    :param routes: the routes of the app, if it does not show them itself.
    :param is_leaf: whether the app is the end of a route, so that there are no further path parameters within.
    """

    def __init__(
        self, guard: Guard, app: ASGIApp, routes: list[BaseRoute] | None = None, *, is_leaf: bool = False
    ) -> None:
        self.app = self.__wrapped__ = app
        self._guard = guard
        self._routes = routes
        self._is_leaf = is_leaf
        # The kit's own routes in a whole app need no guard.
        self._is_whole = routes is None and is_whole(app)
        router, self._is_plain = _router_within(app)
        #: Whether the routes of the app are visible, with their parameters.
        self.shows_routes = routes is not None or router is not None
        #: The app whose innermost middleware has this guard check again; None if there is none.
        self.owner: Starlette | None = None
        if isinstance(router, Starlette) and router.middleware_stack is None:
            LateLook.install(router)
            self._is_plain = True
            self.owner = router
        mark_guarded(self, guard)

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The routes of the app, even within middleware; empty if they are not Starlette's."""
        if self._routes is not None:
            return self._routes
        router, _ = _router_within(self.app)
        return () if router is None else router.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if self._guard.paths is not None:
            await self._serve_paths(scope, receive, send)
            return
        if not self.shows_routes and "endpoint" not in scope:
            # The router of another framework, which has no endpoints that a guard would know.
            seen = self._with_params(scope if "app" in scope else {**scope, "app": self.app})
            await self._guard.serve(self.app, scope, receive, send, seen)
            return
        root = _own_root(self.app)
        start = {**scope, **root} if root else scope
        seen, is_certain = as_routed(start, self.routes)
        # The endpoint in the scope may be an app around this guard; then it says nothing about what is within.
        own = start.get("endpoint")
        own = own if any(inner is self for inner in unwrapped(own)) else None
        endpoint = own if seen is start else seen.get("endpoint")
        if not is_certain or not self._is_plain:
            endpoint = None  # middleware on the way may redirect to another one
        if "app" not in seen:
            seen = {**seen, "app": self.app}
        if self.owner is not None:
            look = _Seen(self, seen["app"], own, endpoint, scope.get("method"), seen.get("path_params") or {})
            scope[_SEEN] = (*scope.get(_SEEN, ()), look)
        if self.is_open(endpoint, scope):
            await self.app(scope, receive, send)
            return
        if not self.shows_routes:
            seen = self._with_params(seen)
        elif not (is_certain and self._is_plain) and self._guard.session_param is not None:
            raise ConfigurationError(
                f"middleware stands between the guard around {seen['path']!r} and the routes within, and may lead to "
                "another session than the guard sees; put the guard on the routes, or on the router within the "
                "middleware, pass session=… (a function that finds the session), or session_param=None if a token for "
                "any session is enough"
            )
        elif (foreign := _foreign_app(seen.get("route"))) is not None and not self._is_settled(seen):
            raise unsettled_app(f"an app of type {type(foreign).__name__}")
        await self._guard.serve(self.app, scope, receive, send, seen)

    def _is_settled(self, seen: Scope) -> bool:
        return bool(self._guard.is_settled(seen.get("path_params") or {}) or seen.get(BOUND))

    def is_open(self, endpoint: Any, scope: Scope) -> bool:
        """Whether the guard admits everybody to an endpoint."""
        return is_spared(endpoint, scope.get("method", "GET"), whole=self._is_whole)

    async def look_again(
        self, app: ASGIApp, endpoint: Any, seen: Scope, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Check again if middleware has changed the endpoint, the method or the parameters."""
        if self.is_open(endpoint, scope):
            await app(scope, receive, send)
        else:
            await self._guard.serve(app, scope, receive, send, seen)

    async def _serve_paths(self, scope: Scope, receive: Receive, send: Send) -> None:
        guard, paths = self._guard, self._guard.paths
        assert paths is not None
        seen = scope if "app" in scope else {**scope, "app": self.app}
        try:
            params = paths.find_within(
                scope.get("method", "GET"), scope["path"], scope.get("root_path", ""), scope.get("raw_path")
            )
        except InvalidRequest as error:
            await guard.api_of(seen).tell(error, neutral_request(seen))
            if scope["type"] == "websocket":
                await refuse(error, scope, send)
            else:
                response = await as_response(Request(seen, receive), error)
                await response(scope, receive, send)
            return
        if params is None:
            await self.app(scope, receive, send)
            return
        seen = {**seen, "path_params": {**(scope.get("path_params") or {}), **params}}
        await guard.serve(self.app, scope, receive, send, seen)

    def _with_params(self, seen: Scope) -> Scope:
        """The scope with another router's path parameters, which the guard does not see by itself.

        :raises ConfigurationError: if it sees none, and nobody has said which session the app is about.
        """
        if (routed := channels.url_kwargs(seen)) is not None:
            seen = {**seen, "path_params": {**(seen.get("path_params") or {}), **routed}}
        if not (self._is_leaf or _is_routed(seen) or self._is_settled(seen) or isinstance(self.app, StaticFiles)):
            raise unsettled_app(f"an app of type {type(self.app).__name__}")
        return seen


class _Seen(NamedTuple):
    """A connection as a guard around an app has seen it, before the app's own middleware.

    :param app: the app whose kit the guard uses.
    :param own: the endpoint if no route of the app matches: the guarded app itself, or None.
    :param endpoint: the endpoint that matched.
    """

    guarded: GuardedApp
    app: Any
    own: Any
    endpoint: Any
    method: str | None
    params: Mapping[str, Any]


class LateLook:
    """The innermost middleware of an app behind a guard: checks the request again if other middleware has changed it.

    :param owner: the app.
    """

    def __init__(self, app: ASGIApp, owner: Starlette) -> None:
        self.app = app
        self._owner = owner

    @classmethod
    def install(cls, owner: Starlette) -> None:
        """Make it the innermost middleware of ``owner``, once."""
        late_look: Any = cls
        if not any(middleware.cls is late_look for middleware in owner.user_middleware):
            owner.user_middleware.append(Middleware(cls, owner=owner))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        looks: tuple[_Seen, ...] = scope.get(_SEEN, ())
        before = [look for look in looks if look.guarded.owner is self._owner]
        if not before:
            await self.app(scope, receive, send)
            return
        scope[_SEEN] = tuple(look for look in looks if look not in before)
        seen, is_certain = as_routed(scope, self._owner.routes)
        routed = seen.get("endpoint") if is_certain else None
        method, params = scope.get("method"), seen.get("path_params") or {}
        app = self.app
        for look in reversed(before):
            endpoint = look.own if seen is scope else routed
            if look.endpoint is not endpoint or look.method != method or look.params != params:
                app = partial(look.guarded.look_again, app, endpoint, {**seen, "app": look.app})
        await app(scope, receive, send)


def guards_that_bound(scope: Scope) -> list[BaseGuard]:
    """The representative of a guard around an app that has demanded a token for the session of a connection."""
    return [_BOUND_AROUND] if scope.get(BOUND) else []


def guards_of_route(scope: Scope) -> Iterator[BaseGuard]:
    """The guards of a connection's route, from the outermost: in FastAPI those of dependencies first."""
    for depended_on in _dependencies(getattr(route_of(scope), "dependant", None)):
        yield from guards_of(depended_on)
    yield from view_guards(scope.get("endpoint"), scope.get("method", "GET"))


def _dependencies(dependant: Any) -> Iterator[Any]:
    for dependency in getattr(dependant, "dependencies", ()):
        yield dependency.call
        yield from _dependencies(dependency)


def is_whole(app: Any) -> bool:
    """Whether it is a Starlette app, or the inside of its middleware, with anything around it."""
    while app is not None:
        if isinstance(app, Starlette | ExceptionMiddleware):
            return True
        app = getattr(app, "app", None)
    return False


def router_within(app: Any) -> Starlette | Router | None:
    """The router within middleware, if it is Starlette's; else None."""
    return _router_within(app)[0]


def _router_within(app: Any) -> tuple[Starlette | Router | None, bool]:
    """The router within middleware, if it is Starlette's, and whether nothing on the way can change a request."""
    is_plain = True
    while app is not None:
        if inspect.ismethod(app) and isinstance(app.__self__, Router):
            return app.__self__, is_plain  # the method that a router passes to its own middleware
        if isinstance(app, Starlette | Router):
            return app, is_plain and not has_middleware(app)
        inner = getattr(app, "app", None)
        if inner is not None:
            is_plain = is_plain and (isinstance(app, GuardedApp | ExceptionMiddleware) or _rewrites_nothing(app))
        app = inner
    return None, is_plain


def has_middleware(app: Any) -> bool:
    """Whether middleware between an app, or the app of a route, and its endpoints can change a request."""
    while isinstance(app, GuardedApp) or (hasattr(app, "app") and _rewrites_nothing(app)):
        app = app.app
    if isinstance(app, Starlette):
        return not all(_is_harmless(middleware.cls) for middleware in app.user_middleware)
    if isinstance(app, Router):
        return app.middleware_stack != app.app
    return hasattr(app, "app")


def _rewrites_nothing(app: Any) -> bool:
    return _is_harmless(type(app))


def _is_harmless(middleware: Any) -> bool:
    """Whether it is a guard, or the frameworks' own middleware, except for the one that runs a function of the app."""
    if isinstance(middleware, BaseGuard):
        return True
    module = getattr(middleware, "__module__", "")
    return module.startswith(_HARMLESS) and module != "starlette.middleware.base"


def _foreign_app(route: Any) -> Any:
    """The app of a mount that shows no routes; None if there is none, or if it has its own guard."""
    if not isinstance(route, Mount | Host):
        return None
    app = route.app
    if router_within(app) is not None or isinstance(app, StaticFiles) or guards_of(app):
        return None
    return app


def _is_routed(scope: Scope) -> bool:
    """Whether a router has routed the whole path: not a mount, below which there is more of it."""
    route = scope.get("route")
    if route is not None:
        return not isinstance(route, Mount | Host)
    # Channels and Litestar, which has mounts, too.
    return "url_route" in scope or not getattr(scope.get("route_handler"), "is_mount", "route_handler" not in scope)


def _own_root(app: Any) -> dict[str, str]:
    """The root path that a FastAPI app puts in place of the scope's."""
    while app is not None:
        if isinstance(app, Starlette):
            root = getattr(app, "root_path", "")
            return {"root_path": root} if root else {}
        app = getattr(app, "app", None)
    return {}


def as_routed(scope: Scope, routes: Iterable[BaseRoute]) -> tuple[Scope, bool]:
    """The scope as the route will see it, with the path parameters and endpoint that are not known yet.

    The second value tells whether that is certain: middleware of a mount or a route on the way may change the request.
    """
    partly: tuple[Scope, bool] | None = None
    for route in routes:
        match, child = match_of(route, scope)
        if match is Match.NONE:
            continue
        app = getattr(route, "app", None)
        seen, is_certain = as_routed({**scope, **child, **_own_root(app), "route": route}, routes_of(route))
        found = seen, is_certain and not has_middleware(app)
        if match is Match.FULL:
            return found
        partly = partly or found
    return (scope, True) if partly is None else partly
