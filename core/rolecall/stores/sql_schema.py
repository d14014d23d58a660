"""The tables of a PostgreSQL store, and the migrations that make them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final, NamedTuple

from psycopg.errors import LockNotAvailable
from sqlalchemy import Boolean, column, table

from ..errors import StoreUnavailable
from ..wording import printable
from .failures import missing_schema
from .sql_connections import BoundedConnection

#: The first version of PostgreSQL that has ``xid8``.
_OLDEST: Final = 130000
#: The advisory lock under which the schema is migrated: the first bytes of "rolecall", as a number.
_LOCK: Final = 0x726F6C6563
_INDEX_LOCK: Final = _LOCK + 1

SESSIONS: Final = table(
    "rolecall_sessions",
    column("session_id"),
    column("properties"),
    column("created_at"),
    column("created_by"),
    column("is_open", Boolean),
)
ENDED: Final = table("rolecall_ended_sessions", column("session_id"), column("ended_at"))
USED: Final = table("rolecall_used_once", column("name"), column("until"), column("token"))

# Later versions only add, because workers of an earlier version may still run beside the new ones. Ids are compared by
# their bytes, whatever the database's language is.
MIGRATIONS: Final[tuple[tuple[bytes, ...], ...]] = (
    (
        b"""CREATE TABLE rolecall_sessions (
            session_id text COLLATE "C" PRIMARY KEY,
            properties text NOT NULL,
            created_at double precision NOT NULL
        )""",
        # The log of what has ended, too. Numbers of a sequence would be handed out before commit; transaction ids are
        # as well, but which of them are still open is known to the server (sql_log.py).
        b"""CREATE TABLE rolecall_ended_sessions (
            session_id text COLLATE "C" PRIMARY KEY,
            ended_at double precision NOT NULL,
            xid xid8 NOT NULL DEFAULT pg_current_xact_id()
        )""",
        b"""CREATE TABLE rolecall_used_once (
            name text COLLATE "C" PRIMARY KEY,
            until double precision NOT NULL,
            token text NOT NULL
        )""",
    ),
    (
        # Neither column rewrites the table, even with a default.
        b'ALTER TABLE rolecall_sessions ADD COLUMN created_by text COLLATE "C"',
        # A copy of whether it has ended, for lists: the table of ends says so. By the trigger, workers of the first
        # version write it, too.
        b"ALTER TABLE rolecall_sessions ADD COLUMN is_open boolean NOT NULL DEFAULT true",
        b"""UPDATE rolecall_sessions SET is_open = false FROM rolecall_ended_sessions AS ended
            WHERE rolecall_sessions.session_id = ended.session_id""",
        b"""CREATE OR REPLACE FUNCTION rolecall_session_ended() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                UPDATE rolecall_sessions SET is_open = false WHERE session_id = NEW.session_id;
                RETURN NULL;
            END $$""",
        b"""CREATE TRIGGER rolecall_session_ended AFTER INSERT ON rolecall_ended_sessions
            FOR EACH ROW EXECUTE FUNCTION rolecall_session_ended()""",
        # Whether the session's record may still be there. An end stays when the record is forgotten, and must not be
        # looked at again each time.
        b"ALTER TABLE rolecall_ended_sessions ADD COLUMN has_record boolean NOT NULL DEFAULT true",
        # The slot is the digest of the key.
        b"""CREATE TABLE rolecall_leases (
            lease text COLLATE "C",
            slot bytea,
            key text NOT NULL,
            until double precision NOT NULL,
            PRIMARY KEY (lease, slot)
        )""",
    ),
    (
        # A log as well, as the table of ends is; each row has the id of the transaction that wrote it last. A worker
        # that starts reads all numbers, in the order of their names: from the index alone, four times as fast.
        b"""CREATE TABLE rolecall_marks (
            name text COLLATE "C",
            value double precision NOT NULL,
            until double precision NOT NULL,
            xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
            PRIMARY KEY (name) INCLUDE (value)
        )""",
    ),
    (
        # The ledger.
        b"""CREATE TABLE rolecall_tokens (
            session_id text COLLATE "C",
            token_id text COLLATE "C",
            actor_id text COLLATE "C",
            role text NOT NULL,
            issued_at double precision NOT NULL,
            expires_at double precision NOT NULL,
            PRIMARY KEY (session_id, token_id)
        )""",
    ),
    (
        b"""CREATE TABLE rolecall_documents (
            name text COLLATE "C" PRIMARY KEY,
            version bigint NOT NULL,
            content text NOT NULL
        )""",
    ),
    # Indexes alone.
    (),
)


class Index(NamedTuple):
    """An index beside the primary keys.

    :param name: its name.
    :param version: the schema's version that it came with.
    :param table: the table's name.
    :param on: the rest of its definition.
    """

    name: str
    version: int
    table: str
    on: str

    def creation(self, how: str = "") -> bytes:
        """The statement that makes it.

        :param how: ``"CONCURRENTLY "``, or nothing.
        """
        return f"CREATE INDEX {how}IF NOT EXISTS {self.name} ON {self.table} {self.on}".encode()


#: Of the id of whoever created a session the index holds this many characters: PostgreSQL indexes no long text.
INDEXED: Final = 200
_BY_CREATOR: Final = f"(left(created_by, {INDEXED}), created_at, session_id) WHERE created_by IS NOT NULL"
INDEXES: Final = (
    Index("rolecall_ended_sessions_xid", 1, "rolecall_ended_sessions", "(xid)"),
    Index("rolecall_used_once_until", 1, "rolecall_used_once", "(until)"),
    Index("rolecall_sessions_created", 2, "rolecall_sessions", "(created_at, session_id)"),
    Index("rolecall_sessions_open", 2, "rolecall_sessions", "(created_at, session_id) WHERE is_open"),
    Index("rolecall_sessions_ended", 2, "rolecall_sessions", "(created_at, session_id) WHERE NOT is_open"),
    Index("rolecall_ended_sessions_over", 2, "rolecall_ended_sessions", "(has_record, ended_at)"),
    Index("rolecall_leases_slot", 2, "rolecall_leases", "(slot, until)"),
    Index("rolecall_leases_until", 2, "rolecall_leases", "(until)"),
    Index("rolecall_marks_xid", 3, "rolecall_marks", "(xid)"),
    Index("rolecall_marks_until", 3, "rolecall_marks", "(until)"),
    Index("rolecall_tokens_issued", 4, "rolecall_tokens", "(issued_at, token_id)"),
    Index("rolecall_tokens_session", 4, "rolecall_tokens", "(session_id, issued_at, token_id)"),
    Index("rolecall_tokens_actor", 4, "rolecall_tokens", "(actor_id, issued_at, token_id) WHERE actor_id IS NOT NULL"),
    Index("rolecall_tokens_expiring", 4, "rolecall_tokens", "(expires_at)"),
    Index("rolecall_sessions_creator_open", 6, "rolecall_sessions", f"{_BY_CREATOR} AND is_open"),
    Index("rolecall_sessions_creator_ended", 6, "rolecall_sessions", f"{_BY_CREATOR} AND NOT is_open"),
)
#: Indexes of earlier versions. Whoever drops them waits for all transactions, so no worker does so as it starts.
REPLACED: Final = ("rolecall_sessions_creator",)

#: The largest table, in bytes, whose indexes are made under the lock of a migration, in a tenth of a second. Those of a
#: larger table are made beside its use, by ``rolecall store migrate``.
SMALL: Final = 4 * 2**20
#: The longest time that a migration waits for a table, while others wait for the migration; and the pause after it. In
#: seconds.
PATIENCE: Final = 0.15
PAUSE: Final = 0.5

_INVALID: Final = b"""
    SELECT name, pg_index.indexrelid IS NOT NULL
    FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (name, number)
    LEFT JOIN pg_index ON pg_index.indexrelid = to_regclass(name)
    WHERE pg_index.indisvalid IS NOT TRUE ORDER BY number
"""
_THERE: Final = b"SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL"

_LOG: Final = logging.getLogger("rolecall")


def prepare(connection: BoundedConnection) -> None:
    """Check the server, and bring the schema up to this version's.

    :raises StoreUnavailable: if the server is none that the store knows.
    """
    check_server(connection)
    if version_of(connection) < len(MIGRATIONS):
        migrate(connection)


def require(connection: BoundedConnection, remedy: str) -> None:
    """Check the server, and that the schema is this version's, where something else migrates it.

    :param remedy: what migrates it, such as ``"run manage.py migrate"``.
    :raises StoreUnavailable: if it is not.
    """
    check_server(connection)
    version = version_of(connection)
    if version < len(MIGRATIONS):
        raise missing_schema("PostgreSQL", version, len(MIGRATIONS), remedy)


def migrate(connection: BoundedConnection, migrations: Any = MIGRATIONS) -> None:
    """Run the missing migrations. One process at a time does so; each migration is there as a whole or not at all.

    :raises StoreUnavailable: if another transaction uses a table all the time until the connection's deadline.
    """
    for number, statements in enumerate(migrations, 1):
        while not _has_run(connection, number, statements):
            if monotonic() + PAUSE > connection.deadline:
                raise StoreUnavailable(
                    "the schema in PostgreSQL cannot be migrated: a long transaction, such as a backup's, uses its "
                    "tables; start this version once that has ended"
                )
            time.sleep(PAUSE)


def _has_run(connection: BoundedConnection, number: int, statements: Iterable[bytes]) -> bool:
    """Run a migration unless it was run before; whether it was there in the end.

    A table is not waited for long, because everybody else waits behind the migration meanwhile.
    """
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS rolecall_schema ("
                "version integer PRIMARY KEY, generation text NOT NULL DEFAULT gen_random_uuid()::text)"
            )
            if version_of(connection) < number:
                connection.execute(f"SET LOCAL lock_timeout = {int(PATIENCE * 1000)}")
                _run(connection, number, statements)
    except LockNotAvailable:
        return False
    return True


def _run(connection: BoundedConnection, number: int, statements: Iterable[bytes]) -> None:
    for statement in statements:
        connection.execute(statement)
    for index in INDEXES:
        if index.version == number and _is_small(connection, index.table):
            connection.execute(index.creation())
    connection.execute("INSERT INTO rolecall_schema (version) VALUES (%s)", (number,))


def _is_small(connection: BoundedConnection, table: str) -> bool:
    ((is_small,),) = connection.execute("SELECT pg_relation_size(%s::regclass) <= %s", (table, SMALL)).fetchall()
    if not is_small:
        _LOG.warning("the table %s in PostgreSQL is large and lacks an index: run rolecall store migrate", table)
    return bool(is_small)


def missing_indexes(connection: BoundedConnection) -> list[tuple[Index, bool]]:
    """The indexes that are missing or invalid, and whether there is an invalid one."""
    by_name = {index.name: index for index in INDEXES}
    rows = connection.fetch(_INVALID, (list(by_name),), connection.deadline)
    return [(by_name[name], is_there) for name, is_there in rows]


def replaced_indexes(connection: BoundedConnection) -> list[str]:
    """The indexes that are there still, though others have taken their place."""
    rows = connection.fetch(_THERE, (list(REPLACED),), connection.deadline)
    return [name for (name,) in rows]


def make_indexes(connection: BoundedConnection) -> None:
    """Make the missing indexes while the tables are used, and drop the replaced ones. One process at a time does so.

    An index whose making was interrupted stays behind as an invalid one, and is made anew.
    """
    # Tried again and again: whoever waits for the lock in a statement is waited for by the index.
    while not connection.execute("SELECT pg_try_advisory_lock(%s)", (_INDEX_LOCK,)).fetchall()[0][0]:
        time.sleep(PAUSE)
    try:
        for index, is_there in missing_indexes(connection):
            if is_there:
                connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}".encode())
            connection.execute(index.creation("CONCURRENTLY "))
        for name in replaced_indexes(connection):
            connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}".encode())
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_INDEX_LOCK,))


def version_of(connection: BoundedConnection) -> int:
    """The schema's version; 0 if there is none."""
    if connection.fetch(b"SELECT to_regclass('rolecall_schema') IS NULL", None, connection.deadline)[0][0]:
        return 0
    version: int
    ((version,),) = connection.fetch(
        b"SELECT coalesce(max(version), 0) FROM rolecall_schema", None, connection.deadline
    )
    return version


def check_server(connection: BoundedConnection) -> None:
    """Refuse a server that the store does not know, and warn of one that forgets.

    :raises StoreUnavailable: says which server it is, and which one is expected.
    """
    ((name, fsync),) = connection.fetch(
        b"SELECT pg_catalog.version(), current_setting('fsync', true)", None, connection.deadline
    )
    check_version(name, connection.info.server_version)
    if fsync == "off":
        _LOG.warning("PostgreSQL runs with fsync = off, so a loss of power loses changes that were acknowledged")


def check_version(name: str, number: int) -> None:
    """Refuse a server that speaks PostgreSQL's protocol without its transaction ids.

    :param name: its own description, such as ``"PostgreSQL 15.18 (Debian …) on x86_64…"``.
    :param number: the version of PostgreSQL that it claims, such as 150018.
    """
    if not name.startswith("PostgreSQL ") or "-YB-" in name or number < _OLDEST:
        raise StoreUnavailable(
            f"the server is {printable(' '.join(name.split()[:2]))[:40]}; "
            f"expected PostgreSQL {_OLDEST // 10000} or later"
        )
