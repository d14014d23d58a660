"""Whole apps and mounts behind a guard: what a request is for, before it is routed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from rolecall.http.marks import is_public, mark_guarded, own_route, unwrapped

from .kits import routes_of

if TYPE_CHECKING:
    from .guards import Guard


class GuardedApp:
    """An ASGI app behind a guard, with everything in it; but for routes of it that are marked as public.

    :param routes: those of the app, where it does not show them itself.
    """

    def __init__(self, guard: Guard, app: ASGIApp, routes: list[BaseRoute] | None = None) -> None:
        self.app = self.__wrapped__ = app
        self._guard = guard
        self._routes = routes
        # A whole app has the kit's own routes in it, which look after themselves.
        self._is_whole = routes is None and is_whole(app)
        mark_guarded(self, guard)

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The routes of the app, also where middleware is around it."""
        if self._routes is not None:
            return self._routes
        app = self.app
        while not hasattr(app, "routes") and hasattr(app, "app"):
            app = app.app
        return getattr(app, "routes", [])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        root = _own_root(self.app)
        start = {**scope, **root} if root else scope
        seen = _as_routed(start, self.routes)
        endpoint = seen.get("endpoint")
        if seen is start and not any(inner is self for inner in unwrapped(endpoint)):
            endpoint = None  # what was routed to stands around this guard, and says nothing of what is within
        if "app" not in seen:
            seen = {**seen, "app": self.app}
        if is_public(endpoint, scope.get("method", "GET")) or (self._is_whole and own_route(endpoint)):
            await self.app(scope, receive, send)
        else:
            await self._guard.serve(self.app, scope, receive, send, seen)


def is_whole(app: Any) -> bool:
    """Whether it is a Starlette app, or what stands within its middleware, whatever is around it."""
    while app is not None:
        if isinstance(app, Starlette | ExceptionMiddleware):
            return True
        app = getattr(app, "app", None)
    return False


def _own_root(app: Any) -> dict[str, str]:
    """The root path that a FastAPI app puts in place of the one it is called with."""
    while app is not None:
        if isinstance(app, Starlette):
            root = getattr(app, "root_path", "")
            return {"root_path": root} if root else {}
        app = getattr(app, "app", None)
    return {}


def _as_routed(scope: Scope, routes: Sequence[BaseRoute]) -> Scope:
    """The scope as the route will have it, whose path parameters and endpoint are not known yet."""
    partly: Scope | None = None
    for route in routes:
        match, child = route.matches(scope)
        if match is Match.NONE:
            continue
        seen = _as_routed(
            {**scope, **child, **_own_root(getattr(route, "app", None)), "route": route}, routes_of(route)
        )
        if match is Match.FULL:
            return seen
        partly = partly or seen
    return scope if partly is None else partly
