"""The commands that take grants back."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rolecall import Rolecall
from rolecall.errors import Excluded, RevokedToken

from ...conftest import NOW
from ...sdk_tokens import API_KEY
from .running import flat

HOUR = 3600
UNKNOWN = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"


@pytest.fixture(autouse=True)
def _stored(monkeypatch, kept):
    monkeypatch.setenv("ROLECALL_STORE", "kept://app:hunter2@one")


@pytest.fixture
def kit(make_kit, kept) -> Rolecall:
    """The kit of the app, which has the store that the commands have."""
    return make_kit(store=kept["one"])


@pytest.fixture
def session(kit):
    return kit.create_session()


def stands(kit: Rolecall, token: str) -> bool:
    try:
        kit.verify_token(token)
    except RevokedToken:
        return False
    return True


def answer(result) -> dict:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# -- tokens ----------------------------------------------------------------------------------------


def test_a_token_on_stdin_is_revoked_and_no_other(run, kit, session):
    token, other = session.generate_token(), session.generate_token()
    token_id = kit.verify_token(token).token_id
    result = run("token", "revoke", "-", input=f"{token}\n")
    assert result.exit_code == 0
    assert flat(result.stdout).startswith(f'revoked "{token_id}" session "{session.session_id}" expires 2026-')
    assert token not in result.output
    assert [stands(kit, token), stands(kit, other)] == [False, True]


def test_a_token_that_is_revoked_already_is_revoked_again(run, kit, session):
    token = session.generate_token(actor="ada")
    session.exclude("ada")
    assert answer(run("token", "revoke", token, "--json"))["expired"] is False
    session.readmit("ada")
    assert not stands(kit, token)


def test_a_token_is_revoked_by_its_ids(run, kit, session):
    token = session.generate_token()
    token_id = kit.verify_token(token).token_id
    ids = ["--session-id", session.session_id, "--token-id", token_id]
    assert answer(run("token", "revoke", *ids, "--json")) == {
        "session_id": session.session_id,
        "token_id": token_id,
        "expires_at": None,
        "expired": False,
    }
    assert not stands(kit, token)


def test_a_token_that_has_expired_is_left_and_said_so(run, session, clock, kept):
    token = session.generate_token(expire_time=timedelta(minutes=1))
    clock.now += 12 * HOUR + 60
    assert "the token has expired" in run("token", "revoke", token).stdout
    assert answer(run("token", "revoke", token, "--json"))["expired"] is True
    assert kept["one"].count()["marks"] == 0


def test_a_token_that_has_expired_is_revoked_for_its_renewals(run, kit, session, clock):
    token = session.generate_token(expire_time=timedelta(hours=1))
    clock.now += HOUR / 2
    renewed = kit.renew_token(token)
    clock.now += HOUR / 2 + 60
    assert stands(kit, renewed)
    assert answer(run("token", "revoke", token, "--json"))["expired"] is False
    assert not stands(kit, renewed)


@pytest.mark.parametrize(
    ("token", "code"),
    [("abc", "malformed_token"), ("", "malformed_token"), (None, "bad_signature")],
)
def test_what_is_no_token_of_the_kit_is_refused(run, session, token, code):
    text = session.generate_token()[:-5] + "AAAAA" if token is None else token
    result = run("token", "revoke", "-", "--json", input=text)
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (1, code)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--session-id", UNKNOWN],
        ["--token-id", "a"],
        ["abc", "--token-id", "a"],
        ["abc", "--session-id", UNKNOWN, "--token-id", "a"],
    ],
)
def test_it_must_be_said_which_token_is_meant(run, session, arguments):
    result = run("token", "revoke", *arguments)
    assert (result.exit_code, "which token?" in result.stderr) == (2, True)


def test_an_actor_s_tokens_are_revoked(run, kit, session, clock):
    ada, bob = session.generate_token(actor="ada"), session.generate_token(actor="bob")
    assert answer(run("token", "revoke-actor", "ada", "--json")) == {"actor_id": "ada", "not_before": NOW + 1}
    assert [stands(kit, ada), stands(kit, bob)] == [False, True]
    clock.now = NOW + 1
    assert stands(kit, session.generate_token(actor="ada"))
    assert "such as those of SDKs, are good still" in run("token", "revoke-actor", "ada").stdout
    refused = run("token", "revoke-actor", " ada", "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["code"]) == (1, "invalid_actor")


@pytest.mark.parametrize("moment", [[], [str(int(NOW))], ["2026-11-20T19:00:00+04:00"]])
def test_what_a_project_issued_until_a_time_is_revoked(run, kit, session, clock, moment):
    early = session.generate_token()
    clock.now += 1 if moment else 0
    done = answer(run("token", "revoke-before", *moment, "--yes", "--json"))
    assert done == {"api_key": API_KEY, "until": NOW, "not_before": NOW + 1}
    clock.now = NOW + 1
    assert [stands(kit, early), stands(kit, session.generate_token())] == [False, True]


def test_a_project_s_tokens_are_revoked_once_it_is_confirmed(run, kit, session):
    token = session.generate_token()
    for said in ("", "n\n"):
        assert run("token", "revoke-before", input=said).exit_code == 1
        assert stands(kit, token)
    result = run("token", "revoke-before", input="y\n")
    assert f"all tokens of the project {API_KEY} that were issued until 2026-" in result.stderr
    assert flat(result.stdout).startswith(f'revoked all tokens of the project "{API_KEY}" not before 2026-')
    assert not stands(kit, token)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([str(int(NOW) + 1)], 1), (["9" * 20], 1), (["soon"], 2), (["--api-key", "654321"], 1)],
)
def test_a_moment_or_a_project_that_is_none_is_refused(run, kit, session, arguments, code):
    token = session.generate_token()
    assert run("token", "revoke-before", *arguments, "--yes").exit_code == code
    assert stands(kit, token)


# -- sessions --------------------------------------------------------------------------------------


def test_a_session_is_reset_once_it_is_confirmed(run, kit, session):
    token = session.generate_token()
    assert run("session", "reset", session.session_id, input="n\n").exit_code == 1
    assert stands(kit, token)
    result = run("session", "reset", session.session_id, input="y\n")
    assert result.exit_code == 0
    assert flat(result.stdout).startswith(f'reset "{session.session_id}" epoch {int(NOW * 1000)} not before 2026-')
    assert [stands(kit, token), stands(kit, session.generate_token())] == [False, True]


def test_a_reset_that_is_repeated_with_its_epoch_changes_nothing(run, kit, session):
    command = ["session", "reset", session.session_id, "--epoch", "0", "--yes", "--json"]
    first = answer(run(*command))
    assert first == {"session_id": session.session_id, "epoch": int(NOW * 1000), "not_before": NOW + 1}
    token = session.generate_token()
    assert answer(run(*command)) == first
    assert stands(kit, token)


@pytest.mark.parametrize("ends", [["--for", "1h"], ["--until", str(int(NOW) + HOUR)]])
def test_an_actor_is_excluded_for_a_time(run, kit, session, clock, ends):
    ada, bob = session.generate_token(actor="ada"), session.generate_token(actor="bob")
    done = answer(run("session", "exclude", session.session_id, "ada", *ends, "--json"))
    assert done == {"session_id": session.session_id, "actor_id": "ada", "until": NOW + HOUR, "disconnected": False}
    assert [stands(kit, ada), stands(kit, bob)] == [False, True]
    clock.now += HOUR
    assert stands(kit, ada)


def test_an_actor_is_excluded_for_good_and_readmitted(run, kit, session):
    text = flat(run("session", "exclude", session.session_id, "ada").stdout)
    assert text.startswith(f'excluded "ada" session "{session.session_id}" until for good connected as before')
    with pytest.raises(Excluded):
        session.generate_token(actor="ada")
    done = run("session", "readmit", session.session_id, "ada")
    assert (done.exit_code, flat(done.stdout)) == (0, f'readmitted "ada" session "{session.session_id}"')
    session.generate_token(actor="ada")
    again = answer(run("session", "readmit", session.session_id, "ada", "--json"))
    assert again == {"session_id": session.session_id, "actor_id": "ada"}


def test_tokens_that_name_nobody_are_not_excluded_but_the_advice_is_given(run, session, monkeypatch):
    monkeypatch.setenv("ROLECALL_ACTOR_CLAIM", "false")
    result = run("session", "exclude", session.session_id, "ada")
    assert (result.exit_code, "reset the session" in result.stderr) == (1, True)


def test_an_id_steers_no_terminal(run, session):
    result = run("session", "exclude", session.session_id, "a\x1b[31m")
    assert (result.exit_code, "\x1b" in result.output) == (1, False)


def test_until_and_for_exclude_each_other(run, session):
    result = run("session", "exclude", session.session_id, "ada", "--for", "1h", "--until", "9999999999")
    assert (result.exit_code, "exclude each other" in result.stderr) == (2, True)


# -- all of them -----------------------------------------------------------------------------------

COMMANDS = [
    ["token", "revoke", "--session-id", UNKNOWN, "--token-id", "a"],
    ["token", "revoke-actor", "ada"],
    ["token", "revoke-before", "--yes"],
    ["session", "reset", UNKNOWN, "--yes"],
    ["session", "exclude", UNKNOWN, "ada"],
    ["session", "readmit", UNKNOWN, "ada"],
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_that_is_this_command_s_alone_is_refused(run, monkeypatch, command):
    monkeypatch.delenv("ROLECALL_STORE")
    result = run(*command)
    assert (result.exit_code, "name the store of your app" in result.stderr) == (2, True)


@pytest.mark.parametrize("command", COMMANDS[:-1])  # a readmission writes only where there is an exclusion
def test_a_store_that_does_not_keep_it_is_said(run, kept, monkeypatch, command):
    monkeypatch.setattr(type(kept["one"]), "raise_mark", lambda *_: None)
    result = run(*command, "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (2, "store_unavailable")


@pytest.mark.parametrize("command", [["session", "reset", "2_x", "--yes"], ["session", "exclude", "2_x", "ada"]])
def test_a_session_of_nobody_is_refused(run, command):
    result = run(*command, "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (1, "invalid_session_id")


TAKE_BACK = {
    "revoke": ["token", "revoke", "-"],
    "revoke-actor": ["token", "revoke-actor", "ada"],
    "revoke-before": ["token", "revoke-before", "--yes"],
    "reset": ["session", "reset", "SESSION", "--yes"],
    "exclude": ["session", "exclude", "SESSION", "ada"],
}


@pytest.mark.parametrize("name", TAKE_BACK)
def test_an_app_with_the_same_file_refuses_at_once(run, make_kit, tmp_path, monkeypatch, name):
    monkeypatch.setenv("ROLECALL_STORE", f"sqlite:///{tmp_path}/app.db")
    app = make_kit(store=f"sqlite:///{tmp_path}/app.db")
    session = app.create_session()
    token = session.generate_token(actor="ada")
    assert stands(app, token)
    command = [session.session_id if word == "SESSION" else word for word in TAKE_BACK[name]]
    assert run(*command, input=token).exit_code == 0
    assert not stands(app, token)
    if name == "exclude":
        assert run("session", "readmit", session.session_id, "ada").exit_code == 0
        assert stands(app, token)
    app.close()


# -- the ledger ------------------------------------------------------------------------------------


def test_live_tokens_are_listed_with_a_ledger(run, make_kit, kept, monkeypatch):
    monkeypatch.setenv("ROLECALL_LEDGER", "1")
    kit = make_kit(store=kept["one"], ledger=True)
    session = kit.create_session()
    token = session.generate_token("moderator", timedelta(hours=1), actor="ada")
    others, gone = session.generate_token(actor="bob"), session.generate_token(actor="eve")
    kit.revoke_token(gone)
    token_id = kit.verify_token(token).token_id

    found = answer(run("token", "list", "--json"))
    assert {one["actor_id"] for one in found["tokens"]} == {"ada", "bob"}
    assert found["next"] is None
    (one,) = answer(run("token", "list", "--session-id", session.session_id, "--actor", "ada", "--json"))["tokens"]
    assert (one["token_id"], one["role"], one["expires_at"]) == (token_id, "moderator", NOW + HOUR)
    result = run("token", "list", "--limit", "1")
    assert "there are more: --after " in result.output
    assert not {token, others} & set(result.output.split())
    assert f'{token_id}  {session.session_id}  "ada"' in run("token", "list").output
    assert flat(run("token", "list", "--actor", "nobody").stdout) == "no token"


def test_without_a_ledger_no_token_is_listed(run, kit):
    result = run("token", "list")
    assert result.exit_code == 2
    assert "ledger=True" in result.output
