"""A policy that maps the app's groups to roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import ConfigurationError
from ..hookspecs import SessionRequest, TokenRequest, hookimpl
from ..policy import Allow, Deny, Vote
from ..roles import Role, RoleName
from ..wording import shown
from .arguments import Groups, checked_groups, checked_name, checked_names, checked_role, groups_of


class RoleMap:
    """Gives each of the app's groups a highest role: ``RoleMap({"teachers": "moderator", "pupils": "publisher"})``.

    An actor in several groups gets the role that includes all the others. If no role does, because each of two roles
    has a capability that the other lacks, the token is denied (``"ambiguous_role"``). An actor in none of the groups
    gets the ``default``. The policy abstains if no actor is identified, so also on requests of the server's own code
    for nobody.

    :param roles: for each group, a standard role's name, or a :class:`~rolecall.Role`.
    :param default: the highest role of an identified actor in none of the groups; None abstains.
    :param groups: the actor's attribute with its groups (a list or set of names), or a function that takes the
        :class:`~rolecall.Actor` and returns them. It must not block, because it may run on an event loop.
    :param may_create: the groups whose members may create sessions.
    :param name: the policy's name.
    :raises ConfigurationError: for a role that does not exist, or groups that are not names.
    """

    def __init__(
        self,
        roles: Mapping[str, Role | RoleName],
        *,
        default: Role | RoleName | None = None,
        groups: Groups = "groups",
        may_create: Iterable[str] = (),
        name: str = "role_map",
    ) -> None:
        if not isinstance(roles, Mapping):
            raise ConfigurationError(f"roles is {shown(roles)}; expected a mapping from groups to roles")
        checked_names("roles", roles)
        self._roles = {group: checked_role(f"the role of {shown(group)}", role) for group, role in roles.items()}
        self._default = None if default is None else checked_role("default", default)
        self._groups = checked_groups(groups)
        self._may_create = checked_names("may_create", may_create)
        self.name = checked_name(name)

    @hookimpl
    def rolecall_vote_session(self, request: SessionRequest) -> Vote:
        if request.actor is None or self._may_create.isdisjoint(groups_of(request.actor, self._groups)):
            return None
        return Allow(reason="a group of the actor may create sessions")

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if request.actor is None:
            return None
        groups = groups_of(request.actor, self._groups)
        roles = [role for group, role in self._roles.items() if group in groups]
        if not roles:
            return None if self._default is None else Allow(max_role=self._default, reason="an actor in no group")
        highest = _highest(roles)
        if highest is None:
            return Deny(
                "your groups give roles of which none includes the others",
                code="ambiguous_role",
                detail=", ".join(sorted(set(roles))),
            )
        return Allow(max_role=highest, reason="the highest role of the actor's groups")


def _highest(roles: list[Role]) -> Role | None:
    """The role that includes all the others; None if there is none."""
    return next((role for role in roles if all(role.includes(other) for other in roles)), None)
