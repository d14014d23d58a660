"""The upkeep of a PostgreSQL store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Final

from . import sql_copying, sql_forgetting
from .sql_connections import BoundedConnection, Connections, Values, patient
from .sql_connections import Row as Fetched
from .sql_examination import findings
from .sql_schema import check_server, make_indexes, migrate, version_of
from .sql_url import SQLURL
from .upkeep import KINDS, Finding, Kind, Over, Row

#: The longest time of a call that reads or writes many rows, in seconds.
LONG: Final = 60.0
#: The longest time of a migration, in seconds: an index of 100 million rows takes some minutes.
MIGRATION: Final = 3600.0

_COUNT: Final = b"""
    SELECT (SELECT count(*) FROM rolecall_ended_sessions), (SELECT count(*) FROM rolecall_marks),
           (SELECT count(*) FROM rolecall_sessions), (SELECT count(*) FROM rolecall_used_once),
           (SELECT count(*) FROM rolecall_leases), (SELECT count(*) FROM rolecall_tokens),
           (SELECT count(*) FROM rolecall_documents)
"""
_CLOCK: Final = b"SELECT extract(epoch FROM clock_timestamp())::float8"


class SQLUpkeep(ABC):
    """The upkeep of a PostgreSQL store. Copying and counting may take 60 seconds a call, a migration an hour."""

    _url: SQLURL

    @abstractmethod
    def _connections(self) -> Connections:
        """This process's connections."""

    @abstractmethod
    def _learn(self, kind: Kind, rows: Sequence[Row]) -> None:
        """Note the ends, or the marks, that this process has loaded."""

    def forget(self, over: Over) -> int:
        deadline = monotonic() + self._url.timeout
        return sql_forgetting.forget(partial(self._connections().fetch, deadline=deadline), over)

    def count(self) -> Mapping[Kind, int]:
        return dict(zip(KINDS, self._fetch_long(_COUNT)[0], strict=True))

    def dump(self, kind: Kind, after: str | None, limit: int) -> tuple[Sequence[Row], str | None]:
        rows = self._fetch_long(*sql_copying.page(kind, after, limit))
        return rows, sql_copying.end(kind, rows) if len(rows) == limit else None

    def load(self, kind: Kind, rows: Sequence[Row]) -> Sequence[Row]:
        if not rows:
            return []
        there = sql_copying.in_order(kind, rows, self._fetch_long(*sql_copying.load(kind, rows)))
        self._learn(kind, there)
        return there

    def examine(self) -> Sequence[Finding]:
        with self._unprepared().alone(LONG) as connection:
            return list(findings(connection))

    def migrate(self) -> tuple[int, int]:
        with self._unprepared().alone(MIGRATION) as connection:
            check_server(connection)
            before = version_of(connection)
            migrate(connection)
            make_indexes(connection)
            return before, version_of(connection)

    def clock(self) -> float | None:
        ((now,),) = self._connections().fetch(_CLOCK)
        return float(now)

    def _fetch_long(self, statement: bytes, values: Values | None = None) -> list[Fetched]:
        return self._connections().fetch(patient(statement, LONG), values, monotonic() + LONG)

    def _unprepared(self) -> Connections:
        """Connections to the server as it is: nothing is migrated."""
        return Connections(self._url, _leave)


def _leave(connection: BoundedConnection) -> None:
    """Change nothing in a database."""
