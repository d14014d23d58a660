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
#: The most ended sessions, or marks, in one answer: each comes in time, however much there is to read.
PAGE: Final = 1000
#: The seconds after which one open transaction is worth a warning.
LONG: Final = 60.0

# Written by transactions that began after an earlier snapshot, or were open in it. Two queries, so that each looks into
# the index at its place, and passes over nothing, however long a transaction stays open. Rows from another cluster may
# have ids of the future; those are left to the first reading of all rows.
_SINCE: Final = b"""
    %b WHERE xid >= pg_snapshot_xmax(%%(after)s::text::pg_snapshot) AND xid < pg_snapshot_xmax(pg_current_snapshot())
    UNION ALL %b WHERE xid = ANY(ARRAY(SELECT pg_snapshot_xip(%%(after)s::text::pg_snapshot)))
"""
_ENDED_SINCE: Final = _SINCE % ((b"SELECT session_id FROM rolecall_ended_sessions",) * 2)
_MARKS_SINCE: Final = _SINCE % ((b"SELECT name, value FROM rolecall_marks",) * 2)
# All as of one snapshot. The epoch changes when transaction ids may have begun anew: another cluster, a replica that
# was promoted or a backup that was restored (both begin another timeline), or tables that were made anew.
_CHANGES: Final = b"""
SELECT concat_ws('/', (SELECT generation FROM rolecall_schema WHERE version = 1),
                 (SELECT system_identifier FROM pg_control_system()),
                 left(pg_walfile_name(pg_current_wal_lsn()), 8)),
       pg_current_snapshot()::text, ARRAY(%b LIMIT %%(most)s), names, numbers
FROM (SELECT coalesce(array_agg(name), '{}') AS names, coalesce(array_agg(value), '{}') AS numbers
      FROM (%b LIMIT %%(most)s) AS since) AS marks
""" % (_ENDED_SINCE, _MARKS_SINCE)
# The key comes first; the last one of a page begins the next.
_ENDED: Final = b"SELECT session_id FROM rolecall_ended_sessions WHERE session_id > %s ORDER BY session_id LIMIT %s"
_MARKS: Final = b"SELECT name, value FROM rolecall_marks WHERE name > %s ORDER BY name LIMIT %s"

_LOG: Final = logging.getLogger("rolecall")


class _Position(NamedTuple):
    """A place in the log.

    :param epoch: says whether transaction ids can be compared.
    :param snapshot: which transactions had ended, as PostgreSQL writes it: ``xmin:xmax:open,…``.
    """

    epoch: str
    snapshot: str

    @property
    def xmin(self) -> int:
        """Every transaction with a lower id has ended."""
        return int(self.snapshot.split(":")[0])

    @property
    def xmax(self) -> int:
        """No transaction with this id, or a higher one, had begun."""
        return int(self.snapshot.split(":")[1])


class SQLLog:
    """The ended sessions and the marks of a PostgreSQL store, for the follower in one process.

    Each row holds the id of its transaction; that of a mark, of the latest one that has raised it. A transaction may
    commit long after one with a higher id, so each reading asks for the rows of those that were open at the last one,
    too.

    :param connect: opens a connection of this process.
    :param timeout: the longest time of one reading, in seconds.
    """

    def __init__(self, connect: Callable[[], BoundedConnection], timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._connection: BoundedConnection | None = None
        self._oldest = (0, monotonic(), False)

    def snapshot(self) -> tuple[News, Position]:
        position, _, _ = self._guarded(self._read, "1:1:", 0)
        return News((session_id for (session_id,) in self._all(_ENDED)), self._all(_MARKS)), position

    def changes(self, after: Position, wait: float) -> tuple[News, Position]:
        if wait:
            self._guarded(self._wait, wait)
        position, ended, marks = self._guarded(self._read, after.snapshot, PAGE)
        if position.epoch != after.epoch or position.xmin < after.xmin:
            raise Gap("the database was restored, promoted or replaced")
        if PAGE in (len(ended), len(marks)):  # there may be more
            ended = (session_id for (session_id,) in self._since(_ENDED_SINCE, after))
            marks = self._since(_MARKS_SINCE, after)
        return News(ended, marks), position

    def close(self) -> None:
        self._disconnect()

    def _all(self, pages: bytes) -> Iterator[Any]:
        last = ""
        while page := self._guarded(self._fetch, pages, (last, PAGE)):
            yield from page
            last = page[-1][0]

    def _read(self, after: str, most: int) -> tuple[_Position, list[str], list[tuple[str, float]]]:
        """Where the log ends by now, and what has ended and was marked after a snapshot: of each at most so many."""
        ((epoch, snapshot, ended, names, numbers),) = self._fetch(_CHANGES, {"after": after, "most": most})
        position = _Position(epoch, snapshot)
        self._look_for_long_transactions(position.xmin, position.xmax)
        return position, ended, list(zip(names, numbers, strict=True))

    def _since(self, query: bytes, after: _Position) -> Iterator[Any]:
        """All rows that a query finds after a place, page by page, as of one moment."""
        is_whole = False
        try:
            self._guarded(self._fetch, b"BEGIN", ())
            self._guarded(self._fetch, b"DECLARE since CURSOR FOR " + query, {"after": after.snapshot})
            while page := self._guarded(self._fetch, f"FETCH {PAGE} FROM since".encode(), ()):
                yield from page
            self._guarded(self._fetch, b"COMMIT", ())
            is_whole = True
        finally:
            if not is_whole:
                self._disconnect()  # it is inside the transaction

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
        """Warn of a transaction that stays open, because nothing that is removed meanwhile is freed."""
        oldest, since, is_told = self._oldest
        if xmin != oldest or xmin == xmax:
            self._oldest = xmin, monotonic(), False
        elif not is_told and monotonic() - since > LONG:
            self._oldest = oldest, since, True
            _LOG.warning(
                "a transaction has been open in PostgreSQL for a minute: removed rows stay, and slow calls down"
            )
