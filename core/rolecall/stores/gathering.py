"""Gathering the creations that wait on an event loop, so that one thread writes many of them in one call."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from ..driver import LoopDriver
from ..driver.threads import STORE, PoolExhausted
from ..errors import StoreUnavailable
from ..sessions import SessionRecord
from .failures import for_one_of_several

if TYPE_CHECKING:
    from ..driver.event_loops import Signal

#: The most sessions of one call.
MOST: Final = 200


class _Waiting:
    """A session to be created, and its task's signal."""

    __slots__ = ("failure", "is_done", "record", "signal")

    def __init__(self, record: SessionRecord, signal: Signal) -> None:
        self.record = record
        self.signal = signal
        self.is_done = False
        self.failure: Exception | None = None


class Gathering:
    """Hands the sessions that tasks create at the same time to a store in batches. One thread at a time writes.

    Tasks may run on several event loops. A task that is cancelled takes its session back, unless it was handed over.

    :param add: the store's ``add_sessions``.
    """

    def __init__(
        self, add: Callable[[Sequence[SessionRecord]], Sequence[Exception | None]], driver: LoopDriver
    ) -> None:
        self._add: Final = add
        self._driver: Final = driver
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._queue: deque[_Waiting] = deque()
        self._is_served = False

    async def add(self, record: SessionRecord, seconds: float) -> None:
        """Create a session.

        :raises TimeoutError: after ``seconds``; the session may have been created.
        """
        from ..driver import event_loops

        if self._pid != os.getpid():
            self._begin()
        await self._driver.take_turn()
        loop = event_loops.running()
        mine = _Waiting(record, loop.signal())
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
        if mine.failure is not None:
            raise mine.failure

    def _start(self) -> None:
        try:
            self._driver.start(STORE, self._serve)
        except PoolExhausted as error:
            with self._lock:
                self._is_served = False
            raise StoreUnavailable(f"the store was not called: {error}") from error

    def _take_back(self, mine: _Waiting) -> None:
        with self._lock:
            if mine in self._queue:
                self._queue.remove(mine)

    def _serve(self) -> None:
        """Write what waits, on a thread, until nothing does."""
        while batch := self._next():
            for waiting, failure in zip(batch, self._failures_of(batch), strict=True):
                waiting.failure, waiting.is_done = failure, True
                waiting.signal.give()

    def _failures_of(self, batch: Sequence[_Waiting]) -> list[Exception | None]:
        """Create the sessions of a batch, and return the failure of each, or None."""
        try:
            failures: Any = self._add([waiting.record for waiting in batch])
        except Exception as error:
            return [for_one_of_several(error) if isinstance(error, StoreUnavailable) else error for _ in batch]
        if (
            isinstance(failures, Sequence)
            and len(failures) == len(batch)
            and all(isinstance(one, Exception | None) for one in failures)
        ):
            return list(failures)
        problem = "the store's add_sessions returned no list with a failure or None for each session"
        return [StoreUnavailable(f"{problem}; they may have been created") for _ in batch]

    def _next(self) -> list[_Waiting]:
        with self._lock:
            batch = [self._queue.popleft() for _ in range(min(MOST, len(self._queue)))]
            self._is_served = bool(batch)
            return batch
