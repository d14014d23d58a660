"""Answers that stream while their grant is live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final, TypeAlias, TypeVar

from ...driver import drive, event_loops
from .watching import Watch, stand

Chunk = TypeVar("Chunk")
#: Calls a function on a worker thread: ``asyncio.to_thread``, ``run_in_threadpool``.
OnThread: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]

_END: Final = object()
_NOTHING: Final = object()
_NEWS: Final = object()


def while_granted_inline(watches: Sequence[Watch], chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Yield ``chunks`` while the grants of a request are live; they are checked when a chunk comes."""
    try:
        for chunk in chunks:
            if not drive(stand(watches, Watch.look)):
                return
            yield chunk
    finally:
        if hasattr(chunks, "close"):
            chunks.close()


async def while_granted(
    watches: Sequence[Watch], chunks: AsyncIterable[Chunk] | Iterable[Chunk], on_thread: OnThread
) -> AsyncIterator[Chunk]:
    """Yield ``chunks`` while the grants of a request are live; then stop, also between two chunks.

    On trio's event loop it stops at the next chunk, because a generator there must hold no task of its own.

    :param chunks: a plain iterable runs on a worker thread, and stops at its next chunk.
    :param on_thread: calls a function with arguments on a worker thread of the framework.
    """
    if not isinstance(chunks, AsyncIterable):
        chunks = _on_a_thread(chunks, on_thread)
    if event_loops.runs_on_trio():
        async for chunk in _looked_at(watches, chunks):
            yield chunk
        return
    queue: asyncio.Queue[Any] = asyncio.Queue()
    # In a task, because a generator may hold a time-out or a task group open from one chunk to the next.
    pumping = asyncio.create_task(_pump(chunks, queue))
    pumping.add_done_callback(lambda _: queue.put_nowait(_END))
    try:
        with ExitStack() as told:
            for watch in watches:
                told.enter_context(watch.told(lambda: queue.put_nowait(_NEWS)))
            while True:
                came: Any = _NOTHING
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(watch.due for watch in watches)):
                        came = await queue.get()
                if not await stand(watches, Watch.look_in_time):
                    return
                if came is _END:
                    await pumping  # re-raises an exception of the chunks
                    return
                if came is _NEWS:
                    queue.task_done()
                elif came is not _NOTHING:
                    yield came
                    queue.task_done()
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)


async def _looked_at(watches: Sequence[Watch], chunks: AsyncIterable[Chunk]) -> AsyncIterator[Chunk]:
    source = aiter(chunks)
    try:
        async for chunk in source:
            if not await stand(watches, Watch.look_in_time):
                return
            yield chunk
    finally:
        if hasattr(source, "aclose"):
            await source.aclose()


async def _pump(chunks: AsyncIterable[Chunk], queue: asyncio.Queue[Chunk]) -> None:
    source = aiter(chunks)
    try:
        async for chunk in source:
            queue.put_nowait(chunk)
            await queue.join()  # so that no chunk is made before the previous one was sent
    finally:
        if hasattr(source, "aclose"):
            await source.aclose()


async def _on_a_thread(chunks: Iterable[Chunk], on_thread: OnThread) -> AsyncIterator[Chunk]:
    source = iter(chunks)
    reading: asyncio.Future[Any] | None = None
    try:
        while True:
            if event_loops.runs_on_trio():
                chunk: Any = await on_thread(next, source, _END)
            else:
                reading = asyncio.ensure_future(on_thread(next, source, _END))
                chunk = await asyncio.shield(reading)
            if chunk is _END:
                return
            yield chunk
    finally:
        if reading is not None:
            await asyncio.wait([reading])  # a thread cannot be cancelled, and a running generator cannot be closed
        if hasattr(chunks, "close"):
            await on_thread(chunks.close)
