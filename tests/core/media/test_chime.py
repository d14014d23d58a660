"""Amazon Chime: what it is asked for, and what becomes of its answers. The API is a stand-in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from rolecall import Allow, Grant, Rolecall, hookimpl
from rolecall.errors import (
    ConfigurationError,
    NoIdentity,
    NoMediaService,
    NotFoundAtService,
    RevokedToken,
    RolecallError,
    RoleNotHeld,
    Unavailable,
)
from rolecall.media import Chime

from ...tracebacks import held_by
from ...untyped import untyped
from ...waiting import PATIENCE
from .chime_server import KEY, REGION, SECRET, TOKEN, ChimeServer
from .stand_in import Asked

pytestmark = pytest.mark.each_choice
WIDER = frozenset({"subscriber", "publisheronly"})


@pytest.fixture
def server() -> Iterator[ChimeServer]:
    server = ChimeServer()
    yield server
    server.stop()


def made(make_kit: Any, server: ChimeServer, **options: Any) -> Rolecall:
    """A kit with that server, which has all the time that a busy machine takes."""
    settings = {"access_key_id": KEY, "secret_access_key": SECRET, "accept_wider": WIDER, "timeout": PATIENCE}
    settings = {"region": REGION, "api_url": server.url, **settings, **options}
    plugins = settings.pop("plugins", [])
    store = {"store": settings.pop("store")} if "store" in settings else {}
    return make_kit(
        media="chime", media_config={"chime": settings}, hook_timeout=4 * PATIENCE, plugins=plugins, **store
    )


@pytest.fixture
def kit(make_kit, server) -> Rolecall:
    return made(make_kit, server)


def granted(kit: Rolecall, session: Any, role: Any = "publisher", actor: str = "ada") -> Grant:
    return kit.verify_token(kit.generate_token(session, role, actor=actor))


def test_a_ticket_is_a_join_token_with_what_a_client_of_chime_joins_with(kit, server, clock):
    session = kit.create_session()
    ticket = kit.ticket(granted(kit, session))
    [meeting] = server.meetings.values()
    [attendee] = server.attendees[meeting["MeetingId"]].values()
    assert ticket.token == attendee["JoinToken"]
    assert (ticket.room, ticket.session_id, ticket.identity) == (meeting["MeetingId"], session.session_id, "ada")
    assert ticket.url == meeting["MediaPlacement"]["SignalingUrl"]
    assert ticket.expires_at == int(clock()) + 86_400
    shown = {name: meeting[name] for name in ("MeetingId", "ExternalMeetingId", "MediaRegion", "MediaPlacement")}
    assert ticket.credentials == {"meeting": shown, "attendee": attendee}
    assert "123456789012" not in str(ticket.as_dict())  # the account
    assert attendee["JoinToken"] not in repr(ticket)


CAPABILITIES = {
    "subscriber": "Receive",
    "publisheronly": "Send",
    "publisher": "SendReceive",
    "moderator": "SendReceive",
}


@pytest.mark.parametrize("role", CAPABILITIES)
def test_an_attendee_has_the_capabilities_of_the_role(kit, server, role):
    ticket = kit.ticket(granted(kit, kit.create_session(), role))
    assert server.present(ticket.room) == {"ada": [CAPABILITIES[role]] * 3}
    assert ticket.credentials["attendee"]["Capabilities"] == dict.fromkeys(
        ("Audio", "Video", "Content"), CAPABILITIES[role]
    )


@pytest.mark.parametrize("role", sorted(WIDER))
def test_a_role_that_may_not_send_signals_is_refused_unless_the_app_takes_that(make_kit, server, role):
    kit = made(make_kit, server, accept_wider=())
    with pytest.raises(RoleNotHeld, match="would grant signal, too"):
        kit.ticket(granted(kit, kit.create_session(), role))
    assert server.asked == []


def test_what_a_policy_has_left_of_a_grant_is_all_that_the_attendee_gets(make_kit, server):
    class Listeners:
        @hookimpl
        def rolecall_vote_token(self, request: Any) -> Allow:
            return Allow(capabilities=["connect", "subscribe", "signal"])

    kit = made(make_kit, server, plugins=[Listeners()])
    ticket = kit.ticket(granted(kit, kit.create_session()))
    assert server.present(ticket.room) == {"ada": ["Receive"] * 3}


def test_every_worker_finds_the_same_meeting(make_kit, server, tmp_path):
    store = f"sqlite:///{tmp_path}/sessions.db"
    workers = [made(make_kit, server, store=store) for _ in range(2)]
    session = workers[0].create_session()
    tickets = [one.ticket(granted(one, session, actor=f"actor {n}")) for n, one in enumerate(workers)]
    assert len({ticket.room for ticket in tickets}) == 1
    other = workers[1].ticket(granted(workers[1], workers[1].create_session()))
    assert other.room != tickets[0].room


def test_a_name_that_chime_takes_is_the_meetings_and_any_other_is_derived(make_kit, server):
    class Names:
        @hookimpl
        def rolecall_create_session(self, request: Any) -> str:
            return names.pop()

    names = ["Physics", "physik", "физика"]
    settings = {"region": REGION, "access_key_id": KEY, "secret_access_key": SECRET, "api_url": server.url}
    kit = make_kit(
        media="chime", media_config={"chime": settings}, hook_timeout=PATIENCE, session_names="plain", plugins=[Names()]
    )
    for _ in range(3):
        kit.ticket(granted(kit, kit.create_session()))
    derived, plain, also_derived = server.meetings
    assert plain == "physik"
    assert {one[:3] for one in (derived, also_derived)} == {"rc-"}


def test_another_ticket_is_for_the_same_attendee_with_the_capabilities_of_now(kit, server):
    session = kit.create_session()
    first = kit.ticket(granted(kit, session, "publisher"))
    second = kit.ticket(granted(kit, session, "subscriber"))
    assert first.token == second.token
    assert server.present(first.room) == {"ada": ["Receive"] * 3}
    assert second.credentials["attendee"]["Capabilities"]["Audio"] == "Receive"


def test_no_ticket_has_more_than_its_grant_though_the_service_does_not_take_capabilities_back(kit, server):
    session = kit.create_session()
    kit.ticket(granted(kit, session, "publisher"))
    server.instead = lambda call: (503, b"") if call.method == "PUT" else None
    with pytest.raises(Unavailable, match="UpdateAttendeeCapabilities"):
        kit.ticket(granted(kit, session, "subscriber"))


def test_a_meeting_that_another_worker_creates_at_this_moment_is_asked_for_again(kit, server):
    conflicts = iter([(409, {"Code": "Conflict"})] * 2)
    server.instead = lambda call: next(conflicts, None)
    assert kit.ticket(granted(kit, kit.create_session())).token
    assert [asked.path for asked in server.asked[:3]] == ["/meetings"] * 3


def test_a_meeting_that_stays_in_conflict_gives_no_ticket(kit, server):
    server.instead = lambda call: (409, {"Code": "Conflict"})
    with pytest.raises(Unavailable, match="status 409"):
        kit.ticket(granted(kit, kit.create_session()))
    assert len(server.asked) == 4


def test_a_session_whose_meeting_has_ended_gives_no_ticket(kit, server):
    server.instead = lambda call: (404, b"") if call.path.endswith("/attendees") else None
    with pytest.raises(NotFoundAtService, match="the meeting of this session has ended; create another session"):
        kit.ticket(granted(kit, kit.create_session()))


def test_nobody_is_in_a_meeting_that_has_ended(kit, server):
    server.instead = lambda call: (404, b"") if "/attendees" in call.path else None
    session = kit.create_session()
    assert kit.list_connections(session) == kit.list_streams(session) == []
    with pytest.raises(NotFoundAtService, match="no such connection"):
        kit.force_disconnect(session, "ada")
    with pytest.raises(NotFoundAtService, match="no such stream"):
        kit.mute_stream(session, "S")


@pytest.mark.parametrize("actor", ["a", "aws:ada", "AWS:ada", "雪雪", "x" * 65, "a;b"])
def test_an_actor_whose_id_chime_does_not_take_gets_no_ticket(kit, server, actor):
    with pytest.raises(NoIdentity):
        kit.ticket(granted(kit, kit.create_session(), actor=actor))
    assert server.asked == []


@pytest.mark.parametrize("actor", ["Zoë", "auth0|123", "bob@example.org", "x" * 64])
def test_ids_of_actors_are_those_of_attendees(kit, server, actor):
    ticket = kit.ticket(granted(kit, kit.create_session(), actor=actor))
    assert [*server.present(ticket.room)] == [actor]


# -- credentials -----------------------------------------------------------------------------------


def test_calls_with_a_foreign_secret_are_refused_and_told_nobody(make_kit, server):
    kit = made(make_kit, server, secret_access_key="another" + SECRET)
    with pytest.raises(Unavailable, match="refuses the credential") as refused:
        kit.ticket(granted(kit, kit.create_session()))
    told: BaseException | None = refused.value
    while told is not None:
        assert server.asked[0].headers["authorization"] not in str(told)
        assert SECRET not in str(told)
        told = told.__cause__ or told.__context__


def test_temporary_credentials_sign_with_their_session_token(make_kit):
    server = ChimeServer(TOKEN)
    try:
        kit, other = made(make_kit, server, session_token=TOKEN), made(make_kit, server)
        assert kit.ticket(granted(kit, kit.create_session())).token
        grant = granted(other, other.create_session())
        with pytest.raises(Unavailable, match="refuses the credential"):
            other.ticket(grant)
    finally:
        server.stop()


@pytest.mark.parametrize("is_async", [False, True])
def test_without_a_key_botocore_finds_what_every_sdk_of_aws_finds(make_kit, server, monkeypatch, tmp_path, is_async):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    kit = made(make_kit, server, access_key_id=None, secret_access_key=None)
    grant = granted(kit, kit.create_session())
    ticket = asyncio.run(kit.aio.ticket(grant)) if is_async else kit.ticket(grant)
    assert ticket.token.startswith("join-")


def test_where_there_are_no_credentials_there_is_no_ticket(make_kit, server, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    kit = made(make_kit, server, access_key_id=None, secret_access_key=None)
    with pytest.raises(Unavailable, match="botocore finds no AWS credentials"):
        kit.ticket(granted(kit, kit.create_session()))
    assert server.asked == []


# -- acts ------------------------------------------------------------------------------------------


@pytest.fixture
def session_id(kit, server) -> str:
    """A session with two attendees that may send, and one that may not."""
    session_id = kit.create_session().session_id
    for actor, role in (("ada", "publisher"), ("Zoë", "publisheronly"), ("ben", "subscriber")):
        kit.ticket(granted(kit, session_id, role, actor))
    server.asked.clear()
    return session_id


def _meeting(server: ChimeServer) -> str:
    [meeting] = server.meetings.values()
    return str(meeting["MeetingId"])


def test_connections_are_attendees_and_streams_are_those_that_may_send(kit, server, session_id):
    ids = {one["ExternalUserId"]: name for name, one in server.attendees[_meeting(server)].items()}
    assert kit.list_connections(session_id) == [
        {"connectionId": name, "attendeeId": ids[name]} for name in ("ada", "Zoë", "ben")
    ]
    assert kit.list_streams(session_id) == [
        {"id": ids[name], "connectionId": name, "muted": False} for name in ("ada", "Zoë")
    ]


def test_attendees_are_listed_page_by_page(kit, server, session_id):
    server.page = 2
    assert [one["connectionId"] for one in kit.list_connections(session_id)] == ["ada", "Zoë", "ben"]
    assert server.asked[-1].path.endswith("/attendees?max-results=100&next-token=2%2F%3D")


def test_a_list_without_an_end_is_no_list(kit, server, session_id):
    server.instead = lambda call: (200, {"Attendees": [], "NextToken": "x"}) if call.method == "GET" else None
    with pytest.raises(Unavailable, match="not that of the service"):
        kit.list_connections(session_id)
    assert len(server.asked) == 11


def test_an_attendee_is_deleted_with_its_join_token(kit, server, session_id):
    kit.force_disconnect(session_id, "Zoë")
    assert [*server.present(_meeting(server))] == ["ada", "ben"]
    with pytest.raises(NotFoundAtService, match="no such connection"):
        kit.force_disconnect(session_id, "Zoë")


def test_an_attendee_that_another_worker_has_deleted_is_gone(kit, server, session_id):
    server.instead = lambda call: (404, b"") if call.method == "DELETE" else None
    kit.force_disconnect(session_id, "Zoë")


@pytest.mark.parametrize(("actor", "left"), [("ada", "Receive"), ("Zoë", "None")])
def test_a_mute_takes_sound_alone(kit, server, session_id, actor, left):
    before = server.present(_meeting(server))
    [stream] = [one for one in kit.list_streams(session_id) if one["connectionId"] == actor]
    kit.mute_stream(session_id, stream["id"])
    kit.mute_stream(session_id, stream["id"])
    assert server.present(_meeting(server)) == {**before, actor: [left, *before[actor][1:]]}
    assert [one["muted"] for one in kit.list_streams(session_id) if one["connectionId"] == actor] == [True]


def test_a_stream_that_is_not_there_is_not_muted(kit, session_id):
    with pytest.raises(NotFoundAtService, match="no such stream"):
        kit.mute_stream(session_id, "ada")


def test_that_it_cannot_mute_all_is_said(kit, server, session_id):
    with pytest.raises(NoMediaService, match="mute_all is not done at chime: it sets the capabilities of all"):
        kit.mute_all(session_id)
    with pytest.raises(NoMediaService, match="signal is not done at chime: its API sends no messages"):
        kit.signal(session_id, "bell")
    assert server.asked == []


def test_who_is_excluded_has_no_join_token_and_gets_no_other(kit, server, session_id):
    grant = granted(kit, session_id)
    assert kit.exclude(session_id, "ada").disconnected
    assert [*server.present(_meeting(server))] == ["Zoë", "ben"]
    with pytest.raises(RevokedToken):
        kit.ticket(grant)
    assert kit.exclude(session_id, "somebody who is not there").disconnected


def test_the_meeting_of_a_session_that_ends_is_deleted(kit, server, session_id):
    kit.end_session(session_id)
    assert server.meetings == {}


# -- what the service may answer -------------------------------------------------------------------

_UNREADABLE = (Unavailable, "not that of the service")
_ID = "01234567-89ab-cdef-0123-456789abcdef"
_PLACED = {"MeetingId": _ID, "MediaPlacement": {"SignalingUrl": "wss://signal.example"}, "SECRET": "SECRET"}
ANSWERS: dict[str, tuple[str, Any, tuple[type[RolecallError], str]]] = {
    "forbidden": ("meeting", (403, {"Message": "SECRET"}), (Unavailable, "refuses the credential")),
    "throttled": ("meeting", (429, {"Message": "SECRET"}), (Unavailable, "status 429")),
    "broken": ("meeting", (500, b"SECRET"), (Unavailable, "status 500")),
    "no JSON": ("meeting", (201, b"SECRET"), _UNREADABLE),
    "no meeting": ("meeting", (201, {"SECRET": 1}), _UNREADABLE),
    "an id that is none": ("meeting", (201, {"Meeting": {**_PLACED, "MeetingId": "../SECRET"}}), _UNREADABLE),
    "no place": ("meeting", (201, {"Meeting": {**_PLACED, "MediaPlacement": None}}), _UNREADABLE),
    "too many attendees": ("attendee", (400, {"Code": "LimitExceeded"}), (Unavailable, "status 400")),
    "no attendee": ("attendee", (201, {"Attendee": "SECRET"}), _UNREADABLE),
    "no token": ("attendee", (201, {"Attendee": {"AttendeeId": _ID, "ExternalUserId": "ada"}}), _UNREADABLE),
    "somebody else": (
        "attendee",
        (201, {"Attendee": {"AttendeeId": _ID, "ExternalUserId": "SECRET", "JoinToken": "SECRET"}}),
        _UNREADABLE,
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_no_success_is_an_error_without_a_word_of_it(kit, server, name):
    of, answer, (error, message) = ANSWERS[name]

    def instead(call: Asked) -> Any:
        return answer if call.path.endswith("/attendees") == (of == "attendee") else None

    server.instead = instead
    with pytest.raises(error, match=message) as refused:
        kit.ticket(granted(kit, kit.create_session()))
    told: BaseException | None = refused.value
    while told is not None:
        assert "SECRET" not in str(told)
        told = told.__cause__ or told.__context__


@pytest.mark.parametrize(
    "row",
    [
        {"AttendeeId": "../x", "ExternalUserId": "ada"},
        {"AttendeeId": _ID},
        {"AttendeeId": _ID, "ExternalUserId": "ada", "Capabilities": {"Audio": "Send"}},
    ],
)
def test_a_list_that_is_none_is_an_error(kit, server, session_id, row):
    server.instead = lambda call: (200, {"Attendees": [row]}) if call.method == "GET" else None
    with pytest.raises(Unavailable, match="not that of the service"):
        kit.list_streams(session_id)


def test_a_service_that_does_not_answer_in_time_is_given_up(make_kit, server):
    kit = made(make_kit, server, timeout=0.2)
    server.hangs = True
    with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
        kit.ticket(granted(kit, kit.create_session()))


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"region": "Frankfurt"}, "region is no AWS region"),
        ({"region": 7}, "region is no AWS region"),
        ({"media_region": "eu"}, "media_region is no AWS region"),
        ({"access_key_id": None}, "access_key_id is missing or malformed"),
        ({"access_key_id": SECRET, "secret_access_key": KEY}, "access_key_id is missing or malformed"),
        ({"secret_access_key": None}, "secret_access_key"),
        ({"secret_access_key": "short"}, "secret_access_key"),
        ({"session_token": 7}, "session_token is no text"),
        ({"access_key_id": None, "secret_access_key": None, "session_token": TOKEN}, "access_key_id is missing"),
        ({"api_url": "wss://media.example"}, "expected one like 'https://"),
        ({"api_url": f"https://ada:{TOKEN}@media.example"}, "url holds a user"),
        ({"timeout": 0}, "timeout is 0"),
        ({"accept_wider": "subscriber"}, "expected a set of roles"),
    ],
)
def test_wrong_settings_stop_start_up_and_are_not_quoted(settings, message):
    given = {"region": REGION, "access_key_id": KEY, "secret_access_key": SECRET, **settings}
    with pytest.raises(ConfigurationError, match=message) as refused:
        Chime(**untyped(given))
    assert SECRET not in held_by(refused.value)
    assert TOKEN not in held_by(refused.value)


def test_settings_come_from_the_environment(server, clock):
    variables = {
        "ROLECALL_API_KEY": "123456",
        "ROLECALL_API_SECRET": "throwaway-secret-of-the-kit-0123456789",
        "ROLECALL_MEDIA": "chime",
        "ROLECALL_CHIME_REGION": REGION,
        "ROLECALL_CHIME_MEDIA_REGION": "eu-west-1",
        "ROLECALL_CHIME_ACCESS_KEY_ID": KEY,
        "ROLECALL_CHIME_SECRET_ACCESS_KEY": SECRET,
        "ROLECALL_CHIME_API_URL": server.url,
        "ROLECALL_CHIME_TIMEOUT": "60",
    }
    with Rolecall.from_env(variables, clock=clock, hook_timeout=4 * PATIENCE) as kit:
        assert kit.ticket(granted(kit, kit.create_session())).credentials["meeting"]["MediaRegion"] == "eu-west-1"


def test_the_api_is_that_of_the_region_and_no_secret_shows():
    backend = Chime(REGION, KEY, SECRET)
    assert backend.url == "https://meetings-chime.eu-central-1.amazonaws.com"
    assert SECRET not in repr(vars(backend))


def test_without_botocore_start_up_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(ConfigurationError, match=r"pip install \"rolecall\[chime\]\""):
        Chime(REGION)
