"""Meetings and attendees of the Amazon Chime SDK: its API, in JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from ...errors import NotFoundAtService
from ...moderation import Connections, Streams
from ..calls import Answer, ServiceAPI, unreadable

#: The media of an attendee.
MEDIA: Final = ("Audio", "Video", "Content")
_ID: Final = re.compile(r"[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}")
#: What is left of a medium that is not to be sent.
_MUTED: Final = {"SendReceive": "Receive", "Send": "None"}
#: How often a meeting is asked for while another worker creates it, and the seconds between.
_TRIES, _PAUSE = 4, 0.2
#: How many pages with attendees are read: a meeting has 250 at most.
_PAGES, _PAGE = 10, 100


class ChimeService:
    """Acts in meetings; a connection is an attendee by its ``ExternalUserId``, a stream is what an attendee sends.

    :param api: calls the API, with signatures.
    :param media_region: the region of the meetings' media.
    :param room: names the meeting of a session.
    """

    def __init__(self, api: ServiceAPI, media_region: str, room: Callable[[str], str]) -> None:
        self._api = api
        self._media_region = media_region
        self._room = room

    async def meeting(self, room: str) -> dict[str, Any]:
        """The meeting with the idempotency token ``room``; every worker that asks for it gets the same one."""
        from ...driver import event_loops  # not free to import, and many kits never call

        what = "Chime's CreateMeeting"
        asked = {"ClientRequestToken": room, "ExternalMeetingId": room, "MediaRegion": self._media_region}
        for left in reversed(range(_TRIES)):
            answer = await self._api.call(what, "POST", "/meetings", body=asked)
            if answer.status != 409 or not left:  # 409: another worker creates it at this moment
                break
            await event_loops.running().sleep(_PAUSE)
        meeting = _member(what, answer.succeeded(what), "Meeting", "MeetingId")
        placement = meeting.get("MediaPlacement")
        if not isinstance(placement, dict) or not isinstance(placement.get("SignalingUrl"), str):
            raise unreadable(what)
        return meeting

    async def attendee(
        self, meeting: Mapping[str, Any], identity: str, capabilities: Mapping[str, str]
    ) -> dict[str, Any]:
        """Make the attendee of an actor; one that is there already gets these capabilities."""
        what, at = "Chime's CreateAttendee", _path(meeting)
        asked = {"ExternalUserId": identity, "Capabilities": capabilities}
        try:
            answer = (await self._api.call(what, "POST", at, body=asked)).succeeded(what)
        except NotFoundAtService:
            raise NotFoundAtService("the meeting of this session has ended; create another session") from None
        attendee = _member(what, answer, "Attendee", "AttendeeId", "JoinToken")
        if attendee.get("ExternalUserId") != identity:
            raise unreadable(what)
        if attendee.get("Capabilities") != capabilities:
            await self._set_capabilities(at, attendee["AttendeeId"], capabilities)
        return {**attendee, "Capabilities": capabilities}

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """Delete the attendees that an actor is, and with them their join tokens.

        :raises NotFoundAtService: if there is no such attendee.
        """
        at = _path(await self.meeting(self._room(session_id)))
        theirs = [one["AttendeeId"] for one in await self._attendees(at) if one["ExternalUserId"] == connection_id]
        if not theirs:
            raise NotFoundAtService("the session has no such connection")
        for attendee_id in theirs:
            what = "Chime's DeleteAttendee"
            (await self._api.call(what, "DELETE", f"{at}/{attendee_id}")).succeeded_or_gone(what)

    async def disconnect_actor(self, session_id: str, actor_id: str) -> None:
        """Delete the attendees that an actor is, if there are any."""
        try:
            await self.force_disconnect(session_id, actor_id)
        except NotFoundAtService:
            return

    async def mute_stream(self, session_id: str, stream_id: str) -> None:
        """Have an attendee send no sound, until its next ticket.

        :raises NotFoundAtService: if there is no such attendee.
        """
        at = _path(await self.meeting(self._room(session_id)))
        for one in await self._attendees(at):
            if one["AttendeeId"] == stream_id:
                capabilities = _capabilities_of(one)
                audio = _MUTED.get(capabilities["Audio"], capabilities["Audio"])
                await self._set_capabilities(at, stream_id, {**capabilities, "Audio": audio})
                return
        raise NotFoundAtService("the session has no such stream")

    async def list_streams(self, session_id: str) -> Streams:
        """The attendees that may send something; whether they do, Chime does not say."""
        at = _path(await self.meeting(self._room(session_id)))
        streams = []
        for one in await self._attendees(at):
            sends = {medium for medium, value in _capabilities_of(one).items() if value in _MUTED}
            if sends:
                muted = "Audio" not in sends
                streams.append({"id": one["AttendeeId"], "connectionId": one["ExternalUserId"], "muted": muted})
        return streams

    async def list_connections(self, session_id: str) -> Connections:
        """The attendees; whether they have joined, Chime does not say."""
        at = _path(await self.meeting(self._room(session_id)))
        return [
            {"connectionId": one["ExternalUserId"], "attendeeId": one["AttendeeId"]}
            for one in await self._attendees(at)
        ]

    async def end_session(self, session_id: str) -> None:
        """Delete the meeting, which disconnects everybody and deletes all join tokens."""
        what, meeting = "Chime's DeleteMeeting", await self.meeting(self._room(session_id))
        (await self._api.call(what, "DELETE", f"/meetings/{meeting['MeetingId']}")).succeeded_or_gone(what)

    async def _attendees(self, at: str) -> list[dict[str, Any]]:
        what, found, page = "Chime's ListAttendees", [], f"?max-results={_PAGE}"
        for _ in range(_PAGES):
            try:
                answer = (await self._api.call(what, "GET", at + page)).succeeded(what)
            except NotFoundAtService:
                return []  # the meeting has ended
            rows = answer.listed(what, "Attendees", "AttendeeId", "ExternalUserId")
            if not all(_ID.fullmatch(one["AttendeeId"]) for one in rows):
                raise unreadable(what)
            found += rows
            following = answer.objects.get("NextToken")
            if not isinstance(following, str) or not following:
                return found
            page = f"?max-results={_PAGE}&next-token={quote(following, safe='')}"
        raise unreadable(what)

    async def _set_capabilities(self, at: str, attendee_id: str, capabilities: Mapping[str, str]) -> None:
        what = "Chime's UpdateAttendeeCapabilities"
        asked = {"Capabilities": capabilities}
        (await self._api.call(what, "PUT", f"{at}/{attendee_id}/capabilities", body=asked)).succeeded(what)


def _capabilities_of(attendee: Mapping[str, Any]) -> dict[str, str]:
    found = attendee.get("Capabilities")
    if not isinstance(found, dict) or not all(isinstance(found.get(medium), str) for medium in MEDIA):
        raise unreadable("Chime's ListAttendees")
    return {medium: found[medium] for medium in MEDIA}


def _path(meeting: Mapping[str, Any]) -> str:
    return f"/meetings/{meeting['MeetingId']}/attendees"


def _member(what: str, answer: Answer, name: str, *texts: str) -> dict[str, Any]:
    """The object ``name`` of an answer, which has the members ``texts``; the first one is an id for URLs."""
    found = answer.objects.get(name)
    if not isinstance(found, dict) or not all(isinstance(found.get(text), str) for text in texts):
        raise unreadable(what)
    if not _ID.fullmatch(found[texts[0]]):
        raise unreadable(what)
    return found
