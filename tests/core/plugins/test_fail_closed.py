"""Whatever a plugin does at a decision, short of a proper answer, denies: in every hook, framework and kind of def.

And the rule that combines proper answers, over real kits and real tokens: order plays no part, and one plugin more
never widens what the others allow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from itertools import cycle, permutations
from typing import Any, NamedTuple

import flask
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rolecall import Actor, Allow, Capability, Deny, Role, Rolecall, RolecallError, blocking, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.http.api.rest import ROUTES
from rolecall.http.guards.admission import admission
from rolecall.http.guards.guard import Guard
from rolecall.http.problems import refused
from rolecall.http.respond import respond
from rolecall.request import Request
from rolecall.roles import ANY_TOKEN, STANDARD_ROLES
from rolecall.stores.memory import MemoryStore
from rolecall_flask import require_token, rolecall_blueprint

from ...budgets import examples
from ...untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
NOW = 1_795_186_800.0
#: What an exception of a plugin says, which nobody is to read.
CANARY = "the secret is out"

VOTES = ("vote_session", "vote_token", "vote_access")
HOOKS = ("identify", *VOTES, "token_claims")
KINDS = ("def", "async def", "blocking def")


class AllowMore(Allow):
    pass


class DenyLess(Deny):
    pass


class ActorTwice(Actor):
    pass


class Awaitable:
    """Truthy, and a proper answer only to those who await what they should not."""

    def __await__(self):
        yield from ()
        return Allow()


async def coroutine():
    return Allow()


def generator():
    yield Allow()


async def async_generator():
    yield Allow()


def raises(error):
    def fail():
        raise error(CANARY)

    return fail


#: What is no answer to any of the decision hooks.
NO_ANSWERS = {
    "raises Exception": raises(OSError),
    "raises StopIteration": raises(StopIteration),
    "raises SystemExit": raises(SystemExit),
    "raises GeneratorExit": raises(GeneratorExit),
    "1": lambda: 1,
    "'yes'": lambda: "yes",
    "True": lambda: True,
    "False": lambda: False,
    "a list": lambda: [Allow()],
    "a coroutine": coroutine,
    "an awaitable": Awaitable,
    "a generator": generator,
    "an async generator": async_generator,
    "the class Allow": lambda: Allow,
    "the class Actor": lambda: Actor,
    "a subclass of Allow": AllowMore,
    "a subclass of Deny": DenyLess,
    "a subclass of Actor": lambda: ActorTwice("ada"),
    "an Allow with an unknown max_role": lambda: Allow(max_role=untyped("modrator")),
    "hangs": None,
}
#: What is an answer to another hook.
ANSWERS_ELSEWHERE: dict[str, dict[str, Any]] = {
    "identify": {"an Allow": Allow, "a Deny": Deny, "claims": lambda: {"group": "a"}},
    **{vote: {"an Actor": lambda: Actor("ada"), "claims": lambda: {"group": "a"}} for vote in VOTES},
    "token_claims": {"an Actor": lambda: Actor("ada"), "an Allow": Allow, "a Deny": Deny},
}
CASES = [
    pytest.param(hook, wrong, answer, id=f"{hook}-{wrong}")
    for hook in HOOKS
    for wrong, answer in {**NO_ANSWERS, **ANSWERS_ELSEWHERE[hook]}.items()
]


def plugin(hook, kind, answer, hang=0.08, name="the culprit"):
    """A plugin whose ``hook`` returns or raises what ``answer()`` does; without one it outlives its deadline."""

    def work(request):
        if answer is None:
            time.sleep(hang)
            return proper(hook)
        return answer()

    async def work_async(request):
        if answer is None:
            await asyncio.sleep(hang)
            return proper(hook)
        return answer()

    function = {"def": work, "async def": work_async, "blocking def": blocking(lambda request: work(request))}[kind]
    return made_plugin(name, {hook: function})


def proper(hook):
    return {"identify": Actor("ada"), "token_claims": {"group": "a"}}.get(hook, Allow())


def casts(vote):
    return lambda request: vote


def made_plugin(name, hooks):
    members = {f"rolecall_{hook}": staticmethod(hookimpl(function)) for hook, function in hooks.items()}
    return type("Made", (), {"name": name, **members})()


class Witness:
    """Allows everything, and writes down what comes of it."""

    name = "a witness"

    def __init__(self, *, allows=True):
        self.vote = Allow() if allows else None
        self.events = []

    @hookimpl
    def rolecall_vote_session(self, request):
        return self.vote

    @hookimpl
    def rolecall_vote_token(self, request):
        return self.vote

    @hookimpl
    def rolecall_on_event(self, event):
        self.events.append(event)


class CountingStore(MemoryStore):
    added = 0

    def add_session(self, record):
        self.added += 1
        super().add_session(record)


class Scene(NamedTuple):
    """A kit with a culprit, and what there was before anybody asked it for anything from outside."""

    kit: Rolecall
    store: CountingStore
    witness: Witness
    session_id: str
    token: str

    def got_nothing(self):
        issued = [event for event in self.witness.events if event.name in ("token_issued", "session_created")]
        return self.store.added == 0 and not issued


def scene(culprit, *, allows=True, **options):
    store, witness = CountingStore(), Witness(allows=allows)
    with Rolecall(KEY, SECRET, store=store, clock=lambda: NOW) as before:
        session = before.create_session()
        token = session.generate_token("moderator")
    store.added = 0
    kit = Rolecall(KEY, SECRET, store=store, clock=lambda: NOW, plugins=[witness, culprit], **options)
    return Scene(kit, store, witness, session.session_id, token)


def ask_flask(scene, hook):
    """Status, body, and whether a guarded view ran: what a client of the Flask app sees."""
    app, entered = flask.Flask(__name__), []
    app.register_blueprint(rolecall_blueprint(scene.kit))

    @app.get("/guarded/<session_id>")
    @require_token
    def guarded(session_id):
        entered.append(session_id)
        return "in"

    client, headers = app.test_client(), {"Authorization": f"Bearer {scene.token}"}
    if hook == "vote_access":
        answer = client.get(f"/guarded/{scene.session_id}", headers=headers)
    elif hook in ("vote_session", "identify"):
        answer = client.post("/sessions")
    else:
        answer = client.post(f"/sessions/{scene.session_id}/tokens")
    return answer.status_code, answer.data, bool(entered)


def ask_async(scene, hook):
    """The same of an async framework, by way of the engine that its adapter awaits."""
    return asyncio.run(answer_async(scene, hook))


async def answer_async(scene, hook):
    api, path = scene.kit.aio.api, {"session_id": scene.session_id}
    if hook == "vote_access":
        request = Request("GET", "/guarded", path, {"authorization": f"Bearer {scene.token}"})
        admitted = await admission(api, request, Guard(ANY_TOKEN), scene.session_id)
        if not isinstance(admitted, RolecallError):
            return 200, b"in", True
        answer = refused(admitted)
        return answer.status, answer.body, False
    route = ROUTES[0] if hook in ("vote_session", "identify") else ROUTES[2]
    answer = await respond(api, route, Request("POST", route.path, path))
    return answer.status, answer.body, False


def rows() -> Iterator[Any]:
    """Every case with every kind of function, through Flask and on an event loop by turns."""
    asks = cycle((ask_flask, ask_async))
    for case in CASES:
        for kind in KINDS:
            ask = next(asks)
            yield pytest.param(*case.values, kind, ask, id=f"{case.id}-{kind}-{ask.__name__}")


@pytest.mark.pairs
@pytest.mark.each_choice
@pytest.mark.parametrize(("hook", "wrong", "answer", "kind", "ask"), [*rows()])
def test_what_is_no_answer_denies_and_names_the_plugin_to_the_server_alone(hook, wrong, answer, kind, ask, caplog):
    if wrong == "raises GeneratorExit" and ask is ask_async:
        # How an event loop closes what it runs, so it passes through as a cancellation does.
        stage = scene(plugin(hook, kind, answer))
        with stage.kit, pytest.raises(GeneratorExit):
            ask(stage, hook)
        assert stage.got_nothing()
        return
    # What hangs, and what an event loop cannot tell from it.
    timeout = {"hangs": 0.04, "raises StopIteration": 0.3}.get(wrong, 5)
    caplog.set_level(logging.INFO)
    for trace in (False, True):
        caplog.clear()
        stage = scene(plugin(hook, kind, answer), hook_timeout=timeout, trace=trace)
        with stage.kit:
            status, body, entered = ask(stage, hook)

        assert (status, entered) == (503, False)
        assert stage.got_nothing()
        assert b"culprit" not in body
        assert CANARY not in caplog.text
        logged = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert {record.name for record in logged if "culprit" in record.getMessage()} == {"rolecall"}
        traces = [record.getMessage() for record in caplog.records if record.name == "rolecall.trace"]
        assert len(traces) == trace
        assert all("culprit" in line and '"allowed":false' in line for line in traces)


@pytest.mark.parametrize("ask", [ask_flask, ask_async], ids=["flask", "async"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", ["identify", "vote_session", "vote_token"])
def test_where_all_abstain_nobody_is_let_in(hook, kind, ask):
    stage = scene(plugin(hook, kind, lambda: None), allows=False)
    with stage.kit:
        status, body, _ = ask(stage, hook)

    assert status == 403
    assert b"no policy of this service allows the request" in body
    assert b"culprit" not in body
    assert stage.got_nothing()


@pytest.mark.parametrize("ask", [ask_flask, ask_async], ids=["flask", "async"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("hook", "status"), [("vote_access", 200), ("token_claims", 201)])
def test_none_adds_no_claim_and_leaves_access_to_the_role(hook, status, kind, ask):
    stage = scene(plugin(hook, kind, lambda: None))
    with stage.kit:
        assert ask(stage, hook)[0] == status


@pytest.mark.each_choice
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("hook", "status"), [(hook, 200 if hook == "vote_access" else 201) for hook in HOOKS])
@pytest.mark.parametrize("ask", [ask_flask, ask_async], ids=["flask", "async"])
def test_a_proper_answer_is_let_in(hook, status, kind, ask):
    stage = scene(plugin(hook, kind, lambda: proper(hook)))
    with stage.kit:
        assert ask(stage, hook)[0] == status


@pytest.mark.each_choice
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", VOTES)
@pytest.mark.parametrize("ask", [ask_flask, ask_async], ids=["flask", "async"])
def test_a_deny_is_told_to_the_client_without_its_plugin_or_detail(hook, kind, ask, caplog):
    caplog.set_level(logging.INFO)
    stage = scene(plugin(hook, kind, lambda: Deny("not today", "closed", detail="Ada owes us money")))
    with stage.kit:
        status, body, entered = ask(stage, hook)

    assert (status, entered) == (403, False)
    assert b'"not today"' in body
    assert b'"closed"' in body
    assert b"culprit" not in body
    assert b"money" not in body
    assert "culprit" in caplog.text
    assert "money" in caplog.text
    assert stage.got_nothing()


@pytest.mark.each_choice
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("ask", [ask_flask, ask_async], ids=["flask", "async"])
def test_an_interrupt_passes_through_and_nothing_was_allowed(hook, kind, ask):
    stage = scene(plugin(hook, kind, raises(KeyboardInterrupt)))
    with stage.kit:
        if ask is ask_flask and kind == "async def":
            # Raised on the background thread, which serves others, too: a failure of this one request.
            assert ask(stage, hook)[0] == 503
        else:
            with pytest.raises(KeyboardInterrupt):
                ask(stage, hook)

    assert stage.got_nothing()


@pytest.mark.parametrize("kind", ["async def", "blocking def"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_cancelled_request_stays_cancelled_and_nothing_was_allowed(hook, kind):
    stage = scene(plugin(hook, kind, None, hang=0.05))

    async def ask_and_go_away():
        task = asyncio.create_task(answer_async(stage, hook))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with stage.kit:
        asyncio.run(ask_and_go_away())

    assert stage.got_nothing()


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_outlives_its_cancellation_is_late_all_the_same(hook):
    async def stubborn(request):
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            return proper(hook)

    stage = scene(made_plugin("the culprit", {hook: stubborn}), hook_timeout=0.04)
    with stage.kit:
        assert ask_flask(stage, hook)[0] == 503
        assert ask_async(stage, hook)[0] == 503
    assert stage.got_nothing()


class BrokenMapping(Mapping):
    def __getitem__(self, name):
        raise KeyError(CANARY)

    def __iter__(self):
        raise KeyError(CANARY)

    def __len__(self):
        return 1


@pytest.mark.parametrize("ask", [ask_flask, ask_async], ids=["flask", "async"])
def test_claims_that_break_when_they_are_read_are_the_plugins_failure(ask, caplog):
    stage = scene(plugin("token_claims", "def", lambda: BrokenMapping()))
    with stage.kit:
        status, *_ = ask(stage, "token_claims")
    assert status == 503
    assert "culprit" in caplog.text
    assert CANARY not in caplog.text
    assert stage.got_nothing()


class Uncomparable:
    def __eq__(self, other):
        raise ValueError(CANARY)

    __hash__: Any = None


@pytest.mark.parametrize("ask", [ask_flask, ask_async], ids=["flask", "async"])
def test_actors_that_cannot_be_compared_are_a_plugins_failure(ask, caplog):
    first, second = (
        made_plugin(name, {"identify": lambda request: Actor("ada", {"groups": Uncomparable()})})
        for name in ("the culprit", "the culprit's friend")
    )
    stage = scene(first)
    stage.kit.close()
    with Rolecall(KEY, SECRET, store=stage.store, plugins=[stage.witness, first, second]) as kit:
        status, *_ = ask(stage._replace(kit=kit), "identify")
    assert status == 503
    assert "culprit" in caplog.text
    assert CANARY not in caplog.text


def test_a_limit_by_a_role_that_only_shares_a_name_is_the_plugins_failure(caplog):
    impostor = Role("publisher", ["connect"])
    stage = scene(plugin("vote_token", "def", lambda: Allow(max_role=impostor)))
    with stage.kit:
        status, _, _ = ask_flask(stage, "vote_token")
    assert status == 503
    assert "culprit" in caplog.text


def test_a_limit_beyond_any_number_is_no_crash():
    stage = scene(plugin("vote_access", "def", lambda: Allow(max_lifetime=10**400, latest_expiry=10**400)))
    with stage.kit:
        assert ask_flask(stage, "vote_access")[0] == 200


def test_replacements_of_data_that_disagree_name_the_plugins_in_the_log(caplog):
    first, second = (
        made_plugin(name, {"vote_token": casts(Allow(data=name))}) for name in ("the culprit", "the other")
    )
    stage = scene(first)
    stage.kit.close()
    with Rolecall(KEY, SECRET, store=stage.store, plugins=[stage.witness, first, second]) as kit:
        status, body, _ = ask_flask(stage._replace(kit=kit), "vote_token")
    assert status == 503
    assert b"culprit" not in body
    assert "the culprit" in caplog.text


# -- the algebra of votes, over real kits and tokens -----------------------------------------------

capabilities = st.none() | st.frozensets(st.sampled_from(list(Capability)), min_size=1)
allows = st.builds(
    Allow,
    max_role=st.none() | st.sampled_from(STANDARD_ROLES),
    latest_expiry=st.none() | st.integers(int(NOW) - 10, int(NOW) + 4000),
    capabilities=capabilities,
    max_lifetime=st.none() | st.integers(-10, 4000),
    data=st.none() | st.sampled_from(["a", "b"]),
)
OUTSIDE = Request("POST", "/")
votes = st.one_of(
    allows, allows, allows, st.none(), st.builds(Deny, st.sampled_from(["no", "never"]), st.just("c")), st.just("fault")
)
lists_of_votes = st.lists(votes, max_size=4)


def outcome(cast, role="moderator", http=OUTSIDE):
    """What a real token grants that a kit with these policies issued; or how it was refused."""
    plugins = [made_plugin(f"p{number}", {"vote_token": casts(vote)}) for number, vote in enumerate(cast)]
    with Rolecall(KEY, SECRET, plugins=plugins, clock=lambda: NOW) as kit:
        session_id = kit.create_session().session_id
        try:
            token, _ = drive(kit.engine.generate_token(session_id, role, NOW + 3600, "asked for", (), Call(http)))
        except RolecallError as refusal:
            return refusal
        return kit.verify_token(token, session_id)


def comparable(result):
    if isinstance(result, RolecallError):
        return type(result), result.code
    return result.role, result.capabilities, result.expires_at, result.data


def granted(result):
    return not isinstance(result, RolecallError)


@settings(max_examples=examples(60), deadline=None)
@given(lists_of_votes)
def test_every_order_of_plugins_comes_to_the_same(cast):
    assert len({comparable(outcome(order)) for order in permutations(cast)}) == 1


@settings(max_examples=examples(200), deadline=None)
@given(lists_of_votes, votes, st.sampled_from(STANDARD_ROLES))
@example(
    [Allow(capabilities=["connect", "subscribe", "publish"])], Allow(capabilities=["connect", "publish"]), "publisher"
)
def test_one_plugin_more_never_widens_what_the_others_allow(cast, one_more, role):
    before, after = outcome(cast, role), outcome([*cast, one_more], role)
    if not granted(after):
        return
    if granted(before):
        assert after.capabilities <= before.capabilities
        assert after.expires_at <= before.expires_at
    else:
        # What a vote denied stays denied; only "nobody allowed" can turn into an allowance.
        assert "no policy" in str(before)


@settings(max_examples=examples(100), deadline=None)
@given(lists_of_votes, st.sampled_from(STANDARD_ROLES))
def test_no_token_exceeds_what_was_asked_for_or_any_limit(cast, role):
    grant = outcome(cast, role, http=None)
    if not granted(grant):
        return
    assert grant.capabilities <= role.capabilities
    assert NOW < grant.expires_at <= NOW + 3600
    for vote in cast:
        if vote is not None:
            assert vote.capabilities is None or grant.capabilities <= vote.capabilities
            assert vote.max_role is None or grant.capabilities <= vote.max_role.capabilities
            assert vote.latest_expiry is None or grant.expires_at <= vote.latest_expiry
            assert vote.max_lifetime is None or grant.expires_at <= NOW + vote.max_lifetime
            assert vote.data is None or grant.data == vote.data
