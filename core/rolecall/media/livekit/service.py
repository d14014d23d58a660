"""Acts in the rooms of a LiveKit server: its room service, over Twirp with JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ...encoding import jws
from ...errors import NoMediaService, NotFoundAtService, Unavailable
from ...keys.issuers import Issuer
from ...moderation import Connections, Streams
from ...roles import Role
from ..calls import NOT_THERE, Answer, ServiceAPI, connection
from .tokens import USUAL

#: The life of the credential of one call, in seconds.
CREDENTIAL_LIFE: Final = 60
_PATH: Final = "/twirp/livekit.RoomService/"
#: Twirp's codes of what is not there, and of what a server is not configured to do.
_NOT_FOUND: Final = "not_found"
_NOT_DONE: Final = ("failed_precondition", "unimplemented", "bad_route")


class LiveKitService:
    """Acts in the rooms of one server; a connection is a participant by its identity, a stream a track by its sid.

    Each call has its own connection, and a credential for the one room that is good for a minute. No error has a part
    of the server's answer: its 401 repeats the whole credential.

    :param issuer: the API key with its secret.
    :param api: calls the server's API; an act takes two calls at most.
    :param room: names the room of a session.
    :param clock: returns now, in Unix seconds.
    :param emulated: the names of acts that it may do in part.
    """

    def __init__(
        self,
        issuer: Issuer,
        api: ServiceAPI,
        room: Callable[[str], str],
        clock: Callable[[], float],
        emulated: frozenset[str] = frozenset(),
    ) -> None:
        self._api_key = issuer.id
        self._codec = jws.Codec(issuer)
        self._api = api
        self._room = room
        self._clock = clock
        self._emulated = emulated

    async def signal(self, session_id: str, type: str, data: str, connection_id: str | None = None) -> None:
        """Send data with the topic ``type`` to one participant, or to all.

        :raises NotFoundAtService: if nobody is there, or not that participant: the server itself says nothing then.
        """
        room = self._room(session_id)
        present = [one["identity"] for one in await self._participants(room)]
        if not present:
            raise NotFoundAtService("nobody is in the session")
        if connection_id is not None and connection_id not in present:
            raise NotFoundAtService("the session has no such connection")
        sent: dict[str, Any] = {
            "room": room,
            "data": base64.b64encode(data.encode()).decode(),
            "kind": "RELIABLE",
            "topic": type,
        }
        if connection_id is not None:
            sent["destinationIdentities"] = [connection_id]
        await self._call("SendData", room, sent)

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """Remove a participant. The same token joins again: to keep somebody out, exclude the actor.

        :raises NotFoundAtService: if there is no such participant.
        """
        room = self._room(session_id)
        await self._call("RemoveParticipant", room, {"room": room, "identity": connection_id})

    async def disconnect_actor(self, session_id: str, actor_id: str) -> None:
        """Remove the participant that an actor is, if it is there."""
        try:
            await self.force_disconnect(session_id, actor_id)
        except NotFoundAtService:
            return

    async def mute_stream(self, session_id: str, stream_id: str) -> None:
        """Mute a track.

        :raises NotFoundAtService: if there is no such track.
        """
        room = self._room(session_id)
        for participant in await self._participants(room):
            if any(track["sid"] == stream_id for track in participant["tracks"]):
                await self._mute(room, participant["identity"], stream_id)
                return
        raise NotFoundAtService("the session has no such stream")

    async def mute_all(self, session_id: str, active: bool = True, excluded_stream_ids: Iterable[str] = ()) -> None:
        """Mute the audio tracks that are there, one by one, if that may stand for all: LiveKit mutes none to come.

        One that fails does not keep the others from being muted.

        :raises NoMediaService: if it may not, and for ``active=False``: LiveKit lets no other unmute a track.
        """
        if not active:
            raise NoMediaService("mute_all: LiveKit lets nobody unmute others", "the media service does not unmute")
        if "mute_all" not in self._emulated:
            raise NoMediaService(
                "mute_all: LiveKit does not mute streams to come; mute each of list_streams, or set "
                "accept_emulated={'mute_all'}, which mutes those that are there",
                "the media service does not mute streams to come: mute those that are there, one by one",
            )
        room, failed = self._room(session_id), None
        for participant in await self._participants(room):
            for track in participant["tracks"]:
                if not _is_loud(track) or track["sid"] in excluded_stream_ids:
                    continue
                try:
                    await self._mute(room, participant["identity"], track["sid"])
                except NotFoundAtService:
                    continue  # it has ended meanwhile
                except Unavailable as error:
                    failed = error
        if failed is not None:
            raise failed

    async def _mute(self, room: str, identity: str, sid: str) -> None:
        muted = {"room": room, "identity": identity, "trackSid": sid, "muted": True}
        await self._call("MutePublishedTrack", room, muted)

    async def change_role(self, session_id: str, actor_id: str, role: Role) -> None:
        """Give a participant the grants that a ticket of this role has, in place of those that it has.

        :raises NotFoundAtService: if there is no such participant.
        """
        room = self._room(session_id)
        permission = {name: capability in role.capabilities for name, capability in USUAL.items()}
        await self._call("UpdateParticipant", room, {"room": room, "identity": actor_id, "permission": permission})

    async def list_streams(self, session_id: str) -> Streams:
        """The tracks, each with its participant as ``connectionId``."""
        return [
            {
                "id": track["sid"],
                "connectionId": participant["identity"],
                **{name: track[name] for name in ("name", "type", "source") if name in track},
                "muted": track.get("muted", False),
            }
            for participant in await self._participants(self._room(session_id))
            for track in participant["tracks"]
        ]

    async def list_connections(self, session_id: str) -> Connections:
        """The participants, hidden ones included."""
        return [
            connection(participant["identity"], participant, "sid", "name", "state", "joinedAt")
            for participant in await self._participants(self._room(session_id))
        ]

    async def end_session(self, session_id: str) -> None:
        """Delete the room, which disconnects everybody. If there is none, nothing changes."""
        room = self._room(session_id)
        try:
            # The grant for it reaches beyond the room; LiveKit has none that does not.
            await self._send("DeleteRoom", {"roomCreate": True}, {"room": room})
        except NotFoundAtService:
            return

    async def _participants(self, room: str) -> list[dict[str, Any]]:
        answer = await self._call("ListParticipants", room, {"room": room})
        participants = answer.get("participants", [])
        try:
            return [{**one, "tracks": [_with_text(track, "sid") for track in _tracks(one)]} for one in participants]
        except (TypeError, ValueError):
            raise _unreadable() from None

    async def _call(self, method: str, room: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._send(method, {"roomAdmin": True, "room": room}, body)

    async def _send(self, method: str, grants: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
        """Call a method of the room service, and return its answer.

        :raises RolecallError: one that says why there is none.
        """
        what = f"LiveKit's {method}"
        headers = {"Authorization": f"Bearer {self._credential(grants)}"}
        try:
            answer = await self._api.call(what, "POST", _PATH + method, headers, body)
        finally:
            del headers  # so that no frame of a traceback holds the credential
        return _judged(what, answer)

    def _credential(self, grants: Mapping[str, Any]) -> str:
        now = int(self._clock())
        claims = {"video": {**grants}, "iss": self._api_key, "nbf": now, "exp": now + CREDENTIAL_LIFE}
        return self._codec.sign(json.dumps(claims, separators=(",", ":")).encode())


def _judged(what: str, answer: Answer) -> dict[str, Any]:
    """The answer of a method; nothing of it stands in an error."""
    status, read = answer
    if status == 200:
        if not isinstance(read, dict):
            raise _unreadable()
        return read
    code = answer.objects.get("code")
    if status == 404 and code == _NOT_FOUND:
        raise NotFoundAtService(NOT_THERE)
    if status in (401, 403):
        raise Unavailable(f"{what}: the server refuses the API key and secret, or this server's clock")
    if code in _NOT_DONE:
        raise NoMediaService(f"{what}: the server is not configured to do it", "the media service does not do this")
    raise Unavailable(f"{what}: the server answered with the status {status}")


def _tracks(participant: object) -> list[Any]:
    tracks = _with_text(participant, "identity").get("tracks", [])
    if not isinstance(tracks, list):
        raise ValueError
    return tracks


def _is_loud(track: Mapping[str, Any]) -> bool:
    # The server leaves out what has its default: AUDIO, and false.
    return track.get("type", "AUDIO") == "AUDIO" and not track.get("muted", False)


def _with_text(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get(name), str):
        raise ValueError
    return value


def _unreadable() -> Unavailable:
    return Unavailable("the answer is not that of a LiveKit server; look at its URL")
