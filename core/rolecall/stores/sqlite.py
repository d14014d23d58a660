"""The store of a single machine: one SQLite file that all workers share (stdlib ``sqlite3``, WAL)."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final

from ..errors import ConfigurationError, StoreUnavailable
from ..sessions import SessionProperties, SessionRecord
from . import sqlite_file
from .failures import unreadable
from .sqlite_ended import EndedSessions, forget_deleted
from .sqlite_file import SharedConnection, SQLiteFile
from .sqlite_lock import LockFile
from .sqlite_writing import WriteQueue

# Characters that would begin a URL's query or fragment, or end a C string.
_PARAMETERS: Final = frozenset("?#\0")
# Tables have a prefix, so that an app may keep its own in the same file. Later versions only add to them, because
# workers of an earlier version may still run beside the new ones.
_MIGRATIONS: Final = (
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
)
#: The most expired single-use ids that one use deletes, so that it takes no longer than another.
_FORGOTTEN_AT_ONCE: Final = 50


class SQLiteStore:
    """Sessions in an SQLite file. Each process has one connection for reading, and one for writing.

    :param path: the file; if it does not exist, it is created, readable for its owner alone. Its folder must exist.
    :raises ConfigurationError: if the file cannot be opened as an SQLite database.
    """

    reads_inline = True
    writes_inline = False
    immediate = True
    bounded = True  # reads by the busy timeout, writes by the deadline of their queue

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self._file = SQLiteFile(path)
            _prepare(self._file)
        except (sqlite3.Error, StoreUnavailable, ValueError) as error:
            raise ConfigurationError(
                f"cannot open the SQLite store {os.path.abspath(path)!r}: {error}; "
                "its folder must exist and be writable, and the file be a database or not exist"
            ) from None
        # Two connections, so that no read waits for the disk.
        self._reader = SharedConnection(self._file)
        self._writer = SharedConnection(self._file, _leave_the_sync_to_the_queue)
        self._queue = WriteQueue(self._file, self._writer)
        self._ended = EndedSessions(self._file, self._reader)

    @classmethod
    def from_url(cls, url: str) -> SQLiteStore:
        path = url.removeprefix("sqlite:///")
        if path == url or not path or path == ":memory:" or not _PARAMETERS.isdisjoint(path):
            raise ConfigurationError(
                "the SQLite store's URL is 'sqlite:///relative.db' or 'sqlite:////absolute/path.db', "
                "without parameters; for a store in memory use 'memory://'"
            )
        return cls(path)

    def add_session(self, record: SessionRecord) -> None:
        values = record.session_id, record.properties.as_json(), record.created_at

        def add(raw: sqlite3.Connection) -> None:
            raw.execute("INSERT INTO rolecall_sessions (session_id, properties, created_at) VALUES (?, ?, ?)", values)

        self._queue.write(add)

    def get_session(self, session_id: str) -> SessionRecord | None:
        row = self._reader.read(
            "SELECT session_id, properties, created_at, ended_at "
            "FROM rolecall_sessions LEFT JOIN rolecall_ended_sessions USING (session_id) WHERE session_id = ?",
            session_id,
        )
        return None if row is None else _record(*row)

    def end_session(self, session_id: str, ended_at: float) -> None:
        def end(raw: sqlite3.Connection) -> None:
            raw.execute(
                "INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (session_id, ended_at),
            )

        self._queue.write(end)

    def has_ended(self, session_id: str) -> bool:
        return session_id in self._ended

    def use_once(self, name: str, until: float, now: float) -> bool:
        def use(raw: sqlite3.Connection) -> bool:
            raw.execute(
                "DELETE FROM rolecall_used_once WHERE name IN "
                "(SELECT name FROM rolecall_used_once WHERE until < ? ORDER BY until LIMIT ?)",
                (now, _FORGOTTEN_AT_ONCE),
            )
            added = raw.execute(
                "INSERT INTO rolecall_used_once (name, until) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET until = excluded.until WHERE until < ?",
                (name, until, now),
            )
            return added.rowcount == 1

        return self._queue.write(use)

    def close(self) -> None:
        self._queue.close()
        self._reader.close()
        forget_deleted()

    def __repr__(self) -> str:
        return f"<SQLiteStore {self._file.path.name!r}>"


def _record(session_id: str, properties: Any, created_at: Any, ended_at: Any) -> SessionRecord:
    try:
        if not isinstance(created_at, float) or not isinstance(ended_at, float | None):
            raise ValueError
        return SessionRecord(session_id, SessionProperties.from_json(properties), created_at, ended_at)
    except ValueError:
        raise unreadable("SQLite", session_id) from None


def _prepare(file: SQLiteFile) -> None:
    """Bring a file up to date, one worker after the other."""
    lock = LockFile(file.real)
    try:
        with lock.held_within(sqlite_file.BUSY_TIMEOUT), closing(file.connect()) as raw:
            _retry_while_locked(raw, _switch_to_wal)
            if _version(raw) < len(_MIGRATIONS):
                _retry_while_locked(raw, _migrate)
    finally:
        lock.close()


def _switch_to_wal(raw: sqlite3.Connection) -> None:
    raw.execute("PRAGMA journal_mode=WAL")


def _migrate(raw: sqlite3.Connection) -> None:
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("CREATE TABLE IF NOT EXISTS rolecall_schema (version INTEGER NOT NULL)")
    version = _version(raw)  # another worker may have been quicker
    for number, script in enumerate(_MIGRATIONS[version:], version + 1):
        for statement in _statements(script):
            raw.execute(statement)
        raw.execute("INSERT INTO rolecall_schema (version) VALUES (?)", (number,))
    raw.execute("COMMIT")


def _version(raw: sqlite3.Connection) -> int:
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


def _leave_the_sync_to_the_queue(raw: sqlite3.Connection) -> None:
    _retry_while_locked(raw, _switch_to_wal)
    raw.execute("PRAGMA synchronous=NORMAL")


def _retry_while_locked(raw: sqlite3.Connection, work: Callable[[sqlite3.Connection], None]) -> None:
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
