"""The calls of an OpenTok-compatible service: what is sent, and what comes back. Nothing here waits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

from ..errors import InvalidRequest, InvalidSessionId, shown
from ..sessions import ArchiveMode, MediaMode, check_properties
from . import answers
from .answers import Unreadable

Result = TypeVar("Result", covariant=True)

#: The limits of a signal that the service names, in bytes of UTF-8.
MAX_SIGNAL_TYPE: Final = 128
MAX_SIGNAL_DATA: Final = 8192

# Nothing that would mean something in a path: sessions, connections and streams are named by base64url or UUIDs.
_ID: Final = re.compile(r"(?!\.+\Z)[0-9A-Za-z_.~=+-]{1,255}")


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One call.

    :param method: its method.
    :param path: its path, below the service's URL.
    :param read: makes the result of the ``Content-Type`` and the body of an answer with status 200, 201 or 204.
    :param repeatable: whether it can be sent again after it may have been carried out.
    :param content_type: the media type of what is sent.
    :param body: what is sent.
    :param if_not_found: makes the result if the service answers 404; None: that is an error.
    :param is_about_existing: whether 404 means that what the call is about does not exist.
    """

    method: str
    path: str
    read: Callable[[str, bytes], Result]
    repeatable: bool = False
    content_type: str | None = None
    body: bytes = field(default=b"", repr=False)
    if_not_found: Callable[[], Result] | None = None
    is_about_existing: bool = True


def create_session(location: str | None, media_mode: str, archive_mode: str, e2ee: bool) -> Call[str]:
    """``POST /session/create``. It is repeatable: nobody knows the id of a session whose answer got lost.

    :raises InvalidSessionOption: for a property that does not exist, or does not go with the others.
    """
    checked_location, media, archive, encrypted = check_properties(location, media_mode, archive_mode, e2ee)
    form = {
        "p2p.preference": "enabled" if media is MediaMode.RELAYED else "disabled",
        "archiveMode": "always" if archive is ArchiveMode.ALWAYS else "manual",
        "e2ee": "true" if encrypted else "false",
    }
    if checked_location is not None:
        form["location"] = checked_location
    return Call(
        "POST",
        "/session/create",
        _read_session_id,
        repeatable=True,
        content_type="application/x-www-form-urlencoded",
        body=urlencode(form).encode(),
        is_about_existing=False,
    )


def signal(api_key: str, session_id: str, type: str, data: str, connection_id: str | None) -> Call[None]:
    """``POST …/signal``, to all connections of a session or to one."""
    _check_text("type", type, MAX_SIGNAL_TYPE)
    _check_text("data", data, MAX_SIGNAL_DATA)
    to = "" if connection_id is None else f"/connection/{_segment('connection_id', connection_id)}"
    return _act("POST", f"{_session(api_key, session_id)}{to}/signal", {"type": type, "data": data})


def force_disconnect(api_key: str, session_id: str, connection_id: str) -> Call[None]:
    """``DELETE …/connection/{connection_id}``."""
    return _act("DELETE", f"{_session(api_key, session_id)}/connection/{_segment('connection_id', connection_id)}")


def mute_stream(api_key: str, session_id: str, stream_id: str) -> Call[None]:
    """``POST …/stream/{stream_id}/mute``."""
    return _act("POST", f"{_session(api_key, session_id)}/stream/{_segment('stream_id', stream_id)}/mute", {})


def mute_all(api_key: str, session_id: str, active: bool, excluded_stream_ids: Iterable[str]) -> Call[None]:
    """``POST …/mute``, to begin with it or to stop."""
    if not isinstance(active, bool):
        raise InvalidRequest(f"active is {shown(active)}; expected true or false")
    if isinstance(excluded_stream_ids, str) or not isinstance(excluded_stream_ids, Iterable):
        raise InvalidRequest(f"excluded_stream_ids is {shown(excluded_stream_ids)}; expected a list of stream ids")
    excluded = [_checked_id("excluded_stream_ids", one, InvalidRequest) for one in excluded_stream_ids]
    if excluded and not active:
        raise InvalidRequest("excluded_stream_ids goes with active=True: when muting stops, it stops for all")
    wanted = {"active": True, "excludedStreams": excluded} if active else {"active": False}
    return _act("POST", f"{_session(api_key, session_id)}/mute", wanted)


def list_streams(api_key: str, session_id: str) -> Call[list[dict[str, Any]]]:
    """``GET …/stream``. The service answers 404 for a session in which nobody has published yet."""
    path = f"{_session(api_key, session_id)}/stream"
    return Call("GET", path, answers.streams, repeatable=True, if_not_found=list)


def _act(method: str, path: str, body: dict[str, Any] | None = None) -> Call[None]:
    if body is None:
        return Call(method, path, answers.nothing)
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Call(method, path, answers.nothing, content_type="application/json", body=text.encode())


def _session(api_key: str, session_id: str) -> str:
    return f"/v2/project/{api_key}/session/{quote(_checked_id('session_id', session_id, InvalidSessionId), safe='')}"


def _segment(name: str, value: object) -> str:
    return quote(_checked_id(name, value, InvalidRequest), safe="")


def _checked_id(name: str, value: object, error: type[InvalidRequest]) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise error(f"{name} is {shown(value)}; expected 1 to 255 letters, digits and '-', '_', '.', '~', '=', '+'")
    return value


def _check_text(name: str, value: object, limit: int) -> None:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} of the signal is {shown(value)}; expected a string")
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(f"{name} of the signal holds a lone surrogate; it has no bytes in UTF-8") from None
    if length > limit:
        raise InvalidRequest(f"{name} of the signal has {length} bytes; at most {limit} are carried")


def _read_session_id(content_type: str, body: bytes) -> str:
    found = answers.session_id(content_type, body)
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise Unreadable("its session_id is none: 1 to 255 letters, digits and '-', '_', '.', '~', '=', '+' are")
    return found
