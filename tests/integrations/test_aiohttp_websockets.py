"""Guarded WebSockets in aiohttp: refused before they are opened, and closed when their grant ends."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestClient, TestServer

import rolecall_aiohttp
from rolecall import Rolecall, Web
from rolecall.driver.event_loops import running
from rolecall.http.gateways import websockets
from rolecall_aiohttp import current_grant, find_grant, protect, require_capability, require_role, require_token

from ..untyped import untyped
from .test_aiohttp import KEY, SECRET, bearer, on_loop

ROUTE = "/rooms/{session_id}"


@pytest.fixture
def kit():
    with Rolecall(KEY, SECRET, entry_points=False, web=Web(recheck=0.05)) as kit:
        yield kit


@pytest.fixture
def room(kit):
    return kit.create_session().session_id


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Answer each message with itself; and first of all tell the role."""
    socket = web.WebSocketResponse(protocols=("chat",))
    await socket.prepare(request)
    grant = find_grant(request)
    await socket.send_str(grant.role if grant else "nobody")
    async for message in socket:
        await socket.send_str(message.data)
    return socket


def offering(kit: Rolecall, room: str, role: str = "moderator", *others: str) -> tuple[str, ...]:
    return (*others, websockets.BEARER, kit.generate_token(room, untyped(role)))


@asynccontextmanager
async def site(kit: Rolecall, handler, **options):
    app = web.Application(**options)
    rolecall_aiohttp.setup(app, kit, "/video")
    app.router.add_get(ROUTE, handler)
    async with TestClient(TestServer(app)) as client:
        yield client


@on_loop
async def test_who_may_not_enter_is_refused_before_it_is_opened(kit, room):
    ran = []

    @require_role("moderator")
    async def handler(request):
        ran.append(request)
        return await echo(request)

    async with site(kit, handler) as client:
        for protocols, headers, status in (
            ((), {}, 401),
            ((), {"Authorization": "Bearer x"}, 401),
            (offering(kit, room, "publisher"), {}, 403),
            (offering(kit, kit.create_session().session_id), {}, 403),
            ((websockets.BEARER,), {}, 400),
            (offering(kit, room), bearer(kit, room), 400),
            (offering(kit, room) * 2, {}, 400),
        ):
            with pytest.raises(WSServerHandshakeError) as caught:
                await client.ws_connect(f"/rooms/{room}", protocols=protocols, headers=headers)
            assert caught.value.status == status, (protocols, headers)
        refused = await client.get(f"/rooms/{room}", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
        assert (refused.status, (await refused.json())["code"]) == (401, "missing_token")
    assert ran == []


@on_loop
async def test_a_token_in_the_header_or_among_the_subprotocols_enters(kit, room):
    async with site(kit, require_role("publisher")(echo)) as client:
        async with client.ws_connect(f"/rooms/{room}", headers=bearer(kit, room, "publisher")) as socket:
            assert (await socket.receive_str(), socket.protocol) == ("publisher", None)
        async with client.ws_connect(f"/rooms/{room}", protocols=offering(kit, room)) as socket:
            assert (await socket.receive_str(), socket.protocol) == ("moderator", websockets.BEARER)
        async with client.ws_connect(f"/rooms/{room}", protocols=offering(kit, room, "moderator", "chat")) as socket:
            assert (await socket.receive_str(), socket.protocol) == ("moderator", "chat")


@on_loop
async def test_neither_the_handler_nor_a_log_is_shown_the_token(kit, room, caplog):
    caplog.set_level(logging.DEBUG)
    shown = []

    @require_token
    async def handler(request):
        shown.append(dict(request.headers))
        socket = web.WebSocketResponse()  # which knows none of the subprotocols, and so tells of them
        await socket.prepare(request)
        return socket

    offered = offering(kit, room, "moderator", "chat")
    async with site(kit, handler) as client, client.ws_connect(f"/rooms/{room}", protocols=offered) as socket:
        assert socket.protocol == websockets.BEARER
    assert shown[0]["Sec-WebSocket-Protocol"] == "chat"
    assert offered[-1] not in repr(shown)
    assert offered[-1] not in caplog.text


@on_loop
async def test_it_is_closed_when_the_session_ends(kit, room):
    ended = []

    @require_token
    async def handler(request):
        socket = await echo(request)
        ended.append(socket.close_code)
        return socket

    async with site(kit, handler) as client, client.ws_connect(f"/rooms/{room}", headers=bearer(kit, room)) as socket:
        assert await socket.receive_str() == "moderator"
        kit.end_session(room)
        message = await socket.receive()
        assert (message.type, socket.close_code) == (WSMsgType.CLOSE, 4401)
        assert message.extra.startswith("revoked_token: ")
    assert len(ended) == 1


@on_loop
async def test_a_handler_that_goes_on_cannot_send_and_is_no_fault(kit, room, caplog):
    @require_token
    async def handler(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        while True:
            await socket.send_str("more")
            await asyncio.sleep(0.01)

    async with site(kit, handler) as client, client.ws_connect(f"/rooms/{room}", headers=bearer(kit, room)) as socket:
        await socket.receive_str()
        kit.end_session(room)
        while (await socket.receive()).type is WSMsgType.TEXT:
            pass
        assert socket.close_code == 4401
    assert "Traceback" not in caplog.text


@on_loop
async def test_a_handler_that_does_not_end_is_cancelled(kit, room, monkeypatch):
    monkeypatch.setattr(websockets, "GRACE", 0.1)
    cancelled = asyncio.Event()

    @require_token
    async def handler(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with site(kit, handler) as client, client.ws_connect(f"/rooms/{room}", headers=bearer(kit, room)) as socket:
        kit.end_session(room)
        assert (await socket.receive()).type is WSMsgType.CLOSE
        await cancelled.wait()


@on_loop
async def test_one_that_is_not_open_when_its_grant_ends_is_refused(kit, room, monkeypatch):
    monkeypatch.setattr(websockets, "GRACE", 1.0)

    @require_token
    async def handler(request):
        kit.end_session(room)
        while current_socket(request).ended is None:
            await asyncio.sleep(0.01)
        return await echo(request)

    async with site(kit, handler) as client:
        with pytest.raises(WSServerHandshakeError) as caught:
            await client.ws_connect(f"/rooms/{room}", headers=bearer(kit, room))
        assert caught.value.status == 401


def current_socket(request: web.Request) -> websockets.GuardedSocket:
    from rolecall_aiohttp.routes import KEPT

    return request[KEPT]["rolecall.socket"]


@on_loop
async def test_a_renewed_grant_keeps_it_open(kit, room):
    @require_token
    async def handler(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await rolecall_aiohttp.renew_grant(request, message.data)
            await socket.send_str(current_grant(request).role)
        return socket

    async with site(kit, handler) as client, client.ws_connect(f"/rooms/{room}", headers=bearer(kit, room)) as socket:
        await socket.send_str(kit.generate_token(room, "subscriber"))
        assert await socket.receive_str() == "subscriber"


@on_loop
async def test_guards_of_an_app_a_view_and_a_handler_share_one_socket(kit, room):
    @require_role("publisher")
    class Room(web.View):
        @require_capability("force_disconnect")
        async def get(self):
            return await echo(self.request)

    app = web.Application()
    rolecall_aiohttp.setup(app, kit, "/video")
    inner = protect(web.Application())
    inner.router.add_view("/{session_id}", Room)
    app.add_subapp("/rooms", inner)
    async with TestClient(TestServer(app)) as client:
        with pytest.raises(WSServerHandshakeError) as caught:
            await client.ws_connect(f"/rooms/{room}", protocols=offering(kit, room, "publisher"))
        assert caught.value.status == 403
        async with client.ws_connect(f"/rooms/{room}", protocols=offering(kit, room)) as socket:
            assert (await socket.receive_str(), socket.protocol) == ("moderator", websockets.BEARER)
            kit.end_session(room)
            assert (await socket.receive()).type is WSMsgType.CLOSE
            assert socket.close_code == 4401


@on_loop
async def test_an_optional_token_opens_one_without_a_grant(kit, room):
    async with site(kit, require_token(optional=True)(echo)) as client:
        async with client.ws_connect(f"/rooms/{room}") as socket:
            assert await socket.receive_str() == "nobody"
        with pytest.raises(WSServerHandshakeError):
            await client.ws_connect(f"/rooms/{room}", headers={"Authorization": "Bearer x"})


@on_loop
async def test_an_upgrade_that_opens_nothing_is_kept_out_of_caches_too(kit, room):
    async def handler(request):
        return web.Response(text=current_grant(request).role)

    async with site(kit, require_token(handler)) as client:
        headers = {**bearer(kit, room), "Upgrade": "websocket", "Connection": "Upgrade"}
        response = await client.get(f"/rooms/{room}", headers=headers)
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")


@on_loop
async def test_a_page_of_another_origin_opens_none(room):
    with Rolecall(KEY, SECRET, entry_points=False, web=Web(origins=["https://app.example"])) as kit:
        room = kit.create_session().session_id
        async with site(kit, require_token(echo)) as client:
            headers = {**bearer(kit, room), "Origin": "https://evil.example"}
            with pytest.raises(WSServerHandshakeError) as caught:
                await client.ws_connect(f"/rooms/{room}", headers=headers)
            assert caught.value.status == 403


@on_loop
async def test_a_client_that_goes_leaves_no_task(kit, room):
    async with site(kit, require_token(echo)) as client:
        before = len(asyncio.all_tasks())
        async with client.ws_connect(f"/rooms/{room}", headers=bearer(kit, room)) as socket:
            await socket.receive_str()
        deadline = running().time() + 10
        while len(asyncio.all_tasks()) > before and running().time() < deadline:
            await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks()) <= before
