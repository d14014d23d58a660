"""What plugins add: roles, claims, formats, stores, an audit trail; and votes at the edges of their limits."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from dataclasses import fields
from datetime import timedelta
from hashlib import sha256
from typing import Any

import flask
import pytest

from rolecall import Actor, Allow, Capability, Deny, Role, blocking, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import (
    ConfigurationError,
    InvalidData,
    InvalidRole,
    InvalidToken,
    MalformedToken,
    PolicyDenied,
    PolicyFault,
    RolecallError,
)
from rolecall.formats import TokenFormat
from rolecall.formats.claims import OPENTOK_CLAIMS, RESERVED
from rolecall.hookspecs import AccessRequest, ModerationRequest, SessionRequest, TokenRequest
from rolecall.request import Request
from rolecall.roles import ANY_TOKEN
from rolecall.sessions import SessionProperties
from rolecall.stores.memory import MemoryStore
from rolecall.tokens import MAX_LIFETIME
from rolecall_flask import require_role, rolecall_blueprint

from ...ids import as_text
from ...untyped import untyped

NOW = 1_795_186_800
HTTP = Request("POST", "/")
FORMATS = pytest.mark.parametrize("format", ["opentok", "t1"])
ASSISTANT = Role("assistant", ["connect", "publish", "force_disconnect"], wire_name="publisheronly")


def plugin(name="a plugin", **hooks):
    members = {f"rolecall_{hook}": staticmethod(hookimpl(function)) for hook, function in hooks.items()}
    return type("Plugin", (), {"name": name, **members})()


def claiming(claims, name="claims"):
    return plugin(name, token_claims=lambda request: claims)


def voting(vote, name="votes"):
    return plugin(name, vote_token=lambda request: vote)


# -- roles -----------------------------------------------------------------------------------------


@pytest.fixture
def with_roles(make_kit):
    def make(*roles, plugins=(), **options):
        return make_kit(plugins=[plugin("roles", register_roles=lambda: list(roles)), *plugins], **options)

    return make


@FORMATS
def test_a_role_of_the_apps_own_survives_the_wire(with_roles, make_kit, format):
    kit = with_roles(ASSISTANT, format=format)
    token = kit.create_session().generate_token("assistant")

    grant = kit.verify_token(token)
    assert grant.role == "assistant"
    assert grant.capabilities == ASSISTANT.capabilities
    assert grant.claims["role"] == "publisheronly"
    # One that does not know the role does not guess.
    with pytest.raises(InvalidToken):
        make_kit(format=format).verify_token(token)


@FORMATS
def test_a_standard_role_is_not_spelt_out(with_roles, format):
    kit = with_roles(ASSISTANT, format=format)
    assert "rolecall_role" not in kit.verify_token(kit.create_session().generate_token("publisheronly")).claims


@pytest.mark.parametrize(
    ("required", "role", "status"),
    [
        ("assistant", "assistant", 200),
        ("assistant", "moderator", 200),
        ("assistant", "publisher", 403),
        ("publisheronly", "assistant", 200),
        ("subscriber", "assistant", 403),
        ("moderator", "assistant", 403),
    ],
)
def test_a_guard_admits_by_what_the_role_may_do(with_roles, required, role, status):
    kit, app = with_roles(ASSISTANT), flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit))
    app.add_url_rule("/guarded", "guarded", require_role(required, kit=kit)(lambda: "in"))
    token = kit.create_session().generate_token(role)
    assert app.test_client().get("/guarded", headers={"Authorization": f"Bearer {token}"}).status_code == status


def test_a_guard_without_a_kit_does_not_know_the_role(with_roles):
    with_roles(ASSISTANT)
    with pytest.raises(ConfigurationError, match="kit="):
        require_role(untyped("assistant"))


def test_a_policy_may_limit_to_a_role_of_the_apps_own(with_roles):
    kit = with_roles(ASSISTANT, plugins=[voting(Allow(max_role=untyped("assistant")))])
    assert kit.verify_token(kit.create_session().generate_token("moderator")).role == "assistant"


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ([Role("assistant", ["connect"])], "wire_name"),
        ([Role("assistant", ["connect"], wire_name=untyped("nobody"))], "wire_name"),
        (
            [Role("helper", ["connect", "subscribe"], wire_name="moderator")],
            "may do more than the role: force",
        ),
        ([Role("publisher", ["connect"])], "registered twice"),
        ([ASSISTANT, ASSISTANT], "registered twice"),
        (["assistant"], "expected a Role"),
    ],
)
def test_a_role_that_cannot_be_stops_start_up(with_roles, roles, message):
    with pytest.raises(ConfigurationError, match=message):
        with_roles(*roles)


def test_two_plugins_may_not_register_the_same_role(make_kit):
    plugins = [plugin(name, register_roles=lambda: [ASSISTANT]) for name in ("a", "b")]
    with pytest.raises(ConfigurationError, match="registered twice"):
        make_kit(plugins=plugins)


@FORMATS
@pytest.mark.parametrize("role", ["assistant", "nobody"])
def test_a_wire_role_and_an_own_role_that_do_not_belong_together_are_refused(with_roles, format, role):
    """Signed with the right key, by a kit whose roles are others."""
    others = [Role(name, ["connect", "subscribe"], wire_name="subscriber") for name in ("assistant", "nobody")]
    token = with_roles(*others, format=format).create_session().generate_token(role)
    with pytest.raises(InvalidToken):
        with_roles(ASSISTANT, format=format).verify_token(token)


# -- claims ----------------------------------------------------------------------------------------


@FORMATS
@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"group": "a"},
        {"group": "ä ∑ 🎉"},
        {"group": ""},
        {"group": 'a"b\\c\n&=+;%:'},
        {"a": "1", "b": "2"},
        {"group_1": "a"},
        {"x-group": "a"},
        {"https://example.org/group": "a"},
        {"größe": "a"},
        {"size": 30},
        {"ratio": 0.5},
        {"late": True},
        {"seat": None},
        {"rooms": ["a", "b"]},
        {"class": {"name": "a", "rooms": [1, {"b": None}]}},
        {f"c{number}": "a" for number in range(60)},
        {f"c{number}": "a" for number in range(64)},
    ],
    ids=lambda claims: ascii(claims)[:40],
)
def test_claims_come_back_as_they_were_or_are_refused_before_they_are_signed(make_kit, format, claims):
    kit = make_kit(plugins=[claiming(claims)], format=format)
    session = kit.create_session()
    try:
        token = session.generate_token()
    except RolecallError:
        refused = True
    else:
        refused = False
    if refused:
        assert format == "t1" or len(claims) > 32
        return
    read = kit.verify_token(token).claims
    assert json.loads(json.dumps({name: read[name] for name in claims}, default=dict)) == claims


@FORMATS
@pytest.mark.parametrize("name", sorted(RESERVED | OPENTOK_CLAIMS))
def test_the_kits_own_claims_cannot_be_set(make_kit, format, name):
    kit = make_kit(plugins=[claiming({name: "moderator"})], format=format)
    with pytest.raises(PolicyFault, match=f"claims.*{name[:24]}"):
        kit.create_session().generate_token("subscriber")


@pytest.mark.parametrize(
    "claims",
    [
        {"a": object()},
        {"a": {1, 2}},
        {"a": b"bytes"},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 2**53 + 1},
        {"a": "\ud800"},
        {"\ud800": "a"},
        {"a": [[[[[[[[[1]]]]]]]]]},
        {f"c{number}": 1 for number in range(65)},
        ["a"],
        "a",
        7,
        [("a", 1)],
    ],
    ids=lambda claims: ascii(as_text(claims))[:30],
)
def test_claims_that_no_token_can_carry_are_the_plugins_fault(make_kit, claims):
    kit = make_kit(plugins=[claiming(claims)])
    with pytest.raises(PolicyFault, match="'claims' failed to add claims"):
        kit.create_session().generate_token()


def test_claims_that_hold_themselves_are_the_plugins_fault(make_kit):
    circle: dict[Any, Any] = {}
    circle["a"] = circle
    with pytest.raises(PolicyFault, match="'claims'"):
        make_kit(plugins=[claiming(circle)]).create_session().generate_token()


@FORMATS
def test_claims_that_make_the_token_too_long_are_refused(make_kit, format):
    kit = make_kit(plugins=[claiming({"a": "x" * 17_000})], format=format)
    with pytest.raises(InvalidData, match="claims make a token of"):
        kit.create_session().generate_token()


def test_claims_of_two_plugins_come_together(make_kit):
    kit = make_kit(plugins=[claiming({"a": 1, "c": [1]}, "one"), claiming({"b": 2, "c": [1]}, "two")])
    claims = kit.verify_token(kit.create_session().generate_token()).claims
    assert (claims["a"], claims["b"], claims["c"]) == (1, 2, (1,))


@pytest.mark.parametrize(
    ("one", "other"), [("a", "b"), (1, 2), (1, True), (0, False), (1, 1.5), ("1", 1), ([1], [1, 2]), (None, False)]
)
def test_two_plugins_that_set_one_claim_differently_are_a_fault(make_kit, one, other):
    kit = make_kit(plugins=[claiming({"a": one}, "one"), claiming({"a": other}, "two")])
    with pytest.raises(PolicyFault, match="another value"):
        kit.create_session().generate_token()


def test_claims_are_asked_for_what_is_granted(make_kit):
    seen = []
    kit = make_kit(
        plugins=[
            voting(Allow(max_role="subscriber", latest_expiry=NOW + 60, data="replaced")),
            plugin("claims", token_claims=lambda request: seen.append(request)),
        ]
    )
    kit.create_session().generate_token("moderator", data="asked for")
    (request,) = seen
    assert (request.role, request.expires_at, request.data) == ("subscriber", NOW + 60, "replaced")


def test_what_a_plugin_does_to_its_claims_afterwards_changes_no_token(make_kit):
    claims = {"rooms": ["a"]}
    kit = make_kit(plugins=[claiming(claims)])
    grant = kit.verify_token(kit.create_session().generate_token())
    claims["rooms"].append("b")
    assert grant.claims["rooms"] == ("a",)


# -- events ----------------------------------------------------------------------------------------


class Audit:
    def __init__(self):
        self.events = []

    @hookimpl
    def rolecall_on_event(self, event):
        self.events.append(event)

    def last(self):
        event = self.events[-1]
        told = [("name", event.name), *((field.name, getattr(event, field.name)) for field in fields(event))]
        return {name: value for name, value in told if value is not None and name != "call_id"}


ADA = plugin("login", identify=lambda request: Actor("ada"))
OPEN = plugin("open", vote_session=lambda request: Allow(), vote_token=lambda request: Allow())
CLOSED = plugin(
    "closed",
    vote_session=lambda request: Deny("no", "closed"),
    vote_token=lambda request: Deny("no", "closed"),
    vote_access=lambda request: Deny("no", "closed"),
)


@pytest.fixture
def audit():
    return Audit()


@pytest.fixture
def session(make_kit):
    return make_kit(store=MemoryStore()).create_session()


@pytest.fixture
def audited(make_kit, audit, session):
    """Kits that know ``session`` and whose events ``audit`` writes down."""

    def make(*plugins):
        return make_kit(store=session.kit._state.store, plugins=[audit, *plugins])

    return make


def test_a_session_that_was_created_is_told(audited, audit):
    session_id = audited().create_session().session_id
    assert audit.last() == {"name": "session_created", "at": NOW, "session_id": session_id}


def test_a_session_that_was_ended_is_told(audited, audit, session):
    audited().end_session(session.session_id)
    assert audit.last() == {"name": "session_ended", "at": NOW, "session_id": session.session_id}


def test_a_session_that_was_refused_is_told_with_who_asked_and_why(audited, audit):
    kit = audited(ADA, CLOSED)
    with pytest.raises(PolicyDenied):
        drive(kit.engine.create_session(SessionProperties(), call=Call(HTTP)))
    assert audit.last() == {
        "name": "session_refused",
        "at": NOW,
        "actor": Actor("ada"),
        "actor_id": "ada",
        "code": "closed",
        "http": HTTP,
    }


def test_a_token_that_was_issued_is_told_as_it_was_granted(audited, audit, session):
    kit = audited(ADA, OPEN, voting(Allow(max_role="subscriber")))
    token, _ = drive(kit.engine.generate_token(session.session_id, "moderator", None, None, (), Call(HTTP)))
    assert audit.last() == {
        "name": "token_issued",
        "at": NOW,
        "session_id": session.session_id,
        "token_id": kit.verify_token(token).token_id,
        "role": "subscriber",
        "actor": Actor("ada"),
        "actor_id": "ada",
        "http": HTTP,
        "expires_at": NOW + 86_400,
    }


@pytest.mark.parametrize("http", [None, HTTP])
def test_a_vote_and_the_event_of_the_same_call_have_one_id(audited, audit, session, http):
    voted = []
    kit = audited(OPEN, plugin("voter", vote_token=lambda request: voted.append(request.call_id)))
    for _ in range(2):
        drive(kit.engine.generate_token(session.session_id, "publisher", None, None, (), Call(http)))
        assert audit.events[-1].call_id == voted[-1] != ""
    assert voted[0] != voted[1]


@FORMATS
def test_the_token_id_that_is_told_is_the_tokens(make_kit, audit, format):
    kit = make_kit(plugins=[audit], format=format)
    token = kit.create_session().generate_token()
    assert audit.events[-1].token_id == kit.verify_token(token).token_id


def test_a_token_that_was_refused_is_told_with_the_role_that_was_asked_for(audited, audit, session):
    kit = audited(ADA, CLOSED)
    with pytest.raises(PolicyDenied):
        drive(kit.engine.generate_token(session.session_id, "moderator", None, None, (), Call(HTTP)))
    assert audit.last() == {
        "name": "token_refused",
        "at": NOW,
        "session_id": session.session_id,
        "role": "moderator",
        "actor": Actor("ada"),
        "actor_id": "ada",
        "code": "closed",
        "http": HTTP,
    }


@pytest.mark.parametrize("role", ["nobody", 7, None, ["a"]])
def test_a_token_of_a_role_that_does_not_exist_is_told_as_refused(audited, audit, session, role):
    with pytest.raises(InvalidRole):
        audited().generate_token(session.session_id, role)
    assert (audit.last()["name"], audit.last()["code"]) == ("token_refused", "invalid_role")


def test_a_token_that_came_and_was_refused_is_told(audited, audit, session):
    with pytest.raises(InvalidToken):
        audited().verify_token("no token", session.session_id)
    assert audit.last() == {
        "name": "access_refused",
        "at": NOW,
        "session_id": session.session_id,
        "code": "malformed_token",
    }


@pytest.mark.parametrize(
    ("plugins", "token", "required", "code"),
    [
        ([], None, "publisher", "missing_token"),
        ([], "nonsense", "publisher", "malformed_token"),
        ([], "subscriber", "publisher", "insufficient_role"),
        ([CLOSED], "moderator", "publisher", "closed"),
        ([plugin("faulty", vote_access=lambda request: 1)], "moderator", "publisher", "policy_fault"),
    ],
)
def test_a_guard_that_refuses_tells_once(audited, audit, session, plugins, token, required, code):
    kit, app = audited(*plugins), flask.Flask(__name__)
    app.add_url_rule("/in/<session_id>", "in", require_role(required, kit=kit)(lambda session_id: "in"))
    if token in ("subscriber", "moderator"):
        token = session.generate_token(token)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    app.test_client().get(f"/in/{session.session_id}", headers=headers)

    (event,) = audit.events
    assert (event.name, event.session_id, event.code) == ("access_refused", session.session_id, code)
    assert event.http.framework == "flask"


def test_admitting_tells_nothing(audited, audit, session):
    kit = audited()
    request = Request("GET", "/", {}, {"authorization": f"Bearer {session.generate_token()}"})
    drive(kit.engine.authorize(kit.api.credential_of(request), ANY_TOKEN, None, Call(request)))
    assert audit.events == []


@pytest.mark.parametrize("error", [OSError, SystemExit, StopIteration, asyncio.TimeoutError])
@pytest.mark.parametrize("kind", ["def", "async def", "blocking"])
def test_a_failure_to_take_note_is_logged_and_changes_nothing(make_kit, audit, caplog, error, kind):
    def fail(event):
        raise error("the secret is out")

    async def fail_async(event):
        raise error("the secret is out")

    function = {"def": fail, "async def": fail_async, "blocking": blocking(lambda event: fail(event))}[kind]
    kit = make_kit(plugins=[plugin("careless", on_event=function), audit], hook_timeout=0.5)

    assert kit.create_session().generate_token()
    assert asyncio.run(kit.aio.create_session())
    assert [event.name for event in audit.events] == ["session_created", "token_issued", "session_created"]
    assert caplog.text.count("'careless' failed on the event") == 3
    assert "the secret is out" not in caplog.text


def test_an_audit_that_is_slow_is_given_up_and_logged(make_kit, caplog):
    async def slow(event):
        await asyncio.sleep(60)

    kit = make_kit(plugins=[plugin("slow", on_event=slow)], hook_timeout=0.05)
    started = time.perf_counter()
    assert kit.create_session()
    assert time.perf_counter() - started < 1
    assert "'slow' failed on the event session_created" in caplog.text


@pytest.mark.parametrize("framework", ["sync", "async"])
def test_an_async_audit_is_waited_for(make_kit, framework):
    events = []

    async def take_note(event):
        await asyncio.sleep(0.01)
        events.append(event.name)

    kit = make_kit(plugins=[plugin("audit", on_event=take_note)])
    assert kit.create_session() if framework == "sync" else asyncio.run(kit.aio.create_session())
    assert events == ["session_created"]


def test_an_audit_that_is_never_awaited_is_logged(make_kit, caplog):
    """A decorator that hides the async def would otherwise lose the whole trail unnoticed."""

    async def take_note(event):
        raise AssertionError

    kit = make_kit(plugins=[plugin("careless", on_event=lambda event: take_note(event))])
    assert kit.create_session()
    assert "careless" in caplog.text
    assert "an implementation that awaits is an async def" in caplog.text


# -- formats and stores ----------------------------------------------------------------------------


class PlainFormat(TokenFormat):
    """``plain.<fields>.<digest>``: small, and safe enough for a test."""

    def __init__(self, issuers, rules):
        self._key, self._rules = issuers[0].ring.current, rules

    @staticmethod
    def recognizes(token):
        return token.startswith(b"plain.")

    def _digest(self, body):
        return self._key.digest(body, "sha256").hex().encode()

    def mint(self, options):
        claims = {
            "session_id": options.session_id,
            "role": options.role.wire_name,
            "iat": options.issued_at,
            "exp": options.expires_at,
        }
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
        return b".".join((b"plain", body, self._digest(body))).decode(), sha256(body).hexdigest()

    def verify(self, token, now):
        _, body, digest = token.split(b".")
        if digest != self._digest(body):
            raise MalformedToken("the digest does not fit")
        return self._rules.grant(json.loads(base64.urlsafe_b64decode(body + b"==")), now, sha256(body).hexdigest())


PLAIN = plugin("plain", register_formats=lambda: {"plain": PlainFormat})


def test_a_format_of_a_plugin_mints_and_verifies(make_kit):
    kit = make_kit(plugins=[PLAIN], format="plain", accept=["plain", "opentok"])
    session = kit.create_session()
    token = session.generate_token("moderator")
    assert token.startswith("plain.")
    assert kit.verify_token(token, session.session_id).role == "moderator"
    with pytest.raises(InvalidToken):
        kit.verify_token(token[:-1] + ("0" if token[-1] != "0" else "1"))


def test_a_kit_without_the_plugin_does_not_read_its_tokens(make_kit):
    token = make_kit(plugins=[PLAIN], format="plain", accept=["plain"]).create_session().generate_token()
    with pytest.raises(InvalidToken):
        make_kit().verify_token(token)


def test_a_kit_that_does_not_accept_the_format_does_not_read_its_tokens(make_kit):
    token = make_kit(plugins=[PLAIN], format="plain", accept=["plain"]).create_session().generate_token()
    with pytest.raises(InvalidToken):
        make_kit(plugins=[PLAIN]).verify_token(token)


def test_a_format_that_nobody_registers_is_named_beside_those_that_are(make_kit):
    with pytest.raises(ConfigurationError, match="opentok, t1, vonage, jwt, plain"):
        make_kit(plugins=[PLAIN], format="plane", accept=["plane"])


@pytest.mark.parametrize("error", [KeyError, ValueError, UnicodeDecodeError("utf-8", b"", 0, 1, "")])
def test_a_format_that_fails_on_a_token_does_not_accept_it(make_kit, error):
    class Failing(PlainFormat):
        def verify(self, token, now):
            raise error

    kit = make_kit(plugins=[plugin("f", register_formats=lambda: {"plain": Failing})], accept=["opentok", "plain"])
    app = flask.Flask(__name__)
    app.add_url_rule("/", "in", require_role("subscriber", kit=kit)(lambda: "in"))
    answer = app.test_client().get("/", headers={"Authorization": "Bearer plain.a.b"})
    assert answer.status_code in (401, 500)
    assert answer.data != b"in"


class FolderStore(MemoryStore):
    opened: tuple[str, ...] = ()

    def __init__(self, url):
        super().__init__()
        self.opened = (url,)


def test_a_store_of_a_plugin_is_opened_by_its_scheme(make_kit):
    stores = []
    folder = plugin(
        "folder", register_stores=lambda: {"folder": lambda url: stores.append(FolderStore(url)) or stores[0]}
    )
    kit = make_kit(plugins=[folder], store="folder:///var/sessions")
    session = kit.create_session()
    assert stores[0].opened == ("folder:///var/sessions",)
    assert kit.get_session(session.session_id).session_id == session.session_id


def test_an_unknown_scheme_is_refused_without_its_password(make_kit):
    folder = plugin("folder", register_stores=lambda: {"folder": FolderStore})
    with pytest.raises(ConfigurationError) as stopped:
        make_kit(plugins=[folder], store="floder://user:password@host")
    assert "password" not in str(stopped.value)
    assert "folder" in str(stopped.value).replace("floder", "")


@pytest.mark.parametrize("made", [None, object(), "memory://"])
def test_a_plugin_whose_store_is_none_stops_start_up(make_kit, made):
    folder = plugin("folder", register_stores=lambda: {"folder": lambda url: made})
    with pytest.raises(ConfigurationError, match="folder"):
        make_kit(plugins=[folder], store="folder://")


@pytest.mark.parametrize("hook", ["register_formats", "register_stores"])
def test_two_plugins_may_not_register_one_name(make_kit, hook):
    with pytest.raises(ConfigurationError, match="there already"):
        make_kit(plugins=[plugin(name, **{hook: lambda: {"same": PlainFormat}}) for name in ("a", "b")])


# -- start-up --------------------------------------------------------------------------------------


def test_a_plugin_is_started_once_with_a_kit_that_works(make_kit):
    started = []

    def start(kit):
        started.append(kit.create_session().generate_token())
        started.append(kit.plugin_config("the plugin")["size"])

    kit = make_kit(plugins=[plugin("the plugin", startup=start)], plugin_config={"The-Plugin": {"size": 30}})
    kit.create_session()
    assert len(started) == 2
    assert started[1] == 30


def test_a_plugin_without_configuration_has_an_empty_one(make_kit):
    kit = make_kit(plugins=[plugin("a", startup=lambda kit: None)], plugin_config={"a": {"size": 30}})
    assert kit.plugin_config("b") == {}


def test_configuration_is_copied(make_kit):
    config = {"a": {"size": 30}}
    kit = make_kit(plugins=[plugin("a", startup=lambda kit: None)], plugin_config=config)
    config["a"]["size"] = 31
    assert kit.plugin_config("a")["size"] == 30
    with pytest.raises(TypeError):
        kit.plugin_config("a")["size"] = 32


# -- votes at their edges --------------------------------------------------------------------------


def granted(make_kit, *votes, role="moderator", data=None, expire_time=None, **options):
    kit = make_kit(plugins=[voting(vote, f"p{number}") for number, vote in enumerate(votes)], **options)
    return kit.verify_token(kit.create_session().generate_token(role, expire_time, data))


@pytest.mark.parametrize(
    ("limit", "expires_at"),
    [
        (Allow(max_lifetime=1), NOW + 1),
        (Allow(max_lifetime=1.9), NOW + 1),
        (Allow(max_lifetime=60), NOW + 60),
        (Allow(max_lifetime=timedelta(minutes=5)), NOW + 300),
        (Allow(max_lifetime=10**9), NOW + 86_400),
        (Allow(max_lifetime=10**400), NOW + 86_400),
        (Allow(max_lifetime=float("inf")), NOW + 86_400),
        (Allow(max_lifetime=timedelta.max), NOW + 86_400),
        (Allow(latest_expiry=NOW + 1), NOW + 1),
        (Allow(latest_expiry=NOW + 1.9), NOW + 1),
        (Allow(latest_expiry=float("inf")), NOW + 86_400),
        (Allow(latest_expiry=NOW + 100, max_lifetime=50), NOW + 50),
        (Allow(latest_expiry=NOW + 50, max_lifetime=100), NOW + 50),
    ],
    ids=as_text,
)
def test_a_limit_cuts_a_tokens_life(make_kit, limit, expires_at):
    assert granted(make_kit, limit).expires_at == expires_at


@pytest.mark.parametrize(
    "limit",
    [
        Allow(max_lifetime=0),
        Allow(max_lifetime=-1),
        Allow(max_lifetime=0.5),
        Allow(max_lifetime=float("-inf")),
        Allow(latest_expiry=NOW),
        Allow(latest_expiry=NOW - 1),
        Allow(latest_expiry=NOW + 0.5),
        Allow(latest_expiry=0),
        Allow(latest_expiry=-(10**400)),
        Allow(max_role="subscriber", capabilities=["publish"]),
        Allow(capabilities=[]),
    ],
    ids=as_text,
)
def test_a_limit_that_leaves_nothing_denies(make_kit, limit):
    with pytest.raises(PolicyDenied):
        granted(make_kit, limit)


def test_no_vote_lengthens_a_tokens_life(make_kit):
    limit = Allow(latest_expiry=NOW + MAX_LIFETIME * 2, max_lifetime=MAX_LIFETIME * 2)
    assert granted(make_kit, limit, expire_time=NOW + 60).expires_at == NOW + 60


@FORMATS
@pytest.mark.parametrize("data", ["", "replaced", "x" * 1000, 'ä"\\\n🎉'])
def test_a_vote_replaces_the_data(make_kit, format, data):
    assert (granted(make_kit, Allow(data=data), data="asked for", format=format).data or "") == data


@pytest.mark.parametrize("data", ["x" * 1001, 7, b"a", "\ud800"])
def test_data_that_no_token_carries_is_the_plugins_fault(make_kit, data):
    kit = make_kit(plugins=[plugin("votes", vote_token=lambda request: Allow(data=data))])
    with pytest.raises(PolicyFault, match="votes"):
        kit.create_session().generate_token()


@pytest.mark.parametrize("limit", [Allow(), Allow(max_role="moderator"), Allow(capabilities=list(Capability)), None])
def test_a_vote_that_limits_nothing_changes_nothing(make_kit, limit):
    grant = granted(make_kit, limit, data="asked for")
    assert (grant.role, grant.expires_at, grant.data) == ("moderator", NOW + 86_400, "asked for")


def access(kit, token, **options):
    request = Request("GET", "/", {}, {"authorization": f"Bearer {token}"})
    return drive(kit.engine.authorize(kit.api.credential_of(request), ANY_TOKEN, None, Call(request)))


def entering(vote):
    return plugin("votes", vote_access=lambda request: vote)


@pytest.mark.parametrize("vote", [None, Allow()])
@pytest.mark.parametrize("age", [0, 59, 60, 69])
def test_a_policy_that_limits_nothing_lets_in_as_long_as_the_kit_alone_would(make_kit, clock, vote, age):
    """The leeway for clocks that differ included."""
    alone, kit = make_kit(leeway=10), make_kit(leeway=10, plugins=[entering(vote)])
    token = alone.create_session().generate_token(expire_time=NOW + 60)
    clock.now = NOW + age
    assert access(alone, token).role == "publisher"
    assert access(kit, token).role == "publisher"


@pytest.mark.parametrize("limit", [Allow(latest_expiry=NOW + 0.5), Allow(latest_expiry=NOW + 0.9)])
def test_access_is_denied_once_its_latest_moment_has_passed(make_kit, clock, limit):
    kit = make_kit(plugins=[entering(limit)])
    token = kit.create_session().generate_token()
    clock.now = NOW + 0.95
    with pytest.raises(PolicyDenied):
        access(kit, token)


def test_access_narrows_the_grant_of_this_request_alone(make_kit):
    kit = make_kit(plugins=[entering(Allow(max_role="subscriber", max_lifetime=60))])
    token = kit.create_session().generate_token("moderator")
    grant = access(kit, token)
    assert (grant.role, grant.expires_at) == ("subscriber", NOW + 60)
    assert kit.verify_token(token).role == "moderator"


def test_a_limit_that_leaves_less_than_the_route_requires_denies(make_kit):
    kit, app = make_kit(plugins=[entering(Allow(max_role="publisher"))]), flask.Flask(__name__)
    app.add_url_rule("/", "in", require_role("moderator", kit=kit)(lambda: "in"))
    token = kit.create_session().generate_token("moderator")
    answer = app.test_client().get("/", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, untyped(answer.json)["code"]) == (403, "insufficient_role")


@pytest.mark.parametrize("make", [lambda: Allow(reason=untyped(7)), lambda: Deny(detail=untyped(7))])
def test_a_reason_that_is_no_text_is_refused_where_the_vote_is_made(make):
    with pytest.raises(ConfigurationError):
        make()


def test_logs_of_denials_name_what_was_asked_for(make_kit, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(PolicyDenied):
        granted(make_kit, Deny("not today", detail="Ada owes us"))
    assert "'p0' denied a TokenRequest: not today Ada owes us" in caplog.text


# -- what each request has -------------------------------------------------------------------------


class Asked:
    """Allows everything, and remembers what it was shown."""

    def __init__(self):
        self.seen = []
        self.told = []

    def _allow(self, request):
        self.seen.append(request)
        return Allow()

    @hookimpl
    def rolecall_vote_session(self, request):
        return self._allow(request)

    @hookimpl
    def rolecall_vote_token(self, request):
        return self._allow(request)

    @hookimpl
    def rolecall_vote_access(self, request):
        return self._allow(request)

    @hookimpl
    def rolecall_vote_moderation(self, request):
        return self._allow(request)

    @hookimpl
    def rolecall_media_service(self):
        return type("Service", (), {"signal": lambda *_: None})()

    @hookimpl
    def rolecall_on_event(self, event):
        self.told.append(event)


def test_each_request_that_plugins_are_shown_has_the_same_head(make_kit):
    asked = Asked()
    app = flask.Flask(__name__)
    kit = make_kit(plugins=[ADA, asked], clock=lambda: NOW)
    app.register_blueprint(rolecall_blueprint(kit))
    client: Any = app.test_client()
    session_id = client.post("/sessions", json={}).json["session_id"]
    token = client.post(f"/sessions/{session_id}/tokens", json={"role": "moderator"}).json["token"]
    client.post(f"/sessions/{session_id}/signal", json={}, headers={"Authorization": f"Bearer {token}"})

    kinds = [SessionRequest, TokenRequest, AccessRequest, ModerationRequest]
    assert [type(request) for request in asked.seen] == kinds
    assert [request.now for request in asked.seen] == [NOW] * 4
    assert [request.dry_run for request in asked.seen] == [False] * 4
    assert [request.http.method for request in asked.seen] == ["POST"] * 4
    assert [request.actor for request in asked.seen] == [Actor("ada"), Actor("ada"), None, None]
    entered = asked.seen.pop(2)  # of which no event tells, because it was let in
    assert entered.call_id
    assert [request.call_id for request in asked.seen] == [event.call_id for event in asked.told]


def test_what_is_explained_and_what_is_looked_at_again_takes_nothing(make_kit):
    asked = Asked()
    kit = make_kit(plugins=[asked])
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token())
    asked.seen.clear()
    kit.explain_token(session)
    kit.check_grant(grant)
    assert [request.dry_run for request in asked.seen] == [True, True]
