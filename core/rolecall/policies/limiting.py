"""The one place where a policy limits what others allow without allowing anything itself."""

from __future__ import annotations

from ..errors import moment
from ..hookspecs import AccessRequest, TokenRequest
from ..policy import Allow, Deny, Vote
from ..roles import Role


def limit(
    request: TokenRequest | AccessRequest,
    *,
    max_role: Role | None = None,
    latest_expiry: float | None = None,
    code: str,
    reason: str,
) -> Vote:
    """A vote that narrows what is asked for, and opens no door.

    An :class:`Allow` with limits opens nothing where the kit itself allows: on access, and for the server's own code.
    On a token that is asked for from outside it would, so there what lies beyond the limits is denied.

    :param max_role: the highest role.
    :param latest_expiry: the latest end of life, in Unix seconds.
    :param code: the code of a denial.
    :param reason: why, for the trace and for a denial.
    """
    if isinstance(request, AccessRequest) or request.http is None:
        return Allow(max_role=max_role, latest_expiry=latest_expiry, reason=reason)
    if max_role is not None and not max_role.includes(request.role):
        return Deny(f"{reason}; ask for at most the role {max_role}", code)
    if latest_expiry is not None and request.expires_at > latest_expiry:
        return Deny(f"{reason}; ask for a token that ends at {moment(int(latest_expiry))} at the latest", code)
    return None
