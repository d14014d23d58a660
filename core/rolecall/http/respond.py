"""Answers requests for the kit's own routes, for every framework."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from ..errors import MethodNotAllowed, RolecallError
from ..request import Actor, Request
from ..wording import printable, shown
from .api import Api
from .api.routing import BY_CLIENT, BY_SERVER, Route
from .cors import cors_headers, varies_with
from .credentials import url_headers
from .messages import Response
from .problems import internal_fault, refused

_log: Final = logging.getLogger("rolecall")

#: Reads a body, up to the given number of bytes.
BodyReader = Callable[[int], Awaitable[bytes]]


async def respond(
    api: Api, route: Route, request: Request, read_body: BodyReader | None = None, actor: Actor | None = None
) -> Response:
    """Answer a request for one of the kit's routes. Raises nothing for any request.

    :param read_body: reads the body on demand, if the request has none yet.
    :param actor: who makes the request, if the framework has found out. If a plugin identifies somebody else, the
        request is refused.
    """
    web = api.web
    answer = await _answer(api, route, request, read_body, actor)
    return answer.with_headers(
        *cors_headers(web, request, route.methods), *varies_with(web), *url_headers(web, request.query)
    )


async def _answer(
    api: Api, route: Route, request: Request, read_body: BodyReader | None, actor: Actor | None
) -> Response:
    operation, write = route.find(request.method), partial(route.refusals.write, api)
    try:
        if actor is not None:
            request = _made_by(actor, request)
        if request.method == "OPTIONS":
            return Response(204, (("Allow", ", ".join(route.methods)),))
        if operation is None:
            raise MethodNotAllowed(f"{shown(request.method)} is not a method of this route", route.methods)
        if read_body is not None and operation.body is not None:
            request = request._replace(body=await read_body(operation.limit.length))
        return await operation.handler(api, request)
    except RolecallError as error:
        if operation is not None and operation.requires in (BY_SERVER, BY_CLIENT) and error.status < 500:
            # SDKs show their users almost nothing of a refusal.
            _log.warning("%s: %s", error.code, printable(str(error)))
        return refused(error, write)
    except Exception:
        return write(internal_fault())


def _made_by(actor: Actor, request: Request) -> Request:
    if type(actor) is not Actor:
        raise TypeError(f"the actor is of type {type(actor).__name__}; expected a rolecall.Actor, or None")
    return request._replace(actor=actor)
