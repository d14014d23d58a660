"""The marks of the PostgreSQL store: names of any length, transactions in any order, and followers."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from math import inf, nan

import pytest

from rolecall.errors import StoreUnavailable
from rolecall.stores.following import Follower, Position
from rolecall.stores.sql import SQLStore
from rolecall.stores.sql_log import _CHANGES, _MARKS, _MARKS_SINCE, SQLLog
from rolecall.stores.sql_marks import _GET
from rolecall.stores.upkeep import Over

from ...forking import in_child
from ...waiting import PATIENCE, known, refusal, soon

pytestmark = pytest.mark.server

NOW = 1_795_186_800.0
#: Written by no worker of this process, so that only the log tells of it.
ELSEWHERE = """
    INSERT INTO rolecall_marks AS there (name, value, until) VALUES (%s, %s, 'Infinity')
    ON CONFLICT (name) DO UPDATE SET value = greatest(there.value, excluded.value), xid = excluded.xid
"""


@pytest.fixture
def store(connect, url) -> SQLStore:
    """A store that is in step."""
    store: SQLStore = connect(url)
    assert known(store, "1_none") is False
    return store


@pytest.fixture
def log(store) -> Iterator[SQLLog]:
    with closing(SQLLog(store._processes.here().connections.open, 10.0)) as log:
        yield log


def told(log: SQLLog, after: Position) -> list[tuple[str, float]]:
    """The marks that a log tells after a place, without a wait."""
    return list(log.changes(after, 0.0)[0].marks)


# -- names and numbers -------------------------------------------------------------------------------


def test_the_index_holds_the_longest_names(store):
    """Of two ids with 255 characters of four bytes each, which cannot be compressed."""
    chosen = random.Random(5)
    one, other = ("".join(chr(chosen.randrange(0x20000, 0x2A000)) for _ in range(255)) for _ in range(2))
    names = [f"excluded {one} 1000000 {other}", f"readmitted {one} {other}", f"token {one} {other}"]
    for name in names:
        assert store.raise_mark(name, 5.5, inf) == 5.5
    assert store.get_marks(names) == dict.fromkeys(names, 5.5)
    assert store.marks.value("excluded", one, "1000000", other) == 5.5


@pytest.mark.parametrize(
    ("name", "value", "until"),
    [
        ("actor a\0b", 5.0, inf),
        ("actor \ud800", 5.0, inf),
        ("actor " + os.urandom(4000).hex(), 5.0, inf),
        ("actor a", nan, inf),
        ("actor a", 5.0, nan),
        ("actor a", "many", inf),
    ],
    ids=["zero byte", "no Unicode", "too long", "no number", "no time", "a word"],
)
def test_what_postgresql_cannot_hold_is_refused(store, name, value, until):
    with pytest.raises(StoreUnavailable) as refused:
        store.raise_mark(name, value, until)
    assert refused.value.is_of_a_value
    assert name not in str(refused.value)
    assert store.count()["marks"] == 0
    assert len(store.marks) == 0


def test_what_is_infinite_is_kept_so(store, raw):
    store.raise_mark("token 1_a x", inf, NOW)
    store.raise_mark("reset 1_a", 5.0, inf)
    store.load("marks", [("token 1_a x", 7.0, inf), ("reset 1_a", inf, NOW), ("token 1_b x", inf, inf)])
    rows = raw.execute("SELECT value, until FROM rolecall_marks WHERE until = 'Infinity' AND value = 'Infinity'")
    assert rows.fetchall() == [(inf, inf)] * 3
    assert store.dump("marks", None, 10)[0] == [
        ("reset 1_a", inf, inf),
        ("token 1_a x", inf, inf),
        ("token 1_b x", inf, inf),
    ]


def test_a_standby_is_asked_for_no_marks(server, connect):
    store = connect(server.url + "?timeout=10")
    store.raise_mark("actor a", 5.0, inf)
    server.kill()
    (server.data / "standby.signal").touch()
    server.start()
    assert soon(lambda: "is a standby" in refusal(lambda: store.get_marks(["actor a"])))
    assert "is a standby" in refusal(lambda: store.get_marks(["actor b"]))
    assert "is a standby" in refusal(lambda: store.ended_among(["1_a"]))
    assert "read-only" in refusal(lambda: store.raise_mark("actor a", 6.0, inf))


# -- the log -----------------------------------------------------------------------------------------


def test_a_mark_is_announced(store, log):
    _, position = log.snapshot()
    with ThreadPoolExecutor(1) as pool:
        for number, change in enumerate(
            (
                lambda: store.raise_mark("reset 1_a", 5.0, inf),
                lambda: store.raise_mark("reset 1_a", 6.0, inf),
                lambda: store.load("marks", [("reset 1_a", 7.0, inf)]),
            )
        ):
            waiting = pool.submit(log.changes, position, PATIENCE)
            change()
            news, position = waiting.result(PATIENCE / 2)
            assert dict(news.marks) == {"reset 1_a": 5.0 + number}
            assert list(news.ended) == []


def test_a_mark_wakes_a_follower_long_before_its_next_look(store, connect, url):
    log = SQLLog(connect(url)._processes.here().connections.open, 10.0)
    with closing(Follower(log, max_staleness=8 * PATIENCE, poll=2 * PATIENCE)) as follower:

        def is_at(number: int) -> bool:
            return follower.marks.value("reset", "1_a") == number

        assert known(follower, "1_none") is False
        for number in range(1, 6):
            store.raise_mark("reset 1_a", float(number), inf)
            assert soon(partial(is_at, number))
        # Its last read waits for an announcement as well.
        follower.close()
        store.raise_mark("reset 1_a", 6.0, inf)


def test_a_mark_that_is_committed_late_is_not_missed(store, shared_server, database):
    """The highest transaction id so far would skip the first of the two."""
    with shared_server.connect(database) as late, shared_server.connect(database) as early:
        with late.transaction():
            late.execute(ELSEWHERE, ("actor late", 5.0))
            early.execute(ELSEWHERE, ("actor early", 5.0))
            assert soon(lambda: store.marks.value("actor", "early") == 5.0)
            assert known(store, "1_none") is False
            assert store.marks.value("actor", "late") == 0.0
        assert soon(lambda: store.marks.value("actor", "late") == 5.0)


def test_a_mark_that_is_raised_by_the_lower_transaction_id_is_not_missed(store, log, shared_server, database):
    """Its row had the id of a later transaction before, which followers have read."""
    _, before = log.snapshot()
    with shared_server.connect(database) as late, shared_server.connect(database) as early:
        with late.transaction():
            late.execute("SELECT pg_current_xact_id()")
            early.execute(ELSEWHERE, ("reset 1_a", 5.0))
            assert soon(lambda: store.marks.value("reset", "1_a") == 5.0)
            _, between = log.changes(before, 0.0)
            late.execute(ELSEWHERE, ("reset 1_a", 7.0))
            assert told(log, between) == []
        assert soon(lambda: store.marks.value("reset", "1_a") == 7.0)
        assert told(log, between) == told(log, before) == [("reset 1_a", 7.0)]


def test_a_mark_that_is_not_raised_by_the_lower_transaction_id_is_not_missed_either(
    store, log, shared_server, database
):
    """The row gets the lower id though it stays as it is."""
    with shared_server.connect(database) as late, shared_server.connect(database) as early:
        with late.transaction():
            late.execute("SELECT pg_current_xact_id()")
            early.execute(ELSEWHERE, ("actor before", 5.0))
            _, before = log.snapshot()
            early.execute(ELSEWHERE, ("reset 1_a", 7.0))
            late.execute(ELSEWHERE, ("reset 1_a", 5.0))
        assert dict(told(log, before))["reset 1_a"] == 7.0
        assert soon(lambda: store.marks.value("reset", "1_a") == 7.0)


def test_marks_are_told_once_and_not_at_each_reading(store, log):
    store.raise_mark("reset 1_a", 5.0, inf)
    store.raise_mark("token 1_a x", inf, NOW)
    news, position = log.snapshot()
    assert sorted(news.marks) == [("reset 1_a", 5.0), ("token 1_a x", inf)]
    assert told(log, position) == []
    store.raise_mark("reset 1_a", 6.0, inf)
    news, position = log.changes(position, 0.0)
    assert list(news.marks) == [("reset 1_a", 6.0)]
    assert told(log, position) == []


def test_a_snapshot_of_several_pages_of_marks_is_whole(log, raw):
    raw.execute(
        "INSERT INTO rolecall_marks (name, value, until) SELECT 'token 1_' || n % 100 || ' ' || n,"
        " CASE WHEN n % 2 = 0 THEN n ELSE 'Infinity'::float8 END, 'Infinity' FROM generate_series(1, 25000) AS n"
    )
    raw.execute("INSERT INTO rolecall_ended_sessions SELECT '1_' || n, 7.5 FROM generate_series(1, 12000) AS n")
    news, _ = log.snapshot()
    assert len(set(news.ended)) == 12000
    marks = list(news.marks)
    assert len(marks) == 25000
    assert dict(marks) == {f"token 1_{n % 100} {n}": inf if n % 2 else n for n in range(1, 25001)}


def test_a_worker_knows_many_marks_from_its_first_answer_on(store, connect, url):
    names = [f"token 1_{number % 7} {number}" for number in range(25000)]
    for first in range(0, len(names), 5000):
        store.load("marks", [(name, inf, inf) for name in names[first : first + 5000]])
    other = connect(url)
    assert known(other, "1_none") is False
    assert all(other.marks.value(*name.split()) == inf for name in names)


@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        (_CHANGES, {"after": "5:5:", "most": 10}, "Index Scan using rolecall_marks_xid on rolecall_marks"),
        (_MARKS, ("actor a", 10), "Index Only Scan using rolecall_marks_pkey on rolecall_marks"),
        (_GET, {"names": ["actor a", "actor b"]}, "using rolecall_marks_pkey on rolecall_marks"),
    ],
    ids=["changes", "page", "get"],
)
def test_marks_are_found_by_an_index(store, raw, statement, values, index):
    with raw.transaction():
        raw.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
        assert index in "\n".join(line for (line,) in raw.execute(b"EXPLAIN " + statement, values))


def test_what_was_marked_since_is_found_at_its_places_in_the_index(store, raw):
    """A filter would pass over all that was marked since the oldest transaction that is still open."""
    with raw.transaction():
        raw.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        plan = [line.strip() for (line,) in raw.execute(b"EXPLAIN " + _MARKS_SINCE, {"after": "5:9:5,7"})]
    assert [line for line in plan if line.startswith("Filter")] == []
    assert len([line for line in plan if line.startswith("Index Cond")]) == 2


# -- processes and threads ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_marks_of_its_own(store):
    store.raise_mark("actor parent", 5.0, inf)

    def work() -> tuple[float, float, float]:
        mine = store.raise_mark("actor child", 6.0, inf) and store.marks.value("actor", "child")
        assert known(store, "1_none") is False
        return mine, store.marks.value("actor", "parent"), store.marks.value("actor", "child")

    assert in_child(work) == (6.0, 5.0, 6.0)
    assert soon(lambda: store.marks.value("actor", "child") == 6.0)
    assert store.marks.value("actor", "parent") == 5.0


def test_a_mark_whose_time_is_put_off_meanwhile_is_not_forgotten(store, raw):
    store.raise_mark("actor a", 5.0, NOW - 200)
    store.raise_mark("actor b", 5.0, NOW - 200)
    with raw.transaction():
        raw.execute("UPDATE rolecall_marks SET until = %s WHERE name = 'actor a'", (NOW + 200,))
        assert store.forget(Over(NOW)) == 1  # and waits for nobody
    assert store.forget(Over(NOW)) == 0
    assert store.get_marks(["actor a", "actor b"]) == {"actor a": 5.0}


def test_marks_are_forgotten_a_few_at_a_time(store):
    store.load("marks", [(f"actor {number}", 5.0, NOW - 200) for number in range(30)])
    assert [store.forget(Over(NOW, limit=20)) for _ in range(3)] == [20, 10, 0]


def test_a_page_with_a_name_twice_is_loaded(store):
    """The scan of a store that is copied may repeat rows, which others change meanwhile."""
    rows = [("reset 1_a", 5.0, NOW), ("reset 1_b", 1.0, NOW), ("reset 1_a", 4.0, NOW + 1)]
    stands = ("reset 1_a", 5.0, NOW + 1)
    assert store.load("marks", rows) == [stands, rows[1], stands]
    assert store.marks.value("reset", "1_a") == 5.0


def test_marks_that_are_loaded_again_are_not_written_again(store, raw):
    written = "SELECT name, xmin::text FROM rolecall_marks ORDER BY name"
    store.load("marks", [("reset 1_a", 5.0, NOW), ("reset 1_b", 5.0, NOW)])
    before = raw.execute(written).fetchall()
    store.load("marks", [("reset 1_a", 4.0, NOW), ("reset 1_b", 6.0, NOW)])
    assert [one == other for one, other in zip(before, raw.execute(written).fetchall(), strict=True)] == [True, False]
