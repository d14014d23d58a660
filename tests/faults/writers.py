"""Workers that create, end and use once all the time, and tell of it: for scripts that kill them or their server."""

from __future__ import annotations

import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from time import sleep
from typing import Any

from rolecall.errors import StoreUnavailable
from rolecall.sessions import ArchiveMode, MediaMode, SessionProperties, SessionRecord
from rolecall.stores import Store, open_store

from ..forking import forked

CREATED_AT, ENDED_AT = 1_795_186_800.125, 1_795_190_400.5
#: Single-use ids of the scripts are kept until then, and used now.
UNTIL, NOW = 1_795_200_000.0, 1_795_186_800.0
#: The acts of a worker, each on a thread of its own.
ACTS = ("create", "end", "use")


def record_of(name: str) -> SessionRecord:
    """The session of a name, no field of which has its default, so that one that is missing shows."""
    properties = SessionProperties(
        location="192.0.2.7",
        media_mode=MediaMode.ROUTED,
        archive_mode=ArchiveMode.ALWAYS,
        archive_name=name,
        archive_resolution="1280x720",
    )
    return SessionRecord(name, properties, CREATED_AT)


class Told:
    """What a worker has told of its acts.

    :ivar asked: the names of each act that it began.
    :ivar answered: what it was answered for each act and name, where it was answered.
    """

    def __init__(self) -> None:
        self.asked: dict[str, set[str]] = defaultdict(set)
        self.answered: dict[str, dict[str, str]] = defaultdict(dict)

    def take(self, lines: Iterable[str]) -> None:
        for line in lines:
            act, name, *answer = line.split()
            if answer:
                self.answered[act][name] = answer[0]
            else:
                self.asked[act].add(name)

    def open(self, act: str) -> set[str]:
        """The names of an act of which nobody knows whether it was done."""
        return self.asked[act] - self.answered[act].keys()


class Writer:
    """A process that writes until it is killed, and tells of each act before and after it.

    :param prefix: begins all its names.
    """

    def __init__(self, url: str, prefix: str) -> None:
        read, write = os.pipe()
        self.pid = forked(partial(_write_on, url, prefix, write))
        os.close(write)
        self._pipe = os.fdopen(read)
        self._is_killed = False
        self.told = Told()

    def wait_until_busy(self) -> None:
        """Wait until each act has succeeded once."""
        while not all(self.told.answered[act] for act in ACTS):
            line = self._pipe.readline()
            assert line, "the worker has ended"
            self.told.take([line])

    def kill(self) -> None:
        if not self._is_killed:
            self._is_killed = True
            os.kill(self.pid, signal.SIGKILL)

    def all_told(self) -> Told:
        """What it told until it was killed."""
        self.told.take(line for line in self._pipe if line.endswith("\n"))
        self._pipe.close()
        assert os.WTERMSIG(os.waitpid(self.pid, 0)[1]) == signal.SIGKILL
        return self.told


def _write_on(url: str, prefix: str, pipe: int) -> None:
    store: Any = open_store(url)
    acts: dict[str, Callable[[str], object]] = {
        "create": lambda name: store.add_session(record_of(name)),
        "end": lambda name: store.end_session(name, ENDED_AT),
        "use": lambda name: store.use_once(name, UNTIL, NOW),
    }

    def tell(*words: object) -> None:
        os.write(pipe, (" ".join(map(str, words)) + "\n").encode())  # at once: it is shorter than PIPE_BUF

    def do(act: str, name: str) -> None:
        tell(act, name)
        try:
            answer = acts[act](name)
        except StoreUnavailable:
            sleep(0.005)  # its outcome is unknown, as after a kill
        else:
            tell(act, name, answer)

    def work(act: str) -> None:
        for number in range(10**6):
            name = f"{prefix}_{act}_{number}"
            if act == "end":
                do("create", name)
            do(act, name)

    threads = [threading.Thread(target=work, args=(act,)) for act in ACTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Observer:
    """Another worker: a process with a store of its own, which only says what has ended."""

    def __init__(self, url: str) -> None:
        requests, self._requests = os.pipe()
        answers, write = os.pipe()
        self.pid = forked(partial(_observe, url, requests, write))
        os.close(requests)
        os.close(write)
        self._answers = os.fdopen(answers)

    def ended(self, names: list[str]) -> set[str] | None:
        """Those of the names that have ended; None if it cannot tell."""
        os.write(self._requests, (" ".join(names) + "\n").encode())
        answer = self._answers.readline()
        assert answer, "the observer has ended"
        return None if answer == "?\n" else set(answer.split())

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._requests)
        self._answers.close()


def _observe(url: str, requests: int, answers: int) -> None:
    signal.alarm(900)
    store: Store = open_store(url)
    with os.fdopen(requests) as lines:
        for line in lines:
            try:
                answer = " ".join(name for name in line.split() if store.has_ended(name))
            except StoreUnavailable:
                answer = "?"
            os.write(answers, f"{answer}\n".encode())
