"""Rooms, users and access tokens of Azure Communication Services: its API, in JSON."""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import Final
from urllib.parse import quote
from uuid import uuid4

from ...errors import NotFoundAtService, Unavailable
from ..backend import ServiceIds
from ..calls import Answer, ServiceAPI

#: The versions of the API that the calls are of.
_IDENTITY, _ROOMS = "?api-version=2023-10-01", "?api-version=2025-03-13"
_USER: Final = re.compile(r"8:[a-z0-9-]{1,20}:[0-9A-Za-z_-]{1,200}")
_ROOM: Final = re.compile(r"[0-9A-Za-z_-]{1,100}")
#: What a token is good for: to join calls, and not to begin any but those of rooms that its user is in.
_SCOPES: Final = ("voip.join",)
_PATCH: Final = {"Content-Type": "application/merge-patch+json"}
_ENDED: Final = "the room of this session has ended; create another session"


class ACSService:
    """Makes rooms, users and tokens, and takes them back.

    :param api: calls the API, with signatures.
    """

    def __init__(self, api: ServiceAPI) -> None:
        self._api = api

    async def create_room(self) -> str:
        """Create a room, which nobody is invited to, and return its id."""
        what = "ACS's creation of a room"
        headers = {"Repeatability-Request-Id": str(uuid4()), "Repeatability-First-Sent": formatdate(usegmt=True)}
        asked = {"pstnDialOutEnabled": False}
        answer = (await self._api.call(what, "POST", f"/rooms{_ROOMS}", headers, asked)).succeeded(what)
        return answer.text(what, "id", _ROOM)

    async def create_user(self) -> str:
        """Create a user, and return its id."""
        what = "ACS's creation of a user"
        answer = (await self._api.call(what, "POST", f"/identities{_IDENTITY}")).succeeded(what)
        return answer.part("identity").text(what, "id", _USER)

    async def invite(self, ids: ServiceIds, role: str) -> None:
        """Let a user join a room, in a role; whoever is there already has this role from now on."""
        try:
            (await self._set_role(ids, {"role": role})).succeeded("ACS's invitation to a room")
        except NotFoundAtService:
            raise NotFoundAtService(_ENDED) from None

    async def issue_token(self, user: str, minutes: int) -> str:
        """Issue an access token of a user.

        :param minutes: its life: 60 to 1,440.
        """
        what = "ACS's issuing of a token"
        asked = {"scopes": _SCOPES, "expiresInMinutes": minutes}
        path = f"{_path_of(user)}/:issueAccessToken{_IDENTITY}"
        return (await self._api.call(what, "POST", path, body=asked)).succeeded(what).text(what, "token")

    async def disconnect_actor(self, session_id: str, actor_id: str, ids: ServiceIds) -> None:
        """Take an actor out of the room's list, so that it joins no more, and revoke its tokens."""
        if not ids.participant:
            return  # it has never had a ticket
        try:
            if ids.room:
                (await self._set_role(ids, None)).succeeded_or_gone("ACS's removal from a room")
        finally:
            what = "ACS's revocation of tokens"
            path = f"{_path_of(ids.participant)}/:revokeAccessTokens{_IDENTITY}"
            (await self._api.call(what, "POST", path)).succeeded_or_gone(what)

    async def end_session(self, session_id: str, ids: ServiceIds) -> None:
        """Delete the room."""
        if ids.room:
            what = "ACS's deletion of a room"
            path = f"/rooms/{_checked(ids.room, _ROOM)}{_ROOMS}"
            (await self._api.call(what, "DELETE", path)).succeeded_or_gone(what)

    async def _set_role(self, ids: ServiceIds, role: dict[str, str] | None) -> Answer:
        asked = {"participants": {_checked(ids.participant, _USER): role}}
        path = f"/rooms/{_checked(ids.room, _ROOM)}/participants{_ROOMS}"
        return await self._api.call("ACS's change of a room's participants", "PATCH", path, _PATCH, asked)


def _path_of(user: str) -> str:
    return f"/identities/{quote(_checked(user, _USER), safe='')}"  # encoded, as the SDKs sign it


def _checked(found: str, pattern: re.Pattern[str]) -> str:
    """An id for a path, as it was remembered."""
    if not pattern.fullmatch(found):
        raise Unavailable("what the store remembers for acs is no id of the service")
    return found
