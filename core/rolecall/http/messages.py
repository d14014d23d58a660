"""Requests and responses as the kit sees them, whatever the framework."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ..pickling import reduced
from ..strict_json import MAX_MEMBERS

#: The most bytes that a request's body may have, unless an operation takes more.
MAX_BODY: Final = 16_384


class BodyLimit(NamedTuple):
    """How much an operation takes of a body.

    :param length: the most bytes.
    :param elements: the most elements that one array in it may have.
    """

    length: int = MAX_BODY
    elements: int = MAX_MEMBERS


USUAL_BODY: Final = BodyLimit()

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Request(NamedTuple):
    """A request that an adapter has translated.

    :param method: the HTTP method, in capitals; ``GET`` for the handshake of a WebSocket.
    :param route: the path as it was routed, never rebuilt from ``Host``.
    :param path_params: the variable parts of the route, by name.
    :param headers: by lower-case name; a header that came twice is joined by commas.
    :param body: at most one byte more than the operation takes; that byte tells that there was more.
    :param framework: the adapter's name, for policies and traces.
    :param query: the query string, as it came.
    :param root: the path in front of ``route`` under which the app itself is mounted.
    """

    method: str
    route: str
    path_params: Mapping[str, str] = _NONE
    headers: Mapping[str, str] = _NONE
    body: bytes = b""
    framework: str = ""
    query: str = ""
    root: str = ""

    def __reduce__(self) -> Any:
        # An adapter's headers look into the request of its framework, which stays.
        return reduced(self._replace(headers=MappingProxyType(dict(self.headers))))

    def __repr__(self) -> str:
        # Neither headers nor body nor query, which hold tokens.
        return f"<Request {self.method} {self.route!r} by {self.framework or 'nobody'}>"


class Response(NamedTuple):
    """An answer that an adapter is to translate.

    :param status: the HTTP status.
    :param headers: names and values, in order; of what frames a message there is none.
    :param body: the bytes to send; an adapter leaves them out for HEAD.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def with_headers(self, *headers: tuple[str, str]) -> Response:
        """This answer, with further headers."""
        return self._replace(headers=(*self.headers, *headers))

    @property
    def framed_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers with ``Content-Length``, for adapters whose framework does not add it (RFC 9110, section 8.6)."""
        if self.status == 204:
            return self.headers
        return (*self.headers, ("Content-Length", str(len(self.body))))

    def __repr__(self) -> str:
        return f"<Response {self.status}>"
