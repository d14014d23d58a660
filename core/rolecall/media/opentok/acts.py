"""Acts in the sessions of a media backend, each at the project or application that the session's id names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...errors import NotFoundAtService
from ...moderation import Connections, Streams
from ...session_ids import key_in
from .service import AsyncRemoteService


class Acts:
    """Acts in sessions; the ids of connections and streams are the service's.

    There is no ``disconnect_actor``: the service lists connections without telling whose they are.

    :param services: the service, by the ids of its projects or applications.
    """

    def __init__(self, services: Mapping[str, AsyncRemoteService]) -> None:
        self._services = services

    async def signal(self, session_id: str, type: str, data: str, connection_id: str | None = None) -> None:
        """See :meth:`AsyncRemoteService.signal`."""
        await self._of(session_id).signal(session_id, type, data, connection_id)

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """See :meth:`AsyncRemoteService.force_disconnect`."""
        await self._of(session_id).force_disconnect(session_id, connection_id)

    async def mute_stream(self, session_id: str, stream_id: str) -> None:
        """See :meth:`AsyncRemoteService.mute_stream`."""
        await self._of(session_id).mute_stream(session_id, stream_id)

    async def mute_all(self, session_id: str, active: bool = True, excluded_stream_ids: Iterable[str] = ()) -> None:
        """See :meth:`AsyncRemoteService.mute_all`."""
        await self._of(session_id).mute_all(session_id, active, excluded_stream_ids)

    async def list_streams(self, session_id: str) -> Streams:
        """See :meth:`AsyncRemoteService.list_streams`."""
        return await self._of(session_id).list_streams(session_id)

    async def list_connections(self, session_id: str) -> Connections:
        """See :meth:`AsyncRemoteService.list_connections`."""
        return await self._of(session_id).list_connections(session_id)

    async def end_session(self, session_id: str) -> None:
        """End the connections that there are, one by one: the service itself has no end of a session."""
        service = self._of(session_id)
        try:
            connections = await service.list_connections(session_id)
        except NotFoundAtService:
            return
        for connection in connections:
            try:
                await service.force_disconnect(session_id, connection["connectionId"])
            except NotFoundAtService:
                continue

    def _of(self, session_id: str) -> AsyncRemoteService:
        service = self._services.get(key_in(session_id) or "")
        if service is None:
            raise NotFoundAtService("the session is of none of the projects at the media service")
        return service
