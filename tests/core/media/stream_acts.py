"""Stream's API: what is asked, as its SDKs were seen to ask, and answers as its types have them."""

from __future__ import annotations

from typing import Any

from rolecall.errors import NoMediaService, NotFoundAtService, Unavailable

from .acts import Acted

HEADERS = {"stream-auth-type": "jwt"}


def _call(act: str, body: Any = None) -> tuple[str, str, Any]:
    return "POST", f"/api/v2/video/call/default/ROOM{act}?api_key=throwawaykey1", body


def _participant(user: str, session: str) -> dict[str, Any]:
    return {"user_session_id": session, "role": "host", "joined_at": 1700000000, "user": {"id": user, "role": "user"}}


_DONE = (200, {"duration": "1.2ms"})
_NOT_FOUND = (404, {"code": 16, "message": "Can't find call with id default:demo", "StatusCode": 404})
_PRESENT = (200, {"participants": [_participant("ada", "s1"), _participant("ben", "s2")], "total_participants": 2})
_LIST = _call("/participants", {})
_END = _call("/mark_ended")


def _kick(user: str) -> tuple[str, str, Any]:
    return _call("/kick", {"user_id": user})


def _mute(**who: Any) -> tuple[str, str, Any]:
    return _call("/mute_users", {**who, "audio": True, "muted_by_id": "rolecall"})


def _joined(kit: Any, session_id: str) -> Any:
    grant = kit.verify_token(kit.generate_token(session_id, "publisher", actor="ada"))
    kit.ticket(grant)
    return dict(kit.ticket(grant).credentials)


ROWS = {
    "signal all": Acted(
        lambda kit, session: kit.signal(session, "bell", "Grüße"),
        [_DONE],
        [_call("/event", {"user_id": "rolecall", "custom": {"type": "bell", "data": "Grüße"}})],
    ),
    "signal one": Acted(
        lambda kit, session: kit.signal(session, "bell", "x", "ada"), [], [], (NoMediaService, "not for one")
    ),
    "disconnect": Acted(lambda kit, session: kit.force_disconnect(session, "ada"), [_DONE], [_kick("ada")]),
    "disconnect in no call": Acted(
        lambda kit, session: kit.force_disconnect(session, "ada"),
        [_NOT_FOUND],
        [_kick("ada")],
        (NotFoundAtService, "no such connection"),
    ),
    "exclude": Acted(lambda kit, session: kit.exclude(session, "ada").disconnected, [_DONE], [_kick("ada")], True),
    "exclude in no call": Acted(
        lambda kit, session: kit.exclude(session, "ada").disconnected, [_NOT_FOUND], [_kick("ada")], True
    ),
    "mute one": Acted(lambda kit, session: kit.mute_stream(session, "ada"), [_DONE], [_mute(user_ids=["ada"])]),
    "mute all": Acted(lambda kit, session: kit.mute_all(session), [_DONE], [_mute(mute_all_users=True)]),
    "mute all but one": Acted(
        lambda kit, session: kit.mute_all(session, excluded_stream_ids=["ada"]),
        [_PRESENT, _DONE],
        [_LIST, _mute(user_ids=["ben"])],
    ),
    "mute all but all": Acted(
        lambda kit, session: kit.mute_all(session, excluded_stream_ids=["ada", "ben"]), [_PRESENT], [_LIST]
    ),
    "stop to mute": Acted(
        lambda kit, session: kit.mute_all(session, active=False), [], [], (NoMediaService, "nobody unmutes")
    ),
    "list": Acted(
        lambda kit, session: kit.list_connections(session),
        [_PRESENT],
        [_LIST],
        [
            {"connectionId": "ada", "user_session_id": "s1", "role": "host", "joined_at": 1700000000},
            {"connectionId": "ben", "user_session_id": "s2", "role": "host", "joined_at": 1700000000},
        ],
    ),
    "list in no call": Acted(lambda kit, session: kit.list_connections(session), [_NOT_FOUND], [_LIST], []),
    "list of nobody": Acted(
        lambda kit, session: kit.list_connections(session),
        [(200, {"participants": [{"user_session_id": "s1", "user": {}}]})],
        [_LIST],
        (Unavailable, "not that of the service"),
    ),
    "end": Acted(lambda kit, session: kit.end_session(session), [_DONE], [_END]),
    "end what never was": Acted(lambda kit, session: kit.end_session(session), [_NOT_FOUND], [_END]),
    "open once for two tickets": Acted(
        _joined,
        [(201, {"created": True})],
        [_call("", {"data": {"created_by_id": "rolecall"}})],
        {"stream": {"api_key": "throwawaykey1", "call_type": "default"}},
    ),
    "open without a right to": Acted(
        _joined,
        [(403, {"code": 17})],
        [_call("", {"data": {"created_by_id": "rolecall"}})],
        (Unavailable, "refuses the credential"),
    ),
}
