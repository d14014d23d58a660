"""Janus: its signed tokens, and what becomes of the answers of its Admin API; the server is a stand-in."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rolecall import Role, RoleTable, inspect_token
from rolecall.errors import (
    BadSignature,
    ConfigurationError,
    ExpiredToken,
    InvalidClaim,
    InvalidToken,
    MalformedToken,
    NoIdentity,
    NoMediaService,
    NotFoundAtService,
    RevokedToken,
    RolecallError,
    RoleNotHeld,
    TokenNotYetValid,
    Unavailable,
    WrongTokenKind,
)
from rolecall.formats.claims import ClaimRules
from rolecall.media import Janus
from rolecall.media.janus import JanusFormat
from rolecall.tokens import TokenOptions

from ...tracebacks import held_by, told_by
from ...waiting import PATIENCE
from .stand_in import Answer, Asked, StandIn

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "media_tokens.json").read_text("utf-8"))
TOKENS = {one["inputs"]["label"]: one for one in VECTORS if one["service"] == "janus"}
pytestmark = pytest.mark.each_choice

SECRET = "throwaway-janus-token-secret-1234567890"
SETTINGS: dict[str, Any] = {
    "url": "wss://janus.example",
    "token_auth_secret": SECRET,
    "admin_url": "http://127.0.0.1:1/admin",
    "admin_secret": "throwaway-janus-admin-secret-0123456789ab",
    "admin_key": "throwaway-videoroom-admin-key-0123456789",
}
NOW = 1_700_000_000
REALM = "janus.plugin.videoroom"


def janus(**changes: Any) -> Janus:
    return Janus(**{**SETTINGS, **changes})


def janus_format(**changes: Any) -> Any:
    return janus(**changes).token_format(ClaimRules(RoleTable(), 10))


FORM = janus_format()


def options(**changes: Any) -> TokenOptions:
    return TokenOptions("demo", Role.PUBLISHER, NOW, NOW + 60, subject="alice")._replace(**changes)


def signed(data: str, secret: str = SECRET, digest: str = "sha1") -> bytes:
    signature = base64.b64encode(hmac.digest(secret.encode(), data.encode(), digest)).decode()
    return f"{data}:{signature}".encode()


# -- tokens ----------------------------------------------------------------------------------------


def test_the_token_of_a_room_is_read_and_that_of_the_server_is_none():
    grant = FORM.verify(TOKENS["room token (room option signed_tokens)"]["token"].encode(), NOW)
    assert (grant.session_id, grant.role, grant.actor_id, grant.expires_at) == ("7001", "publisher", None, NOW + 3600)
    with pytest.raises(WrongTokenKind, match=r"credentials\.videoroom"):
        FORM.verify(TOKENS["core token without descriptors"]["token"].encode(), NOW)


@pytest.mark.parametrize("actor", ["alice", "a,b:c=d", "Zoë 雪", "%41", "x" * 255], ids=ascii)
def test_a_minted_token_says_for_whom_it_is(actor):
    token, token_id = FORM.mint(options(subject=actor))
    assert token.startswith(f"{NOW + 60},{REALM},room=demo,iat={NOW},actor=")
    assert signed(token.rpartition(":")[0]) == token.encode()
    grant = FORM.verify(token.encode(), NOW)
    assert (grant.session_id, grant.actor_id, grant.token_id) == ("demo", actor, token_id)
    assert (grant.issued_at, grant.expires_at) == (NOW, NOW + 60)


@pytest.mark.parametrize("subject", [None, ""])
def test_a_token_without_an_identity_is_not_minted(subject):
    with pytest.raises(NoIdentity, match="the id of the actor"):
        FORM.mint(options(subject=subject))


ROOM = f"{NOW + 60},{REALM},room=demo"
WRONG: dict[str, tuple[bytes, type[InvalidToken], str]] = {
    "changed": (signed(ROOM).replace(b"demo", b"dem0"), BadSignature, "signature"),
    "other secret": (signed(ROOM, "another-secret-of-sufficient-length-1"), BadSignature, "signature"),
    "other bits in the padding": (signed(ROOM)[:-2] + b"B=", BadSignature, "signature"),
    "SHA-256": (signed(ROOM, digest="sha256"), MalformedToken, "expiry,realm"),
    "URL-safe": (signed(ROOM)[:-2] + b"-=", MalformedToken, "expiry,realm"),
    "unpadded": (signed(ROOM)[:-1], MalformedToken, "expiry,realm"),
    "no signature": (ROOM.encode(), MalformedToken, "expiry,realm"),
    "two signatures": (signed(ROOM) + b":x", MalformedToken, "expiry,realm"),
    "no time": (signed(f"x,{REALM},room=demo"), MalformedToken, "expiry,realm"),
    "a space": (signed(f"{ROOM} "), MalformedToken, "expiry,realm"),
    "no JWT": (b"e30.e30.", MalformedToken, "expiry,realm"),
    "expired": (signed(f"{NOW - 11},{REALM},room=demo"), ExpiredToken, "expired"),
    "too long a life": (signed(f"{NOW + 31 * 86_400},{REALM},room=demo"), InvalidClaim, "30 days"),
    "issued in the future": (signed(f"{ROOM},iat={NOW + 11}"), TokenNotYetValid, "future"),
    "another realm": (signed(f"{NOW + 60},janus.plugin.textroom,room=demo"), WrongTokenKind, "no room"),
    "no room": (signed(f"{NOW + 60},{REALM}"), InvalidClaim, "room"),
    "an empty room": (signed(f"{NOW + 60},{REALM},room="), InvalidClaim, "room"),
    "two rooms": (signed(f"{ROOM},room=other"), WrongTokenKind, "one room"),
    "another descriptor": (signed(f"{ROOM},x"), WrongTokenKind, "one room"),
    "iat as text": (signed(f"{ROOM},iat=x"), InvalidClaim, "iat"),
    "an empty actor": (signed(f"{ROOM},actor="), InvalidClaim, "actor"),
    "an actor in another spelling": (signed(f"{ROOM},actor=%61"), InvalidClaim, "actor"),
    "an actor that is no UTF-8": (signed(f"{ROOM},actor=%FF"), InvalidClaim, "actor"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_token_is_refused_with_the_reason(name):
    token, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        FORM.verify(token, NOW)


def test_a_secret_that_only_verifies_is_taken():
    old = "old-" + SECRET
    assert janus_format(verify_secrets=[old]).verify(signed(ROOM, old), NOW).session_id == "demo"


def test_it_is_told_apart_by_its_shape(kit):
    own = kit.create_session().generate_token().encode()
    core = TOKENS["core token without descriptors"]["token"].encode()
    for token, recognized in ((signed(ROOM), True), (core, True), (own, False), (b"T1==x", False)):
        assert JanusFormat.recognizes(token) is recognized
    assert JanusFormat.inspect(signed(ROOM)).claims["descriptors"] == ["room=demo"]
    assert dict(inspect_token(own.decode()).header) != {}


# -- tickets ---------------------------------------------------------------------------------------

CREATED = {"videoroom": "created", "room": "x", "permanent": False}
EVENT = {"videoroom": "event", "error": "SECRET"}


def answer(response: object) -> Answer:
    return 200, {"janus": "success", "transaction": "x", "response": response}


@pytest.fixture
def server() -> Iterator[StandIn]:
    server = StandIn()
    server.script = [answer(CREATED)]
    yield server
    server.stop()


@pytest.fixture
def kit_at(make_kit, server) -> Any:
    """Makes a kit with that server, which has all the time that a busy machine takes."""

    def make(**changes: Any) -> Any:
        settings = {**SETTINGS, "admin_url": f"{server.url}/admin", "timeout": PATIENCE, **changes}
        return make_kit(media="janus", media_config={"janus": settings}, hook_timeout=4 * PATIENCE)

    return make


def asked_of(request: Asked) -> dict[str, Any]:
    """The request to the plugin, in a request to the Admin API."""
    assert (request.method, request.path) == ("POST", "/admin")
    body = request.said
    assert body.pop("transaction")
    assert body.keys() == {"janus", "admin_secret", "plugin", "request"}
    assert (body["janus"], body["plugin"], body["admin_secret"]) == ("message_plugin", REALM, SETTINGS["admin_secret"])
    asked: dict[str, Any] = body["request"]
    return asked


def test_a_ticket_has_both_tokens_and_its_room_is_open(kit_at, server, clock):
    kit = kit_at(room_options={"publishers": 6, "bitrate": 128_000})
    session = kit.create_session()
    ticket = kit.ticket(kit.verify_token(session.generate_token(actor="Zoë")))
    end = int(clock()) + 60
    assert ticket.token == signed(f"{end},janus,{REALM}").decode()
    assert ticket.expires_at == end
    joining = ticket.as_dict()["credentials"]["videoroom"]
    assert joining.keys() == {"room", "token", "display"}
    assert (joining["room"], joining["display"]) == (ticket.room, "Zoë")
    named = f"room={ticket.room},iat={int(clock())},actor=Zo%C3%AB"
    assert joining["token"] == signed(f"{end},{REALM},{named}").decode()
    [created] = map(asked_of, server.asked)
    assert len(created.pop("secret")) == 64
    assert created == {
        "request": "create",
        "room": ticket.room,
        "admin_key": SETTINGS["admin_key"],
        "permanent": False,
        "is_private": True,
        "signed_tokens": True,
        "require_pvtid": True,
        "publishers": 6,
        "bitrate": 128_000,
    }


def test_each_room_has_a_secret_of_its_own(kit_at, server):
    kit = kit_at()
    for session in (kit.create_session(), kit.create_session()):
        kit.ticket(kit.verify_token(session.generate_token(actor="ada")))
    secrets = [asked_of(request)["secret"] for request in server.asked]
    assert len({*secrets, SECRET}) == 3


@pytest.mark.parametrize(
    ("session_id", "is_room"), [("demo", True), ("x" * 94, True), ("x" * 95, False), ("a,room=b", False), ("é", False)]
)
def test_a_descriptor_holds_the_name_of_a_room_whole(session_id, is_room):
    room = janus().room(session_id)
    assert (room == session_id) is is_room
    assert len(f"room={room}") <= 99
    assert FORM.takes_session(session_id) is is_room


@pytest.mark.parametrize("role", ["subscriber", "publisheronly"])
def test_a_role_that_it_does_not_hold_is_refused_unless_the_app_takes_it(kit_at, role):
    kit = kit_at()
    grant = kit.verify_token(kit.create_session().generate_token(role, actor="ada"))
    with pytest.raises(RoleNotHeld, match="would grant"):
        kit.ticket(grant)
    wider = kit_at(accept_wider={role})
    assert wider.ticket(wider.verify_token(wider.create_session().generate_token(role, actor="ada")))


def test_an_apps_guards_read_the_token_of_a_room(make_kit):
    kit = make_kit(media=janus(), accept=["opentok", "janus"], format="janus", session_names="plain")
    session = kit.create_session()
    token, other = (session.generate_token(actor=actor) for actor in ("a,b", "ben"))
    assert kit.verify_token(token).actor_id == "a,b"
    kit.exclude(session, "a,b")
    with pytest.raises(RevokedToken, match="excluded"):
        kit.verify_token(token)
    assert kit.verify_token(other).actor_id == "ben"
    kit.reset_session(session)
    with pytest.raises(RevokedToken, match="reset"):
        kit.verify_token(other)


@pytest.mark.parametrize("role", ["publisher", "moderator"])
def test_a_moderator_gets_what_a_publisher_gets(kit_at, role):
    kit = kit_at()
    assert kit.ticket(kit.verify_token(kit.create_session().generate_token(role, actor="ada"))).identity == "ada"


# -- acts ------------------------------------------------------------------------------------------

_REFUSES = (Unavailable, "refuses")
ANSWERS: dict[str, tuple[Answer, tuple[type[RolecallError], str]]] = {
    "no such user": (answer({**EVENT, "error_code": 428}), (NotFoundAtService, "no such connection")),
    "no such room": (answer({**EVENT, "error_code": 426}), (NotFoundAtService, "no such connection")),
    "wrong secret": (answer({**EVENT, "error_code": 433}), (Unavailable, "opened by somebody else")),
    "integers": (answer({**EVENT, "error_code": 430}), (NoMediaService, "string_ids = true")),
    "another error": (answer({**EVENT, "error_code": 499}), (Unavailable, "error 499")),
    "an error that is text": (answer({**EVENT, "error_code": "SECRET"}), (Unavailable, "error that has no number")),
    "no plugin": (
        (200, b'{"janus":"error","error":{"code":460,"reason":"SECRET"}}'),
        (Unavailable, "did not pass it"),
    ),
    "wrong admin_secret": ((200, b'{"janus":"error","error":{"code":403}}'), (Unavailable, "refuses the admin_secret")),
    "no JSON": ((200, b"SECRET"), (Unavailable, "did not pass it")),
    "another page": ((404, b"<html>SECRET"), (NotFoundAtService, "not open")),
    "out of order": ((503, b"SECRET"), (Unavailable, "status 503")),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_no_success_is_an_error_without_a_word_of_it(kit_at, server, name):
    body, (error, message) = ANSWERS[name]
    kit = kit_at()
    server.script = [body]
    with pytest.raises(error, match=message) as refused:
        kit.force_disconnect(kit.create_session(), "7")
    sent_secrets = [asked_of(request)["secret"] for request in server.asked]
    hidden = (SETTINGS["admin_secret"], SETTINGS["admin_key"], *sent_secrets)
    assert "SECRET" not in told_by(refused.value)
    assert not any(one in held_by(refused.value) for one in hidden)


@pytest.mark.parametrize("listed", [{"participants": "x"}, {"participants": [{}]}, {"participants": [{"id": 7}]}, {}])
def test_participants_that_are_none_are_an_error(kit_at, server, listed):
    kit = kit_at()
    server.script = [answer({"videoroom": "participants", **listed})]
    with pytest.raises(Unavailable, match="not that of the service"):
        kit.list_connections(kit.create_session())


def test_whoever_chose_an_odd_id_is_listed_and_disconnected(kit_at, server):
    odd = "\x01/../" + "z" * 400
    kit = kit_at()
    listed = [{"id": name, "display": name, "publisher": False} for name in ("7", odd, "", "rc-" + "0" * 40)]
    server.script = [answer({"videoroom": "participants", "participants": listed})]
    session = kit.create_session()
    ids = [one["connectionId"] for one in kit.list_connections(session)]
    assert ids[0] == "7"
    for shown, one in zip(ids, listed, strict=True):
        kit.force_disconnect(session, shown)
        kit.mute_stream(session, f"{shown}:0")
        kick, mute = [asked_of(request) for request in server.asked if b'"secret"' in request.body][-2:]
        assert (kick["request"], kick["id"]) == ("kick", one["id"])
        assert (mute["request"], mute["id"], mute["mid"], mute["mute"]) == ("moderate", one["id"], "0", True)
    with pytest.raises(NotFoundAtService, match="no such connection"):
        kit.force_disconnect(session, "rc-" + "1" * 40)


def test_a_room_that_is_open_is_the_kits_own_or_gives_no_ticket(kit_at, server):
    exists, edited, refused = {**EVENT, "error_code": 427}, {"videoroom": "edited"}, {**EVENT, "error_code": 433}
    kit = kit_at()
    server.script = [answer(one) for one in (exists, edited, exists, refused)]
    grant = kit.verify_token(kit.create_session().generate_token(actor="ada"))
    assert kit.ticket(grant).identity == "ada"
    other = kit.verify_token(kit.create_session().generate_token(actor="ada"))
    with pytest.raises(Unavailable, match="opened by somebody else"):
        kit.ticket(other)
    asked = [asked_of(request) for request in server.asked]
    assert [one["request"] for one in asked] == ["create", "edit"] * 2
    assert [one["secret"] for one in asked[::2]] == [one["secret"] for one in asked[1::2]]


def test_in_a_room_that_has_a_secret_of_before_a_rotation_it_is_acted(kit_at, server):
    old = "old-" + SECRET
    before, after = kit_at(token_auth_secret=old), kit_at(verify_secrets=[old])
    session = before.create_session()
    before.ticket(before.verify_token(session.generate_token(actor="ada")))
    server.script = [answer({**EVENT, "error_code": 433}), answer({"videoroom": "success"})]
    after.force_disconnect(session.session_id, "7")
    created, refused, kicked = map(asked_of, server.asked)
    assert created["secret"] == kicked["secret"] != refused["secret"]


@pytest.mark.parametrize("act", ["signal", "mute_all", "list_streams"])
def test_what_it_does_not_do_is_said(kit_at, server, act):
    kit = kit_at()
    with pytest.raises(NoMediaService):
        getattr(kit, act)(kit.create_session())
    assert act in Janus.acts
    assert server.asked == []


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "ftp://x"}, "url is not the URL of a service"),
        ({"token_auth_secret": "short"}, "token_auth_secret: the secret has 5 bytes"),
        ({"admin_secret": "janusoverlord"}, "admin_secret: the secret has 13 bytes"),
        ({"admin_key": None}, "admin_key: a secret is text"),
        ({"admin_key": b"k" * 8 + b"0123456789abcdefghijklmnop"}, "admin_key: expected text"),
        ({"admin_url": "wss://x"}, "admin_url is not the URL of a service"),
        ({"verify_secrets": ["short"]}, "verify_secrets, number 1"),
        ({"room_options": {"secret": "x"}}, "room_options has 'secret'"),
        ({"room_options": {"bitrate": [1]}}, "room_options has 'bitrate'"),
        ({"room_options": "x"}, "room_options is 'x'"),
    ],
)
def test_wrong_settings_stop_start_up(changes, message):
    given = {**SETTINGS, **changes}
    with pytest.raises(ConfigurationError, match=message) as refused:
        Janus(**given)
    secrets = [str(value) for name, value in given.items() if "secret" in name or name == "admin_key"]
    assert not any(repr(secret) in held_by(refused.value) for secret in secrets)


def test_options_of_rooms_come_from_the_environment(make_kit, monkeypatch):
    from rolecall import Rolecall

    names = {"ROLECALL_MEDIA": "janus", "ROLECALL_JANUS_ROOM_OPTIONS": '{"publishers": 6}'}
    settings = {f"ROLECALL_JANUS_{name.upper()}": value for name, value in SETTINGS.items()}
    kit = {"ROLECALL_API_KEY": "123456", "ROLECALL_API_SECRET": "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"}
    with Rolecall.from_env({**names, **settings, **kit}) as made:
        assert made.create_session().media == "janus"
