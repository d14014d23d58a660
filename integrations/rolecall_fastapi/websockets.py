"""WebSockets behind a dependency, which are closed when their grant ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from starlette.exceptions import WebSocketException
from starlette.websockets import WebSocket, WebSocketDisconnect

from rolecall import Grant
from rolecall.errors import ConfigurationError, RolecallError
from rolecall.http.adapter import close_code, close_reason
from rolecall.http.gateways.asgi import Channel, granted
from rolecall_starlette.guards import Guard, close_unwatched
from rolecall_starlette.refusals import as_exception
from rolecall_starlette.translation import GONE

#: The key in a scope for FastAPI's stack of what is open around an endpoint and its dependencies.
STACK: Final = "fastapi_inner_astack"


async def enter(guard: Guard, websocket: WebSocket) -> Grant | None:
    """Admit a client, and watch its grant while the endpoint runs, with all dependencies that come later.

    :returns: the grant at the handshake; None if the token is optional, and there is none.
    :raises Exception: FastAPI's own, if the client is refused.
    """
    scope = websocket.scope
    stack = scope.get(STACK)
    if not isinstance(stack, AsyncExitStack):
        raise ConfigurationError(
            f"the dependency on {guard.requirement.scope} does not see how long the endpoint of {scope['path']!r} "
            "runs; put @require_role(…) below @app.websocket(…) in its place"
        )
    channel = await guard.open(websocket, websocket._receive, websocket._send)
    if channel is None:
        raise WebSocketDisconnect
    if isinstance(channel, RolecallError):
        raise _refused(websocket, channel)
    # The endpoint has this same object.
    websocket._receive, websocket._send = channel.receive, channel.send
    await stack.enter_async_context(_watched(websocket, channel))
    return granted(scope)


@asynccontextmanager
async def _watched(websocket: WebSocket, channel: Channel) -> AsyncIterator[None]:
    async with channel.open(GONE):
        yield
    await close_unwatched(websocket)


def _refused(websocket: WebSocket, error: RolecallError) -> Exception:
    if "websocket.http.response" in (websocket.scope.get("extensions") or {}):
        return as_exception(websocket.scope, error)
    return WebSocketException(close_code(error.status), close_reason(error))
