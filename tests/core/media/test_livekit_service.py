"""Acts at a LiveKit server: what is asked of it, and what becomes of its answers. The server is a stand-in."""

from __future__ import annotations

import asyncio
import base64
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from rolecall import ChangeRole, Deny, Rolecall, hookimpl, inspect_token
from rolecall.errors import (
    ConfigurationError,
    InvalidRequest,
    InvalidRole,
    NoMediaService,
    NotFoundAtService,
    PolicyDenied,
    RevokedToken,
    RolecallError,
    Unavailable,
)
from rolecall.media import LiveKit

from ...tracebacks import held_by
from ...untyped import untyped
from ...waiting import PATIENCE, free_port
from .livekit_server import KEY, SECRET, LiveKitServer, track

pytestmark = pytest.mark.each_choice


@pytest.fixture
def server() -> Iterator[LiveKitServer]:
    server = LiveKitServer()
    yield server
    server.stop()


def made(make_kit: Any, server: LiveKitServer, **options: Any) -> Rolecall:
    """A kit with that server, which has all the time that a busy machine takes."""
    settings = {"url": server.url, "api_key": KEY, "api_secret": SECRET, "timeout": PATIENCE, **options}
    return make_kit(media="livekit", media_config={"livekit": settings}, hook_timeout=2 * PATIENCE)


@pytest.fixture
def kit(make_kit, server) -> Rolecall:
    return made(make_kit, server)


@pytest.fixture
def session_id(kit, server) -> str:
    """A session with two participants."""
    session_id = kit.create_session().session_id
    server.rooms[session_id] = {"ada": [track("TR_1"), track("TR_2", "CAMERA")], "Zoë": [track("TR_3", muted=True)]}
    return session_id


def test_connections_are_participants_and_streams_are_tracks(kit, session_id):
    assert kit.list_connections(session_id) == [
        {"connectionId": name, "sid": f"PA_{name}", "state": "ACTIVE", "joinedAt": "1700000000"}
        for name in ("ada", "Zoë")
    ]
    assert kit.list_streams(session_id) == [
        {"id": "TR_1", "connectionId": "ada", "type": "AUDIO", "source": "MICROPHONE", "muted": False},
        {"id": "TR_2", "connectionId": "ada", "type": "AUDIO", "source": "CAMERA", "muted": False},
        {"id": "TR_3", "connectionId": "Zoë", "type": "AUDIO", "source": "MICROPHONE", "muted": True},
    ]
    other = kit.create_session()
    assert kit.list_connections(other) == kit.list_streams(other) == []


@pytest.mark.parametrize("to", [None, "Zoë"])
def test_a_signal_is_data_with_a_topic(kit, server, session_id, to):
    kit.signal(session_id, "bell", "Grüße", to)
    data = base64.b64encode("Grüße".encode()).decode()
    sent = {"room": session_id, "data": data, "kind": "RELIABLE", "topic": "bell"}
    assert server.calls[-1] == ("SendData", {**sent, **({"destinationIdentities": [to]} if to else {})})


def test_a_signal_that_nobody_would_get_is_not_sent(kit, server, session_id):
    with pytest.raises(NotFoundAtService, match="no such connection"):
        kit.signal(session_id, connection_id="eve")
    with pytest.raises(NotFoundAtService, match="nobody"):
        kit.signal(kit.create_session())
    assert {method for method, _ in server.calls} == {"ListParticipants"}


def test_a_participant_is_removed(kit, server, session_id):
    kit.force_disconnect(session_id, "Zoë")
    assert [*server.rooms[session_id]] == ["ada"]
    with pytest.raises(NotFoundAtService):
        kit.force_disconnect(session_id, "Zoë")


def test_a_track_is_muted(kit, server, session_id):
    kit.mute_stream(session_id, "TR_2")
    assert [one.get("muted", False) for one in server.rooms[session_id]["ada"]] == [False, True]
    with pytest.raises(NotFoundAtService, match="no such stream"):
        kit.mute_stream(session_id, "TR_9")


@pytest.mark.parametrize(
    ("role", "granted"),
    [
        ("subscriber", {"canPublish": False, "canSubscribe": True, "canPublishData": False}),
        ("publisheronly", {"canPublish": True, "canSubscribe": False, "canPublishData": False}),
        ("moderator", {"canPublish": True, "canSubscribe": True, "canPublishData": True}),
    ],
)
def test_a_participant_gets_another_role_without_joining_anew(kit, server, session_id, role, granted):
    kit.change_role(session_id, "Zoë", role)
    assert server.permissions == {(session_id, "Zoë"): granted}
    with pytest.raises(NotFoundAtService):
        kit.change_role(session_id, "eve", role)
    with pytest.raises(InvalidRole):
        kit.change_role(session_id, "Zoë", "guest")


def test_a_policy_votes_on_a_change_of_role_and_an_event_tells_of_it(make_kit, server):
    class Policy:
        def __init__(self) -> None:
            self.told: list[Any] = []

        @hookimpl
        def rolecall_vote_moderation(self, request: Any) -> Any:
            is_greater = isinstance(request.act, ChangeRole) and request.act.role == "moderator"
            return Deny("nobody becomes a moderator here") if is_greater else None

        @hookimpl
        def rolecall_on_event(self, event: Any) -> None:
            self.told.append((event.name, getattr(event, "act", None), getattr(event, "target", None)))

    policy = Policy()
    kit = make_kit(media=LiveKit(server.url, KEY, SECRET, timeout=PATIENCE), plugins=[policy])
    session_id = kit.create_session().session_id
    server.rooms[session_id] = {"ada": []}
    kit.change_role(session_id, "ada", "subscriber")
    with pytest.raises(PolicyDenied):
        kit.change_role(session_id, "ada", "moderator")
    assert policy.told[1:] == [("moderated", "change_role", "ada"), ("moderation_refused", "change_role", "ada")]
    assert len(server.permissions) == 1
    with pytest.raises(InvalidRequest, match="expected a Role"):
        ChangeRole(session_id, "ada", untyped("subscriber")).checked()


def test_that_it_cannot_mute_streams_to_come_is_said(kit, server, session_id):
    with pytest.raises(NoMediaService, match="streams to come") as refused:
        kit.mute_all(session_id)
    assert refused.value.public_message.startswith("the media service does not mute streams to come")
    assert server.calls == []


def test_an_app_may_take_it_that_those_that_are_there_are_muted(make_kit, server):
    kit = made(make_kit, server, accept_emulated=["mute_all"])
    session_id = kit.create_session().session_id
    bare = {"sid": "TR_5"}  # of audio, which the server does not say
    server.rooms[session_id] = {
        "ada": [track("TR_1"), {**track("TR_2", "CAMERA"), "type": "VIDEO"}],
        "Zoë": [track("TR_3", muted=True), track("TR_4"), bare],
    }
    kit.mute_all(session_id, excluded_stream_ids=["TR_4"])
    muted = [body["trackSid"] for method, body in server.calls if method == "MutePublishedTrack"]
    assert muted == ["TR_1", "TR_5"]
    kit.mute_all(session_id)
    assert [one.get("muted", False) for one in server.rooms[session_id]["Zoë"]] == [True, True, True]
    with pytest.raises(NoMediaService, match="lets nobody unmute") as refused:
        kit.mute_all(session_id, active=False)
    assert refused.value.public_message == "the media service does not unmute"
    kit.mute_all(kit.create_session())


def test_a_track_that_cannot_be_muted_does_not_keep_the_others_loud(make_kit, server):
    kit = made(make_kit, server, accept_emulated=["mute_all"])
    session_id = kit.create_session().session_id
    server.rooms[session_id] = {"ada": [track("TR_1")], "ben": [track("TR_2")], "eve": [track("TR_3")]}
    server.refused["TR_1"] = (503, b'{"code":"unavailable"}')
    server.refused["TR_2"] = (404, b'{"code":"not_found"}')
    with pytest.raises(Unavailable, match="MutePublishedTrack"):
        kit.mute_all(session_id)
    assert [one["muted"] for one in server.rooms[session_id]["eve"]] == [True]
    del server.refused["TR_1"]
    kit.mute_all(session_id)


def test_acts_in_async_code(kit, server, session_id):
    async def act() -> None:
        await kit.aio.force_disconnect(session_id, "ada")
        await kit.aio.signal(session_id, "bell")

    asyncio.run(act())
    assert [*server.rooms[session_id]] == ["Zoë"]


def test_who_is_excluded_is_disconnected_and_gets_no_ticket(kit, server, session_id):
    grant = kit.verify_token(kit.generate_token(session_id, actor="Zoë"))
    assert kit.ticket(grant).identity == "Zoë"
    assert kit.exclude(session_id, "Zoë").disconnected
    assert [*server.rooms[session_id]] == ["ada"]
    with pytest.raises(RevokedToken):
        kit.ticket(grant)
    assert kit.exclude(session_id, "somebody who is not there").disconnected


def test_the_room_of_a_session_that_ends_is_deleted(kit, server, session_id):
    kit.end_session(session_id)
    assert session_id not in server.rooms
    kit.end_session(session_id)  # there is no room any more


def test_a_session_ends_though_the_server_is_out_of_order(kit, server, session_id, caplog):
    server.instead = lambda _: (500, b"")
    with caplog.at_level(logging.WARNING, "rolecall"):
        assert not kit.exclude(session_id, "ada").disconnected
        kit.end_session(session_id)
    assert kit.get_session(session_id).ended_at is not None
    assert ["LiveKit's" in record.getMessage() for record in caplog.records] == [True, True]


def test_a_plugins_service_goes_first(make_kit, server):
    class Own:
        @hookimpl
        def rolecall_media_service(self, request: Any) -> Any:
            return self

        def list_streams(self, session_id: str) -> Any:
            return [{"id": "of the plugin"}]

    kit = make_kit(media=LiveKit(server.url, KEY, SECRET), plugins=[Own()])
    assert kit.list_streams(kit.create_session()) == [{"id": "of the plugin"}]
    assert server.calls == []


def test_each_call_has_a_credential_for_its_room_and_a_minute(kit, server, session_id):
    kit.list_streams(session_id)
    kit.end_session(session_id)
    claims = [inspect_token(credential).claims for credential in server.credentials]
    assert [dict(one["video"]) for one in claims] == [{"roomAdmin": True, "room": session_id}, {"roomCreate": True}]
    assert {one["exp"] - one["nbf"] for one in claims} == {60}


# -- what the server may answer --------------------------------------------------------------------

_UNREADABLE = (Unavailable, "not that of a LiveKit server")
_REFUSED = (Unavailable, "refuses the API key")
_UNCONFIGURED = (NoMediaService, "not configured")
ANSWERS: dict[str, tuple[int, bytes, tuple[type[RolecallError], str]]] = {
    "not found": (404, b'{"code":"not_found","msg":"SECRET"}', (NotFoundAtService, "no such connection")),
    "no such route": (404, b'{"code":"bad_route"}', _UNCONFIGURED),
    "another page": (404, b"<html>SECRET", (Unavailable, "status 404")),
    "wrong grants": (401, b'{"code":"unauthenticated"}', _REFUSED),
    "the whole token": (401, b"invalid token: SECRET", _REFUSED),
    "forbidden": (403, b"", _REFUSED),
    "not configured": (412, b'{"code":"failed_precondition"}', _UNCONFIGURED),
    "unavailable": (503, b'{"code":"unavailable"}', (Unavailable, "status 503")),
    "a redirect": (302, b"", (Unavailable, "status 302")),
    "no JSON": (200, b"SECRET", _UNREADABLE),
    "a list": (200, b"[]", _UNREADABLE),
    "participants as text": (200, b'{"participants":"x"}', _UNREADABLE),
    "participants as null": (200, b'{"participants":null}', _UNREADABLE),
    "no identity": (200, b'{"participants":[{"sid":"x"}]}', _UNREADABLE),
    "tracks as text": (200, b'{"participants":[{"identity":"x","tracks":"x"}]}', _UNREADABLE),
    "a track without id": (200, b'{"participants":[{"identity":"x","tracks":[{}]}]}', _UNREADABLE),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_no_success_is_an_error_without_a_word_of_it(kit, server, session_id, name):
    status, body, (error, message) = ANSWERS[name]
    server.instead = lambda _: (status, body)
    with pytest.raises(error, match=message) as refused:
        kit.list_streams(session_id)
    told: BaseException | None = refused.value
    while told is not None:
        assert "SECRET" not in str(told)
        told = told.__cause__ or told.__context__


def test_a_foreign_secret_is_refused_and_the_credential_is_told_nobody(make_kit, server):
    kit = made(make_kit, server, api_secret="another" + SECRET)
    with pytest.raises(Unavailable, match="refuses the API key") as refused:
        kit.list_streams(kit.create_session())
    assert server.credentials[0] not in str(refused.value)


def test_a_server_that_does_not_answer_in_time_is_given_up(make_kit, server):
    kit = made(make_kit, server, timeout=0.2)
    server.instead = lambda _: (200 if server.released.wait(60) else 500, b"{}")
    with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
        kit.list_streams(kit.create_session())


def test_a_server_that_is_not_there_is_named_as_such(make_kit, server):
    kit = made(make_kit, server, url=f"ws://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="no connection could be made"):
        kit.list_streams(kit.create_session())


def test_the_api_may_have_another_url(make_kit, server):
    kit = made(make_kit, server, url="wss://media.example", api_url=server.url.replace("ws", "http", 1))
    assert kit.list_streams(kit.create_session()) == []


def test_the_scheme_of_a_url_may_be_written_in_any_case(make_kit, server):
    kit = made(make_kit, server, url=server.url.replace("ws", "WS", 1))
    assert kit.list_streams(kit.create_session()) == []


def test_without_httpx_there_are_tickets_and_no_acts(make_kit, server, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "httpx", None)
    kit = made(make_kit, server)
    session = kit.create_session()
    assert kit.ticket(kit.verify_token(session.generate_token(actor="ada"))).identity == "ada"
    with pytest.raises(NoMediaService, match=r"pip install \"rolecall\[media\]\""):
        kit.list_streams(session)
    # What is done all the same says what was not done at the service.
    assert not kit.exclude(session, "ada").disconnected
    kit.end_session(session)
    for what in ("an actor was excluded", "a session was ended"):
        assert [record for record in caplog.messages if record.startswith(what) and "httpx" in record]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"api_url": "wss://media.example"}, "api_url is not the URL of a service"),
        ({"timeout": 0}, "timeout is 0"),
        ({"accept_emulated": "mute_all"}, "accept_emulated is 'mute_all'; expected a set of mute_all"),
        ({"accept_emulated": ["signal"]}, "accept_emulated has 'signal'; expected a set of mute_all"),
        ({"accept_emulated": 1}, "expected a set of mute_all"),
        ({"timeout": "2"}, "timeout is '2'"),
        ({"url": f"wss://ada:{SECRET}@media.example"}, "url holds a user"),
        ({"api_url": f"https://ada:{SECRET}@media.example"}, "api_url holds a user"),
    ],
)
def test_wrong_settings_of_the_api_stop_start_up(settings, message):
    with pytest.raises(ConfigurationError, match=message) as refused:
        LiveKit(**{"url": "wss://media.example", "api_key": KEY, "api_secret": SECRET, **settings})
    assert SECRET not in held_by(refused.value)
