"""A grant is watched until it ends: whoever waits for that is told at once, and why."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from rolecall import Grant, Rolecall, RolecallError, Web
from rolecall.engine.revisions import INTERVAL
from rolecall.errors import ExpiredToken, RevokedToken, StoreUnavailable
from rolecall.stores.memory import MemoryStore

from ...conftest import NOW
from ...rungs import RUNGS
from ...sdk_tokens import API_KEY, API_SECRET

#: The seconds within which a wait must be over: much less than RECHECK, much more than it takes.
IN_TIME = 20.0
#: The longest that a kit takes.
RECHECK = 60.0


def in_sync_code(kit: Rolecall, grant: Grant, act: Callable[[], object]) -> RolecallError | None:
    acting = threading.Timer(2 * INTERVAL, act)
    acting.start()
    try:
        return kit.wait_until_ended(grant, IN_TIME)
    finally:
        acting.join()


def on_asyncio(kit: Rolecall, grant: Grant, act: Callable[[], object]) -> RolecallError | None:
    async def wait() -> RolecallError | None:
        async with asyncio.timeout(IN_TIME), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(kit.aio.wait_until_ended(grant))
            await asyncio.sleep(2 * INTERVAL)
            assert not waiting.done()
            act()
        return waiting.result()

    return asyncio.run(wait())


def on_trio(kit: Rolecall, grant: Grant, act: Callable[[], object]) -> RolecallError | None:
    reasons = []

    async def wait() -> None:
        reasons.append(await kit.aio.wait_until_ended(grant))

    async def run() -> None:
        with trio.fail_after(IN_TIME):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.sleep(2 * INTERVAL)
                assert reasons == []
                act()

    trio.run(run)
    return reasons[0]


WAYS = [in_sync_code, on_asyncio, on_trio]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def reason(request) -> Callable[[Rolecall, Grant, Callable[[], object]], RolecallError | None]:
    """Waits until a grant ends, and begins the act meanwhile; the reason of the end."""
    return request.param


@pytest.fixture
def kit(make_kit) -> Rolecall:
    return make_kit(web=Web(recheck=RECHECK))


def held(kit: Rolecall, **options: Any) -> tuple[Any, str, Grant]:
    session = kit.create_session()
    token = session.generate_token(actor="ada", **options)
    return session, token, kit.verify_token(token)


@pytest.mark.each_choice
@pytest.mark.parametrize("rung", RUNGS)
def test_whatever_takes_the_grant_back_ends_the_wait(kit, reason, rung):
    session, token, grant = held(kit)
    error = reason(kit, grant, lambda: RUNGS[rung](kit, session, token))
    assert isinstance(error, RevokedToken)
    assert error.code == "revoked_token"


def test_the_wait_is_over_when_the_token_expires(make_kit, reason):
    begun = time.monotonic()
    kit = make_kit(web=Web(recheck=RECHECK), clock=lambda: NOW + time.monotonic() - begun)
    _, _, grant = held(kit, expire_time=NOW + 2)
    assert isinstance(reason(kit, grant, lambda: None), ExpiredToken)
    assert time.monotonic() - begun >= 2


@pytest.mark.parametrize("store", [MemoryStore, lambda: Plain()], ids=["with a revision", "without"])
def test_a_grant_that_has_ended_already_is_not_waited_for(make_kit, store, clock):
    kit = make_kit(web=Web(recheck=RECHECK), store=store())
    session, _, grant = held(kit)
    session.end()
    began = time.monotonic()
    assert isinstance(kit.wait_until_ended(grant), RevokedToken)
    assert isinstance(asyncio.run(kit.aio.wait_until_ended(grant)), RevokedToken)
    _, _, grant = held(kit)
    clock.now = grant.expires_at
    assert isinstance(kit.wait_until_ended(grant), ExpiredToken)
    assert isinstance(asyncio.run(kit.aio.wait_until_ended(grant)), ExpiredToken)
    assert time.monotonic() - began < IN_TIME


def test_others_that_lose_theirs_end_no_wait(kit):
    session, _, grant = held(kit)
    for rung in ("revoke_token", "exclude", "reset_session", "end_session"):
        other, others_token, _ = held(kit)
        RUNGS[rung](kit, other, others_token)
    session.exclude("bob")
    kit.revoke_token(session.generate_token(actor="ada"))
    kit.revoke_actor("bob")
    assert kit.wait_until_ended(grant, 3 * INTERVAL) is None
    assert asyncio.run(kit.aio.wait_until_ended(grant, 3 * INTERVAL)) is None
    assert trio.run(kit.aio.wait_until_ended, grant, 3 * INTERVAL) is None


class Plain(MemoryStore):
    """A store without a revision, which has a failure if it is told."""

    revision = property()  # so that hasattr says no
    failure: Exception | None = None

    def has_ended(self, session_id: str) -> bool:
        if self.failure is not None:
            raise self.failure
        return super().has_ended(session_id)


def test_with_a_store_that_has_no_revision_the_next_check_finds_out(make_kit, reason):
    kit = make_kit(web=Web(recheck=0.3), store=Plain())
    session, _, grant = held(kit)
    assert isinstance(reason(kit, grant, session.end), RevokedToken)


def test_a_wait_is_over_when_nobody_can_tell_any_more(make_kit, reason):
    store = Plain()
    kit = make_kit(web=Web(recheck=0.3), store=store)
    _, _, grant = held(kit)
    error = reason(kit, grant, lambda: setattr(store, "failure", StoreUnavailable("the line is cut")))
    assert isinstance(error, StoreUnavailable)


def test_a_failure_of_the_store_that_passes_ends_no_wait_and_hides_no_revocation(make_kit, reason):
    class Late(MemoryStore):
        """A store that cannot tell for a while after each change."""

        answers = 0

        def end_session(self, session_id: str, ended_at: float) -> None:
            self.answers = -3
            super().end_session(session_id, ended_at)

        def has_ended(self, session_id: str) -> bool:
            self.answers += 1
            if self.answers <= 0:
                raise StoreUnavailable("not in step")
            return super().has_ended(session_id)

    kit = make_kit(web=Web(recheck=RECHECK), store=Late())
    session, _, grant = held(kit)
    assert isinstance(reason(kit, grant, session.end), RevokedToken)


class Stale(MemoryStore):
    """A store whose answers about ends are late by one: another end comes while the first answer is on its way."""

    immediate = False

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def ended_among(self, session_ids: Any) -> set[str]:
        self.asked += 1
        if self.asked > 1:
            return {one for one in session_ids if self.has_ended(one)}
        self.end_session("1_other", 7.5)
        await asyncio.sleep(4 * INTERVAL)  # so that the change is told meanwhile
        return set()


def test_what_is_learned_during_a_check_calls_for_another_one(make_kit):
    store = Stale()
    kit = make_kit(web=Web(recheck=RECHECK), store=store, revocation="immediate")
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token())
    store.asked = 0
    assert isinstance(on_asyncio(kit, grant, lambda: store.end_session(session.session_id, NOW)), RevokedToken)
    assert store.asked == 2


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
def test_without_patience_it_is_only_looked_at(kit, timeout):
    session, _, grant = held(kit)
    waits = [
        lambda: kit.wait_until_ended(grant, timeout),
        lambda: asyncio.run(kit.aio.wait_until_ended(grant, timeout)),
        lambda: trio.run(kit.aio.wait_until_ended, grant, timeout),
    ]
    assert [wait() for wait in waits] == [None, None, None]
    session.end()
    assert {type(wait()) for wait in waits} == {RevokedToken}


def test_whoever_stops_waiting_leaves_nothing_behind(kit):
    _, _, grant = held(kit)

    async def give_up() -> None:
        waiting = asyncio.create_task(kit.aio.wait_until_ended(grant))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(give_up())


def test_thousands_may_wait_on_one_loop(kit):
    session = kit.create_session()
    grants = [kit.verify_token(session.generate_token()) for _ in range(2000)]

    async def wait() -> list[RolecallError | None]:
        async with asyncio.timeout(IN_TIME), asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(kit.aio.wait_until_ended(grant)) for grant in grants]
            kit.revoke_token(grants[7])
            await waiting[7]
            assert [task.done() for task in waiting].count(True) == 1
            session.reset()
        return [task.result() for task in waiting]

    assert {type(error) for error in asyncio.run(wait())} == {RevokedToken}


UNDER_GEVENT = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
from rolecall import Rolecall, Web
from rolecall.errors import RevokedToken

kit = Rolecall(sys.argv[1], sys.argv[2], entry_points=False, web=Web(recheck=60))
session = kit.create_session()
grants = [kit.verify_token(session.generate_token()) for _ in range(200)]
waiting = [gevent.spawn(kit.wait_until_ended, grant, 20) for grant in grants]
gevent.sleep(0.1)
kit.revoke_token(grants[0])
assert isinstance(waiting[0].get(), RevokedToken)
assert not any(one.ready() for one in waiting[1:])
session.end()
assert all(isinstance(one.get(), RevokedToken) for one in waiting)
"""


def test_under_gevent_the_other_greenlets_run_meanwhile():
    pytest.importorskip("gevent")
    script = [sys.executable, "-c", UNDER_GEVENT, API_KEY, API_SECRET]
    ended = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
