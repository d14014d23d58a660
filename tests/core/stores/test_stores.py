"""Stores: the same from every one, across threads, processes and forks, and clear words when one is out of reach."""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rolecall import Allow, ArchiveMode, InvalidToken, MediaMode, hookimpl
from rolecall.driver import drive
from rolecall.errors import ConfigurationError, NotInStep, RevokedToken, SessionEnded, SessionNotFound, StoreUnavailable
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores import Store, open_store
from rolecall.stores.memory import MemoryStore
from rolecall.stores.sqlite import SQLiteStore
from rolecall.stores.sqlite_file import LOOK_INTERVAL, _connect
from rolecall.stores.sqlite_schema import MIGRATIONS
from rolecall.testing.store_parts import (
    DocumentsContract,
    LeasesContract,
    LedgerContract,
    ListingContract,
    MarksContract,
    UpkeepContract,
)
from rolecall.testing.stores import StoreContract

from ...forking import forked
from ...ids import as_text
from ...open_files import needs_proc, open_files
from ...untyped import untyped

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

#: A session of the same project that another service made.
FOREIGN = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
RECORDED = SessionProperties("203.0.113.7", MediaMode.ROUTED, ArchiveMode.ALWAYS)
VERSIONS = [(version,) for version in range(1, 9)]
RECORD = SessionRecord("1_abc", RECORDED, 1_795_186_800.125)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture(params=["memory", "sqlite"])
def url(request, path) -> str:
    return {"memory": "memory://", "sqlite": f"sqlite:///{path}"}[request.param]


@pytest.fixture
def store(url):
    with closing(open_store(url)) as store:
        yield store


@pytest.fixture
def sqlite(path):
    with closing(SQLiteStore(path)) as store:
        yield store


def record(number: object) -> SessionRecord:
    return replace(RECORD, session_id=f"1_{number}")


# -- every store -----------------------------------------------------------------------------------


class TestMemoryStore(
    StoreContract, LeasesContract, MarksContract, LedgerContract, DocumentsContract, ListingContract, UpkeepContract
):
    @pytest.fixture
    def store(self):
        return MemoryStore()


class TestSQLiteStore(
    StoreContract, LeasesContract, MarksContract, LedgerContract, DocumentsContract, ListingContract, UpkeepContract
):
    @pytest.fixture
    def store(self, path):
        return SQLiteStore(path)

    @pytest.fixture
    def other_store(self, path):
        with closing(SQLiteStore(path)) as other:
            yield other

    @pytest.fixture
    def broken_store(self, tmp_path):
        with closing(SQLiteStore(tmp_path / "broken.db")) as broken:
            with closing(sqlite3.connect(tmp_path / "broken.db")) as raw:
                tables = ("sessions", "ended_sessions", "used_once", "marks")
                raw.executescript("".join(f"DROP TABLE rolecall_{table};" for table in tables))
            yield broken


class Service:
    """A database behind a network, and its async client: values by key, and a channel."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.channel: list[Callable[[str], None]] = []
        self.answers = True

    async def get(self, key: str) -> object:
        await self._answer()
        return self.values.get(key)

    async def put_new(self, key: str, value: object) -> bool:
        """Whether the key is new; only then the value is kept."""
        await self._answer()
        is_new = self.values.setdefault(key, value) is value
        await self._answer()
        return is_new

    async def publish(self, message: str) -> None:
        await self._answer()
        for listener in self.channel:
            listener(message)

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if not self.answers:
            raise ConnectionError("the service is out of order")


class ServiceStore:
    """An async store. Ended sessions come in by the service's channel."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ended = {key.removeprefix("ended ") for key in service.values if key.startswith("ended ")}
        service.channel.append(self._ended.add)

    async def add_session(self, record: SessionRecord) -> None:
        await self._asked(self._service.put_new(f"session {record.session_id}", record))

    async def get_session(self, session_id: str) -> SessionRecord | None:
        record = await self._asked(self._service.get(f"session {session_id}"))
        ended_at = await self._asked(self._service.get(f"ended {session_id}"))
        return None if record is None else replace(record, ended_at=ended_at)

    async def end_session(self, session_id: str, ended_at: float) -> None:
        await self._asked(self._service.put_new(f"ended {session_id}", ended_at))
        await self._asked(self._service.publish(session_id))

    def has_ended(self, session_id: str) -> bool:
        if not self._service.answers:
            raise StoreUnavailable("the service's channel is lost")
        return session_id in self._ended

    async def use_once(self, name: str, until: float, now: float) -> bool:
        return await self._asked(self._service.put_new(f"used {name}", [until]))

    async def close(self) -> None:
        with suppress(ValueError):
            self._service.channel.remove(self._ended.add)

    async def _asked(self, question):
        try:
            return await question
        except ConnectionError as error:
            raise StoreUnavailable(str(error)) from error


class TestAsyncStore(StoreContract):
    @pytest.fixture
    def service(self):
        return Service()

    @pytest.fixture
    def store(self, service):
        store: Any = ServiceStore(service)
        store.shared = False  # a forked child has a copy
        return store

    @pytest.fixture
    def other_store(self, service):
        return ServiceStore(service)

    @pytest.fixture
    def broken_store(self):
        service = Service()
        service.answers = False
        return ServiceStore(service)


class Asked:
    """Asks a store directly."""

    def __call__(self, store, method, *args):
        return getattr(store, method)(*args)

    def together(self, store, questions):
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda question: self(store, *question), questions))


class ForgetsEnds(MemoryStore):
    def end_session(self, session_id, ended_at):
        pass


class LastEndStays(MemoryStore):
    def end_session(self, session_id, ended_at):
        self._ended[session_id] = ended_at


class LastRecordStays(MemoryStore):
    def add_session(self, record):
        self._sessions[record.session_id] = record


class EndsOnlyWhatItKnows(MemoryStore):
    def end_session(self, session_id, ended_at):
        if session_id in self._sessions:
            super().end_session(session_id, ended_at)


class FoldsCase(MemoryStore):
    def get_session(self, session_id):
        return super().get_session(session_id.replace("ABC", "abc"))


class SaysNothingOfEnds(MemoryStore):
    def has_ended(self, session_id):
        return session_id in self._ended or None


class WaitsForTheNetwork(MemoryStore):
    def has_ended(self, session_id):
        time.sleep(0.0002)
        return super().has_ended(session_id)


class LooksBeforeItUses(MemoryStore):
    def use_once(self, name, until, now):
        if name in self._used:
            return False
        time.sleep(0.01)
        self._used[name] = (until, object())
        return True


class LosesFractions(MemoryStore):
    def add_session(self, record):
        super().add_session(replace(record, created_at=float(int(record.created_at))))


class Raises(MemoryStore):
    def get_session(self, session_id):
        return super().get_session(session_id.encode().decode())


class OneTable(MemoryStore):
    def use_once(self, name, until, now):
        if name in self._ended:
            return False
        return super().use_once(name, until, now)


class ClosesOnce(MemoryStore):
    def close(self):
        del self._sessions


@pytest.mark.parametrize(
    ("faulty", "test", "args"),
    [
        (ForgetsEnds, "test_a_session_is_open_until_it_is_ended", ()),
        (LastEndStays, "test_the_first_end_stays", ()),
        (LastRecordStays, "test_the_first_record_of_an_id_stays", ()),
        (EndsOnlyWhatItKnows, "test_a_session_that_was_never_added_can_end", ()),
        (EndsOnlyWhatItKnows, "test_an_end_before_its_session_stays", ()),
        (FoldsCase, "test_an_id_is_found_exactly_or_not_at_all", ("1_ABC",)),
        (SaysNothingOfEnds, "test_the_end_of_one_session_is_not_that_of_another", ()),
        (WaitsForTheNetwork, "test_whether_a_session_has_ended_is_known_at_once", ()),
        (LooksBeforeItUses, "test_of_concurrent_uses_one_is_the_first", ()),
        (LosesFractions, "test_a_session_comes_back_as_it_went_in", (RECORD,)),
        (Raises, "test_what_it_cannot_hold_is_unavailable", (("get_session", "1_\ud800"),)),
        (OneTable, "test_a_single_use_id_is_no_session", ()),
        (ClosesOnce, "test_it_can_be_closed_twice", ()),
    ],
)
def test_the_contract_finds_a_store_that_breaks_it(faulty, test, args):
    with pytest.raises((AssertionError, AttributeError, UnicodeError)):
        getattr(StoreContract(), test)(faulty(), Asked(), *args)


def test_what_has_come_once_is_forgotten_when_it_is_over(store):
    for number in range(2000):
        assert store.use_once(f"early {number}", until=10.0, now=5.0)
    assert store.use_once("late", until=100.0, now=5.0)
    for number in range(2000):
        assert store.use_once(f"later {number}", until=100.0, now=11.0)
    kept = store._used if isinstance(store, MemoryStore) else used_once(store)
    assert "late" in kept
    assert not any(name.startswith("early") for name in kept)


def used_once(store: SQLiteStore) -> set[str]:
    with closing(store._file.connect()) as raw:
        return {name for (name,) in raw.execute("SELECT name FROM rolecall_used_once")}


# -- a kit on every store --------------------------------------------------------------------------


@pytest.fixture
def kit(make_kit, url):
    return make_kit(store=url)


def test_a_kit_finds_its_sessions(kit):
    session = kit.create_session("203.0.113.7", "routed", "always")
    assert kit.get_session(session.session_id) == session


def test_a_kit_does_not_find_what_it_did_not_create(kit):
    with pytest.raises(SessionNotFound):
        kit.get_session(FOREIGN)


def test_an_ended_session_issues_no_token_and_takes_back_its_own(kit):
    session = kit.create_session()
    token = session.generate_token()
    assert kit.verify_token(token)
    kit.end_session(session.session_id)
    with pytest.raises(InvalidToken, match="has ended"):
        kit.verify_token(token)
    with pytest.raises(SessionEnded):
        session.generate_token()


class Voter:
    @hookimpl
    def rolecall_vote_token(self, request):
        return Allow()


@pytest.mark.parametrize("plugins", [[], [Voter()]], ids=["no policy", "a policy"])
def test_an_ended_session_of_another_service_issues_no_token(make_kit, url, plugins):
    kit = make_kit(store=url, plugins=plugins)
    token = kit.generate_token(FOREIGN)
    kit.end_session(FOREIGN)
    with pytest.raises(SessionEnded):
        kit.generate_token(FOREIGN)
    with pytest.raises(InvalidToken, match="has ended"):
        kit.verify_token(token)


def test_two_kits_on_one_file_know_each_others_sessions(make_kit, path):
    kits = [make_kit(store=f"sqlite:///{path}") for _ in range(2)]
    session = kits[0].create_session()
    token = session.generate_token()
    assert kits[1].get_session(session.session_id) == session
    kits[1].end_session(session.session_id)
    with pytest.raises(InvalidToken, match="has ended"):
        kits[0].verify_token(token)


def test_two_kits_in_memory_share_nothing(make_kit):
    session = make_kit().create_session()
    with pytest.raises(SessionNotFound):
        make_kit().get_session(session.session_id)


# -- a store that is async, or none -----------------------------------------------------------------


@pytest.fixture
def service():
    return Service()


def test_a_plain_function_that_returns_a_coroutine_is_awaited(make_kit, service):
    """As a decorator, a lambda or a partial leaves it: that it is async does not show."""
    behind = ServiceStore(service)
    store: Any = MemoryStore()
    store.add_session = lambda record: behind.add_session(record)
    store.get_session = partial(lambda method, session_id: method(session_id), behind.get_session)
    for inline in (True, False):
        store.reads_inline = store.writes_inline = inline
        kit = make_kit(store=store)
        session = kit.create_session()
        assert kit.get_session(session.session_id) == session

        async def use(kit=kit):
            session = await kit.aio.create_session()
            assert await kit.aio.get_session(session.session_id) == session

        asyncio.run(use())


def test_each_method_is_called_in_its_own_manner(make_kit, service):
    """Sessions behind the network, single-use ids in memory."""

    class Mixed(ServiceStore):
        def use_once(self, name, until, now):
            used_by.append(threading.current_thread())
            return True

    used_by: list[Any] = []
    kit = make_kit(store=Mixed(service))
    assert kit.get_session(kit.create_session().session_id)
    assert drive(kit.engine.use_once("a", 5.0)) is True
    assert used_by[0] is not threading.current_thread()


class Hanging(ServiceStore):
    cancelled = 0

    async def add_session(self, record):
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def create(kit):
    return kit.create_session()


def create_on_a_loop(kit):
    async def create():
        return await kit.aio.create_session()

    return asyncio.run(create())


@pytest.mark.parametrize("create", [create, create_on_a_loop])
def test_an_async_store_that_hangs_is_cancelled_at_its_deadline(make_kit, service, create):
    store = Hanging(service)
    kit = make_kit(store=store, store_timeout=0.05)
    with pytest.raises(StoreUnavailable, match=r"has not answered within 0\.05 s"):
        create(kit)
    assert store.cancelled == 1


def test_a_hook_that_holds_its_loop_up_holds_up_no_async_store(make_kit, service):
    class Policy:
        @hookimpl
        async def rolecall_vote_token(self, request):
            held_up.set()
            goes_on.wait(20)
            return Allow()

    held_up, goes_on = threading.Event(), threading.Event()
    kit = make_kit(store=ServiceStore(service), plugins=[Policy()], hook_timeout=20, store_timeout=5)
    session = kit.create_session()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(session.generate_token)
        assert held_up.wait(20)
        kit.end_session(session.session_id)
        goes_on.set()
        with pytest.raises(SessionEnded):
            asked.result()


def test_a_single_use_id_of_an_async_store_is_used_once(make_kit, service):
    kit = make_kit(store=ServiceStore(service))
    assert [drive(kit.engine.use_once("a", 5.0)) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("create", [create, create_on_a_loop])
def test_an_async_store_raises_its_own_error(make_kit, service, create):
    kit = make_kit(store=ServiceStore(service))
    service.answers = False
    with pytest.raises(StoreUnavailable, match="out of order"):
        create(kit)


@pytest.mark.parametrize("bounded", [True, False])
def test_what_is_no_session_is_unavailable(make_kit, bounded):
    store: Any = MemoryStore()
    store.get_session = lambda session_id: {"session_id": session_id}
    store.reads_inline, store.bounded = False, bounded
    with pytest.raises(StoreUnavailable, match=r"get_session returned a value of type dict; expected a SessionRecord"):
        make_kit(store=store).get_session(FOREIGN)


def test_a_kit_closes_an_async_store_and_then_its_loop(make_kit, service):
    kit = make_kit(store=ServiceStore(service))
    assert len(service.channel) == 1
    before = background_threads()
    kit.create_session()
    kit.close()
    assert service.channel == []
    assert_no_loop_is_left(before)


def test_a_kit_ends_its_threads_though_its_store_does_not_close(make_kit, service):
    class Stuck(ServiceStore):
        async def close(self):
            if self._service.channel:
                await super().close()
                raise StoreUnavailable("it cannot be closed")

    kit = make_kit(store=Stuck(service))
    before = background_threads()
    kit.create_session()
    with pytest.raises(StoreUnavailable, match="cannot be closed"):
        kit.close()
    assert_no_loop_is_left(before)


def background_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "rolecall-store"}


def assert_no_loop_is_left(before: set[threading.Thread]) -> None:
    for thread in background_threads() - before:
        thread.join(10)
    assert background_threads() <= before


class AsyncCallable:
    async def __call__(self, session_id):
        return False


async def opened():
    return MemoryStore()


def with_(**attributes):
    store = MemoryStore()
    for name, value in attributes.items():
        setattr(store, name, value)
    return store


#: A base for stores whose methods are not what a store has; type checkers say so of a MemoryStore.
AnyStore: Any = MemoryStore


class Misspelt:
    add_session = get_session = has_ended = use_once = close = lambda self, *args: None

    def endSession(self, session_id, ended_at):  # noqa: N802
        pass


class AsyncEnds(AnyStore):
    async def has_ended(self, session_id):
        return False


class Yields(MemoryStore):
    async def add_session(self, record):
        yield record


class TakesLess(AnyStore):
    def use_once(self, name, until):
        return True


class TakesMore(AnyStore):
    def add_session(self, record, region):
        pass


class TakesByName(AnyStore):
    def get_session(self, *, session_id):
        pass


@pytest.mark.parametrize(
    ("none", "words"),
    [
        (lambda: MemoryStore, ["class MemoryStore", "pass an instance of it: MemoryStore(…)"]),
        (opened, ["plain def"]),
        (Misspelt, ["no method end_session(session_id, ended_at)", "endSession"]),
        (object, ["none of the methods of rolecall.stores.Store"]),
        (lambda: with_(close=None), ["its close is of type NoneType", "close()"]),
        (AsyncEnds, ["has_ended is an async def", "answers from memory"]),
        (lambda: with_(has_ended=partial(AsyncEnds().has_ended)), ["has_ended is an async def"]),
        (lambda: with_(add_sessions=AsyncCallable()), ["add_sessions is an async def", "or none"]),
        (
            lambda: with_(add_sessions=lambda record, region: []),
            ["add_sessions cannot be called", "add_sessions(records)"],
        ),
        (lambda: with_(add_sessions=True), ["its add_sessions is of type bool", "add_sessions(records)"]),
        (lambda: with_(has_ended=AsyncCallable()), ["has_ended is an async def"]),
        (lambda: with_(ended_among=lambda: set()), ["ended_among cannot be called", "ended_among(session_ids)"]),
        (lambda: with_(revision=AsyncCallable()), ["revision is an async def", "or none"]),
        (lambda: with_(revision=lambda session_id: 1), ["revision cannot be called", "revision()"]),
        (lambda: with_(immediate=1), ["its immediate is of type int"]),
        (Yields, ["add_session is a generator"]),
        (TakesLess, ["use_once(name, until, now)"]),
        (TakesMore, ["add_session(record)"]),
        (TakesByName, ["get_session(session_id)"]),
        (lambda: with_(shared="no"), ["its shared is a text of 2 characters", "True or False"]),
        (lambda: with_(reads_inline=1), ["its reads_inline is of type int"]),
        (lambda: with_(writes_inline=None), ["its writes_inline is of type NoneType"]),
        (lambda: with_(bounded=10.0), ["its bounded is of type float"]),
    ],
)
def test_what_cannot_work_as_a_store_stops_start_up_and_says_what_to_do(make_kit, none, words):
    with pytest.raises(ConfigurationError) as stopped:
        make_kit(store=none())
    assert [word for word in words if word not in str(stopped.value)] == []

    class Stores:
        @hookimpl
        def rolecall_register_stores(self):
            return {"own": lambda url: none()}

    with pytest.raises(ConfigurationError, match="registered for own://") as stopped:
        make_kit(plugins=[Stores()], store="own://host")
    assert [word for word in words if word not in str(stopped.value)] == []


def test_a_store_that_cannot_be_asked_is_refused_in_immediate_mode(make_kit, tmp_path):
    words = r"no method ended_among\(session_ids\).*immediate = True.*revocation='in_step'"
    with pytest.raises(ConfigurationError, match=words):
        make_kit(store=with_(immediate=False), revocation="immediate")
    with pytest.raises(ConfigurationError, match="revocation is 'at_once'; expected 'in_step' or 'immediate'"):
        make_kit(revocation="at_once")
    for store in ("memory://", f"sqlite:///{tmp_path}/sessions.db"):
        assert make_kit(store=store, revocation="immediate").engine.decides_at_once


class OutOfStep(MemoryStore):
    """Knows of an end only when it is asked; its answer is ``answer``, or the right one."""

    immediate = reads_inline = False

    def __init__(self, answer: Any = None) -> None:
        super().__init__()
        self.answer = answer
        self.batches: list[int] = []

    def has_ended(self, session_id):
        raise NotInStep("nothing has been read yet")

    def ended_among(self, session_ids):
        self.batches.append(len(session_ids))
        return {one for one in session_ids if one in self._ended} if self.answer is None else self.answer


@pytest.mark.parametrize("revocation", ["in_step", "immediate"])
def test_a_process_that_is_not_in_step_asks_the_store(make_kit, revocation):
    kit = make_kit(store=OutOfStep(), revocation=revocation)
    session = kit.create_session()
    token = session.generate_token()
    assert kit.verify_token(token).session_id == session.session_id

    async def verify_many() -> None:
        await asyncio.gather(*(kit.aio.verify_token(token) for _ in range(500)))

    kit._state.store.batches.clear()
    asyncio.run(verify_many())
    assert sum(kit._state.store.batches) == 500
    assert len(kit._state.store.batches) < 250, "checks that wait at the same time share a look-up"
    session.end()
    with pytest.raises(RevokedToken):
        kit.verify_token(token)
    with pytest.raises(SessionEnded):
        session.generate_token()


def test_what_a_process_has_seen_of_marks_stays_while_the_store_is_asked(make_kit):
    kit = make_kit(store=OutOfStep())
    session = kit.create_session()
    kept, token = (session.generate_token(data=data) for data in "ab")
    kit.revoke_token(token)
    kit._state.store._marked.clear()  # as a server does that has lost its content
    with pytest.raises(RevokedToken):
        kit.verify_token(token)
    assert kit.verify_token(kept).data == "a"


@pytest.mark.parametrize("answer", [True, "1_abc", b"", {}, [None], [b"1_abc"], {"1_other"}, [["1_abc"]]])
def test_an_answer_that_names_no_sessions_admits_nobody(make_kit, answer):
    kit = make_kit(store=OutOfStep(), revocation="immediate")
    session = kit.create_session()
    token = session.generate_token()
    kit._state.store.answer = answer
    with pytest.raises(StoreUnavailable, match="ended_among returned"):
        kit.verify_token(token)
    with pytest.raises(StoreUnavailable, match="ended_among returned"):
        asyncio.run(kit.aio.verify_token(token))


def test_a_store_that_can_neither_tell_nor_be_asked_admits_nobody(make_kit):
    kit = make_kit(store=MemoryStore())
    token = kit.create_session().generate_token()
    kit._state.store.has_ended = OutOfStep().has_ended
    with pytest.raises(StoreUnavailable, match="nothing has been read yet"):
        kit.verify_token(token)


def test_a_subclass_of_the_protocol_inherits_no_method_that_does_nothing():
    class Half(Store):
        def add_session(self, record):
            pass

    with pytest.raises(TypeError, match="has_ended"):
        untyped(Half)()


def test_a_store_needs_its_methods_and_nothing_else(make_kit):
    class Bare:
        def __init__(self):
            store = MemoryStore()
            for method in ("add_session", "get_session", "end_session", "has_ended", "use_once", "close"):
                setattr(self, method, getattr(store, method))

    kit = make_kit(store=Bare())
    session = kit.create_session()
    assert kit.get_session(session.session_id) == session


# -- URLs ------------------------------------------------------------------------------------------


def test_a_store_is_taken_as_it_is(store):
    assert open_store(store) is store


def test_the_url_says_which_store(path):
    with closing(open_store("memory://")) as memory, closing(open_store(f"sqlite:///{path}")) as sqlite:
        assert (type(memory), type(sqlite)) == (MemoryStore, SQLiteStore)


def test_a_relative_path_is_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with closing(open_store("sqlite:///relative.db")) as store:
        monkeypatch.chdir("/")
        store.add_session(RECORD)
    assert (tmp_path / "relative.db").exists()


PASSWORD = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory:",
        "memory:/",
        "memory://x",
        "memory://user:hunter2@host",
        "MEMORY://",
        " memory://",
        "sqlite",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://sessions.db",
        "sqlite:///:memory:",
        "sqlite:///sessions.db?mode=memory&password=hunter2",
        "sqlite:///sessions.db#hunter2",
        "sqlite://user:hunter2@host/sessions.db",
        "sqlite:///a\x00b",
        "sessions.db",
        "oracle://user:hunter2@host/db",
        "mysql+pymysql://user:hunter2@host/db",
        "redis://:hunter2@host/sessions",
        "redis://:hunter2@host?paswort=x",
        "hunter2",
        "user:hunter2@host/db",
        "user:hunter2@host/db?proxy=http://proxy",
        "://hunter2",
        None,
        1,
        b"memory://",
        object(),
        ["memory://"],
    ],
    ids=as_text,
)
def test_what_names_no_store_is_refused_without_quoting_a_password(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"store|memory|sqlite") as refused:
        open_store(url)
    assert PASSWORD not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


# -- SQLite: what is on disk -----------------------------------------------------------------------


def test_sessions_outlive_the_store(path):
    with closing(SQLiteStore(path)) as store:
        store.add_session(RECORD)
        store.end_session(RECORD.session_id, 7.5)
    with closing(SQLiteStore(path)) as store:
        assert store.get_session(RECORD.session_id) == replace(RECORD, ended_at=7.5)


def test_the_file_is_in_wal_mode_and_leaves_the_sync_to_the_queue(sqlite, path):
    with sqlite._writer.transaction() as raw:
        assert raw.execute("PRAGMA synchronous").fetchone() == (1,)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_tables_of_an_app_in_the_same_file_are_left_alone(path):
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript("CREATE TABLE sessions (mine TEXT); INSERT INTO sessions VALUES ('kept');")
    with closing(SQLiteStore(path)) as store:
        store.add_session(RECORD)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT mine FROM sessions").fetchall() == [("kept",)]


def test_a_file_of_an_app_whose_texts_are_no_utf_8_is_refused(path):
    """The ids in it would be none that anybody asks for."""
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA encoding = 'UTF-16'")
        raw.execute("CREATE TABLE sessions (mine TEXT)")
    with pytest.raises(ConfigurationError, match=r"UTF-16.*a file of its own"):
        SQLiteStore(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("sessions",)]


def test_the_schema_is_made_once(path):
    for _ in range(3):
        SQLiteStore(path).close()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT version FROM rolecall_schema").fetchall() == VERSIONS


def test_a_file_of_the_first_version_is_brought_up_to_date_and_its_workers_go_on(path):
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(MIGRATIONS[0] + "CREATE TABLE rolecall_schema (version INTEGER NOT NULL);")
        raw.execute("INSERT INTO rolecall_schema VALUES (1)")
        raw.execute("INSERT INTO rolecall_sessions VALUES ('1_old', '{}', 1.0)")
        raw.commit()
        with closing(SQLiteStore(path)) as store:
            assert getattr(store.get_session("1_old"), "created_at", None) == 1.0
            assert store.use_once("a", 10.0, 5.0)
            # As a worker of the version before writes.
            raw.execute(
                "INSERT INTO rolecall_sessions (session_id, properties, created_at) VALUES ('1_older', '{}', 2.0)"
            )
            raw.commit()
            assert getattr(store.get_session("1_older"), "created_at", None) == 2.0


def test_a_file_of_a_later_version_is_used_as_it_is(path):
    SQLiteStore(path).close()
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(
            """
            INSERT INTO rolecall_schema VALUES (6), (7);
            CREATE TABLE rolecall_later (id TEXT PRIMARY KEY);
            ALTER TABLE rolecall_sessions ADD COLUMN later TEXT;
            ALTER TABLE rolecall_ended_sessions ADD COLUMN later TEXT NOT NULL DEFAULT '';
            ALTER TABLE rolecall_used_once ADD COLUMN later TEXT;
            ALTER TABLE rolecall_marks ADD COLUMN later TEXT NOT NULL DEFAULT '';
            INSERT INTO rolecall_changes (kind, id) VALUES ('later', '1_a');
            """
        )
    with closing(SQLiteStore(path)) as store:
        store.add_session(RECORD)
        assert store.get_session(RECORD.session_id) == RECORD
        store.end_session(RECORD.session_id, 7.5)
        assert store.has_ended(RECORD.session_id)
        assert store.use_once("a", 10.0, 5.0)
        assert store.raise_mark("reset 1_a", 5.0, 10.0) == 5.0
        assert store.has_ended("1_a") is False
        assert store.marks.value("reset", "1_a") == 5.0


def test_every_read_goes_by_a_primary_key(sqlite):
    statements: list[Any] = []
    sqlite.end_session("1_a", 7.5)
    assert sqlite.has_ended("1_a")
    raw = sqlite._reader._cursor.connection
    raw.set_trace_callback(statements.append)
    sqlite.get_session("1_a")
    sqlite.has_ended("1_a")
    raw.set_trace_callback(None)
    assert len(statements) == 2
    plans = [step[-1] for one in statements for step in raw.execute(f"EXPLAIN QUERY PLAN {one}")]
    assert len(plans) == 3
    assert all(plan.startswith("SEARCH") and "USING PRIMARY KEY (session_id=?)" in plan for plan in plans)


# -- SQLite: out of reach --------------------------------------------------------------------------


def test_a_missing_folder_stops_start_up(tmp_path, make_kit):
    with pytest.raises(ConfigurationError, match="its folder must exist"):
        make_kit(store=f"sqlite:///{tmp_path}/missing/sessions.db")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot open the SQLite store"):
        SQLiteStore(tmp_path)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_no_database_stops_start_up_and_is_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot open the SQLite store"):
        SQLiteStore(path)
    assert path.read_bytes() == content


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses every write")
def test_a_folder_that_cannot_be_written_stops_start_up():
    with pytest.raises(ConfigurationError, match="be writable"):
        SQLiteStore("/proc/self/sessions.db")


def writes(store):
    return [
        lambda: store.add_session(record("new")),
        lambda: store.end_session("1_a", 7.5),
        lambda: store.use_once("a", 10.0, 5.0),
        lambda: store.raise_mark("reset 1_a", 5.0, 10.0),
    ]


def reads(store):
    return [
        lambda: store.get_session("1_a"),
        lambda: store.has_ended("1_a"),
        lambda: store.get_marks(["reset 1_a"]),
    ]


def assert_unavailable(store, match: str | None = None) -> None:
    for method in writes(store) + reads(store):
        with pytest.raises(StoreUnavailable, match=match) as refused:
            method()
        assert refused.value.status == 503
        assert str(refused.value) not in refused.value.public_message


def test_a_file_that_is_spoiled_under_way_is_unavailable(sqlite, path):
    sqlite.add_session(RECORD)
    disconnect(sqlite)
    for file in path.parent.iterdir():
        file.write_bytes(b"\xff" * max(file.stat().st_size, 8192))
    assert_unavailable(sqlite, "not a database")


def disconnect(store) -> None:
    """As before a fork: what comes next opens the file again."""
    store._reader.disconnect()
    store._writer.disconnect()


def test_a_store_that_was_closed_is_unavailable(sqlite):
    sqlite.add_session(RECORD)
    sqlite.close()
    assert_unavailable(sqlite, "was closed")


def test_tables_that_are_gone_are_unavailable(sqlite, path):
    with closing(sqlite3.connect(path)) as raw:
        tables = ("sessions", "ended_sessions", "used_once", "marks")
        raw.executescript("".join(f"DROP TABLE rolecall_{table};" for table in tables))
    assert_unavailable(sqlite, "no such table")


@pytest.mark.parametrize(
    "method",
    [
        lambda store: store.add_session(replace(RECORD, properties=SessionProperties("\ud800"))),
        lambda store: store.add_session(replace(RECORD, created_at=2**70)),
        lambda store: store.add_session(replace(RECORD, created_at=float("nan"))),
        lambda store: store.get_session("1_\ud800"),
        lambda store: store.end_session("1_\ud800", 7.5),
        lambda store: store.end_session("1_a", 2**70),
        lambda store: store.has_ended("1_\ud800"),
        lambda store: store.use_once("\ud800", 10.0, 5.0),
        lambda store: store.use_once("a", 10.0, 2**70),
        lambda store: store.raise_mark("reset \ud800", 5.0, 10.0),
        lambda store: store.raise_mark("reset 1_a", float("nan"), 10.0),
        lambda store: store.raise_mark("reset 1_a", 5.0, float("nan")),
        lambda store: store.raise_mark("reset 1_a", untyped("soon"), 10.0),
        lambda store: store.get_marks(["reset \ud800"]),
    ],
)
def test_what_it_cannot_hold_is_unavailable_and_leaves_nothing_behind(sqlite, method):
    sqlite.add_session(record("before"))
    with pytest.raises(StoreUnavailable):
        method(sqlite)
    assert sqlite.get_session(RECORD.session_id) is None
    assert sqlite.use_once("a", 10.0, 5.0)
    assert sqlite.count()["marks"] == 0


@pytest.mark.parametrize(
    "damage",
    [
        """UPDATE rolecall_sessions SET properties = '{"media_mode":"hybrid"}'""",
        """UPDATE rolecall_sessions SET properties = '{"media_mode":null}'""",
        """UPDATE rolecall_sessions SET properties = '{"archive_mode":"sometimes"}'""",
        """UPDATE rolecall_sessions SET properties = '{"archive_mode":"always"}'""",
        """UPDATE rolecall_sessions SET properties = '{"e2ee":1}'""",
        """UPDATE rolecall_sessions SET properties = '{"location":"Zurich"}'""",
        """UPDATE rolecall_sessions SET properties = '{"location":null,"location":null}'""",
        "UPDATE rolecall_sessions SET properties = '{'",
        "UPDATE rolecall_sessions SET properties = '[]'",
        "UPDATE rolecall_sessions SET properties = ''",
        "UPDATE rolecall_sessions SET properties = x'7b7d'",
        "UPDATE rolecall_sessions SET properties = CAST(x'ff' AS TEXT)",
        "UPDATE rolecall_sessions SET created_at = 'today'",
        "UPDATE rolecall_ended_sessions SET ended_at = 'now'",
    ],
)
def test_a_row_that_is_damaged_or_of_a_later_version_is_unavailable(sqlite, path, damage):
    sqlite.add_session(RECORD)
    sqlite.end_session(RECORD.session_id, 7.5)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(damage)
        raw.commit()
    with pytest.raises(StoreUnavailable):
        sqlite.get_session(RECORD.session_id)
    assert sqlite.has_ended(RECORD.session_id)


@pytest.mark.parametrize("written", ["{}", '{"e2ee":false,"of a later version":{"a":[1]}}'])
def test_a_property_that_another_version_has_more_or_less_is_no_damage(sqlite, path, written):
    sqlite.add_session(RECORD)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("UPDATE rolecall_sessions SET properties = ?", (written,))
        raw.commit()
    assert sqlite.get_session(RECORD.session_id).properties == SessionProperties()


def test_a_row_of_a_later_version_is_a_503_of_a_kit(make_kit, path):
    kit = make_kit(store=f"sqlite:///{path}", plugins=[Voter()])
    session = kit.create_session()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("""UPDATE rolecall_sessions SET properties = '{"media_mode":"hybrid"}'""")
        raw.commit()
    for ask in (kit.get_session, kit.generate_token):
        with pytest.raises(StoreUnavailable, match="later version"):
            ask(session.session_id)


def test_a_full_disk_is_unavailable_until_there_is_room_again(sqlite):
    with sqlite._writer.transaction() as raw:
        (pages,) = raw.execute("PRAGMA page_count").fetchone()
        raw.execute(f"PRAGMA max_page_count = {pages}")
    acknowledged, refusal = fill(sqlite)
    assert "full" in str(refusal)
    assert sqlite.get_session(f"1_{acknowledged}") is None
    with sqlite._writer.transaction() as raw:
        raw.execute("PRAGMA max_page_count = 1000000")
    sqlite.add_session(record(acknowledged))
    assert all(sqlite.get_session(f"1_{number}") for number in range(acknowledged + 1))


def fill(store) -> tuple[int, StoreUnavailable]:
    """How many sessions were acknowledged before the first was refused, and its refusal."""
    for number in range(10_000):
        try:
            store.add_session(record(number))
        except StoreUnavailable as refusal:
            return number, refusal
    raise AssertionError("it is never full")


@needs_proc
def test_an_abandoned_connection_is_closed_without_a_warning(path):
    """Whatever of an abandoned kit is collected first."""
    before = open_files(path.parent)
    connection = _connect(f"file:{path}")
    connection.execute("CREATE TABLE one (two)")
    del connection
    gc.collect()  # of a warning pytest would make an error
    assert open_files(path.parent) == before


def test_a_write_that_waits_too_long_is_unavailable(path, monkeypatch):
    with closing(SQLiteStore(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with monkeypatch.context() as patched:
            patched.setattr("rolecall.stores.sqlite_file.BUSY_TIMEOUT", 0.05)
            with pytest.raises(StoreUnavailable, match="locked"):
                store.add_session(RECORD)
        assert store.get_session(RECORD.session_id) is None, "a read waits for no writer"
        other.execute("ROLLBACK")
        store.add_session(RECORD)
        assert store.get_session(RECORD.session_id) == RECORD


def test_a_write_that_fails_leaves_nothing_behind(sqlite):
    sqlite.add_session(RECORD)
    with pytest.raises(StoreUnavailable):
        sqlite.add_session(replace(RECORD, properties=SessionProperties("198.51.100.1")))
    assert sqlite.get_session(RECORD.session_id) == RECORD
    sqlite.add_session(record("next"))


def test_a_write_that_is_interrupted_leaves_nothing_behind(sqlite):
    with suppress(KeyboardInterrupt), sqlite._writer.transaction() as raw:
        raw.execute("INSERT INTO rolecall_ended_sessions VALUES ('1_a', 7.5)")
        raise KeyboardInterrupt
    assert sqlite.has_ended("1_a") is False
    sqlite.add_session(RECORD)


# -- SQLite: a file that is taken away -------------------------------------------------------------


def replace_file(path: Path) -> None:
    SQLiteStore(path.with_name("other.db")).close()
    path.with_name("other.db").replace(path)


def replace_all(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    SQLiteStore(path).close()


def overwrite_by_a_copy(path: Path) -> None:
    # As rsync and editors do it: a new file takes the name.
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


@pytest.fixture
def used(path):
    """A store that has read and written, so that SQLite has all its files open."""
    with closing(SQLiteStore(path)) as store:
        store.add_session(RECORD)
        store.has_ended("1_a")
        yield store


@pytest.mark.parametrize(
    "take_away",
    [
        Path.unlink,
        replace_file,
        replace_all,
        overwrite_by_a_copy,
        lambda path: path.rename(path.with_name("moved.db")),
        lambda path: path.parent.rename(path.parent.with_name("moved")),
        lambda path: Path(f"{path}-wal").unlink(),
        lambda path: Path(f"{path}-shm").unlink(),
        lambda path: Path(f"{path}-wal").rename(path.with_name("moved-wal")),
    ],
)
def test_a_file_that_is_taken_away_is_unavailable(tmp_path, take_away):
    path = tmp_path / "folder" / "sessions.db"
    path.parent.mkdir()
    with closing(SQLiteStore(path)) as store:
        store.add_session(RECORD)
        store.has_ended("1_a")
        take_away(path)
        for write in writes(store):
            with pytest.raises(StoreUnavailable, match=r"deleted or replaced.*Restart"):
                write()
        time.sleep(LOOK_INTERVAL)
        assert_unavailable(store, r"deleted or replaced.*Restart")


def test_the_first_write_after_the_file_is_gone_is_refused_whatever_the_clock_says(used, path, monkeypatch):
    monkeypatch.setattr("rolecall.stores.sqlite_file.LOOK_INTERVAL", 3600.0)
    used.add_session(record("looks at the file"))
    path.unlink()
    for write in writes(used):
        with pytest.raises(StoreUnavailable, match="deleted or replaced"):
            write()


def test_reads_know_at_once_what_a_write_has_noticed(used, path, monkeypatch):
    monkeypatch.setattr("rolecall.stores.sqlite_file.LOOK_INTERVAL", 3600.0)
    used.end_session(RECORD.session_id, 7.5)
    assert used.has_ended(RECORD.session_id), "looks at the file, for an hour"
    revision = used.revision()
    path.unlink()
    assert used.revision() == revision
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        used.add_session(record("too late"))
    assert_unavailable(used, "deleted or replaced")


def test_a_read_that_looks_while_a_write_finds_the_file_gone_looks_again(used, monkeypatch):
    reader, look = used._reader, type(used._file).look

    def look_and_be_overtaken(file):
        found = look(file)
        assert isinstance(file.moved(), StoreUnavailable)  # as the writer's connection does
        return found

    used.has_ended(RECORD.session_id)
    with monkeypatch.context() as patched:
        patched.setattr(type(used._file), "look", look_and_be_overtaken)
        reader._look()
    assert not reader.is_fresh()
    reader._look()
    assert reader.is_fresh()


def test_a_write_that_loses_its_file_under_way_is_not_acknowledged(used, path):
    with pytest.raises(StoreUnavailable, match="deleted or replaced"), used._writer.transaction():
        path.unlink()


def test_a_file_that_is_gone_is_not_made_again(used, path):
    disconnect(used)
    path.unlink()
    assert_unavailable(used, "deleted or replaced")
    assert not path.exists()


def test_a_link_that_leads_elsewhere_is_unavailable(tmp_path):
    link, old, new = tmp_path / "link.db", tmp_path / "old.db", tmp_path / "new.db"
    link.symlink_to(old)
    with closing(SQLiteStore(link)) as store, closing(SQLiteStore(new)):
        store.add_session(RECORD)
        assert store.get_session(RECORD.session_id)
        assert old.exists()
        link.unlink()
        link.symlink_to(new)
        time.sleep(LOOK_INTERVAL)
        assert_unavailable(store, "deleted or replaced")


def test_a_file_that_comes_back_is_used_again(used, path):
    path.rename(path.with_name("moved.db"))
    time.sleep(LOOK_INTERVAL)
    assert_unavailable(used)
    path.with_name("moved.db").rename(path)
    used.end_session(RECORD.session_id, 7.5)
    assert used.has_ended(RECORD.session_id)


def test_what_other_workers_do_to_the_log_takes_nothing_away(used, path):
    for mode in ("PASSIVE", "RESTART", "TRUNCATE"):
        with closing(SQLiteStore(path)) as other:
            other.add_session(record(mode))
        with closing(sqlite3.connect(path)) as raw:
            # Not busy: what the store has read holds nobody up.
            assert raw.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] == 0
        time.sleep(LOOK_INTERVAL)
        assert used.get_session(f"1_{mode}")
        used.end_session(f"1_{mode}", 7.5)


# -- SQLite: who may read the files ----------------------------------------------------------------


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(path: Path) -> dict[str, int]:
    return {file.name.removeprefix(path.name): stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}


def test_the_files_are_for_their_owner_alone(umask, path):
    with closing(SQLiteStore(path)) as store:
        store.add_session(RECORD)
        assert modes(path) == {"": 0o600, "-wal": 0o600, "-shm": 0o600, "-lock": 0o600}


def test_a_file_that_was_there_before_keeps_its_mode(umask, path):
    path.touch()
    path.chmod(0o660)
    with closing(SQLiteStore(path)) as store:
        store.add_session(RECORD)
        assert modes(path) == {"": 0o660, "-wal": 0o660, "-shm": 0o660, "-lock": 0o660}


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "50%25.db", "what?.db", "#1.db", "é.db", "a&mode=memory.db"])
def test_a_file_may_have_any_name(tmp_path, name):
    with closing(SQLiteStore(tmp_path / name)) as store:
        store.add_session(RECORD)
        assert sorted(os.listdir(tmp_path)) == sorted([name, f"{name}-wal", f"{name}-shm", f"{name}-lock"])


# -- SQLite: connections ---------------------------------------------------------------------------


def connections_to(path: Path) -> int:
    """How many open files of this process are the database, its log or its shared memory."""
    names = (str(path), f"{path}-wal", f"{path}-shm")
    return sum(os.path.realpath(f"/proc/self/fd/{fd}") in names for fd in os.listdir("/proc/self/fd"))


@needs_proc
def test_nothing_stays_open_after_close(path):
    store = SQLiteStore(path)
    store.add_session(RECORD)
    idle = threading.Event()
    used, thread = threading.Barrier(2), None

    def use() -> None:
        store.has_ended("1_a")
        used.wait(20)
        idle.wait(20)

    thread = threading.Thread(target=use)
    thread.start()
    used.wait(20)
    assert connections_to(path) > 0
    store.close()
    assert connections_to(path) == 0
    idle.set()
    thread.join()


@needs_proc
def test_nothing_stays_open_after_start_up_fails(path):
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigurationError):
        SQLiteStore(path)
    gc.collect()
    assert connections_to(path) == 0


@needs_proc
def test_threads_share_two_connections(sqlite, path):
    sqlite.add_session(RECORD)
    sqlite.has_ended("1_a")
    before = connections_to(path)
    used, idle = threading.Barrier(21), threading.Event()

    def use(number: int) -> None:
        sqlite.has_ended("1_a")
        sqlite.add_session(record(number))
        used.wait(60)
        idle.wait(60)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    used.wait(60)
    assert connections_to(path) == before <= 8
    idle.set()
    for thread in threads:
        thread.join()


def test_a_thread_waits_for_another_and_no_longer_than_it_should(sqlite, monkeypatch):
    monkeypatch.setattr("rolecall.stores.sqlite_file.BUSY_TIMEOUT", 0.05)
    with sqlite._writer.transaction(), ThreadPoolExecutor(1) as pool:
        with pytest.raises(StoreUnavailable, match="locked"):
            pool.submit(sqlite.add_session, RECORD).result()
        assert pool.submit(sqlite.has_ended, "1_a").result() is False, "a read waits for no writer"
    sqlite.add_session(RECORD)


def test_tasks_and_threads_may_use_it_at_once(make_kit, path):
    kit = make_kit(store=f"sqlite:///{path}")

    async def use() -> None:
        session = await kit.aio.create_session()
        token = await session.generate_token()
        assert await kit.aio.verify_token(token)
        await kit.aio.end_session(session.session_id)
        with pytest.raises(InvalidToken, match="has ended"):
            await kit.aio.verify_token(token)

    async def all_at_once() -> None:
        await asyncio.wait_for(asyncio.gather(*(use() for _ in range(100))), 60)

    asyncio.run(all_at_once())


GEVENT = """
from gevent import monkey
monkey.patch_all()
import os, sys
import gevent
from gevent import get_hub
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores.sqlite import SQLiteStore

store = SQLiteStore(sys.argv[1])

def record(number):
    return SessionRecord(f"1_{number}", SessionProperties(), 1.0)

def descriptors():
    return sum(os.path.realpath(f"/proc/self/fd/{fd}").startswith(store._file.path.as_posix())
               for fd in os.listdir("/proc/self/fd"))

def request(number):
    store.add_session(record(number))
    assert not store.has_ended(f"1_{number}")
    gevent.sleep(0)
    store.end_session(f"1_{number}", 7.5)
    assert store.has_ended(f"1_{number}")
    opened.append(descriptors())
    done.wait()

def native(number):
    store.add_session(record(number))
    store.end_session(f"1_{number}", 7.5)
    return store.has_ended(f"1_{number}")

opened, done = [], gevent.event.Event()
greenlets = [gevent.spawn(request, number) for number in range(200)]
threads = [get_hub().threadpool.spawn(native, f"native {number}") for number in range(50)]
with gevent.Timeout(60):
    assert all(thread.get() for thread in threads)
    while len(opened) < 200:
        gevent.sleep(0.01)
done.set()
gevent.joinall(greenlets, raise_error=True)
print(max(opened))
"""


@pytest.mark.process
@needs_proc
def test_open_requests_under_gevent_share_two_connections(path):
    """Beside them greenlets' native threads, which wait for the same locks."""
    ran = subprocess.run(
        [sys.executable, "-c", GEVENT, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) <= 9  # with the lock file


# -- SQLite: processes -----------------------------------------------------------------------------

fork: Any = multiprocessing.get_context("fork") if "fork" in multiprocessing.get_all_start_methods() else None
needs_fork = pytest.mark.skipif(fork is None, reason="needs fork")


def in_processes(count: int, work, *args) -> None:
    """Run ``work`` in forked processes at once; each must end well."""
    processes = [fork.Process(target=work, args=(number, *args)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    codes = [process.exitcode for process in processes]
    for process in processes:
        if process.exitcode is None:
            process.kill()
            process.join()
    assert codes == [0] * count


@needs_fork
def test_a_file_that_cannot_be_written_stops_start_up():
    with tempfile.TemporaryDirectory() as folder:  # not pytest's own, which only its owner may enter
        path = Path(folder) / "sessions.db"
        SQLiteStore(path).close()
        Path(folder).chmod(0o755)
        path.chmod(0o444)

        def open_as_nobody(_: int) -> None:
            if os.geteuid() == 0:  # root may write everything
                os.setuid(65534)
            with pytest.raises(ConfigurationError, match="be writable"):
                SQLiteStore(path)

        in_processes(1, open_as_nobody)


@pytest.mark.process
@needs_fork
def test_a_race_for_the_schema_has_no_loser(tmp_path):
    def open_and_write(number: int, path: Path, at: float) -> None:
        time.sleep(max(0.0, at - time.time()))
        with closing(SQLiteStore(path)) as store:
            store.add_session(record(number))

    for attempt in range(5):
        path = tmp_path / f"race{attempt}.db"
        in_processes(8, open_and_write, path, time.time() + 0.1)
        with closing(sqlite3.connect(path)) as raw:
            assert raw.execute("SELECT count(*) FROM rolecall_sessions").fetchone() == (8,)
            assert raw.execute("SELECT version FROM rolecall_schema").fetchall() == VERSIONS


@pytest.mark.process
@needs_fork
def test_many_processes_of_many_threads_write_at_once(sqlite, path):
    """Never "database is locked"."""

    def write(process: int) -> None:
        failures = []

        def in_thread(thread: int) -> None:
            try:
                for number in range(25):
                    one = record(f"{process}-{thread}-{number}")
                    sqlite.add_session(one)
                    sqlite.end_session(one.session_id, 7.5)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=in_thread, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    sqlite.add_session(RECORD)
    in_processes(4, write)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM rolecall_sessions").fetchone() == (401,)
        assert raw.execute("SELECT count(*) FROM rolecall_ended_sessions").fetchone() == (400,)
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@needs_fork
def test_parent_and_child_never_share_a_connection(sqlite, path):
    sqlite.add_session(RECORD)
    sqlite.has_ended("1_a")

    def use(number: int) -> None:
        assert sqlite._reader._cursor is None
        assert sqlite._writer._cursor is None
        assert sqlite.get_session(RECORD.session_id) == RECORD
        sqlite.end_session(RECORD.session_id, 7.5)

    in_processes(1, use)
    assert sqlite.has_ended(RECORD.session_id)


def assert_ended_well(*children: int) -> None:
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)


@needs_fork
def test_what_a_child_writes_is_kept_when_its_parent_closes_the_store(path):
    """A child that has inherited an open connection holds none of its locks: the log is deleted under it."""
    store = SQLiteStore(path)
    store.add_session(RECORD)
    store.has_ended("1_a")
    closed, wrote = os.pipe(), os.pipe()

    def write() -> None:
        store.has_ended("1_a")
        os.write(wrote[1], b"x")
        os.read(closed[0], 1)
        assert store.get_session("1_other")
        store.end_session("1_a", 7.5)

    child = forked(write)
    os.read(wrote[0], 1)
    store.close()
    with closing(SQLiteStore(path)) as other:
        other.add_session(record("other"))
    os.write(closed[1], b"x")
    assert_ended_well(child)
    for end in (*closed, *wrote):
        os.close(end)
    with closing(SQLiteStore(path)) as other:
        assert other.has_ended("1_a")


@pytest.mark.process
@needs_fork
def test_no_fork_falls_into_what_another_thread_does(sqlite):
    """Else the child could never write, or would wait for ever."""
    sqlite.add_session(RECORD)
    stop, failures = threading.Event(), []

    def busy(thread: int) -> None:
        number = 0
        try:
            while not stop.is_set():
                if thread:
                    sqlite.add_session(record(f"{thread}-{number}"))
                sqlite.has_ended("1_a")
                number += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=busy, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()

    def work(number: int) -> None:
        sqlite.end_session(f"1_child {number}", 7.5)
        assert sqlite.has_ended(f"1_child {number}")

    children = [forked(partial(work, number)) for number in range(12)]
    stop.set()
    for thread in threads:
        thread.join()
    assert_ended_well(*children)
    assert failures == []
    assert all(sqlite.has_ended(f"1_child {number}") for number in range(12))


@needs_fork
def test_a_fork_that_waits_for_a_write_holds_no_read_up(sqlite):
    sqlite.has_ended("1_a")
    writing, done = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with sqlite._writer.transaction():
            writing.set()
            done.wait(60)

    with ThreadPoolExecutor(3) as pool:
        slow = pool.submit(write_slowly)
        assert writing.wait(60)
        child = pool.submit(forked, partial(sqlite.end_session, "1_a", 7.5))
        while not sqlite._writer._wanted:
            time.sleep(0.001)
        time.sleep(LOOK_INTERVAL)
        try:
            assert pool.submit(sqlite.has_ended, "1_a").result(30) is False
            assert not child.done()
        finally:
            done.set()
        slow.result(60)
        assert_ended_well(child.result(60))
    assert sqlite.has_ended("1_a")


@pytest.mark.process
@needs_fork
def test_threads_that_fork_at_once_do_not_wait_for_each_other_for_ever(path):
    stores = [SQLiteStore(path.with_name(f"{number}.db")) for number in range(4)]

    def work(number: int) -> None:
        for store in stores:
            store.end_session(f"1_{number}", 7.5)

    def fork_often(number: int) -> None:
        for again in range(4):
            assert_ended_well(forked(partial(work, 10 * number + again)))
            stores[number].end_session("1_parent", 7.5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fork_often, range(4)))
    for store in stores:
        assert all(store.has_ended(f"1_{10 * number + again}") for number in range(4) for again in range(4))
        store.close()


@pytest.mark.process
@needs_fork
def test_a_child_of_a_fork_within_a_transaction_is_refused_and_does_not_disturb_its_parent(sqlite, path, monkeypatch):
    monkeypatch.setattr("rolecall.stores.sqlite_file.BUSY_TIMEOUT", 0.05)

    def live_and_end(number: int, how: str) -> None:
        if how == "used":
            assert_unavailable(sqlite, "forked")
        if how != "untouched":
            sqlite.close()

    sqlite.has_ended("1_a")
    with sqlite._writer.transaction() as raw:
        raw.execute("INSERT INTO rolecall_ended_sessions VALUES ('1_a', 7.5)")
        for how in ("untouched", "closed", "used"):
            in_processes(3, live_and_end, how)
            gc.collect()
        # Were the parent's locks lost with a child, another could write now.
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    assert sqlite.has_ended("1_a")
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


#: In a process of its own, whose only thread forks: were another one about to run, the child would wait for it.
FORKS_WITHOUT_PYTHON = """
import ctypes, os, sys, time
from rolecall.errors import StoreUnavailable
from rolecall.stores.sqlite import SQLiteStore
from rolecall.stores.sqlite_file import LOOK_INTERVAL, _connect

store = SQLiteStore(sys.argv[1])

def end(session_id):
    store.end_session(session_id, 7.5)
    assert store.has_ended(session_id)

def be_refused():
    time.sleep(LOOK_INTERVAL)
    try:
        store.has_ended("1_parent")
    except StoreUnavailable as error:
        print(error, flush=True)
    store.close()

def in_child(work):
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        os._exit(0)
    os.waitpid(child, 0)

in_child(lambda: end("1_before its first use"))
assert store.has_ended("1_before its first use")
in_child(be_refused)
end("1_parent")
"""


@pytest.mark.process
@needs_fork
def test_a_fork_that_python_is_not_told_of_is_noticed(path):
    """As uWSGI's fork, which tells Python nothing."""
    command = [sys.executable, "-c", FORKS_WITHOUT_PYTHON, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.search("forked.*lazy-apps", ran.stdout)


@pytest.mark.process
@needs_fork
def test_a_grandchild_has_a_connection_of_its_own(sqlite):
    sqlite.add_session(RECORD)

    def end(session_id: str) -> None:
        sqlite.end_session(session_id, 7.5)
        assert sqlite.get_session(RECORD.session_id) == RECORD

    def beget() -> None:
        end("1_child")
        assert_ended_well(forked(partial(end, "1_grandchild")))
        assert sqlite.has_ended("1_grandchild")

    assert_ended_well(forked(beget))
    assert sqlite.has_ended("1_child")
    assert sqlite.has_ended("1_grandchild")


@needs_fork
def test_a_child_whose_file_was_replaced_is_refused(sqlite, path):
    sqlite.has_ended("1_a")
    pinned = path.with_name("pinned.db")
    path.rename(pinned)  # kept, so that no new file gets its number
    SQLiteStore(path).close()
    in_processes(1, lambda _: assert_unavailable(sqlite, "deleted or replaced"))


@needs_fork
def test_a_disk_that_takes_no_more_is_unavailable(sqlite, path):
    def fill_it(number: int) -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = path.stat().st_size + 64 * 1024
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        kept, _ = fill(sqlite)
        assert kept > 0
        assert sqlite.get_session(f"1_{kept}") is None
        path.with_name("acknowledged").write_text(str(kept))

    in_processes(1, fill_it)
    acknowledged = int(path.with_name("acknowledged").read_text())
    assert all(sqlite.get_session(f"1_{number}") for number in range(acknowledged))
    assert sqlite.get_session(f"1_{acknowledged}") is None
    sqlite.add_session(record(acknowledged))


@needs_fork
def test_files_that_become_read_only_are_unavailable_to_writes():
    with tempfile.TemporaryDirectory() as folder:  # not pytest's own, which only its owner may enter
        path = Path(folder) / "sessions.db"
        with closing(SQLiteStore(path)) as store:
            Path(folder).chmod(0o755)
            path.chmod(0o444)

            def write_as_nobody(_: int) -> None:
                if os.geteuid() == 0:  # root may write everything
                    os.setuid(65534)
                for write in writes(store):
                    with pytest.raises(StoreUnavailable):
                        write()

            in_processes(1, write_as_nobody)


@pytest.mark.process
@needs_fork
def test_a_kit_made_before_a_fork_works_in_all_processes(make_kit, path):
    """As under a server that loads the app before it forks its workers."""
    kit = make_kit(store=f"sqlite:///{path}", plugins=[AsyncVoter()])
    before = kit.create_session()
    assert kit.verify_token(before.generate_token())

    def work(number: int, folder: Path) -> None:
        assert kit.get_session(before.session_id) == before
        ids = [kit.create_session().session_id for _ in range(50)]
        tokens = [kit.verify_token(kit.generate_token(one)).token_id for one in ids]
        (folder / f"{number}.json").write_text(json.dumps([ids, tokens]))

    in_processes(4, work, path.parent)
    made = [json.loads((path.parent / f"{number}.json").read_text()) for number in range(4)]
    for kind in range(2):
        assert len({one for worker in made for one in worker[kind]}) == 200
    assert all(kit.get_session(one) for worker in made for one in worker[0])


class AsyncVoter:
    """Starts the kit's background thread, which no child inherits."""

    @hookimpl
    async def rolecall_vote_token(self, request):
        return Allow()


@pytest.mark.process
def test_a_process_that_dies_in_a_transaction_leaves_the_file_sound(sqlite, path):
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    sqlite.add_session(RECORD)
    for _ in range(10):
        child = os.fork()
        if child == 0:
            with sqlite._writer.transaction() as raw:
                raw.execute("INSERT INTO rolecall_ended_sessions VALUES (?, 7.5)", (RECORD.session_id,))
                os.kill(os.getpid(), 9)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
        assert sqlite.has_ended(RECORD.session_id) is False
    sqlite.end_session(RECORD.session_id, 7.5)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_store_that_says_nothing_of_ends_lets_nobody_in(make_kit):
    token = make_kit().create_session().generate_token()
    with make_kit(store=SaysNothingOfEnds()) as kit, pytest.raises(StoreUnavailable, match="has_ended returned None"):
        kit.verify_token(token)
