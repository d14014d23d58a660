"""What an endpoint leaves open behind a guard: WebSockets whose grant is renewed."""

from __future__ import annotations

from starlette.websockets import WebSocket

from rolecall import Grant
from rolecall.http.asgi import SOCKET
from rolecall.http.websockets import GuardedSocket


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
