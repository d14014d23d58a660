"""LiveKit's access token: HS256 with an API secret, as the SDKs for Python, Node and Go mint it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, ClassVar, Final

from ...encoding import jws
from ...errors import WrongTokenKind
from ...formats.claims import ClaimRules, wrong_claim
from ...keys.issuers import Issuer
from ...roles import Capability
from ...tokens import TokenOptions
from ..backend import MediaBackend
from ..tokens import Seat, ServiceJWT, remembered, said, times

#: The grants of a participant that are true unless they are in the token, and their capabilities.
USUAL: Final = {
    "canPublish": Capability.PUBLISH,
    "canSubscribe": Capability.SUBSCRIBE,
    "canPublishData": Capability.SIGNAL,
}
_ACTS: Final = frozenset((Capability.FORCE_DISCONNECT, Capability.FORCE_UNPUBLISH))
#: The grants that reach beyond one room, and so beyond every role.
_OF_SERVERS: Final = ("roomCreate", "roomList", "roomRecord", "ingressAdmin", "agent")
_SWITCHES: Final = (
    *("roomJoin", "roomAdmin", *USUAL, *_OF_SERVERS),
    *("canUpdateOwnMetadata", "canSubscribeMetrics", "canManageAgentSession", "hidden", "recorder"),
)
#: The claims beside ``video`` with grants for other services of LiveKit.
_OTHER_SERVICES: Final = ("sip", "agent", "inference", "observability", "agentEndpoint", "agentThread")


class LiveKitFormat(ServiceJWT):
    """Mints and verifies the tokens with which clients join a room.

    A token that it mints never has ``roomAdmin``: a client could call the service's API with it. Moderators act through
    the kit. A token of an SDK with ``roomAdmin`` is read as a moderator's.
    """

    __slots__ = ("_untyped",)

    room_claim: ClassVar[str] = "video.room"
    issuer_claim: ClassVar[str | None] = "iss"
    reserved_claims: ClassVar[frozenset[str]] = frozenset(
        {"video", "name", "metadata", "attributes", "kind", "sha256", "roomConfig", "roomPreset", *_OTHER_SERVICES}
    )

    def __init__(self, backend: MediaBackend, issuer: Issuer, rules: ClaimRules) -> None:
        super().__init__(backend, issuer, rules)
        self._untyped = jws.Codec(issuer, None)  # as the SDK for Node mints

    @staticmethod
    def shows(claims: Mapping[str, Any]) -> bool:
        """See :meth:`ServiceJWT.shows`."""
        return "video" in claims

    def payload(self, options: TokenOptions) -> str:
        """See :meth:`ServiceJWT.payload`. For equal input the token is that of the SDK for Python, byte by byte."""
        room, _, issued_at, expires_at, data, *_, subject, name, _, _, _ = options
        named = f'"name":{quoted(name)},' if name else ""
        metadata = f'"metadata":{quoted(data)},' if data else ""
        return (
            f'{{{named}{metadata}"video":{{"roomJoin":true,"room":{remembered(room)},{_grants(options.capabilities)}}},'
            f'"sub":{quoted(subject or "")},"iss":{remembered(self._issuer)},"nbf":{issued_at},"exp":{expires_at}}}'
        )

    def _codec_of(self, token: bytes) -> jws.Codec:
        return self._codec if has_type(token.partition(b".")[0]) else self._untyped

    def seat(self, claims: Mapping[str, Any]) -> Seat:
        """See :meth:`ServiceJWT.seat`."""
        if "aud" in claims:
            raise wrong_claim("aud", "none, which LiveKit's tokens never have")
        video = _video(claims)
        return Seat(video.get("room"), said(claims, "sub"), _capabilities(video), *times(claims))


@lru_cache(64)
def has_type(header: bytes) -> bool:
    """Whether the header of a token has ``typ``, as those of the SDKs for Python and Go have."""
    return "typ" in jws.read_header(header)


@lru_cache(64)
def _grants(capabilities: frozenset[Capability]) -> str:
    """The usual grants, each said: one that is left out counts as true."""
    return ",".join(f'"{name}":{str(capability in capabilities).lower()}' for name, capability in USUAL.items())


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
    usual = {capability for name, capability in USUAL.items() if video.get(name, True)}
    return frozenset({Capability.CONNECT, *usual, *(_ACTS if video.get("roomAdmin", False) else ())})
