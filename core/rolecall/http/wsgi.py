"""What the adapters of WSGI frameworks share: the headers and the body of a WSGI environment (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import InvalidRequest
from .messages import MAX_BODY

_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
# Those that are asked for at every request need not be put together each time.
_VARIABLES = {**_UNPREFIXED, "authorization": "HTTP_AUTHORIZATION"}


class WsgiHeaders(Mapping[str, str]):
    """The headers of a WSGI environment, by lower-case name, read when asked for."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        variable = _VARIABLES.get(name) or "HTTP_" + name.upper().replace("-", "_")
        value: str = self._environ[variable]
        return value

    def get(self, name: str, default: Any = None) -> Any:
        # The mixin's way through an exception takes twice as long.
        variable = _VARIABLES.get(name) or "HTTP_" + name.upper().replace("-", "_")
        return self._environ.get(variable, default)

    def __iter__(self) -> Iterator[str]:
        for variable in self._environ:
            if variable.startswith("HTTP_"):
                yield variable[5:].replace("_", "-").lower()
        for name, variable in _UNPREFIXED.items():
            if self._environ.get(variable):
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read_body(read: Callable[[int], bytes]) -> bytes:
    """The body behind ``read``, up to one byte beyond what the kit accepts; a stream may hand it out in pieces.

    :raises InvalidRequest: if it cannot be read to its end.
    """
    pieces = []
    wanted = MAX_BODY + 1
    try:
        while wanted > 0 and (piece := read(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
    except Exception:
        # A client that goes away, or breaks its own chunks: each server has errors of its own for these.
        raise InvalidRequest("the body could not be read to its end") from None
    return b"".join(pieces)
