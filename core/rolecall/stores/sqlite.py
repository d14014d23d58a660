"""The store of a single machine: one SQLite file that all workers share (stdlib ``sqlite3``, WAL)."""

from __future__ import annotations

import os
import sqlite3
from typing import Final

from ..errors import ConfigurationError, StoreUnavailable
from ..sessions import SessionRecord
from .marks import Marks
from .sqlite_documents import SQLiteDocuments
from .sqlite_ended import EndedSessions, forget_deleted
from .sqlite_file import SharedConnection, SQLiteFile
from .sqlite_leases import SQLiteLeases
from .sqlite_ledger import SQLiteLedger
from .sqlite_listing import SQLiteListing, record_of
from .sqlite_marks import SQLiteMarks
from .sqlite_schema import prepare, retry_while_locked, switch_to_wal
from .sqlite_surveys import Surveys
from .sqlite_upkeep import REMOVE_USED, SQLiteUpkeep
from .sqlite_writing import WriteQueue

# Characters that would begin a URL's query or fragment, or end a C string.
_PARAMETERS: Final = frozenset("?#\0")
#: The most expired single-use ids that one use deletes, so that it takes no longer than another.
_FORGOTTEN_AT_ONCE: Final = 50


class SQLiteStore(SQLiteLeases, SQLiteMarks, SQLiteLedger, SQLiteDocuments, SQLiteListing, SQLiteUpkeep):
    """Sessions in an SQLite file. Each process has one connection for reading, one for writing, and one for what takes
    long.

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
            self._opened_version, _ = prepare(self._file)
        except (sqlite3.Error, StoreUnavailable, ValueError) as error:
            raise ConfigurationError(
                f"cannot open the SQLite store {os.path.abspath(path)!r}: {error}; "
                "its folder must exist and be writable, and the file be a database or not exist"
            ) from None
        # Several connections, so that no short read waits for the disk, or for a long one.
        self._reader = SharedConnection(self._file)
        self._writer = SharedConnection(self._file, _leave_the_sync_to_the_queue)
        self._queue = WriteQueue(self._file, self._writer)
        self._surveys = Surveys(self._file)
        self._ended = EndedSessions(self._file, self._reader)
        self.has_ended = self._ended.has_ended
        self.revision = self._ended.revision

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
        values = record.session_id, record.properties.as_json(), record.created_at, record.created_by

        def add(raw: sqlite3.Connection) -> None:
            raw.execute(
                "INSERT INTO rolecall_sessions (session_id, properties, created_at, created_by) VALUES (?, ?, ?, ?)",
                values,
            )

        self._queue.write(add)

    def get_session(self, session_id: str) -> SessionRecord | None:
        row = self._reader.read(
            "SELECT session_id, properties, created_at, e.ended_at, created_by "
            "FROM rolecall_sessions LEFT JOIN rolecall_ended_sessions e USING (session_id) WHERE session_id = ?",
            session_id,
        )
        return None if row is None else record_of(*row)

    def end_session(self, session_id: str, ended_at: float) -> None:
        def end(raw: sqlite3.Connection) -> None:
            raw.execute(
                "INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (session_id, ended_at),
            )

        self._queue.write(end)

    @property
    def marks(self) -> Marks:
        return self._ended.marks

    def use_once(self, name: str, until: float, now: float) -> bool:
        def use(raw: sqlite3.Connection) -> bool:
            raw.execute(REMOVE_USED, (now, _FORGOTTEN_AT_ONCE))
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
        self._surveys.close()
        forget_deleted()

    def __repr__(self) -> str:
        return f"<SQLiteStore {self._file.path.name!r}>"


def _leave_the_sync_to_the_queue(raw: sqlite3.Connection) -> None:
    retry_while_locked(raw, switch_to_wal)
    raw.execute("PRAGMA synchronous=NORMAL")
