"""Copying a store to another one: page by page, resumable, and compared row by row."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from ..errors import StoreUnavailable
from ..sessions import SessionProperties
from .copy_marks import has_mark, is_mark, keep_mark, new_mark
from .leases import Slot
from .synchronous import SyncUpkeep
from .upkeep import KINDS, Kind, Row

#: The most rows of one page.
PAGE: Final = 500
#: Single-use ids and places of leases that ended longer ago than this are not copied; seconds.
LAPSED: Final = 30.0
#: The most sessions that are named because they differ.
_NAMED: Final = 5
_SUM: Final = 2**64
#: The kinds whose rows are never over.
_LASTING: Final = ("ended", "sessions", "documents")


class Tally(NamedTuple):
    """What was copied of one kind. Rows that the source's scan repeats count each time.

    :param sent: the number of rows that were sent.
    :param lapsed: the number of rows that were over, and left out.
    :param differing: the number of rows that stand otherwise in the target.
    :param sent_sum: the sum of the rows' fingerprints (:func:`fingerprint`), modulo 2**64, so in no order.
    :param stored_sum: the same of these rows as they stand in the target.
    """

    sent: int = 0
    lapsed: int = 0
    differing: int = 0
    sent_sum: int = 0
    stored_sum: int = 0

    def plus(self, other: Tally) -> Tally:
        """The two together."""
        numbers = (one + another for one, another in zip(self, other, strict=True))
        sent, lapsed, differing, sent_sum, stored_sum = numbers
        return Tally(sent, lapsed, differing, sent_sum % _SUM, stored_sum % _SUM)


@dataclass(frozen=True, slots=True)
class Copied:
    """How far a copy has come. What it says is durable in the target.

    :param begun_at: in Unix seconds.
    :param kind: the kind that is being copied; None when all are.
    :param after: where the last page of this kind ended; None before the first.
    :param tallies: what was copied of each kind.
    :param differing: the ids of the first sessions that differ.
    """

    begun_at: float
    kind: Kind | None = KINDS[0]
    after: str | None = None
    tallies: Mapping[Kind, Tally] = field(default_factory=lambda: {kind: Tally() for kind in KINDS})
    differing: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows that were read."""
        return sum(tally.sent + tally.lapsed for tally in self.tallies.values())

    def as_json(self) -> str:
        """This state as one JSON object."""
        values = {name: getattr(self, name) for name in ("begun_at", "kind", "after", "differing")}
        return json.dumps({**values, "tallies": {kind: tally._asdict() for kind, tally in self.tallies.items()}})

    @classmethod
    def from_json(cls, text: str) -> Copied:
        """Read what :meth:`as_json` wrote.

        :raises ValueError: for anything else.
        """
        try:
            values = json.loads(text)
            tallies = {kind: Tally(**values["tallies"][kind]) for kind in KINDS}
            if values["kind"] not in KINDS or not isinstance(values["after"], str | None):
                raise ValueError("no state of a copy that is under way")
            named = tuple(map(str, values["differing"]))
            return cls(float(values["begun_at"]), values["kind"], values["after"], tallies, named)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("no state of a copy") from error


def copy(
    source: SyncUpkeep,
    target: SyncUpkeep,
    begun: Copied | None = None,
    *,
    page: int = PAGE,
    clock: Callable[[], float] = time.time,
) -> Iterator[Copied]:
    """Copy all rows, kind by kind; yield the state after each page.

    What the target has already stays, so repetition is harmless. What is written to the source meanwhile may be left
    out: a copy is complete if nobody has written since it began.

    :param begun: the state from which to continue.
    :param page: about the most rows of one page.
    :raises StoreUnavailable: if one of the stores does not answer.
    """
    state = begun or Copied(clock())
    while (kind := state.kind) is not None:
        rows, after = _dump(source, kind, state.after, page)
        state = _with_page(state, kind, rows, target, clock() - LAPSED)
        state = replace(state, kind=kind if after is not None else _next(kind), after=after)
        yield state


def is_same(one: SyncUpkeep, other: SyncUpkeep) -> bool:
    """Whether two stores are one and the same: whether a place that is taken in ``one`` shows in ``other``.

    Only stores that have leases can be told apart; of others the answer is False.
    """
    if not (one.has_leases and other.has_leases):
        return False
    mark, now = new_mark(), time.time()
    keep_mark(one, mark, now + 60)
    try:
        return has_mark(other, mark, now)
    finally:
        one.drop_lease(mark)


def fingerprint(kind: Kind, row: Row) -> int:
    """The first 64 bits of the SHA-256 of a row, the same in every store."""
    written = [_canonical(kind, number, value) for number, value in enumerate(row)]
    return int.from_bytes(hashlib.sha256(json.dumps(written).encode()).digest()[:8])


def tally(store: SyncUpkeep, kind: Kind, page: int = PAGE) -> tuple[int, int]:
    """The number of the different rows of a kind, and the sum of their fingerprints, modulo 2**64. Reads all of them.

    Marks of copies are left out.
    It holds the fingerprints in memory, about 100 bytes for each row, because a store's scan may repeat rows.
    """
    seen: set[int] = set()
    after: str | None = None
    while True:
        rows, after = _dump(store, kind, after, page)
        seen.update(fingerprint(kind, row) for row in rows)
        if after is None:
            return len(seen), sum(seen) % _SUM


def _dump(store: SyncUpkeep, kind: Kind, after: str | None, page: int) -> tuple[Sequence[Row], str | None]:
    """The rows of a page, without the marks of copies."""
    rows, after = store.dump(kind, after, page)
    return [row for row in rows if not is_mark(kind, row)], after


def _next(kind: Kind) -> Kind | None:
    number = KINDS.index(kind) + 1
    return KINDS[number] if number < len(KINDS) else None


def _with_page(state: Copied, kind: Kind, rows: Sequence[Row], target: SyncUpkeep, lapsed_before: float) -> Copied:
    """Load one page, and add it to the state."""
    sent = [row for row in rows if kind in _LASTING or _until(row) >= lapsed_before]
    stored = _loaded(kind, sent, target) if sent else []
    compared = [_compare(kind, row, other) for row, other in zip(sent, stored, strict=True)]
    added = Tally(
        sent=len(sent),
        lapsed=len(rows) - len(sent),
        differing=sum(not one.is_same for one in compared),
        sent_sum=sum(one.sent for one in compared),
        stored_sum=sum(one.stored for one in compared),
    )
    named = [*state.differing, *(one.name for one in compared if not one.is_same and kind in ("ended", "sessions"))]
    tallies = {**state.tallies, kind: state.tallies[kind].plus(added)}
    return replace(state, tallies=tallies, differing=tuple(named[:_NAMED]))


class _Compared(NamedTuple):
    """A row's fingerprint, and the one of the same row as it stands in the target."""

    name: str
    sent: int
    stored: int

    @property
    def is_same(self) -> bool:
        return self.sent == self.stored


def _compare(kind: Kind, row: Row, other: Row) -> _Compared:
    sent = fingerprint(kind, row)
    return _Compared(str(row[0]), sent, sent if row == other else fingerprint(kind, other))


def _loaded(kind: Kind, sent: Sequence[Row], target: SyncUpkeep) -> list[Row]:
    stored = list(target.load(kind, sent))
    if len(stored) != len(sent):
        raise StoreUnavailable(
            f"the target took {len(sent)} rows, and answered with {len(stored)}; expected each of them"
        )
    if kind == "marks":
        # A greater number, or a later end, revokes no less.
        return [row if other[1:] == _greatest(row, other) else other for row, other in zip(sent, stored, strict=True)]
    if kind == "leases" and target.has_leases:
        return [_longest(row, other, target) for row, other in zip(sent, stored, strict=True)]
    return stored


def _greatest(row: Row, other: Row) -> Row:
    (_, value, until), (_, other_value, other_until) = row, other
    return max(float(value or 0), float(other_value or 0)), max(float(until or 0), float(other_until or 0))


def _longest(row: Row, other: Row, target: SyncUpkeep) -> Row:
    """Hold a place as long as the source does; it may have been taken for longer since an earlier copy.

    If the target holds it longer, it stays so, which lets nobody in.
    """
    if _until(other) > _until(row):
        return row
    if _until(other) < _until(row):
        lease, key, _ = row
        # The number of places does not matter where one is kept.
        target.keep_lease(str(lease), [Slot(str(key), 1, _until(row))])
    return row


def _until(row: Row) -> float:
    return float(row[-1] or 0)


def _canonical(kind: Kind, number: int, value: Any) -> Any:
    """A value in the one form that all stores agree on: floats for times, normalised JSON for properties."""
    if isinstance(value, int | float):
        return float(value)
    if kind == "sessions" and number == 1:
        try:
            return SessionProperties.from_json(value).as_json()
        except ValueError:
            return value
    return value
