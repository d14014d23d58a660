"""What a kit's own routes do, and what each takes and answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from ..engine import Call, Engine
from ..errors import InvalidData, InvalidExpireTime, InvalidRequest, shown
from ..roles import ANY_TOKEN, Requirement, Role
from ..sessions import ArchiveMode, MediaMode, SessionRecord
from ..tokens import MAX_DATA_LENGTH, ExpireTime
from .bodies import members
from .messages import Request, Response
from .problems import json_bytes
from .routing import BY_POLICY, PUBLIC, Operation, Route
from .service import enter

_MODERATOR: Final = Requirement.of_role(Role.MODERATOR)
#: The longest token that a cookie holds: browsers keep 4,096 bytes, name and attributes included.
_MAX_COOKIE_TOKEN: Final = 3800

_SESSION_BODY: Final[dict[str, dict[str, Any]]] = {
    "location": {"type": ["string", "null"], "description": "an IP address near the participants, as a hint"},
    "media_mode": {"enum": [str(mode) for mode in MediaMode]},
    "archive_mode": {"enum": [str(mode) for mode in ArchiveMode], "description": "'always' needs 'routed'"},
    "e2ee": {"type": "boolean", "description": "encrypt media from end to end; needs 'routed'"},
}
_TOKEN_BODY: Final[dict[str, dict[str, Any]]] = {
    "role": {"type": "string"},
    "expire_time": {"type": ["number", "null"], "description": "the end of its life, in Unix seconds"},
    "expires_in": {"type": ["number", "null"], "description": "the same, in seconds from now; send one of the two"},
    "data": {"type": ["string", "null"], "maxLength": MAX_DATA_LENGTH},
    "initial_layout_class_list": {"type": "array", "items": {"type": "string"}},
    "cookie": {"type": "boolean", "description": "set the token as a cookie, where the service has switched that on"},
}


async def _create_session(engine: Engine, request: Request) -> Response:
    asked = members(request, tuple(_SESSION_BODY))
    record = await engine.create_session(
        asked.get("location"),
        asked.get("media_mode", MediaMode.RELAYED),
        asked.get("archive_mode", ArchiveMode.MANUAL),
        asked.get("e2ee", False),
        call=Call(request),
    )
    return _json(201, _session_members(record))


async def _read_session(engine: Engine, request: Request) -> Response:
    session_id = request.path_params["session_id"]
    await enter(engine, request, ANY_TOKEN, session_id)
    return _json(200, _session_members(await engine.get_session(session_id)))


async def _end_session(engine: Engine, request: Request) -> Response:
    session_id = request.path_params["session_id"]
    await enter(engine, request, _MODERATOR, session_id)
    await engine.end_session(session_id, Call(request))
    return Response(204, (("Cache-Control", "no-store"),))


async def _create_token(engine: Engine, request: Request) -> Response:
    asked = members(request, tuple(_TOKEN_BODY))
    as_cookie = _as_cookie(engine, asked)
    token, options = await engine.generate_token(
        request.path_params["session_id"],
        asked.get("role", Role.PUBLISHER),
        _expire_time(asked),
        asked.get("data"),
        asked.get("initial_layout_class_list", ()),
        call=Call(request),
    )
    said = {
        "session_id": options.session_id,
        "role": str(options.role),
        "capabilities": sorted(options.capabilities),
        "issued_at": options.issued_at,
        "expires_at": options.expires_at,
        "data": options.data,
    }
    if not as_cookie:
        return _json(201, {"token": token, **said})
    if len(token) > _MAX_COOKIE_TOKEN:
        raise InvalidData(f"the token has {len(token)} characters; a cookie holds at most {_MAX_COOKIE_TOKEN}")
    proof = engine.state.credentials.csrf_token(token)
    attributes = f"; Max-Age={options.expires_at - options.issued_at}; Path=/; Secure; SameSite=Lax"
    return _json(201, {"csrf_token": proof, **said}).with_headers(
        ("Set-Cookie", f"{engine.state.web.cookie}={token}{attributes}; HttpOnly"),
        # For pages to read, also after they were loaded anew.
        ("Set-Cookie", f"{engine.state.web.cookie}-csrf={proof}{attributes}"),
    )


async def _describe(engine: Engine, request: Request) -> Response:
    from .openapi import description

    prefix = request.root + request.route.removesuffix("/openapi.json")
    return Response(
        200,
        (("Content-Type", "application/json"), ("Cache-Control", "no-cache")),
        json_bytes(description(ROUTES, prefix, engine.state)),
    )


#: Every route of a kit.
ROUTES: Final = (
    Route(
        "/sessions",
        "sessions",
        {
            "POST": Operation(
                _create_session, "Create a session", BY_POLICY, _SESSION_BODY, 201, "Session", refusals=(400, 403)
            )
        },
    ),
    Route(
        "/sessions/{session_id}",
        "session",
        {
            "GET": Operation(
                _read_session, "Read a session", ANY_TOKEN.scope, answer="Session", refusals=(400, 403, 404)
            ),
            "DELETE": Operation(
                _end_session,
                "End a session: it issues no more tokens, and those it issued are refused",
                _MODERATOR.scope,
                status=204,
                refusals=(400, 403),
            ),
        },
    ),
    Route(
        "/sessions/{session_id}/tokens",
        "tokens",
        {
            "POST": Operation(
                _create_token, "Get a token", BY_POLICY, _TOKEN_BODY, 201, "Token", refusals=(400, 403, 404, 410)
            )
        },
    ),
    Route("/openapi.json", "openapi", {"GET": Operation(_describe, "This description", PUBLIC, answer="Description")}),
)


def _as_cookie(engine: Engine, asked: dict[str, Any]) -> bool:
    """Whether the client asks for the token as a cookie, out of reach of scripts."""
    as_cookie = asked.get("cookie", False)
    if not isinstance(as_cookie, bool):
        raise InvalidRequest(f"cookie is {shown(as_cookie)}; expected true or false")
    if as_cookie and engine.state.web.cookie is None:
        raise InvalidRequest("cookie is true, and this service sets no cookies; leave it out, and keep the token")
    return as_cookie


def _expire_time(asked: dict[str, Any]) -> ExpireTime:
    """``expire_time`` (Unix seconds) or ``expires_in`` (seconds from now, for clients whose clock may be wrong)."""
    seconds = asked.get("expires_in")
    if seconds is None:
        expire_time: ExpireTime = asked.get("expire_time")
        return expire_time
    if asked.get("expire_time") is not None:
        raise InvalidExpireTime("the body has both expire_time and expires_in; send one of them")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 1e9:
        raise InvalidExpireTime(f"expires_in is {shown(seconds)}; expected a number of seconds above 0")
    return timedelta(seconds=seconds)


def _session_members(record: SessionRecord) -> dict[str, Any]:
    return {
        "session_id": record.session_id,
        "location": record.location,
        "media_mode": record.media_mode,
        "archive_mode": record.archive_mode,
        "e2ee": record.e2ee,
        "created_at": record.created_at,
        "ended_at": record.ended_at,
    }


def _json(status: int, value: dict[str, Any]) -> Response:
    headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
    return Response(status, headers, json_bytes(value))
