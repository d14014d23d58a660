"""The remote service, for sync code and for async code."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Concatenate, Final, TypeVar

from ..clock import system_clock
from ..driver import BackgroundLoop
from ..errors import ConfigurationError, InvalidKey
from ..keys.issuers import credentials_of
from ..kit.facade import P, Result, derived
from ..moderation import ForceDisconnect, ListConnections, ListStreams, MuteAll, MuteStream, Signal
from ..sessions import ArchiveMode, ArchiveModeName, MediaMode, MediaModeName, SessionProperties
from ..wording import shown, shown_key
from . import calls
from .transport import Transport

_Service = TypeVar("_Service", bound="RemoteService")

#: The address of the service that the published SDKs use.
OPENTOK: Final = "https://api.opentok.com"
_MAX_TIMEOUT: Final = 300
_MAX_RETRIES: Final = 10
# Beyond a call's own time-out, which ends it first.
_GRACE: Final = 5.0


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


def _in_the_background(
    method: Callable[Concatenate[AsyncRemoteService, P], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[RemoteService, P], Result]:
    """The sync form of a call."""

    def call(self: RemoteService, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self._run(method(self.aio, *args, **kwargs))

    return derived(call, method)


class RemoteService:
    """Sessions and moderation at a remote OpenTok-compatible service.

    Each call has its own connection and credential, so one instance serves all threads, event loops and forked workers.
    The sync methods run the async ones on an event loop in the background, because only there the time of a whole call,
    including name resolution, can be limited.

    :param api_key: the project's API key at the service.
    :param api_secret: the project's API secret at the service.
    :param api_url: the URL of the service: scheme, host, and a path if its routes are below one.
    :param timeout: the time of a whole call in seconds, including repetitions and pauses; above 0 and up to 300. Half
        of it is for making a connection. In a kit's plugin it must be below the kit's ``hook_timeout``, so that the
        service's own error comes first.
    :param retries: how often a call is repeated if that is safe, 0 to 10. Calls that only read, and the creation of a
        session, are repeated after most failures; all others only if the request cannot have been sent.
    :param proxy: the URL of a proxy, ``http://user:password@host:port``; unless given, the environment's
        (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).
    :param clock: returns now, in Unix seconds.
    :raises ConfigurationError: says which argument is wrong; also if httpx is not installed.
    """

    def __init__(
        self,
        api_key: str,
        api_secret: str | bytes,
        api_url: str = OPENTOK,
        *,
        timeout: float = 4.0,
        retries: int = 2,
        proxy: str | None = None,
        clock: Callable[[], float] = system_clock,
    ) -> None:
        try:
            project = None if api_secret is None else credentials_of(api_key, api_secret, None, None)[0]
            if project is None:
                raise InvalidKey("the project's api_secret is missing")
            _check_numbers(timeout, retries)
            if not callable(clock):
                raise ConfigurationError(f"clock is {shown(clock)}; expected a function that returns Unix seconds")
            transport = Transport(project, api_url, timeout=timeout, retries=retries, proxy=proxy, clock=clock)
        finally:
            del api_secret, api_url, proxy  # so that no frame of a traceback holds them
        #: The same methods for async code: ``await service.aio.create_session()``.
        self.aio = AsyncRemoteService(project.id, transport)
        self._background = BackgroundLoop()
        #: The time of a whole call in seconds.
        self.timeout = timeout

    @property
    def api_key(self) -> str:
        """The project's API key."""
        return self.aio.api_key

    @property
    def api_url(self) -> str:
        """The URL of the service."""
        return self.aio.api_url

    create_session = _in_the_background(AsyncRemoteService.create_session)
    signal = _in_the_background(AsyncRemoteService.signal)
    force_disconnect = _in_the_background(AsyncRemoteService.force_disconnect)
    mute_stream = _in_the_background(AsyncRemoteService.mute_stream)
    mute_all = _in_the_background(AsyncRemoteService.mute_all)
    list_streams = _in_the_background(AsyncRemoteService.list_streams)
    list_connections = _in_the_background(AsyncRemoteService.list_connections)

    def close(self) -> None:
        """Stop the event loop in the background. The next call starts it again."""
        self._background.close()

    def __enter__(self: _Service) -> _Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        view = getattr(self, "aio", None)
        return "<RemoteService, not made yet>" if view is None else repr(view).removesuffix(".aio")

    def _run(self, call: Coroutine[Any, Any, Result]) -> Result:
        return self._background.run(call, self.timeout + _GRACE)


def _check_numbers(timeout: object, retries: object) -> None:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= _MAX_TIMEOUT:
        raise ConfigurationError(f"timeout is {shown(timeout)}; expected seconds, above 0 and up to {_MAX_TIMEOUT}")
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= _MAX_RETRIES:
        raise ConfigurationError(f"retries is {shown(retries)}; expected 0 to {_MAX_RETRIES}")
