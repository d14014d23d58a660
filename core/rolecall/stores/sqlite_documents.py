"""The documents of an SQLite file."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from ..wording import shown
from .failures import of_a_value
from .sqlite_file import SharedConnection
from .sqlite_writing import WriteQueue

#: Adds a document, or replaces one of an earlier version.
REPLACE: Final = """
    INSERT INTO rolecall_documents (name, version, content) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET version = excluded.version, content = excluded.content
    WHERE excluded.version > version
"""
_GET: Final = "SELECT version, content FROM rolecall_documents WHERE name = ?"


class SQLiteDocuments:
    """The methods of :class:`~rolecall.stores.documents.Documents`."""

    _reader: SharedConnection
    _queue: WriteQueue

    def get_document(self, name: str) -> tuple[int, str] | None:
        row = self._reader.read(_GET, name)
        return None if row is None else _document(name, *row)

    def put_document(self, name: str, content: str, version: int) -> bool:
        def put(raw: sqlite3.Connection) -> bool:
            there = raw.execute(_GET, (name,)).fetchone() or (0, "")
            if there == (version + 1, content):
                return True
            if there[0] != version:
                return False
            raw.execute(REPLACE, (name, version + 1, content))
            return True

        return self._queue.write(put)


def _document(name: str, version: Any, content: Any) -> tuple[int, str]:
    """The document of a row.

    :raises StoreUnavailable: if it is damaged.
    """
    if not (isinstance(version, int) and isinstance(content, str)):
        raise of_a_value(f"the SQLite store's row of the document {shown(name)} is damaged; restore a backup")
    return version, content
