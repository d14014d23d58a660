"""100ms's API: what is asked, as its SDK was seen to ask, and answers as its reference has them."""

from __future__ import annotations

from typing import Any

from rolecall.errors import NotFoundAtService, Unavailable

from .acts import Acted

HEADERS: dict[str, str] = {}

_ID = "650000000000000000000001"
_ROOM = (200, {"id": _ID, "name": "demo", "enabled": True, "template_id": "63188115d11d6db790c73c60"})
_OPEN = ("POST", "/rooms", {"name": "ROOM"})
_NOT_ACTIVE = (404, {"code": 404, "message": "room not active", "details": []})


def _peer(id: str, user: str) -> dict[str, Any]:
    return {"id": id, "name": "John", "user_id": user, "metadata": "", "role": "host", "joined_at": "2023-01-25T12:06"}


_PEERS = (200, {"peers": {"p1": _peer("p1", "ada"), "p2": _peer("p2", "ada"), "p3": _peer("p3", "ben")}})
_REMOVED = (200, {"message": "peer remove request submitted"})


def _call(act: str, body: Any) -> tuple[str, str, Any]:
    return "POST", f"/active-rooms/{_ID}/{act}", body


def _list(query: str = "") -> tuple[str, str, Any]:
    return "GET", f"/active-rooms/{_ID}/peers{query}", None


def _remove(peer: str) -> tuple[str, str, Any]:
    return _call("remove-peers", {"peer_id": peer, "reason": "removed"})


_MESSAGE = {"message": "Grüße", "type": "bell"}
_END = _call("end-room", {"reason": "the session has ended", "lock": True})


def _joined(kit: Any, session_id: str) -> Any:
    grant = kit.verify_token(kit.generate_token(session_id, "publisher", actor="ada"))
    ticket = kit.ticket(grant)
    read = kit._state.media.format("100ms").verify(kit.ticket(grant).token.encode(), kit._state.clock())
    return [ticket.room, read.session_id, read.actor_id]


ROWS = {
    "signal all": Acted(
        lambda kit, session: kit.signal(session, "bell", "Grüße"),
        [_ROOM, (200, {"message": "message sent"})],
        [_OPEN, _call("send-message", _MESSAGE)],
    ),
    "signal one": Acted(
        lambda kit, session: kit.signal(session, "bell", "Grüße", "p1"),
        [_ROOM, (200, {"message": "message sent"})],
        [_OPEN, _call("send-message", {**_MESSAGE, "peer_id": "p1"})],
    ),
    "signal nobody": Acted(
        lambda kit, session: kit.signal(session, "bell", "Grüße"),
        [_ROOM, _NOT_ACTIVE],
        [_OPEN, _call("send-message", _MESSAGE)],
        (NotFoundAtService, "not open"),
    ),
    "disconnect": Acted(
        lambda kit, session: kit.force_disconnect(session, "p1"), [_ROOM, _REMOVED], [_OPEN, _remove("p1")]
    ),
    "disconnect nobody": Acted(
        lambda kit, session: kit.force_disconnect(session, "p9"),
        [_ROOM, _NOT_ACTIVE],
        [_OPEN, _remove("p9")],
        (NotFoundAtService, "no such connection"),
    ),
    "the id is asked for once": Acted(
        lambda kit, session: [kit.force_disconnect(session, peer) for peer in ("p1", "p2")],
        [_ROOM, _REMOVED],
        [_OPEN, _remove("p1"), _remove("p2")],
        [None, None],
    ),
    "exclude": Acted(
        lambda kit, session: kit.exclude(session, "ada").disconnected,
        [_ROOM, _PEERS, _REMOVED, _NOT_ACTIVE],
        [_OPEN, _list("?user_id=ada"), _remove("p1"), _remove("p2")],
        True,
    ),
    "exclude who is not there": Acted(
        lambda kit, session: kit.exclude(session, "a&b").disconnected,
        [_ROOM, (200, {"peers": {}})],
        [_OPEN, _list("?user_id=a%26b")],
        True,
    ),
    "list": Acted(
        lambda kit, session: kit.list_connections(session),
        [_ROOM, (200, {"peers": {"p1": _peer("p1", "ada")}})],
        [_OPEN, _list()],
        [{"connectionId": "p1", "user_id": "ada", "name": "John", "role": "host", "joined_at": "2023-01-25T12:06"}],
    ),
    "list of nobody": Acted(
        lambda kit, session: kit.list_connections(session), [_ROOM, _NOT_ACTIVE], [_OPEN, _list()], []
    ),
    "list of something else": Acted(
        lambda kit, session: kit.list_connections(session),
        [_ROOM, (200, {"peers": []})],
        [_OPEN, _list()],
        (Unavailable, "not that of the service"),
    ),
    "end": Acted(lambda kit, session: kit.end_session(session), [_ROOM, (200, {"message": "ending"})], [_OPEN, _END]),
    "end where nobody is": Acted(lambda kit, session: kit.end_session(session), [_ROOM, _NOT_ACTIVE], [_OPEN, _END]),
    "a ticket has the id of the room": Acted(_joined, [_ROOM], [_OPEN], [_ID, _ID, "ada"]),
    "a room without an id": Acted(_joined, [(200, {})], [_OPEN], (Unavailable, "not that of the service")),
    "a room with an id for another path": Acted(
        _joined, [(200, {"id": "../rooms"})], [_OPEN], (Unavailable, "not that of the service")
    ),
}
