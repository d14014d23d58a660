"""Twilio's Rooms API: what is asked, as its SDK was seen to ask, and answers as its reference has them."""

from __future__ import annotations

import base64
from typing import Any

from rolecall.errors import NotFoundAtService, Unavailable

from .acts import Acted
from .services import SERVICES, TWILIO_KEY

_BASIC = base64.b64encode(f"{TWILIO_KEY}:{SERVICES['twilio'].secret}".encode()).decode()
HEADERS = {"authorization": f"Basic {_BASIC}"}

_PARTICIPANT = {
    "sid": "PA1",
    "room_sid": "RM1",
    "account_sid": "AC1",
    "status": "connected",
    "identity": "ada",
    "start_time": "2015-07-30T20:00:00Z",
    "duration": None,
}
_NOT_FOUND = (404, {"code": 20404, "message": "The requested resource was not found", "status": 404})
_LIST = [("GET", "/Rooms/ROOM/Participants?Status=connected&PageSize=1000", None)]
_END = [("POST", "/Rooms/ROOM", {"Status": "completed"})]
_OPEN = ("POST", "/Rooms", {"UniqueName": "ROOM", "Type": "group"})


def _disconnect(which: str) -> list[Any]:
    return [("POST", f"/Rooms/ROOM/Participants/{which}", {"Status": "disconnected"})]


def _opened(*answers: Any, result: Any = None) -> Acted:
    def act(kit: Any, session_id: str) -> None:
        [(backend, _)] = kit._state.media._by_name.values()
        backend.opens_rooms, backend._room_type = True, "group"
        kit.ticket(kit.verify_token(kit.generate_token(session_id, "publisher", actor="ada")))

    return Acted(act, answers, [_OPEN], result)


ROWS = {
    "disconnect": Acted(
        lambda kit, session: kit.force_disconnect(session, "PA1"),
        [(200, {**_PARTICIPANT, "status": "disconnected"})],
        _disconnect("PA1"),
    ),
    "disconnect nobody": Acted(
        lambda kit, session: kit.force_disconnect(session, "PA9"),
        [_NOT_FOUND],
        _disconnect("PA9"),
        (NotFoundAtService, "no such connection"),
    ),
    "exclude": Acted(
        lambda kit, session: kit.exclude(session, "bob@example.org").disconnected,
        [(200, _PARTICIPANT)],
        _disconnect("bob%40example.org"),
        True,
    ),
    "exclude nobody": Acted(
        lambda kit, session: kit.exclude(session, "ada").disconnected, [_NOT_FOUND], _disconnect("ada"), True
    ),
    "list": Acted(
        lambda kit, session: kit.list_connections(session),
        [(200, {"participants": [_PARTICIPANT], "meta": {"page": 0}})],
        _LIST,
        [{"connectionId": "PA1", "identity": "ada", "status": "connected", "start_time": "2015-07-30T20:00:00Z"}],
    ),
    "list in no room": Acted(lambda kit, session: kit.list_connections(session), [_NOT_FOUND], _LIST, []),
    "end": Acted(lambda kit, session: kit.end_session(session), [(200, {"status": "completed"})], _END),
    "end what is over": Acted(lambda kit, session: kit.end_session(session), [_NOT_FOUND], _END),
    "open": _opened((201, {"sid": "RM1", "unique_name": "demo", "status": "in-progress"})),
    "open what is open": _opened((400, {"code": 53113, "message": "Room exists", "status": 400})),
    "open with a wrong name": _opened((400, {"code": 53101, "status": 400}), result=(Unavailable, "status 400")),
}
