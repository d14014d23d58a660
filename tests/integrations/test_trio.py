"""The ASGI adapters on trio: guards, the kit's routes, and WebSockets for as long as their grant lasts."""

from __future__ import annotations

import contextlib
import time
from typing import Annotated

import pytest
import trio
from fastapi import Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from rolecall import Allow, Deny, Grant, Web, blocking, hookimpl
from rolecall.errors import InvalidRequest
from rolecall.http.gateways import websockets
from rolecall.http.gateways.asgi import read_body
from rolecall.http.messages import MAX_BODY
from rolecall.policies import AllowAnyone
from rolecall_fastapi import TokenRequired
from rolecall_starlette import require_token, rolecall_app, while_granted

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
        trio.run(read_body, {"headers": []}, receive, 0.01, MAX_BODY)


def test_a_body_that_arrives_in_pieces_is_read():
    pieces = [b"ab", b"cd"]

    async def receive():
        await trio.sleep(0)
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    assert trio.run(read_body, {"headers": []}, receive, 5, MAX_BODY) == b"abcd"


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
    return app


def depending(kit, function):
    """The same in FastAPI, behind a dependency."""
    app = FastAPI(dependencies=[Depends(TokenRequired())])
    app.state.rolecall = kit

    @app.websocket("/rooms/{session_id}")
    async def endpoint(websocket: WebSocket):
        await websocket.accept()
        await function(websocket)

    return app


def serve(app, session, accepted, token=None):
    """Serve one WebSocket until the app has ended by itself; what it has sent.

    :param accepted: called once the WebSocket is open, with what has the client leave.
    :param token: the client's; a new one of the session unless given.
    """

    async def serve_on_trio():
        connects, sent, gone = [{"type": "websocket.connect"}], [], trio.Event()

        async def receive():
            if connects:
                return connects.pop()
            await gone.wait()
            return {"type": "websocket.disconnect", "code": 1001}

        async def send(message):
            sent.append(message)  # before the turn of another task: a server sends in the order of the calls
            await trio.sleep(0)
            if message["type"] == "websocket.accept":
                accepted(gone.set)
            elif message["type"] == "websocket.close":
                gone.set()

        scope = {
            "type": "websocket",
            "path": f"/rooms/{session.session_id}",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {token or session.generate_token()}".encode())],
            "subprotocols": [],
        }
        with trio.fail_after(20):
            await app(scope, receive, send)
        return sent

    return trio.run(serve_on_trio)


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


async def receive_again(websocket):
    with contextlib.suppress(WebSocketDisconnect):
        await talk(websocket)
    await websocket.receive_text()


async def close_again(websocket):
    try:
        await echo(websocket)
    finally:
        await websocket.close()


def test_it_is_open_while_the_grant_lasts(kit):
    session = kit.create_session()
    client = TestClient(board(kit, echo), backend="trio")
    headers = bearer(session.generate_token())
    with client.websocket_connect(f"/rooms/{session.session_id}", headers=headers) as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"


def test_without_a_token_it_is_refused(kit):
    client = TestClient(board(kit, echo), backend="trio")
    path = f"/rooms/{kit.create_session().session_id}"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
        pass


@pytest.mark.each_choice
@pytest.mark.parametrize("function", [echo, talk, in_a_nursery, receive_again, wait_for_ever, close_again])
@pytest.mark.parametrize("make", [board, depending])
def test_it_is_closed_when_the_session_ends_whatever_the_app_does(kit, short_grace, make, function):
    session = kit.create_session()
    sent = serve(make(kit, function), session, lambda leave: session.end())
    assert (sent[-1]["type"], sent[-1]["code"]) == ("websocket.close", 4401)


def test_the_end_is_told(make_kit):
    told = []
    kit = make_kit(web=Web(recheck=RECHECK), plugins=[policy(lambda event: told.append(event), "on_event")])
    session = kit.create_session()
    serve(board(kit, echo), session, lambda leave: session.end())
    assert [event.code for event in told if event.name == "access_refused"] == ["revoked_token"]


class Mishap(Exception):
    """A fault of an app."""


@pytest.mark.each_choice
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("make", [board, depending])
def test_a_fault_of_the_app_is_the_servers_to_report_as_it_is(kit, make, ended):
    session = kit.create_session()

    async def fail(websocket):
        if ended:
            await echo(websocket)
        raise Mishap

    with pytest.raises(Mishap):
        serve(make(kit, fail), session, lambda leave: session.end() if ended else None)


def test_a_client_that_goes_ends_the_app_and_what_watches(kit):
    session = kit.create_session()
    sent = serve(board(kit, echo), session, lambda leave: leave())
    assert [message["type"] for message in sent] == ["websocket.accept"]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_stream_ends_with_its_grant_when_the_next_chunk_comes(make_kit, asynchronous):
    kit = make_kit(web=Web(recheck=RECHECK))
    session = kit.create_session()
    closed = []

    def chunks():
        try:
            yield b"first"
            kit.end_session(session.session_id)
            # So that the next look is due.
            deadline = time.monotonic() + 2 * RECHECK
            while time.monotonic() < deadline:
                time.sleep(RECHECK)
            yield b"second"
        finally:
            closed.append(True)

    async def awaited_chunks():
        for chunk in (source := chunks()):
            yield chunk
        source.close()

    @require_token
    async def endpoint(request):
        return StreamingResponse(while_granted(request, awaited_chunks() if asynchronous else chunks()))

    app = Starlette(routes=[Route("/", endpoint)])
    app.state.rolecall = kit
    with TestClient(app, backend="trio") as client:
        assert client.get("/", headers=bearer(session.generate_token())).content == b"first"
    assert closed or asynchronous
