"""The follower: in step with a store's log within its bound, and refusing beyond it; over a log in this process."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from math import inf
from typing import Any, TypeAlias
from weakref import ref

import pytest

from rolecall.errors import NotInStep, StoreUnavailable
from rolecall.stores import following
from rolecall.stores.following import Follower, Gap, News

from ...forking import in_child
from ...waiting import known, soon

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

#: The bound on waits for other threads, in seconds: long, because the machine may be busy.
PATIENCE = 20.0


#: A session's id, or a mark.
Entry: TypeAlias = str | tuple[str, float]


class ListLog:
    """A log that is a list; ``first`` is the number of its first entry, after a trim."""

    def __init__(self, *entries: Entry) -> None:
        self.entries = list(entries)
        self.first = 0
        self.broken: Exception | None = None
        self.frozen = threading.Event()
        self.changed = threading.Condition()
        self.snapshots = self.reads = 0
        self.threads: set[int] = set()
        self.closed_by: list[int] = []

    def write(self, *entries: Entry) -> None:
        with self.changed:
            self.entries += entries
            self.changed.notify_all()

    def trim(self) -> None:
        with self.changed:
            self.first = len(self.entries)

    def snapshot(self) -> tuple[News, int]:
        self._answer()
        self.snapshots += 1
        return _news(self.entries), len(self.entries)

    def changes(self, after: int, wait: float) -> tuple[News, int]:
        self._answer()
        with self.changed:
            self.changed.wait_for(lambda: len(self.entries) > after, wait)
            if after < self.first:
                raise Gap("the log was trimmed")
            return _news(self.entries[after:]), len(self.entries)

    def close(self) -> None:
        self.closed_by.append(threading.get_ident())

    def _answer(self) -> None:
        self.reads += 1
        self.threads.add(threading.get_ident())
        while self.frozen.is_set():
            time.sleep(0.005)
        if self.broken is not None:
            raise self.broken


def _news(entries: list[Entry]) -> News:
    return News(
        [entry for entry in entries if isinstance(entry, str)],
        [entry for entry in entries if not isinstance(entry, str)],
    )


@pytest.fixture
def log() -> ListLog:
    return ListLog("1_before")


@pytest.fixture
def follower(log) -> Iterator[Follower]:
    with closing(Follower(log, max_staleness=PATIENCE)) as follower:
        yield follower
        log.frozen.clear()


def reason(follower: Follower) -> str:
    """Why the follower refuses a check, or nothing if it answers."""
    try:
        follower.has_ended("1_any")
    except StoreUnavailable as error:
        return str(error)
    return ""


def test_it_knows_what_ended_before_it_began(follower):
    assert known(follower, "1_before") is True
    assert known(follower, "1_other") is False


def test_it_reads_nothing_until_it_is_used(log):
    with closing(Follower(log)) as follower:
        assert log.reads == 0
        follower.start()
        assert soon(lambda: log.snapshots)


def test_it_follows_what_ends_elsewhere(log, follower):
    assert known(follower, "1_later") is False
    log.write("1_later")
    assert soon(lambda: follower.has_ended("1_later"))
    assert log.snapshots == 1


def test_it_knows_the_marks_of_the_snapshot_and_follows_them(log, follower):
    log.write(("token 1_a x", inf), ("reset 1_a", 5.0))
    assert known(follower, "1_before") is True
    assert [follower.marks.value(*parts) for parts in (("token", "1_a", "x"), ("reset", "1_a"))] == [inf, 5.0]
    log.write(("reset 1_a", 7.0), ("token 1_a x", 3.0), ("reset 1_a", 6.0), ("actor last", 1.0))
    assert soon(lambda: follower.marks.value("actor", "last") == 1.0)
    assert [follower.marks.value(*parts) for parts in (("token", "1_a", "x"), ("reset", "1_a"))] == [inf, 7.0]
    assert log.snapshots == 1
    assert known(follower, "reset 1_a") is False


def test_what_this_process_ends_counts_at_once(log, follower):
    assert known(follower, "1_own") is False
    log.frozen.set()
    follower.add("1_own")
    assert known(follower, "1_own") is True


def test_its_revision_changes_with_what_it_learns_and_with_nothing_else(log, follower):
    assert known(follower, "1_before") is True
    seen = [follower.revision()]
    assert seen[0] == follower.revision()
    follower.add("1_own")
    seen.append(follower.revision())
    log.write("1_later")
    assert soon(lambda: follower.has_ended("1_later"))
    seen.append(follower.revision())
    log.write(("reset 1_a", 5.0))
    assert soon(lambda: follower.marks.value("reset", "1_a") == 5.0)
    seen.append(follower.revision())
    assert len(set(seen)) == 4
    log.write("1_before", "1_own", ("reset 1_a", 4.0), "1_last")
    assert soon(lambda: follower.has_ended("1_last"))
    last = follower.revision()
    log.write("1_last", "1_before")
    reads = log.reads
    assert soon(lambda: log.reads > reads + 1)
    assert follower.revision() == last


def test_it_has_no_revision_while_it_is_not_in_step(log, follower):
    log.frozen.set()
    with pytest.raises(NotInStep):
        follower.revision()
    log.frozen.clear()
    assert soon(follower.revision)


def test_no_check_waits_for_what_is_being_read(log, follower):
    """While the snapshot is read, or the thread is late, the store can be asked; while reads fail, it cannot."""
    log.frozen.set()
    started = time.monotonic()
    for _ in range(100):
        with pytest.raises(NotInStep, match="they are being read"):
            follower.has_ended("1_before")
    assert time.monotonic() - started < PATIENCE / 4
    log.broken = StoreUnavailable("the server is down")
    log.frozen.clear()
    assert soon(lambda: "the server is down" in reason(follower))
    with pytest.raises(StoreUnavailable) as refused:
        follower.has_ended("1_before")
    assert type(refused.value) is StoreUnavailable


def test_concurrent_first_checks_start_one_thread(log, follower):
    start = threading.Barrier(8)

    def check() -> None:
        start.wait(PATIENCE)
        assert known(follower, "1_any") is False

    threads = [threading.Thread(target=check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.snapshots == 1
    assert len(log.threads) == 1


def test_a_gap_is_read_anew(log, follower):
    assert known(follower, "1_lost") is False
    log.frozen.set()
    log.write("1_lost")
    log.trim()
    log.frozen.clear()
    assert soon(lambda: follower.has_ended("1_lost"))
    assert log.snapshots == 2


def test_while_all_is_read_anew_the_store_can_be_asked():
    """It has answered that something is missing, so it is there."""
    may_read = threading.Event()

    class SlowLog(ListLog):
        def snapshot(self) -> tuple[News, int]:
            if self.snapshots:
                may_read.wait(PATIENCE)
            return super().snapshot()

    log = SlowLog("1_before")
    with closing(Follower(log, max_staleness=0.2)) as follower:
        assert soon(lambda: follower.has_ended("1_before"))
        with log.changed:
            log.entries.append("1_lost")
            log.first = len(log.entries)
        assert soon(lambda: "the log was trimmed" in reason(follower))
        with pytest.raises(NotInStep, match="max_staleness"):
            follower.has_ended("1_other")
        with pytest.raises(NotInStep):
            follower.revision()
        assert follower.has_ended("1_before") is True, "what has ended stays so"
        may_read.set()
        assert soon(lambda: follower.has_ended("1_lost"))


def test_what_has_ended_stays_ended_if_the_store_forgets_it(log, follower):
    assert known(follower, "1_before") is True
    log.entries[:] = ["1_x", "1_y"]
    log.trim()
    assert soon(lambda: follower.has_ended("1_y"))
    assert known(follower, "1_before") is True


def test_a_log_that_does_not_answer_at_first_is_refused_at_once(log, follower):
    log.broken = StoreUnavailable("the server is down")
    refusal = "the ended sessions have not been read from the store yet: the server is down"
    assert soon(lambda: reason(follower) == refusal, PATIENCE / 2)


def test_it_refuses_beyond_its_bound_and_says_why(log):
    with closing(Follower(log, max_staleness=0.2)) as follower:
        assert soon(lambda: follower.has_ended("1_before"))
        log.broken = StoreUnavailable("the server is down")
        log.write("1_elsewhere")
        assert soon(lambda: reason(follower))
        assert "longer than max_staleness (0.2 s)" in reason(follower)
        assert "the server is down" in reason(follower)
        assert follower.lag() > 0.2
        log.broken = None
        assert soon(lambda: follower.has_ended("1_elsewhere"))


def test_a_read_says_how_it_was_when_it_began(log):
    """What ends while an answer is on its way is not in it."""
    with closing(Follower(log, max_staleness=0.4)) as follower:
        assert soon(lambda: follower.has_ended("1_before"))
        log.frozen.set()
        assert soon(lambda: "late" in reason(follower))
        log.frozen.clear()
        log.broken = StoreUnavailable("down after one more answer")
        assert soon(lambda: "down" in reason(follower))
        assert follower.lag() >= 0.4


def test_an_error_while_the_snapshot_is_read_is_no_snapshot(log):
    class HalfLog(ListLog):
        def snapshot(self) -> tuple[News, int]:
            news, position = super().snapshot()

            def half(part: Iterable[Any], number: int) -> Iterator[Any]:
                for entry in part:
                    yield entry
                    if self.snapshots == number:
                        raise StoreUnavailable("cut off")

            return News(half(news.ended, 1), half(news.marks, 2)), position

    log = HalfLog("1_a", "1_b", ("reset 1_a", 5.0), ("reset 1_b", 6.0))
    with closing(Follower(log, max_staleness=PATIENCE)) as follower:
        assert known(follower, "1_other") is False
        assert follower.has_ended("1_b") is True
        assert follower.marks.value("reset", "1_b") == 6.0
        assert log.snapshots == 3


def test_any_other_error_of_a_log_ends_no_thread(log, follower, caplog):
    assert known(follower, "1_later") is False
    with caplog.at_level(logging.INFO, "rolecall"):
        log.broken = ZeroDivisionError("a mistake")
        assert soon(lambda: any("a mistake" in one.getMessage() for one in caplog.records))
        log.broken = None
        log.write("1_later")
        assert soon(lambda: follower.has_ended("1_later"))
        # It says so after it has read.
        assert soon(lambda: [one.levelname for one in caplog.records] == ["WARNING", "INFO"])


def test_once_closed_it_refuses_and_its_thread_ends(log, follower):
    assert known(follower, "1_before") is True
    follower.close()
    assert "closed" in reason(follower)
    reads = -1

    def is_still() -> bool:
        nonlocal reads
        before, reads = reads, log.reads
        time.sleep(following.POLL)
        return before == log.reads

    assert soon(is_still)


def test_the_thread_of_an_abandoned_follower_ends(log):
    follower = Follower(log, max_staleness=PATIENCE)
    assert known(follower, "1_before") is True
    references = ref(follower)
    del follower

    def is_gone() -> bool:
        gc.collect()
        return references() is None

    assert soon(is_gone)
    assert soon(lambda: log.closed_by == [*log.threads])


def test_the_log_of_a_closed_follower_is_closed_by_the_thread_that_reads_it(log, follower):
    assert known(follower, "1_before") is True
    assert log.closed_by == []
    follower.close()
    assert soon(lambda: log.closed_by == [*log.threads])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_follows_anew(log, follower):
    assert known(follower, "1_later") is False
    log.frozen.set()  # so that no thread of the parent holds a lock of the log's
    assert soon(lambda: log.reads > 2)

    def follow() -> object:
        log.frozen.clear()
        log.entries += ["1_later", ("reset 1_a", 5.0)]
        return known(follower, "1_later"), known(follower, "1_before"), follower.marks.value("reset", "1_a")

    assert in_child(follow) == (True, True, 5.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_another_revision_even_if_it_reads_as_much(log, follower):
    assert known(follower, "1_before") is True
    seen = follower.revision()
    log.frozen.set()  # so that no thread of the parent holds a lock of the log's
    assert soon(lambda: log.reads > 2)

    def follow() -> object:
        log.frozen.clear()
        log.entries[:] = ["1_later"]
        return known(follower, "1_later"), follower.revision() != seen

    assert in_child(follow) == (True, True)


def test_a_check_takes_little(follower):
    assert known(follower, "1_before") is True

    def seconds() -> float:
        started = time.perf_counter()
        for _ in range(100):
            follower.has_ended("1_other")
        return (time.perf_counter() - started) / 100

    assert min(seconds() for _ in range(200)) < 5e-6  # 0.2 µs measured; the slack is for a slow machine


def test_a_log_that_fails_is_read_again_after_pauses_that_grow_and_vary():
    for failures, longest in ((1, 0.04), (3, 0.16), (1000, following.PAUSES[1])):
        pauses = [following._pause(failures) for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest
