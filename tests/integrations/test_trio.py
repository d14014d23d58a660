"""The ASGI adapters on trio: guards, the kit's routes, and WebSockets for as long as their grant lasts."""

from __future__ import annotations

import threading
from typing import Annotated

import pytest
import trio
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from rolecall import Allow, Deny, Grant, Web, blocking, hookimpl
from rolecall.errors import InvalidRequest
from rolecall.http import websockets
from rolecall.http.asgi import read_body
from rolecall.policies import AllowAnyone
from rolecall_starlette import require_token, rolecall_app
from rolecall_starlette.fastapi import TokenRequired

#: The least that a kit takes, so that no test waits for long.
RECHECK = 0.05


def plain(vote):
    return lambda request: vote


def on_a_thread(vote):
    return blocking(plain(vote))


def awaited(vote):
    async def votes(request):
        await trio.sleep(0)
        return vote

    return votes


KINDS = pytest.mark.parametrize("kind", [plain, on_a_thread, awaited])


def policy(function, hook="vote_access"):
    return type("Policy", (), {f"rolecall_{hook}": staticmethod(hookimpl(function))})()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@KINDS
@pytest.mark.parametrize(("vote", "status"), [(Allow(), 200), (Deny("not now"), 403)])
def test_a_guarded_endpoint(make_kit, kind, vote, status):
    kit = make_kit(plugins=[policy(kind(vote))])
    app = FastAPI()
    app.state.rolecall = kit

    @app.get("/me")
    def me(grant: Annotated[Grant, Depends(TokenRequired())]):
        return {"role": grant.role}

    with TestClient(app, backend="trio") as client:
        assert client.get("/me", headers=bearer(kit.create_session().generate_token())).status_code == status


@KINDS
def test_the_kits_routes(make_kit, kind, tmp_path):
    kit = make_kit(
        plugins=[AllowAnyone(max_role="moderator"), policy(kind(Allow()), "vote_session")],
        store=f"sqlite:///{tmp_path}/sessions.db",
    )
    with TestClient(rolecall_app(kit), backend="trio") as client:
        session_id = client.post("/sessions", json={"media_mode": "routed"}).json()["session_id"]
        token = client.post(f"/sessions/{session_id}/tokens", json={"role": "moderator"}).json()["token"]
        assert client.get(f"/sessions/{session_id}", headers=bearer(token)).json()["media_mode"] == "routed"
        assert client.delete(f"/sessions/{session_id}", headers=bearer(token)).status_code == 204
        assert client.get(f"/sessions/{session_id}", headers=bearer(token)).json()["code"] == "revoked_token"


def test_a_body_that_does_not_arrive_is_given_up():
    async def receive():
        await trio.sleep_forever()

    with pytest.raises(InvalidRequest):
        trio.run(read_body, {"headers": []}, receive, 0.01)


def test_a_body_that_arrives_in_pieces_is_read():
    pieces = [b"ab", b"cd"]

    async def receive():
        await trio.sleep(0)
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    assert trio.run(read_body, {"headers": []}, receive, 5) == b"abcd"


# -- WebSockets ------------------------------------------------------------------------------------


@pytest.fixture
def kit(make_kit):
    return make_kit(web=Web(recheck=RECHECK))


@pytest.fixture
def short_grace(monkeypatch):
    """An app that does not end by itself is cancelled soon."""
    monkeypatch.setattr(websockets, "GRACE", 0.1)


def board(kit, function):
    """An app with a guarded WebSocket, which accepts and then runs ``function``."""

    @require_token
    async def endpoint(websocket):
        await websocket.accept()
        await function(websocket)

    app = Starlette(routes=[WebSocketRoute("/rooms/{session_id}", endpoint)])
    app.state.rolecall = kit
    return TestClient(app, backend="trio")


async def echo(websocket):
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def talk(websocket):
    while True:
        await websocket.send_text("tick")
        await trio.sleep(0.01)


async def in_a_nursery(websocket):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk, websocket)
        nursery.start_soon(echo, websocket)


async def wait_for_ever(websocket):
    await trio.sleep_forever()


async def close_again(websocket):
    try:
        await echo(websocket)
    finally:
        await websocket.close()


def end_of(socket):
    """The code of the close that the client sees."""
    while (message := socket.receive())["type"] != "websocket.close":
        pass
    return message["code"]


def test_it_is_open_while_the_grant_lasts(kit):
    session = kit.create_session()
    with board(kit, echo).websocket_connect(
        f"/rooms/{session.session_id}", headers=bearer(session.generate_token())
    ) as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"


def test_without_a_token_it_is_refused(kit):
    session = kit.create_session()
    with pytest.raises(WebSocketDisconnect), board(kit, echo).websocket_connect(f"/rooms/{session.session_id}"):
        pass


@pytest.mark.parametrize("function", [echo, talk, in_a_nursery, wait_for_ever, close_again])
def test_it_is_closed_when_the_session_ends_whatever_the_app_does(kit, short_grace, function):
    session = kit.create_session()
    with board(kit, function).websocket_connect(
        f"/rooms/{session.session_id}", headers=bearer(session.generate_token())
    ) as socket:
        session.end()
        assert end_of(socket) == 4401


def test_the_end_is_told(make_kit):
    told = threading.Event()

    def on_event(event):
        if (event.name, event.code) == ("access_refused", "revoked_token"):
            told.set()

    kit = make_kit(web=Web(recheck=RECHECK), plugins=[policy(on_event, "on_event")])
    session = kit.create_session()
    with board(kit, echo).websocket_connect(
        f"/rooms/{session.session_id}", headers=bearer(session.generate_token())
    ) as socket:
        session.end()
        end_of(socket)
        assert told.wait(20)


class Mishap(Exception):
    """A fault of an app."""


@pytest.mark.parametrize("ended", [False, True])
def test_a_fault_of_the_app_is_the_servers_to_report_as_it_is(kit, ended):
    session = kit.create_session()

    async def fail(websocket):
        if ended:
            session.end()
            await echo(websocket)
        raise Mishap

    with (
        pytest.raises(Mishap),
        board(kit, fail).websocket_connect(
            f"/rooms/{session.session_id}", headers=bearer(session.generate_token())
        ) as socket,
    ):
        end_of(socket)


def test_a_client_that_goes_ends_the_app_and_what_watches(kit):
    ended = threading.Event()

    async def until_it_goes(websocket):
        await echo(websocket)
        ended.set()

    session = kit.create_session()
    with board(kit, until_it_goes).websocket_connect(
        f"/rooms/{session.session_id}", headers=bearer(session.generate_token())
    ):
        pass
    assert ended.wait(20)
