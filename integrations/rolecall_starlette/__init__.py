"""Rolecall for Starlette and FastAPI: the kit's routes, guards for endpoints, WebSockets and whole apps."""

from rolecall.http.adapter import SDK_ROUTES, guarded_by, public

from .authentication import RolecallAuthentication, RolecallBackend, RolecallUser, on_auth_error
from .guards import current_grant, find_grant, protect, require_capability, require_role, require_token
from .lifespans import rolecall_lifespan
from .middleware import RolecallMiddleware
from .refusals import Refused, problem_handler
from .routes import problem_response, rolecall_app, rolecall_routes
from .watching import renew_grant, while_granted

__all__ = [
    "SDK_ROUTES",
    "Refused",
    "RolecallAuthentication",
    "RolecallBackend",
    "RolecallMiddleware",
    "RolecallUser",
    "current_grant",
    "find_grant",
    "guarded_by",
    "on_auth_error",
    "problem_handler",
    "problem_response",
    "protect",
    "public",
    "renew_grant",
    "require_capability",
    "require_role",
    "require_token",
    "rolecall_app",
    "rolecall_lifespan",
    "rolecall_routes",
    "while_granted",
]
