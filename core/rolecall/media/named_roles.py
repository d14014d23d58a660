"""Services whose tokens name a role that is defined at the service, so that an app says which name stands for which."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final, Unpack

from ..errors import ConfigurationError, RoleNotHeld
from ..formats.claims import ClaimRules, wrong_claim
from ..keys.issuers import Issuer
from ..roles import Capability, Role
from ..tokens import Grant
from ..wording import kind, shown
from .backend import CommonSettings, MediaBackend, Place
from .tokens import ServiceJWT

_NAME: Final = re.compile(r"[^\x00-\x1f\x7f\"\\]{1,128}")


class NamedRoleBackend(MediaBackend):
    """A service that knows roles by names of its own.

    What a name may do is defined there, and cannot be looked up here: the app vouches for it by its map.

    :param url: where clients connect.
    :param roles: the service's name of each role that is to get tickets, such as ``{"publisher": "host"}``.
    :param settings: those of every :class:`MediaBackend`.
    :raises ConfigurationError: for a map that is none.
    """

    names_roles: ClassVar[bool] = True

    def __init__(self, url: str, roles: Mapping[str, str], **settings: Unpack[CommonSettings]) -> None:
        try:
            super().__init__(url, **settings)
        finally:
            del url, settings  # they may hold a secret
        expected = 'expected names of the service by roles, such as {"publisher": "host"}'
        if not isinstance(roles, Mapping) or not roles:
            raise ConfigurationError(f"{self.name}: roles is {kind(roles)}; {expected}")
        for role, named in roles.items():
            if not isinstance(role, str) or not isinstance(named, str) or not _NAME.fullmatch(named):
                raise ConfigurationError(f"{self.name}: roles has {shown(named, 80)} for {shown(role, 80)}; {expected}")
        #: The service's names by roles.
        self.roles = {str(role): named for role, named in roles.items()}

    def wider(self, role: Role, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """See :meth:`MediaBackend.wider`: a name stands for all that its role may do."""
        return frozenset() if str(role) in self.accept_wider else role.capabilities - capabilities

    def place(self, grant: Grant, now: float) -> Place:
        """See :meth:`MediaBackend.place`.

        :raises RoleNotHeld: also for a role that has no name at the service.
        """
        if str(grant.role) not in self.roles:
            raise RoleNotHeld(
                f"{self.name} has no name for the role {str(grant.role)!r}; an app that has one there says so in the "
                f"setting roles, as for {', '.join(self.roles)}"
            )
        return super().place(grant, now)


class NamedRoleFormat(ServiceJWT):
    """The format of a service that knows roles by names of its own.

    :param backend: has the names.
    """

    __slots__ = ("_named", "_roles")

    def __init__(self, backend: NamedRoleBackend, issuer: Issuer, rules: ClaimRules) -> None:
        super().__init__(backend, issuer, rules)
        self._roles = backend.roles
        named: dict[str, frozenset[Capability]] = {}
        for role, name in backend.roles.items():
            known = rules.roles.find(role)
            if known is None:
                raise ConfigurationError(f"{backend.name}: roles has {shown(role, 80)}, which is no role of this kit")
            # Of several roles with one name a token cannot say which it is: it is read as what they have in common.
            named[name] = named.get(name, known.capabilities) & known.capabilities
        self._named = named

    def carries(self, role: Role, capabilities: frozenset[Capability]) -> bool:
        """See :meth:`ServiceFormat.carries`: the role has a name, too."""
        return str(role) in self._roles and super().carries(role, capabilities)

    def capabilities_of(self, name: object) -> frozenset[Capability]:
        """What the name of a role in a token stands for.

        :raises InvalidClaim: for a name that the app's map does not have.
        """
        held = self._named.get(name) if isinstance(name, str) else None
        if held is None:
            raise wrong_claim("role", f"a role that the setting roles of {self._backend.name} names")
        return held
