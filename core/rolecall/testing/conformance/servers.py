"""Sites behind real servers, each in its own process, reached over sockets."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .driving import Answer, ask_over_socket
from .traits import Difference

if TYPE_CHECKING:
    from .table import Case

#: The seconds that a server may take to start.
_PATIENCE: Final = 120


@dataclass
class Server:
    """A site behind a running server.

    :param differences: the server's own answers.
    """

    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    differences: Sequence[Difference] = ()

    def connect(self, timeout: float = 20) -> socket.socket:
        """Open a connection.

        :param timeout: the seconds after which waiting is given up.
        """
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def ask(self, case: Case, prefix: str = "") -> Answer:
        """Answer a case of the table; a session that it ends is open again afterwards.

        :param prefix: empty, or :data:`~rolecall.testing.conformance.MOUNTED`.
        """
        with self.connect() as connection:
            answer = ask_over_socket(connection, case, prefix)
        if case.changes:
            self.control("reset")
        return answer

    def send(self, *pieces: bytes, pause: float = 0, shut: bool = False, patience: float = 5) -> bytes:
        """Send bytes that need not be a sound request, and return the answer up to the end of the connection.

        :param pause: the seconds to wait before each piece but the first.
        :param shut: whether the server is told that no more data follows.
        :param patience: the seconds of silence after which the client gives up.
        """
        answer = b""
        with self.connect(patience) as connection, suppress(ConnectionError, TimeoutError):
            for number, piece in enumerate(pieces):
                time.sleep(pause if number else 0)
                # The server closed during the sending: the data so far is the answer.
                with suppress(ConnectionError):
                    connection.sendall(piece)
            if shut:
                # The connection was reset before: the kernel has none any more.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                answer += piece
        return answer

    def control(self, name: str, patience: float = 20) -> dict[str, int]:
        """Call the site itself: ``status`` returns the process's resources, ``reset`` opens its sessions again.

        :param patience: the seconds of silence after which the client gives up.
        """
        request = f"GET /-/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = self.send(request.encode(), patience=patience)
        told: dict[str, int] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return told

    def logged(self, since: int = 0) -> str:
        """The output of the process.

        :param since: the number of bytes to leave out at the beginning.
        """
        return self.log.read_bytes()[since:].decode("utf-8", "replace")


@contextmanager
def running(
    commands: Mapping[str, Sequence[str]],
    folder: Path,
    python_path: Path,
    differences: Mapping[str, Sequence[Difference]] | None = None,
) -> Iterator[dict[str, Server]]:
    """Start servers, all at once, by name; they end with the block.

    :param commands: by the server's name, the arguments of Python that start it. ``{fd}`` stands for the number of the
        socket that it is to listen on.
    :param folder: the folder for the output of the processes.
    :param python_path: the folder of the modules in the commands.
    :param differences: by the server's name, its own answers.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(python_path), os.environ.get("PYTHONPATH", "")])}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(_started(name, command, folder, environment, (differences or {}).get(name, ())))
            for name, command in commands.items()
        }
        for server in servers.values():
            assert server.control("status", _PATIENCE)["threads"] >= 1, server.logged()
        yield servers
        # All at once, because each takes a moment to end.
        for server in servers.values():
            server.process.terminate()


@contextmanager
def _started(
    name: str, command: Iterable[str], folder: Path, environment: dict[str, str], differences: Sequence[Difference]
) -> Iterator[Server]:
    path = folder / f"{name}.log"
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *(part.replace("{fd}", str(listener.fileno())) for part in command)],
            cwd=folder,
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
        port: int = listener.getsockname()[1]
    try:
        yield Server(name, process, port, path, differences)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
