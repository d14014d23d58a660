"""How the benchmarks measure: rows of a table interleaved in one process, medians of the ratios inside a round."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

Row = Callable[[], object]
Table = dict[str, Row]

# The environment variable with the name of a file that gets each target, a line of JSON each.
_RECORD: Final = "ROLECALL_BENCHMARK_TARGETS"


class Fresh:
    """Tokens that nobody has seen, minted before each round: as they come from a socket, just written to memory."""

    def __init__(self, mint: Callable[[], str]) -> None:
        self._mint = mint
        self._tokens: list[str] = []

    def refill(self, calls: int) -> None:
        self._tokens = [self._mint() for _ in range(calls)]

    def __call__(self) -> str:
        return self._tokens.pop()


class Times:
    """The seconds that each row of a table took, round by round.

    :param fresh: refilled before a round, which is not timed.
    """

    def __init__(self, table: Table, rounds: int, calls: int, fresh: Sequence[Fresh] = ()) -> None:
        self.seconds: dict[str, list[float]] = {name: [] for name in table}
        self.calls = calls
        gc.collect()
        gc.disable()
        try:
            for _ in range(rounds):
                for tokens in fresh:
                    tokens.refill(calls)
                for name, row in table.items():
                    started = time.perf_counter()
                    for _ in range(calls):
                        row()
                    self.seconds[name].append(time.perf_counter() - started)
        finally:
            gc.enable()

    def microseconds(self, name: str) -> float:
        return statistics.median(self.seconds[name]) / self.calls * 1e6

    def ratio(self, name: str, base: str) -> float:
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return statistics.median(one / other for one, other in pairs)


def show(title: str, times: Times, base: str) -> None:
    print(f"\n{title:<44}{'µs':>9}{'× ' + base.partition(':')[0]:>22}")
    for name in times.seconds:
        print(f"  {name:<42}{times.microseconds(name):>9.2f}{times.ratio(name, base):>22.2f}")


def target(what: str, value: float, bound: float, *, at_least: bool = False) -> None:
    met = value >= bound if at_least else value <= bound
    relation = "at least" if at_least else "at most"
    print(f"  {'met   ' if met else 'MISSED'} {what}: {value:.3f} ({relation} {bound:g})", flush=True)
    if _RECORD in os.environ:
        with open(os.environ[_RECORD], "a", encoding="utf-8") as record:
            print(json.dumps([what, value, bound, at_least]), file=record)


def in_processes(count: int) -> None:
    """Run this script in so many processes, one after the other, and print the median of each target.

    Where a process happens to have its code and data in memory shifts its ratios by some percent.
    """
    values: dict[tuple[str, float, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "targets")
        for _ in range(count):
            environment = {**os.environ, _RECORD: str(record)}
            subprocess.run([sys.executable, *sys.argv, "--processes", "1"], env=environment, check=True)
        for line in record.read_text(encoding="utf-8").splitlines():
            what, value, bound, at_least = json.loads(line)
            values.setdefault((what, bound, at_least), []).append(value)
    print(f"\nmedians of {count} processes")
    for (what, bound, at_least), found in values.items():
        target(what, statistics.median(found), bound, at_least=at_least)
