"""Immediate mode, in every framework: nothing is accepted after another process has acknowledged its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer as AiohttpServer
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from werkzeug.test import Client

import rolecall_aiohttp
import rolecall_starlette
from rolecall import Rolecall, Web
from rolecall.errors import RevokedToken, SessionEnded, StoreUnavailable
from rolecall.http.gateways.streams import while_granted_inline
from rolecall.http.gateways.watching import watches_of
from rolecall.http.guards.entries import ENTRIES
from rolecall.request import Request
from rolecall.roles import ANY_TOKEN
from rolecall.stores import open_store

from ..conformance.aiohttp_site import aiohttp_app
from ..conformance.fastapi_site import fastapi_app
from ..conformance.flask_site import flask_app
from ..conformance.starlette_site import starlette_app
from ..conformance.wsgi_site import wsgi_app
from ..postgres_servers import PROGRAMS, PostgresProcess
from ..redis_servers import PROGRAM, RedisProcess
from ..waiting import PATIENCE, known

pytestmark = pytest.mark.server

KEY, SECRET = "123456", "a secret for the tests of immediate revocation"
#: So that a follower that is held back is not late.
URL_OPTIONS = "?timeout=10&max_staleness=60"
#: The route of the WebSockets.
ROOM = "/rooms/{session_id}"


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory, stack, needed) -> str:
    needed(PROGRAM, "redis-server or valkey-server on the PATH")
    server = RedisProcess(tmp_path_factory.mktemp("redis")).start()
    stack.callback(server.stop)
    return server.url + URL_OPTIONS


@pytest.fixture(scope="module")
def postgres_url(stack, needed) -> str:
    needed(PROGRAMS, "PostgreSQL's initdb and postgres")
    server = PostgresProcess()
    stack.callback(server.remove)
    return server.start().url + URL_OPTIONS


class HeldBack:
    """A process whose follower hears of nothing, and another one on the same store.

    :param revocation: of the first one.
    """

    def __init__(self, url: str, revocation: Any) -> None:
        self._goes_on = threading.Event()
        store: Any = open_store(url)
        assert known(store, "1_any") is False
        log, is_held = store.follower._log, threading.Event()

        def hear_nothing(after: Any, wait: float) -> Any:
            is_held.set()
            self._goes_on.wait(PATIENCE)
            return (), after

        log.changes = hear_nothing
        assert is_held.wait(PATIENCE)
        self.kit = Rolecall(KEY, SECRET, store=store, revocation=revocation, web=Web(recheck=0.05))
        self.other = Rolecall(KEY, SECRET, store=url)
        self.session_id = self.other.create_session().session_id
        self.token = self.other.generate_token(self.session_id, "moderator")
        self.bearer = {"Authorization": f"Bearer {self.token}"}

    def end_elsewhere(self) -> None:
        self.other.end_session(self.session_id)

    def close(self) -> None:
        self._goes_on.set()
        self.kit.close()
        self.other.close()


@pytest.fixture
def held_back(redis_url) -> Iterator[HeldBack]:
    held_back = HeldBack(redis_url, "immediate")
    yield held_back
    held_back.close()


@pytest.mark.parametrize("revocation", ["in_step", "immediate"])
@pytest.mark.parametrize("store", ["redis_url", "postgres_url"])
def test_a_kit_asks_the_store_itself(revocation, store, request):
    held_back = HeldBack(request.getfixturevalue(store), revocation)
    kit, session_id, token = held_back.kit, held_back.session_id, held_back.token
    grant = kit.verify_token(token)
    watched: dict[str, Any] = {ENTRIES: ((kit.api, ANY_TOKEN, session_id, grant, None),)}
    streamed = while_granted_inline(watches_of(watched, Request("GET", "/")), iter(lambda: next_chunk(watched), None))
    assert next(streamed) == "chunk"

    async def in_async_code() -> list[Any]:
        return await asyncio.gather(
            kit.aio.verify_token(token),
            kit.aio.check_grant(grant, role="publisher"),
            kit.aio.generate_token(session_id),
            return_exceptions=True,
        )

    sync: list[Callable[[], object]] = [
        lambda: kit.verify_token(token),
        lambda: kit.check_grant(grant, role="publisher"),
        lambda: kit.generate_token(session_id),
    ]
    try:
        held_back.end_elsewhere()
        if revocation == "in_step":  # a follower that is not late: what it is not told of, it does not know
            assert kit.verify_token(token) == grant
            return
        for call in sync:
            with pytest.raises((RevokedToken, SessionEnded)):
                call()
        assert [type(error) for error in asyncio.run(in_async_code())] == [RevokedToken, RevokedToken, SessionEnded]
        assert not kit.explain_token(session_id).allowed
        assert not kit.explain_access(token, role="publisher").allowed
        assert list(streamed) == []
    finally:
        held_back.close()


def next_chunk(watched: dict[str, Any]) -> str:
    """A chunk of a stream, whose grant is due to be checked again by then."""
    threading.Event().wait(0.06)
    return "chunk"


def of_werkzeug(app: Any, stack: ExitStack) -> Callable[..., int]:
    client = Client(app)
    return lambda method, path, headers: client.open(path, method=method, headers=headers).status_code


def of_starlette(app: Any, stack: ExitStack) -> Callable[..., int]:
    client = TestClient(app)
    return lambda method, path, headers: client.request(method, path, headers=headers).status_code


def of_aiohttp(app: web.Application, stack: ExitStack) -> Callable[..., int]:
    runner = stack.enter_context(asyncio.Runner())
    client = AiohttpClient(AiohttpServer(app, loop=runner.get_loop()), loop=runner.get_loop())
    runner.run(client.start_server())
    stack.callback(lambda: runner.run(client.close()))

    async def ask(method: str, path: str, headers: dict[str, str]) -> int:
        async with client.request(method, path, headers=headers) as answer:
            return answer.status

    return lambda method, path, headers: runner.run(ask(method, path, headers))


@pytest.mark.parametrize(
    ("make_app", "client_of"),
    [
        (flask_app, of_werkzeug),
        (wsgi_app, of_werkzeug),
        (starlette_app, of_starlette),
        (fastapi_app, of_starlette),
        (aiohttp_app, of_aiohttp),
    ],
    ids=["flask", "wsgi", "starlette", "fastapi", "aiohttp"],
)
def test_guards_and_the_kits_routes_ask_the_store_itself(make_app, client_of, held_back, stack):
    ask, room = client_of(make_app(held_back.kit), stack), held_back.session_id
    guarded = [f"/rooms/{room}/moderate", f"/rooms/{room}/join", f"/inside/{room}", "/me"]
    assert [ask("GET", path, held_back.bearer) for path in guarded] == [200] * 4
    held_back.end_elsewhere()
    assert [ask("GET", path, held_back.bearer) for path in guarded] == [401] * 4
    assert ask("GET", f"/video/sessions/{room}/connections", held_back.bearer) == 401
    assert ask("DELETE", f"/video/sessions/{room}", held_back.bearer) == 401


def socket_of_starlette(kit: Rolecall) -> Any:
    @rolecall_starlette.require_token
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    app = Starlette(routes=[WebSocketRoute(ROOM, echo)])
    app.state.rolecall = kit
    return app


def socket_of_fastapi(kit: Rolecall) -> Any:
    app = FastAPI()
    app.state.rolecall = kit

    @app.websocket(ROOM)
    @rolecall_starlette.require_token
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    return app


@pytest.mark.parametrize("make_app", [socket_of_starlette, socket_of_fastapi], ids=["starlette", "fastapi"])
def test_the_next_look_of_an_open_websocket_asks_the_store_itself(make_app, held_back):
    client = TestClient(make_app(held_back.kit))
    path = ROOM.format(session_id=held_back.session_id)
    with client.websocket_connect(path, headers=held_back.bearer) as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
        held_back.end_elsewhere()
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 4401
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(path, headers=held_back.bearer):
        pass


def test_the_next_look_of_an_open_websocket_in_aiohttp_asks_the_store_itself(held_back):
    @rolecall_aiohttp.require_token
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def use() -> None:
        app = web.Application()
        rolecall_aiohttp.setup(app, held_back.kit, "/video")
        app.router.add_get(ROOM, echo)
        path = ROOM.format(session_id=held_back.session_id)
        async with AiohttpClient(AiohttpServer(app)) as client:
            async with client.ws_connect(path, headers=held_back.bearer) as socket:
                await socket.send_str("hello")
                assert await socket.receive_str() == "hello"
                await asyncio.to_thread(held_back.end_elsewhere)
                assert (await socket.receive(PATIENCE)).type is WSMsgType.CLOSE
                assert socket.close_code == 4401
            with pytest.raises(WSServerHandshakeError) as refused:
                await client.ws_connect(path, headers=held_back.bearer)
            assert refused.value.status == 401

    asyncio.run(use())


def test_a_store_that_does_not_answer_admits_nobody(tmp_path, stack, needed):
    needed(PROGRAM, "redis-server or valkey-server on the PATH")
    server = RedisProcess(tmp_path).start()
    held_back = HeldBack(server.url + URL_OPTIONS, "immediate")
    try:
        ask = of_starlette(starlette_app(held_back.kit), stack)
        assert ask("GET", f"/rooms/{held_back.session_id}/join", held_back.bearer) == 200
        server.kill()
        assert ask("GET", f"/rooms/{held_back.session_id}/join", held_back.bearer) == 503
        with pytest.raises(StoreUnavailable):
            held_back.kit.verify_token(held_back.token)
    finally:
        held_back.close()
        server.stop()
