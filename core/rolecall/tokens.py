"""Tokens and grants: what may be asked for in a token, and what a verified one grants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from .errors import ExpiredToken, InvalidClaim, InvalidData, InvalidExpireTime, TokenNotYetValid, WrongTokenKind
from .pickling import reduced
from .roles import Capability, Role, RoleTable
from .wording import moment, shown

#: Seconds that a token lives unless told otherwise: 24 hours, as in every SDK.
DEFAULT_LIFETIME: Final = 86_400
#: The most seconds that a token may live: 30 days, as in every SDK.
MAX_LIFETIME: Final = 30 * 86_400
#: The most seconds that a verified token may live: an hour more, because SDKs round, and where clocks change 30 days of
#: the calendar are an hour longer.
MAX_VERIFIED_LIFETIME: Final = MAX_LIFETIME + 3600
#: The most characters of connection data, and of layout classes joined by spaces.
MAX_DATA_LENGTH: Final = 1000
#: The most seconds by which clocks may differ.
MAX_LEEWAY: Final = 60
#: The claim that names a role of the app's own, beside the standard role that stands for it on the wire.
ROLE_CLAIM: Final = "rolecall_role"
#: The claim that holds what a bearer may do, where policies left more than a role and less than the next.
CAPABILITIES_CLAIM: Final = "rolecall_capabilities"
#: The claims that have a meaning in one format or another, so that no plugin may set them.
RESERVED_CLAIMS: Final = frozenset(
    {
        CAPABILITIES_CLAIM,
        ROLE_CLAIM,
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "ist",
        "scope",
        "nonce",
        "session_id",
        "role",
        "connection_data",
        "initial_layout_class_list",
        "create_time",
        "expire_time",
        "expireTime",
        "data",
        "acl",
        "application_id",
        "subject",
        "partner_id",
        "sig",
    }
)
#: What a client's token is for.
SCOPE: Final = "session.connect"

ExpireTime = float | datetime | timedelta | None

_END_OF_TIME: Final = 253_402_300_800  # the year 10000
_MAX_ID_LENGTH: Final = 255


class TokenOptions(NamedTuple):
    """What a token is to say, already validated.

    :param session_id: the session it is for.
    :param role: the role it gives.
    :param issued_at: now, in whole Unix seconds.
    :param expires_at: the end of its life, in whole Unix seconds.
    :param data: connection data, at most 1,000 characters.
    :param layout: the initial layout classes of the streams that its bearer publishes.
    :param claims: what plugins add; none of the kit's own.
    :param narrowed: what its bearer may do, where policies left more than ``role`` and less than the next.
    """

    session_id: str
    role: Role
    issued_at: int
    expires_at: int
    data: str | None = None
    layout: tuple[str, ...] = ()
    claims: Mapping[str, Any] = MappingProxyType({})
    narrowed: frozenset[Capability] | None = None

    def __reduce__(self) -> Any:
        return reduced(self)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What its bearer may do."""
        return self.role.capabilities if self.narrowed is None else self.narrowed

    @property
    def own_claims(self) -> Mapping[str, Any]:
        """The claims that no SDK knows: those of plugins, and what a standard role does not say."""
        own = dict(self.claims)
        if self.role != self.role.wire_name:
            own[ROLE_CLAIM] = str(self.role)
        if self.narrowed is not None:
            own[CAPABILITIES_CLAIM] = " ".join(sorted(self.narrowed))
        return own


class Grant(NamedTuple):
    """What a verified token grants, for one session.

    :param session_id: the session that the token is for.
    :param role: the role that the token gives.
    :param capabilities: what its bearer may do.
    :param expires_at: when its life ends, in Unix seconds.
    :param token_id: its ``jti``; where it has none, the SHA-256 of what was signed, in hexadecimal digits.
    :param claims: all claims, as they stand in the token; read-only, nested objects and arrays too.
    """

    session_id: str
    role: Role
    capabilities: frozenset[Capability]
    expires_at: float
    token_id: str
    claims: Mapping[str, Any]

    def __reduce__(self) -> Any:
        return reduced(self)

    @property
    def data(self) -> str | None:
        """The connection data, or None."""
        return self.claims.get("connection_data")

    @property
    def issued_at(self) -> float | None:
        """When the token was issued, in Unix seconds; None if it does not say."""
        return self.claims.get("iat")

    @property
    def layout(self) -> tuple[str, ...]:
        """The initial layout classes of the streams that the bearer publishes."""
        # One SDK joins the classes by "+" where the others put a space.
        classes: str | tuple[str, ...] = self.claims.get("initial_layout_class_list", "")
        return tuple(classes.replace("+", " ").split()) if isinstance(classes, str) else classes

    def __repr__(self) -> str:
        return f"<Grant {self.role} in {self.session_id!r} until {moment(self.expires_at)} token_id={self.token_id!r}>"

    def allows(self, capability: str) -> bool:
        """Whether the bearer may do this: ``grant.allows("publish")``.

        :raises ValueError: for a capability that does not exist, so that a misspelling never reads as "no".
        """
        return Capability(capability) in self.capabilities


def leeway_used(grant: Grant, now: float) -> str | None:
    """Why a good grant is good by the leeway alone: by its token's own times it is none; None where it needs no leeway.

    :param now: this moment, in Unix seconds.
    """
    if now >= grant.expires_at:
        return f"by the leeway alone: the token expired {_seconds(now - grant.expires_at)} ago"
    begins = max(grant.issued_at or 0, grant.claims.get("nbf", 0))
    if now < begins:
        return f"by the leeway alone: the token becomes valid in {_seconds(begins - now)}, by this server's clock"
    return None


def _seconds(distance: float) -> str:
    return f"{distance:.3g} s"


def check_options(
    session_id: str,
    role: Role,
    expire_time: ExpireTime,
    data: str | None,
    layout: Iterable[str],
    now: float,
) -> TokenOptions:
    """The options of a token to be minted, every one validated against ``now`` (Unix seconds).

    :raises InvalidRequest: a subclass that says which value, what was expected, and what "now" is.
    """
    issued_at = int(now)
    return TokenOptions(
        session_id,
        role,
        issued_at,
        issued_at + DEFAULT_LIFETIME if expire_time is None else _expiry(expire_time, now),
        None if data is None else check_data(data),
        () if layout == () else _checked_layout(layout),
    )


def _expiry(value: object, now: float) -> int:
    clock = f"now is {moment(now)} by this server's clock"
    if isinstance(value, timedelta):
        seconds = now + value.total_seconds()
    elif isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidExpireTime(
                "expire_time is a datetime without a time zone, so it means another moment in each zone; "
                "pass an aware one, for example datetime.now(UTC) + timedelta(hours=1)"
            )
        seconds = value.timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # Compared, not converted: an int may be too large for a float.
        if not -_END_OF_TIME * 10**9 < value < _END_OF_TIME * 10**9:
            raise InvalidExpireTime(f"expire_time is {shown(value)}, not a time; {clock}")
        seconds = float(value)
    else:
        raise InvalidExpireTime(
            f"expire_time is {shown(value)}; expected Unix seconds, an aware datetime or a timedelta; {clock}"
        )
    expires_at = int(seconds)
    issued_at = int(now)
    if expires_at <= issued_at:
        raise InvalidExpireTime(f"expire_time is in the past, or this very second: {moment(seconds)}; {clock}")
    if expires_at > issued_at + MAX_LIFETIME:
        for unit, factor in (("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)):
            if abs(seconds / factor - now) <= 366 * 86_400:
                raise InvalidExpireTime(
                    f"expire_time is {shown(value)}, which can only be {unit}; "
                    f"expected Unix seconds, so divide by {factor:,}; {clock}"
                )
        raise InvalidExpireTime(
            f"expire_time is more than 30 days away: {moment(seconds)}; "
            f"at most {moment(issued_at + MAX_LIFETIME)} is allowed; {clock}"
        )
    return expires_at


def check_data(data: object) -> str:
    """Connection data, validated.

    :raises InvalidData: if it is no text, or too long.
    """
    if not isinstance(data, str):
        raise InvalidData(f"data is {shown(data)}; expected a string, for example JSON text")
    if len(data) > MAX_DATA_LENGTH:
        raise InvalidData(f"data has {len(data)} characters; at most {MAX_DATA_LENGTH} are allowed")
    _refuse_surrogates("data", data)
    return data


def _checked_layout(layout: object) -> tuple[str, ...]:
    if isinstance(layout, str | bytes | Mapping) or not isinstance(layout, Iterable):
        raise InvalidData(
            f"initial_layout_class_list is {shown(layout)}; expected a list of strings, for example ['focus']"
        )
    classes = tuple(layout)
    for name in classes:
        if not isinstance(name, str) or "+" in name or name.split() != [name]:
            raise InvalidData(
                f"initial_layout_class_list holds {shown(name)}; expected class names without spaces or '+'"
            )
        _refuse_surrogates("initial_layout_class_list", name)
    if len(" ".join(classes)) > MAX_DATA_LENGTH:
        raise InvalidData(f"initial_layout_class_list has more than {MAX_DATA_LENGTH} characters, joined by spaces")
    return classes


def _refuse_surrogates(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidData(f"{name} holds a lone surrogate, which has no form in UTF-8") from None


class ClaimRules:
    """What the claims of a client's token must say, whatever the format that carried them.

    :param roles: the roles that exist.
    :param leeway: by how many seconds clocks may differ, at most 60.
    """

    __slots__ = ("_on_the_wire", "leeway", "roles")

    def __init__(self, roles: RoleTable, leeway: float) -> None:
        self.roles = roles
        self.leeway = leeway
        # A role of the app's own never stands in a token's role: its wire name does.
        self._on_the_wire = {str(role): role for role in roles if role == role.wire_name}

    def grant(self, claims: dict[str, Any], now: float, token_id: str) -> Grant:
        """The grant that these claims make at ``now`` (Unix seconds).

        :raises InvalidToken: a subclass that names the claim, what was expected, and what "now" is.
        """
        get = claims.get
        scope = get("scope", SCOPE)
        if scope != SCOPE:
            raise WrongTokenKind(f"the token's scope is {shown(scope)}; a client's token has {SCOPE!r}")
        session_id = get("session_id")
        if type(session_id) is not str or not 0 < len(session_id) <= _MAX_ID_LENGTH:
            raise wrong_claim("session_id", f"a string of 1 to {_MAX_ID_LENGTH} characters")
        name = get("role")
        role = self._on_the_wire.get(name) if type(name) is str else None
        if role is None:
            raise wrong_claim("role", "one of the standard roles")
        if ROLE_CLAIM in claims:
            role = self._own_role(claims[ROLE_CLAIM], role)
        data = get("connection_data", "")
        if type(data) is not str or len(data) > MAX_DATA_LENGTH:
            raise wrong_claim("connection_data", f"a string of at most {MAX_DATA_LENGTH} characters")
        layout = get("initial_layout_class_list", "")
        if type(layout) is not str or len(layout) > MAX_DATA_LENGTH:
            raise wrong_claim("initial_layout_class_list", f"a string of at most {MAX_DATA_LENGTH} characters")
        issued_at, expires_at = get("iat"), get("exp")
        # What nearly every token says, seen at a glance; the rest, and every refusal, takes the careful way.
        if not (
            type(issued_at) is int
            and type(expires_at) is int
            and 0 <= issued_at <= now < expires_at <= issued_at + MAX_VERIFIED_LIFETIME
            and "nbf" not in claims
        ):
            expires_at = self._check_times(claims, now)
        capabilities = role.capabilities
        if CAPABILITIES_CLAIM in claims:
            capabilities = _capabilities_claim(claims[CAPABILITIES_CLAIM])
        # As the class itself makes one, in half of the time.
        return tuple.__new__(Grant, (session_id, role, capabilities, expires_at, token_id, MappingProxyType(claims)))

    def _own_role(self, name: object, standard: Role) -> Role:
        role = self.roles.find(name) if type(name) is str else None
        if role is None or role.wire_name != standard or role == standard:
            raise wrong_claim(ROLE_CLAIM, f"a role of this service that {standard} stands for")
        return role

    def check_expiry(self, expires_at: float, now: float) -> None:
        """:raises ExpiredToken: from the moment ``expires_at`` on, leeway granted (RFC 7519, section 4.1.4)."""
        if now >= expires_at + self.leeway:
            raise ExpiredToken(
                f"the token expired at {moment(expires_at)}; now is {moment(now)} by this server's clock"
            )

    def _check_times(self, claims: dict[str, Any], now: float) -> float:
        """The end of the token's life, once all its times have been found good."""
        times = {name: _checked_time(name, claims[name]) for name in ("iat", "exp", "nbf") if name in claims}
        latest = now + self.leeway
        issued_at = times.get("iat", latest)
        if issued_at > latest:
            raise TokenNotYetValid(
                f"the token says it was issued at {moment(issued_at)}, which is in the future; "
                f"now is {moment(now)} by this server's clock: compare the two servers' clocks"
            )
        if "exp" not in times and "iat" not in times:
            raise wrong_claim("exp", "a time, in a token that has no iat either")
        expires_at = times.get("exp", issued_at + DEFAULT_LIFETIME)
        self.check_expiry(expires_at, now)
        if expires_at - issued_at > MAX_VERIFIED_LIFETIME:
            raise wrong_claim("exp", "a time at most 30 days, and an hour, after iat")
        if times.get("nbf", 0) > latest:
            raise TokenNotYetValid(
                f"the token is valid from {moment(times['nbf'])} on; now is {moment(now)} by this server's clock"
            )
        return expires_at


def _checked_time(name: str, value: Any) -> float:
    # The type itself, because a bool is an int.
    if type(value) not in (int, float) or not 0 <= value < _END_OF_TIME:
        raise wrong_claim(name, "a number of Unix seconds")
    return value  # type: ignore[no-any-return]


def _capabilities_claim(text: object) -> frozenset[Capability]:
    try:
        if type(text) is not str:
            raise ValueError
        return frozenset(map(Capability, text.split(" ")))
    except ValueError:
        raise wrong_claim(CAPABILITIES_CLAIM, "capabilities, separated by spaces") from None


def wrong_claim(claim: str, expected: str) -> InvalidClaim:
    return InvalidClaim(f"the token's {claim} is missing or wrong; expected {expected}")
