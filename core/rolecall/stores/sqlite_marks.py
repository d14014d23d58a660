"""The marks of an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from ..wording import shown
from .failures import of_a_value
from .marks import PARTS, Marks, mark_name
from .sqlite_file import SharedConnection
from .sqlite_writing import WriteQueue

#: Adds a mark, or raises its number and the time until when it is kept.
RAISE: Final = """
    INSERT INTO rolecall_marks (name, value, until) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value), until = max(until, excluded.until)
    WHERE excluded.value > value OR excluded.until > until
"""
_VALUE: Final = "SELECT value FROM rolecall_marks WHERE name = ?"


class SQLiteMarks:
    """The methods of :class:`~rolecall.stores.marks.Marked`. The marks in memory are kept by
    :class:`~rolecall.stores.sqlite_ended.EndedSessions`.
    """

    _reader: SharedConnection
    _queue: WriteQueue

    def raise_mark(self, name: str, value: float, until: float) -> float:
        def raised(raw: sqlite3.Connection) -> float:
            raw.execute(RAISE, (name, value, until))
            (stands,) = raw.execute(_VALUE, (name,)).fetchone()
            return number_of(name, stands)

        return self._queue.write(raised)

    def get_marks(self, names: Sequence[str]) -> Mapping[str, float]:
        query = f"SELECT name, value FROM rolecall_marks WHERE name IN ({', '.join('?' * len(names))})"  # noqa: S608
        with self._reader.reading() as raw:
            rows = raw.execute(query, names).fetchall()
        return {name: number_of(name, value) for name, value in rows}


class AskedMarks(Marks):
    """Marks of which each is asked for when it is needed: some microseconds. It holds none.

    As it does not know of which kinds there are marks, it tells all of them.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: SharedConnection) -> None:
        super().__init__()
        self._connection = connection
        self.kinds = frozenset(PARTS)

    def may_touch(self, session_id: str) -> bool:
        """True: the file knows."""
        return True

    def value(self, *parts: str) -> float:
        """The number of a mark as it stands in the file; 0 if there is none.

        :raises StoreUnavailable: if the database does not answer, or the mark's row is damaged.
        """
        name = mark_name(*parts)
        row = self._connection.read(_VALUE, name)
        return 0.0 if row is None else number_of(name, row[0])


def number_of(name: str, value: object) -> float:
    """A number of a mark's row.

    :raises StoreUnavailable: if the row is damaged.
    """
    if not isinstance(value, float):
        raise of_a_value(
            f"the SQLite store's row of the mark {shown(name)} is damaged, so what it revokes is unknown; "
            "stop the workers and restore a backup"
        )
    return value
