"""A thousand sessions at once from one async worker: ``python -m tests.faults.loop_lag``.

``kit.aio.create_session()`` a thousand times at once, in each round. None may be refused, and the event loop must get
its turn again within 10 ms: what counts is the longest gap between two ticks in the median round. On a slow machine
asyncio alone takes longer to begin a thousand tasks, so beside it stand the gaps of a thousand tasks that only sleep,
and what Rolecall adds to them. Other processes of a busy machine make gaps, too: the CPU time of the loop's own thread
in its longest gap shows what this worker itself did.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from rolecall import Rolecall
from rolecall.errors import StoreUnavailable

from .places import Place, parser, place, rounds_of, show, verdict

AT_ONCE = 1000
#: The longest that the loop may be held up, in milliseconds.
LONGEST = 10.0


class Lag(NamedTuple):
    """How long a loop was held up at most, in milliseconds: by the wall clock, and by its thread's CPU time."""

    wall: float
    cpu: float
    seconds: float


async def lag_of(work: Callable[[], Awaitable[object]]) -> Lag:
    """The longest gaps between the ticks of a task that does nothing but sleep a millisecond at a time."""
    wall, cpu = [], []
    is_done = False

    async def tick() -> None:
        last, last_cpu = time.perf_counter(), time.thread_time()
        while not is_done:
            await asyncio.sleep(0.001)
            now, now_cpu = time.perf_counter(), time.thread_time()
            wall.append(now - last - 0.001)
            cpu.append(now_cpu - last_cpu)
            last, last_cpu = now, now_cpu

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.02)
    wall.clear()
    cpu.clear()
    began = time.perf_counter()
    await work()
    seconds, is_done = time.perf_counter() - began, True
    await ticking
    return Lag(max(wall) * 1e3, max(cpu) * 1e3, seconds)


async def _measure(kit: Rolecall, rounds: Iterable[int]) -> tuple[list[Lag], list[Lag], int]:
    refused = 0

    async def create() -> None:
        nonlocal refused
        try:
            await kit.aio.create_session()
        except StoreUnavailable:
            refused += 1

    async def all_at_once() -> None:
        await asyncio.gather(*(create() for _ in range(AT_ONCE)))

    async def bare() -> None:
        await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(AT_ONCE)))

    await all_at_once()  # connections, tables, threads
    bares, lags = [], []
    for _ in rounds:
        gc.collect()
        bares.append(await lag_of(bare))
        lags.append(await lag_of(all_at_once))
    return bares, lags, refused


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    return uvloop.new_event_loop


_LOOPS: dict[str, Callable[[], Callable[[], asyncio.AbstractEventLoop]]] = {
    "asyncio": lambda: asyncio.new_event_loop,
    "uvloop": _uvloop,
}


def run(where: Place, rounds: Iterable[int], longest: float, loop: str = "asyncio") -> list[str]:
    """How many were refused, and whether the loop was held up.

    :param longest: the most milliseconds.
    :param loop: the event loop: Python's own, or the one that uvicorn takes where it is installed.
    """
    with (
        Rolecall("123456", secrets.token_hex(32), store=where.patient_url, entry_points=False) as kit,
        asyncio.Runner(loop_factory=_LOOPS[loop]()) as runner,
    ):
        bares, lags, refused = runner.run(_measure(kit, rounds))
    wall, bare = (statistics.median(lag.wall for lag in of) for of in (lags, bares))
    show(f"{where.name}: {AT_ONCE:,} at once, s", f"{statistics.median(lag.seconds for lag in lags):.3f}")
    show("longest gap, ms: median", f"{wall:.1f}")
    show("more than bare tasks", f"{wall - bare:.1f}")
    show("all rounds", ", ".join(f"{lag.wall:.1f}" for lag in sorted(lags)))
    show("of its own CPU time", ", ".join(f"{lag.cpu:.1f}" for lag in sorted(lags)))
    show("bare tasks", ", ".join(f"{lag.wall:.1f}" for lag in sorted(bares)))
    show("of their own CPU time", ", ".join(f"{lag.cpu:.1f}" for lag in sorted(bares)))
    problems = [f"{refused} were refused"] if refused else []
    return problems if wall < longest else [*problems, f"the loop was held up for {wall:.1f} ms"]


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, 11)
    made.add_argument("--longest", type=float, default=LONGEST, help="the most milliseconds of a gap (10)")
    made.add_argument("--loop", choices=_LOOPS, default="asyncio", help="the event loop (asyncio)")
    given = made.parse_args(argv)
    with place(given.store) as where:
        return verdict(run(where, rounds_of(given.rounds, given.seconds), given.longest, given.loop))


if __name__ == "__main__":
    sys.exit(main())
