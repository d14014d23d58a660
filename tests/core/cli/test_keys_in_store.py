"""The commands for keys in the store: from the first key to another wrapping key, and workers that follow."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from rolecall import Rolecall
from rolecall.keys.sealing import wrapping_keys
from rolecall.stores.sqlite import SQLiteStore

from ...conftest import needed
from ...postgres_servers import PROGRAMS, PostgresProcess
from ...redis_servers import PROGRAM, RedisProcess
from ...sdk_tokens import API_KEY
from ...waiting import PATIENCE, soon
from .running import flat
from .test_keys import answer

KEY, OTHER = secrets.token_hex(32), secrets.token_hex(32)
KEY_ID, OTHER_ID = (wrapping_keys(key).ids[0] for key in (KEY, OTHER))


@pytest.fixture(autouse=True)
def url(monkeypatch, tmp_path) -> str:
    url = f"sqlite:///{tmp_path / 'app.db'}"
    monkeypatch.setenv("ROLECALL_STORE", url)
    monkeypatch.setenv("ROLECALL_KEYS_KEY", KEY)
    monkeypatch.delenv("ROLECALL_API_SECRET", raising=False)
    return url


def keys_of(run) -> list[tuple[str, str]]:
    return [(one["id"], one["state"]) for one in answer(run("keys", "list", "--json"))["keys"]]


def test_a_ring_from_its_first_key_to_the_retirement_of_one(run, url, clock):
    first, second = (answer(run("keys", "add", "--json")) for _ in range(2))
    assert (first["state"], second["state"]) == ("signing", "published")
    early = run("keys", "rotate")
    assert (early.exit_code, "wait, or force the rotation" in early.stderr) == (2, True)
    clock.now += 10
    assert answer(run("keys", "rotate", "--json"))["id"] == second["id"]
    steps = answer(run("keys", "schedule", "--longest-life", "24h", "--json"))["steps"]
    assert [(one["what"], one["id"]) for one in steps] == [("add", None), ("rotate", None)] + [
        ("retire", one["id"]) for one in (first, second)
    ]
    clock.now += 86_400 + 60
    answer(run("keys", "retire", str(first["id"])[:8], "--longest-life", "24h", "--json"))
    with Rolecall(API_KEY, keys_key=KEY, store=url) as kit:
        assert [(one.id, one.state) for one in kit.keys] == [(first["id"], "retired"), (second["id"], "signing")]
    assert keys_of(run) == [(first["id"], "retired"), (second["id"], "signing")]


def test_commands_for_tokens_have_the_keys_of_the_store(run):
    run("keys", "add")
    session_id = run("session", "create").stdout.strip()
    token = run("token", "generate", session_id).stdout.strip()
    assert run("token", "verify", "-", input=token).exit_code == 0


def test_a_kit_without_keys_in_the_store_says_how_to_make_them(run):
    run("keys", "add", "--issuer", "1")
    missing = run("session", "create")
    assert missing.exit_code == 2
    assert "the store has no keys of '123456'; make the first one with: rolecall keys add" in missing.stderr


def test_the_secret_may_come_from_stdin_and_never_shows(run, url):
    secret = secrets.token_hex(32)
    outputs = [run("keys", "add", "--stdin", input=secret + "\n").output, run("keys", "list").output]
    store = SQLiteStore.from_url(url)
    document = store.get_document("keys")
    assert document is not None
    assert not any(one in text for one in (secret, KEY) for text in (*outputs, document[1]))


def test_a_copy_of_the_store_needs_no_wrapping_key_and_has_the_keys(run, monkeypatch, url, tmp_path):
    key = answer(run("keys", "add", "--json"))["id"]
    other = f"sqlite:///{tmp_path / 'other.db'}"
    monkeypatch.delenv("ROLECALL_KEYS_KEY")
    monkeypatch.setenv("ROLECALL_API_SECRET", secrets.token_hex(32))
    assert run("store", "copy", url, other).exit_code == 0
    with Rolecall(API_KEY, keys_key=KEY, store=other) as kit:
        assert [one.id for one in kit.keys] == [key]


def test_another_wrapping_key_takes_the_place_of_the_first(run, monkeypatch):
    for _ in range(2):
        run("keys", "add")
    assert flat(run("keys", "list").stdout).endswith(f"wrapping key {KEY_ID} seals 2 keys")
    monkeypatch.setenv("ROLECALL_KEYS_KEY", f"{OTHER},{KEY}")
    run("keys", "add")
    assert answer(run("keys", "list", "--json"))["wrapping_keys"] == [
        {"id": OTHER_ID, "seals": 1, "is_given": True},
        {"id": KEY_ID, "seals": 2, "is_given": True},
    ]
    assert flat(run("keys", "rewrap").stdout) == "sealed anew 2 keys"
    assert answer(run("keys", "rewrap", "--json")) == {"sealed_anew": 0, "problems": []}
    monkeypatch.setenv("ROLECALL_KEYS_KEY", OTHER)
    assert len(keys_of(run)) == 3
    assert run("keys", "rotate", "--force", keys_of(run)[1][0]).exit_code == 0
    monkeypatch.setenv("ROLECALL_KEYS_KEY", KEY)
    assert run("keys", "add", "--issuer", "1").exit_code == 0


def test_keys_that_do_not_open_are_named_and_the_exit_code_is_1(run, monkeypatch):
    run("keys", "add")
    monkeypatch.setenv("ROLECALL_KEYS_KEY", OTHER)
    run("keys", "add", "--issuer", "1")
    assert f"wrapping key {KEY_ID} seals 1 key, and is not given" in flat(run("keys", "list").stdout)
    third = secrets.token_hex(32)
    monkeypatch.setenv("ROLECALL_KEYS_KEY", f"{third},{OTHER}")
    result = run("keys", "rewrap")
    assert result.exit_code == 1
    assert flat(result.stdout).startswith(
        f"sealed anew 1 key left key 1 of '123456': it is sealed with the wrapping key {KEY_ID}, and those given are "
    )


@pytest.mark.parametrize("command", ["list", "add", "rotate", "rewrap"])
def test_a_ring_file_and_keys_in_the_store_are_two_places(run, monkeypatch, tmp_path, command):
    monkeypatch.setenv("ROLECALL_KEYS_FILE", str(tmp_path / "keys.json"))
    result = run("keys", command)
    assert (result.exit_code, "a ring file is named, by --file or ROLECALL_KEYS_FILE, and keys" in result.stderr) == (
        2,
        True,
    )


def test_wrong_usage_says_what_to_do(run, monkeypatch, url, tmp_path):
    wrong = run("keys", "list", "--store", f"sqlite:///{tmp_path / 'none.db'}")
    assert (wrong.exit_code, "does not exist" in wrong.stderr) == (2, True)
    monkeypatch.setenv("ROLECALL_KEYS_KEY", "short")
    wrong = run("keys", "list")
    assert (wrong.exit_code, "ROLECALL_KEYS_KEY is a text of 5 characters that is neither" in wrong.stderr) == (2, True)
    monkeypatch.delenv("ROLECALL_KEYS_KEY")
    for command in (["list", "--store", url], ["rewrap"]):
        wrong = run("keys", *command)
        assert (wrong.exit_code, "ROLECALL_KEYS_KEY" in wrong.stderr) == (2, True)
    monkeypatch.setenv("ROLECALL_KEYS_KEY", KEY)
    monkeypatch.setenv("ROLECALL_STORE", "memory://")
    wrong = run("keys", "add")
    assert (wrong.exit_code, "is forgotten with it" in wrong.stderr) == (2, True)
    monkeypatch.delenv("ROLECALL_STORE")
    assert "no store is named" in run("keys", "add").stderr


def test_the_wrapping_key_may_be_in_a_file(run, monkeypatch, tmp_path):
    run("keys", "add")
    (tmp_path / "key").write_text(KEY + "\n")
    monkeypatch.delenv("ROLECALL_KEYS_KEY")
    monkeypatch.setenv("ROLECALL_KEYS_KEY_FILE", str(tmp_path / "key"))
    assert len(keys_of(run)) == 1


# -- other processes -------------------------------------------------------------------------------

_WORKER = """
import json, sys, threading, time
from rolecall import Rolecall
from rolecall.errors import InvalidToken

kit = Rolecall.from_env()
token = kit.create_session().generate_token()
threading.Thread(target=lambda: (sys.stdin.read(), kit.close(), sys.exit()), daemon=True).start()
said = None
while True:
    try:
        accepts = bool(kit.verify_token(token))
    except InvalidToken:
        accepts = False
    says = {"states": [one.state for one in kit.keys], "accepts": accepts}
    if says != said:
        said = says
        print(json.dumps(says), flush=True)
    time.sleep(0.02)
"""


class Worker:
    """A kit in another process, which says what it knows of its keys, and whether it accepts a token of the first."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.said: list[dict[str, object]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(map(json.loads, self.process.stdout))

    def says(self, *states: str, accepts: bool) -> bool:
        return soon(lambda: self.said and self.said[-1] == {"states": [*states], "accepts": accepts})


@pytest.fixture
def worker() -> Iterator[Callable[[], Worker]]:
    workers: list[Worker] = []

    def start() -> Worker:
        workers.append(Worker())
        return workers[-1]

    yield start
    for one in workers:
        one.process.kill()
        one.process.communicate(timeout=PATIENCE)


def rotate_and_retire(run, worker: Callable[[], Worker]) -> None:
    """A rotation by commands, which another process follows."""
    run("keys", "add")
    one = worker()
    assert one.says("signing", accepts=True)
    run("keys", "add")
    assert one.says("signing", "published", accepts=True)
    assert run("keys", "rotate", "--force").exit_code == 0
    assert one.says("verifying", "signing", accepts=True)
    assert run("keys", "retire", keys_of(run)[0][0], "--force").exit_code == 0
    assert one.says("retired", "signing", accepts=False)


@pytest.mark.process
def test_a_worker_with_an_sqlite_file_follows_a_rotation(run, worker):
    rotate_and_retire(run, worker)


@pytest.mark.server
def test_a_worker_with_postgresql_follows_a_rotation(run, worker, monkeypatch):
    needed(PROGRAMS, "the server of PostgreSQL (initdb and postgres)")
    server = PostgresProcess()
    try:
        database = server.start().new_database()
        monkeypatch.setenv("ROLECALL_STORE", server.url_of(database) + "?timeout=10&max_staleness=10")
        rotate_and_retire(run, worker)
    finally:
        server.remove()


@pytest.mark.server
def test_a_worker_with_redis_follows_a_rotation(run, worker, monkeypatch, tmp_path):
    needed(PROGRAM, "a Redis server")
    server = RedisProcess(tmp_path).start()
    try:
        monkeypatch.setenv("ROLECALL_STORE", server.url + "?timeout=5&max_staleness=10")
        rotate_and_retire(run, worker)
    finally:
        server.stop()


@pytest.mark.process
def test_of_first_keys_that_are_added_at_the_same_time_one_signs(run):
    def add() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "rolecall", "keys", "add"], stdout=subprocess.DEVNULL)

    assert [one.wait(PATIENCE) for one in [add() for _ in range(3)]] == [0, 0, 0]
    assert [state for _, state in keys_of(run)] == ["signing", "published", "published"]
