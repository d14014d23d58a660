"""Real Redis servers for tests: each on a free port, in a folder of its own, and able to be killed and frozen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .waiting import PATIENCE, free_port

#: The server's program: Redis or Valkey, or None.
PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")


class RedisProcess:
    """A Redis server of a test's own. It keeps its port and its folder when it is started again."""

    def __init__(self, folder: Path, *options: str, password: str | None = None, sentinel: bool = False) -> None:
        self.folder = folder
        self.port = free_port()
        self.socket = folder / "redis.sock"
        self._sentinel = sentinel
        self._options = (*options, "--requirepass", password) if password else options
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        retry = Retry(NoBackoff(), 0)
        return redis.Redis(port=self.port, password=self._password, retry=retry, socket_timeout=PATIENCE)

    def start(self) -> RedisProcess:
        """Start the server, with an append-only file that is synced at each write, and wait until it answers."""
        assert PROGRAM is not None
        assert self._process is None
        common = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        if self._sentinel:
            (self.folder / "sentinel.conf").touch()
            command = [PROGRAM, str(self.folder / "sentinel.conf"), *common[:-2], "--sentinel"]
        else:
            durable = ["--appendonly", "yes", "--appendfsync", "always", "--unixsocket", str(self.socket)]
            prompt = ["--repl-diskless-sync-delay", "0"]  # otherwise a replica waits 5 s for others
            command = [PROGRAM, *common, *durable, *prompt, *self._options]
        log = (self.folder / "redis.log").open("ab")
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the server has not started: {(self.folder / 'redis.log').read_text()}")
            time.sleep(0.01)
        return self

    def kill(self) -> None:
        """End the server at once, as the kernel or an operator might."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(PATIENCE)
        self._process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _answers(self) -> bool:
        try:
            with self.client as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
