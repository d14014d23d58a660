"""Roles and capabilities: the rights that a token grants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from enum import StrEnum
from typing import ClassVar, Literal, NamedTuple, TypeAlias

from .errors import ConfigurationError, InvalidRole
from .wording import shown

#: The names of the standard roles. Pass a role of the app's own as the :class:`Role` itself: a constant of the app, or
#: ``kit.roles.get(name)`` for a name that is known only at run time.
RoleName: TypeAlias = Literal["subscriber", "publisheronly", "publisher", "moderator"]
#: The names of the capabilities. Pass a name that is known only at run time as ``Capability(name)``.
CapabilityName: TypeAlias = Literal["connect", "subscribe", "publish", "signal", "force_disconnect", "force_unpublish"]


class Capability(StrEnum):
    """One thing that a participant may do in a session."""

    CONNECT = "connect"
    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    SIGNAL = "signal"
    FORCE_DISCONNECT = "force_disconnect"
    FORCE_UNPUBLISH = "force_unpublish"


class Role(str):
    """A named set of capabilities. A ``Role`` is its name: ``grant.role == "moderator"`` works.

    :param name: the role's name, lower-case letters, digits, ``_`` and ``-``.
    :param capabilities: the capabilities that it includes.
    :param wire_name: the standard role that represents it in a token (its own name by default).
    """

    __slots__ = ("capabilities", "wire_name")

    capabilities: frozenset[Capability]
    wire_name: str

    SUBSCRIBER: ClassVar[Role]
    PUBLISHER: ClassVar[Role]
    PUBLISHER_ONLY: ClassVar[Role]
    MODERATOR: ClassVar[Role]

    def __new__(
        cls,
        name: str,
        capabilities: Iterable[Capability | CapabilityName] = (),
        wire_name: Role | RoleName | None = None,
    ) -> Role:
        for text in (name, name if wire_name is None else wire_name):
            if not isinstance(text, str) or not 0 < len(text) <= 64 or not set(text) <= _NAME_CHARACTERS:
                raise ConfigurationError(
                    f"{shown(text)} cannot be the name of a role; expected 1 to 64 of a-z, 0-9, '_' and '-'"
                )
        try:
            checked = frozenset(map(Capability, capabilities))
        except ValueError as error:
            raise ConfigurationError(f"role {name!r}: {error}; the capabilities are {', '.join(Capability)}") from None
        role = super().__new__(cls, name)
        if not checked:
            raise ConfigurationError(
                f"role {name!r} has no capabilities, so every token would have it; "
                f"the standard roles are Role.{', Role.'.join(_STANDARD_NAMES)}"
            )
        object.__setattr__(role, "capabilities", checked)
        object.__setattr__(role, "wire_name", wire_name or name)
        return role

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Role cannot be changed; make another one")

    def __reduce__(self) -> tuple[type[Role], tuple[str, tuple[str, ...], str]]:
        return Role, (str(self), tuple(sorted(self.capabilities)), self.wire_name)

    def includes(self, other: Role) -> bool:
        """Whether this role has all capabilities of ``other``."""
        return other.capabilities <= self.capabilities


_STANDARD_NAMES = ("SUBSCRIBER", "PUBLISHER_ONLY", "PUBLISHER", "MODERATOR")
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")

Role.SUBSCRIBER = Role("subscriber", ["connect", "subscribe"])
Role.PUBLISHER = Role("publisher", ["connect", "subscribe", "publish", "signal"])
Role.PUBLISHER_ONLY = Role("publisheronly", ["connect", "publish"])
Role.MODERATOR = Role("moderator", Capability)

#: The roles that every OpenTok SDK knows, from the least to the most powerful.
STANDARD_ROLES = (Role.SUBSCRIBER, Role.PUBLISHER_ONLY, Role.PUBLISHER, Role.MODERATOR)


class RoleTable:
    """The roles of a kit, by name."""

    __slots__ = ("_by_name",)

    def __init__(self, roles: Iterable[Role] = STANDARD_ROLES) -> None:
        self._by_name: dict[str, Role] = {}
        for role in roles:
            if not isinstance(role, Role):
                raise ConfigurationError(f"{shown(role)} is registered as a role; expected a Role(…)")
            if role in self._by_name:
                raise ConfigurationError(f"the role {str(role)!r} is registered twice")
            if role.wire_name not in STANDARD_ROLES:
                raise ConfigurationError(
                    f"the role {str(role)!r} has the wire_name {role.wire_name!r}; expected the standard role that "
                    f"stands for it in a token: {', '.join(STANDARD_ROLES)}"
                )
            _check_wire_name(role)
            self._by_name[str(role)] = role

    def __iter__(self) -> Iterator[Role]:
        return iter(self._by_name.values())

    def find(self, name: str) -> Role | None:
        """The role of exactly this name, or None. Names are never normalised."""
        return self._by_name.get(name)

    def knows(self, name: object) -> bool:
        """Whether :meth:`get` finds a role."""
        role = self._by_name.get(name) if isinstance(name, str) else None
        return role is not None and (not isinstance(name, Role) or name.capabilities == role.capabilities)

    def get(self, name: object) -> Role:
        """The role of this name.

        :raises InvalidRole: if there is none, or if ``name`` is a :class:`Role` with other capabilities.
        """
        role = self._by_name.get(name) if isinstance(name, str) else None
        if role is None:
            raise InvalidRole(f"role {shown(name)} does not exist; the roles are {', '.join(self._by_name)}")
        if isinstance(name, Role) and name.capabilities != role.capabilities:
            raise InvalidRole(f"role {shown(name)} exists, and has other capabilities than the Role given")
        return role

    def greatest_within(self, capabilities: Set[Capability]) -> Role | None:
        """The role with the most capabilities that has none beyond ``capabilities``; None if there is none.

        Of two with as many, the one registered first wins (the weaker, in the standard order).
        """
        fitting = [role for role in self if role.capabilities and role.capabilities <= capabilities]
        return max(fitting, key=lambda role: len(role.capabilities), default=None)


def _check_wire_name(role: Role) -> None:
    """Refuse a wire name with more capabilities than the role: others who verify the token see the wire name alone."""
    standard = next(standard for standard in STANDARD_ROLES if standard == role.wire_name)
    beyond = sorted(standard.capabilities - role.capabilities)
    if not beyond:
        return
    fitting = [str(other) for other in STANDARD_ROLES if other.capabilities <= role.capabilities]
    advice = "no standard role does less; give it more capabilities"
    if fitting:
        advice = f"choose {' or '.join(map(repr, fitting))}"
    raise ConfigurationError(
        f"the role {str(role)!r} has the wire_name {role.wire_name!r}, which may do more than the role: "
        f"{', '.join(beyond)}; {advice}"
    )


class Requirement(NamedTuple):
    """The demand of a guarded route on a token: a role, a capability, or any good token.

    :param capabilities: the capabilities that the token must have.
    :param scope: the demand in the form of a challenge, for example ``role:moderator``.
    :param only: the only role that is admitted; None admits every role with the capabilities.
    """

    capabilities: frozenset[Capability]
    scope: str
    only: str | None = None

    def is_met(self, role: str, capabilities: Set[Capability]) -> bool:
        """Whether a grant with this role and these capabilities meets the requirement."""
        return self.capabilities <= capabilities and (self.only is None or self.only == role)

    @classmethod
    def of_role(cls, role: Role | RoleName, roles: RoleTable | None = None, exact: bool = False) -> Requirement:
        """Require all capabilities of ``role``.

        :param role: a :class:`Role`, or the name of one in ``roles``.
        :param roles: the known roles; the standard ones unless given.
        :param exact: whether to refuse other roles even if they have the same capabilities.
        :raises ConfigurationError: for an unknown role.
        """
        _check_one(role, "role", "publisher", "greater roles are let in, too")
        table = roles or RoleTable()
        if roles is not None or not isinstance(role, Role) or table.find(role) is not None:
            try:
                role = table.get(role)
            except InvalidRole as error:
                hint = "" if roles else "; for a role of your own pass the Role itself, or kit="
                raise ConfigurationError(f"cannot require a role: {error}{hint}") from None
        if not isinstance(exact, bool):
            raise ConfigurationError(f"exact is {shown(exact)}; expected True or False")
        return cls(role.capabilities, f"role:{role}", str(role) if exact else None)

    @classmethod
    def of_capability(cls, name: Capability | CapabilityName) -> Requirement:
        """Require one capability.

        :raises ConfigurationError: for a capability that does not exist.
        """
        _check_one(name, "capability", "publish", "for several put one guard on top of the other")
        try:
            capability = Capability(name)
        except ValueError:
            raise ConfigurationError(
                f"capability {shown(name)} does not exist; the capabilities are {', '.join(Capability)}"
            ) from None
        return cls(frozenset({capability}), f"capability:{capability}")


def _check_one(demanded: object, noun: str, example: str, hint: str) -> None:
    """Refuse a wrong argument in place of one name: the view itself, or several names."""
    if callable(demanded):
        raise ConfigurationError(f'write @require_{noun}("{example}"); for any good token @require_token')
    if isinstance(demanded, list | tuple | Set):
        raise ConfigurationError(f"name one {noun}; {hint}")


#: Any token that verifies.
ANY_TOKEN = Requirement(frozenset(), "token")
