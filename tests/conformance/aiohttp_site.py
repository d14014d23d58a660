"""The conforming site in aiohttp, which is neither WSGI nor ASGI; and the same behind its own server."""

from __future__ import annotations

import logging
import socket

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

import rolecall_aiohttp
from rolecall import Grant, Rolecall
from rolecall.testing.conformance import (
    KITS,
    METHODS,
    MOUNTED,
    Difference,
    ProtocolSite,
    Trait,
    described,
    own_guards,
    own_headers,
)

#: The most bytes of a line; by aiohttp's own 8,190 the longest tokens do not come in.
LONGEST_LINE = 32_768


@web.middleware
async def nothing_here(request: web.Request, handler) -> web.StreamResponse:
    if isinstance(request.match_info.http_exception, web.HTTPNotFound):
        return web.Response(body=b"nothing here", status=404, content_type="text/plain")
    return await handler(request)


def answer(grant: Grant | None, path: str = "") -> web.Response:
    return web.Response(body=described(grant), content_type="application/json", headers=own_headers(path))


def aiohttp_app(kit: Rolecall) -> web.Application:
    async def granted(request: web.Request) -> web.Response:
        return answer(rolecall_aiohttp.current_grant(request), request.path.removeprefix(MOUNTED))

    async def granted_inside(request: web.Request) -> web.Response:
        return answer(rolecall_aiohttp.current_grant(request))

    async def bare(request: web.Request) -> web.Response:
        return answer(None)

    def add(path: str, handler, target: web.Application) -> None:
        for method in METHODS:
            target.router.add_route(method, path, handler)

    app = web.Application(middlewares=[nothing_here])
    rolecall_aiohttp.setup(app, kit, "/video")
    rolecall_aiohttp.setup(app, kit, name="sdk", routes=rolecall_aiohttp.SDK_ROUTES)
    for path, guard in own_guards(rolecall_aiohttp).items():
        add(path, guard(granted), app)
    add("/bare", bare, app)
    inside = web.Application()
    add("/open", rolecall_aiohttp.public(bare), inside)
    add("/{session_id}", granted_inside, inside)
    app.add_subapp("/inside", rolecall_aiohttp.protect(inside))
    return app


def under_prefix(app: web.Application) -> web.Application:
    """An app as a sub-app of another one."""
    outer = web.Application()
    outer.add_subapp(MOUNTED, app)
    return outer


async def serve(app: web.Application):
    runner = web.AppRunner(app, max_field_size=LONGEST_LINE, max_line_size=LONGEST_LINE)
    await runner.setup()
    return runner.server


#: What aiohttp's parser answers by itself.
OWN = [
    Difference(Trait.UNKNOWN_METHOD, 400, why="its parser has a list of methods"),
    Difference(Trait.DOUBLED_TYPE, 400, why="its parser takes one Content-Type"),
]
site = ProtocolSite(aiohttp_app, serve, under_prefix, OWN)


def _is_no_bad_request(record: logging.LogRecord) -> bool:
    """aiohttp logs, with a traceback, what its parser has refused."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def run(descriptor: int) -> None:
    """Serve the apps of all kits, each by its host."""
    logging.getLogger("aiohttp.server").addFilter(_is_no_bad_request)
    main = web.Application()
    for name in KITS:
        app = site.app(name)
        app.add_subapp(MOUNTED, aiohttp_app(site.kit(name)))
        main.add_domain(f"{name}.example", app)

    async def control(request: web.Request) -> web.Response:
        return web.Response(body=site.control(request.path), content_type="application/json")

    main.router.add_get("/-/{name}", control)
    web.run_app(main, sock=socket.socket(fileno=descriptor), print=None)
