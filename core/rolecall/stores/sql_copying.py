"""Copying the rows of a PostgreSQL store: to another store, and from one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..errors import StoreUnavailable
from .sql_connections import Row as Fetched
from .sql_connections import Script, Values
from .sql_leases import digest
from .sql_log import CHANNEL
from .sql_values import checked, checked_or_none, possibly_infinite, seconds
from .upkeep import Kind, Row


class _Copying(NamedTuple):
    """How the rows of a kind are copied.

    :param page: the statement that reads rows. Of the first page it gets ``>=`` as its operator, then ``>``.
    :param load: the script that adds rows, and then returns these rows as they stand.
    :param checks: what checks each of a row's columns.
    :param identity: the number of columns by which a row is known.
    """

    page: bytes
    load: Script
    checks: tuple[Callable[[Any], Any], ...]
    identity: int = 1


# All rows are added in the order of their primary key, so that nobody waits in a circle. The second statement of a
# script sees the rows that were there before, even if they were committed a moment ago.
_COPYING: Final[Mapping[Kind, _Copying]] = {
    "ended": _Copying(
        b"""SELECT session_id, ended_at FROM rolecall_ended_sessions
            WHERE session_id %s %%(after)s ORDER BY session_id LIMIT %%(limit)s""",
        Script(
            b"""WITH loaded AS (
                    INSERT INTO rolecall_ended_sessions (session_id, ended_at)
                    SELECT * FROM unnest(%(0)s::text[], %(1)s::float8[]) AS rows (session_id, ended_at)
                    ORDER BY session_id COLLATE "C" ON CONFLICT DO NOTHING RETURNING 1)
                SELECT pg_notify('"""
            + CHANNEL.encode()
            + b"""', '') FROM loaded LIMIT 1;
                SELECT session_id, ended_at FROM rolecall_ended_sessions WHERE session_id = ANY(%(0)s::text[])"""
        ),
        (checked, seconds),
    ),
    # Several rows of one name count as one, because no statement raises a row twice.
    "marks": _Copying(
        b"""SELECT name, value, until FROM rolecall_marks
            WHERE name %s %%(after)s ORDER BY name LIMIT %%(limit)s""",
        Script(
            b"""WITH loaded AS (
                    INSERT INTO rolecall_marks AS there (name, value, until)
                    SELECT name, max(value), max(until)
                    FROM unnest(%(0)s::text[], %(1)s::float8[], %(2)s::float8[]) AS rows (name, value, until)
                    GROUP BY name ORDER BY name COLLATE "C"
                    ON CONFLICT (name) DO UPDATE SET value = greatest(there.value, excluded.value),
                        until = greatest(there.until, excluded.until), xid = excluded.xid
                    WHERE excluded.value > there.value OR excluded.until > there.until RETURNING 1)
                SELECT pg_notify('"""
            + CHANNEL.encode()
            + b"""', '') FROM loaded LIMIT 1;
                SELECT name, value, until FROM rolecall_marks WHERE name = ANY(%(0)s::text[])"""
        ),
        (checked, possibly_infinite, possibly_infinite),
    ),
    "sessions": _Copying(
        b"""SELECT session_id, properties, created_at, created_by FROM rolecall_sessions
            WHERE session_id %s %%(after)s ORDER BY session_id LIMIT %%(limit)s""",
        Script(
            b"""INSERT INTO rolecall_sessions (session_id, properties, created_at, created_by, is_open)
                SELECT *, NOT EXISTS (SELECT FROM rolecall_ended_sessions AS ended
                        WHERE ended.session_id = rows.session_id)
                    FROM unnest(%(0)s::text[], %(1)s::text[], %(2)s::float8[], %(3)s::text[])
                    AS rows (session_id, properties, created_at, created_by)
                ORDER BY session_id COLLATE "C" ON CONFLICT DO NOTHING;
                WITH ended AS (
                    SELECT session_id FROM rolecall_ended_sessions
                    WHERE session_id = ANY(%(0)s::text[]) AND NOT has_record ORDER BY session_id FOR UPDATE)
                UPDATE rolecall_ended_sessions SET has_record = true FROM ended
                WHERE rolecall_ended_sessions.session_id = ended.session_id;
                SELECT session_id, properties, created_at, created_by FROM rolecall_sessions
                WHERE session_id = ANY(%(0)s::text[])"""
        ),
        (checked, checked, seconds, checked_or_none),
    ),
    # A loaded id has a token that no caller brings, so that it counts as used.
    "used": _Copying(
        b"""SELECT name, until FROM rolecall_used_once
            WHERE name %s %%(after)s ORDER BY name LIMIT %%(limit)s""",
        Script(
            b"""INSERT INTO rolecall_used_once (name, until, token)
                SELECT name, until, 'loaded' FROM unnest(%(0)s::text[], %(1)s::float8[]) AS rows (name, until)
                ORDER BY name COLLATE "C" ON CONFLICT DO NOTHING;
                SELECT name, until FROM rolecall_used_once WHERE name = ANY(%(0)s::text[])"""
        ),
        (checked, seconds),
    ),
    "leases": _Copying(
        b"""SELECT lease, key, until FROM rolecall_leases
            WHERE (lease, slot) %s (%%(after)s, %%(slot)s) ORDER BY lease, slot LIMIT %%(limit)s""",
        Script(
            b"""INSERT INTO rolecall_leases (lease, slot, key, until)
                SELECT * FROM unnest(%(0)s::text[], %(slots)s::bytea[], %(1)s::text[], %(2)s::float8[])
                    AS rows (lease, slot, key, until)
                ORDER BY lease COLLATE "C", slot ON CONFLICT DO NOTHING;
                SELECT lease, key, until FROM rolecall_leases
                WHERE (lease, slot) IN (SELECT * FROM unnest(%(0)s::text[], %(slots)s::bytea[]))"""
        ),
        (checked, checked, seconds),
        identity=2,
    ),
    "tokens": _Copying(
        b"""SELECT session_id, token_id, actor_id, role, issued_at, expires_at FROM rolecall_tokens
            WHERE (session_id, token_id) %s (%%(after)s, %%(token)s) ORDER BY session_id, token_id LIMIT %%(limit)s""",
        Script(
            b"""INSERT INTO rolecall_tokens (session_id, token_id, actor_id, role, issued_at, expires_at)
                SELECT * FROM unnest(%(0)s::text[], %(1)s::text[], %(2)s::text[], %(3)s::text[], %(4)s::float8[],
                    %(5)s::float8[]) AS rows (session_id, token_id, actor_id, role, issued_at, expires_at)
                ORDER BY session_id COLLATE "C", token_id COLLATE "C" ON CONFLICT DO NOTHING;
                SELECT session_id, token_id, actor_id, role, issued_at, expires_at FROM rolecall_tokens
                WHERE (session_id, token_id) IN (SELECT * FROM unnest(%(0)s::text[], %(1)s::text[]))"""
        ),
        (checked, checked, checked_or_none, checked, seconds, seconds),
        identity=2,
    ),
    "documents": _Copying(
        b"""SELECT name, version, content FROM rolecall_documents
            WHERE name %s %%(after)s ORDER BY name LIMIT %%(limit)s""",
        Script(
            b"""INSERT INTO rolecall_documents AS there (name, version, content)
                SELECT * FROM unnest(%(0)s::text[], %(1)s::bigint[], %(2)s::text[]) AS rows (name, version, content)
                ORDER BY name COLLATE "C"
                ON CONFLICT (name) DO UPDATE SET version = excluded.version, content = excluded.content
                WHERE excluded.version > there.version;
                SELECT name, version, content FROM rolecall_documents WHERE name = ANY(%(0)s::text[])"""
        ),
        (checked, int, checked),
    ),
}


def page(kind: Kind, after: str | None, limit: int) -> tuple[bytes, Values]:
    """The statement that reads some rows, and its values."""
    values: Values = {"after": "" if after is None else after, "limit": limit}
    if kind == "leases":
        values["after"], values["slot"] = _place_of_lease(values["after"])
    if kind == "tokens":
        values["after"], _, token = str(values["after"]).partition("\n")
        values["token"] = checked(token)
    return _COPYING[kind].page % (b">=" if after is None else b">"), {**values, "after": checked(values["after"])}


def end(kind: Kind, rows: Sequence[Fetched]) -> str:
    """The place of the last row, from which the next page continues."""
    last: tuple[str, ...] = rows[-1]
    if kind == "tokens":
        return f"{last[0]}\n{last[1]}"
    return f"{last[0]}\n{digest(last[1]).hex()}" if kind == "leases" else last[0]


def _place_of_lease(after: str) -> tuple[str, bytes]:
    lease, _, slot = after.rpartition("\n")
    try:
        return lease, bytes.fromhex(slot)
    except ValueError:
        raise StoreUnavailable("a copy of leases cannot continue from there: it is no place of this store") from None


def load(kind: Kind, rows: Sequence[Row]) -> tuple[Script, Values]:
    """The script that adds rows, and its values."""
    copying = _COPYING[kind]
    columns = [list(map(check, column)) for check, column in zip(copying.checks, zip(*rows, strict=True), strict=True)]
    values: Values = {str(number): column for number, column in enumerate(columns)}
    if kind == "leases":
        values["slots"] = list(map(digest, columns[1]))
    return copying.load, values


def in_order(kind: Kind, rows: Sequence[Row], fetched: Sequence[Fetched]) -> list[Row]:
    """The rows as they stand, in the order in which they were loaded."""
    identity = _COPYING[kind].identity
    there = {row[:identity]: row for row in fetched}
    try:
        return [there[tuple(row[:identity])] for row in rows]
    except KeyError:
        raise StoreUnavailable("a row was removed from PostgreSQL while it was loaded; load the rows again") from None
