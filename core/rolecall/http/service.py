"""Answers to requests for a kit's routes, and admission to guarded ones: written once, translated by each adapter."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from ..engine import Call, Engine
from ..errors import MethodNotAllowed, RolecallError, printable, shown
from ..roles import Requirement
from ..tokens import Grant
from .cors import cors_headers, varies_with
from .credentials import bearer_of
from .messages import Request, Response
from .problems import problem
from .routing import BY_SERVER, Route
from .servers import Server

_log: Final = logging.getLogger("rolecall")

BodyReader = Callable[[], Awaitable[bytes]]

#: The ``Cache-Control`` of the answers of guarded routes that set none themselves (RFC 6750, section 5.3).
GUARDED_CACHE_CONTROL: Final = "no-store"


async def respond(engine: Engine, route: Route, request: Request, read_body: BodyReader | None = None) -> Response:
    """The answer to a request for one of the kit's routes. Nothing is raised, whatever the request holds.

    :param read_body: reads the body of a request that came without it, where one is wanted.
    """
    web = engine.state.web
    answer = await _answer(engine, route, request, read_body)
    return answer.with_headers(*cors_headers(web, request, route.methods), *varies_with(web))


async def _answer(engine: Engine, route: Route, request: Request, read_body: BodyReader | None) -> Response:
    operation = route.find(request.method)
    try:
        if request.method == "OPTIONS":
            return Response(204, (("Allow", ", ".join(route.methods)),))
        if operation is None:
            raise MethodNotAllowed(f"{shown(request.method)} is not a method of this route", route.methods)
        if read_body is not None and operation.body is not None:
            request = request._replace(body=await read_body())
        return await operation.handler(engine, request)
    except RolecallError as error:
        if operation is not None and operation.requires == BY_SERVER and error.status < 500:
            # SDKs show their users next to nothing of what is answered.
            _log.warning("%s: %s", error.code, printable(str(error)))
        return refused(error)
    except Exception:
        return failed()


def admit(
    engine: Engine,
    authorization: str | None,
    requirement: Requirement,
    session_id: str | None,
    request: Callable[[], Request],
) -> Grant | Coroutine[Any, Any, Grant | Response]:
    """The grant with which a request enters a guarded route, or a coroutine that comes to it or to the refusal.

    Nothing is raised, by neither. Where the token alone decides, as it mostly does, nothing has to be awaited.

    :param authorization: what the header of this name says, if it is there.
    :param session_id: the session that the route is about; None where it is about none.
    :param request: makes the request, where somebody asks for it.
    """
    if not engine.decides_at_once:
        return admission(engine, request(), requirement, session_id)
    try:
        if authorization is not None and authorization.startswith("Bearer ") and "," not in authorization:
            # As nearly every client writes it; whatever else is odd about it shows when it is refused. A comma joins
            # two headers, and is no plugin's format to allow.
            return engine.check_token(authorization[7:], requirement, session_id)
        return engine.check_token(bearer_of(authorization), requirement, session_id)
    except RolecallError as error:
        return _second_look(engine, authorization, requirement, session_id, request, error)
    except Exception:
        return _ready(failed())


async def admission(
    engine: Engine, request: Request, requirement: Requirement, session_id: str | None
) -> Grant | Response:
    """:func:`admit` with the policies asked. Nothing is raised."""
    try:
        return await enter(engine, request, requirement, session_id)
    except RolecallError as error:
        return refused(error)
    except Exception:
        return failed()


async def enter(engine: Engine, request: Request, requirement: Requirement, session_id: str | None) -> Grant:
    """The grant with which a request enters a guarded route.

    :raises RolecallError: if it does not; the plugins have been told.
    """
    call = Call(request)
    try:
        return await engine.authorize(requirement, session_id, call)
    except RolecallError as error:
        await engine.tell_of_refusal(error, session_id, call)
        raise


async def enter_as_server(engine: Engine, request: Request) -> Server:
    """The server that makes a request for which a project's secret, or an application's private key, is needed.

    :raises InvalidServerCredential: if the credential is missing, not good, or came before; the plugins have been told.
    """
    try:
        return await engine.admit_server(request)
    except RolecallError as error:
        await engine.tell_of_refusal(error, None, Call(request))
        raise


async def _second_look(
    engine: Engine,
    authorization: str | None,
    requirement: Requirement,
    session_id: str | None,
    request: Callable[[], Request],
    refusal: RolecallError,
) -> Grant | Response:
    """:func:`admit` for what was refused at a glance: there may be space around the token, or no single one at all."""
    try:
        token = bearer_of(authorization)
        if authorization is not None and token != authorization[7:]:
            return engine.check_token(token, requirement, session_id)
    except RolecallError as error:
        refusal = error
    except Exception:
        return failed()
    await engine.tell_of_refusal(refusal, session_id, Call(request()))
    return refused(refusal)


async def _ready(response: Response) -> Response:
    return response


def refused(error: RolecallError) -> Response:
    """The problem that tells a client of ``error``; what is the server's own fault is logged."""
    if error.status >= 500:
        _log.error("%s: %s", error.code, error)
    try:
        return problem(error)
    except Exception:  # a plugin's error of a status or a code that no answer can have
        return failed()


def failed() -> Response:
    """The answer when the kit itself is at fault: the log has the traceback, the client has none of it."""
    _log.exception("rolecall could not answer a request")
    return problem(RolecallError("internal fault"))
