"""Amazon Chime SDK: meetings whose attendees the service makes, with the capabilities of their roles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from ...errors import ConfigurationError, NoIdentity
from ...formats.claims import ClaimRules
from ...roles import Capability
from ..backend import MediaBackend, Place, Ticket
from ..calls import ServiceAPI
from ..rooms import derived_room
from ..turn import Turn
from .service import MEDIA, ChimeService
from .signing import AWSSigner

_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]")
# In lower case, because the documentation does not say whether case counts.
_ROOM: Final = re.compile(r"[-_a-z0-9]{2,64}")
_IDENTITY: Final = re.compile(r"(?!(?i:aws:))[-_&@+=,(){}\[\]/«».:|'\"#a-zA-Z0-9À-ÿ\s]{2,64}")
#: What a client is told of a meeting and of its attendee. The rest names the account.
_OF_MEETINGS: Final = ("MeetingId", "ExternalMeetingId", "MediaRegion", "MediaPlacement", "MeetingFeatures")
_OF_ATTENDEES: Final = ("AttendeeId", "ExternalUserId", "JoinToken", "Capabilities")
#: What a medium may do, by whether it may be sent and received.
_DIRECTIONS: Final = {
    (True, True): "SendReceive",
    (True, False): "Send",
    (False, True): "Receive",
    (False, False): "None",
}


class Chime(MediaBackend):
    """Meetings of the Amazon Chime SDK: ``Rolecall(media=Chime("eu-central-1"))``.

    A session is one meeting, which the first ticket creates; a participant is an attendee, whose ``ExternalUserId`` is
    the actor's id.

    :param region: the AWS region of the API, and of the meetings' media unless ``media_region`` names another.
    :param access_key_id: the id of an access key. Without one, botocore looks for credentials as every AWS SDK does: in
        the environment, in files, and with the role of the container or the machine.
    :param secret_access_key: its secret.
    :param session_token: the session token of temporary credentials.
    :param media_region: the region of the meetings' media.
    :param accept_wider: as for every :class:`~rolecall.media.MediaBackend`.
    :param turn: as for every :class:`~rolecall.media.MediaBackend`.
    :param api_url: the URL of the API, if it is not that of the region.
    :param timeout: the time of a call of the API in seconds. A ticket or an act takes three at most, which are to be
        below the kit's ``hook_timeout``; only a long list takes more.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "chime"
    schemes: ClassVar[tuple[str, ...]] = ("https", "http")
    url_setting: ClassVar[str] = "api_url"
    longest_life: ClassVar[int] = 86_400
    longest_identity: ClassVar[int] = 64
    #: Every attendee can send data messages.
    always_granted: ClassVar[frozenset[Capability]] = frozenset({Capability.SIGNAL})
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "signal": "not done: its API sends no messages",
            "mute_all": "not done: it sets the capabilities of all to the same, and not those of attendees to come",
        }
    )

    def __init__(
        self,
        region: str,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        *,
        session_token: str | None = None,
        media_region: str | None = None,
        accept_wider: Iterable[str] = (),
        turn: Turn | Mapping[str, Any] | None = None,
        api_url: str | None = None,
        timeout: float = 1.5,
    ) -> None:
        try:
            for name, value in (("region", region), ("media_region", media_region or region)):
                if not isinstance(value, str) or not _REGION.fullmatch(value):
                    raise ConfigurationError(f"chime: {name} is no AWS region; expected one such as 'eu-central-1'")
            if api_url is None:
                api_url = f"https://meetings-chime.{region}.amazonaws.com"
            super().__init__(api_url, accept_wider=accept_wider, turn=turn)
            signer = AWSSigner(self.name, "chime", region, access_key_id, secret_access_key, session_token)
            api = ServiceAPI("Chime", self.url, timeout, signer=signer)
        finally:
            # So that no frame of a traceback holds them.
            del access_key_id, secret_access_key, session_token, api_url, turn
        self._service = ChimeService(api, media_region or region, self.room)

    @property
    def service(self) -> object:
        """What acts in meetings."""
        return self._service

    def token_format(self, rules: ClaimRules) -> None:
        """None: only Chime makes join tokens."""
        return

    def room(self, session_id: str) -> str:
        """The ``ExternalMeetingId`` and the idempotency token of a session's meeting: its id, or derived from that."""
        return derived_room(session_id, _ROOM, 64)

    async def ask_ticket(self, place: Place) -> Ticket:
        """Find or create the meeting, and make the attendee.

        The join token is good until the meeting ends, after 24 hours at most, or until the attendee is deleted.

        :raises RolecallError: one that says why there is none.
        """
        meeting = await self._service.meeting(place.room)
        attendee = await self._service.attendee(meeting, place.identity, _capabilities(place.capabilities))
        return self.made(
            place._replace(room=meeting["MeetingId"]),
            attendee["JoinToken"],
            meeting["MediaPlacement"]["SignalingUrl"],
            place.issued_at + self.longest_life,
            {"meeting": _only(meeting, _OF_MEETINGS), "attendee": _only(attendee, _OF_ATTENDEES)},
        )

    def check_identity(self, identity: str) -> None:
        """See :meth:`MediaBackend.check_identity`."""
        super().check_identity(identity)
        if not _IDENTITY.fullmatch(identity):
            raise NoIdentity(
                "the actor's id has a character that chime does not take, is shorter than 2, or begins with 'aws:'"
            )


def _capabilities(capabilities: frozenset[Capability]) -> dict[str, str]:
    """The capabilities of an attendee, which are the same for its three media: a role does not tell them apart."""
    value = _DIRECTIONS[Capability.PUBLISH in capabilities, Capability.SUBSCRIBE in capabilities]
    return dict.fromkeys(MEDIA, value)


def _only(found: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: found[name] for name in names if found.get(name) is not None}
