"""How a refused request leaves the app: always as an exception, so that nobody takes it for a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
from werkzeug.exceptions import HTTPException

from rolecall.errors import RolecallError
from rolecall.http.adapter import Api, challenges, guard_answer, headers_to_add, noted

from .translation import flask_response


class Refused(HTTPException):
    """A refused request, as Flask answers it: with the kit's problem document.

    It has no ``code``, so Flask passes it to no error handler, and answers with ``response`` unchanged. An app with its
    own style registers an error handler for ``RolecallError``, or for a subclass; the handler gets the error itself,
    and its answer becomes the ``response``.
    """

    def __init__(self, response: flask.Response, error: RolecallError | None = None) -> None:
        super().__init__(error.public_message if error else None, response)
        #: The reason of the refusal; None for the answer to OPTIONS.
        self.error = error

    def __str__(self) -> str:
        return self.description or "the answer to OPTIONS"


def refusal(api: Api, app: flask.Flask, request: flask.Request, error: RolecallError) -> Exception:
    """The exception that refuses the current request.

    :param api: of the guard's kit.
    """
    web, query = api.web, request.environ.get("QUERY_STRING", "")
    handler = _own_handler(app, request, error)
    if handler is None:
        return Refused(flask_response(guard_answer(error, web, query)), error)
    # Called here, because flask-restful and flask-restx pass only HTTPExceptions to Flask's handlers.
    noted(error)
    response = app.make_response(app.ensure_sync(handler)(error))
    own = [*response.headers]
    for name, value in headers_to_add(own, web, query):
        response.headers[name] = value
    response.headers.extend(challenges(error, response.status_code, [name for name, _ in own]))
    return Refused(response, error)


def _own_handler(app: flask.Flask, request: flask.Request, error: RolecallError) -> Callable[..., Any] | None:
    """The error handler that Flask would call for ``error``, if it is meant for errors of the kit; else None."""
    for name in (*request.blueprints, None):
        handlers = app.error_handler_spec[name][None]
        for kind in type(error).__mro__:
            if kind in handlers:
                return handlers[kind] if issubclass(kind, RolecallError) else None
    return None
