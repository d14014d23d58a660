"""The remote service, for sync code."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Final, TypeVar

from ..clock import system_clock
from ..driver import BackgroundLoop
from ..keys.issuers import project_of
from ..kit.facade import P, Result, derived
from ..media.opentok.service import AsyncRemoteService
from ..media.opentok.transport import CALL_TIME, OPENTOK, RETRIES, Transport

_Service = TypeVar("_Service", bound="RemoteService")

# Beyond a call's own time-out, which ends it first.
_GRACE: Final = 5.0


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
        of it is for making a connection.
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
        timeout: float = CALL_TIME,
        retries: int = RETRIES,
        proxy: str | None = None,
        clock: Callable[[], float] = system_clock,
    ) -> None:
        try:
            project = project_of(api_key, api_secret)
            transport = Transport(project, api_url, timeout=timeout, retries=retries, proxy=proxy, clock=clock)
        finally:
            del api_key, api_secret, api_url, proxy  # so that no frame of a traceback holds them
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
