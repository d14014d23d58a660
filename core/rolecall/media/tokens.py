"""What the tokens of media services have in common, where they are JWTs."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from json import JSONEncoder
from json.encoder import encode_basestring_ascii
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple

from ..encoding import jws, strict_json
from ..errors import MalformedToken, NoIdentity, UnknownKey
from ..formats import TokenFormat
from ..formats.claims import ClaimRules, actor_claim, text_claim, wrong_claim
from ..formats.inspection import claims_in
from ..keys.issuers import Issuer
from ..roles import Capability, Role
from ..tokens import Grant, TokenOptions
from ..wording import shown_key
from .backend import MediaBackend

__all__ = ["PARTICIPANT", "Seat", "ServiceFormat", "ServiceJWT", "encoded", "said", "times", "token_id"]

#: Capabilities in the words of a service without roles: what every participant may do.
PARTICIPANT: Final = frozenset({Capability.CONNECT, Capability.SUBSCRIBE, Capability.PUBLISH, Capability.SIGNAL})
_NO_HEADER: Final[Mapping[str, str]] = MappingProxyType({})
#: A payload as JSON text.
encoded: Final = JSONEncoder(separators=(",", ":"), allow_nan=False).encode
#: A text as JSON text, for texts that many tokens have: the names of rooms and of roles.
remembered: Final = lru_cache(1024)(encode_basestring_ascii)


class Seat(NamedTuple):
    """What a media service's token says about its bearer, in Rolecall's words.

    :param room: the name of the room.
    :param identity: for whom it is; None if it does not say.
    :param capabilities: what the service grants to its bearer.
    :param issued_at: the time of its issue, as the token has it; None if it has none.
    :param expires_at: the end of its life, as the token has it; None if it has none, which is refused.
    :param not_before: the time from which it is good, as the token has it; None if it has none.
    """

    room: object
    identity: object
    capabilities: frozenset[Capability]
    issued_at: Any
    expires_at: Any
    not_before: Any = None


class ServiceFormat(TokenFormat):
    """The format of a media service's tokens; each backend makes one for each kit.

    :param backend: knows rooms, and what the service grants.
    :param rules: checks times and roles.
    """

    __slots__ = ("_backend", "_rules", "longest_life", "shortest_life")

    #: Where its tokens have the room and the identity, for messages.
    room_claim: ClassVar[str] = "room"
    identity_claim: ClassVar[str] = "sub"

    def __init__(self, backend: MediaBackend, rules: ClaimRules) -> None:
        self._backend = backend
        self._rules = rules
        self.shortest_life = backend.shortest_life  # type: ignore[misc]  # of each backend, not of the class
        self.longest_life = backend.longest_life  # type: ignore[misc]

    def takes_session(self, session_id: str) -> bool:
        """Whether the name of the session's room is the session's id, so that a token tells for which session it is."""
        return self._backend.room(session_id) == session_id

    def session_of(self, room: str) -> str | None:
        """The session of a token for a room; None if no session is meant. A derived name is that of another's room."""
        return self._backend.session_of(room)

    def wider(self, role: Role, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """See :meth:`TokenFormat.wider`."""
        return self._backend.wider(role, capabilities)

    def carries(self, role: Role, capabilities: frozenset[Capability]) -> bool:
        """Whether a token can carry these rights: those that let their bearer join, and grant no more."""
        return Capability.CONNECT in capabilities and not self.wider(role, capabilities)

    def subject_of(self, options: TokenOptions) -> str:
        """For whom a token is to be.

        :raises NoIdentity: if it does not say, or if that is no identity at the service.
        """
        if not options.subject:
            raise NoIdentity(
                f"a token of {self._backend.name} needs an identity: the id of the actor that it is for; pass actor=…"
            )
        self._backend.check_identity(options.subject)
        return options.subject

    def read_as(self, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """The most that a token is read as which was minted for ``capabilities``: what the service grants to its
        bearer, unless the token tells more than the service looks at.
        """
        return self._backend.granted(capabilities)

    def _at_the_doors(self, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """What the bearer of a token for ``capabilities`` may do at the app's own doors.

        A token that may be one for a role in ``accept_wider`` gives what the role has: the app takes that the service
        grants more, and grants no more itself.
        """
        accepted = self._backend.accept_wider
        if not accepted:
            return capabilities
        meant = [role.capabilities for role in self._rules.roles if str(role) in accepted]
        return capabilities.intersection(*(held for held in meant if capabilities <= self.read_as(held)))

    def _grant(self, seat: Seat, claims: Mapping[str, Any], token_id: str, now: float, issuer: str) -> Grant:
        """The grant of a token whose signature is good.

        :raises InvalidToken: a subclass that says which claim is wrong.
        """
        if seat.expires_at is None:
            raise wrong_claim("exp", "a time: without one it would never expire")
        room = text_claim(self.room_claim, seat.room)
        session_id = self.session_of(room)
        if session_id is None:
            raise wrong_claim(self.room_claim, "the id of a session whose room has it for its name")
        identity = None if seat.identity is None else actor_claim(self.identity_claim, seat.identity)
        capabilities = self._at_the_doors(seat.capabilities)
        role = self._rules.roles.greatest_within(capabilities)
        if role is None:
            raise wrong_claim("permissions", "those of at least one role")
        times = {"iat": seat.issued_at, "exp": seat.expires_at, "nbf": seat.not_before}
        read = {name: value for name, value in times.items() if value is not None}
        grant = self._rules.grant({"session_id": session_id, "role": role.wire_name, **read}, now, token_id, issuer)
        return grant._replace(
            role=role, capabilities=capabilities, claims=MappingProxyType({**claims}), actor_id=identity
        )


class ServiceJWT(ServiceFormat):
    """The format of a service whose tokens are JWTs: a subclass knows their claims.

    :param issuer: who signs them.
    """

    __slots__ = ("_codec", "_issuer")

    #: The ``typ`` in their header; None: they have none.
    typ: ClassVar[str | None] = "JWT"
    #: Further members of their header.
    header: ClassVar[Mapping[str, str]] = _NO_HEADER
    #: The claim with the issuer's id; None: they have none.
    issuer_claim: ClassVar[str | None] = None

    def __init__(self, backend: MediaBackend, issuer: Issuer, rules: ClaimRules) -> None:
        super().__init__(backend, rules)
        self._issuer = issuer.id
        self._codec = jws.Codec(issuer, self.typ, self.header)

    @staticmethod
    @abstractmethod
    def shows(claims: Mapping[str, Any]) -> bool:
        """Whether claims are those of a token of this service, and of no other; nothing is verified."""

    @abstractmethod
    def payload(self, options: TokenOptions) -> str:
        """The claims of a token as JSON, see :func:`encoded`, in the order in which the service's SDK writes them.

        ``options.session_id`` is the name of the room, and ``options.subject`` is never empty.
        """

    @abstractmethod
    def seat(self, claims: Mapping[str, Any]) -> Seat:
        """What the claims of a token say, whose signature is good.

        :raises InvalidToken: if they are not those of a participant of one room: a subclass that says why.
        """

    @classmethod
    def recognizes(cls, token: bytes) -> bool:
        """See :meth:`TokenFormat.recognizes`."""
        try:
            return cls.shows(claims_in(jws.split(token)[2]))
        except MalformedToken:
            return False

    @classmethod
    def issuer_of(cls, token: bytes) -> str | None:
        """See :meth:`TokenFormat.issuer_of`."""
        if cls.issuer_claim is None:
            return None
        try:
            named = claims_in(jws.split(token)[2]).get(cls.issuer_claim)
        except MalformedToken:
            return None
        return named if isinstance(named, str) else None

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        """See :meth:`TokenFormat.mint`.

        :raises NoIdentity: without ``options.subject``.
        """
        self.subject_of(options)
        token = self._codec.sign(self.payload(options).encode())
        return token, token_id(token.encode())

    def _codec_of(self, token: bytes) -> jws.Codec:
        """The codec for a token's header, where a service's SDKs write several."""
        return self._codec

    def verify(self, token: bytes, now: float) -> Grant:
        """See :meth:`TokenFormat.verify`."""
        try:
            claims = strict_json.loads(self._codec_of(token).verify(token))
        except ValueError as error:
            raise MalformedToken(f"the token's payload is malformed: {error}") from None
        if (claim := self.issuer_claim) is not None and claims.get(claim) != self._issuer:
            raise UnknownKey(f"the token's {claim} is {shown_key(claims.get(claim))}, not this service's API key or id")
        return self._grant(self.seat(claims), claims, token_id(token), now, self._issuer)


def token_id(token: bytes) -> str:
    """The id of a service's token: the SHA-256 of its signing input, because SDKs write none, or not a unique one."""
    return hashlib.sha256(token.rpartition(b".")[0]).hexdigest()


def said(claims: Mapping[str, Any], name: str) -> object:
    """What a claim says; an empty text, which is refused, if it is missing or null."""
    value = claims.get(name)
    return "" if value is None else value


def times(claims: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """When a token was issued, when it ends, and from when on it is good; where SDKs write ``nbf`` in place of ``iat``,
    that is when it was issued.
    """
    if "iat" in claims:
        return claims["iat"], claims.get("exp"), claims.get("nbf")
    return claims.get("nbf"), claims.get("exp"), None
