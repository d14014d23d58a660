"""A policy for demonstrations and closed networks."""

from __future__ import annotations

from ..hookspecs import SessionRequest, TokenRequest, hookimpl
from ..policy import Allow, Vote
from ..roles import Role, RoleName
from .arguments import checked_role


class AllowAnyone:
    """Everybody who reaches the kit's routes may create sessions, and get tokens up to a role.

    For demonstrations, closed networks, and apps that guard the kit's routes themselves. It abstains on requests of the
    server's own code, and on renewals of tokens: who holds one is not anyone, and may ask for a first token instead.

    :param max_role: the highest role of a token: a standard role's name, or a :class:`~rolecall.Role`.
    :raises ConfigurationError: for a role that does not exist.
    """

    def __init__(self, max_role: Role | RoleName = Role.PUBLISHER) -> None:
        self._allow = Allow(max_role=checked_role("max_role", max_role), reason="anyone may")

    @hookimpl
    def rolecall_vote_session(self, request: SessionRequest) -> Vote:
        return self._allow if request.http else None

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        return self._allow if request.http and request.renewed is None else None
