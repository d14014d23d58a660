"""Rotates keys again and again while four workers mint and verify each other's tokens.

``python -m tests.faults.rotations --rotations 100``. Three ways: a ring file that all workers follow, a ring in their
store, and releases of the app whose configurations run side by side. A fault is a good token or session that is
refused, or a retired key's token that is accepted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Full
from typing import Any, Final, NamedTuple

from rolecall import Rolecall
from rolecall.driver import InlineDriver
from rolecall.driver.threads import ThreadPools
from rolecall.errors import InvalidToken, RolecallError
from rolecall.keys import HMACKey
from rolecall.keys.ring_document import RingPlace
from rolecall.keys.ring_file import RingFile
from rolecall.keys.ring_store import RingStore
from rolecall.keys.rotation import added, retired, rotated
from rolecall.keys.sealing import wrapping_keys
from rolecall.keys.states import key_id
from rolecall.kit import key_watch
from rolecall.stores import open_store
from rolecall.stores.synchronous import SyncDocuments

WORKERS: Final = 4
API_KEY: Final = "123456"
#: The seconds between two looks of a worker at the ring file, so that a hundred rotations take a minute.
LOOKS: Final = 0.05
#: The seconds for which a change waits for all workers.
PATIENCE: Final = 30.0
#: The seconds of load between two steps.
LOAD: Final = 0.1
_SPAWN: Final = multiprocessing.get_context("spawn")


class Config(NamedTuple):
    """A release's configuration: a ring file, a wrapping key, or secrets.

    ``retired`` are the ids of keys that are good no more.
    """

    store: str
    keys_file: str | None = None
    keys_key: str | None = None
    secret: str | None = None
    verify: tuple[str, ...] = ()
    retired: frozenset[str] = frozenset()
    looks: float = LOOKS

    def kit(self) -> Rolecall:
        if self.keys_file is not None:
            return Rolecall(API_KEY, keys_file=self.keys_file, store=self.store)
        if self.keys_key is not None:
            return Rolecall(API_KEY, keys_key=self.keys_key, store=self.store)
        return Rolecall(API_KEY, self.secret, verify_secrets=self.verify, store=self.store)


class Minted(NamedTuple):
    """A token, and the id of the key that signed it."""

    key: str
    token: str
    session_id: str


class Worker:
    """One worker of the app: it mints, and verifies what it and others have minted."""

    def __init__(self, config: Config, inbox: Any, outboxes: list[Any]) -> None:
        self.faults: list[str] = []
        self.checked = 0
        self._inbox, self._outboxes = inbox, outboxes
        self._seen: dict[str, Minted] = {}
        self.deploy(config)
        self._first = self.kit.create_session().session_id

    def deploy(self, config: Config) -> None:
        """Begin anew with a release's configuration."""
        self.config, self.kit = config, config.kit()

    def ring(self) -> dict[str, str]:
        """The state of each key, by its id."""
        return {**{one.id: one.state for one in self.kit.keys}, **dict.fromkeys(self.config.retired, "retired")}

    def work(self) -> None:
        """Mint a token and show it to the others, verify one of theirs, and look at those of retired keys."""
        signing = self._signing()
        session_id = self.kit.create_session().session_id
        token = self.kit.generate_token(session_id)
        if signing == self._signing():
            minted = Minted(signing, token, session_id)
            self._check(minted)
            for outbox in self._outboxes:
                with suppress(Full):
                    outbox.put_nowait(minted)
        with suppress(Empty):
            self._check(self._inbox.get_nowait())
        self._check_session(self._first)
        for key, state in self.ring().items():
            if state == "retired" and key in self._seen:
                self._check(self._seen[key])

    def _signing(self) -> str:
        return next(one.id for one in self.kit.keys if one.state == "signing")

    def _check(self, minted: Minted) -> None:
        self.checked += 1
        before = self.ring()
        try:
            for _ in range(3):  # from the second time on it is remembered
                self.kit.verify_token(minted.token, minted.session_id)
        except InvalidToken as error:
            if self.ring().get(minted.key) != "retired":
                self.faults.append(f"a good token of {minted.key} was refused: {error}")
        else:
            if before.get(minted.key) == "retired":
                self.faults.append(f"a token of the retired {minted.key} was accepted")
            self._seen.setdefault(minted.key, minted)
            self._check_session(minted.session_id)

    def _check_session(self, session_id: str) -> None:
        try:
            self.kit.generate_token(session_id)
            self.kit.get_session(session_id)
        except RolecallError as error:
            self.faults.append(f"a session was refused: {error}")


def _serve(config: Config, pipe: Any, inbox: Any, outboxes: list[Any]) -> None:
    key_watch.EVERY = config.looks  # type: ignore[misc]
    worker = Worker(config, inbox, outboxes)
    told: dict[str, str] = {}
    while True:
        if pipe.poll():
            message = pipe.recv()
            if message is None:
                pipe.send((worker.checked, worker.faults))
                return
            worker.deploy(message)
            told = {}
        try:
            worker.work()
        except Exception as error:  # told to whoever reads the faults
            worker.faults.append(f"a worker failed: {error!r}")
            time.sleep(LOOKS)
        if (ring := worker.ring()) != told:
            pipe.send(ring)
            told = ring


class Fleet:
    """The workers, seen from whoever rotates the keys."""

    def __init__(self, pipes: list[Any]) -> None:
        self._pipes = pipes
        self._rings: list[dict[str, str]] = [{} for _ in pipes]

    def deploy(self, number: int, config: Config) -> None:
        """Have one worker begin anew, and wait until it works."""
        self._drain()
        self._rings[number] = {}
        self._pipes[number].send(config)
        self.wait(lambda rings: bool(rings[number]))

    def wait(self, is_there: Callable[[list[dict[str, str]]], bool]) -> None:
        """Wait until the workers' rings are as they should be, and then a little, under load."""
        deadline = time.monotonic() + PATIENCE
        while not is_there(self._rings):
            assert time.monotonic() < deadline, f"the workers' keys are {self._rings}"
            time.sleep(LOOKS / 5)
            self._drain()
        time.sleep(LOAD)

    def wait_for(self, key: str, state: str) -> None:
        self.wait(lambda rings: all(ring.get(key) == state for ring in rings))

    def end(self) -> tuple[int, list[str]]:
        """How many tokens were checked, and the faults."""
        for pipe in self._pipes:
            pipe.send(None)
        ends = [self._end_of(pipe) for pipe in self._pipes]
        return sum(checked for checked, _ in ends), [fault for _, faults in ends for fault in faults]

    def _end_of(self, pipe: Any) -> tuple[int, list[str]]:
        while not isinstance(found := pipe.recv(), tuple):
            pass
        return found

    def _drain(self) -> None:
        for number, pipe in enumerate(self._pipes):
            while pipe.poll():
                self._rings[number] = pipe.recv()


@contextmanager
def fleet(config: Config) -> Iterator[Fleet]:
    """Start the workers; they end with the block."""
    inboxes = [_SPAWN.Queue(50) for _ in range(WORKERS)]
    pipes, processes = [], []
    for number in range(WORKERS):
        ours, theirs = _SPAWN.Pipe()
        outboxes = [inbox for place, inbox in enumerate(inboxes) if place != number]
        process = _SPAWN.Process(target=_serve, args=(config, theirs, inboxes[number], outboxes), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    try:
        yield Fleet(pipes)
    finally:
        for process in processes:
            process.kill()
            process.join()


def run_file(rotations: int, *, publishes: bool = True, looks: float = LOOKS) -> tuple[int, list[str]]:
    """Rotate in a ring file, which the workers follow.

    :param publishes: whether a key is published before it signs; without it there must be faults.
    :param looks: the seconds between two looks of a worker at the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = RingFile(Path(folder) / "keys.json")
        entries = file.change(API_KEY, lambda found: added(found, HMACKey(secrets.token_hex(32)), time.time()))
        config = Config(f"sqlite:///{folder}/store.db", keys_file=file.path, looks=looks)
        with fleet(config) as workers:
            workers.wait_for(entries[0].id, "signing")
            for _ in range(rotations):
                _rotate(file, workers, publishes=publishes)
            return workers.end()


def run_store(rotations: int, *, publishes: bool = True) -> tuple[int, list[str]]:
    """Rotate in the store, which the workers follow.

    :param publishes: as for :func:`run_file`.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Config(f"sqlite:///{folder}/store.db", keys_key=secrets.token_hex(32))
        pools = ThreadPools()
        documents = SyncDocuments(open_store(config.store), InlineDriver(pools), lambda: PATIENCE)
        rings = RingStore(documents, wrapping_keys(config.keys_key))
        entries = rings.change(API_KEY, lambda found: added(found, HMACKey(secrets.token_hex(32)), time.time()))
        try:
            with fleet(config) as workers:
                workers.wait_for(entries[0].id, "signing")
                for _ in range(rotations):
                    _rotate(rings, workers, publishes=publishes)
                return workers.end()
        finally:
            documents.close()
            pools.close()


def _rotate(file: RingPlace, workers: Fleet, *, publishes: bool) -> None:
    key = HMACKey(secrets.token_hex(32))
    new, now = key_id(key), time.time()
    if publishes:
        file.change(API_KEY, lambda found: added(found, key, now))
        workers.wait_for(new, "published")
        entries = file.change(API_KEY, lambda found: rotated(found, new, now, force=True))
    else:
        entries = file.change(API_KEY, lambda found: rotated(added(found, key, now), new, now, force=True))
    workers.wait_for(new, "signing")
    old = next(one.id for one in entries if one.state == "verifying")
    file.change(API_KEY, lambda found: retired(found, old, now, 0, force=True))
    workers.wait_for(old, "retired")


def run_releases(rotations: int, *, publishes: bool = True) -> tuple[int, list[str]]:
    """Rotate by releases of the app, worker by worker: verify the new secret, sign with it, drop the old one."""
    with tempfile.TemporaryDirectory() as folder:
        old = secrets.token_hex(32)
        config = Config(f"sqlite:///{folder}/store.db", secret=old)
        with fleet(config) as workers:
            workers.wait_for(key_id(HMACKey(old)), "signing")
            for _ in range(rotations):
                new = secrets.token_hex(32)
                gone = config.retired | {key_id(HMACKey(old))}
                steps = [config._replace(verify=(new,))] if publishes else []
                steps += [config._replace(secret=new, verify=(old,)), config._replace(secret=new, retired=gone)]
                for step in steps:
                    for number in range(WORKERS):
                        workers.deploy(number, step)
                config, old = steps[-1], new
            return workers.end()


WAYS: Final = {"ring file": run_file, "store": run_store, "releases": run_releases}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rotations", type=int, default=100)
    rotations = parser.parse_args().rotations
    failed = False
    for name, way in WAYS.items():
        begun = time.monotonic()
        checked, faults = way(rotations)
        failed = failed or bool(faults)
        print(f"{name}: {rotations} rotations, {checked:,} tokens checked, {time.monotonic() - begun:.0f} s")
        print("\n".join(sorted(set(faults))[:20]) or "  no fault")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
