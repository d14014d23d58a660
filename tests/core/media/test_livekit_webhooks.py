"""LiveKit's webhooks: what is verified, what is told of them, and who is put out again. The server is a stand-in."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from livekit.api import TokenVerifier, WebhookReceiver

from rolecall import Actor, Rolecall, hookimpl
from rolecall.errors import (
    BadSignature,
    BodyTooLarge,
    ExpiredToken,
    InvalidClaim,
    InvalidRequest,
    MalformedToken,
    MissingCredential,
    OnlyVerifies,
    PolicyFault,
    RolecallError,
    RouteNotFound,
    TokenNotYetValid,
    Unavailable,
    UnknownKey,
    WrongTokenKind,
)
from rolecall.events import EVENTS, AccessRefused, AtMedia, Event, ParticipantJoined
from rolecall.media import LiveKit, MediaBackend, Notice
from rolecall.media.webhooks import LONGEST_WEBHOOK, NOTICED

from ...behind import Behind
from ...untyped import untyped
from ...waiting import PATIENCE
from .livekit_server import KEY, SECRET, LiveKitServer, Webhook, signed, webhook
from .test_livekit_tokens import signed as signed_token

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "media_tokens.json").read_text("utf-8"))
pytestmark = pytest.mark.each_choice

#: What is compared of an event.
SHOWN = ("event", "session_id", "actor", "media", "connection_id", "stream_id", "code")


class Trail:
    def __init__(self) -> None:
        self.events: list[Event] = []

    @hookimpl
    def rolecall_on_event(self, event: Event) -> None:
        self.events.append(event)

    @property
    def of_media(self) -> list[dict[str, Any]]:
        told = [event.as_dict() for event in self.events if isinstance(event, AtMedia)]
        return [{name: one[name] for name in SHOWN if one[name] is not None} for one in told]


@pytest.fixture
def make_kit(make_kit) -> Any:
    """Kits with the clock of the stand-in."""
    return partial(make_kit, clock=time.time)


@pytest.fixture
def server() -> Iterator[LiveKitServer]:
    server = LiveKitServer()
    yield server
    server.stop()


@pytest.fixture
def trail() -> Trail:
    return Trail()


@pytest.fixture
def kit(make_kit, server, trail) -> Rolecall:
    backend = LiveKit(server.url, KEY, SECRET, timeout=PATIENCE)
    return make_kit(media=backend, plugins=[trail], hook_timeout=2 * PATIENCE)


@pytest.fixture
def session_id(kit) -> str:
    return kit.create_session().session_id


def receive(kit: Rolecall, sent: Webhook) -> None:
    kit.receive_webhook("livekit", sent.headers, sent.body)


# -- events ----------------------------------------------------------------------------------------


def test_each_event_is_told_once(kit, trail, session_id):
    sent = [
        webhook("room_started", session_id),
        webhook("participant_joined", session_id, "Zoë Ångström"),
        webhook("track_published", session_id, "Zoë Ångström", "TR_1"),
        webhook("track_unpublished", session_id, "Zoë Ångström", "TR_1"),
        webhook("participant_left", session_id, "Zoë Ångström"),
        webhook("room_finished", session_id),
    ]
    for one in sent * 2:
        receive(kit, one)
    room = {"session_id": session_id, "media": "livekit"}
    zoë = {**room, "actor": "Zoë Ångström", "connection_id": "Zoë Ångström"}
    assert trail.of_media == [
        {"event": "room_started", **room},
        {"event": "participant_joined", **zoë},
        {"event": "stream_published", **zoë, "stream_id": "TR_1"},
        {"event": "stream_unpublished", **zoë, "stream_id": "TR_1"},
        {"event": "participant_left", **zoë},
        {"event": "room_finished", **room},
    ]
    assert {event.name for event in trail.events if isinstance(event, AtMedia)} == NOTICED
    assert set(EVENTS) > NOTICED


def test_what_the_kit_does_not_know_is_taken_and_told_nobody(make_kit, kit, trail, session_id):
    made_up = make_kit(api_secret="x" + SECRET).create_session().session_id
    for one in (
        webhook("egress_started", session_id, id=None),
        webhook("", session_id),
        signed({"id": "EV_x"}),
        signed({"event": ["participant_joined"]}),
        webhook("room_started", "another app's room"),
        webhook("room_started", made_up),
        webhook("participant_joined", "x" * 500, "ada"),
    ):
        receive(kit, one)
    assert trail.of_media == []


def test_a_participant_of_the_service_itself_is_no_actor(kit, trail, session_id):
    receive(kit, webhook("participant_joined", session_id, "egress "))
    [joined] = trail.of_media
    assert joined == {
        "event": "participant_joined",
        "session_id": session_id,
        "media": "livekit",
        "connection_id": "egress ",
    }


def test_a_session_at_another_service_has_no_room_here(make_kit, server, trail):
    class Other(LiveKit):
        name = "other"

    media = [LiveKit(server.url, KEY, SECRET), Other("wss://media.example", KEY, SECRET)]
    kit = make_kit(media=media, plugins=[trail])
    sessions = {name: kit.create_session(media=name).session_id for name in ("livekit", "other")}
    for session_id in sessions.values():
        receive(kit, webhook("room_started", session_id))
    assert [one["session_id"] for one in trail.of_media] == [sessions["livekit"]]


def test_in_async_code_and_with_headers_of_any_case(kit, trail, session_id):
    sent = webhook("room_started", session_id)
    headers = {name.upper(): value for name, value in sent.headers.items()}
    asyncio.run(kit.aio.receive_webhook("livekit", headers, sent.body))
    assert len(trail.of_media) == 1


# -- signatures ------------------------------------------------------------------------------------


def test_the_recorded_webhook_is_read():
    [vector] = [one for one in VECTORS if one["inputs"].get("body") and one["service"] == "livekit"]
    headers, body = {"authorization": vector["token"]}, vector["inputs"]["body"].encode()
    livekit, now = LiveKit("wss://media.example", KEY, SECRET), vector["inputs"]["now"]
    notice = Notice("EV_test", "participant_joined", "demo", "alice", identity="alice")
    assert livekit.webhook(headers, body, now) == (notice,)
    with pytest.raises(BadSignature, match="not the one that was signed"):
        livekit.webhook(headers, body + b" ", now)


def test_the_official_receiver_takes_what_the_stand_in_signs(session_id):
    sent = webhook("participant_joined", session_id, "ada")
    receiver = WebhookReceiver(TokenVerifier(KEY, SECRET))
    assert receiver.receive(sent.body.decode(), sent.headers["Authorization"]).participant.identity == "ada"


def by(token: str | None, body: bytes = b"{}") -> Webhook:
    return Webhook({} if token is None else {"Authorization": token}, body)


def claiming(header: object = None, digest: str = "sha256", **changes: Any) -> Webhook:
    """A webhook whose token has these claims; None leaves one out."""
    claims = {**jwt.decode(GOOD.headers["Authorization"], options={"verify_signature": False}), **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return by(signed_token(claims, header, digest=digest).decode())


def client_token() -> str:
    livekit = LiveKit("wss://x.example", KEY, SECRET, ticket_life=3600)
    kit = Rolecall("123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e", media=livekit)
    return kit.ticket(kit.verify_token(kit.create_session().generate_token(actor="ada"))).token


#: Made when the file is read, which may be long before a test runs.
GOOD = signed({}, life=86_400)
UNPADDED = "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o"
REFUSED: dict[str, tuple[Webhook, type[RolecallError], str]] = {
    "no header": (by(None), MissingCredential, "without a scheme"),
    "with a scheme": (by(f"Bearer {GOOD.headers['Authorization']}"), MalformedToken, "space"),
    "two headers": (by(f"{GOOD.headers['Authorization']},x.y.z"), MalformedToken, "malformed"),
    "garbage": (by("x"), MalformedToken, "header is malformed"),
    "another body": (signed({"event": ""}, of=b"{}", life=86_400), BadSignature, "not the one that was signed"),
    "another secret": (signed({}, secret="x" * 40), BadSignature, "another secret"),
    "another key": (signed({}, key="APIanother"), UnknownKey, "webhook.api_key"),
    "expired": (signed({}, life=-61), ExpiredToken, "expired"),
    "of the future": (claiming(nbf=4e9, exp=4e9 + 300), TokenNotYetValid, "now is"),
    "without exp": (claiming(exp=None), InvalidClaim, "exp"),
    "without nbf": (claiming(nbf=None), InvalidClaim, "nbf"),
    "exp as text": (claiming(exp="4000000000"), InvalidClaim, "exp"),
    "HS512": (claiming({"alg": "HS512", "typ": "JWT"}, "sha512"), WrongTokenKind, "HS512"),
    "crit": (claiming({"alg": "HS256", "typ": "JWT", "crit": ["x"]}), MalformedToken, "crit"),
    "none": (by(jwt.encode({"iss": KEY}, "", "none")), WrongTokenKind, "none"),
    "a client's token": (by(client_token()), WrongTokenKind, "no text 'sha256'"),
    "sha256 as a list": (claiming(sha256=["x"]), WrongTokenKind, "no text 'sha256'"),
    "sha256 outside ASCII": (claiming(sha256="Ü"), BadSignature, "SHA-256"),
    "sha256 unpadded": (claiming(sha256=UNPADDED), BadSignature, "SHA-256"),
}


def test_the_unpadded_digest_is_that_of_the_body():
    assert jwt.decode(GOOD.headers["Authorization"], options={"verify_signature": False})["sha256"] == f"{UNPADDED}="


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_server_has_not_signed_is_refused_and_told(kit, trail, name):
    sent, error, message = REFUSED[name]
    with pytest.raises(error, match=message) as refused:
        receive(kit, sent)
    assert refused.value.status == 401
    [told] = trail.events
    assert isinstance(told, AccessRefused)
    assert told.code == refused.value.code
    token = sent.headers.get("Authorization", GOOD.headers["Authorization"])
    assert name == "garbage" or token not in str(refused.value)


@pytest.mark.parametrize("life", [-50, 300])
def test_clocks_may_differ_by_a_minute(kit, trail, session_id, life):
    receive(kit, signed(webhook("room_started", session_id).body, life=life))
    assert len(trail.of_media) == 1


def test_a_header_without_typ_is_good_and_so_is_a_secret_that_only_verifies(make_kit, server, trail):
    kit = make_kit(media=LiveKit(server.url, KEY, "s" + SECRET, verify_secrets=[SECRET]), plugins=[trail])
    sent = webhook("room_started", kit.create_session().session_id)
    claims = jwt.decode(sent.headers["Authorization"], options={"verify_signature": False})
    token = jwt.encode(claims, SECRET, headers={"typ": None})
    assert "typ" not in jwt.get_unverified_header(token)
    receive(kit, Webhook({"authorization": token}, sent.body))
    assert len(trail.of_media) == 1


UNREADABLE: list[Any] = [
    b"",
    b"[]",
    b"\xff",
    b"[" * 100_000,
    {"event": "room_started", "id": "EV_1"},
    {"event": "room_started", "id": "EV_1", "room": "x"},
    {"event": "room_started", "room": {"name": "x"}},
    {"event": "room_started", "room": {"name": "x"}, "id": "x" * 1025},
    {"event": "participant_joined", "room": {"name": "x"}, "id": "EV_1", "participant": {}},
    {"event": "track_published", "room": {"name": "x"}, "id": "EV_1", "participant": {"identity": "x"}},
]


@pytest.mark.parametrize("number", range(len(UNREADABLE)))
def test_what_is_signed_and_not_readable_is_refused(kit, trail, number):
    with pytest.raises(InvalidRequest, match="the webhook's"):
        receive(kit, signed(UNREADABLE[number]))
    assert trail.events == []


def test_a_body_has_a_longest_length_and_is_bytes(kit, trail, session_id):
    receive(kit, webhook("room_started", session_id, metadata="x" * (LONGEST_WEBHOOK - 500)))
    assert len(trail.of_media) == 1
    with pytest.raises(BodyTooLarge):
        receive(kit, webhook("room_started", session_id, metadata="x" * LONGEST_WEBHOOK))
    with pytest.raises(InvalidRequest, match="as they came"):
        kit.receive_webhook("livekit", GOOD.headers, untyped("{}"))


def test_services_that_send_none(make_kit, kit):
    class Silent(LiveKit):
        takes_webhooks = False

    silent = make_kit(media=Silent("wss://media.example", KEY, SECRET))
    for one, name in ((silent, "livekit"), (kit, "another"), (make_kit(), "livekit"), (kit, untyped(None))):
        with pytest.raises(RouteNotFound):
            one.receive_webhook(name, GOOD.headers, GOOD.body)


class Odd(LiveKit):
    """A backend with an answer of its own."""

    answer: Any = None

    def webhook(self, headers: Any, body: bytes, now: float) -> Any:
        return self.answer


@pytest.mark.parametrize("number", range(5))
def test_a_backend_that_returns_no_notices_is_at_fault(make_kit, number):
    odd = Odd("wss://media.example", KEY, SECRET)
    odd.answer = (None, "x", [None], [Notice("1", "token_issued", "x")], [("1", "room_started", "x")])[number]
    with pytest.raises(PolicyFault, match="webhook returned"):
        make_kit(media=odd).receive_webhook("livekit", {}, b"")


def test_a_room_whose_name_is_not_the_sessions_tells_of_no_session(make_kit, trail):
    class Derived(Odd):
        def room(self, session_id: str) -> str:
            return f"rc-{session_id[-8:]}"

    odd = Derived("wss://media.example", KEY, SECRET)
    kit = make_kit(media=odd, plugins=[trail])
    odd.answer = [Notice("1", "room_started", odd.room(kit.create_session().session_id))]
    kit.receive_webhook("livekit", {}, b"")
    assert trail.of_media == []
    with pytest.raises(NotImplementedError):
        MediaBackend.webhook(odd, {}, b"", 0)


# -- who is to stay out ----------------------------------------------------------------------------


def test_who_is_excluded_is_put_out_at_each_join(kit, server, trail, session_id):
    receive(kit, server.join(session_id, "eve"))
    receive(kit, server.join(session_id, "ada"))
    assert kit.exclude(session_id, "eve").disconnected
    for _ in range(2):  # with a token that the server itself has renewed
        receive(kit, server.join(session_id, "eve"))
        assert [*server.rooms[session_id]] == ["ada"]
    joined = [event for event in trail.events if isinstance(event, ParticipantJoined)]
    assert [(one.actor_id, one.code) for one in joined] == [
        ("eve", None),
        ("ada", None),
        ("eve", "excluded"),
        ("eve", "excluded"),
    ]
    other = kit.create_session().session_id
    receive(kit, server.join(other, "eve"))
    assert [*server.rooms[other]] == ["eve"]
    kit.readmit(session_id, Actor("eve"))
    receive(kit, server.join(session_id, "eve"))
    assert sorted(server.rooms[session_id]) == ["ada", "eve"]


def test_also_without_a_plugin_and_when_a_webhook_comes_again(make_kit, server):
    kit = make_kit(media=LiveKit(server.url, KEY, SECRET, timeout=PATIENCE), hook_timeout=2 * PATIENCE)
    session_id = kit.create_session().session_id
    kit.exclude(session_id, "eve")
    joined = server.join(session_id, "eve")
    for _ in range(2):
        server.join(session_id, "eve")
        receive(kit, joined)
        assert server.rooms[session_id] == {}


def test_the_room_of_a_session_that_has_ended_is_deleted_again(kit, server, trail, session_id):
    kit.end_session(session_id)
    server.join(session_id, "ada")
    receive(kit, server.join(session_id, "eve"))
    assert server.rooms == {}
    assert [one["code"] for one in trail.of_media] == ["session_ended"]


def test_a_worker_that_has_not_heard_of_an_exclusion_yet_asks_the_store(make_kit, server):
    kit = make_kit(media=LiveKit(server.url, KEY, SECRET, timeout=PATIENCE), hook_timeout=2 * PATIENCE, store=Behind())
    session_id = kit.create_session().session_id
    kit.exclude(session_id, "eve")
    for name in ("ada", "eve"):
        receive(kit, server.join(session_id, name))
    assert [*server.rooms[session_id]] == ["ada"]
    kit.readmit(session_id, "eve")
    receive(kit, server.join(session_id, "eve"))
    assert sorted(server.rooms[session_id]) == ["ada", "eve"]
    kit.end_session(session_id)
    receive(kit, server.join(session_id, "ada"))
    assert server.rooms == {}


def test_what_revokes_tokens_puts_nobody_out(kit, server, session_id):
    kit.revoke_actor("ada")
    kit.reset_session(session_id)
    kit.revoke_before()
    receive(kit, server.join(session_id, "ada"))
    assert [*server.rooms[session_id]] == ["ada"]


def test_a_server_that_is_out_of_order_is_to_send_it_again(kit, server, trail, session_id):
    kit.exclude(session_id, "eve")
    joined = server.join(session_id, "eve")
    server.instead = lambda _: (500, b"")
    with pytest.raises(Unavailable, match="RemoveParticipant"):
        receive(kit, joined)
    assert trail.of_media == []
    server.instead = None
    receive(kit, joined)
    assert server.rooms[session_id] == {}
    assert len(trail.of_media) == 1


def test_a_service_that_cannot_act_lets_them_stay_and_the_log_says_so(make_kit, trail, caplog):
    class Actless(LiveKit):
        service = None

    kit = make_kit(media=Actless("wss://media.example", KEY, SECRET), plugins=[trail])
    session_id = kit.create_session().session_id
    kit.exclude(session_id, "eve")
    with caplog.at_level(logging.WARNING, "rolecall"):
        receive(kit, webhook("participant_joined", session_id, "eve"))
    assert [one.get("code") for one in trail.of_media] == [None]
    assert "is to stay out (excluded), and stays in" in caplog.text


def test_a_verifier_takes_none():
    verifier = Rolecall.verifier("https://issuer.example/jwks.json", issuer="https://issuer.example")
    with verifier, pytest.raises(OnlyVerifies):
        verifier.receive_webhook("livekit", GOOD.headers, GOOD.body)
