"""The upkeep of an SQLite file: what is over is deleted, a few rows at a time; and rows are copied."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from ..errors import StoreUnavailable
from . import sqlite_examination
from .sqlite_documents import REPLACE
from .sqlite_file import SQLiteFile
from .sqlite_marks import RAISE, number_of
from .sqlite_schema import prepare
from .sqlite_surveys import Surveys
from .sqlite_writing import WriteQueue, undone_if_it_fails
from .upkeep import Finding, Kind, Over, Row

#: The newest rows of the log of changes, which stay: a process that is further behind reads all that is revoked anew.
KEPT_CHANGES: Final = 10_000


def _removal(table: str, key: str, condition: str, order: str) -> str:
    """A statement that removes a few rows, of which an index finds the first ones."""
    few = f"SELECT {key} FROM {table} WHERE {condition} ORDER BY {order} LIMIT ?"  # noqa: S608 (names in this module)
    return f"DELETE FROM {table} WHERE ({key}) IN ({few})"  # noqa: S608


REMOVE_USED: Final = _removal("rolecall_used_once", "name", "until < ?", "until")
_REMOVE_LEASES: Final = _removal("rolecall_leases", "lease, key", "until < ?", "until")
_REMOVE_MARKS: Final = _removal("rolecall_marks", "name", "until < ?", "until")
_REMOVE_TOKENS: Final = _removal("rolecall_tokens", "session_id, token_id", "expires_at < ?", "expires_at")
_REMOVE_RECORDS: Final = _removal("rolecall_sessions", "session_id", "ended_at < ?", "ended_at")
_REMOVE_OPEN: Final = _removal("rolecall_sessions", "session_id", "ended_at IS NULL AND created_at < ?", "created_at")
_REMOVE_CLOSED: Final = _REMOVE_OPEN.replace("IS NULL", "IS NOT NULL")
# A record that is still there is younger than the end of its session, by the clocks of two workers.
_REMOVE_ENDS: Final = _removal(
    "rolecall_ended_sessions",
    "session_id",
    "ended_at < ? AND session_id NOT IN (SELECT session_id FROM rolecall_sessions)",
    "ended_at",
)
_REMOVE_CHANGES: Final = _removal(
    "rolecall_changes", "sequence", "sequence <= (SELECT max(sequence) FROM rolecall_changes) - ?", "sequence"
)
# What is logged of some removals, so that each process knows how much of what it holds in memory is of no use any more.
# Their number comes first, and then what is random: see the fifth migration.
_LOGGED: Final[Mapping[str, str]] = {_REMOVE_ENDS: "ends forgotten", _REMOVE_MARKS: "marks forgotten"}
_LOG: Final = "INSERT INTO rolecall_changes (kind, id) VALUES (?, ? || ' ' || lower(hex(randomblob(8))))"


class _Table(NamedTuple):
    """Where the rows of a kind are kept.

    :param columns: in the order of :data:`~rolecall.stores.upkeep.Row`; those of the key come first.
    :param keys: how many columns the key has.
    :param raising: a statement that adds a row, or raises what is there already; if there is none, that stays.
    """

    name: str
    columns: tuple[str, ...]
    keys: int = 1
    raising: str | None = None

    @property
    def key(self) -> str:
        return ", ".join(self.columns[: self.keys])

    @property
    def selection(self) -> str:
        return f"SELECT {', '.join(self.columns)} FROM {self.name}"  # noqa: S608 (names in this module)

    @property
    def addition(self) -> str:
        if self.raising is not None:
            return self.raising
        values = _parameters(len(self.columns))
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({values}) ON CONFLICT DO NOTHING"  # noqa: S608

    def where_key(self, comparison: str) -> str:
        """A condition with a parameter for each column of the key."""
        return f"WHERE ({self.key}) {comparison} ({_parameters(self.keys)})"


_TABLES: Final[Mapping[Kind, _Table]] = {
    "ended": _Table("rolecall_ended_sessions", ("session_id", "ended_at")),
    "marks": _Table("rolecall_marks", ("name", "value", "until"), raising=RAISE),
    "sessions": _Table("rolecall_sessions", ("session_id", "properties", "created_at", "created_by")),
    "used": _Table("rolecall_used_once", ("name", "until")),
    "leases": _Table("rolecall_leases", ("lease", "key", "until"), 2),
    "tokens": _Table("rolecall_tokens", ("session_id", "token_id", "actor_id", "role", "issued_at", "expires_at"), 2),
    "documents": _Table("rolecall_documents", ("name", "version", "content"), raising=REPLACE),
}


def _parameters(count: int) -> str:
    return ", ".join("?" * count)


class SQLiteUpkeep:
    """The methods of :class:`~rolecall.stores.upkeep.Upkeep`."""

    _file: SQLiteFile
    _queue: WriteQueue
    _surveys: Surveys
    # The version of the schema that the store found when it was opened, until somebody has asked.
    _opened_version: int

    def forget(self, over: Over) -> int:
        return self._queue.write(lambda raw: _forget(raw, over))

    def count(self) -> Mapping[Kind, int]:
        tables = (f"(SELECT count(*) FROM {table.name})" for table in _TABLES.values())  # noqa: S608
        (counts,) = self._surveys.rows(f"SELECT {', '.join(tables)}")
        return dict(zip(_TABLES, counts, strict=True))

    def dump(self, kind: Kind, after: str | None, limit: int) -> tuple[Sequence[Row], str | None]:
        table = _TABLES[kind]
        begin = [] if after is None else _key_of(after)
        query = [table.selection, table.where_key(">") if begin else "", f"ORDER BY {table.key} LIMIT ?"]
        rows = self._surveys.rows(" ".join(query), [*begin, limit])
        return _checked(kind, rows), json.dumps(rows[-1][: table.keys]) if len(rows) == limit else None

    def load(self, kind: Kind, rows: Sequence[Row]) -> Sequence[Row]:
        table = _TABLES[kind]

        def add(raw: sqlite3.Connection) -> list[Row]:
            with undone_if_it_fails(raw):
                raw.executemany(table.addition, rows)
                stored = f"{table.selection} {table.where_key('=')}"
                return _checked(kind, [raw.execute(stored, row[: table.keys]).fetchone() for row in rows])

        return self._queue.write(add)

    def examine(self) -> Sequence[Finding]:
        with self._surveys.reading(sqlite_examination.SECONDS) as raw:
            return list(sqlite_examination.findings(self._file, raw))

    def migrate(self) -> tuple[int, int]:
        _, after = prepare(self._file)
        before, self._opened_version = self._opened_version, after
        return before, after

    def clock(self) -> float | None:
        return None


def _checked(kind: Kind, rows: list[Row]) -> list[Row]:
    """The rows, none of which is a damaged mark: a copy of it would revoke something else."""
    if kind == "marks":
        for name, value, until in rows:
            number_of(str(name), value), number_of(str(name), until)
    return rows


def _key_of(after: str) -> list[str]:
    try:
        key = json.loads(after)
    except ValueError:
        key = None
    if not isinstance(key, list) or not key:
        raise StoreUnavailable("the place to continue from is none that an SQLite store has told; begin anew")
    return key


def _forget(raw: sqlite3.Connection, over: Over) -> int:
    """Remove a few rows; return how many. Each end stays at least as long as the record of its session."""
    removed = 0
    for statement, moment in _removals(over):
        count = raw.execute(statement, (moment, over.limit - removed)).rowcount
        if count and statement in _LOGGED:
            raw.execute(_LOG, (_LOGGED[statement], count))
        removed += count
    return removed + raw.execute(_REMOVE_CHANGES, (KEPT_CHANGES, over.limit - removed)).rowcount


def _removals(over: Over) -> Iterator[tuple[str, float]]:
    yield REMOVE_USED, over.lapsed_before
    yield _REMOVE_LEASES, over.lapsed_before
    yield _REMOVE_MARKS, over.lapsed_before
    yield _REMOVE_TOKENS, over.lapsed_before
    if over.ended_before is not None:
        yield _REMOVE_RECORDS, over.ended_before
    if over.created_before is not None:
        yield _REMOVE_OPEN, over.created_before
        yield _REMOVE_CLOSED, over.created_before
        yield _REMOVE_ENDS, over.created_before
