"""A request from outside as the kit sees it, whatever the framework; and who makes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from .pickling import reduced


class Headers(Mapping[str, str]):
    """The headers of a request, by name in any spelling (RFC 9110, section 5.1); an adapter has a kind of its own."""

    __slots__ = ()


class PlainHeaders(Headers):
    """The headers of a mapping, such as a test's; those that come in two spellings are joined.

    :param headers: values by name.
    """

    __slots__ = ("_values",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in headers.items():
            name = name.lower()
            sent = self._values.get(name)
            self._values[name] = value if sent is None else sent + joint(name) + value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        return self._values.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def joint(name: str) -> str:
    """The separator of a header's values where it comes twice; ``name`` is in lower case."""
    # A cookie's pairs may come in several lines (RFC 9113, section 8.2.3).
    return "; " if name == "cookie" else ","


_NO_PARAMS: Final[Mapping[str, str]] = MappingProxyType({})


_NO_HEADERS: Final = PlainHeaders({})


class _Fields(NamedTuple):
    method: str
    route: str
    path_params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    framework: str
    query: str
    root: str


class Request(_Fields):
    """A request that an adapter has translated, or that a test makes.

    :param method: the HTTP method, in capitals; ``GET`` for the handshake of a WebSocket.
    :param route: the path as it was routed, never rebuilt from ``Host``.
    :param path_params: the variable parts of the route, by name.
    :param headers: by name, in any spelling; a header that came twice is joined by commas.
    :param body: at most one byte more than the operation takes; that byte tells that there was more.
    :param framework: the adapter's name, for policies and traces.
    :param query: the query string, as it came.
    :param root: the path in front of ``route`` under which the app itself is mounted.
    """

    __slots__ = ()

    def __new__(
        cls,
        method: str,
        route: str,
        path_params: Mapping[str, str] = _NO_PARAMS,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes = b"",
        framework: str = "",
        query: str = "",
        root: str = "",
    ) -> Self:
        if not isinstance(headers, Headers):
            headers = PlainHeaders(headers)
        return tuple.__new__(cls, (method, route, path_params, headers, body, framework, query, root))

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:  # type: ignore[override]
        return cls(*iterable)  # so that _replace(headers=…) takes any spelling, too

    def __reduce__(self) -> Any:
        # An adapter's headers look into the request of its framework, which stays.
        return reduced(self._replace(headers=dict(self.headers)))

    def __repr__(self) -> str:
        # Neither headers nor body nor query, which hold tokens.
        return f"<Request {self.method} {self.route!r} by {self.framework or 'nobody'}>"


_NO_ATTRIBUTES: Final[Mapping[str, Any]] = MappingProxyType({})


class Actor(NamedTuple):
    """Who makes a request, as one of the app's plugins says.

    :param id: the app's own identifier of the user or service.
    :param attributes: whatever the app's policies want to know of it: groups, tenant, name.
    """

    id: str
    attributes: Mapping[str, Any] = _NO_ATTRIBUTES

    def __reduce__(self) -> Any:
        return reduced(self)

    def __repr__(self) -> str:
        return f"Actor({self.id!r})"
