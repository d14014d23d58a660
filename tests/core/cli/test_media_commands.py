"""The commands for media services."""

from __future__ import annotations

import json

from rolecall.media import BACKENDS

from .running import flat


def test_the_services_are_listed_with_what_they_do_not_hold(run):
    services = json.loads(run("media", "list", "--json").stdout)["services"]
    assert [one["name"] for one in services] == list(BACKENDS)
    livekit = next(one for one in services if one["name"] == "livekit")
    assert livekit["always_granted"] == []
    assert "streams to come" in livekit["acts"]["mute_all"]
    assert "livekit - mute_all" in [flat(line) for line in run("media", "list").stdout.splitlines()]


def test_a_plan_has_what_changes_and_what_does_not(run):
    plan = json.loads(run("media", "plan", "livekit", "livekit", "--json").stdout)
    assert (plan["from"], plan["to"]) == ("livekit", "livekit")
    assert {one["subject"] for one in plan["changes"] if one["changes"]} == {"url", "api_key", "api_secret"}
    text = flat(run("media", "plan", "livekit", "livekit").stdout)
    assert "as before: subscriber, publisheronly, publisher, moderator" in text
    assert "set ROLECALL_LIVEKIT_URL, or ROLECALL_LIVEKIT_URL_FILE" in text


def test_a_plan_needs_no_kit(run, monkeypatch):
    monkeypatch.delenv("ROLECALL_API_KEY", raising=False)
    monkeypatch.delenv("ROLECALL_API_SECRET", raising=False)
    assert run("media", "plan", "livekit", "livekit").exit_code == 0


def test_a_service_that_does_not_exist_is_refused(run):
    result = run("media", "plan", "livekit", "livkit")
    assert result.exit_code == 2
    assert "there is no media service 'livkit'; did you mean livekit?" in result.stderr


def test_a_plan_needs_no_sound_configuration(run, monkeypatch):
    monkeypatch.setenv("ROLECALL_JITSI_URL", "https://meet.example")  # of a service that is not in ROLECALL_MEDIA yet
    result = run("media", "plan", "livekit", "jitsi")
    assert result.exit_code == 0
    assert "from livekit to jitsi" in result.stdout
    assert "the roles are the standard ones" in result.stderr
    assert "ROLECALL_JITSI_" in result.stderr
