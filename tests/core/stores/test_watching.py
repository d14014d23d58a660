"""A store that is lost and found is told to plugins, once for each change, whichever thread notices."""

from __future__ import annotations

import asyncio
import math
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from rolecall import Rolecall, blocking, events, hookimpl
from rolecall.errors import StoreUnavailable
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores import open_store
from rolecall.stores.failures import of_a_value
from rolecall.stores.following import Follower, News
from rolecall.stores.leases import Slot
from rolecall.stores.memory import MemoryStore

from ...forking import in_child, needs_fork
from ...waiting import PATIENCE, soon

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


class Faulty(MemoryStore):
    """A store that fails as it is told; its log of ended sessions, too."""

    def __init__(self, *, follows: bool = False) -> None:
        super().__init__()
        self.reading: Exception | None = None
        self.writing: Exception | None = None
        self.log: Exception | None = None
        if follows:
            self.follower = Follower(self, max_staleness=0.2)
            self.has_ended = self.follower.has_ended  # type: ignore[method-assign]

    def get_session(self, session_id: str) -> SessionRecord | None:
        if self.reading:
            raise self.reading
        return super().get_session(session_id)

    def add_session(self, record: SessionRecord) -> None:
        if self.writing:
            raise self.writing
        super().add_session(record)

    def snapshot(self) -> tuple[News, int]:
        return self.changes(0, 0)

    def changes(self, after: Any, wait: float) -> tuple[News, int]:
        threading.Event().wait(min(wait, 0.01))
        if self.log:
            raise self.log
        return News(), 0

    def close(self) -> None:
        if hasattr(self, "follower"):
            self.follower.close()


class Listener:
    """Keeps the events about the store."""

    name = "listener"

    def __init__(self) -> None:
        self.events: list[events.Event] = []

    @hookimpl
    def rolecall_on_event(self, event: events.Event) -> None:
        if isinstance(event, events.StoreLost | events.StoreFound):
            self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def heard(self, *names: str) -> bool:
        """Whether these events come, and nothing else."""
        return soon(lambda: len(self.events) >= len(names)) and self.names == list(names)


def kit_on(store: Faulty, *plugins: Any, **options: Any) -> Rolecall:
    return Rolecall("123456", secrets.token_hex(32), store=store, plugins=plugins, entry_points=False, **options)


def lag(kit: Rolecall) -> float:
    seconds = kit.store_lag()
    assert seconds is not None
    return seconds


@pytest.fixture
def store() -> Faulty:
    return Faulty()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def kit(store, listener) -> Iterator[Rolecall]:
    with kit_on(store, listener) as kit:
        yield kit


def refused(call: Callable[[], object], times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(StoreUnavailable):
            call()


def test_it_is_lost_once_for_many_refused_calls_and_found_once(kit, store, listener):
    store.writing = StoreUnavailable("the server is gone")
    refused(kit.create_session, times=3)
    assert listener.heard("store_lost")
    store.writing = None
    kit.create_session()
    kit.create_session()
    assert listener.heard("store_lost", "store_found")
    lost, found = listener.events
    assert lost.reason == "the server is gone"
    assert 0 < found.seconds < PATIENCE
    assert (lost.http, lost.actor, lost.session_id) == (None, None, None)
    assert found.as_dict()["seconds"] == found.seconds


def test_it_is_lost_again_after_it_was_found(kit, store, listener):
    for _ in range(2):
        store.writing = StoreUnavailable("gone")
        refused(kit.create_session)
        store.writing = None
        kit.create_session()
    assert listener.heard(*["store_lost", "store_found"] * 2)


def test_reads_that_answer_do_not_find_a_store_that_takes_no_changes(kit, store, listener):
    session = kit.create_session()
    store.writing = StoreUnavailable("the disk is full")
    for _ in range(2):
        refused(kit.create_session)
        kit.get_session(session)
    store.writing = None
    kit.create_session()
    assert listener.heard("store_lost", "store_found")


def test_a_change_that_is_made_finds_a_store_that_did_not_read(kit, store, listener):
    session = kit.create_session()
    store.reading = StoreUnavailable("gone")
    refused(lambda: kit.get_session(session))
    store.reading = None
    kit.create_session()
    assert listener.heard("store_lost", "store_found")


def test_a_row_that_is_damaged_is_no_loss_of_the_store(kit, store, listener):
    session = kit.create_session()
    store.reading = of_a_value("the row cannot be read")
    refused(lambda: kit.get_session(session), times=3)
    store.writing = StoreUnavailable("gone")
    refused(kit.create_session)
    assert listener.heard("store_lost")
    assert listener.events[0].reason == "gone"


def test_a_value_that_sqlite_cannot_hold_is_no_loss_of_the_store(tmp_path):
    with closing(open_store(f"sqlite:///{tmp_path}/app.db")) as store:
        record = SessionRecord("1_abc", SessionProperties(), 1.0, created_by="\ud800")  # as an app's own JWT may say
        calls = (
            lambda: store.add_session(record),
            lambda: store.get_session("\ud800"),
            lambda: store.end_session("1_abc", math.nan),
            lambda: store.full_slot([Slot("rate", 10**30, 1.0)], 1.0),  # type: ignore[attr-defined]
        )
        for call in calls:
            with pytest.raises(StoreUnavailable, match="cannot hold") as caught:
                call()
            assert caught.value.is_of_a_value


def test_async_code_tells_the_same(store, listener):
    async def lose_and_find() -> None:
        async with kit_on(store, listener).aio as kit:
            store.writing = StoreUnavailable("gone")
            for _ in range(3):
                with suppress(StoreUnavailable):
                    await kit.create_session()
            store.writing = None
            await kit.create_session()

    asyncio.run(lose_and_find())
    assert listener.heard("store_lost", "store_found")


def test_a_store_that_is_late_is_lost(listener):
    class Frozen(Faulty):
        writes_inline = False

        def add_session(self, record: SessionRecord) -> None:
            held.wait(PATIENCE)

    held = threading.Event()
    with kit_on(Frozen(), listener, store_timeout=0.05) as kit:
        refused(kit.create_session)
        assert listener.heard("store_lost")
        assert "0.05 s" in listener.events[0].reason
        held.set()


def test_a_follower_that_is_out_of_touch_loses_the_store_without_any_call(listener):
    store = Faulty(follows=True)
    with kit_on(store, listener) as kit:
        assert kit.store_lag() == float("inf")
        kit.create_session()
        store.follower.start()
        assert soon(lambda: not store.follower.is_late())
        assert lag(kit) < PATIENCE
        store.log = StoreUnavailable("the log does not answer")
        assert listener.heard("store_lost")
        assert listener.events[0].reason.endswith("the log does not answer")
        assert lag(kit) >= 0.2
        store.log = None
        assert listener.heard("store_lost", "store_found")
        assert listener.events[1].seconds >= 0.2


def test_a_log_that_answers_again_finds_a_store_that_no_call_has_asked_since(listener):
    store = Faulty(follows=True)
    with kit_on(store, listener) as kit:
        kit.create_session()
        store.follower.start()
        assert soon(lambda: not store.follower.is_late())
        store.log = store.writing = StoreUnavailable("gone")
        refused(kit.create_session)
        assert soon(lambda: lag(kit) > 0.2)
        store.log = None
        assert listener.heard("store_lost", "store_found")


def test_a_store_without_a_follower_has_no_lag(kit):
    assert kit.store_lag() is None


def test_a_listener_that_hangs_delays_neither_a_call_nor_another_listener(store, listener):
    class Hanging:
        @hookimpl
        def rolecall_on_event(self, event: events.Event) -> None:
            if isinstance(event, events.StoreLost):
                entered.set()
                held.wait(PATIENCE)

    entered, held = threading.Event(), threading.Event()
    with kit_on(store, Hanging(), listener) as kit:
        store.writing = StoreUnavailable("gone")
        refused(kit.create_session)
        assert entered.wait(PATIENCE)
        store.writing = None
        kit.create_session()
        assert listener.heard("store_lost", "store_found")
        held.set()


def test_a_listener_that_raises_is_logged_and_told_again(store, caplog):
    class Raising(Listener):
        @hookimpl
        def rolecall_on_event(self, event: events.Event) -> None:
            super().rolecall_on_event(event)
            raise ValueError

    listener = Raising()
    with kit_on(store, listener) as kit:
        store.writing = StoreUnavailable("gone")
        refused(kit.create_session)
        store.writing = None
        kit.create_session()
        assert listener.heard("store_lost", "store_found")
        assert soon(lambda: "failed on the event store_found" in caplog.text)


@pytest.mark.parametrize("kind", ["async def", "blocking"])
def test_each_kind_of_listener_is_told(store, listener, kind):
    class Asynchronous:
        @hookimpl
        async def rolecall_on_event(self, event: events.Event) -> None:
            await asyncio.sleep(0)
            listener.rolecall_on_event(event)

    class Blocking:
        @hookimpl
        @blocking
        def rolecall_on_event(self, event: events.Event) -> None:
            listener.rolecall_on_event(event)

    with kit_on(store, Asynchronous() if kind == "async def" else Blocking()) as kit:
        store.writing = StoreUnavailable("gone")
        refused(kit.create_session)
        assert listener.heard("store_lost")


@needs_fork
def test_a_forked_child_tells_of_what_it_notices_itself(kit, store, listener):
    def in_a_worker() -> list[str]:
        listener.events.clear()
        kit.create_session()  # which is no news here
        store.writing = StoreUnavailable("gone")
        refused(kit.create_session)
        soon(lambda: listener.events)
        return listener.names

    store.writing = StoreUnavailable("gone")
    refused(kit.create_session)
    assert listener.heard("store_lost")
    store.writing = None
    assert in_child(in_a_worker) == ["store_lost"]


def test_a_closed_kit_tells_nothing(store, listener):
    kit = kit_on(store, listener)
    kit.close()
    store.writing = StoreUnavailable("the store was closed")
    refused(kit.create_session)
    with closing(kit_on(store, other := Listener())) as open_kit:
        refused(open_kit.create_session)
        assert other.heard("store_lost")
    assert listener.events == []
