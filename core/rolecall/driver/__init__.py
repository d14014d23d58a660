"""The two drivers of the one logic path: inline for sync frameworks, on the event loop for async ones."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import WeakSet

from .threads import STORE, ThreadPools
from .turns import Turns

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

Result = TypeVar("Result")
# Seconds after a deadline within which a loop that is not blocked has cancelled a late task.
_GRACE = 0.5


class Driver(Protocol):
    """How the logic waits."""

    @property
    def hooks_block(self) -> bool:
        """Whether each hook that is no ``async def`` goes through :meth:`run`, as those that are marked as blocking."""

    def pass_through(self, error: BaseException) -> None:
        """Re-raise cancellation and shutdown, which are not the plugin's failures."""

    async def take_turn(self) -> None:
        """Let other tasks run, if those that began just now have held the event loop up for long."""

    async def run(self, purpose: str, deadline: float, function: Callable[..., Result], *args: Any) -> Result:
        """Call a blocking function on a thread of the pool for ``purpose`` and return its result.

        :raises TimeoutError: after ``deadline`` seconds.
        :raises PoolExhausted: at once, if the pool has no thread for the call.
        """

    async def wait(self, awaitable: Awaitable[Result], deadline: float, purpose: str | None = None) -> Result:
        """Await ``awaitable``, which is cancelled after ``deadline`` seconds, and return its result.

        :param purpose: as for :meth:`run`; the store is kept apart from the hooks.
        :raises TimeoutError: if it was cancelled.
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
    """Blocks the calling thread. Awaitables run on event loops in the background.

    The store has a loop of its own, so that a hook that blocks its loop keeps nobody from ending a session.
    """

    hooks_block = False

    def __init__(self, pools: ThreadPools) -> None:
        self._pools = pools
        self._background = BackgroundLoop()
        self._store = BackgroundLoop("rolecall-store")

    def pass_through(self, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):
            raise error

    async def take_turn(self) -> None:
        pass

    async def run(self, purpose: str, deadline: float, function: Callable[..., Result], *args: Any) -> Result:
        done = threading.Event()
        job = self._pools.submit(purpose, function, args, done.set)
        try:
            if not done.wait(deadline):
                raise TimeoutError
        finally:
            job.give_up()
        return job.result()

    async def wait(self, awaitable: Awaitable[Result], deadline: float, purpose: str | None = None) -> Result:
        return (self._store if purpose == STORE else self._background).run(awaitable, deadline)

    def close(self) -> None:
        self._background.close()
        self._store.close()


class LoopDriver:
    """Never blocks the event loop, which may be asyncio's or trio's."""

    hooks_block = False

    def __init__(self, pools: ThreadPools) -> None:
        self._pools = pools
        self._turns = Turns()

    def pass_through(self, error: BaseException) -> None:
        from . import event_loops

        if isinstance(error, KeyboardInterrupt | GeneratorExit) or event_loops.running().is_cancellation(error):
            raise error

    def take_turn(self) -> Coroutine[Any, Any, None]:
        return self._turns.take()

    def start(self, purpose: str, function: Callable[[], object]) -> None:
        """Call a blocking function on a thread of the pool for ``purpose``, and do not wait for it.

        :raises PoolExhausted: at once, if the pool has no thread for the call.
        """
        self._pools.submit(purpose, function, (), _ignore)

    async def run(self, purpose: str, deadline: float, function: Callable[..., Result], *args: Any) -> Result:
        from . import event_loops

        loop = event_loops.running()
        done = loop.signal()
        job = self._pools.submit(purpose, function, args, done.give)
        try:
            async with loop.timeout(deadline):
                await done.wait()
        finally:
            job.give_up()
        return job.result()

    async def wait(self, awaitable: Awaitable[Result], deadline: float, purpose: str | None = None) -> Result:
        from . import event_loops

        async with event_loops.running().timeout(deadline):
            return await awaitable


def _ignore() -> None:
    pass


class BackgroundLoop:
    """An event loop on a daemon thread, started when first needed, and again after a fork.

    :param name: the thread's name.
    """

    def __init__(self, name: str = "rolecall-background") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None
        _LOOPS.add(self)

    def run(self, awaitable: Awaitable[Result], deadline: float) -> Result:
        """Wait for ``awaitable``, which runs with the caller's context variables and is cancelled after ``deadline``.

        :raises TimeoutError: if it was cancelled, or could not be, because it blocks the loop.
        """
        from concurrent.futures import Future

        if threading.get_ident() == self._thread:
            if hasattr(awaitable, "close"):
                awaitable.close()
            raise RuntimeError("an async hook or store called the kit and waits for itself; use await kit.aio.… in it")
        if _gevent_has_patched_threads():
            return _run_in_native_thread(awaitable, deadline)
        done: Future[Result] = Future()
        context = copy_context()
        loop = self._running()
        tasks = set()  # the loop itself holds tasks only weakly
        settling = _settle(awaitable, deadline, done)
        loop.call_soon_threadsafe(lambda: tasks.add(loop.create_task(settling, context=context)))
        return done.result(deadline + _GRACE)

    def close(self) -> None:
        """Stop the loop."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
            # The thread's number, too: after it has ended, another thread may get the same number.
            self._loop = self._thread = None

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                import asyncio

                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_serve, args=(self._loop,), name=self._name, daemon=True)
                thread.start()
                self._thread = thread.ident
            return self._loop

    def _forget(self) -> None:
        # After a fork neither a thread of the parent nor a lock that it had taken can be relied on.
        self._lock = threading.Lock()
        self._loop = self._thread = None


# Kept so that a forked child can reset them.
_LOOPS: WeakSet[BackgroundLoop] = WeakSet()


def _forget_all() -> None:
    for loop in _LOOPS:
        loop._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


async def _settle(awaitable: Awaitable[Result], deadline: float, done: Future[Result]) -> None:
    import asyncio

    try:
        async with asyncio.timeout(deadline):
            result = await awaitable
    except Exception as error:
        done.set_exception(error)
    except BaseException as error:
        # A hook that exits or is cancelled must not end the thread that waits for it.
        done.set_exception(RuntimeError(f"{type(error).__name__} in the background"))
    else:
        done.set_result(result)


def _gevent_has_patched_threads() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")


def _run_in_native_thread(awaitable: Awaitable[Result], deadline: float) -> Result:
    """Run in a native thread: under gevent a thread is a greenlet, and a loop in it would run for all of them."""
    import asyncio
    from concurrent.futures import Future

    from gevent import get_hub

    done: Future[Result] = Future()
    get_hub().threadpool.apply(copy_context().run, (asyncio.run, _settle(awaitable, deadline, done)))
    return done.result(0)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.run_until_complete(_cancel_all())
    loop.close()


async def _cancel_all() -> None:
    """Cancel all running tasks, so that no thread waits for them in vain."""
    import asyncio

    await asyncio.sleep(0)  # so that callbacks that are due have become tasks
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
