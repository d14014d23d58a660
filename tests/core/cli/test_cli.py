"""The command line: what each command prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jwt
import pytest

import rolecall as package
from rolecall import Allow, Deny, Rolecall, hookimpl
from rolecall.cli.reports import printable, relative

from ...sdk_tokens import API_KEY, API_SECRET, resigned
from ...untyped import untyped
from .running import CONFIGURED, flat, start

SESSION_ID = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
# What a terminal would take for a command: turn red, set the title, change the reading direction, a C1 control, DEL.
HOSTILE = "\x1b[31m\x1b]0;title\x07\u202e\x9b2J\x7f\r\n\t"


@pytest.fixture
def unconfigured(monkeypatch):
    for name in CONFIGURED:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def real_tokens(vectors) -> dict[tuple[str, str], dict]:
    """Tokens of the public SDKs, by SDK and form, signed with the secret of this module."""
    entries = json.loads((vectors / "opentok_tokens.json").read_text(encoding="utf-8"))["tokens"]
    return {(entry["sdk"], entry["form"]): {**entry, "token": resigned(entry["token"])} for entry in entries}


@pytest.fixture
def real_token(real_tokens) -> str:
    return real_tokens["py", "JWT"]["token"]


# Help, version and usage

ALL_COMMANDS = [
    (),
    ("demo",),
    ("session",),
    ("session", "create"),
    ("session", "list"),
    ("session", "show"),
    ("session", "end"),
    ("store",),
    ("store", "migrate"),
    ("store", "check"),
    ("store", "stats"),
    ("store", "purge"),
    ("store", "copy"),
    ("doctor",),
    ("token",),
    ("token", "generate"),
    ("token", "verify"),
    ("token", "inspect"),
    ("explain",),
    ("explain", "token"),
    ("explain", "access"),
    ("explain", "ticket"),
    ("plugins",),
    ("routes",),
]
GROUPS = [("session",), ("store",), ("token",), ("explain",)]


def test_version_is_the_package_s(run):
    assert run("--version").stdout == f"rolecall {package.__version__}\n"


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_every_command_has_help_and_it_succeeds(run, command):
    result = run(*command, "--help")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("command", [command for command in ALL_COMMANDS if command not in GROUPS])
def test_help_shows_examples_and_exit_codes(run, command):
    text = run(*command, "--help").stdout
    assert "Examples:" in text
    assert "Exit codes:" in text


def test_help_of_session_create_says_that_the_default_store_forgets(run):
    assert "memory://, forgets the session when this command ends" in flat(run("session", "create", "--help").stdout)


@pytest.mark.parametrize(
    "command", [("token", "verify"), ("token", "inspect"), ("explain", "access"), ("explain", "ticket")]
)
def test_help_recommends_stdin_for_tokens(run, command):
    assert "arguments show in the list of processes" in flat(run(*command, "--help").stdout)


def test_a_command_without_arguments_shows_its_help_as_wrong_usage(run):
    result = run()
    assert result.exit_code == 2
    assert "Usage: rolecall" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["nonsense"], "rolecall"),
        (["token", "verify"], "rolecall token verify"),
        (["token", "verify", "a", "b"], "rolecall token verify"),
        (["session", "create", "--secret=x"], "rolecall session create"),
        (["session", "create", "--media-mode", "other"], "rolecall session create"),
        (["demo", "--port", "65536"], "rolecall demo"),
        (["explain", "access", "x", "--role", "moderator", "--capability", "publish"], "rolecall explain access"),
        (["explain", "token", "x", "--expires-in", "0", "--expire-time", "0"], "rolecall explain token"),
    ],
)
def test_wrong_usage_is_one_error_and_where_to_look(run, arguments, command):
    result = run(*arguments)
    error, hint = result.stderr.splitlines()
    assert result.exit_code == 2
    assert error.startswith("error: ")
    assert hint == f"See: {command} --help"


@pytest.mark.parametrize("arguments", [["token"], ["token", "verify", "x"], ["session", "create"], ["--store"]])
def test_a_token_in_the_wrong_place_is_not_repeated(run, real_token, arguments):
    result = run(*arguments, real_token)
    assert result.exit_code == 2
    assert real_token[:32] not in result.output


def test_control_characters_of_arguments_are_escaped_in_errors(run):
    result = run("token", HOSTILE)
    assert result.exit_code == 2
    assert all(line.isprintable() for line in result.stderr.splitlines())


# Configuration


@pytest.mark.parametrize(
    "command",
    [
        ["session", "create"],
        ["token", "generate", SESSION_ID],
        ["token", "verify", "x"],
        ["explain", "token", SESSION_ID],
        ["explain", "access", "x"],
        ["plugins"],
    ],
)
def test_without_configuration_the_error_says_what_to_set(run, unconfigured, command):
    result = run(*command)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "ROLECALL_API_KEY is not set" in result.stderr
    assert "Set ROLECALL_API_KEY and ROLECALL_API_SECRET in the environment" in result.stderr


def test_a_weak_secret_is_a_configuration_error_that_does_not_repeat_it(run, monkeypatch):
    monkeypatch.setenv("ROLECALL_API_SECRET", "hunter2hunter2")
    result = run("session", "create")
    assert result.exit_code == 2
    assert "needs at least 32" in result.stderr
    assert "hunter2" not in result.output


def test_a_store_that_does_not_exist_is_a_configuration_error(run):
    result = run("session", "create", "--store", "mongodb://root:password@host")
    assert result.exit_code == 2
    assert "password" not in result.output
    assert result.stderr.startswith("error: the store's URL has the scheme 'mongodb'")


def test_the_option_for_the_store_wins_over_the_environment(run, monkeypatch, tmp_path):
    monkeypatch.setenv("ROLECALL_STORE", "nonsense://")
    assert run("session", "create", "--store", f"sqlite:///{tmp_path}/app.db").exit_code == 0


def test_with_json_a_configuration_error_is_an_object_too(run, unconfigured):
    result = run("session", "create", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["code"] == "configuration_error"


# rolecall demo


def test_demo_delegates_with_its_options(run, monkeypatch):
    served = SimpleNamespace(serve=lambda host, port, store: print(host, port, store))
    monkeypatch.setitem(sys.modules, "rolecall_demo", served)
    assert run("demo").stdout == "127.0.0.1 8000 None\n"
    assert run("demo", "--host", "::1", "--port", "1", "--store", "memory://").stdout == "::1 1 memory://\n"


def test_demo_ends_well_on_ctrl_c(run, monkeypatch):
    def serve(host, port, store):
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "rolecall_demo", SimpleNamespace(serve=serve))
    result = run("demo")
    assert (result.exit_code, result.stderr) == (0, "")


def test_demo_without_its_extra_says_how_to_install_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "rolecall_demo", None)
    result = run("demo")
    assert result.exit_code == 2
    assert 'pip install "rolecall[demo]"' in result.stderr


def test_demo_on_a_port_in_use_is_an_error_without_a_traceback(run, monkeypatch):
    def serve(host, port, store):
        raise OSError(98, "Address already in use")

    monkeypatch.setitem(sys.modules, "rolecall_demo", SimpleNamespace(serve=serve))
    result = run("demo")
    assert (result.exit_code, result.stderr) == (2, "error: Address already in use\n")


# rolecall session create


def test_session_create_prints_an_id_that_tokens_can_be_minted_for(run):
    session_id = run("session", "create").stdout.strip()
    assert run("token", "generate", session_id).exit_code == 0


def test_session_create_as_json_holds_all_properties(run, clock):
    result = run("session", "create", "--location", "203.0.113.7", "--media-mode", "routed", "--e2ee", "--json")
    properties = json.loads(result.stdout)
    assert properties.pop("session_id").startswith("2_")
    assert properties == {
        "location": "203.0.113.7",
        "media_mode": "routed",
        "archive_mode": "manual",
        "e2ee": True,
        "media": None,
        "created_at": clock(),
        "ended_at": None,
    }


def test_session_create_keeps_the_session_in_the_store(run, make_kit, tmp_path):
    store = f"sqlite:///{tmp_path}/app.db"
    session_id = run("session", "create", "--store", store).stdout.strip()
    assert make_kit(store=store).get_session(session_id).session_id == session_id


@pytest.mark.parametrize("options", [["--archive-mode", "always"], ["--location", "here"], ["--e2ee"]])
def test_session_options_that_are_not_valid_are_refused(run, options):
    result = run("session", "create", *options)
    assert result.exit_code == 1
    assert "(invalid_session_option)" in result.stderr


# rolecall token generate


def test_token_generate_prints_only_a_token_that_verifies(run, kit):
    result = run("token", "generate", SESSION_ID)
    assert result.stderr == ""
    assert kit.verify_token(result.stdout.rstrip("\n")).session_id == SESSION_ID


def test_token_generate_passes_its_options_on(run, kit):
    options = ["--role", "moderator", "--data", "name=Jöhn", "--layout", "focus", "--layout", "small"]
    options += ["--actor", "ada"]
    grant = kit.verify_token(run("token", "generate", SESSION_ID, *options).stdout.strip())
    assert (grant.role, grant.data, grant.layout) == ("moderator", "name=Jöhn", ("focus", "small"))
    assert grant.actor_id == "ada"


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("2h", 7200), ("30m", 1800), ("7d", 604_800), ("3600", 3600), ("90s", 90), ("1h30m", 5400), ("30d", 2_592_000)],
)
def test_expires_in_takes_units(run, kit, clock, duration, seconds):
    token = run("token", "generate", SESSION_ID, "--expires-in", duration).stdout.strip()
    assert kit.verify_token(token).expires_at == clock() + seconds


@pytest.mark.parametrize("time", ["1795190400", "1795190400.9", "2026-11-20T16:00:00Z", "2026-11-20T18:00+02:00"])
def test_expire_time_takes_unix_seconds_and_iso_8601(run, kit, time):
    token = run("token", "generate", SESSION_ID, "--expire-time", time).stdout.strip()
    assert kit.verify_token(token).expires_at == 1_795_190_400


@pytest.mark.parametrize("text", ["", "2x", "h", "-5", "1.5h", "٣h", "2h ", "1m1h", "9999999d", "1e9"])
def test_what_is_no_duration_is_wrong_usage(run, text):
    result = run("token", "generate", SESSION_ID, "--expires-in", text)
    assert result.exit_code == 2
    assert "is not a duration" in result.stderr


@pytest.mark.parametrize("text", ["", "tomorrow", "NaN", "-1", "٣", "2026-13-01T00:00Z", "\udcff"])
def test_what_is_no_time_is_wrong_usage(run, text):
    result = run("token", "generate", SESSION_ID, "--expire-time", text)
    assert result.exit_code == 2
    assert "is not a time" in result.stderr


def test_a_time_without_a_zone_is_wrong_usage(run):
    result = run("token", "generate", SESSION_ID, "--expire-time", "2026-11-20T16:00:00")
    assert result.exit_code == 2
    assert "has no time zone" in result.stderr


def test_both_ways_to_say_the_expiry_exclude_each_other(run):
    result = run("token", "generate", SESSION_ID, "--expires-in", "0", "--expire-time", "0")
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--role", "boss"], "invalid_role"),
        (["--expires-in", "0"], "invalid_expire_time"),
        (["--expires-in", "31d"], "invalid_expire_time"),
        (["--expire-time", "1795190400000"], "invalid_expire_time"),
        (["--expire-time", "0001-01-01T00:00:00+14:00"], "invalid_expire_time"),
        (["--expire-time", "9" * 24], "invalid_expire_time"),
        (["--data", "x" * 1001], "invalid_data"),
        (["--data", "\udcff"], "invalid_data"),
        (["--layout", "two words"], "invalid_data"),
    ],
)
def test_values_that_the_kit_refuses(run, options, code):
    result = run("token", "generate", SESSION_ID, *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"({code})" in result.stderr
    assert json.loads(run("token", "generate", SESSION_ID, *options, "--json").stdout)["code"] == code


def test_a_made_up_session_id_is_refused(run):
    result = run("token", "generate", "1_nonsense")
    assert result.exit_code == 1
    assert "(invalid_session_id)" in result.stderr


def test_a_session_that_ended_gets_no_token(run, make_kit, tmp_path):
    store = f"sqlite:///{tmp_path}/app.db"
    kit = make_kit(store=store)
    session_id = kit.create_session().session_id
    kit.end_session(session_id)
    result = run("token", "generate", session_id, "--store", store)
    assert result.exit_code == 1
    assert "(session_ended)" in result.stderr


def test_token_generate_as_json(run, clock):
    answer = json.loads(run("token", "generate", SESSION_ID, "--role", "subscriber", "--json").stdout)
    assert answer.pop("token").count(".") == 2
    assert answer == {"session_id": SESSION_ID, "role": "subscriber", "expires_at": clock() + 86_400}


# rolecall token verify


@pytest.mark.parametrize("form", ["JWT", "T1"])
@pytest.mark.parametrize("sdk", ["py", "node", "rb", "php"])
def test_real_tokens_are_accepted(run, real_tokens, clock, monkeypatch, sdk, form):
    monkeypatch.setenv("ROLECALL_ACCEPT", "opentok,t1")
    clock.now = 1_795_186_560  # a moment at which all of them are valid
    result = run("token", "verify", real_tokens[sdk, form]["token"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "role moderator" in flat(result.stdout)


def test_a_t1_token_is_refused_unless_the_environment_asks_for_it(run, real_tokens, clock):
    clock.now = 1_795_186_560
    result = run("token", "verify", real_tokens["py", "T1"]["token"])
    assert result.exit_code == 1
    assert "T1 token" in flat(result.stderr)


def test_verify_shows_the_grant(run, real_token):
    text = flat(run("token", "verify", real_token).stdout)
    assert text.startswith("accepted yes")
    assert f'session "{SESSION_ID}"' in text
    assert 'data "name=Jöhn & Co ~"' in text
    assert 'layout "focus", "small"' in text
    assert "issued 2026-11-20T14:49:58Z (1795186198), 10 min ago" in text
    assert "expires 2026-11-21T14:49:58Z (1795272598), in 23 h 49 min" in text


def test_verify_shows_for_whom_a_token_is(run, clock):
    with Rolecall(API_KEY, API_SECRET, clock=clock) as kit:
        token = kit.create_session().generate_token(actor="Zoë")
    assert 'actor "Zoë"' in flat(run("token", "verify", token).stdout)
    assert json.loads(run("token", "verify", token, "--json").stdout)["actor_id"] == "Zoë"


def test_verify_as_json(run, real_token):
    answer = json.loads(run("token", "verify", real_token, "--json").stdout)
    assert len(answer.pop("token_id")) == 64
    assert answer == {
        "accepted": True,
        "detail": None,
        "session_id": SESSION_ID,
        "role": "moderator",
        "capabilities": ["connect", "subscribe", "publish", "signal", "force_disconnect", "force_unpublish"],
        "actor_id": None,
        "data": "name=Jöhn & Co ~",
        "layout": ["focus", "small"],
        "issued_at": 1_795_186_198,
        "expires_at": 1_795_272_598,
    }


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "  \n\n"])
def test_a_token_is_read_from_stdin(run, real_token, end):
    assert run("token", "verify", "-", input=real_token + end).exit_code == 0


def test_an_expired_token_is_refused_with_the_reason(run, real_token, clock):
    clock.now += 2 * 86_400
    result = run("token", "verify", real_token)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: the token is refused: the token expired at 2026-11-21T14:49:58Z")


# The times of the real token are 10 minutes ago and in nearly a day, and the leeway is 10 s.
BY_LEEWAY = pytest.mark.parametrize(
    ("now", "reason"),
    [
        (1_795_272_598 - 1, None),
        (1_795_272_598, "the token expired 0 s ago"),
        (1_795_272_598 + 9.5, "the token expired 9.5 s ago"),
        (1_795_186_198 - 3, "the token becomes valid in 3 s, by this server's clock"),
        (1_795_186_198, None),
    ],
)


@BY_LEEWAY
@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_it_is_said_when_leeway_alone_lets_a_token_in(run, real_token, clock, command, now, reason):
    clock.now = now
    result, answer = run("token", command, real_token), run("token", command, real_token, "--json")
    reason = reason and f"by the leeway alone: {reason}"
    assert result.exit_code == answer.exit_code == 0
    assert f"accepted yes{f', {reason}' if reason else ''}" in flat(result.stdout)
    assert json.loads(answer.stdout)["detail"] == reason
    assert ("leeway" in result.stdout) is bool(reason)


@BY_LEEWAY
def test_an_explanation_says_so_too(run, real_token, clock, now, reason):
    clock.now = now
    text = flat(run("explain", "access", real_token).stdout)
    assert text.startswith("access: allowed")
    assert ("leeway" in text) is bool(reason)
    assert (reason or "") in text


def test_a_refused_token_is_not_repeated(run, real_token):
    result = run("token", "verify", real_token[:-1])
    assert result.exit_code == 1
    assert not any(part in result.output for part in real_token.split("."))


def test_a_refusal_as_json_is_one_object(run, real_token):
    result = run("token", "verify", real_token, "--session-id", "another", "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    assert json.loads(result.stdout) == {
        "accepted": False,
        "code": "wrong_session",
        "detail": "the token is for another session than the one asked for",
    }


def test_verify_for_the_token_s_own_session(run, real_token):
    assert run("token", "verify", real_token, "--session-id", SESSION_ID).exit_code == 0


def test_verify_refuses_the_token_of_a_session_that_ended(run, make_kit, tmp_path):
    store = f"sqlite:///{tmp_path}/app.db"
    kit = make_kit(store=store)
    session = kit.create_session()
    token = session.generate_token()
    kit.end_session(session.session_id)
    result = run("token", "verify", token, "--store", store)
    assert result.exit_code == 1
    assert "(revoked_token)" in result.stderr


NO_TOKENS = {
    "empty": b"",
    "white space": b" \n\t\n",
    "not UTF-8": b"\xff\xfe\x00ey",
    "NUL": b"\x00",
    "words": b"not a token",
    "two dots": b"..",
    "T1 without content": b"T1==",
    "T1 with nonsense": b"T1==!!!!",
    "too long": b"a" * 17_000,
    "huge": b"a" * 5_000_000,
    "nested": b"e30." + b"W1tbW1tbW1tb" * 500 + b".e30",
}


@pytest.mark.parametrize("command", ["verify", "inspect"])
@pytest.mark.parametrize("data", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_on_stdin_is_one_error(run, command, data):
    result = run("token", command, "-", input=data)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: this is not a token that can be read: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["verify", "inspect"])
@pytest.mark.parametrize("data", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_as_json_is_one_object(run, command, data):
    result = run("token", command, "-", "--json", input=data)
    answer = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (1, "")
    assert (answer["accepted"], answer["code"]) == (False, "malformed_token")


# rolecall token inspect


def test_inspect_shows_what_a_token_says(run, real_token):
    text = flat(run("token", "inspect", real_token).stdout)
    assert 'format jwt header {"alg": "HS256", "typ": "JWT"}' in text
    assert f'session_id "{SESSION_ID}"' in text
    assert 'connection_data "name=Jöhn & Co ~"' in text


def test_inspect_shows_times_as_people_read_them(run, real_token, clock):
    clock.now += 3 * 86_400
    text = flat(run("token", "inspect", real_token).stdout)
    assert "iat 2026-11-20T14:49:58Z (1795186198), 3 days ago" in text


def test_inspect_shows_capabilities_as_a_grid(run, kit):
    text = flat(run("token", "inspect", kit.generate_token(SESSION_ID, "publisher")).stdout)
    assert "may ✓ connect ✓ subscribe ✓ publish ✓ signal · force_disconnect · force_unpublish" in text


def test_inspect_never_shows_the_signature(run, real_token):
    result = run("token", "inspect", real_token)
    assert real_token.rpartition(".")[2] not in result.output
    assert real_token.rpartition(".")[2] not in run("token", "inspect", real_token, "--json").output


def test_inspect_says_that_the_configured_key_accepts(run, real_token):
    assert flat(run("token", "inspect", real_token).stdout).endswith("accepted yes")


def test_inspect_says_why_a_token_is_not_accepted_and_succeeds(run, real_token):
    result = run("token", "inspect", real_token[:-1] + "A")
    assert result.exit_code == 0
    assert "accepted no: the token's signature does not fit its content: it was signed" in flat(result.stdout)
    assert "or changed since (bad_signature)" in flat(result.stdout)


def test_inspect_without_a_secret_says_so_and_how_to_configure_it(run, unconfigured, real_token):
    result = run("token", "inspect", real_token)
    assert result.exit_code == 0
    assert "the signature was not checked" in result.stdout
    assert "Set ROLECALL_API_KEY and ROLECALL_API_SECRET" in result.stdout


def test_inspect_with_a_weak_secret_says_why_it_did_not_check(run, monkeypatch, real_token):
    monkeypatch.setenv("ROLECALL_API_SECRET", "hunter2hunter2")
    result = run("token", "inspect", real_token)
    assert result.exit_code == 0
    assert "the signature was not checked the secret has 14 bytes" in flat(result.stdout)


def test_inspect_takes_t1_tokens_apart(run, real_tokens):
    text = flat(run("token", "inspect", real_tokens["py", "T1"]["token"]).stdout)
    assert "format t1 claims" in text
    assert 'connection_data "name=Jöhn & Co ~*\\n"' in text


def test_inspect_says_when_a_token_without_exp_ends(run, real_tokens):
    text = flat(run("token", "inspect", real_tokens["rb", "JWT"]["token"]).stdout)
    assert "exp none, so 24 hours after iat: 2026-11-21T14:55:04Z (1795272904), in 23 h 55 min" in text


@pytest.mark.parametrize("claims", [{"role": "boss"}, {"role": 7}, {"role": ["moderator"]}, {}])
def test_inspect_shows_no_capabilities_without_a_standard_role(run, claims):
    result = run("token", "inspect", jwt.encode(claims, API_SECRET), "--json")
    answer = json.loads(result.stdout)
    assert (answer["role"], answer["capabilities"]) == (None, None)
    assert "may" not in run("token", "inspect", jwt.encode(claims, API_SECRET)).stdout.split()


@pytest.mark.parametrize("time", [True, "1795186198", 10**15, -(10**15), 1e300, None, [1], {"a": 1}])
def test_inspect_shows_a_time_that_is_none_as_it_stands(run, time):
    token = jwt.encode({"create_time": time, "nbf_like": 1}, API_SECRET)
    result = run("token", "inspect", token)
    assert result.exit_code == 0
    assert f"create_time {json.dumps(time)}" in flat(result.stdout)


def test_inspect_as_json(run, real_token):
    answer = json.loads(run("token", "inspect", real_token, "--json").stdout)
    assert answer["format"] == "jwt"
    assert answer["header"] == {"alg": "HS256", "typ": "JWT"}
    assert answer["claims"]["session_id"] == SESSION_ID
    assert answer["role"] == "moderator"
    assert "force_unpublish" in answer["capabilities"]
    assert answer["times"]["exp"] == {
        "seconds": 1_795_272_598,
        "utc": "2026-11-21T14:49:58Z",
        "relative": "in 23 h 49 min",
    }
    assert (answer["accepted"], answer["code"], answer["detail"]) == (True, None, None)


def test_inspect_as_json_says_null_where_it_could_not_check(run, unconfigured, real_token):
    answer = json.loads(run("token", "inspect", real_token, "--json").stdout)
    assert (answer["accepted"], answer["code"]) == (None, "configuration_error")


# rolecall explain


@pytest.fixture
def load(monkeypatch):
    """Makes plugins loadable by name, and names them in the environment."""

    def load(*plugins: object) -> None:
        module = ModuleType("school_policies")
        for index, plugin in enumerate(plugins):
            setattr(module, f"plugin_{index}", plugin)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        names = (f"{module.__name__}:plugin_{index}" for index in range(len(plugins)))
        monkeypatch.setenv("ROLECALL_PLUGINS", ",".join(names))

    return load


class Lessons:
    """Publishers at most, and nobody enters."""

    name = "lessons"

    @hookimpl
    def rolecall_vote_token(self, request):
        return Allow(max_role="publisher", reason="no lesson now")

    @hookimpl
    def rolecall_vote_access(self, request):
        return Deny(f"sent out{HOSTILE}", code="sent_out")


class Audit:
    """Votes on nothing."""

    name = "audit"

    @hookimpl
    def rolecall_vote_token(self, request):
        return None

    @hookimpl
    def rolecall_on_event(self, event):
        return None


def test_explain_token_shows_each_policy_and_what_is_left(run, load):
    load(Lessons(), Audit())
    result = run("explain", "token", SESSION_ID, "--role", "moderator")
    text = flat(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert text.startswith("token: allowed request ok moderator until")
    assert "policy rolecall allow the server's own code asks policy audit abstain" in text
    assert "no lesson now, max_role=publisher grant ok publisher until" in text


def test_explain_token_takes_the_options_of_token_generate(run, load):
    asked = []

    class Asks:
        @hookimpl
        def rolecall_vote_token(self, request):
            asked.append(
                (request.role, request.expires_at - request.now, request.data, request.layout, request.actor.id)
            )

    load(Asks())
    options = [
        "--role",
        "subscriber",
        "--expires-in",
        "2h",
        "--data",
        "name=Jöhn",
        "--layout",
        "focus",
        "--actor",
        "ada",
    ]
    assert run("explain", "token", SESSION_ID, *options).exit_code == 0
    assert asked == [("subscriber", 7200, "name=Jöhn", ("focus",), "ada")]


def test_explain_token_issues_none(run, load):
    told = []

    class Listens:
        @hookimpl
        def rolecall_on_event(self, event):
            told.append(event.name)

    load(Listens())
    result = run("explain", "token", SESSION_ID)
    assert "eyJ" not in result.stdout
    assert told == []


def test_a_refused_token_is_explained_with_exit_code_1(run):
    result = run("explain", "token", SESSION_ID, "--role", "boss")
    assert (result.exit_code, result.stderr) == (1, "")
    assert flat(result.stdout).startswith("token: refused (invalid_role) request refused role 'boss' does not exist")


def test_explain_token_as_json(run):
    answer = json.loads(run("explain", "token", SESSION_ID, "--json").stdout)
    assert (answer["subject"], answer["allowed"], answer["code"]) == ("token", True, None)
    assert [step["step"] for step in answer["steps"]] == ["request", "session open", "policy rolecall", "grant"]


def test_explain_access_shows_each_step(run, real_token):
    result = run("explain", "access", real_token, "--role", "moderator", "--session-id", SESSION_ID)
    text = flat(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert text.startswith("access: allowed credential ok a token that was passed in form ok JWT key ok API key 123456")
    assert "session ok the one that the route names" in text
    assert "role ok moderator is enough for role:moderator" in text


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--role", "moderator"], "insufficient_role"),
        (["--capability", "force_disconnect"], "insufficient_role"),
        (["--session-id", "1_another"], "wrong_session"),
    ],
)
def test_a_refused_entry_is_explained_with_exit_code_1(run, kit, options, code):
    token = kit.generate_token(SESSION_ID, "publisher")
    result = run("explain", "access", "-", *options, input=token)
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith(f"access: refused ({code})\n")


def test_explain_access_never_shows_the_token(run, real_token):
    for options in ["access"], ["access", "--json"], ["access", "--session-id", "1_another"], ["ticket"]:
        text = run("explain", *options, real_token).output
        assert not any(part in text for part in real_token.split("."))


def test_a_ticket_is_explained_with_its_service(run, kit, monkeypatch):
    token = kit.generate_token(SESSION_ID, "publisher", actor="ada")
    result = run("explain", "ticket", "-", input=token)
    assert result.exit_code == 1
    assert result.stdout.startswith("ticket: refused (no_media_service)\n")
    for name, value in {"": "livekit", "_URL": "wss://x.example", "_API_KEY": "key", "_API_SECRET": API_SECRET}.items():
        monkeypatch.setenv(f"ROLECALL_LIVEKIT{name}" if name else "ROLECALL_MEDIA", value)
    result = run("explain", "ticket", "-", input=token)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("ticket: allowed\n")
    assert "for 'ada' as publisher, until" in result.stdout


def test_what_is_no_token_is_explained_too(run):
    result = run("explain", "access", "abc", "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["code"]) == (1, "malformed_token")
    assert [(step["step"], step["outcome"]) for step in answer["steps"]] == [("credential", "ok"), ("form", "refused")]


def test_explain_access_without_a_token_on_stdin_is_refused(run):
    result = run("explain", "access", "-", input="")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "stdin is empty" in result.stderr


@pytest.mark.parametrize("options", [["--role", "boss"], ["--capability", "fly"]])
def test_a_requirement_that_does_not_exist_is_a_configuration_error(run, real_token, options):
    result = run("explain", "access", real_token, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "(configuration_error)" in result.stderr


def test_what_policies_say_never_steers_a_terminal(run, load, real_token):
    load(Lessons())
    result = run("explain", "access", real_token)
    assert result.exit_code == 1
    assert result.stdout.startswith("access: refused (sent_out)\n")
    assert result.stdout.replace("\n", "").isprintable()
    assert run("explain", "access", real_token, "--json").stdout.replace("\n", "").isprintable()


# rolecall plugins


def test_plugins_shows_origin_hooks_and_order(run, load):
    load(Lessons(), Audit())
    result = run("plugins")
    assert (result.exit_code, result.stderr) == (0, "")
    audit, lessons, order = map(flat, result.stdout.split("\n\n"))
    assert audit == "audit from plugin 'school_policies:plugin_1' hooks rolecall_on_event rolecall_vote_token"
    assert lessons.startswith("lessons from plugin 'school_policies:plugin_0'")
    assert order == (
        "asked in this order rolecall_on_event audit rolecall_vote_access lessons rolecall_vote_token audit, lessons"
    )


def test_plugins_as_json(run, load):
    load(Lessons(), Audit())
    answer = json.loads(run("plugins", "--json").stdout)
    assert [plugin["name"] for plugin in answer["plugins"]] == ["audit", "lessons"]
    assert answer["plugins"][0] == {
        "name": "audit",
        "origin": "plugin 'school_policies:plugin_1'",
        "hooks": ["rolecall_on_event", "rolecall_vote_token"],
    }
    assert answer["order"]["rolecall_vote_token"] == ["audit", "lessons"]


def test_plugins_leaves_out_what_is_blocked(run, load, monkeypatch):
    load(Lessons(), Audit())
    monkeypatch.setenv("ROLECALL_BLOCKED_PLUGINS", "lessons")
    assert [plugin["name"] for plugin in json.loads(run("plugins", "--json").stdout)["plugins"]] == ["audit"]


def test_without_plugins_it_says_so(run):
    assert run("plugins").stdout == "no plugin is loaded\n"
    assert json.loads(run("plugins", "--json").stdout) == {"plugins": [], "order": {}, "not_loaded": {}}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with the plugins "classroom" and "library"; importing the second fails."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "classroom_of_this_test.py").write_text(
        "from rolecall import hookimpl\n\nname = 'lessons'\n\n\n@hookimpl\ndef rolecall_vote_token(request): ...\n"
    )
    info = tmp_path / "acme_policies-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-policies\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text("[rolecall]\nclassroom=classroom_of_this_test\nlibrary=no_such_module\n")
    yield
    sys.modules.pop("classroom_of_this_test", None)


def test_plugins_lists_what_is_installed_and_not_loaded(run, installed, monkeypatch):
    monkeypatch.setenv("ROLECALL_ENTRY_POINTS", "classroom")
    result = run("plugins")
    assert flat(result.stdout).startswith("classroom from entry point 'classroom' of acme-policies 2.1")
    assert flat(result.stdout).endswith("installed, and not loaded library acme-policies 2.1")
    assert json.loads(run("plugins", "--json").stdout)["not_loaded"] == {"library": "acme-policies 2.1"}


def test_the_environment_may_block_and_configure_what_the_app_passes_in_its_own_code(run, monkeypatch):
    monkeypatch.setenv("ROLECALL_PLUGIN_LESSONS", '{"hours": 2}')
    monkeypatch.setenv("ROLECALL_BLOCKED_PLUGINS", "audit")
    assert run("session", "create").exit_code == 0


def test_credentials_may_stand_in_files(run, unconfigured, tmp_path, monkeypatch):
    for name, value in CONFIGURED.items():
        (tmp_path / name).write_text(value + "\n")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    assert run("token", "generate", SESSION_ID).exit_code == 0
    refused = run("token", "generate", "1_made-up")
    assert refused.exit_code == 1
    assert "Set ROLECALL_API_KEY" not in refused.stderr


def test_a_misspelt_variable_is_named_and_nothing_is_carried_out(run, monkeypatch):
    monkeypatch.setenv("ROLECALL_ORIGIN", "https://a.example")
    result = run("session", "create")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean ROLECALL_ORIGINS?" in result.stderr


def test_a_name_that_would_steer_a_terminal_is_escaped(run, load):
    plugin = Audit()
    plugin.name = HOSTILE
    load(plugin)
    assert run("plugins").stdout.replace("\n", "").isprintable()


def test_a_plugin_that_cannot_be_loaded_is_named_and_nothing_is_carried_out(run, monkeypatch):
    monkeypatch.setenv("ROLECALL_PLUGINS", "no_such_module:Policy")
    result = run("plugins")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: the plugin 'no_such_module:Policy' cannot be loaded")
    assert json.loads(run("plugins", "--json").stdout)["code"] == "invalid_plugin"


def test_a_plugin_with_a_misspelt_hook_is_named(run, load):
    class Misspelt:
        name = "misspelt"

        @hookimpl
        def rolecall_vote_tokens(self, request):
            return None

    load(Misspelt())
    result = run("plugins")
    assert result.exit_code == 2
    assert "did you mean rolecall_vote_token?" in result.stderr


@pytest.mark.process
def test_the_program_finds_plugins_in_the_folder_that_one_is_in(tmp_path):
    source = "from rolecall import hookimpl\n\n\n@hookimpl\ndef rolecall_vote_token(request): ...\n"
    (tmp_path / "own_policy.py").write_text(source)
    program = [str(Path(sys.executable).with_name("rolecall"))]
    environment = {**os.environ, "ROLECALL_PLUGINS": "own_policy"}
    result = subprocess.run(
        [*program, "plugins"], cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"plugin 'own_policy'" in result.stdout


# What tokens hold never steers a terminal


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_control_characters_in_data_are_escaped(run, kit, command):
    token = kit.generate_token(SESSION_ID, data=HOSTILE)
    text = run("token", command, token).stdout
    assert text.replace("\n", "").isprintable()
    assert r"\u001b[31m\u001b]0;title\u0007\u202e\u009b2J\u007f\r\n\t" in text


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_json_holds_data_exactly_and_escaped(run, kit, command):
    token = kit.generate_token(SESSION_ID, data=HOSTILE)
    text = run("token", command, token, "--json").stdout
    assert text.replace("\n", "").isprintable()
    answer = json.loads(text)
    assert answer.get("data", answer.get("claims", {}).get("connection_data")) == HOSTILE


def test_control_characters_in_names_and_headers_are_escaped(run):
    token = jwt.encode({HOSTILE: {HOSTILE: HOSTILE}, "role": HOSTILE}, API_SECRET, headers={"kid": HOSTILE})
    assert run("token", "inspect", token).stdout.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("name=Jöhn ✓", "name=Jöhn ✓"), ("\x1b", r"\u001b"), ("\udcff", r"\udcff"), ("\U000e0001", r"\U000e0001")],
)
def test_printable(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "now"),
        (-0.9, "now"),
        (59.9, "in 59 s"),
        (-60, "1 min ago"),
        (3600, "in 1 h"),
        (86_399, "in 23 h 59 min"),
        (-100_000, "27 h 46 min ago"),
        (172_800, "in 2 days"),
        (-3 * 86_400, "3 days ago"),
        (3 * 365 * 86_400, "in 3 years"),
    ],
)
def test_relative(seconds, text):
    assert relative(seconds) == text


# As a process


@pytest.fixture
def fresh_token() -> str:
    with Rolecall(API_KEY, API_SECRET) as kit:
        return kit.generate_token(SESSION_ID, "moderator")


def test_the_module_runs_as_a_program():
    result = start("--version")
    assert (result.returncode, result.stdout.strip()) == (0, f"rolecall {package.__version__}".encode())


@pytest.mark.process
def test_without_click_there_is_a_hint():
    result = start(code="import sys; sys.modules['click'] = None; from rolecall.cli import main; main()")
    assert result.returncode == 2
    assert result.stderr == b'error: the command line needs click; install it with: pip install "rolecall[cli]"\n'


@pytest.mark.process
def test_an_exception_that_nobody_expected_is_no_refusal():
    result = start("routes", "app", code="from rolecall.cli import commands, main; commands.find_app = None; main()")
    assert result.returncode == 2
    assert b"Traceback" in result.stderr


@pytest.mark.process
def test_commands_go_together_in_a_pipe():
    session = start("session", "create")
    token = start("token", "generate", session.stdout.decode().strip())
    verified = start("token", "verify", "-", "--json", input=token.stdout)
    assert json.loads(verified.stdout)["session_id"] == session.stdout.decode().strip()


@pytest.fixture
def unread():
    """The writing end of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.process
@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "verify", "TOKEN"),
        ("token", "verify", "TOKEN", "--session-id", "1_other", "--json"),
        ("token", "inspect", "TOKEN"),
        ("explain", "access", "TOKEN"),
        ("session", "create"),
        ("plugins", "--json"),
        ("--help",),
        ("--version",),
        ("token", "verify", "--help"),
    ],
    ids=" ".join,
)
def test_a_reader_that_has_gone_is_neither_a_refusal_nor_a_traceback(fresh_token, unread, arguments, environment):
    arguments = [fresh_token if argument == "TOKEN" else argument for argument in arguments]
    result = start(*arguments, capture_output=False, stdout=unread, stderr=subprocess.PIPE, env=environment)
    assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.process
@pytest.mark.parametrize("arguments", [("token",), ("no-such-command",), ("session", "create", "--store", "x")])
def test_a_reader_of_the_errors_that_has_gone_is_no_refusal(unread, arguments):
    result = start(*arguments, capture_output=False, stdout=subprocess.PIPE, stderr=unread)
    assert (result.returncode, result.stdout) == (141, b"")


@pytest.mark.process
def test_a_pipe_that_is_read_to_the_end_changes_no_exit_code(fresh_token):
    command = '"$0" -m rolecall token verify - --session-id 1_other | cat; exit "${PIPESTATUS[0]}"'
    result = subprocess.run(["bash", "-c", command, sys.executable], input=fresh_token.encode(), capture_output=True)
    assert result.returncode == 1
    assert b"wrong_session" in result.stderr


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["--help"], ["session", "create"], ["session", "create", "--json"]])
def test_a_full_disk_is_an_error_without_a_traceback(arguments):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        result = start(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (result.returncode, result.stderr) == (2, b"error: No space left on device\n")


@pytest.mark.process
@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [(">&-", 2, "error: stdout is closed\n"), ("<&-", 1, "stdin is closed"), ("2>&-", 1, ""), (">&- 2>&-", 2, "")],
)
def test_closed_streams_are_no_traceback(redirection, code, message):
    result = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m rolecall token verify - {redirection}', sys.executable],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == code
    assert message in result.stderr.decode()
    assert b"Traceback" not in result.stderr


@pytest.mark.process
def test_an_endless_stdin_is_not_read_to_its_end():
    with open("/dev/zero", "rb") as zero:
        assert start("token", "verify", "-", stdin=zero).returncode == 1


@pytest.mark.process
def test_arguments_that_are_not_utf_8_are_no_traceback():
    result = start("token", "verify", untyped(b"\xff\x9b"))
    assert result.returncode == 1
    assert b"a character outside ASCII" in result.stderr


@pytest.mark.process
def test_a_stdout_in_ascii_gets_escapes_and_other_marks():
    with Rolecall(API_KEY, API_SECRET) as kit:
        token = kit.generate_token(SESSION_ID, "subscriber", data="Jöhn ✓")
    result = start("token", "inspect", token, env={"PYTHONIOENCODING": "ascii"})
    text = flat(result.stdout.decode("ascii"))
    assert result.returncode == 0
    assert "may x connect x subscribe - publish" in text
    assert r'connection_data "J\xf6hn \u2713"' in text


# On a terminal


def on_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes on a terminal."""
    ours, terminal = pty.openpty()
    try:
        environment = {"TERM": "xterm", **environment}
        start(*arguments, capture_output=False, stdout=terminal, stderr=terminal, env=environment)
        os.close(terminal)
        return _read_all(ours)
    finally:
        os.close(ours)


def _read_all(descriptor: int) -> str:
    chunks: list[Any] = []
    while True:
        try:
            chunk = os.read(descriptor, 65_536)
        except OSError:  # how Linux says that the terminal's other side is closed
            chunk = b""
        if not chunk:
            return b"".join(chunks).decode()
        chunks.append(chunk)


@pytest.mark.process
def test_answers_have_colours_on_a_terminal(fresh_token):
    assert "\x1b[32m\x1b[1myes\x1b[0m" in on_terminal("token", "inspect", fresh_token)


@pytest.mark.process
@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_turned_off(fresh_token, environment):
    text = on_terminal("token", "inspect", fresh_token, **environment)
    assert "accepted  yes" in text
    assert "\x1b" not in text


@pytest.mark.process
def test_json_has_no_colours_on_a_terminal(fresh_token):
    assert json.loads(on_terminal("token", "inspect", fresh_token, "--json"))["accepted"] is True


@pytest.mark.process
def test_there_are_no_colours_in_a_pipe(fresh_token):
    assert b"\x1b" not in start("token", "inspect", fresh_token).stdout
