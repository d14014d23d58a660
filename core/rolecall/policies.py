"""Ready policies, to be passed to a kit as plugins."""

from __future__ import annotations

from .errors import ConfigurationError, shown
from .hookspecs import SessionRequest, TokenRequest, hookimpl
from .policy import Allow
from .roles import Role


class AllowAnyone:
    """Whoever reaches the kit's routes may create sessions, and get tokens up to a role.

    For demonstrations, closed networks, and apps that guard the kit's routes themselves.

    :param max_role: the highest role that is given out.
    """

    def __init__(self, max_role: str = Role.PUBLISHER) -> None:
        if not isinstance(max_role, str) or not max_role:
            raise ConfigurationError(f"max_role is {shown(max_role)}; expected the name of a role")
        self._allow = Allow(max_role=max_role, reason="anyone may")

    @hookimpl
    def rolecall_vote_session(self, request: SessionRequest) -> Allow:
        return self._allow

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Allow:
        return self._allow
