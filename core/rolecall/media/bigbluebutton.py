"""BigBlueButton: meetings that the kit creates, and signed URLs with which their participants join."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from ..errors import ConfigurationError, NotFoundAtService, Unavailable
from ..formats import TokenFormat
from ..formats.claims import ClaimRules
from ..keys.issuers import Issuer
from ..moderation import Connections
from ..roles import Capability
from ..tokens import MAX_LIFETIME
from ..wording import shown
from .backend import MediaBackend, Place, Ticket
from .calls import CALL_TIMEOUT, Answer, ServiceAPI, connection
from .keys import service_issuer
from .rooms import derived_room
from .tokens import PARTICIPANT

#: BigBlueButton takes more, but no comma.
_ROOM: Final = re.compile(r"[0-9A-Za-z._~-]{2,}")
_DIGITS: Final = re.compile(r"[0-9]{1,15}")
CHECKSUMS: Final = ("sha1", "sha256", "sha384", "sha512")
#: The default life of a meeting, in seconds.
MEETING_LIFE: Final = 86_400
_MODERATES: Final = frozenset({Capability.FORCE_DISCONNECT, Capability.FORCE_UNPUBLISH})
#: The parameters of the call that creates a meeting that are no options of an app's.
_KEPT: Final = frozenset(
    {"meetingID", "checksum", "attendeePW", "moderatorPW", "duration", "isBreakout", "parentMeetingID"}
)
_OPTION: Final = re.compile(r"[A-Za-z][0-9A-Za-z_-]{0,63}")


class BigBlueButton(MediaBackend):
    """A BigBlueButton server: ``Rolecall(media=BigBlueButton(url, shared_secret, accept_unexpiring=True))``.

    A ticket's URL with its token as the query is where a participant's browser goes. It is bound to one run of the
    meeting, and has no other end: **who has it joins until the meeting ends, excluded or not**. So an app says that it
    takes that, by ``accept_unexpiring``.

    :param url: the URL of the server as ``bbb-conf --secret`` prints it.
    :param shared_secret: its secret, at least 32 bytes.
    :param accept_unexpiring: True: the app takes that a ticket is good as long as the meeting goes on.
    :param meeting_life: the longest life of a meeting in seconds, rounded down to minutes: the server then ends it, and
        tickets with it.
    :param checksum: the hash of the signatures: ``sha1``, ``sha256``, ``sha384`` or ``sha512``.
    :param room_options: further parameters of the call ``create``: texts, numbers, True or False.
    :param accept_wider: as for every :class:`~rolecall.media.MediaBackend`.
    :param timeout: the time of a call of the API in seconds.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "bigbluebutton"
    schemes: ClassVar[tuple[str, ...]] = ("https", "http")
    always_granted: ClassVar[frozenset[Capability]] = PARTICIPANT
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        dict.fromkeys(
            ("signal", "force_disconnect", "mute_stream", "mute_all", "list_streams"),
            "not done: its API has no such call; a moderator acts in the meeting",
        )
        | {"disconnect_actor": "not done: whoever has a ticket joins until the meeting ends"}
    )

    def __init__(
        self,
        url: str,
        shared_secret: str | bytes,
        *,
        accept_unexpiring: bool = False,
        meeting_life: float = MEETING_LIFE,
        checksum: str = "sha256",
        room_options: Mapping[str, str | int | bool] = MappingProxyType({}),
        accept_wider: Iterable[str] = (),
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        try:
            super().__init__(url, accept_wider=accept_wider)
            self._issuer = service_issuer(
                self.name, "bigbluebutton", shared_secret, expected="", names=("", "shared_secret")
            )
            api = ServiceAPI("BigBlueButton", url, timeout, setting="url", reader=read_answer)
        finally:
            del url, shared_secret  # so that no frame of a traceback holds them
        if accept_unexpiring is not True:
            raise ConfigurationError(
                "bigbluebutton: a ticket is good until the meeting ends, also for whoever was excluded; an app that "
                "takes that says so: accept_unexpiring=True"
            )
        is_number = isinstance(meeting_life, int | float) and not isinstance(meeting_life, bool)
        if not is_number or not 60 <= meeting_life <= MAX_LIFETIME:
            raise ConfigurationError(
                f"bigbluebutton: meeting_life is {shown(meeting_life)}; expected 60 to {MAX_LIFETIME} seconds"
            )
        if checksum not in CHECKSUMS:
            raise ConfigurationError(
                f"bigbluebutton: checksum is {shown(checksum)}; expected one of {', '.join(CHECKSUMS)}"
            )
        options = {**_options(room_options), "duration": int(meeting_life // 60)}
        self._service = BigBlueButtonService(Caller(self._issuer, checksum, api), options, self.room)

    @property
    def service(self) -> object:
        """What acts in the server's meetings."""
        return self._service

    def room(self, session_id: str) -> str:
        """See :meth:`MediaBackend.room`."""
        return derived_room(session_id, _ROOM, self.longest_room)

    def granted(self, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """Those of a viewer, or of a moderator, see :meth:`MediaBackend.granted`; there is nothing else."""
        return capabilities | self.always_granted | (frozenset() if capabilities.isdisjoint(_MODERATES) else _MODERATES)

    def token_format(self, rules: ClaimRules) -> TokenFormat | None:
        """See :meth:`MediaBackend.token_format`; a signed URL is no token that anybody else could verify."""
        return None

    async def ask_ticket(self, place: Place) -> Ticket:
        """See :meth:`MediaBackend.ask_ticket`: it has the meeting created, if there is none."""
        query, ends = await self._service.joining(place)
        return self.made(place, query, f"{self.url.rstrip('/')}/api/join", ends)


class Caller:
    """Signs the calls of one server, and calls it."""

    __slots__ = ("_api", "_checksum", "_issuer")

    def __init__(self, issuer: Issuer, checksum: str, api: ServiceAPI) -> None:
        self._issuer = issuer
        self._checksum = checksum
        self._api = api

    def signed(self, call: str, parameters: Mapping[str, object]) -> str:
        """The query of a call, with its checksum."""
        query = urlencode({name: _said(value) for name, value in parameters.items()})
        digest = self._issuer.ring.secrets[0].digest_after(f"{call}{query}".encode(), self._checksum)
        return f"{query}&checksum={digest.hex()}"

    def password(self, room: str, whose: str) -> str:
        """The password of a meeting for moderators or attendees, which only calls of the kit hold."""
        (key, *_) = self._issuer.ring.derived(f"bigbluebutton {whose}")
        return key.sign(room.encode()).hex()[:32]

    async def call(self, call: str, parameters: Mapping[str, object]) -> Answer:
        """Call the server, and return its answer, which is a success.

        :raises NotFoundAtService: if there is no such meeting.
        :raises Unavailable: for everything else.
        """
        what = f"BigBlueButton's {call}"
        path = f"/api/{call}?{self.signed(call, parameters)}"
        try:
            answer = (await self._api.call(what, "GET", path)).succeeded(what)
        finally:
            del path, parameters  # so that no frame of a traceback holds a password
        code, key = (answer.objects.get(name) for name in ("returncode", "messageKey"))
        if code == "SUCCESS":
            return answer
        if key == "notFound":
            raise NotFoundAtService("the session is not open at the media service")
        if key == "checksumError":
            raise Unavailable(f"{what}: the server refuses the shared secret, or the kind of the checksum")
        if key == "idNotUnique":
            raise Unavailable(f"{what}: the meeting was created by somebody else")
        raise Unavailable(f"{what}: the server refuses it, or the answer is not that of BigBlueButton; look at its URL")


class BigBlueButtonService:
    """Acts in the meetings of one server; a connection is an attendee.

    :param caller: calls the server.
    :param options: the parameters of each meeting.
    :param room: names the meeting of a session.
    """

    def __init__(self, caller: Caller, options: Mapping[str, object], room: Callable[[str], str]) -> None:
        self._caller = caller
        self._options = options
        self._room = room

    async def joining(self, place: Place) -> tuple[str, int]:
        """The signed query with which the participant of a place joins, and the end of the meeting in Unix seconds.

        :raises Unavailable: if the meeting is not the kit's, and has no end.
        """
        room = place.room
        passwords = {f"{whose}PW": self._caller.password(room, whose) for whose in ("attendee", "moderator")}
        named = {**self._options, "name": self._options.get("name") or room}
        try:
            created = (await self._caller.call("create", {**named, "meetingID": room, **passwords})).objects
        finally:
            del passwords  # so that no frame of a traceback holds them
        begun, minutes = (_number(created.get(name)) for name in ("createTime", "duration"))
        if not begun or not minutes:
            raise Unavailable("BigBlueButton's create: the meeting has no end; somebody else has created it")
        joining = {
            "meetingID": room,
            "fullName": place.identity,
            "userID": place.identity,
            "role": "VIEWER" if place.capabilities.isdisjoint(_MODERATES) else "MODERATOR",
            "createTime": begun,
        }
        return self._caller.signed("join", joining), begun // 1000 + minutes * 60

    async def list_connections(self, session_id: str) -> Connections:
        """The attendees, by the identities of their tickets."""
        room = self._room(session_id)
        try:
            answer = await self._caller.call("getMeetingInfo", {"meetingID": room})
        except NotFoundAtService:
            return []
        if answer.objects.get("attendees") == "":  # nobody is there
            return []
        attendees = answer.listed("BigBlueButton's getMeetingInfo", "attendees", "userID")
        names = ("fullName", "role", "isPresenter", "hasJoinedVoice", "hasVideo")
        return [connection(one["userID"], one, *names) for one in attendees]

    async def end_session(self, session_id: str) -> None:
        """End the meeting, which disconnects everybody within seconds. If there is none, nothing changes."""
        room = self._room(session_id)
        try:
            await self._caller.call("end", {"meetingID": room, "password": self._caller.password(room, "moderator")})
        except NotFoundAtService:
            return


class _NoDoctype(TreeBuilder):
    """Refuses a document type, and so every entity that an answer could define."""

    def doctype(self, *_: object) -> None:
        raise ValueError("a document type")


def read_answer(answer: bytes) -> dict[str, Any] | None:
    """The members of an answer: texts, and lists of objects; None if it is none."""
    parser = XMLParser(target=_NoDoctype())  # noqa: S314  # without a document type there are no entities
    try:
        parser.feed(answer)
        root: Element = parser.close()
    except (ParseError, ValueError, LookupError):  # the last for an encoding that does not exist
        return None
    if root.tag != "response":
        return None
    return {one.tag: [_texts(row) for row in one] if len(one) else (one.text or "").strip() for one in root}


def _texts(row: Element) -> dict[str, str]:
    return {member.tag: (member.text or "").strip() for member in row}


def _number(text: object) -> int:
    """A number in an answer; 0 if it is none."""
    return int(text) if isinstance(text, str) and _DIGITS.fullmatch(text) else 0


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _options(given: object) -> dict[str, str | int | bool]:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"bigbluebutton: room_options is {shown(given)}; expected a mapping")
    for name, value in given.items():
        is_one = isinstance(name, str) and _OPTION.fullmatch(name) and name not in _KEPT
        if not is_one or not isinstance(value, str | int | bool):
            raise ConfigurationError(
                f"bigbluebutton: room_options has {shown(name, 80)}, which is none of an app's, or is no text, number, "
                "True or False"
            )
    return {**given}
