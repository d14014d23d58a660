"""Turns at a bounded number of connections: in order, and none is lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rolecall.stores import slots
from rolecall.stores.slots import Slots

from ...waiting import PATIENCE, soon


class Interruption(BaseException):
    """As ``gevent.Timeout`` is one."""


def test_as_many_as_there_are_and_no_more():
    turns = Slots(2)
    assert [turns.acquire(0.0) for _ in range(3)] == [True, True, False]
    turns.release()
    assert [turns.acquire(0.01) for _ in range(2)] == [True, False]


def test_who_came_first_is_first():
    turns, came = Slots(1), []
    turns.acquire(0.0)

    def wait(number: int) -> None:
        assert turns.acquire(PATIENCE)
        came.append(number)
        turns.release()

    with ThreadPoolExecutor(5) as pool:
        waiting = []
        for number in range(5):
            waiting.append(pool.submit(wait, number))
            assert soon(lambda: len(turns._waiting) == len(waiting))
        turns.release()
    assert came == [0, 1, 2, 3, 4]


def test_who_asks_again_is_behind_those_that_wait():
    """With a semaphore of Python's, threads that are always at work leave nothing for others."""
    turns, is_over = Slots(1), threading.Event()
    turns.acquire(0.0)

    def wait() -> bool:
        is_mine = turns.acquire(PATIENCE)
        is_over.wait(PATIENCE)
        turns.release()
        return is_mine

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        assert soon(lambda: turns._waiting)
        turns.release()
        assert turns.acquire(0.0) is False
        is_over.set()
        assert waiting.result()
    assert [turns.acquire(0.0) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("comes_late", [False, True], ids=["before a slot came", "after a slot came"])
def test_a_caller_that_is_interrupted_takes_no_slot_with_it(comes_late, monkeypatch):
    turns = Slots(1)

    class Interrupted:
        """A lock whose waiting is interrupted."""

        def __init__(self) -> None:
            self.calls = 0

        def acquire(self, timeout: float = -1) -> bool:
            self.calls += 1
            if self.calls == 2:
                if comes_late:
                    turns.release()
                raise Interruption
            return True

        def release(self) -> None:
            pass

    turns.acquire(0.0)
    monkeypatch.setattr(slots, "Lock", Interrupted)
    with pytest.raises(Interruption):
        turns.acquire(PATIENCE)
    monkeypatch.undo()
    if not comes_late:
        turns.release()
    assert [turns.acquire(0.0) for _ in range(2)] == [True, False]
