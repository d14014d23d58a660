"""The operations that the kit needs of an event loop, for asyncio and for trio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import Context
from typing import Protocol


class Watched(Protocol):
    """A block that runs with a watcher beside it; the watcher may set it a time limit. Used once."""

    def beside(self, watcher: Callable[[], Awaitable[None]]) -> AbstractAsyncContextManager[None]:
        """The block, which ends when ``watcher`` has ended, too; exceptions of the watcher are dropped.

        A cancellation from outside ends both. A block that is cancelled at its limit is no error.
        """

    def limit(self, seconds: float) -> None:
        """Cancel the block unless it ends within ``seconds`` from now."""

    def stop_watching(self) -> None:
        """Cancel the watcher."""


class Signal(Protocol):
    """A one-time signal from another thread."""

    def give(self) -> None:
        """Give the signal, on any thread; ignored if the loop has ended."""

    async def wait(self) -> None:
        """Wait for the signal."""


class EventLoop(Protocol):
    """How the kit waits on one kind of event loop."""

    def time(self) -> float:
        """Seconds by a monotonic clock."""

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run, for at least ``seconds``."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """A block that is cancelled after ``seconds``, and then raises :class:`TimeoutError`."""

    def watched(self) -> Watched:
        """Make a block with a watcher beside it."""

    def signal(self) -> Signal:
        """Make a signal from another thread to the running task."""

    def is_cancellation(self, error: BaseException) -> bool:
        """Whether ``error`` cancels the running task."""

    def itself(self) -> object:
        """What stands for the running loop, and for no other one."""

    def repeat(self, seconds: float, function: Callable[[], float]) -> Callable[[], None]:
        """Call ``function`` again and again, until what is returned here is called.

        :param seconds: the time until the first call.
        :param function: returns the seconds until the next call, and raises nothing.
        """


def running() -> EventLoop:
    """The event loop that the caller runs on.

    :raises RuntimeError: if it is neither asyncio's nor trio's.
    """
    if runs_on_trio():
        from .trio_loop import TRIO

        return TRIO
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("rolecall awaits on an event loop of asyncio or trio, and neither runs here") from None
    return _ASYNCIO


def runs_on_trio() -> bool:
    """Whether the caller runs on trio's event loop."""
    lowlevel = sys.modules.get("trio.lowlevel")
    try:
        lowlevel.current_task()  # type: ignore[union-attr]
    except (AttributeError, RuntimeError):  # not imported to its end, or not running in this thread
        return False
    return True


class _Asyncio:
    def time(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds)

    def watched(self) -> Watched:
        return _AsyncioWatched()

    def signal(self) -> Signal:
        return _AsyncioSignal()

    def is_cancellation(self, error: BaseException) -> bool:
        task = asyncio.current_task()
        # A plugin may raise CancelledError by itself; it counts only in a task that is being cancelled.
        return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0

    def itself(self) -> object:
        return asyncio.get_running_loop()

    def repeat(self, seconds: float, function: Callable[[], float]) -> Callable[[], None]:
        return _AsyncioTimer(seconds, function).stop


class _AsyncioWatched:
    def __init__(self) -> None:
        self._patience = asyncio.timeout(None)

    @asynccontextmanager
    async def beside(self, watcher: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        self._watching = asyncio.ensure_future(watcher())
        try:
            async with self._patience:
                yield
        except asyncio.CancelledError:
            self.stop_watching()
            raise
        except TimeoutError:
            if not self._patience.expired():
                raise
        finally:
            await asyncio.gather(self._watching, return_exceptions=True)

    def limit(self, seconds: float) -> None:
        self._patience.reschedule(asyncio.get_running_loop().time() + seconds)

    def stop_watching(self) -> None:
        self._watching.cancel()


class _AsyncioSignal:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def give(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


class _AsyncioTimer:
    """A timer and no task, which would be left over when a loop is closed."""

    def __init__(self, seconds: float, function: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._function = function
        self._stopped = False
        self._start(seconds)

    def stop(self) -> None:
        self._stopped = True
        self._handle.cancel()

    def _start(self, seconds: float) -> None:
        # In a context of its own: it goes on after the request that has started it.
        self._handle = self._loop.call_later(seconds, self._call, context=Context())

    def _call(self) -> None:
        seconds = self._function()
        if not self._stopped:
            self._start(seconds)


_ASYNCIO = _Asyncio()
