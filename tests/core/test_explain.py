"""Explanations: the step that refused is the last one, they hold no token, and they say what really happens."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta

import flask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from rolecall import Actor, Allow, Deny, Rolecall, RolecallError, hookimpl
from rolecall.driver import drive
from rolecall.encoding import base64url
from rolecall.engine import Call
from rolecall.errors import PolicyDenied
from rolecall.explain import Explanation, Step
from rolecall.request import Request
from rolecall.roles import ANY_TOKEN, Requirement
from rolecall_flask import require_role, rolecall_blueprint

from ..budgets import examples
from ..untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
OTHER_SECRET = "another secret, of another project, 9876543210"
NOW = 1_795_186_800
HTTP = Request("POST", "/")


def plugin(name="p", **hooks):
    members = {f"rolecall_{hook}": staticmethod(hookimpl(function)) for hook, function in hooks.items()}
    return type("Plugin", (), {"name": name, **members})()


def answering(answer):
    """A hook that returns this, or raises it."""

    def hook(request):
        if isinstance(answer, type) and issubclass(answer, Exception):
            raise answer
        return answer

    return hook


def last(explanation):
    return explanation.steps[-1].name, explanation.steps[-1].outcome


def kit_of(*plugins, **options):
    return Rolecall(KEY, SECRET, plugins=plugins, **{"clock": lambda: NOW, **options})


OPEN = plugin("open", vote_session=answering(Allow()), vote_token=answering(Allow()))


# -- tokens ----------------------------------------------------------------------------------------


def test_a_token_that_is_allowed_is_explained_step_by_step(kit):
    explanation = kit.explain_token(kit.create_session().session_id, "moderator")
    assert (explanation.subject, explanation.allowed, explanation.code) == ("token", True, None)
    assert [step.name for step in explanation.steps] == ["request", "session open", "policy rolecall", "grant"]


def test_explaining_issues_nothing(make_kit):
    events = []

    class Audit:
        @hookimpl
        def rolecall_on_event(self, event):
            events.append(event.name)

    kit = make_kit(plugins=[Audit()])
    session_id = kit.create_session().session_id
    kit.explain_token(session_id)
    kit.explain_token(session_id, "nobody")
    assert events == ["session_created"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"role": "nobody"}, "invalid_role"),
        ({"expire_time": NOW}, "invalid_expire_time"),
        ({"data": "x" * 1001}, "invalid_data"),
        ({"initial_layout_class_list": ["a b"]}, "invalid_data"),
        ({"session_id": "nonsense"}, "invalid_session_id"),
        ({"session_id": None}, "invalid_session_id"),
    ],
)
def test_what_is_wrong_with_the_request_is_its_last_step(kit, arguments, code):
    explanation = kit.explain_token(**{"session_id": kit.create_session().session_id, **arguments})
    assert (explanation.allowed, explanation.code) == (False, code)
    assert last(explanation) == ("request", "refused")
    assert len(explanation.steps) == 1


def test_a_session_that_has_ended_is_the_last_step(kit):
    session_id = kit.create_session().session_id
    kit.end_session(session_id)
    explanation = kit.explain_token(session_id)
    assert explanation.code == "session_ended"
    assert last(explanation) == ("session open", "refused")


def test_a_session_that_is_unknown_is_the_last_step(kit, make_kit):
    explanation = kit.explain_token(make_kit().create_session().session_id, http=HTTP)
    assert explanation.code == "session_not_found"
    assert last(explanation) == ("session open", "refused")


@pytest.mark.parametrize(
    ("hooks", "step", "outcome", "code"),
    [
        ({"vote_token": Deny("no", "closed")}, "policy p", "deny", "closed"),
        ({"vote_token": OSError}, "policy p", "fault", "policy_fault"),
        ({"vote_token": True}, "policy p", "fault", "policy_fault"),
        ({"identify": OSError}, "identify", "refused", "policy_fault"),
        ({"identify": "ada"}, "identify", "refused", "policy_fault"),
        ({"vote_token": Allow(latest_expiry=NOW)}, "grant", "refused", "policy_denied"),
        ({"vote_token": Allow(capabilities=["signal"])}, "grant", "refused", "policy_denied"),
        ({"token_claims": OSError}, "claims", "refused", "policy_fault"),
        ({"token_claims": {"role": "moderator"}}, "claims", "refused", "policy_fault"),
    ],
)
def test_the_plugin_that_refuses_a_token_is_the_last_step(hooks, step, outcome, code):
    with kit_of(OPEN, plugin("p", **{hook: answering(answer) for hook, answer in hooks.items()})) as kit:
        with kit_of() as before:
            kit._state.store.add_session(before.create_session())
            (session_id,) = kit._state.store._sessions
        explanation = kit.explain_token(session_id, http=HTTP)
    assert (explanation.allowed, explanation.code) == (False, code)
    assert last(explanation) == (step, outcome)


def test_nobody_allowing_is_explained_after_the_votes(make_kit):
    kit = make_kit(plugins=[plugin("a", vote_token=answering(None))])
    session_id = kit.create_session().session_id
    explanation = kit.explain_token(session_id, http=HTTP)
    assert [step[:2] for step in explanation.steps[-3:-1]] == [("policy rolecall", "abstain"), ("policy a", "abstain")]
    assert explanation.steps[-1].outcome == "refused"
    assert "no policy" in explanation.steps[-1].detail


def test_the_trace_is_the_table_for_people(make_kit):
    decision = make_kit().explain_token(make_kit().create_session().session_id)
    assert decision.trace == str(decision)
    assert decision.trace.startswith("token: allowed\n")


def test_all_votes_stand_together_and_after_a_denial_there_is_nothing_else(make_kit):
    kit = make_kit(plugins=[plugin("a", vote_token=answering(Deny())), plugin("b", vote_token=answering(Allow()))])
    explanation = kit.explain_token(kit.create_session().session_id)
    votes = [(step.name, step.outcome) for step in explanation.steps[-3:]]
    assert votes == [("policy rolecall", "allow"), ("policy a", "deny"), ("policy b", "allow")]


def test_a_vote_is_explained_with_its_limits_and_not_with_the_data_it_sets(make_kit):
    vote = Allow("subscriber", NOW + 60, ["connect", "subscribe"], "in class", timedelta(hours=1), "Ada Lovelace")
    kit = make_kit(plugins=[plugin("a", vote_token=answering(vote))])
    explanation = kit.explain_token(kit.create_session().session_id)
    (step,) = [step for step in explanation.steps if step.name == "policy a"]
    for part in ("in class", "subscriber", str(NOW + 60), "connect+subscribe", "3600", "data=replaced"):
        assert part in step.detail
    assert "Ada" not in explanation.as_json()


@pytest.mark.parametrize("make", [lambda: Allow(reason=untyped(7)), lambda: Deny("no", detail=untyped(7))])
def test_a_vote_that_can_be_made_can_be_explained(make_kit, make):
    kit = make_kit(plugins=[plugin("a", vote_token=lambda request: make())])
    assert kit.explain_token(kit.create_session().session_id).steps


# -- access ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokens():
    """A token of each kind, by name."""
    # An id of the same API key that another service made, so that kits with other secrets mint for it, too.
    session_id = "1_" + base64url.encode(b"1~123456~~1795186800000~0.5~P~~").decode()
    with kit_of() as kit, Rolecall(KEY, OTHER_SECRET, clock=lambda: NOW) as forger, Rolecall("654321", SECRET) as other:
        good = kit.generate_token(session_id, "moderator", data="canary data")
        with kit_of(clock=lambda: NOW - 4000) as earlier, kit_of(clock=lambda: NOW + 4000) as later:
            expired = earlier.generate_token(session_id, expire_time=NOW - 1000)
            early = later.generate_token(session_id)
        header, payload, signature = good.split(".")
        return {
            "good": good,
            "subscriber": kit.generate_token(session_id, "subscriber"),
            "session": session_id,
            "other session": kit.create_session().session_id,
            "forged": forger.generate_token(session_id),
            "cut": good[:-3],
            "one dot": f"{header}.{payload}",
            "empty": "",
            "other key": other.create_session().generate_token(),
            "expired": expired,
            "early": early,
            "swapped": f"{header}.{forger.generate_token(session_id).split('.')[1]}.{signature}",
            "no alg": f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.",
            "RS256": f"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.{payload}.{signature}",
        }


ACCESS = [
    ("good", {}, None, "role", "ok"),
    ("forged", {}, "bad_signature", "signature", "refused"),
    ("swapped", {}, "bad_signature", "signature", "refused"),
    ("cut", {}, None, None, "refused"),
    ("one dot", {}, "malformed_token", "form", "refused"),
    ("empty", {}, "malformed_token", "form", "refused"),
    ("other key", {}, "unknown_key", "key", "refused"),
    ("expired", {}, "expired_token", "claims", "refused"),
    ("early", {}, "token_not_yet_valid", "claims", "refused"),
    ("subscriber", {"role": "moderator"}, "insufficient_role", "role", "refused"),
    ("subscriber", {"capability": "publish"}, "insufficient_role", "role", "refused"),
    ("good", {"session_id": "1_another"}, "wrong_session", "session", "refused"),
]


@pytest.mark.parametrize(("token", "options", "code", "step", "outcome"), ACCESS)
def test_the_step_that_refuses_access_is_the_last_one(tokens, token, options, code, step, outcome):
    with kit_of() as kit:
        explanation = kit.explain_access(tokens[token], **options)
    assert explanation.subject == "access"
    assert explanation.allowed is (outcome == "ok")
    assert explanation.steps[-1].outcome == outcome
    if step is not None:
        assert (explanation.code, explanation.steps[-1].name) == (code, step)
    assert not any(one.outcome == "refused" for one in explanation.steps[:-1])


@pytest.mark.parametrize("token", ["no alg", "RS256"])
def test_a_signature_that_was_not_checked_is_not_said_to_be_good(tokens, token):
    with kit_of() as kit:
        explanation = kit.explain_access(tokens[token])
    assert not explanation.allowed
    assert ("signature", "ok") not in [(step.name, step.outcome) for step in explanation.steps]


def test_a_token_whose_session_has_ended(make_kit):
    kit = make_kit()
    session = kit.create_session()
    token = session.generate_token()
    kit.end_session(session.session_id)
    explanation = kit.explain_access(token)
    assert (explanation.code, *last(explanation)) == ("revoked_token", "session open", "refused")
    assert ("signature", "ok") in [(step.name, step.outcome) for step in explanation.steps]


@pytest.mark.parametrize(
    ("header", "code"),
    [(None, "missing_token"), ("Basic YTpi", None), ("Bearer a b", "malformed_credential"), ("Bearer a,b", None)],
)
def test_a_credential_that_is_none_is_the_last_step(kit, header, code):
    http = Request("GET", "/", {}, {"authorization": header} if header else {})
    explanation = kit.explain_access(http=http)
    assert last(explanation) == ("credential", "refused")
    assert code is None or explanation.code == code


@pytest.mark.parametrize(
    ("vote", "step", "outcome", "code"),
    [
        (Deny("no", "closed"), "policy p", "deny", "closed"),
        (OSError, "policy p", "fault", "policy_fault"),
        (Allow(max_role="subscriber"), "role", "refused", "insufficient_role"),
        (Allow(latest_expiry=NOW), "grant", "refused", "policy_denied"),
    ],
)
def test_the_plugin_that_refuses_access_is_the_last_step(tokens, vote, step, outcome, code):
    with kit_of(plugin("p", vote_access=answering(vote))) as kit:
        explanation = kit.explain_access(tokens["good"], role="moderator")
    assert (explanation.allowed, explanation.code) == (False, code)
    assert last(explanation) == (step, outcome)


# -- for people and for machines -------------------------------------------------------------------


def test_an_explanation_is_a_table_for_people():
    steps = (Step("request", "ok", "publisher"), Step("policy slow one", "deny", "not\ntoday", 0.0123))
    assert str(Explanation("token", False, steps, "closed")).splitlines() == [
        "token: refused (closed)",
        "  request          ok             publisher",
        "  policy slow one  deny  12.3 ms  not?today",
    ]


def test_a_table_without_steps_has_one_line():
    assert str(Explanation("token", True, ())) == "token: allowed"


@pytest.mark.parametrize("code", ["a\nforged: line", "a\x1b[31m"])
def test_a_code_cannot_forge_a_line_of_the_table(code):
    assert str(Explanation("token", False, (), code)).isprintable()


@pytest.mark.parametrize("reason", ["plain", 'ä "quoted" \n\x00🎉', "\ud800"])
def test_an_explanation_is_one_line_of_json_for_machines(make_kit, reason):
    kit = make_kit(plugins=[plugin("p", vote_token=answering(Deny(reason, "closed", "detail")))])
    explanation = kit.explain_token(kit.create_session().session_id)
    text = explanation.as_json()
    assert "\n" not in text
    assert json.loads(text) == explanation.as_dict()
    assert set(json.loads(text)) == {"subject", "allowed", "code", "steps"}
    assert {name for step in json.loads(text)["steps"] for name in step} == {"step", "outcome", "detail", "seconds"}


@pytest.mark.parametrize("case", ACCESS, ids=lambda case: f"{case[0]}-{case[3]}")
def test_no_explanation_holds_a_token_or_a_secret(tokens, case):
    with kit_of() as kit:
        explanation = kit.explain_access(tokens[case[0]], **case[1])
    for text in (explanation.as_json(), str(explanation), repr(explanation)):
        assert SECRET not in text
        assert "canary data" not in text
        assert not any(len(part) > 10 and part in text for part in tokens[case[0]].split("."))


# -- traces in the log -----------------------------------------------------------------------------


def traces(caplog):
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "rolecall.trace"]


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: Rolecall(KEY, SECRET, trace=True, **options),
        lambda **options: Rolecall.from_env(
            {"ROLECALL_API_KEY": KEY, "ROLECALL_API_SECRET": SECRET, "ROLECALL_TRACE": "1"}, **options
        ),
    ],
)
def test_each_decision_is_one_line_in_the_log(make, caplog):
    caplog.set_level(logging.INFO)
    with make() as kit:
        session = kit.create_session()
        token = session.generate_token()
        with pytest.raises(RolecallError):
            session.generate_token("nobody")
        good = HTTP._replace(headers={"authorization": f"Bearer {token}"})
        drive(kit.engine.authorize(kit.api.credential_of(good), Requirement.of_role("publisher"), None, Call(good)))
        with pytest.raises(RolecallError):
            drive(kit.engine.authorize(kit.api.credential_of(HTTP), Requirement.of_role("publisher"), None, Call(HTTP)))
    assert [(trace["subject"], trace["allowed"], trace["code"]) for trace in traces(caplog)] == [
        ("session", True, None),
        ("token", True, None),
        ("token", False, "invalid_role"),
        ("access", True, None),
        ("access", False, "missing_token"),
    ]
    assert token.rpartition(".")[2] not in caplog.text


def test_nothing_is_traced_unless_it_is_asked_for(kit, caplog):
    caplog.set_level(logging.DEBUG)
    kit.create_session().generate_token()
    assert not traces(caplog)


def test_a_trace_says_the_same_as_an_explanation(make_kit, caplog):
    caplog.set_level(logging.INFO)
    kit = make_kit(trace=True, plugins=[plugin("p", vote_token=answering(Deny("no", "closed")))])
    session_id = kit.create_session().session_id
    with pytest.raises(PolicyDenied):
        kit.generate_token(session_id)
    explained = kit.explain_token(session_id).as_dict()
    traced = traces(caplog)[-1]
    for one in (explained, traced):
        for step in one["steps"]:
            del step["seconds"]
    assert {name: traced[name] for name in explained} == explained


# -- who, where and when, in traces and events -----------------------------------------------------

CIRCUMSTANCES = ["time", "call_id", "session_id", "method", "route", "actor"]
LOGIN = plugin("login", identify=lambda request: Actor(request.headers["x-user"]) if request.headers else None)


class Audit:
    name = "audit"

    def __init__(self):
        self.events = []

    @hookimpl
    def rolecall_on_event(self, event):
        self.events.append(event)


@pytest.fixture
def audit():
    return Audit()


@pytest.fixture
def traced(make_kit, audit, caplog):
    """A kit that logs its decisions, with an app whose views are guarded, under ``/app``."""
    caplog.set_level(logging.INFO, "rolecall.trace")
    return make_kit(trace=True, plugins=[audit, LOGIN, OPEN])


@pytest.fixture
def client(traced):
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(traced), url_prefix="/video")

    @app.get("/rooms/<session_id>")
    @require_role("moderator")
    def room(session_id):
        return "in"

    return Client(DispatcherMiddleware(NotFound(), {"/app": app}))


def circumstances_of(trace):
    return {name: trace[name] for name in CIRCUMSTANCES if name != "call_id"}


def test_a_trace_has_its_members_in_this_order(traced, caplog):
    traced.create_session()
    assert list(traces(caplog)[0]) == ["subject", "allowed", "code", *CIRCUMSTANCES, "steps"]


def test_a_trace_of_the_server_s_own_code_names_no_request(traced, caplog):
    session_id = traced.create_session().session_id
    traced.generate_token(session_id)
    with pytest.raises(RolecallError):
        traced.generate_token("1_made-up")
    known = {"time": NOW, "session_id": session_id, "method": None, "route": None, "actor": None}
    assert list(map(circumstances_of, traces(caplog))) == [known, known, {**known, "session_id": None}]


def test_a_trace_of_a_request_names_its_session_method_route_and_actor(client, caplog):
    user = {"X-User": "ada"}
    session_id = client.post("/app/video/sessions", headers=user).json["session_id"]
    token = client.post(f"/app/video/sessions/{session_id}/tokens", headers=user).json["token"]
    client.get(f"/app/rooms/{session_id}", headers={"Authorization": f"Bearer {token}"})
    by_ada = {"time": NOW, "session_id": session_id, "method": "POST", "actor": "ada"}
    assert list(map(circumstances_of, traces(caplog))) == [
        {**by_ada, "route": "/app/video/sessions"},
        {**by_ada, "route": f"/app/video/sessions/{session_id}/tokens"},
        {**by_ada, "route": f"/app/rooms/{session_id}", "method": "GET"},
    ]


def test_a_trace_and_the_event_of_the_same_call_agree(traced, client, audit, caplog):
    user = {"X-User": "ada"}
    session_id = client.post("/app/video/sessions", headers=user).json["session_id"]
    client.post(f"/app/video/sessions/{session_id}/tokens", headers=user)
    client.get(f"/app/rooms/{session_id}")
    traced.create_session()
    with pytest.raises(RolecallError):
        traced.signal(session_id, "chat", "hello")
    names = ["session_created", "token_issued", "access_refused", "session_created", "moderation_refused"]
    assert [event.name for event in audit.events] == names
    told = [{name: event.as_dict()[name] for name in CIRCUMSTANCES} for event in audit.events]
    assert told == [{name: trace[name] for name in CIRCUMSTANCES} for trace in traces(caplog)]
    assert len({one["call_id"] for one in told}) == len(told)
    assert all(one["call_id"] for one in told)


def test_an_async_call_agrees_too(traced, audit, caplog):
    async def call():
        session = await traced.aio.create_session()
        await session.generate_token()

    asyncio.run(call())
    assert [event.call_id for event in audit.events] == [trace["call_id"] for trace in traces(caplog)]


def test_a_record_carries_the_same_for_formatters(client, caplog):
    client.post("/app/video/sessions", headers={"X-User": "ada"})
    (record,) = [record for record in caplog.records if record.name == "rolecall.trace"]
    assert json.loads(record.getMessage()) == record.rolecall


def test_an_app_s_own_attributes_of_records_are_no_obstacle(traced):
    made = logging.getLogRecordFactory()

    def factory(*args, **kwargs):
        record = made(*args, **kwargs)
        for name in ("subject", "allowed", "code", *CIRCUMSTANCES, "steps"):
            setattr(record, name, "the app's own")
        return record

    logging.setLogRecordFactory(factory)
    try:
        assert traced.create_session().generate_token()
    finally:
        logging.setLogRecordFactory(made)


@pytest.mark.parametrize("format", ["opentok", "t1", "vonage"])
def test_neither_a_trace_nor_an_event_holds_a_token_wherever_it_was_put(make_kit, audit, caplog, format):
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    caplog.set_level(logging.INFO)
    private_key = rsa.generate_private_key(65_537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    application = {"application_id": "78d335fa-323d-0114-9c3d-d6f0d48968cf", "private_key": private_key}
    kit = make_kit(trace=True, plugins=[audit], format=format, **application)
    token = kit.create_session().generate_token()
    app = flask.Flask(__name__)
    app.add_url_rule("/rooms/<session_id>", "room", require_role("publisher", kit=kit)(lambda session_id: "in"))
    client = app.test_client()
    for headers in ({}, {"Authorization": f"Bearer {token}"}):
        assert client.get(f"/rooms/{token}", headers=headers).status_code in (401, 403)
    for wrong in (lambda: kit.generate_token(token), lambda: kit.signal(token)):
        with pytest.raises(RolecallError):
            wrong()
    told = json.dumps([event.as_dict() for event in audit.events])
    logged = "".join(record.getMessage() for record in caplog.records) + json.dumps(traces(caplog))
    assert len(audit.events) == len(traces(caplog)) == 6
    assert token[-64:] not in told + logged
    assert token[24:] not in told + logged


def test_an_event_as_json_has_no_header_and_names_who_where_and_what(traced, client, audit):
    client.post("/app/video/sessions?a=b", headers={"X-User": "ada"}, json={})
    (event,) = audit.events
    assert event.as_dict() == {
        "event": "session_created",
        "code": None,
        "time": NOW,
        "call_id": event.call_id,
        "session_id": event.session_id,
        "method": "POST",
        "route": "/app/video/sessions",
        "actor": "ada",
        "role": None,
        "token_id": None,
        "expires_at": None,
        "renewed": None,
        "act": None,
        "target": None,
        "until": None,
        "reason": None,
        "seconds": None,
        "connection_id": None,
        "stream_id": None,
        "media": None,
    }
    assert json.loads(json.dumps(event.as_dict())) == event.as_dict()


# -- it says what happens --------------------------------------------------------------------------

votes = st.one_of(
    st.none(),
    st.builds(
        Allow,
        max_role=st.none() | st.sampled_from(["subscriber", "publisher", "publisheronly", "nobody"]),
        latest_expiry=st.none() | st.sampled_from([NOW - 1, NOW, NOW + 0.5, NOW + 60]),
        max_lifetime=st.none() | st.sampled_from([0, 60]),
        data=st.none() | st.sampled_from(["a", "b", "\x01" * 1000]),
    ),
    st.builds(Deny, st.just("no"), st.none() | st.just("closed")),
    st.sampled_from([True, OSError]),
)
claims = st.sampled_from([None, {}, {"group": "a"}, {"role": "moderator"}, {"big": "x" * 7000}, True, OSError])


def outcome(call):
    try:
        call()
    except RolecallError as error:
        return False, error.code
    return True, None


@settings(max_examples=examples(150), deadline=None)
@given(
    cast=st.lists(votes, max_size=3),
    claims=claims,
    actor=st.sampled_from([None, Actor("ada"), "ada", OSError]),
    role=st.sampled_from(["subscriber", "publisher", "moderator", "nobody"]),
    expire_time=st.sampled_from([None, NOW, NOW + 1, NOW + 10**9]),
    data=st.sampled_from([None, "a", "x" * 1001, "\x01" * 1000]),
    layout=st.sampled_from([(), ["focus"], ["a b"], ["🎉" * 1000]]),
    http=st.sampled_from([None, HTTP]),
    ended=st.sampled_from([False, False, False, True]),
    format=st.sampled_from(["opentok", "t1"]),
)
def test_an_explanation_of_a_token_says_what_happens(
    cast, claims, actor, role, expire_time, data, layout, http, ended, format
):
    plugins = [plugin(f"p{number}", vote_token=answering(vote)) for number, vote in enumerate(cast)]
    plugins.append(plugin("claims", token_claims=answering(claims), identify=answering(actor)))
    with kit_of(*plugins, format=format) as kit:
        session_id = kit.create_session().session_id
        if ended:
            kit.end_session(session_id)
        explanation = kit.explain_token(session_id, role, expire_time, data, layout, http=http)
        happens = outcome(
            lambda: drive(kit.engine.generate_token(session_id, role, expire_time, data, layout, Call(http)))
        )
    assert (explanation.allowed, explanation.code) == happens


@settings(max_examples=examples(150), deadline=None)
@given(
    cast=st.lists(votes, max_size=3),
    token=st.sampled_from(["good", "subscriber", "forged", "cut", "empty", "other key", "expired", "early", "RS256"]),
    required=st.sampled_from([{}, {"role": "publisher"}, {"role": "moderator"}, {"capability": "signal"}]),
    session=st.sampled_from([None, "session", "other session"]),
    age=st.sampled_from([0, 0.75, 86_399, 86_400, 86_409, 86_410]),
    ended=st.booleans(),
)
def test_an_explanation_of_access_says_what_happens(tokens, cast, token, required, session, age, ended):
    plugins = [plugin(f"p{number}", vote_access=answering(vote)) for number, vote in enumerate(cast)]
    session_id = session and tokens[session]
    if "role" in required:
        requirement = Requirement.of_role(required["role"])
    else:
        requirement = Requirement.of_capability(required["capability"]) if required else ANY_TOKEN
    with kit_of(*plugins, clock=lambda: NOW + age) as kit:
        if ended:
            kit.end_session(tokens["session"])
        http = HTTP._replace(headers={"authorization": f"Bearer {tokens[token]}"})
        explanation = kit.explain_access(session_id=session_id, http=http, **required)
        happens = outcome(
            lambda: drive(kit.engine.authorize(kit.api.credential_of(http), requirement, session_id, Call(http)))
        )
    assert (explanation.allowed, explanation.code) == happens
