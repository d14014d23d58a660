"""The end of an app, at which its kit is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from rolecall import Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import shown

from .kits import check_at_start

#: An app's lifespan: a function from the app to what is open while it runs.
Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def rolecall_lifespan(kit: Rolecall, lifespan: Lifespan | None = None) -> Lifespan:
    """Make a lifespan that closes ``kit`` when the app stops: ``FastAPI(lifespan=rolecall_lifespan(kit))``.

    An app in which a route with a guard is open by mistake does not start.

    :param lifespan: the app's own, which runs within: the kit is open until it has ended.
    """
    if not isinstance(kit, Rolecall):
        raise ConfigurationError(f"rolecall_lifespan takes a Rolecall(…), not {shown(kit)}")

    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[Any]:
        async with kit.aio:
            check_at_start(app)
            if lifespan is None:
                yield
            else:
                async with lifespan(app) as state:
                    yield state

    return run
