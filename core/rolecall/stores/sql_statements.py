"""The statements of the PostgreSQL store about sessions and single-use ids, compiled once."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ARRAY, Double, Executable, Text, any_, bindparam, exists, extract, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from .sql_log import CHANNEL
from .sql_schema import ENDED, SESSIONS, USED

#: The most expired single-use ids that are deleted with a use.
EXPIRED: Final = 50
#: The columns of a session's record, but for its end.
RECORD: Final = (SESSIONS.c.session_id, SESSIONS.c.properties, SESSIONS.c.created_at, SESSIONS.c.created_by)


def text(name: str) -> Any:
    return bindparam(name, type_=Text)


def double(name: str) -> Any:
    return bindparam(name, type_=Double)


def compiled(statement: Executable) -> bytes:
    """The statement's text for psycopg, made once: a call spends its time in the server."""
    return str(statement.compile(dialect=PGDialect_psycopg())).encode()  # type: ignore[attr-defined, no-untyped-call]


def _adding() -> Executable:
    # Without arrays, which cost a single creation a quarter more.
    values = {
        "session_id": text("id"),
        "properties": text("properties"),
        "created_at": double("moment"),
        "created_by": text("creator"),
        # It may have ended before it was created.
        "is_open": ~exists().where(ENDED.c.session_id == text("id")),
    }
    return insert(SESSIONS).values(values).on_conflict_do_nothing().returning(SESSIONS.c.session_id)


def _adding_many() -> Executable:
    columns = ("session_id", "properties", "created_at", "created_by")
    rows = (
        func.unnest(
            bindparam("ids", type_=ARRAY(Text)),
            bindparam("properties", type_=ARRAY(Text)),
            bindparam("moments", type_=ARRAY(Double)),
            bindparam("creators", type_=ARRAY(Text)),
        )
        .table_valued(*columns, name="rows")
        .render_derived()
    )
    is_open = ~exists().where(ENDED.c.session_id == rows.c.session_id)
    return (
        insert(SESSIONS)
        .from_select([*columns, "is_open"], select(rows, is_open))
        .on_conflict_do_nothing()
        .returning(SESSIONS.c.session_id)
    )


def _getting() -> Executable:
    return (
        select(*RECORD, ENDED.c.ended_at)
        .select_from(SESSIONS.outerjoin(ENDED, SESSIONS.c.session_id == ENDED.c.session_id))
        .where(SESSIONS.c.session_id == text("id"))
    )


def _ending() -> Executable:
    # Announced with the commit, in the same round trip. Creations are not announced, because it makes commits queue.
    ended = (
        insert(ENDED)
        .values(session_id=text("id"), ended_at=double("moment"))
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
    # An id is over when both clocks say so; the server's own as of the statement's begin, because no index is searched
    # for a time that changes meanwhile. Another use that deletes the same rows is not waited for.
    over = func.least(double("now"), extract("epoch", func.statement_timestamp()))
    ctid: Any = literal_column("ctid")
    old = (
        select(ctid)
        .select_from(USED)
        .where(USED.c.until < over, USED.c.name != text("name"))
        .order_by(USED.c.until)
        .limit(literal_column(str(EXPIRED)))
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    deleted = USED.delete().where(ctid == any_(func.array(old))).cte("deleted")
    use = insert(USED).values(name=text("name"), until=double("until"), token=text("token"))
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


ADD: Final = compiled(_adding())
ADD_MANY: Final = compiled(_adding_many())
GET: Final = compiled(_getting())
END: Final = compiled(_ending())
LOOK_UP: Final = compiled(_looking_up())
USE: Final = compiled(_using())
