"""LiveKit's access token: HS256 with an API secret, as the SDKs for Python, Node and Go mint it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as encoded
from types import MappingProxyType
from typing import Any, ClassVar, Final

from ...encoding import jws, strict_json
from ...errors import MalformedToken, NoIdentity, UnknownKey, WrongTokenKind
from ...formats import TokenFormat
from ...formats.claims import ClaimRules, actor_claim, text_claim, wrong_claim
from ...formats.inspection import claims_in
from ...keys.issuers import Issuer
from ...roles import Capability, Role
from ...tokens import Grant, TokenOptions
from ...wording import shown_key

#: The grants of a participant that are true unless they are in the token, and their capabilities.
_USUAL: Final = {
    "canPublish": Capability.PUBLISH,
    "canSubscribe": Capability.SUBSCRIBE,
    "canPublishData": Capability.SIGNAL,
}
_ACTS: Final = frozenset((Capability.FORCE_DISCONNECT, Capability.FORCE_UNPUBLISH))
#: The grants that reach beyond one room, and so beyond every role.
_OF_SERVERS: Final = ("roomCreate", "roomList", "roomRecord", "ingressAdmin", "agent")
_SWITCHES: Final = (
    *("roomJoin", "roomAdmin", *_USUAL, *_OF_SERVERS),
    *("canUpdateOwnMetadata", "canSubscribeMetrics", "canManageAgentSession", "hidden", "recorder"),
)
#: The claims beside ``video`` with grants for other services of LiveKit.
_OTHER_SERVICES: Final = ("sip", "agent", "inference", "observability", "agentEndpoint", "agentThread")
_quoted = lru_cache(1024)(encoded)


class LiveKitFormat(TokenFormat):
    """Mints and verifies the tokens with which clients join a room.

    A token that it mints never has ``roomAdmin``: a client could call the service's API with it. Moderators act through
    the kit. A token of an SDK with ``roomAdmin`` is read as a moderator's.
    """

    __slots__ = ("_codec", "_issuer", "_rules", "_untyped")

    reserved_claims: ClassVar[frozenset[str]] = frozenset(
        {"video", "name", "metadata", "attributes", "kind", "sha256", "roomConfig", "roomPreset", *_OTHER_SERVICES}
    )

    def __init__(self, issuers: Sequence[Issuer], rules: ClaimRules) -> None:
        (issuer,) = issuers
        self._issuer = issuer.id
        self._codec = jws.Codec(issuer)
        self._untyped = jws.Codec(issuer, None)  # as the SDK for Node mints
        self._rules = rules

    @staticmethod
    def recognizes(token: bytes) -> bool:
        try:
            return "video" in claims_in(jws.split(token)[2])
        except MalformedToken:
            return False

    @staticmethod
    def issuer_of(token: bytes) -> str | None:
        """The API key in ``token``, unverified; None if it has none."""
        try:
            named = claims_in(jws.split(token)[2]).get("iss")
        except MalformedToken:
            return None
        return named if isinstance(named, str) else None

    def carries(self, role: Role, capabilities: frozenset[Capability]) -> bool:
        """Whether a token can carry these rights: all do that let their bearer join."""
        return Capability.CONNECT in capabilities

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        """See :meth:`TokenFormat.mint`. For equal input the token is that of the SDK for Python, byte by byte.

        :raises NoIdentity: without ``options.subject``: at LiveKit every participant has an identity.
        """
        room, _, issued_at, expires_at, data, *_, subject, name, _, _, _ = options
        if not subject:
            raise NoIdentity("a LiveKit token needs an identity: the id of the actor that it is for")
        payload = "{"
        if name:
            payload += f'"name":{encoded(name)},'
        if data:
            payload += f'"metadata":{encoded(data)},'
        payload += (
            f'"video":{{"roomJoin":true,"room":{_quoted(room)},{_grants(options.capabilities)}}},'
            f'"sub":{encoded(subject)},"iss":{_quoted(self._issuer)},"nbf":{issued_at},"exp":{expires_at}}}'
        )
        token = self._codec.sign(payload.encode())
        return token, _token_id(token.encode())

    def verify(self, token: bytes, now: float) -> Grant:
        codec = self._codec if _has_type(token.partition(b".")[0]) else self._untyped
        try:
            claims = strict_json.loads(codec.verify(token))
        except ValueError as error:
            raise MalformedToken(f"the token's payload is malformed: {error}") from None
        if claims.get("iss") != self._issuer:
            raise UnknownKey(f"the token's iss is {shown_key(claims.get('iss'))}, not this service's API key")
        if "aud" in claims:
            raise wrong_claim("aud", "none, which LiveKit's tokens never have")
        video = _video(claims)
        if "exp" not in claims:
            raise wrong_claim("exp", "a time: without one it would never expire")
        room = text_claim("video.room", video.get("room"))
        identity = actor_claim("sub", claims.get("sub"))
        capabilities = _capabilities(video)
        role = self._rules.roles.greatest_within(capabilities)
        if role is None:
            raise wrong_claim("video", "grants of at least one role")
        # LiveKit's tokens have ``nbf`` in place of ``iat``.
        times: dict[str, Any] = {name: claims[name] for name in ("iat", "nbf", "exp") if name in claims}
        if "iat" not in times and "nbf" in times:
            times["iat"] = times.pop("nbf")
        grant = self._rules.grant(
            {"session_id": room, "role": role.wire_name, **times}, now, _token_id(token), self._issuer
        )
        return grant._replace(role=role, capabilities=capabilities, claims=MappingProxyType(claims), actor_id=identity)


def _token_id(token: bytes) -> str:
    """The id of a token: none is in it, because SDKs write none."""
    return hashlib.sha256(token.rpartition(b".")[0]).hexdigest()


@lru_cache(64)
def _has_type(header: bytes) -> bool:
    return "typ" in jws.read_header(header)


@lru_cache(64)
def _grants(capabilities: frozenset[Capability]) -> str:
    """The usual grants, each said: one that is left out counts as true."""
    return ",".join(f'"{name}":{str(capability in capabilities).lower()}' for name, capability in _USUAL.items())


def _video(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """The grants of a token that lets a client join one room.

    :raises InvalidToken: for a token of another kind, and for one whose grants are none.
    """
    video = claims.get("video")
    if not isinstance(video, Mapping):
        raise WrongTokenKind("the token is not for a client: it has no object 'video' with grants")
    for name in _SWITCHES:
        if name in video and type(video[name]) is not bool:
            raise wrong_claim(f"video.{name}", "true or false")
    sources = video.get("canPublishSources", ())
    if type(sources) is not tuple or not all(type(source) is str for source in sources):
        raise wrong_claim("video.canPublishSources", "a list of names")
    if not video.get("roomJoin", False):
        raise WrongTokenKind("the token is not for a client: it lacks the grant roomJoin")
    beyond = [name for name in _OF_SERVERS if video.get(name, False)]
    beyond += [name for name in _OTHER_SERVICES if claims.get(name)]
    if beyond:
        raise WrongTokenKind(f"the token is not for a client: its grant {beyond[0]} reaches beyond one room")
    return video


def _capabilities(video: Mapping[str, Any]) -> frozenset[Capability]:
    usual = {capability for name, capability in _USUAL.items() if video.get(name, True)}
    return frozenset({Capability.CONNECT, *usual, *(_ACTS if video.get("roomAdmin", False) else ())})
