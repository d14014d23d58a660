"""Kills in the middle of create, end and use-once, and what must be true after each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic, sleep
from typing import Any

from rolecall.stores import open_store

from ..waiting import PATIENCE
from .places import Place, insist, show
from .writers import ACTS, ENDED_AT, NOW, UNTIL, Observer, Told, Writer, record_of

#: The longest time that workers write before a kill, in seconds.
LONGEST = 0.03


class Audit:
    """Compares what workers told with what the store holds.

    :ivar problems: what was lost, half there, or allowed twice.
    """

    def __init__(self, place: Place) -> None:
        self._url = place.patient_url
        self.problems: list[str] = []
        self.figures: Counter[str] = Counter()
        self._open()

    def _open(self) -> None:
        self._store: Any = open_store(self._url)
        self._observer = Observer(self._url)

    def begin_anew(self) -> None:
        """Leave no process of the store alive, and start others."""
        self.close()
        self._open()

    def close(self) -> None:
        self._store.close()
        self._observer.close()

    def check(self, told: Told) -> None:
        for act in ACTS:
            self.figures[f"{act}: acknowledged"] += len(told.answered[act])
            self.figures[f"{act}: in flight at a kill"] += len(told.open(act))
        self._check_sessions(told)
        self._check_uses(told)

    def _check_sessions(self, told: Told) -> None:
        ended = set()
        for name in sorted(told.asked["create"]):
            there = insist(lambda name=name: self._store.get_session(name))  # type: ignore[misc]
            if there is None:
                if name in told.answered["create"]:
                    self.problems.append(f"{name} was created, and is not there")
                continue
            self.figures["create: in flight, and done"] += name in told.open("create")
            if (there.session_id, there.properties, there.created_at) != _fields(name):
                self.problems.append(f"{name} is not what was created: {there}")
            if there.ended_at is not None:
                ended.add(name)
                self.figures["end: in flight, and done"] += name in told.open("end")
                if there.ended_at != ENDED_AT:
                    self.problems.append(f"{name} ended at {there.ended_at}")
        if lost := told.answered["end"].keys() - ended:
            self.problems.append(f"ended, and are not: {sorted(lost)}")
        if unasked := ended - told.asked["end"]:
            self.problems.append(f"ended by nobody: {sorted(unasked)}")
        self._check_observer(sorted(told.asked["create"]), ended)

    def _check_observer(self, names: list[str], ended: set[str]) -> None:
        """Another worker says the same, of what was in flight, too: an end is in the row and in the log, or in none."""
        deadline = monotonic() + PATIENCE
        while (seen := self._observer.ended(names)) != ended:
            if monotonic() > deadline:
                self.problems.append(f"another worker sees otherwise: {sorted(ended ^ (seen or set()))}")
                return
            sleep(0.005)

    def _check_uses(self, told: Told) -> None:
        for name in sorted(told.asked["use"]):
            firsts = [insist(lambda name=name: self._store.use_once(name, UNTIL, NOW)) for _ in range(2)]  # type: ignore[misc]
            self.figures["use: in flight, and done"] += name in told.open("use") and not firsts[0]
            before = told.answered["use"].get(name)
            if before == "False":
                self.problems.append(f"the first use of {name} was refused")
            if firsts.count(True) + (before == "True") > 1:
                self.problems.append(f"{name} was used twice: {before}, {firsts}")


def _fields(name: str) -> tuple[object, ...]:
    record = record_of(name)
    return record.session_id, record.properties, record.created_at


def run(place: Place, rounds: Iterable[int], workers: int, kill: Callable[[list[Writer], Audit], None]) -> list[str]:
    """Kill something while workers write, once in each round; what was found.

    :param kill: kills, and brings back what is needed to look.
    """
    audit, kills = Audit(place), 0
    try:
        for number in rounds:
            writers = [Writer(place.patient_url, f"1_{number}w{worker}") for worker in range(workers)]
            for writer in writers:
                writer.wait_until_busy()
            sleep(random.uniform(0, LONGEST))
            kill(writers, audit)
            kills += 1
            for writer in writers:
                audit.check(writer.all_told())
    finally:
        audit.close()
    show(f"{place.name}: kills", kills)
    for what, figure in sorted(audit.figures.items()):
        show(what, f"{figure:,}")
    return audit.problems
