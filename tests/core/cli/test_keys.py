"""The commands for keys: a ring file from its first key to the retirement of a leaked one."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

import pytest

from rolecall import Rolecall
from rolecall.keys import HMACKey
from rolecall.keys.ring_file import RingFile
from rolecall.keys.states import key_id

from ...sdk_tokens import API_KEY, API_SECRET
from .running import flat, start

APPLICATION = "6b7a1d5e-0f1b-4c56-9a77-1c2b3d4e5f60"


@pytest.fixture(autouse=True)
def path(monkeypatch, tmp_path) -> str:
    path = str(tmp_path / "keys.json")
    monkeypatch.setenv("ROLECALL_KEYS_FILE", path)
    return path


def answer(result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def test_a_ring_from_its_first_key_to_the_retirement_of_one(run, path, clock):
    first, second = (answer(run("keys", "add", "--json")) for _ in range(2))
    assert (first["state"], second["state"]) == ("signing", "published")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    early = run("keys", "rotate")
    assert (early.exit_code, "wait, or force the rotation" in early.stderr) == (2, True)
    clock.now += 10
    assert answer(run("keys", "rotate", "--json"))["id"] == second["id"]
    alive = run("keys", "retire", str(first["id"])[:8])
    assert (alive.exit_code, "tokens of the key" in alive.stderr) == (2, True)
    clock.now += 86_400 + 60
    gone = answer(run("keys", "retire", str(first["id"])[:8], "--longest-life", "24h", "--json"))
    assert (gone["id"], gone["state"]) == (first["id"], "retired")
    with Rolecall(API_KEY, keys_file=path) as kit:
        assert [(one.id, one.state) for one in kit.keys] == [(first["id"], "retired"), (second["id"], "signing")]


def test_the_longest_life_has_a_unit_because_a_key_that_is_retired_is_gone(run):
    result = run("keys", "retire", "5f0c1d2e", "--longest-life", "24")
    assert (result.exit_code, "write for example 90d, 12h or 90s" in result.stderr) == (2, True)


def test_the_schedule_is_what_the_commands_take_and_not_a_second_earlier(run, clock):
    first = answer(run("keys", "add", "--json"))["id"]
    longest = ("--longest-life", "24h")

    def steps() -> list[tuple[str, str | None, int]]:
        found = answer(run("keys", "schedule", *longest, "--json"))["steps"]
        return [(step["what"], step["id"], step["from_then"] - clock.now) for step in found]

    life = 86_400 + 60
    assert steps() == [("add", None, 0), ("rotate", None, 10), ("retire", first, 10 + life)]
    second = answer(run("keys", "add", "--json"))["id"]
    assert steps() == [("rotate", second, 10), ("retire", first, 10 + life)]
    for step, (what, key, wait) in enumerate(steps()):
        clock.now += wait - 1 if step == 0 else life - 1
        arguments = [what, str(key), *(longest if what == "retire" else ())]
        assert run("keys", *arguments).exit_code == 2
        clock.now += 1
        assert run("keys", *arguments).exit_code == 0
    assert steps() == [("add", None, 0), ("rotate", None, 10), ("retire", second, 10 + life)]
    assert f"rolecall keys retire {second} --issuer {API_KEY}" in flat(run("keys", "schedule").stdout)


def test_a_leaked_key_is_retired_by_force(run):
    leaked = answer(run("keys", "add", "--json"))["id"]
    for command in (["add"], ["rotate", "--force"], ["retire", str(leaked), "--force"]):
        assert run("keys", *command).exit_code == 0
    assert [one.state for one in RingFile(os.environ["ROLECALL_KEYS_FILE"]).read()[API_KEY]] == ["retired", "signing"]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=repr)
def test_a_secret_that_is_in_use_comes_from_stdin(run, path, end):
    result = run("keys", "add", "--stdin", input=API_SECRET + end)
    assert result.exit_code == 0
    assert API_SECRET not in result.output
    assert RingFile(path).read()[API_KEY][0].id == key_id(HMACKey(API_SECRET))


@pytest.mark.parametrize("input", ["", "short", b"\xff" * 40], ids=["nothing", "short", "no text"])
def test_a_bad_secret_on_stdin_is_refused_and_makes_no_file(run, path, input):
    assert run("keys", "add", "--stdin", input=input).exit_code == 2
    assert not os.path.exists(path)


def test_the_list_says_from_when_a_key_can_be_retired(run, clock):
    run("keys", "add")
    run("keys", "add", "--issuer", APPLICATION)
    run("keys", "add")
    run("keys", "rotate", "--force")
    shown = run("keys", "list")
    lines = [flat(line) for line in shown.stdout.splitlines()]
    assert lines[0] == API_KEY
    assert lines[1].startswith("verifying ")
    assert lines[1].endswith("HS256 since 2026-11-20T15:00:00Z can be retired from 2026-12-20T16:01:00Z")
    assert [line.split()[0] for line in lines if line] == [
        *(API_KEY, "verifying", "signing"),
        *(APPLICATION, "signing"),
    ]
    listed = answer(run("keys", "list", "--json"))["keys"]
    assert [(one["issuer"], one["algorithm"]) for one in listed] == [
        (API_KEY, "HS256"),
        (API_KEY, "HS256"),
        (APPLICATION, "RS256"),
    ]


def test_whose_key_is_meant_is_asked_where_it_is_not_known(run, monkeypatch):
    monkeypatch.delenv("ROLECALL_API_KEY")
    unknown = run("keys", "add")
    assert (unknown.exit_code, "Give --issuer" in unknown.stderr) == (2, True)
    run("keys", "add", "--issuer", "1")
    assert answer(run("keys", "add", "--json"))["issuer"] == "1"
    run("keys", "add", "--issuer", "2")
    assert run("keys", "rotate").exit_code == 2


def test_the_file_is_named(run, monkeypatch, tmp_path):
    monkeypatch.delenv("ROLECALL_KEYS_FILE")
    unnamed = run("keys", "list")
    assert (unnamed.exit_code, "set ROLECALL_KEYS_FILE, or give --file PATH" in unnamed.stderr) == (2, True)
    missing = run("keys", "list", "--file", str(tmp_path / "no.json"))
    assert (missing.exit_code, "No such file" in missing.stderr) == (2, True)


def test_commands_take_the_secret_from_the_ring_file(run, monkeypatch):
    monkeypatch.delenv("ROLECALL_API_SECRET")
    run("keys", "add")
    session_id = run("session", "create").stdout.strip()
    token = run("token", "generate", session_id).stdout.strip()
    assert run("token", "verify", "-", input=token).exit_code == 0


@pytest.mark.process
def test_commands_at_the_same_time_are_all_kept(path):
    import subprocess
    import sys

    def begin(issuer: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "rolecall", "keys", "add", "--issuer", issuer])

    assert [one.wait(60) for one in [begin(f"{number}") for number in range(6)]] == [0] * 6
    assert sorted(RingFile(path).read()) == [f"{number}" for number in range(6)]


@pytest.mark.process
def test_help_names_each_command():
    text = start("keys", "--help").stdout.decode()
    assert all(name in text for name in ("list", "add", "rotate", "retire"))
