"""The conforming site in Starlette."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

import rolecall_starlette
from rolecall import Rolecall
from rolecall.testing.conformance import METHODS, MOUNTED, AsgiSite, described, own_guards, own_headers


def starlette_app(kit: Rolecall) -> Starlette:
    async def granted(request: Request) -> Response:
        headers = own_headers(request.scope["path"].removeprefix(MOUNTED))
        body = described(rolecall_starlette.current_grant(request))
        return Response(body, media_type="application/json", headers=headers)

    def granted_on_a_thread(request: Request) -> Response:
        return Response(described(rolecall_starlette.current_grant(request)), media_type="application/json")

    async def granted_inside(request: Request) -> Response:
        return await granted(request)

    async def bare(request: Request) -> Response:
        return Response(described(None), media_type="application/json")

    async def open_to_all(request: Request) -> Response:
        return Response(described(None), media_type="application/json")

    async def nothing(request: Request, error: Exception) -> Response:
        return Response(b"nothing here", 404, {"content-type": "text/plain"})

    endpoints = {"/me": granted_on_a_thread}
    inside = [
        Route("/open", rolecall_starlette.public(open_to_all), methods=[*METHODS]),
        Route("/{session_id}", granted_inside, methods=[*METHODS]),
    ]
    return Starlette(
        routes=[
            Mount("/video", app=rolecall_starlette.rolecall_app(kit)),
            *rolecall_starlette.rolecall_routes(kit, "sdk", routes=rolecall_starlette.SDK_ROUTES),
            *(
                Route(path, guard(endpoints.get(path, granted)), methods=[*METHODS])
                for path, guard in own_guards(rolecall_starlette).items()
            ),
            Route("/bare", bare, methods=[*METHODS]),
            rolecall_starlette.protect(Mount("/inside", routes=inside)),
        ],
        exception_handlers={404: nothing},
    )


def under_mount(app):
    """An ASGI app under the prefix, by a ``Mount`` in another app."""
    return Starlette(routes=[Mount(MOUNTED, app=app)])


site = AsgiSite(starlette_app, under_mount)
