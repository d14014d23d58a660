"""The schema of the PostgreSQL store: migrations that are killed, workers of earlier versions, and large tables."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from math import inf
from typing import Any

import pytest

from rolecall.errors import StoreUnavailable
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores import sql_schema
from rolecall.stores.listing import Page
from rolecall.stores.sql import SQLStore
from rolecall.stores.sql_connections import BoundedConnection
from rolecall.stores.sql_listing import listing
from rolecall.stores.sql_schema import INDEXES, MIGRATIONS, missing_indexes, prepare

from ...forking import forked
from ...waiting import PATIENCE, refusal, soon

pytestmark = pytest.mark.server

RECORD = SessionRecord("1_abc", SessionProperties(), 1_795_186_800.125, created_by="ada")
VERSIONS = list(range(1, len(MIGRATIONS) + 1))


def record(number: object) -> SessionRecord:
    return SessionRecord(f"1_{number}", SessionProperties(), 1_795_186_800.125)


@pytest.fixture
def bounded(shared_server, database) -> Iterator[BoundedConnection]:
    with closing(BoundedConnection.connect(shared_server.url_of(database), autocommit=True)) as connection:
        yield connection


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_many_processes_migrate_at_once(url, raw):
    start = multiprocessing.get_context("fork").Barrier(8)

    def begin(number: int) -> None:
        start.wait(PATIENCE)
        with closing(SQLStore(url)) as store:
            store.add_session(record(number))

    children = [forked(partial(begin, number)) for number in range(8)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    assert raw.execute("SELECT count(*) FROM rolecall_sessions").fetchone() == (8,)
    assert raw.execute("SELECT array_agg(version) FROM rolecall_schema").fetchone() == (VERSIONS,)


def test_migrating_tells_the_versions(connect, url):
    store = connect(url)
    assert store.migrate() == (0, len(MIGRATIONS))
    assert store.migrate() == (len(MIGRATIONS), len(MIGRATIONS))


def test_a_migration_that_is_killed_at_any_statement_resumes(shared_server, database, raw):
    for after in range(90):
        raw.execute(f"CREATE SCHEMA try{after}".encode())
        url = f"{shared_server.url_of(database)}?options=-csearch_path%3Dtry{after}%20-csynchronous_commit%3Doff"
        with Stopping.connect(url, autocommit=True) as stopping:
            stopping.left = after
            is_whole = True
            try:
                prepare(stopping)
            except Stopped:
                is_whole = False
        with BoundedConnection.connect(url, autocommit=True) as another:
            prepare(another)
            assert another.fetch(b"SELECT array_agg(version) FROM rolecall_schema") == [(VERSIONS,)]
            assert missing_indexes(another) == []
            another.execute(
                "SELECT created_by, has_record, value FROM rolecall_sessions, rolecall_ended_sessions, rolecall_marks, "
                "rolecall_used_once, rolecall_leases, rolecall_tokens, rolecall_documents"
            )
        if is_whole:
            assert after > 20
            return
    pytest.fail("the migration never came to its end")


class Stopped(Exception):
    pass


class Stopping(BoundedConnection):
    """Dies before one of its statements, without another word to the server."""

    left = 10**6

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        if self.left == 0:
            self.pgconn.finish()
            raise Stopped
        self.left -= 1
        return super().execute(*args, **kwargs)


def test_workers_of_an_earlier_version_run_beside_a_later_schema(connect, url, raw):
    connect(url).add_session(RECORD)
    raw.execute("ALTER TABLE rolecall_sessions ADD COLUMN further text")
    raw.execute("INSERT INTO rolecall_schema (version) VALUES (%s)", (len(MIGRATIONS) + 1,))
    store = connect(url)
    assert store.get_session(RECORD.session_id) == RECORD
    store.add_session(record("new"))


# -- from the first version --------------------------------------------------------------------------


@pytest.fixture
def earlier(bounded, request) -> Callable[[str], None]:
    """A database of the first version, or of a given one, and what its workers write there: a session, its end and a
    single-use id.
    """
    sql_schema.migrate(bounded, MIGRATIONS[: getattr(request, "param", 1)])

    def write(name: str) -> None:
        bounded.execute(
            "INSERT INTO rolecall_sessions (session_id, properties, created_at) VALUES (%s, %s, 1.5)",
            (name, SessionProperties().as_json()),
        )
        bounded.execute("INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES (%s, 2.5)", (name,))
        bounded.execute("INSERT INTO rolecall_used_once (name, until, token) VALUES (%s, 2e9, 'token')", (name,))

    write("1_before")
    return write


@pytest.mark.parametrize("earlier", VERSIONS[:-1], indirect=True)
def test_workers_of_an_earlier_version_run_beside_this_one(connect, url, earlier):
    store = connect(url)
    store.add_session(RECORD)
    earlier("1_beside")
    found = store.list_sessions(Page(10))
    assert [one.session_id for one in found] == ["1_abc", "1_beside", "1_before"]
    assert [one.created_by for one in found] == ["ada", None, None]
    assert soon(lambda: store.has_ended("1_beside"))
    assert store.use_once("1_beside", 2e9, 5.0) is False
    assert store.raise_mark("reset 1_beside", 5.0, inf) == 5.0
    earlier("1_after")
    assert soon(lambda: store.has_ended("1_after"))
    assert store.get_marks(["reset 1_beside"]) == {"reset 1_beside": 5.0}


@pytest.mark.parametrize("earlier", [2], indirect=True)
def test_the_table_of_marks_is_made_beside_a_long_transaction(connect, url, earlier, raw):
    with raw.transaction():
        raw.execute("SELECT * FROM rolecall_sessions, rolecall_ended_sessions, rolecall_leases")  # as a backup does
        store = connect(url)
        assert store.raise_mark("reset 1_before", 5.0, inf) == 5.0
        assert soon(lambda: store.has_ended("1_before"))


def test_a_long_transaction_holds_the_migration_up_and_nobody_else(connect, url, earlier, raw):
    store = connect(url)
    with raw.transaction(), ThreadPoolExecutor(1) as pool:
        raw.execute("SELECT * FROM rolecall_sessions")  # as a backup does
        creating = pool.submit(lambda: soon(lambda: store.add_session(RECORD) is None))
        waited = []
        for number in range(8):
            began = time.monotonic()
            earlier(f"1_{number}")
            waited.append(time.monotonic() - began)
            time.sleep(0.1)
        assert not creating.done()
        assert sorted(waited)[4] < sql_schema.PATIENCE + 1
        raw.execute("COMMIT")
        raw.execute("BEGIN")
        assert creating.result(PATIENCE)
    assert store.get_session(RECORD.session_id) == RECORD


def test_a_migration_that_cannot_begin_says_why(bounded, earlier, raw):
    with raw.transaction():
        raw.execute("SELECT * FROM rolecall_sessions")
        bounded.deadline = time.monotonic() + 0.5
        assert "a long transaction" in refusal(lambda: sql_schema.migrate(bounded))


def test_indexes_of_large_tables_are_made_by_migrating(connect, url, earlier, bounded, monkeypatch, caplog):
    monkeypatch.setattr(sql_schema, "SMALL", 0)
    store = connect(url)
    store.add_session(RECORD)
    assert "run rolecall store migrate" in caplog.text
    assert len(store.list_sessions(Page(10))) == 2
    missing = [index.name for index, _ in missing_indexes(bounded)]
    of_sessions = [f"rolecall_sessions_{name}" for name in ("created", "open", "ended")]
    of_creators = [f"rolecall_sessions_creator_{state}" for state in ("open", "ended")]
    assert missing == [*of_sessions, "rolecall_ended_sessions_over", *of_creators]
    assert [name for name in missing if any(name in finding.found for finding in store.examine())] == missing
    assert store.migrate() == (len(MIGRATIONS), len(MIGRATIONS))
    assert missing_indexes(bounded) == []


def test_an_index_that_others_replace_is_dropped_by_migrating(connect, url, bounded, raw):
    there = "SELECT to_regclass('rolecall_sessions_creator') IS NOT NULL"
    sql_schema.migrate(bounded, MIGRATIONS[:5])
    raw.execute("CREATE INDEX rolecall_sessions_creator ON rolecall_sessions (left(created_by, 200), created_at)")
    with raw.transaction():
        raw.execute("SELECT * FROM rolecall_sessions")  # as a backup does
        store = connect(url)
        store.add_session(RECORD)
        assert store.list_sessions(Page(10, created_by="ada")) == [RECORD]
    assert raw.execute(there).fetchone() == (True,)
    assert "rolecall_sessions_creator is there still" in "".join(finding.found for finding in store.examine())
    store.migrate()
    assert raw.execute(there).fetchone() == (False,)
    assert missing_indexes(bounded) == []


def test_an_index_whose_making_was_killed_is_made_anew(connect, url, shared_server, database, bounded):
    store = connect(url)
    store.add_session(RECORD)
    bounded.execute("DROP INDEX rolecall_sessions_created")
    making = "FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND datname = current_database()"
    with shared_server.connect(database) as writer, ThreadPoolExecutor(2) as pool:
        with writer.transaction():
            writer.execute("UPDATE rolecall_sessions SET properties = properties")
            killed, another = pool.submit(store.migrate), pool.submit(connect(url).migrate)  # the index waits for this
            assert soon(lambda: [is_there for _, is_there in missing_indexes(bounded)] == [True])  # not usable yet
            assert soon(lambda: bounded.execute(f"SELECT pg_terminate_backend(pid) {making}".encode()).fetchall())
            assert soon(lambda: killed.done() or another.done())
            assert [is_there for _, is_there in missing_indexes(bounded)] == [True]
        failures = [one.exception(PATIENCE) for one in (killed, another)]
    assert sorted(map(type, failures), key=str) == [type(None), StoreUnavailable]
    assert missing_indexes(bounded) == []


def test_every_index_is_known_to_the_server(connect, url, raw):
    connect(url).add_session(RECORD)
    made = raw.execute(
        "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'rolecall%' AND indexname NOT LIKE '%pkey'"
    )
    assert {name for (name,) in made} == {index.name for index in INDEXES}


def test_a_role_that_may_not_migrate_is_told(connect, url, earlier, raw):
    raw.execute("CREATE ROLE reader LOGIN")
    raw.execute("GRANT CREATE ON SCHEMA public TO reader")
    raw.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO reader")
    store = connect(url.replace("app@", "reader@"))
    assert "must be owner" in refusal(lambda: store.migrate())


@pytest.mark.parametrize(
    ("page", "index"),
    [
        (Page(10), "rolecall_sessions_created"),
        (Page(10, "open"), "rolecall_sessions_open"),
        (Page(10, "ended", after=(5.0, "1_a")), "rolecall_sessions_ended"),
        (Page(10, "open", "ada"), "rolecall_sessions_creator_open"),
        (Page(10, "ended", "ada", (5.0, "1_a")), "rolecall_sessions_creator_ended"),
        (Page(10, created_by="ada"), "rolecall_sessions_creator_open"),
        (Page(10, created_by="ada"), "rolecall_sessions_creator_ended"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_page_is_read_from_its_own_index(connect, url, raw, page, index):
    connect(url).add_session(RECORD)
    statement, values = listing(page)
    with raw.transaction():
        raw.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
        plan = "\n".join(line for (line,) in raw.execute(b"EXPLAIN " + statement, values))
    assert f"Backward using {index} on rolecall_sessions" in plan


def test_ends_by_workers_of_the_first_version_are_listed(connect, url, raw):
    store = connect(url)
    store.add_session(RECORD)
    with raw.transaction():
        raw.execute("INSERT INTO rolecall_ended_sessions (session_id, ended_at) VALUES (%s, 7.5)", (RECORD.session_id,))
    assert store.list_sessions(Page(10, "open")) == []
    assert [record.ended_at for record in store.list_sessions(Page(10, "ended"))] == [7.5]
