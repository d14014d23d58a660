"""Guarded WebSockets over real servers, with a real client: opened, refused, closed, and all cleared away."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager

import pytest
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

pytestmark = pytest.mark.server

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
BEARER = "rolecall.bearer"


def offer(token: str) -> list[Subprotocol]:
    """The subprotocols that a browser offers with this token."""
    return [Subprotocol(BEARER), Subprotocol(token)]


PAGE = "https://app.example"

APP = '''
"""An app with every kind of endpoint, and a route that tells what is left of them."""
import gc
import time
from contextlib import contextmanager
import anyio
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from rolecall import Rolecall, Web
from rolecall.http.gateways import websockets
from rolecall.policies import AllowAnyone
from rolecall.testing import Clock
from rolecall_starlette import current_grant, require_role, require_token, rolecall_app

websockets.GRACE = 0.3
clock = Clock(time.time())
kit = Rolecall.from_env(
    plugins=[AllowAnyone(max_role="moderator")], web=Web(origins=["https://app.example"], recheck=0.1), clock=clock
)

clients = set()

@contextmanager
def present(websocket):
    clients.add(websocket)
    try:
        yield
    finally:
        clients.remove(websocket)

@require_role("publisher")
async def echo(websocket):
    with present(websocket):
        await websocket.accept()
        await websocket.send_text(current_grant(websocket).role)
        async for text in websocket.iter_text():
            await websocket.send_text(text)

@require_token
async def deaf(websocket):
    with present(websocket):
        await websocket.accept()
        await anyio.sleep_forever()

@require_token
async def flood(websocket):
    with present(websocket):
        await websocket.accept()
        while True:
            await websocket.send_bytes(bytes(65536))

async def left(request):
    gc.collect()
    return JSONResponse({"tasks": len(anyio.get_running_tasks()), "clients": len(clients)})

async def later(request):
    clock.advance(float(request.query_params["by"]))
    return JSONResponse(clock.now)

app = Starlette(routes=[
    Mount("/video", rolecall_app(kit)),
    WebSocketRoute("/rooms/{session_id}/echo", echo),
    WebSocketRoute("/rooms/{session_id}/deaf", deaf),
    WebSocketRoute("/rooms/{session_id}/flood", flood),
    Route("/left", left),
    Route("/later", later),
])
'''

FASTAPI_APP = '''
"""The same endpoints in FastAPI, each behind a dependency in place of its own guard."""
from fastapi import Depends, FastAPI, WebSocket
from rolecall_fastapi import Refused, RoleRequired, TokenRequired, problem_handler, rolecall_router
from websockets_app import deaf, echo, flood, kit, later, left

app = FastAPI(exception_handlers={Refused: problem_handler})
app.include_router(rolecall_router(kit), prefix="/video")

@app.websocket("/rooms/{session_id}/echo", dependencies=[Depends(RoleRequired("publisher"))])
async def run_echo(websocket: WebSocket):
    await echo.__wrapped__(websocket)

@app.websocket("/rooms/{session_id}/deaf", dependencies=[Depends(TokenRequired())])
async def run_deaf(websocket: WebSocket):
    await deaf.__wrapped__(websocket)

@app.websocket("/rooms/{session_id}/flood", dependencies=[Depends(TokenRequired())])
async def run_flood(websocket: WebSocket):
    await flood.__wrapped__(websocket)

app.add_route("/left", left)
app.add_route("/later", later)
'''

UVICORN = ("uvicorn", "--fd", "{fd}", "--no-access-log", "--log-level", "warning", "--lifespan", "off")
HYPERCORN = ("hypercorn", "--bind", "fd://{fd}", "--log-level", "warning")
SERVERS = {
    "uvicorn": (*UVICORN, "websockets_app:app"),
    "uvicorn-wsproto": (*UVICORN, "--ws", "wsproto", "websockets_app:app"),
    "hypercorn": (*HYPERCORN, "websockets_app:app"),
    "hypercorn-trio": (*HYPERCORN, "--worker-class", "trio", "websockets_app:app"),
    "uvicorn-fastapi": (*UVICORN, "websockets_fastapi:app"),
    "hypercorn-trio-fastapi": (*HYPERCORN, "--worker-class", "trio", "websockets_fastapi:app"),
}


class Server:
    """A server in a process of its own, asked over HTTP and WebSockets."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, method, path, body=None, token=None):
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def session(self) -> str:
        return self.ask("POST", "/video/sessions", {})["session_id"]

    def token(self, session_id, role="publisher", expires_in=600) -> str:
        body = {"role": role, "expires_in": expires_in}
        return self.ask("POST", f"/video/sessions/{session_id}/tokens", body)["token"]

    def end(self, session_id) -> None:
        self.ask("DELETE", f"/video/sessions/{session_id}", token=self.token(session_id, "moderator"))

    def url(self, session_id, what="echo") -> str:
        return f"ws://127.0.0.1:{self._port}/rooms/{session_id}/{what}"

    def open(self, session_id, token, what="echo", **options):
        return connect(self.url(session_id, what), subprotocols=offer(token), proxy=None, **options)

    def left(self, what) -> int:
        """How many tasks the server has, or how many clients its endpoints."""
        return self.ask("GET", "/left")[what]

    def left_in_the_end(self, what, most, seconds=10) -> int:
        """The same, once it is no more than ``most``, or this much time has passed."""
        until = time.monotonic() + seconds
        while (left := self.left(what)) > most and time.monotonic() < until:
            time.sleep(0.05)
        return left

    def address(self):
        return ("127.0.0.1", self._port)


@contextmanager
def serving(folder, *command):
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener, (folder / "log").open("w+") as log:
        listener.set_inheritable(True)
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(fd=listener.fileno()) for part in command)],
            cwd=folder,
            env={**os.environ, "ROLECALL_API_KEY": KEY, "ROLECALL_API_SECRET": SECRET},
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
        try:
            yield Server(listener.getsockname()[1])
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        assert "Traceback" not in (text := log.read()), text


@pytest.fixture(scope="module", params=SERVERS)
def running(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "websockets_app.py").write_text(APP)
    (folder / "websockets_fastapi.py").write_text(FASTAPI_APP)
    with serving(folder, *SERVERS[request.param]) as server:
        yield server


@pytest.fixture
def server(running):
    """The server; at the end of a test it has no task more than before."""
    before = running.left("tasks")
    yield running
    assert running.left_in_the_end("tasks", before) <= before
    assert running.left_in_the_end("clients", 0) == 0


@pytest.fixture
def session_id(server):
    return server.session()


def end_of(websocket):
    """The close code and reason that the client sees."""
    with pytest.raises(ConnectionClosed) as caught:
        _ = [websocket.recv(timeout=10) for _ in range(1000)]
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_a_token_behind_the_subprotocol_opens_it(server, session_id):
    with server.open(session_id, server.token(session_id)) as websocket:
        assert websocket.subprotocol == BEARER
        assert websocket.recv(timeout=10) == "publisher"
        websocket.send("hello")
        assert websocket.recv(timeout=10) == "hello"


def test_a_token_in_the_header_opens_it(server, session_id):
    headers = {"Authorization": f"Bearer {server.token(session_id, 'moderator')}"}
    with connect(server.url(session_id), additional_headers=headers, proxy=None) as websocket:
        assert websocket.subprotocol is None
        assert websocket.recv(timeout=10) == "moderator"


def refusal_of(server, url, **options):
    with pytest.raises(InvalidStatus) as caught, connect(url, proxy=None, **options):
        pass
    response = caught.value.response
    assert response.headers["Content-Type"] == "application/problem+json"
    return response.status_code, json.loads(response.body)["code"], response.headers.get("WWW-Authenticate")


def test_without_a_token_it_is_refused_before_it_is_accepted(server, session_id):
    assert refusal_of(server, server.url(session_id)) == (401, "missing_token", 'Bearer realm="rolecall"')


@pytest.mark.parametrize(
    ("role", "mine", "origin", "code"),
    [
        ("subscriber", True, None, "insufficient_role"),
        ("publisher", False, None, "wrong_session"),
        ("publisher", True, "https://app.example.evil.example", "origin_not_allowed"),
    ],
)
def test_whoever_may_not_enter_is_refused_before_it_is_accepted(role, mine, origin, code, server, session_id):
    token = server.token(session_id if mine else server.session(), role)
    url = server.url(session_id)
    status, found, _ = refusal_of(server, url, subprotocols=offer(token), origin=origin)
    assert (status, found) == (403, code)


def test_two_tokens_at_once_are_a_bad_request(server, session_id):
    token = server.token(session_id)
    headers = {"Authorization": f"Bearer {token}"}
    status, code, _ = refusal_of(
        server,
        server.url(session_id),
        subprotocols=offer(token),
        additional_headers=headers,
    )
    assert (status, code) == (400, "malformed_credential")


def test_a_page_that_is_listed_opens_it(server, session_id):
    with server.open(session_id, server.token(session_id), origin=PAGE) as websocket:
        assert websocket.recv(timeout=10) == "publisher"


def test_it_is_closed_when_the_token_expires_whatever_the_endpoint_does(server, session_id):
    token = server.token(session_id, expires_in=600)
    with server.open(session_id, token, "echo") as listening, server.open(session_id, token, "deaf") as deaf:
        assert listening.recv(timeout=10) == "publisher"
        server.ask("GET", "/later?by=601")
        ends = [end_of(listening), end_of(deaf)]
    assert [code for code, _ in ends] == [4401, 4401]
    assert all(reason.startswith("expired_token: ") for _, reason in ends)


@pytest.mark.parametrize("what", ["echo", "deaf"])
def test_it_is_closed_when_a_moderator_ends_the_session(what, server, session_id):
    with server.open(session_id, server.token(session_id), what) as websocket:
        server.end(session_id)
        assert end_of(websocket) == (4401, "revoked_token: the token's session has ended")


def test_the_others_stay_open(server, session_id):
    other = server.session()
    with (
        server.open(session_id, server.token(session_id)) as ended,
        server.open(other, server.token(other)) as staying,
    ):
        assert staying.recv(timeout=10) == "publisher"
        server.end(session_id)
        end_of(ended)
        staying.send("still here")
        assert staying.recv(timeout=10) == "still here"


@pytest.mark.parametrize("what", ["echo", "deaf"])
def test_a_client_that_goes_first_leaves_nothing(what, server, session_id):
    # An endpoint that never receives learns of it only when its session ends.
    with server.open(session_id, server.token(session_id), what):
        pass
    server.end(session_id)


@contextmanager
def raw_client(server, session_id, what):
    """A client that has opened a WebSocket, and then does nothing at all: it reads nothing and answers no close."""
    token = server.token(session_id)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(server.address())
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET /rooms/{session_id}/{what} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        assert connection.recv(12) == b"HTTP/1.1 101"
        yield connection


@pytest.mark.parametrize("what", ["echo", "deaf", "flood"])
def test_a_client_that_reads_nothing_holds_up_nothing(what, server, session_id, request):
    if what == "flood" and "hypercorn-trio" in request.node.name:
        pytest.skip("Hypercorn on trio shields what it sends from cancellation, until its client goes")
    with raw_client(server, session_id, what):
        time.sleep(0.5)  # until what is sent to it piles up
        assert server.left("clients") == 1
        server.end(session_id)
        assert server.left_in_the_end("clients", 0) == 0


def test_fifty_at_once_are_all_closed(server, session_id):
    token = server.token(session_id)

    async def one(opened):
        client = websockets.asyncio.client.connect(server.url(session_id), subprotocols=offer(token), proxy=None)
        async with client as websocket:
            await websocket.recv()
            await opened.wait()
            with pytest.raises(ConnectionClosed) as caught:
                await websocket.recv()
        assert caught.value.rcvd is not None
        return caught.value.rcvd.code

    async def all_of_them():
        opened = asyncio.Barrier(51)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            clients = [group.create_task(one(opened)) for _ in range(50)]
            await opened.wait()
            await asyncio.to_thread(server.end, session_id)
        return {client.result() for client in clients}

    assert asyncio.run(all_of_them()) == {4401}


def test_a_server_stops_with_a_socket_open(tmp_path):
    (tmp_path / "websockets_app.py").write_text(APP)
    with ExitStack() as client:
        with serving(tmp_path, *SERVERS["uvicorn"]) as server:
            session_id = server.session()
            websocket = client.enter_context(server.open(session_id, server.token(session_id)))
            assert websocket.recv(timeout=10) == "publisher"
        assert end_of(websocket)[0] == 1012


def test_a_socket_that_ended_cannot_be_opened_again_with_its_token(server, session_id):
    token = server.token(session_id)
    server.end(session_id)
    status, code, _ = refusal_of(server, server.url(session_id), subprotocols=offer(token))
    assert (status, code) == (401, "revoked_token")


def test_a_request_without_an_upgrade_is_not_let_in(server, session_id):
    with pytest.raises(urllib.error.HTTPError) as caught:
        server.ask("GET", f"/rooms/{session_id}/echo", token=server.token(session_id))
    with caught.value as refusal:
        assert refusal.code == 404
