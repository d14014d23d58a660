"""What votes reserve: taken once everything allows, given back where the request is refused after all."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from functools import partial
from typing import Any

import pytest

from rolecall import Allow, Deny, RolecallError, blocking, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import (
    ConfigurationError,
    InvalidData,
    NotFoundAtService,
    PolicyDenied,
    PolicyFault,
    SessionEnded,
    StoreUnavailable,
)
from rolecall.moderation import ForceDisconnect
from rolecall.policy import Limit
from rolecall.request import Request
from rolecall.roles import ANY_TOKEN
from rolecall.sessions import SessionProperties

from ...untyped import untyped

LAST_PLACE_TAKEN = Deny("somebody took the last place", code="full", status=429, retry_after=5)


class Desk:
    """Reserves something in every vote, and notes what it does.

    :param answers: what reserving comes to.
    :param returns: whether what it has reserved can be released.
    """

    def __init__(self, log, name="desk", answers=lambda: None, returns=True):
        self.name = name
        self._log = log
        self._answers = answers
        self._returns = returns

    def reserve(self):
        self._log.append(f"{self.name} reserves")
        return self._answers()

    def release(self):
        self._log.append(f"{self.name} releases")

    def vote(self):
        return Limit(reserve=self.reserve, release=self.release if self._returns else None)

    @hookimpl
    def rolecall_vote_session(self):
        return self.vote()

    @hookimpl
    def rolecall_vote_token(self):
        return self.vote()

    @hookimpl
    def rolecall_vote_access(self):
        return self.vote()

    @hookimpl
    def rolecall_vote_moderation(self):
        return self.vote()


class Token:
    """A plugin that answers to the hooks about tokens."""

    def __init__(self, vote=lambda: None, claims=lambda: None, name="token"):
        self.name = name
        self._vote = vote
        self._claims = claims

    @hookimpl
    def rolecall_vote_token(self):
        return self._vote()

    @hookimpl
    def rolecall_token_claims(self):
        return self._claims()


@pytest.fixture
def log():
    return []


@pytest.fixture(params=["sync", "async"])
def ask(request):
    """Asks for a token, as code of either kind would."""

    def ask(kit, session_id, **options):
        if request.param == "sync":
            return kit.generate_token(session_id, **options)
        return asyncio.run(kit.aio.generate_token(session_id, **options))

    return ask


@pytest.fixture
def session_id(kit):
    return kit.create_session().session_id


def fail():
    raise OSError("what nobody is to read")


# -- when it is taken ------------------------------------------------------------------------------


def test_a_request_that_everything_allows_reserves_once_and_keeps_it(make_kit, log, session_id, ask):
    assert ask(make_kit(plugins=[Desk(log)]), session_id)
    assert log == ["desk reserves"]


@pytest.mark.parametrize(
    "plugin",
    [
        Token(vote=lambda: Deny("no"), name="before"),
        Token(vote=lambda: Deny("no"), name="later"),
        Token(vote=fail),
        Token(vote=lambda: True),
        Token(vote=lambda: Allow(max_role=untyped("nobody"))),
        Token(vote=lambda: Allow(latest_expiry=0)),
        Token(vote=lambda: Allow(capabilities=["connect"])),
        Token(claims=fail),
        Token(claims=lambda: {"iss": "mine"}),
        Token(claims=lambda: {"a": "x" * 17_000}),
    ],
)
def test_a_refused_request_reserves_nothing(make_kit, log, session_id, ask, plugin):
    with pytest.raises(RolecallError):
        ask(make_kit(plugins=[Desk(log), plugin]), session_id)
    assert log == []


def test_a_request_that_nobody_allows_reserves_nothing(make_kit, log):
    kit = make_kit(plugins=[Desk(log)])
    http = Request("POST", "/sessions")
    with pytest.raises(PolicyDenied, match="no policy"):
        drive(kit.engine.create_session(SessionProperties(), call=Call(http)))
    assert log == []


def test_an_explanation_reserves_nothing(make_kit, log):
    kit = make_kit(plugins=[Desk(log, answers=lambda: LAST_PLACE_TAKEN)])
    session_id = make_kit().create_session().session_id
    token = make_kit().generate_token(session_id)

    explanation = kit.explain_token(session_id)
    entered = kit.explain_access(token, session_id=session_id)

    assert (explanation.allowed, entered.allowed, log) == (True, True, [])
    assert ("policy desk", "limit", "reserve=once all allow") in {step[:3] for step in explanation.steps}


# -- when it cannot be had -------------------------------------------------------------------------


def test_somebody_who_took_the_last_place_meanwhile_is_a_denial(make_kit, log, session_id, ask, caplog):
    kit = make_kit(plugins=[Desk(log, answers=lambda: LAST_PLACE_TAKEN)])
    with caplog.at_level(logging.INFO, "rolecall"), pytest.raises(PolicyDenied, match="the last place") as refusal:
        ask(kit, session_id)

    assert (refusal.value.code, refusal.value.status, refusal.value.retry_after) == ("full", 429, 5)
    assert log == ["desk reserves"]
    assert "the policy 'desk' denied a TokenRequest: somebody took the last place" in caplog.messages


def test_what_others_have_reserved_is_released_in_turn(make_kit, log, session_id, ask):
    plugins = [Desk(log, "a"), Desk(log, "b"), Desk(log, "c", lambda: LAST_PLACE_TAKEN), Desk(log, "d")]
    with pytest.raises(PolicyDenied):
        ask(make_kit(plugins=plugins), session_id)
    assert log == ["a reserves", "b reserves", "c reserves", "b releases", "a releases"]


def test_what_cannot_be_released_is_reserved_last(make_kit, log, session_id, ask):
    plugins = [Desk(log, "a count", returns=False), Desk(log, "b"), Desk(log, "c", lambda: LAST_PLACE_TAKEN)]
    with pytest.raises(PolicyDenied):
        ask(make_kit(plugins=plugins), session_id)
    assert log == ["b reserves", "c reserves", "b releases"]


async def sleep_too_long():
    await asyncio.sleep(30)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (fail, "it raised OSError"),
        (lambda: True, "it returned True"),
        (lambda: Allow(), "it returned a value of type Allow"),
        (sleep_too_long, "deadline"),
        (lambda: time.sleep(0.3), "deadline"),
    ],
)
def test_what_fails_to_say_so_denies_and_names_the_plugin(make_kit, log, session_id, ask, answers, told):
    kit = make_kit(plugins=[Desk(log, answers=answers)], hook_timeout=0.2)
    with pytest.raises(PolicyFault, match="the plugin 'desk' failed to reserve") as refusal:
        ask(kit, session_id)

    assert told in str(refusal.value)
    assert "what nobody is to read" not in str(refusal.value)
    assert log == ["desk reserves", "desk releases"]  # nobody knows whether it has taken something


def test_a_release_that_fails_is_logged_and_keeps_no_other_back(make_kit, log, session_id, ask, caplog):
    broken: Any = Desk(log, "b")
    broken.release = fail
    plugins = [Desk(log, "a"), broken, Desk(log, "c", lambda: LAST_PLACE_TAKEN)]
    with pytest.raises(PolicyDenied):
        ask(make_kit(plugins=plugins), session_id)

    assert log == ["a reserves", "b reserves", "c reserves", "a releases"]
    assert any("the plugin 'b' failed to release what it had reserved: it raised OSError" in m for m in caplog.messages)
    assert "what nobody is to read" not in caplog.text


def test_the_trace_names_who_refuses(make_kit, log, session_id, caplog):
    kit = make_kit(plugins=[Desk(log, answers=lambda: LAST_PLACE_TAKEN)], trace=True)
    with caplog.at_level(logging.INFO, "rolecall.trace"), pytest.raises(PolicyDenied):
        kit.generate_token(session_id)
    assert '"step":"policy desk","outcome":"refused","detail":"somebody took the last place"' in caplog.text


# -- what is refused after it was reserved ----------------------------------------------------------


def test_a_session_that_ends_meanwhile_gets_its_place_back(make_kit, log, ask):
    kit: Any = make_kit(plugins=[Desk(log, answers=lambda: kit.end_session(session_id))])
    session_id: str = make_kit(store=kit._state.store).create_session().session_id
    with pytest.raises(SessionEnded):
        ask(kit, session_id)
    assert log == ["desk reserves", "desk releases"]


def test_a_session_that_the_service_does_not_create_takes_no_place(make_kit, log):
    class Service:
        @hookimpl
        def rolecall_create_session(self):
            raise StoreUnavailable("the service is down")

    with pytest.raises(StoreUnavailable):
        make_kit(plugins=[Desk(log), Service()]).create_session()
    assert log == ["desk reserves", "desk releases"]


@pytest.mark.parametrize("known", [True, False])
def test_an_act_that_the_service_does_not_carry_out_takes_no_place(make_kit, log, session_id, known):
    class Service:
        @hookimpl
        def rolecall_media_service(self):
            return self

        def force_disconnect(self, session_id, connection_id):
            if not known:
                raise NotFoundAtService("there is no such connection")

    kit = make_kit(plugins=[Desk(log), Service()])
    act = ForceDisconnect(session_id, "c-1")
    if known:
        drive(kit.engine.moderate(act))
        assert log == ["desk reserves"]
        return
    with pytest.raises(NotFoundAtService):
        drive(kit.engine.moderate(act))
    assert log == ["desk reserves", "desk releases"]


def test_whoever_enters_a_guarded_route_takes_a_place(make_kit, log, session_id):
    token = make_kit().generate_token(session_id)
    enter = Request("GET", "/", headers={"authorization": f"Bearer {token}"})
    answers = iter([None, LAST_PLACE_TAKEN])
    kit = make_kit(plugins=[Desk(log, answers=lambda: next(answers))])

    assert drive(kit.engine.authorize(kit.api.credential_of(enter), ANY_TOKEN, session_id, Call(enter)))
    with pytest.raises(PolicyDenied, match="the last place"):
        drive(kit.engine.authorize(kit.api.credential_of(enter), ANY_TOKEN, session_id, Call(enter)))
    assert log == ["desk reserves", "desk reserves"]


def test_a_request_that_is_given_up_takes_no_place(make_kit, log, session_id):
    started = threading.Event()

    async def wait():
        started.set()
        await asyncio.sleep(30)

    kit = make_kit(plugins=[Desk(log, "a"), Desk(log, "b", wait)])

    async def give_up():
        task = asyncio.create_task(kit.aio.generate_token(session_id))
        while not started.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    assert log == ["a reserves", "b reserves", "b releases", "a releases"]


# -- how it is written -----------------------------------------------------------------------------


class Counter:
    """Reserves in every way in which a function can be written, and notes on which thread."""

    def __init__(self):
        self.threads = []

    def note(self, *given):
        self.threads.append(threading.current_thread())

    @blocking
    def note_in_a_thread(self):
        self.note()

    async def note_when_awaited(self, *given):
        await asyncio.sleep(0)
        self.note()


@pytest.mark.parametrize(
    "reserve",
    [
        lambda counter: counter.note,
        lambda counter: lambda: counter.note(),
        lambda counter: partial(counter.note, "a place"),
        lambda counter: counter.note_in_a_thread,
        lambda counter: counter.note_when_awaited,
        lambda counter: lambda: counter.note_when_awaited(),
        lambda counter: partial(counter.note_when_awaited, "a place"),
    ],
)
def test_a_reservation_is_written_as_any_function(make_kit, session_id, ask, reserve):
    counter = Counter()
    assert ask(make_kit(plugins=[Token(vote=lambda: Limit(reserve=reserve(counter)))]), session_id)
    assert len(counter.threads) == 1


def test_a_reservation_is_never_read_for_its_truth(make_kit, session_id):
    class Places(list):
        """An empty list, and a function."""

        def __call__(self):
            return LAST_PLACE_TAKEN

    with pytest.raises(PolicyDenied, match="last place"):
        make_kit(plugins=[Token(vote=lambda: Limit(reserve=Places()))]).generate_token(session_id)


def test_what_blocks_stays_off_the_event_loop(make_kit, session_id):
    marked, inherited, plain = Counter(), Counter(), Counter()

    class Blocking:
        @hookimpl
        @blocking
        def rolecall_vote_token(self):
            return Limit(reserve=partial(inherited.note, "a place"))

    kit = make_kit(
        plugins=[
            Token(vote=lambda: Limit(reserve=marked.note_in_a_thread), name="marked"),
            Token(vote=lambda: Limit(reserve=plain.note), name="plain"),
            Blocking(),
        ]
    )
    asyncio.run(kit.aio.generate_token(session_id))

    on_the_loop = [counter.threads == [threading.current_thread()] for counter in (marked, inherited, plain)]
    assert on_the_loop == [False, False, True]


def test_votes_that_say_the_same_are_equal_and_show_no_function():
    assert Limit(reserve=fail, release=fail) == Limit(reserve=print) == Limit()
    assert hash(Allow(reserve=fail)) == hash(Allow())
    assert "fail" not in repr(Allow(reserve=partial(fail), release=fail))
    assert untyped(Allow(reserve=fail)) != Limit(reserve=fail)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Allow(reserve=untyped("a place")),
        lambda: Limit(reserve=untyped(True)),
        lambda: Allow(reserve=print, release=untyped(7)),
        lambda: Limit(release=print),
    ],
)
def test_what_is_no_reservation_is_refused_where_it_is_made(make):
    with pytest.raises(ConfigurationError):
        make()


def test_a_token_too_long_for_where_it_goes_takes_no_place(make_kit, log, session_id):
    kit = make_kit(plugins=[Desk(log)])
    with pytest.raises(InvalidData):
        drive(kit.engine.generate_token(session_id, "publisher", None, "x" * 1000, (), Call(), longest=500))
    assert log == []
