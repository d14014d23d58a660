"""Rolecall for Starlette and FastAPI: the kit's routes, guards for endpoints, WebSockets and whole apps."""

from rolecall.http.marks import public
from rolecall.http.sdk import SDK_ROUTES

from .authentication import RolecallBackend, RolecallUser, on_auth_error
from .guards import current_grant, protect, require_capability, require_role, require_token
from .routes import problem_response, rolecall_app, rolecall_routes

__all__ = [
    "SDK_ROUTES",
    "RolecallBackend",
    "RolecallUser",
    "current_grant",
    "on_auth_error",
    "problem_response",
    "protect",
    "public",
    "require_capability",
    "require_role",
    "require_token",
    "rolecall_app",
    "rolecall_routes",
]
