"""Where the conformance suite asks: the sites in this process, and behind real servers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

import pytest

from . import apps
from .driving import Answer, answer_of, ask_asgi, ask_wsgi, asked
from .requests_table import Case

HERE = Path(__file__).parent
SITES = {"flask": apps.flask_site, "wsgi": apps.wsgi_site, "starlette": apps.starlette_site}

_GUNICORN = ["-m", "gunicorn", "--workers=1", "--no-control-socket", "--graceful-timeout=1", "--bind=fd://{fd}"]
_WAITRESS = "import socket, waitress, apps; waitress.serve(apps.{site}, sockets=[socket.socket(fileno={fd})])"
_UVICORN = (
    "import socket, uvicorn; config = uvicorn.Config('apps:{site}', log_level='warning', lifespan='off'); "
    "uvicorn.Server(config).run(sockets=[socket.socket(fileno={fd})])"
)
_HYPERCORN = (
    "import asyncio, apps, hypercorn.asyncio, hypercorn.config; config = hypercorn.config.Config(); "
    "config.bind = ['fd://{fd}']; asyncio.run(hypercorn.asyncio.serve(apps.{site}, config))"
)
#: How each server is started, by its name and the framework of the site behind it.
COMMANDS = {
    "flask gunicorn": [*_GUNICORN, "apps:flask_site"],
    "flask waitress": ["-c", _WAITRESS.replace("{site}", "flask_site")],
    "wsgi gunicorn": [*_GUNICORN, "apps:wsgi_site"],
    "wsgi waitress": ["-c", _WAITRESS.replace("{site}", "wsgi_site")],
    "starlette uvicorn": ["-c", _UVICORN.replace("{site}", "starlette_site")],
    "starlette hypercorn": ["-c", _HYPERCORN.replace("{site}", "starlette_site")],
}


@pytest.fixture(scope="session")
def ask() -> Iterator[Callable[[str, Case], Answer]]:
    """Sends a case to an adapter in this process."""
    loop = asyncio.new_event_loop()

    def ask(adapter: str, case: Case) -> Answer:
        framework, _, mounted = adapter.partition(" ")
        site, prefix = SITES[framework], apps.MOUNTED if mounted else ""
        try:
            return ask_asgi(site, case, loop, prefix) if framework == "starlette" else ask_wsgi(site, case, prefix)
        finally:
            if case.changes:
                site.reset()

    yield ask
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@dataclass
class Server:
    """A site behind a running server."""

    name: str
    process: subprocess.Popen
    port: int
    log: Path

    def connect(self, timeout: float = 20) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def ask(self, case: Case, prefix: str = "") -> Answer:
        """The answer to a case of the table."""
        path, query, headers, body = asked(case, prefix)
        lines = [f"{case.method} {path}{'?' if query else ''}{query} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in [*headers, ("Connection", "close")]]
        if case.chunked:
            half = len(body) // 2
            pieces = [piece for piece in (body[:half], body[half:], b"") if piece] + [b""]
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        with self.connect() as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            with HTTPResponse(connection, method=case.method) as response:
                response.begin()
                answer = answer_of(response.status, response.getheaders(), response.read())
        if case.changes:
            self.control("reset")
        return answer

    def send(self, *pieces: bytes, pause: float = 0, shut: bool = False, patience: float = 5) -> bytes:
        """What comes back for bytes that need not be a sound request, until the server closes the connection.

        :param pause: the seconds to wait in front of each piece but the first.
        :param shut: whether the server is told that no more comes.
        :param patience: the seconds of silence after which the client gives up.
        """
        answer = b""
        with self.connect(patience) as connection, suppress(ConnectionError, TimeoutError):
            for number, piece in enumerate(pieces):
                time.sleep(pause if number else 0)
                # Closed while more was sent: what has come before is the answer.
                with suppress(ConnectionError):
                    connection.sendall(piece)
            if shut:
                # Reset before that: the kernel says that there is no connection any more.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                answer += piece
        return answer

    def control(self, name: str) -> dict[str, int]:
        """What the process holds: threads, sockets, and asyncio's tasks."""
        request = f"GET /-/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = self.send(request.encode(), patience=120)
        return json.loads(answer.partition(b"\r\n\r\n")[2])

    def logged(self, since: int = 0) -> str:
        return self.log.read_bytes()[since:].decode("utf-8", "replace")


@pytest.fixture(scope="session")
def servers(tmp_path_factory) -> Iterator[dict[str, Server]]:
    """Every server, started at once."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs a /proc that lists what a process has open")
    folder = tmp_path_factory.mktemp("servers")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    with ExitStack() as stack:
        started = {name: stack.enter_context(_started(name, folder, environment)) for name in COMMANDS}
        for server in started.values():
            assert server.control("status")["threads"] >= 1, server.logged()
        yield started
        for server in started.values():
            server.process.terminate()


class _started:  # noqa: N801 (a context manager)
    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        self._name, self._environment = name, environment
        self._log = folder / f"{name}.log"

    def __enter__(self) -> Server:
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, self._log.open("wb") as log:
            command = [part.replace("{fd}", str(listener.fileno())) for part in COMMANDS[self._name]]
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self._log.parent,
                env=self._environment,
                pass_fds=[listener.fileno()],
                stdout=log,
                stderr=log,
            )
            return Server(self._name, self._process, listener.getsockname()[1], self._log)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
