"""The routes of Django Channels: what a guard around its ``URLRouter`` sees of a connection before it is routed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import Scope


def url_kwargs(scope: Scope) -> Mapping[str, Any] | None:
    """The parameters of a connection that Channels has routed; None for one that it has not."""
    routed = scope.get("url_route")
    return None if routed is None else _named(routed.get("args", ()), routed.get("kwargs", {}))


def is_router(app: Any) -> bool:
    """Whether an app is a ``URLRouter`` of Channels, by the patterns of Django that it holds."""
    routes = getattr(app, "routes", None)
    return isinstance(routes, list) and bool(routes) and all(_has_pattern(route) for route in routes)


def kwargs_within(app: Any, scope: Scope) -> Mapping[str, Any]:
    """The parameters that a ``URLRouter`` will find in a connection's path, as it finds them."""
    path, found = scope.get("path_remaining", scope["path"]).removeprefix("/"), dict(url_kwargs(scope) or {})
    while is_router(app):
        for route in app.routes:
            match = route.pattern.match(path)
            if match:
                path, args, kwargs = match
                app, found = route.callback, {**found, **_named(args, kwargs)}
                break
        else:
            break
    return found


def _has_pattern(route: Any) -> bool:
    return callable(getattr(getattr(route, "pattern", None), "match", None)) and hasattr(route, "callback")


def _named(args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    # Groups without a name, which no guard can bind, and which are parameters all the same.
    return {**{f"group {number}": value for number, value in enumerate(args, 1)}, **kwargs}
