"""The rules for the claims of a client's token, the same in every format."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, Final

from ..actors import MAX_ACTOR_ID, problem_with_actor_id
from ..errors import ExpiredToken, InvalidClaim, InvalidSessionId, TokenNotYetValid, WrongTokenKind
from ..roles import Capability, Role, RoleTable
from ..session_ids import SessionNames
from ..tokens import (
    ACTOR_CLAIM,
    CAPABILITIES_CLAIM,
    DEFAULT_LIFETIME,
    END_OF_TIME,
    MAX_DATA_LENGTH,
    MAX_LIFETIME,
    ROLE_CLAIM,
    Grant,
)
from ..wording import moment, shown

#: The longest life of a verified token, in seconds. An hour more than 30 days, because SDKs round, and because 30 days
#: with a change of clocks may be an hour longer.
MAX_VERIFIED_LIFETIME: Final = MAX_LIFETIME + 3600
#: The claims that no plugin may set in any format: those of RFC 7519, and the kit's own.
RESERVED: Final = frozenset(
    {ACTOR_CLAIM, CAPABILITIES_CLAIM, ROLE_CLAIM, "iss", "sub", "aud", "exp", "nbf", "iat", "jti"}
)
#: The claims with a meaning for OpenTok's service, in any of its formats.
OPENTOK_CLAIMS: Final = frozenset(
    {
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
#: The ``scope`` of a client's token.
SCOPE: Final = "session.connect"

_MAX_LENGTH: Final = 255
_WITHOUT_CONTROLS: Final = bytes(code if 0x20 <= code < 0x7F else ord(" ") for code in range(256))
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class ClaimRules:
    """Checks the claims of a client's token, by the same rules for every format.

    A format passes the claims under their names in OpenTok's tokens: ``session_id``, ``role`` (a standard one),
    ``iat``, ``exp``, ``nbf``, ``scope``, ``connection_data``, ``initial_layout_class_list``; and the kit's own,
    ``rolecall_role`` and ``rolecall_capabilities``, as in :attr:`~rolecall.tokens.TokenOptions.own_claims`, and
    ``rolecall_actor``. Further claims may be among them.

    :param roles: the known roles.
    :param leeway: the seconds that clocks may differ by, at most 60.
    :param session_names: tells the issuer of a session, if there are several issuers.
    """

    __slots__ = ("_on_the_wire", "_session_names", "leeway", "roles")

    def __init__(self, roles: RoleTable, leeway: float, session_names: SessionNames | None = None) -> None:
        self.roles = roles
        self.leeway = leeway
        several = session_names is not None and len(session_names.issuers) > 1
        self._session_names = session_names if several else None
        # An app's own role is never a token's ``role``: its wire name is.
        self._on_the_wire = {str(role): role for role in roles if role == role.wire_name}

    def grant(self, claims: dict[str, Any], now: float, token_id: object, issuer: str | None = None) -> Grant:
        """Check claims at ``now`` (Unix seconds), and return their grant.

        :param token_id: the id of the token: its ``jti``, or the SHA-256 of the signed text. Checked here, too.
        :param issuer: the id of the issuer that signed the token, in a kit with several; None: the first one.
        :raises InvalidToken: a subclass that names the claim, what is expected, and what "now" is.
        """
        get = claims.get
        scope = get("scope", SCOPE)
        if scope != SCOPE:
            raise WrongTokenKind(f"the token's scope is {shown(scope)}; a client's token has {SCOPE!r}")
        session_id = get("session_id")
        # Both in one, for nearly every token; text_claim finds out about the others.
        if not (
            type(session_id) is str
            and type(token_id) is str
            and 0 < len(session_id) <= _MAX_LENGTH
            and 0 < len(token_id) <= _MAX_LENGTH
            and _is_plain(session_id + token_id)
        ):
            session_id, token_id = text_claim("session_id", session_id), text_claim("jti", token_id)
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
        # The fast path for nearly every token; all others, and every refusal, take the careful one.
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
        actor_id = actor_claim(ACTOR_CLAIM, claims[ACTOR_CLAIM]) if ACTOR_CLAIM in claims else None
        if self._session_names is not None:
            _check_owner(session_id, issuer, self._session_names)
        # The class itself does this, in twice the time.
        return tuple.__new__(
            Grant, (session_id, role, capabilities, expires_at, token_id, MappingProxyType(claims), actor_id)
        )

    def _own_role(self, name: object, standard: Role) -> Role:
        role = self.roles.find(name) if type(name) is str else None
        if role is None or role.wire_name != standard or role == standard:
            raise wrong_claim(ROLE_CLAIM, f"a role of this service that {standard} stands for")
        return role

    def check_expiry(self, expires_at: float, now: float) -> None:
        """Refuse a token from ``expires_at`` plus the leeway on (RFC 7519, section 4.1.4).

        :raises ExpiredToken: if it has expired.
        """
        if now >= expires_at + self.leeway:
            error = ExpiredToken(
                f"the token expired at {moment(expires_at)}; now is {moment(now)} by this server's clock"
            )
            error.expired_at = expires_at
            raise error

    def _check_times(self, claims: dict[str, Any], now: float) -> float:
        """Check all times of a token, and return the end of its life."""
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


def _check_owner(session_id: str, issuer: str | None, names: SessionNames) -> None:
    """Refuse a good token of one issuer for a session of another."""
    try:
        # Without a look at the tag of its id: the issuer has signed the token, whatever keys it had before.
        owner = names.owner(session_id)
    except InvalidSessionId:
        owner = None
    if owner != (issuer or names.issuers[0]):
        raise InvalidClaim("the token's session_id is not one of the project that the token is of")


def _checked_time(name: str, value: Any) -> float:
    # By exact type, because a bool is an int.
    if type(value) not in (int, float) or not 0 <= value < END_OF_TIME:
        raise wrong_claim(name, "a number of Unix seconds")
    return value  # type: ignore[no-any-return]


def _capabilities_claim(text: object) -> frozenset[Capability]:
    try:
        if type(text) is not str:
            raise ValueError
        return frozenset(map(Capability, text.split(" ")))
    except ValueError:
        raise wrong_claim(CAPABILITIES_CLAIM, "capabilities, separated by spaces") from None


def actor_claim(name: str, value: object) -> str:
    """The id of an actor in a claim.

    :raises InvalidClaim: if it cannot be one.
    """
    if problem_with_actor_id(value) is not None:
        raise wrong_claim(name, f"an actor's id: 1 to {MAX_ACTOR_ID} characters that show, in NFC")
    return value  # type: ignore[return-value]


def text_claim(claim: str, value: object) -> str:
    """A text that can be stored and logged everywhere, which control characters cannot.

    :raises InvalidClaim: for anything else.
    """
    if type(value) is str and 0 < len(value) <= _MAX_LENGTH and (_is_plain(value) or not _CONTROLS.search(value)):
        return value
    raise wrong_claim(claim, f"a string of 1 to {_MAX_LENGTH} characters, without control characters")


def _is_plain(text: str) -> bool:
    """Whether a text is ASCII without control characters; ``str.isprintable`` takes three times as long."""
    return text.isascii() and (raw := text.encode()).translate(_WITHOUT_CONTROLS) == raw


def wrong_claim(claim: str, expected: str) -> InvalidClaim:
    return InvalidClaim(f"the token's {claim} is missing or wrong; expected {expected}")
