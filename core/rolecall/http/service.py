"""Answers to requests for a kit's routes, and admission to guarded ones: written once, translated by each adapter."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, TypeAlias

from ..engine import Call, Engine
from ..errors import MethodNotAllowed, MissingCredential, RolecallError, printable, shown
from ..roles import Requirement
from ..threads import PoolExhausted
from ..tokens import Grant
from .cors import cors_headers, varies_with
from .credentials import bearer_of, holds_token
from .guard import Guard
from .messages import Request, Response
from .problems import problem
from .routing import BY_SERVER, Route
from .servers import Server
from .web import Web

_log: Final = logging.getLogger("rolecall")

#: Reads a body; it is given the most bytes that the operation takes.
BodyReader = Callable[[int], Awaitable[bytes]]
#: How a guarded route was entered: with a grant; without one, where the guard's token is optional; or not, and why.
Entered: TypeAlias = Grant | RolecallError | None

#: The ``Cache-Control`` of the answers of guarded routes that set none themselves (RFC 6750, section 5.3).
GUARDED_CACHE_CONTROL: Final = "no-store"
_UNCACHED: Final = (("Cache-Control", GUARDED_CACHE_CONTROL),)
#: Of answers to a URL that holds a token, so that no page there sends it on (RFC 9700, section 4.2.4).
NO_REFERRER: Final = ("Referrer-Policy", "no-referrer")


async def respond(engine: Engine, route: Route, request: Request, read_body: BodyReader | None = None) -> Response:
    """The answer to a request for one of the kit's routes. Nothing is raised, whatever the request holds.

    :param read_body: reads the body of a request that came without it, where one is wanted.
    """
    web = engine.state.web
    answer = await _answer(engine, route, request, read_body)
    return answer.with_headers(
        *cors_headers(web, request, route.methods), *varies_with(web), *_url_headers(web, request.query)
    )


async def _answer(engine: Engine, route: Route, request: Request, read_body: BodyReader | None) -> Response:
    operation = route.find(request.method)
    try:
        if request.method == "OPTIONS":
            return Response(204, (("Allow", ", ".join(route.methods)),))
        if operation is None:
            raise MethodNotAllowed(f"{shown(request.method)} is not a method of this route", route.methods)
        if read_body is not None and operation.body is not None:
            request = request._replace(body=await read_body(operation.limit.length))
        return await operation.handler(engine, request)
    except RolecallError as error:
        if operation is not None and operation.requires == BY_SERVER and error.status < 500:
            # SDKs show their users next to nothing of what is answered.
            _log.warning("%s: %s", error.code, printable(str(error)))
        return refused(error)
    except Exception:
        return problem(internal_fault())


def admit(
    engine: Engine,
    authorization: str | None,
    guard: Guard,
    session_id: str | None,
    request: Callable[[], Request],
    native: object,
) -> Grant | Coroutine[Any, Any, Entered]:
    """The grant with which a request enters a guarded route, or a coroutine that comes to it or to the refusal.

    Nothing is raised, but what the guard's own ``session`` function raises of the framework's. Where the token alone
    decides, as it mostly does, nothing has to be awaited.

    :param authorization: what the header of this name says, if it is there.
    :param session_id: the session that the route names; None where it names none.
    :param request: makes the request, where somebody asks for it.
    :param native: the framework's own request, for the guard's ``session`` function.
    """
    if guard.resolver is not None or not engine.decides_at_once:
        return admission(engine, request(), guard, session_id, native)
    try:
        if authorization is not None and authorization.startswith("Bearer ") and "," not in authorization:
            # As nearly every client writes it; whatever else is odd about it shows when it is refused. A comma joins
            # two headers, and is no plugin's format to allow.
            return engine.check_token(authorization[7:], guard.requirement, session_id)
        return engine.check_token(bearer_of(authorization), guard.requirement, session_id)
    except RolecallError as error:
        return _second_look(engine, authorization, guard, session_id, request, error)
    except Exception:
        return _ready(internal_fault())


async def admission(engine: Engine, request: Request, guard: Guard, session_id: str | None, native: object) -> Entered:
    """:func:`admit` with the policies asked, and the guard's own ``session`` function."""
    call = Call(request)
    if guard.resolver is not None:
        # The token first: who has none learns nothing of which sessions there are.
        seen = await _judged(engine, guard, call, None, engine.look_at(guard.requirement, call))
        if not isinstance(seen, Grant):
            return seen
        try:
            session_id = await engine.resolve_session(guard.resolver, native)
        except RolecallError as error:
            return await _told(engine, error, None, call)
    return await _judged(engine, guard, call, session_id, engine.authorize(guard.requirement, session_id, call))


async def _judged(
    engine: Engine, guard: Guard, call: Call, session_id: str | None, entering: Awaitable[Grant]
) -> Entered:
    try:
        return await entering
    except RolecallError as error:
        if guard.optional and isinstance(error, MissingCredential):
            return None
        return await _told(engine, error, session_id, call)
    except Exception:
        return internal_fault()


async def _told(engine: Engine, error: RolecallError, session_id: str | None, call: Call) -> RolecallError:
    """``error``, once the plugins have been told of it."""
    await engine.tell_of_refusal(error, session_id, call)
    return error


def headers_to_add(present: Iterable[str], web: Web | None, query: str) -> Sequence[tuple[str, str]]:
    """What the answer of a guarded route is to say beside the app's own headers.

    :param present: the names of the app's own, which win.
    :param web: what the kit allows to browsers; None where no token may be in the query.
    :param query: the query string of the request.
    """
    if web is None or web.query is None:
        for name in present:
            if name.lower() == "cache-control":
                return ()
        return _UNCACHED
    names = {name.lower() for name in present}
    wanted = (("Cache-Control", GUARDED_CACHE_CONTROL), *_url_headers(web, query))
    return [(name, value) for name, value in wanted if name.lower() not in names]


def _url_headers(web: Web | None, query: str) -> tuple[tuple[str, str], ...]:
    return (NO_REFERRER,) if query and web is not None and holds_token(web, query) else ()


def challenges(error: RolecallError, status: int, present: Iterable[str]) -> list[tuple[str, str]]:
    """What an answer of the app's own to a refusal is to say beside its own headers: how to come in, and when.

    :param status: of the app's own answer; where it is another one than the error's, nothing is added.
    :param present: the names of the app's own headers, which win.
    """
    if status != error.status:
        return []
    names = {name.lower() for name in present}
    wanted = ("www-authenticate", "retry-after")
    return [
        (name, value) for name, value in problem(error).headers if name.lower() in wanted and name.lower() not in names
    ]


def guard_answer(error: RolecallError, web: Web | None, query: str) -> Response:
    """The answer to a request for a guarded route that was refused with ``error``.

    :param web: what the kit allows to browsers; None where no token may be in the query.
    :param query: the query string of the request.
    """
    return refused(error).with_headers(*_url_headers(web, query))


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
    guard: Guard,
    session_id: str | None,
    request: Callable[[], Request],
    refusal: RolecallError,
) -> Entered:
    """:func:`admit` for what was refused at a glance: there may be space around the token, or no single one at all."""
    try:
        token = bearer_of(authorization)
        if authorization is not None and token != authorization[7:]:
            return engine.check_token(token, guard.requirement, session_id)
    except MissingCredential as error:
        if guard.optional:
            return None
        refusal = error
    except RolecallError as error:
        refusal = error
    except Exception:
        return internal_fault()
    return await _told(engine, refusal, session_id, Call(request()))


async def _ready(entered: Entered) -> Entered:
    return entered


def refused(error: RolecallError) -> Response:
    """The problem that tells a client of ``error``; what is the server's own fault is logged."""
    log_fault(error)
    try:
        return problem(error)
    except Exception:  # a plugin's error of a status or a code that no answer can have
        return problem(internal_fault())


def log_fault(error: RolecallError) -> None:
    """Log an error that is the server's own fault. What a full thread pool refuses is logged there, once for many."""
    if error.status >= 500 and not isinstance(error.__cause__, PoolExhausted):
        _log.error("%s: %s", error.code, error)


def internal_fault() -> RolecallError:
    """The refusal when the kit itself is at fault: the log has the traceback, the client has none of it."""
    _log.exception("rolecall could not answer a request")
    return RolecallError("internal fault")
