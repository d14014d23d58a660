"""Leases in PostgreSQL: a row for each place of each lease."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from .leases import Full, Slot
from .sql_connections import Row, Script, Values
from .sql_values import checked, seconds

#: The most leases that one statement frees of a slot.
_BATCH: Final = 500
# The first slot without a free place. Of each only so many places are read as fill it, the first to be free again; and
# whether the lease has one of them. Slots are indexed by a digest, because their keys may be longer than PostgreSQL
# indexes.
_FULL: Final = b"""
    SELECT wanted.key, held.free_at
    FROM unnest(%(keys)s::text[], %(digests)s::bytea[], %(most)s::bigint[])
         WITH ORDINALITY AS wanted (key, slot, most, number),
         LATERAL (SELECT count(*) AS number, min(until) AS free_at
                  FROM (SELECT until FROM rolecall_leases
                        WHERE rolecall_leases.slot = wanted.slot AND until > %(now)s::float8
                        ORDER BY until LIMIT wanted.most) AS taken) AS held
    WHERE held.number >= wanted.most AND NOT EXISTS (
        SELECT FROM rolecall_leases
        WHERE lease = %(lease)s AND rolecall_leases.slot = wanted.slot AND until > %(now)s::float8
    )
    ORDER BY wanted.number LIMIT 1
"""
_HOLD: Final = b"""
    INSERT INTO rolecall_leases (lease, slot, key, until)
    SELECT %%(lease)s, held.slot, held.key, held.until
    FROM unnest(%%(held)s::bytea[], %%(held_keys)s::text[], %%(untils)s::float8[]) AS held (slot, key, until)
    %s
    ORDER BY held.slot
    ON CONFLICT (lease, slot) DO UPDATE SET until = excluded.until
"""
# Both statements run in one transaction, whose locks end with it. The second one sees what the transactions before it
# have written, as a single statement would not: it would look first, and then wait. Locks are taken in one order.
_TAKE: Final = Script(
    b"SELECT pg_advisory_xact_lock(number) FROM unnest(%(locks)s::bigint[]) AS locks (number);"
    b"WITH found AS (" + _FULL + b"), taken AS (" + _HOLD % b"WHERE NOT EXISTS (SELECT FROM found)" + b")"
    b"SELECT key, free_at FROM found"
)
# Like all statements that change several rows of leases, in the order of their primary key: nobody waits in a circle.
_DROPPED: Final = b"dropped AS (SELECT lease, slot FROM rolecall_leases WHERE %s ORDER BY lease, slot FOR UPDATE)"
_DELETE: Final = b"""
    DELETE FROM rolecall_leases USING dropped
    WHERE rolecall_leases.lease = dropped.lease AND rolecall_leases.slot = dropped.slot
"""
_LOOK: Final = Script(_FULL)
_KEEP: Final = Script(_HOLD % b"")
_DROP_LEASE: Final = b"WITH " + _DROPPED % b"lease = %(lease)s" + _DELETE
# Some leases of a slot, so that a statement ends in time; and how many there were, whoever has dropped them by now.
_DROP_SOME: Final = (
    b"WITH chosen AS MATERIALIZED (SELECT lease FROM rolecall_leases WHERE slot = %(slot)s LIMIT %(most)s), "
    + _DROPPED % b"lease = ANY(ARRAY(SELECT lease FROM chosen))"
    + b", deleted AS (%s) SELECT count(*) FROM chosen" % _DELETE
)


class SQLLeases(ABC):
    """The leases of a PostgreSQL store.

    Of concurrent takers of the same slot one at a time counts and commits, so that a slot is taken some hundred times a
    second on a usual disk. Other slots go on beside, and slots without a limit are neither counted nor locked.
    """

    @abstractmethod
    def _fetch(self, query: bytes, values: Values | None = None) -> list[Row]:
        """Run one statement or script, within the store's time limit."""

    def full_slot(self, slots: Sequence[Slot], now: float) -> Full | None:
        return _full(self._fetch(_LOOK, {"lease": "", **_wanted(slots, now)}))

    def take_lease(self, lease: str, slots: Sequence[Slot], now: float) -> Full | None:
        values = {"lease": checked(lease), **_wanted(slots, now), **_held(slots)}
        return _full(self._fetch(_TAKE, values))

    def keep_lease(self, lease: str, slots: Sequence[Slot]) -> None:
        self._fetch(_KEEP, {"lease": checked(lease), **_held(slots)})

    def drop_lease(self, lease: str) -> None:
        self._fetch(_DROP_LEASE, {"lease": checked(lease)})

    def drop_slot(self, key: str) -> None:
        values = {"slot": digest(key), "most": _BATCH}
        while self._fetch(_DROP_SOME, values)[0][0] == _BATCH:
            pass


def digest(key: str) -> bytes:
    """The digest of a slot's key, by which its rows are found."""
    return sha256(checked(key).encode()).digest()


def _wanted(slots: Sequence[Slot], now: float) -> Values:
    """The slots that have a limit, in the caller's order, to look for the first full one; and their locks."""
    limited = [slot for slot in slots if slot.most is not None]
    digests = [digest(slot.key) for slot in limited]
    return {
        "keys": [slot.key for slot in limited],
        "digests": digests,
        "most": [slot.most for slot in limited],
        "locks": sorted({int.from_bytes(one[:8], "big", signed=True) for one in digests}),
        "now": seconds(now),
    }


def _held(slots: Sequence[Slot]) -> Values:
    """The places that a lease is to hold, one of each slot."""
    rows = {digest(slot.key): slot for slot in slots}
    return {
        "held": list(rows),
        "held_keys": [slot.key for slot in rows.values()],
        "untils": [seconds(slot.until) for slot in rows.values()],
    }


def _full(rows: list[Row]) -> Full | None:
    return Full(*rows[0]) if rows else None
