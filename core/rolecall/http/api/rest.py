"""The kit's own routes, with their bodies and answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, get_args

from ...actors import MAX_ACTOR_ID, problem_with_actor_id
from ...encoding.jws import MAX_TOKEN_LENGTH
from ...encoding.strict_json import MAX_MEMBERS
from ...engine import Call, Credential
from ...engine.renewing import Wishes
from ...errors import InvalidActor, InvalidExpireTime, InvalidRequest, RolecallError, RouteNotFound
from ...request import Request
from ...roles import ANY_TOKEN, Capability, Requirement, Role
from ...sessions import ArchiveMode, MediaMode, SessionProperties
from ...stores.ledger import token_page_of
from ...stores.listing import MAX_LIMIT, SessionState, page_of
from ...tokens import MAX_DATA_LENGTH, ExpireTime, duration, usual_life
from ...wording import shown
from ..answers import done, json_answer, json_bytes
from ..bodies import members, parameters
from ..credentials import COOKIE
from ..guards.admission import enter, enter_as_server, enter_either_way
from ..messages import Response
from . import Api
from .health import HEALTH_ROUTES
from .keys import KEY_ROUTES
from .moderation import MODERATION_ROUTES
from .oauth import OAUTH_ROUTES
from .routing import BY_POLICY, BY_SERVER, PUBLIC, Answer, Operation, Route, Schema
from .sdk import SDK_ROUTES
from .taking_back import TAKING_BACK_ROUTES
from .tickets import TICKET_ROUTES
from .webhooks import WEBHOOK_ROUTES

_MODERATOR: Final = Requirement.of_role(Role.MODERATOR)
#: The longest token in a cookie: browsers keep 4,096 bytes, name and attributes included.
_MAX_COOKIE_TOKEN: Final = 3800

_MODES: Final[dict[str, Any]] = {
    "media_mode": {"enum": [str(mode) for mode in MediaMode]},
    "archive_mode": {"enum": [str(mode) for mode in ArchiveMode]},
}
_UNIX_SECONDS: Final = {"type": "number", "description": "in Unix seconds"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}


def _if(member: str, value: dict[str, Any], others: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """A rule: if ``member`` is present and matches ``value``, the ``others`` must match, too."""
    return {
        "if": {"properties": {member: value}, "required": [member]},
        "then": {"properties": others, "required": [*required]},
    }


def _object(**members: Any) -> dict[str, Any]:
    """The schema of an object that must have all of ``members``."""
    return {"type": "object", "properties": members, "required": [*members]}


def _roles(api: Api) -> dict[str, Any]:
    state = api.engine.state
    carried = [str(role) for role in state.roles if state.mint.carries(role, role.capabilities)]
    return {"enum": carried, **({"default": str(Role.PUBLISHER)} if Role.PUBLISHER in carried else {})}


def _end_of_life(api: Api) -> dict[str, Any]:
    shortest, longest = api.engine.state.mint.shortest_life, api.engine.state.mint.longest_life
    return {
        "type": ["number", "null"],
        "description": f"the end of its life, in Unix seconds, at most {duration(longest)} from now; "
        f"{duration(usual_life(shortest, longest))} from now unless given",
    }


def _expires_in(api: Api) -> dict[str, Any]:
    return {
        "type": ["number", "null"],
        "minimum": api.engine.state.mint.shortest_life,
        "exclusiveMaximum": api.engine.state.mint.longest_life + 1,
        "description": "the same, in seconds from now; send one of the two",
    }


def _cookie(api: Api) -> dict[str, Any]:
    if api.web.cookie is None:
        return {"const": False, "description": "this service sets no cookies"}
    return {"type": "boolean", "default": False, "description": "set the token as a cookie, and answer with its proof"}


def _media(api: Api) -> dict[str, Any]:
    names = api.engine.state.media.names
    if not names:
        return {"type": "null", "description": "this service has no media services to choose from"}
    return {"enum": [None, *names], "description": f"the media service that carries it; {names[0]} unless given"}


def _token_answer(api: Api) -> dict[str, Any]:
    properties = {
        "session_id": {"type": "string"},
        "role": {"enum": [str(role) for role in api.engine.state.roles]},
        "capabilities": {"type": "array", "items": {"enum": [str(capability) for capability in Capability]}},
        "issued_at": _UNIX_SECONDS,
        "expires_at": _UNIX_SECONDS,
        "expires_in": {"type": "integer", "description": "the same, in seconds from now: it needs no clock"},
        "data": _TEXT_OR_NULL,
    }
    plain = _object(token={"type": "string"}, **properties)
    if api.web.cookie is None:
        return plain
    return {"oneOf": [plain, _object(csrf_token={"type": "string"}, **properties)]}


_SESSION_BODY: Final[dict[str, Schema]] = {
    "location": {
        "anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}, {"type": "null"}],
        "description": "an IP address near the participants, as a hint",
    },
    "media_mode": {**_MODES["media_mode"], "default": str(MediaMode.RELAYED)},
    "archive_mode": {
        **_MODES["archive_mode"],
        "default": str(ArchiveMode.MANUAL),
        "description": "'always' needs media_mode 'routed'",
    },
    "e2ee": {
        "type": "boolean",
        "default": False,
        "description": "encrypt media from end to end; needs media_mode 'routed' and archive_mode 'manual'",
    },
    "media": _media,
}
_ROUTED: Final = {"media_mode": {"const": str(MediaMode.ROUTED)}}
_SESSION_RULES: Final = (
    _if("archive_mode", {"const": str(ArchiveMode.ALWAYS)}, _ROUTED, required=("media_mode",)),
    _if(
        "e2ee",
        {"const": True},
        {**_ROUTED, "archive_mode": {"const": str(ArchiveMode.MANUAL)}},
        required=("media_mode",),
    ),
)
_SESSION: Final = Answer(
    "Session",
    _object(
        session_id={"type": "string"},
        location={**_TEXT_OR_NULL, "description": "for whoever creates the session, and for moderators; else null"},
        **_MODES,
        e2ee={"type": "boolean"},
        media={**_TEXT_OR_NULL, "description": "the name of its media service; null if it was created without one"},
        created_at=_UNIX_SECONDS,
        ended_at={"type": ["number", "null"], "description": "in Unix seconds; null while it is open"},
    ),
)

_TOKEN_BODY: Final[dict[str, Schema]] = {
    "role": _roles,
    "expire_time": _end_of_life,
    "expires_in": _expires_in,
    "data": {**_TEXT_OR_NULL, "maxLength": MAX_DATA_LENGTH, "description": "connection data"},
    "initial_layout_class_list": {
        "type": "array",
        # White space as JavaScript defines it, and as Python does.
        "items": {"type": "string", "pattern": r"^[^\s\x1c-\x1f\x85+]+$"},
        "maxItems": MAX_MEMBERS,
        "description": f"at most {MAX_DATA_LENGTH} characters, joined by spaces",
    },
    "cookie": _cookie,
    "renew": {
        "type": "boolean",
        "default": False,
        "description": "renew the token that is the request's credential. The new one has no more rights: role and "
        "layout may be less, data stays, and it lives as long at most. A token in a cookie is renewed there",
    },
}
_TOKEN_RULES: Final = (_if("expires_in", {"type": "number"}, {"expire_time": {"type": "null"}}),)
_TOKEN: Final = Answer("Token", _token_answer)


_SESSIONS: Final = Answer(
    "Sessions",
    _object(
        sessions={
            "type": "array",
            "items": {
                "allOf": [
                    {"$ref": "#/components/schemas/Session"},
                    _object(created_by={**_TEXT_OR_NULL, "description": "the id of the actor that created it"}),
                ]
            },
        },
        next={**_TEXT_OR_NULL, "description": "the `after` of the next page; null if there is none"},
    ),
)
_SESSIONS_QUERY: Final[dict[str, dict[str, Any]]] = {
    "state": {"enum": [*get_args(SessionState)], "description": "open sessions or ended ones; both unless given"},
    "created_by": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_ACTOR_ID,
        "description": "only those that the actor of this id created",
    },
    "after": {"type": "string", "description": "the `next` of the page before"},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 100},
}


_TOKENS: Final = Answer(
    "Tokens",
    _object(
        tokens={
            "type": "array",
            "items": _object(
                session_id={"type": "string"},
                token_id={"type": "string"},
                actor_id={**_TEXT_OR_NULL, "description": "the id of the actor that it is for"},
                role={"type": "string"},
                issued_at=_UNIX_SECONDS,
                expires_at=_UNIX_SECONDS,
            ),
        },
        next={**_TEXT_OR_NULL, "description": "the `after` of the next page; null if there is none"},
    ),
)
_TOKENS_QUERY: Final[dict[str, dict[str, Any]]] = {
    "actor": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_ACTOR_ID,
        "description": "only those of the actor of this id",
    },
    "after": _SESSIONS_QUERY["after"],
    "limit": _SESSIONS_QUERY["limit"],
}


async def _create_session(api: Api, request: Request) -> Response:
    properties = SessionProperties(**members(request, tuple(_SESSION_BODY)))
    record = await api.engine.create_session(properties, call=Call(request))
    return json_answer(201, record.as_dict())


async def _list_sessions(api: Api, request: Request) -> Response:
    server = await enter_as_server(api, request)
    asked = parameters(request, tuple(_SESSIONS_QUERY))
    page = page_of(
        _limit(asked),
        asked.get("state"),
        asked.get("created_by"),
        asked.get("after"),
    )
    found, following = await api.engine.list_sessions(page, server.api_key)
    sessions = [{**record.as_dict(), "created_by": record.created_by} for record in found]
    return json_answer(200, {"sessions": sessions, "next": following})


async def _read_session(api: Api, request: Request) -> Response:
    session_id = request.path_params["session_id"]
    grant = await enter(api, request, ANY_TOKEN, session_id)
    answer = (await api.engine.get_session(session_id)).as_dict()
    if not _MODERATOR.capabilities <= grant.capabilities:
        answer["location"] = None  # it may show where another participant is
    return json_answer(200, answer)


async def _end_session(api: Api, request: Request) -> Response:
    session_id = request.path_params["session_id"]
    grant = await enter(api, request, _MODERATOR, session_id)
    call = Call(request)
    call.bearer = grant.actor_id
    await api.engine.end_session(session_id, call)
    return done()


async def _create_token(api: Api, request: Request) -> Response:
    body = members(request, tuple(_TOKEN_BODY))
    as_cookie, session_id = _as_cookie(api, body), request.path_params["session_id"]
    asked = (_expire_time(body), body.get("data"), body.get("initial_layout_class_list", ()))
    if _flag(body, "renew"):
        credential = api.credential_of(request)
        as_cookie = _renewed_as_cookie(credential, body, as_cookie)
        token, options = await api.engine.renew_token(
            credential, session_id, Wishes(body.get("role"), *asked), Call(request), _longest(as_cookie)
        )
    else:
        token, options = await api.engine.generate_token(
            session_id, body.get("role", Role.PUBLISHER), *asked, Call(request), _longest(as_cookie)
        )
    answer = {
        "session_id": options.session_id,
        "role": str(options.role),
        "capabilities": sorted(options.capabilities),
        "issued_at": options.issued_at,
        "expires_at": options.expires_at,
        "expires_in": options.expires_at - options.issued_at,
        "data": options.data,
    }
    if as_cookie:
        return json_answer(201, {"csrf_token": api.credentials.csrf_token(token), **answer}).with_headers(
            *_cookies(api, token, options.expires_at - options.issued_at)
        )
    return json_answer(201, {"token": token, **answer})


async def _list_tokens(api: Api, request: Request) -> Response:
    session_id = request.path_params["session_id"]
    grant = await enter_either_way(api, request, _MODERATOR, session_id)
    # The token may be in the query, too.
    asked = parameters(request, (*_TOKENS_QUERY, *filter(None, (api.web.query,))))
    actor_id = asked.get("actor")
    if actor_id is not None and (problem := problem_with_actor_id(actor_id)):
        raise InvalidActor(f"actor {problem}")
    page = token_page_of(_limit(asked), api.engine.state.clock(), session_id, actor_id, asked.get("after"))
    found, following = await api.engine.list_tokens(page)
    if grant is not None:
        await api.engine.check_again(grant)  # it may be among those that were revoked meanwhile
    return json_answer(200, {"tokens": [token._asdict() for token in found], "next": following})


async def _describe(api: Api, request: Request) -> Response:
    if not api.web.openapi:
        raise RouteNotFound("there is no such route here")
    from .openapi import description

    prefix = request.root + request.route.removesuffix("/openapi.json")
    return Response(
        200,
        (("Content-Type", "application/json"), ("Cache-Control", "no-cache")),
        json_bytes(description(ROUTES, prefix, api)),
    )


#: All routes of a kit.
ROUTES: Final = (
    Route(
        "/sessions",
        "sessions",
        {
            "GET": Operation(
                _list_sessions,
                "List the project's sessions, the newest first",
                BY_SERVER,
                answer=_SESSIONS,
                refusals=(400,),
                query=_SESSIONS_QUERY,
                votes=False,
            ),
            "POST": Operation(
                _create_session, "Create a session", BY_POLICY, _SESSION_BODY, _SESSION_RULES, 201, _SESSION
            ),
        },
    ),
    Route(
        "/sessions/{session_id}",
        "session",
        {
            "GET": Operation(_read_session, "Read a session", ANY_TOKEN.scope, answer=_SESSION, refusals=(404,)),
            "DELETE": Operation(
                _end_session,
                "End a session: it issues no more tokens, and those it issued are refused",
                _MODERATOR.scope,
                status=204,
            ),
        },
    ),
    Route(
        "/sessions/{session_id}/tokens",
        "tokens",
        {
            "GET": Operation(
                _list_tokens,
                "List the session's tokens that are still good, the newest first, if this service keeps them",
                _MODERATOR.scope,
                answer=_TOKENS,
                query=_TOKENS_QUERY,
                servers=True,
            ),
            "POST": Operation(
                _create_token,
                "Get a token, or renew one",
                BY_POLICY,
                _TOKEN_BODY,
                _TOKEN_RULES,
                201,
                _TOKEN,
                refusals=(404, 410),
                renews=True,
            ),
        },
    ),
    *TICKET_ROUTES,
    *WEBHOOK_ROUTES,
    *MODERATION_ROUTES,
    *TAKING_BACK_ROUTES,
    *OAUTH_ROUTES,
    *SDK_ROUTES,
    *HEALTH_ROUTES,
    *KEY_ROUTES,
    Route(
        "/openapi.json",
        "openapi",
        {"GET": Operation(_describe, "This description", PUBLIC, answer=Answer("Description", {"type": "object"}))},
    ),
)


def _as_cookie(api: Api, body: dict[str, Any]) -> bool:
    """Whether the client wants the token as a cookie, out of reach of scripts."""
    as_cookie = _flag(body, "cookie")
    if as_cookie and api.web.cookie is None:
        raise InvalidRequest("cookie is true, and this service sets no cookies; leave it out, and keep the token")
    return as_cookie


def _limit(asked: Mapping[str, str]) -> object:
    limit = asked.get("limit", "100")
    return int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 10 else limit


def _renewed_as_cookie(credential: Credential, body: dict[str, Any], as_cookie: bool) -> bool:
    """Whether a renewed token becomes a cookie: always, if the one before is there, out of reach of scripts."""
    try:
        _, place = credential()
    except RolecallError:
        return as_cookie  # the engine refuses it, and tells the plugins
    if place == COOKIE and body.get("cookie") is False:
        raise InvalidRequest("cookie is false, and the token to renew is in a cookie, where it stays; leave it out")
    return as_cookie or place == COOKIE


def _flag(body: dict[str, Any], name: str) -> bool:
    flag = body.get(name, False)
    if not isinstance(flag, bool):
        raise InvalidRequest(f"{name} is {shown(flag)}; expected true or false")
    return flag


def _longest(as_cookie: bool) -> int:
    return _MAX_COOKIE_TOKEN if as_cookie else MAX_TOKEN_LENGTH


def _cookies(api: Api, token: str, seconds: int) -> list[tuple[str, str]]:
    """The headers that set a token as a cookie, and its proof as another one.

    :param seconds: the token's life.
    """
    name, proof = api.web.cookie, api.credentials.csrf_token(token)
    # Without Domain, as the prefix of the name demands (RFC 6265bis, section 4.1.3.2).
    attributes = f"; Max-Age={seconds}; Path=/; Secure; SameSite=Lax"
    return [
        ("Set-Cookie", f"{name}={token}{attributes}; HttpOnly"),
        # For pages to read, also after a reload.
        ("Set-Cookie", f"{name}-csrf={proof}{attributes}"),
    ]


def _expire_time(body: dict[str, Any]) -> ExpireTime:
    """``expire_time`` (Unix seconds) or ``expires_in`` (seconds from now, for clients whose clock may be wrong)."""
    seconds = body.get("expires_in")
    if seconds is None:
        expire_time: ExpireTime = body.get("expire_time")
        return expire_time
    if body.get("expire_time") is not None:
        raise InvalidExpireTime("the body has both expire_time and expires_in; send one of them")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1 <= seconds <= 1e9:
        raise InvalidExpireTime(f"expires_in is {shown(seconds)}; expected a number of seconds from 1 on")
    return timedelta(seconds=seconds)
