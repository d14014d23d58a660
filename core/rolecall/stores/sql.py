"""The store of many machines: a PostgreSQL database that all workers share (extra ``sql``)."""

from __future__ import annotations

import math
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, Final, TypeAlias

from sqlalchemy import ARRAY, Double, Executable, Text, any_, bindparam, extract, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from ..errors import StoreUnavailable
from ..sessions import SessionProperties, SessionRecord
from .failures import of_a_value, unreadable
from .following import Follower, Position
from .sql_connections import Connections
from .sql_log import CHANNEL, SQLLog
from .sql_schema import ENDED, SESSIONS, USED, prepare
from .sql_url import SQLURL
from .together import Together

#: The most sessions that are created by one statement.
MOST: Final = 200
#: The most expired single-use ids that are deleted with a use.
EXPIRED: Final = 50

#: A session that is to be created: its id, its properties as JSON, the time in Unix seconds.
_Creation: TypeAlias = tuple[str, str, float]


def _text(name: str) -> Any:
    return bindparam(name, type_=Text)


def _double(name: str) -> Any:
    return bindparam(name, type_=Double)


def _compiled(statement: Executable) -> bytes:
    """The statement's text for psycopg, made once: a call spends its time in the server."""
    return str(statement.compile(dialect=PGDialect_psycopg())).encode()  # type: ignore[attr-defined, no-untyped-call]


def _adding() -> Executable:
    # Without arrays, which cost a single creation a quarter more.
    values = {"session_id": _text("id"), "properties": _text("properties"), "created_at": _double("moment")}
    return insert(SESSIONS).values(values).on_conflict_do_nothing().returning(SESSIONS.c.session_id)


def _adding_many() -> Executable:
    rows = (
        func.unnest(
            bindparam("ids", type_=ARRAY(Text)),
            bindparam("properties", type_=ARRAY(Text)),
            bindparam("moments", type_=ARRAY(Double)),
        )
        .table_valued("session_id", "properties", "created_at", name="rows")
        .render_derived()
    )
    return (
        insert(SESSIONS)
        .from_select(["session_id", "properties", "created_at"], select(rows))
        .on_conflict_do_nothing()
        .returning(SESSIONS.c.session_id)
    )


def _getting() -> Executable:
    return (
        select(SESSIONS.c.session_id, SESSIONS.c.properties, SESSIONS.c.created_at, ENDED.c.ended_at)
        .select_from(SESSIONS.outerjoin(ENDED, SESSIONS.c.session_id == ENDED.c.session_id))
        .where(SESSIONS.c.session_id == _text("id"))
    )


def _ending() -> Executable:
    # Announced with the commit, in the same round trip. Creations are not announced, because it makes commits queue.
    ended = (
        insert(ENDED)
        .values(session_id=_text("id"), ended_at=_double("moment"))
        .on_conflict_do_nothing()
        .returning(ENDED.c.session_id)
        .cte("ended")
    )
    return select(func.pg_notify(literal_column(f"'{CHANNEL}'"), literal_column("''"))).select_from(ended)


def _looking_up() -> Executable:
    # A standby lags behind, so its answer is none.
    ids = bindparam("ids", type_=ARRAY(Text))
    return select(
        func.pg_is_in_recovery(),
        func.array(select(ENDED.c.session_id).where(ENDED.c.session_id == any_(ids)).scalar_subquery()),
    )


def _using() -> Executable:
    # An id is over when both clocks say so. Another use that deletes the same rows is not waited for.
    over = func.least(_double("now"), extract("epoch", func.clock_timestamp()))
    ctid: Any = literal_column("ctid")
    old = (
        select(ctid)
        .select_from(USED)
        .where(USED.c.until < over, USED.c.name != _text("name"))
        .order_by(USED.c.until)
        .limit(literal_column(str(EXPIRED)))
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    deleted = USED.delete().where(ctid == any_(func.array(old))).cte("deleted")
    use = insert(USED).values(name=_text("name"), until=_double("until"), token=_text("token"))
    # Whoever tries again brings the same token, and so is the first again.
    return (
        use.on_conflict_do_update(
            index_elements=["name"],
            set_={"token": use.excluded.token},
            where=USED.c.token == use.excluded.token,
        )
        .returning(USED.c.name)
        .add_cte(deleted)
    )


_ADD: Final = _compiled(_adding())
_ADD_MANY: Final = _compiled(_adding_many())
_GET: Final = _compiled(_getting())
_END: Final = _compiled(_ending())
_LOOK_UP: Final = _compiled(_looking_up())
_USE: Final = _compiled(_using())


class SQLStore:
    """Sessions in a PostgreSQL database. Nothing connects before the first call, and each process has its own
    connections.

    An acknowledged change is on the disk of the server, and so survives the death of a worker, of the server and a loss
    of power. Each call ends within ``timeout`` seconds (0.4 unless set) or little more, also on a server that has
    frozen. It sends one statement, which is atomic by itself. If the connection is lost meanwhile, it sends it once
    more: no statement counts twice.

    :param url: such as ``postgresql://user:password@host:5432/database``; see :class:`~rolecall.stores.sql_url.SQLURL`.
    :raises ConfigurationError: if the URL is wrong.
    """

    bounded = True

    def __init__(self, url: str) -> None:
        self._url = SQLURL.parse(url)
        self._processes = _Processes(self._url)
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
        rows: list[_Creation] = []
        failures: list[StoreUnavailable | None] = []
        for record in records:
            try:
                rows.append(_creation(record))
                failures.append(None)
            except StoreUnavailable as error:
                failures.append(error)
        if rows:
            answers = iter(Creating(self._processes.here().connections).add(rows, deadline))
            failures = [next(answers) if failure is None else failure for failure in failures]
        return failures

    def get_session(self, session_id: str) -> SessionRecord | None:
        self.follower.start()
        rows = self._processes.here().connections.fetch(_GET, {"id": _checked(session_id)})
        return _record(*rows[0]) if rows else None

    def end_session(self, session_id: str, ended_at: float) -> None:
        self.follower.start()
        values = {"id": _checked(session_id), "moment": _seconds(ended_at)}
        self._processes.here().connections.fetch(_END, values)
        self.follower.add(session_id)

    def has_ended(self, session_id: str) -> bool:
        return self.follower.has_ended(session_id)

    def ended_among(self, session_ids: Sequence[str]) -> set[str]:
        """Those of some sessions that have ended, as the database has it now."""
        self.follower.start()
        connections = self._processes.here().connections
        ((is_standby, ended),) = connections.fetch(_LOOK_UP, {"ids": [_checked(one) for one in session_ids]})
        if is_standby:
            connections.retire()
            raise StoreUnavailable(
                "the PostgreSQL server is a standby, which may not know yet who was ended; "
                "name the primary in the URL, or add target_session_attrs=read-write"
            )
        return set(ended)

    def use_once(self, name: str, until: float, now: float) -> bool:
        self.follower.start()
        values = {
            "name": _checked(name),
            "until": _seconds(until),
            "now": _seconds(now),
            "token": secrets.token_hex(16),
        }
        return bool(self._processes.here().connections.fetch(_USE, values))

    def close(self) -> None:
        self.follower.close()
        self._processes.here().close()

    def __repr__(self) -> str:
        return "<SQLStore>"


class _Processes:
    """What a store holds open in each process that uses it; the log that its follower reads, too."""

    def __init__(self, url: SQLURL) -> None:
        self._url = url
        # By pid, so that a forked child neither uses nor closes what its parent holds.
        self._held: dict[int, _Process] = {}

    def here(self) -> _Process:
        held = self._held.get(os.getpid())
        # One step, so that all threads have the same.
        return held or self._held.setdefault(os.getpid(), _Process(self._url))

    def snapshot(self) -> tuple[Iterable[str], Position]:
        return self.here().log.snapshot()

    def changes(self, after: Position, wait: float) -> tuple[Iterable[str], Position]:
        return self.here().log.changes(after, wait)


class _Process:
    """The connections of one process, the log that it reads, and the creations that wait in it."""

    def __init__(self, url: SQLURL) -> None:
        self.connections = Connections(url, prepare)
        self.log = SQLLog(self.connections.open, url.timeout)
        self.creations: Together[_Creation] = Together(Creating(self.connections).add, MOST)

    def close(self) -> None:
        self.log.close()
        self.connections.close()


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
            values: dict[str, Any] = dict(zip(("id", "properties", "moment"), rows[0], strict=True))
            is_new = bool(self._connections.fetch(_ADD, values, deadline))
            return [None if is_new else self._conflict(rows[0], deadline)]
        values = dict(zip(("ids", "properties", "moments"), map(list, zip(*rows, strict=True)), strict=True))
        added = Counter(session_id for (session_id,) in self._connections.fetch(_ADD_MANY, values, deadline))
        failures: list[StoreUnavailable | None] = []
        for row in rows:
            is_new = added[row[0]] > 0
            added[row[0]] -= 1
            failures.append(None if is_new else self._conflict(row, deadline))
        return failures

    def _conflict(self, row: _Creation, deadline: float) -> StoreUnavailable | None:
        """The failure of a creation whose id is taken; None if it was taken by this very creation, at a first try."""
        kept = self._connections.fetch(_GET, {"id": row[0]}, deadline)
        if kept and kept[0][:3] == row:
            return None
        return of_a_value("the PostgreSQL store has another session of this id, which stays as it is")


def _creation(record: SessionRecord) -> _Creation:
    return _checked(record.session_id), _checked(record.properties.as_json()), _seconds(record.created_at)


def _checked(text: str) -> str:
    """Text that PostgreSQL can hold."""
    if isinstance(text, str) and "\0" not in text and text.encode("utf-8", "replace").decode() == text:
        return text
    raise of_a_value("the PostgreSQL store cannot hold this text: it has a zero byte, or is no Unicode")


def _seconds(moment: float) -> float:
    try:
        seconds = float(moment)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise of_a_value("the PostgreSQL store cannot hold this moment: it is no finite number of seconds")
    return seconds


def _record(session_id: str, properties: Any, created_at: Any, ended_at: Any) -> SessionRecord:
    try:
        return SessionRecord(session_id, SessionProperties.from_json(properties), created_at, ended_at)
    except ValueError:
        raise unreadable("PostgreSQL", session_id) from None
