"""What a guard costs a request in aiohttp, Litestar and Falcon: ``python tests/benchmarks/frameworks.py``.

Apps are called directly, without a server between. Where a bare request takes a few microseconds, the time that the
guard adds says more than the ratio.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import falcon
import falcon.asgi
import litestar
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from litestar.params import FromPath
from litestar.security.jwt import JWTAuth, Token
from measuring import Table, Times, show, target
from multidict import CIMultiDict, CIMultiDictProxy
from peers import SECRET
from web import BARE, FIRST, SEEN, Room, asgi_call, wsgi_call

import rolecall_aiohttp
import rolecall_starlette
import rolecall_wsgi
from rolecall.driver import drive


def aiohttp_handlers(rounds: int) -> None:
    room = Room()

    async def bare(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    @rolecall_aiohttp.require_role("moderator")
    async def guarded(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    @web.middleware
    async def empty(request: web.Request, handler: Any) -> web.StreamResponse:
        answer: web.StreamResponse = await handler(request)
        return answer

    app, behind = web.Application(), web.Application(middlewares=[empty])
    for one in (app, behind):
        rolecall_aiohttp.setup(one, room.kit, "/video")
        one.router.add_get("/bare/{session_id}", bare)
        one.router.add_get("/guarded/{session_id}", guarded)
        one.freeze()

    def call(asked: web.Application, path: str, token: Callable[[], str]) -> Callable[[], object]:
        made = make_mocked_request("GET", path, app=asked)
        parts = made._payload, made.protocol, made._payload_writer, made.task
        message = made._message

        async def once() -> None:
            # Without an event loop's turn, as the server would call it; the mocks are made once.
            raw = ((b"Authorization", b"Bearer " + token().encode()),)
            headers = CIMultiDictProxy(CIMultiDict({name.decode(): value.decode() for name, value in raw}))
            request = asked._make_request(message._replace(headers=headers, raw_headers=raw), *parts)
            answer = await asked._handle(request)
            if answer.status != 200:
                raise AssertionError(answer.status)

        return lambda: drive(once())

    table: Table = {
        BARE: call(app, f"/bare/{room.session_id}", room.seen),
        "bare, behind an empty middleware": call(behind, f"/bare/{room.session_id}", room.seen),
        SEEN: call(app, f"/guarded/{room.session_id}", room.seen),
        FIRST: call(app, f"/guarded/{room.session_id}", room.first),
    }
    times = Times(table, rounds, 200, [room.first])
    show("one aiohttp request, with making it", times, BARE)
    target("added to one seen before, µs", times.microseconds(SEEN) - times.microseconds(BARE), 6)


def litestar_handlers(rounds: int) -> None:
    room = Room()

    def moderators(app: Any) -> Any:
        return rolecall_starlette.require_role("moderator", kit=room.kit)(app)

    def empty(app: Any) -> Any:
        async def pass_on(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)

        return pass_on

    async def answer(session_id: FromPath[str]) -> str:
        return "ok"

    async def user(token: Token, connection: Any) -> str:
        return token.sub

    auth = JWTAuth[str](retrieve_user_handler=user, token_secret=SECRET)
    jwt = auth.create_token("ada")

    def app(**options: Any) -> litestar.Litestar:
        handlers = [litestar.get("/rooms/{session_id:str}")(answer)]
        return litestar.Litestar(handlers, openapi_config=None, logging_config=None, **options)

    path = f"/rooms/{room.session_id}"
    table: Table = {
        BARE: asgi_call(app(), path, room.seen),
        "bare, behind an empty middleware": asgi_call(app(middleware=[empty]), path, room.seen),
        SEEN: asgi_call(app(middleware=[moderators]), path, room.seen),
        FIRST: asgi_call(app(middleware=[moderators]), path, room.first),
        "Litestar's JWTAuth": asgi_call(app(on_app_init=[auth.on_app_init]), path, lambda: jwt),
    }
    times = Times(table, rounds, 200, [room.first])
    show("one Litestar request", times, BARE)
    added = times.microseconds(SEEN) - times.microseconds(BARE)
    target("seen before / bare", times.ratio(SEEN, BARE), 1.25)
    target(
        "added / added by JWTAuth", added / (times.microseconds("Litestar's JWTAuth") - times.microseconds(BARE)), 0.25
    )


def falcon_resources(rounds: int) -> None:
    room = Room()

    class Resource:
        def on_get(self, req: Any, resp: Any, session_id: str) -> None:
            resp.text = "ok"

    class AsyncResource:
        async def on_get(self, req: Any, resp: Any, session_id: str) -> None:
            resp.text = "ok"

    app, on_loop = falcon.App(), falcon.asgi.App()
    app.add_route("/rooms/{session_id}", Resource())
    on_loop.add_route("/rooms/{session_id}", AsyncResource())
    path, prefixes = f"/rooms/{room.session_id}", ["/rooms/{session_id}"]
    guarded = rolecall_wsgi.require_role("moderator", kit=room.kit, prefixes=prefixes)(app)
    guarded_on_loop = rolecall_starlette.require_role("moderator", kit=room.kit, prefixes=prefixes)(on_loop)
    over_asgi, over_asgi_seen = "bare, over ASGI", "Rolecall guard, over ASGI, token seen before"
    table: Table = {
        BARE: wsgi_call(app, path, room.seen),
        SEEN: wsgi_call(guarded, path, room.seen),
        over_asgi: asgi_call(on_loop, path, room.seen),
        over_asgi_seen: asgi_call(guarded_on_loop, path, room.seen),
    }
    times = Times(table, rounds, 200)
    show("one Falcon request", times, BARE)
    target("added over WSGI, µs", times.microseconds(SEEN) - times.microseconds(BARE), 6)
    target("added over ASGI, µs", times.microseconds(over_asgi_seen) - times.microseconds(over_asgi), 12)


def main(rounds: int) -> None:
    aiohttp_handlers(rounds)
    litestar_handlers(rounds)
    falcon_resources(rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="how often each row runs (60)")
    main(parser.parse_args().rounds)
