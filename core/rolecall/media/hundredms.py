"""100ms: auth tokens with names of roles, and acts in active rooms by its API."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted
from types import MappingProxyType
from typing import Any, ClassVar, Final, Unpack
from urllib.parse import quote
from uuid import uuid4

from ..clock import system_clock
from ..encoding import jws
from ..errors import ConfigurationError, InvalidSessionId, NotFoundAtService, WrongTokenKind
from ..formats import TokenFormat
from ..formats.claims import ClaimRules
from ..keys.issuers import Issuer
from ..moderation import Connections
from ..tokens import TokenOptions
from .backend import CommonSettings, Place
from .calls import CALL_TIMEOUT, Answer, ServiceAPI, connection
from .keys import service_issuer
from .named_roles import NamedRoleBackend, NamedRoleFormat
from .rooms import derived_room
from .tokens import Seat, remembered, said, times

_API: Final = "https://api.100ms.live/v2"
#: By how many seconds a token is issued in the past, as the SDK has it: clocks differ.
_BEFORE: Final = 10
#: The life of the credential of one call, in seconds.
_CREDENTIAL_LIFE: Final = 60
#: The names of rooms that 100ms takes, in lower case: it does not tell capitals apart.
_ROOM: Final = re.compile(r"[a-z0-9._:-]+")
#: The ids that 100ms gives to rooms.
_ROOM_ID: Final = re.compile(r"[0-9a-f]{24}")
_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
#: Of how many rooms the ids are remembered.
_MOST_ROOMS: Final = 10_000


class HundredMs(NamedRoleBackend):
    """100ms: ``Rolecall(media=HundredMs(access_key, app_secret, roles={"publisher": "host"}))``.

    100ms gives its rooms ids of its own, and finds a room by its name. So the kit asks for the id by the name of the
    session's room, which opens the room the first time, and remembers it as long as the process runs.

    :param access_key: the app's access key.
    :param app_secret: its secret.
    :param roles: 100ms's name of each role that is to get tickets; only the app knows what it may do there.
    :param verify_secrets: at most two further secrets, which only verify.
    :param template_id: the template of the rooms, which defines these roles; None for the app's default one.
    :param url: where clients connect; 100ms's SDKs know it.
    :param api_url: the URL of 100ms's API.
    :param timeout: the time of a call of the API in seconds.
    :param clock: returns now, in Unix seconds, for the credentials of acts.
    :param settings: those of every :class:`~rolecall.media.MediaBackend`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "100ms"
    schemes: ClassVar[tuple[str, ...]] = ("https", "wss")
    opens_rooms: ClassVar[bool] = True
    longest_room: ClassVar[int] = 64
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "mute_stream": "not done: its API mutes nobody, and a role that may not publish is the template's",
            "mute_all": "not done: its API mutes nobody, and a role that may not publish is the template's",
            "list_streams": "not done: its API tells of the tracks of one peer at a time",
        }
    )

    def __init__(
        self,
        access_key: str,
        app_secret: str | bytes,
        roles: Mapping[str, str],
        *,
        verify_secrets: Sequence[str | bytes] = (),
        template_id: str | None = None,
        url: str = _API,
        api_url: str = _API,
        timeout: float = CALL_TIMEOUT,
        clock: Callable[[], float] = system_clock,
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            super().__init__(url, roles, **settings)
            issuer = service_issuer(
                self.name,
                access_key,
                app_secret,
                verify_secrets,
                expected="the app's access key, as 100ms's dashboard has it",
                names=("access_key", "app_secret"),
            )
            api = ServiceAPI("100ms", api_url, timeout)
        finally:
            # So that no frame of a traceback holds them.
            del access_key, app_secret, verify_secrets, url, api_url, settings
        if template_id is not None and not (isinstance(template_id, str) and _ID.fullmatch(template_id)):
            raise ConfigurationError("100ms: template_id is malformed; expected the id of a template")
        self._issuer = issuer
        self._service = HundredMsService(issuer, api, self.room, template_id, clock)

    @property
    def service(self) -> object:
        """What acts in the app's rooms."""
        return self._service

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return HundredMsFormat(self, self._issuer, rules)

    def room(self, session_id: str) -> str:
        """See :meth:`MediaBackend.room`: the session's id in lower case, or a name that is derived from it.

        A session whose id could be that of a room has none: tokens of that room would pass for the session's.
        """
        if _ROOM_ID.fullmatch(session_id):
            raise InvalidSessionId("session_id has the form of 100ms's ids of rooms; give the session another name")
        return derived_room(session_id, _ROOM, self.longest_room)

    def session_of(self, room: str) -> str | None:
        """See :meth:`MediaBackend.session_of`: a room's id does not say whose it is."""
        return None

    async def open_room(self, place: Place) -> str:
        """See :meth:`MediaBackend.open_room`: the id that 100ms has for the room of this name."""
        return await self._service.room_id(place.room)


class HundredMsFormat(NamedRoleFormat):
    """Mints and verifies auth tokens: for one user, one room by its id at 100ms, and one role."""

    __slots__ = ()

    room_claim: ClassVar[str] = "room_id"
    identity_claim: ClassVar[str] = "user_id"
    issuer_claim: ClassVar[str | None] = "access_key"
    reserved_claims: ClassVar[frozenset[str]] = frozenset(
        {"access_key", "type", "version", "room_id", "role", "user_id"}
    )

    @staticmethod
    def shows(claims: Mapping[str, Any]) -> bool:
        """See :meth:`ServiceJWT.shows`."""
        return "access_key" in claims and "type" in claims

    def takes_session(self, session_id: str) -> bool:
        """See :meth:`TokenFormat.takes_session`: tokens name a room by its id at 100ms, which no session has."""
        return False

    def session_of(self, room: str) -> str | None:
        """See :meth:`ServiceFormat.session_of`: a room's id.

        An app that guards its own routes with tokens of 100ms has rooms for sessions, and the kit's are no rooms.
        """
        return room if _ROOM_ID.fullmatch(room) else None

    def payload(self, options: TokenOptions) -> str:
        """See :meth:`ServiceJWT.payload`, in the order of the SDK for Node; each token has a ``jti`` of its own."""
        issued_at, role = options.issued_at - _BEFORE, self._roles[str(options.role)]
        return (
            f'{{"access_key":{remembered(self._issuer)},"type":"app","version":2,"iat":{issued_at},"nbf":{issued_at},'
            f'"exp":{options.expires_at},"room_id":{remembered(options.session_id)},"role":{remembered(role)},'
            f'"user_id":{quoted(options.subject or "")},"jti":"{uuid4()}"}}'
        )

    def seat(self, claims: Mapping[str, Any]) -> Seat:
        """See :meth:`ServiceJWT.seat`."""
        if claims.get("type") != "app" or claims.get("version") != 2:
            raise WrongTokenKind("the token is not for a client: its type is not 'app', or its version not 2")
        capabilities = self.capabilities_of(claims.get("role"))
        return Seat(claims.get("room_id"), said(claims, "user_id"), capabilities, *times(claims))


class HundredMsService:
    """Acts in the active rooms of one app; a connection is a peer by its id.

    Each call of the API has a credential that is good for a minute.

    :param issuer: the access key with its secret.
    :param api: calls 100ms's API.
    :param room: names the room of a session.
    :param template_id: the template of rooms; None for the default one.
    :param clock: returns now, in Unix seconds.
    """

    def __init__(
        self,
        issuer: Issuer,
        api: ServiceAPI,
        room: Callable[[str], str],
        template_id: str | None,
        clock: Callable[[], float],
    ) -> None:
        self._codec = jws.Codec(issuer)
        self._access_key = issuer.id
        self._api = api
        self._room = room
        self._template = {} if template_id is None else {"template_id": template_id}
        self._clock = clock
        # The ids of rooms by their names: 100ms never changes them.
        self._ids: dict[str, str] = {}

    async def room_id(self, room: str) -> str:
        """The id of the room of this name, which is opened if it does not exist."""
        if room in self._ids:
            return self._ids[room]
        answer = await self._send("POST", "/rooms", {"name": room, **self._template})
        found = answer.text("100ms's rooms", "id", _ID)
        while len(self._ids) >= _MOST_ROOMS:
            self._ids.pop(next(iter(self._ids), room), None)
        self._ids[room] = found
        return found

    async def signal(self, session_id: str, type: str, data: str, connection_id: str | None = None) -> None:
        """Send a message of ``type`` to one peer, or to all.

        :raises NotFoundAtService: if nobody is in the room.
        """
        message = {"message": data, "type": type}
        to = {} if connection_id is None else {"peer_id": connection_id}
        await self._act("POST", session_id, "send-message", {**message, **to})

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """Remove a peer. The same token joins again: to keep somebody out, exclude the actor."""
        await self._act("POST", session_id, "remove-peers", {"peer_id": connection_id, "reason": "removed"})

    async def disconnect_actor(self, session_id: str, actor_id: str) -> None:
        """Remove the peers that an actor is, if there are any."""
        for peer in await self._peers(session_id, f"?user_id={quote(actor_id, safe='')}"):
            if peer.get("user_id") != actor_id:
                continue
            try:
                await self.force_disconnect(session_id, peer["id"])
            except NotFoundAtService:
                continue  # it has left meanwhile

    async def list_connections(self, session_id: str) -> Connections:
        """The peers."""
        return [
            connection(peer["id"], peer, "user_id", "name", "role", "joined_at")
            for peer in await self._peers(session_id)
        ]

    async def end_session(self, session_id: str) -> None:
        """End the room and lock it, so that no token opens it again. If nobody is in it, nothing changes."""
        try:
            await self._act("POST", session_id, "end-room", {"reason": "the session has ended", "lock": True})
        except NotFoundAtService:
            return

    async def _peers(self, session_id: str, query: str = "") -> list[dict[str, Any]]:
        try:
            answer = await self._act("GET", session_id, "peers" + query)
        except NotFoundAtService:
            return []
        peers = answer.objects.get("peers")
        listed = list(peers.values()) if isinstance(peers, dict) else None
        return Answer(answer.status, {"peers": listed}).listed("100ms's peers", "peers", "id")

    async def _act(self, method: str, session_id: str, act: str, body: object = None) -> Answer:
        room_id = await self.room_id(self._room(session_id))
        return await self._send(method, f"/active-rooms/{room_id}/{act}", body)

    async def _send(self, method: str, path: str, body: object) -> Answer:
        headers = {"Authorization": f"Bearer {self._credential()}"}
        what = f"100ms's {path.rpartition('/')[2].partition('?')[0]}"
        try:
            answer = await self._api.call(what, method, path, headers, body)
        finally:
            del headers  # so that no frame of a traceback holds the credential
        return answer.succeeded(what)

    def _credential(self) -> str:
        issued_at = int(self._clock()) - _BEFORE
        claims = {
            "access_key": self._access_key,
            "type": "management",
            "version": 2,
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at + _BEFORE + _CREDENTIAL_LIFE,
            "jti": str(uuid4()),
        }
        return self._codec.sign(json.dumps(claims, separators=(",", ":")).encode())
