"""Calls within a connection that has passed a guard: fields of a GraphQL query, events of Socket.IO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...errors import MissingCredential, RolecallError, WrongSession
from ...request import Request
from ..guards.entries import ENTRIES, Entry
from ..guards.guard import Guard
from ..problems import noted
from .watching import Watch, granted

_NONE: Final = "this needs a token, and no guard has admitted the connection with one"


async def enter_within(
    kept: Mapping[str, Any], request: Request, guard: Guard, arguments: Mapping[str, Any], what: str, native: object
) -> Watch | None:
    """Judge the grant of a connection anew, for one of its calls.

    The grant must still be live, meet the requirement and be for the session of the call; and the policies vote.

    :param kept: the connection's mapping for :func:`~rolecall.http.guards.entries.keep_entry`.
    :param request: the request that made the connection, for policies.
    :param arguments: the arguments of the call by name, one of which may name the session; None for what was left out.
    :param what: the call, for messages: ``the field closeRoom``.
    :param native: the call itself, for the guard's ``session`` function.
    :returns: the watch over the grant; None without a token, if the guard says that the token is optional.
    :raises RolecallError: if it is refused; the plugins have been told.
    """
    grant = granted(kept)
    entries = kept.get(ENTRIES) or ()
    if grant is None and guard.optional:
        return None
    if grant is None or not entries:
        raise MissingCredential(_NONE)
    api = Entry(*entries[-1]).api
    if guard.kit is not None and guard.kit.api.engine.state is not api.engine.state:
        raise MissingCredential(_NONE)  # the grant is of another kit's token
    call = Entry(api, guard.requirement, None, grant)
    try:
        if guard.resolver is not None:
            session_id: str | None = await api.engine.resolve_session(guard.resolver, native)
        else:
            session_id = named_session(guard, arguments, what)
        if session_id is not None and session_id != grant.session_id:
            raise WrongSession("the token is for another session than the one asked for")
        watch = Watch(call._replace(session_id=session_id), request)
        await watch.look()
    except RolecallError as error:
        await Watch(call, request).tell(noted(error))
        raise
    return watch


def named_session(guard: Guard, arguments: Mapping[str, Any], what: str) -> str | None:
    """The session that a call names among its arguments; None if the guard binds none.

    :param what: the call, for messages.
    :raises WrongSession: if the argument is no session's id.
    :raises ConfigurationError: if it is not settled which argument names the session.
    """
    name = guard.session_param
    if name is not None and name in arguments and not isinstance(arguments[name], str):
        raise WrongSession(f"{name!r} names no session, so no token is for it")
    return guard.bound_session(arguments, what)
