"""What a guard costs behind real servers: ``PYTHONPATH=. python tests/benchmarks/servers.py``. It needs wrk, and Linux.

One server has a bare view and a guarded one, which the framework finds in the same number of steps. Flask runs under
gunicorn, Starlette under uvicorn, each with two workers on a SQLite store. wrk asks for the two views in turn with 64
connections, and sends both the same headers, because it is the server that reads them: so the ratio has what the guard
costs, with the header that it adds to the answer. With few ``--connections``, one worker of uvicorn's often accepts
most of them, and the other one idles, so that rates differ by a half.

What counts is the median of the ratios in a round, and of these the median over some ``--starts`` of the server: where
it happens to have its code and data in memory, and in which order its hash tables, shifts the ratio by 5 %.

A view that adds that header itself, in the shortest way of its framework, shows what the header costs. The bare view is
asked without a token, too, which shows what the header costs that the server reads.

The workers share the processors with wrk, and with all that runs beside them. The processor time that the workers take
for a request varies less than the rates.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.waiting import free_port, soon

from rolecall import Rolecall

FLASK = """
from flask import Flask, after_this_request
from rolecall import Rolecall
from rolecall_flask import require_role, rolecall_blueprint
app = Flask(__name__)
app.register_blueprint(rolecall_blueprint(Rolecall.from_env()), url_prefix="/video")
@app.get("/bare")
def bare():
    return "hello"
def kept(response):
    response.headers.add("Cache-Control", "no-store")
    return response
@app.get("/header")
def header():
    after_this_request(kept)
    return "hello"
@app.get("/guarded")
@require_role("moderator")
def guarded():
    return "hello"
"""
STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from rolecall import Rolecall
from rolecall_starlette import require_role, rolecall_app
async def bare(request):
    return PlainTextResponse("hello")
async def header(request):
    response = PlainTextResponse("hello")
    response.raw_headers.append((b"cache-control", b"no-store"))
    return response
@require_role("moderator")
async def guarded(request):
    return PlainTextResponse("hello")
kit = Rolecall.from_env()
apps = {}
for path, view in (("/bare", bare), ("/header", header), ("/guarded", guarded)):
    apps[path] = Starlette(routes=[Route(path, view), Mount("/video", rolecall_app(kit))])
async def app(scope, receive, send):
    await apps.get(scope.get("path"), apps["/bare"])(scope, receive, send)
"""
SERVERS = {
    "Flask under gunicorn": (FLASK, ["gunicorn", "--workers", "2", "--log-level", "error", "--bind"], 0.97),
    "Starlette under uvicorn": (STARLETTE, ["uvicorn", "--workers", "2", "--log-level", "error", "--port"], 0.85),
}


class Asked(NamedTuple):
    """What wrk has found out.

    :param rate: the requests a second.
    :param cost: the processor time of the workers for each of them, in microseconds.
    """

    rate: float
    cost: float


@contextmanager
def serving(app: str, command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """An app behind a server, by its URL and the number of the process."""
    (folder / "app.py").write_text(app)
    port = free_port()
    where = f"127.0.0.1:{port}" if command[-1] == "--bind" else str(port)
    server = subprocess.Popen([sys.executable, "-m", *command, where, "app:app"], cwd=folder, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        assert soon(lambda: answers(f"{url}/bare"))
        yield url, server.pid
    finally:
        server.terminate()
        server.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def ask(url: str, token: str | None, seconds: int, server: int, connections: int = 64) -> Asked:
    """Ask as often as it goes.

    :param token: the token that is sent; None for no header.
    :param server: the number of the server's process.
    :param connections: how many wrk holds at a time.
    :raises RuntimeError: if any request was refused.
    """
    header = [] if token is None else ["-H", f"Authorization: Bearer {token}"]
    began = processor_time(server)
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", *header, url]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    took = processor_time(server) - began
    found = re.search(r"(\d+) requests in .*Requests/sec:\s*([\d.]+)", report, re.DOTALL)
    if found is None or "Non-2xx" in report:
        raise RuntimeError(f"{url} was refused: {report}")
    return Asked(float(found[2]), took / int(found[1]) / 1000)


def processor_time(process: int | str) -> int:
    """The processor time of a process and of all below it, in nanoseconds."""
    tasks = [*Path(f"/proc/{process}/task").iterdir()]
    own = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    return own + sum(processor_time(child) for task in tasks for child in (task / "children").read_text().split())


def ratios(one: str, rounds: list[dict[str, Asked]]) -> tuple[float, float]:
    """Of one start: the guarded view's rate and its cost, each beside those of another view in the same round."""
    pairs = [(found[one], found["guarded"]) for found in rounds]
    rate = statistics.median(guarded.rate / other.rate for other, guarded in pairs)
    return rate, statistics.median(other.cost / guarded.cost for other, guarded in pairs)


def show(one: str, starts: list[list[dict[str, Asked]]]) -> None:
    """Print what was found out, and between which values the ratios of single starts are."""
    asked = [found[one] for rounds in starts for found in rounds]
    rate, cost = (statistics.median(values) for values in zip(*asked, strict=True))
    told = "; ".join(
        f"{statistics.median(found):.3f} of its {what} ({min(found):.2f} to {max(found):.2f})"
        for what, found in zip(
            ("rate", "processor time"), zip(*(ratios(one, rounds) for rounds in starts), strict=True), strict=True
        )
    )
    print(f"  {one:28}{rate:8,.0f}/s{cost:8.1f} µs   guarded: {told}")


def main(starts: int, rounds: int, seconds: int, connections: int) -> None:
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    for name, (app, command, least) in SERVERS.items():
        found = [list(asked(app, command, rounds, seconds, connections)) for _ in range(starts)]
        print(f"\n{name}, at least {least} of bare")
        for one in found[0][0]:
            show(one, found)


def asked(app: str, command: list[str], rounds: int, seconds: int, connections: int) -> Iterator[dict[str, Asked]]:
    """Start a server, and ask for each view in turn, in so many rounds."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "ROLECALL_API_KEY": "123456",
            "ROLECALL_API_SECRET": secrets.token_hex(32),
            "ROLECALL_STORE": f"sqlite:///{folder}/sessions.db",
        }
        with Rolecall.from_env(settings) as kit:
            token = kit.create_session().generate_token("moderator")
            with serving(app, command, Path(folder), {**os.environ, **settings}) as (url, server):
                requests = {
                    "bare": (f"{url}/bare", token),
                    "guarded": (f"{url}/guarded", token),
                    "bare, with the header": (f"{url}/header", token),
                    "bare, asked without a token": (f"{url}/bare", None),
                }
                for number in range(rounds + 1):
                    answers = {what: ask(*request, seconds, server, connections) for what, request in requests.items()}
                    if number:  # the first one warms up
                        yield answers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=6, help="how often each server is started (6)")
    parser.add_argument("--rounds", type=int, default=4, help="how often each view is asked for after a start (4)")
    parser.add_argument("--seconds", type=int, default=1, help="how long each time (1)")
    parser.add_argument("--connections", type=int, default=64, help="how many wrk holds at a time (64)")
    main(**vars(parser.parse_args()))
