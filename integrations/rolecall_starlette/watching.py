"""What an endpoint leaves open behind a guard: streams that end with their grant, WebSockets whose grant is renewed."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from rolecall import Grant
from rolecall.http import adapter
from rolecall.http.adapter import SOCKET, GuardedSocket, watches_of

from .translation import neutral_request

Chunk = TypeVar("Chunk")


def while_granted(request: HTTPConnection, chunks: AsyncIterable[Chunk] | Iterable[Chunk]) -> AsyncIterator[Chunk]:
    """Hand out ``chunks`` for as long as the grant of a guarded request stands: what a ``StreamingResponse`` sends.

    The grant is looked at every ``Web(recheck=…)`` seconds, and when it expires; the policies are asked again. Once it
    has ended no chunk is handed out any more, and ``chunks`` is closed.

    :param chunks: what is to be sent. A plain iterable runs on a worker thread, and is stopped when its next chunk
        comes; an asynchronous one at once.
    :raises RuntimeError: where there is no grant.
    """
    watches = watches_of(request.scope, neutral_request(request.scope, request))
    return adapter.while_granted(watches, chunks, run_in_threadpool)


async def renew_grant(websocket: WebSocket, token: str) -> Grant:
    """Put the grant of another token in the place of an open WebSocket's, which so stays open beyond its expiry.

    The token is verified like the first one: it must be for the same session, carry the same connection data, and be
    enough for each guard of the WebSocket; the policies are asked.

    :param token: the token, as the client has sent it in a message of the app's own.
    :returns: the new grant, which from now on is ``current_grant(websocket)``.
    :raises RolecallError: if the token is refused, or the WebSocket is closed already. The grant stays what it was.
    :raises RuntimeError: where there is no grant.
    """
    socket: GuardedSocket | None = websocket.scope.get(SOCKET)
    if socket is None:
        raise RuntimeError(
            "there is no grant here: renew_grant needs a WebSocket behind require_role, require_capability, "
            "require_token or protect"
        )
    return await socket.renew(token)
