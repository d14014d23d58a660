"""The kit's routes and guards over neutral requests: written once, translated by each adapter."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from .. import strict_json
from ..driver import drive
from ..engine import Call, Engine
from ..errors import (
    BodyTooLarge,
    InvalidExpireTime,
    InvalidRequest,
    MethodNotAllowed,
    RolecallError,
    UnsupportedMediaType,
    shown,
)
from ..roles import ANY_TOKEN, Requirement, Role
from ..sessions import ArchiveMode, MediaMode, SessionRecord
from ..tokens import ExpireTime, Grant
from .credentials import bearer_token
from .messages import MAX_BODY, Request, Response
from .problems import json_bytes, problem

_log: Final = logging.getLogger("rolecall")

#: The ``Cache-Control`` of the answers of guarded routes that set none themselves (RFC 6750, section 5.3).
GUARDED_CACHE_CONTROL: Final = "no-store"

Handler = Callable[[Engine, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One path of the kit and what answers it.

    :param path: with ``{name}`` for each variable part.
    :param name: for the framework's reverse routing, for example ``url_for("rolecall.sessions")``.
    :param handlers: by method.
    """

    path: str
    name: str
    handlers: dict[str, Handler]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the route answers, HEAD and OPTIONS included."""
        return (*self.handlers, *(("HEAD",) if "GET" in self.handlers else ()), "OPTIONS")


async def respond(engine: Engine, route: Route, request: Request) -> Response:
    """The answer to a request for one of the kit's routes. Nothing is raised, whatever the request holds."""
    method = "GET" if request.method == "HEAD" else request.method
    handler = route.handlers.get(method)
    try:
        if method == "OPTIONS":
            return Response(204, (("Allow", ", ".join(route.methods)),))
        if handler is None:
            raise MethodNotAllowed(f"{shown(request.method)} is not a method of this route", route.methods)
        return await handler(engine, request)
    except RolecallError as error:
        return refused(error)
    except Exception:
        return failed()


async def admit(engine: Engine, request: Request, requirement: Requirement, session_id: str | None) -> Grant | Response:
    """The grant with which a request enters a guarded route, or the answer that refuses it. Nothing is raised.

    :param session_id: the session that the route is about; None where it is about none.
    """
    try:
        return await _enter(engine, request, requirement, session_id)
    except RolecallError as error:
        return refused(error)
    except Exception:
        return failed()


def admit_inline(
    engine: Engine,
    headers: Mapping[str, str],
    requirement: Requirement,
    session_id: str | None,
    request: Callable[[], Request],
) -> Grant | Response:
    """:func:`admit` for sync frameworks, which spares a good token whatever only policies want to know.

    :param request: makes the request, where somebody asks for it.
    """
    if not engine.asks_about_access:
        try:
            return engine.check_token(bearer_token(headers), requirement, session_id)
        except RolecallError as error:
            return drive(_refused_entry(engine, error, session_id, Call(request())))
        except Exception:
            return failed()
    return drive(admit(engine, request(), requirement, session_id))


async def _enter(engine: Engine, request: Request, requirement: Requirement, session_id: str | None) -> Grant:
    call = Call(request)
    try:
        return await engine.authorize(requirement, session_id, call)
    except RolecallError as error:
        await engine.tell_of_refusal(error, session_id, call)
        raise


async def _refused_entry(engine: Engine, error: RolecallError, session_id: str | None, call: Call) -> Response:
    await engine.tell_of_refusal(error, session_id, call)
    return refused(error)


def refused(error: RolecallError) -> Response:
    """The problem that tells a client of ``error``; what is the server's own fault is logged."""
    if error.status >= 500:
        _log.error("%s: %s", error.code, error)
    return problem(error)


def failed() -> Response:
    """The answer when the kit itself is at fault: the log has the traceback, the client has none of it."""
    _log.exception("rolecall could not answer a request")
    return problem(RolecallError("internal fault"))


async def _create_session(engine: Engine, request: Request) -> Response:
    asked = _members(request, ("location", "media_mode", "archive_mode", "e2ee"))
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
    await _enter(engine, request, ANY_TOKEN, session_id)
    return _json(200, _session_members(await engine.get_session(session_id)))


async def _end_session(engine: Engine, request: Request) -> Response:
    session_id = request.path_params["session_id"]
    await _enter(engine, request, _MODERATOR, session_id)
    await engine.end_session(session_id, Call(request))
    return Response(204, (("Cache-Control", "no-store"),))


async def _create_token(engine: Engine, request: Request) -> Response:
    asked = _members(request, ("role", "expire_time", "expires_in", "data", "initial_layout_class_list"))
    token, options = await engine.generate_token(
        request.path_params["session_id"],
        asked.get("role", Role.PUBLISHER),
        _expire_time(asked),
        asked.get("data"),
        asked.get("initial_layout_class_list", ()),
        call=Call(request),
    )
    return _json(
        201,
        {
            "token": token,
            "session_id": options.session_id,
            "role": str(options.role),
            "capabilities": sorted(options.capabilities),
            "issued_at": options.issued_at,
            "expires_at": options.expires_at,
            "data": options.data,
        },
    )


_MODERATOR: Final = Requirement.of_role(Role.MODERATOR)

#: Every route of a kit.
ROUTES: Final = (
    Route("/sessions", "sessions", {"POST": _create_session}),
    Route("/sessions/{session_id}", "session", {"GET": _read_session, "DELETE": _end_session}),
    Route("/sessions/{session_id}/tokens", "tokens", {"POST": _create_token}),
)


def _members(request: Request, known: tuple[str, ...]) -> dict[str, Any]:
    """The members of a request's JSON object; no body at all stands for an empty one."""
    if len(request.body) > MAX_BODY:
        raise BodyTooLarge(MAX_BODY)
    if _announced_length(request) > len(request.body):
        raise InvalidRequest("the body is shorter than its Content-Length")
    if not request.body and request.headers.get("transfer-encoding"):
        raise InvalidRequest("a body was announced, and nothing of it is left to read; send it with a Content-Length")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # A page of another site may make a browser post without asking for permission, as long as it sends no JSON.
    browser = request.headers.get("origin") or request.headers.get("sec-fetch-site")
    if media_type != "application/json" and (request.body or browser):
        raise UnsupportedMediaType(f"the body's Content-Type is {shown(media_type)}; expected application/json")
    if not request.body:
        return {}
    try:
        members = strict_json.loads(request.body.strip(b" \t\r\n"))
    except ValueError as error:
        raise InvalidRequest(f"the body is not one strict JSON object: {error}") from None
    for name in members:
        if name not in known:
            raise InvalidRequest(f"the body has a member {shown(name)}; expected only {', '.join(known)}")
    return members


def _announced_length(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


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
