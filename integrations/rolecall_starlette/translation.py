"""Starlette's connections and the kit's answers, translated."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Final, Protocol

from starlette import websockets
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope
from starlette.websockets import WebSocketDisconnect

from rolecall.http import adapter
from rolecall.http.adapter import Request
from rolecall.http.gateways import asgi

from .dialects import match_of
from .kits import routes_of

#: The exceptions of the framework when an app sends or receives after its WebSocket was closed.
GONE: Final[tuple[type[Exception], ...]] = (
    WebSocketDisconnect,
    getattr(websockets, "WebSocketDisconnected", WebSocketDisconnect),  # of later versions of Starlette
)


class Connection(Protocol):
    """A request or a WebSocket of Starlette, or of any framework that shows the ASGI scope: Falcon, Litestar, Quart."""

    @property
    def scope(self) -> Any: ...


def neutral_request(scope: Scope, native: object = None) -> Request:
    """A connection in the kit's form; its body is read later.

    :param native: the framework's object for it, if there is one already.
    """
    if native is None:
        native = HTTPConnection(scope)
    return asgi.neutral_request(scope, "starlette", native=native, root=_root_of(scope))


def _root_of(scope: Scope) -> str:
    """The path under which the app of a connection is mounted, without mounts within the app.

    A scope has both together in its ``root_path``. So this tries under which root path the connection would have been
    routed as it was.
    """
    root = str(scope.get("root_path") or "").rstrip("/")
    if not root:
        return ""
    routes = routes_of(scope.get("app"))
    for candidate in accumulate(root.split("/"), "{}/{}".format):
        if _leads(routes, {**scope, "root_path": candidate}, root, scope.get("endpoint")):
            return candidate
    return root


def _leads(routes: Iterable[BaseRoute], scope: Scope, root: str, endpoint: object) -> bool:
    """Whether routes lead to an endpoint at this root path."""
    for route in routes:
        match, child = match_of(route, scope)
        if match is Match.NONE:
            continue
        within = {**scope, **child}
        if within["root_path"] == root and within.get("endpoint") is endpoint:
            return True
        if _leads(routes_of(route), within, root, endpoint):
            return True
    return False


def starlette_response(response: adapter.Response) -> Response:
    """A response of the kit as Starlette's."""
    translated = Response(response.body, response.status)
    translated.raw_headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.framed_headers
    ]
    return translated
