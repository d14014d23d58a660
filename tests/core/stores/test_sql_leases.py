"""The leases of the PostgreSQL store among processes, and with answers that are lost."""

from __future__ import annotations

import os
import random
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from rolecall.stores.leases import Slot
from rolecall.stores.sql import SQLStore
from rolecall.stores.sql_leases import _BATCH, _LOOK, _wanted

from ...cutting import proxy_to
from ...forking import forked

pytestmark = pytest.mark.server

NOW, LATER = 1_795_186_800.0, 1_795_186_900.0
KEYS, MOST = ("a", "b", "c", "d"), 20
HELD = "SELECT lease, array_agg(key ORDER BY key) FROM rolecall_leases GROUP BY lease"


def slots(*keys: str, most: int | None = MOST) -> list[Slot]:
    return [Slot(key, most, LATER) for key in keys]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_four_processes_take_each_place_once(connect, url, raw):
    store = connect(url)
    store.count()

    def take(answers: int, number: int) -> None:
        lease, wanted = f"{os.getpid()}.{number}", sorted(random.sample(KEYS, 2))
        is_taken = store.take_lease(lease, slots(*random.sample(wanted, 2)), NOW) is None
        os.write(answers, f"{'taken' if is_taken else 'refused'} {lease} {' '.join(wanted)}\n".encode())

    def work(answers: int) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(partial(take, answers), range(40)))

    read, write = os.pipe()
    children = [forked(partial(work, write)) for _ in range(4)]
    os.close(write)
    with os.fdopen(read) as pipe:
        answers = [line.split() for line in pipe]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4

    taken = {lease: keys for answer, lease, *keys in answers if answer == "taken"}
    assert dict(raw.execute(HELD).fetchall()) == taken
    places = {key: sum(key in keys for keys in taken.values()) for key in KEYS}
    assert max(places.values()) == MOST
    # No place was ever freed, so whoever was refused wants a slot that is full still.
    assert all(MOST in map(places.get, keys) for answer, _, *keys in answers if answer == "refused")


def test_a_lease_that_is_sent_again_because_its_answer_was_lost_has_one_place(shared_server, database, connect):
    with proxy_to(shared_server.port) as proxy:
        store = connect(f"postgresql://app@127.0.0.1:{proxy.port}/{database}?timeout=10")
        store.count()
        proxy.cuts_after = b"lost lease"
        assert store.take_lease("lost lease", slots("a", "b", most=1), NOW) is None
        assert proxy.cut.is_set()
        assert store.count()["leases"] == 2
        assert store.take_lease("another", slots("b", most=1), NOW) is not None


def test_keys_may_be_as_long_as_they_are_allowed(connect, url):
    store = connect(url)
    random.seed(7)  # a text that cannot be compressed
    key = "".join(chr(random.randrange(0x10000, 0x20000)) for _ in range(1000))
    assert store.take_lease("lease", slots(key, "%s%%'\\", most=1), NOW) is None
    assert store.full_slot(slots(key, most=1), NOW) == (key, LATER)
    assert store.full_slot(slots("%s%%'\\", most=1), NOW) == ("%s%%'\\", LATER)


def rows_read(raw, most: int | None) -> int:
    """The most rows that a step of the look at a slot has read."""
    values = {"lease": "another", **_wanted(slots("s", most=most), NOW)}
    with raw.transaction():
        raw.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        plan = "\n".join(line for (line,) in raw.execute(b"EXPLAIN (ANALYZE, TIMING OFF) " + _LOOK, values))
    return max(int(rows) for rows in re.findall(r"actual rows=(\d+)", plan))


def test_no_more_places_are_counted_than_there_may_be(connect, url, raw):
    connect(url).load("leases", [(f"lease {number}", "s", LATER) for number in range(300)])
    assert rows_read(raw, 20) == 20
    assert rows_read(raw, None) == 0


def test_whoever_takes_a_slot_without_a_limit_waits_for_nobody(connect, url, raw):
    store = connect(url)
    store.count()
    number = _wanted(slots("s"), NOW)["locks"][0]
    with raw.transaction():
        raw.execute("SELECT pg_advisory_xact_lock(%s)", [number])
        assert store.take_lease("lease", slots("s", most=None), NOW) is None


def test_a_slot_may_be_named_twice(connect, url):
    store = connect(url)
    assert store.take_lease("lease", [Slot("a", 1, LATER), Slot("a", 1, LATER + 1)], NOW) is None
    assert store.full_slot(slots("a", most=1), NOW) == ("a", LATER + 1)


def test_whoever_keeps_and_drops_does_not_wait_in_a_circle(url):
    with closing(SQLStore(url.replace("timeout=10", "timeout=3"))) as store, ThreadPoolExecutor(4) as pool:
        store.count()

        def change(number: int) -> None:
            lease, keys = f"lease {number % 2}", random.sample(KEYS, 4)
            store.keep_lease(lease, slots(*keys))
            store.take_lease(lease, slots(*keys), NOW)
            (store.drop_lease if number % 3 else store.drop_slot)(lease if number % 3 else keys[0])

        list(pool.map(change, range(120)))
        for key in KEYS:
            store.drop_slot(key)
        assert store.count()["leases"] == 0


def test_a_slot_with_more_places_than_one_statement_frees_in_time_is_freed_whole(connect, url, raw):
    store = connect(url)
    rows = [(f"lease {number}", key, LATER) for number in range(2 * _BATCH + 1) for key in ("session", "actor")]
    store.load("leases", [*rows, ("another", "actor", LATER)])
    store.drop_slot("session")
    assert raw.execute(HELD).fetchall() == [("another", ["actor"])]
    store.load("leases", rows[: 2 * _BATCH])  # as many leases as one statement frees
    store.drop_slot("session")
    assert store.count()["leases"] == 1
