"""Guards as FastAPI's dependencies."""

from __future__ import annotations

import inspect
from typing import Annotated, TypeAlias

from fastapi import Depends, Response, Security
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from rolecall import Capability, CapabilityName, Grant, Role, Rolecall, RoleName
from rolecall.http.adapter import ANY_TOKEN, UNSAID, SessionParam, SessionResolver, mark_guarded, vary_by_token
from rolecall.http.gateways.asgi import granted, missing_headers, uncached
from rolecall_starlette.guarded_app import BOUND
from rolecall_starlette.guards import Guard, require_capability, require_role, require_token
from rolecall_starlette.refusals import as_exception

from . import websockets
from .openapi import SCHEME


class UncachedMiddleware:
    """Keeps an app's answers to admitted requests out of caches: ``app.add_middleware(…)``.

    The dependencies reach only the answers that FastAPI makes itself; this middleware also reaches answers that an
    endpoint makes (``FileResponse(…)``), and errors.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send_uncached = uncached(send, scope)

        async def send_answer(message: Message) -> None:
            await (send_uncached if granted(scope) is not None else send)(message)

        await self.app(scope, receive, send_answer if scope["type"] == "http" else send)


class Dependency:
    """Admits a request if its token meets the requirement of a guard, and passes its grant to the endpoint."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._hash = hash((type(self), guard))  # FastAPI needs it several times per request
        mark_guarded(self, guard)
        # FastAPI reads the parameters and dependencies of a dependency from its signature.
        scopes = [] if guard.requirement is ANY_TOKEN else [guard.requirement.scope]
        signature = inspect.signature(self.__call__, eval_str=True)
        scheme = signature.parameters["_"].replace(default=Security(SCHEME, scopes=scopes))
        self.__signature__ = signature.replace(parameters=[*list(signature.parameters.values())[:-1], scheme])

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._guard == other._guard

    def __hash__(self) -> int:
        return self._hash

    async def __call__(self, connection: HTTPConnection, response: Response, _: None = None) -> Grant | None:
        scope = connection.scope
        if isinstance(connection, WebSocket):
            return await websockets.enter(self._guard, connection)
        refusal = await self._guard.enter(scope, connection)
        if refusal is not None:
            raise as_exception(scope, refusal)
        if self._guard.binds_in(scope.get("path_params") or ()):
            scope[BOUND] = True
        response.headers.update(dict(missing_headers(response.headers.items(), scope)))
        # At once, because the endpoint may still say how long caches keep the answer.
        response.headers.update(dict(vary_by_token(response.headers.get("vary", ""), self._guard.api_of(scope).web)))
        return granted(scope)


class RoleRequired(Dependency):
    """``grant: Annotated[Grant, Depends(RoleRequired("moderator"))]``; see :func:`rolecall_starlette.require_role`.

    Two with the same demands are equal, so ``app.dependency_overrides[RoleRequired("moderator")]`` works in tests.
    """

    def __init__(
        self,
        role: Role | RoleName,
        *,
        exact: bool = False,
        kit: Rolecall | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> None:
        super().__init__(require_role(role, exact=exact, kit=kit, session_param=session_param, session=session))


class CapabilityRequired(Dependency):
    """``Depends(CapabilityRequired("signal"))``; see :func:`rolecall_starlette.require_capability`."""

    def __init__(
        self,
        capability: Capability | CapabilityName,
        *,
        kit: Rolecall | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> None:
        super().__init__(require_capability(capability, kit=kit, session_param=session_param, session=session))


class TokenRequired(Dependency):
    """``Depends(TokenRequired())``: every good token; see :func:`rolecall_starlette.require_token`.

    With ``optional=True`` the grant is None for a request without a token.
    """

    def __init__(
        self,
        *,
        optional: bool = False,
        kit: Rolecall | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> None:
        super().__init__(require_token(optional=optional, kit=kit, session_param=session_param, session=session))


class GrantRequired(Dependency):
    """``Depends(GrantRequired())``: the grant with which another guard of the route has let the request in.

    Where none has demanded a token for the same session, it demands one itself, as :class:`TokenRequired` does.
    """

    def __init__(
        self,
        *,
        kit: Rolecall | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> None:
        super().__init__(require_token(kit=kit, session_param=session_param, session=session))

    async def __call__(self, connection: HTTPConnection, response: Response, _: None = None) -> Grant | None:
        if self._guard.is_met(connection.scope):
            return granted(connection.scope)
        return await super().__call__(connection, response)


#: The grant of a request or a WebSocket, as the type of an endpoint's parameter: ``grant: CurrentGrant``. It is that of
#: :class:`GrantRequired`.
CurrentGrant: TypeAlias = Annotated[Grant, Depends(GrantRequired())]
