"""The upkeep of the PostgreSQL store: forgetting, copying, and what an examination finds."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from math import inf

import pytest

from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores.sql import SQLStore
from rolecall.stores.sql_connections import BoundedConnection
from rolecall.stores.sql_examination import findings
from rolecall.stores.sql_log import PAGE
from rolecall.stores.upkeep import KINDS, Finding, Kind, Over, Row

from ...conftest import needed
from ...postgres_servers import PROGRAMS, PostgresProcess
from ...waiting import PATIENCE, known, refusal, soon

pytestmark = pytest.mark.server

NOW = 1_795_186_800.0
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rolecall' AND datname = current_database()"


def record(number: object, created_at: float = NOW) -> SessionRecord:
    return SessionRecord(f"1_{number}", SessionProperties(), created_at)


def worded(found: list[Finding]) -> dict[str, str]:
    """The level of each finding, by its sentence. Each that is no mere remark has a remedy."""
    assert all(finding.remedy for finding in found if finding.level != "info")
    return {finding.found: finding.level for finding in found}


# -- forgetting --------------------------------------------------------------------------------------


def test_rows_that_others_have_locked_are_left_to_these(connect, url, raw):
    store = connect(url)
    for number in range(3):
        store.add_session(record(number))
        store.end_session(f"1_{number}", NOW + 1)
    with raw.transaction():
        raw.execute("SELECT * FROM rolecall_ended_sessions WHERE session_id = '1_0' FOR UPDATE")
        assert store.forget(Over(0.0, ended_before=NOW + 2)) == 2
        assert store.get_session("1_0") is not None
    assert store.forget(Over(0.0, ended_before=NOW + 2)) == 1
    assert store.forget(Over(0.0, ended_before=NOW + 2)) == 0
    assert store.count()["ended"] == 3


def test_many_workers_forget_at_once(connect, url):
    stores = [connect(url) for _ in range(4)]
    stores[0].load("sessions", [(f"1_{number}", "{}", NOW, None) for number in range(400)])
    with ThreadPoolExecutor(4) as pool:
        over = Over(0.0, created_before=NOW + 1, limit=20)
        removed = [0]
        while stores[0].count()["sessions"]:
            removed += pool.map(lambda store: store.forget(over), stores)
    assert sum(removed) == 400


def test_a_record_that_was_loaded_anew_is_forgotten_anew(connect, url):
    store = connect(url)
    over = Over(0.0, ended_before=NOW + 2)
    store.add_session(record(0))
    store.end_session("1_0", NOW + 1)
    assert (store.forget(over), store.forget(over)) == (1, 0)
    store.load("sessions", [("1_0", "{}", NOW, None)])
    assert (store.forget(over), store.count()["sessions"]) == (1, 0)


def test_a_fast_clock_forgets_no_single_use_id(connect, url):
    store = connect(url)
    now = time.time()
    store.use_once("a", now + 1000, now)
    assert store.forget(Over(now + 5000)) == 0
    assert store.use_once("a", now + 1000, now) is False


def test_forgetting_and_using_read_no_more_than_they_remove(connect, url, raw):
    """By the server's own count of what was read, which a connection reports at its end at the latest."""
    store, number, far = connect(url), 3000, time.time() + 1e6
    store.load("ended", [(f"1_{one}", NOW) for one in range(number)])
    store.load("sessions", [(f"1_{one}", "{}", NOW - 1, None) for one in range(number)])
    store.load("used", [(f"{one}", far) for one in range(number)])
    store.load("marks", [(f"actor {one}", 7.5, inf) for one in range(number)])
    store.close()
    assert soon(lambda: raw.execute(CONNECTED).fetchone() == (0,))
    raw.execute("VACUUM ANALYZE")
    raw.execute("SELECT pg_stat_reset()")

    store = connect(url)
    for over in (Over(NOW, limit=100), Over(0.0, NOW + 1, limit=100), Over(0.0, None, NOW, limit=100)):
        for _ in range(3):
            assert store.forget(over) == (100 if over.lapsed_before == 0.0 else 0)
    for one in range(10):
        assert store.use_once(f"new {one}", far, NOW) is True
    store.close()
    assert soon(lambda: raw.execute(CONNECTED).fetchone() == (0,))
    read = "SELECT sum(seq_tup_read), sum(idx_tup_fetch) FROM pg_stat_user_tables WHERE relname <> 'rolecall_schema'"
    ((sequentially, by_index),) = raw.execute(read).fetchall()
    assert sequentially <= 2 * (number // PAGE + 1) * number  # the follower's snapshot, page by page
    assert 600 <= by_index <= 3 * number


# -- copying -----------------------------------------------------------------------------------------


def test_loaded_ends_are_told_to_others(connect, url):
    store, other = connect(url), connect(url)
    assert known(other, "1_0") is False
    store.load("ended", [("1_0", NOW), ("1_1", NOW)])
    assert soon(lambda: other.has_ended("1_0"))
    assert known(other, "1_1") is True


def test_the_same_rows_may_be_loaded_by_several_at_once(connect, url):
    stores = [connect(url) for _ in range(3)]
    rows: dict[Kind, list[Row]] = {
        "ended": [(f"1_{number}", NOW) for number in range(300)],
        "sessions": [(f"1_{number}", "{}", NOW, None) for number in range(300)],
        "used": [(f"{number}", NOW) for number in range(300)],
        "leases": [("lease", f"{number}", NOW) for number in range(300)],
        "marks": [(f"actor {number}", 7.5, NOW) for number in range(300)],
        "tokens": [(f"1_{number}", "0.a", "ada", "publisher", NOW, NOW + 60) for number in range(300)],
        "documents": [(f"{number}", 2, "content") for number in range(300)],
    }
    with ThreadPoolExecutor(3) as pool:
        for kind in KINDS:
            loading = [pool.submit(store.load, kind, random.sample(rows[kind], 300)) for store in stores]
            assert all(len(one.result(PATIENCE)) == 300 for one in loading)
    assert set(stores[0].count().values()) == {300}


def test_loading_nothing_is_nothing(connect, url):
    assert [connect(url).load(kind, []) for kind in KINDS] == [[]] * len(KINDS)


def test_a_place_of_another_store_is_refused(connect, url):
    store = connect(url)
    assert "no place of this store" in refusal(lambda: store.dump("leases", "place", 10))


def test_counting_may_take_longer_than_other_calls(shared_server, database, connect, raw):
    store = connect(shared_server.url_of(database))
    assert soon(lambda: store.get_session("1_none") is None)
    with raw.transaction(), ThreadPoolExecutor(1) as pool:
        raw.execute("LOCK TABLE rolecall_used_once IN ACCESS EXCLUSIVE MODE")
        counting = pool.submit(store.count)
        refusal(lambda: store.use_once("a", 10.0, 5.0))
        raw.execute("COMMIT")
        raw.execute("BEGIN")
        assert counting.result(PATIENCE)["used"] == 0


# -- the examination ---------------------------------------------------------------------------------


@pytest.fixture
def examining(shared_server, database) -> Iterator[BoundedConnection]:
    with closing(BoundedConnection.connect(shared_server.url_of(database), autocommit=True)) as connection:
        yield connection


def test_an_examination_changes_nothing(connect, url, raw):
    assert worded(connect(url).examine())["the database has no schema yet"] == "warning"
    assert raw.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'rolecall%'").fetchone() == (0,)


def test_another_version_and_a_missing_index_are_found(connect, url, raw):
    store = connect(url)
    store.migrate()
    raw.execute("DROP INDEX rolecall_leases_slot")
    raw.execute("DELETE FROM rolecall_schema WHERE version > 1")
    assert worded(store.examine())["the schema is of version 1; this one's is 6"] == "warning"
    raw.execute("INSERT INTO rolecall_schema (version) VALUES (2), (3), (4), (5), (6), (7)")
    found = worded(store.examine())
    assert found["the schema is of version 7, of a later Rolecall; this one knows 6"] == "info"
    assert found["the index rolecall_leases_slot is missing, so some calls are slow"] == "warning"


def test_open_transactions_are_found(examining, raw):
    def one_stays_open() -> bool:
        # By its age, because other tests' clients may be in one for a moment.
        return any("1 transaction(s) stay open" in finding.found for finding in findings(examining, long=0.2))

    with raw.transaction():
        raw.execute("SELECT pg_current_xact_id()")
        assert soon(one_stays_open)
        assert not any("stay open" in finding.found for finding in findings(examining, long=1000.0))
    raw.execute("BEGIN")
    raw.execute("SELECT pg_current_xact_id()")
    raw.execute("PREPARE TRANSACTION 'forgotten'")
    try:
        assert soon(one_stays_open)
    finally:
        raw.execute("ROLLBACK PREPARED 'forgotten'")


def test_a_server_that_may_lose_or_cannot_take_changes_is_found(caplog):
    needed(PROGRAMS, "the server of PostgreSQL (initdb and postgres)")
    settings = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=10")
    server = PostgresProcess(*settings)
    try:
        store = SQLStore(server.start().url + "?timeout=10")
        store.add_session(record(0))
        assert "fsync = off" in caplog.text
        with ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(server.connect())
            found = worded(list(store.examine()))
        levels = [next(found[one] for one in found if name in one) for name in ("fsync", "full_page", "synchronous")]
        assert levels == ["error", "error", "info"]
        assert any("of the server's 7 connections" in one for one in found)
        store.close()
        server.kill()
        (server.data / "standby.signal").touch()
        with closing(SQLStore(server.start().url + "?timeout=10")) as store:
            assert worded(list(store.examine()))["the server is a standby, which only reads"] == "error"
    finally:
        server.remove()


def test_a_database_that_only_reads_is_found(connect, url, raw, database):
    raw.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on".encode())
    found = worded(list(connect(url).examine()))
    assert found["the database or its role only reads (default_transaction_read_only = on)"] == "error"
