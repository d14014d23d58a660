"""Open connections of an endpoint behind a guard: streams that end with their grant, WebSockets with renewed grants."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from rolecall import Grant
from rolecall.http import adapter
from rolecall.http.adapter import SOCKET, GuardedSocket, watches_of

from .translation import Connection, neutral_request

Chunk = TypeVar("Chunk")


def while_granted(request: Connection, chunks: AsyncIterable[Chunk] | Iterable[Chunk]) -> AsyncIterator[Chunk]:
    """Yield ``chunks`` while the grant of a guarded request is live, for a ``StreamingResponse``.

    It ends when the grant expires, and as soon as this process learns that it was revoked. Every ``Web(recheck=…)``
    seconds the policies vote again. After the end no more chunks follow, and ``chunks`` is closed.

    :param chunks: the data to send. A plain iterable runs on a worker thread, and stops at its next chunk; an
        asynchronous one stops at once.
    :raises RuntimeError: if there is no grant.
    """
    watches = watches_of(request.scope, neutral_request(request.scope, request))
    return adapter.while_granted(watches, chunks, run_in_threadpool)


async def renew_grant(websocket: Connection, token: str) -> Grant:
    """Replace the grant of an open WebSocket by another token's, to keep it open beyond its expiry.

    The token is verified like the first one: it must be for the same session, carry the same connection data, and be
    sufficient for each guard of the WebSocket; the policies vote.

    :param token: the token, which the client has sent in a message of the app's own.
    :returns: the new grant, which from now on is ``current_grant(websocket)``.
    :raises RolecallError: if the token is refused, or the WebSocket is closed already. The grant is unchanged then.
    :raises RuntimeError: if there is no grant.
    """
    socket: GuardedSocket | None = websocket.scope.get(SOCKET)
    if socket is None:
        raise RuntimeError(
            "there is no grant here: renew_grant needs a WebSocket behind require_role, require_capability, "
            "require_token or protect"
        )
    return await socket.renew(token)
