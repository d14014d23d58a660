"""Acts in the rooms of a Janus server: requests to its plugin VideoRoom, over the Admin API."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ...errors import NoMediaService, NotFoundAtService, Unavailable
from ...keys.issuers import Issuer
from ...moderation import Connections
from ..calls import NOT_THERE, Answer, ServiceAPI, connection
from ..rooms import DERIVED, derived_room
from .tokens import PLUGIN

#: The plugin's codes of errors.
_NO_ROOM, _EXISTS, _NOBODY, _WRONG_TYPE, _REFUSED = 426, 427, 428, 430, 433
#: The ids of participants that stand for themselves in the kit; a client chooses its own, of any characters.
_PLAIN: Final = re.compile(r"[0-9A-Za-z@._~-]+")
_LONGEST_ID: Final = 200
#: What a room is besides what an app says of it: private, so that no list has it; and whoever joins has its token.
_ROOM: Final[Mapping[str, Any]] = {
    "permanent": False,
    "is_private": True,
    "signed_tokens": True,
    "require_pvtid": True,
}
#: The members of the request that are no options of an app's.
KEPT: Final = frozenset({*_ROOM, "request", "room", "admin_key", "secret", "pin", "allowed"})


class JanusService:
    """Acts in the rooms of one server; a connection is a participant of VideoRoom, a stream ``<participant>:<mid>``.

    Each room has a secret of its own, derived from the secret of the tokens, so that nothing is stored.

    :param issuer: the secret of the tokens, and former ones.
    :param api: calls the Admin API; an act takes two calls at most, unless the secret was changed.
    :param admin_secret: the server's ``admin_secret``.
    :param admin_key: the plugin's ``admin_key``.
    :param options: the options of rooms.
    :param room: names the room of a session.
    """

    def __init__(
        self,
        issuer: Issuer,
        api: ServiceAPI,
        admin_secret: str,
        admin_key: str,
        options: Mapping[str, Any],
        room: Callable[[str], str],
    ) -> None:
        self._issuer = issuer
        self._api = api
        self._admin_secret = admin_secret
        self._admin_key = admin_key
        self._options = options
        self._room = room

    async def open(self, room: str) -> None:
        """Open a room. One that is open already is the kit's own if it has its secret.

        :raises Unavailable: if another has opened it.
        """
        sent = {**self._options, **_ROOM, "admin_key": self._admin_key, "secret": self._secrets(room)[0]}
        try:
            answer = await self._ask("create", room, sent)
        finally:
            del sent
        if answer.get("error_code") == _EXISTS:
            await self._act("edit", room)  # which changes nothing, and needs the secret
        else:
            _judged("create", answer)

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """Remove a participant. The same token joins again: to keep somebody out, exclude the actor.

        :raises NotFoundAtService: if there is no such participant.
        """
        room = self._room(session_id)
        await self._act("kick", room, id=await self._participant(room, connection_id))

    async def mute_stream(self, session_id: str, stream_id: str) -> None:
        """Mute a stream, for which its publisher's client names its participant and its mid: ``<participant>:<mid>``.

        :raises NotFoundAtService: if there is no such stream.
        """
        room = self._room(session_id)
        connection_id, _, mid = stream_id.rpartition(":")
        await self._act("moderate", room, id=await self._participant(room, connection_id), mid=mid, mute=True)

    async def list_connections(self, session_id: str) -> Connections:
        """The participants; ``display`` is what each of them says of itself."""
        return [
            connection(_shown(one["id"]), one, "display", "publisher", "talking")
            for one in await self._participants(self._room(session_id))
        ]

    async def end_session(self, session_id: str) -> None:
        """Destroy the room, which disconnects everybody. If there is none, nothing changes."""
        try:
            await self._act("destroy", self._room(session_id))
        except NotFoundAtService:
            return

    async def _participant(self, room: str, connection_id: str) -> str:
        """The id of a participant at the server."""
        if not connection_id.startswith(DERIVED):
            return connection_id
        for one in await self._participants(room):
            if _shown(one["id"]) == connection_id:
                return str(one["id"])
        raise NotFoundAtService("the session has no such connection")

    async def _participants(self, room: str) -> list[dict[str, Any]]:
        try:
            answer = _judged("listparticipants", await self._ask("listparticipants", room, {}))
        except NotFoundAtService:  # nobody has come yet
            return []
        return Answer(200, answer).listed("Janus's listparticipants", "participants", "id")

    async def _act(self, request: str, room: str, **arguments: Any) -> None:
        """Do what needs the room's secret."""
        answer: dict[str, Any] = {}
        for secret in self._secrets(room):
            try:
                answer = await self._ask(request, room, {**arguments, "secret": secret})
            finally:
                del secret
            if answer.get("error_code") != _REFUSED:
                break
        _judged(request, answer)

    def _secrets(self, room: str) -> list[str]:
        """The secret of a room; and those that it has if it was opened before the secret of the tokens was changed."""
        return [key.sign(room.encode()).hex() for key in self._issuer.ring.derived("janus room")]

    async def _ask(self, request: str, room: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the plugin, and return its answer, an error of its own included.

        :raises RolecallError: one that says why there is none.
        """
        what = f"Janus's {request}"
        body = {
            "janus": "message_plugin",
            "transaction": os.urandom(8).hex(),
            "admin_secret": self._admin_secret,
            "plugin": PLUGIN,
            "request": {**arguments, "request": request, "room": room},
        }
        try:
            answer = await self._api.call(what, "POST", "", {}, body)
        finally:
            del body, arguments  # so that no frame of a traceback holds a secret
        read = answer.succeeded(what).objects
        error, response = read.get("error"), read.get("response")
        if isinstance(error, dict) and error.get("code") == 403:
            raise Unavailable(f"{what}: the server refuses the admin_secret")
        if read.get("janus") != "success" or not isinstance(response, dict):
            raise Unavailable(f"{what}: the server did not pass it to its plugin VideoRoom; look at admin_url")
        return response


def _judged(request: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request if it is a success; nothing of another stands in the error."""
    code = answer.get("error_code")
    if code is None:
        return answer
    if code in (_NO_ROOM, _NOBODY):
        raise NotFoundAtService(NOT_THERE)
    if code == _REFUSED:
        raise Unavailable(
            f"Janus's {request}: the server refuses the admin_key, or the room was opened by somebody else"
        )
    if code == _WRONG_TYPE:
        raise NoMediaService(
            f"Janus's {request}: the plugin has numbers for ids; set string_ids = true in janus.plugin.videoroom.jcfg"
        )
    told = f"the error {code}" if type(code) is int else "an error that has no number"
    raise Unavailable(f"Janus's {request}: the plugin answered with {told}")


def _shown(participant: str) -> str:
    """The id of a connection: the participant's, if it can be one."""
    return derived_room(participant, _PLAIN, _LONGEST_ID)
