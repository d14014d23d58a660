"""Rolecall for Tornado: the kit's routes, and guards for request handlers, their methods, and WebSockets."""

from rolecall.http.adapter import SDK_ROUTES, guarded_by, public

from .guards import current_grant, find_grant, renew_grant, while_granted

from .guards import require_capability, require_role, require_token  # isort: skip
from .routes import rolecall_rules

__all__ = ["SDK_ROUTES", "current_grant", "find_grant", "guarded_by", "renew_grant", "require_capability"]
__all__ += ["public", "require_role", "require_token", "rolecall_rules", "while_granted"]
