"""The store of a single machine: one SQLite file that all workers share (stdlib ``sqlite3``, WAL)."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from ..errors import ConfigurationError, StoreUnavailable
from ..sessions import ArchiveMode, MediaMode, SessionRecord

#: How many seconds a write waits for another worker's.
BUSY_TIMEOUT: Final = 10.0

# What would begin a URL's query or fragment, or end a C string.
_PARAMETERS: Final = frozenset("?#\0")
# Tables carry a prefix, so that an app may keep its own in the same file. Later versions only ever add: workers of
# the version before go on working beside the new ones.
_MIGRATIONS: Final = (
    """
    CREATE TABLE rolecall_sessions (
        session_id TEXT PRIMARY KEY,
        location TEXT,
        media_mode TEXT NOT NULL,
        archive_mode TEXT NOT NULL,
        e2ee INTEGER NOT NULL,
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
)


@contextmanager
def immediate(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One writing transaction, which others wait for; it is undone where the block raises."""
    # IMMEDIATE, because a reader that turns writer is refused at once while another writes.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class SQLiteStore:
    """Sessions in an SQLite file. Each thread of each process has a connection of its own.

    :param path: the file; it is created if it does not exist, its folder is not.
    :raises ConfigurationError: if the file cannot be opened as an SQLite database.
    """

    reads_inline = True
    writes_inline = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).absolute()
        self._local = threading.local()
        self._open: WeakSet[_Connection] = WeakSet()
        self._inherited: list[_Connection] = []
        self._closed = False
        try:
            self._migrate()
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"cannot open the SQLite store {str(self._path)!r}: {error}; "
                "its folder must exist and be writable, and the file be a database or not exist"
            ) from None

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
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO rolecall_sessions VALUES (?, ?, ?, ?, ?, ?)",
                (
                    record.session_id,
                    record.location,
                    record.media_mode,
                    record.archive_mode,
                    record.e2ee,
                    record.created_at,
                ),
            )

    def get_session(self, session_id: str) -> SessionRecord | None:
        row = self._read(
            "SELECT session_id, location, media_mode, archive_mode, e2ee, created_at, ended_at "
            "FROM rolecall_sessions LEFT JOIN rolecall_ended_sessions USING (session_id) WHERE session_id = ?",
            session_id,
        )
        if row is None:
            return None
        return SessionRecord(
            session_id=row[0],
            location=row[1],
            media_mode=MediaMode(row[2]),
            archive_mode=ArchiveMode(row[3]),
            e2ee=bool(row[4]),
            created_at=row[5],
            ended_at=row[6],
        )

    def end_session(self, session_id: str, ended_at: float) -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO rolecall_ended_sessions VALUES (?, ?) ON CONFLICT DO NOTHING",
                (session_id, ended_at),
            )

    def has_ended(self, session_id: str) -> bool:
        return self._read("SELECT 1 FROM rolecall_ended_sessions WHERE session_id = ?", session_id) is not None

    def use_once(self, name: str, until: float, now: float) -> bool:
        with self._transaction() as connection:
            connection.execute("DELETE FROM rolecall_used_once WHERE until < ?", (now,))
            added = connection.execute(
                "INSERT INTO rolecall_used_once VALUES (?, ?) ON CONFLICT DO NOTHING", (name, until)
            )
        return added.rowcount == 1

    def close(self) -> None:
        self._closed = True
        for connection in list(self._open):
            connection.close()
        self._local = threading.local()

    def _read(self, query: str, session_id: str) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = self._connection().execute(query, (session_id,)).fetchone()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the SQLite store does not answer: {error}") from error
        return row

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with immediate(self._connection()) as connection:
                yield connection
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the SQLite store does not answer: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        held: _Connection | None = getattr(self._local, "connection", None)
        if held is None or held.pid != os.getpid():
            if self._closed:
                raise StoreUnavailable("the SQLite store was closed; make another kit")
            if held is not None:
                # Opened before a fork. To close it here could disturb the parent, so it is only set aside.
                self._inherited.append(held)
            held = self._local.connection = _Connection(self._path)
            self._open.add(held)
        return held.raw

    def _migrate(self) -> None:
        connection = _Connection(self._path)
        try:
            raw = connection.raw
            _switch_to_wal(raw)
            raw.execute("BEGIN IMMEDIATE")
            raw.execute("CREATE TABLE IF NOT EXISTS rolecall_schema (version INTEGER NOT NULL)")
            (version,) = raw.execute("SELECT coalesce(max(version), 0) FROM rolecall_schema").fetchone()
            for number, script in enumerate(_MIGRATIONS[version:], version + 1):
                for statement in filter(str.strip, script.split(";")):
                    raw.execute(statement)
                raw.execute("INSERT INTO rolecall_schema VALUES (?)", (number,))
            raw.execute("COMMIT")
        finally:
            connection.close()

    def __repr__(self) -> str:
        return f"<SQLiteStore {self._path.name!r}>"


class _Connection:
    """One SQLite connection, closed with the thread that it belongs to."""

    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        self.raw = sqlite3.connect(
            path,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,  # transactions are begun explicitly
            check_same_thread=False,  # so that close() may end it; it is used by one thread
        )
        # FULL, because an acknowledged end of a session must outlive a loss of power.
        self.raw.execute("PRAGMA synchronous=FULL")

    def close(self) -> None:
        if self.pid == os.getpid():
            self.raw.close()

    def __del__(self) -> None:
        if hasattr(self, "raw"):
            self.close()


def _switch_to_wal(raw: sqlite3.Connection) -> None:
    # Workers that start together race for this switch, and SQLite does not wait its timeout out here.
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
