"""How a request that a guard keeps out leaves the app: always as an exception, so that nobody reads it as a value."""

from __future__ import annotations

from typing import NoReturn

import flask
from flask.sansio.app import App
from werkzeug.exceptions import HTTPException

from rolecall import Rolecall
from rolecall.errors import RolecallError
from rolecall.http.service import guard_answer, log_fault

from .translation import flask_response


class Refused(HTTPException):
    """A request that a guard keeps out, as Flask answers it: with the problem document of the kit.

    It has no ``code``, so Flask hands it to no error handler, and answers with ``response`` as it is. An app that
    answers in its own style registers an error handler for ``RolecallError``, or for a subclass; that
    gets the error itself.
    """

    def __init__(self, response: flask.Response, error: RolecallError | None = None) -> None:
        super().__init__(error.public_message if error else None, response)
        #: Why it is kept out; None for the answer to OPTIONS.
        self.error = error


def refuse(kit: Rolecall, app: App, request: flask.Request, error: RolecallError) -> NoReturn:
    """Keep the current request out.

    :param kit: whose guard it is.
    """
    event = getattr(request, "event", None)
    if isinstance(event, dict) and event.get("message") == "connect":
        # Flask-SocketIO: whatever else is raised there may be handled, and then the client is let in.
        from socketio.exceptions import ConnectionRefusedError as Unconnected

        log_fault(error)
        raise Unconnected(error.public_message, {"code": error.code})
    if _is_handled(app, request, error):
        raise error
    query = request.environ.get("QUERY_STRING", "")
    raise Refused(flask_response(guard_answer(error, kit.engine.state.web, query)), error)


def _is_handled(app: App, request: flask.Request, error: RolecallError) -> bool:
    """Whether the app, or a blueprint of the request, has an error handler of its own for errors of the kit."""
    kinds = [kind for kind in type(error).__mro__ if issubclass(kind, RolecallError)]
    handlers = (app.error_handler_spec[name][None] for name in (*request.blueprints, None))
    return any(kind in known for known in handlers for kind in kinds)
