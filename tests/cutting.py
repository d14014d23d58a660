"""A proxy that loses an answer, delays answers, or resets connections: the server itself goes on."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

#: Closing the connection resets it (SO_LINGER, POSIX).
_RESETS = struct.pack("ii", 1, 0)


class Proxy:
    """Passes connections on to a port of this machine.

    :ivar cuts_after: once a client has sent these bytes, the answer is thrown away and the connection reset.
    :ivar cut: set when that has happened.
    :ivar delay: by how many seconds each answer comes later.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts_after = b""
        self.cut = threading.Event()
        self.delay = 0.0
        self._is_broken = False
        self._clients: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def broken(self) -> Iterator[None]:
        """Reset the connections that there are, and each new one."""
        self._is_broken = True
        for client in list(self._clients):
            _reset(client)
        try:
            yield
        finally:
            self._is_broken = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = None if self._is_broken else self._connect()
                if server is None:
                    _reset(client)
                    client.close()
                    continue
                self._clients.add(client)
                asked = threading.Event()
                threading.Thread(target=self._pass_on, args=(client, server, asked), daemon=True).start()
                threading.Thread(target=self._pass_back, args=(server, client, asked), daemon=True).start()

    def _connect(self) -> socket.socket | None:
        """A connection to the server; None if it is not there."""
        try:
            return socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            return None

    def _pass_on(self, client: socket.socket, server: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError), client, server:
            while sent := client.recv(65536):
                if self.cuts_after and self.cuts_after in sent:
                    self.cuts_after = b""
                    asked.set()
                server.sendall(sent)
        self._clients.discard(client)

    def _pass_back(self, server: socket.socket, client: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError), client, server:
            while answer := server.recv(65536):
                if asked.is_set():
                    client.shutdown(socket.SHUT_RDWR)
                    self.cut.set()
                    return
                if self.delay:
                    time.sleep(self.delay)
                client.sendall(answer)

    def close(self) -> None:
        self._listener.close()


def _reset(client: socket.socket) -> None:
    """Reset a connection, though other threads wait in its descriptor: they are woken, and close it."""
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
        client.shutdown(socket.SHUT_RD)


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
