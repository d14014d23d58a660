"""How a refused request leaves an app: by the app's own handler, or with the kit's problem document."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rolecall.errors import RolecallError
from rolecall.http import adapter
from rolecall.http.adapter import challenges, close_code
from rolecall.http.gateways.asgi import guard_refusal, kept_out_of_caches

from .dialects import dialects
from .translation import starlette_response


class Refused(HTTPException):
    """A request that is refused where the guard is no endpoint: in a dependency, or in a helper of an endpoint.

    FastAPI, and an app with a handler for ``HTTPException``, answer it as they answer all others, with its status and
    challenge; :func:`problem_handler` answers with the kit's problem document. A Starlette app without such a handler
    answers with that document by itself.
    """

    def __init__(
        self, response: adapter.Response, error: RolecallError | None = None, as_document: bool = False
    ) -> None:
        detail = error.public_message if error else None
        headers = dict(response.headers)
        if as_document:
            detail = response.body.decode()
        else:
            headers.pop("Content-Type", None)
        super().__init__(response.status, detail, headers)
        #: The answer of the kit: a problem document.
        self.response = response
        #: The reason of the refusal; None for the answer to OPTIONS.
        self.error = error
        self._as_document = as_document

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.response, self.error, self._as_document)


async def problem_handler(_: Any, refused: Exception) -> Response:
    """Answer with a problem document, as everywhere else: ``app.add_exception_handler(Refused, problem_handler)``."""
    if not isinstance(refused, Refused):
        raise refused
    return starlette_response(refused.response)


#: A refusal: an error, or the answer to OPTIONS.
Refusal = RolecallError | adapter.Response


def as_exception(scope: Scope, refusal: Refusal) -> Exception:
    """The exception for a refusal that must not be a value: the error itself, if the app has a handler for it."""
    kind = _kind_of_refused(scope.get("app"))
    if isinstance(refusal, adapter.Response):
        return kind(refusal)
    response = guard_refusal(refusal, scope)  # logs what is the server's fault
    if _handler_of(scope, refusal) is not None:
        return refusal
    return kind(response, refusal, as_document=not _answers_http_errors(scope, response.status))


async def as_response(connection: HTTPConnection, refusal: Refusal) -> Response:
    """The answer to a refused request."""
    if isinstance(refusal, adapter.Response):
        return starlette_response(refusal)
    response = guard_refusal(refusal, connection.scope)  # logs what is the server's fault
    handler = _handler_of(connection.scope, refusal)
    if handler is None:
        return starlette_response(response)
    request = connection if isinstance(connection, Request) else Request(connection.scope)
    if _is_async(handler):
        own: Response = await handler(request, refusal)
    else:
        own = await run_in_threadpool(handler, request, refusal)
    for name, value in challenges(refusal, own.status_code, own.headers):
        own.headers[name] = value
    kept_out_of_caches(own.raw_headers, connection.scope)
    return own


async def answer_http_error(error: HTTPException, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an ``HTTPException`` as ``app`` does, outside of the app's own middleware.

    :param app: the app; None, or an app that is not Starlette's, has no handlers of its own.
    """
    if scope["type"] == "websocket" and "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": close_code(error.status_code), "reason": ""})
        return

    async def fail(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    # A copy of the scope, because the app's own ExceptionMiddleware would replace the handlers in it.
    await ExceptionMiddleware(fail, _handlers_of(app))({**scope}, receive, send)


def _handlers_of(app: Any) -> dict[Any, Any]:
    handlers = getattr(app, "exception_handlers", None)
    return handlers if isinstance(handlers, dict) else {}


def _handler_of(scope: Scope, error: RolecallError) -> Any:
    """The app's own handler for errors of the kit; None if it has none, or only one for errors of every kind."""
    handlers = _handlers_of(scope.get("app"))
    kinds = (kind for kind in type(error).__mro__ if issubclass(kind, RolecallError))
    return next((handlers[kind] for kind in kinds if kind in handlers), None)


def _answers_http_errors(scope: Scope, status: int) -> bool:
    """Whether the app has its own handler for a class or status of :class:`Refused`."""
    handlers = _handlers_of(scope.get("app"))
    return status in handlers or any(kind in handlers for kind in Refused.__mro__ if kind is not Exception)


def _kind_of_refused(app: Any) -> type[Refused]:
    """The class :class:`Refused` for the framework of ``app``: FastAPI has its own ``HTTPException``."""
    kinds = (dialect.refused(app) for dialect in dialects())
    return next((kind for kind in kinds if kind is not None), Refused)


def _is_async(handler: Any) -> bool:
    while isinstance(handler, partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(handler.__call__)
