"""A plugin that keeps the sessions of a client's kit at the service of its ``api_url``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..hookspecs import ModerationRequest, SessionRequest, hookimpl
from .kits import is_private_key

if TYPE_CHECKING:
    from ..connector import AsyncRemoteService


class Remote:
    """Creates sessions at the service, and moderates them there.

    It is what a media backend does, for a kit with one project, the client's, and with a proxy that can change.

    :raises ConfigurationError: says which argument is wrong, as the connector does.
    """

    name = "rolecall.opentok"

    def __init__(self, api_key: Any, api_secret: Any, api_url: str, timeout: float | None) -> None:
        self._api_key = api_key
        self._api_secret = api_secret
        self._api_url = api_url
        self._options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        is_application = is_private_key(api_key, api_secret)
        del api_secret
        if is_application:
            raise ConfigurationError(
                "api_url is for a project's API key and secret; with an application's id and private key leave it out: "
                "its tokens need no service"
            )
        self._service = self._reached_by(None)

    @hookimpl
    async def rolecall_create_session(self, request: SessionRequest) -> str:
        from ..media.opentok.service import create_at

        return await create_at(self._service, request.properties)

    @hookimpl
    def rolecall_media_service(self, request: ModerationRequest) -> AsyncRemoteService:
        return self._service

    def use(self, proxies: Mapping[str, str] | str | None) -> None:
        """Reach the service through these proxies from now on."""
        self._service = self._reached_by(_proxy(self._api_url, proxies))

    def _reached_by(self, proxy: str | None) -> AsyncRemoteService:
        from ..connector import RemoteService  # it needs httpx, which is optional

        # Its calls leave no connection open, so the old one need not be closed.
        return RemoteService(self._api_key, self._api_secret, self._api_url, proxy=proxy, **self._options).aio


def _proxy(api_url: str, proxies: Mapping[str, str] | str | None) -> str | None:
    """The proxy for the service, chosen as ``requests`` does."""
    if proxies is None or isinstance(proxies, str):
        return proxies
    url = urlsplit(api_url)
    names = (f"{url.scheme}://{url.hostname}", url.scheme, f"all://{url.hostname}", "all")
    return next((proxies[name] for name in names if name in proxies), None)
