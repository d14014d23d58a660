"""Admission of requests to guarded routes, and answers to refused ones: written once, translated by each adapter."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from ...engine import Call
from ...errors import InsufficientRole, InvalidServerCredential, MissingCredential, NotInStep, RolecallError
from ...request import Request
from ...roles import Requirement
from ...tokens import Grant
from ..api import Api
from ..api.sdk_credentials import Server
from ..credentials import bearer_of, url_headers
from ..messages import Response
from ..problems import internal_fault, problem, refused
from ..web import Web
from .entries import ENTRIES, keep_entry
from .guard import Guard

_log: Final = logging.getLogger("rolecall")

#: The result at a guarded route: a grant; None for a request without a token, if the token is optional; or the refusal.
Entered: TypeAlias = Grant | RolecallError | None

#: The ``Cache-Control`` of guarded routes' answers that set none themselves (RFC 6750, section 5.3).
GUARDED_CACHE_CONTROL: Final = "no-store"
_UNCACHED: Final = (("Cache-Control", GUARDED_CACHE_CONTROL),)


def admit(
    api: Api,
    authorization: str | None,
    guard: Guard,
    session_id: str | None,
    make_request: Callable[..., Request],
    of: tuple[Any, ...] = (),
    kept: MutableMapping[str, Any] | None = None,
    path_params: Mapping[str, str] | None = None,
) -> Grant | Coroutine[Any, Any, Entered]:
    """Admit a request to a guarded route: return its grant, or a coroutine for the grant or the refusal.

    Raises nothing, except the framework's exceptions from the guard's own ``session`` function. If the token alone
    decides, as in most cases, nothing has to be awaited.

    :param authorization: the value of that header, if present.
    :param session_id: the session that the route names; None if it names none.
    :param make_request: makes the request, on demand. The guard's ``session`` function is called with its ``native``.
    :param of: the arguments of ``make_request``.
    :param kept: gets the :class:`~rolecall.http.guards.entries.Entry` of an admitted request. None if the adapter keeps
        it, because another API than this one is to watch it.
    :param path_params: the variable parts of the path, if only the guard knows them.
    """
    if guard.resolver is not None or not api.decides_at_once:
        return _keeping(admission(api, make_request(*of), guard, session_id), api, guard, session_id, kept, path_params)
    requirement = guard.requirement
    try:
        if authorization is not None and authorization.startswith("Bearer ") and "," not in authorization:
            # The spelling of nearly every client; others are examined when this fails. A comma joins two headers, and
            # no plugin's format may contain one.
            grant = api.engine.check_token(authorization[7:], requirement, session_id)
        else:
            grant = api.engine.check_token(bearer_of(authorization), requirement, session_id)
    except RolecallError as error:
        again = _second_look(api, authorization, guard, session_id, partial(make_request, *of), error)
        return _keeping(again, api, guard, session_id, kept, path_params)
    except Exception:
        return _ready(internal_fault())
    if kept is not None:
        entry = api, requirement, session_id, grant, path_params  # keep_entry, without the time of a call
        kept[ENTRIES] = (*kept[ENTRIES], entry) if ENTRIES in kept else (entry,)
    return grant


async def _keeping(
    entering: Awaitable[Entered],
    api: Api,
    guard: Guard,
    session_id: str | None,
    kept: MutableMapping[str, Any] | None,
    path_params: Mapping[str, str] | None,
) -> Entered:
    entered = await entering
    if kept is not None and isinstance(entered, Grant):
        keep_entry(kept, api, guard.requirement, guard.session_entered(session_id, entered), entered, path_params)
    return entered


async def admission(api: Api, request: Request, guard: Guard, session_id: str | None) -> Entered:
    """:func:`admit` with the policies, and with the guard's own ``session`` function."""
    call = Call(request)
    if guard.resolver is not None:
        # The token first, so that a client without one learns nothing about existing sessions.
        seen = await _judged(api, guard, call, None, _look(api, guard, request, call))
        if not isinstance(seen, Grant):
            return seen
        try:
            session_id = await api.engine.resolve_session(guard.resolver, request.native)
        except RolecallError as error:
            return await _told(api, error, None, call)
    entering = api.engine.authorize(api.credential_of(request), guard.requirement, session_id, call)
    return await _judged(api, guard, call, session_id, entering)


async def _look(api: Api, guard: Guard, request: Request, call: Call) -> Grant:
    """The grant of a request's token, before the session of the request is known."""
    token, _ = api.credentials.find(request)
    return await api.engine.confirm_token(token, guard.requirement, None, call)


async def _judged(api: Api, guard: Guard, call: Call, session_id: str | None, entering: Awaitable[Grant]) -> Entered:
    try:
        return await entering
    except RolecallError as error:
        if guard.optional and isinstance(error, MissingCredential):
            return None
        return await _told(api, error, session_id, call)
    except Exception:
        return internal_fault()


async def _told(api: Api, error: RolecallError, session_id: str | None, call: Call) -> RolecallError:
    """Tell the plugins of ``error``, and return it."""
    await api.engine.tell_of_refusal(error, session_id, call)
    return error


def headers_to_add(present: Iterable[tuple[str, str]], web: Web | None, query: str) -> Sequence[tuple[str, str]]:
    """The headers that the answer of a guarded route needs besides the app's own.

    No cache keeps the answer, unless the app says so by a ``Cache-Control`` of its own. Then caches keep it for the
    bearer of this token alone, by :func:`vary_by_token`.

    :param present: the app's own headers, which take precedence; not an iterator, because they may be read twice.
    :param web: the kit's rules for browsers; None if a token may be in the ``Authorization`` header alone.
    :param query: the query string of the request.
    """
    if web is None or web.query is None:
        for name, _ in present:
            if name.lower() == "cache-control":
                break
        else:
            return _UNCACHED
    own: dict[str, str] = {}
    for name, value in present:
        name = name.lower()
        own[name] = f"{own[name]}, {value}" if name in own else value
    added = [header for header in url_headers(web, query) if header[0].lower() not in own]
    if "cache-control" not in own:
        return [*_UNCACHED, *added]
    if "no-store" not in _listed(own["cache-control"]):
        added += vary_by_token(own.get("vary", ""), web)
    return added


def vary_by_token(own: str, web: Web | None) -> list[tuple[str, str]]:
    """The ``Vary`` header that names the headers in which a token may be (RFC 9110, section 12.5.5).

    It also has the names in the app's own, so it may take the place of that or stand beside it. There is none if the
    app's own has all names.

    :param own: the value of the app's own; empty if there is none.
    :param web: the kit's rules for browsers; None if a token may be in the ``Authorization`` header alone.
    """
    listed = _listed(own)
    names = ("Authorization",) if web is None or web.cookie is None else ("Authorization", "Cookie")
    missing = [name for name in names if name.lower() not in listed]
    if not missing or "*" in listed:
        return []
    return [("Vary", ", ".join([*filter(None, [own]), *missing]))]


def _listed(value: str) -> set[str]:
    """The members of a header that is a list, in lower case."""
    return {member.strip().lower() for member in value.split(",")}


def challenges(error: RolecallError, status: int, present: Iterable[str]) -> list[tuple[str, str]]:
    """The challenge and waiting time that an app's own answer to a refusal lacks.

    :param status: the status of the app's answer; if it is not the error's, nothing is added.
    :param present: the names of the app's own headers, which take precedence.
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

    :param web: the kit's rules for browsers; None if no token may be in the query.
    :param query: the query string of the request.
    """
    return refused(error).with_headers(*url_headers(web, query))


def options_response(methods: Iterable[str] | None) -> Response:
    """The answer to OPTIONS on a guarded route: the app does not run, because a browser asks before it sends a token.

    :param methods: the methods of the route, if known.
    """
    if not methods:
        return Response(204)
    return Response(204, (("Allow", ", ".join(sorted({*methods, "OPTIONS"}))),))


async def enter(api: Api, request: Request, requirement: Requirement, session_id: str | None) -> Grant:
    """Admit a request to one of the kit's routes, and return its grant.

    :raises RolecallError: if it is refused; the plugins have been told.
    """
    call = Call(request)
    try:
        return await api.engine.authorize(api.credential_of(request), requirement, session_id, call)
    except RolecallError as error:
        await api.engine.tell_of_refusal(error, session_id, call)
        raise


async def enter_as_server(api: Api, request: Request) -> Server:
    """Verify the credential of a project's or an application's server, and return the server.

    :raises InvalidServerCredential: if it is missing, invalid, or used before; the plugins have been told.
    """
    try:
        server, name, until = api.servers.read(request.headers, api.engine.state.clock())
        if name is not None and not await api.engine.use_once(name, until):
            raise InvalidServerCredential(
                "the request's credential came before, by its jti: make one for each request, and never repeat one"
            )
        return server
    except RolecallError as error:
        await api.engine.tell_of_refusal(error, None, Call(request))
        raise


async def check_own_session(api: Api, request: Request, server: Server, session_id: str) -> None:
    """Refuse a server that reaches for a session of another project.

    :raises InvalidSessionId: for an id that is no session's of this kit.
    :raises InvalidServerCredential: if the session is another project's; the plugins have been told.
    """
    if await api.engine.check_session_id(session_id) != server.api_key:
        raise await stranger(api, request, "the session is of another project than the credential")


async def enter_either_way(api: Api, request: Request, requirement: Requirement, session_id: str) -> Grant | None:
    """Admit a server of the session's project, or whoever has a sufficient token for the session.

    :returns: the grant of the token; None for a server, which is trusted as the app's own code is.
    :raises RolecallError: if it is refused; the plugins have been told.
    """
    if api.servers.recognizes(request.headers):
        await check_own_session(api, request, await enter_as_server(api, request), session_id)
        return None
    return await enter(api, request, requirement, session_id)


async def stranger(api: Api, request: Request, problem: str) -> InvalidServerCredential:
    """Tell the plugins of a server that reaches for what is another project's, and return the refusal."""
    error = InvalidServerCredential(problem)
    await api.engine.tell_of_refusal(error, None, Call(request))
    return error


async def _second_look(
    api: Api,
    authorization: str | None,
    guard: Guard,
    session_id: str | None,
    request: Callable[[], Request],
    refusal: RolecallError,
) -> Entered:
    """:func:`admit` for a request that failed the fast path: it may have spaces around the token, or several tokens; or
    this process is not in step with the store. Of a token that is good and not sufficient, the actor is found, too.
    """
    call = None
    try:
        token = bearer_of(authorization)
        worth_it = isinstance(refusal, NotInStep | InsufficientRole)
        if worth_it or (authorization is not None and token != authorization[7:]):
            call = Call(request())
            return await api.engine.confirm_token(token, guard.requirement, session_id, call)
    except MissingCredential as error:
        if guard.optional:
            return None
        refusal = error
    except RolecallError as error:
        refusal = error
    except Exception:
        return internal_fault()
    return await _told(api, refusal, session_id, call or Call(request()))


async def _ready(entered: Entered) -> Entered:
    return entered
