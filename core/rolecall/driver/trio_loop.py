"""Trio's event loop; imported only where trio runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final

import trio


class _Trio:
    def time(self) -> float:
        return trio.current_time()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return _timeout(seconds)

    def watched(self) -> _TrioWatched:
        return _TrioWatched()

    def signal(self) -> _TrioSignal:
        return _TrioSignal()

    def is_cancellation(self, error: BaseException) -> bool:
        if isinstance(error, BaseExceptionGroup):
            return error.subgroup(trio.Cancelled) is not None
        return isinstance(error, trio.Cancelled)

    def itself(self) -> object:
        return trio.lowlevel.current_trio_token()

    def repeat(self, seconds: float, function: Callable[[], float]) -> Callable[[], None]:
        scope = trio.CancelScope()

        async def call() -> None:
            pause = seconds
            with scope:
                while True:
                    await trio.sleep(pause)
                    pause = function()

        trio.lowlevel.spawn_system_task(call)
        return scope.cancel


@asynccontextmanager
async def _timeout(seconds: float) -> AsyncIterator[None]:
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise TimeoutError


class _TrioWatched:
    def __init__(self) -> None:
        self._patience = trio.CancelScope()
        self._watching = trio.CancelScope()

    @asynccontextmanager
    async def beside(self, watcher: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        failure = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, watcher)
            try:
                with self._patience:
                    yield
            except Exception as error:  # re-raised outside of the nursery, which would wrap it in a group
                failure = error
        if failure is not None:
            raise failure

    async def _watch(self, watcher: Callable[[], Awaitable[None]]) -> None:
        with self._watching, suppress(Exception):
            await watcher()

    def limit(self, seconds: float) -> None:
        self._patience.deadline = trio.current_time() + seconds

    def stop_watching(self) -> None:
        self._watching.cancel()


class _TrioSignal:
    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()

    def give(self) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


#: Shared, because it has no state.
TRIO: Final = _Trio()
