"""The two drivers of the one logic path: inline for sync frameworks, on the event loop for async ones."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio

Result = TypeVar("Result")
# Seconds beyond a deadline within which a loop that is not held up has cancelled what outlived it.
_GRACE = 0.5


class Driver(Protocol):
    """How the logic waits."""

    async def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """The result of a function that blocks."""

    async def run_within(self, deadline: float, function: Callable[..., Result], *args: Any) -> Result:
        """The result of a function that blocks, given up after ``deadline`` seconds where that is possible.

        :raises TimeoutError: if it was given up.
        """

    async def wait(self, awaitable: Awaitable[Result], deadline: float) -> Result:
        """The result of an awaitable, which is cancelled after ``deadline`` seconds.

        :raises TimeoutError: if it was.
        """


def drive(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that never suspends to its end, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    coroutine.close()
    raise RuntimeError("the logic suspended under the inline driver; this is a fault of Rolecall")


class InlineDriver:
    """Blocks the calling thread. What can only be awaited runs on one event loop in the background."""

    def __init__(self) -> None:
        self._background = BackgroundLoop()

    async def run(self, function: Callable[..., Result], *args: Any) -> Result:
        return function(*args)

    async def run_within(self, deadline: float, function: Callable[..., Result], *args: Any) -> Result:
        return function(*args)

    async def wait(self, awaitable: Awaitable[Result], deadline: float) -> Result:
        return self._background.run(awaitable, deadline)

    def close(self) -> None:
        self._background.close()


class LoopDriver:
    """Never blocks the event loop: a blocking function runs on a worker thread."""

    async def run(self, function: Callable[..., Result], *args: Any) -> Result:
        import asyncio

        return await asyncio.to_thread(function, *args)

    async def run_within(self, deadline: float, function: Callable[..., Result], *args: Any) -> Result:
        import asyncio

        async with asyncio.timeout(deadline):
            return await asyncio.to_thread(function, *args)

    async def wait(self, awaitable: Awaitable[Result], deadline: float) -> Result:
        import asyncio

        async with asyncio.timeout(deadline):
            return await awaitable


class BackgroundLoop:
    """An event loop on a daemon thread, started when first needed, and again after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def run(self, awaitable: Awaitable[Result], deadline: float) -> Result:
        """Wait for ``awaitable``, which runs with the caller's context variables and is cancelled after ``deadline``.

        :raises TimeoutError: if it was cancelled, or holds up the loop so that it could not be.
        """
        import asyncio
        from concurrent.futures import Future

        done: Future[Result] = Future()
        context = copy_context()

        async def settle() -> None:
            try:
                async with asyncio.timeout(deadline):
                    result = await awaitable
            except Exception as error:
                done.set_exception(error)
            except BaseException as error:
                # A hook that exits, or whose task is cancelled, must not end the thread that waits for it.
                done.set_exception(RuntimeError(f"{type(error).__name__} in the background"))
            else:
                done.set_result(result)

        loop = self._running()
        tasks = set()  # the loop itself holds tasks only weakly
        loop.call_soon_threadsafe(lambda: tasks.add(loop.create_task(settle(), context=context)))
        return done.result(deadline + _GRACE)

    def close(self) -> None:
        """Stop the loop, if this process started it."""
        with self._lock:
            if self._loop is not None and self._pid == os.getpid():
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = None

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._pid != os.getpid():
            # Of a forked parent neither the thread nor a lock that it held at that moment is to be relied on.
            self._lock = threading.Lock()
            self._loop, self._pid = None, os.getpid()
        with self._lock:
            if self._loop is None:
                import asyncio

                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._loop,), name="rolecall-background", daemon=True).start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.run_until_complete(_cancel_all())
    loop.close()


async def _cancel_all() -> None:
    """Cancel what still runs, so that no thread waits for it in vain."""
    import asyncio

    await asyncio.sleep(0)  # what was called soon has become a task
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
