"""Starlette's own authentication: a backend for ``AuthenticationMiddleware``, so that ``@requires`` works."""

from __future__ import annotations

from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
from starlette.requests import HTTPConnection
from starlette.responses import Response

from rolecall import Grant, Rolecall
from rolecall.errors import MissingCredential, RolecallError
from rolecall.http.asgi import neutral_request
from rolecall.http.service import refused
from rolecall.http.websockets import check_origin

from .translation import FRAMEWORK, starlette_response


class RolecallUser(BaseUser):
    """The bearer of a token, as ``request.user``."""

    def __init__(self, grant: Grant) -> None:
        #: What the token grants, for one session.
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
    """Reads the token of a connection, for ``AuthenticationMiddleware``.

    The scopes are the token's capabilities (``"publish"``) and every role that they amount to (``"role:publisher"``,
    for a moderator, too), so Starlette's ``@requires("role:publisher")`` works. It looks at no session and asks no
    policy: on a route that names a session use :func:`require_role`, or compare ``request.user.grant.session_id``.
    """

    def __init__(self, kit: Rolecall) -> None:
        self._engine = kit.aio.engine

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, RolecallUser] | None:
        state, request = self._engine.state, neutral_request(conn.scope, FRAMEWORK)
        try:
            if conn.scope["type"] == "websocket":
                check_origin(self._engine, request)
            token, _ = state.credentials.find(request)
            grant = await self._engine.verify_and_tell(token, None)
        except MissingCredential:
            return None
        except RolecallError as error:
            raise RefusedToken(error) from error
        roles = [f"role:{role}" for role in state.roles if role.capabilities <= grant.capabilities]
        return AuthCredentials([*sorted(grant.capabilities), *roles]), RolecallUser(grant)


def on_auth_error(_: HTTPConnection, error: Exception) -> Response:
    """The answer to a token that the backend refused: ``AuthenticationMiddleware(…, on_error=on_auth_error)``."""
    if not isinstance(error, RefusedToken):
        raise error
    return starlette_response(refused(error.error))
