"""The upkeep of SQLite: what is forgotten, what followers make of it, and what an examination finds."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rolecall.errors import StoreUnavailable
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores import sqlite_examination, sqlite_file, sqlite_leases, sqlite_upkeep
from rolecall.stores.leases import Full, Slot
from rolecall.stores.listing import Page
from rolecall.stores.sqlite import SQLiteStore
from rolecall.stores.upkeep import Finding, Over

from .conftest import read_pages_of

PROPERTIES = SessionProperties()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def store(path):
    with closing(SQLiteStore(path)) as store:
        yield store


@pytest.fixture
def raw(store, path):
    """A connection of somebody else."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        yield raw


def ends(store: SQLiteStore, *session_ids: str, ended_at: float = 7.5) -> None:
    store.load("ended", [(session_id, ended_at) for session_id in session_ids])


def forget_all(store: SQLiteStore, over: Over) -> None:
    while store.forget(over):
        pass


def read_statements_of(store: SQLiteStore) -> list[str]:
    """The statements that the store reads with, from now on."""
    store.has_ended("1_a")  # opens the connection
    statements: list[str] = []
    cursor: Any = store._reader._cursor
    cursor.connection.set_trace_callback(statements.append)
    return statements


def sequences(raw: sqlite3.Connection) -> list[int]:
    return [sequence for (sequence,) in raw.execute("SELECT sequence FROM rolecall_changes ORDER BY sequence")]


# -- forgetting ------------------------------------------------------------------------------------


def test_the_log_keeps_its_newest_rows(store, raw, monkeypatch):
    monkeypatch.setattr(sqlite_upkeep, "KEPT_CHANGES", 5)
    ends(store, *(f"1_{number}" for number in range(30)))
    assert store.forget(Over(0.0, limit=10)) == 10
    forget_all(store, Over(0.0, limit=10))
    assert sequences(raw) == list(range(27, 32))


@pytest.mark.parametrize("kept", [0, 5])
def test_a_follower_misses_nothing_however_much_of_the_log_is_gone(store, path, kept, monkeypatch):
    monkeypatch.setattr(sqlite_upkeep, "KEPT_CHANGES", max(1, kept))
    read_pages_of(10, monkeypatch)
    with closing(SQLiteStore(path)) as other:
        for round_ in range(5):
            names = [f"1_{round_}_{number}" for number in range(12)]
            assert not any(other.has_ended(name) for name in names)
            ends(store, *names)
            forget_all(store, Over(0.0))
            assert all(other.has_ended(name) for name in names)


def test_processes_let_go_of_ends_that_were_forgotten(store, path, monkeypatch):
    read_pages_of(10, monkeypatch)
    with closing(SQLiteStore(path)) as other:
        ends(store, *(f"1_old{number}" for number in range(100)))
        assert all(other.has_ended(f"1_old{number}") for number in range(100))
        ends(store, *(f"1_new{number}" for number in range(20)), ended_at=50.0)
        forget_all(store, Over(0.0, created_before=10.0, limit=30))
        for _ in range(10):
            assert other.has_ended("1_new0")
        assert len(other._ended._state[3]) == 20
        assert not any(other.has_ended(f"1_old{number}") for number in range(100))
        assert all(other.has_ended(f"1_new{number}") for number in range(20))


def test_an_end_stays_as_long_as_the_record_of_its_session(store):
    """It was ended by a worker whose clock is behind."""
    store.add_session(SessionRecord("1_a", PROPERTIES, 10.5))
    store.end_session("1_a", 9.5)
    forget_all(store, Over(0.0, created_before=10.0))
    assert store.has_ended("1_a") is True
    forget_all(store, Over(0.0, created_before=11.0))
    assert (store.has_ended("1_a"), store.get_session("1_a")) == (False, None)


# -- leases ----------------------------------------------------------------------------------------


def test_a_lease_that_cannot_be_held_takes_no_place(store):
    for method in (store.take_lease, store.keep_lease):
        arguments = (5.0,) if method == store.take_lease else ()
        with pytest.raises(StoreUnavailable):
            method("a", [Slot("s", 1, 10.0), Slot("t \ud800", 1, 10.0)], *arguments)
    assert store.count()["leases"] == 0


def test_places_of_a_slot_without_a_limit_are_not_counted(store):
    store.load("leases", [(f"lease {number}", "s", 10.0) for number in range(300)])
    statements = read_statements_of(store)
    assert store.full_slot([Slot("s", None, 10.0)], 5.0) is None
    assert not any("rolecall_leases" in statement for statement in statements)
    assert store.full_slot([Slot("s", 300, 10.0)], 5.0) == Full("s", 10.0)
    assert any("rolecall_leases" in statement for statement in statements)


def test_places_that_are_over_are_deleted_by_those_who_come(store):
    for number in range(120):
        store.keep_lease(str(number), [Slot("s", 1, 10.0)])
    for later in range(1, 4):
        store.drop_lease(f"later {later - 1}")
        assert store.take_lease(f"later {later}", [Slot("s", 1, 30.0)], 20.0) is None
    assert store.count()["leases"] == 1


# -- copying ---------------------------------------------------------------------------------------


def test_other_writers_come_between_the_places_of_a_slot_that_are_dropped(store, raw, monkeypatch):
    monkeypatch.setattr(sqlite_leases, "_DROPPED_AT_ONCE", 2)
    store.load("leases", [(f"lease {number}", key, 9.0) for number in range(5) for key in ("session", "actor")])
    store.load("leases", [("another", "actor", 9.0)])
    sizes = []
    write = store._queue.write
    monkeypatch.setattr(store._queue, "write", lambda work: sizes.append(write(work)) or sizes[-1])
    store.drop_slot("session")
    assert sizes == [4, 4, 2, 0]
    assert store.count()["leases"] == 1


def test_what_is_loaded_is_known_to_other_workers_at_once(store, path):
    with closing(SQLiteStore(path)) as other:
        assert other.has_ended("1_a") is False
        store.load("ended", [("1_a", 5.0)])
        store.load("sessions", [("1_a", PROPERTIES.as_json(), 4.0, "ada")])
        assert other.has_ended("1_a") is True
        assert other.list_sessions(Page(10, "ended")) == [SessionRecord("1_a", PROPERTIES, 4.0, 5.0, "ada")]


def test_rows_that_cannot_be_held_leave_nothing(store):
    with pytest.raises(StoreUnavailable):
        store.load("used", [("a", 5.0), ("b", None)])
    assert store.count()["used"] == 0


@pytest.mark.parametrize("after", ["", "{", "[]", "1_a", '["a", "b"]', "[[]]"])
def test_a_copy_continues_only_from_where_one_ended(store, after):
    with pytest.raises(StoreUnavailable):
        store.dump("used", after, 10)


def test_rows_that_cannot_be_read_are_unavailable(store, raw):
    raw.execute("INSERT INTO rolecall_used_once VALUES (CAST(x'ff' AS TEXT), 5.0)")
    with pytest.raises(StoreUnavailable, match="does not answer: Could not decode"):
        store.dump("used", None, 10)


# -- reads that take long --------------------------------------------------------------------------


def test_a_long_read_ends_in_time_and_holds_no_token_up(store, monkeypatch):
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT", 0.2)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    refused: list[str] = []

    def survey() -> None:
        with pytest.raises(StoreUnavailable) as caught:
            store._surveys.rows(endless)
        refused.append(str(caught.value))

    reading = threading.Thread(target=survey)
    reading.start()
    while reading.is_alive():
        assert store.has_ended("1_a") is False
    assert "within 0.2 seconds" in refused[0]
    assert store.count()["ended"] == 0


# -- examination -----------------------------------------------------------------------------------


def found(store: SQLiteStore) -> list[Finding]:
    return [finding for finding in store.examine() if "free; without room" not in finding.found]


def test_a_new_file_gives_no_cause_for_complaint(store):
    store.end_session("1_a", 7.5)
    assert found(store) == []


@pytest.mark.parametrize(
    ("change", "level", "said"),
    [
        ("INSERT INTO rolecall_schema VALUES (9)", "warning", "a later version of Rolecall .* version 9.* version 8"),
        ("DELETE FROM rolecall_schema WHERE version > 2", "error", "is of version 2, .* needs version 8"),
        ("DROP TRIGGER rolecall_session_ended", "error", "lacks rolecall_session_ended"),
        ("DROP TRIGGER rolecall_mark_raised", "error", "lacks rolecall_mark_raised"),
        ("DROP INDEX rolecall_sessions_open", "error", "lacks rolecall_sessions_open"),
    ],
)
def test_a_schema_that_is_not_this_versions_is_found(store, raw, change, level, said):
    raw.execute(change)
    (finding,) = found(store)
    assert (finding.level, bool(finding.remedy)) == (level, True)
    assert re.search(said, finding.found)


def test_a_damaged_file_is_found(path):
    with closing(SQLiteStore(path)) as store:
        ends(store, *(f"1_{number:04}" for number in range(2000)))
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        for page in range(pages // 2, pages):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)
    with closing(SQLiteStore(path)) as store:
        (finding,) = found(store)
    assert (finding.level, "restore a backup" in finding.remedy) == ("error", True)
    assert finding.found.startswith("the file is damaged: ")


def test_a_check_that_takes_too_long_is_left_to_the_operator(store, monkeypatch):
    monkeypatch.setattr(sqlite_examination, "SECONDS", -1.0)
    store.load("used", [(str(number), 5.0) for number in range(3000)])
    (finding,) = found(store)
    assert (finding.level, finding.remedy) == ("info", "run sqlite3 sessions.db 'PRAGMA quick_check'")
    assert store.count()["used"] == 3000


@pytest.mark.skipif(os.name != "posix", reason="needs the modes of POSIX")
def test_files_that_others_can_read_are_found(store, path):
    store.end_session("1_a", 7.5)
    path.chmod(0o640)
    (finding,) = found(store)
    assert (finding.level, "has mode 0640" in finding.found) == ("warning", True)


def test_a_disk_that_is_nearly_full_and_a_large_log_are_found(store, monkeypatch):
    store.end_session("1_a", 7.5)
    monkeypatch.setattr(sqlite_examination, "ROOM", 1 << 62)
    monkeypatch.setattr(sqlite_examination, "LARGE_LOG", 1)
    disk, log = (finding for finding in store.examine())
    assert "MB free" in disk.found
    assert "the log (-wal) has 0 MB" in log.found
