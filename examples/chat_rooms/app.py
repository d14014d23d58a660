"""Chat rooms that any OpenTok SDK can open and moderate: the app carries signals itself, over WebSockets.

It needs ``pip install -e ".[starlette]" "uvicorn[standard]"``. Run it with
``uvicorn --app-dir examples/chat_rooms --factory app:create_app``; ``ROLECALL_API_KEY`` and ``ROLECALL_API_SECRET``
must be set. A backend in any language gives its SDK the same key and secret and this server's URL, and then creates
rooms, mints tokens, sends signals and ends connections as it would at the service. The rooms are in memory, so this is
for one process.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from rolecall import ModerationRequest, Rolecall, RolecallError, hookimpl
from rolecall.errors import InsufficientRole, NotFoundAtService
from rolecall_starlette import current_grant, require_token, rolecall_routes


class ChatRooms:
    """The media service: it delivers signals, and ends connections. There are no streams to mute, so that is a 501."""

    def __init__(self) -> None:
        self._rooms: defaultdict[str, dict[str, WebSocket]] = defaultdict(dict)

    @hookimpl
    def rolecall_media_service(self, request: ModerationRequest) -> ChatRooms:
        return self

    async def signal(self, session_id: str, type: str, data: str, connection_id: str | None = None) -> None:
        """Send a signal to one connection, or to all that are there."""
        if connection_id is None:
            receivers = list(self._rooms[session_id].values())
        else:
            receivers = [self._connection(session_id, connection_id)]
        for websocket in receivers:
            await websocket.send_json({"type": type, "data": data})

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """End a connection."""
        await self._connection(session_id, connection_id).close(4403, "a moderator ended the connection")

    async def welcome(self, websocket: WebSocket) -> str:
        """Let somebody in, and tell them and the others of their connection."""
        session_id, connection_id = websocket.path_params["session_id"], str(uuid4())
        await websocket.accept()
        self._rooms[session_id][connection_id] = websocket
        await self.signal(
            session_id, "joined", json.dumps({"id": connection_id, "data": current_grant(websocket).data})
        )
        return connection_id

    def forget(self, session_id: str, connection_id: str) -> None:
        """Somebody has left."""
        self._rooms[session_id].pop(connection_id, None)
        if not self._rooms[session_id]:
            del self._rooms[session_id]

    def _connection(self, session_id: str, connection_id: str) -> WebSocket:
        websocket = self._rooms.get(session_id, {}).get(connection_id)
        if websocket is None:
            raise NotFoundAtService("nobody has this connection")
        return websocket


def create_app(**options: Any) -> Starlette:
    """The app.

    :param options: arguments of the kit that win over the environment.
    """
    rooms = ChatRooms()
    kit = Rolecall.from_env(plugins=[rooms], **options)

    @require_token
    async def room(websocket: WebSocket) -> None:
        """What a participant says is a signal to all, if their token allows signals."""
        grant = current_grant(websocket)
        connection_id = await rooms.welcome(websocket)
        try:
            while True:
                text = await websocket.receive_text()
                try:
                    if not grant.allows("signal"):
                        raise InsufficientRole(
                            f"capability:signal is required; the token's role is {grant.role}", "capability:signal"
                        )
                    await kit.aio.signal(grant.session_id, "chat", text)
                except RolecallError as error:
                    await websocket.send_json({"type": "refused", "code": error.code, "data": error.public_message})
        except WebSocketDisconnect:
            pass
        finally:
            rooms.forget(grant.session_id, connection_id)

    # At the root, where all SDKs find what they call.
    return Starlette(routes=[*rolecall_routes(kit), WebSocketRoute("/rooms/{session_id}", room)])
