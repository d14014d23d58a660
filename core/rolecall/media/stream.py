"""Stream Video: call tokens, and acts in its calls by its API."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted
from types import MappingProxyType
from typing import Any, ClassVar, Final, Unpack
from urllib.parse import quote

from ..clock import system_clock
from ..encoding import jws
from ..errors import ConfigurationError, NoIdentity, NoMediaService, NotFoundAtService, WrongTokenKind
from ..formats import TokenFormat
from ..formats.claims import ClaimRules, wrong_claim
from ..keys.issuers import Issuer
from ..moderation import Connections
from ..tokens import TokenOptions
from .backend import CommonSettings, Place, emulated_acts
from .calls import CALL_TIMEOUT, Answer, ServiceAPI, connection
from .keys import service_issuer
from .named_roles import NamedRoleBackend, NamedRoleFormat
from .rooms import derived_room
from .tokens import Seat, remembered, said, times

_API: Final = "https://video.stream-io-api.com"
#: By how many seconds a token is issued in the past, as the SDK for Python has it.
_BEFORE: Final = 5
#: The life of the credential of one call, in seconds.
_CREDENTIAL_LIFE: Final = 60
_CALL_TYPE: Final = re.compile(r"[a-z0-9_-]{1,64}")
#: The ids that Stream takes for users; its SDKs refuse others, or write ``_`` for each other character.
_USER: Final = re.compile(r"[a-zA-Z0-9@_-]{1,255}")
_ROOM: Final = re.compile(r"[a-z0-9_-]+")


class Stream(NamedRoleBackend):
    """Stream Video: ``Rolecall(media=Stream(api_key, api_secret, roles={"publisher": "host"}))``.

    A session's room is a call, which the kit opens. A token without a user is the app's own key at Stream, so none is
    ever minted.

    :param api_key: the app's API key.
    :param api_secret: its secret.
    :param roles: Stream's name of each role that is to get tickets; only the app knows what it may do there.
    :param verify_secrets: at most two further secrets, which only verify.
    :param call_type: the type of the calls.
    :param accept_emulated: ``{"mute_all"}``: that act then mutes those who are present, and not those to come. Without
        it the act is refused.
    :param server_user: the id of the user at Stream in whose name calls are opened, signals sent and others muted.
    :param url: where clients connect; Stream's SDKs know it.
    :param api_url: the URL of Stream's API.
    :param timeout: the time of a call of the API in seconds.
    :param clock: returns now, in Unix seconds, for the credentials of acts.
    :param settings: those of every :class:`~rolecall.media.MediaBackend`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "stream"
    schemes: ClassVar[tuple[str, ...]] = ("https", "wss")
    opens_rooms: ClassVar[bool] = True
    longest_room: ClassVar[int] = 64
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "signal": "to all: a custom event is not for one",
            "mute_stream": "by the id of the user: all its audio",
            "mute_all": "not done: it does not mute those to come, and nobody unmutes; see accept_emulated",
            "list_streams": "not done: its API does not tell",
        }
    )

    def __init__(
        self,
        api_key: str,
        api_secret: str | bytes,
        roles: Mapping[str, str],
        *,
        verify_secrets: Sequence[str | bytes] = (),
        call_type: str = "default",
        accept_emulated: Iterable[str] = (),
        server_user: str = "rolecall",
        url: str = _API,
        api_url: str = _API,
        timeout: float = CALL_TIMEOUT,
        clock: Callable[[], float] = system_clock,
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            super().__init__(url, roles, **settings)
            expected = "the API key of the app, as Stream's dashboard has it"
            issuer = service_issuer(self.name, api_key, api_secret, verify_secrets, expected=expected)
            api = ServiceAPI("Stream", api_url, timeout)
        finally:
            # So that no frame of a traceback holds them.
            del api_key, api_secret, verify_secrets, url, api_url, settings
        for name, value, pattern in (("call_type", call_type, _CALL_TYPE), ("server_user", server_user, _USER)):
            if not isinstance(value, str) or not pattern.fullmatch(value):
                raise ConfigurationError(f"stream: {name} is malformed; expected the id that it has at Stream")
        self._issuer = issuer
        self._server_user = server_user
        #: The type of the calls.
        self.call_type = call_type
        emulated = emulated_acts(self.name, accept_emulated)
        path = f"/api/v2/video/call/{call_type}/"
        self._service = StreamService(issuer, api, path, self.room, server_user, clock, emulated)

    @property
    def service(self) -> object:
        """What acts in the app's calls."""
        return self._service

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return StreamFormat(self, self._issuer, rules)

    def check_identity(self, identity: str) -> None:
        """See :meth:`MediaBackend.check_identity`.

        An id that Stream takes for no user's is refused, and that of the user who opens calls, who is their owner.
        """
        super().check_identity(identity)
        if not _USER.fullmatch(identity):
            raise NoIdentity(
                "the actor's id has a character that no id of a user at Stream has; expected ASCII letters, digits, "
                "'@', '_' and '-'"
            )
        if identity == self._server_user:
            raise NoIdentity(
                "the actor's id is that of the user at Stream in whose name the kit acts; set server_user to an id "
                "that no actor has"
            )

    def room(self, session_id: str) -> str:
        """See :meth:`MediaBackend.room`: the session's id in lower case, or a name that is derived from it."""
        return derived_room(session_id, _ROOM, self.longest_room)

    def credentials(self, place: Place) -> Mapping[str, Mapping[str, Any]]:
        """See :meth:`MediaBackend.credentials`: ``stream`` has the API key and the type of the call."""
        return {"stream": MappingProxyType({"api_key": self._issuer.id, "call_type": self.call_type})}

    async def open_room(self, place: Place) -> None:
        """See :meth:`MediaBackend.open_room`."""
        await self._service.open_room(place.room)


class StreamFormat(NamedRoleFormat):
    """Mints and verifies call tokens: for one user, one call, and one role."""

    __slots__ = ("_type",)

    room_claim: ClassVar[str] = "call_cids"
    identity_claim: ClassVar[str] = "user_id"
    reserved_claims: ClassVar[frozenset[str]] = frozenset(
        {"user_id", "call_cids", "role", "server", "validity_in_seconds"}
    )

    def __init__(self, backend: Stream, issuer: Issuer, rules: ClaimRules) -> None:
        super().__init__(backend, issuer, rules)
        self._type = backend.call_type + ":"

    @staticmethod
    def shows(claims: Mapping[str, Any]) -> bool:
        """See :meth:`ServiceJWT.shows`."""
        return "call_cids" in claims

    def payload(self, options: TokenOptions) -> str:
        """See :meth:`ServiceJWT.payload`. For equal input the token is that of the SDK for Python, byte by byte."""
        call, role = self._type + options.session_id, self._roles[str(options.role)]
        return (
            f'{{"iat":{options.issued_at - _BEFORE},"call_cids":[{remembered(call)}],"role":{remembered(role)},'
            f'"user_id":{quoted(options.subject or "")},"exp":{options.expires_at}}}'
        )

    def seat(self, claims: Mapping[str, Any]) -> Seat:
        """See :meth:`ServiceJWT.seat`."""
        if "server" in claims:
            raise WrongTokenKind("the token is the app's own key at Stream, and no user's")
        if "call_cids" not in claims:
            raise WrongTokenKind("the token is not for a call: it has no 'call_cids'")
        calls = claims["call_cids"]
        if not isinstance(calls, tuple) or len(calls) != 1 or not isinstance(calls[0], str):
            raise wrong_claim("call_cids", "a list of one call")
        if not calls[0].startswith(self._type):
            raise wrong_claim("call_cids", f"a call of the type {self._type[:-1]!r}")
        room = calls[0].removeprefix(self._type)
        return Seat(room, said(claims, "user_id"), self.capabilities_of(claims.get("role")), *times(claims))


class StreamService:
    """Acts in the calls of one app; a connection is a participant by the id of its user.

    Each call of the API has a credential that is good for a minute.

    :param issuer: the API key with its secret.
    :param api: calls Stream's API.
    :param path: the path of the calls.
    :param room: names the call of a session.
    :param user: the user in whose name it acts.
    :param clock: returns now, in Unix seconds.
    :param emulated: the names of acts that it may do in part.
    """

    def __init__(
        self,
        issuer: Issuer,
        api: ServiceAPI,
        path: str,
        room: Callable[[str], str],
        user: str,
        clock: Callable[[], float],
        emulated: frozenset[str] = frozenset(),
    ) -> None:
        self._emulated = emulated
        self._codec = jws.Codec(issuer)
        self._query = f"?api_key={quote(issuer.id, safe='')}"
        self._api = api
        self._calls = path
        self._room = room
        self._user = user
        self._clock = clock

    async def signal(self, session_id: str, type: str, data: str, connection_id: str | None = None) -> None:
        """Send a custom event with ``type`` and ``data`` to all.

        :raises NoMediaService: for a signal to one connection.
        """
        if connection_id is not None:
            raise NoMediaService(
                "signal: Stream's events are for all in a call, and not for one",
                "the media service sends signals to all in a session, and not to one connection",
            )
        await self._act("event", session_id, {"user_id": self._user, "custom": {"type": type, "data": data}})

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """Kick a user. The same token joins again: to keep somebody out, exclude the actor."""
        await self._act("kick", session_id, {"user_id": connection_id})

    async def disconnect_actor(self, session_id: str, actor_id: str) -> None:
        """Kick the user that an actor is, if it is there."""
        try:
            await self.force_disconnect(session_id, actor_id)
        except NotFoundAtService:
            return

    async def mute_stream(self, session_id: str, stream_id: str) -> None:
        """Mute the audio of a user, by the user's id."""
        await self._mute(session_id, {"user_ids": [stream_id]})

    async def mute_all(self, session_id: str, active: bool = True, excluded_stream_ids: Iterable[str] = ()) -> None:
        """Mute the audio of all who are present, but for these users, if that may stand for all.

        :raises NoMediaService: if it may not, and for ``active=False``: nobody can unmute others.
        """
        if not active:
            raise NoMediaService("mute_all: at Stream nobody unmutes others", "the media service does not unmute")
        if "mute_all" not in self._emulated:
            raise NoMediaService(
                "mute_all: Stream does not mute those to come; accept_emulated={'mute_all'} has it mute those who are "
                "present",
                "the media service does not mute streams to come: mute those that are there, one by one",
            )
        excluded = set(excluded_stream_ids)
        if not excluded:
            await self._mute(session_id, {"mute_all_users": True})
            return
        others = [one["connectionId"] for one in await self.list_connections(session_id)]
        if others := sorted({one for one in others if one not in excluded}):
            await self._mute(session_id, {"user_ids": others})

    async def list_connections(self, session_id: str) -> Connections:
        """The participants; a user who joined twice is there twice."""
        try:
            answer = await self._act("participants", session_id, {})
        except NotFoundAtService:
            return []
        what = "Stream's participants"
        found = answer.listed(what, "participants", "user_session_id")
        users = Answer(200, {"users": [one.get("user") for one in found]}).listed(what, "users", "id")
        return [
            connection(user["id"], one, "user_session_id", "role", "joined_at")
            for one, user in zip(found, users, strict=True)
        ]

    async def end_session(self, session_id: str) -> None:
        """End the call, which disconnects everybody. If there is none, nothing changes."""
        try:
            await self._act("mark_ended", session_id)
        except NotFoundAtService:
            return

    async def open_room(self, room: str) -> None:
        """Open a call. If it is open, nothing changes."""
        await self._send("call", room, {"data": {"created_by_id": self._user}})

    async def _mute(self, session_id: str, who: Mapping[str, Any]) -> None:
        await self._act("mute_users", session_id, {**who, "audio": True, "muted_by_id": self._user})

    async def _act(self, act: str, session_id: str, body: object = None) -> Answer:
        return await self._send(act, f"{self._room(session_id)}/{act}", body)

    async def _send(self, act: str, path: str, body: object) -> Answer:
        headers = {"Authorization": self._credential(), "stream-auth-type": "jwt"}
        what = f"Stream's {act}"
        try:
            answer = await self._api.call(what, "POST", self._calls + path + self._query, headers, body)
        finally:
            del headers  # so that no frame of a traceback holds the credential
        return answer.succeeded(what)

    def _credential(self) -> str:
        now = int(self._clock())
        claims = {"server": True, "iat": now - _BEFORE, "exp": now + _CREDENTIAL_LIFE}
        return self._codec.sign(json.dumps(claims, separators=(",", ":")).encode())
