"""Chat rooms that any OpenTok SDK can open and moderate: the app carries signals itself, over WebSockets.

It needs ``pip install -e ".[starlette]" "uvicorn[standard]"``. Run it with
``uvicorn --app-dir examples/chat_rooms --factory app:create_app``; ``ROLECALL_API_KEY`` and ``ROLECALL_API_SECRET``
must be set. A backend in any language gives its SDK the same key and secret and this server's URL, and then creates
rooms, mints tokens, sends signals and ends connections as it would at the service. The rooms are in memory, so this is
for one process.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from rolecall import InsufficientRole, ModerationRequest, NotFoundAtService, Rolecall, RolecallError, hookimpl
from rolecall_starlette import current_grant, require_token, rolecall_routes


class ChatRooms:
    """The media service: it delivers signals, lists connections and ends them.

    There are no streams to mute, so that is a 501.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, dict[str, WebSocket]] = {}

    # Not typed as a MediaService, of which it has not all the methods.
    @hookimpl
    def rolecall_media_service(self, request: ModerationRequest) -> Any:
        return self

    async def signal(self, session_id: str, type: str, data: str, connection_id: str | None = None) -> None:
        """Send a signal to one connection, or to all that are there."""
        said = {"type": type, "data": data}
        if connection_id is not None:
            if not await _sent(self._connection(session_id, connection_id), said):
                raise NotFoundAtService("this connection has just ended")
            return
        # At one time, so that none waits for a slow one.
        await asyncio.gather(*(_sent(websocket, said) for websocket in self._rooms.get(session_id, {}).values()))

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """End a connection."""
        websocket = self._connection(session_id, connection_id)
        self.forget(session_id, connection_id)
        with suppress(RuntimeError):  # it has ended by itself
            await websocket.close(4403, "a moderator ended the connection")

    def list_connections(self, session_id: str) -> list[dict[str, Any]]:
        """Who is there, by which connection."""
        room = self._rooms.get(session_id, {})
        return [{"connectionId": connection_id, "connectionState": "Connected"} for connection_id in room]

    def enter(self, websocket: WebSocket) -> str:
        """Somebody has come; by which connection."""
        connection_id = str(uuid4())
        self._rooms.setdefault(websocket.path_params["session_id"], {})[connection_id] = websocket
        return connection_id

    def forget(self, session_id: str, connection_id: str) -> None:
        """Somebody has left."""
        room = self._rooms.get(session_id, {})
        room.pop(connection_id, None)
        if not room:
            self._rooms.pop(session_id, None)

    def _connection(self, session_id: str, connection_id: str) -> WebSocket:
        websocket = self._rooms.get(session_id, {}).get(connection_id)
        if websocket is None:
            raise NotFoundAtService("nobody has this connection")
        return websocket


async def _sent(websocket: WebSocket, said: dict[str, str]) -> bool:
    """Whether it was sent; who has left hears nothing any more, and is forgotten by their own endpoint."""
    try:
        await websocket.send_json(said)
    except (WebSocketDisconnect, RuntimeError):
        return False
    return True


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
        await websocket.accept()
        connection_id = rooms.enter(websocket)
        try:
            who = {"id": connection_id, "data": grant.data}
            await rooms.signal(grant.session_id, "joined", json.dumps(who))
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
