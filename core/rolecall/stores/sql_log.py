"""The log of ended sessions and of marks in PostgreSQL, read in a way that misses no transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from math import inf
from time import monotonic
from typing import Any, Final, NamedTuple

import psycopg

from .following import Gap, News, Position
from .sql_connections import BoundedConnection, unavailable

#: The channel on which the end of a session, or a mark, is announced, without its id.
CHANNEL: Final = "rolecall"
#: The most ended sessions, or marks, in one answer while all of them are read.
PAGE: Final = 10_000
#: The seconds after which one open transaction is worth a warning.
LONG: Final = 60.0

# All as of one snapshot. The epoch changes when transaction ids may have begun anew: another cluster, a replica that
# was promoted or a backup that was restored (both begin another timeline), or tables that were made anew. Rows from
# another cluster may have ids of the future; those are left to the first reading of all rows.
_CHANGES: Final = b"""
SELECT concat_ws('/', (SELECT generation FROM rolecall_schema WHERE version = 1),
                 (SELECT system_identifier FROM pg_control_system()),
                 left(pg_walfile_name(pg_current_wal_lsn()), 8)),
       pg_snapshot_xmin(pg_current_snapshot())::text::numeric,
       pg_snapshot_xmax(pg_current_snapshot())::text::numeric,
       ARRAY(SELECT session_id FROM rolecall_ended_sessions
             WHERE xid >= %(first)s::text::xid8 AND xid < pg_snapshot_xmax(pg_current_snapshot())),
       names, numbers
FROM (SELECT coalesce(array_agg(name), '{}') AS names, coalesce(array_agg(value), '{}') AS numbers FROM rolecall_marks
      WHERE xid >= %(first)s::text::xid8 AND xid < pg_snapshot_xmax(pg_current_snapshot())) AS marks
"""
# The key comes first; the last one of a page begins the next.
_ENDED: Final = b"SELECT session_id FROM rolecall_ended_sessions WHERE session_id > %s ORDER BY session_id LIMIT %s"
_MARKS: Final = b"SELECT name, value FROM rolecall_marks WHERE name > %s ORDER BY name LIMIT %s"
_NO_ROWS: Final = 2**64 - 1

_LOG: Final = logging.getLogger("rolecall")


class _Position(NamedTuple):
    """A place in the log.

    :param epoch: says whether transaction ids can be compared.
    :param xmin: every transaction with a lower id has ended.
    """

    epoch: str
    xmin: int


class SQLLog:
    """The ended sessions and the marks of a PostgreSQL store, for the follower in one process.

    Each row holds the id of its transaction; that of a mark, of the latest one that has raised it. A transaction may
    commit long after one with a higher id, so each reading begins at the oldest transaction that was still open at the
    last one: rows are read twice, and none is missed.

    :param connect: opens a connection of this process.
    :param timeout: the longest time of one reading, in seconds.
    """

    def __init__(self, connect: Callable[[], BoundedConnection], timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._connection: BoundedConnection | None = None
        self._oldest = (0, monotonic(), False)

    def snapshot(self) -> tuple[News, Position]:
        position, _ = self._guarded(self._read, _NO_ROWS)
        return News((session_id for (session_id,) in self._all(_ENDED)), self._all(_MARKS)), position

    def changes(self, after: Position, wait: float) -> tuple[News, Position]:
        if wait:
            self._guarded(self._wait, wait)
        position, news = self._guarded(self._read, after.xmin)
        if position.epoch != after.epoch or position.xmin < after.xmin:
            raise Gap("the database was restored, promoted or replaced")
        return news, position

    def close(self) -> None:
        self._disconnect()

    def _all(self, pages: bytes) -> Iterator[Any]:
        last = ""
        while page := self._guarded(self._fetch, pages, (last, PAGE)):
            yield from page
            last = page[-1][0]

    def _read(self, first: int) -> tuple[_Position, News]:
        ((epoch, xmin, xmax, session_ids, names, numbers),) = self._fetch(_CHANGES, {"first": str(first)})
        self._look_for_long_transactions(int(xmin), int(xmax))
        return _Position(epoch, int(xmin)), News(session_ids, list(zip(names, numbers, strict=True)))

    def _wait(self, seconds: float) -> None:
        """Wait until the end of a session, or a mark, is announced."""
        connection = self._open()
        connection.deadline = inf
        for _ in connection.notifies(timeout=seconds, stop_after=1):
            pass

    def _fetch(self, query: bytes, values: Any) -> list[Any]:
        return self._open().fetch(query, values, monotonic() + self._timeout)

    def _open(self) -> BoundedConnection:
        if self._connection is None:
            self._connection = self._connect()
            self._fetch(f"LISTEN {CHANNEL}".encode(), ())
        return self._connection

    def _guarded(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except psycopg.Error as error:
            self._disconnect()
            raise unavailable(error) from error

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _look_for_long_transactions(self, xmin: int, xmax: int) -> None:
        """Warn of a transaction that stays open, because what is written meanwhile is read again at each reading."""
        oldest, since, is_told = self._oldest
        if xmin != oldest or xmin == xmax:
            self._oldest = xmin, monotonic(), False
        elif not is_told and monotonic() - since > LONG:
            self._oldest = oldest, since, True
            _LOG.warning("a transaction has been open in PostgreSQL for a minute: the ended sessions are read slowly")
