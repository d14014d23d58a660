"""Votes of policies, which can only narrow; the rule that combines them; and the decision with its reasons."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field, fields
from datetime import timedelta
from math import ceil
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from .errors import ConfigurationError, PolicyDenied, PolicyFault, RolecallError
from .roles import Capability, CapabilityName, Role, RoleName, RoleTable
from .tokens import check_data
from .wording import shown

#: The statuses of a policy's denial: Forbidden, or Too Many Requests (RFC 6585, section 4).
DENIAL_STATUSES: Final = (403, 429)
#: The longest waiting time in a denial, in seconds: a larger number may be too large for clients.
MAX_RETRY_AFTER: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits in a vote: the base of :class:`Allow` and :class:`Limit`, and no vote itself."""

    max_role: Role | RoleName | None = None
    latest_expiry: float | None = None
    capabilities: Iterable[Capability | CapabilityName] | None = None
    reason: str = ""
    max_lifetime: float | timedelta | None = None
    data: str | None = None
    # Two votes with the same limits are equal, whatever functions they carry; no message shows the functions.
    reserve: Reserve | None = field(default=None, compare=False, repr=False)
    release: Release | None = field(default=None, compare=False, repr=False)
    renewal: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str):
            raise ConfigurationError(f"reason is {shown(self.reason)}; expected text")
        if not isinstance(self.max_role, str | None):
            raise ConfigurationError(f"max_role is {shown(self.max_role)}; expected a role or the name of one")
        if self.capabilities is not None:
            object.__setattr__(self, "capabilities", _capabilities(self.capabilities))
        if isinstance(self.max_lifetime, timedelta):
            object.__setattr__(self, "max_lifetime", self.max_lifetime.total_seconds())
        for name in ("latest_expiry", "max_lifetime"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value != value):
                raise ConfigurationError(f"{name} is {shown(value)}; expected a number of seconds")
        if self.data is not None:
            check_data(self.data)
        if not isinstance(self.renewal, bool) or (self.renewal and type(self) is not Allow):
            raise ConfigurationError(f"renewal is {shown(self.renewal)}; expected True or False, and True in an Allow")
        if self.reserve is not None or self.release is not None:
            _check_reservation(self.reserve, self.release)


class Allow(Limits):
    """A vote for a request, which may carry limits. Several votes allow the intersection of their limits.

    :param max_role: the highest role: only its capabilities are granted.
    :param latest_expiry: the latest end of a token's life, in Unix seconds.
    :param capabilities: only these capabilities are granted.
    :param reason: why, for the trace.
    :param max_lifetime: the longest life of a token from its issue, in seconds.
    :param data: connection data that replaces the requested data. If two policies set different data, the request is
        denied.
    :param reserve: takes a reservation of the vote, such as a place or a count. Called without arguments after all
        votes have allowed, just before the request is granted; never for an explanation. It may be async, and returns
        None, or a :class:`Deny` if another request has taken the last place in the meantime.
    :param release: gives the reservation back if the request is refused after all. It may be async, and must do no harm
        without a reservation: it is also called if ``reserve`` failed or was late.
    :param renewal: whether it allows, too, that the bearer of a token renews it without a login. Without this only its
        limits count for such a request, so that a policy that knows nothing of renewals opens no door to them.
    """

    __slots__ = ()


class Limit(Limits):
    """A vote of limits alone: they narrow the other votes, and allow nothing. It has the arguments of :class:`Allow`.

    For a policy that only restricts (opening hours, a highest role) and must not allow a request by doing so.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Deny:
    """A vote against a request, which decides.

    :param reason: why, for the client.
    :param code: a name for machines, for example ``"class_is_over"``.
    :param detail: text for the server's log and trace only.
    :param status: 403, or 429 for a request that may be repeated later.
    :param retry_after: with 429, the seconds until the request may be repeated: a whole number, or a ``timedelta``,
        which is rounded up.
    """

    reason: str = "a policy of this service denied the request"
    code: str | None = None
    detail: str = field(default="", compare=False)
    status: int = 403
    retry_after: int | timedelta | None = None

    def __post_init__(self) -> None:
        if not all(isinstance(text, str) for text in (self.reason, self.code or "", self.detail)):
            raise ConfigurationError("Deny takes reason, code and detail as text")
        if not isinstance(self.status, int) or self.status not in DENIAL_STATUSES:
            raise ConfigurationError(f"status is {shown(self.status)}; expected 403 or 429")
        object.__setattr__(self, "status", int(self.status))  # also accepts a member of HTTPStatus
        if self.retry_after is None:
            return
        if self.status != 429:
            raise ConfigurationError("retry_after goes with status=429: a 403 does not change with time")
        if isinstance(self.retry_after, timedelta):
            object.__setattr__(self, "retry_after", ceil(self.retry_after.total_seconds()))
        if type(self.retry_after) is not int or not 0 <= self.retry_after <= MAX_RETRY_AFTER:
            raise ConfigurationError(
                f"retry_after is {shown(self.retry_after)}; expected seconds from 0 to {MAX_RETRY_AFTER}, as a whole "
                "number or a timedelta"
            )

    def error(self) -> PolicyDenied:
        """The error that refuses the request."""
        return PolicyDenied(self.reason, self.code, self.status, self.retry_after)  # type: ignore[arg-type]


#: What a policy hook returns; None abstains.
Vote: TypeAlias = Allow | Limit | Deny | None
#: Takes a reservation of a vote; returns None, or the denial.
Reserve: TypeAlias = Callable[[], Deny | None] | Callable[[], Awaitable[Deny | None]]
#: Gives a reservation back.
Release: TypeAlias = Callable[[], object]


class Ballot(NamedTuple):
    """One plugin's vote, or its failure to vote.

    :param plugin: the plugin's name.
    :param vote: its vote; None if it abstained or failed.
    :param fault: the failure, for the log; empty if there is none.
    :param seconds: how long the plugin took.
    :param error: the exception that it raised, or None.
    """

    plugin: str
    vote: Vote = None
    fault: str = ""
    seconds: float = 0.0
    error: BaseException | None = None


class Decision(NamedTuple):
    """The result of all ballots.

    :param ballots: the kit's own, and every plugin's in the order of their names.
    """

    ballots: tuple[Ballot, ...]

    @property
    def allowed(self) -> bool:
        """Whether the request is allowed: by at least one :class:`Allow`, and no fault or :class:`Deny`."""
        return self.refusal() is None

    def refusal(self) -> RolecallError | None:
        """The error that refuses the request; None if it is allowed."""
        if disagreement := self._disagreement():
            return disagreement
        allowed, denials = False, []
        for ballot in self.ballots:
            if ballot.fault:
                return self._fault()
            if type(ballot.vote) is Allow:
                allowed = True
            elif type(ballot.vote) is Deny:
                denials.append(ballot.vote)
        if denials:
            # Among equal denials max returns the first one, by the plugins' names.
            return max(denials, key=_lasts).error()
        if not allowed:
            return PolicyDenied("no policy of this service allows the request")
        return None

    def _disagreement(self) -> PolicyFault | None:
        replacing = [
            ballot for ballot in self.ballots if isinstance(ballot.vote, Limits) and ballot.vote.data is not None
        ]
        if len({ballot.vote.data for ballot in replacing}) < 2:  # type: ignore[union-attr]
            return None
        plugins = ", ".join(repr(ballot.plugin) for ballot in replacing)
        return PolicyFault(f"the policies {plugins} replace the connection data by different ones")

    def _fault(self) -> PolicyFault:
        failed = [ballot for ballot in self.ballots if ballot.fault]
        faults = "; ".join(f"{ballot.plugin!r}: {ballot.fault}" for ballot in failed)
        fault = PolicyFault(f"a policy failed: {faults}")
        fault.__cause__ = failed[0].error
        return fault

    def for_renewal(self) -> Decision:
        """The same about the renewal of a token without a login: only votes that say so allow it."""
        return Decision(tuple(ballot._replace(vote=_unless_for_renewal(ballot.vote)) for ballot in self.ballots))

    @property
    def limits(self) -> tuple[Limits, ...]:
        """The votes with limits: each :class:`Allow` and each :class:`Limit`."""
        return tuple(ballot.vote for ballot in self.ballots if isinstance(ballot.vote, Limits))


def _unless_for_renewal(vote: Vote) -> Vote:
    if type(vote) is not Allow or vote.renewal:
        return vote
    return Limit(**{each.name: getattr(vote, each.name) for each in fields(vote)})


def _lasts(denial: Deny) -> tuple[bool, float]:
    """A sort key for denials: a 403 lasts longest, and of two 429 the one with the longer wait."""
    return denial.status != 429, -1 if denial.retry_after is None else denial.retry_after  # type: ignore[return-value]


_Role = TypeVar("_Role", Role, None)


class Scope(NamedTuple, Generic[_Role]):
    """The rights that are requested or held, as far as limits can narrow them.

    :param role: None for rights without a role: the server's own code has all capabilities.
    :param capabilities: the capabilities.
    :param expires_at: the end, in Unix seconds.
    :param data: the connection data.
    """

    role: _Role
    capabilities: frozenset[Capability]
    expires_at: float
    data: str | None = None


def narrow(
    scope: Scope[_Role], limits: Collection[Limits], roles: RoleTable, *, issued_at: float, now: float
) -> Scope[_Role]:
    """Narrow a scope by limits; return the scope itself if nothing changes.

    :param issued_at: the beginning of a lifetime, in Unix seconds.
    :param now: in Unix seconds.
    :raises PolicyDenied: if nothing of the role is left, or if the end is not after ``now``.
    """
    role, held, ends, data = scope
    held = narrowed_capabilities(held, limits, roles)
    expires_at = earliest_expiry(ends, limits, issued_at)
    # An expiry that no limit shortened is checked with the token itself, with its leeway.
    if expires_at < ends and expires_at <= now:
        raise outlived()
    for limit in limits:
        if limit.data is not None:
            data = limit.data  # a decision is a fault if policies set different data
    if held == scope.capabilities:
        return scope if (expires_at, data) == (ends, scope.data) else Scope(role, held, expires_at, data)
    return Scope(None if role is None else narrowed_role(role, held, roles), held, expires_at, data)


def narrowed_capabilities(
    held: frozenset[Capability], limits: Iterable[Limits], roles: RoleTable
) -> frozenset[Capability]:
    """The capabilities of ``held`` within all of ``limits``.

    :raises InvalidRole: for an unknown ``max_role``; such a vote is a fault, and never counted.
    """
    for limit in limits:
        if limit.max_role is not None:
            held &= roles.get(limit.max_role).capabilities
        if limit.capabilities is not None:
            held &= _capabilities(limit.capabilities)
    return held


def narrowed_role(role: Role, held: frozenset[Capability], roles: RoleTable) -> Role:
    """``role``, or the greatest role with no capability beyond ``held``.

    :raises PolicyDenied: if there is none.
    """
    if held == role.capabilities:
        return role
    lesser = roles.greatest_within(held)
    if lesser is None:
        raise PolicyDenied(f"the policies of this service leave nothing of the role {str(role)!r}")
    return lesser


def earliest_expiry(expires_at: float, limits: Iterable[Limits], issued_at: float) -> float:
    """The earliest of ``expires_at`` and the limits, in Unix seconds."""
    earliest = expires_at
    for limit in limits:
        if limit.latest_expiry is not None:
            earliest = min(earliest, limit.latest_expiry)
        if limit.max_lifetime is not None:
            earliest = min(earliest, issued_at + limit.max_lifetime)  # type: ignore[operator]
    return earliest


def outlived() -> PolicyDenied:
    """The error for a request after the end of a limit."""
    return PolicyDenied("the policies of this service leave the token no time to live")


def _check_reservation(reserve: object, release: object) -> None:
    for name, function in (("reserve", reserve), ("release", release)):
        if function is not None and not callable(function):
            raise ConfigurationError(f"{name} is {shown(function)}; expected a function that takes no arguments")
    if reserve is None:
        raise ConfigurationError("release goes with reserve: there is nothing to give back")


def _capabilities(names: Iterable[str]) -> frozenset[Capability]:
    if isinstance(names, str):
        raise ConfigurationError(f"capabilities is the text {shown(names)}; expected a list, for example ['publish']")
    try:
        return frozenset(map(Capability, names))
    except ValueError as error:
        raise ConfigurationError(f"{error}; the capabilities are {', '.join(Capability)}") from None
