"""Sessions that tasks create at the same time are written together; each task hears of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from rolecall.driver import LoopDriver
from rolecall.driver.threads import THREADS, ThreadPools
from rolecall.errors import StoreUnavailable
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores.calling import Calls
from rolecall.stores.gathering import MOST
from rolecall.stores.memory import MemoryStore

from ...forking import in_child

RECORD = SessionRecord("1_abc", SessionProperties(), 1.5)


class Slow(MemoryStore):
    """Takes several sessions at once, when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.began = threading.Event()
        self.goes_on = threading.Event()

    async def is_at_it(self) -> None:
        while not self.began.is_set():
            await asyncio.sleep(0.001)

    def add_sessions(self, records: Sequence[SessionRecord]) -> list[Exception | None]:
        self.began.set()
        self.goes_on.wait(20)
        self.batches.append(len(records))
        return [self._add(record) for record in records]

    def _add(self, record: SessionRecord) -> Exception | None:
        if record.session_id == "1_bad":
            return StoreUnavailable("this one is bad")
        self.add_session(record)
        return None


@pytest.fixture
def store():
    store = Slow()
    yield store
    store.goes_on.set()


@pytest.fixture
def pools():
    pools = ThreadPools()
    yield pools
    pools.close()


def calls(store: MemoryStore, pools: ThreadPools, seconds: float = 20.0) -> Calls:
    return Calls(store, LoopDriver(pools), lambda: seconds, blocks=False)


def record(number: object) -> SessionRecord:
    return replace(RECORD, session_id=f"1_{number}")


def test_what_waits_is_written_together(store, pools):
    number = 2 * MOST + 10

    async def create() -> None:
        add = calls(store, pools).add_session
        tasks = [asyncio.ensure_future(add(record(one))) for one in range(number)]
        for _ in range(100):  # turns, in which all of them begin
            await asyncio.sleep(0)
        store.goes_on.set()
        await asyncio.gather(*tasks)

    asyncio.run(create())
    assert sum(store.batches) == number
    assert len(store.batches) < number / 10
    assert max(store.batches) <= MOST
    assert all(store.get_session(f"1_{one}") for one in range(number))


def test_each_task_hears_of_its_own_failure(store, pools):
    async def create() -> list[object]:
        add = calls(store, pools).add_session
        store.goes_on.set()
        names = ["a", "bad", "b"]
        return await asyncio.gather(*(add(record(name)) for name in names), return_exceptions=True)

    first, second, third = asyncio.run(create())
    assert first is third is None
    assert str(second) == "this one is bad"


def test_a_store_that_fails_tells_everybody(store, pools):
    def fail(records):
        raise StoreUnavailable("out of order")

    async def create() -> list[object]:
        store.add_sessions = fail
        add = calls(store, pools).add_session
        return await asyncio.gather(*(add(record(one)) for one in range(5)), return_exceptions=True)

    assert [str(answer) for answer in asyncio.run(create())] == ["out of order"] * 5


@pytest.mark.parametrize("answer", [None, [], [None] * 6, "no list", [True]])
def test_a_store_that_does_not_say_what_became_of_each_session_is_unavailable(answer, store, pools):
    async def create() -> list[object]:
        store.add_sessions = lambda records: answer
        add = calls(store, pools).add_session
        return await asyncio.gather(*(add(record(one)) for one in range(5)), return_exceptions=True)

    for failure in asyncio.run(create()):
        assert isinstance(failure, StoreUnavailable)


def test_each_task_has_an_error_of_its_own(store, pools):
    def fail(records):
        raise StoreUnavailable("out of order")

    async def create() -> list[object]:
        store.add_sessions = fail
        add = calls(store, pools).add_session
        return await asyncio.gather(*(add(record(one)) for one in range(5)), return_exceptions=True)

    assert len(set(map(id, asyncio.run(create())))) == 5


def test_a_task_that_is_cancelled_takes_its_session_back_and_harms_no_other_one(store, pools):
    async def create() -> None:
        add = calls(store, pools).add_session
        first = asyncio.ensure_future(add(record("first")))
        await store.is_at_it()
        others = [asyncio.ensure_future(add(record(one))) for one in range(3)]
        await asyncio.sleep(0)
        others[1].cancel()
        first.cancel()
        await asyncio.sleep(0)
        store.goes_on.set()
        await asyncio.gather(others[0], others[2])

    asyncio.run(create())
    assert [store.get_session(f"1_{one}") is None for one in range(3)] == [False, True, False]


def test_a_store_that_hangs_is_late(store, pools):
    async def create() -> None:
        await calls(store, pools, 0.05).add_session(RECORD)

    with pytest.raises(StoreUnavailable, match=r"has not answered within 0\.05 s, and may have done"):
        asyncio.run(create())


def test_without_a_thread_it_is_refused_and_later_works(store, pools):
    goes_on = threading.Event()

    async def create() -> None:
        driver = LoopDriver(pools)
        stuck = [asyncio.ensure_future(driver.run("the store", 0.05, goes_on.wait, 20)) for _ in range(THREADS)]
        await asyncio.gather(*stuck, return_exceptions=True)
        add = Calls(store, driver, lambda: 20.0, blocks=False).add_session
        with pytest.raises(StoreUnavailable, match="the store was not called"):
            await add(record("refused"))
        goes_on.set()
        store.goes_on.set()
        while True:
            try:
                return await add(record("kept"))
            except StoreUnavailable:
                await asyncio.sleep(0.01)

    asyncio.run(create())
    assert store.get_session("1_refused") is None
    assert store.get_session("1_kept") is not None


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_gathers_anew(store, pools):
    add = calls(store, pools, 20.0).add_session

    async def create(name: str) -> None:
        await asyncio.wait_for(add(record(name)), 20)

    async def fork_while_a_thread_writes() -> None:
        task = asyncio.ensure_future(create("parent"))
        await store.is_at_it()
        in_child(work)
        store.goes_on.set()
        await task

    def work() -> bool:
        store.goes_on = threading.Event()
        store.goes_on.set()
        thread = threading.Thread(target=lambda: asyncio.run(create("child")))
        thread.start()
        thread.join(30)
        assert store.get_session("1_child") is not None
        return True

    asyncio.run(fork_while_a_thread_writes())
    assert store.get_session("1_parent") is not None
