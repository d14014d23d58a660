"""The stores that the scripts try: each on a server, or in a folder, of its own."""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TypeVar

from rolecall.errors import StoreUnavailable

from ..postgres_servers import PostgresProcess
from ..redis_servers import RedisProcess
from ..waiting import PATIENCE

Answer = TypeVar("Answer")

STORES = ("sqlite", "postgres", "redis")
#: The seconds within which a networked store tells every worker that a session has ended, or the worker refuses.
MAX_STALENESS = 1.0


@dataclass
class Place:
    """Where the sessions of one run are kept.

    :ivar base: the store's URL without its options.
    :ivar fixed: options that the URL has in any case.
    :ivar server: None for SQLite.
    """

    name: str
    base: str
    server: RedisProcess | PostgresProcess | None = None
    fixed: tuple[str, ...] = field(default=())

    @property
    def url(self) -> str:
        """With the promised times."""
        return self.url_with()

    @property
    def patient_url(self) -> str:
        """For whatever is not about time: the machine may be busy."""
        return self.url if self.server is None else self.url_with("timeout=10", "max_staleness=10")

    @property
    def bound(self) -> float:
        """The seconds after which an acknowledged end is known to all workers."""
        return 0.0 if self.server is None else MAX_STALENESS

    def url_with(self, *options: str, port: int | None = None) -> str:
        """The URL with options, or by way of another port."""
        base = self.base
        if port is not None:
            assert self.server is not None
            base = base.replace(f":{self.server.port}/", f":{port}/")
        query = "&".join((*self.fixed, *options))
        return f"{base}?{query}" if query else base

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server stands still."""
        assert self.server is not None
        if isinstance(self.server, PostgresProcess):
            with self.server.frozen():
                yield
            return
        self.server.freeze()
        try:
            yield
        finally:
            self.server.thaw()


@contextmanager
def place(name: str) -> Iterator[Place]:
    """A new, empty place, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "sqlite":
            yield Place(name, f"sqlite:///{folder}/sessions.db")
            return
        server: RedisProcess | PostgresProcess
        server = RedisProcess(Path(folder)) if name == "redis" else PostgresProcess()
        try:
            server.start()
            yield Place(name, server.url, server)
        finally:
            server.stop() if isinstance(server, RedisProcess) else server.remove()


def insist(call: Callable[[], Answer]) -> Answer:
    """What a call answers, once the store answers at all."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def parser(about: str | None, rounds: int, stores: Sequence[str] = STORES) -> argparse.ArgumentParser:
    """A parser for the arguments that the scripts share."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--store", choices=stores, default=stores[0])
    made.add_argument("--rounds", type=int, default=rounds, help=f"how many ({rounds})")
    made.add_argument("--seconds", type=float, default=300, help="after which it begins no further round (300)")
    logging.getLogger("rolecall").setLevel(logging.CRITICAL)  # the faults are meant
    return made


def rounds_of(rounds: int, seconds: float = inf) -> Iterator[int]:
    """The numbers of the rounds, as long as there is time."""
    deadline = time.monotonic() + seconds
    for number in range(rounds):
        if time.monotonic() > deadline:
            show("out of time: rounds that were not begun", rounds - number)
            return
        yield number


def show(what: str, figure: object) -> None:
    print(f"{what:<64}{figure}", flush=True)


def verdict(problems: Sequence[str]) -> int:
    """Print the first problems; the exit code."""
    for problem in problems[:20]:
        print(f"PROBLEM: {problem}")
    show("problems", len(problems))
    return bool(problems)
