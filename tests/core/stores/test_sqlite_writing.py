"""Writes to SQLite: together, in order, in time, and acknowledged only when the disk has them."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rolecall.errors import ConfigurationError, StoreUnavailable
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores.sqlite import SQLiteStore
from rolecall.stores.sqlite_lock import LockFile

from ...forking import forked, in_child, needs_fork
from ...open_files import needs_proc, open_files

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROPERTIES = SessionProperties()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def store(path):
    with closing(SQLiteStore(path)) as store:
        yield store


def record(name: object) -> SessionRecord:
    return SessionRecord(f"1_{name}", PROPERTIES, 1.0)


def until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.002)


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute(query).fetchall()


@contextmanager
def queued(store: SQLiteStore, path: Path, *writes) -> Iterator[list[Any]]:
    """Have writes wait behind another worker, each on a thread; they are done at the end of the block."""
    lock = LockFile(str(path))
    with ThreadPoolExecutor(len(writes)) as pool, lock.held():
        waiting = []
        for write in writes:
            waiting.append(pool.submit(write))
            until(lambda: len(store._queue._waiting) == len(waiting))
        yield waiting
    lock.close()


# -- together --------------------------------------------------------------------------------------


def test_changes_that_wait_are_written_in_one_transaction(store, path):
    store.add_session(record("first"))
    statements: list[str] = []
    cursor: Any = store._writer._cursor
    cursor.connection.set_trace_callback(statements.append)
    with queued(store, path, *(lambda name=name: store.add_session(record(name)) for name in range(20))) as waiting:
        pass
    assert [one.result() for one in waiting] == [None] * 20
    assert statements.count("COMMIT") == 1
    assert all(store.get_session(f"1_{name}") == record(name) for name in range(20))


def test_changes_are_written_in_the_order_in_which_they_came(store, path):
    with queued(store, path, *(lambda name=name: store.end_session(f"1_{name}", 1.0) for name in (3, 1, 2))):
        pass
    assert rows(path, "SELECT id FROM rolecall_changes ORDER BY sequence")[1:] == [("1_3",), ("1_1",), ("1_2",)]


def test_a_change_that_fails_fails_alone(store, path):
    store.add_session(record("there"))
    writes = [
        lambda: store.add_session(record("before")),
        lambda: store.add_session(record("there")),
        lambda: store.end_session("1_\ud800", 7.5),
        lambda: store.use_once("after", 10.0, 5.0),
    ]
    with queued(store, path, *writes) as (before, there, awkward, after):
        pass
    assert before.result() is None
    assert after.result() is True
    for refused in (there, awkward):
        with pytest.raises(StoreUnavailable):
            refused.result()
    assert store.get_session("1_before") == record("before")


def test_one_of_the_waiting_uses_of_an_id_is_the_first(store, path):
    with queued(store, path, *[lambda: store.use_once("a", 10.0, 5.0)] * 5) as uses:
        pass
    assert [use.result() for use in uses] == [True, False, False, False, False]


def test_a_use_deletes_a_few_of_the_ids_that_are_over(store, path):
    with store._writer.transaction() as raw:
        raw.executemany("INSERT INTO rolecall_used_once VALUES (?, 1.0)", ((f"old {number}",) for number in range(120)))
    assert store.use_once("old 119", 10.0, 5.0) is True, "what is over may come again"
    assert store.use_once("old 119", 10.0, 5.0) is False
    assert store.use_once("new", 10.0, 5.0) is True
    assert rows(path, "SELECT count(*) FROM rolecall_used_once WHERE until < 5") == [(0,)]
    with store._writer.transaction() as raw:
        raw.executemany("INSERT INTO rolecall_used_once VALUES (?, 1.0)", ((f"old {number}",) for number in range(118)))
    assert store.use_once("newer", 10.0, 5.0) is True
    assert rows(path, "SELECT count(*) FROM rolecall_used_once WHERE until < 5") == [(68,)]


def test_a_thread_that_has_nothing_to_write_ends_and_another_starts(store):
    for name in range(2):
        store.add_session(record(name))
        assert store._queue._has_thread
        until(lambda: not store._queue._has_thread)
    assert store.get_session("1_1") == record(1)


def test_where_no_thread_starts_the_caller_writes_itself(store, monkeypatch):
    """As at the end of a process."""

    def cannot_start(*_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr("rolecall.stores.sqlite_writing.start_native_thread", cannot_start)
    for name in range(3):
        store.add_session(record(name))
        assert store.get_session(f"1_{name}") == record(name)
    with pytest.raises(StoreUnavailable):
        store.add_session(record(0))


@pytest.mark.process
@needs_fork
@pytest.mark.parametrize("closes", ["a fork", "the end of the store"])
def test_no_connection_is_closed_between_a_commit_and_its_sync(closes, store, monkeypatch):
    # The last connection to be closed deletes the log.
    committed, goes_on, sync = threading.Event(), threading.Event(), store._queue._log.sync

    def sync_later() -> None:
        committed.set()
        assert goes_on.wait(20)
        sync()

    monkeypatch.setattr(store._queue._log, "sync", sync_later)
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(store.end_session, "1_a", 7.5)
        assert committed.wait(20)
        closing_it = pool.submit(partial(in_child, int) if closes == "a fork" else store.close)
        with suppress(TimeoutError):
            closing_it.result(0.2)  # it would be enough, if nothing held it up
        goes_on.set()
        writing.result()
        closing_it.result()


@needs_proc
def test_a_store_that_is_forgotten_leaves_no_file_open(path):
    before = open_files(path.parent)
    store = SQLiteStore(path)
    store.end_session("1_a", 7.5)
    assert store.has_ended("1_a")
    queue = weakref.ref(store._queue)
    del store

    def is_released() -> bool:
        gc.collect()
        SQLiteStore(path).close()
        return queue() is None and open_files(path.parent) == before

    until(is_released)  # the queue's thread closes its files as it ends


# -- in time ---------------------------------------------------------------------------------------


def test_a_change_that_waits_too_long_is_withdrawn(store, path, monkeypatch):
    store.add_session(record("first"))
    monkeypatch.setattr("rolecall.stores.sqlite_file.BUSY_TIMEOUT", 0.05)
    with closing(LockFile(str(path))) as lock, lock.held():
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"locked.*the change was not made"):
                store.add_session(record("late"))
        assert store.get_session("1_first") == record("first"), "a read waits for no writer"
    monkeypatch.setattr("rolecall.stores.sqlite_file.BUSY_TIMEOUT", 20.0)
    store.add_session(record("next"))
    assert store.get_session("1_late") is None


def test_a_change_that_comes_while_others_are_refused_is_tried_itself(store, monkeypatch):
    queue = store._queue
    with ThreadPoolExecutor(1) as pool:
        late = []

        @contextmanager
        def locked():
            monkeypatch.undo()
            late.append(pool.submit(store.add_session, record("late")))
            until(lambda: len(queue._waiting) == 2)
            raise StoreUnavailable("the SQLite database is locked")
            yield

        monkeypatch.setattr(queue._lock_file, "held", locked)
        with pytest.raises(StoreUnavailable, match="locked"):
            store.add_session(record("first"))
        assert late[0].result() is None
    assert store.get_session("1_first") is None
    assert store.get_session("1_late") == record("late")


def test_a_lock_file_that_is_deleted_is_made_again(store, path):
    store.add_session(record("before"))
    path.with_name("sessions.db-lock").unlink()
    store.add_session(record("after"))
    assert path.with_name("sessions.db-lock").exists()
    with queued(store, path, lambda: store.add_session(record("behind another"))):
        pass
    assert store.get_session("1_behind another")


@pytest.mark.process
@needs_fork
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_worker_that_is_killed_or_stopped_in_its_transaction_holds_others_up_no_longer_than_it_may(
    store, path, monkeypatch, how
):
    inside, holds = os.pipe()

    def hold() -> None:
        with store._queue._lock_file.held(), store._writer.transaction() as raw:
            raw.execute("INSERT INTO rolecall_ended_sessions VALUES ('1_half', 7.5)")
            os.write(holds, b"x")
            signal.pause()

    child = forked(hold)
    assert os.read(inside, 1) == b"x"
    os.kill(child, how)
    try:
        if how == signal.SIGSTOP:
            monkeypatch.setattr("rolecall.stores.sqlite_file.BUSY_TIMEOUT", 0.1)
            with pytest.raises(StoreUnavailable, match="locked"):
                store.add_session(record("late"))
            monkeypatch.setattr("rolecall.stores.sqlite_file.BUSY_TIMEOUT", 30.0)
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(inside)
        os.close(holds)
    store.add_session(record("next"))
    assert store.get_session("1_late") is None
    assert store.has_ended("1_half") is False


@pytest.mark.process
@needs_fork
def test_a_child_does_not_keep_the_lock_of_a_parent_that_is_killed(store, path):
    alive, end = os.pipe()

    def beget() -> None:
        with store._queue._lock_file.held():
            os.close(end)
            forked(lambda: os.read(alive, 1))
            os.kill(os.getpid(), signal.SIGKILL)

    parent = forked(beget)
    os.waitpid(parent, 0)
    try:
        store.add_session(record("next"))
    finally:
        os.close(end)
        os.close(alive)


@pytest.mark.process
@needs_fork
def test_a_worker_that_is_killed_loses_nothing_that_it_acknowledged(store, path):
    """Whatever it writes at that moment, with several threads."""
    for attempt in range(10):
        acknowledged, tell = os.pipe()

        def work(attempt: int = attempt, tell: int = tell) -> None:
            def write(thread: int) -> None:
                for number in range(100_000):
                    name = f"{attempt}-{thread}-{number}"
                    store.add_session(record(name))
                    store.end_session(f"1_{name}", 7.5)
                    assert store.use_once(name, 10.0, 5.0)
                    os.write(tell, f"{name}\n".encode())

            threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        child = forked(work)
        os.close(tell)
        with os.fdopen(acknowledged) as pipe:
            names = [pipe.readline().strip()]
            time.sleep(0.003 * attempt)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            names += pipe.read().split()
        for name in names:
            assert store.get_session(f"1_{name}") == SessionRecord(f"1_{name}", PROPERTIES, 1.0, 7.5)
            assert store.has_ended(f"1_{name}")
            assert not store.use_once(name, 10.0, 5.0)
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


# -- what the disk does ----------------------------------------------------------------------------

HEAD = """
import os, sys, time
from pathlib import Path
from rolecall.errors import StoreUnavailable
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores import sqlite_file
from rolecall.stores.sqlite import SQLiteStore

folder = Path(sys.argv[1])
hangs, fails = folder / "hangs", folder / "fails"

def refusal(write, *args):
    started = time.monotonic()
    try:
        write(*args)
    except StoreUnavailable as error:
        assert time.monotonic() - started < 20
        return str(error)
    raise AssertionError("it was acknowledged")

store = SQLiteStore(folder / "sessions.db")
store.end_session("1_before", 7.5)
"""


def run(*command: object) -> None:
    """Run a command with this Python; it must end well."""
    ran = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture
def disk(needed, tmp_path):
    """Runs a script on a disk that is slow, and that the script may let hang or fail."""
    needed(sys.platform == "linux" and shutil.which("cc"), "Linux and a C compiler")

    def on_disk(code: str, milliseconds: int = 0) -> None:
        run(BENCHMARKS / "disks.py", tmp_path, milliseconds, sys.executable, "-c", HEAD + code, tmp_path)

    return on_disk


@pytest.mark.process
def test_a_disk_that_hangs_is_an_error_in_time_and_acknowledges_nothing(disk):
    disk("""
sqlite_file.BUSY_TIMEOUT = 0.3
hangs.touch()
assert "unknown" in refusal(store.end_session, "1_a", 7.5)
assert "not made" in refusal(store.end_session, "1_b", 7.5)
assert "not made" in refusal(store.use_once, "a", 10.0, 5.0)
assert store.has_ended("1_before")
assert not store.has_ended("1_b")
sqlite_file.BUSY_TIMEOUT = 30.0
hangs.unlink()
assert store.use_once("a", 10.0, 5.0)
store.end_session("1_b", 7.5)
assert store.has_ended("1_a") and store.has_ended("1_b")
""")


@pytest.mark.process
def test_a_change_that_fails_on_a_disk_that_hangs_is_unavailable_like_others(disk):
    disk("""
record = SessionRecord("1_twice", SessionProperties(), 1.0)
store.add_session(record)
sqlite_file.BUSY_TIMEOUT = 0.3
hangs.touch()
assert "unknown" in refusal(store.add_session, record)
hangs.unlink()
""")


@pytest.mark.process
def test_an_acknowledgement_waits_for_the_disk(disk):
    disk("""
import threading
writes = {
    "add": lambda: store.add_session(SessionRecord("1_a", SessionProperties(), 1.0)),
    "end": lambda: store.end_session("1_a", 7.5),
    "end again, which changes nothing": lambda: store.end_session("1_a", 7.5),
    "use": lambda: store.use_once("a", 10.0, 5.0),
    "use again, which changes nothing": lambda: store.use_once("a", 10.0, 5.0),
}
for name, write in writes.items():
    hangs.touch()
    thread = threading.Thread(target=write)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive(), name
    hangs.unlink()
    thread.join(30)
    assert not thread.is_alive(), name
""")


@pytest.mark.process
def test_after_a_sync_that_failed_nothing_is_acknowledged_until_the_log_is_emptied(disk):
    disk("""
import sqlite3
fails.touch()
assert "disk does not take" in refusal(store.end_session, "1_a", 7.5)
assert "unknown" in refusal(store.end_session, "1_b", 7.5)
fails.unlink()
reader = sqlite3.connect(folder / "sessions.db", isolation_level=None)
reader.execute("BEGIN")
reader.execute("SELECT count(*) FROM rolecall_sessions").fetchone()
store._writer._cursor.connection.execute("PRAGMA busy_timeout = 100")
assert "others use it" in refusal(store.end_session, "1_c", 7.5)
reader.execute("COMMIT")
store.end_session("1_d", 7.5)
assert not (folder / "sessions.db-wal").stat().st_size, "the log was emptied"
store.end_session("1_e", 7.5)
assert (folder / "sessions.db-wal").stat().st_size
assert all(store.has_ended(f"1_{name}") for name in "abcde")
""")


@pytest.mark.process
def test_a_full_disk_refuses_and_keeps_what_it_acknowledged(needed, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    is_mounted = subprocess.run(mount, capture_output=True, timeout=60, check=False).returncode == 0
    needed(is_mounted, "the right to mount a small tmpfs")
    try:
        run(
            "-c",
            HEAD
            + """
from concurrent.futures import ThreadPoolExecutor

def add(number):
    try:
        store.add_session(SessionRecord(f"1_{number}", SessionProperties(), 1.0))
    except StoreUnavailable as error:
        assert "full" in str(error) or "not take" in str(error), error
        return False
    return True

(folder / "ballast").write_bytes(bytes(256 * 1024))
with ThreadPoolExecutor(8) as pool:
    acknowledged = list(pool.map(add, range(3000)))
assert 100 < sum(acknowledged) < 3000, sum(acknowledged)
for number, was_acknowledged in enumerate(acknowledged):
    assert (store.get_session(f"1_{number}") is not None) is was_acknowledged
(folder / "ballast").unlink()
assert add("with room again")
store.close()
import sqlite3
assert sqlite3.connect(folder / "sessions.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)
""",
            folder,
        )
    finally:
        subprocess.run(["umount", str(folder)], timeout=60, check=True)


def test_a_network_file_system_is_refused(tmp_path, path, monkeypatch):
    device = tmp_path.stat().st_dev
    line = "36 35 {}:{} / /srv rw,noatime shared:1 - {} host:/srv rw"
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr("rolecall.stores.sqlite_file._MOUNTS", str(mounts))
    for kind in ("nfs", "nfs4", "cifs", "fuse.sshfs"):
        mounts.write_text(line.format(os.major(device), os.minor(device), kind))
        with pytest.raises(ConfigurationError, match=f"{kind}, a network file system.*local disk"):
            SQLiteStore(path)
        assert not path.exists()
    for harmless in (
        line.format(os.major(device), os.minor(device), "ext4"),
        line.format(os.major(device) + 1, os.minor(device), "nfs4"),
        "damaged - nfs4 \n\n - nfs\n",
    ):
        mounts.write_text(harmless)
        SQLiteStore(path).close()


# -- many ------------------------------------------------------------------------------------------


@pytest.mark.process
def test_forty_workers_that_start_together_all_open_and_write(disk):
    disk(
        """
import sqlite3
path = folder / "new.db"
go = os.pipe()
children = []
for number in range(40):
    child = os.fork()
    if child == 0:
        os.close(go[1])
        os.read(go[0], 1)
        try:
            own = SQLiteStore(path)
            own.add_session(SessionRecord(f"1_{number}", SessionProperties(), 1.0))
            assert not own.has_ended("1_a")
            own.close()
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
os.close(go[1])
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 40
assert sqlite3.connect(path).execute("SELECT count(*) FROM rolecall_sessions").fetchone() == (40,)
""",
        milliseconds=10,
    )


@pytest.mark.process
@pytest.mark.parametrize("milliseconds", [0, 20])
def test_of_many_writers_none_is_refused_and_none_starves(needed, milliseconds):
    needed(sys.platform == "linux" and shutil.which("cc"), "Linux and a C compiler")
    counts = ["--processes", 8, "--writes", 60, "--milliseconds", milliseconds]
    # The bound of the whole run is for a machine that does nothing else.
    run(BENCHMARKS / "sqlite_writers.py", *counts, "--longest", 100)


GEVENT = """
import gevent
from rolecall.stores.sqlite_lock import LockFile

lock, turns = LockFile(str(folder / "sessions.db")), 0

def turn():
    global turns
    while True:
        turns += 1
        gevent.sleep(0.001)

with lock.held():
    gevent.spawn(turn)
    writes = [gevent.spawn(store.end_session, f"1_{number}", 7.5) for number in range(100)]
    while len(store._queue._waiting) < 100 or turns < 20:
        gevent.sleep(0.01)
    assert not any(write.dead for write in writes)
gevent.joinall(writes, timeout=30, raise_error=True)
assert all(store.has_ended(f"1_{number}") for number in range(100))

with lock.held():
    sqlite_file.BUSY_TIMEOUT = 0.1
    late = gevent.spawn(refusal, store.end_session, "1_late", 7.5)
    assert "not made" in late.get(timeout=30)
    gone = gevent.spawn(store.end_session, "1_gone", 7.5)
    gevent.sleep(0.01)
    gone.kill()
sqlite_file.BUSY_TIMEOUT = 30.0
store.end_session("1_last", 7.5)
assert not store.has_ended("1_late") and not store.has_ended("1_gone")
"""


@pytest.mark.process
def test_other_greenlets_run_while_some_wait_to_write(tmp_path):
    pytest.importorskip("gevent")
    run("-c", "from gevent import monkey\nmonkey.patch_all()\n" + HEAD + GEVENT, tmp_path)


def test_threads_that_write_and_a_store_that_is_closed_meanwhile(path):
    store = SQLiteStore(path)
    failures: list[BaseException] = []
    begun = threading.Barrier(5)

    def write(thread: int) -> None:
        try:
            store.add_session(record(f"{thread} 0"))
            begun.wait(60)
            for number in range(1, 10_000):
                store.add_session(record(f"{thread} {number}"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    begun.wait(60)
    store.close()
    for thread in threads:
        thread.join(60)
    assert [type(failure) for failure in failures] == [StoreUnavailable] * 4
    assert all("was closed" in str(failure) for failure in failures)
