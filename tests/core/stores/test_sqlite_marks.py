"""Marks of SQLite: known in memory, in step with all processes, and never taken for less than they are."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

import pytest

from rolecall.errors import StoreUnavailable
from rolecall.stores import sqlite_ended, sqlite_upkeep
from rolecall.stores.marks import PARTS, Marks
from rolecall.stores.sqlite import SQLiteStore
from rolecall.stores.sqlite_marks import RAISE, AskedMarks
from rolecall.stores.upkeep import Over

from ...forking import in_child, needs_fork
from ...waiting import soon
from .conftest import read_pages_of

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

FAR = 4e9


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


@pytest.fixture
def damage(raw):
    """Changes the row of a mark to what the table's checks would refuse."""
    raw.execute("PRAGMA ignore_check_constraints = ON")
    return lambda change: raw.execute(f"UPDATE rolecall_marks SET {change} WHERE name = 'reset 1_a'")


def revoke(raw: sqlite3.Connection, *token_ids: str, until: float = FAR) -> None:
    """Revoke tokens of one session, in one transaction."""
    raw.execute("BEGIN IMMEDIATE")
    raw.executemany(RAISE, [(f"token 1_a {token_id}", inf, until) for token_id in token_ids])
    raw.execute("COMMIT")


def reset(raw: sqlite3.Connection, epoch: float) -> None:
    raw.execute(RAISE, ("reset 1_a", epoch, inf))


def known(store: SQLiteStore, *parts: str) -> float:
    """The number of a mark, as a check of a token finds it."""
    assert store.has_ended("1_other") is False
    return store.marks.value(*parts)


def revoked(store: SQLiteStore, token_ids: Iterable[str]) -> list[bool]:
    return [known(store, "token", "1_a", token_id) == inf for token_id in token_ids]


def in_memory(store: SQLiteStore) -> Marks:
    """The marks of a store that has read all of them."""

    def are_read() -> bool:
        store.has_ended("1_other")
        return not isinstance(store.marks, AskedMarks)

    assert soon(are_read)
    return store.marks


def statements_of(store: SQLiteStore) -> list[str]:
    """The statements that the store reads with, from now on."""
    statements: list[str] = []
    cursor: Any = store._reader._cursor
    cursor.connection.set_trace_callback(statements.append)
    return statements


def forget_all(store: SQLiteStore, over: Over) -> None:
    while store.forget(over):
        pass


# -- in step ---------------------------------------------------------------------------------------


def test_no_query_is_made_as_long_as_nothing_is_written(store):
    store.raise_mark("reset 1_a", 5.0, inf)
    in_memory(store)
    statements = statements_of(store)
    for _ in range(1000):
        assert known(store, "reset", "1_a") == 5.0
        assert known(store, "token", "1_a", "good") == 0.0
    assert statements == []


def test_what_others_mark_is_known_at_once(store, raw):
    for number in range(200):
        assert known(store, "token", "1_a", str(number)) == 0.0
        revoke(raw, str(number))
        assert known(store, "token", "1_a", str(number)) == inf
        reset(raw, number + 0.5)
        assert known(store, "reset", "1_a") == number + 0.5


def test_a_mark_that_grows_is_logged_and_no_other_one(store, raw):
    for value, until in ((5.0, 10.0), (5.0, 20.0), (4.0, 5.0), (6.0, 5.0), (inf, 5.0), (inf, inf)):
        store.raise_mark("actor Zoë b", value, until)
    logged = raw.execute("SELECT kind, substr(id, 18) FROM rolecall_changes ORDER BY sequence").fetchall()
    assert logged[1:] == [("marked", "actor Zoë b")] * 3
    assert raw.execute("SELECT * FROM rolecall_marks").fetchall() == [("actor Zoë b", inf, inf)]


def test_the_revision_changes_with_marks_of_any_process_and_with_nothing_else(store, raw, damage):
    in_memory(store)
    for epoch in (5.0, 6.0):
        seen = store.revision()
        reset(raw, epoch)
        assert store.revision() != seen
        seen = store.revision()
        reset(raw, epoch)
        store.raise_mark("reset 1_a", 1.0, FAR)
        assert store.revision() == seen
    damage("value = 'much'")
    assert store.revision() != seen


def test_the_revision_changes_when_all_is_read_anew(store, raw):
    in_memory(store)
    seen = store.revision()
    raw.execute("DELETE FROM rolecall_changes")
    assert store.revision() != seen


def test_what_others_roll_back_is_no_mark(store, raw):
    raw.execute("BEGIN IMMEDIATE")
    reset(raw, 5.0)
    assert known(store, "reset", "1_a") == 0.0
    raw.execute("ROLLBACK")
    assert known(store, "reset", "1_a") == 0.0


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 100, 130])
def test_the_marks_of_a_file_are_known_from_the_first_call_on(store, raw, path, count, monkeypatch):
    read_pages_of(50, monkeypatch)
    names = [f"{number:03}" for number in range(150)]
    store.load("ended", [(f"1_{name}", 7.5) for name in names])
    revoke(raw, *names[:count])
    with closing(SQLiteStore(path)) as later:
        assert later.marks.kinds == PARTS.keys()
        assert later.marks.value("token", "1_a", "000") == (inf if count else 0.0)
        assert revoked(later, reversed(names)) == [False] * (150 - count) + [True] * count
        marks = in_memory(later)
        assert len(marks) == count
        assert marks.kinds == ({"token"} if count else set())
        assert [marks.value("token", "1_a", name) == inf for name in names] == [True] * count + [False] * (150 - count)


def test_what_is_marked_while_the_pages_are_read_is_not_missed(store, raw, path, monkeypatch):
    read_pages_of(10, monkeypatch)
    revoke(raw, *(f"b{number:03}" for number in range(100)))
    with closing(SQLiteStore(path)) as later:
        for number in range(30):
            # In front of the pages, and behind them.
            revoke(raw, f"a{number}", f"c{number}")
            assert revoked(later, [f"a{number}", f"c{number}", "b099", "b100"]) == [True, True, True, False]
        assert len(in_memory(later)) == 160


def test_what_is_committed_between_two_reads_of_one_look_is_seen_by_the_next(store, raw, monkeypatch):
    read_pages_of(10, monkeypatch)
    revoke(raw, *(f"b{number:02}" for number in range(12)))
    assert revoked(store, ["b00"]) == [True]

    def intervene(statement: str) -> None:
        if "typeof(name)" in statement:  # the log was read, and the last page comes
            cursor.connection.set_trace_callback(None)
            revoke(raw, "a in front of it")

    cursor: Any = store._reader._cursor
    cursor.connection.set_trace_callback(intervene)
    assert revoked(store, ["b11"]) == [True]
    assert not isinstance(store.marks, AskedMarks)
    assert revoked(store, ["a in front of it"]) == [True]


def test_a_long_log_is_followed_to_its_end(store, raw, monkeypatch):
    read_pages_of(10, monkeypatch)
    marks = in_memory(store)
    revoke(raw, *map(str, range(95)))
    assert all(revoked(store, reversed([str(number) for number in range(95)])))
    assert in_memory(store) is marks
    assert len(marks) == 95


def test_where_no_memory_can_be_mapped_each_call_asks_the_file(store, raw, monkeypatch):
    monkeypatch.setattr(sqlite_ended, "header_of", lambda file: b"")
    for number in range(20):
        assert revoked(store, [str(number)]) == [False]
        revoke(raw, str(number))
        assert revoked(store, [str(number)]) == [True]


def test_threads_find_each_mark_that_was_acknowledged(store, path):
    """While others mark, and all is read anew again and again."""
    with closing(SQLiteStore(path)) as other:

        def mark_and_look(thread: int) -> None:
            for number in range(60):
                store.raise_mark(f"token 1_a {thread} {number}", inf, FAR)
                assert revoked(other, [f"{thread} {number}", f"{thread} {number + 1}"]) == [True, False]
                store.raise_mark(f"reset 1_{thread}", number + 1.0, inf)
                assert known(other, "reset", f"1_{thread}") == number + 1.0
                if number % 10 == thread:
                    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as raw:
                        raw.execute("DELETE FROM rolecall_changes")

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(mark_and_look, range(6)))


@needs_fork
def test_a_forked_child_knows_and_tells(store):
    store.raise_mark("token 1_a before", inf, FAR)
    assert revoked(store, ["before"]) == [True]

    def work() -> None:
        assert revoked(store, ["before", "child"]) == [True, False]
        store.raise_mark("token 1_a child", inf, FAR)
        assert revoked(store, ["child"]) == [True]

    in_child(work)
    assert revoked(store, ["child", "other"]) == [True, False]


# -- read anew -------------------------------------------------------------------------------------


def test_a_log_that_was_cut_is_read_anew(store, raw):
    reset(raw, 5.0)
    before = in_memory(store)
    revoke(raw, "a", "b")
    raw.execute("DELETE FROM rolecall_changes")
    assert revoked(store, "abc") == [True, True, False]
    assert in_memory(store) is not before
    reset(raw, 6.0)
    assert known(store, "reset", "1_a") == 6.0


@pytest.mark.parametrize("kept", [1, 5])
def test_a_follower_misses_nothing_however_much_of_the_log_is_gone(store, path, kept, monkeypatch):
    monkeypatch.setattr(sqlite_upkeep, "KEPT_CHANGES", kept)
    read_pages_of(10, monkeypatch)
    with closing(SQLiteStore(path)) as other:
        for round_ in range(5):
            names = [f"{round_} {number}" for number in range(12)]
            assert not any(revoked(other, names))
            store.load("marks", [(f"token 1_a {name}", inf, FAR) for name in names])
            forget_all(store, Over(0.0))
            assert all(revoked(other, names))


def test_a_backup_that_is_restored_into_the_file_counts(store, raw, tmp_path):
    revoke(raw, "before")
    with closing(sqlite3.connect(tmp_path / "backup.db")) as backup:
        raw.backup(backup)
        revoke(raw, "lost")
        reset(raw, 5.0)
        assert revoked(store, ["lost"]) == [True]
        backup.backup(raw)
    assert revoked(store, ["before", "lost"]) == [True, False]
    assert known(store, "reset", "1_a") == 0.0
    revoke(raw, "after")
    assert revoked(store, ["after"]) == [True]


def test_a_backup_after_which_the_same_was_marked_last_is_noticed(store, raw, tmp_path):
    """The rows of both logs have the same numbers, and their last ones tell of the same mark."""
    with closing(sqlite3.connect(tmp_path / "backup.db")) as backup:
        raw.backup(backup)
        revoke(raw, "lost")
        reset(raw, 5.0)
        assert revoked(store, ["lost"]) == [True]
        backup.backup(raw)
    revoke(raw, "other")
    reset(raw, 4.0)
    assert revoked(store, ["lost", "other"]) == [False, True]
    assert known(store, "reset", "1_a") == 4.0


def test_processes_let_go_of_marks_that_were_forgotten(store, path, monkeypatch):
    read_pages_of(10, monkeypatch)
    with closing(SQLiteStore(path)) as other:
        store.load("marks", [(f"token 1_a {number}", inf, 50.0) for number in range(100)])
        store.load("marks", [(f"actor {number}", 5.0, inf) for number in range(20)])
        before = in_memory(other)
        assert len(before) == 120
        forget_all(store, Over(100.0, limit=30))
        assert known(other, "actor", "0") == 5.0
        after = in_memory(other)
        assert len(after) == 20
        assert after.kinds == {"actor"}
        assert [known(other, "actor", str(number)) for number in range(21)] == [5.0] * 20 + [0.0]
        assert not any(revoked(other, [str(number) for number in range(100)]))


def test_a_mark_that_was_forgotten_and_comes_again_counts(store, path):
    with closing(SQLiteStore(path)) as other:
        for until in (50.0, 60.0, FAR):
            store.raise_mark("token 1_a b", inf, until)
            assert revoked(other, "b") == [True]
            forget_all(store, Over(100.0))
    assert dict(store.get_marks(["token 1_a b"])) == {"token 1_a b": inf}


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["'much'", "''", "x'ff'", "x''", "CAST(x'ff' AS TEXT)"])
def test_a_mark_with_a_damaged_number_is_unavailable_and_disturbs_no_other(store, raw, path, damage, value):
    revoke(raw, "b")
    reset(raw, 5.0)
    in_memory(store)
    damage(f"value = {value}")
    store.end_session("1_ended", 7.5)
    with closing(SQLiteStore(path)) as later:
        for one in (store, later):
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    known(one, "reset", "1_a")
                assert revoked(one, "bc") == [True, False]
                assert known(one, "reset", "1_b") == 0.0
                assert one.has_ended("1_ended") is True
                assert "reset" in one.marks.kinds
            revoke(raw, f"later {one is store}")
            assert revoked(one, [f"later {one is store}"]) == [True]
    for ask in (
        lambda: store.get_marks(["token 1_a b", "reset 1_a"]),
        lambda: store.raise_mark("reset 1_a", 6.0, FAR),
        lambda: store.raise_mark("reset 1_a", 6.0, inf),
        lambda: store.load("marks", [("reset 1_a", 6.0, inf)]),
        lambda: store.dump("marks", None, 10),
    ):
        with pytest.raises(StoreUnavailable):
            ask()
    assert dict(store.get_marks(["token 1_a b"])) == {"token 1_a b": inf}


def test_damaged_marks_are_found_and_what_they_are_is_kept(store, raw, damage):
    reset(raw, 5.0)
    damage("until = 'never'")
    assert known(store, "reset", "1_a") == 5.0
    forget_all(store, Over(FAR))
    assert dict(store.get_marks(["reset 1_a"])) == {"reset 1_a": 5.0}
    with pytest.raises(StoreUnavailable, match="the mark 'reset 1_a' is damaged"):
        store.dump("marks", None, 10)
    (finding,) = (finding for finding in store.examine() if finding.level == "error")
    assert "the file is damaged: CHECK constraint failed in rolecall_marks" in finding.found


def test_a_damaged_name_disturbs_no_other(store, raw, path):
    raw.execute("INSERT INTO rolecall_marks VALUES (CAST(x'ff' AS TEXT), 5.0, 9.0), (x'00', 5.0, 9.0), ('', 5.0, 9.0)")
    revoke(raw, "b")
    with closing(SQLiteStore(path)) as later:
        for one in (store, later):
            assert revoked(one, "bc") == [True, False]


def test_marks_of_a_later_version_disturb_no_other(store, raw, path):
    raw.execute(RAISE, ("later 1_a", 5.0, inf))
    revoke(raw, "b")
    with closing(SQLiteStore(path)) as later:
        for one in (store, later):
            assert revoked(one, "bc") == [True, False]
            assert in_memory(one).kinds == {"token"}


# -- many ------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_mark_takes_few_bytes(store):
    count = 40_000
    for first in range(0, count, 1000):
        store.load("marks", [(f"token 1_a {number}", inf, FAR) for number in range(first, first + 1000)])
    tracemalloc.start()
    try:
        assert len(in_memory(store)) == count
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 2**20 + 100 * count, "1 MB for all together"
