"""Who waits on an event loop is told when a store's revision changes: by one timer, for all of them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
import trio

from rolecall.driver.event_loops import running
from rolecall.driver.turns import MOST
from rolecall.engine.revisions import AT_ONCE, INTERVAL, Revisions
from rolecall.errors import StoreUnavailable
from rolecall.stores.memory import MemoryStore

from ...untyped import untyped
from ...waiting import PATIENCE

LOOPS: dict[str, Callable[[Callable[[], Awaitable[Any]]], Any]] = {
    "asyncio": lambda test: asyncio.run(untyped(test())),
    "trio": lambda test: trio.run(untyped(test)),
}


class Revised(MemoryStore):
    """A store whose revision is set by hand, and which counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.failure: Exception | None = None
        self.asked = 0

    def revision(self) -> object:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return self.number


@pytest.fixture(params=LOOPS)
def run(request):
    """Runs an async function on an event loop of its own."""
    return LOOPS[request.param]


async def soon(condition: Callable[[], object]) -> bool:
    """Whether the condition becomes true, while other tasks run."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        await running().sleep(0.001)
    return True


def noting(told: list[Any], what: Callable[[], object]) -> Callable[[], bool]:
    """Notes that it was told."""

    def tell() -> bool:
        told.append(what())
        return False

    return tell


def is_as_long(told: list[Any], count: int) -> bool:
    return len(told) == count


def test_whoever_waits_is_told_of_each_change_and_of_nothing_else(run):
    store = Revised()
    told: list[Any] = []

    async def watch():
        revisions = Revisions(store)
        with revisions.told(noting(told, lambda: 1)), revisions.told(noting(told, lambda: 2)):
            for number in range(1, 4):
                store.number = number
                assert await soon(partial(is_as_long, told, 2 * number))
            asked = store.asked
            assert await soon(lambda: store.asked >= asked + 3)
        assert sorted(told) == [1, 1, 1, 2, 2, 2]

    run(watch)


def test_one_timer_looks_for_all(run):
    store = Revised()
    told: list[int] = []

    async def watch():
        revisions = Revisions(store)
        with ExitStack() as all_of_them:
            for number in range(500):
                all_of_them.enter_context(revisions.told(noting(told, partial(int, number))))
            began, store.asked = time.monotonic(), 0
            assert await soon(lambda: store.asked >= 3)
            assert store.asked <= (time.monotonic() - began) / INTERVAL + 1

    run(watch)


def test_nothing_is_asked_once_nobody_waits(run):
    store = Revised()
    told: list[Any] = []

    async def watch():
        revisions = Revisions(store)
        with revisions.told(noting(told, lambda: 1)):
            assert await soon(lambda: store.asked > 2)
        asked, store.number = store.asked, 1
        await running().sleep(3 * INTERVAL)
        assert (store.asked, told) == (asked, [])
        with revisions.told(noting(told, lambda: 2)):  # and it begins again
            store.number = 2
            assert await soon(lambda: told == [2])

    run(watch)


def test_whoever_left_is_not_told(run):
    store = Revised()
    told: list[Any] = []

    async def watch():
        revisions = Revisions(store)
        with revisions.told(noting(told, lambda: "stays")):
            with revisions.told(noting(told, lambda: "left")):
                pass
            store.number = 1
            assert await soon(lambda: told)
        assert told == ["stays"]

    run(watch)


@pytest.mark.parametrize(("goes_on", "most"), [(False, AT_ONCE), (True, MOST)], ids=["of no concern", "of concern"])
def test_many_are_told_in_several_turns_of_the_loop(run, goes_on, most):
    """Those who go on with their work then do so a few at a time."""
    store, turns = Revised(), [0]
    told: list[tuple[int, int]] = []
    count = 4 * most

    def tell(number: int) -> bool:
        told.append((number, turns[0]))
        return goes_on

    async def watch():
        revisions = Revisions(store)
        with ExitStack() as all_of_them:
            for number in range(count):
                all_of_them.enter_context(revisions.told(partial(tell, number)))
            store.number = 1
            while len(told) < count:
                turns[0] += 1
                await running().sleep(0)
        assert {number for number, _ in told} == set(range(count))
        in_one_turn = [sum(turn == at for _, at in told) for turn in {at for _, at in told}]
        assert max(in_one_turn) <= 2 * most  # trio chooses the order of tasks in a turn

    run(watch)


def test_whoever_could_not_tell_is_asked_again(run):
    store = Revised()
    told: list[Any] = []

    async def watch():
        def tell() -> bool:
            told.append(1)
            if len(told) < 3:
                raise StoreUnavailable("not yet")
            return False

        with Revisions(store).told(tell):
            store.number = 1
            assert await soon(lambda: len(told) == 3)
            asked = store.asked
            assert await soon(lambda: store.asked >= asked + 3)
        assert len(told) == 3

    run(watch)


@pytest.mark.parametrize("failure", [StoreUnavailable("out of touch"), ZeroDivisionError("a fault")])
def test_a_store_that_cannot_tell_is_asked_on(run, failure):
    store = Revised()
    told: list[Any] = []

    async def watch():
        with Revisions(store).told(noting(told, lambda: 1)):
            store.failure = failure
            asked = store.asked
            assert await soon(lambda: store.asked >= asked + 3)
            assert told == []
            store.failure, store.number = None, 1
            assert await soon(lambda: told == [1])

    run(watch)


def test_a_store_without_a_revision_tells_nobody(run):
    class Plain:
        """A store's other methods are of no account here."""

    async def watch():
        revisions = Revisions(untyped(Plain()))
        assert revisions.current() is None
        with revisions.told(lambda: False):
            await running().sleep(0)

    run(watch)


def test_each_loop_has_its_own_timer():
    store = Revised()
    told: list[Any] = []
    revisions = Revisions(store)
    ready = threading.Barrier(4)

    def wait(name: int) -> None:
        async def watch():
            mine: list[Any] = []
            with revisions.told(noting(mine, threading.get_ident)):
                ready.wait(PATIENCE)
                assert await soon(lambda: mine)
            told.append((name, mine[0] == threading.get_ident()))

        LOOPS["trio" if name % 2 else "asyncio"](watch)

    threads = [threading.Thread(target=wait, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    ready.wait(PATIENCE)
    store.number = 1
    for thread in threads:
        thread.join()
    assert sorted(told) == [(0, True), (1, True), (2, True)]


def test_the_timer_holds_nothing_of_the_request_that_started_it():
    store = Revised()
    seen: list[Any] = []
    request = contextvars.ContextVar("request", default="none")

    async def watch():
        revisions = Revisions(store)

        async def of_a_request():
            request.set("the first one's")
            with revisions.told(noting(seen, request.get)):
                store.number += 1
                assert await soon(lambda: seen)

        await asyncio.create_task(of_a_request())

    asyncio.run(watch())
    assert seen == ["none"]


def test_a_loop_that_is_closed_in_the_middle_is_let_go():
    store = Revised()
    told: list[Any] = []
    revisions = Revisions(store)
    loop = asyncio.new_event_loop()

    async def watch():
        with revisions.told(noting(told, lambda: 1)):
            await asyncio.Event().wait()

    task = loop.create_task(watch())
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    del loop, task
    asyncio.run(_is_told(revisions, store))


async def _is_told(revisions: Revisions, store: Revised) -> None:
    told: list[int] = []
    with revisions.told(noting(told, lambda: 1)):
        store.number += 1
        assert await soon(lambda: told)
