"""Flask-SocketIO behind a guard: each event is checked by itself, and a refused client is not connected."""

from __future__ import annotations

from typing import Any, Final, cast

import flask
from werkzeug.exceptions import HTTPException

from rolecall.errors import InvalidRequest, RolecallError
from rolecall.http.adapter import noted

from .refusals import Refused

# Marks a request with its own environment.
_OWN: Final = "rolecall_own_environ"


def is_event(request: flask.Request) -> bool:
    """Whether Flask-SocketIO made the request, for a client's event."""
    return isinstance(request.__dict__.get("event"), dict)


def own_environ(request: flask.Request) -> None:
    """Give an event its own environment: a client's events share one, and a grant is for one event alone."""
    if not hasattr(request, _OWN):
        request.environ = dict(request.environ)
        setattr(request, _OWN, True)


def opens_a_socket(request: flask.Request) -> bool:
    """Whether a client asks to connect."""
    event: dict[str, Any] = getattr(request, "event", {})
    return event.get("message") == "connect"


def unconnected(error: Exception) -> Exception:
    """The exception that refuses a client, for any error of a guard; others may be handled, and connect it."""
    from socketio.exceptions import ConnectionRefusedError as Unconnected

    known = error.error if isinstance(error, Refused) else error
    if not isinstance(known, RolecallError):
        known = InvalidRequest(str(known)) if isinstance(known, HTTPException) else noted(error)
    elif known is error:
        noted(known)  # for example of a guard that does not know its session, which the client is not told
    return cast("Exception", Unconnected(known.public_message, {"code": known.code}))
