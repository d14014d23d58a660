"""Rolecall for aiohttp: the kit's routes, guards for handlers, views and whole apps, and WebSockets."""

from rolecall.http.adapter import SDK_ROUTES, guarded_by, public

from .guards import current_grant, find_grant, protect, renew_grant, while_granted

from .guards import require_capability, require_role, require_token  # isort: skip
from .routes import problem_response, setup

__all__ = ["SDK_ROUTES", "current_grant", "find_grant", "guarded_by", "problem_response", "protect"]
__all__ += ["public", "renew_grant", "require_capability", "require_role", "require_token", "setup", "while_granted"]
