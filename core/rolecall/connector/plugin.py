"""A plugin that keeps a kit's sessions at a remote service, so that an app can move there by configuration alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ..errors import ConfigurationError
from ..hookspecs import ModerationRequest, SessionRequest, hookimpl
from ..kit.environment import read_environment
from .service import AsyncRemoteService, RemoteService

if TYPE_CHECKING:
    from ..kit import Rolecall

_OPTIONS: Final = ("api_url", "timeout", "retries", "proxy")


class RemoteSessions:
    """Creates sessions at a remote service, and moderates them there: ``plugins=[RemoteSessions()]``, or
    ``rolecall.connector:RemoteSessions`` in ``ROLECALL_PLUGINS``.

    Its configuration, ``plugin_config={"remote_sessions": {"api_url": "https://…"}}`` or
    ``ROLECALL_PLUGIN_REMOTE_SESSIONS``, has ``api_url``, ``timeout`` (seconds), ``retries`` and ``proxy`` as
    :class:`RemoteService` takes them. Key and secret are the kit's: the secret is read from ``ROLECALL_API_SECRET``, or
    from the file whose path is in ``ROLECALL_API_SECRET_FILE``.

    :param service: the service to use, instead of the configuration.
    :param name: the plugin's name; a second one in a kit, for another project's service, needs another name.
    """

    def __init__(self, service: RemoteService | None = None, name: str = "remote_sessions") -> None:
        #: The name of the plugin and of its configuration.
        self.name = name
        self._is_configured = service is None
        self._service = service

    @hookimpl
    def rolecall_startup(self, kit: Rolecall) -> None:
        if self._is_configured:
            self._service = self._made(kit)
        service = self._service
        assert service is not None
        if service.api_key not in kit.api_keys:
            raise ConfigurationError(
                f"the service is for the API key {service.api_key!r}; the kit's are {', '.join(kit.api_keys)}"
            )
        if service.timeout >= kit.hook_timeout:
            raise ConfigurationError(
                f"the service's timeout, {service.timeout:g} s, is not below the kit's hook_timeout, "
                f"{kit.hook_timeout:g} s, so its own error would come too late; pass Rolecall(hook_timeout=…)"
            )

    def _made(self, kit: Rolecall) -> RemoteService:
        """Make the service from the kit's configuration."""
        if self._service is not None:
            raise ConfigurationError("this RemoteSessions is another kit's already; make one for each kit")
        config = kit.plugin_config(self.name)
        unknown = sorted(set(config) - set(_OPTIONS))
        if unknown or "api_url" not in config:
            wrong = f"has {unknown[0]!r}" if unknown else "has no api_url"
            raise ConfigurationError(f"the configuration of {self.name} {wrong}; it takes {', '.join(_OPTIONS)}")
        secret = read_environment(os.environ).get("api_secret")
        if secret is None:
            raise ConfigurationError(
                "the environment variable ROLECALL_API_SECRET is not set; or pass RemoteSessions(RemoteService(…))"
            )
        try:
            return RemoteService(kit.api_key, secret, **config)
        finally:
            del secret, config  # a proxy's URL may hold a password

    @hookimpl
    async def rolecall_create_session(self, request: SessionRequest) -> str | None:
        assert self._service is not None
        if request.api_key != self._service.api_key:
            return None
        return await create_at(self._service.aio, request)

    @hookimpl
    def rolecall_media_service(self, request: ModerationRequest) -> AsyncRemoteService | None:
        assert self._service is not None
        return self._service.aio if request.api_key == self._service.api_key else None


async def create_at(service: AsyncRemoteService, request: SessionRequest) -> str:
    """Create a session with the requested properties at ``service``, and return its id."""
    properties = request.properties.as_dict()
    del properties["media"]  # which of this kit's media services is no concern of the remote one
    return await service.create_session(**properties)
