"""How fast the PostgreSQL store is: ``python -m tests.benchmarks.postgres [URL]``, from the project's root.

Without a URL it starts a server of its own, with fsync on, and ends it. A database that the URL names keeps the rows.

- One creation beside the bare client's one INSERT, interleaved; what counts is the median of the ratios in a round.
- A thousand creations at once from one asyncio worker, and how long they hold the loop up, beside as many bare sleeps.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing

import psycopg
from measuring import Table, Times, show
from tests.postgres_servers import PostgresProcess

from rolecall import Rolecall
from rolecall.driver import LoopDriver
from rolecall.driver.threads import ThreadPools
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores.calling import Calls
from rolecall.stores.sql import SQLStore

AT_ONCE = 1000
ROUNDS = 5
PROPERTIES = SessionProperties()


def one_at_a_time(url: str) -> None:
    with closing(SQLStore(url)) as store, psycopg.connect(url, autocommit=True) as bare:
        store.add_session(record())
        insert = "INSERT INTO rolecall_sessions VALUES (%s, %s, %s)"
        added = record()
        table: Table = {
            "bare psycopg: one INSERT": lambda: bare.execute(insert, (record().session_id, PROPERTIES.as_json(), 1.5)),
            "Rolecall add_session": lambda: store.add_session(record()),
            "Rolecall get_session": lambda: store.get_session(added.session_id),
        }
        show("one at a time", Times(table, 20, 20), "bare psycopg: one INSERT")


def record() -> SessionRecord:
    return SessionRecord(f"1_{time.time_ns():x}{secrets.token_hex(4)}", PROPERTIES, 1.5)


async def lag_of(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """The seconds that the work took, and the longest time that the loop did not get its turn."""
    longest, is_done = 0.0, False

    async def watch() -> None:
        nonlocal longest
        while not is_done:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    longest, started = 0.0, time.perf_counter()
    await work()
    took, is_done = time.perf_counter() - started, True
    await watching
    return took, longest


async def at_once(store: SQLStore, kit: Rolecall, memory: Rolecall) -> None:
    calls = Calls(store, LoopDriver(ThreadPools()), lambda: 5.0, blocks=False)

    async def add() -> None:
        records = [record() for _ in range(AT_ONCE)]
        await asyncio.gather(*map(calls.add_session, records))

    async def create(kit: Rolecall) -> None:
        await asyncio.gather(*(kit.aio.create_session() for _ in range(AT_ONCE)))

    async def sleep() -> None:
        await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(AT_ONCE)))

    print(f"\n{AT_ONCE} at once from one asyncio worker{'seconds':>20}{'longest lag, ms':>20}")
    for name, work in (
        ("bare sleep(0.001)", sleep),
        ("the store's add_session", add),
        ("kit.aio.create_session", lambda: create(kit)),
        ("the same on memory://", lambda: create(memory)),
    ):
        await work()
        seconds, lags = zip(*[await lag_of(work) for _ in range(ROUNDS)], strict=True)
        ms = ", ".join(f"{lag * 1e3:.1f}" for lag in sorted(lags))
        print(f"{name:<44}{statistics.median(seconds):>9.3f}{ms:>40}")


def main(url: str) -> None:
    one_at_a_time(url)
    store = SQLStore(url + "?timeout=5")
    secret = secrets.token_hex(32)
    with Rolecall("123456", secret, store=store) as kit, Rolecall("123456", secret) as memory:
        asyncio.run(at_once(store, kit, memory))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        server = PostgresProcess().start()
        try:
            main(server.url)
        finally:
            server.remove()
