"""What a million revoked tokens cost a check, and memory: ``python tests/benchmarks/withdrawals.py``."""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import sqlite3
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from math import inf
from pathlib import Path

from measuring import Fresh, Table, Times, in_processes, show, target
from peers import DATA, SECRET

from rolecall import Rolecall
from rolecall.sessions import SessionRecord
from rolecall.stores.marks import Marks, mark_name
from rolecall.stores.memory import MemoryStore
from rolecall.stores.sqlite import SQLiteStore

API_KEY = "123456"
FLOOR = "floor: json + base64 + hmac.digest"


def withdrawals(count: int) -> Iterator[tuple[str, float]]:
    """Marks of so many revoked tokens, and of a tenth as many resets and exclusions."""
    for number in range(count):
        yield mark_name("token", f"1_session{number // 3}", f"{number:016x}"), inf
        if number % 10 == 0:
            yield mark_name("reset", f"1_session{number}"), 1_795_186_800_000.0 + number
            yield mark_name("excluded", f"1_session{number}", "0", f"user{number}"), 1e10 + number


def in_memory(count: int, session: SessionRecord) -> Rolecall:
    store = MemoryStore()
    store.add_session(session)
    store.marks.learn_all(withdrawals(count))
    return Rolecall(API_KEY, SECRET, store=store)


def on_sqlite(path: Path, count: int, session: SessionRecord) -> Rolecall:
    with closing(SQLiteStore(path)) as store:
        store.add_session(session)
    with closing(sqlite3.connect(path)) as raw, raw:
        rows = ((name, value, inf) for name, value in withdrawals(count))
        raw.executemany("INSERT INTO rolecall_marks VALUES (?, ?, ?)", rows)
    store = SQLiteStore(path)
    expected = sum(1 for _ in withdrawals(count))
    while len(store.marks) < expected:  # each call reads a page
        store.has_ended(session.session_id)
    return Rolecall(API_KEY, SECRET, store=store)


def checks(rounds: int, marks: int) -> None:
    store = MemoryStore()
    session_id = Rolecall(API_KEY, SECRET, store=store).create_session().session_id
    session = store.get_session(session_id)
    assert session is not None
    with tempfile.TemporaryDirectory() as folder:
        kits = {
            "none": in_memory(0, session),
            "ten": in_memory(10, session),
            f"{marks:,}": in_memory(marks, session),
            "none, SQLite": on_sqlite(Path(folder, "none.db"), 0, session),
            f"{marks:,}, SQLite": on_sqlite(Path(folder, "many.db"), marks, session),
        }
        compare(rounds, marks, session_id, kits)
        for kit in kits.values():
            kit.close()


def compare(rounds: int, marks: int, session_id: str, kits: dict[str, Rolecall]) -> None:
    """Time the floor, and each kit with tokens that it has and that it has not seen."""
    key = SECRET.encode()

    def mint() -> str:
        return kits["none"].generate_token(session_id, "moderator", None, DATA, ["focus", "small"], actor="ada")

    fresh = {name: Fresh(mint) for name in (FLOOR, *kits)}
    seen = mint()

    def floor() -> object:
        signing_input, _, signature = fresh[FLOOR]().encode().rpartition(b".")
        header, _, payload = signing_input.partition(b".")
        json.loads(_decode(header))
        if not hmac.compare_digest(_decode(signature), hmac.digest(key, signing_input, "sha256")):
            raise ValueError
        return json.loads(_decode(payload))

    table: Table = {FLOOR: floor}
    for name, kit in kits.items():
        table[f"first sight, revoked: {name}"] = partial(verify, kit, fresh[name])
        table[f"seen before, revoked: {name}"] = partial(kit.verify_token, seen)
    times = Times(table, rounds, 400, list(fresh.values()))
    show("verify", times, FLOOR)
    for name in kits:
        target(f"seen before / floor, revoked: {name}", times.ratio(f"seen before, revoked: {name}", FLOOR), 0.14)
        target(f"first sight / floor, revoked: {name}", times.ratio(f"first sight, revoked: {name}", FLOOR), 0.95)
    for sight in ("first sight", "seen before"):
        flat = times.ratio(f"{sight}, revoked: {marks:,}", f"{sight}, revoked: ten")
        target(f"{sight}, a million / ten", flat, 1.1)


def verify(kit: Rolecall, next_token: Callable[[], str]) -> object:
    return kit.verify_token(next_token())


def memory(marks: int) -> None:
    """Bytes of a mark, as Python asks for them; its allocator rounds up to 16."""
    numbers = range(marks)
    kinds = {
        "for good": ((mark_name("token", f"1_session{one}", f"{one:016x}"), inf) for one in numbers),
        "with a time": ((mark_name("excluded", f"1_session{one}", "0", "ada"), 1e10 + one) for one in numbers),
    }
    print()
    for kind, told in kinds.items():
        tracemalloc.start()
        known = Marks()
        known.learn_all(told)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        target(f"bytes for each of {marks:,}, {kind}", size / marks, 100)


def _decode(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--marks", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=3, help="in how many processes, one after the other (3)")
    asked = parser.parse_args()
    if asked.processes > 1:
        in_processes(asked.processes)
    else:
        checks(asked.rounds, asked.marks)
        memory(asked.marks)
