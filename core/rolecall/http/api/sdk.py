"""The routes for the OpenTok SDKs: sessions and moderation, for a project's own servers, in the SDKs' form."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from ...errors import InvalidRequest, InvalidSessionOption, NotServed, RouteNotFound
from ...moderation import ForceDisconnect, ListConnections, ListStreams, MuteAll, MuteStream, Signal, find_stream
from ...request import Request
from ...sessions import (
    ARCHIVE_RESOLUTIONS,
    MAX_ARCHIVE_NAME,
    P2P_PREFERENCES,
    ArchiveMode,
    MediaMode,
    SessionProperties,
    SessionRecord,
)
from ...wording import shown
from ..answers import NO_STORE, done, json_answer
from ..bodies import fields, members
from ..guards.admission import check_own_session, enter_as_server, stranger
from ..messages import Response
from . import Api
from .moderation import ACT, EXCLUDED, MUTE_LIMIT, SIGNAL, SIGNAL_LIMIT
from .routing import BY_SERVER, Answer, Operation, Route, Schema
from .sdk_credentials import Server

_PROJECT: Final = "/v2/project/{api_key}/session/{session_id}"

# Other calls of the SDKs, by the first segment below the project.
_NOT_SERVED: Final = {
    "archive": "archives",
    "broadcast": "broadcasts",
    "callback": "callbacks",
    "captions": "live captions",
    "connect": "the audio connector",
    "dial": "SIP calls",
    "render": "the Experience Composer",
}

# The values that SDKs send; one SDK sends all fields, and capitalises booleans.
_MEDIA: Final = {preference: mode for mode, preference in P2P_PREFERENCES.items()}
_ARCHIVES: Final = {str(mode): mode for mode in ArchiveMode}
_MODES: Final = {str(mode): mode for mode in MediaMode}
_TEXTS: Final = {"true": True, "false": False}
_BOOLEANS: Final = {**_TEXTS, "True": True, "False": False, "": False}

_NO_LOCATION: Final = ("", "null")

_SESSION_FORM: Final[dict[str, Schema]] = {
    "p2p.preference": {
        "enum": [*_MEDIA],
        "default": "enabled",
        "description": "'enabled' for relayed media, 'disabled' for routed",
    },
    "media_mode": {
        "enum": [*_MODES],
        "description": "what p2p.preference says in other words; one SDK sends both, and that one counts",
    },
    "archiveMode": {"enum": ["manual", "always"], "default": "manual"},
    "location": {
        "anyOf": [
            {"type": "string", "format": "ipv4"},
            {"type": "string", "format": "ipv6"},
            {"enum": [*_NO_LOCATION]},
        ],
        "description": "an IP address near the participants, as a hint; where there is none, two SDKs send these",
    },
    "e2ee": {"enum": [*_BOOLEANS], "default": "false"},
    "archiveName": {"type": "string", "maxLength": MAX_ARCHIVE_NAME},
    "archiveResolution": {"enum": ["", *ARCHIVE_RESOLUTIONS]},
    "api_key": {"type": "string", "description": "the API key once more, as one SDK sends it"},
}
_SAID: Final = ("session_id", "project_id", "partner_id", "create_dt", "media_server_url")
_SESSION: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in _SAID},
    "required": [*_SAID],
}
_CREATED: Final = Answer("SDKSessions", {"type": "array", "items": _SESSION}, otherwise="application/xml")
_ROUTED: Final = {
    "if": {"required": ["p2p.preference"]},
    "then": {"properties": {"p2p.preference": {"const": "disabled"}}},
    "else": {"properties": {"media_mode": {"const": "routed"}}, "required": ["media_mode"]},
}
_SESSION_RULES: Final = (
    {
        "if": {"properties": {"archiveMode": {"const": "always"}}, "required": ["archiveMode"]},
        "then": _ROUTED,
        # Only sessions that are recorded from their start have a name and resolution of archives.
        "else": {"properties": {"archiveName": {"const": ""}, "archiveResolution": {"const": ""}}},
    },
    {
        "if": {"properties": {"e2ee": {"enum": ["true", "True"]}}, "required": ["e2ee"]},
        "then": {**_ROUTED, "properties": {"archiveMode": {"const": "manual"}}},
    },
)
_MUTE_BODY: Final[dict[str, Schema]] = {
    # One SDK sends a text.
    "active": {"enum": [True, False, *_TEXTS], "default": True},
    # One SDK sends null.
    "excludedStreams": {"anyOf": [EXCLUDED, {"type": "null"}]},
    "excludedStreamIds": {
        "anyOf": [EXCLUDED, {"type": "null"}],
        "description": "the same, by the name that some SDKs have for it",
    },
}
_MUTE_RULES: Final = ({"not": {"required": ["excludedStreams", "excludedStreamIds"]}},)
_PROJECT_ANSWER: Final = Answer("SDKProject", {"type": "object", "properties": {"id": {"type": "string"}}})
_STREAM: Final[dict[str, Any]] = {"type": "object", "properties": {"id": {"type": "string"}}}
_STREAMS_ANSWER: Final = Answer(
    "SDKStreams",
    {
        "type": "object",
        "properties": {"count": {"type": "integer"}, "items": {"type": "array", "items": _STREAM}},
        "required": ["count", "items"],
    },
)

_CONNECTION: Final[dict[str, Any]] = {"type": "object", "properties": {"connectionId": {"type": "string"}}}
_CONNECTIONS_ANSWER: Final = Answer(
    "SDKConnections",
    {
        "type": "object",
        "properties": {
            "count": {"type": "integer"},
            "projectId": {"type": "string"},
            "sessionId": {"type": "string"},
            "items": {"type": "array", "items": _CONNECTION},
        },
        "required": ["count", "projectId", "sessionId", "items"],
    },
)


async def _create_sdk_session(api: Api, request: Request) -> Response:
    server = await enter_as_server(api, request)
    form = fields(request, tuple(_SESSION_FORM))
    if form.get("api_key", server.id) != server.id:
        raise await stranger(api, request, "api_key in the body is another than the credential's")
    record = await api.engine.create_session(_properties(form), server.api_key)
    # As the service does: JSON for clients that ask for it, XML for all others.
    if "application/json" in request.headers.get("accept", "").lower():
        return json_answer(200, [_created(record, server)])
    return Response(200, (("Content-Type", "application/xml"), NO_STORE), _xml(record, server))


async def _signal_all(api: Api, request: Request) -> Response:
    return await _signal(api, request, None)


async def _signal_connection(api: Api, request: Request) -> Response:
    return await _signal(api, request, request.path_params["connection_id"])


async def _signal(api: Api, request: Request, connection_id: str | None) -> Response:
    session_id = await _enter(api, request)
    body = members(request, tuple(SIGNAL), SIGNAL_LIMIT)
    await api.engine.moderate(Signal(session_id, body.get("type", ""), body.get("data", ""), connection_id))
    return done()


async def _disconnect(api: Api, request: Request) -> Response:
    session_id = await _enter(api, request)
    await api.engine.moderate(ForceDisconnect(session_id, request.path_params["connection_id"]))
    return done()


async def _mute_one(api: Api, request: Request) -> Response:
    session_id = await _enter(api, request)
    members(request, ())
    await api.engine.moderate(MuteStream(session_id, request.path_params["stream_id"]))
    return json_answer(200, {"id": request.path_params["api_key"]})


async def _mute_session(api: Api, request: Request) -> Response:
    session_id = await _enter(api, request)
    body = members(request, tuple(_MUTE_BODY), MUTE_LIMIT)
    if "excludedStreams" in body and "excludedStreamIds" in body:
        raise InvalidRequest("the body has excludedStreams and excludedStreamIds, which are the same; send one of them")
    active = body.get("active", True)
    if isinstance(active, str):
        active = _TEXTS.get(active, active)
    excluded = body.get("excludedStreams", body.get("excludedStreamIds"))
    act = MuteAll(session_id, excluded_stream_ids=() if excluded is None else excluded)
    if active is not True:
        # Two SDKs send a list also when muting stops, which it does for all streams.
        act.checked()
        act = MuteAll(session_id, active)
    await api.engine.moderate(act)
    return json_answer(200, {"id": request.path_params["api_key"]})


async def _list_sdk_connections(api: Api, request: Request) -> Response:
    session_id = await _enter(api, request)
    connections = await api.engine.moderate(ListConnections(session_id))
    return json_answer(
        200,
        {
            "count": len(connections),
            "projectId": request.path_params["api_key"],
            "sessionId": session_id,
            "items": connections,
        },
    )


async def _list_sdk_streams(api: Api, request: Request) -> Response:
    streams = await api.engine.moderate(ListStreams(await _enter(api, request)))
    return json_answer(200, {"count": len(streams), "items": streams})


async def _find_stream(api: Api, request: Request) -> Response:
    streams = await api.engine.moderate(ListStreams(await _enter(api, request)))
    return json_answer(200, find_stream(streams, request.path_params["stream_id"]))


async def _list_sdk_streams_again(api: Api, request: Request) -> Response:
    # One SDK puts a slash at the end of the path.
    return await _list_sdk_streams(api, request)


async def _set_stream_layouts(api: Api, request: Request) -> Response:
    await _enter(api, request)
    raise NotServed("layouts of streams")


async def _refuse_other_calls(api: Api, request: Request) -> Response:
    await _enter_project(api, request)
    what = _not_served(request.path_params["rest"])
    if what is None:
        raise RouteNotFound("there is no such route here, and no SDK's call is known by this path")
    raise NotServed(what)


#: For servers whose SDK takes this for the whole service: the answer names the missing feature.
_OTHER_CALL: Final = Operation(_refuse_other_calls, "Refuse what is not served", BY_SERVER, status=501)

#: The routes for the SDKs, below the URL that they are configured with; one SDK drops the path of that URL.
SDK_ROUTES: Final = (
    Route(
        "/session/create",
        "sdk_create",
        {
            "POST": Operation(
                _create_sdk_session,
                "Create a session, as the OpenTok SDKs do",
                BY_SERVER,
                _SESSION_FORM,
                _SESSION_RULES,
                answer=_CREATED,
                media_type="application/x-www-form-urlencoded",
            )
        },
    ),
    Route(
        f"{_PROJECT}/signal",
        "sdk_signal",
        {
            "POST": Operation(
                _signal_all,
                "Send a signal to all",
                BY_SERVER,
                SIGNAL,
                status=204,
                refusals=ACT,
                limit=SIGNAL_LIMIT,
            )
        },
    ),
    Route(
        f"{_PROJECT}/connection/{{connection_id}}/signal",
        "sdk_connection_signal",
        {
            "POST": Operation(
                _signal_connection,
                "Send a signal to a connection",
                BY_SERVER,
                SIGNAL,
                status=204,
                refusals=ACT,
                limit=SIGNAL_LIMIT,
            )
        },
    ),
    Route(
        f"{_PROJECT}/connection/{{connection_id}}",
        "sdk_connection",
        {"DELETE": Operation(_disconnect, "End a connection", BY_SERVER, status=204, refusals=(400, *ACT))},
    ),
    Route(
        f"{_PROJECT}/connection",
        "sdk_connections",
        {
            "GET": Operation(
                _list_sdk_connections,
                "List the connections",
                BY_SERVER,
                answer=_CONNECTIONS_ANSWER,
                refusals=(400, *ACT),
            )
        },
    ),
    Route(
        f"{_PROJECT}/stream/{{stream_id}}/mute",
        "sdk_stream_mute",
        {"POST": Operation(_mute_one, "Mute a stream", BY_SERVER, {}, answer=_PROJECT_ANSWER, refusals=ACT)},
    ),
    Route(
        f"{_PROJECT}/mute",
        "sdk_mute",
        {
            "POST": Operation(
                _mute_session,
                "Mute all streams, or stop doing so",
                BY_SERVER,
                _MUTE_BODY,
                _MUTE_RULES,
                answer=_PROJECT_ANSWER,
                refusals=ACT,
                limit=MUTE_LIMIT,
            )
        },
    ),
    Route(
        f"{_PROJECT}/stream",
        "sdk_streams",
        {
            "GET": Operation(
                _list_sdk_streams, "List the streams", BY_SERVER, answer=_STREAMS_ANSWER, refusals=(400, *ACT)
            ),
            "PUT": Operation(_set_stream_layouts, "Refuse to set layouts", BY_SERVER, status=501),
        },
    ),
    Route(
        f"{_PROJECT}/stream/",
        "sdk_streams_again",
        {
            "GET": Operation(
                _list_sdk_streams_again,
                "List the streams, as one SDK asks for them",
                BY_SERVER,
                answer=_STREAMS_ANSWER,
                refusals=(400, *ACT),
            )
        },
    ),
    Route(
        f"{_PROJECT}/stream/{{stream_id}}",
        "sdk_stream",
        {
            "GET": Operation(
                _find_stream, "Find a stream", BY_SERVER, answer=Answer("SDKStream", _STREAM), refusals=(400, *ACT)
            )
        },
    ),
    Route(
        "/v2/project/{api_key}/{rest:path}",
        "sdk_other",
        dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), _OTHER_CALL),
    ),
)


async def _enter_project(api: Api, request: Request) -> Server:
    """Verify a server's credential for the project in the path, and return the server."""
    server = await enter_as_server(api, request)
    if request.path_params["api_key"] != server.id:
        raise await stranger(api, request, "the path names another project than the credential")
    return server


async def _enter(api: Api, request: Request) -> str:
    """Verify a server's credential, and return the id of the session in the path."""
    server, session_id = await _enter_project(api, request), request.path_params["session_id"]
    await check_own_session(api, request, server, session_id)
    return session_id


def _not_served(rest: str) -> str | None:
    """The feature that an SDK calls by a path below the project; None if no SDK calls it."""
    segments = rest.rstrip("/").split("/")
    first, last = segments[0], segments[-1]
    if first == "session" and last == "play-dtmf":
        return "DTMF tones"
    what = _NOT_SERVED.get(first)
    return f"layouts of {what}" if what and last == "layout" else what


def _properties(form: Mapping[str, str]) -> SessionProperties:
    location = form.get("location")
    properties = SessionProperties(
        None if location in _NO_LOCATION else location,
        _media_mode(form),
        _one_of(_ARCHIVES, "archiveMode", form.get("archiveMode", ArchiveMode.MANUAL)),
        _one_of(_BOOLEANS, "e2ee", form.get("e2ee", "")),
        form.get("archiveName") or None,
        form.get("archiveResolution") or None,
    )
    properties.check_archives(("archiveName", "archiveResolution"))
    return properties


def _media_mode(form: Mapping[str, str]) -> MediaMode:
    mode: MediaMode = _one_of(_MODES, "media_mode", form.get("media_mode", MediaMode.RELAYED))
    if "p2p.preference" in form:
        mode = _one_of(_MEDIA, "p2p.preference", form["p2p.preference"])
    return mode


def _one_of(choices: Mapping[str, Any], name: str, value: str) -> Any:
    if value not in choices:
        raise InvalidSessionOption(f"{name} is {shown(value)}; expected one of {', '.join(filter(None, choices))}")
    return choices[value]


def _created(record: SessionRecord, server: Server) -> dict[str, str]:
    return {
        "session_id": record.session_id,
        "project_id": server.id,
        "partner_id": server.id,
        "create_dt": _date(record.created_at),
        "media_server_url": "",
    }


def _xml(record: SessionRecord, server: Server) -> bytes:
    # Nothing in it needs escapes: base64url, digits and letters.
    return (
        f"<sessions><Session><session_id>{record.session_id}</session_id><partner_id>{server.id}</partner_id>"
        f"<create_dt>{_date(record.created_at)}</create_dt></Session></sessions>"
    ).encode()


def _date(seconds: float) -> str:
    text = time.asctime(time.gmtime(seconds))
    return f"{text[:-5]} UTC{text[-5:]}"
