"""Starlette's own authentication: a backend for ``AuthenticationMiddleware``, so that ``@requires`` works."""

from __future__ import annotations

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    UnauthenticatedUser,
)
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rolecall import Grant, Rolecall
from rolecall.errors import MissingCredential, RolecallError
from rolecall.http.adapter import BEARER, Handshake, noted, refused
from rolecall.http.gateways.asgi import answered, refuse, take_tokens

from .translation import neutral_request, starlette_response


class RolecallUser(BaseUser):
    """The bearer of a token, as ``request.user``."""

    def __init__(self, grant: Grant) -> None:
        #: The grant of the token, for one session.
        self.grant = grant

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        """The token's connection data."""
        return self.grant.data or ""

    @property
    def identity(self) -> str:
        """The token's id."""
        return self.grant.token_id


class RefusedToken(AuthenticationError):
    """The token of a request was refused; ``error`` says why."""

    def __init__(self, error: RolecallError) -> None:
        super().__init__(error.public_message)
        self.error = error


class RolecallBackend(AuthenticationBackend):
    """Reads the token of a connection, for ``AuthenticationMiddleware``, from the places where guards do.

    The scopes are the token's capabilities (``"publish"``) and every role within them (``"role:publisher"``, for a
    moderator, too), so Starlette's ``@requires("role:publisher")`` works. It checks neither session nor policies: on a
    route that names a session use :func:`require_role`, or compare ``request.user.grant.session_id``.
    """

    def __init__(self, kit: Rolecall) -> None:
        self._api = kit.aio.api

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, RolecallUser] | None:
        try:
            if conn.scope["type"] == "websocket":
                handshake = Handshake(self._api, neutral_request(conn.scope, conn), take_tokens(conn.scope))
                handshake.check()
                request = handshake.request
            else:
                request = neutral_request(conn.scope, conn)
            token, _ = self._api.credentials.find(request)
            grant = await self._api.engine.verify_and_tell(token, None)
        except MissingCredential:
            return None
        except RolecallError as error:
            raise RefusedToken(error) from error
        roles = [f"role:{role}" for role in self._api.engine.state.roles if role.capabilities <= grant.capabilities]
        return AuthCredentials([*sorted(grant.capabilities), *roles]), RolecallUser(grant)


def on_auth_error(_: HTTPConnection, error: Exception) -> Response:
    """The answer to a token that the backend refused: ``AuthenticationMiddleware(…, on_error=on_auth_error)``."""
    if not isinstance(error, RefusedToken):
        raise error
    return starlette_response(refused(error.error))


class RolecallAuthentication(AuthenticationMiddleware):
    """``AuthenticationMiddleware`` with the tokens of a kit: ``Middleware(RolecallAuthentication, kit=kit)``.

    It does what Starlette's own does with a :class:`RolecallBackend` and :func:`on_auth_error`. In addition, a client
    that opens a WebSocket with a bad token is told why, as by a guard; and one that offers its token as a subprotocol
    gets that subprotocol as the answer, unless the app accepts another one. Without the answer a browser gives up.
    """

    def __init__(self, app: ASGIApp, kit: Rolecall) -> None:
        super().__init__(app, RolecallBackend(kit), on_auth_error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        subprotocol = BEARER if BEARER in (scope.get("subprotocols") or ()) else None
        try:
            found = await self.backend.authenticate(HTTPConnection(scope))
        except RefusedToken as refused:
            await receive()  # the client's request to connect
            await refuse(noted(refused.error), scope, send)
            return

        async def send_answered(message: Message) -> None:
            await send(answered(message, subprotocol) if message["type"] == "websocket.accept" else message)

        scope["auth"], scope["user"] = found or (AuthCredentials(), UnauthenticatedUser())
        await self.app(scope, receive, send_answered)
