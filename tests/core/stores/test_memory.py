"""The store in memory: what it holds, and what it looks at to change it."""

from __future__ import annotations

from math import inf
from typing import Any, NoReturn

import pytest

from rolecall.stores.leases import Full, Slot
from rolecall.stores.memory import _MANY, MemoryStore
from rolecall.stores.upkeep import Over

NOW = 1_795_186_800.0


@pytest.fixture
def store():
    return MemoryStore()


class Copied(dict[Any, Any]):
    """A dictionary that counts how often all of it is looked at."""

    times = 0

    def items(self) -> Any:
        self.times += 1
        return super().items()


class Unwalked(dict[Any, Any]):
    """A dictionary in which things are found by their keys alone."""

    def walk(self) -> NoReturn:
        raise AssertionError("all is looked at, to change a part")

    __iter__ = items = keys = values = walk


def forget_all(store: MemoryStore, over: Over) -> list[int]:
    """The number of rows that each batch has removed."""
    return list(iter(lambda: store.forget(over), 0))


def slots(*keys: str, most: int | None = 1, until: float = NOW + 60) -> list[Slot]:
    return [Slot(key, most, until) for key in keys]


# -- leases ----------------------------------------------------------------------------------------


def test_places_are_freed_without_a_look_at_other_slots(store):
    for lease in ("a", "b", "c"):
        store.keep_lease(lease, slots("session", f"actor {lease}"))
    store._slots, store._leases = Unwalked(store._slots), Unwalked(store._leases)
    store.drop_lease("a")
    store.drop_slot("session")
    assert store.full_slot(slots("session", "actor a", "actor b", "actor c"), NOW) is None


def drop_each(store: MemoryStore) -> None:
    for lease in ("a", "b"):
        store.drop_lease(lease)


@pytest.mark.parametrize(
    "free",
    [
        drop_each,
        lambda store: store.drop_slot("s"),
        lambda store: store.full_slot(slots("s", "t"), NOW + 60),
        lambda store: store.forget(Over(NOW + 61)),
    ],
    ids=["drop", "drop slot", "look", "forget"],
)
def test_nothing_is_left_of_slots_and_leases_without_places(store, free):
    store.take_lease("a", slots("s", "t", most=2), NOW)
    store.load("leases", [("b", "s", NOW + 60), ("b", "t", NOW + 60)])
    free(store)
    assert (store._slots, store._leases) == ({}, {})


def test_a_lease_that_is_loaded_is_dropped_as_any_other(store):
    store.load("leases", [("a", "s", NOW + 60), ("a", "t", NOW + 60), ("b", "t", NOW + 70)])
    store.drop_lease("a")
    assert store.full_slot(slots("s"), NOW) is None
    assert store.full_slot(slots("t"), NOW) == Full("t", NOW + 70)


# -- forgetting ------------------------------------------------------------------------------------


def test_what_is_over_is_looked_for_once_and_not_for_each_batch(store):
    store.load("sessions", [(f"1_{number}", "{}", NOW, None) for number in range(100)])
    store._sessions = Copied(store._sessions)
    assert forget_all(store, Over(0.0, created_before=NOW + 1, limit=10)) == [10] * 10
    assert store._sessions.times == 2  # and whether there is more


def test_the_lock_is_free_while_what_is_over_is_looked_for(store):
    class Looked(dict[Any, Any]):
        def items(self) -> Any:
            assert not store._lock.locked()
            return super().items()

    store._used = Looked(a=(NOW, None))
    assert forget_all(store, Over(NOW + 1)) == [1]


def test_a_mark_that_was_raised_since_it_was_found_stays(store):
    for name in ("actor a", "actor b"):
        store.raise_mark(name, 5.0, NOW)
    assert store.forget(Over(NOW + 1, limit=1)) == 1
    store.raise_mark("actor b", 6.0, NOW + 100)
    assert store.forget(Over(NOW + 1, limit=1)) == 0
    assert store.get_marks(["actor a", "actor b"]) == {"actor b": 6.0}


def test_what_was_found_by_a_later_time_stays_by_an_earlier_one(store):
    for name in ("a", "b"):
        store.use_once(name, NOW, NOW - 1)
    assert store.forget(Over(NOW + 1, limit=1)) == 1
    assert store.forget(Over(NOW - 1, limit=1)) == 0
    assert store.count()["used"] == 1


def test_marks_that_were_forgotten_are_known_no_more(store):
    for number in range(3000):
        store.raise_mark(f"token 1_a {number}", inf, NOW if number else inf)
    store.raise_mark("reset 1_b", 7.5, inf)
    forget_all(store, Over(NOW + 1))
    assert len(store.marks) <= _MANY
    assert (store.marks.value("token", "1_a", "0"), store.marks.value("reset", "1_b")) == (inf, 7.5)
    assert store.marks.may_touch("1_a")


def test_a_revision_never_comes_again_though_marks_are_forgotten(store):
    for number in range(3000):
        store.raise_mark(f"token 1_a {number}", inf, NOW)
    seen, known = store.revision(), store.marks.revision
    forget_all(store, Over(NOW + 1))
    while store.marks.revision < known:
        store.raise_mark(f"token 1_b {store.marks.revision}", inf, inf)
    assert store.marks.revision == known
    assert store.revision() != seen


# -- copying ---------------------------------------------------------------------------------------


def test_a_page_of_rows_copies_no_others(store):
    class Counted(dict[Any, Any]):
        def items(self) -> Any:
            return map(count, super().items())

    def count(item: object) -> object:
        counted.append(item)
        return item

    counted: list[object] = []
    store._used = Counted((f"{number}", (NOW, None)) for number in range(100))
    assert store.dump("used", "10", 5) == ([(f"{number}", NOW) for number in range(10, 15)], "15")
    assert len(counted) == 15  # passed over, up to the page's end
