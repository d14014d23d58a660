"""Guards as FastAPI's dependencies, which show up in the app's own OpenAPI description."""

from __future__ import annotations

import inspect
import json
from typing import Any

from fastapi import HTTPException, Response, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.responses import Response as StarletteResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rolecall import Grant, Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http import messages
from rolecall.http.asgi import GRANT, uncached
from rolecall.http.guarding import SESSION_PARAM
from rolecall.http.marks import guards_of, mark_guarded
from rolecall.http.service import GUARDED_CACHE_CONTROL
from rolecall.roles import ANY_TOKEN

from .guards import Guard, require_capability, require_role, require_token
from .translation import starlette_response


class Refused(HTTPException):
    """A request that a guard keeps out, as FastAPI answers it: ``{"detail": …}`` with the status and the challenge."""

    def __init__(self, response: messages.Response) -> None:
        # The answer to OPTIONS has no body.
        detail = json.loads(response.body)["detail"] if response.body else None
        headers = {name: value for name, value in response.headers if name != "Content-Type"}
        super().__init__(response.status, detail, headers)
        #: The answer of the kit: a problem document.
        self.response = response


async def problem_handler(_: Any, refused: Exception) -> StarletteResponse:
    """Answers with problem documents, as everywhere else: ``app.add_exception_handler(Refused, problem_handler)``."""
    if not isinstance(refused, Refused):
        raise refused
    return starlette_response(refused.response)


class UncachedMiddleware:
    """Keeps out of caches whatever an app answers to a request that a guard let in: ``app.add_middleware(…)``.

    The dependencies reach only the answers that FastAPI makes itself; this one also reaches those that an endpoint
    makes (``FileResponse(…)``) and errors.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send_uncached = uncached(send)

        async def send_answer(message: Message) -> None:
            await (send_uncached if GRANT in scope else send)(message)

        await self.app(scope, receive, send_answer if scope["type"] == "http" else send)


class _Scheme(SecurityBase):
    """How tokens are sent, in an app's OpenAPI description: one scheme, whatever the guards."""

    def __init__(self) -> None:
        self.scheme_name = "rolecall"
        self.model = HTTPBearer(
            bearerFormat="JWT",
            description="A Rolecall token. What it must be enough for stands with each operation, as "
            "`role:…` or `capability:…`; all of it is required.",
        )

    async def __call__(self) -> None:
        """Nothing to do: the guard that depends on this has its own way to find the token."""


_scheme = _Scheme()


class _Dependency:
    """Lets a request in if its token meets the requirement of a guard, and gives its grant to the endpoint."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        mark_guarded(self, guard)
        # FastAPI reads from here what a dependency takes, and what it depends on.
        scopes = [] if guard.requirement is ANY_TOKEN else [guard.requirement.scope]
        signature = inspect.signature(self.__call__, eval_str=True)
        scheme = signature.parameters["_"].replace(default=Security(_scheme, scopes=scopes))
        self.__signature__ = signature.replace(parameters=[*list(signature.parameters.values())[:-1], scheme])

    async def __call__(self, connection: HTTPConnection, response: Response, _: None = None) -> Grant | None:
        scope = connection.scope
        if scope["type"] != "http":
            self._leave_to_own_guard(scope)
            return None
        refusal = await self._guard.enter(scope)
        if refusal is not None:
            raise Refused(refusal)
        response.headers.setdefault("Cache-Control", GUARDED_CACHE_CONTROL)
        grant: Grant = scope[GRANT]
        return grant

    def _leave_to_own_guard(self, scope: Scope) -> None:
        """Let a WebSocket through to an endpoint with a guard of its own that demands no less.

        :raises ConfigurationError: if it has none.
        """
        mine = self._guard
        for guard in guards_of(scope["endpoint"]):
            if (
                isinstance(guard, Guard)
                and guard.requirement.capabilities >= mine.requirement.capabilities
                and guard.session_param == mine.session_param
                and guard._engine(scope) is mine._engine(scope)
            ):
                return
        raise ConfigurationError(
            f"the dependency on {mine.requirement.scope} cannot guard the WebSocket {scope['path']!r}, because it does "
            "not see when the grant ends: put a guard that demands no less, such as @require_role(…), below "
            "@app.websocket(…), and take the grant from current_grant(websocket)"
        )


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
