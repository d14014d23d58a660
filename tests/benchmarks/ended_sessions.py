"""What a million ended sessions cost a process that starts: ``python -m tests.benchmarks.ended_sessions``.

For PostgreSQL and Redis, on servers of its own: the seconds until a new process is in step, the bytes that each ended
session takes in it, and how long a check takes meanwhile, when it asks the store.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.postgres_servers import PostgresProcess
from tests.redis_servers import RedisProcess

from rolecall.errors import NotInStep, StoreUnavailable
from rolecall.stores import open_store


def resident() -> int:
    """The resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def session_id(number: int) -> str:
    """An id as long as those of the kit's own sessions."""
    return f"1_MX4xMjM0NTZ-fjE3OTUxODY4MDAwMDB-{number:034}flB-fg"


def start(url: str, count: int) -> None:
    """Open a store in this process, and print what its start costs."""
    store: Any = open_store(url)
    with closing(store):
        store.get_session("1_none")  # connects, and starts the follower
        before, began = resident(), time.perf_counter()
        asked: list[float] = []
        while True:
            started = time.perf_counter()
            try:
                assert store.has_ended(session_id(0)) is True
                break
            except NotInStep:
                assert store.ended_among([session_id(0), "1_none"]) == {session_id(0)}
                asked.append(time.perf_counter() - started)
            except StoreUnavailable as error:
                print("  refused:", error)
            time.sleep(0.02)
        seconds, grown = time.perf_counter() - began, resident() - before
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(f"  in step after {seconds:.2f} s; {grown / count:.0f} bytes for each, {peak / count:.0f} at the peak")
    if asked:
        median, longest = statistics.median(asked) * 1e3, max(asked) * 1e3
        print(f"  {len(asked)} checks meanwhile: median {median:.1f} ms, longest {longest:.1f} ms")


def fill_postgres(server: PostgresProcess, count: int) -> None:
    with closing(open_store(server.url + "?timeout=10")) as store:
        store.end_session("1_first", 7.5)  # makes the tables
    with (
        server.connect() as raw,
        raw.cursor().copy("COPY rolecall_ended_sessions (session_id, ended_at) FROM STDIN") as copy,
    ):
        for number in range(count):
            copy.write_row((session_id(number), 7.5))
    with server.connect() as raw:
        raw.execute("VACUUM ANALYZE rolecall_ended_sessions")


def fill_redis(server: RedisProcess, count: int) -> None:
    with server.client as client:
        for first in range(0, count, 10_000):
            ended = {session_id(number): 7.5 for number in range(first, min(first + 10_000, count))}
            client.zadd("{rolecall}:ended", ended)


def measure(name: str, url: str, count: int) -> None:
    print(f"\n{name}, {count:,} ended sessions", flush=True)
    command = [sys.executable, "-m", "tests.benchmarks.ended_sessions", "--url", url, "--count", str(count)]
    subprocess.run(command, check=True, timeout=120)


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        redis, postgres = RedisProcess(Path(folder), "--appendfsync", "no"), PostgresProcess("max_wal_size=4GB")
        try:
            fill_redis(redis.start(), count)
            measure("Redis", redis.url, count)
            redis.stop()
            fill_postgres(postgres.start(), count)
            measure("PostgreSQL", postgres.url, count)
        finally:
            redis.stop()
            postgres.remove()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.url:
        start(given.url, given.count)
    else:
        main(given.count)
