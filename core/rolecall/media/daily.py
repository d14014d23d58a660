"""Daily: meeting tokens that the app signs, and acts in its rooms by Daily's API."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from types import MappingProxyType
from typing import Any, ClassVar, Final, Unpack

from ..errors import ConfigurationError, NotFoundAtService, SignalTooLarge, Unavailable
from ..formats import TokenFormat
from ..formats.claims import ClaimRules, wrong_claim
from ..moderation import Connections
from ..roles import Capability
from ..tokens import MAX_LIFETIME, TokenOptions
from ..wording import shown
from .backend import CommonSettings, MediaBackend, Place
from .calls import CALL_TIMEOUT, Answer, ServiceAPI, connection, unreadable
from .keys import header_text, service_issuer
from .rooms import derived_room
from .tokens import Seat, ServiceJWT, remembered, said, times

_API: Final = "https://api.daily.co/v1"
#: Daily takes capitals, too, and does not say whether it keeps them apart.
_ROOM: Final = re.compile(r"[a-z0-9_-]+")
_LONGEST_MESSAGE: Final = 4096
_ALL: Final = frozenset(Capability)


class Daily(MediaBackend):
    """A domain of Daily: ``Rolecall(media=Daily("https://example.daily.co", domain_id, api_key))``.

    A ticket's URL is that of the room, which is private and is opened by the kit. Everybody in a room can send messages
    to all, so a role that cannot signal gets a ticket only by ``accept_wider``.

    :param url: the domain, ``https://example.daily.co``.
    :param domain_id: the id of the domain, as Daily's API has it.
    :param api_key: the domain's API key, which signs the tokens.
    :param verify_secrets: at most two further API keys, which only verify.
    :param eject_at_expiry: whether Daily ends a participant's connection with the ticket's life. A ticket then lives as
        long as the grant, unless ``ticket_life`` is set.
    :param api_url: the URL of Daily's API.
    :param timeout: the time of a call of the API in seconds.
    :param settings: those of every :class:`~rolecall.media.MediaBackend`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "daily"
    schemes: ClassVar[tuple[str, ...]] = ("https",)
    opens_rooms: ClassVar[bool] = True
    always_granted: ClassVar[frozenset[Capability]] = frozenset({Capability.SIGNAL})
    longest_identity: ClassVar[int] = 36
    longest_room: ClassVar[int] = 128
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "mute_stream": "not done: only the client of an owner mutes others",
            "mute_all": "not done: only the client of an owner mutes others",
            "list_streams": "not done: its API does not tell",
        }
    )

    def __init__(
        self,
        url: str,
        domain_id: str,
        api_key: str | bytes,
        *,
        verify_secrets: Sequence[str | bytes] = (),
        eject_at_expiry: bool = False,
        api_url: str = _API,
        timeout: float = CALL_TIMEOUT,
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            if not isinstance(eject_at_expiry, bool):
                raise ConfigurationError(f"daily: eject_at_expiry is {shown(eject_at_expiry)}; expected True or False")
            if eject_at_expiry and settings.get("ticket_life") is None:
                settings["ticket_life"] = MAX_LIFETIME
            super().__init__(url, **settings)
            self._issuer = service_issuer(
                self.name,
                domain_id,
                api_key,
                verify_secrets,
                expected="the id of the domain, as GET / of Daily's API answers",
                names=("domain_id", "api_key"),
            )
            api = ServiceAPI("Daily", api_url, timeout)
            self._service = DailyService(api, f"Bearer {header_text(self.name, 'api_key', api_key)}", self.room)
        finally:
            del url, domain_id, api_key, verify_secrets, api_url, settings  # so that no frame of a traceback holds them
        #: Whether Daily ends a connection with the ticket's life.
        self.eject_at_expiry = eject_at_expiry

    @property
    def service(self) -> object:
        """What acts in the domain's rooms."""
        return self._service

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return DailyFormat(self, self._issuer, rules)

    def room(self, session_id: str) -> str:
        """See :meth:`MediaBackend.room`: the session's id in lower case, or a name that is derived from it."""
        return derived_room(session_id, _ROOM, self.longest_room)

    def room_url(self, room: str) -> str:
        """See :meth:`MediaBackend.room_url`: each room has its own."""
        return f"{self.url.rstrip('/')}/{room}"

    async def open_room(self, place: Place) -> None:
        """See :meth:`MediaBackend.open_room`: a private room, which only a token opens."""
        await self._service.open_room(place.room)


class DailyFormat(ServiceJWT):
    """Mints and verifies meeting tokens.

    One that it mints never makes an owner: moderators act through the kit. An owner's is read as a moderator's.
    """

    __slots__ = ("_end",)

    room_claim: ClassVar[str] = "r"
    identity_claim: ClassVar[str] = "ud"
    issuer_claim: ClassVar[str | None] = "d"
    reserved_claims: ClassVar[frozenset[str]] = frozenset(
        [
            *("r", "d", "o", "ud", "u", "p", "k", "ss", "er", "erui", "ast", "sr", "sro", "vo", "ao", "ejt", "eje"),
            *("ctoe", "rome", "ij", "mjh", "uil"),
        ]
    )

    def __init__(self, backend: Daily, *arguments: Any) -> None:
        super().__init__(backend, *arguments)
        self._end = ',"ejt":true}' if backend.eject_at_expiry else "}"

    @staticmethod
    def shows(claims: Mapping[str, Any]) -> bool:
        """See :meth:`ServiceJWT.shows`."""
        return "r" in claims and "d" in claims

    def payload(self, options: TokenOptions) -> str:
        """See :meth:`ServiceJWT.payload`. Each permission is said: one that is left out is the room's."""
        name = f'"u":{quoted(options.name)},' if options.name else ""
        return (
            f'{{"r":{remembered(options.session_id)},"d":{remembered(self._issuer)},"iat":{options.issued_at},'
            f'"exp":{options.expires_at},"ud":{quoted(options.subject or "")},{name}"p":'
            f"{_permissions(options.capabilities)}{self._end}"
        )

    def seat(self, claims: Mapping[str, Any]) -> Seat:
        """See :meth:`ServiceJWT.seat`."""
        return Seat(claims.get("r"), said(claims, "ud"), _capabilities(claims), *times(claims))


@lru_cache(64)
def _permissions(capabilities: frozenset[Capability]) -> str:
    sends, receives = (str(one in capabilities).lower() for one in (Capability.PUBLISH, Capability.SUBSCRIBE))
    return f'{{"cs":{sends},"cr":{{"b":{receives}}}}}'


def _capabilities(claims: Mapping[str, Any]) -> frozenset[Capability]:
    """What the claims of a meeting token grant; a permission that is not there is granted."""
    is_owner, permissions = claims.get("o", False), claims.get("p", {})
    if type(is_owner) is not bool:
        raise wrong_claim("o", "true or false")
    receiving = permissions.get("cr", {}) if isinstance(permissions, Mapping) else None
    if not isinstance(receiving, Mapping):
        raise wrong_claim("p", "an object with permissions")
    sends, receives = permissions.get("cs", True), receiving.get("b", True)
    for name, value in (("p.cs", sends), ("p.cr.b", receives)):
        if type(value) not in (bool, str):
            raise wrong_claim(name, "true, false, or the names of media")
    if is_owner:
        return _ALL
    held = {Capability.CONNECT, Capability.SIGNAL}
    if sends:
        held.add(Capability.PUBLISH)
    if receives or len(receiving) > ("b" in receiving):  # further members let in the media of some
        held.add(Capability.SUBSCRIBE)
    return frozenset(held)


class DailyService:
    """Acts in the rooms of one domain; a connection is a participant by its session id at Daily.

    :param api: calls Daily's API.
    :param credential: what stands in the header ``Authorization``.
    :param room: names the room of a session.
    """

    def __init__(self, api: ServiceAPI, credential: str, room: Callable[[str], str]) -> None:
        self._api = api
        self._headers = {"Authorization": credential}
        self._room = room

    async def signal(self, session_id: str, type: str, data: str, connection_id: str | None = None) -> None:
        """Send an ``app-message`` with ``type`` and ``data`` to one participant, or to all.

        Daily does not tell whether somebody gets it.

        :raises SignalTooLarge: for more than 4,096 bytes of JSON.
        """
        message = {"type": type, "data": data}
        if len(json.dumps(message)) > _LONGEST_MESSAGE:
            raise SignalTooLarge(
                f"the signal has more than {_LONGEST_MESSAGE} bytes as JSON, which Daily does not carry"
            )
        sent = {"data": message, "recipient": connection_id or "*"}
        await self._call("POST", self._path(session_id, "send-app-message"), sent)

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """Eject a participant. The same token joins again: to keep somebody out, exclude the actor.

        :raises NotFoundAtService: if there is no such participant.
        """
        if not await self._eject(session_id, "ids", connection_id):
            raise NotFoundAtService("the session has no such connection")

    async def disconnect_actor(self, session_id: str, actor_id: str) -> None:
        """Eject the participants that an actor is, if there are any."""
        try:
            await self._eject(session_id, "user_ids", actor_id)
        except NotFoundAtService:
            return

    async def list_connections(self, session_id: str) -> Connections:
        """The participants, as Daily knew them at most 15 seconds ago."""
        try:
            answer = await self._call("GET", self._path(session_id, "presence"))
        except NotFoundAtService:
            return []
        return [
            connection(one["id"], one, "userId", "userName", "joinTime", "duration")
            for one in answer.listed("Daily's presence", "data", "id")
        ]

    async def end_session(self, session_id: str) -> None:
        """Delete the room, which disconnects everybody. If there is none, nothing changes."""
        try:
            await self._call("DELETE", self._path(session_id))
        except NotFoundAtService:
            return

    async def open_room(self, room: str) -> None:
        """Open a private room. If there is one, nothing changes.

        :raises Unavailable: if there is one that everybody can join without a token.
        """
        answer = await self._send("POST", "/rooms", {"name": room, "privacy": "private"})
        if answer.status == 400:  # the answer for a name that is taken
            found = await self._send("GET", f"/rooms/{room}")
            answer = answer if found.status == 404 else found
        if answer.succeeded("Daily's POST /rooms").objects.get("privacy") != "private":
            raise Unavailable("a room of this session at Daily is not private: anybody could join without a ticket")

    async def _eject(self, session_id: str, by: str, which: str) -> bool:
        answer = await self._call("POST", self._path(session_id, "eject"), {by: [which]})
        ejected = answer.objects.get("ejectedIds")
        if not isinstance(ejected, list):
            raise unreadable("Daily's eject")
        return bool(ejected)

    def _path(self, session_id: str, act: str = "") -> str:
        return f"/rooms/{self._room(session_id)}" + (f"/{act}" if act else "")

    async def _call(self, method: str, path: str, body: object = None) -> Answer:
        return (await self._send(method, path, body)).succeeded(_named(method, path))

    async def _send(self, method: str, path: str, body: object = None) -> Answer:
        return await self._api.call(_named(method, path), method, path, self._headers, body)


def _named(method: str, path: str) -> str:
    act = path.split("/")[3:]
    return f"Daily's {act[0] if act else f'{method} /rooms'}"
