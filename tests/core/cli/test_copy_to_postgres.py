"""A move from SQLite to PostgreSQL that is killed ten times at random points and resumed is complete."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ...conftest import needed
from ...postgres_servers import PROGRAMS, PostgresProcess
from .killed_copies import content, copy_with_kills, fill

pytestmark = pytest.mark.server


@pytest.fixture
def server() -> Iterator[PostgresProcess]:
    needed(PROGRAMS, "the server of PostgreSQL (initdb and postgres)")
    server = PostgresProcess()
    try:
        yield server.start()
    finally:
        server.remove()


def test_from_sqlite_to_postgresql(server, tmp_path):
    source = f"sqlite:///{tmp_path}/source.db"
    target = server.url_of(server.new_database()) + "?timeout=10"  # the machine may be busy
    fill(source)
    end = copy_with_kills(source, target, tmp_path / "copy.json", seed=2)
    assert (end.returncode, b"continuing after" in end.stderr) == (0, True), end
    assert content(target) == content(source)
