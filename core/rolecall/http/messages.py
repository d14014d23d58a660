"""Requests and responses as the kit sees them, whatever the framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: The most bytes of a request's body that are read.
MAX_BODY: Final = 16_384


@dataclass(frozen=True, slots=True)
class Request:
    """A request that an adapter has translated.

    :param method: the HTTP method, in capitals.
    :param route: the path as it was routed, never rebuilt from ``Host``.
    :param path_params: the variable parts of the route, by name.
    :param headers: by lower-case name; a header that came twice is joined by commas.
    :param body: at most :data:`MAX_BODY` + 1 bytes; the one beyond the limit tells that there was more.
    :param framework: the adapter's name, for policies and traces.
    """

    method: str
    route: str
    path_params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    framework: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that an adapter is to translate.

    :param status: the HTTP status.
    :param headers: names and values, in order.
    :param body: the bytes to send; an adapter leaves them out for HEAD.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
