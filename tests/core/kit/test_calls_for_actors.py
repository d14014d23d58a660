"""The server's own calls for somebody (``actor=…``), and what comes of the actor that a token is for."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import Any

import pytest

from rolecall import Actor, Allow, Deny, Limit, Request, Rolecall, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import ConfigurationError, InsufficientRole, PolicyDenied, RolecallError, WrongActor
from rolecall.http.gateways.watching import Watch
from rolecall.http.guards.entries import Entry
from rolecall.moderation import Signal
from rolecall.policies import MaxLiveTokens, OwnedSessions, RateLimit, RoleMap, TomlPolicy
from rolecall.roles import ANY_TOKEN, Requirement

from ...conftest import NOW

ADA = Actor("ada", {"groups": ["teachers"], "name": "Ada"})


class Policy:
    """Keeps what it is asked and told; abstains, unless a vote is set."""

    def __init__(self, **votes: Any) -> None:
        self.votes = votes
        self.asked: dict[str, list[Any]] = {}
        self.events: list[Any] = []

    def _vote(self, hook: str, request: Any) -> Any:
        self.asked.setdefault(hook, []).append(request)
        vote = self.votes.get(hook)
        return vote(request) if callable(vote) else vote

    @hookimpl
    def rolecall_identify(self, request):
        return self._vote("identify", request)

    @hookimpl
    def rolecall_vote_session(self, request):
        return self._vote("vote_session", request)

    @hookimpl
    def rolecall_vote_token(self, request):
        return self._vote("vote_token", request)

    @hookimpl
    def rolecall_token_claims(self, request):
        return self._vote("token_claims", request)

    @hookimpl
    def rolecall_vote_access(self, request):
        return self._vote("vote_access", request)

    @hookimpl
    def rolecall_vote_moderation(self, request):
        return self._vote("vote_moderation", request)

    @hookimpl
    def rolecall_on_event(self, event):
        self.events.append(event)


@pytest.fixture(params=["sync", "async"])
def calls(request):
    """A call of a kit, and of one of its sessions, in both ways."""

    def create(kit: Rolecall, **options: Any) -> Any:
        return asyncio.run(kit.aio.create_session(**options)) if is_async else kit.create_session(**options)

    def generate(session: Any, *args: Any, **options: Any) -> str:
        token = session.generate_token(*args, **options)
        return asyncio.run(token) if is_async else token

    is_async = request.param == "async"
    return create, generate


def entering(token: str) -> Request:
    return Request("GET", "/room", headers={"authorization": f"Bearer {token}"})


# -- policies judge the call as that person's ------------------------------------------------------


def test_policies_see_for_whom_the_server_calls_and_that_it_is_the_server(make_kit, calls):
    create, generate = calls
    policy = Policy()
    kit = make_kit(plugins=[policy])

    generate(create(kit, actor=ADA), actor=ADA)

    assert set(policy.asked) == {"vote_session", "vote_token", "token_claims"}  # nobody is asked to identify
    for (request,) in policy.asked.values():
        assert (request.actor, request.http) == (ADA, None)
    assert [(event.name, event.actor, event.actor_id) for event in policy.events] == [
        ("session_created", ADA, "ada"),
        ("token_issued", ADA, "ada"),
    ]
    assert policy.events[-1].as_dict()["actor"] == "ada"


def test_an_id_alone_is_an_actor_without_attributes(make_kit, calls):
    create, generate = calls
    policy = Policy()
    generate(create(make_kit(plugins=[policy]), actor="ada"), actor="ada")
    assert [request.actor for (request,) in policy.asked.values()] == [Actor("ada")] * 3


def test_the_creator_is_in_the_session_s_record(make_kit, calls):
    create, _ = calls
    kit = make_kit()
    session = create(kit, actor=ADA)
    assert session.created_by == kit.get_session(session.session_id).created_by == "ada"
    assert [one.session_id for one in kit.sessions(created_by="ada")] == [session.session_id]
    assert create(kit).created_by is None


def test_a_refusal_of_that_person_binds_the_server(make_kit, calls):
    create, generate = calls
    refuses = lambda request: Deny("not Bob") if request.actor == Actor("bob") else None  # noqa: E731
    kit = make_kit(plugins=[Policy(vote_session=refuses, vote_token=refuses)])
    session = create(kit)
    assert generate(session)
    assert generate(session, actor="ada")
    for call in (lambda: create(kit, actor="bob"), lambda: generate(session, actor="bob")):
        with pytest.raises(PolicyDenied, match="not Bob"):
            call()


def test_the_ready_policies_judge_it_too(make_kit, tmp_path):
    kit = make_kit(plugins=[OwnedSessions()])
    session = kit.create_session(actor="ada")
    assert kit.verify_token(session.generate_token("moderator", actor="ada")).role == "moderator"
    assert kit.verify_token(session.generate_token("moderator", actor="bob")).role == "publisher"
    assert kit.verify_token(session.generate_token("moderator")).role == "moderator"

    kit = make_kit(plugins=[RoleMap({"teachers": "moderator"}, default="subscriber")])
    session = kit.create_session()
    assert kit.verify_token(session.generate_token("moderator", actor=ADA)).role == "moderator"
    assert kit.verify_token(session.generate_token("moderator", actor="ada")).role == "subscriber"

    file = tmp_path / "policy.toml"
    for_ada, for_all = '[[token]]\nwho = { actors = ["ada"] }\nrole = "publisher"\n', '[[token]]\nwho = "*"\n'
    file.write_text(f'{for_ada}{for_all}role = "subscriber"\n')
    kit = make_kit(plugins=[TomlPolicy(file)])
    session = kit.create_session()
    for who, role in (("ada", "publisher"), ("bob", "subscriber"), (None, "moderator")):
        assert kit.verify_token(session.generate_token("moderator", actor=who)).role == role


def test_tokens_of_that_person_are_counted(make_kit):
    for policy, code in ((MaxLiveTokens(per_actor=2), "too_many_tokens"), (RateLimit("2/minute"), "rate_limited")):
        session = make_kit(plugins=[policy]).create_session()
        for _ in range(3):
            session.generate_token()
        for _ in range(2):
            session.generate_token(actor="ada")
        with pytest.raises(PolicyDenied) as refused:
            session.generate_token(actor="ada")
        assert refused.value.code == code
        session.generate_token(actor="bob")


def test_sessions_of_that_person_are_counted_and_addresses_are_not_known(make_kit):
    kit = make_kit(plugins=[RateLimit("1/minute"), RateLimit("1/minute", per="address", address_header="x-real-ip")])
    kit.create_session(actor="ada")
    with pytest.raises(PolicyDenied, match="too many requests"):
        kit.create_session(actor="ada")


def test_an_explanation_says_for_whom(kit):
    session = kit.create_session()
    explained = kit.explain_token(session, actor=ADA)
    assert explained.allowed
    assert ("identify", "actor 'ada', as the server's own code says") in [step[::2] for step in explained.steps]
    with pytest.raises(ConfigurationError, match="not both"):
        kit.explain_token(session, actor=ADA, http=Request("POST", "/"))


# -- the actor that a token is for -----------------------------------------------------------------


def test_a_grant_of_somebody_travels_and_a_narrowed_one_is_still_theirs(make_kit):
    somebody = "ada@example.org"  # which stands in no random id by chance
    policy = Policy(vote_access=Limit(max_role="subscriber"))
    kit = make_kit(plugins=[policy])
    grant = kit.verify_token(kit.create_session().generate_token(actor=somebody))
    assert pickle.loads(pickle.dumps(grant)) == copy.deepcopy(grant) == grant
    assert pickle.loads(pickle.dumps(grant)).actor_id == somebody
    assert somebody not in repr(grant)

    left = kit.check_grant(grant)

    assert (left.role, left.actor_id) == ("subscriber", somebody)
    (request,) = policy.asked["vote_access"]
    assert (request.grant.actor_id, request.actor) == (somebody, None)


def test_an_explanation_and_a_trace_name_whose_token_it_is_and_not_the_token(make_kit, caplog):
    caplog.set_level("INFO", "rolecall.trace")
    kit = make_kit(trace=True)
    token = kit.create_session().generate_token(actor="ada")
    explained = str(kit.explain_access(token, role="publisher"))
    assert ", for the actor 'ada'" in explained

    drive(kit.engine.authorize(lambda: (token, None), ANY_TOKEN, None, Call(entering(token))))

    trace = json.loads(caplog.messages[-1])
    assert (trace["subject"], trace["actor"]) == ("access", "ada")
    assert token not in explained + caplog.text


def test_events_about_a_token_say_whose_it_is(make_kit):
    policy = Policy(vote_moderation=Deny("no signals"))
    kit = make_kit(plugins=[policy])
    token = kit.create_session().generate_token(actor="ada")
    grant, moderators = kit.verify_token(token), Requirement.of_role("moderator")
    call = Call(entering(token))
    signal = Signal(grant.session_id, "chat", "hello", None)

    for act in (
        lambda: kit.engine.authorize(lambda: (token, None), moderators, None, call),
        lambda: kit.engine.moderate(signal, grant, Call(entering(token))),
        lambda: kit.engine.check_grant(grant, moderators, None),
    ):
        with pytest.raises((InsufficientRole, PolicyDenied)):
            drive(act())
    drive(kit.engine.tell_of_refusal(InsufficientRole("", ""), None, call))
    drive(Watch(Entry(kit.api, ANY_TOKEN, None, grant), entering(token)).tell(RolecallError()))

    told = [event for event in policy.events if event.name != "token_issued" and event.name != "session_created"]
    assert [event.name for event in told] == ["moderation_refused", *["access_refused"] * 3]
    assert [(event.actor, event.actor_id, event.as_dict()["actor"]) for event in told] == [(None, "ada", "ada")] * 4


@pytest.mark.parametrize(("first", "second"), [("ada", "bob"), ("ada", None), (None, "ada"), ("ada", "Ada")])
def test_a_token_of_somebody_else_renews_nothing(kit, first, second):
    session = kit.create_session()
    entered = kit.verify_token(session.generate_token(data="x", actor=first))
    watch = Watch(Entry(kit.api, ANY_TOKEN, None, entered), Request("GET", "/room"))
    with pytest.raises(WrongActor, match="its actor is not that of the one before"):
        drive(watch.ask_to_renew(session.generate_token(data="x", actor=second)))
    again = session.generate_token(data="x", actor=first, expire_time=NOW + 60)
    assert drive(watch.ask_to_renew(again)).actor_id == first


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_whether_tokens_name_actors_is_yes_or_no(make_kit, value):
    with pytest.raises(ConfigurationError, match=r"actor_claim is .*; expected True or False"):
        make_kit(actor_claim=value)


def test_the_environment_says_so_too():
    environ = {"ROLECALL_API_KEY": "123456", "ROLECALL_API_SECRET": "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"}
    for value, named in (("1", "ada"), ("0", None)):
        with Rolecall.from_env({**environ, "ROLECALL_ACTOR_CLAIM": value}) as kit:
            assert kit.verify_token(kit.create_session().generate_token(actor="ada")).actor_id == named


def test_a_policy_of_access_knows_whose_token_it_is(make_kit):
    out = Policy(vote_access=lambda request: Deny("out") if request.grant.actor_id == "bob" else Allow())
    kit = make_kit(plugins=[out])
    session = kit.create_session()
    for who, allowed in (("ada", True), ("bob", False)):
        assert kit.explain_access(session.generate_token(actor=who)).allowed is allowed
