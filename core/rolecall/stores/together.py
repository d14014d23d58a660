"""Writing the waiting changes of several threads together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Lock
from time import monotonic
from typing import Final, Generic, TypeVar

from ..errors import StoreUnavailable

Item = TypeVar("Item")


class _Waiting(Generic[Item]):
    """A change that waits to be written.

    :ivar woken: set when it has been written, or when its thread is to lead; None if that leads from the start.
    """

    __slots__ = ("failure", "is_written", "item", "leads", "woken")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.woken: Event | None = None
        self.leads = False
        self.is_written = False
        self.failure: Exception | None = None


class Together(Generic[Item]):
    """Writes one batch at a time. A thread that finds no other one at it writes at once, and so leads; the changes that
    come meanwhile are the next batch.

    :param write: writes a batch until a deadline on the monotonic clock, and returns a failure or None for each item.
    :param most: the most items of a batch.
    """

    def __init__(self, write: Callable[[Sequence[Item], float], Sequence[Exception | None]], most: int) -> None:
        self._write: Final = write
        self._most: Final = most
        self._lock = Lock()
        self._queue: deque[_Waiting[Item]] = deque()
        self._is_led = False

    def add(self, item: Item, deadline: float) -> None:
        """Write a change, and return once it is written.

        :raises StoreUnavailable: if it was not written in time. Other exceptions are those of ``write``.
        """
        mine = _Waiting(item)
        with self._lock:
            self._queue.append(mine)
            if self._is_led:
                mine.woken = Event()
            else:
                mine.leads = self._is_led = True
        try:
            if mine.woken is not None:
                mine.woken.wait(max(0.0, deadline - monotonic()))
            if mine.leads:
                self._lead(deadline)
        except BaseException:
            self._give_up(mine)
            raise
        if not mine.is_written:
            taken = not self._give_up(mine)
            raise StoreUnavailable(
                "the store is slow; the session may have been created all the same"
                if taken
                else "the store is slow, and the session was not created: others were before it"
            )
        if mine.failure is not None:
            raise mine.failure

    def _lead(self, deadline: float) -> None:
        with self._lock:
            batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
        try:
            failures = self._write([waiting.item for waiting in batch], deadline)
        except Exception as error:
            failures = [error] * len(batch)
        finally:
            self._hand_over()
        for waiting, failure in zip(batch, failures, strict=True):
            waiting.failure, waiting.is_written = failure, True
            if waiting.woken is not None:
                waiting.woken.set()

    def _hand_over(self) -> None:
        """Let the thread lead that has the most time left of those in the next batch."""
        with self._lock:
            self._is_led = bool(self._queue)
            if self._queue:
                next_leader = self._queue[min(self._most, len(self._queue)) - 1]
                next_leader.leads = True
                if next_leader.woken is not None:
                    next_leader.woken.set()

    def _give_up(self, mine: _Waiting[Item]) -> bool:
        """Take a change back; whether it had not been taken by a leader yet."""
        with self._lock:
            is_there = mine in self._queue
            if is_there:
                self._queue.remove(mine)
        if is_there and mine.leads:
            self._hand_over()
        return is_there
