"""The store of many machines: a PostgreSQL database that all workers share (extra ``sql``)."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final, TypeAlias

from ..errors import StoreUnavailable
from ..sessions import SessionProperties, SessionRecord
from .failures import converted, of_a_value, unreadable
from .following import Follower, News, Position
from .listing import Page
from .sql_connections import BoundedConnection, Connections, Row, Values
from .sql_documents import SQLDocuments
from .sql_leases import SQLLeases
from .sql_ledger import SQLLedger
from .sql_listing import listing
from .sql_log import SQLLog
from .sql_marks import SQLMarks
from .sql_schema import prepare
from .sql_statements import ADD, ADD_MANY, END, GET, LOOK_UP, USE
from .sql_upkeep import SQLUpkeep
from .sql_url import SQLURL
from .sql_values import checked, checked_or_none, seconds
from .together import Together
from .upkeep import Kind
from .upkeep import Row as UpkeepRow

#: The most sessions that are created by one statement.
MOST: Final = 200
#: A session that is to be created: its id, its properties as JSON, the time in Unix seconds, its creator's id or None.
_Creation: TypeAlias = tuple[str, str, float, str | None]


class SQLStore(SQLLeases, SQLMarks, SQLLedger, SQLDocuments, SQLUpkeep):
    """Sessions in a PostgreSQL database. Nothing connects before the first call, and each process has its own
    connections.

    An acknowledged change is on the disk of the server, and so survives the death of a worker, of the server and a loss
    of power. Each call ends within ``timeout`` seconds (0.4 unless set) or little more, also on a server that has
    frozen. It sends one statement or one script, which is atomic by itself. If the connection is lost meanwhile, it
    sends it once more: no statement counts twice. What concerns many rows may take longer: counting, copying,
    examining, migrating.

    :param url: such as ``postgresql://user:password@host:5432/database``; see :class:`~rolecall.stores.sql_url.SQLURL`.
    :param check: checks the schema on each process's first connection, where something else migrates it. Unless given,
        it is migrated.
    :raises ConfigurationError: if the URL is wrong.
    """

    bounded = True

    def __init__(self, url: str, check: Callable[[Any], None] | None = None) -> None:
        self._url = SQLURL.parse(url)
        self._processes = _Processes(self._url, check or prepare)
        self.follower = Follower(self._processes, max_staleness=self._url.max_staleness)

    @classmethod
    def from_url(cls, url: str) -> SQLStore:
        return cls(url)

    def add_session(self, record: SessionRecord) -> None:
        deadline = monotonic() + self._url.timeout
        self.follower.start()
        self._processes.here().creations.add(_creation(record), deadline)

    def add_sessions(self, records: Sequence[SessionRecord]) -> list[StoreUnavailable | None]:
        """Create several sessions in one statement, and return the failure of each, or None."""
        deadline = monotonic() + self._url.timeout
        self.follower.start()
        rows, failures = converted(records, _creation)
        if rows:
            answers = iter(Creating(self._connections()).add(rows, deadline))
            failures = [next(answers) if failure is None else failure for failure in failures]
        return failures

    def get_session(self, session_id: str) -> SessionRecord | None:
        rows = self._fetch(GET, {"id": checked(session_id)})
        return _record(*rows[0]) if rows else None

    def list_sessions(self, page: Page) -> Sequence[SessionRecord]:
        return [_record(*row) for row in self._fetch(*listing(page))]

    def end_session(self, session_id: str, ended_at: float) -> None:
        self._fetch(END, {"id": checked(session_id), "moment": seconds(ended_at)})
        self.follower.add(session_id)

    def has_ended(self, session_id: str) -> bool:
        return self.follower.has_ended(session_id)

    def revision(self) -> object:
        return self.follower.revision()

    def ended_among(self, session_ids: Sequence[str]) -> set[str]:
        """Those of some sessions that have ended, as the database has it now."""
        ((is_standby, ended),) = self._fetch(LOOK_UP, {"ids": list(map(checked, session_ids))})
        self._refuse_standby(is_standby)
        return set(ended)

    def use_once(self, name: str, until: float, now: float) -> bool:
        values = {
            "name": checked(name),
            "until": seconds(until),
            "now": seconds(now),
            "token": secrets.token_hex(16),
        }
        return bool(self._fetch(USE, values))

    def close(self) -> None:
        self.follower.close()
        self._connections().close()

    def _connections(self) -> Connections:
        return self._processes.here().connections

    def _fetch(self, query: bytes, values: Values | None = None) -> list[Row]:
        self.follower.start()
        return self._connections().fetch(query, values)

    def _refuse_standby(self, is_standby: bool) -> None:
        if is_standby:
            self._processes.here().connections.retire()
            raise StoreUnavailable(
                "the PostgreSQL server is a standby, which may not know yet who was ended, or what was revoked; "
                "name the primary in the URL, or add target_session_attrs=read-write"
            )

    def _learn(self, kind: Kind, rows: Sequence[UpkeepRow]) -> None:
        if kind == "ended":
            for row in rows:
                self.follower.add(str(row[0]))
        elif kind == "marks":
            self.follower.marks.learn_all((str(row[0]), float(row[1] or 0)) for row in rows)

    def __repr__(self) -> str:
        return "<SQLStore>"


class _Processes:
    """What a store holds open in each process that uses it; the log that its follower reads, too."""

    def __init__(self, url: SQLURL, prepare: Callable[[BoundedConnection], None]) -> None:
        self._url = url
        self._prepare = prepare
        # By pid, so that a forked child neither uses nor closes what its parent holds.
        self._held: dict[int, _Process] = {}

    def here(self) -> _Process:
        held = self._held.get(os.getpid())
        # One step, so that all threads have the same.
        return held or self._held.setdefault(os.getpid(), _Process(self._url, self._prepare))

    def snapshot(self) -> tuple[News, Position]:
        return self.here().log.snapshot()

    def changes(self, after: Position, wait: float) -> tuple[News, Position]:
        return self.here().log.changes(after, wait)

    def close(self) -> None:
        self.here().log.close()


class _Process:
    """The connections of one process, the log that it reads, and the creations that wait in it."""

    def __init__(self, url: SQLURL, prepare: Callable[[BoundedConnection], None]) -> None:
        self.connections = Connections(url, prepare)
        self.log = SQLLog(self.connections.open, url.timeout)
        self.creations: Together[_Creation] = Together(Creating(self.connections).add, MOST)


class Creating:
    """Creates sessions together: in one statement, or one by one if the server refuses one of them."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, rows: Sequence[_Creation], deadline: float) -> list[StoreUnavailable | None]:
        """Create sessions, and return the failure of each, or None."""
        try:
            return self._add_all(rows, deadline)
        except StoreUnavailable as error:
            if len(rows) == 1 or not error.is_of_a_value:
                raise
        # One of them is at fault, so that the others are written one by one.
        return [self._add_one(row, deadline) for row in rows]

    def _add_one(self, row: _Creation, deadline: float) -> StoreUnavailable | None:
        try:
            return self._add_all([row], deadline)[0]
        except StoreUnavailable as error:
            return error

    def _add_all(self, rows: Sequence[_Creation], deadline: float) -> list[StoreUnavailable | None]:
        if len(rows) == 1:
            values: dict[str, Any] = dict(zip(("id", "properties", "moment", "creator"), rows[0], strict=True))
            is_new = bool(self._connections.fetch(ADD, values, deadline))
            return [None if is_new else self._conflict(rows[0], deadline)]
        names = ("ids", "properties", "moments", "creators")
        values = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        added = Counter(session_id for (session_id,) in self._connections.fetch(ADD_MANY, values, deadline))
        failures: list[StoreUnavailable | None] = []
        for row in rows:
            is_new = added[row[0]] > 0
            added[row[0]] -= 1
            failures.append(None if is_new else self._conflict(row, deadline))
        return failures

    def _conflict(self, row: _Creation, deadline: float) -> StoreUnavailable | None:
        """The failure of a creation whose id is taken; None if it was taken by this very creation, at a first try."""
        kept = self._connections.fetch(GET, {"id": row[0]}, deadline)
        if kept and kept[0][:4] == row:
            return None
        return of_a_value("the PostgreSQL store has another session of this id, which stays as it is")


def _creation(record: SessionRecord) -> _Creation:
    return (
        checked(record.session_id),
        checked(record.properties.as_json()),
        seconds(record.created_at),
        checked_or_none(record.created_by),
    )


def _record(session_id: str, properties: Any, created_at: Any, created_by: Any, ended_at: Any) -> SessionRecord:
    try:
        return SessionRecord(session_id, SessionProperties.from_json(properties), created_at, ended_at, created_by)
    except ValueError:
        raise unreadable("PostgreSQL", session_id) from None
