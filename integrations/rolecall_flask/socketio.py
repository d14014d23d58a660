"""Flask-SocketIO behind a guard: each event is looked at by itself, and no refusal connects a client."""

from __future__ import annotations

from typing import Any, Final, cast

import flask
from werkzeug.exceptions import HTTPException

from rolecall.errors import InvalidRequest, RolecallError
from rolecall.http.adapter import noted

from .refusals import Refused

# Marks a request that has an environment of its own.
_OWN: Final = "rolecall_own_environ"


def is_event(request: flask.Request) -> bool:
    """Whether Flask-SocketIO made the request, for an event of a client."""
    return isinstance(getattr(request, "event", None), dict)


def own_environ(request: flask.Request) -> None:
    """Give an event an environment of its own: all of a client share one, and a grant is for the event alone."""
    if not hasattr(request, _OWN):
        request.environ = dict(request.environ)
        setattr(request, _OWN, True)


def opens_a_socket(request: flask.Request) -> bool:
    """Whether a client asks to be connected."""
    event: dict[str, Any] = getattr(request, "event", {})
    return event.get("message") == "connect"


def unconnected(error: Exception) -> Exception:
    """The exception that refuses a client, whatever a guard has raised; any other may be handled, and connects it."""
    from socketio.exceptions import ConnectionRefusedError as Unconnected

    known = error.error if isinstance(error, Refused) else error
    if not isinstance(known, RolecallError):
        known = InvalidRequest(str(known)) if isinstance(known, HTTPException) else noted(error)
    elif known is error:
        noted(known)  # such as a guard that is not told of the session, of which the client hears nothing
    return cast("Exception", Unconnected(known.public_message, {"code": known.code}))
