"""Rolecall for Flask: an extension with the kit and its routes, and guards for your own views."""

from rolecall.http.adapter import SDK_ROUTES, guarded_by, public

from .blueprint import problem_response, rolecall_blueprint
from .extension import FlaskRolecall
from .guards import current_grant, find_grant, protect, require_capability, require_role, require_token
from .kits import current_kit
from .refusals import Refused
from .watching import while_granted

__all__ = [
    "SDK_ROUTES",
    "FlaskRolecall",
    "Refused",
    "current_grant",
    "current_kit",
    "find_grant",
    "guarded_by",
    "problem_response",
    "protect",
    "public",
    "require_capability",
    "require_role",
    "require_token",
    "rolecall_blueprint",
    "while_granted",
]
