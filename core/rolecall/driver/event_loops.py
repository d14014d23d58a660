"""The few things that the kit needs of an event loop, on asyncio's and on trio's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol


class Watched(Protocol):
    """A body that runs with a watcher beside it, which may set it a limit. It serves once."""

    async def run(self, body: Callable[[], Awaitable[None]], watcher: Callable[[], Awaitable[None]]) -> None:
        """Run ``body`` to its end, and return when ``watcher`` has ended, too; whatever the watcher raises is dropped.

        A cancellation from outside ends both. A body that is cancelled at its limit is no error.
        """

    def limit(self, seconds: float) -> None:
        """Cancel the body unless it ends within so many seconds from now."""

    def stop_watching(self) -> None:
        """Cancel the watcher."""


class Signal(Protocol):
    """A signal from another thread. It is given once."""

    def give(self) -> None:
        """Give it, on any thread; to a loop that has ended it means nothing."""

    async def wait(self) -> None:
        """Wait until it is given."""


class EventLoop(Protocol):
    """How the kit waits on one kind of event loop."""

    def time(self) -> float:
        """Seconds by a clock that is never set back."""

    async def sleep(self, seconds: float) -> None:
        """Let others run, for at least so many seconds."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """A block that is cancelled after so many seconds, and raises :class:`TimeoutError` then."""

    def watched(self) -> Watched:
        """What runs a body with a watcher beside it."""

    def signal(self) -> Signal:
        """What another thread tells the running task by."""

    def is_cancellation(self, error: BaseException) -> bool:
        """Whether ``error`` is how the running task is told to end."""


def running() -> EventLoop:
    """The event loop that the caller runs on.

    :raises RuntimeError: where it is neither asyncio's nor trio's.
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
        # A plugin may raise it of its own accord; only a task that somebody cancels is to end.
        return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


class _AsyncioWatched:
    def __init__(self) -> None:
        self._patience = asyncio.timeout(None)

    async def run(self, body: Callable[[], Awaitable[None]], watcher: Callable[[], Awaitable[None]]) -> None:
        self._watching = asyncio.ensure_future(watcher())
        try:
            async with self._patience:
                await body()
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


_ASYNCIO = _Asyncio()
