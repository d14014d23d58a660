"""Guards as FastAPI's dependencies, which show up in the app's own OpenAPI description."""

from __future__ import annotations

import json
from typing import Any

from fastapi import HTTPException, Response
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.responses import Response as StarletteResponse

from rolecall import Grant, Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http import messages
from rolecall.http.asgi import GRANT
from rolecall.http.service import GUARDED_CACHE_CONTROL

from .guards import SESSION_PARAM, Guard, require_capability, require_role, require_token
from .translation import starlette_response


class Refused(HTTPException):
    """A request that a guard keeps out, as FastAPI answers it: ``{"detail": …}`` with the status and the challenge."""

    def __init__(self, response: messages.Response) -> None:
        headers = {name: value for name, value in response.headers if name != "Content-Type"}
        super().__init__(response.status, json.loads(response.body)["detail"], headers)
        #: The answer of the kit: a problem document.
        self.response = response


async def problem_handler(_: Any, refused: Exception) -> StarletteResponse:
    """Answers with problem documents, as everywhere else: ``app.add_exception_handler(Refused, problem_handler)``."""
    if not isinstance(refused, Refused):
        raise refused
    return starlette_response(refused.response)


class _Dependency(SecurityBase):
    """Lets a request in if its token meets the requirement of a guard, and gives its grant to the endpoint."""

    def __init__(self, guard: Guard) -> None:
        self.rolecall_guard = guard
        self.scheme_name = "rolecall"
        self.model = HTTPBearer(
            bearerFormat="JWT", description=f"A Rolecall token that is enough for {guard.requirement.scope}."
        )

    async def __call__(self, connection: HTTPConnection, response: Response) -> Grant:
        if connection.scope["type"] != "http":
            raise ConfigurationError(
                "on a WebSocket a dependency cannot end what it let in: put @require_role(…) below @app.websocket(…)"
            )
        refusal = await self.rolecall_guard.enter(connection.scope)
        if refusal is not None:
            raise Refused(refusal)
        response.headers["Cache-Control"] = GUARDED_CACHE_CONTROL
        grant: Grant = connection.scope[GRANT]
        return grant


class RoleRequired(_Dependency):
    """``grant: Annotated[Grant, Depends(RoleRequired("moderator"))]``; see :func:`rolecall_starlette.require_role`."""

    def __init__(self, role: str, *, kit: Rolecall | None = None, session_param: str | None = SESSION_PARAM) -> None:
        super().__init__(require_role(role, kit=kit, session_param=session_param))


class CapabilityRequired(_Dependency):
    """``Depends(CapabilityRequired("signal"))``; see :func:`rolecall_starlette.require_capability`."""

    def __init__(
        self, capability: str, *, kit: Rolecall | None = None, session_param: str | None = SESSION_PARAM
    ) -> None:
        super().__init__(require_capability(capability, kit=kit, session_param=session_param))


class TokenRequired(_Dependency):
    """``Depends(TokenRequired())``: every good token; see :func:`rolecall_starlette.require_token`."""

    def __init__(self, *, kit: Rolecall | None = None, session_param: str | None = SESSION_PARAM) -> None:
        super().__init__(require_token(kit=kit, session_param=session_param))
