"""Django Channels: its consumers and routers behind a guard, which looks once the connection has been routed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

from starlette.types import Scope


def url_kwargs(scope: Scope) -> Mapping[str, Any] | None:
    """The parameters of a connection that Channels has routed; None for one that it has not."""
    routed = scope.get("url_route")
    if routed is None:
        return None
    # Groups without a name, which no guard can bind, and which are parameters all the same.
    unnamed = {f"group {number}": value for number, value in enumerate(routed.get("args", ()), 1)}
    return {**unnamed, **routed.get("kwargs", {})}


def is_router(app: Any) -> bool:
    """Whether an app is a ``URLRouter`` of Channels, by the patterns of Django that it holds."""
    routes = getattr(app, "routes", None)
    return isinstance(routes, list) and bool(routes) and all(_has_pattern(route) for route in routes)


def guarded_router(router: Any, guard: Callable[[Any], Any]) -> Any:
    """A router like ``router``, with a guard around whatever its routes lead to.

    Only the router knows which route a path is for, and with which parameters.
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
