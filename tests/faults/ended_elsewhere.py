"""Ended in one worker, used in the three others: ``python -m tests.faults.ended_elsewhere --server uvicorn``.

Four workers of gunicorn (threads, because its ``sync`` workers keep no connection) or of uvicorn. A connection stays
with the worker that took it, so that this script knows whom it asks. In each round a session is created and its token
let in everywhere; then one worker ends it, and the others are asked until each has refused. It is a fault if a request
lets the token in that began later than the bound after the acknowledgement: 0 s for SQLite, ``max_staleness`` (1 s) for
PostgreSQL and Redis. So is a token that is let in where it was refused before.
"""

from __future__ import annotations

import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

from ..waiting import PATIENCE, free_port
from . import rooms
from .places import Place, parser, place, rounds_of, show, verdict

ROOT = Path(__file__).parents[2]
WORKERS = 4
SERVERS = {
    "gunicorn": (
        "gunicorn --preload --worker-class gthread --threads 8 --keep-alive 120 --log-level warning "
        f"--workers {WORKERS} --bind 127.0.0.1:{{port}} tests.faults.rooms:wsgi()"
    ),
    "uvicorn": (
        # A worker that a busy machine delays is not replaced.
        "uvicorn --factory --timeout-keep-alive 120 --timeout-worker-healthcheck 60 --log-level warning "
        f"--workers {WORKERS} --port {{port}} tests.faults.rooms:asgi"
    ),
}


class Worker:
    """A connection to one worker. It is never opened anew, because another worker might take it."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._connection.connect()
        self._connection.auto_open = 0
        self.pid = self.insist("POST", "/create")[-1]

    def ask(self, method: str, path: str, token: str | None = None) -> tuple[int, list[str]]:
        """The status, and the words of the answer."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._connection.request(method, path, headers=headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode().split()

    def insist(self, method: str, path: str, token: str | None = None) -> list[str]:
        """The words of the answer, once it is 200: a busy machine may be late."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status, words = self.ask(method, path, token)
            if status == 200:
                return words
        raise AssertionError(f"{path.split('/')[1]}: {status} {words}")

    def close(self) -> None:
        self._connection.close()


@contextmanager
def workers_of(server: str, where: Place) -> Iterator[list[Worker]]:
    """A connection to each of the workers of a server that keeps its sessions there."""
    port = free_port()
    command = [sys.executable, "-m", *SERVERS[server].format(port=port).split()]
    environ = {**os.environ, rooms.STORE: where.url, rooms.SECRET: secrets.token_hex(32)}
    with tempfile.TemporaryFile() as log, ExitStack() as stack:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
        try:
            found: dict[str, Worker] = {}
            deadline = time.monotonic() + PATIENCE
            while len(found) < WORKERS:
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{server} has not started: {log.read().decode()[-2000:]}")
                with suppress(OSError):
                    worker = stack.enter_context(_closing(Worker(port)))
                    found.setdefault(worker.pid, worker)
                time.sleep(0.01)
            yield list(found.values())
        except Exception as error:
            log.seek(0)
            error.add_note(f"the server wrote: {log.read().decode()[-2000:]}")
            raise
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE / 4)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)


@contextmanager
def _closing(worker: Worker) -> Iterator[Worker]:
    try:
        yield worker
    finally:
        worker.close()


class Round:
    """One session, ended in one worker and used in the others.

    :ivar delays: from the acknowledged end to the moment when each other worker first refused, in seconds.
    """

    def __init__(self, ends: Worker, others: Sequence[Worker], bound: float) -> None:
        self._ends, self._others, self._bound = ends, others, bound
        self.delays: list[float] = []
        self.problems: list[str] = []

    def run(self) -> None:
        session_id, token, _ = self._ends.insist("POST", "/create")
        path = f"/enter/{session_id}"
        for worker in self._others:
            if (pid := worker.insist("GET", path, token)[-1]) != worker.pid:
                self.problems.append(f"worker {pid} answered for {worker.pid}")
        self._ends.insist("POST", f"/end/{session_id}")
        ended = time.monotonic()
        self._use(path, token, ended)
        for worker in (self._ends, *self._others):
            if worker.ask("GET", path, token)[0] == 200:
                self.problems.append(f"worker {worker.pid} let in what it had ended or refused")

    def _use(self, path: str, token: str, ended: float) -> None:
        open_ = list(self._others)
        while open_:
            for worker in list(open_):
                began = time.monotonic()
                status = worker.ask("GET", path, token)[0]
                if status == 401:
                    self.delays.append(time.monotonic() - ended)
                    open_.remove(worker)
                elif status == 200 and began > ended + self._bound:
                    self.problems.append(f"worker {worker.pid} let a token in {began - ended:.3f} s after the end")
                    open_.remove(worker)
                elif time.monotonic() > ended + PATIENCE:
                    self.problems.append(f"worker {worker.pid} still answers {status}")
                    open_.remove(worker)


def run(where: Place, server: str, rounds: Iterable[int]) -> list[str]:
    """What was let in, and must not have been."""
    problems: list[str] = []
    delays: list[float] = []
    with workers_of(server, where) as workers:
        for number in rounds:
            ends = workers[number % WORKERS]
            round_ = Round(ends, [worker for worker in workers if worker is not ends], where.bound)
            round_.run()
            problems += round_.problems
            delays += round_.delays
    show(f"{where.name}, {server}: refusals in other workers", f"{len(delays):,}")
    if delays:
        show("until the refusal had arrived, median, ms", f"{statistics.median(delays) * 1e3:.1f}")
        show("longest, ms", f"{max(delays) * 1e3:.1f}")
    else:
        problems.append("nothing was refused")
    return problems


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, 10_000)
    made.add_argument("--server", choices=SERVERS, default="gunicorn")
    given = made.parse_args(argv)
    with place(given.store) as where:
        return verdict(run(where, given.server, rounds_of(given.rounds, given.seconds)))


if __name__ == "__main__":
    sys.exit(main())
