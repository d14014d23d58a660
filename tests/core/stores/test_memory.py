"""The store in memory: what it holds, and what it looks at to change it."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from rolecall.stores.leases import Full, Slot
from rolecall.stores.memory import MemoryStore
from rolecall.stores.upkeep import Over

NOW = 1_795_186_800.0


@pytest.fixture
def store():
    return MemoryStore()


class Unwalked(dict[Any, Any]):
    """A dictionary in which things are found by their keys alone."""

    def walk(self) -> NoReturn:
        raise AssertionError("all is looked at, to change a part")

    __iter__ = items = keys = values = walk


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
