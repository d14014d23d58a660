"""Gathering the calls that wait on an event loop, so that one thread makes many of them in one call of the store."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ..driver import LoopDriver
from ..driver.threads import STORE, PoolExhausted
from ..errors import StoreUnavailable
from .failures import for_one_of_several

if TYPE_CHECKING:
    from ..driver.event_loops import Signal

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: The most items of one call.
MOST: Final = 200


class _Waiting(Generic[Item, Answer]):
    """An item that waits for its answer, and its task's signal."""

    __slots__ = ("answer", "is_done", "item", "signal")

    def __init__(self, item: Item, signal: Signal) -> None:
        self.item = item
        self.signal = signal
        self.is_done = False
        self.answer: Answer | Exception


class Gathering(Generic[Item, Answer]):
    """Hands the items of tasks that wait at the same time to a store in batches. One thread at a time calls it.

    Tasks may run on several event loops. A task that is cancelled takes its item back, unless it was handed over. A
    call begins after all tasks of its batch have begun to wait, so what it reads is as new as each of them needs.

    :param call: calls the store, and returns an answer or the failure for each item.
    """

    def __init__(self, call: Callable[[Sequence[Item]], Sequence[Answer | Exception]], driver: LoopDriver) -> None:
        self._call: Final = call
        self._driver: Final = driver
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._queue: deque[_Waiting[Item, Answer]] = deque()
        self._is_served = False

    async def ask(self, item: Item, seconds: float) -> Answer:
        """Hand an item over, and return its answer.

        :raises TimeoutError: after ``seconds``; the store may have been called.
        """
        from ..driver import event_loops

        if self._pid != os.getpid():
            self._begin()
        await self._driver.take_turn()
        loop = event_loops.running()
        mine: _Waiting[Item, Answer] = _Waiting(item, loop.signal())
        with self._lock:
            self._queue.append(mine)
            serves, self._is_served = not self._is_served, True
        try:
            if serves:
                self._start()
            async with loop.timeout(seconds):
                await mine.signal.wait()
        finally:
            if not mine.is_done:
                self._take_back(mine)
        # A whole batch is woken at once.
        await self._driver.take_turn()
        if isinstance(mine.answer, Exception):
            raise mine.answer
        return mine.answer

    def _start(self) -> None:
        try:
            self._driver.start(STORE, self._serve)
        except PoolExhausted as error:
            with self._lock:
                self._is_served = False
            raise StoreUnavailable(f"the store was not called: {error}") from error

    def _take_back(self, mine: _Waiting[Item, Answer]) -> None:
        with self._lock:
            if mine in self._queue:
                self._queue.remove(mine)

    def _serve(self) -> None:
        """Call the store for what waits, on a thread, until nothing does."""
        while batch := self._next():
            for waiting, answer in zip(batch, self._answers_to(batch), strict=True):
                waiting.answer, waiting.is_done = answer, True
                waiting.signal.give()

    def _answers_to(self, batch: Sequence[_Waiting[Item, Answer]]) -> Sequence[Answer | Exception]:
        try:
            return self._call([waiting.item for waiting in batch])
        except Exception as error:
            return [for_one_of_several(error) if isinstance(error, StoreUnavailable) else error for _ in batch]

    def _next(self) -> list[_Waiting[Item, Answer]]:
        with self._lock:
            batch = [self._queue.popleft() for _ in range(min(MOST, len(self._queue)))]
            self._is_served = bool(batch)
            return batch
