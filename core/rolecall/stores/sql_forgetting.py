"""Removing from PostgreSQL what is over, a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from .sql_connections import Row, Values
from .sql_values import seconds
from .upkeep import Over

# Rows that others have locked are left to these; nobody waits for rows that are removed.
_REMOVE: Final = b"""
    WITH removed AS (
        DELETE FROM %(table)s WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM %(table)s WHERE %(over)s LIMIT %%(limit)s FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM removed
"""


def _removing(table: bytes, over: bytes) -> bytes:
    return _REMOVE % {b"table": table, b"over": over}


# A single-use id is over when both clocks say so: it must not be used again because one of them is fast.
_USED: Final = _removing(
    b"rolecall_used_once",
    b"until < least(%(before)s::float8, extract(epoch FROM statement_timestamp())) ORDER BY until",
)
# By the caller's clock alone, as the record of a session is: what a mark takes back is over some time before.
_MARKS: Final = _removing(b"rolecall_marks", b"until < %(before)s ORDER BY until")
_TOKENS: Final = _removing(b"rolecall_tokens", b"expires_at < %(before)s ORDER BY expires_at")
_LEASES: Final = _removing(b"rolecall_leases", b"until < %(before)s ORDER BY until")
# The end stays, marked, so that it is not looked at again.
_RECORDS: Final = b"""
    WITH over AS (
        SELECT session_id FROM rolecall_ended_sessions WHERE has_record AND ended_at < %(before)s
        ORDER BY ended_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
    marked AS (
        UPDATE rolecall_ended_sessions SET has_record = false
        WHERE session_id = ANY(ARRAY(SELECT session_id FROM over))),
    removed AS (DELETE FROM rolecall_sessions WHERE session_id = ANY(ARRAY(SELECT session_id FROM over)))
    SELECT count(*) FROM over
"""
_SESSIONS: Final = _removing(b"rolecall_sessions", b"created_at < %(before)s ORDER BY created_at, session_id")
# The end of a session whose record is there stays: without it the session would be open again. A subquery, and no join,
# so that the index is read in its order, whatever the server's statistics say.
_ENDS: Final = tuple(
    _removing(
        b"rolecall_ended_sessions",
        has_record + b" AND ended_at < %(before)s AND (SELECT created_at FROM rolecall_sessions"
        b" WHERE rolecall_sessions.session_id = rolecall_ended_sessions.session_id) IS NULL ORDER BY ended_at",
    )
    for has_record in (b"NOT has_record", b"has_record")
)


def forget(fetch: Callable[[bytes, Values], list[Row]], over: Over) -> int:
    """Remove about ``over.limit`` rows.

    :param fetch: runs one statement.
    :returns: the number of removed rows; ends whose records are found to be gone count as well.
    """
    removed = 0
    for statement, before in _steps(over):
        if removed >= over.limit:
            break
        ((number,),) = fetch(statement, {"before": seconds(before), "limit": over.limit - removed})
        removed += number
    return removed


def _steps(over: Over) -> Iterator[tuple[bytes, float]]:
    """The statements, each with the time before which rows are removed: records before their ends."""
    yield _USED, over.lapsed_before
    yield _MARKS, over.lapsed_before
    yield _TOKENS, over.lapsed_before
    yield _LEASES, over.lapsed_before
    if over.ended_before is not None:
        yield _RECORDS, over.ended_before
    if over.created_before is not None:
        yield _SESSIONS, over.created_before
        for statement in _ENDS:
            yield statement, over.created_before
