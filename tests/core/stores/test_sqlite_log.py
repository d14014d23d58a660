"""The write-ahead log of SQLite when the disk does not take it: nothing is acknowledged that may be lost."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rolecall.errors import StoreUnavailable
from rolecall.stores.sqlite import SQLiteStore
from rolecall.stores.sqlite_log import WriteAheadLog, _identity_of


class Disk:
    """The disk as ``fdatasync`` shows it: sound, or failing until it is mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = False
        self.syncs = 0
        self._sync = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, descriptor: int) -> None:
        self.syncs += 1
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._sync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rolecall.db"


@pytest.fixture
def store(path: Path, disk: Disk) -> Any:
    with closing(SQLiteStore(path)) as store:
        store.end_session("1_before", 5.0)
        yield store


def test_a_change_that_the_disk_does_not_take_is_not_acknowledged(store, disk):
    disk.fails = True
    with pytest.raises(StoreUnavailable, match="whether the change was made is unknown"):
        store.end_session("1_a", 6.0)


def test_after_a_failure_the_whole_log_goes_into_the_database_first(store, disk, path):
    disk.fails = True
    with pytest.raises(StoreUnavailable, match="does not take the SQLite log"):
        store.end_session("1_a", 6.0)
    disk.fails, disk.syncs = False, 0
    store.end_session("1_b", 7.0)
    assert Path(f"{path}-wal").stat().st_size == 0
    assert disk.syncs == 0
    store.end_session("1_c", 8.0)
    assert disk.syncs > 0
    assert [store.has_ended(name) for name in ("1_before", "1_b", "1_c")] == [True] * 3


def test_nothing_is_acknowledged_while_others_keep_the_damaged_log_in_use(store, disk, path):
    disk.fails = True
    with pytest.raises(StoreUnavailable):
        store.end_session("1_a", 6.0)
    disk.fails = False
    with store._writer.reading() as raw:
        raw.execute("PRAGMA busy_timeout = 0")  # not for ten seconds
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM rolecall_ended_sessions").fetchone()
        with pytest.raises(StoreUnavailable, match="others use it"):
            store.end_session("1_b", 7.0)
    store.end_session("1_c", 8.0)


def test_a_log_that_was_replaced_is_not_taken_for_the_one_that_was_written(tmp_path, path):
    with closing(SQLiteStore(path)) as store:
        store.end_session("1_a", 5.0)
        log = WriteAheadLog(f"{path}-wal", store._writer)
        log.sync()
        other = tmp_path / "other"
        other.write_bytes(b"another log")
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="it was replaced"):
                WriteAheadLog(str(other), store._writer).sync()
        log.close()
        log.close()
        log.sync()  # opens it again


def test_a_descriptor_that_somebody_closed_is_opened_again(path):
    with closing(SQLiteStore(path)) as store:
        store.end_session("1_a", 5.0)
        log = WriteAheadLog(f"{path}-wal", store._writer)
        log.sync()
        assert log._descriptor is not None
        os.close(log._descriptor)  # as daemons close all files
        assert _identity_of(log._descriptor) is None
        log.sync()
        assert _identity_of(log._descriptor) is not None
