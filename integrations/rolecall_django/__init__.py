"""Rolecall for Django: the kit of the settings, its routes, guards for views, and guards for the whole site."""

from rolecall.http.adapter import SDK_ROUTES, guarded_by

from .guards import GuardedRequest, GuardMixin, current_grant, find_grant

from .guards import require_capability, require_role, require_token  # isort: skip
from .kits import get_kit
from .middleware import RolecallMiddleware
from .patterns import protect, public
from .translation import problem_response
from .views import rolecall_urls
from .watching import while_granted

__all__ = ["SDK_ROUTES", "GuardMixin", "GuardedRequest", "RolecallMiddleware", "current_grant", "find_grant", "get_kit"]
__all__ += ["guarded_by", "problem_response", "protect", "public", "require_capability", "require_role"]
__all__ += ["require_token", "rolecall_urls", "while_granted"]
