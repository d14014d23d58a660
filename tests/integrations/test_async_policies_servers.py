"""One async policy decides the same under every kind of gunicorn worker and on an event loop: 10,000 known answers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path

import pytest

from rolecall import Rolecall
from rolecall.errors import RolecallError
from rolecall.http.guards.admission import admission
from rolecall.http.guards.guard import Guard
from rolecall.request import Request
from rolecall.roles import Requirement

pytestmark = pytest.mark.server

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
CLIENTS = 8
#: How many decisions each server takes, and the event loop all the rest of 10,000.
PER_SERVER = 400
IN_PROCESS = 2000
PUBLISHER = Requirement.of_role("publisher")

POLICY = '''
"""A policy whose answer is known: it depends on the number at the end of the path alone."""
import asyncio
import flask
from rolecall import Allow, Deny, hookimpl

class ByNumber:
    name = "by number"

    @hookimpl
    async def rolecall_vote_access(self, request):
        number = int(request.http.route.rpartition("/")[2])
        await asyncio.sleep(number % 4 * 0.0005)
        if request.http.framework == "flask" and flask.request.path != request.http.route:
            raise LookupError("another request's context")
        deny = Deny("odd one out", code=f"no_{number}")
        return (Allow(), deny, None, "yes", Allow(max_role="subscriber"))[number % 5]
'''
APP = """
import asyncio, gc, os, threading
import flask
from rolecall import Rolecall
from rolecall_flask import current_grant, require_role
from by_number import ByNumber

kit = Rolecall.from_env(plugins=[ByNumber()])
other = Rolecall.from_env(plugins=[ByNumber()])
app = flask.Flask(__name__)

@app.get("/decide/<int:number>")
@require_role("publisher", kit=kit, session_param=None)
def decide(number):
    return {"number": number, "role": current_grant.role}

@app.get("/other/<int:number>")
@require_role("publisher", kit=other, session_param=None)
def decide_otherwise(number):
    return {"number": number}

@app.get("/async/<int:number>")
@require_role("publisher", kit=kit, session_param=None)
async def decide_in_async_view(number):
    await asyncio.sleep(0.001)
    return {"number": number}

@app.get("/left")
def left():
    gc.collect()
    running = [task for task in gc.get_objects() if isinstance(task, asyncio.Task) and not task.done()]
    names = [thread.name for thread in threading.enumerate()]
    loops = sum(name.startswith("rolecall") for name in names)
    return {"pid": os.getpid(), "threads": len(names), "loops": loops, "tasks": len(running)}
"""


def expected(number):
    """Status and code of the answer to this number."""
    return ((200, None), (403, f"no_{number}"), (200, None), (503, "policy_fault"), (403, "insufficient_role"))[
        number % 5
    ]


@pytest.fixture(scope="module")
def token():
    with Rolecall(KEY, SECRET) as kit:
        return kit.create_session().generate_token("moderator")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("servers")
    (folder / "by_number.py").write_text(POLICY)
    (folder / "decisions_app.py").write_text(APP)
    return folder


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[int]:
    """The port of a gunicorn with these options."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "ROLECALL_API_KEY": KEY,
        "ROLECALL_API_SECRET": SECRET,
    }
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--no-control-socket", "--graceful-timeout=2", "--keep-alive=10"),
                *options,
                f"--bind=fd://{listener.fileno()}",
                "decisions_app:app",
            ],
            cwd=folder,
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


class Client:
    """One client, which keeps its connection if the server does."""

    def __init__(self, port, token):
        self._connection = HTTPConnection("127.0.0.1", port, timeout=20)
        self._headers = {"Authorization": f"Bearer {token}"}

    def ask(self, path):
        self._connection.request("GET", path, headers=self._headers)
        with self._connection.getresponse() as response:
            return response.status, json.loads(response.read())

    def close(self):
        self._connection.close()


def decisions(port, token, path, numbers):
    """What was answered otherwise than is known, for many numbers that several clients ask for at once."""

    def ask_for(share):
        wrong = []
        with closing(Client(port, token)) as client:
            for number in share:
                status, body = client.ask(f"/{path}/{number}")
                if (status, body.get("code")) != expected(number) or body.get("number", number) != number:
                    wrong.append((number, status, body))
        return wrong

    with ThreadPoolExecutor(CLIENTS) as pool:
        shares = [numbers[start::CLIENTS] for start in range(CLIENTS)]
        return [one for wrong in pool.map(ask_for, shares) for one in wrong]


def left(port, token):
    """What each worker has left over, by process id."""
    found = {}
    for _ in range(8):
        with closing(Client(port, token)) as client:
            _, body = client.ask("/left")
        found[body.pop("pid")] = body
    return found


WORKERS = {
    "sync": ["--worker-class=sync", "--workers=2"],
    "gthread": ["--worker-class=gthread", "--workers=2", "--threads=8"],
    "gevent": ["--worker-class=gevent", "--workers=2"],
}
#: The worker's own, and the loop's; gevent keeps up to ten native threads beside its own.
MOST_THREADS = {"sync": 3, "gthread": 8 + 3, "gevent": 10 + 3}


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("worker", WORKERS)
def test_a_server_decides_as_is_known_and_leaves_nothing_behind(folder, token, worker, preload):
    with serving(folder, *WORKERS[worker], *(["--preload"] if preload else [])) as port:
        assert decisions(port, token, "decide", range(PER_SERVER)) == []
        for worker_left in left(port, token).values():
            assert worker_left["tasks"] == 0
            assert worker_left["loops"] <= 1
            assert worker_left["threads"] <= MOST_THREADS[worker]


@pytest.mark.parametrize("worker", WORKERS)
def test_two_kits_in_one_worker_both_decide(folder, token, worker):
    with serving(folder, *WORKERS[worker]) as port:
        for path in ("decide", "other", "decide"):
            assert decisions(port, token, path, range(60)) == []


# Under gevent Flask's own async views do not run side by side, with or without a guard.
@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_an_async_view_behind_an_async_policy_runs(folder, token, worker):
    with serving(folder, *WORKERS[worker]) as port:
        assert decisions(port, token, "async", range(60)) == []


def test_an_event_loop_decides_as_is_known_and_leaves_nothing_behind(folder, token, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    ByNumber = import_module("by_number").ByNumber  # noqa: N806

    async def decide(kit, number):
        request = Request("GET", f"/decide/{number}", {}, {"authorization": f"Bearer {token}"})
        entered = await admission(kit.aio.api, request, Guard(PUBLISHER), None)
        if isinstance(entered, RolecallError):
            return entered.status, entered.code
        return 200, None

    async def decide_all(kit):
        answers = await asyncio.gather(*(decide(kit, number) for number in range(IN_PROCESS)))
        return answers, len(asyncio.all_tasks())

    threads = threading.active_count()
    started = time.perf_counter()
    with Rolecall(KEY, SECRET, plugins=[ByNumber()], hook_timeout=30) as kit:
        answers, tasks = asyncio.run(decide_all(kit))
    assert [number for number, answer in enumerate(answers) if answer != expected(number)] == []
    assert tasks == 1
    assert threading.active_count() <= threads
    assert time.perf_counter() - started < 30
