"""The list of exclusions: those that stand, on every store, page by page."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from rolecall import Exclusions, Rolecall
from rolecall.errors import InvalidRequest, StoreUnavailable
from rolecall.revocations import Exclusion
from rolecall.stores.memory import MemoryStore

from ...sdk_tokens import API_KEY, API_SECRET
from ...untyped import untyped


@pytest.fixture(params=["memory", "sqlite"])
def kit(request, make_kit, tmp_path) -> Rolecall:
    return make_kit(store="memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/sessions.db")


def all_of(kit: Rolecall, limit: int) -> list[Exclusion]:
    found: list[Exclusion] = []
    page = kit.exclusions(limit=limit)
    while True:
        assert len(page) <= limit
        found += page
        if page.next is None:
            return found
        page = kit.exclusions(limit=limit, after=page.next)


def test_those_that_stand_are_listed(kit, clock):
    one, other = kit.create_session(), kit.create_session()
    one.exclude("ada with a space")
    one.exclude("ben", timedelta(minutes=5))
    one.exclude("cleo")
    one.readmit("cleo")
    other.exclude("cleo")
    for _ in range(2):
        other.readmit("cleo")
        other.exclude("cleo", timedelta(minutes=1))
    kit.revoke_actor("dan")
    other.reset()
    expected = {
        Exclusion(one.session_id, "ada with a space", None),
        Exclusion(one.session_id, "ben", clock() + 300),
        Exclusion(other.session_id, "cleo", clock() + 60),
    }
    for limit in (1, 2, 100):
        found = all_of(kit, limit)
        assert (set(found), len(found)) == (expected, 3)
    assert {found.actor_id for found in kit.exclusions(one)} == {"ada with a space", "ben"}
    assert {found.actor_id for found in asyncio.run(kit.aio.exclusions(other.session_id))} == {"cleo"}
    clock.now += 60
    assert {found.actor_id for found in kit.exclusions()} == {"ada with a space", "ben"}


def test_those_of_other_projects_are_not(make_kit):
    store = MemoryStore()
    other = Rolecall("654321", API_SECRET, store=store, entry_points=False)
    other.create_session().exclude("ada")
    assert list(make_kit(store=store).exclusions()) == []
    assert [found.actor_id for found in other.exclusions()] == ["ada"]


@pytest.mark.parametrize(("name", "value"), [("limit", 0), ("limit", 1001), ("limit", True), ("after", 1)])
def test_what_is_wrong_is_said(kit, name, value):
    kit.create_session().exclude("ada")
    with pytest.raises(InvalidRequest, match=f"{name} is"):
        kit.exclusions(**untyped({name: value}))


def test_a_cursor_of_nobody_is_refused(kit):
    with pytest.raises(StoreUnavailable, match="the place to continue from"):
        kit.exclusions(after="x")


def test_a_store_that_cannot_go_through_its_content_says_so():
    class Plain:
        def __init__(self) -> None:
            self._store = MemoryStore()

        def __getattr__(self, name: str) -> object:
            if name == "dump":
                raise AttributeError(name)
            return getattr(self._store, name)

    kit = Rolecall(API_KEY, API_SECRET, store=untyped(Plain()), entry_points=False)
    with pytest.raises(StoreUnavailable, match="has no method dump"):
        kit.exclusions()


def test_a_page_says_what_it_is():
    assert repr(Exclusions((), "more")) == "<Exclusions: 0, and there are more>"


def test_a_page_of_the_store_may_be_larger_than_it_was_asked_for(make_kit):
    class Generous(MemoryStore):
        asked = 0

        def dump(self, kind, after, limit):
            return super().dump(kind, after, 10_000)

        def get_marks(self, names):
            self.asked = max(self.asked, len(names))
            return super().get_marks(names)

    store = Generous()
    kit = make_kit(store=store)
    session = kit.create_session()
    for number in range(300):
        session.exclude(f"actor {number}")
    assert len(kit.exclusions(limit=1)) == 300
    assert store.asked == 200
