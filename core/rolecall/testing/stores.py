"""The contract of stores as a test suite: subclass :class:`StoreContract` with a fixture ``store``, and run pytest.

Each test runs twice: with calls as under a sync framework, and with calls as on an event loop.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Final, Protocol, TypeAlias

import pytest

from ..driver import InlineDriver, LoopDriver, drive
from ..driver.threads import ThreadPools
from ..errors import InvalidToken, NotInStep, SessionEnded, SessionNotFound, StoreUnavailable
from ..kit import Rolecall
from ..sessions import ArchiveMode, MediaMode, SessionProperties, SessionRecord
from ..stores import Store, open_store
from ..stores.calling import Calls
from ..stores.checking import METHODS, problem_with_immediate

__all__ = ["Ask", "Contract", "StoreContract"]

Question: TypeAlias = tuple[Any, ...]
_SECRET: Final = "the secret of rolecall.testing, for tests and nothing else"  # noqa: S105
_ARCHIVED: Final = SessionProperties(
    "203.0.113.7", MediaMode.ROUTED, ArchiveMode.ALWAYS, archive_name="Größe", archive_resolution="1280x720"
)


def _record(
    session_id: str = "1_abc", properties: SessionProperties = _ARCHIVED, created_at: float = 1_795_186_800.125
) -> SessionRecord:
    return SessionRecord(session_id, properties, created_at)


_KEPT: Final = _record()
_RECORDS: Final = {
    "archived": _KEPT,
    "relayed": _record(properties=SessionProperties()),
    "encrypted": _record(properties=SessionProperties("2001:db8::7", MediaMode.ROUTED, e2ee=True)),
    "of an actor": replace(_KEPT, created_by="Zoë"),
    "a fraction of a second": _record(created_at=0.1 + 0.2),
    "a long id": _record("1_" + "x" * 253),
    "an id of SQL": _record("1_'; DROP TABLE rolecall_sessions; --"),
}
_OTHER_IDS: Final = ("1_unknown", "1_ABC", "1_ab", "1_abc ", "", "%", "1_ab_", "*", "1_abc*")
_AWKWARD: Final[dict[str, Question]] = {
    "a location that is no Unicode": ("add_session", _record(properties=SessionProperties("\ud800"))),
    "an id that is no Unicode": ("add_session", _record("1_\ud800")),
    "a moment that is no number": ("add_session", _record(created_at=math.nan)),
    "a huge moment": ("add_session", _record(created_at=2**70)),
    "looking for what is no Unicode": ("get_session", "1_\ud800"),
    "looking for a zero byte": ("get_session", "1_\0"),
    "ending what is no Unicode": ("end_session", "1_\ud800", 7.5),
    "ending at a huge moment": ("end_session", "1_abc", 2**70),
    "the end of what is no Unicode": ("has_ended", "1_\ud800"),
    "looking up the end of what is no Unicode": ("look_up_ended", "1_\ud800"),
    "using what is no Unicode": ("use_once", "\ud800", 10.0, 5.0),
    "using until a huge moment": ("use_once", "a", 2**70, 5.0),
}
_EACH_METHOD: Final[tuple[Question, ...]] = (
    ("add_session", _record("1_new")),
    ("get_session", "1_abc"),
    ("end_session", "1_abc", 7.5),
    ("has_ended", "1_abc"),
    ("use_once", "a", 10.0, 5.0),
    ("look_up_ended", "1_abc"),
)
_TOGETHER: Final = 8


class Ask(Protocol):
    """Calls a method of a store as a kit does, plain or async."""

    def __call__(self, store: Store, method: str, *args: Any) -> Any:
        """Call the method, and return its answer."""

    def together(self, store: Store, questions: Iterable[Question]) -> list[Any]:
        """Call several methods at once, each a name with its arguments, and return their answers.

        If some fail, it raises the error of one of them after all have been called.
        """

    def close(self) -> None:
        """End the threads and loops."""


class _Sync:
    """Calls as under a sync framework: async methods run on the kit's own loop."""

    def __init__(self, patience: float) -> None:
        self._pools = ThreadPools()
        self._driver = InlineDriver(self._pools)
        self._patience = patience

    def __call__(self, store: Store, method: str, *args: Any) -> Any:
        return drive(_asked(Calls(store, self._driver, lambda: self._patience, blocks=True), store, method, args))

    def together(self, store: Store, questions: Iterable[Question]) -> list[Any]:
        questions = list(questions)
        with ThreadPoolExecutor(len(questions)) as pool:
            start = threading.Barrier(len(questions))

            def ask(question: Question) -> Any:
                start.wait(self._patience)
                return self(store, *question)

            return list(pool.map(ask, questions))

    def close(self) -> None:
        self._driver.close()
        self._pools.close()


class _Async:
    """Calls as under an async framework: on one event loop, which must not be blocked."""

    def __init__(self, patience: float) -> None:
        self._pools = ThreadPools()
        self._driver = LoopDriver(self._pools)
        self._patience = patience
        self._runner = asyncio.Runner()

    def __call__(self, store: Store, method: str, *args: Any) -> Any:
        return self._runner.run(_asked(self._calls(store), store, method, args))

    def together(self, store: Store, questions: Iterable[Question]) -> list[Any]:
        async def ask_all() -> list[Any]:
            calls = self._calls(store)
            asked = (_asked(calls, store, method, args) for method, *args in questions)
            return await asyncio.gather(*asked, return_exceptions=True)

        answers = self._runner.run(ask_all())
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def close(self) -> None:
        self._runner.close()
        self._pools.close()

    def _calls(self, store: Store) -> Calls:
        return Calls(store, self._driver, lambda: self._patience, blocks=False)


async def _asked(calls: Calls, store: Store, method: str, args: Iterable[Any]) -> Any:
    """Call a method as an engine does.

    ``look_up_ended`` asks for no store's method of this name, but for what no process has ended by now: by
    ``ended_among``, or by ``has_ended`` where that is immediate.
    """
    if method not in ("has_ended", "look_up_ended"):
        return await (getattr(calls, method)(*args) if method in METHODS else calls.further(method, *args))
    if method == "has_ended" or calls.look_up_ended is None:
        try:
            return store.has_ended(*args)
        except NotInStep:
            if calls.look_up_ended is None:
                raise
    return await calls.look_up_ended(*args)


class Contract:
    """What the contracts of stores have in common: their fixtures.

    Subclass one or several of them with a fixture ``store`` that yields an empty store; the suite closes it. Two
    further fixtures are optional: ``other_store`` yields a second store on the same data, like another worker's;
    ``broken_store`` yields one whose database does not answer. Without them their tests are skipped.
    """

    #: The seconds within which other workers see the end of a session.
    max_lag: ClassVar[float] = 1.0
    #: The time limit of one call in seconds, as ``Rolecall(store_timeout=…)``.
    patience: ClassVar[float] = 20.0

    @pytest.fixture
    def store(self) -> Any:
        """An empty store."""
        raise NotImplementedError("define a fixture named store, which yields an empty store")

    @pytest.fixture
    def other_store(self) -> Any:
        """A second store on the same data."""
        pytest.skip("no fixture other_store yields a second store on the same data")

    @pytest.fixture
    def broken_store(self) -> Any:
        """A store whose database does not answer."""
        pytest.skip("no fixture broken_store yields a store whose database does not answer")

    @pytest.fixture(params=[_Sync, _Async], ids=["sync", "async"])
    def ask(self, request: pytest.FixtureRequest) -> Iterator[Ask]:
        """Calls a store's methods, as under a sync framework, and as on an event loop."""
        ask: Ask = request.param(self.patience)
        yield ask
        ask.close()

    @pytest.fixture(autouse=True)
    def _closes_the_store(self, store: Store, ask: Ask) -> Iterator[None]:
        yield
        ask(store, "close")


class StoreContract(Contract):
    """The contract of every store; see :class:`Contract` for its fixtures."""

    def test_a_kit_takes_it(self, store: Store) -> None:
        assert open_store(store) is store

    @pytest.mark.parametrize("kept", _RECORDS.values(), ids=_RECORDS)
    def test_a_session_comes_back_as_it_went_in(self, store: Store, ask: Ask, kept: SessionRecord) -> None:
        assert ask(store, "add_session", kept) is None
        found = ask(store, "get_session", kept.session_id)
        assert found == kept
        assert (type(found.media_mode), type(found.archive_mode)) == (MediaMode, ArchiveMode)
        assert (type(found.e2ee), type(found.created_at)) == (bool, float)

    @pytest.mark.parametrize("session_id", _OTHER_IDS)
    def test_an_id_is_found_exactly_or_not_at_all(self, store: Store, ask: Ask, session_id: str) -> None:
        ask(store, "add_session", _KEPT)
        ask(store, "end_session", _KEPT.session_id, 7.5)
        assert ask(store, "get_session", session_id) is None
        assert ask(store, "has_ended", session_id) is False

    def test_the_first_record_of_an_id_stays(self, store: Store, ask: Ask) -> None:
        ask(store, "add_session", _KEPT)
        with suppress(StoreUnavailable):
            ask(store, "add_session", _record(properties=SessionProperties()))
        assert ask(store, "get_session", _KEPT.session_id) == _KEPT

    def test_a_session_is_open_until_it_is_ended(self, store: Store, ask: Ask) -> None:
        ask(store, "add_session", _KEPT)
        assert ask(store, "has_ended", _KEPT.session_id) is False
        assert ask(store, "end_session", _KEPT.session_id, 7.5) is None
        assert ask(store, "has_ended", _KEPT.session_id) is True
        assert ask(store, "get_session", _KEPT.session_id) == replace(_KEPT, ended_at=7.5)

    def test_the_first_end_stays(self, store: Store, ask: Ask) -> None:
        ask(store, "add_session", _KEPT)
        for moment in (7.5, 7.5, 8.5, 6.5):
            ask(store, "end_session", _KEPT.session_id, moment)
        assert ask(store, "get_session", _KEPT.session_id).ended_at == 7.5

    def test_a_session_that_was_never_added_can_end(self, store: Store, ask: Ask) -> None:
        ask(store, "end_session", "1_foreign", 7.5)
        assert ask(store, "has_ended", "1_foreign") is True
        assert ask(store, "get_session", "1_foreign") is None

    def test_an_end_before_its_session_stays(self, store: Store, ask: Ask) -> None:
        ask(store, "end_session", _KEPT.session_id, 7.5)
        ask(store, "add_session", _KEPT)
        assert ask(store, "has_ended", _KEPT.session_id) is True
        assert ask(store, "get_session", _KEPT.session_id).ended_at == 7.5

    def test_the_end_of_one_session_is_not_that_of_another(self, store: Store, ask: Ask) -> None:
        for number in range(3):
            ask(store, "add_session", _record(f"1_{number}"))
        ask(store, "end_session", "1_1", 7.5)
        assert [ask(store, "has_ended", f"1_{number}") for number in range(3)] == [False, True, False]

    def test_whether_a_session_has_ended_is_known_at_once(self, store: Store, ask: Ask) -> None:
        ask(store, "end_session", "1_0", 7.5)

        def seconds(session_id: str) -> float:
            started = time.perf_counter()
            store.has_ended(session_id)
            return time.perf_counter() - started

        assert soon(lambda: store.has_ended("1_0"), self.patience)
        quickest = max(min(seconds(session_id) for _ in range(500)) for session_id in ("1_0", "1_1"))
        assert quickest < 0.0001, "has_ended is asked for every token, and must not wait for anything"

    def test_whether_a_session_has_ended_is_known_in_every_thread(self, store: Store, ask: Ask) -> None:
        ask(store, "end_session", "1_0", 7.5)
        assert soon(lambda: store.has_ended("1_0"), self.patience)
        with ThreadPoolExecutor(_TOGETHER) as pool:
            assert list(pool.map(store.has_ended, ["1_0", "1_1"] * _TOGETHER)) == [True, False] * _TOGETHER

    def test_an_end_changes_the_revision_and_nothing_does_in_between(self, store: Any, ask: Ask) -> None:
        _needs_revision(store)
        for number in range(3):
            seen = _revision(store, self.patience)
            assert _revision(store, self.patience) == seen
            ask(store, "end_session", f"1_{number}", 7.5)
            assert _revision(store, self.patience) != seen

    def test_the_revision_is_known_at_once(self, store: Any, ask: Ask) -> None:
        _needs_revision(store)
        ask(store, "end_session", "1_0", 7.5)

        def seconds() -> float:
            started = time.perf_counter()
            store.revision()
            return time.perf_counter() - started

        _revision(store, self.patience)
        assert min(seconds() for _ in range(500)) < 0.0001, "revision is asked on event loops, and waits for nothing"

    def test_a_single_use_id_is_used_once(self, store: Store, ask: Ask) -> None:
        assert ask(store, "use_once", "a", 10.0, 5.0) is True
        assert ask(store, "use_once", "b", 10.0, 5.0) is True
        assert ask(store, "use_once", "a", 20.0, 9.9) is False
        assert ask(store, "use_once", "a", 20.0, 10.0) is False
        assert ask(store, "use_once", "A", 10.0, 5.0) is True

    def test_a_single_use_id_is_no_session(self, store: Store, ask: Ask) -> None:
        assert ask(store, "use_once", "1_abc", 10.0, 5.0) is True
        assert ask(store, "has_ended", "1_abc") is False
        assert ask(store, "get_session", "1_abc") is None
        ask(store, "end_session", "b", 7.5)
        assert ask(store, "use_once", "b", 10.0, 5.0) is True

    def test_of_concurrent_uses_one_is_the_first(self, store: Store, ask: Ask) -> None:
        for name in map(str, range(10)):
            firsts = ask.together(store, [("use_once", name, 10.0, 5.0)] * _TOGETHER)
            assert sorted(firsts) == [False] * (_TOGETHER - 1) + [True]

    def test_concurrent_changes_are_all_kept(self, store: Store, ask: Ask) -> None:
        records = [_record(f"1_{number}") for number in range(3 * _TOGETHER)]
        ask.together(store, [("add_session", record) for record in records])
        ask.together(store, [("end_session", record.session_id, 7.5) for record in records])
        found = ask.together(store, [("get_session", record.session_id) for record in records])
        assert found == [replace(record, ended_at=7.5) for record in records]
        assert all(ask(store, "has_ended", record.session_id) for record in records)

    def test_it_serves_sync_code_and_several_event_loops(self, store: Store, ask: Ask) -> None:
        ask(store, "add_session", _KEPT)
        callers: tuple[Callable[[float], Ask], ...] = (_Sync, _Async, _Async)
        for number, make in enumerate(callers):
            another = make(self.patience)
            try:
                assert another(store, "get_session", _KEPT.session_id) == _KEPT
                assert another(store, "use_once", str(number), 10.0, 5.0) is True
            finally:
                another.close()
        assert ask(store, "get_session", _KEPT.session_id) == _KEPT

    @pytest.mark.parametrize("question", _AWKWARD.values(), ids=_AWKWARD)
    def test_what_it_cannot_hold_is_unavailable(self, store: Store, ask: Ask, question: Question) -> None:
        before = _record("1_before")
        ask(store, "add_session", before)
        with suppress(StoreUnavailable):
            ask(store, *question)
        assert ask(store, "get_session", "1_before") == before
        ask(store, "add_session", _record("1_after"))

    def test_a_session_that_it_cannot_hold_keeps_no_other_out(self, store: Store, ask: Ask) -> None:
        records = [_record(f"1_{number}") for number in range(_TOGETHER)]
        awkward = [question for question in _AWKWARD.values() if question[0] == "add_session"]
        with suppress(StoreUnavailable):
            ask.together(store, [*[("add_session", record) for record in records], *awkward])
        assert ask.together(store, [("get_session", record.session_id) for record in records]) == records

    def test_it_can_be_closed_twice(self, store: Store, ask: Ask) -> None:
        ask(store, "add_session", _KEPT)
        assert ask(store, "close") is None
        assert ask(store, "close") is None

    def test_a_store_that_was_closed_is_unavailable_or_answers(self, store: Store, ask: Ask) -> None:
        ask(store, "close")
        for question in _EACH_METHOD:
            with suppress(StoreUnavailable):
                ask(store, *question)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_it_works_on_in_a_forked_child(self, store: Store, ask: Ask) -> None:
        ask(store, "add_session", _KEPT)

        def work() -> None:
            child = _Sync(self.patience)
            assert child(store, "get_session", _KEPT.session_id) == _KEPT
            child(store, "end_session", "1_0", 7.5)
            assert child(store, "has_ended", "1_0") is True
            with asyncio.Runner() as runner:
                calls = Calls(store, LoopDriver(ThreadPools()), lambda: self.patience, blocks=False)
                assert runner.run(calls.use_once("a", 10.0, 5.0)) is True

        _in_child(work)
        if getattr(store, "shared", True):
            assert soon(lambda: store.has_ended("1_0"), self.max_lag)
            assert ask(store, "use_once", "a", 10.0, 5.0) is False

    def test_another_worker_sees_what_is_kept(self, store: Store, other_store: Store, ask: Ask) -> None:
        ask(store, "add_session", _KEPT)
        assert ask(other_store, "get_session", _KEPT.session_id) == _KEPT
        assert ask(other_store, "has_ended", _KEPT.session_id) is False
        assert ask(store, "use_once", "a", 10.0, 5.0) is True
        assert ask(other_store, "use_once", "a", 10.0, 5.0) is False

    def test_another_worker_sees_the_end_in_time(self, store: Store, other_store: Store, ask: Ask) -> None:
        ask(store, "add_session", _KEPT)
        ask(store, "end_session", _KEPT.session_id, 7.5)
        assert soon(lambda: other_store.has_ended(_KEPT.session_id), self.max_lag)
        ask(other_store, "end_session", _KEPT.session_id, 6.5)
        for one in (store, other_store):
            assert ask(one, "get_session", _KEPT.session_id) == replace(_KEPT, ended_at=7.5)

    def test_an_end_in_another_worker_changes_the_revision_in_time(
        self, store: Any, other_store: Any, ask: Ask
    ) -> None:
        _needs_revision(store)
        assert soon(lambda: other_store.has_ended("1_0") is False, self.patience)
        seen = _revision(other_store, self.patience)
        ask(store, "end_session", "1_0", 7.5)
        assert soon(lambda: bool(other_store.revision() != seen), self.max_lag)
        assert other_store.has_ended("1_0") is True
        seen = _revision(other_store, self.patience)
        ask(store, "end_session", "1_1", 7.5)
        assert soon(lambda: other_store.has_ended("1_1"), self.max_lag)
        assert other_store.revision() != seen, "what was live as of a revision is not looked at again"

    def test_another_worker_that_asks_the_store_sees_the_end_at_once(
        self, store: Store, other_store: Store, ask: Ask
    ) -> None:
        if problem := problem_with_immediate(store):
            pytest.skip(f"revocation='immediate' is refused: {problem}")
        names = [f"1_{number}" for number in range(2 * _TOGETHER)]
        for name in names:
            assert ask(other_store, "look_up_ended", name) is False
            ask(store, "end_session", name, 7.5)
            assert ask(other_store, "look_up_ended", name) is True
        asked = [name for ended in names for name in (ended, f"{ended} open")]
        answers = ask.together(other_store, [("look_up_ended", name) for name in asked])
        assert answers == [True, False] * len(names)

    def test_of_two_workers_one_is_the_first(self, store: Store, other_store: Store, ask: Ask) -> None:
        for name in map(str, range(5)):
            uses = [("use_once", name, 10.0, 5.0)] * _TOGETHER
            firsts = [*ask.together(store, uses), *ask.together(other_store, uses)]
            assert sorted(firsts) == [False] * (2 * _TOGETHER - 1) + [True]

    @pytest.mark.parametrize("question", _EACH_METHOD, ids=[question[0] for question in _EACH_METHOD])
    def test_a_store_that_does_not_answer_is_unavailable(
        self, broken_store: Store, ask: Ask, question: Question
    ) -> None:
        with pytest.raises(StoreUnavailable):
            ask(broken_store, *question)

    def test_a_kit_on_it(self, store: Store) -> None:
        with Rolecall("7357", _SECRET, store=store, entry_points=False) as kit:
            session = kit.create_session("203.0.113.7", "routed", "always")
            assert kit.get_session(session.session_id) == session
            token = session.generate_token()
            assert kit.verify_token(token).session_id == session.session_id
            kit.end_session(session.session_id)
            with pytest.raises(InvalidToken, match="has ended"):
                kit.verify_token(token)
            with pytest.raises(SessionEnded):
                session.generate_token()

    def test_async_code_with_a_kit_on_it(self, store: Store) -> None:
        with Rolecall("7357", _SECRET, store=store, entry_points=False) as kit:

            async def use() -> None:
                session = await kit.aio.create_session()
                assert await kit.aio.get_session(session.session_id) == session
                token = await session.generate_token()
                await kit.aio.end_session(session.session_id)
                with pytest.raises(InvalidToken, match="has ended"):
                    await kit.aio.verify_token(token)

            async def use_many() -> None:
                await asyncio.gather(*(use() for _ in range(3 * _TOGETHER)))

            asyncio.run(use_many())
            with pytest.raises(SessionNotFound):
                kit.get_session("1_MX43MzU3fn5TYXQgTWFyIDE1IDE0OjQyOjIzIFBEVCAyMDE0fjAuNDkwMTMwMjV-")


def _needs_revision(store: Any) -> None:
    if not hasattr(store, "revision"):
        pytest.skip("the store has no revision")


def _revision(store: Any, seconds: float) -> object:
    """The revision of a store, as soon as it is in step."""
    assert soon(lambda: store.revision() is not None, seconds)
    return store.revision()


def soon(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether ``condition`` becomes true within ``seconds``; an answer of NotInStep counts as false."""
    deadline = time.monotonic() + seconds
    while True:
        is_over = time.monotonic() > deadline
        with suppress(NotInStep):
            if condition():
                return True
        if is_over:
            return False
        time.sleep(0.005)


def _in_child(work: Callable[[], None]) -> None:
    """Run ``work`` in a forked child, and fail if it fails or takes a minute."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the test forks a process with threads on purpose
        child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the child's traceback stands in the captured output"
