"""The tables of an SQLite store, and the migrations that make them."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

from ..errors import StoreUnavailable
from . import sqlite_file
from .failures import missing_schema
from .sqlite_file import SQLiteFile
from .sqlite_lock import LockFile

# Tables have a prefix, so that an app may keep its own in the same file. Later versions only add to them, because
# workers of an earlier version may still run beside the new ones.
MIGRATIONS: Final = (
    """
    CREATE TABLE rolecall_sessions (
        session_id TEXT PRIMARY KEY,
        properties TEXT NOT NULL,
        created_at REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE rolecall_ended_sessions (
        session_id TEXT PRIMARY KEY,
        ended_at REAL NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE rolecall_used_once (
        name TEXT PRIMARY KEY,
        until REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX rolecall_used_once_until ON rolecall_used_once (until);
    """,
    # A log of changes, numbered without gaps, of which the last row is never deleted. Its first row tells it from that
    # of another file. By the trigger, workers of an earlier version write to it, too.
    """
    CREATE TABLE rolecall_changes (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        id TEXT NOT NULL
    );
    INSERT INTO rolecall_changes (kind, id) VALUES ('log begun', lower(hex(randomblob(16))));
    CREATE TRIGGER rolecall_session_ended AFTER INSERT ON rolecall_ended_sessions
    BEGIN
        INSERT INTO rolecall_changes (kind, id) VALUES ('session ended', NEW.session_id);
    END;
    """,
    # Who created a session, and its end once more, which triggers copy from the other table whichever worker writes.
    # So an index of its own lists the open sessions, and another one those that have ended.
    """
    ALTER TABLE rolecall_sessions ADD COLUMN created_by TEXT;
    ALTER TABLE rolecall_sessions ADD COLUMN ended_at REAL;
    UPDATE rolecall_sessions
        SET ended_at = (
            SELECT e.ended_at FROM rolecall_ended_sessions e WHERE e.session_id = rolecall_sessions.session_id
        )
        WHERE session_id IN (SELECT session_id FROM rolecall_ended_sessions);
    CREATE TRIGGER rolecall_recorded_session_ended AFTER INSERT ON rolecall_ended_sessions
    BEGIN
        UPDATE rolecall_sessions SET ended_at = NEW.ended_at WHERE session_id = NEW.session_id;
    END;
    CREATE TRIGGER rolecall_ended_session_recorded AFTER INSERT ON rolecall_sessions
    WHEN EXISTS (SELECT 1 FROM rolecall_ended_sessions WHERE session_id = NEW.session_id)
    BEGIN
        UPDATE rolecall_sessions
            SET ended_at = (SELECT ended_at FROM rolecall_ended_sessions WHERE session_id = NEW.session_id)
            WHERE session_id = NEW.session_id;
    END;
    CREATE INDEX rolecall_sessions_open ON rolecall_sessions (created_at, session_id) WHERE ended_at IS NULL;
    CREATE INDEX rolecall_sessions_ended ON rolecall_sessions (created_at, session_id) WHERE ended_at IS NOT NULL;
    CREATE INDEX rolecall_sessions_created_by ON rolecall_sessions (created_by, created_at, session_id)
        WHERE created_by IS NOT NULL;
    CREATE INDEX rolecall_sessions_ended_at ON rolecall_sessions (ended_at) WHERE ended_at IS NOT NULL;
    CREATE INDEX rolecall_ended_sessions_ended_at ON rolecall_ended_sessions (ended_at);
    CREATE TABLE rolecall_leases (
        key TEXT NOT NULL,
        until REAL NOT NULL,
        lease TEXT NOT NULL,
        PRIMARY KEY (key, until, lease)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX rolecall_leases_lease ON rolecall_leases (lease, key);
    CREATE INDEX rolecall_leases_until ON rolecall_leases (until);
    """,
    # Marks, each logged whenever its number has changed. As a name is logged more than once, what is random stands
    # before it: else the last rows of two logs could be the same after different changes, when a backup is restored.
    """
    CREATE TABLE rolecall_marks (
        name TEXT PRIMARY KEY,
        value REAL NOT NULL CHECK (typeof(value) = 'real'),
        until REAL NOT NULL CHECK (typeof(until) = 'real')
    ) WITHOUT ROWID;
    CREATE INDEX rolecall_marks_until ON rolecall_marks (until);
    CREATE TRIGGER rolecall_marked AFTER INSERT ON rolecall_marks
    BEGIN
        INSERT INTO rolecall_changes (kind, id) VALUES ('marked', lower(hex(randomblob(8))) || ' ' || NEW.name);
    END;
    CREATE TRIGGER rolecall_mark_raised AFTER UPDATE OF value ON rolecall_marks WHEN NEW.value IS NOT OLD.value
    BEGIN
        INSERT INTO rolecall_changes (kind, id) VALUES ('marked', lower(hex(randomblob(8))) || ' ' || NEW.name);
    END;
    """,
    # The ledger.
    """
    CREATE TABLE rolecall_tokens (
        session_id TEXT NOT NULL,
        token_id TEXT NOT NULL,
        actor_id TEXT,
        role TEXT NOT NULL,
        issued_at REAL NOT NULL,
        expires_at REAL NOT NULL,
        PRIMARY KEY (session_id, token_id)
    ) WITHOUT ROWID;
    CREATE INDEX rolecall_tokens_issued ON rolecall_tokens (issued_at, token_id);
    CREATE INDEX rolecall_tokens_session ON rolecall_tokens (session_id, issued_at, token_id);
    CREATE INDEX rolecall_tokens_actor ON rolecall_tokens (actor_id, issued_at, token_id) WHERE actor_id IS NOT NULL;
    CREATE INDEX rolecall_tokens_expiring ON rolecall_tokens (expires_at);
    """,
    """
    CREATE TABLE rolecall_documents (
        name TEXT NOT NULL PRIMARY KEY,
        version INTEGER NOT NULL,
        content TEXT NOT NULL
    );
    """,
    # An index of each creator's open sessions, and one of the ended: many of the one kind hide none of the other. They
    # take the place of one of both, so a creation costs no more; workers of an earlier version list more slowly.
    """
    CREATE INDEX rolecall_sessions_created_by_open ON rolecall_sessions (created_by, created_at, session_id)
        WHERE created_by IS NOT NULL AND ended_at IS NULL;
    CREATE INDEX rolecall_sessions_created_by_ended ON rolecall_sessions (created_by, created_at, session_id)
        WHERE created_by IS NOT NULL AND ended_at IS NOT NULL;
    DROP INDEX rolecall_sessions_created_by;
    """,
)


def prepare(file: SQLiteFile) -> tuple[int, int]:
    """Bring a file up to date, one worker after the other; return the versions of its schema before and after."""
    lock = LockFile(file.real)
    try:
        with lock.held_within(sqlite_file.BUSY_TIMEOUT), closing(file.connect()) as raw:
            retry_while_locked(raw, _check_encoding)
            retry_while_locked(raw, switch_to_wal)
            before = version_of(raw)
            if before < len(MIGRATIONS):
                retry_while_locked(raw, _migrate)
            return before, version_of(raw)
    finally:
        lock.close()


def require(path: str, remedy: str) -> None:
    """Check that a file has this version's schema, where something else migrates it; a missing file is not made.

    :param remedy: what migrates it, such as ``"run manage.py migrate"``.
    :raises StoreUnavailable: if it has not.
    """
    if not os.path.exists(path):
        raise missing_schema("SQLite", 0, len(MIGRATIONS), remedy)
    with closing(SQLiteFile(path).connect()) as raw:
        version = version_of(raw)
    if version < len(MIGRATIONS):
        raise missing_schema("SQLite", version, len(MIGRATIONS), remedy)


def _check_encoding(raw: sqlite3.Connection) -> None:
    """Refuse a file of an app that keeps its texts in two bytes each: ids are read from the file as their bytes."""
    (encoding,) = raw.execute("PRAGMA encoding").fetchone()
    if encoding != "UTF-8":
        raise StoreUnavailable(f"its texts are {encoding}, and not UTF-8; keep the sessions in a file of its own")


def switch_to_wal(raw: sqlite3.Connection) -> None:
    """Have a file keep its changes in a write-ahead log."""
    raw.execute("PRAGMA journal_mode=WAL")


def _migrate(raw: sqlite3.Connection) -> None:
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("CREATE TABLE IF NOT EXISTS rolecall_schema (version INTEGER NOT NULL)")
    version = version_of(raw)  # another worker may have been quicker
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        for statement in _statements(script):
            raw.execute(statement)
        raw.execute("INSERT INTO rolecall_schema (version) VALUES (?)", (number,))
    raw.execute("COMMIT")


def version_of(raw: sqlite3.Connection) -> int:
    """The version of the schema; 0 if there is none."""
    if raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'rolecall_schema'").fetchone() is None:
        return 0
    (version,) = raw.execute("SELECT coalesce(max(version), 0) FROM rolecall_schema").fetchone()
    return int(version)


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def retry_while_locked(raw: sqlite3.Connection, work: Callable[[sqlite3.Connection], None]) -> None:
    """Do some work on a file that other workers open at the same time."""
    # SQLite does not apply its busy timeout to the switch, nor to a log that another process has just deleted.
    deadline = time.monotonic() + sqlite_file.BUSY_TIMEOUT
    while True:
        try:
            work(raw)
            return
        except sqlite3.OperationalError as error:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
