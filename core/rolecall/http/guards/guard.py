"""Common parts of all adapters' guards: their demands, the session that they bind, and the kit that verifies."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Protocol, Self, TypeAlias, TypeVar, overload

from ...errors import ConfigurationError
from ...plugins import Implementation
from ...roles import ANY_TOKEN, Capability, CapabilityName, Requirement, Role, RoleName, RoleTable
from ...tokens import Grant
from ...wording import shown
from ..api import Api

#: The default path parameter for the session.
SESSION_PARAM: Final = "session_id"
# The thread pool for the apps' own functions that are marked as blocking.
_POOL: Final = "session functions of guards"

#: The app's own function from the framework's request to the session's id.
SessionResolver: TypeAlias = Callable[[Any], "str | Awaitable[str | None] | None"]


class HasApi(Protocol):
    """A kit's side for sync code, or for async code."""

    @property
    def api(self) -> Api: ...


class Kit(HasApi, Protocol):
    """The parts of a :class:`~rolecall.Rolecall` that guards use."""

    @property
    def roles(self) -> RoleTable: ...
    @property
    def aio(self) -> HasApi: ...


SomeKit = TypeVar("SomeKit", bound=Kit)
Target = TypeVar("Target", bound=Callable[..., Any])


class Unsaid(Enum):
    """The type of :data:`UNSAID`."""

    UNSAID = "unsaid"

    def __repr__(self) -> str:
        return "UNSAID"


#: The default of ``session_param``: the guard binds ``session_id`` if a route has it. A route that has only other path
#: parameters admits nobody until the app says which of them names the session, or that none does.
UNSAID: Final = Unsaid.UNSAID
#: The possible values of a guard's ``session_param``.
SessionParam: TypeAlias = str | Unsaid | None


class Guard:
    """Admits a request if its token meets the requirement, and is for the session of the request.

    Two guards with the same demands are equal.

    :param requirement: the requirement on the token.
    :param kit: the kit that verifies; None for the only one of the app.
    :param session_param: the path parameter that names the session; None binds the guard to no session.
    :param session: finds the session's id instead: a function of the framework's request, sync or async. If it returns
        None, nobody is admitted.
    :param optional: whether a request without a token is admitted, too, without a grant.
    :raises ConfigurationError: for an invalid argument.
    """

    def __init__(
        self,
        requirement: Requirement,
        kit: Kit | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
        optional: bool = False,
    ) -> None:
        _check_binding(session_param, session)
        _check_kit(kit)
        if not isinstance(optional, bool):
            raise ConfigurationError(f"optional is {shown(optional)}; expected True or False")
        self.requirement = requirement
        self.kit = kit
        #: Whether the app has said which session the guard binds.
        self.says = session is not None or session_param is not UNSAID
        #: The path parameter that names the session; None if a resolver finds it, or if the guard binds none.
        self.session_param = SESSION_PARAM if session_param is UNSAID else session_param
        if session is not None:
            self.session_param = None
        #: Finds the session, if the app has a function for it.
        self.resolver = None if session is None else Implementation.of("session", session, session, _POOL)
        self.optional = optional

    @classmethod
    def of_role(
        cls,
        role: Role | RoleName,
        *,
        exact: bool = False,
        kit: Kit | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> Self:
        """Admit tokens whose role has all capabilities of ``role``.

        :param role: a standard role's name, a name that ``kit`` knows, or a :class:`~rolecall.Role`.
        :param exact: admit no other role, even with the same capabilities.
        :param kit: the kit that verifies; the app's only one unless given.
        :param session_param: the path parameter that names the session: the token must be for that session. The default
            is ``session_id``, if the route has it. None binds the guard to no session: a token for any is sufficient.
            It is required on a route that has only other path parameters.
        :param session: a function from the framework's request to the session's id, ``def`` or ``async def``, for URLs
            with other ids. If it returns None, nobody is admitted; if it raises one of the framework's own errors, such
            as ``abort(404)`` in Flask, that is the answer.
        :raises ConfigurationError: for an unknown role, or an invalid argument.
        """
        return cls(required_role(role, kit, exact), kit, session_param, session)

    @classmethod
    def of_capability(
        cls,
        capability: Capability | CapabilityName,
        *,
        kit: Kit | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> Self:
        """Admit tokens with this capability: ``require_capability("force_disconnect")``.

        :param kit: see :func:`require_role`, also for the others.
        :raises ConfigurationError: for an unknown capability, or an invalid argument.
        """
        return cls(Requirement.of_capability(capability), kit, session_param, session)

    @overload
    @classmethod
    def of_token(cls, target: Target, /) -> Target: ...
    @overload
    @classmethod
    def of_token(
        cls,
        *,
        optional: bool = False,
        kit: Kit | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> Self: ...
    @classmethod  # type: ignore[misc]  # mypy takes what the second returns for another class
    def of_token(
        cls,
        target: Any = None,
        /,
        *,
        optional: bool = False,
        kit: Kit | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> Any:
        """Admit every good token, whatever its role; with or without parentheses.

        :param optional: admit requests without a token, too: they have no grant, see :func:`find_grant`. An invalid
            token is refused all the same.
        :param kit: see :func:`require_role`, also for the others.
        """
        guard: Any = cls(ANY_TOKEN, kit, session_param, session, optional)
        return guard if target is None else guard(target)

    def _identity(self) -> tuple[object, ...]:
        resolver = None if self.resolver is None else self.resolver.call
        return type(self), self.requirement, id(self.kit), self.says, self.session_param, resolver, self.optional

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Guard) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"<Guard {self.requirement.scope}>"

    @property
    def binds(self) -> str | None:
        """The session that the guard demands, in words: ``{room_id}``; None if it binds none."""
        if self.resolver is not None:
            return "what session=… finds"
        return None if self.session_param is None else f"{{{self.session_param}}}"

    def is_settled(self, params: Collection[str]) -> bool:
        """Whether the session of a route with these path parameters is settled."""
        return self.says or self.binds_in(params)

    def binds_in(self, params: Collection[str]) -> bool:
        """Whether it demands a token for one session on a route with these path parameters."""
        return self.resolver is not None or self.session_param in params

    def bound_session(
        self,
        params: Mapping[str, Any],
        path: str,
        others: Callable[[], tuple[Iterable[Guard], Iterable[Guard]]] = lambda: ((), ()),
    ) -> str | None:
        """The session in a route's path, which the token must be for; None if there is none.

        :param params: the path parameters of the route, by name.
        :param path: for the message.
        :param others: the further guards of the route: those around this one, and those within.
        :raises ConfigurationError: if the named parameter is missing, or if none is named and the route has others.
        """
        name = self.session_param
        if name is not None and name in params:
            return str(params[name])
        if self.says:
            if name is None:
                return None
            raise ConfigurationError(
                f"the guard of {shown(path, 80)} binds the session by the path parameter {name!r}, which the route "
                "does not have"
            )
        if not params or is_settled_by(params, *others()):
            return None
        raise ConfigurationError(f"the route {shown(path, 80)} {unsettled(params)}")

    def session_entered(self, named: str | None, grant: Grant) -> str | None:
        """The session of an admitted request, also one that a resolver found.

        :param named: the session that the route names.
        """
        return named if self.resolver is None else grant.session_id

    def split(self, guards: Sequence[Guard]) -> tuple[Sequence[Guard], Sequence[Guard]] | None:
        """The guards around this one, and those within it; None if it is not among ``guards``.

        :param guards: the guards of a route, from the outermost.
        """
        places = [place for place, one in enumerate(guards) if one is self]
        return (guards[: places[0]], guards[places[0] + 1 :]) if places else None

    def demands_no_less_than(self, other: Guard) -> bool:
        """Whether it refuses everybody whom another guard refuses, as far as the two can be compared."""
        if self == other:
            return True
        demand, needed = self.requirement, other.requirement
        return (
            not self.optional
            and demand.capabilities >= needed.capabilities
            and needed.only in (None, demand.only)
            and (self.session_param, self.resolver) == (other.session_param, other.resolver)
            and other.kit in (None, self.kit)
        )

    @classmethod
    def check(cls, guard: object) -> None:
        """Refuse an argument that is no guard of this class.

        :raises ConfigurationError: says what to pass.
        """
        if isinstance(guard, str):
            raise ConfigurationError(f"pass a guard: require_role({shown(guard)})")
        if not isinstance(guard, cls):
            package = cls.__module__.partition(".")[0]
            raise ConfigurationError(
                f"pass a guard of {package}, such as require_role('moderator'), not {shown(guard)}"
            )


def is_settled_by(params: Iterable[str], around: Iterable[Guard], within: Iterable[Guard]) -> bool:
    """Whether other guards of a route settle its session, for a guard that does not do so itself.

    A guard that binds the session settles it. A guard with ``session_param=None`` settles it for the guards around it,
    because it is nearer to the route, but not for those within.
    """
    params = tuple(params)
    return any(guard.binds_in(params) for guard in around) or any(guard.is_settled(params) for guard in within)


def unsettled(params: Iterable[str]) -> str:
    """The problem with a route whose guards do not say which session it is about, and what to do."""
    names = sorted(params)
    return (
        f"has the path parameter {', '.join(map(repr, names))}, and its guard is not told whether that names the "
        f"session; say session_param={names[0]!r} if it does, session=… (a function that finds the session), or "
        "session_param=None if a token for any session is enough"
    )


def unsettled_app(what: str) -> ConfigurationError:
    """The refusal to guard an app whose path parameters are hidden, unless the guard says something about sessions.

    :param what: the app: ``an app of type Quart``.
    """
    return ConfigurationError(
        f"the guard around {what} does not see its path parameters, so it would bind no session: in a guard right "
        "around it name the paths, prefixes=['/rooms/{session_id}'], or pass session=… (a function that finds the "
        "session), or session_param=None if a token for any session is enough"
    )


def required_role(role: Role | RoleName, kit: Kit | None, exact: bool = False) -> Requirement:
    """The requirement of a guard that admits a role.

    :param kit: the guard's kit, whose own roles are known, too.
    :raises ConfigurationError: for an unknown role, or an object that is no kit.
    """
    _check_kit(kit)
    return Requirement.of_role(role, None if kit is None else kit.roles, exact)


def _check_kit(kit: object) -> None:
    if kit is not None and not hasattr(kit, "engine"):
        raise ConfigurationError(f"kit is {shown(kit)}; expected a Rolecall(…)")


def only_kit(kits: Sequence[SomeKit], advice: str) -> SomeKit:
    """The only kit of an app.

    :param advice: how to give an app of this framework a kit.
    :raises ConfigurationError: if there is none, or more than one.
    """
    if len(kits) == 1:
        return kits[0]
    if kits:
        raise several_kits()
    raise ConfigurationError(f"this app has no kit; {advice}, or tell the guard: require_role(…, kit=kit)")


def kit_problem(find: Callable[[], object]) -> str | None:
    """Why the guards of an app find no kit; None if they do.

    :param find: finds the only kit of the app, by :func:`only_kit`.
    """
    try:
        find()
    except ConfigurationError as error:
        return str(error)
    return None


def several_kits() -> ConfigurationError:
    """The refusal to choose between several kits."""
    return ConfigurationError(
        "this app has several kits; tell each guard which one it is for: require_role(…, kit=kit)"
    )


def _check_binding(session_param: object, session: object) -> None:
    if session is not None and session_param is not UNSAID:
        raise ConfigurationError("a guard takes session_param or session, not both")
    if session is not None and not callable(session):
        raise ConfigurationError(
            f"session is {shown(session)}; expected a function from the request to the session's id"
        )
    if session is not None and not _takes_one(session):
        raise ConfigurationError("session is a function that does not take one argument, the request")
    if session_param is None or session_param is UNSAID:
        return
    if not isinstance(session_param, str) or not session_param.isidentifier():
        raise ConfigurationError(
            f"session_param is {shown(session_param)}; expected the name of a path parameter, such as 'room_id', "
            "or None"
        )


def _takes_one(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # it has no signature; then it shows when it is called
        return True
    return True
