"""The schema of SQLite: migrations that may be killed anywhere, and workers of earlier versions beside."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores import sqlite_file, sqlite_ledger
from rolecall.stores.ledger import IssuedToken, TokenPage, TokensFound
from rolecall.stores.listing import Page, SessionState
from rolecall.stores.sqlite import SQLiteStore
from rolecall.stores.sqlite_listing import query_for
from rolecall.stores.sqlite_schema import MIGRATIONS
from rolecall.stores.upkeep import Over

from ...forking import forked, needs_fork

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

PROPERTIES = SessionProperties().as_json()


@pytest.fixture
def third(tmp_path) -> Path:
    """A file of the third version, with an open session and an ended one."""
    path = tmp_path / "third.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA journal_mode=WAL")
        raw.executescript("".join(MIGRATIONS[:3]) + "CREATE TABLE rolecall_schema (version INTEGER NOT NULL);")
        raw.execute("INSERT INTO rolecall_schema VALUES (1), (2), (3)")
        raw.commit()
        with raw:
            add(raw, "1_open", 1.0)
            add(raw, "1_ended", 2.0)
            end(raw, "1_ended", 3.0)
    return path


def add(raw: sqlite3.Connection, session_id: str, created_at: float) -> None:
    """Create a session as workers of an earlier version do."""
    statement = "INSERT INTO rolecall_sessions (session_id, properties, created_at) VALUES (?, ?, ?)"
    raw.execute(statement, (session_id, PROPERTIES, created_at))


def end(raw: sqlite3.Connection, session_id: str, ended_at: float) -> None:
    """End a session as workers of an earlier version do."""
    statement = "INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES (?, ?) ON CONFLICT DO NOTHING"
    raw.execute(statement, (session_id, ended_at))


def followed(raw: sqlite3.Connection) -> list[tuple[int, bytes, int, int]]:
    """What workers of the third and the fourth version read in the log: whether it is an end, and how many went."""
    return raw.execute(
        """
        SELECT sequence, CAST(id AS BLOB), kind = 'session ended'
            AND EXISTS (SELECT 1 FROM rolecall_ended_sessions WHERE session_id = id),
            CASE kind WHEN 'ends forgotten' THEN CAST(id AS INTEGER) ELSE 0 END
        FROM rolecall_changes WHERE sequence >= ? ORDER BY sequence LIMIT ?
        """,
        (0, 1000),
    ).fetchall()


def listed(store: SQLiteStore, state: SessionState | None = None) -> list[tuple[str, float | None]]:
    return [(record.session_id, record.ended_at) for record in store.list_sessions(Page(10, state))]


def test_a_migration_tells_the_versions(third):
    with closing(SQLiteStore(third)) as store:
        assert store.migrate() == (3, 8)
        assert store.migrate() == (8, 8)
    with closing(SQLiteStore(third.with_name("new.db"))) as store:
        assert store.migrate() == (0, 8)


def test_workers_of_the_version_before_go_on(third):
    with closing(sqlite3.connect(third, isolation_level=None)) as raw:
        raw.execute("SELECT session_id FROM rolecall_sessions").fetchall()
        with closing(SQLiteStore(third)) as store:
            assert listed(store) == [("1_ended", 3.0), ("1_open", None)]
            add(raw, "1_added", 4.0)
            end(raw, "1_open", 5.0)
            end(raw, "1_foreign", 5.0)
            add(raw, "1_foreign", 6.0)  # ended before it was added
            assert listed(store, "open") == [("1_added", None)]
            assert listed(store, "ended") == [("1_foreign", 5.0), ("1_ended", 3.0), ("1_open", 5.0)]
            store.add_session(SessionRecord("1_new", SessionProperties(), 7.0, created_by="ada"))
            store.end_session("1_new", 8.0)
        columns = "session_id, properties, created_at, ended_at"
        joined = "rolecall_sessions LEFT JOIN rolecall_ended_sessions e USING (session_id)"
        query = f"SELECT {columns.replace('ended_at', 'e.ended_at')} FROM {joined} WHERE session_id = '1_new'"
        assert raw.execute(query).fetchall() == [("1_new", PROPERTIES, 7.0, 8.0)]


def test_workers_of_the_version_before_pass_over_marks(third):
    with closing(sqlite3.connect(third, isolation_level=None)) as raw, closing(SQLiteStore(third)) as store:
        # A mark and a session of the same name.
        store.raise_mark("1_ended", 5.0, 6.0)
        store.raise_mark("reset 1_open", 5.0, 6.0)
        end(raw, "reset 1_open", 7.0)
        assert [(is_end, gone) for _, _, is_end, gone in followed(raw)] == [(0, 0), (1, 0), (0, 0), (0, 0), (1, 0)]
        # Two marks, two records, two ends.
        assert store.forget(Over(8.0, created_before=7.5)) == 6
        end(raw, "1_foreign", 9.0)
        assert [(is_end, gone) for _, _, is_end, gone in followed(raw)] == [(0, 0)] * 6 + [(0, 2), (1, 0)]
        assert [sequence for sequence, *_ in followed(raw)] == list(range(1, 9))
        assert store.has_ended("1_foreign") is True


def killed_at(statement: int, path: Path) -> bool:
    """Migrate a file in a child that is killed as it begins a statement; False if it came to its end before."""

    def connect(target: str) -> sqlite3.Connection:
        raw = connect_really(target)
        raw.set_trace_callback(lambda _: next(countdown, None) or os.kill(os.getpid(), signal.SIGKILL))
        return raw

    def migrate() -> None:
        sqlite_file._connect = connect
        SQLiteStore(path)
        os._exit(0)

    countdown: Iterator[Any] = iter(range(1, statement))
    connect_really = sqlite_file._connect
    _, status = os.waitpid(forked(migrate), 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@needs_fork
@pytest.mark.process
def test_a_migration_that_is_killed_at_any_statement_is_made_by_the_next_worker(third):
    for statement in range(1, 100):
        path = third.with_name(f"{statement}.db")
        shutil.copy(third, path)
        was_killed = killed_at(statement, path)
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            add(raw, "1_between", 4.0)
            end(raw, "1_open", 5.0)
            with closing(SQLiteStore(path)) as store:
                assert listed(store) == [("1_between", None), ("1_ended", 3.0), ("1_open", 5.0)]
                assert listed(store, "open") == [("1_between", None)]
                assert store.raise_mark("reset 1_open", 5.0, 6.0) == 5.0
                assert store.has_ended("1_between") is False
                assert store.marks.value("reset", "1_open") == 5.0
            assert raw.execute("SELECT kind FROM rolecall_changes WHERE kind = 'marked'").fetchall() == [("marked",)]
            versions = [version for (version,) in raw.execute("SELECT version FROM rolecall_schema")]
            assert versions == [*range(1, len(MIGRATIONS) + 1)]
            assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not was_killed:
            break
    assert statement > 1 + sum(script.count(";\n") for script in MIGRATIONS[3:]), "it was killed at each one"


#: What is listed without a choice is read from an index, in its order.
WHOLE = re.compile("USING (COVERING )?INDEX rolecall_(sessions_|tokens_issued)")


def statements_of(store: SQLiteStore) -> list[str]:
    """What the store asks SQLite to list all kinds of pages, and to forget what is over."""
    statements: list[str] = []
    for connection in (store._surveys._connection, store._writer):
        with connection.reading() as raw:
            raw.set_trace_callback(statements.append)
    states: tuple[SessionState | None, ...] = ("open", "ended", None)
    for state in states:
        for creator in ("ada", None):
            for after in ((2.5, "1_a"), None):
                store.list_sessions(Page(10, state, creator, after))
    for session_id in ("1_a", None):
        for actor_id in ("ada", None):
            for place in ((2.5, "0.a"), None):
                store.list_tokens(TokenPage(10, 1.0, session_id, actor_id, place))
    store.forget(Over(1.0, 1.0, 1.0))
    return [statement for statement in statements if statement.lstrip().startswith(("SELECT", "DELETE"))]


@pytest.mark.parametrize("after", [None, (2.5, "1_a")])
@pytest.mark.parametrize(("state", "states"), [("open", ["open"]), ("ended", ["ended"]), (None, ["open", "ended"])])
def test_a_creators_page_is_read_from_the_index_of_each_state(third, state, states, after):
    with closing(SQLiteStore(third)) as store, store._surveys.reading() as raw:
        values = {"limit": 10, "created_by": "ada", "created_at": 2.5, "session_id": "1_a"}
        query = query_for(Page(10, state, "ada", after))
        steps = [str(step[-1]) for step in raw.execute(f"EXPLAIN QUERY PLAN {query}", values)]
        place = "(created_by=? AND (created_at,session_id)<(?,?))" if after else "(created_by=?)"
        assert [step.partition("INDEX ")[2] for step in steps if "rolecall_sessions" in step] == [
            f"rolecall_sessions_created_by_{one} {place}" for one in states
        ]


def test_a_page_of_tokens_passes_over_a_bounded_number(third, monkeypatch):
    monkeypatch.setattr(sqlite_ledger, "_LOOK", 40)
    rows = [IssuedToken("1_a", f"0.{n:02}", "ada", "publisher", 5.0, 20.0 if n == 0 else 9.0) for n in range(60)]
    with closing(SQLiteStore(third)) as store:
        store.load("tokens", rows)
        for session_id, actor_id in ((None, None), ("1_a", None), (None, "ada"), ("1_a", "ada")):
            page = TokenPage(10, 10.0, session_id, actor_id)
            assert store.list_tokens(page) == TokensFound([], (5.0, "0.20"))
            assert store.list_tokens(page._replace(after=(5.0, "0.20"))) == TokensFound(rows[:1], None)


def test_listing_and_forgetting_go_by_an_index(third):
    with closing(SQLiteStore(third)) as store, closing(sqlite3.connect(third)) as raw:
        statements = statements_of(store)
        assert len(statements) == 12 + 16 + 9
        for statement in statements:
            steps = [str(step[-1]) for step in raw.execute(f"EXPLAIN QUERY PLAN {statement}")]
            # The sessions on a page are sorted once more; all else is found by an index, in its order.
            for step in steps:
                assert not step.startswith("SCAN rolecall") or WHOLE.search(step), statement
            if "DELETE" in statement or "rolecall_tokens" in statement:
                assert not any("TEMP B-TREE" in step for step in steps), statement
