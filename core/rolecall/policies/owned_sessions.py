"""A policy by which a session belongs to its creator."""

from __future__ import annotations

from ..hookspecs import TokenRequest, hookimpl
from ..policy import Allow, Deny, Limit, Vote
from ..roles import Role, RoleName
from .arguments import checked_name, checked_role


class OwnedSessions:
    """The actor that creates a session owns it: the owner may become its moderator, and end it.

    Others are limited to a role, and another policy has to allow them at all. It does not decide who may create
    sessions. The owner is in the session's record (``created_by``). A session has no owner if its creator was not
    identified; then all are others. It abstains on requests of the server's own code for nobody. Renewals of the
    owner's tokens without a login are neither allowed nor limited.

    :param others: the highest role of everybody else: a standard role's name, or a :class:`~rolecall.Role`. None
        denies them (``"not_the_owner"``).
    :param name: the policy's name.
    :raises ConfigurationError: for a role that does not exist.
    """

    def __init__(self, *, others: Role | RoleName | None = Role.PUBLISHER, name: str = "owned_sessions") -> None:
        self._others = None if others is None else checked_role("others", others)
        self.name = checked_name(name)

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if request.http is None and request.actor is None:
            return None
        owner = None if request.session is None else request.session.created_by
        if owner is not None and request.actor_id == owner:
            if request.actor is None:
                return None
            return Allow(max_role=Role.MODERATOR, reason="the actor owns the session")
        if self._others is None:
            return Deny("the session belongs to somebody else", code="not_the_owner")
        return Limit(max_role=self._others, reason="the session belongs to somebody else")
