"""Endpoint classes behind a guard, with their subclasses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.types import Receive, Scope, Send

from rolecall.http.adapter import guard_awaited

if TYPE_CHECKING:
    from .guards import Guard


def guard_class(guard: Guard, endpoint: type[Any]) -> None:
    """Put a guard around an endpoint class, so that it checks each connection first."""

    async def serve(instance: Any, run: Callable[[], Awaitable[None]]) -> None:
        async def run_on(scope: Scope, receive: Receive, send: Send) -> None:
            instance.scope, instance.receive, instance.send = scope, receive, send
            await run()

        await guard.serve(run_on, instance.scope, instance.receive, instance.send)

    guard_awaited(endpoint, serve)
