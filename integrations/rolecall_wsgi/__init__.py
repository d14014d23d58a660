"""Rolecall for plain WSGI apps: a middleware with the kit's routes, and guards around any app."""

from .guards import current_grant, protect, require_capability, require_role, require_token
from .middleware import RolecallMiddleware

__all__ = [
    "RolecallMiddleware",
    "current_grant",
    "protect",
    "require_capability",
    "require_role",
    "require_token",
]
