"""Stands for the HTTP API of a hosted media service: it answers as a test says, and remembers what was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

#: A status, and what stands in the body: an object for JSON, the bytes themselves, or None for no body.
Answer = tuple[int, object]


class Asked(NamedTuple):
    """A call of the API."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        """The body: of JSON what it says, of a form its fields, and None if there is none."""
        if not self.body:
            return None
        if self.headers["content-type"] == "application/x-www-form-urlencoded":
            return dict(parse_qsl(self.body.decode(), strict_parsing=True))
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    @property
    def call(self) -> tuple[str, str, Any]:
        return self.method, self.path, self.said


class StandIn(ThreadingHTTPServer):
    """A service that gives the answers of ``script``, one after the other, and the last one again and again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Answer] = [(200, {})]
        self.asked: list[Asked] = []
        #: Holds back the answers until :attr:`released`.
        self.hangs = False
        self.released = Event()
        self._thread = Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def calls(self) -> list[tuple[str, str, Any]]:
        return [asked.call for asked in self.asked]

    def answer(self, asked: Asked) -> Answer:
        """The answer to a call: the next one of the script."""
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def stop(self) -> None:
        self.released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are none of the test's concern."""


class _Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        self.server.asked.append(asked)
        if self.server.hangs:
            self.server.released.wait(60)
        status, said = self.server.answer(asked)
        answer = b"" if said is None else said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        if said is not None and not isinstance(said, bytes):
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass
