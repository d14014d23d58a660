"""Calls of media services' APIs: what is repeated, and what is not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from rolecall.errors import Unavailable
from rolecall.media import calls
from rolecall.media.calls import Answer, ServiceAPI

from ...certificates import self_signed
from ...waiting import PATIENCE

ANSWERED = b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{"a": 42}'


class Answering(BaseHTTPRequestHandler):
    """Answers each request, if the client takes its certificate."""

    def do_GET(self) -> None:
        self.wfile.write(ANSWERED)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Service:
    """Says to each connection the next thing; what it says in place of an answer breaks the connection."""

    def __init__(self, *said: bytes) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.asked: list[str] = []
        self._said = said
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for said in self._said:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(4096).split(b" ")[0].decode())
                connection.sendall(said)

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def serve() -> Iterator[Any]:
    services: list[Service] = []

    def start(*said: bytes) -> Service:
        services.append(Service(*said))
        return services[-1]

    yield start
    for service in services:
        service.stop()


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[str]:
    """The URL of a server whose certificate no authority has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    server = HTTPServer(("127.0.0.1", 0), Answering)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def called(url: str, method: str, timeout: float = PATIENCE) -> Answer:
    return asyncio.run(ServiceAPI("Studio", url, timeout).call("Studio's call", method, "/x", body={"a": 1}))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("broken", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_a_call_that_may_be_repeated_is_repeated_once(serve, method, broken):
    service = serve(broken, ANSWERED)
    assert called(service.url, method) == Answer(200, {"a": 42})
    assert service.asked == [method, method]
    again = serve(broken, broken, ANSWERED)
    with pytest.raises(Unavailable, match="the connection broke"):
        called(again.url, method)
    assert again.asked == [method, method]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_call_that_may_have_been_carried_out_is_not_repeated(serve, method):
    service = serve(b"", ANSWERED)
    with pytest.raises(Unavailable, match="the connection broke"):
        called(service.url, method)
    assert service.asked == [method]


def test_a_call_that_was_never_sent_is_repeated_whatever_its_method(serve, monkeypatch):
    waiting = socket.socket()
    waiting.bind(("127.0.0.1", 0))  # nobody listens there
    waiting.settimeout(PATIENCE)

    def answer() -> None:
        connection, _ = waiting.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(ANSWERED)

    thread = Thread(target=answer, daemon=True)

    async def back() -> None:
        waiting.listen()
        thread.start()

    monkeypatch.setattr(calls, "_pause", back)
    try:
        url = f"http://127.0.0.1:{waiting.getsockname()[1]}"
        assert called(url, "POST") == Answer(200, {"a": 42})
    finally:
        waiting.close()
        thread.join(PATIENCE)


def test_a_repetition_has_no_time_of_its_own(serve, monkeypatch):
    async def long() -> None:
        """The time of the call is over, and longer than that the pause goes on."""
        loop = asyncio.get_running_loop()
        now = loop.time
        pausing = asyncio.ensure_future(asyncio.sleep(2 * PATIENCE))
        await asyncio.sleep(0)
        monkeypatch.setattr(loop, "time", lambda: now() + PATIENCE)
        await pausing

    monkeypatch.setattr(calls, "_pause", long)
    service = serve(b"", ANSWERED)
    with pytest.raises(Unavailable, match="did not answer within"):
        called(service.url, "GET")
    assert service.asked == ["GET"]


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "Https"])
def test_a_certificate_is_checked_however_the_scheme_is_written(secure, monkeypatch, tmp_path, scheme):
    url = secure.replace("https", scheme)
    with pytest.raises(Unavailable, match="no connection could be made"):
        called(url, "GET")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    assert called(url, "GET") == Answer(200, {"a": 42})
