"""Whatever takes a grant back ends what is open with it, at once: WebSockets and streams, in every framework.

The next look would come after a minute, so none of these ends by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer as AiohttpServer
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient

import rolecall_aiohttp
import rolecall_starlette
from rolecall import Rolecall, Web, hookimpl
from rolecall.engine.revisions import INTERVAL
from rolecall_starlette import require_token

from ..rungs import RUNGS
from . import test_trio
from .test_aiohttp import site
from .test_streams import EVERYWHERE, ask, news_of
from .test_websockets import RULE, asking, endpoint, listen, on_a_loop, serving, starlette

RECHECK = 60
#: The seconds within which each must have ended: much less than RECHECK, much more than it takes.
IN_TIME = 20
ROUTE = "/rooms/{session_id}/board"

#: Takes back what the token grants that a connection is open with.
TakesBack: TypeAlias = Callable[[], object]


class Voter:
    """A plugin that counts how often it is asked about connections that are open already."""

    def __init__(self) -> None:
        self.again = 0

    @hookimpl
    def rolecall_vote_access(self, request):
        self.again += request.again


@pytest.fixture
def voter() -> Voter:
    return Voter()


@pytest.fixture
def kit(make_kit, voter) -> Rolecall:
    return make_kit(web=Web(recheck=RECHECK), plugins=[voter])


# -- WebSockets ------------------------------------------------------------------------------------


def close_code_by_asgi(app: Any, session: Any, token: str, take_back: TakesBack) -> int:
    codes = []

    @on_a_loop
    async def serve():
        async with serving(app, session.session_id, token) as socket:
            await socket.sent("websocket.accept")
            take_back()
            async with asyncio.timeout(IN_TIME):
                codes.append((await socket.sent())["code"])
                await socket.over()

    serve()
    return int(codes[0])


def in_starlette(kit, session, token, take_back):
    return close_code_by_asgi(endpoint(kit, listen), session, token, take_back)


def in_starlette_with_a_guard_around(kit, session, token, take_back):
    app = rolecall_starlette.protect(endpoint(kit, listen), rolecall_starlette.require_role("subscriber"))
    return close_code_by_asgi(app, session, token, take_back)


def in_fastapi(kit, session, token, take_back):
    app = FastAPI()
    app.state.rolecall = kit

    @app.websocket(ROUTE)
    @require_token
    async def board(websocket: WebSocket):
        await websocket.accept()
        await listen(websocket)

    return close_code_by_asgi(app, session, token, take_back)


def in_starlette_on_trio(kit, session, token, take_back):
    sent = test_trio.serve(test_trio.board(kit, test_trio.echo), session, lambda leave: take_back(), token)
    return sent[-1]["code"]


def in_aiohttp(kit, session, token, take_back):
    @rolecall_aiohttp.require_token
    async def board(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    async def serve():
        async with asyncio.timeout(IN_TIME), AiohttpClient(AiohttpServer(site(kit, web.get(ROUTE, board)))) as client:
            path, headers = ROUTE.format(session_id=session.session_id), {"Authorization": f"Bearer {token}"}
            async with client.ws_connect(path, headers=headers) as socket:
                take_back()
                await socket.receive()
                return socket.close_code

    return asyncio.run(serve())


SOCKETS = [in_starlette, in_starlette_with_a_guard_around, in_fastapi, in_starlette_on_trio, in_aiohttp]


@pytest.mark.each_choice
@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("closing", SOCKETS, ids=lambda one: one.__name__)
def test_a_websocket_is_closed_at_once(kit, voter, closing, rung):
    session = kit.create_session()
    token = session.generate_token(actor="ada")
    assert closing(kit, session, token, lambda: RUNGS[rung](kit, session, token)) == 4401
    assert voter.again == 0


@on_a_loop
async def test_what_others_lose_closes_nothing_and_asks_no_policy(kit, voter):
    """However many are open, a revocation is the matter of those whom it concerns."""
    session = kit.create_session()
    tokens = [session.generate_token() for _ in range(20)]
    async with AsyncExitStack() as opened:
        sockets = []
        for token in tokens:
            socket = await opened.enter_async_context(serving(endpoint(kit, listen), session.session_id, token))
            await socket.sent("websocket.accept")
            sockets.append(socket)
        kit.revoke_token(tokens[3])
        assert (await sockets[3].sent())["code"] == 4401
        await asyncio.sleep(2 * INTERVAL)
        assert [socket.left() for socket in sockets] == [[]] * len(sockets)
    assert voter.again == 0


@on_a_loop
async def test_an_end_before_anybody_watches_is_not_missed(kit):
    session_id, token = asking(kit)

    @require_token
    async def board(websocket):
        kit.end_session(session_id)  # in the first step of the app: nothing was awaited since the client was admitted
        await websocket.accept()
        await listen(websocket)

    async with serving(starlette(kit, WebSocketRoute(RULE, board)), session_id, token) as socket:
        async with asyncio.timeout(IN_TIME):
            assert (await socket.sent("websocket.close"))["code"] == 4401
            await socket.over()


# -- streams ---------------------------------------------------------------------------------------


def in_aiohttp_by_pieces(kit, chunks, guard="publisher"):
    @rolecall_aiohttp.require_role(guard)
    async def news(request):
        async def pieces():
            for chunk in chunks:
                yield chunk

        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in rolecall_aiohttp.while_granted(request, pieces()):
            await response.write(chunk.encode())
        return response

    def asked(app, session_id, token):
        async def serve():
            async with asyncio.timeout(IN_TIME), AiohttpClient(AiohttpServer(app)) as client:
                answer = await client.get(f"/rooms/{session_id}/news", headers={"Authorization": f"Bearer {token}"})
                return [await answer.text()]

        return asyncio.run(serve())

    return site(kit, web.get("/rooms/{session_id}/news", news)), asked


def in_starlette_by_pieces_on_trio(kit, chunks, guard="publisher"):
    @rolecall_starlette.require_role(guard)
    async def news(request):
        return StreamingResponse(rolecall_starlette.while_granted(request, chunks))

    app = Starlette(routes=[Route("/rooms/{session_id}/news", news)])
    app.state.rolecall = kit

    def asked(app, session_id, token):
        with TestClient(app, backend="trio") as client:
            return [client.get(f"/rooms/{session_id}/news", headers={"Authorization": f"Bearer {token}"}).text]

    return app, asked


@pytest.mark.each_choice
@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize(
    "streaming", [*EVERYWHERE, in_aiohttp_by_pieces, in_starlette_by_pieces_on_trio], ids=lambda one: one.__name__
)
def test_no_chunk_comes_after_the_grant_was_taken_back(kit, voter, streaming, rung):
    session = kit.create_session()
    token = session.generate_token(actor="ada")

    def chunks():
        yield "before"
        RUNGS[rung](kit, session, token)
        yield "after"

    app, asked = streaming(kit, chunks())
    assert asked(app, session.session_id, token) == ["before"]
    assert voter.again == 0


@pytest.mark.parametrize("rung", RUNGS)
def test_a_stream_in_which_nothing_comes_ends_too(kit, voter, rung):
    session = kit.create_session()
    token, cancelled = session.generate_token(actor="ada"), []

    async def quiet():
        yield "before"
        RUNGS[rung](kit, session, token)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    assert asyncio.run(ask(news_of(kit, quiet), session.session_id, token)) == ["before"]
    assert cancelled == [True]
    assert voter.again == 0


def test_a_stream_of_another_bearer_goes_on(kit):
    session = kit.create_session()
    token = session.generate_token(actor="ada")

    async def news():
        yield "before"
        session.exclude("bob")
        await asyncio.sleep(3 * INTERVAL)
        yield "after"

    assert asyncio.run(ask(news_of(kit, news), session.session_id, token)) == ["before", "after"]
