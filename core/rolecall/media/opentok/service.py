"""The methods of a remote OpenTok-compatible service, for async code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...moderation import ForceDisconnect, ListConnections, ListStreams, MuteAll, MuteStream, Signal
from ...sessions import ArchiveMode, ArchiveModeName, MediaMode, MediaModeName, SessionProperties
from ...wording import shown_key
from . import calls
from .transport import Transport


class AsyncRemoteService:
    """The methods of a :class:`RemoteService` for async code; it is the service's ``aio``."""

    def __init__(self, api_key: str, transport: Transport) -> None:
        #: The project's API key.
        self.api_key = api_key
        self._transport = transport

    @property
    def api_url(self) -> str:
        """The URL of the service."""
        return self._transport.api_url

    async def create_session(
        self,
        location: str | None = None,
        media_mode: MediaMode | MediaModeName = MediaMode.RELAYED,
        archive_mode: ArchiveMode | ArchiveModeName = ArchiveMode.MANUAL,
        e2ee: bool = False,
        *,
        archive_name: str | None = None,
        archive_resolution: str | None = None,
    ) -> str:
        """Create a session, and return its id.

        :param location: an IP address near its participants, as a hint.
        :param media_mode: ``"relayed"`` or ``"routed"``.
        :param archive_mode: ``"manual"``, or ``"always"`` (needs ``"routed"``).
        :param e2ee: encrypt media from end to end (needs ``"routed"``).
        :param archive_name: the name of its archives, 1 to 80 characters (needs ``archive_mode="always"``).
        :param archive_resolution: the resolution of its archives, such as ``"1280x720"``.
        :raises InvalidSessionOption: for a property that does not exist, or conflicts with another.
        :raises ServiceFault: a subclass that says why the service did not do it.
        """
        properties = SessionProperties(location, media_mode, archive_mode, e2ee, archive_name, archive_resolution)  # type: ignore[arg-type]
        return await self._transport.send(calls.create_session(properties))

    async def signal(self, session_id: str, type: str = "", data: str = "", connection_id: str | None = None) -> None:
        """Send a signal to the connections of a session.

        :param type: the signal's type, at most 128 bytes of UTF-8.
        :param data: its content, at most 8,192 bytes of UTF-8.
        :param connection_id: the only connection that gets it; all do unless given.
        :raises InvalidRequest: for an argument that is wrong.
        :raises NotFoundAtService: if there is no such session or connection.
        :raises ServiceFault: a subclass that says why the service did not do it.
        """
        await self._transport.send(calls.signal(self.api_key, Signal(session_id, type, data, connection_id)))

    async def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """End a connection to a session.

        :raises InvalidRequest: for an argument that is wrong.
        :raises NotFoundAtService: if there is no such connection.
        :raises ServiceFault: a subclass that says why the service did not do it.
        """
        await self._transport.send(calls.force_disconnect(self.api_key, ForceDisconnect(session_id, connection_id)))

    async def mute_stream(self, session_id: str, stream_id: str) -> None:
        """Mute the audio of a stream.

        :raises InvalidRequest: for an argument that is wrong.
        :raises NotFoundAtService: if there is no such stream.
        :raises ServiceFault: a subclass that says why the service did not do it.
        """
        await self._transport.send(calls.mute_stream(self.api_key, MuteStream(session_id, stream_id)))

    async def mute_all(self, session_id: str, active: bool = True, excluded_stream_ids: Iterable[str] = ()) -> None:
        """Mute the audio of all streams of a session, future ones included; or stop doing so.

        :param active: False to stop: future streams are not muted.
        :param excluded_stream_ids: streams that are not muted.
        :raises InvalidRequest: for an argument that is wrong.
        :raises NotFoundAtService: if there is no such session.
        :raises ServiceFault: a subclass that says why the service did not do it.
        """
        await self._transport.send(calls.mute_all(self.api_key, MuteAll(session_id, active, excluded_stream_ids)))

    async def list_streams(self, session_id: str) -> list[dict[str, Any]]:
        """The streams of a session, in the service's own form; an empty list for an unknown session.

        :raises InvalidRequest: for an argument that is wrong.
        :raises ServiceFault: a subclass that says why the service did not do it.
        """
        return await self._transport.send(calls.list_streams(self.api_key, ListStreams(session_id)))

    async def list_connections(self, session_id: str) -> list[dict[str, Any]]:
        """The connections to a session, in the service's own form.

        :raises InvalidRequest: for an argument that is wrong.
        :raises NotFoundAtService: if the service has no such session, or does not list connections.
        :raises ServiceFault: a subclass that says why the service did not do it.
        """
        return await self._transport.send(calls.list_connections(self.api_key, ListConnections(session_id)))

    def __repr__(self) -> str:
        return f"<RemoteService {self.api_url!r} api_key={shown_key(self.api_key)}>.aio"


async def create_at(service: AsyncRemoteService, properties: SessionProperties) -> str:
    """Create a session with these properties at a service, and return its id."""
    wanted = properties.as_dict()
    del wanted["media"]  # which of a kit's media services is no concern of the remote one
    return await service.create_session(**wanted)
