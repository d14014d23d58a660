"""How a request that a guard keeps out leaves an app: by the app's own handler, or with the kit's problem document."""

from __future__ import annotations

import inspect
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Scope

from rolecall.errors import RolecallError
from rolecall.http import messages
from rolecall.http.asgi import guard_refusal, kept_out_of_caches

from .translation import starlette_response


class Refused(HTTPException):
    """A request that a guard keeps out where the guard is no endpoint: a dependency, or a helper of an endpoint.

    Starlette and FastAPI answer it with its status and challenge. :func:`problem_handler` answers with the problem
    document of the kit.
    """

    def __init__(self, response: messages.Response, error: RolecallError | None = None) -> None:
        headers = {name: value for name, value in response.headers if name != "Content-Type"}
        super().__init__(response.status, error.public_message if error else None, headers)
        #: The answer of the kit: a problem document.
        self.response = response
        #: Why the request is kept out; None for the answer to OPTIONS.
        self.error = error

    def __reduce__(self) -> tuple[type[Refused], tuple[messages.Response, RolecallError | None]]:
        return Refused, (self.response, self.error)


async def problem_handler(_: Any, refused: Exception) -> Response:
    """Answers with problem documents, as everywhere else: ``app.add_exception_handler(Refused, problem_handler)``."""
    if not isinstance(refused, Refused):
        raise refused
    return starlette_response(refused.response)


#: Why a request stays out: an error, or for OPTIONS the answer to it.
Refusal = RolecallError | messages.Response


def as_exception(scope: Scope, refusal: Refusal) -> Exception:
    """What to raise where a refusal must not be a value: the error itself, if the app has a handler for it."""
    if isinstance(refusal, messages.Response):
        return Refused(refusal)
    return Refused(guard_refusal(refusal, scope), refusal) if _handler_of(scope, refusal) is None else refusal


async def as_response(connection: HTTPConnection, refusal: Refusal) -> Response:
    """The answer to a request that stays out."""
    if isinstance(refusal, messages.Response):
        return starlette_response(refusal)
    response = guard_refusal(refusal, connection.scope)  # logs what is the server's fault
    handler = _handler_of(connection.scope, refusal)
    if handler is None:
        return starlette_response(response)
    request = connection if isinstance(connection, Request) else Request(connection.scope)
    if inspect.iscoroutinefunction(handler):
        own: Response = await handler(request, refusal)
    else:
        own = await run_in_threadpool(handler, request, refusal)
    kept_out_of_caches(own.raw_headers, connection.scope)
    return own


def _handler_of(scope: Scope, error: RolecallError) -> Any:
    """The app's own handler for errors of the kit, if it has one; one for errors of every kind is none."""
    handlers = getattr(scope.get("app"), "exception_handlers", None) or {}
    kinds = (kind for kind in type(error).__mro__ if issubclass(kind, RolecallError))
    return next((handlers[kind] for kind in kinds if kind in handlers), None)
