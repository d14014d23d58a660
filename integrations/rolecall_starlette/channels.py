"""Django Channels: guards around its consumers and routers, which check a connection after it was routed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

from starlette.types import Scope


def url_kwargs(scope: Scope) -> Mapping[str, Any] | None:
    """The parameters of a connection that Channels has routed; None if it has not been routed."""
    routed = scope.get("url_route")
    if routed is None:
        return None
    # Unnamed groups count as parameters, although no guard can bind them.
    unnamed = {f"group {number}": value for number, value in enumerate(routed.get("args", ()), 1)}
    return {**unnamed, **routed.get("kwargs", {})}


def is_router(app: Any) -> bool:
    """Whether an app is a ``URLRouter`` of Channels, recognized by Django's patterns in its routes."""
    routes = getattr(app, "routes", None)
    return isinstance(routes, list) and bool(routes) and all(_has_pattern(route) for route in routes)


def guarded_router(router: Any, guard: Callable[[Any], Any]) -> Any:
    """Copy ``router``, with a guard around the app of each route.

    Only the router knows the route of a path, and its parameters.
    """
    guarded = copy(router)
    guarded.routes = [_guarded_route(route, guard) for route in router.routes]
    return guarded


def _guarded_route(route: Any, guard: Callable[[Any], Any]) -> Any:
    guarded = copy(route)
    callback = route.callback
    guarded.callback = guarded_router(callback, guard) if is_router(callback) else guard(callback)
    return guarded


def _has_pattern(route: Any) -> bool:
    return callable(getattr(getattr(route, "pattern", None), "match", None)) and hasattr(route, "callback")
