"""The examination of a PostgreSQL server: its settings, and the store's schema in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..errors import StoreUnavailable
from .sql_connections import BoundedConnection
from .sql_log import LONG
from .sql_schema import MIGRATIONS, check_version, missing_indexes, replaced_indexes, version_of
from .upkeep import Finding

#: The part of the server's connections above which their number is worth a warning.
MANY: Final = 0.8
_MIGRATE: Final = "run rolecall store migrate"

#: By setting: the value that is worth a finding.
_SETTINGS: Final[dict[str, tuple[str, Finding]]] = {
    "fsync": (
        "off",
        Finding(
            "error",
            "PostgreSQL runs with fsync = off, so a loss of power loses changes that were acknowledged",
            "set fsync = on in postgresql.conf, and reload it",
        ),
    ),
    "full_page_writes": (
        "off",
        Finding(
            "error",
            "PostgreSQL runs with full_page_writes = off, so a loss of power may damage what was kept",
            "set full_page_writes = on in postgresql.conf, and reload it",
        ),
    ),
    "default_transaction_read_only": (
        "on",
        Finding(
            "error",
            "the database or its role only reads (default_transaction_read_only = on)",
            "ALTER DATABASE … RESET default_transaction_read_only, or the same with ALTER ROLE",
        ),
    ),
    "autovacuum": (
        "off",
        Finding(
            "warning",
            "PostgreSQL runs with autovacuum = off, so what was removed keeps its place on the disk",
            "set autovacuum = on in postgresql.conf, and reload it",
        ),
    ),
    "synchronous_commit": (
        "off",
        Finding("info", "synchronous_commit is off by default; the store turns it on for its own connections"),
    ),
    "data_checksums": (
        "off",
        Finding(
            "info",
            "PostgreSQL runs without data checksums, so it does not notice what a disk damages",
            "run pg_checksums --enable while the server is stopped",
        ),
    ),
}
# The default of this connection, and not what the store has made of it.
_GET_SETTINGS: Final = b"SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)"
_TRANSACTIONS: Final = b"""
    SELECT count(*), max(age) FROM (
        SELECT extract(epoch FROM clock_timestamp() - xact_start) AS age FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
        UNION ALL SELECT extract(epoch FROM clock_timestamp() - prepared) FROM pg_prepared_xacts) AS transactions
    WHERE age > %s
"""
_CONNECTIONS: Final = b"""
    SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
"""
_DAMAGE: Final = b"SELECT coalesce(checksum_failures, 0) FROM pg_stat_database WHERE datname = current_database()"


def findings(connection: BoundedConnection, long: float = LONG) -> Iterator[Finding]:
    """Examine the server, and change nothing.

    :param long: the seconds after which an open transaction is worth a finding.
    """
    ((name,),) = _ask(connection, b"SELECT pg_catalog.version()")
    try:
        check_version(name, connection.info.server_version)
    except StoreUnavailable as error:
        yield Finding("error", str(error), "move the store to such a server")
        return
    yield from _of_role(connection)
    yield from _of_settings(connection)
    yield from _of_schema(connection)
    yield from _of_transactions(connection, long)
    yield from _of_connections(connection)


def _ask(connection: BoundedConnection, query: bytes, *values: Any) -> list[Any]:
    return connection.fetch(query, values or None, connection.deadline)


def _of_role(connection: BoundedConnection) -> Iterator[Finding]:
    if _ask(connection, b"SELECT pg_is_in_recovery()") == [(True,)]:
        yield Finding(
            "error",
            "the server is a standby, which only reads",
            "name the primary in the store's URL, or all servers with target_session_attrs=read-write",
        )


def _of_settings(connection: BoundedConnection) -> Iterator[Finding]:
    values = dict(_ask(connection, _GET_SETTINGS, list(_SETTINGS)))
    for name, (value, finding) in _SETTINGS.items():
        if values.get(name) == value:
            yield finding
    if _ask(connection, _DAMAGE)[0][0]:
        yield Finding("error", "the disk has damaged pages of this database", "restore a backup on another disk")


def _of_schema(connection: BoundedConnection) -> Iterator[Finding]:
    version, known = version_of(connection), len(MIGRATIONS)
    if version == 0:
        yield Finding("warning", "the database has no schema yet", f"{_MIGRATE}; the first use does so, too")
        return
    if version < known:
        yield Finding("warning", f"the schema is of version {version}; this one's is {known}", _MIGRATE)
    if version > known:
        yield Finding("info", f"the schema is of version {version}, of a later Rolecall; this one knows {known}")
    for index, _ in missing_indexes(connection):
        if index.version <= version:
            yield Finding("warning", f"the index {index.name} is missing, so some calls are slow", _MIGRATE)
    for name in replaced_indexes(connection) if version >= known else ():
        yield Finding("warning", f"the index {name} is there still, though others replace it", _MIGRATE)


def _of_transactions(connection: BoundedConnection, long: float) -> Iterator[Finding]:
    ((number, age),) = _ask(connection, _TRANSACTIONS, long)
    if number:
        yield Finding(
            "warning",
            f"{number} transaction(s) stay open, the oldest for {int(age)} s: removed rows keep their place, and "
            "calls that pass over them get slower",
            "end them, or set idle_in_transaction_session_timeout; see pg_stat_activity and pg_prepared_xacts",
        )


def _of_connections(connection: BoundedConnection) -> Iterator[Finding]:
    ((used, most),) = _ask(connection, _CONNECTIONS)
    if used >= MANY * most:
        yield Finding(
            "warning",
            f"{used} of the server's {most} connections are in use",
            "raise max_connections, or lower connections=… in the store's URL",
        )
