"""Rolecall for plain WSGI apps: a middleware with the kit's routes, and guards around any app."""

from rolecall.http.adapter import SDK_ROUTES, guarded_by, public

from .guards import current_grant, find_grant, protect, require_capability, require_role, require_token
from .middleware import RolecallMiddleware
from .watching import while_granted

__all__ = [
    "SDK_ROUTES",
    "RolecallMiddleware",
    "current_grant",
    "find_grant",
    "guarded_by",
    "protect",
    "public",
    "require_capability",
    "require_role",
    "require_token",
    "while_granted",
]
