"""A history of concurrent calls in four processes, checked: ``python -m tests.faults.histories``.

In each round four processes create, end, get, ask for and use once the same few names at the same time, in an order of
each one's own. A round's history is checked by ``linearizable.py``: creations, ends as ``get_session`` tells them, and
single-use ids are linearizable in every store; ``has_ended`` is so in SQLite, and bounded by ``max_staleness`` in
PostgreSQL and Redis.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic, sleep
from typing import Any

from rolecall.errors import StoreUnavailable
from rolecall.stores import open_store

from ..forking import forked
from .linearizable import Call, problems
from .places import Place, parser, place, rounds_of, show, verdict
from .writers import ENDED_AT, NOW, UNTIL, record_of

PROCESSES, NAMES = 4, 5
#: The chance of each act.
ACTS = {"create": 1, "end": 1, "use": 2, "get": 4, "has_ended": 8}
CALLS = 60


class Caller:
    """A process with a store of its own, which makes the calls of one round when it is told to."""

    def __init__(self, url: str, number: int) -> None:
        requests, self._requests = os.pipe()
        answers, write = os.pipe()
        self._pid = forked(partial(_call_on, url, number, requests, write))
        os.close(requests)
        os.close(write)
        self._answers = os.fdopen(answers)

    def begin(self, round_: int) -> None:
        os.write(self._requests, f"{round_}\n".encode())

    def calls(self) -> list[Call]:
        answer = self._answers.readline()
        assert answer, "the process has ended"
        return [Call(*fields) for fields in json.loads(answer)]

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._requests)
        self._answers.close()


def _call_on(url: str, number: int, requests: int, answers: int) -> None:
    signal.alarm(900)
    random.seed()
    store: Any = open_store(url)
    with os.fdopen(requests) as lines, os.fdopen(answers, "w") as out:
        for line in lines:
            calls = [_call(store, number, act, f"1_{int(line)}_{random.randrange(NAMES)}") for act in _acts()]
            print(json.dumps(calls), file=out, flush=True)


def _acts() -> list[str]:
    return random.choices(list(ACTS), list(ACTS.values()), k=CALLS)


def _call(store: Any, number: int, act: str, name: str) -> Call:
    function = _function(store, act, name)
    sleep(random.choice((0.0, 0.0, 0.001)))
    began = monotonic()  # the system's clock, the same in all processes
    try:
        answer, is_known = function(), True
    except StoreUnavailable:
        answer, is_known = None, False
    return Call(number, act, name, began, monotonic(), answer, is_known)


def _function(store: Any, act: str, name: str) -> Callable[[], object]:
    def create() -> str:
        """Two stores refuse a second creation, and Redis leaves the first one: the record is the same anyhow."""
        store.add_session(record_of(name))
        return name

    def get() -> tuple[str, bool] | None:
        record = store.get_session(name)
        return None if record is None else (record.properties.archive_name, record.ended_at is not None)

    return {
        "create": create,
        "get": get,
        "end": lambda: store.end_session(name, ENDED_AT),
        "use": lambda: store.use_once(name, UNTIL, NOW),
        "has_ended": lambda: store.has_ended(name),
    }[act]


def run(where: Place, rounds: Iterable[int]) -> list[str]:
    """What no linearizable store could have answered."""
    callers = [Caller(where.url, number) for number in range(PROCESSES)]
    found: list[str] = []
    calls = unknown = 0
    try:
        for number in rounds:
            for caller in callers:
                caller.begin(number)
            history = [call for caller in callers for call in caller.calls()]
            found += problems(history, where.bound)
            calls += len(history)
            unknown += sum(not call.is_known for call in history)
    finally:
        for caller in callers:
            caller.close()
    show(f"{where.name}: calls in {PROCESSES} processes", f"{calls:,}")
    show("of which were not answered, or refused", f"{unknown:,}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    given = parser(__doc__, 1000).parse_args(argv)
    with place(given.store) as where:
        return verdict(run(where, rounds_of(given.rounds, given.seconds)))


if __name__ == "__main__":
    sys.exit(main())
