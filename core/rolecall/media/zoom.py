"""Zoom Video SDK: session tokens, with a flag for hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted
from types import MappingProxyType
from typing import Any, ClassVar, Final, Unpack

from ..errors import WrongTokenKind
from ..formats import TokenFormat
from ..formats.claims import ClaimRules, wrong_claim
from ..roles import Capability
from ..tokens import TokenOptions
from .backend import CommonSettings, MediaBackend
from .keys import service_issuer
from .plan import ACTS
from .rooms import derived_room
from .tokens import PARTICIPANT, Seat, ServiceJWT, remembered, said, times

_MODERATES: Final = frozenset((Capability.FORCE_DISCONNECT, Capability.FORCE_UNPUBLISH))
#: The values of ``role_type``, and what they let their bearer do.
_PARTICIPANT, _HOST = 0, 1
_ROLE_TYPES: Final = {_PARTICIPANT: PARTICIPANT, _HOST: PARTICIPANT | _MODERATES}
#: Zoom folds the case of topics, so none in capitals is one that it keeps apart.
_ROOM: Final = re.compile(r"[a-z0-9._-]+")


class Zoom(MediaBackend):
    """Zoom's Video SDK: ``Rolecall(media=Zoom(sdk_key, sdk_secret))``.

    A session's room is the topic of a Zoom session. Zoom knows participants, who may do all that a publisher may, and
    hosts. Its shortest token lives for 30 minutes, so a ticket does, and needs a grant that stands as long.

    :param sdk_key: the key of the app for the Video SDK.
    :param sdk_secret: its secret.
    :param verify_secrets: at most two further secrets, which only verify.
    :param url: where clients connect; Zoom's SDKs know it.
    :param settings: those of every :class:`~rolecall.media.MediaBackend`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "zoom"
    schemes: ClassVar[tuple[str, ...]] = ("https", "wss")
    shortest_life: ClassVar[int] = 1800
    longest_life: ClassVar[int] = 172_800
    always_granted: ClassVar[frozenset[Capability]] = PARTICIPANT
    longest_identity: ClassVar[int] = 35
    longest_room: ClassVar[int] = 200
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(dict.fromkeys(ACTS, "not done: the client of a host acts"))

    def __init__(
        self,
        sdk_key: str,
        sdk_secret: str | bytes,
        *,
        verify_secrets: Sequence[str | bytes] = (),
        url: str = "https://zoom.us",
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            super().__init__(url, **settings)
            self._issuer = service_issuer(
                self.name,
                sdk_key,
                sdk_secret,
                verify_secrets,
                expected="the SDK key of the app, as Zoom's marketplace has it",
                names=("sdk_key", "sdk_secret"),
            )
        finally:
            del sdk_key, sdk_secret, verify_secrets, url, settings  # so that no frame of a traceback holds them

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return ZoomFormat(self, self._issuer, rules)

    def room(self, session_id: str) -> str:
        """See :meth:`MediaBackend.room`: the session's id in lower case, or a name that is derived from it."""
        return derived_room(session_id, _ROOM, self.longest_room)

    def granted(self, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """See :meth:`MediaBackend.granted`: those of a participant, or of a host; there is nothing else."""
        return capabilities | _ROLE_TYPES[_role_type(capabilities)]


class ZoomFormat(ServiceJWT):
    """Mints and verifies session tokens. Only a moderator's makes a host: Zoom has no other way to moderate."""

    __slots__ = ()

    room_claim: ClassVar[str] = "tpc"
    identity_claim: ClassVar[str] = "user_identity"
    issuer_claim: ClassVar[str | None] = "app_key"
    reserved_claims: ClassVar[frozenset[str]] = frozenset(
        {
            *("app_key", "role_type", "tpc", "version", "user_identity", "session_key", "geo_regions"),
            *("cloud_recording_option", "cloud_recording_election", "telemetry_tracking_id"),
            *("video_webrtc_mode", "audio_webrtc_mode"),
        }
    )

    @staticmethod
    def shows(claims: Mapping[str, Any]) -> bool:
        """See :meth:`ServiceJWT.shows`."""
        return "app_key" in claims and "tpc" in claims

    def payload(self, options: TokenOptions) -> str:
        """See :meth:`ServiceJWT.payload`. For equal input the token is that of Zoom's own endpoint, byte by byte."""
        return (
            f'{{"app_key":{remembered(self._issuer)},"role_type":{_role_type(options.capabilities)},"tpc":'
            f'{remembered(options.session_id)},"version":1,"iat":{options.issued_at},"exp":{options.expires_at},'
            f'"user_identity":{quoted(options.subject or "")}}}'
        )

    def seat(self, claims: Mapping[str, Any]) -> Seat:
        """See :meth:`ServiceJWT.seat`."""
        if claims.get("version") != 1:
            raise WrongTokenKind("the token is not for the Video SDK: its version is not 1")
        role_type = claims.get("role_type")
        if type(role_type) is not int or role_type not in _ROLE_TYPES:
            raise wrong_claim("role_type", "0 or 1")
        topic = claims.get("tpc")
        # Zoom takes topics that differ in capitals for one.
        room = topic.lower() if isinstance(topic, str) else topic
        return Seat(room, said(claims, "user_identity"), _ROLE_TYPES[role_type], *times(claims))


def _role_type(capabilities: frozenset[Capability]) -> int:
    return _PARTICIPANT if capabilities.isdisjoint(_MODERATES) else _HOST
