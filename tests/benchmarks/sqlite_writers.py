"""How long writers of one SQLite file wait for each other: ``python tests/benchmarks/sqlite_writers.py``.

Many processes create sessions at once, without and with a slow disk. None may be refused, and none may starve: the
longest wait of all is held against the mean. Exits with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from threading import Thread

from disks import compiler, faulty_disk
from measuring import target

from rolecall.errors import StoreUnavailable
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores.sqlite import SQLiteStore


def work(path: str, number: int, writes: int, threads: int) -> None:
    """Create sessions once the parent says so, and print the seconds that each took, and the errors."""
    waits: list[float] = []
    errors: list[str] = []

    def create(thread: int) -> None:
        for count in range(writes):
            record = SessionRecord(f"1_{count:08}_{number}_{thread}", SessionProperties(), time.time())
            started = time.perf_counter()
            try:
                store.add_session(record)
            except StoreUnavailable as error:
                errors.append(str(error))
            waits.append(time.perf_counter() - started)

    with closing(SQLiteStore(path)) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        running = [Thread(target=create, args=(thread,)) for thread in range(threads)]
        for one in running:
            one.start()
        for one in running:
            one.join()
    print(json.dumps([waits, errors]), flush=True)


def run(processes: int, writes: int, threads: int, milliseconds: float, longest: float) -> bool:
    """Let all processes write at once; return whether the targets are met."""
    with tempfile.TemporaryDirectory() as folder:
        environ = faulty_disk(Path(folder), milliseconds) if milliseconds else os.environ
        waits, errors, kept, seconds = waits_of(processes, writes, threads, environ)
    mean, rate = statistics.fmean(waits), len(waits) / seconds
    median, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
    times = f"mean {mean * 1e3:.1f}, median {median * 1e3:.1f}, p99 {p99 * 1e3:.1f}, longest {waits[-1] * 1e3:.1f}"
    print(f"  {rate:,.0f}/s; waits in ms: {times}")
    for error in sorted(set(errors)):
        print(f"  refused: {error}")
    lost, side_by_side = len(waits) - len(errors) - kept, rate * milliseconds / 1e3
    target("refused", len(errors), 0)
    target("acknowledged and lost", lost, 0)
    target("longest wait / mean", waits[-1] / mean, longest)
    if milliseconds:
        target("writes in the time that a sync takes longer", side_by_side, processes / 4, at_least=True)
    is_quick = not milliseconds or side_by_side >= processes / 4
    return not errors and not lost and waits[-1] <= longest * mean and is_quick


def waits_of(
    processes: int, writes: int, threads: int, environ: Mapping[str, str]
) -> tuple[list[float], list[str], int, float]:
    """The seconds that each write took, the errors, how many sessions there are then, and the seconds of all."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/sessions.db"
        options = ["--writes", str(writes), "--threads", str(threads), "--path", path]
        workers = [
            subprocess.Popen(
                [sys.executable, __file__, "--worker", str(number), *options],
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(processes)
        ]
        for worker in workers:
            assert worker.stdout
            assert worker.stdout.readline() == "ready\n", "a worker could not open the store"
        started = time.perf_counter()
        for worker in workers:
            assert worker.stdin
            worker.stdin.write("go\n")
            worker.stdin.flush()
        answers = [json.loads(worker.communicate(timeout=600)[0]) for worker in workers]
        seconds = time.perf_counter() - started
        with closing(sqlite3.connect(path)) as raw:
            (kept,) = raw.execute("SELECT count(*) FROM rolecall_sessions").fetchone()

    waits = sorted(wait for of_worker, _ in answers for wait in of_worker)
    errors = [error for _, of_worker in answers for error in of_worker]
    return waits, errors, kept, seconds


def main(processes: int, writes: int, threads: int, delays: list[float], longest: float) -> bool:
    met = []
    for milliseconds in delays:
        print(f"\n{processes} processes × {threads} threads × {writes:,} sessions, {milliseconds:g} ms more a sync")
        met.append(run(processes, writes, threads, milliseconds, longest))
    return all(met)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=16, help="how many write at once (16)")
    parser.add_argument("--threads", type=int, default=1, help="of each process (1)")
    parser.add_argument("--writes", type=int, default=1000, help="of each thread (1000)")
    parser.add_argument("--milliseconds", type=float, nargs="*", help="by how much a sync takes longer (0 20)")
    parser.add_argument("--longest", type=float, default=20, help="the most that a wait may be, in means (20)")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--path", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        work(given.path, given.worker, given.writes, given.threads)
    else:
        delays = given.milliseconds or ([0, 20] if compiler() else [0])
        sys.exit(not main(given.processes, given.writes, given.threads, delays, given.longest))
