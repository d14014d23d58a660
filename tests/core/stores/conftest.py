"""What the tests of the stores share: PostgreSQL's servers, databases and stores; and how SQLite's log is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from rolecall.stores import sqlite_ended
from rolecall.stores.sql import SQLStore

from ...conftest import needed
from ...postgres_servers import PROGRAMS, PostgresProcess


def read_pages_of(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have SQLite's log and tables read so many rows at a time, one page in each call."""
    monkeypatch.setattr(sqlite_ended, "PAGE", rows)
    monkeypatch.setattr(sqlite_ended, "LOG_PAGE", rows)
    monkeypatch.setattr(sqlite_ended, "PAUSE", 0.0)


@pytest.fixture(scope="session")
def shared_server() -> Iterator[PostgresProcess]:
    """A server for tests that leave it as it was, but for databases of their own."""
    needed(PROGRAMS, "the server of PostgreSQL (initdb and postgres)")
    server = PostgresProcess()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def server() -> Iterator[PostgresProcess]:
    """A server for a test that kills or freezes it."""
    needed(PROGRAMS, "the server of PostgreSQL (initdb and postgres)")
    server = PostgresProcess()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def database(shared_server) -> str:
    """The name of an empty database."""
    return shared_server.new_database()


@pytest.fixture
def url(shared_server, database) -> str:
    """A store's URL. Calls may take long, because the machine may be busy."""
    return shared_server.url_of(database) + "?timeout=10&max_staleness=10"


@pytest.fixture
def raw(shared_server, database) -> Iterator[psycopg.Connection]:
    with shared_server.connect(database) as raw:
        yield raw


@pytest.fixture
def connect() -> Iterator[Callable[[str], SQLStore]]:
    """Makes stores, and closes them after the test."""
    stores: list[SQLStore] = []

    def connect(url: str) -> SQLStore:
        stores.append(SQLStore(url))
        return stores[-1]

    yield connect
    for store in stores:
        store.close()
