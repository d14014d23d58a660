"""The kit's routes for moderation in running sessions, for bearers of a sufficient token."""

from __future__ import annotations

from typing import Any, Final

from ...engine import Call
from ...moderation import (
    MAX_EXCLUDED,
    MAX_SIGNAL_DATA,
    MAX_SIGNAL_TYPE,
    ForceDisconnect,
    ListConnections,
    ListStreams,
    MuteAll,
    MuteStream,
    Signal,
)
from ...request import Request
from ...roles import Requirement
from ...session_ids import ID_PATTERN
from ...tokens import Grant
from ..answers import done, json_answer
from ..bodies import members
from ..guards.admission import enter
from ..messages import BodyLimit, Response
from . import Api
from .routing import Answer, Operation, Route, Schema

_SIGNAL: Final = Requirement.of_capability(Signal.capability)
_DISCONNECT: Final = Requirement.of_capability(ForceDisconnect.capability)
_UNPUBLISH: Final = Requirement.of_capability(MuteStream.capability)

#: The id of a connection or a stream.
ID: Final = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": ID_PATTERN}
#: The members of a signal.
SIGNAL: Final[dict[str, Schema]] = {
    "type": {
        "type": "string",
        "maxLength": MAX_SIGNAL_TYPE,
        "default": "",
        "description": f"what it is about, at most {MAX_SIGNAL_TYPE} bytes of UTF-8",
    },
    "data": {
        "type": "string",
        "maxLength": MAX_SIGNAL_DATA,
        "default": "",
        "description": f"its content, at most {MAX_SIGNAL_DATA:,} bytes of UTF-8",
    },
}
#: The streams to exclude when all others are muted.
EXCLUDED: Final = {"type": "array", "items": ID, "maxItems": MAX_EXCLUDED, "description": "streams that are not muted"}
#: The limit of a signal's body: JSON may need six bytes for one character, such as a control character.
SIGNAL_LIMIT: Final = BodyLimit(length=65_536)
#: The limit of a body that mutes all: the most excluded streams, each with the longest id.
MUTE_LIMIT: Final = BodyLimit(length=262_144, elements=MAX_EXCLUDED)
_SIGNAL_BODY: Final[dict[str, Schema]] = {
    **SIGNAL,
    "connection_id": {
        "anyOf": [ID, {"type": "null"}],
        "description": "the one connection that gets it; all do unless given",
    },
}
_MUTE_BODY: Final[dict[str, Schema]] = {
    "active": {"type": "boolean", "default": True, "description": "false to stop: streams to come are not muted"},
    "excluded_stream_ids": EXCLUDED,
}
_MUTE_RULES: Final = (
    {
        "if": {"properties": {"active": {"const": False}}, "required": ["active"]},
        "then": {"properties": {"excluded_stream_ids": {"maxItems": 0}}},
    },
)
_LIST: Final = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": {"type": "object"}}},
    "required": ["items"],
}
_STREAMS: Final = Answer("Streams", _LIST)
_CONNECTIONS: Final = Answer("Connections", _LIST)
#: The statuses of acts that fail.
ACT: Final = (404, 501)


async def _signal_session(api: Api, request: Request) -> Response:
    session_id, grant = await _enter(api, request, _SIGNAL)
    body = members(request, tuple(_SIGNAL_BODY), SIGNAL_LIMIT)
    act = Signal(session_id, body.get("type", ""), body.get("data", ""), body.get("connection_id"))
    await api.engine.moderate(act, grant, Call(request))
    return done()


async def _disconnect_connection(api: Api, request: Request) -> Response:
    session_id, grant = await _enter(api, request, _DISCONNECT)
    act = ForceDisconnect(session_id, request.path_params["connection_id"])
    await api.engine.moderate(act, grant, Call(request))
    return done()


async def _mute_stream(api: Api, request: Request) -> Response:
    session_id, grant = await _enter(api, request, _UNPUBLISH)
    members(request, ())
    await api.engine.moderate(MuteStream(session_id, request.path_params["stream_id"]), grant, Call(request))
    return done()


async def _mute_all(api: Api, request: Request) -> Response:
    session_id, grant = await _enter(api, request, _UNPUBLISH)
    body: dict[str, Any] = members(request, tuple(_MUTE_BODY), MUTE_LIMIT)
    act = MuteAll(session_id, body.get("active", True), body.get("excluded_stream_ids", ()))
    await api.engine.moderate(act, grant, Call(request))
    return done()


async def _list_streams(api: Api, request: Request) -> Response:
    session_id, grant = await _enter(api, request, _UNPUBLISH)
    return json_answer(200, {"items": await api.engine.moderate(ListStreams(session_id), grant, Call(request))})


async def _list_connections(api: Api, request: Request) -> Response:
    session_id, grant = await _enter(api, request, _DISCONNECT)
    return json_answer(200, {"items": await api.engine.moderate(ListConnections(session_id), grant, Call(request))})


async def _enter(api: Api, request: Request, requirement: Requirement) -> tuple[str, Grant]:
    session_id = request.path_params["session_id"]
    return session_id, await enter(api, request, requirement, session_id)


MODERATION_ROUTES: Final = (
    Route(
        "/sessions/{session_id}/signal",
        "signal",
        {
            "POST": Operation(
                _signal_session,
                "Send a signal",
                _SIGNAL.scope,
                _SIGNAL_BODY,
                status=204,
                refusals=ACT,
                limit=SIGNAL_LIMIT,
            )
        },
    ),
    Route(
        "/sessions/{session_id}/connections/{connection_id}",
        "connection",
        {"DELETE": Operation(_disconnect_connection, "End a connection", _DISCONNECT.scope, status=204, refusals=ACT)},
    ),
    Route(
        "/sessions/{session_id}/connections",
        "connections",
        {
            "GET": Operation(
                _list_connections, "List the connections", _DISCONNECT.scope, answer=_CONNECTIONS, refusals=ACT
            )
        },
    ),
    Route(
        "/sessions/{session_id}/streams",
        "streams",
        {"GET": Operation(_list_streams, "List the streams", _UNPUBLISH.scope, answer=_STREAMS, refusals=ACT)},
    ),
    Route(
        "/sessions/{session_id}/streams/{stream_id}/mute",
        "stream_mute",
        {"POST": Operation(_mute_stream, "Mute a stream", _UNPUBLISH.scope, {}, status=204, refusals=ACT)},
    ),
    Route(
        "/sessions/{session_id}/mute",
        "mute",
        {
            "POST": Operation(
                _mute_all,
                "Mute all streams, or stop doing so",
                _UNPUBLISH.scope,
                _MUTE_BODY,
                _MUTE_RULES,
                status=204,
                refusals=ACT,
                limit=MUTE_LIMIT,
            )
        },
    ),
)
