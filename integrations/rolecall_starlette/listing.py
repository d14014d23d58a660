"""The contents of a Starlette app, for the list of its routes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Host, Mount, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

from rolecall.http.adapter import WEBSOCKET, Around, Found, Guard, guards_of, handler_of, inner_app, kit_problem
from rolecall.http.gateways.asgi import not_found

from . import guards, kits
from .dialects import dialects
from .guarded_app import GuardedApp, LateLook, has_middleware, is_whole, router_within
from .middleware import RolecallMiddleware

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
# The kinds of apps whose contents are known here.
_KNOWN = (Starlette, Router, GuardedApp, RolecallMiddleware)


def is_app(value: object) -> bool:
    """Whether this is an app of Starlette, or of a framework on top of it."""
    return isinstance(value, Starlette | RolecallMiddleware)


def routes_of(app: Any) -> list[Found] | None:
    """The contents of ``app``; None if it is no Starlette app."""
    return list(_walk(app, Place())) if isinstance(app, _KNOWN) else None


@dataclass(frozen=True, slots=True)
class _Layer:
    """A guard around an app or a route.

    :param sees: the ids of the routes that it sees directly within the listed place.
    :param endpoint: the last endpoint that it sees on the way to the listed route.
    :param params: the path parameters that it sees on that way.
    :param app: the app whose kit it uses.
    :param base: the path of its place.
    :param is_blind: whether middleware on the way may redirect to another endpoint than it sees.
    """

    guard: Any
    sees: frozenset[int]
    endpoint: Any
    params: frozenset[str]
    app: Any
    spares_own: bool
    base: str = ""
    is_blind: bool = False

    def on_the_way(self, route: Any, endpoint: Any, params: frozenset[str]) -> _Layer:
        if id(route) not in self.sees:
            # A route that it does not see hides everything within.
            return replace(self, sees=frozenset())
        return replace(
            self,
            sees=_ids(kits.routes_of(route)),
            endpoint=self.endpoint if endpoint is None else endpoint,
            params=self.params | params,
            is_blind=self.is_blind or has_middleware(getattr(route, "app", None)),
        )

    def around(self) -> Around:
        guard, problem = self.guard, None if self.guard.kit else kit_problem(lambda: kits.kit_of(self.app))
        if guard.paths is not None:
            return Around(guard, base=self.base, prefixes=guard.paths.prefixes, problem=problem)
        endpoint = None if self.is_blind else self.endpoint
        return Around(guard, endpoint, self.params, self.spares_own, problem=problem)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an app."""

    path: str = ""
    name: str = ""
    params: frozenset[str] = frozenset()
    layers: tuple[_Layer, ...] = ()
    endpoint: Any = None
    app: Any = None
    through: tuple[Any, ...] = ()
    skipped: tuple[Guard, ...] = ()

    def within(self, route: Any, path: str = "", endpoint: Any = None, name: str = "") -> Place:
        """The place behind a route."""
        params = frozenset(getattr(route, "param_convertors", {})) - ({"path"} if isinstance(route, Mount) else set())
        return replace(
            self,
            path=self.path + path,
            name=f"{self.name}{name}",
            params=self.params | params,
            layers=tuple(layer.on_the_way(route, endpoint, params) for layer in self.layers),
            endpoint=self.endpoint if endpoint is None else endpoint,
        )

    def behind(self, guard: Guard, app: Any, routes: Iterable[Any] = ()) -> Place:
        """The same place behind one more guard, around ``app``."""
        spares_own = is_whole(app)
        asked = app if self.app is None else self.app
        layer = _Layer(guard, _ids(routes), self.endpoint, self.params, asked, spares_own, self.path)
        return replace(self, layers=(*self.layers, layer))

    def skipping(self, router: Any) -> Place:
        """The same place in a router whose guards the framework asks for some of its routes alone."""
        guards = tuple(guard for dialect in dialects() for guard in dialect.guards_in(router))
        return replace(self, skipped=(*self.skipped, *guards)) if guards else self

    def around(self) -> tuple[Around, ...]:
        return tuple(layer.around() for layer in self.layers)


def _ids(routes: Iterable[Any]) -> frozenset[int]:
    return frozenset(map(id, routes))


def _walk(app: Any, place: Place) -> Iterator[Found]:
    if (guarded := _guarded(app)) is not None:
        yield from _walk(guarded.app, guarded.behind(place))
    elif isinstance(app, Starlette):
        place = replace(place, app=app)
        for number, middleware in enumerate(app.user_middleware, 1):
            if isinstance(middleware.cls, guards.Guard):
                # Middleware within may hide the routes from it.
                innermost = all(_is_of_guards(one.cls) for one in app.user_middleware[number:])
                place = place.behind(middleware.cls, app, app.routes if innermost else ())
        yield from _walk(app.router, place)
    elif isinstance(app, Router):
        for guarded in _guarded_within(app.middleware_stack):
            place = guarded.behind(place)
        yield from _routes(app, place)
    elif isinstance(app, RolecallMiddleware):
        for route in app.routes:
            yield Found(place.path + app.prefix + route.path, name=route.name, around=place.around(), own=route)
        yield from _walk(app.app, place)
    elif (inner := inner_app(app)) is not None and _is_known(inner):
        yield from _walk(inner, place)
    elif isinstance(app, StaticFiles):
        yield Found(
            f"{place.path}/{{file:path}}",
            ("GET", "HEAD"),
            view=app,
            around=place.around(),
            params=place.params,
            problem=kit_problem(lambda: kits.kit_of(place.app)),
            are_files=True,
            skipped=place.skipped,
        )
    else:
        yield Found(
            place.path,
            app=app,
            around=place.around(),
            params=place.params,
            problem=kit_problem(lambda: kits.kit_of(place.app)),
            through=place.through,
            skipped=place.skipped,
        )


@dataclass(frozen=True, slots=True)
class _Guarded:
    """An app with a guard around it; ``outer`` is both together."""

    outer: Any
    guard: Guard
    app: Any
    routes: Iterable[Any]

    def behind(self, place: Place) -> Place:
        place = place.behind(self.guard, self.app, self.routes)
        return replace(place, through=(*place.through, self.outer))


def _guarded(app: Any) -> _Guarded | None:
    if isinstance(app, GuardedApp):
        return _Guarded(app, guards_of(app)[0], app.app, app.routes)
    # A function that is an app is guarded as endpoints are, and sees the routes of the router whose method it is.
    if inspect.isfunction(app) and "rolecall_guards" in vars(app) and hasattr(app, "__wrapped__"):
        router = router_within(app.__wrapped__)
        return _Guarded(app, guards_of(app)[0], app.__wrapped__, () if router is None else router.routes)
    return None


def _is_of_guards(middleware: Any) -> bool:
    return middleware is LateLook or isinstance(middleware, guards.Guard)


def _guarded_within(app: Any) -> Iterator[_Guarded]:
    """The guards in a chain of middleware."""
    while app is not None:
        guarded = _guarded(app)
        if guarded is not None:
            yield guarded
        app = inner_app(app) if guarded is None else guarded.app


def _is_known(app: Any) -> bool:
    """Whether an app within a middleware is of a known kind, or leads to one."""
    while app is not None:
        if isinstance(app, _KNOWN):
            return True
        app = inner_app(app)
    return False


def _routes(router: Router, place: Place) -> Iterator[Found]:
    place = place.skipping(router)
    for route in (*router.routes, *getattr(router, "_low_priority_routes", ())):
        yield from route_within(route, place)
    if router.default not in (router.not_found, not_found):
        yield from _walk(router.default, place)


def route_within(route: Any, place: Place) -> Iterator[Found]:
    """The entries of a router's route."""
    if isinstance(route, Mount):
        name = f"{route.name}:" if route.name else ""
        yield from _walk(route.app, place.within(route, path_of(route.path), route.app, name))
    elif isinstance(route, Host):
        name = f"{route.name}:" if route.name else ""
        yield from _walk(route.app, place.within(route, f"//{route.host}", route.app, name))
    else:
        found = (dialect.found(route, place) for dialect in dialects())
        others = next((one for one in found if one is not None), None)
        yield from leaf(route, place, path_of(getattr(route, "path", ""))) if others is None else others


def leaf(route: Any, place: Place, path: str) -> Iterator[Found]:
    """A route that leads to an endpoint."""
    endpoint = getattr(route, "endpoint", None)
    place = place.within(route, path, endpoint)
    for guarded in _guarded_within(getattr(route, "app", None)):
        # It has been routed, so the guard sees the whole route.
        place = place.behind(guarded.guard, guarded.app)
    view = getattr(route, "app", None) if endpoint is None else endpoint
    while isinstance(view, GuardedApp):
        view = view.app
    yield Found(
        place.path,
        (WEBSOCKET,) if isinstance(route, WebSocketRoute) else _methods(route, view),
        place.name + (getattr(route, "name", None) or ""),
        view,
        place.around(),
        params=place.params,
        problem=kit_problem(lambda: kits.kit_of(place.app)),
        skipped=place.skipped,
    )


def _methods(route: Any, view: Any) -> tuple[str, ...]:
    listed = getattr(route, "methods", None)
    if isinstance(view, type) and issubclass(view, HTTPEndpoint):
        answered = {method for method in _METHODS if handler_of(view, method) is not None}
        return tuple(sorted(answered & set(listed) if listed else answered))
    return tuple(sorted(listed or ()))


def path_of(path: str) -> str:
    """A path in the form of the list: the only converter that it shows is ``path``, which takes several segments."""
    parts = []
    for part in path.split("{"):
        name, brace, rest = part.partition("}")
        parts.append(part if not brace or name.endswith(":path") else name.partition(":")[0] + brace + rest)
    return "{".join(parts)
