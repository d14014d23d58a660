"""The commands that list, show and end sessions."""

from __future__ import annotations

import json

import pytest

from rolecall.errors import RevokedToken, StoreUnavailable
from rolecall.sessions import MediaMode, SessionProperties

from .running import flat

STORE = "kept://app:hunter2@one"
UNKNOWN = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"


@pytest.fixture(autouse=True)
def _stored(monkeypatch, kept):
    monkeypatch.setenv("ROLECALL_STORE", STORE)


@pytest.fixture
def sessions(make_kit, kept, clock) -> list[str]:
    """The ids of five sessions, the newest first, of which the second has ended, and the fourth is Zoë's.

    The last is of somebody whose id no kit takes.
    """
    kit = make_kit(store=kept["one"])
    created: list[str] = []
    for actor in (None, "Zoë", None, None, None):
        clock.now += 60
        created.insert(0, kit.create_session(media_mode="routed", actor=actor).session_id)
    record = kept["one"]._sessions.pop(created[-1])
    row = (record.session_id, SessionProperties(media_mode=MediaMode.ROUTED).as_json(), record.created_at, "Zoë\x1b")
    kept["one"].load("sessions", [row])
    kit.end_session(created[1])
    return created


def listed(result) -> list[str]:
    return [one["session_id"] for one in json.loads(result.stdout)["sessions"]]


def test_list_has_the_open_ones_unless_told_and_the_newest_first(run, sessions):
    assert listed(run("session", "list", "--json")) == [sessions[0], *sessions[2:]]
    assert listed(run("session", "list", "--state", "ended", "--json")) == [sessions[1]]
    assert listed(run("session", "list", "--state", "all", "--json")) == sessions
    assert listed(run("session", "list", "--created-by", "Zoë", "--json")) == [sessions[3]]
    refused = run("session", "list", "--created-by", "Zoë\x1b")
    assert (refused.exit_code, "created_by holds the character U+001B" in refused.stderr) == (1, True)


def test_list_continues_where_a_page_ended(run, sessions):
    first = json.loads(run("session", "list", "--limit", "3", "--json").stdout)
    rest = run("session", "list", "--after", first["next"], "--json")
    assert [one["session_id"] for one in first["sessions"]] + listed(rest) == [sessions[0], *sessions[2:]]
    assert json.loads(rest.stdout)["next"] is None
    assert f"there are more: --after {first['next']}" in run("session", "list", "--limit", "3").stdout


def test_list_for_people_is_a_table_that_steers_no_terminal(run, sessions, clock):
    text = run("session", "list", "--state", "all").stdout
    assert text.replace("\n", "").isprintable()
    lines = [flat(line) for line in text.splitlines()]
    assert lines[0] == "session state created by"
    assert lines[2].startswith(f"{sessions[1]} ended 2026-")
    assert lines[5].endswith(r'4 min ago "Zoë\u001b"')
    assert run("session", "list", "--created-by", "nobody").stdout == "no session\n"


def test_a_cursor_that_is_none_is_refused(run, sessions):
    result = run("session", "list", "--after", "x")
    assert result.exit_code == 1
    assert "after is no cursor" in result.stderr


def test_show_has_all_that_the_store_has(run, sessions):
    answer = json.loads(run("session", "show", sessions[4], "--json").stdout)
    assert (answer["media_mode"], answer["created_by"], answer["ended_at"]) == ("routed", "Zoë\x1b", None)
    text = flat(run("session", "show", sessions[1]).stdout)
    assert f'session "{sessions[1]}" state ended 2026-' in text
    assert 'by - media_mode "routed"' in text


@pytest.mark.parametrize(("session_id", "code"), [(UNKNOWN, "session_not_found"), ("2_x", "invalid_session_id")])
def test_show_of_no_session_is_refused(run, sessions, session_id, code):
    result = run("session", "show", session_id, "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (1, code)


def test_end_ends_once_it_is_confirmed(run, sessions, make_kit, kept):
    kit = make_kit(store=kept["one"])
    token = kit.generate_token(sessions[0])
    for answer in ("", "n\n"):
        assert run("session", "end", sessions[0], input=answer).exit_code == 1
        assert kit.verify_token(token)
    result = run("session", "end", sessions[0], sessions[2], input="y\n")
    assert (result.exit_code, flat(result.stdout)) == (0, f'ended "{sessions[0]}" ended "{sessions[2]}"')
    assert "End these 2 sessions for good" in result.stderr
    with pytest.raises(RevokedToken):
        kit.verify_token(token)


def test_end_tells_which_were_unknown_and_which_had_ended_already(run, sessions, kept):
    result = run("session", "end", "--yes", sessions[1], UNKNOWN)
    assert result.exit_code == 0
    assert flat(result.stdout).startswith(f'had ended already "{sessions[1]}" unknown, ended "{UNKNOWN}" 1 id unknown')
    assert kept["one"].has_ended(UNKNOWN)
    answer = json.loads(run("session", "end", "--yes", "--json", UNKNOWN).stdout)
    assert answer == {"ended": [{"session_id": UNKNOWN, "known": False, "ended_before": False}]}


def test_end_ends_none_if_one_id_is_wrong(run, sessions, kept):
    result = run("session", "end", "--yes", sessions[0], "1_x")
    assert (result.exit_code, kept["one"].has_ended(sessions[0])) == (1, False)


@pytest.mark.parametrize("command", [["list"], ["show", UNKNOWN], ["end", UNKNOWN, "--yes"]])
def test_a_store_that_is_this_command_s_alone_is_refused(run, monkeypatch, command):
    monkeypatch.delenv("ROLECALL_STORE")
    result = run("session", *command)
    assert result.exit_code == 2
    assert "name the store of your app" in result.stderr


def test_a_file_that_is_misspelt_is_not_made(run, monkeypatch, tmp_path):
    monkeypatch.setenv("ROLECALL_STORE", f"sqlite:///{tmp_path}/misspelt.db")
    for command in (["list"], ["show", UNKNOWN], ["end", UNKNOWN, "--yes"]):
        result = run("session", *command)
        assert result.exit_code == 2
        assert "misspelt.db' does not exist" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_does_not_answer_shows_no_password(run, kept, monkeypatch):
    def fail(*_):
        raise StoreUnavailable("the store does not answer")

    monkeypatch.setattr(type(kept["one"]), "list_sessions", fail)
    result = run("session", "list")
    assert (result.exit_code, result.stderr) == (2, "error: the store does not answer (store_unavailable)\n")
