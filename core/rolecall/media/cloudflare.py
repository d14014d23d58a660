"""Cloudflare RealtimeKit: meetings that its API makes, and participants with the presets of their roles."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import quote

from ..encoding import jws
from ..errors import (
    ConfigurationError,
    InvalidSessionId,
    MalformedToken,
    NotFoundAtService,
    Unavailable,
)
from ..formats.claims import ClaimRules
from ..formats.inspection import claims_in
from ..moderation import Connections
from ..sessions import SessionProperties
from ..tokens import END_OF_TIME
from .backend import Place, Ticket
from .calls import CALL_TIMEOUT, Answer, ServiceAPI
from .keys import header_text, service_issuer
from .named_roles import NamedRoleBackend
from .turn import Turn

_API: Final = "https://api.cloudflare.com/client/v4"
#: Where the clients of RealtimeKit connect unless they are told otherwise.
_CLIENTS: Final = "https://realtime.cloudflare.com"
_ACCOUNT: Final = re.compile(r"[0-9a-f]{32}")
_APP: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: How many entries are asked for at once, and how often.
_PAGE, _PAGES = 100, 50


class Cloudflare(NamedRoleBackend):
    """An app of Cloudflare RealtimeKit: ``Rolecall(media=Cloudflare(account_id, app_id, api_token, roles=…))``.

    A session is created as a meeting, and has the meeting's id: a kit needs ``session_names="plain"``. A participant's
    ``custom_participant_id`` is the actor's id.

    :param account_id: the id of the account.
    :param app_id: the id of the RealtimeKit app.
    :param api_token: an API token with the permission Realtime.
    :param roles: the preset of each role that is to get tickets; only the app knows what the preset permits.
    :param accept_wider: as for every :class:`~rolecall.media.MediaBackend`.
    :param turn: as for every :class:`~rolecall.media.MediaBackend`.
    :param url: where clients connect; the SDKs know it.
    :param api_url: the URL of the API.
    :param timeout: the time of a call of the API in seconds.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "cloudflare"
    schemes: ClassVar[tuple[str, ...]] = ("https", "http")
    creates_sessions: ClassVar[bool] = True
    needs_plain_names: ClassVar[bool] = True
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "signal": "not done: its API sends no messages",
            "mute_stream": "not done: its API mutes nobody",
            "mute_all": "not done: its API mutes nobody",
            "list_streams": "not done: its API does not tell of streams",
        }
    )

    def __init__(
        self,
        account_id: str,
        app_id: str,
        api_token: str,
        roles: Mapping[str, str],
        *,
        accept_wider: Iterable[str] = (),
        turn: Turn | Mapping[str, Any] | None = None,
        url: str = _CLIENTS,
        api_url: str = _API,
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        try:
            super().__init__(url, roles, accept_wider=accept_wider, turn=turn)
            names, expected = ("account_id", "api_token"), "the id of an account, 32 hexadecimal digits"
            service_issuer(self.name, account_id, api_token, expected=expected, names=names, pattern=_ACCOUNT)
            if not isinstance(app_id, str) or not _APP.fullmatch(app_id):
                raise ConfigurationError("cloudflare: app_id is malformed; expected the id of a RealtimeKit app")
            at = f"/accounts/{account_id}/realtime/kit/{app_id}"
            api = ServiceAPI("Cloudflare", api_url, timeout)
            headers = {"Authorization": f"Bearer {header_text(self.name, 'api_token', api_token)}"}
            self._service = CloudflareService(api, at, headers)
        finally:
            del account_id, app_id, api_token, turn, url, api_url  # so that no frame of a traceback holds them

    @property
    def service(self) -> object:
        """What acts in meetings."""
        return self._service

    def token_format(self, rules: ClaimRules) -> None:
        """None: only Cloudflare makes participants' tokens."""
        return

    async def create_session(self, properties: SessionProperties, api_key: str) -> str:
        """Create a meeting, and return its id."""
        return await self._service.create_meeting()

    def room(self, session_id: str) -> str:
        """The id of the meeting, which is the session's.

        :raises InvalidSessionId: for a session that is no meeting.
        """
        if not _ID.fullmatch(session_id):
            raise InvalidSessionId("the session is no meeting of Cloudflare's: its id is no UUID in lower case")
        return session_id

    async def ask_ticket(self, place: Place) -> Ticket:
        """Add the participant, and return its token.

        :raises RolecallError: one that says why there is none.
        """
        token = await self._service.add(place.room, place.identity, self.roles[str(place.role)])
        return self.made(place, token, expires_at=_end_of(token, place.expires_at))


class CloudflareService:
    """Acts in meetings; a connection is a participant by its ``custom_participant_id``.

    :param api: calls the API.
    :param at: the path of the app.
    :param headers: the headers with the API token.
    """

    def __init__(self, api: ServiceAPI, at: str, headers: Mapping[str, str]) -> None:
        self._api = api
        self._at = at
        self._headers = headers

    async def create_meeting(self) -> str:
        """Create a meeting, and return its id."""
        what = "Cloudflare's creation of a meeting"
        return (await self._call(what, "POST", "/meetings", {})).part("data").text(what, "id", _ID)

    async def add(self, meeting_id: str, identity: str, preset: str) -> str:
        """Add a participant to a meeting, and return its token."""
        what = "Cloudflare's adding of a participant"
        asked = {"custom_participant_id": identity, "preset_name": preset}
        answer = await self._call(what, "POST", f"/meetings/{meeting_id}/participants", asked)
        return answer.part("data").text(what, "token")

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """Kick a participant. Its token is good as before: to keep somebody out, exclude the actor.

        :raises NotFoundAtService: if there is no such participant.
        """
        what = "Cloudflare's kick"
        asked = {"custom_participant_ids": [connection_id], "participant_ids": []}
        answer = await self._call(what, "POST", f"{_meeting(session_id)}/active-session/kick", asked)
        if answer.part("data").objects.get("participants") == []:
            raise NotFoundAtService("the session has no such connection")

    async def disconnect_actor(self, session_id: str, actor_id: str) -> None:
        """Delete the participants that an actor is, whose tokens then let nobody in, and kick whoever is in."""
        try:
            await self._delete_participants(_meeting(session_id), actor_id)
        finally:
            with suppress(NotFoundAtService):
                await self.force_disconnect(session_id, actor_id)

    async def list_connections(self, session_id: str) -> Connections:
        """The participants that have joined and not left."""
        what = "Cloudflare's list of a session"
        try:
            live = await self._call(what, "GET", f"{_meeting(session_id)}/active-session")
        except NotFoundAtService:
            return []
        at = f"/sessions/{live.part('data').text(what, 'id', _ID)}/participants"
        return [
            {
                "connectionId": one["custom_participant_id"],
                **{name: one[name] for name in ("id", "display_name", "joined_at") if one.get(name) is not None},
            }
            async for one in self._listed(what, at, "participants")
            if one.get("left_at") is None
        ]

    async def end_session(self, session_id: str) -> None:
        """Close the meeting, which nobody joins then, and kick everybody."""
        what, at = "Cloudflare's end of a meeting", _meeting(session_id)
        with suppress(NotFoundAtService):
            await self._call(what, "PATCH", at, {"status": "INACTIVE"})
            await self._call(what, "POST", f"{at}/active-session/kick-all")

    async def _delete_participants(self, at: str, actor_id: str) -> None:
        """Delete the participants that an actor is: those of a page before the next is read.

        Each ticket adds one, so the list is as long as an actor wants it to be. What was deleted before the time is
        over stays deleted, and excluding again goes on.
        """
        what, at = "Cloudflare's deletion of a participant", f"{at}/participants"
        deleted: set[str] = set()
        page, before = 1, 0
        while page <= _PAGES:
            rows, total = await self._page(what, at, page)
            theirs = {one["id"] for one in rows if one["custom_participant_id"] == actor_id} - deleted
            for participant in sorted(theirs):
                with suppress(NotFoundAtService):  # another worker has deleted it
                    await self._call(what, "DELETE", f"{at}/{quote(participant, safe='')}")
            if not rows or before + len(rows) >= total:
                return
            deleted |= theirs
            if not theirs:  # else those of the next page have moved to this one
                page, before = page + 1, before + len(rows)
        raise _endless(what)

    async def _listed(self, what: str, at: str, member: str) -> AsyncIterator[dict[str, Any]]:
        """The participants of a list, page by page."""
        seen = 0
        for page in range(1, _PAGES + 1):
            rows, total = await self._page(what, at, page, member)
            for row in rows:
                yield row
            seen += len(rows)
            if not rows or seen >= total:
                return
        raise _endless(what)

    async def _page(self, what: str, at: str, page: int, member: str = "") -> tuple[list[dict[str, Any]], float]:
        """The participants of one page of a list, and how many the whole list has."""
        answer = await self._call(what, "GET", f"{at}?page_no={page}&per_page={_PAGE}")
        inner = answer.part("data") if member else answer
        return inner.listed(what, member or "data", "id", "custom_participant_id"), _total(answer)

    async def _call(self, what: str, method: str, path: str, body: object = None) -> Answer:
        return (await self._api.call(what, method, self._at + path, self._headers, body)).succeeded(what)


def _endless(what: str) -> Unavailable:
    return Unavailable(f"{what}: the list has no end")


def _meeting(session_id: str) -> str:
    """The path of a session's meeting.

    :raises NotFoundAtService: for a session that is none.
    """
    if not _ID.fullmatch(session_id):
        raise NotFoundAtService("the session is no meeting of Cloudflare's")
    return f"/meetings/{session_id}"


def _total(answer: Answer) -> float:
    """How many entries the whole list has; a list that does not say is read until a page is empty."""
    total = answer.part("paging").objects.get("total_count")
    return total if isinstance(total, int | float) else float("inf")


def _end_of(token: str, otherwise: int) -> int:
    """The end of a token's life, if it is a JWT that tells. Nothing is verified: the key is Cloudflare's."""
    try:
        end = claims_in(jws.split(token.encode("utf-8", "replace"))[2]).get("exp")
    except MalformedToken:
        return otherwise
    return end if type(end) is int and 0 < end < END_OF_TIME else otherwise
