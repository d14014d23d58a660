"""The tables of a PostgreSQL store, and the migrations that make them."""

from __future__ import annotations

import logging
from typing import Any, Final

from sqlalchemy import column, table

from ..errors import StoreUnavailable
from ..wording import printable
from .sql_connections import BoundedConnection

#: The first version of PostgreSQL that has ``xid8``.
_OLDEST: Final = 130000
#: The advisory lock under which the schema is migrated: the first bytes of "rolecall", as a number.
_LOCK: Final = 0x726F6C6563

SESSIONS: Final = table("rolecall_sessions", column("session_id"), column("properties"), column("created_at"))
ENDED: Final = table("rolecall_ended_sessions", column("session_id"), column("ended_at"), column("xid"))
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
        b"CREATE INDEX rolecall_ended_sessions_xid ON rolecall_ended_sessions (xid)",
        b"""CREATE TABLE rolecall_used_once (
            name text COLLATE "C" PRIMARY KEY,
            until double precision NOT NULL,
            token text NOT NULL
        )""",
        b"CREATE INDEX rolecall_used_once_until ON rolecall_used_once (until)",
    ),
)

_LOG: Final = logging.getLogger("rolecall")


def prepare(connection: BoundedConnection) -> None:
    """Check the server, and bring the schema up to this version's.

    :raises StoreUnavailable: if the server is none that the store knows.
    """
    _check_server(connection)
    if _version(connection) < len(MIGRATIONS):
        migrate(connection)


def migrate(connection: BoundedConnection, migrations: Any = MIGRATIONS) -> None:
    """Run the missing migrations. One process at a time does so; each migration is there as a whole or not at all."""
    for number, statements in enumerate(migrations, 1):
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS rolecall_schema ("
                "version integer PRIMARY KEY, generation text NOT NULL DEFAULT gen_random_uuid()::text)"
            )
            if _version(connection) >= number:
                continue
            for statement in statements:
                connection.execute(statement)
            connection.execute("INSERT INTO rolecall_schema (version) VALUES (%s)", (number,))


def _version(connection: BoundedConnection) -> int:
    """The schema's version; 0 if there is none."""
    if connection.fetch(b"SELECT to_regclass('rolecall_schema') IS NULL", None, connection.deadline)[0][0]:
        return 0
    version: int
    ((version,),) = connection.fetch(
        b"SELECT coalesce(max(version), 0) FROM rolecall_schema", None, connection.deadline
    )
    return version


def _check_server(connection: BoundedConnection) -> None:
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
