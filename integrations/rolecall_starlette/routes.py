"""The kit's routes as Starlette's own."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Router
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from rolecall import Rolecall
from rolecall.errors import ConfigurationError, RolecallError
from rolecall.http.adapter import ROUTES, Route, mark_own, refused, respond, shown
from rolecall.http.gateways.asgi import not_found, read_body, send_response

from .kits import check_once
from .translation import neutral_request, starlette_response


def rolecall_app(kit: Rolecall, routes: Iterable[Route] | None = None) -> ASGIApp:
    """The routes of ``kit`` as an app: ``Mount("/video", app=rolecall_app(kit), name="video")``.

    Their names are those of the kit's routes: ``request.url_for("video:sessions")``.

    :param routes: the routes; all of them unless given. ``SDK_ROUTES`` are those that the OpenTok SDKs call.
    """
    return Router(_routes(kit, "", routes), redirect_slashes=False, default=not_found)


def rolecall_routes(kit: Rolecall, name: str = "rolecall", routes: Iterable[Route] | None = None) -> list[BaseRoute]:
    """The routes of ``kit``, for a list of your own: ``routes=[*rolecall_routes(kit), Route(…)]``.

    :param name: the beginning of their names: ``request.url_for("rolecall.sessions")``; two kits in one app need two.
    :param routes: the routes; see :func:`rolecall_app`.
    """
    return _routes(kit, f"{name}.", routes)


async def problem_response(_: Request, error: Exception) -> Response:
    """The answer for an error of the kit, for an app whose own endpoints call the kit.

    ``Starlette(exception_handlers={RolecallError: problem_response})`` answers as the kit's routes do.
    """
    if not isinstance(error, RolecallError):
        raise error
    return starlette_response(refused(error))


def _routes(kit: Rolecall, prefix: str, routes: Iterable[Route] | None) -> list[BaseRoute]:
    if not isinstance(kit, Rolecall):
        raise ConfigurationError(f"the routes are those of a Rolecall(…), not of {shown(kit)}")
    return [
        (OpenEndedRoute if route.is_open_ended else StarletteRoute)(
            route.path, KitEndpoint(kit, route), name=f"{prefix}{route.name}", include_in_schema=False
        )
        for route in (ROUTES if routes is None else routes)
    ]


class OpenEndedRoute(StarletteRoute):
    """A route whose last part, ``rest``, is the rest of the path: not empty, and without a slash at its beginning."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a scope for Starlette's router."""
        return ends_in_rest(super().matches(scope))


def ends_in_rest(matched: tuple[Match, Scope]) -> tuple[Match, Scope]:
    """Refuse a match whose ``rest`` of the path is empty, or begins with a slash; Starlette's pattern accepts both."""
    match, found = matched
    if match is not Match.NONE and found["path_params"].get("rest", "rest")[:1] in ("", "/"):
        return Match.NONE, {}
    return matched


class KitEndpoint:
    """The endpoint of one of the kit's routes, for all methods."""

    def __init__(self, kit: Rolecall, route: Route) -> None:
        self.kit = kit
        self._route = route
        mark_own(self, route, kit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "app" in scope:
            check_once(scope["app"])
        api = self.kit.aio.api

        async def read(longest: int) -> bytes:
            return await read_body(scope, receive, api.web.body_timeout, longest)

        response = await respond(api, self._route, neutral_request(scope), read)
        await send_response(response, scope, send)
