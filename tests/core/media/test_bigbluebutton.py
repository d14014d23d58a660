"""BigBlueButton: signed URLs, and what becomes of the answers of its API. The server is a stand-in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from rolecall import Rolecall
from rolecall.errors import (
    ConfigurationError,
    NoMediaService,
    NotFoundAtService,
    RevokedToken,
    RolecallError,
    RoleNotHeld,
    Unavailable,
)
from rolecall.media import BigBlueButton
from rolecall.media.bigbluebutton import Caller, read_answer
from rolecall.media.keys import service_issuer

from ...tracebacks import held_by, told_by
from ...untyped import untyped
from ...waiting import PATIENCE
from .stand_in import Asked, StandIn

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "media_tokens.json").read_text("utf-8"))
URLS = {one["inputs"]["label"]: one for one in VECTORS if one["service"] == "bigbluebutton"}
pytestmark = pytest.mark.each_choice

SECRET = "throwaway-bbb-shared-secret-0123456789"
CREATED_AT = 1_795_186_800_123


def response(**members: object) -> tuple[int, bytes]:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in members.items())
    return 200, f"<response>\n  {inner}</response>".encode()


def created(**changes: object) -> tuple[int, bytes]:
    return response(**{"returncode": "SUCCESS", "createTime": CREATED_AT, "duration": 1440, **changes})


def failed(key: str) -> tuple[int, bytes]:
    return response(returncode="FAILED", messageKey=key, message="SECRET")


@pytest.fixture
def server() -> Iterator[StandIn]:
    server = StandIn()
    server.script = [created()]
    yield server
    server.stop()


@pytest.fixture
def kit_at(make_kit, server) -> Any:
    """Makes a kit with that server, which has all the time that a busy machine takes."""

    def make(**changes: Any) -> Rolecall:
        settings = {
            "url": f"{server.url}/bigbluebutton/",
            "shared_secret": SECRET,
            "accept_unexpiring": True,
            "timeout": PATIENCE,
            **changes,
        }
        kit: Rolecall = make_kit(
            media="bigbluebutton", media_config={"bigbluebutton": settings}, hook_timeout=4 * PATIENCE
        )
        return kit

    return make


def checked(call: str, query: str, hash_name: str = "sha256") -> dict[str, str]:
    """The parameters of a call whose checksum is good."""
    signed, _, checksum = query.rpartition("&checksum=")
    assert hashlib.new(hash_name, (call + signed + SECRET).encode()).hexdigest() == checksum
    return dict(parse_qsl(signed, strict_parsing=True, keep_blank_values=True))


def called(asked: Asked, hash_name: str = "sha256") -> tuple[str, dict[str, str]]:
    """A call, and its parameters."""
    path, _, query = asked.path.partition("?")
    place, _, call = path.rpartition("/")
    assert (asked.method, place, asked.body) == ("GET", "/bigbluebutton/api", b"")
    return call, checked(call, query, hash_name)


def granted(kit: Rolecall, role: str = "publisher", actor: str = "Zoë & Co") -> Any:
    return kit.verify_token(kit.create_session().generate_token(untyped(role), actor=actor))


@pytest.mark.parametrize("label", URLS)
def test_urls_are_signed_as_the_sdks_do(label):
    url = urlsplit(URLS[label]["token"])
    call = url.path.rpartition("/")[2]
    parameters = {name: value for name, value in parse_qsl(url.query) if name != "checksum"}
    issuer = service_issuer("bigbluebutton", "x", SECRET, expected="")
    assert Caller(issuer, "sha1", untyped(None)).signed(call, parameters) == url.query


# -- tickets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("checksum", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize(("role", "theirs"), [("publisher", "VIEWER"), ("moderator", "MODERATOR")])
def test_a_ticket_is_a_signed_url_for_one_run_of_a_meeting(kit_at, server, role, theirs, checksum):
    kit = kit_at(checksum=checksum)
    grant = granted(kit, role)
    ticket = kit.ticket(grant)
    assert ticket.url == f"{server.url}/bigbluebutton/api/join"
    assert checked("join", ticket.token, checksum) == {
        "meetingID": ticket.room,
        "fullName": "Zoë & Co",
        "userID": "Zoë & Co",
        "role": theirs,
        "createTime": str(CREATED_AT),
    }
    assert ticket.expires_at == CREATED_AT // 1000 + 86_400
    [(call, parameters)] = [called(asked, checksum) for asked in server.asked]
    passwords = {parameters.pop(name) for name in ("attendeePW", "moderatorPW")}
    assert len(passwords | {SECRET}) == 3
    assert (call, parameters) == ("create", {"name": ticket.room, "duration": "1440", "meetingID": ticket.room})


def test_each_ticket_is_for_the_run_that_there_is(kit_at, server):
    kit = kit_at()
    grant = granted(kit)
    server.script = [created(), created(createTime=CREATED_AT + 60_000, duration=5, messageKey="duplicateWarning")]
    first, second = kit.ticket(grant), kit.ticket(grant)
    runs = [checked("join", ticket.token)["createTime"] for ticket in (first, second)]
    assert runs == [str(CREATED_AT), str(CREATED_AT + 60_000)]
    assert second.expires_at == CREATED_AT // 1000 + 60 + 300
    one, other = (called(asked)[1] for asked in server.asked)
    assert one == other  # so that the server takes it for the same meeting


def test_options_are_parameters_of_the_meeting(kit_at, server):
    kit = kit_at(room_options={"name": "Physics", "record": True, "maxParticipants": 9}, meeting_life=3659)
    kit.ticket(granted(kit))
    [(_, parameters)] = map(called, server.asked)
    given = {name: parameters[name] for name in ("name", "record", "maxParticipants", "duration")}
    assert given == {"name": "Physics", "record": "true", "maxParticipants": "9", "duration": "60"}


@pytest.mark.parametrize(
    "changes", [{"duration": 0}, {"duration": ""}, {"createTime": "x"}, {"createTime": "1" * 16}, {"duration": "-1"}]
)
def test_a_meeting_without_an_end_gives_no_ticket(kit_at, server, changes):
    kit = kit_at()
    server.script = [created(**changes)]
    with pytest.raises(Unavailable, match="the meeting has no end"):
        kit.ticket(granted(kit))


@pytest.mark.parametrize("role", ["subscriber", "publisheronly"])
def test_a_role_that_it_does_not_hold_is_refused_unless_the_app_takes_it(kit_at, server, role):
    kit = kit_at()
    with pytest.raises(RoleNotHeld, match="would grant"):
        kit.ticket(granted(kit, role))
    assert server.asked == []
    wider = kit_at(accept_wider={role})
    assert checked("join", wider.ticket(granted(wider, role)).token)["role"] == "VIEWER"


@pytest.mark.parametrize(
    ("session_id", "is_room"), [("demo", True), ("x" * 255, True), ("x", False), ("a,b", False), ("é-e", False)]
)
def test_a_meeting_has_a_name_that_the_server_takes(session_id, is_room):
    backend = BigBlueButton("https://bbb.example/bigbluebutton", SECRET, accept_unexpiring=True)
    assert (backend.room(session_id) == session_id) is is_room


def test_whoever_is_excluded_gets_no_further_ticket(kit_at):
    kit = kit_at()
    grant = granted(kit)
    assert kit.ticket(grant)
    assert not kit.exclude(grant.session_id, "Zoë & Co").disconnected
    with pytest.raises(RevokedToken):
        kit.ticket(grant)


# -- acts ------------------------------------------------------------------------------------------

ATTENDEE = "<attendee><userID>{}</userID><fullName>Ada</fullName><role>VIEWER</role><x>y</x></attendee>"


def test_connections_are_attendees(kit_at, server):
    kit = kit_at()
    session = kit.create_session()
    attendees = ATTENDEE.format("ada") + ATTENDEE.format("Zoë &amp; Co")
    server.script = [response(returncode="SUCCESS", attendees=attendees)]
    assert kit.list_connections(session) == [
        {"connectionId": name, "fullName": "Ada", "role": "VIEWER"} for name in ("ada", "Zoë & Co")
    ]
    assert [called(asked) for asked in server.asked] == [("getMeetingInfo", {"meetingID": session.session_id})]
    for nobody in (response(returncode="SUCCESS", attendees=""), failed("notFound")):
        server.script = [nobody]
        assert kit.list_connections(session) == []


def test_a_meeting_ends_with_its_session(kit_at, server):
    kit = kit_at()
    grant = granted(kit)
    kit.ticket(grant)
    server.script = [response(returncode="SUCCESS", messageKey="sentEndMeetingRequest")]
    kit.end_session(grant.session_id)
    (_, create), (call, end) = map(called, server.asked)
    assert (call, end) == ("end", {"meetingID": grant.session_id, "password": create["moderatorPW"]})


def test_a_session_ends_though_there_is_no_meeting(kit_at, server, caplog):
    kit = kit_at()
    server.script = [failed("notFound")]
    kit.end_session(kit.create_session())
    assert caplog.records == []


@pytest.mark.parametrize("act", ["signal", "mute_all", "list_streams"])
def test_what_is_not_done_is_said(kit_at, server, act):
    kit = kit_at()
    with pytest.raises(NoMediaService):
        getattr(kit, act)(kit.create_session())
    assert BigBlueButton.acts[act].startswith("not done")
    assert server.asked == []


_OTHER = (Unavailable, "not that of BigBlueButton")
ANSWERS: dict[str, tuple[tuple[int, bytes], tuple[type[RolecallError], str]]] = {
    "wrong secret": (failed("checksumError"), (Unavailable, "refuses the shared secret")),
    "another's meeting": (failed("idNotUnique"), (Unavailable, "created by somebody else")),
    "another error": (failed("SECRET"), _OTHER),
    "no meeting": (failed("notFound"), (NotFoundAtService, "not open")),
    "no XML": ((200, b"SECRET"), _OTHER),
    "an encoding that does not exist": ((200, b'<?xml version="1.0" encoding="SECRET"?><response/>'), _OTHER),
    "JSON": ((200, b'{"response":"SECRET"}'), _OTHER),
    "another document": ((200, b"<html><returncode>SUCCESS</returncode></html>"), _OTHER),
    "a document type": (
        (200, b'<!DOCTYPE response [<!ENTITY a "SECRET">]><response><returncode>SUCCESS</returncode></response>'),
        _OTHER,
    ),
    "an unfinished document": ((200, b"<response><returncode>SUCCESS</returncode>"), _OTHER),
    "out of order": ((502, b"SECRET"), (Unavailable, "status 502")),
    "a redirect": ((302, b"SECRET"), (Unavailable, "status 302")),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_no_success_is_an_error_without_a_word_of_it(kit_at, server, name):
    body, (error, message) = ANSWERS[name]
    kit = kit_at()
    server.script = [body]
    with pytest.raises(error, match=message) as refused:
        kit.ticket(granted(kit))
    [(_, created)] = map(called, server.asked)
    assert "SECRET" not in told_by(refused.value)
    assert SECRET not in told_by(refused.value)
    assert created["moderatorPW"] not in held_by(refused.value)


def test_attendees_that_are_none_are_an_error(kit_at, server):
    kit = kit_at()
    server.script = [response(returncode="SUCCESS", attendees="<attendee><fullName>x</fullName></attendee>")]
    with pytest.raises(Unavailable, match="not that of the service"):
        kit.list_connections(kit.create_session())


def test_an_entity_is_never_expanded():
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    assert read_answer(f"<!DOCTYPE x [{laughs}]><response><a>&l9;</a></response>".encode()) is None
    assert read_answer(b"<response><a>&lt;&#228;</a></response>") == {"a": "<ä"}
    assert read_answer(b"<response><a>&b;</a></response>") is None


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accept_unexpiring": False}, "good until the meeting ends.*accept_unexpiring=True"),
        ({"accept_unexpiring": 1}, "accept_unexpiring=True"),
        ({"url": "wss://bbb.example"}, "url is not the URL of a service"),
        ({"url": f"https://ada:{SECRET}@bbb.example"}, "url holds a user"),
        ({"shared_secret": "short"}, "shared_secret: the secret has 5 bytes"),
        ({"checksum": "md5"}, "checksum is 'md5'; expected one of sha1, sha256"),
        ({"meeting_life": 59}, "meeting_life is 59"),
        ({"meeting_life": True}, "meeting_life is True"),
        ({"room_options": {"moderatorPW": "x"}}, "room_options has 'moderatorPW'"),
        ({"room_options": {"a&b": "x"}}, "room_options has 'a&b'"),
        ({"room_options": {"welcome": None}}, "room_options has 'welcome'"),
        ({"room_options": "x"}, "room_options is 'x'"),
    ],
)
def test_wrong_settings_stop_start_up(changes, message):
    settings: dict[str, Any] = {"url": "https://bbb.example", "shared_secret": SECRET, "accept_unexpiring": True}
    with pytest.raises(ConfigurationError, match=message) as refused:
        BigBlueButton(**{**settings, **changes})
    assert SECRET not in held_by(refused.value)


def test_settings_come_from_the_environment():
    names = {
        "MEDIA": "bigbluebutton",
        "BIGBLUEBUTTON_URL": "https://bbb.example/bigbluebutton",
        "BIGBLUEBUTTON_SHARED_SECRET": SECRET,
        "BIGBLUEBUTTON_ACCEPT_UNEXPIRING": "1",
        "BIGBLUEBUTTON_MEETING_LIFE": "7200",
        "BIGBLUEBUTTON_ROOM_OPTIONS": '{"record": false}',
        "API_KEY": "123456",
        "API_SECRET": "2df95e9fdac14502e8a27a9d8a71e87ef64a502e",
    }
    with Rolecall.from_env({f"ROLECALL_{name}": value for name, value in names.items()}) as kit:
        assert kit.create_session().media == "bigbluebutton"
