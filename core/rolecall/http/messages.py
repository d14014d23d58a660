"""Responses, and the limits of bodies, for every framework."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..encoding.strict_json import MAX_MEMBERS

#: The longest body of a request in bytes, unless an operation allows more.
MAX_BODY: Final = 16_384


class BodyLimit(NamedTuple):
    """The limits of an operation's body.

    :param length: in bytes.
    :param elements: the most elements of one array in it.
    """

    length: int = MAX_BODY
    elements: int = MAX_MEMBERS


USUAL_BODY: Final = BodyLimit()


class Response(NamedTuple):
    """An answer, for an adapter to translate.

    :param status: the HTTP status.
    :param headers: names and values, in order; without those that frame a message.
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
        if self.status in (204, 304):  # a 304's would be the length of what it leaves out
            return self.headers
        return (*self.headers, ("Content-Length", str(len(self.body))))

    def __repr__(self) -> str:
        return f"<Response {self.status}>"
