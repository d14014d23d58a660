"""Runs hooks where Django's ORM has the connection of the request: on the request's own thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, sync_to_async

from rolecall.http.adapter import AppPool, InlineDriver, LoopDriver

Result = TypeVar("Result")


class RequestsThreadDriver(InlineDriver):
    """Blocks the request's thread. Its hooks run there, too: an answer that comes too late is refused."""

    async def run(self, purpose: str, deadline: float, function: Callable[..., Result], *args: Any) -> Result:
        """See :class:`~rolecall.driver.Driver`."""
        if isinstance(purpose, AppPool):
            return function(*args)
        return await super().run(purpose, deadline, function, *args)

    async def wait(self, awaitable: Awaitable[Result], deadline: float, purpose: str | None = None) -> Result:
        """See :class:`~rolecall.driver.Driver`."""
        if purpose is not None:  # the store, whose connections belong to one event loop
            return await super().wait(awaitable, deadline, purpose)

        async def within() -> Result:
            async with asyncio.timeout(deadline):
                return await awaitable

        # What it runs by sync_to_async, such as the ORM, comes back to this thread.
        result: Result = async_to_sync(within)()
        return result


class RequestsLoopDriver(LoopDriver):
    """Never blocks the event loop. Hooks that are no ``async def`` run on the request's thread."""

    hooks_block = True

    async def run(self, purpose: str, deadline: float, function: Callable[..., Result], *args: Any) -> Result:
        """See :class:`~rolecall.driver.Driver`."""
        if not isinstance(purpose, AppPool):
            return await super().run(purpose, deadline, function, *args)
        async with asyncio.timeout(deadline):
            return await sync_to_async(function, thread_sensitive=True)(*args)
