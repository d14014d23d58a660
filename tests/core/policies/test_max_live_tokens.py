"""MaxLiveTokens: never one too many, whoever asks at the same time."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from rolecall import Allow, Deny, Rolecall, hookimpl
from rolecall.errors import ConfigurationError, PolicyDenied, PolicyFault, RolecallError
from rolecall.policies import MaxLiveTokens
from rolecall.policy import Limit

from ...untyped import untyped

API_KEY, API_SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"


class Switch:
    """Denies, fails, limits or allows, as it is set."""

    name: str
    answer: Callable[[], Any] | None = None

    @hookimpl
    def rolecall_vote_token(self, request):
        return self.answer() if self.answer else None


@pytest.fixture(params=["memory", "file"])
def file(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "live.db"


def test_a_session_has_so_many_tokens_at_most(asker, outside, file):
    ask = asker(MaxLiveTokens(per_session=2, file=file), allow_all=True)
    session_id, other = ask.session(), ask.session()
    ask.token(session_id)
    ask.token(session_id, http=outside("ada"))

    for http in (None, outside("bob")):
        with pytest.raises(PolicyDenied, match="2 live tokens") as refusal:
            ask.token(session_id, http=http)
        assert refusal.value.code == "too_many_tokens"
    assert ask.token(other)


def test_an_actor_has_so_many_tokens_at_most(asker, outside, file):
    ask = asker(MaxLiveTokens(per_actor=1, file=file), allow_all=True)
    session_id = ask.session()
    ask.token(session_id, http=outside("ada"))

    with pytest.raises(PolicyDenied, match="you have 1"):
        ask.token(ask.session(), http=outside("ada"))
    assert ask.token(session_id, http=outside("bob"))
    assert ask.token(session_id)
    assert ask.token(session_id)


def test_where_actors_are_counted_nobody_comes_in_unidentified(asker, outside, file):
    ask = asker(MaxLiveTokens(per_actor=1, file=file), allow_all=True)
    with pytest.raises(PolicyDenied) as refusal:
        ask.token(ask.session(), http=outside())
    assert refusal.value.code == "not_identified"


def test_a_place_is_free_again_when_a_token_expires(asker, clock, file):
    ask = asker(MaxLiveTokens(per_session=1, file=file))
    session_id = ask.session()
    grant = ask.token(session_id, expire_time=timedelta(hours=1))

    clock.now = grant.expires_at - 1
    with pytest.raises(PolicyDenied):
        ask.token(session_id)
    clock.now = grant.expires_at
    assert ask.token(session_id)


@pytest.mark.parametrize("who", [None, "ada"])
def test_a_token_counts_until_the_end_that_other_policies_set(asker, outside, clock, file, who):
    short = Switch()
    short.answer = lambda: Allow(max_lifetime=60)
    ask = asker(MaxLiveTokens(per_session=1, file=file), short)
    session_id = ask.session()
    ask.token(session_id, http=who and outside(who))

    clock.now += 59
    with pytest.raises(PolicyDenied):
        ask.token(session_id)
    clock.now += 1
    assert ask.token(session_id, http=who and outside(who))


def test_a_place_is_free_again_when_the_session_has_ended(asker, outside, file):
    ask = asker(MaxLiveTokens(per_actor=1, file=file), allow_all=True)
    session_id = ask.session()
    ask.token(session_id, http=outside("ada"))
    ask.kit.end_session(session_id)

    assert ask.token(ask.session(), http=outside("ada"))


def fail():
    raise OSError


@pytest.mark.parametrize("who", [None, "ada"])
@pytest.mark.parametrize("answer", [Deny, fail, lambda: True, lambda: Allow(latest_expiry=0)])
def test_a_refused_token_gives_its_place_back(asker, outside, file, who, answer):
    switch = Switch()
    ask = asker(MaxLiveTokens(per_session=1, file=file), switch, allow_all=True)
    session_id, http = ask.session(), who and outside(who)

    switch.answer = answer
    for _ in range(3):
        with pytest.raises((PolicyDenied, PolicyFault)):
            ask.token(session_id, http=http)
    switch.answer = None

    assert ask.token(session_id, http=http)


def test_whoever_is_about_to_be_refused_takes_no_place(asker, outside, file):
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

    ask = asker(MaxLiveTokens(per_session=1, file=file), Slow(), allow_all=True)
    session_id = ask.session()
    with pytest.raises(PolicyDenied, match="log in"):
        ask.token(session_id, http=outside())
    assert len(seen) == 1


def test_who_comes_second_for_the_last_place_is_told_so(asker, outside, file):
    class Slow:
        name = "slow"

        @hookimpl
        def rolecall_vote_token(self, request):
            if request.actor.id == "bob":
                ask.token(session_id, http=outside("ada"))

    ask = asker(MaxLiveTokens(per_session=1, file=file), Slow(), allow_all=True)
    session_id = ask.session()
    with pytest.raises(PolicyDenied, match="1 live tokens") as refusal:
        ask.token(session_id, http=outside("bob"))
    assert refusal.value.code == "too_many_tokens"


@pytest.mark.parametrize("who", [None, "ada"])
def test_a_place_is_free_again_where_another_policy_has_none(asker, outside, file, who):
    full = Switch()
    full.answer = lambda: Limit(reserve=lambda: Deny("somebody was faster"))
    full.name = "a place elsewhere"
    ask = asker(full, MaxLiveTokens(per_session=1, file=file, name="z"), allow_all=True)
    session_id, http = ask.session(), who and outside(who)
    for _ in range(2):
        with pytest.raises(PolicyDenied, match="faster"):
            ask.token(session_id, http=http)
    full.answer = None
    assert ask.token(session_id, http=http)


@pytest.mark.parametrize("who", [None, "ada"])
def test_a_refusal_gives_no_place_back_that_it_never_had(asker, outside, file, who):
    ask = asker(MaxLiveTokens(per_session=1, file=file), allow_all=True)
    session_id, http = ask.session(), who and outside(who)
    ask.token(session_id, http=http)

    for role in ("no such role", "publisher", "publisher"):
        with pytest.raises(RolecallError):
            ask.token(session_id, role, http)


def test_an_explanation_takes_no_place_and_says_when_there_is_none(asker, file):
    ask = asker(MaxLiveTokens(per_session=1, file=file))
    session_id = ask.session()

    assert ask.kit.explain_token(session_id).allowed
    assert ask.token(session_id)
    assert ask.kit.explain_token(session_id).code == "too_many_tokens"


def test_async_code_that_is_refused_gives_its_place_back(make_kit, file):
    class NoModerators:
        @hookimpl
        async def rolecall_vote_token(self, request):
            return Deny("no moderators") if request.role == "moderator" else None

    kit = make_kit(plugins=[MaxLiveTokens(per_session=1, file=file), NoModerators()])

    async def ask():
        session = await kit.aio.create_session()
        with pytest.raises(PolicyDenied):
            await session.generate_token("moderator")
        return await session.generate_token("publisher")

    assert asyncio.run(ask())


def test_it_opens_no_door(asker, outside, file):
    ask = asker(MaxLiveTokens(per_session=1, file=file))
    with pytest.raises(PolicyDenied, match="no policy"):
        ask.token(ask.session(), http=outside("ada"))


def test_two_policies_count_apart_in_one_file(asker, outside, tmp_path):
    file = tmp_path / "live.db"
    ask = asker(
        MaxLiveTokens(per_session=2, file=file, name="room"),
        MaxLiveTokens(per_actor=1, file=file, name="user"),
        allow_all=True,
    )
    session_id = ask.session()
    ask.token(session_id, http=outside("ada"))
    with pytest.raises(PolicyDenied, match="you have 1"):
        ask.token(session_id, http=outside("ada"))

    assert ask.token(session_id, http=outside("bob"))
    with pytest.raises(PolicyDenied, match="the session has 2"):
        ask.token(session_id, http=outside("eve"))


def test_it_may_share_the_file_of_the_store(asker, tmp_path):
    ask = asker(MaxLiveTokens(per_session=1, file=tmp_path / "app.db"), store=f"sqlite:///{tmp_path}/app.db")
    session_id = ask.session()
    ask.token(session_id)
    with pytest.raises(PolicyDenied):
        ask.token(session_id)


@pytest.mark.parametrize("own_code", [True, False])
def test_threads_never_get_one_too_many(asker, outside, file, own_code):
    ask = asker(MaxLiveTokens(per_session=7, file=file), allow_all=True)
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


def test_tasks_never_get_one_too_many(make_kit, clock, file):
    switch = Switch()
    kit = make_kit(plugins=[MaxLiveTokens(per_session=5, file=file), switch])
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
    clock.now += 600  # every reservation has lapsed; the tokens live on
    assert not any(asyncio.run(attempts()))


def issue(file, session_id, gate, counts):
    kit = Rolecall(API_KEY, API_SECRET, plugins=[MaxLiveTokens(per_session=11, file=file)], entry_points=False)
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
    with Rolecall(API_KEY, API_SECRET) as kit:
        session_id = kit.create_session().session_id
    gate, counts = context.Barrier(4), context.Queue()
    workers = [context.Process(target=issue, args=(tmp_path / "live.db", session_id, gate, counts)) for _ in range(4)]
    for worker in workers:
        worker.start()
    issued = [counts.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()

    assert sum(issued) == 11


def test_a_file_that_is_lost_refuses_every_token(asker, tmp_path):
    file = tmp_path / "folder" / "live.db"
    file.parent.mkdir()
    ask = asker(MaxLiveTokens(per_session=1, file=file), allow_all=True)
    session_id = ask.session()
    file.write_bytes(b"no database " * 1000)

    with pytest.raises(PolicyFault):
        ask.token(session_id)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: MaxLiveTokens(),
        lambda folder: MaxLiveTokens(per_session=0),
        lambda folder: MaxLiveTokens(per_session=True),
        lambda folder: MaxLiveTokens(per_actor=untyped(1.5)),
        lambda folder: MaxLiveTokens(per_actor=untyped("3")),
        lambda folder: MaxLiveTokens(per_actor=1, reservation=0),
        lambda folder: MaxLiveTokens(per_actor=1, reservation=untyped(None)),
        lambda folder: MaxLiveTokens(per_actor=1, name=""),
        lambda folder: MaxLiveTokens(per_actor=1, file=":memory:"),
        lambda folder: MaxLiveTokens(per_actor=1, file=""),
        lambda folder: MaxLiveTokens(per_actor=1, file=untyped(5)),
        lambda folder: MaxLiveTokens(per_actor=1, file="nul\0"),
        lambda folder: MaxLiveTokens(per_actor=1, file=folder / "missing" / "live.db"),
        lambda folder: MaxLiveTokens(per_actor=1, file=folder),
    ],
)
def test_wrong_arguments_stop_start_up(make, tmp_path):
    with pytest.raises(ConfigurationError):
        make(tmp_path)
