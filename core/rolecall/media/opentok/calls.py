"""Calls of an OpenTok-compatible service: their requests, and how their answers are read. Nothing here waits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

from ...keys.making import is_application
from ...moderation import ForceDisconnect, ListConnections, ListStreams, MuteAll, MuteStream, Signal
from ...sessions import SessionProperties
from . import answers
from .answers import Unreadable

Result = TypeVar("Result", covariant=True)

#: The longest list of streams or connections that is read, in bytes: thousands of entries.
MAX_LIST: Final = 4_194_304


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One call of the service.

    :param method: the HTTP method.
    :param path: the path below the service's URL.
    :param read: makes the result from the ``Content-Type`` and the body of an answer with status 200, 201 or 204.
    :param repeatable: whether it may be sent again although it may have been carried out.
    :param content_type: the media type of the request's body.
    :param body: the request's body.
    :param if_not_found: makes the result if the service answers 404; None: that is an error.
    :param is_about_existing: whether 404 means that the session, connection or stream does not exist.
    :param longest: how many bytes of an answer are read at most.
    """

    method: str
    path: str
    read: Callable[[str, bytes], Result]
    repeatable: bool = False
    content_type: str | None = None
    body: bytes = field(default=b"", repr=False)
    if_not_found: Callable[[], Result] | None = None
    is_about_existing: bool = True
    longest: int = answers.MAX_ANSWER


def create_session(properties: SessionProperties) -> Call[str]:
    """``POST /session/create``. Repeatable: if its answer is lost, nobody knows the id of the first session.

    :raises InvalidSessionOption: for a property that does not exist, or conflicts with another.
    """
    return Call(
        "POST",
        "/session/create",
        _read_session_id,
        repeatable=True,
        content_type="application/x-www-form-urlencoded",
        body=urlencode(properties.checked().as_form()).encode(),
        is_about_existing=False,
    )


def signal(api_key: str, act: Signal) -> Call[None]:
    """``POST …/signal``, to all connections of a session or to one."""
    act = act.checked()
    to = "" if act.connection_id is None else f"/connection/{_segment(act.connection_id)}"
    return _act("POST", f"{_session(api_key, act.session_id)}{to}/signal", {"type": act.type, "data": act.data})


def force_disconnect(api_key: str, act: ForceDisconnect) -> Call[None]:
    """``DELETE …/connection/{connection_id}``."""
    act = act.checked()
    return _act("DELETE", f"{_session(api_key, act.session_id)}/connection/{_segment(act.connection_id)}")


def mute_stream(api_key: str, act: MuteStream) -> Call[None]:
    """``POST …/stream/{stream_id}/mute``."""
    act = act.checked()
    return _act("POST", f"{_session(api_key, act.session_id)}/stream/{_segment(act.stream_id)}/mute", {})


def mute_all(api_key: str, act: MuteAll) -> Call[None]:
    """``POST …/mute``, to start or to stop muting."""
    act = act.checked()
    wanted: dict[str, Any] = {"active": act.active}
    if act.active:
        # The newer service has another name for them.
        wanted["excludedStreamIds" if is_application(api_key) else "excludedStreams"] = [*act.excluded_stream_ids]
    return _act("POST", f"{_session(api_key, act.session_id)}/mute", wanted)


def list_streams(api_key: str, act: ListStreams) -> Call[list[dict[str, Any]]]:
    """``GET …/stream``. The service answers 404 for a session in which nobody has published yet."""
    path = f"{_session(api_key, act.checked().session_id)}/stream"
    return Call("GET", path, answers.streams, repeatable=True, if_not_found=list, longest=MAX_LIST)


def list_connections(api_key: str, act: ListConnections) -> Call[list[dict[str, Any]]]:
    """``GET …/connection``. 404 is an error: it may mean a service without the route, not a session without people."""
    path = f"{_session(api_key, act.checked().session_id)}/connection"
    return Call("GET", path, answers.connections, repeatable=True, longest=MAX_LIST)


def _act(method: str, path: str, body: dict[str, Any] | None = None) -> Call[None]:
    if body is None:
        return Call(method, path, answers.nothing)
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Call(method, path, answers.nothing, content_type="application/json", body=text.encode())


def _session(api_key: str, session_id: str) -> str:
    return f"/v2/project/{api_key}/session/{_segment(session_id)}"


def _segment(checked_id: str) -> str:
    return quote(checked_id, safe="")


# The service's own ids are base64url.
_SESSION_ID: Final = re.compile(r"(?!\.+\Z)[0-9A-Za-z_.~=+-]{1,255}")


def _read_session_id(content_type: str, body: bytes) -> str:
    value = answers.session_id(content_type, body)
    if not isinstance(value, str) or not _SESSION_ID.fullmatch(value):
        raise Unreadable(
            "its session_id is invalid; expected 1 to 255 of letters, digits, '-', '_', '.', '~', '=', '+'"
        )
    return value
