"""The ten-line app under gunicorn: four workers, forked from one preloaded app, on one SQLite file."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.server

HERE = Path(__file__).parent
KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
WORKERS = 4

#: Beside the ten lines, what only a test wants to know: who answered, and much in one request.
TEST_APP = """
import os
from flask_ten_lines import app
from rolecall_flask import current_grant, require_token

@app.after_request
def tell_the_worker(response):
    response.headers["X-Worker"] = str(os.getpid())
    return response

@app.post("/bulk")
def bulk():
    kit = app.extensions["rolecall"][0]
    sessions = [kit.create_session() for _ in range(100)]
    tokens = [kit.verify_token(session.generate_token()).token_id for session in sessions]
    return {"sessions": [session.session_id for session in sessions], "tokens": tokens}

@app.get("/whoami")
@require_token
async def whoami():
    return {"data": current_grant.data}
"""


@dataclass
class Server:
    """A running gunicorn, and where its sessions are."""

    process: subprocess.Popen
    port: int
    database: Path

    def ask(self, method: str, path: str, body: object = None, token: str | None = None):
        """Status, JSON and headers of an answer."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
        return response.status, json.loads(text) if text else None, response.headers

    def send(self, request: bytes) -> bytes:
        """The answer to bytes that need not be a sound request; the client is silent after them."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=20)) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65_536):
                answer += piece
        return answer

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("needs a /proc that lists the children of a process")
    folder = tmp_path_factory.mktemp("server")
    (folder / "test_app.py").write_text(TEST_APP)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(HERE)]),
        "ROLECALL_API_KEY": KEY,
        "ROLECALL_API_SECRET": SECRET,
        "ROLECALL_STORE": f"sqlite:///{folder}/sessions.db",
    }
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener, (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "gunicorn", "--preload", f"--workers={WORKERS}", "--no-control-socket"]
        process = subprocess.Popen(
            [*command, f"--bind=fd://{listener.fileno()}", "--graceful-timeout=2", "test_app:app"],
            cwd=folder,
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
        server = Server(process, listener.getsockname()[1], folder / "sessions.db")
        try:
            await_workers(server)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def await_workers(server: Server) -> None:
    deadline = time.monotonic() + 20
    while len(server.workers()) < WORKERS:
        assert server.process.poll() is None, (server.database.parent / "log").read_text()
        assert time.monotonic() < deadline, "the workers did not start"
        time.sleep(0.05)


def test_the_app_has_ten_lines():
    lines = (HERE / "flask_ten_lines.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 10


def test_a_session_a_token_and_a_guarded_view(server):
    status, session, headers = server.ask("POST", "/video/sessions")
    assert (status, headers["Cache-Control"]) == (201, "no-store")
    path = f"/video/sessions/{session['session_id']}"
    tokens = {
        role: server.ask("POST", f"{path}/tokens", {"role": role, "data": "Ann"})[1]["token"]
        for role in ("subscriber", "moderator")
    }
    lock = f"/rooms/{session['session_id']}/lock"
    assert server.ask("POST", lock, token=tokens["moderator"])[:2] == (200, {"locked_by": "Ann"})
    assert server.ask("POST", lock, token=tokens["subscriber"])[0] == 403
    assert server.ask("POST", lock)[0] == 401
    assert server.ask("DELETE", path, token=tokens["moderator"])[0] == 204
    assert server.ask("POST", lock, token=tokens["moderator"])[0] == 401
    assert server.ask("POST", f"{path}/tokens")[0] == 410


def answers_of_every_worker(server: Server, *request) -> dict[str, tuple]:
    """What each worker answers: asked at once by several clients, until every one has."""
    answers: dict[Any, Any] = {}
    deadline = time.monotonic() + 20
    with ThreadPoolExecutor(8) as clients:
        while len(answers) < WORKERS and time.monotonic() < deadline:
            for status, body, headers in clients.map(lambda _: server.ask(*request), range(16)):
                answers[headers["X-Worker"]] = (status, body)
    return answers


def test_a_session_that_one_worker_made_is_known_to_all(server):
    _, session, _ = server.ask("POST", "/video/sessions")
    path = f"/video/sessions/{session['session_id']}"
    token = server.ask("POST", f"{path}/tokens")[1]["token"]
    answers = answers_of_every_worker(server, "GET", path, None, token)
    assert len(answers) == WORKERS
    assert all(answer == (200, session) for answer in answers.values())


def test_a_session_that_one_worker_ended_is_over_for_all(server):
    path = f"/video/sessions/{server.ask('POST', '/video/sessions')[1]['session_id']}"
    token = server.ask("POST", f"{path}/tokens", {"role": "moderator"})[1]["token"]
    assert len(answers_of_every_worker(server, "GET", path, None, token)) == WORKERS
    assert server.ask("DELETE", path, token=token)[0] == 204
    answers = answers_of_every_worker(server, "GET", path, None, token)
    assert [status for status, _ in answers.values()] == [401] * WORKERS


def test_an_async_view_has_the_grant_of_its_request(server):
    path = f"/video/sessions/{server.ask('POST', '/video/sessions')[1]['session_id']}/tokens"
    tokens = {f"user{n}": server.ask("POST", path, {"data": f"user{n}"})[1]["token"] for n in range(8)}
    with ThreadPoolExecutor(8) as clients:
        asked = [(name, clients.submit(server.ask, "GET", "/whoami", None, tokens[name])) for name in [*tokens] * 10]
        assert all(answer.result()[:2] == (200, {"data": name}) for name, answer in asked)


CHUNKED = (
    b"POST /video/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
SIZED = b"POST /video/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
GUARDED = b"GET /whoami HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", b"201"),
        (CHUNKED + b"0\r\n\r\n", b"400"),
        (CHUNKED + b"1\r\n{\r\n0\r\n\r\n", b"400"),
        (CHUNKED + b"4001\r\n" + b" " * 0x4001 + b"\r\n0\r\n\r\n", b"413"),
        (CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", b"400"),
        (CHUNKED + b"9\r\n{}", b"400"),
        (SIZED % (100, b'{"e2ee":'), b"400"),
        (SIZED % (10**9, b" " * 0x5000), b"413"),
        (SIZED % (0, b""), b"201"),
        (GUARDED % b"Accept: */*", b"401"),
        (GUARDED % b"Authorization: Bearer a\r\nAuthorization: Bearer b", b"400"),
        (GUARDED % b"Authorization: Basic YTpi\r\nAuthorization: Bearer b", b"400"),
        (GUARDED % b"Authorization: Bearer \xc3\xa9", b"401"),
    ],
    ids=lambda value: ascii(value[-40:].decode("latin-1")),
)
def test_a_request_as_bytes_is_answered_as_a_client_may_expect(server, request_bytes, status):
    head, _, body = server.send(request_bytes).partition(b"\r\n\r\n")
    assert head.split(b" ", 2)[1] == status
    assert json.loads(body)


def test_ids_do_not_repeat_across_workers(server):
    """10,000 of each, of workers that were forked from one process."""
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: server.ask("POST", "/bulk"), range(100)))
    assert {status for status, _, _ in answers} == {200}
    assert len({headers["X-Worker"] for _, _, headers in answers}) == WORKERS
    for kind in ("sessions", "tokens"):
        ids = [one for _, body, _ in answers for one in body[kind]]
        assert (len(ids), len(set(ids))) == (10_000, 10_000)


def test_no_acknowledged_session_is_lost_when_workers_are_killed(server):
    acknowledged: list[str] = []
    killed: list[int] = []
    stop = threading.Event()

    def create() -> None:
        while not stop.is_set():
            # A worker that is killed takes its connection with it: that session was not acknowledged.
            with suppress(OSError, HTTPException):
                status, session, _ = server.ask("POST", "/video/sessions")
                assert status == 201
                acknowledged.append(session["session_id"])

    with ThreadPoolExecutor(6) as clients:
        creating = [clients.submit(create) for _ in range(6)]
        try:
            while len(killed) < 50:
                before = len(acknowledged)
                deadline = time.monotonic() + 10
                while len(acknowledged) < before + 5 and time.monotonic() < deadline:
                    time.sleep(0.01)
                if alive := [worker for worker in server.workers() if worker not in killed]:
                    killed.append(random.choice(alive))
                    os.kill(killed[-1], signal.SIGKILL)
        finally:
            stop.set()
        for one in creating:
            one.result()

    await_workers(server)
    assert len(acknowledged) >= 50 * 5
    with closing(sqlite3.connect(server.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = {row[0] for row in database.execute("SELECT session_id FROM rolecall_sessions")}
    assert set(acknowledged) <= kept
    assert server.ask("POST", f"/video/sessions/{acknowledged[-1]}/tokens")[0] == 201
