"""The kit's own routes, and the view of a kit that all HTTP code has."""

from __future__ import annotations

from functools import partial

from ...engine import Call, Credential, Engine
from ...errors import RolecallError
from ...request import Request
from ..credentials import Credentials
from ..web import Web
from .sdk_credentials import ServerCredentials


class Api:
    """A kit at the edge of HTTP: its engine, and its rules for browsers and servers. Adapters hold one.

    :param engine: decides.
    :param web: the rights of browsers.
    :param credentials: finds the token of a request.
    :param servers: verifies the credentials of servers.
    """

    __slots__ = ("credentials", "decides_at_once", "engine", "servers", "web")

    def __init__(self, engine: Engine, web: Web, credentials: Credentials, servers: ServerCredentials) -> None:
        self.engine = engine
        self.web = web
        self.credentials = credentials
        self.servers = servers
        #: Whether the token in the header, and the engine's ``check_token``, alone decide who enters a guarded route.
        self.decides_at_once = engine.decides_at_once and web.header_alone

    async def tell(self, error: RolecallError, request: Request) -> None:
        """Tell the plugins of a request that was refused before its session was known."""
        await self.engine.tell_of_refusal(error, None, Call(request))

    def credential_of(self, request: Request) -> Credential:
        """Make a function that finds the token of a request when called."""
        return partial(self.credentials.find, request)
