"""What policies cost a token, and what tracing them adds: ``python tests/benchmarks/decisions.py``.

All rows run interleaved in one process, so that a drift of the machine's speed touches each alike. What counts is the
median of the rounds, and the line through the medians: what a decision costs by itself, and what each policy adds.
"""

from __future__ import annotations

import argparse
import gc
import logging
import statistics
import sys
import time
from collections.abc import Callable

from rolecall import Allow, hookimpl
from rolecall.driver import InlineDriver, drive
from rolecall.driver.threads import ThreadPools
from rolecall.explain import Trace
from rolecall.plugins import Plugins
from rolecall.plugins.asking import vote
from rolecall.plugins.sources import passed
from rolecall.policy import Decision
from rolecall.roles import RoleTable

POLICIES = (0, 1, 3, 10, 30, 100)
#: The most µs that a decision may take, by the number of policies.
TARGETS = {3: 4.0, 30: 25.0}
#: How much the trace may add, as a part of what the decision takes.
TRACE_TARGET = 0.5
CALLS = 300

Row = Callable[[], object]


class Policy:
    """Allows, with a limit that changes nothing."""

    def __init__(self, number: int) -> None:
        self.name = f"policy {number:03}"
        self._vote = Allow(max_role="moderator")

    @hookimpl
    def rolecall_vote_token(self, request: object) -> Allow:
        return self._vote


def rows(count: int) -> tuple[Row, Row]:
    """A decision of so many policies, without and with its trace."""
    implementations = Plugins(passed([Policy(number) for number in range(count)])).vote_token
    roles, driver, trusted, request = RoleTable(), InlineDriver(ThreadPools()), Allow(), object()

    def decide() -> Decision:
        decision = drive(vote(implementations, request, trusted, roles, driver, 5.0))
        if refusal := decision.refusal():
            raise refusal
        return decision

    def decide_and_trace() -> object:
        trace = Trace()
        trace.votes(decide())
        return trace

    return decide, decide_and_trace


def measure(table: dict[tuple[int, bool], Row], rounds: int) -> dict[tuple[int, bool], float]:
    """The median µs of each row."""
    seconds: dict[tuple[int, bool], list[float]] = {name: [] for name in table}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, row in table.items():
                started = time.perf_counter()
                for _ in range(CALLS):
                    row()
                seconds[name].append(time.perf_counter() - started)
    finally:
        gc.enable()
    return {name: statistics.median(times) / CALLS * 1e6 for name, times in seconds.items()}


def target(what: str, value: float, bound: float) -> None:
    print(f"  {'met   ' if value <= bound else 'MISSED'} {what}: {value:.3f} (at most {bound:g})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="how often each row runs (60)")
    rounds = parser.parse_args().rounds
    logging.disable()
    print(f"Python {sys.version.split()[0]}, {rounds} rounds of {CALLS} decisions, medians")

    table = {(count, traced): row for count in POLICIES for traced, row in enumerate(rows(count))}
    times = measure({(count, bool(traced)): row for (count, traced), row in table.items()}, rounds)
    print(f"\n{'policies':>10}{'µs':>10}{'µs, traced':>14}{'the trace adds':>18}")
    for count in POLICIES:
        plain, traced = times[count, False], times[count, True]
        print(f"{count:>10}{plain:>10.2f}{traced:>14.2f}{traced / plain - 1:>17.0%}")

    slope, intercept = statistics.linear_regression(POLICIES, [times[count, False] for count in POLICIES])
    print(f"\n  {intercept:.2f} µs a decision, and {slope:.2f} µs each policy")
    for count, bound in TARGETS.items():
        target(f"{count} policies, µs", times[count, False], bound)
        target(f"{count} policies, what the trace adds", times[count, True] / times[count, False] - 1, TRACE_TARGET)


if __name__ == "__main__":
    main()
