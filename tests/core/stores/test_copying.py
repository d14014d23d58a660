"""Copies of stores: complete, repeatable, resumed from any page, and compared row by row."""

from __future__ import annotations

import json
import random
from functools import partial
from itertools import islice
from math import inf

import pytest

from rolecall.errors import ConfigurationError, StoreUnavailable
from rolecall.sessions import SessionProperties
from rolecall.stores import open_store
from rolecall.stores.copy_marks import count_rows, drop_marks, has_mark, keep_mark, new_mark
from rolecall.stores.copying import LAPSED, Copied, copy, fingerprint, is_same, tally
from rolecall.stores.leases import Slot
from rolecall.stores.memory import MemoryStore
from rolecall.stores.purging import purge
from rolecall.stores.synchronous import SyncUpkeep
from rolecall.stores.upkeep import KINDS, Over

from ...conftest import NOW

PROPERTIES = SessionProperties().as_json()


class AsyncStore(MemoryStore):
    """A store with coroutines, as one of an async client has."""

    async def dump(self, kind, after, limit):  # type: ignore[override]
        return super().dump(kind, after, limit)

    async def load(self, kind, rows):  # type: ignore[override]
        return super().load(kind, rows)

    async def close(self):  # type: ignore[override]
        pass


class RepeatingStore(MemoryStore):
    """A store whose scan repeats the last row of each page."""

    def dump(self, kind, after, limit):
        rows, end = super().dump(kind, after, limit)
        return [*rows, *rows[-1:]], end


def clock() -> float:
    return NOW


def filled(store: MemoryStore, number: int = 25) -> MemoryStore:
    """A store with some rows of each kind, and two rows that are over."""
    load = partial(MemoryStore.load, store)  # whatever the kind of the store
    load("ended", [(f"1_{n}", NOW + n / 8) for n in range(0, number, 3)])
    load("marks", [(f"actor {n}", NOW + n, NOW + n if n % 2 else inf) for n in range(number)])
    load("sessions", [(f"1_{n}", PROPERTIES, NOW + n / 4, "Zoë" if n % 2 else None) for n in range(number)])
    load("used", [(f"jti {n}", NOW + n) for n in range(number)])
    load("leases", [(f"l{n}", f"key {n % 3}", NOW + n) for n in range(number)])
    load("tokens", [(f"1_{n}", f"0.{n}", "Zoë" if n % 2 else None, "publisher", NOW, NOW + n) for n in range(number)])
    load("documents", [(f"{n}", n + 1, f"content {n}") for n in range(number)])
    load("marks", [("old", inf, NOW - LAPSED - 1)])
    load("used", [("old", NOW - LAPSED - 1)])
    load("leases", [("old", "key", NOW - LAPSED - 1)])
    load("tokens", [("old", "0.old", None, "publisher", NOW - 100, NOW - LAPSED - 1)])
    return store


def content(store: MemoryStore) -> dict[str, set]:
    return {kind: {row for row in MemoryStore.dump(store, kind, None, 10_000)[0] if row[0] != "old"} for kind in KINDS}


def copied(source: MemoryStore, target: MemoryStore, begun: Copied | None = None, page: int = 7) -> Copied:
    with SyncUpkeep(source) as one, SyncUpkeep(target) as other:
        *_, last = copy(one, other, begun, page=page, clock=clock)
    return last


@pytest.mark.parametrize("kind", [MemoryStore, AsyncStore, RepeatingStore])
def test_a_copy_has_all_that_is_not_over(kind):
    source, target = filled(kind()), MemoryStore()
    end = copied(source, target)
    assert content(target) == content(source)
    assert all("old" not in str(target.dump(found, None, 100)) for found in KINDS)
    assert {tally.differing for tally in end.tallies.values()} == {0}
    assert all(tally.sent_sum == tally.stored_sum != 0 for tally in end.tallies.values())
    assert min(end.tallies[over].lapsed for over in ("marks", "used", "leases", "tokens")) >= 1


def test_ends_and_marks_are_copied_first_so_that_nothing_that_was_revoked_is_good_in_a_copy():
    source = filled(MemoryStore())
    with SyncUpkeep(source) as one, SyncUpkeep(MemoryStore()) as other:
        states = [(state.kind, other.count()) for state in copy(one, other, page=4, clock=clock)]
    begun = next(count for kind, count in states if count["sessions"])
    assert begun["ended"] == source.count()["ended"]
    assert begun["marks"] == source.count()["marks"] - 1  # but for the one that is over
    assert states[-1][0] is None


def test_a_copy_may_be_repeated_and_adds_what_is_new():
    source, target = filled(MemoryStore()), MemoryStore()
    copied(source, target)
    source.end_session("1_1", NOW + 50)
    source.load("sessions", [("1_new", PROPERTIES, NOW + 60, None)])
    end = copied(source, target)
    assert content(target) == content(source)
    assert {tally.differing for tally in end.tallies.values()} == {0}


@pytest.mark.parametrize("stopped", range(1, 18))
def test_a_copy_goes_on_from_each_page_in_another_process(stopped):
    source, target = filled(MemoryStore()), MemoryStore()
    with SyncUpkeep(source) as one, SyncUpkeep(target) as other:
        *_, state = islice(copy(one, other, page=7, clock=clock), stopped)
    end = copied(source, target, Copied.from_json(state.as_json()), page=3)
    assert content(target) == content(source)
    assert [end.tallies[kind].sent for kind in KINDS] == [len(content(source)[kind]) for kind in KINDS]


def test_a_row_that_stands_otherwise_is_told_and_stays():
    source, target = filled(MemoryStore()), MemoryStore()
    target.load("ended", [("1_3", NOW - 5)])
    target.load("sessions", [("1_4", PROPERTIES, NOW + 1, "Eve")])
    target.load("documents", [("3", 3, "old"), ("4", 5, "other")])
    target.load("marks", [("actor 3", NOW, inf), ("actor 4", NOW + 5, NOW)])  # which revoke no less
    end = copied(source, target)
    assert [end.tallies[kind].differing for kind in KINDS] == [1, 0, 1, 0, 0, 0, 1]
    assert end.differing == ("1_3", "1_4")
    assert end.tallies["ended"].sent_sum != end.tallies["ended"].stored_sum
    assert {("actor 3", NOW + 3, inf), ("actor 4", NOW + 5, inf)} <= content(target)["marks"]
    assert ("1_4", PROPERTIES, NOW + 1, "Eve") in content(target)["sessions"]


def test_properties_that_an_earlier_version_wrote_are_the_same_in_another_spelling():
    earlier = json.dumps({"media_mode": "routed", "archive_mode": "manual", "location": None, "e2ee": False})
    now = SessionProperties.from_json(earlier).as_json()
    assert fingerprint("sessions", ("1_a", earlier, NOW, None)) == fingerprint("sessions", ("1_a", now, int(NOW), None))
    assert fingerprint("sessions", ("1_a", "damaged", NOW, None)) != fingerprint("sessions", ("1_a", now, NOW, None))


@pytest.mark.parametrize(("theirs", "kept"), [(10, 60), (90, 90)])
def test_of_a_place_the_later_end_counts_because_the_source_may_have_kept_it_longer_since(theirs, kept):
    source, target = MemoryStore(), MemoryStore()
    source.keep_lease("l", [Slot("key", 1, NOW + 60)])
    target.keep_lease("l", [Slot("key", 1, NOW + theirs)])
    assert copied(source, target).tallies["leases"].differing == 0
    assert content(target)["leases"] == {("l", "key", NOW + kept)}


def test_a_store_is_told_from_another_one_and_nothing_is_left_behind():
    one, other = MemoryStore(), MemoryStore()
    with SyncUpkeep(one) as first, SyncUpkeep(one) as again, SyncUpkeep(other) as second:
        assert is_same(first, again)
        assert not is_same(first, second)
    assert one.count()["leases"] == other.count()["leases"] == 0


@pytest.mark.parametrize("url", ["memory://", "sqlite:///marked.db"])
def test_marks_are_told_from_other_leases_and_dropped_together(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SyncUpkeep(open_store(url)) as store:
        store.keep_lease("l", [Slot("key", 1, NOW + 60)])
        marks = [new_mark() for _ in range(3)]
        for mark, until in zip(marks, (NOW + 60, NOW + 60, NOW), strict=True):
            keep_mark(store, mark, until)
        assert count_rows(store)["leases"] == tally(store, "leases")[0] == 1
        assert [has_mark(store, mark, NOW) for mark in (*marks, new_mark())] == [True, True, False, False]
        drop_marks(store)
        assert store.count()["leases"] == 1


def test_checksums_of_stores_are_equal_whatever_the_order_and_repetition_of_their_rows():
    rows = [(f"1_{n}", NOW + n) for n in range(50)]
    one, other = MemoryStore(), RepeatingStore()
    one.load("ended", rows)
    other.load("ended", random.Random(1).sample(rows, len(rows)))
    with SyncUpkeep(one) as first, SyncUpkeep(other) as second:
        assert tally(first, "ended", 7) == tally(second, "ended", 9)
        other.load("ended", [("1_more", NOW)])
        assert tally(first, "ended") != tally(second, "ended")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        json.dumps({**json.loads(Copied(NOW).as_json()), "kind": None}),
        json.dumps({**json.loads(Copied(NOW).as_json()), "after": 1}),
        json.dumps({**json.loads(Copied(NOW).as_json()), "tallies": {}}),
    ],
)
def test_what_is_no_state_of_a_copy_is_refused(text):
    with pytest.raises(ValueError, match=r"no state|Expecting value"):
        Copied.from_json(text)


def test_a_store_without_upkeep_is_refused_by_name():
    class Plain(MemoryStore):
        def __getattribute__(self, name):
            if name == "forget":
                raise AttributeError(name)
            return super().__getattribute__(name)

    with pytest.raises(ConfigurationError, match="of type Plain, cannot be looked after: it has no method forget"):
        SyncUpkeep(Plain())


def test_a_target_that_does_not_answer_for_each_row_has_not_kept_them():
    class Lossy(MemoryStore):
        def load(self, kind, rows):
            return super().load(kind, rows)[1:]

    with pytest.raises(StoreUnavailable, match="took 7 rows, and answered with 6"):
        copied(filled(MemoryStore()), Lossy())


def test_a_purge_goes_batch_by_batch_and_pauses_between():
    pauses: list[float] = []
    store = filled(MemoryStore(), 1000)
    with SyncUpkeep(store) as upkeep:
        removed = list(purge(upkeep, Over(NOW + 2000, limit=300), pauses.append))
    assert sum(removed) == 3504
    assert max(removed) <= 300
    assert len(pauses) == len(removed)
    assert min(pauses) > 0
    assert store.count() == {
        "ended": 334,
        "marks": 500,
        "sessions": 1000,
        "used": 0,
        "leases": 0,
        "tokens": 0,
        "documents": 1000,
    }
