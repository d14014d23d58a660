"""The Redis store on real servers: the contract, servers that die, freeze and forget, Sentinels and a cluster."""

from __future__ import annotations

import gc
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from redis.crc import key_slot

from rolecall import Rolecall
from rolecall.errors import StoreUnavailable
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores import open_store, redis_ledger
from rolecall.stores.following import Follower, News
from rolecall.stores.leases import Full, Slot
from rolecall.stores.ledger import IssuedToken, TokenPage, TokensFound
from rolecall.stores.listing import Page
from rolecall.stores.redis import RedisStore
from rolecall.stores.redis_keys import LAYOUT, Keys
from rolecall.stores.redis_log import LOG_LENGTH, PAGE, RedisLog
from rolecall.stores.redis_server import RedisServer
from rolecall.stores.redis_url import RedisURL
from rolecall.stores.upkeep import KINDS, Kind, Over, Row
from rolecall.testing.store_parts import (
    DocumentsContract,
    LeasesContract,
    LedgerContract,
    ListingContract,
    MarksContract,
    UpkeepContract,
)
from rolecall.testing.stores import StoreContract

from ...conftest import needed
from ...forking import in_child
from ...redis_servers import PROGRAM, RedisProcess
from ...waiting import PATIENCE, free_port, known, refusal, soon

pytestmark = pytest.mark.server

#: The promised longest time of an answer, and what a busy machine may add, in seconds.
ANSWER, SLACK = 0.5, 2.0
#: For tests of anything but time.
PATIENT = "?timeout=5&max_staleness=5"
#: The usual times.
PROMPT = "?timeout=0.4&max_staleness=1"
NOW = 1_795_186_800.0
RECORD = SessionRecord("1_abc", SessionProperties(), NOW + 0.125)
#: The name of the threads that follow a store.
FOLLOWS = "rolecall: follows the store"


@pytest.fixture(scope="session", autouse=True)
def _needs_a_server():
    needed(PROGRAM, "redis-server or valkey-server on the PATH")


@pytest.fixture
def start(tmp_path):
    """Starts servers, and ends them after the test."""
    servers: list[RedisProcess] = []

    def start(*options: str, **settings: Any) -> RedisProcess:
        folder = tmp_path / f"redis{len(servers)}"
        folder.mkdir()
        servers.append(RedisProcess(folder, *options, **settings))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(start) -> RedisProcess:
    return start()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    """A server for tests that leave it as it was; each of them finds it empty."""
    server = RedisProcess(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def empty_server(shared_server) -> RedisProcess:
    with shared_server.client as client:
        client.flushall()
    return shared_server


@pytest.fixture
def connect() -> Iterator[Callable[[str], RedisStore]]:
    """Makes stores, patient ones unless the URL has options, and closes them after the test."""
    stores: list[RedisStore] = []

    def connect(url: str) -> RedisStore:
        stores.append(RedisStore(url if "?" in url else url + PATIENT))
        return stores[-1]

    yield connect
    for store in stores:
        store.close()


def done(change: Callable[[], None]) -> None:
    """Make a change, however slow the disk is just then."""
    assert soon(lambda: change() is None)


def marked(store: RedisStore | Follower, *parts: str) -> float:
    """The number of a mark, as of a moment in which the store's process is in step with the server."""
    known(store, "1_other")
    return store.marks.value(*parts)


def has_mark(store: RedisStore | Follower, number: float, *parts: str) -> bool:
    return marked(store, *parts) == number


def refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except StoreUnavailable:
        return True
    return False


def generation(server: RedisProcess) -> object:
    with server.client as client:
        return client.get("{rolecall}:generation")


# -- the contract ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
class TestRedisStore(
    StoreContract, LeasesContract, MarksContract, LedgerContract, DocumentsContract, ListingContract, UpkeepContract
):
    max_lag = 1.0 + SLACK

    @pytest.fixture
    def store(self, empty_server):
        return RedisStore(empty_server.url + PATIENT)

    @pytest.fixture
    def other_store(self, empty_server, connect):
        return connect(empty_server.url)

    @pytest.fixture
    def broken_store(self, connect):
        return connect(f"redis://127.0.0.1:{free_port()}")


def test_it_is_opened_by_its_url_and_through_a_unix_socket(empty_server, connect):
    with closing(open_store(empty_server.url)) as store:
        store.end_session("1_abc", 7.5)
    through_socket = connect(f"redis+unix://{empty_server.socket}")
    assert known(through_socket, "1_abc") is True


def test_two_prefixes_are_two_stores(empty_server, connect):
    one, other = (connect(f"{empty_server.url}?prefix={prefix}") for prefix in ("one", "other"))
    one.end_session("1_abc", 7.5)
    assert one.use_once("a", 10.0, 5.0) is other.use_once("a", 10.0, 5.0) is True
    other.end_session("1_x", 7.5)
    assert known(other, "1_abc") is False


def test_nothing_connects_before_the_first_call(empty_server):
    with empty_server.client as client:
        before = client.info("stats")["total_connections_received"]
        with closing(RedisStore(empty_server.url)):
            assert client.info("stats")["total_connections_received"] == before


def test_over_tls_the_servers_certificate_is_checked(start, tmp_path, connect):
    authority, certificate, key = certified(tmp_path)
    tls_port = free_port()
    server = start(
        *("--tls-port", str(tls_port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(authority)),
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
    )
    store = connect(f"rediss://localhost:{tls_port}?ssl_ca_certs={authority}")
    store.end_session("1_abc", 7.5)
    assert known(store, "1_abc") is True
    untrusting, encrypting = (
        connect(f"rediss://localhost:{tls_port}"),
        connect(f"rediss://localhost:{server.port}{PROMPT}"),
    )
    assert "certificate" in refusal(lambda: untrusting.get_session("1_abc"))
    assert refuses(lambda: encrypting.get_session("1_abc"))
    # Before 3.11.8 Python leaves a socket open that is reset just before its handshake (gh-113280), so nobody may be
    # about to connect when the server stops.
    for closed in (store, untrusting, encrypting):
        closed.close()
    assert soon(lambda: not any(thread.name == FOLLOWS for thread in threading.enumerate()))


def certified(folder: Path) -> tuple[Path, Path, Path]:
    """The files of a certificate authority, of a certificate for localhost, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "authority.pem", folder / "certificate.pem", folder / "key.pem"
    for file in files[:2]:
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
    files[2].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def test_a_user_and_a_password_are_sent_and_never_shown(start):
    server = start(password="p@ss/word#1")
    with closing(RedisStore(f"redis://:p%40ss%2Fword%231@127.0.0.1:{server.port}")) as store:
        store.add_session(RECORD)
        assert store.get_session("1_abc") == RECORD
    with closing(RedisStore(f"redis://someone:wrong-word@127.0.0.1:{server.port}")) as store:
        for call in (lambda: store.add_session(RECORD), lambda: store.has_ended("1_abc")):
            assert "wrong-word" not in refusal(call)
        assert "wrong-word" not in repr(store)


# -- promises --------------------------------------------------------------------------------------


def test_a_server_that_is_killed_loses_nothing_acknowledged(server, connect):
    store = connect(server.url)
    kept: dict[str, list[str]] = {"added": [], "ended": [], "marked": [], "used": []}
    written, killed = threading.Event(), threading.Event()

    def write() -> None:
        for number in range(100_000):
            with suppress(StoreUnavailable):
                store.add_session(SessionRecord(f"1_{number}", SessionProperties(), 7.5))
                kept["added"].append(f"1_{number}")
                store.end_session(f"2_{number}", 7.5)
                kept["ended"].append(f"2_{number}")
                store.raise_mark(f"token 1_a {number}", inf, 4e9)
                kept["marked"].append(str(number))
                store.use_once(str(number), 1e6, 0.0)
                kept["used"].append(str(number))
            if len(kept["used"]) == 50:
                written.set()
            if killed.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    assert written.wait(PATIENCE)
    server.kill()
    killed.set()
    writer.join(PATIENCE)
    server.start()
    another = connect(server.url)
    assert len(kept["used"]) >= 50
    assert all(another.get_session(session_id) for session_id in kept["added"])
    assert known(another, "1_none") is False
    assert all(another.has_ended(session_id) for session_id in kept["ended"])
    assert all(another.marks.value("token", "1_a", number) == inf for number in kept["marked"])
    assert not any(another.use_once(name, 1e6, 0.0) for name in kept["used"])
    with server.client as client:
        log = client.xrange("{rolecall}:log")
        for field, key in ((b"ended", "{rolecall}:ended"), (b"marked", "{rolecall}:marks")):
            assert sorted(told[field] for _, told in log if field in told) == sorted(client.zrange(key, 0, -1))


def test_an_end_is_in_the_row_and_in_the_log_or_in_neither(server, connect):
    store = connect(server.url)
    for number in range(20):
        store.end_session(f"1_{number}", 7.5)
    with server.client as client:
        log = [fields[b"ended"] for _, fields in client.xrange("{rolecall}:log")]
        assert sorted(log) == sorted(client.zrange("{rolecall}:ended", 0, -1))
        assert int(client.get("{rolecall}:count")) == len(log) == 20


def test_a_frozen_server_is_answered_for_in_time_and_then_followed_again(server, connect):
    store, other = connect(server.url + PROMPT), connect(server.url + PROMPT)
    done(partial(store.add_session, RECORD))
    assert soon(lambda: other.has_ended("1_abc") is False)
    server.freeze()
    calls = {
        "add_session": lambda: store.add_session(RECORD),
        "get_session": lambda: store.get_session("1_abc"),
        "end_session": lambda: store.end_session("1_abc", 7.5),
        "use_once": lambda: store.use_once("a", 10.0, 5.0),
        "raise_mark": lambda: store.raise_mark("reset 1_abc", 5.0, inf),
        "get_marks": lambda: store.get_marks(["reset 1_abc"]),
    }
    for call in calls.values():
        started = time.monotonic()
        assert "has not answered" in refusal(call)
        assert time.monotonic() - started < ANSWER + SLACK
    assert soon(lambda: refuses(lambda: other.has_ended("1_abc")))
    started = time.monotonic()
    assert "longer than max_staleness (1 s)" in refusal(lambda: other.has_ended("1_abc"))
    assert time.monotonic() - started < ANSWER
    with closing(RedisStore(server.url)) as late:
        started = time.monotonic()
        assert refuses(lambda: late.has_ended("1_abc"))
        assert time.monotonic() - started < 2 * ANSWER + SLACK
    server.thaw()
    started = time.monotonic()
    assert soon(lambda: other.has_ended("1_abc") is False)
    assert time.monotonic() - started < 1.0 + SLACK
    done(partial(store.end_session, "1_abc", 7.5))
    assert soon(lambda: other.has_ended("1_abc"))


def test_a_server_that_returns_is_followed_within_a_second(server, connect):
    store, other = connect(server.url + PROMPT), connect(server.url + PROMPT)
    assert soon(lambda: other.has_ended("1_abc") is False)
    server.kill()
    assert soon(lambda: refuses(lambda: other.has_ended("1_abc")))
    server.start()
    started = time.monotonic()
    assert soon(lambda: other.has_ended("1_abc") is False)
    assert time.monotonic() - started < 1.0 + SLACK
    done(partial(store.end_session, "1_abc", 7.5))
    assert soon(lambda: other.has_ended("1_abc"))


def test_a_pool_that_is_used_up_is_answered_for_in_time(server, connect):
    store = connect(f"{server.url}?connections=1")
    done(partial(store.add_session, RECORD))
    server.freeze()
    seconds: list[float] = []

    def ask() -> None:
        started = time.monotonic()
        assert refuses(lambda: store.get_session("1_abc"))
        seconds.append(time.monotonic() - started)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(seconds) == 8
    assert max(seconds) < ANSWER + SLACK


# -- the log ---------------------------------------------------------------------------------------


def test_what_one_worker_ends_another_knows_in_time(empty_server, connect):
    one, other = connect(empty_server.url), connect(empty_server.url)
    assert known(other, "1_0") is False
    for number in range(50):
        one.end_session(f"1_{number}", 7.5)
        assert soon(partial(other.has_ended, f"1_{number}"), 1.0 + SLACK)


def test_more_entries_than_one_answer_holds_are_all_followed(empty_server, connect):
    one, other = connect(empty_server.url), connect(f"{empty_server.url}?max_staleness=30&timeout=5")
    assert known(other, "1_0") is False
    count = PAGE + 100
    with empty_server.client as client, client.pipeline() as together:
        for number in range(1, count + 1):
            together.xadd("{rolecall}:log", {"ended": f"1_{number}"}, id=f"{number}-0")
            together.zadd("{rolecall}:ended", {f"1_{number}": 7.5})
        together.set("{rolecall}:count", count)
        together.execute()
    assert soon(lambda: all(other.has_ended(f"1_{number}") for number in range(1, count + 1)))
    assert known(one, "1_1") is True


def test_a_read_tells_all_that_came_before_it_began_in_pages(empty_server, connect):
    store = connect(empty_server.url)
    log = RedisLog(RedisServer(RedisURL.parse(empty_server.url + PATIENT), 1), Keys("rolecall"), (), inf)
    count = 3 * PAGE + 1
    with closing(log):
        _, position = log.snapshot()
        with empty_server.client as client, client.pipeline() as together:
            for number in range(1, count):
                together.xadd("{rolecall}:log", {"ended": f"1_{number}"}, id=f"{number}-0")
            together.set("{rolecall}:count", count - 1)
            together.execute()
        store.raise_mark("reset 1_abc", 5.0, inf)
        news, position = log.changes(position, 0.0)
        assert news.ended == [f"1_{number}" for number in range(1, count)]
        assert news.marks == [("reset 1_abc", 5.0)]
        assert position.number == count
        assert log.changes(position, 0.0)[0] == News([], [])


def in_one_step(server: RedisProcess, change: Callable[[redis.Redis], object]) -> None:
    """Change the server's content between two reads of all followers."""
    with server.client as client, client.pipeline(transaction=True) as together:
        change(together)
        together.execute()


def test_a_trimmed_log_is_noticed(empty_server, connect):
    other = connect(f"{empty_server.url}?max_staleness=30&timeout=5")
    assert known(other, "1_lost") is False

    def trim(client: redis.Redis) -> None:
        client.zadd("{rolecall}:ended", {"1_lost": 7.5})
        client.incr("{rolecall}:count")
        client.xadd("{rolecall}:log", {"ended": "1_lost"}, id="1-0")
        client.xtrim("{rolecall}:log", maxlen=0)

    in_one_step(empty_server, trim)
    assert soon(lambda: other.has_ended("1_lost"))


def test_a_log_that_lacks_an_entry_in_the_middle_is_noticed(empty_server, connect):
    other = connect(f"{empty_server.url}?max_staleness=30&timeout=5")
    assert known(other, "1_lost") is False

    def lose(client: redis.Redis) -> None:
        client.zadd("{rolecall}:ended", {"1_lost": 7.5, "1_later": 7.5})
        client.set("{rolecall}:count", 2)
        client.xadd("{rolecall}:log", {"ended": "1_later"}, id="2-0")

    in_one_step(empty_server, lose)
    assert soon(lambda: other.has_ended("1_lost"))


def test_a_server_that_was_emptied_is_noticed(empty_server, connect):
    store, other = connect(empty_server.url), connect(f"{empty_server.url}?max_staleness=30&timeout=5")
    for number in range(3):
        store.end_session(f"1_{number}", 7.5)
    assert known(other, "1_2") is True
    before = generation(empty_server)

    def empty(client: redis.Redis) -> None:
        client.flushall()
        client.zadd("{rolecall}:ended", {"1_after": 7.5})

    in_one_step(empty_server, empty)
    assert soon(lambda: other.has_ended("1_after"))
    assert generation(empty_server) != before
    assert known(other, "1_2") is True  # this process knew it


def test_a_restored_backup_is_noticed(server, connect):
    store, other = connect(server.url), connect(f"{server.url}?max_staleness=30&timeout=5")
    store.end_session("1_before", 7.5)
    assert known(other, "1_before") is True
    with server.client as client:
        keys = {key: client.dump(key) for key in client.scan_iter()}
    for number in range(3):
        store.end_session(f"1_{number}", 7.5)
    assert soon(lambda: other.has_ended("1_2"))

    def restore(client: redis.Redis) -> None:
        client.flushall()
        for key, value in keys.items():
            client.restore(key, 0, value)
        client.zadd("{rolecall}:ended", {"1_hidden": 7.5})  # without an entry: only a new snapshot can tell

    in_one_step(server, restore)
    assert soon(lambda: other.has_ended("1_hidden"))


def test_a_restarted_server_is_read_anew(server, connect):
    store, other = connect(server.url), connect(f"{server.url}?max_staleness=30&timeout=5")
    store.end_session("1_before", 7.5)
    assert known(other, "1_before") is True
    with server.client as client:
        client.zadd("{rolecall}:ended", {"1_hidden": 7.5})  # without an entry: only a new snapshot can tell
    server.kill()
    server.start()
    assert soon(lambda: other.has_ended("1_hidden"))


def test_keys_that_were_lost_do_not_stop_the_log(empty_server, connect):
    store, other = connect(empty_server.url), connect(empty_server.url)
    for number in range(3):
        store.end_session(f"1_{number}", 7.5)
    assert known(other, "1_2") is True
    with empty_server.client as client:
        client.delete("{rolecall}:count")
    store.end_session("1_after", 7.5)
    assert soon(lambda: other.has_ended("1_after"))
    assert known(connect(empty_server.url), "1_1") is True


def test_a_mark_ends_the_wait_for_news(empty_server, connect):
    store, poll = connect(empty_server.url), 4.0
    server = RedisServer(RedisURL.parse(empty_server.url + PATIENT), 1, poll)
    log = RedisLog(server, Keys("rolecall"), (), inf)
    with closing(Follower(log, max_staleness=60.0, poll=poll)) as follower:
        assert known(follower, "1_abc") is False
        started = time.monotonic()
        for number in range(1, 6):  # each while the follower waits again
            store.raise_mark("reset 1_abc", float(number), inf)
            assert soon(partial(has_mark, follower, number, "reset", "1_abc"))
        assert time.monotonic() - started < poll
    store.end_session("1_last", 7.5)  # ends the last wait


def test_a_trimmed_log_of_marks_is_noticed(empty_server, connect):
    other = connect(f"{empty_server.url}?max_staleness=30&timeout=5")
    assert marked(other, "reset", "1_abc") == 0.0

    def trim(client: redis.Redis) -> None:
        client.zadd("{rolecall}:marks", {"reset 1_abc": 5.0, "token 1_abc x": inf})
        client.incr("{rolecall}:count")
        client.xadd("{rolecall}:log", {"marked": "reset 1_abc", "value": "5.0"}, id="1-0")
        client.xtrim("{rolecall}:log", maxlen=0)

    in_one_step(empty_server, trim)
    assert soon(lambda: marked(other, "reset", "1_abc") == 5.0)
    assert other.marks.value("token", "1_abc", "x") == inf


def test_marks_are_read_anew_from_a_restarted_server(server, connect):
    store, other = connect(server.url), connect(f"{server.url}?max_staleness=30&timeout=5")
    store.raise_mark("reset 1_abc", 5.0, inf)
    assert soon(lambda: marked(other, "reset", "1_abc") == 5.0)
    with server.client as client:
        client.zadd("{rolecall}:marks", {"reset 1_abc": 6.0})  # without an entry: only a new snapshot can tell
    server.kill()
    server.start()
    assert soon(lambda: marked(other, "reset", "1_abc") == 6.0)
    assert store.get_marks(["reset 1_abc"]) == {"reset 1_abc": 6.0}


def test_marks_go_on_after_keys_were_lost(empty_server, connect):
    store, other = connect(empty_server.url), connect(empty_server.url)
    for number in range(1, 4):
        store.raise_mark("reset 1_abc", float(number), inf)
    assert soon(lambda: marked(other, "reset", "1_abc") == 3.0)
    before = generation(empty_server)
    with empty_server.client as client:
        client.delete("{rolecall}:count")
    assert store.raise_mark("reset 1_abc", 4.0, inf) == 4.0
    assert soon(lambda: marked(other, "reset", "1_abc") == 4.0)
    assert generation(empty_server) != before


def test_entries_that_a_later_version_wrote_are_skipped_and_counted(empty_server, connect):
    store = connect(empty_server.url)
    log = RedisLog(RedisServer(RedisURL.parse(empty_server.url + PATIENT), 1), Keys("rolecall"), (), inf)
    with closing(log):
        _, position = log.snapshot()
        with empty_server.client as client:
            client.incr("{rolecall}:count")
            client.xadd("{rolecall}:log", {"renamed": "1_before", "to": "1_after"}, id="1-0")
        store.raise_mark("reset 1_after", 5.0, inf)
        store.end_session("1_ended", 7.5)
        news, position = log.changes(position, 0.0)
        assert (news.ended, news.marks) == (["1_ended"], [("reset 1_after", 5.0)])
        assert position.number == 3
        news, position = log.changes(position, 0.0)
        assert (news.ended, news.marks, position.number) == ([], [], 3)


def test_a_mark_that_does_not_grow_is_not_told(empty_server, connect):
    store = connect(empty_server.url)
    for value in (5.0, 5.0, 4.0, 6.0, inf, inf, 7.0):
        store.raise_mark("reset 1_abc", value, NOW)
    with empty_server.client as client:
        assert [fields[b"value"] for _, fields in client.xrange("{rolecall}:log")] == [b"5.0", b"6.0", b"inf"]
        assert client.get("{rolecall}:count") == b"3"


#: Numbers that less than a double would change, in rising order.
NUMBERS = [1.1, 7.0, NOW + 0.1234567, 1.8e12, 1.8e12 + 0.0001, 2.0**53 - 1, 2.0**53 + 2, 1.7976931348623157e308]


@pytest.mark.parametrize("name", ["reset 1_abc", f"reset 1_{'s' * 200}"], ids=["listpack", "skiplist"])
def test_the_numbers_of_marks_are_exact(empty_server, connect, name):
    """Redis keeps short sorted sets in another form than long ones."""
    store, other = connect(empty_server.url), connect(empty_server.url)
    session_id = name.removeprefix("reset ")
    assert known(other, session_id) is False
    for number in [*NUMBERS, inf]:
        assert store.raise_mark(name, number, number) == number
        assert store.get_marks([name]) == {name: number}
        assert store.dump("marks", None, 10) == ([(name, number, number)], None)
        assert store.load("marks", [(name, 1.0, 1.0)]) == [(name, number, number)]
        assert soon(partial(has_mark, other, number, "reset", session_id))
        with closing(RedisStore(empty_server.url + PATIENT)) as late:
            assert marked(late, "reset", session_id) == number


@pytest.mark.parametrize(("name", "number"), [("reset 1_abc", nan), ("reset \udcff", 5.0)])
def test_a_mark_that_cannot_be_held_is_refused(empty_server, connect, name, number):
    store = connect(empty_server.url)
    with pytest.raises(StoreUnavailable, match="cannot hold this") as caught:
        store.raise_mark(name, number, inf)
    assert caught.value.is_of_a_value
    assert store.count()["marks"] == 0


def test_the_log_is_bounded(empty_server, connect):
    store = connect(empty_server.url)
    with empty_server.client as client:
        client.set("{rolecall}:count", 3 * LOG_LENGTH)
        with client.pipeline() as together:
            for number in range(2 * LOG_LENGTH // 100):
                together.eval(
                    "for n = 1, 100 do redis.call('XADD', KEYS[1], ARGV[1] * 100 + n .. '-0', 'ended', n) end",
                    1,
                    "{rolecall}:log",
                    number,
                )
            together.execute()
        assert client.xlen("{rolecall}:log") == 2 * LOG_LENGTH
        for number in range(15):  # Redis trims at most 10,000 entries at a time
            store.end_session(f"1_{number}", 7.5)
        assert client.xlen("{rolecall}:log") < 1.1 * LOG_LENGTH


WORKER = """
import sys
from rolecall import InvalidToken, Rolecall
with Rolecall("123456", sys.argv[2], store=sys.argv[1], entry_points=False) as kit:
    for token in sys.stdin:
        try:
            kit.verify_token(token.strip())
            print("good", flush=True)
        except InvalidToken:
            print("ended", flush=True)
"""


def test_ended_in_one_worker_a_token_is_refused_in_another(empty_server):
    secret = secrets.token_hex(32)
    command = [sys.executable, "-c", WORKER, empty_server.url, secret]
    with (
        Rolecall("123456", secret, store=empty_server.url, entry_points=False) as kit,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker,
    ):
        requests, answers = worker.stdin, worker.stdout
        assert requests is not None
        assert answers is not None

        def ask(token: str) -> str:
            requests.write(token + "\n")
            requests.flush()
            return answers.readline().strip()

        def has_ended(token: str) -> bool:
            return ask(token) == "ended"

        for _ in range(50):
            session = kit.create_session()
            token = session.generate_token()
            assert ask(token) == "good"
            kit.end_session(session.session_id)
            assert soon(partial(has_ended, token), 1.0 + SLACK)
        requests.close()
        assert worker.wait(PATIENCE) == 0


# -- the other parts of a store --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_that_goes_on_after_a_restart_of_the_server_lacks_nothing(server, connect, kind):
    store = connect(server.url)
    count = 700
    rows: dict[Kind, list[Row]] = {
        "ended": [(f"1_{number}", 7.5) for number in range(count)],
        "marks": [(f"reset 1_{number}", 7.5, inf) for number in range(count)],
        "sessions": [(f"1_{number}", "{}", number / 8, None) for number in range(count)],
        "used": [(str(number), 4e9) for number in range(count)],
        "leases": [("lease", str(number), 4e9) for number in range(count)],
        "tokens": [("1_a", f"0.{number}", None, "publisher", 7.5, 4e9) for number in range(count)],
        "documents": [(str(number), number + 1, "content" * 20) for number in range(count)],
    }
    store.load(kind, rows[kind])
    dumped, after = store.dump(kind, None, 500)
    assert len(dumped) < count
    server.kill()
    server.start()
    found = set(dumped)
    while after is not None:
        dumped, after = store.dump(kind, after, 500)
        found |= set(dumped)
    assert found == set(rows[kind])


def test_a_page_may_be_longer_than_one_answer(empty_server, connect):
    store = connect(empty_server.url)
    store.load("sessions", [(f"1_{number:03}", "{}", float(number // 7), "ada") for number in range(600)])
    store.load("ended", [(f"1_{number:03}", 1e3) for number in range(0, 600, 3)])
    ids = [f"1_{number:03}" for number in reversed(range(600))]
    assert [session.session_id for session in store.list_sessions(Page(550))] == ids[:550]
    assert [session.session_id for session in store.list_sessions(Page(999, "ended", "ada"))] == ids[2::3]


def _asked(store: RedisStore, page: TokenPage, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], int]:
    """The ids of the tokens on a page, and how many scripts the store ran for it."""
    calls: list[object] = []
    call = store._server.call
    monkeypatch.setattr(store._server, "call", lambda *commands: calls.append(commands) or call(*commands))
    return [token.token_id for token in store.list_tokens(page).tokens], len(calls)


@pytest.mark.parametrize(("actors", "sessions"), [(9, 300), (300, 9)], ids=["few of the actor", "few of the session"])
def test_an_actors_tokens_of_a_session_are_read_from_the_shorter_list(
    empty_server, connect, monkeypatch, actors, sessions
):
    store = connect(empty_server.url)
    tokens = [
        IssuedToken(f"1_{number}", f"0.{number:03}", "ada", "publisher", NOW, NOW + 9) for number in range(actors)
    ]
    tokens += [IssuedToken("1_a", f"1.{number:03}", "ben", "publisher", NOW, NOW + 9) for number in range(sessions)]
    store.load("tokens", [*tokens, IssuedToken("1_a", "0.a", "ada", "publisher", NOW, NOW + 9)])
    monkeypatch.setattr(redis_ledger, "_LOOK", 10)
    assert _asked(store, TokenPage(10, NOW, "1_a", "ada"), monkeypatch) == (["0.a"], 1)


def test_the_server_passes_over_expired_tokens(empty_server, connect, monkeypatch):
    store = connect(empty_server.url)
    lives = {number: 9 if number in (7, 300) else -1 for number in range(600)}
    store.load("tokens", [IssuedToken("1_a", f"0.{n:03}", None, "publisher", NOW, NOW + lives[n]) for n in lives])
    assert _asked(store, TokenPage(10, NOW), monkeypatch) == (["0.300", "0.007"], 1)


def test_a_script_looks_at_a_bounded_number_of_tokens(empty_server, connect, monkeypatch):
    store = connect(empty_server.url)
    store.load("tokens", [IssuedToken("1_a", f"0.{n:02}", None, "publisher", NOW, NOW - n % 15 + 5) for n in range(60)])
    monkeypatch.setattr(redis_ledger, "_LOOK", 20)
    live = [f"0.{number:02}" for number in reversed(range(60)) if number % 15 < 5]
    assert _asked(store, TokenPage(99, NOW), monkeypatch) == (live, 3)


def test_a_page_of_tokens_passes_over_a_bounded_number(empty_server, connect, monkeypatch):
    store = connect(empty_server.url)
    rows = [("1_a", f"0.{n:02}", None, "publisher", NOW, NOW + (9 if n == 0 else -1)) for n in range(60)]
    store.load("tokens", rows)
    monkeypatch.setattr(redis_ledger, "_LOOK", 10)
    assert store.list_tokens(TokenPage(10, NOW)) == TokensFound([], (NOW, "0.20"))
    further = store.list_tokens(TokenPage(10, NOW, after=(NOW, "0.20")))
    assert further == TokensFound([IssuedToken(*rows[0])], None)


def test_a_session_that_is_added_after_its_end_is_listed_as_ended_and_forgotten(empty_server, connect):
    store = connect(empty_server.url)
    store.end_session("1_abc", 7.5)
    store.add_session(RECORD)
    assert store.list_sessions(Page(10, "open")) == []
    assert store.list_sessions(Page(10, "ended")) == [replace(RECORD, ended_at=7.5)]
    assert store.forget(Over(0.0, ended_before=8.0)) == 1
    assert store.list_sessions(Page(10)) == []
    assert known(connect(empty_server.url), "1_abc") is True


def test_nothing_of_a_session_lease_or_mark_stays_when_it_is_forgotten(empty_server, connect):
    store = connect(empty_server.url)
    for number in range(5):
        store.add_session(replace(RECORD, session_id=f"1_{number}", created_by="ada"))
        store.take_lease(str(number), [Slot("s", 5, NOW), Slot("t", 5, NOW)], NOW - 1)
        store.raise_mark(f"actor {number}", 7.5, NOW)
    store.end_session("1_1", NOW)
    while store.forget(Over(NOW + 1, NOW + 1, NOW + 1)):
        pass
    with empty_server.client as client:
        left = {key.partition(b":")[2].decode() for key in client.scan_iter()}
    assert left <= {"layout", "log", "count", "generation"}


def test_a_slot_in_steady_use_does_not_grow(empty_server, connect):
    store = connect(empty_server.url)
    for number in range(30):
        assert store.take_lease(str(number), [Slot("s", 3, NOW + number + 3)], NOW + number) is None
    assert store.count()["leases"] == 3


def test_a_single_use_id_that_is_over_is_not_kept_by_a_copy(empty_server, connect):
    store = connect(empty_server.url)
    assert store.load("used", [("old", 7.5)]) == [("old", 7.5)]
    assert store.count()["used"] == 0


def test_keys_that_a_later_version_wrote_are_refused(empty_server, connect):
    store, follower = connect(empty_server.url), connect(empty_server.url + PROMPT)
    store.add_session(RECORD)
    assert soon(lambda: follower.has_ended("1_abc") is False)
    with empty_server.client as client:
        client.set("{rolecall}:layout", LAYOUT + 1)
    slots = [Slot("s", 1, NOW)]
    for call in (
        lambda: store.add_session(RECORD),
        lambda: store.get_session("1_abc"),
        lambda: store.end_session("1_abc", 7.5),
        lambda: store.use_once("a", 10.0, 5.0),
        lambda: store.raise_mark("reset 1_abc", 5.0, inf),
        lambda: store.get_marks(["reset 1_abc"]),
        lambda: store.full_slot(slots, 5.0),
        lambda: store.take_lease("a", slots, 5.0),
        lambda: store.list_sessions(Page(10)),
        lambda: store.forget(Over(NOW)),
        lambda: store.dump("sessions", None, 10),
        lambda: store.count(),
        lambda: store.examine(),
        lambda: store.migrate(),
    ):
        assert "later version of Rolecall has changed the layout" in refusal(call)
    assert soon(lambda: refuses(lambda: follower.has_ended("1_abc")))


# -- examination -----------------------------------------------------------------------------------


def found_in(store: RedisStore) -> str:
    return "; ".join(f"{finding.level}: {finding.found}, {finding.remedy}" for finding in store.examine())


def test_what_is_wrong_with_a_server_is_found(start, connect):
    server = start("--maxmemory", "0")
    store = connect(f"{server.url}{PATIENT}&durability=none")
    store.add_session(RECORD)
    assert store.examine() == []
    with server.client as client:
        for setting, value, usual, found in (
            ("appendfsync", "everysec", "always", "warning: .* last second .*, set appendfsync always"),
            ("appendfsync", "no", "always", "warning: .* 30 seconds .*, set appendfsync always"),
            ("maxmemory-policy", "allkeys-lru", "noeviction", "warning: .*allkeys-lru.*, set maxmemory-policy noev"),
            ("maxmemory", client.info("memory")["used_memory"], "0", "warning: .*of its maxmemory.*, raise maxmemory"),
            ("appendonly", "no", "yes", "warning: .*no append-only file.*, set appendonly yes"),
        ):
            client.config_set(setting, value)
            assert re.fullmatch(f"{found}.*", found_in(store)), setting
            client.config_set(setting, usual)
        assert store.examine() == []
        client.execute_command("ACL", "SETUSER", "app", "on", ">word", "~*", "+@all", "-config")
        app = connect(f"redis://app:word@127.0.0.1:{server.port}")
        assert re.fullmatch("info: .*appendfsync.*config.get.*", found_in(app))


def test_keys_that_were_lost_are_found(empty_server, connect):
    store = connect(empty_server.url)
    store.add_session(RECORD)
    store.end_session("1_abc", 7.5)
    with empty_server.client as client:
        client.delete("{rolecall}:listed", "{rolecall}:count")
    assert re.fullmatch("error: .* 1 sessions and a list of 0.*; warning: .*log .*counter disagree.*", found_in(store))


@pytest.mark.parametrize(("lost", "numbers"), [("marks", (0, 2)), ("kept", (2, 0))])
def test_marks_that_were_lost_are_found(empty_server, connect, lost, numbers):
    store = connect(empty_server.url)
    for number in range(2):
        store.raise_mark(f"actor {number}", 5.0, NOW)
    assert store.examine() == []
    with empty_server.client as client:
        client.delete("{rolecall}:" + lost)
    assert re.fullmatch(
        "error: .* {} revocations and the times of {}.*restore a backup".format(*numbers), found_in(store)
    )


def test_replicas_that_lack_or_are_needed_are_found(server, start, connect):
    start("--replicaof", "127.0.0.1", str(server.port))
    with server.client as client:
        assert soon(lambda: client.wait(1, 100) == 1)
        assert re.fullmatch("warning: a failover .*, add replicas=1.*", found_in(connect(server.url)))
        client.config_set("min-replicas-to-write", 1)
    one, two = (connect(f"{server.url}{PATIENT}&replicas={number}") for number in (1, 2))
    assert re.fullmatch("warning: .* one of the 1 replicas fails.*, add a replica", found_in(one))
    assert "error: 1 replicas are connected and the URL demands 2" in found_in(two)


# -- use once --------------------------------------------------------------------------------------


def test_a_single_use_id_expires_after_its_time(empty_server, connect):
    connect(empty_server.url).use_once("a", 1010.0, 1000.0)
    with empty_server.client as client:
        assert 10_000 < client.pttl("{rolecall}:used:a") <= 70_000


def test_a_use_whose_answer_was_lost_is_still_the_first(empty_server, connect):
    """The connection breaks between the change and the answer; the store asks again with the same token."""
    with closing(Cutting(empty_server.port)) as proxy:
        store = connect(f"redis://127.0.0.1:{proxy.port}")
        assert store.use_once("first", 10.0, 5.0) is True
        proxy.cut_after_next = b"used:second"
        assert store.use_once("second", 10.0, 5.0) is True
        assert proxy.cuts == 1
        assert store.use_once("second", 10.0, 5.0) is False


def test_a_lease_whose_answer_was_lost_counts_once(empty_server, connect):
    with closing(Cutting(empty_server.port)) as proxy:
        store = connect(f"redis://127.0.0.1:{proxy.port}")
        store.count()
        slots = [Slot("s", 2, NOW + 60)]
        proxy.cut_after_next = b"lease:first"
        assert store.take_lease("first", slots, NOW) is None
        assert proxy.cuts == 1
        assert store.take_lease("second", slots, NOW) is None
        assert store.count()["leases"] == 2


def test_a_mark_whose_answer_was_lost_is_told_once(empty_server, connect):
    with closing(Cutting(empty_server.port)) as proxy:
        store = connect(f"redis://127.0.0.1:{proxy.port}")
        store.count()
        proxy.cut_after_next = b"reset 1_abc"
        assert store.raise_mark("reset 1_abc", 5.0, inf) == 5.0
        assert proxy.cuts == 1
        with empty_server.client as client:
            assert client.xlen("{rolecall}:log") == 1


class Cutting:
    """A proxy that cuts a connection when the server has answered a request with a given text."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut_after_next = b""
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: Any) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server, suppress(OSError):
            while request := client.recv(65536):
                cuts = bool(self.cut_after_next) and self.cut_after_next in request
                server.sendall(request)
                answer = server.recv(65536)
                if cuts:
                    self.cut_after_next = b""
                    self.cuts += 1
                    return
                client.sendall(answer)


# -- servers that are refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--appendonly", "no"), "no append-only file.*set appendonly yes"),
        (("--maxmemory-policy", "allkeys-lru"), "allkeys-lru.*set maxmemory-policy noeviction"),
    ],
    ids=["no AOF", "eviction"],
)
def test_a_server_that_may_forget_is_refused_unless_told_so(start, connect, options, message):
    server = start(*options)
    store = connect(server.url)
    for call in (lambda: store.add_session(RECORD), lambda: store.ended_among(["1_abc"])):
        with pytest.raises(StoreUnavailable, match=message + ".*durability=none"):
            call()
    told = connect(f"{server.url}?durability=none")
    told.end_session("1_abc", 7.5)
    assert known(told, "1_abc") is True


def test_a_replica_is_refused(server, start, connect):
    replica = start("--replicaof", "127.0.0.1", str(server.port))
    assert "is a replica" in refusal(lambda: connect(replica.url).get_session("1_abc"))


@pytest.mark.parametrize(
    "ask",
    [lambda store: store.ended_among(["1_abc"]), lambda store: store.get_marks(["reset 1_abc"])],
    ids=["ends", "marks"],
)
def test_a_master_that_has_become_a_replica_does_not_say_that_nothing_is_revoked(server, start, connect, ask):
    replica = start("--replicaof", "127.0.0.1", str(server.port))
    with replica.client as client:
        assert soon(lambda: client.info("replication")["master_link_status"] == "up")
        store = connect(server.url + PATIENT)
        assert not ask(store)
        client.replicaof("no", "one")
    with server.client as client:
        client.replicaof("127.0.0.1", "1")  # its new master is out of its reach
    other = connect(replica.url + PATIENT)
    other.end_session("1_abc", 7.5)
    other.raise_mark("reset 1_abc", 5.0, inf)
    # By a connection that it has had since before.
    assert "is a replica" in refusal(lambda: ask(store))


def test_a_user_who_may_not_ask_for_info_is_told_so(server, connect):
    with server.client as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">word", "~*", "+@all", "-info")
    store = connect(f"redis://app:word@127.0.0.1:{server.port}")
    assert "may not run INFO" in refusal(lambda: store.get_session("1_abc"))


def test_the_rights_that_the_docs_name_suffice(server, connect):
    page = (Path(__file__).parents[3] / "docs" / "stores.md").read_text("utf-8")
    (rights,) = re.findall(r"^~\{rolecall\}[^`]*", page, re.MULTILINE)
    with server.client as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">word", "-@all", *rights.split())
    one, other = (connect(f"redis://app:word@127.0.0.1:{server.port}") for _ in range(2))
    one.add_session(RECORD)
    assert known(other, "1_abc") is False
    one.end_session("1_abc", 7.5)
    assert soon(lambda: other.has_ended("1_abc"))
    assert one.get_session("1_abc") == replace(RECORD, ended_at=7.5)
    assert one.use_once("a", 10.0, 5.0) is True
    assert one.raise_mark("actor ada", 7.5, NOW) == 7.5
    assert one.get_marks(["actor ada"]) == {"actor ada": 7.5}
    assert soon(lambda: marked(other, "actor", "ada") == 7.5)
    with server.client as client:
        client.delete("{rolecall}:count")
    one.end_session("1_def", 7.5)
    assert soon(lambda: other.has_ended("1_def"))
    assert one.take_lease("a", [Slot("s", 1, NOW)], NOW - 1) is None
    assert one.full_slot([Slot("s", 1, NOW)], NOW - 1) == Full("s", NOW)
    one.drop_lease("a")
    one.drop_slot("s")
    one.keep_lease("a", [Slot("s", 1, NOW)])
    token = IssuedToken("1_abc", "0.a", "ada", "publisher", NOW - 60, NOW)
    one.add_token(token)
    assert one.list_tokens(TokenPage(10, NOW - 1, "1_abc", "ada")).tokens == [token]
    assert one.put_document("keys", "content", 0) is True
    assert one.get_document("keys") == (1, "content")
    assert one.list_sessions(Page(10)) == [replace(RECORD, ended_at=7.5)]
    for kind in KINDS:
        rows, _ = one.dump(kind, None, 100)
        assert list(one.load(kind, rows)) == rows != []
    assert one.examine() == []
    assert one.clock() > NOW
    assert one.forget(Over(NOW + 1, 8.0, RECORD.created_at + 1)) == 6
    assert one.count() == {"ended": 0, "marks": 0, "sessions": 0, "used": 1, "leases": 0, "tokens": 0, "documents": 1}
    assert one.migrate() == (LAYOUT, LAYOUT)


def test_a_full_server_refuses_and_says_so(server, connect):
    store = connect(server.url)
    store.end_session("1_abc", 7.5)
    assert known(store, "1_abc") is True
    with server.client as client:
        client.config_set("maxmemory", "1")
    assert "maxmemory" in refusal(lambda: store.end_session("1_def", 7.5))
    assert known(store, "1_abc") is True
    assert known(store, "1_def") is False


# -- connections, forks, gevent ------------------------------------------------------------------------


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("leave", [lambda store: store.close(), lambda store: None], ids=["closed", "abandoned"])
def test_a_store_that_is_left_holds_no_connection(server, leave, no_garbage_collection):
    store = RedisStore(server.url)
    assert known(store, "1_abc") is False
    store.add_session(RECORD)
    leave(store)
    del store

    def connections() -> int:
        with server.client as client:
            return len(client.client_list())

    assert soon(lambda: connections() == 1)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_uses_none_of_its_parents_connections(empty_server, connect):
    store = connect(empty_server.url)
    store.end_session("1_parent", 7.5)
    store.raise_mark("reset 1_parent", 5.0, inf)
    assert known(store, "1_other") is False

    def work() -> object:
        store.end_session("1_child", 7.5)
        store.raise_mark("reset 1_child", 5.0, inf)
        marks = [marked(store, "reset", f"1_{whose}") for whose in ("parent", "child")]
        return known(store, "1_parent"), known(store, "1_child"), marks, store.use_once("a", 10.0, 5.0)

    assert in_child(work) == (True, True, [5.0, 5.0], True)
    assert soon(lambda: store.has_ended("1_child"))
    assert soon(lambda: marked(store, "reset", "1_child") == 5.0)
    assert store.use_once("a", 10.0, 5.0) is False


UNDER_GEVENT = """
import gevent.monkey
gevent.monkey.patch_all()
import sys, time, gevent
from rolecall.stores.redis import RedisStore
store, other = RedisStore(sys.argv[1]), RedisStore(sys.argv[1])
assert not other.ended_among(["1_abc"])
gaps = [0.0]
def tick():
    while True:
        began = time.monotonic()
        gevent.sleep(0.005)
        gaps.append(time.monotonic() - began)
ticking = gevent.spawn(tick)
gevent.joinall([gevent.spawn(store.end_session, f"1_{n}", 7.5) for n in range(20)], raise_error=True)
with gevent.Timeout(20):
    while not all(other.has_ended(f"1_{n}") for n in range(20)):
        gevent.sleep(0.005)
# Without a turn for any greenlet, the follower goes on: it is a thread of the system.
busy_until = time.monotonic() + 1.5
while time.monotonic() < busy_until:
    pass
assert other.has_ended("1_other") is False
store.close(), other.close()
print("done")
"""


def test_it_works_under_gevent(empty_server):
    command = [sys.executable, "-X", "faulthandler", "-c", UNDER_GEVENT, empty_server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


# -- Sentinel and Cluster --------------------------------------------------------------------------


@pytest.fixture
def sentinels(server, start, tmp_path):
    """A master, two replicas, and three Sentinels that watch them."""
    replicas = [start("--replicaof", "127.0.0.1", str(server.port)) for _ in range(2)]
    with server.client as client:
        assert soon(lambda: client.wait(2, 100) == 2)
    watchers = [start(sentinel=True) for _ in range(3)]
    for watcher in watchers:
        with watcher.client as client:
            client.execute_command("SENTINEL", "MONITOR", "kit", "127.0.0.1", server.port, 2)
            client.execute_command("SENTINEL", "SET", "kit", "down-after-milliseconds", 500)
            client.execute_command("SENTINEL", "SET", "kit", "failover-timeout", 5000)
    for watcher in watchers:
        with watcher.client as client:
            assert soon(partial(_knows_all, client))
    hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in watchers)
    return server, replicas, f"redis+sentinel://{hosts}/kit"


def _knows_all(client: redis.Redis) -> bool:
    state: Any = client.sentinel_master("kit")
    return (state["num-other-sentinels"], state["num-slaves"]) == (2, 2)


def test_a_failover_loses_nothing_acknowledged(sentinels, connect):
    master, replicas, url = sentinels
    store, other = connect(url + PROMPT), connect(url + PROMPT)
    done(partial(store.add_session, RECORD))
    done(partial(store.end_session, "1_before", 7.5))
    assert soon(lambda: store.raise_mark("reset 1_before", 5.0, inf) == 5.0)
    assert soon(lambda: other.has_ended("1_before"))
    assert soon(lambda: other.get_session("1_abc") == RECORD)
    master.freeze()
    assert soon(lambda: store.end_session("1_during", 7.5) is None)
    assert soon(lambda: store.end_session("1_abc", 8.5) is None)
    assert soon(lambda: store.raise_mark("reset 1_abc", 5.0, inf) == 5.0)
    roles = set()
    for replica in replicas:
        with replica.client as client:
            roles.add(client.info("replication")["role"])
    assert roles == {"master", "slave"}
    master.thaw()  # it takes itself for the master for some 10 seconds more
    assert soon(lambda: other.get_session("1_abc") == replace(RECORD, ended_at=8.5), 5.0)
    assert soon(lambda: store.end_session("1_after", 7.5) is None)
    assert soon(lambda: all(other.has_ended(f"1_{when}") for when in ("before", "during", "after", "abc")))
    assert soon(lambda: [marked(other, "reset", name) for name in ("1_before", "1_abc")] == [5.0, 5.0])
    assert soon(lambda: len(other.get_marks(["reset 1_before", "reset 1_abc"])) == 2)


def test_a_change_that_no_replica_has_is_not_acknowledged(sentinels, connect):
    _, replicas, url = sentinels
    store = connect(url + PROMPT)
    done(partial(store.end_session, "1_before", 7.5))
    assert "no Redis Sentinel that answers knows" in refusal(
        lambda: connect(url.replace("/kit", "/other")).get_session("1_abc")
    )
    for replica in replicas:
        replica.freeze()
    started = time.monotonic()
    assert "only 0 of 1 replicas" in refusal(lambda: store.end_session("1_alone", 7.5))
    assert time.monotonic() - started < ANSWER + SLACK
    for replica in replicas:
        replica.thaw()


def test_a_cluster_keeps_a_store_on_one_of_its_servers(start, connect):
    ports = [
        free_port(),
        free_port(),
    ]  # of the cluster's own talk; otherwise 10,000 above the node's, which may be none
    nodes = [start("--cluster-enabled", "yes", "--cluster-port", str(port)) for port in ports]
    first, second = (node.client for node in nodes)
    with first, second:
        first.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        second.execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        first.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[1].port, ports[1])
        assert soon(lambda: all(b"cluster_state:ok" in _cluster_info(client) for client in (first, second)))
    for node in nodes:  # each knows where the keys are
        store = connect(f"redis+cluster://127.0.0.1:{node.port}?replicas=0")
        session_id = f"1_{node.port}"
        store.add_session(SessionRecord(session_id, SessionProperties(), 7.5))
        store.end_session(session_id, 7.5)
        assert known(store, session_id) is True
        assert store.use_once(session_id, 10.0, 5.0) is True
        assert store.get_session(session_id).ended_at == 7.5
        assert store.take_lease(session_id, [Slot("s", 1, NOW)], NOW - 1) is None
        store.drop_lease(session_id)
        assert store.raise_mark(f"reset {session_id}", 5.0, NOW) == 5.0
        assert store.get_marks([f"reset {session_id}"]) == {f"reset {session_id}": 5.0}
        late = connect(f"redis+cluster://127.0.0.1:{node.port}?replicas=0")
        assert marked(late, "reset", session_id) == 5.0
    assert store.take_lease("kept", [Slot("s", 1, NOW)], NOW - 1) is None
    assert [session.ended_at for session in store.list_sessions(Page(10))] == [7.5, 7.5]
    assert store.count() == {"ended": 2, "marks": 2, "sessions": 2, "used": 2, "leases": 1, "tokens": 0, "documents": 0}
    assert store.forget(Over(NOW + 1, 8.0, 8.0)) == 7


def test_a_store_follows_its_keys_to_another_node(start, connect):
    ports = [free_port(), free_port()]
    nodes = [start("--cluster-enabled", "yes", "--cluster-port", str(port)) for port in ports]
    first, second = (node.client for node in nodes)
    with first, second:
        first.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        first.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[1].port, ports[1])
        assert soon(lambda: all(b"cluster_known_nodes:2" in _cluster_info(client) for client in (first, second)))
        assert soon(lambda: all(b"cluster_state:ok" in _cluster_info(client) for client in (first, second)))
        store = connect(f"redis+cluster://127.0.0.1:{nodes[0].port}?replicas=0")
        assert known(store, "1_abc") is False
        slot, newcomer = key_slot(b"rolecall"), second.execute_command("CLUSTER", "MYID")

        def move() -> bool:
            first.flushall()
            with suppress(redis.ResponseError):  # the follower has written its generation in between
                return all(
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", newcomer) for client in (second, first)
                )
            return False

        assert soon(move)
        assert soon(lambda: store.end_session("1_abc", 7.5) is None)
        assert second.zrange("{rolecall}:ended", 0, -1) == [b"1_abc"]
        assert soon(lambda: store.has_ended("1_abc"))


def _cluster_info(client: redis.Redis) -> bytes:
    client.response_callbacks.clear()
    return client.execute_command("CLUSTER", "INFO")
