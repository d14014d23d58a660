"""Ended sessions of SQLite: known in memory, in step with all processes, and never wrong about anybody."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from rolecall.errors import StoreUnavailable
from rolecall.stores import sqlite_ended
from rolecall.stores.sqlite import SQLiteStore

from ...forking import forked, in_child, needs_fork
from ...open_files import needs_proc, open_files
from .conftest import read_pages_of

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

RACE = Path(__file__).parents[2] / "benchmarks" / "sqlite_race.py"


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


def end(raw: sqlite3.Connection, *session_ids: str) -> None:
    """End sessions as workers of the second version of the schema do."""
    rows = [(session_id, 7.5) for session_id in session_ids]
    raw.execute("BEGIN IMMEDIATE")
    statement = "INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES (?, ?) ON CONFLICT DO NOTHING"
    raw.executemany(statement, rows)
    raw.execute("COMMIT")


def statements_of(store: SQLiteStore) -> list[str]:
    """The statements that the store reads with, from now on."""
    statements: list[str] = []
    cursor: Any = store._reader._cursor
    cursor.connection.set_trace_callback(statements.append)
    return statements


def test_no_query_is_made_as_long_as_nothing_is_written(store):
    store.end_session("1_ended", 7.5)
    assert store.has_ended("1_open") is False
    statements = statements_of(store)
    for _ in range(1000):
        assert store.has_ended("1_open") is False
    assert statements == []


def test_what_others_end_is_known_at_once(store, raw):
    for number in range(200):
        assert store.has_ended(f"1_{number}") is False
        end(raw, f"1_{number}")
        assert store.has_ended(f"1_{number}") is True
        assert store.has_ended("1_open") is False


def test_the_revision_changes_with_ends_in_any_process_and_with_nothing_else(store, raw):
    seen = store.revision()
    for number in range(3):
        store.use_once(f"a {number}", 10.0, 5.0)
        assert store.revision() == seen
        end(raw, f"1_{number}")
        assert store.revision() != seen
        seen = store.revision()
        end(raw, f"1_{number}")
        assert store.revision() == seen


def test_what_others_roll_back_has_not_ended(store, raw):
    assert store.has_ended("1_a") is False
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES ('1_a', 7.5)")
    assert store.has_ended("1_a") is False
    raw.execute("ROLLBACK")
    assert store.has_ended("1_a") is False


def test_ended_sessions_are_numbered_without_gaps_whoever_ends_them(store, raw):
    store.end_session("1_a", 7.5)
    end(raw, "1_b")
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES ('1_undone', 7.5)")
    raw.execute("ROLLBACK")
    end(raw, "1_a", "1_c")
    store.end_session("1_b", 8.5)
    store.end_session("1_d", 8.5)
    rows = raw.execute("SELECT sequence, id FROM rolecall_changes WHERE kind = 'session ended'").fetchall()
    assert rows == [(2, "1_a"), (3, "1_b"), (4, "1_c"), (5, "1_d")]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_the_sessions_of_a_file_are_known_from_the_first_call_on(store, raw, path, count, monkeypatch):
    read_pages_of(50, monkeypatch)
    end(raw, *(f"1_{number:03}" for number in range(count)))
    with closing(SQLiteStore(path)) as later:
        for number in reversed(range(300)):
            assert later.has_ended(f"1_{number:03}") is (number < count)
        assert later._ended._ended_pages.are_read, "all pages are read"


def test_what_ends_while_the_pages_are_read_is_not_missed(store, raw, path, monkeypatch):
    read_pages_of(10, monkeypatch)
    end(raw, *(f"1_b{number:03}" for number in range(100)))
    with closing(SQLiteStore(path)) as later:
        for number in range(30):
            # In front of the pages, and behind them.
            end(raw, f"1_a{number}", f"1_c{number}")
            assert later.has_ended(f"1_a{number}")
            assert later.has_ended(f"1_c{number}")
        assert later._ended._ended_pages.are_read
        known = later._ended._state[3]
        assert len(known) == 160


def test_what_is_committed_between_two_reads_of_one_look_is_seen_by_the_next(store, raw, monkeypatch):
    read_pages_of(10, monkeypatch)
    end(raw, *(f"1_b{number:02}" for number in range(12)))
    assert store.has_ended("1_b00") is True

    def intervene(statement: str) -> None:
        if "typeof" in statement:  # the log was read, and the last page comes
            cursor.connection.set_trace_callback(None)
            end(raw, "1_a in front of it")

    cursor: Any = store._reader._cursor
    cursor.connection.set_trace_callback(intervene)
    assert store.has_ended("1_b11") is True
    assert store._ended._ended_pages.are_read
    assert store.has_ended("1_a in front of it") is True


def test_a_long_log_is_followed_to_its_end(store, raw, monkeypatch):
    read_pages_of(10, monkeypatch)
    assert store.has_ended("1_0") is False
    end(raw, *(f"1_{number}" for number in range(95)))
    known = 0
    for number in reversed(range(95)):
        before, revision = known, store.revision()
        assert store.has_ended(f"1_{number}") is True
        known = len(store._ended._state[3])
        assert known <= before + 3 * 10, "each call reads a page at most"
        assert known == 95 or store.revision() != revision, "what was read in part is not taken for all"
    assert known == 95


def test_those_who_ask_at_once_do_not_all_wait_for_pages(store, raw, monkeypatch):
    assert store.has_ended("1_0") is False
    read_pages_of(10, monkeypatch)
    monkeypatch.setattr(sqlite_ended, "PAUSE", 1e9)
    end(raw, *(f"1_{number}" for number in range(95)))
    for number in reversed(range(95)):
        revision = store.revision()
        assert store.has_ended(f"1_{number}") is True
        assert store.has_ended(f"1_x{number}") is False
        assert store.revision() != revision, "what is not known is not taken for read"
    assert len(store._ended._state[3]) < 10, "one page was read"
    end(raw, "1_new")
    assert store.has_ended("1_new") is True


def test_what_has_ended_behind_the_first_page_of_a_long_log_is_known_at_once(store, raw, monkeypatch):
    end(raw, *(f"1_{number}" for number in range(12)))
    assert store.has_ended("1_0") is True
    seen = store.revision()
    read_pages_of(10, monkeypatch)
    for number in range(12):  # changes by which nothing ends
        raw.execute("DELETE FROM rolecall_ended_sessions WHERE session_id = ?", (f"1_{number}",))
        raw.execute("INSERT INTO rolecall_changes (kind, id) VALUES ('of a later version', ?)", (f"{number}",))
    end(raw, "1_new")
    assert store.revision() != seen
    assert store.has_ended("1_new") is True


def test_a_log_that_was_cut_is_read_anew(store, raw):
    assert store.has_ended("1_a") is False
    end(raw, "1_a", "1_b")
    raw.execute("DELETE FROM rolecall_changes")
    assert store.has_ended("1_a") is True
    end(raw, "1_c")
    assert [store.has_ended(f"1_{name}") for name in "abcd"] == [True, True, True, False]


class TimeLimit(BaseException):
    """What a signal raises, wherever the process is."""


@pytest.mark.parametrize("failure", [TimeLimit, sqlite3.OperationalError])
@pytest.mark.parametrize("page", ["_ended_pages", "_marks_pages"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_what_is_read_when_the_time_is_over_is_read_again(store, raw, monkeypatch, page, failure, is_cut):
    end(raw, "1_a", "1_b")
    assert [store.has_ended(name) for name in ("1_a", "1_open")] == [True, False]
    end(raw, "1_c", "1_d")
    if is_cut:
        raw.execute("DELETE FROM rolecall_changes WHERE sequence < (SELECT max(sequence) FROM rolecall_changes)")
    pages, read = getattr(store._ended, page), sqlite_ended._Pages.next

    def fail_once(of, connection):
        rows = read(of, connection)
        if of is pages:
            monkeypatch.undo()
            raise failure
        return rows

    monkeypatch.setattr(sqlite_ended._Pages, "next", fail_once)
    with suppress(TimeLimit, StoreUnavailable):
        store.has_ended("1_c")
    assert [store.has_ended(f"1_{name}") for name in ("a", "b", "c", "d", "open")] == [True, True, True, True, False]


def test_a_backup_that_is_restored_into_the_file_counts(store, raw, tmp_path):
    end(raw, "1_before")
    with closing(sqlite3.connect(tmp_path / "backup.db")) as backup:
        raw.backup(backup)
        end(raw, "1_lost")
        assert store.has_ended("1_lost") is True
        backup.backup(raw)
    assert store.has_ended("1_lost") is False
    assert store.has_ended("1_before") is True
    end(raw, "1_after")
    assert store.has_ended("1_after") is True


def test_a_backup_after_which_as_much_was_ended_as_before_is_noticed(store, raw, tmp_path):
    with closing(sqlite3.connect(tmp_path / "backup.db")) as backup:
        raw.backup(backup)
        end(raw, "1_lost", "1_lost too")
        assert store.has_ended("1_lost") is True
        backup.backup(raw)
    end(raw, "1_other", "1_other too")
    names = ("1_lost", "1_lost too", "1_other", "1_other too")
    assert [store.has_ended(name) for name in names] == [False, False, True, True]


def test_two_sessions_of_one_hash_are_told_apart(store, raw, monkeypatch):
    monkeypatch.setattr(sqlite_ended, "_MASK", 1)
    end(raw, *(f"1_{number}" for number in range(0, 100, 2)))
    assert [store.has_ended(f"1_{number}") for number in range(100)] == [True, False] * 50


def test_a_damaged_id_disturbs_no_other(store, raw, path):
    end(raw, "1_a")
    raw.execute("INSERT INTO rolecall_ended_sessions VALUES (CAST(x'ff' AS TEXT), 7.5), (x'00', 7.5), ('', 7.5)")
    for one in (store, SQLiteStore(path)):
        assert [one.has_ended(name) for name in ("1_a", "1_b", "", "ÿ")] == [True, False, True, False]
        one.close()


def test_an_id_beyond_ascii_is_known(store, raw, path):
    end(raw, "1_Größe")
    assert store.has_ended("1_Größe") is True
    assert store.has_ended("1_Grüße") is False


def test_where_no_memory_can_be_mapped_each_call_asks_the_file(store, raw, monkeypatch):
    monkeypatch.setattr(sqlite_ended, "header_of", lambda file: b"")
    for number in range(20):
        assert store.has_ended(f"1_{number}") is False
        end(raw, f"1_{number}")
        assert store.has_ended(f"1_{number}") is True


def test_a_log_that_was_deleted_and_made_again_is_not_taken_for_the_old_one(store, path):
    """The new shared memory may begin with the same header."""
    assert store.has_ended("1_a") is False
    store._reader.disconnect()
    store._writer.disconnect()
    for session_id in ("1_a", "1_b"):
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            end(raw, session_id)
    store.get_session("1_a")  # opens the connection again
    assert store.has_ended("1_a") is True


@needs_fork
def test_a_forked_child_knows_and_tells(store):
    store.end_session("1_before", 7.5)
    assert store.has_ended("1_before")

    def work() -> None:
        assert store.has_ended("1_before") is True
        assert store.has_ended("1_child") is False
        store.end_session("1_child", 7.5)
        assert store.has_ended("1_child") is True

    in_child(work)
    assert store.has_ended("1_child") is True
    assert store.has_ended("1_other") is False


TRIES_TO_WRITE = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
else:
    print("wrote")
"""


def try_to_write(path: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", TRIES_TO_WRITE, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    return ran.stdout.strip()


@pytest.mark.process
def test_an_apps_own_connection_keeps_its_locks_when_a_store_is_closed(path):
    """A process loses its locks on a file when it closes any descriptor of it. And a store opens while others write."""
    SQLiteStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as own:
        own.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            with closing(SQLiteStore(path)) as store:
                assert store.has_ended("1_a") is False
            assert "locked" in try_to_write(path)
        own.execute("COMMIT")
    assert try_to_write(path) == "wrote"


@needs_proc
def test_stores_that_are_opened_and_closed_leave_no_file_open(path):
    def use() -> int:
        with closing(SQLiteStore(path)) as store:
            store.end_session("1_a", 7.5)
            assert store.has_ended("1_a")
        return open_files(path.parent)

    first = use()
    assert {use() for _ in range(20)} == {first}


@needs_fork
@needs_proc
def test_forks_leave_no_file_open(store, path):
    def use() -> int:
        store.end_session("1_a", 7.5)
        assert store.has_ended("1_a")
        return open_files(path.parent)

    first = use()
    for _ in range(10):
        child = forked(lambda: None)
        assert os.waitpid(child, 0)[1] == 0
        assert use() == first
    assert in_child(use) <= first


@pytest.mark.process
def test_ended_in_one_process_is_never_let_in_by_another_while_a_third_writes():
    ran = subprocess.run(
        [sys.executable, str(RACE), "--rounds", "200"], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
