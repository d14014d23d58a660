"""The kit's routes in front of an ASGI app of any framework."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from rolecall import Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import ROUTES, Route, checked_prefix, find_route, respond, shown
from rolecall.http.gateways.asgi import neutral_request, read_body, send_response


class RolecallMiddleware:
    """Answers the kit's routes under ``prefix``, and passes everything else on, WebSockets and the lifespan included.

    For apps of frameworks without mounts, or whose mounts hide the lifespan; in Starlette mount ``rolecall_app(kit)``.

    :param app: the app behind it.
    :param prefix: the beginning of the kit's routes: ``"/video"``, or ``""`` for none.
    :param routes: the routes; all of them unless given. ``SDK_ROUTES`` are those that the OpenTok SDKs call.
    :raises ConfigurationError: for an invalid argument.
    """

    def __init__(
        self, app: ASGIApp, kit: Rolecall, prefix: str = "/video", routes: Iterable[Route] | None = None
    ) -> None:
        if not callable(app) or isinstance(app, type):
            raise ConfigurationError(f"RolecallMiddleware goes around an ASGI app, not {shown(app)}")
        if not isinstance(kit, Rolecall):
            raise ConfigurationError(f"RolecallMiddleware takes a Rolecall(…), not {shown(kit)}")
        self.app = app
        self.kit = kit
        self.prefix = checked_prefix(prefix)
        self.routes = ROUTES if routes is None else tuple(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = neutral_request(scope, "starlette")
        found = None
        if request.route.startswith(self.prefix):
            found = find_route(self.routes, request.route[len(self.prefix) :])
        if found is None:
            await self.app(scope, receive, send)
            return
        route, params = found
        api = self.kit.aio.api

        async def read(longest: int) -> bytes:
            return await read_body(scope, receive, api.web.body_timeout, longest)

        response = await respond(api, route, request._replace(path_params=params), read)
        await send_response(response, scope, send)
