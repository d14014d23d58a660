"""A proxy that loses an answer: the server has done what it was asked to, and the client never hears of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Proxy:
    """Passes connections on to a port of this machine.

    :ivar cuts_after: once a client has sent these bytes, the answer is thrown away and the connection reset.
    :ivar cut: set when that has happened.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts_after = b""
        self.cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                asked = threading.Event()
                threading.Thread(target=self._pass_on, args=(client, server, asked), daemon=True).start()
                threading.Thread(target=self._pass_back, args=(server, client, asked), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError), client, server:
            while sent := client.recv(65536):
                if self.cuts_after and self.cuts_after in sent:
                    self.cuts_after = b""
                    asked.set()
                server.sendall(sent)

    def _pass_back(self, server: socket.socket, client: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError), client, server:
            while answer := server.recv(65536):
                if asked.is_set():
                    client.shutdown(socket.SHUT_RDWR)
                    self.cut.set()
                    return
                client.sendall(answer)

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
