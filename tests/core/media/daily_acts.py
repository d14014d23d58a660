"""Daily's API: what is asked, and answers as its reference has them."""

from __future__ import annotations

from typing import Any

from rolecall.errors import NotFoundAtService, SignalTooLarge, Unavailable

from .acts import Acted
from .services import SERVICES

HEADERS = {"authorization": f"Bearer {SERVICES['daily'].secret}"}

_PRESENT = {
    "room": "demo",
    "id": "d61cd7b2",
    "userId": "ada",
    "userName": None,
    "mtgSessionId": "16e9701a",
    "joinTime": "2023-01-01T20:53:19.000Z",
    "duration": 2312,
}
_NO_ROOM = (404, {"error": "not-found", "info": "room demo does not exist"})


def _message(data: str, to: str) -> list[Any]:
    return [("POST", "/rooms/ROOM/send-app-message", {"data": {"type": "bell", "data": data}, "recipient": to})]


def _eject(**which: list[str]) -> list[Any]:
    return [("POST", "/rooms/ROOM/eject", which)]


def _joined(kit: Any, session_id: str) -> Any:
    grant = kit.verify_token(kit.generate_token(session_id, "publisher", actor="ada"))
    kit.ticket(grant)
    return kit.ticket(grant).url.removesuffix(session_id)


_OPEN = ("POST", "/rooms", {"name": "ROOM", "privacy": "private"})
_ROOM = ("GET", "/rooms/ROOM", None)
_TAKEN = (400, {"error": "invalid-request-error", "info": "a room named demo already exists"})

ROWS = {
    "signal all": Acted(
        lambda kit, session: kit.signal(session, "bell", "Grüße"), [(200, {"sent": True})], _message("Grüße", "*")
    ),
    "signal one": Acted(
        lambda kit, session: kit.signal(session, "bell", "x", "d61cd7b2"),
        [(200, {"sent": True})],
        _message("x", "d61cd7b2"),
    ),
    "signal too much": Acted(
        lambda kit, session: kit.signal(session, "bell", "x" * 4096), [], [], (SignalTooLarge, "4096 bytes")
    ),
    "disconnect": Acted(
        lambda kit, session: kit.force_disconnect(session, "d61cd7b2"),
        [(200, {"ejectedIds": ["d61cd7b2"]})],
        _eject(ids=["d61cd7b2"]),
    ),
    "disconnect nobody": Acted(
        lambda kit, session: kit.force_disconnect(session, "eve"),
        [(200, {"ejectedIds": []})],
        _eject(ids=["eve"]),
        (NotFoundAtService, "no such connection"),
    ),
    "disconnect at another service": Acted(
        lambda kit, session: kit.force_disconnect(session, "eve"),
        [(200, {})],
        _eject(ids=["eve"]),
        (Unavailable, "not that of the service"),
    ),
    "exclude": Acted(
        lambda kit, session: kit.exclude(session, "ada").disconnected,
        [(200, {"ejectedIds": ["d61cd7b2", "4c8dee53"]})],
        _eject(user_ids=["ada"]),
        True,
    ),
    "exclude nobody": Acted(
        lambda kit, session: kit.exclude(session, "ada").disconnected, [_NO_ROOM], _eject(user_ids=["ada"]), True
    ),
    "list": Acted(
        lambda kit, session: kit.list_connections(session),
        [(200, {"total_count": 1, "data": [_PRESENT]})],
        [("GET", "/rooms/ROOM/presence", None)],
        [
            {
                "connectionId": "d61cd7b2",
                "userId": "ada",
                "userName": None,
                "joinTime": "2023-01-01T20:53:19.000Z",
                "duration": 2312,
            }
        ],
    ),
    "list where nobody ever was": Acted(
        lambda kit, session: kit.list_connections(session), [_NO_ROOM], [("GET", "/rooms/ROOM/presence", None)], []
    ),
    "end": Acted(
        lambda kit, session: kit.end_session(session),
        [(200, {"deleted": True, "name": "demo"})],
        [("DELETE", "/rooms/ROOM", None)],
    ),
    "end what never was": Acted(
        lambda kit, session: kit.end_session(session), [_NO_ROOM], [("DELETE", "/rooms/ROOM", None)]
    ),
    "open once for two tickets": Acted(
        _joined, [(200, {"name": "demo", "privacy": "private"})], [_OPEN], "https://example.daily.co/"
    ),
    "open what is open": Acted(
        _joined, [_TAKEN, (200, {"name": "demo", "privacy": "private"})], [_OPEN, _ROOM], "https://example.daily.co/"
    ),
    "a public room": Acted(
        _joined, [_TAKEN, (200, {"name": "demo", "privacy": "public"})], [_OPEN, _ROOM], (Unavailable, "not private")
    ),
    "a room that is made public": Acted(_joined, [(200, {"name": "demo"})], [_OPEN], (Unavailable, "not private")),
    "a room that cannot be": Acted(_joined, [_TAKEN, _NO_ROOM], [_OPEN, _ROOM], (Unavailable, "status 400")),
}
