"""Answers that stream for as long as their grant stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias, TypeVar

from ...driver import drive, event_loops
from .watching import Watch, stand

Chunk = TypeVar("Chunk")
#: Calls a function on a worker thread: ``asyncio.to_thread``, ``run_in_threadpool``.
OnThread: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]

_END: Final = object()
_NOTHING: Final = object()


def while_granted_inline(watches: Sequence[Watch], chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Hand out ``chunks`` for as long as the grants of a request stand, which are looked at when a chunk comes."""
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
    """Hand out ``chunks`` for as long as the grants of a request stand; then stop, also between two chunks.

    On trio's event loop it stops when the next chunk comes: there a generator must hold no task of its own.

    :param chunks: a plain iterable runs on a worker thread, and is stopped when its next chunk comes.
    :param on_thread: calls a function with its arguments on a worker thread of the framework's.
    """
    if not isinstance(chunks, AsyncIterable):
        chunks = _on_a_thread(chunks, on_thread)
    if event_loops.runs_on_trio():
        async for chunk in _looked_at(watches, chunks):
            yield chunk
        return
    queue: asyncio.Queue[Any] = asyncio.Queue()
    # A task of its own: a generator may hold a time-out or a task group open from one chunk to the next.
    pumping = asyncio.create_task(_pump(chunks, queue))
    pumping.add_done_callback(lambda _: queue.put_nowait(_END))
    try:
        while True:
            came: Any = _NOTHING
            with suppress(TimeoutError):
                async with asyncio.timeout(min(watch.due for watch in watches)):
                    came = await queue.get()
            if not await stand(watches, Watch.look_in_time):
                return
            if came is _END:
                await pumping  # raises what the chunks ended with
                return
            if came is not _NOTHING:
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
            await queue.join()  # no chunk is made before the one before it was sent
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
            await asyncio.wait([reading])  # a thread cannot be cancelled, nor a generator be closed while it runs
        if hasattr(chunks, "close"):
            await on_thread(chunks.close)
