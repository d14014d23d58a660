"""Agora's tokens: those of its SDKs, what is minted, and tokens that are refused though the certificate signed them."""

from __future__ import annotations

import base64
import hmac
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from rolecall import Capability, Role, RoleTable
from rolecall.errors import (
    BadSignature,
    ConfigurationError,
    ExpiredToken,
    InvalidClaim,
    InvalidToken,
    MalformedToken,
    NoIdentity,
    NoMediaService,
    RevokedToken,
    RoleNotHeld,
    TokenNotYetValid,
    UnknownKey,
    WrongTokenKind,
)
from rolecall.formats.claims import ClaimRules
from rolecall.media import Agora
from rolecall.media.agora import AgoraFormat, tokens
from rolecall.tokens import TokenOptions

from ...tracebacks import held_by

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "media_tokens.json").read_text("utf-8"))
TOKENS = {f"{one['sdk'].split()[0]}: {one['inputs']['label']}": one for one in VECTORS if one["service"] == "agora"}
[OLDER] = [one for one in VECTORS if one["service"] == "agora-006"]
pytestmark = pytest.mark.each_choice

APP_ID, CERTIFICATE = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
OTHER = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
NOW = 1_700_000_000
ALL = "connect publish signal subscribe"
#: What the tokens of the SDKs grant. A privilege that ends before the token does is not read.
GRANTED = {
    "publisher by account": ALL,
    "publisher by uid": ALL,
    "subscriber by account": "connect subscribe",
    "subscriber by uid": "connect subscribe",
    "own expiry for each privilege": "connect subscribe",
}


def project(certificate: str = CERTIFICATE, **settings: Any) -> Agora:
    return Agora(APP_ID, certificate, **settings)


def agora_format(certificate: str = CERTIFICATE, **settings: Any) -> Any:
    return project(certificate, **settings).token_format(ClaimRules(RoleTable(), 10))


FORM = agora_format()


def options(role: str = "publisher", **changes: Any) -> TokenOptions:
    return TokenOptions("demo", RoleTable().get(role), NOW, NOW + 60, subject="alice")._replace(**changes)


def packed(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<H", len(raw)) + raw


def rtc(channel: str | bytes = "demo", account: str = "alice", **privileges: int) -> bytes:
    """The service of channels, with ``p1`` and so on."""
    seconds = {int(name[1:]): value for name, value in (privileges or {"p1": 60}).items()}
    rows = b"".join(struct.pack("<HI", number, value) for number, value in seconds.items())
    return struct.pack("<HH", 1, len(seconds)) + rows + packed(channel) + packed(account)


def wrapped(content: bytes) -> bytes:
    return b"007" + base64.b64encode(zlib.compress(content))


def signed(
    *services: bytes, count: int | None = None, issued_at: int = NOW, life: int = 60, app_id: str = APP_ID
) -> bytes:
    head = struct.pack("<IIIH", issued_at, life, 7, len(services) if count is None else count)
    info = packed(app_id) + head + b"".join(services)
    key = hmac.digest(struct.pack("<I", issued_at), CERTIFICATE.encode(), "sha256")
    key = hmac.digest(struct.pack("<I", 7), key, "sha256")
    return wrapped(packed(hmac.digest(key, info, "sha256")) + info)


# -- tokens of the SDKs ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_of_the_sdks_are_read(name):
    vector = TOKENS[name]
    grant = FORM.verify(vector["token"].encode(), NOW + 1)
    read = vector["claims"]
    [service] = read["services"]
    assert (grant.session_id, grant.actor_id) == (service["channel"], service["uid"])
    assert (grant.issued_at, grant.expires_at) == (read["issue_ts"], read["issue_ts"] + read["expire"])
    assert " ".join(sorted(grant.capabilities)) == GRANTED[vector["inputs"]["label"]]
    seen = FORM.inspect(vector["token"].encode())
    assert (seen.signature, seen.claims["salt"]) == (read["signature"], read["salt"])
    assert dict(seen.claims["privileges"]) == service["privileges"]


@pytest.mark.parametrize("name", TOKENS)
def test_changed_tokens_and_those_of_another_certificate_are_refused(name):
    token = TOKENS[name]["token"].encode()
    content = bytearray(zlib.decompress(base64.b64decode(token[3:])))
    for at in (2, 33, 40, len(content) - 1):
        changed = bytearray(content)
        changed[at] ^= 1
        with pytest.raises((BadSignature, UnknownKey)):
            FORM.verify(wrapped(bytes(changed)), NOW + 1)
    with pytest.raises(BadSignature):
        agora_format(OTHER).verify(token, NOW + 1)
    with pytest.raises(ExpiredToken):
        FORM.verify(token, NOW + 3611)
    assert agora_format(OTHER, verify_secrets=[CERTIFICATE]).verify(token, NOW + 1)


def test_each_token_of_the_sdks_is_in_the_table():
    assert {one["inputs"]["label"] for one in TOKENS.values()} == GRANTED.keys()


def test_the_older_form_is_named_as_such():
    token = OLDER["token"].encode()
    assert AgoraFormat.recognizes(token)
    with pytest.raises(WrongTokenKind, match="older form, 006; expected 007"):
        FORM.verify(token, NOW)
    assert AgoraFormat.issuer_of(token) is None


# -- what is minted --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in TOKENS if "account" in name and "AgoraIO" in name])
def test_a_minted_token_is_the_sdks_byte_by_byte(name, monkeypatch):
    vector = TOKENS[name]
    given = vector["inputs"]
    monkeypatch.setattr(tokens, "new_salt", lambda: vector["claims"]["salt"])
    role = "publisher" if given["role"] == 1 else "subscriber"
    assert FORM.mint(options(role, expires_at=NOW + 3600))[0] == vector["token"]


@pytest.mark.parametrize(
    "account", ["alice", "bob@example.org", "a" * 255, "auth0|123", "42", "a !#$%&()+-:;<=.>?@[]^_{}|~,"]
)
@pytest.mark.parametrize("role", ["subscriber", "publisher", "moderator"])
def test_a_minted_token_is_read_with_what_it_grants(role, account):
    token, token_id = FORM.mint(options(role, subject=account))
    grant = FORM.verify(token.encode(), NOW)
    assert (grant.session_id, grant.actor_id, grant.token_id) == ("demo", account, token_id)
    assert grant.capabilities == RoleTable().get(role).capabilities & RoleTable().get("publisher").capabilities
    assert set(FORM.inspect(token.encode()).claims["privileges"].values()) == {60}
    assert FORM.mint(options(role, subject=account))[1] != token_id


@pytest.mark.parametrize("account", [None, "", "Zoë", "a*", "a/b", 'a"b', "a" * 256, "a\n"], ids=ascii)
def test_a_token_without_an_account_is_not_minted(account):
    with pytest.raises(NoIdentity):
        FORM.mint(options(subject=account))


# -- what is refused -------------------------------------------------------------------------------

GOOD = signed(rtc())
BOMB = wrapped(bytes(8_000_000))
WRONG: dict[str, tuple[bytes, type[InvalidToken], str]] = {
    "another App ID": (signed(rtc(), app_id=OTHER), UnknownKey, "App ID"),
    "expired": (signed(rtc(), issued_at=NOW - 71), ExpiredToken, "expired"),
    "no life": (signed(rtc(), issued_at=NOW - 10, life=0), ExpiredToken, "expired"),
    "a privilege that has ended": (signed(rtc(p1=49), issued_at=NOW - 59), ExpiredToken, "expired"),
    "issued in the future": (signed(rtc(), issued_at=NOW + 11), TokenNotYetValid, "future"),
    "no privilege to join": (signed(rtc(p2=60)), WrongTokenKind, "join"),
    "no privilege": (signed(struct.pack("<HH", 1, 0) + packed("demo") + packed("a")), WrongTokenKind, "join"),
    "an unknown privilege": (signed(rtc(p1=60, p5=60)), MalformedToken, "unknown"),
    "a privilege twice": (
        signed(struct.pack("<HHHIHI", 1, 2, 1, 60, 1, 90) + packed("demo") + packed("alice")),
        MalformedToken,
        "twice",
    ),
    "any channel": (signed(rtc(channel="*")), WrongTokenKind, "more than one channel"),
    "no channel": (signed(rtc(channel="")), InvalidClaim, "channel"),
    "any account": (signed(rtc(account="")), InvalidClaim, "account"),
    "no service": (signed(struct.pack("<HH", 1, 0), count=0), WrongTokenKind, "another service"),
    "another service": (signed(struct.pack("<HHHI", 2, 1, 1, 60) + packed("a")), WrongTokenKind, "another service"),
    "two services": (signed(rtc(), rtc(channel="x")), WrongTokenKind, "several"),
    "a service that is not counted": (signed(rtc(), rtc(), count=1), MalformedToken, "after its content"),
    "a text that is no UTF-8": (signed(rtc(channel=b"\xff")), MalformedToken, "UTF-8"),
    "the end is missing": (signed(rtc()[:-1]), MalformedToken, "ends before"),
    "a length beyond the end": (signed(rtc()[:-7] + b"\xff\xff"), MalformedToken, "ends before"),
    "nothing": (wrapped(b""), MalformedToken, "ends before"),
    "a bomb": (BOMB, MalformedToken, "more than 4096 bytes"),
    "something after the end": (
        b"007" + base64.b64encode(base64.b64decode(GOOD[3:]) + b"x"),
        MalformedToken,
        "after its content",
    ),
    "an end that is missing": (b"007" + base64.b64encode(base64.b64decode(GOOD[3:])[:-3]), MalformedToken, "007|bytes"),
    "no zlib": (b"007" + base64.b64encode(b"x" * 80), MalformedToken, "zlib"),
    "no base64": (b"007!" + GOOD[4:], MalformedToken, "base64"),
    "unpadded": (signed(rtc(account="ab")).rstrip(b"=") + b"A", MalformedToken, "base64"),
    "URL-safe": (b"007__--", MalformedToken, "base64"),
    "another version": (b"008" + GOOD[3:], MalformedToken, "007"),
    "no token": (b"x", MalformedToken, "007"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_token_is_refused_with_the_reason(name):
    token, error, message = WRONG[name]
    assert len(token) < 16_384
    with pytest.raises(error, match=message):
        FORM.verify(token, NOW)


LATITUDE: dict[str, tuple[bytes, str, int]] = {
    "good": (GOOD, "connect subscribe", 60),
    "privileges without an end": (signed(rtc(p1=0, p2=0, p3=0, p4=0)), ALL, 60),
    "privileges beyond the token's": (signed(rtc(p1=90, p2=90, p3=90)), "connect publish subscribe", 60),
    "audio alone": (signed(rtc(p1=60, p2=60)), "connect subscribe", 60),
    "a privilege to join that ends before": (signed(rtc(p1=30, p2=40, p3=30, p4=20)), "connect publish subscribe", 30),
    "more than a day": (signed(rtc(p1=0, p4=86_400), life=10**6), "connect signal subscribe", 86_400),
}


@pytest.mark.parametrize("name", LATITUDE)
def test_privileges_are_read_as_far_as_they_last(name):
    token, held, life = LATITUDE[name]
    grant = FORM.verify(token, NOW)
    assert (" ".join(sorted(grant.capabilities)), grant.expires_at) == (held, NOW + life)


def test_it_is_told_apart_by_its_shape(kit):
    own = kit.create_session().generate_token().encode()
    for token, recognized in ((GOOD, True), (own, False), (b"T1==x", False), (b"007", False)):
        assert AgoraFormat.recognizes(token) is recognized
    assert AgoraFormat.issuer_of(GOOD) == APP_ID


# -- tickets ---------------------------------------------------------------------------------------


def granted(kit: Any, role: str, actor: str = "ada") -> Any:
    return kit.verify_token(kit.create_session().generate_token(role, actor=actor))


@pytest.mark.parametrize("role", ["publisher", "moderator"])
def test_a_ticket_names_the_project_the_channel_and_the_account(make_kit, clock, role):
    kit = make_kit(media=project(), session_names="plain")
    grant = granted(kit, role)
    ticket = kit.ticket(grant)
    assert (ticket.url, ticket.identity) == (f"agora://{APP_ID}", "ada")
    assert ticket.as_dict()["credentials"] == {"agora": {"app_id": APP_ID}}
    read = FORM.verify(ticket.token.encode(), clock())
    assert (read.session_id, read.actor_id, read.expires_at) == (ticket.room, "ada", int(clock()) + 60)
    assert read.role == "publisher"


def test_an_apps_guards_read_a_ticket(make_kit):
    kit = make_kit(media=project(), accept=["opentok", "agora"], session_names="plain")
    session = kit.create_session()
    token = kit.ticket(kit.verify_token(session.generate_token(actor="ada"))).token
    assert kit.verify_token(token, session.session_id).actor_id == "ada"
    kit.exclude(session, "ada")
    with pytest.raises(RevokedToken, match="excluded"):
        kit.verify_token(token)


HOLDS = {  # by role, what a ticket would grant beyond it: with and without co-host authentication
    "subscriber": (None, "publish, signal"),
    "publisheronly": ("subscribe", "signal, subscribe"),
    "publisher": (None, None),
    "moderator": (None, None),
}


@pytest.mark.parametrize("authenticated", [True, False])
@pytest.mark.parametrize("role", HOLDS)
def test_a_role_that_would_be_wider_is_refused_unless_the_app_takes_it(make_kit, role, authenticated):
    kit = make_kit(media=project(cohost_authentication=authenticated))
    beyond = HOLDS[role][0 if authenticated else 1]
    if beyond is None:
        assert kit.ticket(granted(kit, role)).identity == "ada"
        return
    with pytest.raises(RoleNotHeld, match=f"would grant {beyond}, too"):
        kit.ticket(granted(kit, role))
    wider = make_kit(media=project(cohost_authentication=authenticated, accept_wider=[role]))
    assert wider.ticket(granted(wider, role)).identity == "ada"


def test_who_may_publish_is_told_by_the_token_at_the_apps_guards(make_kit):
    kit = make_kit(media=project(accept_wider=["subscriber"]), accept=["opentok", "agora"], session_names="plain")
    for role in ("subscriber", "publisher"):
        assert kit.verify_token(kit.ticket(granted(kit, role)).token).role == role


def test_an_actor_whose_id_is_no_account_gets_no_ticket(make_kit):
    kit = make_kit(media=project())
    with pytest.raises(NoIdentity, match="cannot be a user account"):
        kit.ticket(granted(kit, "publisher", "Zoë"))


@pytest.mark.parametrize(("session_id", "is_room"), [("demo", True), ("x" * 63, True), ("x" * 64, False), ("*", False)])
def test_a_channel_has_less_than_64_bytes(session_id, is_room):
    room = project().room(session_id)
    assert ((room == session_id), len(room) < 64) == (is_room, True)


@pytest.mark.parametrize("act", ["signal", "mute_all", "list_streams", "list_connections"])
def test_what_is_not_done_is_said(make_kit, act):
    kit = make_kit(media=project())
    with pytest.raises(NoMediaService):
        getattr(kit, act)(kit.create_session())
    assert Agora.acts[act].startswith("not done")


def test_a_session_ends_and_an_actor_is_excluded_without_a_service(make_kit):
    kit = make_kit(media=project())
    session = kit.create_session()
    assert not kit.exclude(session, "ada").disconnected
    kit.end_session(session)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"app_id": "demo"}, "app_id is missing or malformed"),
        ({"app_certificate": "short"}, "app_certificate: the secret has 5 bytes"),
        ({"app_id": CERTIFICATE, "app_certificate": "short"}, "app_certificate: the secret has 5 bytes"),
        ({"app_certificate": CERTIFICATE.replace("f", "g")}, "a certificate has 32 hexadecimal digits"),
        ({"verify_secrets": ["g" + OTHER]}, "a certificate has 32 hexadecimal digits"),
        ({"cohost_authentication": 1}, "cohost_authentication is 1"),
        ({"ticket_life": 86_401}, "ticket_life is 86401"),
    ],
)
def test_wrong_settings_stop_start_up(changes, message):
    with pytest.raises(ConfigurationError, match=message) as refused:
        Agora(**{"app_id": APP_ID, "app_certificate": CERTIFICATE, **changes})
    assert CERTIFICATE not in held_by(refused.value)


def test_capabilities_that_policies_left_are_privileges():
    held = Role.PUBLISHER.capabilities - {Capability.SIGNAL}
    assert agora_format(cohost_authentication=True).carries(Role.PUBLISHER, held)
    assert not FORM.carries(Role.PUBLISHER, held)
    read = FORM.inspect(FORM.mint(options(narrowed=held))[0].encode())
    assert dict(read.claims["privileges"]) == {"1": 60, "2": 60, "3": 60}
