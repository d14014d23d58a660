"""Twilio Video: access tokens, and acts in its rooms by the Rooms API."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from types import MappingProxyType
from typing import Any, ClassVar, Final, Unpack
from urllib.parse import quote

from ..encoding import jws
from ..errors import ConfigurationError, NoIdentity, NotFoundAtService, WrongTokenKind
from ..formats import TokenFormat
from ..formats.claims import ClaimRules, wrong_claim
from ..keys.issuers import Issuer
from ..moderation import Connections
from ..roles import Capability
from ..tokens import TokenOptions
from ..wording import shown
from .backend import CommonSettings, MediaBackend, Place
from .calls import CALL_TIMEOUT, Answer, ServiceAPI, connection
from .keys import header_text, service_issuer
from .rooms import derived_room
from .tokens import PARTICIPANT, Seat, ServiceJWT, remembered, said, times

_API: Final = "https://video.twilio.com/v1"
#: Where Twilio's client connects unless it is told otherwise.
_SIGNALLING: Final = "wss://global.vss.twilio.com/signaling"
#: The only region that has Video.
_REGION: Final = "us1"
_ACCOUNT: Final = re.compile(r"AC[0-9a-f]{32}")
_KEY: Final = re.compile(r"SK[0-9a-f]{32}")
#: Twilio does not say whether it keeps names apart that differ by capitals.
_ROOM: Final = re.compile(r"[a-z0-9_-]+")
#: Identities that stand for themselves in the path of a URL: no SID of a participant, and no step in the path.
_FOUND: Final = re.compile(r"(?!\.+\Z|PA[0-9a-fA-F]{32}\Z).*")
_ROOM_TYPES: Final = ("group", "group-small", "peer-to-peer", "go")
#: Twilio's code for a room whose name is taken.
_TAKEN: Final = 53113


class Twilio(MediaBackend):
    """Twilio Video: ``Rolecall(media=Twilio(account_sid, api_key, api_secret))``.

    Its tokens have no roles: everybody who is let in may publish, subscribe and send data. So the other roles get
    tickets only by ``accept_wider``.

    :param account_sid: the account, ``AC…``.
    :param api_key: the SID of an API key of the region us1, ``SK…``.
    :param api_secret: its secret.
    :param verify_secrets: at most two further secrets, which only verify.
    :param room_type: the type of the rooms that the kit opens, such as ``"group"``; None: Twilio itself opens a room
        when its first participant comes, which is the default of an account.
    :param url: where clients connect; Twilio's SDKs know it.
    :param api_url: the URL of the Rooms API.
    :param timeout: the time of a call of the API in seconds.
    :param settings: those of every :class:`~rolecall.media.MediaBackend`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "twilio"
    longest_life: ClassVar[int] = 86_400
    always_granted: ClassVar[frozenset[Capability]] = PARTICIPANT
    longest_identity: ClassVar[int] = 128
    longest_room: ClassVar[int] = 128
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "signal": "not done: its API sends no messages",
            "mute_stream": "not done: its API mutes nobody",
            "mute_all": "not done: its API mutes nobody",
            "list_streams": "not done: its API tells of the tracks of one participant at a time",
        }
    )

    def __init__(
        self,
        account_sid: str,
        api_key: str,
        api_secret: str | bytes,
        *,
        verify_secrets: Sequence[str | bytes] = (),
        room_type: str | None = None,
        url: str = _SIGNALLING,
        api_url: str = _API,
        timeout: float = CALL_TIMEOUT,
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            super().__init__(url, **settings)
            if not isinstance(account_sid, str) or not _ACCOUNT.fullmatch(account_sid):
                raise ConfigurationError("twilio: account_sid is malformed; expected AC and 32 hexadecimal digits")
            if room_type is not None and room_type not in _ROOM_TYPES:
                raise ConfigurationError(f"twilio: room_type is {shown(room_type)}; expected {', '.join(_ROOM_TYPES)}")
            expected = "the SID of an API key, SK and 32 hexadecimal digits"
            self._issuer = service_issuer(
                self.name, api_key, api_secret, verify_secrets, expected=expected, pattern=_KEY
            )
            api = ServiceAPI("Twilio", api_url, timeout)
            self._service = TwilioService(api, _basic(api_key, api_secret), self.room)
            #: The account.
            self.account_sid = account_sid
        finally:
            # So that no frame of a traceback holds them.
            del account_sid, api_key, api_secret, verify_secrets, url, api_url, settings
        self._room_type = room_type
        self.opens_rooms = room_type is not None  # type: ignore[misc]  # of each backend, not of the class

    @property
    def service(self) -> object:
        """What acts in the account's rooms."""
        return self._service

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return TwilioFormat(self, self._issuer, rules)

    def check_identity(self, identity: str) -> None:
        """See :meth:`MediaBackend.check_identity`: one that the Rooms API could not find could not be disconnected."""
        super().check_identity(identity)
        if not _FOUND.fullmatch(identity):
            raise NoIdentity(
                "the actor's id has the form of a SID of Twilio's, or is of dots alone, so that Twilio's API would not "
                "find its participant"
            )

    def room(self, session_id: str) -> str:
        """See :meth:`MediaBackend.room`: the session's id in lower case, or a name that is derived from it."""
        return derived_room(session_id, _ROOM, self.longest_room)

    async def open_room(self, place: Place) -> None:
        """See :meth:`MediaBackend.open_room`."""
        await self._service.open_room(place.room, self._room_type or "")


class TwilioFormat(ServiceJWT):
    """Mints and verifies access tokens with a grant for one room."""

    __slots__ = ("_account",)

    header: ClassVar[Mapping[str, str]] = MappingProxyType({"cty": "twilio-fpa;v=1"})
    room_claim: ClassVar[str] = "grants.video.room"
    identity_claim: ClassVar[str] = "grants.identity"
    issuer_claim: ClassVar[str | None] = "iss"
    reserved_claims: ClassVar[frozenset[str]] = frozenset({"grants"})

    def __init__(self, backend: Twilio, issuer: Issuer, rules: ClaimRules) -> None:
        super().__init__(backend, issuer, rules)
        self._account = backend.account_sid

    @staticmethod
    def shows(claims: Mapping[str, Any]) -> bool:
        """See :meth:`ServiceJWT.shows`."""
        return "grants" in claims

    def payload(self, options: TokenOptions) -> str:
        """See :meth:`ServiceJWT.payload`. For equal input the token is that of the SDK for Node, byte by byte.

        So its ``jti`` is the second; the kit's own id of a token is the hash of its content.
        """
        key, issued_at = self._issuer, options.issued_at
        return (
            f'{{"jti":"{key}-{issued_at}","grants":{{"identity":{quoted(options.subject or "")},"video":{{"room":'
            f'{remembered(options.session_id)}}}}},"iat":{issued_at},"exp":{options.expires_at},"iss":"{key}",'
            f'"sub":"{self._account}"}}'
        )

    def _codec_of(self, token: bytes) -> jws.Codec:
        region = _region(token.partition(b".")[0])
        if region != _REGION:
            raise WrongTokenKind(f"the token is for Twilio's region {shown(region)}; Video is in {_REGION!r} alone")
        return self._codec

    def seat(self, claims: Mapping[str, Any]) -> Seat:
        """See :meth:`ServiceJWT.seat`."""
        if claims.get("sub") != self._account:
            raise wrong_claim("sub", "the account of this service")
        grants = claims.get("grants")
        video = grants.get("video") if isinstance(grants, Mapping) else None
        if not isinstance(grants, Mapping) or not isinstance(video, Mapping):
            raise WrongTokenKind("the token is not for a client of Video: it has no object 'grants.video'")
        return Seat(video.get("room"), said(grants, "identity"), PARTICIPANT, *times(claims))


def _basic(api_key: str, api_secret: str | bytes) -> str:
    """The credential of calls (RFC 7617)."""
    try:
        pair = f"{api_key}:{header_text('twilio', 'api_secret', api_secret)}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    finally:
        pair = ""
        del api_secret


@lru_cache(64)
def _region(header: bytes) -> object:
    return jws.read_header(header).get("twr", _REGION)


class TwilioService:
    """Acts in the rooms of one account; a connection is a participant by its SID.

    :param api: calls the Rooms API.
    :param credential: what stands in the header ``Authorization``.
    :param room: names the room of a session.
    """

    def __init__(self, api: ServiceAPI, credential: str, room: Callable[[str], str]) -> None:
        self._api = api
        self._headers = {"Authorization": credential}
        self._room = room

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """Disconnect a participant, by its SID or its identity. The same token joins again.

        :raises NotFoundAtService: if there is no such participant, or the room is not open.
        """
        path = f"{self._path(session_id)}/Participants/{quote(connection_id, safe='')}"
        await self._call("participant", "POST", path, {"Status": "disconnected"})

    async def disconnect_actor(self, session_id: str, actor_id: str) -> None:
        """Disconnect the participant that an actor is, if it is there."""
        try:
            await self.force_disconnect(session_id, actor_id)
        except NotFoundAtService:
            return

    async def list_connections(self, session_id: str) -> Connections:
        """The connected participants, at most 1,000."""
        path = f"{self._path(session_id)}/Participants?Status=connected&PageSize=1000"
        try:
            answer = await self._call("participants", "GET", path)
        except NotFoundAtService:
            return []
        return [
            connection(one["sid"], one, "identity", "status", "start_time")
            for one in answer.listed("Twilio's participants", "participants", "sid")
        ]

    async def end_session(self, session_id: str) -> None:
        """Complete the room, which disconnects everybody. If none is open, nothing changes."""
        try:
            await self._call("room", "POST", self._path(session_id), {"Status": "completed"})
        except NotFoundAtService:
            return

    async def open_room(self, room: str, room_type: str) -> None:
        """Open a room. If it is open, nothing changes."""
        form = {"UniqueName": room, "Type": room_type}
        answer = await self._api.call("Twilio's rooms", "POST", "/Rooms", self._headers, form=form)
        if answer.objects.get("code") != _TAKEN:
            answer.succeeded("Twilio's rooms")

    def _path(self, session_id: str) -> str:
        return f"/Rooms/{self._room(session_id)}"

    async def _call(self, what: str, method: str, path: str, form: Mapping[str, str] | None = None) -> Answer:
        what = f"Twilio's {what}"
        return (await self._api.call(what, method, path, self._headers, form=form)).succeeded(what)
