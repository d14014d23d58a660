"""What the Redis store costs: ``PYTHONPATH=. python tests/benchmarks/redis_store.py``.

Run it in the project's root. It starts a server of its own, with ``appendfsync always``, and ends it.

- Each call beside the bare client's one durable SET, interleaved; what counts is the median of the ratios in a round.
- The server's memory for a session, and for its end.
"""

from __future__ import annotations

import secrets
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from measuring import Table, Times, show
from tests.redis_servers import RedisProcess

from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores.leases import Slot
from rolecall.stores.listing import Page
from rolecall.stores.redis import RedisStore
from rolecall.stores.upkeep import Over

SESSIONS = 20_000
NOW = 1_795_186_800.0
PROPERTIES = SessionProperties()
AS_JSON = PROPERTIES.as_json()


def record(created_by: str | None = None) -> SessionRecord:
    return SessionRecord(f"1_{secrets.token_hex(33)}", PROPERTIES, NOW + time.monotonic(), created_by=created_by)


def calls(server: RedisProcess) -> None:
    with closing(RedisStore(server.url + "?timeout=5")) as store, server.client as bare:
        added = record("ada")
        store.add_session(added)
        slots = [Slot("session", 1_000_000, NOW + 1e9), Slot("actor", 1_000_000, NOW + 1e9)]
        table: Table = {
            "bare redis-py: one SET": lambda: bare.set(f"bare:{secrets.token_hex(33)}", AS_JSON),
            "add_session": lambda: store.add_session(record()),
            "add_session with a creator": lambda: store.add_session(record("ada")),
            "end_session": lambda: store.end_session(secrets.token_hex(33), NOW),
            "use_once": lambda: store.use_once(secrets.token_hex(33), NOW + 60, NOW),
            "take_lease of two slots": lambda: store.take_lease(secrets.token_hex(8), slots, NOW),
            "bare redis-py: one GET": lambda: bare.get("bare"),
            "get_session": lambda: store.get_session(added.session_id),
            "list_sessions of 50": lambda: store.list_sessions(Page(50)),
        }
        show("one at a time", Times(table, 20, 20), "bare redis-py: one SET")


def memory(server: RedisProcess) -> None:
    with closing(RedisStore(server.url + "?timeout=5")) as store, server.client as bare:

        def used(what: str, before: int) -> int:
            now = int(bare.info("memory")["used_memory"])
            if what:
                print(f"{what:<44}{(now - before) / SESSIONS:>9.0f} bytes")
            return now

        print()
        for kind, created_by in (("a session", None), ("a session with a creator", "auth0|5f7c8ec7c33c6c004bbafe82")):
            bare.flushall()
            start = used("", 0)
            records = [record(created_by) for _ in range(SESSIONS)]
            rows = [(one.session_id, AS_JSON, one.created_at, one.created_by) for one in records]
            store.load("sessions", rows)
            added = used(kind, start)
            store.load("ended", [(one.session_id, NOW + 1e6) for one in records])
            used("  its end besides", added)
            started = time.perf_counter()
            while store.forget(Over(0.0, ended_before=NOW + 1e9)):
                pass
            print(f"  forgotten, µs a session{(time.perf_counter() - started) / SESSIONS * 1e6:>29.1f}")
            used("  its end alone", start)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        server = RedisProcess(Path(folder)).start()
        try:
            calls(server)
            memory(server)
        finally:
            server.stop()
