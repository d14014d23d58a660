"""The leases of an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from .leases import Full, Slot
from .sqlite_file import SharedConnection
from .sqlite_writing import WriteQueue, undone_if_it_fails

#: The most places that one lease frees in each of its slots, so that it takes no longer than another.
_FREED_AT_ONCE: Final = 50
# Of the first places to be free again, as many as fill the slot; none if the lease has one of the slot's places.
_TAKEN: Final = """
    SELECT count(*), min(until) FROM (
        SELECT until FROM rolecall_leases WHERE key = :key AND until > :now ORDER BY until LIMIT :most
    )
    WHERE NOT EXISTS (SELECT 1 FROM rolecall_leases WHERE lease = :lease AND key = :key AND until > :now)
"""
_FREE_LAPSED: Final = """
    DELETE FROM rolecall_leases WHERE (lease, key) IN (
        SELECT lease, key FROM rolecall_leases WHERE key = ? AND until <= ? ORDER BY until LIMIT ?
    )
"""
_HOLD: Final = """
    INSERT INTO rolecall_leases (lease, key, until) VALUES (?, ?, ?)
    ON CONFLICT (lease, key) DO UPDATE SET until = excluded.until
"""
#: The most leases that one transaction frees of a slot: other writers wait for it.
_DROPPED_AT_ONCE: Final = 500
_DROP_SLOT: Final = """
    DELETE FROM rolecall_leases WHERE lease IN (SELECT lease FROM rolecall_leases WHERE key = ? LIMIT ?)
"""


class SQLiteLeases:
    """The methods of :class:`~rolecall.stores.leases.Leases`. Writers come one after the other, so none comes between
    the look at the slots and the taking of their places.
    """

    _reader: SharedConnection
    _queue: WriteQueue

    def full_slot(self, slots: Sequence[Slot], now: float) -> Full | None:
        with self._reader.reading() as raw:
            return _full_slot(raw, slots, now)

    def take_lease(self, lease: str, slots: Sequence[Slot], now: float) -> Full | None:
        def take(raw: sqlite3.Connection) -> Full | None:
            full = _full_slot(raw, slots, now, lease)
            if full is None:
                with undone_if_it_fails(raw):
                    raw.executemany(_FREE_LAPSED, [(slot.key, now, _FREED_AT_ONCE) for slot in slots])
                    _hold(raw, lease, slots)
            return full

        return self._queue.write(take)

    def keep_lease(self, lease: str, slots: Sequence[Slot]) -> None:
        def keep(raw: sqlite3.Connection) -> None:
            with undone_if_it_fails(raw):
                _hold(raw, lease, slots)

        self._queue.write(keep)

    def drop_lease(self, lease: str) -> None:
        def drop(raw: sqlite3.Connection) -> None:
            raw.execute("DELETE FROM rolecall_leases WHERE lease = ?", (lease,))

        self._queue.write(drop)

    def drop_slot(self, key: str) -> None:
        def drop(raw: sqlite3.Connection) -> int:
            return raw.execute(_DROP_SLOT, (key, _DROPPED_AT_ONCE)).rowcount

        while self._queue.write(drop) >= _DROPPED_AT_ONCE:
            pass


def _full_slot(raw: sqlite3.Connection, slots: Sequence[Slot], now: float, lease: str | None = None) -> Full | None:
    """The first slot without a free place, apart from those in which the lease has one."""
    for key, most, _ in slots:
        if most is None:
            continue
        values = {"key": key, "most": most, "now": now, "lease": lease}
        taken, free_at = raw.execute(_TAKEN, values).fetchone()
        if taken >= most:
            return Full(key, free_at)
    return None


def _hold(raw: sqlite3.Connection, lease: str, slots: Sequence[Slot]) -> None:
    raw.executemany(_HOLD, [(lease, slot.key, slot.until) for slot in slots])
