"""The PostgreSQL store on real servers: the contract, servers that die and freeze, and the log in commit order."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

import pytest

from rolecall.errors import ConfigurationError, StoreUnavailable
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores import open_store, sql_log
from rolecall.stores.following import Gap, News
from rolecall.stores.sql import MOST, Creating, SQLStore
from rolecall.stores.sql_log import SQLLog
from rolecall.stores.sql_schema import check_version
from rolecall.stores.sql_statements import EXPIRED, USE
from rolecall.stores.sql_url import SQLURL
from rolecall.testing.store_parts import (
    DocumentsContract,
    LeasesContract,
    LedgerContract,
    ListingContract,
    MarksContract,
    UpkeepContract,
)
from rolecall.testing.stores import StoreContract

from ...cutting import proxy_to
from ...forking import forked, in_child
from ...waiting import PATIENCE, free_port, known, refusal, soon

pytestmark = pytest.mark.server

#: The promised longest time of an answer, and what a busy machine may add, in seconds.
ANSWER, SLACK = 0.5, 2.0
RECORD = SessionRecord("1_abc", SessionProperties(), 1_795_186_800.125)
#: How many connections the stores have to the database.
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rolecall' AND datname = current_database()"
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def record(number: object) -> SessionRecord:
    return replace(RECORD, session_id=f"1_{number}")


def has_seen(store: SQLStore, ids: list[str]) -> bool:
    return all(map(store.has_ended, ids))


def calls(store: SQLStore) -> list[Callable[[], object]]:
    """One call of each method that asks the server."""
    return [
        lambda: store.add_session(record("new")),
        lambda: store.get_session("1_abc"),
        lambda: store.end_session("1_abc", 7.5),
        lambda: store.use_once("a", 10.0, 5.0),
        lambda: store.raise_mark("actor 1_abc", 7.5, inf),
        lambda: store.get_marks(["actor 1_abc"]),
    ]


# -- the contract ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contract_database(shared_server) -> str:
    return shared_server.new_database()


@FORKS
class TestSQLStore(
    StoreContract, LeasesContract, MarksContract, LedgerContract, DocumentsContract, ListingContract, UpkeepContract
):
    @pytest.fixture
    def url(self, shared_server, contract_database):
        """One database for all tests of the contract, because a new one takes 0.3 s."""
        with shared_server.connect(contract_database) as raw:
            for table in (
                "schema",
                "sessions",
                "ended_sessions",
                "used_once",
                "leases",
                "marks",
                "tokens",
                "documents",
            ):
                raw.execute(f"DROP TABLE IF EXISTS rolecall_{table}".encode())
        return shared_server.url_of(contract_database) + "?timeout=10&max_staleness=10"

    @pytest.fixture
    def store(self, url):
        return SQLStore(url)

    @pytest.fixture
    def other_store(self, url, connect):
        return connect(url)

    @pytest.fixture
    def broken_store(self, connect):
        return connect(f"postgresql://app@127.0.0.1:{free_port()}/app")


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_it_is_opened_by_its_url(url, scheme):
    with closing(open_store(url.replace("postgresql", scheme))) as store:
        store.add_session(RECORD)
        assert store.get_session(RECORD.session_id) == RECORD


def test_nothing_connects_when_a_store_is_made(raw, connect, url):
    store = connect(url)
    assert raw.execute(CONNECTED).fetchone() == (0,)
    store.get_session("1_abc")
    assert raw.execute(CONNECTED).fetchone() != (0,)


# -- URLs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://user:secret@host/db", "names MySQL, which cannot be a store; expected"),
        ("mariadb+mariadbconnector://user:secret@host/db", "names MariaDB"),
        ("oracle://user:secret@host/db", "names Oracle"),
        ("mssql+pyodbc://user:secret@host/db", "names SQL Server"),
        ("cockroachdb://user:secret@host/db", "names CockroachDB"),
        ("postgresql+asyncpg://user:secret@host/db", "names a driver for postgresql, which has one of its own"),
        ("postgresql://user:secret@host/db?timeout=0", "timeout='0'; expected a number from 0.05 to 10"),
        ("postgresql://user:secret@host/db?connections=1.5", "connections='1.5'"),
        ("postgresql://user:secret@host/db?timeuot=1", "unknown option 'timeuot'; did you mean timeout"),
        ("postgresql://user:secret@host/db?timeout=1&timeout=2", "an option twice"),
        ("postgresql://user:secret@host/db?connect_timeout=9", "connect_timeout, which the store sets itself"),
        ("postgresql://user:sec@ret@host/db", "an @ where none can be; in a user or password write @ / . as %40"),
        ("postgresql://user:sec/ret@host/db", "an @ where none can be"),
        ("postgresql://user:sec?ret@host/db", "an @ where none can be"),
        ("postgresql://user:sec?ret=1@host/db", "an @ where none can be"),
        ("postgresql://user:sec%ret@host/db", "cannot be read by libpq"),
        ("postgresql://user:secret@[host/db", "cannot be read by libpq"),
    ],
)
def test_a_wrong_url_is_refused_and_not_quoted(url, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        open_store(url)
    assert "sec" not in str(caught.value).replace("second", "")
    assert "host/db" not in str(caught.value)


def test_tls_and_hosts_are_for_libpq():
    parsed = SQLURL.parse("postgresql://user:se%40cret@a:1,b:2/db?sslmode=verify-full&sslrootcert=/ca.pem&timeout=1")
    assert parsed.parameters == {
        "user": "user",
        "password": "se@cret",
        "host": "a,b",
        "port": "1,2",
        "dbname": "db",
        "sslmode": "verify-full",
        "sslrootcert": "/ca.pem",
    }
    assert (parsed.timeout, parsed.max_staleness) == (1.0, 1.0)
    assert "se@cret" not in repr(parsed)


def test_options_for_libpq_may_have_spaces_and_plus_signs():
    parsed = SQLURL.parse("postgresql://host/db?options=-c%20search_path%3Dschool&password=a%20b%2Bc")
    assert (parsed.parameters["options"], parsed.parameters["password"]) == ("-c search_path=school", "a b+c")


def test_a_server_that_demands_tls_is_asked_for_it(url, connect):
    assert "SSL" in refusal(lambda: connect(url + "&sslmode=require").get_session("1_abc"))


# -- creating --------------------------------------------------------------------------------------


def test_a_second_session_of_an_id_is_refused_and_the_same_one_again_is_not(connect, url):
    store = connect(url)
    store.add_session(RECORD)
    store.add_session(RECORD)  # as after a lost answer
    message = refusal(lambda: store.add_session(replace(RECORD, created_at=5.0)))
    assert "another session of this id" in message
    assert RECORD.session_id not in message
    assert store.get_session(RECORD.session_id) == RECORD


def test_creations_that_wait_are_written_together(connect, url, raw):
    store = connect(url)
    store.add_session(RECORD)
    number = 3 * MOST
    # The first creation waits for the table, and the others for the first.
    with raw.transaction(), ThreadPoolExecutor(number) as pool:
        raw.execute("LOCK TABLE rolecall_sessions IN EXCLUSIVE MODE")
        made = [pool.submit(store.add_session, record(one)) for one in range(number)]
        creations = store._processes.here().creations
        assert soon(lambda: len(creations._queue) == number - 1)
        raw.execute("COMMIT")
        raw.execute("BEGIN")
        for future in made:
            future.result(PATIENCE)
    # Rows of one statement have one transaction id.
    assert raw.execute("SELECT count(DISTINCT xmin::text), count(*) FROM rolecall_sessions").fetchone() == (
        1 + 1 + 3,
        1 + number,
    )


def test_a_session_that_the_server_refuses_harms_no_other_one(connect, url):
    store = connect(url)
    rows = [("1_a", "{}", 1.5, None), ("1_" + os.urandom(9000).hex(), "{}", 1.5, "ada")]
    rows += [("1_b", "{}", 1.5, "ada"), ("1_a", "[]", 2.5, None)]
    failures = Creating(store._processes.here().connections).add(rows, time.monotonic() + 10)
    assert [failure is None for failure in failures] == [True, False, True, False]
    assert "index row" in str(failures[1])
    assert "another session" in str(failures[3])
    kept = store._processes.here().connections.fetch(b"SELECT session_id, properties FROM rolecall_sessions ORDER BY 1")
    assert kept == [("1_a", "{}"), ("1_b", "{}")]


# -- single-use ids ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(6), ids=["add", "get", "end", "use", "mark", "marks"])
def test_a_call_whose_answer_is_lost_is_sent_again(shared_server, database, connect, number):
    with proxy_to(shared_server.port) as proxy:
        store = connect(f"postgresql://app@127.0.0.1:{proxy.port}/{database}?timeout=10")
        changes = [
            lambda: store.add_session(record("lost")),
            lambda: store.get_session("1_lost"),
            lambda: store.end_session("1_lost", 7.5),
            lambda: store.use_once("1_lost", 10.0, 5.0),
            lambda: store.raise_mark("actor 1_lost", 7.5, inf),
            lambda: store.get_marks(["actor 1_lost"]),
        ]
        assert store.use_once("1_before", 10.0, 5.0) is True
        proxy.cuts_after = b"1_lost"
        answer = changes[number]()
        assert proxy.cut.is_set()
        assert answer == [None, None, None, True, 7.5, {}][number]  # the first use, though it was sent twice
        assert store.use_once("1_before", 10.0, 5.0) is False


def test_a_single_use_id_belongs_to_the_token_of_its_caller(connect, url):
    store = connect(url)
    store.get_session("1_none")
    fetch = store._processes.here().connections.fetch
    use = {"name": "a", "until": 10.0, "now": 5.0, "token": "of one caller"}
    assert fetch(USE, use) == fetch(USE, use) == [("a",)]
    assert fetch(USE, {**use, "token": "of another caller"}) == []


def test_few_expired_ids_are_deleted_with_each_use(connect, url, raw):
    store = connect(url)
    now, number = time.time(), 2 * EXPIRED + 10
    store.use_once("kept", now + 1000, now)
    raw.execute(
        "INSERT INTO rolecall_used_once SELECT 'old' || n, 5.0, 'token' FROM generate_series(1, %s) AS n", (number,)
    )
    left = []
    for name in "abc":
        assert store.use_once(name, now + 1000, now) is True
        left.append(raw.execute("SELECT count(*) FROM rolecall_used_once WHERE until = 5.0").fetchone())
    assert left == [(number - EXPIRED,), (number - 2 * EXPIRED,), (0,)]
    assert store.use_once("kept", now + 1000, now) is False


def test_a_fast_clock_deletes_no_id_that_is_not_over(connect, url):
    store = connect(url)
    now = time.time()
    assert store.use_once("a", now + 1000, now) is True
    assert store.use_once("b", now + 9000, now + 5000) is True
    assert store.use_once("a", now + 1000, now) is False


def test_an_expired_id_can_be_used_while_others_delete_it(connect, url, raw):
    store = connect(url)
    store.use_once("a", 10.0, 5.0)
    with raw.transaction():
        raw.execute("SELECT * FROM rolecall_used_once WHERE name = 'a' FOR UPDATE")
        assert store.use_once("b", 100.0, 20.0) is True  # does not wait for the row of a
    assert store.use_once("c", 100.0, 20.0) is True
    assert raw.execute("SELECT name FROM rolecall_used_once ORDER BY 1").fetchall() == [("b",), ("c",)]


# -- servers that die or freeze ----------------------------------------------------------------------


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(server, connect):
    store = connect(server.url + "?timeout=10")
    store.add_session(record("first"))
    acknowledged: dict[str, list[str]] = {"add": [], "end": [], "mark": [], "use": []}
    stop = threading.Event()

    def write(thread: int) -> None:
        for number in range(10**6):
            name = f"1_{thread}_{number}"
            with suppress(StoreUnavailable):
                store.add_session(replace(RECORD, session_id=name))
                acknowledged["add"].append(name)
                store.end_session(name, 7.5)
                acknowledged["end"].append(name)
                assert store.raise_mark(f"actor {name}", 7.5, inf) == 7.5
                acknowledged["mark"].append(f"actor {name}")
                assert store.use_once(name, 2e9, 5.0) is True
                acknowledged["use"].append(name)
            if stop.is_set():
                return

    def grown(names: list[str], number: int) -> bool:
        return len(names) > number

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, thread) for thread in range(4)]
        for _ in range(3):
            assert soon(partial(grown, acknowledged["use"], len(acknowledged["use"]) + 20))
            server.kill()
            server.start()
        stop.set()
        for future in writing:
            future.result(PATIENCE)
    with server.connect() as raw:
        tables = {"add": "sessions", "end": "ended_sessions", "mark": "marks", "use": "used_once"}
        for name, table in tables.items():
            kept = {row[0] for row in raw.execute(f"SELECT * FROM rolecall_{table}".encode())}
            assert set(acknowledged[name]) <= kept


def test_a_server_that_was_started_anew_is_noticed_by_no_caller(server, connect):
    store = connect(server.url + "?timeout=5")
    assert soon(lambda: not store.has_ended("1_abc"))
    store.add_session(RECORD)
    server.kill()
    assert "does not answer" in refusal(lambda: store.get_session(RECORD.session_id))
    server.start()
    assert store.get_session(RECORD.session_id) == RECORD
    store.end_session(RECORD.session_id, 7.5)
    assert soon(lambda: store.has_ended(RECORD.session_id))
    assert soon(lambda: not store.has_ended("1_open"))


def test_idle_connections_to_a_server_that_was_started_anew_are_replaced_at_once(server, connect):
    store = connect(server.url + "?timeout=10")
    assert soon(lambda: not store.has_ended("1_abc"))
    store.add_session(RECORD)
    server.kill()
    server.start()
    for call in calls(store):
        call()


def test_a_frozen_server_is_unavailable_in_time(server, connect):
    store = connect(server.url)
    assert soon(lambda: not store.has_ended("1_abc"))
    with ThreadPoolExecutor(4) as pool:  # so that there are several connections
        assert soon(lambda: list(pool.map(store.get_session, ["1_abc"] * 4)))
    with server.frozen():
        took = []
        for call in calls(store) * 2:
            began = time.monotonic()
            assert "does not answer" in refusal(call)
            took.append(time.monotonic() - began)
        assert min(took) < ANSWER
        assert max(took) < ANSWER + SLACK
        with ThreadPoolExecutor(16) as pool:
            began = time.monotonic()
            assert all(pool.map(lambda _: refusal(calls(store)[0]), range(16)))
            assert time.monotonic() - began < ANSWER + SLACK
        assert soon(lambda: "out of touch" in refusal(lambda: store.has_ended("1_abc")))
    assert soon(lambda: store.get_session("1_none") is None)
    assert soon(lambda: store.has_ended("1_none") is False)


def test_after_the_first_deadline_no_old_connection_is_used(server, connect):
    store = connect(server.url)
    connections = store._processes.here().connections
    with ThreadPoolExecutor(4) as pool:
        assert soon(lambda: list(pool.map(store.get_session, ["1_abc"] * 4)) and len(connections._idle) > 1)
    with server.frozen():
        refusal(lambda: store.get_session("1_abc"))
        assert connections._idle == []


def test_a_statement_that_waits_too_long_ends_and_its_connection_stays(connect, shared_server, database, raw):
    store = connect(shared_server.url_of(database))
    assert soon(lambda: store.get_session(RECORD.session_id) is None)
    (connection,) = store._processes.here().connections._idle
    with raw.transaction():
        raw.execute("LOCK TABLE rolecall_sessions IN EXCLUSIVE MODE")
        began = time.monotonic()
        refusal(lambda: store.add_session(RECORD))
        assert time.monotonic() - began < ANSWER + SLACK
    assert soon(lambda: store.add_session(RECORD) or True)
    assert store.get_session(RECORD.session_id) == RECORD
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    assert soon(lambda: raw.execute(waiting).fetchone() == (0,))
    del connection


def test_a_database_that_only_reads_is_unavailable_to_writes(connect, url, raw, database):
    store = connect(url)
    store.add_session(RECORD)
    raw.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on".encode())
    reader = connect(url)
    assert reader.get_session(RECORD.session_id) == RECORD
    assert "read-only" in refusal(lambda: reader.end_session(RECORD.session_id, 7.5))
    raw.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only".encode())
    reader.end_session(RECORD.session_id, 7.5)


def test_no_message_has_a_password_or_an_id(server, connect):
    url = f"postgresql://somebody:geheim@127.0.0.1:{server.port}/postgres"
    for call in calls(connect(url)):
        message = refusal(call)
        assert "geheim" not in message
        assert "1_" not in message


def test_a_role_without_synchronous_commit_commits_to_disk_all_the_same(connect, url, raw, database):
    raw.execute(f"ALTER DATABASE {database} SET synchronous_commit = off".encode())
    raw.execute(f"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'".encode())
    store = connect(url)
    store.add_session(RECORD)
    settings = b"SELECT current_setting('synchronous_commit'), current_setting('transaction_isolation')"
    assert store._processes.here().connections.fetch(settings) == [("on", "read committed")]


@FORKS
def test_nothing_acknowledged_is_lost_when_a_worker_is_killed(url, raw):
    def work(acknowledged: int) -> None:
        store = SQLStore(url)
        for number in range(10**6):
            name = f"{os.getpid()}_{number}"
            store.add_session(replace(RECORD, session_id=name))
            store.end_session(name, 7.5)
            store.raise_mark(name, 7.5, inf)
            assert store.use_once(name, 2e9, 5.0) is True
            os.write(acknowledged, f"{name}\n".encode())

    names: set[str] = set()
    for round_ in range(10):
        read, write = os.pipe()
        child = forked(partial(work, write))
        os.close(write)
        with os.fdopen(read) as pipe:
            names.add(pipe.readline().strip())
            time.sleep(0.003 * round_)  # so that each round ends elsewhere
            os.kill(child, signal.SIGKILL)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
            names.update(line.strip() for line in pipe if line.endswith("\n"))
    for table in ("sessions", "ended_sessions", "marks", "used_once"):
        assert names <= {row[0] for row in raw.execute(f"SELECT * FROM rolecall_{table}".encode())}


# -- the log -----------------------------------------------------------------------------------------


def test_what_ends_in_one_worker_is_used_in_no_other(connect, url):
    one, other = connect(url), connect(url)
    assert known(other, "1_0") is False
    for number in range(50):
        one.end_session(f"1_{number}", 7.5)
        assert known(one, f"1_{number}") is True
        assert soon(partial(other.has_ended, f"1_{number}"))


def test_an_end_is_announced(connect, url, log):
    """A follower that waits for news hears of an end at once, and of a creation not at all."""
    store = connect(url)
    _, position = log.snapshot()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(log.changes, position, PATIENCE)
        store.add_session(record("new"))
        store.use_once("a", 10.0, 5.0)
        assert not waiting.done()
        store.end_session("1_abc", 7.5)
        assert waiting.result(PATIENCE / 2)[0] == News(["1_abc"], [])


def test_ends_are_followed_without_announcements(connect, url, raw):
    """As behind a transaction pooler, where LISTEN does not pass."""
    store = connect(url)
    assert known(store, "1_abc") is False
    raw.execute("INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES ('1_abc', 7.5)")
    assert soon(lambda: store.has_ended("1_abc"))


def test_transactions_that_commit_late_are_not_missed(connect, url, shared_server, database):
    """A sequence, or the highest transaction id so far, would skip the first of the two."""
    store = connect(url)
    assert known(store, "1_late") is False
    insert = "INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES (%s, 7.5)"
    with (
        shared_server.connect(database) as foreign,
        shared_server.connect(database) as late,
        shared_server.connect(database) as early,
        foreign.transaction(),
    ):
        foreign.execute("SELECT pg_current_xact_id()")  # open all the time
        with late.transaction():
            late.execute(insert, ("1_late",))
            early.execute(insert, ("1_early",))
            assert soon(lambda: store.has_ended("1_early"))
            assert known(store, "1_late") is False
        assert soon(lambda: store.has_ended("1_late"))
        early.execute(insert, ("1_after",))
        assert soon(lambda: store.has_ended("1_after"))


def test_many_writers_end_sessions_and_every_follower_sees_all(connect, url):
    writers, followers = [connect(url) for _ in range(2)], [connect(url) for _ in range(2)]
    assert not any(known(follower, "1_x") for follower in followers)
    ids = [f"1_{number}" for number in range(300)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda one: writers[hash(one) % 2].end_session(one, 7.5), ids):
            pass
    for follower in followers:
        assert soon(partial(has_seen, follower, ids))


@pytest.fixture
def log(url, connect) -> Iterator[SQLLog]:
    store = connect(url)
    store.add_session(RECORD)
    log = SQLLog(store._processes.here().connections.open, 10.0)
    yield log
    log.close()


def test_a_changed_generation_is_a_gap(log, raw):
    _, position = log.snapshot()
    assert log.changes(position, 0.0) == (News([], []), position)
    raw.execute("UPDATE rolecall_schema SET generation = 'another'")
    with pytest.raises(Gap):
        log.changes(position, 0.0)


def test_transaction_ids_that_began_anew_are_a_gap(log):
    _, position = log.snapshot()
    with pytest.raises(Gap):
        log.changes(position._replace(snapshot=f"{position.xmin + 10**6}:{position.xmax + 10**6}:"), 0.0)
    with pytest.raises(Gap):
        log.changes(position._replace(epoch=position.epoch.replace("/", "/1", 1)), 0.0)


def test_a_restored_backup_is_noticed(server, connect):
    """Its transaction ids go back, so what ends afterwards has lower ones than what was read before."""
    store = connect(server.url + "?timeout=10")
    store.end_session("1_kept", 7.5)
    server.kill()
    backup = server.data.with_name("backup")
    shutil.copytree(server.data, backup)
    for path in (backup, *backup.rglob("*")):
        os.chown(path, server.data.stat().st_uid, server.data.stat().st_gid)
    server.start()
    for number in range(200):
        store.end_session(f"1_{number}", 7.5)
    assert soon(lambda: store.has_ended("1_199"))
    server.kill()
    shutil.rmtree(server.data)
    backup.rename(server.data)
    server.start()
    with server.connect() as raw:
        raw.execute("INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES ('1_after', 7.5)")
    assert soon(lambda: store.has_ended("1_after"))
    assert known(store, "1_199") is True  # what was acknowledged stays ended in this process


def test_a_follower_reads_everything_anew_after_a_gap(connect, url, raw):
    store = connect(url)
    assert known(store, "1_abc") is False
    # Rows of another cluster have its transaction ids: below what was read, or far beyond.
    with raw.transaction():
        raw.execute("UPDATE rolecall_schema SET generation = 'restored'")
        raw.execute("INSERT INTO rolecall_ended_sessions VALUES ('1_low', 7.5, '3'), ('1_high', 7.5, '9000000000')")
        raw.execute("INSERT INTO rolecall_marks VALUES ('actor low', 7.5, 'Infinity', '3')")
    assert soon(lambda: store.has_ended("1_low"))
    assert known(store, "1_high") is True
    assert soon(lambda: store.marks.value("actor", "low") == 7.5)


def test_rows_with_ids_of_another_cluster_are_not_read_each_time(log, raw):
    raw.execute("INSERT INTO rolecall_ended_sessions VALUES ('1_high', 7.5, '9000000000')")
    raw.execute("INSERT INTO rolecall_marks VALUES ('actor high', 7.5, 'Infinity', '9000000000')")
    news, position = log.snapshot()
    assert list(news.ended) == ["1_high"]
    assert list(news.marks) == [("actor high", 7.5)]
    assert log.changes(position, 0.0)[0] == News([], [])


def test_a_snapshot_of_several_pages_is_whole(log, raw):
    raw.execute("INSERT INTO rolecall_ended_sessions SELECT '1_' || n, 7.5 FROM generate_series(1, 25000) AS n")
    assert len(set(log.snapshot()[0].ended)) == 25000


@pytest.mark.parametrize("number", [9, 10, 11, 35])
def test_a_read_tells_all_that_came_before_it_began_in_pages(log, raw, monkeypatch, number):
    monkeypatch.setattr(sql_log, "PAGE", 10)
    _, position = log.snapshot()
    fetch, sizes = log._fetch, []

    def counting(query: bytes, values: Any) -> list[Any]:
        rows = fetch(query, values)
        sizes.append(len(rows))
        sizes.extend(len(value) for row in rows for value in row if isinstance(value, list))
        return rows

    monkeypatch.setattr(log, "_fetch", counting)
    with raw.transaction():
        raw.execute(
            "INSERT INTO rolecall_ended_sessions SELECT '1_' || n, 7.5 FROM generate_series(1, %s) AS n", (number,)
        )
        raw.execute(
            "INSERT INTO rolecall_marks SELECT 'actor ' || n, 7.5, 'Infinity' FROM generate_series(1, %s) AS n",
            (number // 2,),
        )
    news, position = log.changes(position, 0.0)
    assert sorted(news.ended) == sorted(f"1_{n}" for n in range(1, number + 1))
    assert sorted(news.marks) == sorted((f"actor {n}", 7.5) for n in range(1, number // 2 + 1))
    assert tuple(map(list, log.changes(position, 0.0)[0])) == ([], [])
    assert max(sizes) <= 10, "no answer grows with what was missed"


def test_what_was_read_is_not_read_again_while_another_transaction_is_open(log, raw, shared_server, database):
    insert = "INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES (%s, 7.5)"
    _, position = log.snapshot()
    with shared_server.connect(database) as other:
        with other.transaction():
            other.execute(insert, ("1_late",))
            raw.execute(insert, ("1_early",))
            news, position = log.changes(position, 0.0)
            assert news == News(["1_early"], [])
            news, position = log.changes(position, 0.0)
            assert news == News([], [])
        news, position = log.changes(position, 0.0)
        assert news == News(["1_late"], [])
        assert log.changes(position, 0.0)[0] == News([], [])


# -- other servers and damage --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("CockroachDB CCL v24.1.0 (x86_64-pc-linux-gnu)", 130000),
        ("PostgreSQL 11.2-YB-2.20.0.0-b0 on x86_64-pc-linux-gnu", 110002),
        ("PostgreSQL 15.2-YB-2.25.0.0-b0 on x86_64-pc-linux-gnu", 150002),
        ("PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC, Redshift 1.0.1", 80002),
        ("PostgreSQL 12.20 on x86_64-pc-linux-gnu", 120020),
    ],
)
def test_a_server_without_the_transaction_ids_is_refused_by_name(name, number):
    message = refusal(lambda: check_version(name, number))
    assert f"the server is {' '.join(name.split()[:2])}" in message
    assert "PostgreSQL 13 or later" in message


def test_a_damaged_row_is_unavailable(connect, url, raw):
    store = connect(url)
    store.add_session(RECORD)
    raw.execute("UPDATE rolecall_sessions SET properties = '{}}'")
    assert "cannot be read" in refusal(lambda: store.get_session(RECORD.session_id))


def test_tables_that_vanish_are_unavailable_and_not_made_anew(connect, url, raw):
    store = connect(url)
    store.add_session(RECORD)
    raw.execute("DROP TABLE rolecall_sessions")
    assert "does not exist" in refusal(lambda: store.add_session(record("new")))


# -- forks and threads -------------------------------------------------------------------------------


@FORKS
def test_a_forked_child_has_connections_of_its_own(connect, url):
    store = connect(url)
    store.add_session(RECORD)
    assert known(store, "1_child") is False

    def work() -> list[int]:
        assert known(store, "1_parent") is False
        store.end_session("1_child", 7.5)
        pids = [store._processes.here().connections.fetch(b"SELECT pg_backend_pid()")[0][0] for _ in range(3)]
        store.close()
        return pids

    children = [in_child(work) for _ in range(3)]
    mine = store._processes.here().connections.fetch(b"SELECT pg_backend_pid()")[0][0]
    assert len({mine, *(pid for pids in children for pid in pids)}) == 4
    assert soon(lambda: store.has_ended("1_child"))
    store.end_session("1_parent", 7.5)
    assert store.get_session(RECORD.session_id) == RECORD


@FORKS
def test_a_fork_while_threads_write_leaves_both_sound(connect, url):
    store = connect(url)
    store.add_session(RECORD)
    stop = threading.Event()

    def write(thread: int) -> int:
        number = 0
        while not stop.is_set():
            store.add_session(record(f"{thread}_{number}"))
            number += 1
        return number

    def work() -> None:
        store.add_session(record(f"child {os.getpid()}"))
        assert store.get_session(RECORD.session_id) == RECORD

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, thread) for thread in range(4)]
        for _ in range(10):
            child = forked(work)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        numbers = [future.result(PATIENCE) for future in writing]
    for thread, number in enumerate(numbers):
        assert store.get_session(f"1_{thread}_{number - 1}") is not None


def test_more_threads_than_connections_take_their_turn(connect, url):
    store = connect(url + "&connections=2")
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(store.get_session, ["1_none"] * 200)) == [None] * 200
    assert len(store._processes.here().connections._idle) <= 2


def test_a_closed_store_holds_no_connection(url, raw):
    store = SQLStore(url)
    store.add_session(RECORD)
    assert known(store, "1_abc") is False
    store.close()
    assert "closed" in refusal(lambda: store.add_session(record("new")))
    assert soon(lambda: raw.execute(CONNECTED).fetchone() == (0,))


def test_an_abandoned_store_holds_no_connection(url, raw):
    store = SQLStore(url)
    store.add_session(RECORD)
    assert known(store, "1_abc") is False
    del store
    assert soon(lambda: raw.execute(CONNECTED).fetchone() == (0,))


def test_a_call_that_is_interrupted_leaves_no_answer_to_the_next(connect, url, raw):
    """As by gevent.Timeout, or by a signal's handler."""
    store = connect(url)
    store.add_session(RECORD)

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with raw.transaction():
            raw.execute("LOCK TABLE rolecall_sessions IN ACCESS EXCLUSIVE MODE")
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Interrupted):
                store.get_session("1_none")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert store.get_session(RECORD.session_id) == RECORD


@pytest.mark.process
def test_it_works_under_gevent(shared_server, database):
    """Greenlets that wait for the server hold up no other one."""
    pytest.importorskip("gevent")
    run = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT, shared_server.url_of(database)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""


UNDER_GEVENT = """
from gevent import monkey; monkey.patch_all()
import sys, time, gevent
from rolecall.errors import StoreUnavailable
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores import open_store

store = open_store(sys.argv[1] + "?timeout=10&max_staleness=10")
other = open_store(sys.argv[1] + "?timeout=10&max_staleness=10")
record = lambda one: SessionRecord(f"1_{one}", SessionProperties(), 5.0)
store.add_session(record("first"))
assert not store.ended_among(["1_first"]) and not other.ended_among(["1_first"])

# Greenlets beside those that wait for a lock in the server get their turn.
connections = store._processes.here().connections
sleeps = [gevent.spawn(connections.fetch, b"SELECT pg_sleep(0.5)") for _ in range(4)]
turns = 0
while not all(sleep.ready() for sleep in sleeps):
    gevent.sleep(0.001)
    turns += 1
assert turns > 20, turns

gevent.joinall([gevent.spawn(store.add_session, record(one)) for one in range(100)], raise_error=True)
assert all(store.get_session(f"1_{one}") for one in range(100))
store.end_session("1_first", 7.5)
assert store.ended_among(["1_first", "1_other"]) == other.ended_among(["1_first", "1_other"]) == {"1_first"}
deadline = time.monotonic() + 30
while not other.has_ended("1_first"):
    assert time.monotonic() < deadline
    gevent.sleep(0.01)

# A call that gevent gives up leaves no answer to the next one.
with gevent.Timeout(0.1, False):
    connections.fetch(b"SELECT pg_sleep(5)")
assert store.get_session("1_1") == record(1)
store.close(), other.close()
"""
