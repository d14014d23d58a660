"""The bodies of requests: how much is read, and which forms are accepted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from ..driver import event_loops
from ..encoding import strict_json
from ..errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from ..request import Request
from ..wording import shown
from .messages import USUAL_BODY, BodyLimit

_FORM: Final = "application/x-www-form-urlencoded"
# One SDK announces JSON for all bodies after its first JSON body, also for forms.
_FORM_TYPES: Final = (_FORM, "application/json")


def announced_length(headers: Mapping[str, str], longest: int) -> int:
    """The length that a request's headers announce; 0 if they announce none.

    :param longest: the longest body of the operation, in bytes.
    :raises BodyTooLarge: if it is longer, before any of it is read.
    :raises InvalidRequest: if it is no length (RFC 9110, section 8.6).
    """
    text = headers.get("content-length") or "0"
    if not (text.isascii() and text.isdigit()):
        raise InvalidRequest(f"the Content-Length is {shown(text)}; expected digits")
    # With 20 digits or more, no conversion is needed to know that it is too long.
    length = int(text) if len(text) < 20 else longest + 1
    if length > longest:
        raise BodyTooLarge(longest)
    return length


async def collected(
    headers: Mapping[str, str], read: Callable[[], Awaitable[bytes]], seconds: float, longest: int
) -> bytes:
    """Read the body of a request on an event loop, up to a little more than the operation allows.

    :param read: waits for the next piece of the body; an empty piece ends the body.
    :param seconds: the time within which the body must arrive.
    :param longest: the longest body of the operation, in bytes.
    :raises BodyTooLarge: if a longer one is announced, before any of it is read.
    :raises InvalidRequest: if it does not arrive.
    """
    announced_length(headers, longest)
    body = b""
    try:
        async with event_loops.running().timeout(seconds):
            while len(body) <= longest and (piece := await read()):
                body += piece
    except Exception:  # the client disconnects, or breaks its own chunks: each framework has its own exceptions
        raise unread() from None
    return body


def unread() -> InvalidRequest:
    """The refusal of a body that broke off."""
    return InvalidRequest("the body could not be read to its end")


def whole(request: Request, limit: BodyLimit) -> bytes:
    """The body of a request, whatever it is.

    :param limit: the operation's limit.
    :raises BodyTooLarge: if it is too long.
    :raises InvalidRequest: if it is not as long as was announced.
    """
    _check_length(request, limit.length)
    return request.body


def members(request: Request, known: tuple[str, ...], limit: BodyLimit = USUAL_BODY) -> dict[str, Any]:
    """The members of a request's JSON object; a missing body counts as an empty object.

    :param known: the names that they may have.
    :param limit: the operation's limit.
    :raises InvalidRequest: unless the body is one strict JSON object with no other members.
    :raises BodyTooLarge: if it is too long.
    :raises UnsupportedMediaType: unless its media type is JSON's.
    """
    _check_length(request, limit.length)
    _check_media_type(request)
    if not request.body:
        return {}
    try:
        parsed = strict_json.loads(request.body.strip(b" \t\r\n"), limit.elements)
    except ValueError as error:
        raise InvalidRequest(f"the body is not one strict JSON object: {error}") from None
    for name in parsed:
        if name not in known:
            expected = f"only {', '.join(known)}" if known else "none"
            raise InvalidRequest(f"the body has a member {shown(name)}; expected {expected}")
    return parsed


def fields(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    """The fields of a request's form; a missing body counts as an empty form.

    Only for requests with a credential that no browser adds by itself, because a page of another site may send forms.

    :param known: the names that they may have.
    :raises InvalidRequest: unless the body is a form in UTF-8 with no other field, and none twice.
    :raises BodyTooLarge: if it is too long.
    :raises UnsupportedMediaType: unless its media type is a form's.
    """
    _check_length(request, USUAL_BODY.length)
    if not request.body:
        return {}
    media_type = _media_type(request)
    if media_type not in _FORM_TYPES:
        raise UnsupportedMediaType(f"the body's Content-Type is {shown(media_type)}; expected {_FORM}")
    return _pairs(request.body.decode("latin-1"), known, "the body", "field")


def oauth_fields(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    """:func:`fields` as OAuth has them (RFC 6749, section 3.2): others than the known ones are ignored, and one without
    a value counts as left out.

    :raises InvalidRequest: unless the body is a form in UTF-8 with no known field twice.
    """
    _check_length(request, USUAL_BODY.length)
    if not request.body:
        return {}
    media_type = _media_type(request)
    if media_type != _FORM:
        raise UnsupportedMediaType(f"the body's Content-Type is {shown(media_type)}; expected {_FORM}")
    pairs = _parsed(request.body.decode("latin-1"), "the body")
    values = _once([pair for pair in pairs if pair[0] in known], "the body", "field")
    return {name: value for name, value in values.items() if value}


def parameters(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    """The parameters of a request's query.

    :param known: the names that they may have.
    :raises InvalidRequest: unless they are in UTF-8, with no other parameter, and none twice.
    """
    return _pairs(request.query, known, "the query", "parameter") if request.query else {}


def _pairs(text: str, known: tuple[str, ...], where: str, part: str) -> dict[str, str]:
    pairs = _parsed(text, where)
    for name, _ in pairs:
        if name not in known:
            raise InvalidRequest(f"{where} has a {part} {shown(name)}; expected only {', '.join(known)}")
    return _once(pairs, where, part)


def _parsed(text: str, where: str) -> list[tuple[str, str]]:
    try:
        if not text.isascii():
            raise ValueError
        return parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=64)
    except ValueError:
        raise InvalidRequest(f"{where} is not a form: name=value&name=value, with %XX of UTF-8") from None


def _once(pairs: Iterable[tuple[str, str]], where: str, part: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise InvalidRequest(f"{where} has the {part} {shown(name)} twice")
        values[name] = value
    return values


def _check_length(request: Request, longest: int) -> None:
    body, headers = request.body, request.headers
    if len(body) > longest:
        raise BodyTooLarge(longest)
    if announced_length(headers, longest) != len(body) and headers.get("content-length"):
        raise InvalidRequest("the body is not as long as its Content-Length says")
    if not body and headers.get("transfer-encoding"):
        raise InvalidRequest("a body was announced, and nothing of it is left to read; send it with a Content-Length")


def _check_media_type(request: Request) -> None:
    body, headers = request.body, request.headers
    media_type = _media_type(request)
    # A page of another site can make a browser post without a preflight, as long as it does not send JSON.
    by_browser = headers.get("origin") or headers.get("sec-fetch-site")
    if media_type != "application/json" and (body or by_browser):
        raise UnsupportedMediaType(f"the body's Content-Type is {shown(media_type)}; expected application/json")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip(" \t").lower()
