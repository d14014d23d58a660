"""What a guard costs behind real servers: ``PYTHONPATH=. python tests/benchmarks/servers.py``. It needs wrk, and Linux.

One app has a bare view and a guarded one. Flask runs under gunicorn, Starlette under uvicorn, each with two workers on
a SQLite store. wrk asks for the two views in turn with 16 connections; what counts is the median of the ratios.
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

from tests.waiting import free_port, soon

from rolecall import Rolecall

FLASK = """
from flask import Flask
from rolecall import Rolecall
from rolecall_flask import require_role, rolecall_blueprint
app = Flask(__name__)
app.register_blueprint(rolecall_blueprint(Rolecall.from_env()), url_prefix="/video")
@app.get("/bare")
def bare():
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
@require_role("moderator")
async def guarded(request):
    return PlainTextResponse("hello")
kit = Rolecall.from_env()
app = Starlette(routes=[Route("/bare", bare), Route("/guarded", guarded), Mount("/video", rolecall_app(kit))])
app.state.rolecall = kit
"""
SERVERS = {
    "Flask under gunicorn": (FLASK, ["gunicorn", "--workers", "2", "--log-level", "error", "--bind"], 0.97),
    "Starlette under uvicorn": (STARLETTE, ["uvicorn", "--workers", "2", "--log-level", "error", "--port"], 0.85),
}


@contextmanager
def serving(app: str, command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """An app behind a server, by its URL."""
    (folder / "app.py").write_text(app)
    port = free_port()
    where = f"127.0.0.1:{port}" if command[-1] == "--bind" else str(port)
    server = subprocess.Popen([sys.executable, "-m", *command, where, "app:app"], cwd=folder, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        assert soon(lambda: answers(f"{url}/bare"))
        yield url
    finally:
        server.terminate()
        server.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def rate(url: str, token: str, seconds: int) -> float:
    """The requests a second.

    :raises RuntimeError: if any was refused.
    """
    command = ["wrk", "-t", "1", "-c", "16", "-d", f"{seconds}s", "-H", f"Authorization: Bearer {token}", url]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"Requests/sec:\s*([\d.]+)", report)
    if found is None or "Non-2xx" in report:
        raise RuntimeError(f"{url} was refused: {report}")
    return float(found[1])


def main(rounds: int, seconds: int) -> None:
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    for name, (app, command, least) in SERVERS.items():
        with tempfile.TemporaryDirectory() as folder:
            settings = {
                "ROLECALL_API_KEY": "123456",
                "ROLECALL_API_SECRET": secrets.token_hex(32),
                "ROLECALL_STORE": f"sqlite:///{folder}/sessions.db",
            }
            with Rolecall.from_env(settings) as kit:
                token = kit.create_session().generate_token("moderator")
                with serving(app, command, Path(folder), {**os.environ, **settings}) as url:
                    pairs = [
                        (rate(f"{url}/bare", token, seconds), rate(f"{url}/guarded", token, seconds))
                        for _ in range(rounds + 1)
                    ][1:]
        ratio = statistics.median(guarded / bare for bare, guarded in pairs)
        bare, guarded = (statistics.median(rates) for rates in zip(*pairs, strict=True))
        print(f"{name:26} bare {bare:8,.0f}/s   guarded {guarded:8,.0f}/s   {ratio:.2f} of bare (at least {least})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each view is asked for (7)")
    parser.add_argument("--seconds", type=int, default=3, help="how long each time (3)")
    main(**vars(parser.parse_args()))
