"""The pools of threads: bounded, apart from each other, and with nothing left of what was given up."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from typing import Any

import pytest

from rolecall.driver import threads
from rolecall.driver.threads import PoolExhausted, ThreadPools

from ...forking import in_child
from ...waiting import soon

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    """A pool has two threads, so that a test fills it soon."""
    monkeypatch.setattr(threads, "THREADS", 2)


@pytest.fixture
def pools():
    pools = ThreadPools()
    yield pools
    pools.close()


@pytest.fixture
def gate():
    """What calls wait at; it is open at the end, so that no thread is left."""
    gate = threading.Event()
    yield gate
    gate.set()


class Asked:
    """A call on a thread, and when it has come back."""

    def __init__(self, pools, function, *args, purpose="calls") -> None:
        self._done = threading.Event()
        self.job = pools.submit(purpose, function, args, self._done.set)

    def result(self):
        assert self._done.wait(20)
        return self.job.result()


def hold(pools, gate, calls=2, purpose="calls"):
    """Have calls begin that hang at the gate."""
    began = threading.Barrier(calls + 1)

    def hang():
        began.wait(20)
        gate.wait(20)

    asked = [Asked(pools, hang, purpose=purpose) for _ in range(calls)]
    began.wait(20)
    return asked


def running(purpose="calls"):
    """The threads for this purpose."""
    return [thread for thread in threading.enumerate() if thread.name == f"rolecall: {purpose}"]


def test_a_call_runs_on_a_daemon_thread_and_gives_its_result(pools):
    thread = Asked(pools, threading.current_thread).result()
    assert thread is not threading.current_thread()
    assert thread.daemon


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_what_a_call_raises_is_raised_where_it_is_waited_for(pools, error):
    def fail():
        raise error("as it is")

    with pytest.raises(error, match="as it is"):
        Asked(pools, fail).result()
    assert Asked(pools, str, 1).result() == "1"


def test_calls_beyond_the_threads_wait_for_one(pools, gate):
    held = hold(pools, gate)
    waiting = [Asked(pools, pow, 2, number) for number in range(5)]
    gate.set()
    assert [asked.result() for asked in waiting] == [1, 2, 4, 8, 16]
    assert [asked.result() for asked in held] == [None, None]
    assert len(running()) == 2


def test_an_idle_thread_is_used_again(pools):
    first = Asked(pools, threading.get_ident).result()
    assert soon(lambda: pools._pools["calls"]._idle == 1)
    assert Asked(pools, threading.get_ident).result() == first


def test_one_call_after_the_other_that_hangs_gets_a_thread_of_its_own(pools, gate):
    assert Asked(pools, str, 1).result() == "1"
    assert soon(lambda: pools._pools["calls"]._idle == 1)
    hold(pools, gate, calls=1)
    assert Asked(pools, str, 2).result() == "2"


def test_where_calls_that_were_given_up_hold_all_threads_a_call_is_refused_at_once(pools, gate):
    for asked in hold(pools, gate):
        asked.job.give_up()
    with pytest.raises(PoolExhausted, match="2 calls that were given up have not come back"):
        Asked(pools, str, 1)


def test_it_is_taken_again_once_one_has_come_back(pools, gate):
    held = hold(pools, gate)
    for asked in held:
        asked.job.give_up()
        asked.job.give_up()  # which counts once
    gate.set()
    for asked in held:
        asked.result()
    assert [Asked(pools, str, number).result() for number in range(3)] == ["0", "1", "2"]
    for asked in held:
        asked.job.give_up()  # which has come back
    assert Asked(pools, str, 3).result() == "3"


def test_what_hangs_for_one_purpose_holds_up_no_other(pools, gate):
    for asked in hold(pools, gate, purpose="policies"):
        asked.job.give_up()
    with pytest.raises(PoolExhausted):
        Asked(pools, str, 1, purpose="policies")
    assert Asked(pools, str, 1, purpose="the store").result() == "1"


def test_more_calls_than_may_wait_are_refused_at_once(pools, gate, monkeypatch):
    monkeypatch.setattr(threads, "WAITING", 3)
    hold(pools, gate)
    waiting = [Asked(pools, str, number) for number in range(3)]
    with pytest.raises(PoolExhausted, match="and 3 wait"):
        Asked(pools, str, 3)
    gate.set()
    assert [asked.result() for asked in waiting] == ["0", "1", "2"]


def test_a_call_that_is_given_up_while_it_waits_is_never_made(pools, gate):
    hold(pools, gate)
    made: list[Any] = []
    given_up, kept = (Asked(pools, made.append, number) for number in range(2))
    given_up.job.give_up()
    gate.set()
    kept.result()
    assert made == [1]


def test_refusals_are_logged_once_in_a_while_with_their_number(pools, gate, monkeypatch, caplog):
    now = [100.0]
    monkeypatch.setattr(threads, "monotonic", lambda: now[0])
    for asked in hold(pools, gate):
        asked.job.give_up()

    def refused(times):
        for _ in range(times):
            with pytest.raises(PoolExhausted):
                Asked(pools, str, 1)

    caplog.set_level(logging.INFO, "rolecall")
    refused(50)
    now[0] += threads.LOG_INTERVAL
    refused(50)
    reason = "no thread is free for calls: 2 calls that were given up have not come back, and 0 wait"
    assert caplog.messages == [
        f"{reason}; calls refused since the log last said so: 1",
        f"{reason}; calls refused since the log last said so: 50",
    ]


def test_where_the_system_gives_no_thread_a_call_is_refused(pools, monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(PoolExhausted, match="can't start new thread"):
        Asked(pools, str, 1)
    monkeypatch.undo()
    assert Asked(pools, str, 2).result() == "2"


def test_threads_end_after_a_while_without_work_and_begin_again(pools, monkeypatch):
    monkeypatch.setattr(threads, "IDLE", 0.01)
    Asked(pools, str, 1).result()
    assert soon(lambda: not running())
    assert Asked(pools, str, 2).result() == "2"


def test_closing_ends_them_and_what_still_runs_ends_after_its_call(pools, gate):
    (held,) = hold(pools, gate, calls=1)
    Asked(pools, str, 1).result()
    pools.close()
    assert soon(lambda: len(running()) == 1)
    gate.set()
    held.result()
    assert soon(lambda: not running())


def test_an_idle_thread_keeps_nothing_of_a_request(pools):
    class Request:
        pass

    request = Request()
    kept = weakref.ref(request)
    Asked(pools, id, request).result()
    del request
    assert soon(lambda: gc.collect() >= 0 and kept() is None)


def test_a_forked_child_begins_anew_even_where_the_parents_threads_hang(pools, gate):
    for asked in hold(pools, gate):
        asked.job.give_up()
    assert in_child(lambda: (Asked(pools, str, 1).result(), len(running()))) == ("1", 1)
    with pytest.raises(PoolExhausted):
        Asked(pools, str, 1)


def test_two_hundred_calls_of_many_threads_all_come_back(pools):
    results: list[Any] = []

    def work():
        results.extend(Asked(pools, pow, number, 2).result() for number in range(20))

    workers = [threading.Thread(target=work) for _ in range(10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert sorted(results) == sorted(number**2 for number in range(20) for _ in range(10))
    assert len(running()) <= 2
