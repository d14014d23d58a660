"""What policies remember: for its owner alone, in a file that is still there, across threads and forks."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from rolecall.errors import ConfigurationError, PolicyFault, StoreUnavailable
from rolecall.policies import MaxLiveTokens, OwnedSessions
from rolecall.policies.database import Database
from rolecall.stores.sqlite import SQLiteStore
from rolecall.stores.sqlite_file import LOOK_INTERVAL

from ...forking import in_child, needs_fork

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

SCHEMA = "CREATE TABLE IF NOT EXISTS notes (text TEXT PRIMARY KEY); CREATE INDEX IF NOT EXISTS other ON notes (text)"


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "policy.db"


def note(database: Database, *texts: object) -> None:
    with database.transaction() as connection:
        for text in texts:
            connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))


def notes(database: Database) -> list[str]:
    with database.transaction() as connection:
        return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY text")]


@pytest.mark.parametrize(
    "make", [lambda file: OwnedSessions(file=file), lambda file: MaxLiveTokens(per_session=1, file=file)]
)
@pytest.mark.parametrize("shared", [False, True], ids=["a file of its own", "the file of the store"])
def test_the_files_are_for_their_owner_alone(asker, tmp_path, make, shared):
    before = os.umask(0o022)
    try:
        file = tmp_path / "app.db"
        ask = asker(make(file), **({"store": f"sqlite:///{file}"} if shared else {}))
        ask.token(ask.session())
        modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert "app.db" in modes
    assert set(modes.values()) == {0o600}


def test_a_transaction_that_fails_leaves_nothing_behind(path):
    for database in (Database(path, SCHEMA), Database(None, SCHEMA)):
        note(database, "kept")
        for bad in ("kept", "\ud800", 2**70):
            with pytest.raises(StoreUnavailable):
                note(database, "undone", bad)
        assert notes(database) == ["kept"]


@pytest.mark.parametrize(
    "take_away", [Path.unlink, lambda path: path.rename(path.with_name("moved.db")), lambda path: replace(path)]
)
def test_a_file_that_is_taken_away_is_unavailable_at_once(path, take_away):
    database = Database(path, SCHEMA)
    note(database, "kept")
    take_away(path)
    with pytest.raises(StoreUnavailable, match=r"deleted or replaced.*Restart"):
        note(database, "lost")


def replace(path: Path) -> None:
    note(Database(path.with_name("other.db"), SCHEMA), "other")
    path.with_name("other.db").replace(path)


def test_a_policy_whose_file_is_gone_refuses_and_makes_no_other(asker, outside, path):
    ask = asker(OwnedSessions(file=path), allow_all=True)
    session_id = ask.session(outside("ada"))
    path.unlink()
    time.sleep(2 * LOOK_INTERVAL)  # for as long as reads may rely on the last look
    with pytest.raises(PolicyFault):
        ask.token(session_id, "moderator", outside("ada"))
    assert not path.exists()


def test_a_store_may_switch_the_file_to_its_log_under_a_policy(path):
    database = Database(path, SCHEMA)
    note(database, "before")
    with closing(SQLiteStore(path)) as store:
        store.end_session("1_a", 7.5)
        note(database, "meanwhile")
        assert store.has_ended("1_a")
    note(database, "after")
    assert notes(database) == ["after", "before", "meanwhile"]


@needs_fork
def test_a_forked_child_writes_to_the_same_file(path):
    database = Database(path, SCHEMA)
    note(database, "parent")
    in_child(lambda: note(database, "child"))
    assert notes(database) == ["child", "parent"]


@needs_fork
def test_a_forked_child_remembers_nothing_of_its_parents_memory():
    database = Database(None, SCHEMA)
    note(database, "parent")

    def work() -> None:
        assert notes(database) == []
        note(database, "child")
        assert notes(database) == ["child"]

    in_child(work)
    assert notes(database) == ["parent"]


@needs_fork
@pytest.mark.parametrize("kept", ["file", "memory"])
def test_no_fork_falls_into_a_transaction_of_another_thread(path, kept):
    database = Database(path if kept == "file" else None, SCHEMA)
    inside, forking = threading.Event(), threading.Event()

    def hold() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO notes (text) VALUES ('thread')")
            inside.set()
            forking.wait(60)
            time.sleep(0.1)  # the fork begins: however slowly, it has to wait

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(60)
    forking.set()
    in_child(lambda: note(database, "child"))
    thread.join()
    assert notes(database) == (["child", "thread"] if kept == "file" else ["thread"])


def test_a_transaction_that_waits_too_long_is_unavailable(path, monkeypatch):
    monkeypatch.setattr("rolecall.stores.sqlite_file.BUSY_TIMEOUT", 0.05)
    database = Database(path, SCHEMA)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            note(database, "late")
        other.execute("ROLLBACK")
    note(database, "kept")
    assert notes(database) == ["kept"]


def test_a_folder_that_is_not_there_stops_start_up(tmp_path):
    with pytest.raises(ConfigurationError, match="its folder must exist"):
        Database(tmp_path / "missing" / "policy.db", SCHEMA)
