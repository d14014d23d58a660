"""MaxLiveTokens: never one too many, whoever asks at the same time."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from rolecall import Allow, Deny, Rolecall, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import (
    ConfigurationError,
    PluginError,
    PolicyDenied,
    PolicyFault,
    RolecallError,
    StoreUnavailable,
)
from rolecall.policies import MaxLiveTokens
from rolecall.policy import Limit
from rolecall.stores.checking import METHODS
from rolecall.stores.leases import Full, Slot
from rolecall.stores.memory import MemoryStore

from ...untyped import untyped

API_KEY, API_SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"


class Switch:
    """Denies, fails, limits or allows, as it is set."""

    name: str
    answer: Callable[[], Any] | None = None

    @hookimpl
    def rolecall_vote_token(self, request):
        return self.answer() if self.answer else None


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    return {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/app.db"}[request.param]


def test_a_session_has_so_many_tokens_at_most(asker, outside, store):
    ask = asker(MaxLiveTokens(per_session=2), allow_all=True, store=store)
    session_id, other = ask.session(), ask.session()
    ask.token(session_id)
    ask.token(session_id, http=outside("ada"))

    for http in (None, outside("bob")):
        with pytest.raises(PolicyDenied, match="2 live tokens") as refusal:
            ask.token(session_id, http=http)
        assert refusal.value.code == "too_many_tokens"
    assert ask.token(other)


def test_an_actor_has_so_many_tokens_at_most(asker, outside, store):
    ask = asker(MaxLiveTokens(per_actor=1), allow_all=True, store=store)
    session_id = ask.session()
    ask.token(session_id, http=outside("ada"))

    with pytest.raises(PolicyDenied, match="you have 1"):
        ask.token(ask.session(), http=outside("ada"))
    assert ask.token(session_id, http=outside("bob"))
    assert ask.token(session_id)
    assert ask.token(session_id)


def test_a_session_without_a_limit_is_not_counted(asker, outside):
    class Watched(MemoryStore):
        def take_lease(self, lease: str, slots: Sequence[Slot], now: float) -> Full | None:
            limits.append([slot.most for slot in slots])
            return super().take_lease(lease, slots, now)

    limits: list[list[int | None]] = []
    ask = asker(MaxLiveTokens(per_actor=5), allow_all=True, store=Watched())
    ask.token(ask.session(), http=outside("ada"))
    assert limits == [[None, 5]]


def test_where_actors_are_counted_nobody_comes_in_unidentified(asker, outside, store):
    ask = asker(MaxLiveTokens(per_actor=1), allow_all=True, store=store)
    with pytest.raises(PolicyDenied) as refusal:
        ask.token(ask.session(), http=outside())
    assert refusal.value.code == "not_identified"


def test_a_place_is_free_again_when_a_token_expires(asker, clock, store):
    ask = asker(MaxLiveTokens(per_session=1), store=store)
    session_id = ask.session()
    grant = ask.token(session_id, expire_time=timedelta(hours=1))

    clock.now = grant.expires_at - 1
    with pytest.raises(PolicyDenied):
        ask.token(session_id)
    clock.now = grant.expires_at
    assert ask.token(session_id)


@pytest.mark.parametrize("who", [None, "ada"])
def test_a_token_counts_until_the_end_that_other_policies_set(asker, outside, clock, store, who):
    short = Switch()
    short.answer = lambda: Allow(max_lifetime=60)
    ask = asker(MaxLiveTokens(per_session=1), short, store=store)
    session_id = ask.session()
    ask.token(session_id, http=who and outside(who))

    clock.now += 59
    with pytest.raises(PolicyDenied):
        ask.token(session_id)
    clock.now += 1
    assert ask.token(session_id, http=who and outside(who))


def test_a_place_is_free_again_when_the_session_has_ended(asker, outside, store):
    ask = asker(MaxLiveTokens(per_actor=1), allow_all=True, store=store)
    session_id = ask.session()
    ask.token(session_id, http=outside("ada"))
    ask.kit.end_session(session_id)

    assert ask.token(ask.session(), http=outside("ada"))


@pytest.mark.parametrize("which", ["first", "renewed"])
@pytest.mark.parametrize("by", ["grant", "ids"])
def test_a_place_is_free_again_when_its_token_is_revoked(asker, outside, store, which, by):
    ask = asker(MaxLiveTokens(per_session=2, per_actor=1), allow_all=True, store=store)
    session_id = ask.session()
    first, _ = drive(ask.kit.engine.generate_token(session_id, "publisher", None, None, (), Call(outside("ada"))))
    ask.token(session_id)
    revoked = ask.kit.verify_token({"first": first, "renewed": ask.kit.renew_token(first)}[which])
    if by == "grant":
        ask.kit.revoke_token(revoked)
    else:
        ask.kit.revoke_token(session_id=session_id, token_id=revoked.token_id)

    assert ask.token(session_id, http=outside("ada"))
    with pytest.raises(PolicyDenied):
        ask.token(session_id)


def fail():
    raise OSError


@pytest.mark.parametrize("who", [None, "ada"])
@pytest.mark.parametrize("answer", [Deny, fail, lambda: True, lambda: Allow(latest_expiry=0)])
def test_a_refused_token_gives_its_place_back(asker, outside, store, who, answer):
    switch = Switch()
    ask = asker(MaxLiveTokens(per_session=1), switch, allow_all=True, store=store)
    session_id, http = ask.session(), who and outside(who)

    switch.answer = answer
    for _ in range(3):
        with pytest.raises((PolicyDenied, PolicyFault)):
            ask.token(session_id, http=http)
    switch.answer = None

    assert ask.token(session_id, http=http)


def test_whoever_is_about_to_be_refused_takes_no_place(asker, outside, store):
    """A policy that votes later, and takes its time over it, holds nobody else up."""
    seen = []

    class Slow:
        name = "slow"

        @hookimpl
        def rolecall_vote_token(self, request):
            if request.actor is not None:
                return None
            seen.append(ask.token(session_id, http=outside("ada")))
            return Deny("log in first")

    ask = asker(MaxLiveTokens(per_session=1), Slow(), allow_all=True, store=store)
    session_id = ask.session()
    with pytest.raises(PolicyDenied, match="log in"):
        ask.token(session_id, http=outside())
    assert len(seen) == 1


def test_who_comes_second_for_the_last_place_is_told_so(asker, outside, store):
    class Slow:
        name = "slow"

        @hookimpl
        def rolecall_vote_token(self, request):
            if request.actor.id == "bob":
                ask.token(session_id, http=outside("ada"))

    ask = asker(MaxLiveTokens(per_session=1), Slow(), allow_all=True, store=store)
    session_id = ask.session()
    with pytest.raises(PolicyDenied, match="1 live token,") as refusal:
        ask.token(session_id, http=outside("bob"))
    assert refusal.value.code == "too_many_tokens"


@pytest.mark.parametrize("who", [None, "ada"])
def test_a_place_is_free_again_where_another_policy_has_none(asker, outside, store, who):
    full = Switch()
    full.answer = lambda: Limit(reserve=lambda: Deny("somebody was faster"))
    full.name = "a place elsewhere"
    ask = asker(full, MaxLiveTokens(per_session=1, name="z"), allow_all=True, store=store)
    session_id, http = ask.session(), who and outside(who)
    for _ in range(2):
        with pytest.raises(PolicyDenied, match="faster"):
            ask.token(session_id, http=http)
    full.answer = None
    assert ask.token(session_id, http=http)


@pytest.mark.parametrize("who", [None, "ada"])
def test_a_refusal_gives_no_place_back_that_it_never_had(asker, outside, store, who):
    ask = asker(MaxLiveTokens(per_session=1), allow_all=True, store=store)
    session_id, http = ask.session(), who and outside(who)
    ask.token(session_id, http=http)

    for role in ("no such role", "publisher", "publisher"):
        with pytest.raises(RolecallError):
            ask.token(session_id, role, http)


def test_an_explanation_takes_no_place_and_says_when_there_is_none(asker, store):
    ask = asker(MaxLiveTokens(per_session=1), store=store)
    session_id = ask.session()

    assert ask.kit.explain_token(session_id).allowed
    assert ask.token(session_id)
    assert ask.kit.explain_token(session_id).code == "too_many_tokens"


def test_async_code_that_is_refused_gives_its_place_back(make_kit, store):
    class NoModerators:
        @hookimpl
        async def rolecall_vote_token(self, request):
            return Deny("no moderators") if request.role == "moderator" else None

    kit = make_kit(plugins=[MaxLiveTokens(per_session=1), NoModerators()], store=store)

    async def ask():
        session = await kit.aio.create_session()
        with pytest.raises(PolicyDenied):
            await session.generate_token("moderator")
        return await session.generate_token("publisher")

    assert asyncio.run(ask())


def test_it_opens_no_door(asker, outside, store):
    ask = asker(MaxLiveTokens(per_session=1), store=store)
    with pytest.raises(PolicyDenied, match="no policy"):
        ask.token(ask.session(), http=outside("ada"))


def test_two_policies_count_apart_in_one_store(asker, outside, store):
    ask = asker(
        MaxLiveTokens(per_session=2, name="room"),
        MaxLiveTokens(per_actor=1, name="user"),
        allow_all=True,
        store=store,
    )
    session_id = ask.session()
    ask.token(session_id, http=outside("ada"))
    with pytest.raises(PolicyDenied, match="you have 1"):
        ask.token(session_id, http=outside("ada"))

    assert ask.token(session_id, http=outside("bob"))
    with pytest.raises(PolicyDenied, match="the session has 2"):
        ask.token(session_id, http=outside("eve"))


def test_a_policy_counts_for_one_kit(make_kit):
    policy = MaxLiveTokens(per_session=2)
    make_kit(plugins=[policy])
    with pytest.raises(PluginError, match="another kit"):
        make_kit(plugins=[policy])


def test_a_store_without_leases_stops_start_up(make_kit):
    with pytest.raises(PluginError, match="no leases"):
        make_kit(plugins=[MaxLiveTokens(per_session=2)], store=Bare())


@pytest.mark.parametrize("own_code", [True, False])
def test_threads_never_get_one_too_many(asker, outside, store, own_code):
    ask = asker(MaxLiveTokens(per_session=7), allow_all=True, store=store)
    session_id = ask.session()
    gate = threading.Barrier(8)

    def attempts(worker):
        gate.wait()
        issued = 0
        for number in range(6):
            role = "publisher" if number % 3 else "no such role"
            try:
                ask.token(session_id, role, None if own_code else outside(f"user {worker}"))
            except RolecallError:
                continue
            issued += 1
        return issued

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempts, range(8))) == 7


def test_tasks_never_get_one_too_many(make_kit, clock, store):
    switch = Switch()
    kit = make_kit(plugins=[MaxLiveTokens(per_session=5), switch], store=store)
    session_id = kit.create_session().session_id

    async def attempt(role):
        try:
            return await kit.aio.generate_token(session_id, role)
        except RolecallError:
            return None

    async def attempts():
        roles = ["publisher", "no such role"] * 20
        return await asyncio.gather(*map(attempt, roles))

    assert sum(token is not None for token in asyncio.run(attempts())) == 5
    clock.now += 600  # the tokens live on
    assert not any(asyncio.run(attempts()))


def issue(store, session_id, gate, counts):
    kit = Rolecall(API_KEY, API_SECRET, store=store, plugins=[MaxLiveTokens(per_session=11)], entry_points=False)
    gate.wait(60)

    def attempts(_):
        issued = 0
        for _ in range(5):
            try:
                kit.generate_token(session_id)
            except PolicyDenied:
                continue
            issued += 1
        return issued

    with ThreadPoolExecutor(3) as pool:
        counts.put(sum(pool.map(attempts, range(3))))
    kit.close()


@pytest.mark.process
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_never_get_one_too_many(tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("needs fork")
    context = multiprocessing.get_context(method)
    store = f"sqlite:///{tmp_path}/app.db"
    with Rolecall(API_KEY, API_SECRET, store=store) as kit:
        session_id = kit.create_session().session_id
    gate, counts = context.Barrier(4), context.Queue()
    workers = [context.Process(target=issue, args=(store, session_id, gate, counts)) for _ in range(4)]
    for worker in workers:
        worker.start()
    issued = [counts.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()

    assert sum(issued) == 11


class Failing(MemoryStore):
    """A store whose leases can be cut off, or give an answer that is none."""

    answer: object = StoreUnavailable("the secret is out")

    def take_lease(self, *_: object) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Forgetful(MemoryStore):
    """A store that fails when a token has been issued."""

    def keep_lease(self, *_: object) -> Any:
        raise StoreUnavailable("down")


def test_a_token_counts_though_the_store_fails_once_it_is_issued(asker, clock, caplog):
    ask = asker(MaxLiveTokens(per_session=1), store=Forgetful())
    session_id = ask.session()
    grant = ask.token(session_id)
    assert "down" in caplog.text
    for now in (clock.now + 600, grant.expires_at - 1):
        clock.now = now
        with pytest.raises(PolicyDenied):
            ask.token(session_id)
    clock.now = grant.expires_at
    assert ask.token(session_id)


class Bare:
    """A store with the methods that every store has, and no more."""

    def __init__(self) -> None:
        store = MemoryStore()
        for method in METHODS:
            setattr(self, method, getattr(store, method))


@pytest.mark.parametrize("answer", [StoreUnavailable("down"), True, False, "yes", ("s", 1.0)], ids=str)
def test_a_store_that_does_not_answer_refuses_every_token(asker, answer):
    store = Failing()
    store.answer = answer
    ask = asker(MaxLiveTokens(per_session=1), allow_all=True, store=store)
    with pytest.raises(PolicyFault):
        ask.token(ask.session())


@pytest.mark.parametrize(
    "make",
    [
        lambda: MaxLiveTokens(),
        lambda: MaxLiveTokens(per_session=0),
        lambda: MaxLiveTokens(per_session=True),
        lambda: MaxLiveTokens(per_actor=untyped(1.5)),
        lambda: MaxLiveTokens(per_actor=untyped("3")),
        lambda: MaxLiveTokens(per_actor=1, name=""),
    ],
)
def test_wrong_arguments_stop_start_up(make):
    with pytest.raises(ConfigurationError):
        make()
