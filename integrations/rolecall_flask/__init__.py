"""Rolecall for Flask: a blueprint with the kit's routes, and guards for your own views."""

from rolecall.http.marks import public
from rolecall.http.sdk import SDK_ROUTES

from .blueprint import problem_response, rolecall_blueprint
from .guards import current_grant, protect, require_capability, require_role, require_token

__all__ = [
    "SDK_ROUTES",
    "current_grant",
    "problem_response",
    "protect",
    "public",
    "require_capability",
    "require_role",
    "require_token",
    "rolecall_blueprint",
]
