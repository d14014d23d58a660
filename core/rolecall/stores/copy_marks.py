"""Marks of copies: leases by which a store shows that a copy to it is under way. They are no content of the store."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Final

from .leases import Slot
from .synchronous import SyncUpkeep
from .upkeep import Kind, Row

_MARK: Final = "rolecall copy "
# Each mark has a place here, too, so that all of them can be counted and dropped, whoever made them.
_ALL: Final = "rolecall copies"


def new_mark() -> str:
    """The id of a lease that marks a copy."""
    return _MARK + os.urandom(16).hex()


def is_mark(kind: Kind, row: Row) -> bool:
    """Whether a row is a place of a mark."""
    return kind == "leases" and str(row[0]).startswith(_MARK)


def keep_mark(store: SyncUpkeep, mark: str, until: float) -> None:
    """Mark a store until a time, in Unix seconds."""
    store.keep_lease(mark, _slots(mark, until))


def has_mark(store: SyncUpkeep, mark: str, now: float) -> bool:
    """Whether a store has a mark at ``now``, in Unix seconds."""
    own, _ = _slots(mark, now + 1)
    return store.full_slot([own], now) is not None


def drop_marks(store: SyncUpkeep) -> None:
    """Remove the marks of all copies from a store. One of them that is resumed later is refused, and begins anew."""
    if store.has_leases:
        store.drop_slot(_ALL)


def count_rows(store: SyncUpkeep) -> Mapping[Kind, int]:
    """The number of rows of each kind, without the places of marks."""
    counts = store.count()
    if not store.has_leases:
        return counts
    # A slot of one place more than there are marks is not full.
    marks = next(number for number in itertools.count() if store.full_slot([Slot(_ALL, number + 1, 1.0)], 0.0) is None)
    return {**counts, "leases": counts["leases"] - marks * len(_slots("", 0.0))}


def _slots(mark: str, until: float) -> tuple[Slot, Slot]:
    return Slot(mark, 1, until), Slot(_ALL, 1, until)
