"""The consumers of an app with Django Channels, for the list of routes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter

from rolecall.http.adapter import WEBSOCKET, Found, kit_problem

from .kits import get_kit
from .listing import read_pattern
from .patterns import is_of_channels


def is_app(value: object) -> bool:
    """Whether this is an application of Channels."""
    return not isinstance(value, type) and is_of_channels(value)


def routes_of(app: Any) -> list[Found] | None:
    """The contents of an application of Channels; None if it is none."""
    if not is_app(app):
        return None
    if isinstance(app, ProtocolTypeRouter):
        # Requests and WebSockets come from outside, and nothing else does.
        known = (app.application_mapping.get(kind) for kind in ("http", "websocket"))
        return [Found("", app=inner) for inner in known if inner is not None]
    if isinstance(app, URLRouter):
        return [_found(route) for route in app.routes]
    inner = getattr(app, "inner", None) or getattr(app, "application", None)
    return None if inner is None else [Found("", app=inner)]


def websockets_of(app: Any, path: str = "") -> Iterator[Found]:
    """What an application of Channels has for WebSockets, with what is in its routers.

    :param path: of its place.
    """
    inner = app.application_mapping.get("websocket") if isinstance(app, ProtocolTypeRouter) else app
    if inner is None:
        return
    within = routes_of(inner)
    if within is None:
        yield Found(path, app=inner)
        return
    for found in within:
        placed = replace(found, path=path + found.path)
        yield from [placed] if found.app is None else websockets_of(found.app, placed.path)


def _found(route: Any) -> Found:
    text, _ = read_pattern(route.pattern)
    path, app = f"/{text.lstrip('/')}" if text else "", route.callback
    consumer = getattr(app, "consumer_class", None)
    if consumer is None:
        return Found(path.rstrip("/"), app=app)
    methods = (WEBSOCKET,) if hasattr(consumer, "websocket_connect") else ()
    return Found(path, methods, route.name or consumer.__qualname__, app, problem=kit_problem(get_kit))
