"""Tokens and grants: the options of a token to be minted, and the grant of a verified one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from .errors import InvalidData, InvalidExpireTime
from .pickling import reduced
from .roles import Capability, CapabilityName, Role
from .wording import moment, shown

#: The default life of a token, in seconds: 24 hours, as in every SDK.
DEFAULT_LIFETIME: Final = 86_400
#: The longest life of a token, in seconds: 30 days, as in every SDK.
MAX_LIFETIME: Final = 30 * 86_400
#: The longest time from the issue of a token to the end of its last renewal, in seconds: 12 hours.
MAX_TOTAL_LIFE: Final = 12 * 3600
#: The longest connection data, and the longest layout classes joined by spaces, in characters.
MAX_DATA_LENGTH: Final = 1000
#: The most seconds that clocks may differ by.
MAX_LEEWAY: Final = 60
#: The claim with the id of the actor that a token is for, in OpenTok's formats; in ``jwt`` it is ``sub``.
ACTOR_CLAIM: Final = "rolecall_actor"
#: The claim with the name of an app's own role, besides the standard role that represents it in the token.
ROLE_CLAIM: Final = "rolecall_role"
#: The claim with the bearer's capabilities, if policies left more than one role has and less than the next one.
CAPABILITIES_CLAIM: Final = "rolecall_capabilities"

ExpireTime = float | datetime | timedelta | None

#: The year 10000, in Unix seconds: later numbers are not times.
END_OF_TIME: Final = 253_402_300_800
_NO_CLAIMS: Final[Mapping[str, Any]] = MappingProxyType({})
_TOKEN_ID: Final = re.compile(r"(0|[1-9][0-9]{0,14})\.([0-9a-f]{16})[0-9a-f]{16}(?:\.([1-9][0-9]{0,11}))?")


class TokenOptions(NamedTuple):
    """The validated options of a token.

    :param session_id: the token's session.
    :param role: the token's role.
    :param issued_at: now, in whole Unix seconds.
    :param expires_at: the end of its life, in whole Unix seconds.
    :param data: connection data, at most 1,000 characters.
    :param layout: the initial layout classes of the streams that its bearer publishes.
    :param claims: further claims by plugins; none of the kit's own.
    :param narrowed: the bearer's capabilities, if policies left more than ``role`` has and less than the next role.
    :param issuer: the id of the session's issuer: its project's API key; None: the format's first issuer.
    :param subject: the id of the actor that the token is for; None if nobody is identified, or if the kit's tokens do
        not say so (``actor_claim=False``).
    :param name: the actor's display name, if its attributes have a text ``name``.
    :param epoch: the epoch of the session, see :class:`TokenId`.
    :param begun_at: for a renewed token, when the first one was issued, in whole Unix seconds.
    :param family: what the ids of a token and of all its renewals begin with, see :class:`TokenId`; None: at random.
    """

    session_id: str
    role: Role
    issued_at: int
    expires_at: int
    data: str | None = None
    layout: tuple[str, ...] = ()
    claims: Mapping[str, Any] = _NO_CLAIMS
    narrowed: frozenset[Capability] | None = None
    issuer: str | None = None
    subject: str | None = None
    name: str | None = None
    epoch: int = 0
    begun_at: int | None = None
    family: str | None = None

    def __reduce__(self) -> Any:
        return reduced(self)

    def new_token_id(self, random: bytes | None = None) -> str:
        """Make an id for the token, see :class:`TokenId`.

        :param random: 16 random bytes, if the caller has them already.
        """
        unique = f"{self.epoch}.{(random or os.urandom(16)).hex()}"
        if self.family is not None:
            unique = f"{self.epoch}.{self.family}{unique[-16:]}"
        return unique if self.begun_at is None else f"{unique}.{self.begun_at}"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The bearer's capabilities."""
        return self.role.capabilities if self.narrowed is None else self.narrowed

    @property
    def own_claims(self) -> Mapping[str, Any]:
        """The claims that no SDK knows: those of plugins, and those that a standard role cannot express."""
        own = dict(self.claims)
        if self.role != self.role.wire_name:
            own[ROLE_CLAIM] = str(self.role)
        if self.narrowed is not None:
            own[CAPABILITIES_CLAIM] = " ".join(sorted(self.narrowed))
        return own


class TokenId(NamedTuple):
    """What the ``jti`` of a token says that this kit has minted: ``<epoch>.<32 hexadecimal digits>[.<begun at>]``.

    So no claim is needed that an SDK does not write. Tokens of others have a ``jti`` of another form, or none.

    :param epoch: the epoch of the session in which it was minted: the time of the session's last reset in milliseconds
        since 1970, or 0. It tells apart what was minted in the same second before and after a reset.
    :param begun_at: for a renewed token, when the first one was issued, in Unix seconds.
    :param family: the first 16 digits: a token and all its renewals have them in common. They are the ``call_id`` of
        the call that issued the first one, if there was a policy to be told of it.
    """

    epoch: int
    begun_at: int | None = None
    family: str = ""

    @classmethod
    def read(cls, token_id: str) -> TokenId | None:
        """What the id of a token says; None if this kit has not made it."""
        match = _TOKEN_ID.fullmatch(token_id)
        return match and cls(int(match[1]), None if match[3] is None else int(match[3]), match[2])


def lineage(token_id: str) -> str:
    """What a token and all its renewals have in common: their family, or the id of one that cannot be renewed."""
    match = _TOKEN_ID.fullmatch(token_id)
    return token_id if match is None else match[2]


class Grant(NamedTuple):
    """The rights that a verified token grants in one session.

    :param session_id: the token's session.
    :param role: the token's role.
    :param capabilities: the bearer's capabilities.
    :param expires_at: the end of its life, in Unix seconds.
    :param token_id: its ``jti``; for a token without one, the SHA-256 of the signed text, in hexadecimal digits.
    :param claims: all claims of the token; read-only, nested objects and arrays too.
    :param actor_id: the id of the actor that the token is for; None if the token does not say so.
    """

    session_id: str
    role: Role
    capabilities: frozenset[Capability]
    expires_at: float
    token_id: str
    claims: Mapping[str, Any]
    actor_id: str | None = None

    def __reduce__(self) -> Any:
        return reduced(self)

    @property
    def data(self) -> str | None:
        """The connection data, or None."""
        return self.claims.get("connection_data")

    @property
    def issued_at(self) -> float | None:
        """The time of the token's issue, in Unix seconds; None if the token has none."""
        return self.claims.get("iat")

    @property
    def begun_at(self) -> float | None:
        """When the first token was issued of which this one is a renewal, or this one itself; in Unix seconds.

        None for a token of others, which cannot be renewed: it does not tell.
        """
        made = TokenId.read(self.token_id)
        if made is None:
            return None
        return self.issued_at if made.begun_at is None else made.begun_at

    @property
    def layout(self) -> tuple[str, ...]:
        """The initial layout classes of the streams that the bearer publishes."""
        # One SDK joins the classes by "+", the others by a space.
        classes: str | tuple[str, ...] = self.claims.get("initial_layout_class_list", "")
        return tuple(classes.replace("+", " ").split()) if isinstance(classes, str) else classes

    def __repr__(self) -> str:
        return f"<Grant {self.role} in {self.session_id!r} until {moment(self.expires_at)} token_id={self.token_id!r}>"

    def allows(self, capability: Capability | CapabilityName) -> bool:
        """Whether the bearer has this capability: ``grant.allows("publish")``.

        :raises ValueError: for an unknown capability, so that a misspelling never means "no".
        """
        return Capability(capability) in self.capabilities


def leeway_used(grant: Grant, now: float) -> str | None:
    """Explain that only the leeway makes a grant valid; None if it is valid without leeway.

    :param now: in Unix seconds.
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
    issuer: str | None = None,
    shortest: int = 1,
    longest: int = MAX_LIFETIME,
) -> TokenOptions:
    """Validate the options of a token to be minted at ``now`` (Unix seconds).

    :param issuer: the id of the session's issuer.
    :param shortest: the shortest life of a token of its format, in seconds.
    :param longest: the longest life, in seconds.
    :raises InvalidRequest: a subclass that says which value is wrong, what is expected, and what "now" is.
    """
    issued_at = int(now)
    if expire_time is not None:
        expires_at = _expiry(expire_time, now, shortest, longest)
    elif shortest <= DEFAULT_LIFETIME <= longest:
        expires_at = issued_at + DEFAULT_LIFETIME
    else:
        expires_at = issued_at + usual_life(shortest, longest)
    checked = None if data is None else check_data(data)
    classes = () if layout == () else _checked_layout(layout)
    fields = (session_id, role, issued_at, expires_at, checked, classes, _NO_CLAIMS, None, issuer)
    # The class itself does this, in twice the time.
    return tuple.__new__(TokenOptions, (*fields, None, None, 0, None, None))


def _expiry(value: object, now: float, shortest: int, longest: int) -> int:
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
        if not -END_OF_TIME * 10**9 < value < END_OF_TIME * 10**9:
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
    if expires_at > issued_at + longest:
        for unit, factor in (("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)):
            if abs(seconds / factor - now) <= 366 * 86_400:
                raise InvalidExpireTime(
                    f"expire_time is {shown(value)}, which can only be {unit}; "
                    f"expected Unix seconds, so divide by {factor:,}; {clock}"
                )
        raise InvalidExpireTime(
            f"expire_time is more than {duration(longest)} away: {moment(seconds)}; "
            f"at most {moment(issued_at + longest)} is allowed; {clock}"
        )
    if expires_at < issued_at + shortest:
        raise InvalidExpireTime(
            f"expire_time is less than {duration(shortest)} away: {moment(seconds)}; "
            f"{moment(issued_at + shortest)} or later is expected, as tokens of this kit's format live so long; {clock}"
        )
    return expires_at


def usual_life(shortest: int, longest: int) -> int:
    """The default life of a token in seconds: 24 hours, or the nearest value within the bounds."""
    return max(shortest, min(DEFAULT_LIFETIME, longest))


def duration(seconds: int) -> str:
    """A duration in the largest unit of which there are at least two: ``30 days``, ``24 hours``, ``90 seconds``."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds % size == 0 and seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def check_data(data: object) -> str:
    """Validate connection data, and return it.

    :raises InvalidData: if it is no text, or too long.
    """
    if not isinstance(data, str):
        raise InvalidData(f"data is {shown(data)}; expected a string, for example JSON text")
    if len(data) > MAX_DATA_LENGTH:
        raise InvalidData(f"data has {len(data)} characters; at most {MAX_DATA_LENGTH} are allowed")
    _refuse_surrogates("data", data)
    return data


def _checked_layout(layout: object) -> tuple[str, ...]:
    # By the usual types first, because abstract base classes answer isinstance in Python.
    if type(layout) not in (tuple, list) and (
        isinstance(layout, str | bytes | Mapping) or not isinstance(layout, Iterable)
    ):
        raise InvalidData(
            f"initial_layout_class_list is {shown(layout)}; expected a list of strings, for example ['focus']"
        )
    classes: tuple[str, ...] = tuple(layout)  # type: ignore[arg-type]
    try:
        joined = " ".join(classes)
    except TypeError:  # one is no string
        joined = ""
    if "+" in joined or joined.split() != [*classes]:
        wrong = next(name for name in classes if not isinstance(name, str) or "+" in name or name.split() != [name])
        raise InvalidData(f"initial_layout_class_list holds {shown(wrong)}; expected class names without spaces or '+'")
    _refuse_surrogates("initial_layout_class_list", joined)
    if len(joined) > MAX_DATA_LENGTH:
        raise InvalidData(f"initial_layout_class_list has more than {MAX_DATA_LENGTH} characters, joined by spaces")
    return classes


def _refuse_surrogates(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidData(f"{name} holds a lone surrogate, which has no form in UTF-8") from None
