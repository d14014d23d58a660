"""What a session costs each store and each worker: ``python -m tests.benchmarks.capacity``, from the project's root.

The bytes of a session without and with a creator, of its end, and of what each store writes for them; the memory of an
ended session in a worker; and the connections of a worker. ``docs/stores-promises.md`` reckons with them.
"""

from __future__ import annotations

import argparse
import gc
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psycopg
from tests.faults.places import STORES, Place, place
from tests.postgres_servers import PostgresProcess
from tests.redis_servers import RedisProcess

from rolecall import Rolecall
from rolecall.policies import AllowAnyone
from rolecall.stores.following import Follower, News

#: How many threads write at once, so that they are written together.
THREADS = 8
#: How many ended sessions a worker holds.
ENDED = 1_000_000


def sizes(where: Place) -> dict[str, int]:
    """The bytes that a store takes by now."""
    if isinstance(where.server, RedisProcess):
        with where.server.client as client:
            return {
                "memory": client.info("memory")["used_memory"],
                "append-only file": client.info("persistence")["aof_current_size"],
            }
    if isinstance(where.server, PostgresProcess):
        tables = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relname LIKE 'rolecall_%'"
        with where.server.connect() as raw:
            return {
                "tables with indexes": _number(raw.execute(f"{tables} AND relkind = 'r'".encode())),
                "write-ahead log": _number(raw.execute("SELECT pg_current_wal_lsn() - '0/0'")),
            }
    path = Path(where.base.removeprefix("sqlite:///"))
    return {"file": path.stat().st_size if path.exists() else 0}


def _number(cursor: psycopg.Cursor) -> int:
    row = cursor.fetchone()
    assert row
    return int(row[0])


def connections(where: Place) -> int:
    """How many connections workers have to a server."""
    if isinstance(where.server, RedisProcess):
        with where.server.client as client:
            return len(client.client_list()) - 1
    assert where.server is not None
    with where.server.connect() as raw:
        return _number(raw.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rolecall'"))


def fill(where: Place, number: int) -> Iterator[tuple[str, Callable[[], int | None]]]:
    """What is done to a store, and how."""
    secret = secrets.token_hex(32)
    ids: list[str] = []

    def with_kit(work: Callable[[Rolecall, ThreadPoolExecutor], object]) -> int | None:
        with (
            Rolecall("123456", secret, store=where.patient_url, plugins=[AllowAnyone()], entry_points=False) as kit,
            ThreadPoolExecutor(THREADS) as pool,
        ):
            work(kit, pool)
            return None if where.server is None else connections(where)

    def create(creators: Sequence[str | None], kit: Rolecall, pool: ThreadPoolExecutor) -> None:
        ids[:] = pool.map(lambda creator: kit.create_session(actor=creator).session_id, creators)

    def end(kit: Rolecall, pool: ThreadPoolExecutor) -> None:
        list(pool.map(kit.end_session, ids))

    yield "the tables", lambda: with_kit(lambda kit, _: kit.end_session(kit.create_session().session_id))
    yield "a session", lambda: with_kit(partial(create, [None] * number))
    yield "its end", lambda: with_kit(end)
    yield "with a creator", lambda: with_kit(partial(create, list(map(_creator, range(number)))))
    yield "its end", lambda: with_kit(end)


def _creator(number: int) -> str:
    """The id of one of a thousand creators, as long as those of Auth0."""
    return f"auth0|{number % 1000:024x}"


def measure(where: Place, number: int) -> None:
    print(f"\n{where.name}, bytes each, of {number:,}")
    for what, work in fill(where, number):
        before = sizes(where)
        used = work()
        after = sizes(where)
        if what == "the tables":
            continue
        grown = ", ".join(f"{name} {(size - before[name]) / number:,.0f}" for name, size in after.items())
        print(f"{what:<16}{grown}{f'; connections of {THREADS} threads: {used}' if used else ''}")


class _Empty:
    """A log without entries."""

    def snapshot(self) -> tuple[News, int]:
        return News(), 0

    def changes(self, after: int, wait: float) -> tuple[News, int]:
        return News(), after

    def close(self) -> None:
        pass


def memory_of_ended() -> float:
    """The bytes of resident memory of each ended session in a worker."""
    follower = Follower(_Empty())
    gc.collect()
    before = _resident()
    for number in range(ENDED):
        follower.add(f"1_{number:032x}")
    gc.collect()
    return (_resident() - before) / ENDED


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=5000, help="how many sessions (5000)")
    number = parser.parse_args().number
    print(f"an ended session in a worker, of {ENDED:,}: {memory_of_ended():.0f} bytes")
    for name in STORES:
        with place(name) as where:
            measure(where, number)
