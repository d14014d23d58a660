"""A server of key sets on loopback that answers as it is told: well, badly, slowly, or not at all."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[socket.socket], None]


def http(body: bytes, status: str = "200 OK", content_type: str | None = "application/json", *headers: str) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(data: bytes | Iterable[bytes], pause: float = 0.0) -> Answer:
    """Sends ``data``; in pieces, if it is several, with a pause after each."""

    def answer(client: socket.socket) -> None:
        for piece in [data] if isinstance(data, bytes) else data:
            client.sendall(piece)
            time.sleep(pause)

    return answer


def key_set(*keys: object, **further: object) -> bytes:
    return json.dumps({"keys": keys, **further}).encode()


class KeyServer:
    """Answers each connection by ``answer``; counts the requests, and keeps the last one."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked = 0
        self.request = b""
        self._closed = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/jwks.json"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self._closed:
            with suppress(OSError):
                client, _ = self._socket.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(20)
            request = b""
            while b"\r\n\r\n" not in request and (piece := client.recv(65_536)):
                request += piece
            if request:
                self.request = request
                self.asked += 1
                self.answer(client)

    def close(self) -> None:
        self._closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextmanager
def key_server(answer: Answer) -> Iterator[KeyServer]:
    server = KeyServer(answer)
    try:
        yield server
    finally:
        server.close()
