"""Stores: the same from every one, across threads, processes and forks, and clear words when one is out of reach."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import sqlite3
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rolecall import Allow, ArchiveMode, InvalidToken, MediaMode, hookimpl
from rolecall.errors import ConfigurationError, SessionEnded, SessionNotFound, StoreUnavailable
from rolecall.sessions import SessionRecord
from rolecall.stores import Store, open_store
from rolecall.stores.memory import MemoryStore
from rolecall.stores.sqlite import _MIGRATIONS, SQLiteStore

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

#: A session of the same project that another service made.
FOREIGN = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
RECORD = SessionRecord("1_abc", "203.0.113.7", MediaMode.ROUTED, ArchiveMode.ALWAYS, False, 1_795_186_800.125)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture(params=["memory", "sqlite"])
def url(request, path) -> str:
    return {"memory": "memory://", "sqlite": f"sqlite:///{path}"}[request.param]


@pytest.fixture
def store(url):
    with closing(open_store(url)) as store:
        yield store


@pytest.fixture
def sqlite(path):
    with closing(SQLiteStore(path)) as store:
        yield store


def record(number: object) -> SessionRecord:
    return replace(RECORD, session_id=f"1_{number}")


# -- every store -----------------------------------------------------------------------------------


def test_it_is_a_store(store):
    assert isinstance(store, Store)


@pytest.mark.parametrize(
    "kept",
    [
        RECORD,
        replace(RECORD, location=None, media_mode=MediaMode.RELAYED, archive_mode=ArchiveMode.MANUAL),
        replace(RECORD, archive_mode=ArchiveMode.MANUAL, e2ee=True, location="2001:db8::7"),
        replace(RECORD, created_at=0.1 + 0.2),
        replace(RECORD, session_id="1_" + "x" * 253),
        replace(RECORD, session_id="1_'; DROP TABLE rolecall_sessions; --"),
    ],
)
def test_a_session_comes_back_as_it_went_in(store, kept):
    store.add_session(kept)
    found = store.get_session(kept.session_id)
    assert found == kept
    assert [type(value) for value in (found.media_mode, found.archive_mode, found.e2ee)] == [
        MediaMode,
        ArchiveMode,
        bool,
    ]


@pytest.mark.parametrize("session_id", ["1_unknown", "1_ABC", "1_ab", "1_abc ", "", "%", "1_ab_", "*"])
def test_an_id_is_found_exactly_or_not_at_all(store, session_id):
    store.add_session(RECORD)
    store.end_session(RECORD.session_id, 5.0)
    assert store.get_session(session_id) is None
    assert store.has_ended(session_id) is False


def test_a_session_is_open_until_it_is_ended(store):
    store.add_session(RECORD)
    assert store.has_ended(RECORD.session_id) is False
    store.end_session(RECORD.session_id, 7.5)
    assert store.has_ended(RECORD.session_id) is True
    assert store.get_session(RECORD.session_id) == replace(RECORD, ended_at=7.5)


def test_the_first_end_stays(store):
    store.add_session(RECORD)
    for moment in (7.5, 8.5, 6.5):
        store.end_session(RECORD.session_id, moment)
    assert store.get_session(RECORD.session_id).ended_at == 7.5


def test_a_session_that_was_never_added_can_end(store):
    store.end_session("1_foreign", 7.5)
    assert store.has_ended("1_foreign") is True
    assert store.get_session("1_foreign") is None


def test_an_end_that_comes_before_its_session_stays(store):
    store.end_session(RECORD.session_id, 7.5)
    store.add_session(RECORD)
    assert store.get_session(RECORD.session_id).ended_at == 7.5


def test_the_end_of_one_session_is_not_that_of_another(store):
    for number in range(3):
        store.add_session(record(number))
    store.end_session("1_1", 7.5)
    assert [store.has_ended(f"1_{number}") for number in range(3)] == [False, True, False]


def test_what_may_come_once_comes_once(store):
    assert store.use_once("a", until=10.0, now=5.0) is True
    assert store.use_once("b", until=10.0, now=5.0) is True
    assert store.use_once("a", until=20.0, now=9.9) is False
    assert store.use_once("a", until=20.0, now=10.0) is False


def test_of_threads_that_use_something_once_one_is_the_first(store):
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            firsts = pool.map(lambda _, name=str(number): store.use_once(name, 10.0, 5.0), range(8))
            assert sum(firsts) == 1


def test_what_has_come_once_is_forgotten_when_it_is_over(store):
    for number in range(2000):
        assert store.use_once(f"early {number}", until=10.0, now=5.0)
    assert store.use_once("late", until=100.0, now=5.0)
    for number in range(2000):
        assert store.use_once(f"later {number}", until=100.0, now=11.0)
    kept = store._used if isinstance(store, MemoryStore) else used_once(store)
    assert "late" in kept
    assert not any(name.startswith("early") for name in kept)


def used_once(store: SQLiteStore) -> set[str]:
    return {name for (name,) in store._connection().execute("SELECT name FROM rolecall_used_once")}


def test_it_can_be_closed_twice(store):
    store.close()
    store.close()


def test_threads_may_use_it_at_once(store):
    failures = []

    def use(thread: int) -> None:
        try:
            for number in range(50):
                one = record(f"{thread}-{number}")
                store.add_session(one)
                store.end_session(one.session_id, 7.5)
                assert store.get_session(one.session_id) == replace(one, ended_at=7.5)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(store.has_ended(f"1_{thread}-49") for thread in range(8))


# -- a kit on every store --------------------------------------------------------------------------


@pytest.fixture
def kit(make_kit, url):
    return make_kit(store=url)


def test_a_kit_finds_its_sessions(kit):
    session = kit.create_session("203.0.113.7", "routed", "always")
    assert kit.get_session(session.session_id) == session


def test_a_kit_does_not_find_what_it_did_not_create(kit):
    with pytest.raises(SessionNotFound):
        kit.get_session(FOREIGN)


def test_an_ended_session_issues_no_token_and_takes_back_its_own(kit):
    session = kit.create_session()
    token = session.generate_token()
    assert kit.verify_token(token)
    kit.end_session(session.session_id)
    with pytest.raises(InvalidToken, match="has ended"):
        kit.verify_token(token)
    with pytest.raises(SessionEnded):
        session.generate_token()


class Voter:
    @hookimpl
    def rolecall_vote_token(self, request):
        return Allow()


@pytest.mark.parametrize("plugins", [[], [Voter()]], ids=["no policy", "a policy"])
def test_an_ended_session_of_another_service_issues_no_token(make_kit, url, plugins):
    kit = make_kit(store=url, plugins=plugins)
    token = kit.generate_token(FOREIGN)
    kit.end_session(FOREIGN)
    with pytest.raises(SessionEnded):
        kit.generate_token(FOREIGN)
    with pytest.raises(InvalidToken, match="has ended"):
        kit.verify_token(token)


def test_two_kits_on_one_file_know_each_others_sessions(make_kit, path):
    kits = [make_kit(store=f"sqlite:///{path}") for _ in range(2)]
    session = kits[0].create_session()
    token = session.generate_token()
    assert kits[1].get_session(session.session_id) == session
    kits[1].end_session(session.session_id)
    with pytest.raises(InvalidToken, match="has ended"):
        kits[0].verify_token(token)


def test_two_kits_in_memory_share_nothing(make_kit):
    session = make_kit().create_session()
    with pytest.raises(SessionNotFound):
        make_kit().get_session(session.session_id)


# -- URLs ------------------------------------------------------------------------------------------


def test_a_store_is_taken_as_it_is(store):
    assert open_store(store) is store


def test_the_url_says_which_store(path):
    with closing(open_store("memory://")) as memory, closing(open_store(f"sqlite:///{path}")) as sqlite:
        assert (type(memory), type(sqlite)) == (MemoryStore, SQLiteStore)


def test_a_relative_path_is_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with closing(open_store("sqlite:///relative.db")) as store:
        monkeypatch.chdir("/")
        store.add_session(RECORD)
    assert (tmp_path / "relative.db").exists()


PASSWORD = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory:",
        "memory:/",
        "memory://x",
        "memory://user:hunter2@host",
        "MEMORY://",
        " memory://",
        "sqlite",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://sessions.db",
        "sqlite:///:memory:",
        "sqlite:///sessions.db?mode=memory&password=hunter2",
        "sqlite:///sessions.db#hunter2",
        "sqlite://user:hunter2@host/sessions.db",
        "sqlite:///a\x00b",
        "sessions.db",
        "postgresql://user:hunter2@host/db",
        "postgresql+psycopg://user:hunter2@host/db",
        "redis://:hunter2@host",
        "hunter2",
        "user:hunter2@host/db",
        "user:hunter2@host/db?proxy=http://proxy",
        "://hunter2",
        None,
        1,
        b"memory://",
        object(),
        ["memory://"],
    ],
    ids=repr,
)
def test_what_names_no_store_is_refused_without_quoting_a_password(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"store|memory|sqlite") as refused:
        open_store(url)
    assert PASSWORD not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


# -- SQLite: what is on disk -----------------------------------------------------------------------


def test_sessions_outlive_the_store(path):
    with closing(SQLiteStore(path)) as store:
        store.add_session(RECORD)
        store.end_session(RECORD.session_id, 7.5)
    with closing(SQLiteStore(path)) as store:
        assert store.get_session(RECORD.session_id) == replace(RECORD, ended_at=7.5)


def test_the_file_is_in_wal_mode_and_commits_are_synchronous(sqlite, path):
    assert sqlite._connection().execute("PRAGMA synchronous").fetchone() == (2,)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_tables_of_an_app_in_the_same_file_are_left_alone(path):
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript("CREATE TABLE sessions (mine TEXT); INSERT INTO sessions VALUES ('kept');")
    with closing(SQLiteStore(path)) as store:
        store.add_session(RECORD)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT mine FROM sessions").fetchall() == [("kept",)]


def test_the_schema_is_made_once(path):
    for _ in range(3):
        SQLiteStore(path).close()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT version FROM rolecall_schema").fetchall() == [(1,), (2,)]


def test_a_file_of_the_first_version_is_brought_up_to_date_and_its_workers_go_on(path):
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(_MIGRATIONS[0] + "CREATE TABLE rolecall_schema (version INTEGER NOT NULL);")
        raw.execute("INSERT INTO rolecall_schema VALUES (1)")
        raw.execute("INSERT INTO rolecall_sessions VALUES ('1_old', NULL, 'relayed', 'manual', 0, 1.0)")
        raw.commit()
        with closing(SQLiteStore(path)) as store:
            assert store.get_session("1_old").created_at == 1.0
            assert store.use_once("a", 10.0, 5.0)
            # As a worker of the version before writes.
            raw.execute("INSERT INTO rolecall_sessions VALUES ('1_older', NULL, 'relayed', 'manual', 0, 2.0)")
            raw.commit()
            assert store.get_session("1_older").created_at == 2.0


def test_a_file_of_a_later_version_is_used_as_it_is(path):
    SQLiteStore(path).close()
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(
            "INSERT INTO rolecall_schema VALUES (3), (4); CREATE TABLE rolecall_later (id TEXT PRIMARY KEY);"
        )
    with closing(SQLiteStore(path)) as store:
        store.add_session(RECORD)
        assert store.get_session(RECORD.session_id) == RECORD


def test_every_read_goes_by_a_primary_key(sqlite):
    statements = []
    raw = sqlite._connection()
    raw.set_trace_callback(statements.append)
    sqlite.get_session("1_a")
    sqlite.has_ended("1_a")
    raw.set_trace_callback(None)
    assert len(statements) == 2
    plans = [step[-1] for one in statements for step in raw.execute(f"EXPLAIN QUERY PLAN {one}")]
    assert len(plans) == 3
    assert all(plan.startswith("SEARCH") and "USING PRIMARY KEY (session_id=?)" in plan for plan in plans)


# -- SQLite: out of reach --------------------------------------------------------------------------


def test_a_missing_folder_stops_start_up(tmp_path, make_kit):
    with pytest.raises(ConfigurationError, match="its folder must exist"):
        make_kit(store=f"sqlite:///{tmp_path}/missing/sessions.db")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot open the SQLite store"):
        SQLiteStore(tmp_path)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_no_database_stops_start_up_and_is_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot open the SQLite store"):
        SQLiteStore(path)
    assert path.read_bytes() == content


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses every write")
def test_a_folder_that_cannot_be_written_stops_start_up():
    with pytest.raises(ConfigurationError, match="be writable"):
        SQLiteStore("/proc/self/sessions.db")


def everything(store):
    return [
        lambda: store.add_session(record("new")),
        lambda: store.get_session("1_a"),
        lambda: store.end_session("1_a", 7.5),
        lambda: store.has_ended("1_a"),
    ]


def assert_unavailable(store) -> None:
    for method in everything(store):
        with pytest.raises(StoreUnavailable) as refused:
            method()
        assert refused.value.status == 503
        assert str(refused.value) not in refused.value.public_message


def test_a_file_that_is_spoiled_under_way_is_unavailable(sqlite, path):
    sqlite.add_session(RECORD)
    sqlite.close()
    for file in path.parent.iterdir():
        file.write_bytes(b"\xff" * max(file.stat().st_size, 8192))
    assert_unavailable(sqlite)


def test_tables_that_are_gone_are_unavailable(sqlite, path):
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript("DROP TABLE rolecall_sessions; DROP TABLE rolecall_ended_sessions;")
    assert_unavailable(sqlite)


def test_a_folder_that_is_gone_is_unavailable_to_a_new_thread(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    with closing(SQLiteStore(folder / "sessions.db")) as store:
        folder.rename(tmp_path / "moved")
        assert_unavailable(store)


def test_a_write_that_waits_too_long_is_unavailable(path, monkeypatch):
    monkeypatch.setattr("rolecall.stores.sqlite.BUSY_TIMEOUT", 0.05)
    with closing(SQLiteStore(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            store.add_session(RECORD)
        assert store.get_session(RECORD.session_id) is None, "a read waits for no writer"
        other.execute("ROLLBACK")
        store.add_session(RECORD)
        assert store.get_session(RECORD.session_id) == RECORD


def test_a_write_that_fails_leaves_nothing_behind(sqlite):
    sqlite.add_session(RECORD)
    with pytest.raises(StoreUnavailable):
        sqlite.add_session(replace(RECORD, location="198.51.100.1"))
    assert sqlite.get_session(RECORD.session_id) == RECORD
    assert not sqlite._connection().in_transaction
    sqlite.add_session(record("next"))


# -- SQLite: connections ---------------------------------------------------------------------------


def connections_to(path: Path) -> int:
    """How many open files of this process are the database, its log or its shared memory."""
    names = (str(path), f"{path}-wal", f"{path}-shm")
    return sum(os.path.realpath(f"/proc/self/fd/{fd}") in names for fd in os.listdir("/proc/self/fd"))


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a /proc that lists open files")


@needs_proc
def test_nothing_stays_open_after_close(path):
    store = SQLiteStore(path)
    store.add_session(RECORD)
    idle = threading.Event()
    used, thread = threading.Barrier(2), None

    def use() -> None:
        store.has_ended("1_a")
        used.wait(20)
        idle.wait(20)

    thread = threading.Thread(target=use)
    thread.start()
    used.wait(20)
    assert connections_to(path) > 0
    store.close()
    assert connections_to(path) == 0
    idle.set()
    thread.join()


@needs_proc
def test_nothing_stays_open_after_start_up_fails(path):
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigurationError):
        SQLiteStore(path)
    gc.collect()
    assert connections_to(path) == 0


@needs_proc
def test_a_thread_that_ends_takes_its_connection_with_it(sqlite, path):
    def use_in_threads(count: int) -> int:
        for _ in range(count):
            thread = threading.Thread(target=sqlite.has_ended, args=("1_a",))
            thread.start()
            thread.join()
        gc.collect()
        return connections_to(path)

    sqlite.add_session(RECORD)
    # The first leaves one file open, which SQLite keeps for the next connection as long as the process has a lock.
    assert use_in_threads(1) == use_in_threads(20)


# -- SQLite: processes -----------------------------------------------------------------------------

fork = multiprocessing.get_context("fork") if "fork" in multiprocessing.get_all_start_methods() else None
needs_fork = pytest.mark.skipif(fork is None, reason="needs fork")


def in_processes(count: int, work, *args) -> None:
    """Run ``work`` in forked processes at once; each must end well."""
    processes = [fork.Process(target=work, args=(number, *args)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    codes = [process.exitcode for process in processes]
    for process in processes:
        if process.exitcode is None:
            process.kill()
            process.join()
    assert codes == [0] * count


@needs_fork
def test_a_file_that_cannot_be_written_stops_start_up():
    with tempfile.TemporaryDirectory() as folder:  # not pytest's own, which only its owner may enter
        path = Path(folder) / "sessions.db"
        SQLiteStore(path).close()
        Path(folder).chmod(0o755)
        path.chmod(0o444)

        def open_as_nobody(_: int) -> None:
            if os.geteuid() == 0:  # root may write everything
                os.setuid(65534)
            with pytest.raises(ConfigurationError, match="be writable"):
                SQLiteStore(path)

        in_processes(1, open_as_nobody)


@needs_fork
def test_a_race_for_the_schema_has_no_loser(tmp_path):
    def open_and_write(number: int, path: Path, at: float) -> None:
        time.sleep(max(0.0, at - time.time()))
        with closing(SQLiteStore(path)) as store:
            store.add_session(record(number))

    for attempt in range(5):
        path = tmp_path / f"race{attempt}.db"
        in_processes(8, open_and_write, path, time.time() + 0.1)
        with closing(sqlite3.connect(path)) as raw:
            assert raw.execute("SELECT count(*) FROM rolecall_sessions").fetchone() == (8,)
            assert raw.execute("SELECT version FROM rolecall_schema").fetchall() == [(1,), (2,)]


@needs_fork
def test_many_processes_of_many_threads_write_at_once(sqlite, path):
    """Never "database is locked"."""

    def write(process: int) -> None:
        failures = []

        def in_thread(thread: int) -> None:
            try:
                for number in range(25):
                    one = record(f"{process}-{thread}-{number}")
                    sqlite.add_session(one)
                    sqlite.end_session(one.session_id, 7.5)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=in_thread, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    sqlite.add_session(RECORD)
    in_processes(4, write)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM rolecall_sessions").fetchone() == (401,)
        assert raw.execute("SELECT count(*) FROM rolecall_ended_sessions").fetchone() == (400,)
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@needs_fork
def test_a_child_never_uses_the_connection_of_its_parent(sqlite):
    sqlite.add_session(RECORD)
    inherited = sqlite._connection()

    def use(number: int) -> None:
        assert sqlite._connection() is not inherited
        assert sqlite.get_session(RECORD.session_id) == RECORD
        sqlite.end_session(RECORD.session_id, 7.5)

    in_processes(1, use)
    assert sqlite._connection() is inherited
    assert sqlite.has_ended(RECORD.session_id)


@needs_fork
def test_a_child_that_ends_does_not_disturb_a_transaction_of_its_parent(sqlite, path):
    def live_and_end(number: int, how: str) -> None:
        if how == "used":
            sqlite.get_session(RECORD.session_id)
        if how != "untouched":
            sqlite.close()

    with sqlite._transaction() as raw:
        raw.execute("INSERT INTO rolecall_ended_sessions VALUES ('1_a', 7.5)")
        for how in ("untouched", "closed", "used"):
            in_processes(3, live_and_end, how)
            gc.collect()
        # Were the parent's locks lost with a child, another could write now.
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    assert sqlite.has_ended("1_a")
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@needs_fork
def test_a_grandchild_has_a_connection_of_its_own(sqlite):
    sqlite.add_session(RECORD)

    def beget(number: int) -> None:
        sqlite.has_ended("1_a")
        own = sqlite._connection()
        child = os.fork()
        if child == 0:
            good = sqlite._connection() is not own and sqlite.get_session(RECORD.session_id) == RECORD
            os._exit(0 if good else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert sqlite._connection() is own

    in_processes(1, beget)


@needs_fork
def test_a_kit_made_before_a_fork_works_in_all_processes(make_kit, path):
    """As under a server that loads the app before it forks its workers."""
    kit = make_kit(store=f"sqlite:///{path}", plugins=[AsyncVoter()])
    before = kit.create_session()
    assert kit.verify_token(before.generate_token())

    def work(number: int, folder: Path) -> None:
        assert kit.get_session(before.session_id) == before
        ids = [kit.create_session().session_id for _ in range(50)]
        tokens = [kit.verify_token(kit.generate_token(one)).token_id for one in ids]
        (folder / f"{number}.json").write_text(json.dumps([ids, tokens]))

    in_processes(4, work, path.parent)
    made = [json.loads((path.parent / f"{number}.json").read_text()) for number in range(4)]
    for kind in range(2):
        assert len({one for worker in made for one in worker[kind]}) == 200
    assert all(kit.get_session(one) for worker in made for one in worker[0])


class AsyncVoter:
    """Starts the kit's background thread, which no child inherits."""

    @hookimpl
    async def rolecall_vote_token(self, request):
        return Allow()


def test_a_process_that_dies_in_a_transaction_leaves_the_file_sound(sqlite, path):
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    sqlite.add_session(RECORD)
    for _ in range(10):
        child = os.fork()
        if child == 0:
            with sqlite._transaction() as raw:
                raw.execute("INSERT INTO rolecall_ended_sessions VALUES (?, 7.5)", (RECORD.session_id,))
                os.kill(os.getpid(), 9)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
        assert sqlite.has_ended(RECORD.session_id) is False
    sqlite.end_session(RECORD.session_id, 7.5)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
