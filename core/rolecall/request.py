"""A request from outside, in the kit's form for every framework; and the actor who makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from .pickling import reduced


class Headers(Mapping[str, str]):
    """The headers of a request, by name in any case (RFC 9110, section 5.1); each adapter has its own subclass."""

    __slots__ = ()


class PlainHeaders(Headers):
    """Headers from a mapping, such as a test's; values under two spellings of one name are joined.

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


class JoinedHeaders(Headers):
    """The headers of a framework that keeps repeated headers apart; here they are joined (RFC 9110, section 5.3).

    :param all_of: returns every value of a header, by its name in lower case, in the original order, as text in
        Latin-1; empty if there is none: ``lambda name: request.headers.getall(name, ())``.
    :param names: the names of the request's headers, in any case.
    """

    __slots__ = ("_all_of", "_names")

    def __init__(self, all_of: Callable[[str], Iterable[str]], names: Iterable[str]) -> None:
        self._all_of = all_of
        self._names = names

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value  # type: ignore[no-any-return]

    def get(self, name: str, default: Any = None) -> Any:
        name = name.lower()
        values = [*self._all_of(name)]
        return joint(name).join(values) if values else default

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name in self._names))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def joint(name: str) -> str:
    """The separator that joins the values of a repeated header; ``name`` is in lower case."""
    # A cookie's pairs may be split over several lines (RFC 9113, section 8.2.3).
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
    native: Any
    actor: Actor | None
    anonymous: bool


#: How many of the fields tell two requests apart.
_COMPARED: Final = len(_Fields._fields) - 3


class Request(_Fields):
    """A request, translated by an adapter or made by a test.

    :param method: the HTTP method, in capitals; ``GET`` for the handshake of a WebSocket.
    :param route: the path within the app, decoded, as it was routed; never rebuilt from ``Host``. It does not depend on
        where the app is mounted, and includes the prefix of the kit's routes in the app: ``/video/sessions``.
    :param path_params: the variable parts of the route, by name.
    :param headers: by name, in any case; the values of a repeated header are joined by commas.
    :param body: at most one byte more than the operation reads; the extra byte shows that the body is too long.
    :param framework: the adapter's name, for policies and traces.
    :param query: the raw query string.
    :param root: the path in front of ``route`` under which the app itself is mounted, by a server, a proxy or another
        app; empty if it is not mounted. ``root + route`` is the path that the client sent.
    :param native: the framework's own request, for policies of apps of that framework; None in a test. Comparisons,
        ``repr`` and copies leave it out.
    :param actor: who makes the request, if the framework has found out (a :class:`~rolecall.Actor`); left out as
        ``native`` is.
    :param anonymous: whether the framework has tried to find that out, without success; left out, too.
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
        native: Any = None,
        actor: Actor | None = None,
        anonymous: bool = False,
    ) -> Self:
        if not isinstance(headers, Headers):
            headers = PlainHeaders(headers)
        fields = method, route, path_params, headers, body, framework, query, root, native, actor, anonymous
        return tuple.__new__(cls, fields)

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:  # type: ignore[override]
        return cls(*iterable)  # so that _replace(headers=…) takes any mapping, too

    def __reduce__(self) -> Any:
        # An adapter's headers refer to the framework's request, which is not copied.
        return reduced(self._replace(headers=dict(self.headers), native=None, actor=None))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and self[:_COMPARED] == other[:_COMPARED]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:_COMPARED])

    def __repr__(self) -> str:
        # Without headers, body and query, which hold tokens.
        return f"<Request {self.method} {self.route!r} by {self.framework or 'nobody'}>"


_NO_ATTRIBUTES: Final[Mapping[str, Any]] = MappingProxyType({})


class Actor(NamedTuple):
    """Who makes a request, as identified by a plugin of the app, or by the framework.

    :param id: the app's own identifier of the user or service: 1 to 255 characters, none of them invisible, in the
        composed form of Unicode (NFC), without white space at an end. Ids are compared exactly.
    :param attributes: anything about the actor that the app's policies need: groups, tenant, name.
    """

    id: str
    attributes: Mapping[str, Any] = _NO_ATTRIBUTES

    def __reduce__(self) -> Any:
        return reduced(self)

    def __repr__(self) -> str:
        return f"Actor({self.id!r})"
