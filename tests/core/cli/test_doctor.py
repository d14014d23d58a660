"""The doctor: each thing that is wrong is found, at its level, with what to do; and no secret shows."""

from __future__ import annotations

import json
import re
import sys
from types import ModuleType
from typing import Any

import flask
import pytest

from rolecall import Rolecall, Web
from rolecall.cli import diagnosis
from rolecall.errors import StoreUnavailable
from rolecall.policies import AllowAnyone
from rolecall.stores.upkeep import Finding
from rolecall_flask import rolecall_blueprint

from ...conftest import NOW
from ...sdk_tokens import API_SECRET

STORE = "kept://app:hunter2@one"
STRONG = "e26b7a8d1f0c49d3b5a6978877665f4e3d2c1b0a99887f6e5d4c3b2a1f0e9d8c"


@pytest.fixture(autouse=True)
def _sound(monkeypatch, kept):
    """An environment of which nothing is to be said but that no policy votes."""
    monkeypatch.setenv("ROLECALL_API_SECRET", STRONG)
    monkeypatch.setenv("ROLECALL_STORE", STORE)
    monkeypatch.setattr(type(kept["one"]), "examine", lambda _: [])
    for name in ("WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "FLASK_DEBUG", "ROLECALL_ORIGINS", "ROLECALL_TRACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def findings(run):
    """The findings of the doctor, by level; no secret is in them."""

    def findings(*arguments: str) -> dict[str, list[str]]:
        result = run("doctor", *arguments, "--json")
        answer = json.loads(result.stdout)
        by_level: dict[str, list[str]] = {"error": [], "warning": [], "info": []}
        for finding in answer["findings"]:
            by_level[finding["level"]].append(f"{finding['found']}: {finding['remedy']}")
            assert finding["remedy"], finding
        assert result.exit_code == (1 if by_level["error"] else 0)
        assert answer["ok"] == (not by_level["error"])
        assert not any(secret in result.output for secret in ("hunter2", STRONG, API_SECRET))
        return by_level

    return findings


def test_of_a_sound_app_nothing_is_said_but_that_nobody_outside_may_ask(findings):
    assert findings() == {
        "error": [],
        "warning": [
            "no plugin votes on sessions and tokens: requests for them from outside are refused: "
            "name a policy in ROLECALL_PLUGINS, or pass it to the kit, unless nobody outside is to ask"
        ],
        "info": [],
    }


def test_people_read_the_worst_first(run, monkeypatch):
    monkeypatch.setenv("FLASK_DEBUG", "1")
    lines = run("doctor").stdout.splitlines()
    assert lines[0] == "error     FLASK_DEBUG is on: whoever sees an error page may run code here"
    assert lines[1] == "          unset FLASK_DEBUG wherever others reach the app"
    assert lines[-1] == "1 error, 1 warning"


@pytest.mark.parametrize(
    ("variable", "value", "level", "found"),
    [
        ("ROLECALL_API_SECRET", "", "error", "ROLECALL_API_SECRET is not set"),
        ("ROLECALL_API_SECRET", "hunter2hunter2", "error", "needs at least 32"),
        ("ROLECALL_API_SECRET", "correct horse battery staple hunter2", "warning", "bits of entropy"),
        ("ROLECALL_PROJECTS", '{"99": "hunter2 hunter2 hunter2 hunter2 "}', "error", "white space at its end"),
        (
            "ROLECALL_PROJECTS",
            '{"99": "correct horse battery staple hunter2"}',
            "warning",
            "of '99', from the ",
        ),
        ("ROLECALL_STOR", "redis://:hunter2@host", "error", "did you mean ROLECALL_STORE?"),
        ("FLASK_DEBUG", "true", "error", "FLASK_DEBUG is on"),
        ("ROLECALL_TRACE", "1", "warning", "every decision is logged"),
        ("ROLECALL_ACCEPT", "opentok,t1", "warning", "T1 are accepted"),
        ("ROLECALL_ORIGINS", "http://app.example", "warning", "write https://app.example"),
        ("ROLECALL_ORIGINS", "https://app.example,http://127.0.0.1:3000", "info", "http://127.0.0.1:3000"),
        ("ROLECALL_PLUGINS", "rolecall.policies:AllowAnyone,kept_stores:plugin", "warning", "everybody who reaches"),
        ("ROLECALL_PLUGINS", "nowhere:Policy", "error", "'nowhere:Policy' cannot be loaded"),
        ("ROLECALL_STORE", "memory://", "info", "in the memory of this process"),
    ],
)
def test_what_is_wrong_in_the_environment_is_found(findings, monkeypatch, variable, value, level, found):
    monkeypatch.setenv(variable, value)
    assert found in "\n".join(findings()[level])


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WEB_CONCURRENCY", "4"), ("GUNICORN_CMD_ARGS", "--bind :80 --workers=4"), ("GUNICORN_CMD_ARGS", "-w4")],
)
def test_several_workers_need_a_store_that_they_share(findings, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    assert findings()["error"] == []
    monkeypatch.setenv("ROLECALL_STORE", "memory://")
    assert "asks for 4 workers" in findings()["error"][0]


def test_a_policy_that_votes_is_enough_for_requests_from_outside(findings, monkeypatch):
    monkeypatch.setenv("ROLECALL_PLUGINS", "rolecall.policies:AllowAnyone,kept_stores:plugin")
    assert "from outside are refused" not in "".join(findings()["warning"])


def test_a_plugin_that_is_installed_and_neither_loaded_nor_blocked_is_named(findings, monkeypatch):
    from rolecall.cli import diagnosis

    class Offered:
        name, value, dist = "classroom", "classroom:Policy", None

    monkeypatch.setattr(diagnosis, "offered", lambda: (Offered,))
    assert "classroom" not in "".join(findings()["warning"])  # ROLECALL_ENTRY_POINTS is none
    monkeypatch.delenv("ROLECALL_ENTRY_POINTS")
    assert "the plugin 'classroom' of ? is installed, and not loaded" in findings()["warning"][0]
    monkeypatch.setenv("ROLECALL_BLOCKED_PLUGINS", "classroom")
    assert "classroom" not in "".join(findings()["warning"])


def test_a_secret_s_file_that_everybody_can_read_is_found(findings, monkeypatch, tmp_path):
    (tmp_path / "secret").write_text(STRONG)
    monkeypatch.delenv("ROLECALL_API_SECRET")
    monkeypatch.setenv("ROLECALL_API_SECRET_FILE", str(tmp_path / "secret"))
    (tmp_path / "secret").chmod(0o644)
    assert "can read the file that ROLECALL_API_SECRET_FILE names" in "".join(findings()["warning"])
    (tmp_path / "secret").chmod(0o600)
    assert "ROLECALL_API_SECRET_FILE" not in "".join(findings()["warning"])


def test_what_the_store_finds_is_passed_on(findings, kept, monkeypatch):
    found = Finding("error", "commits are not durable", "set synchronous to FULL")
    monkeypatch.setattr(type(kept["one"]), "examine", lambda _: [found])
    assert findings()["error"] == ["commits are not durable: set synchronous to FULL"]


def test_a_store_that_does_not_answer_is_an_error_and_the_rest_is_examined(findings, kept, monkeypatch):
    def fail(_):
        raise StoreUnavailable("the store does not answer")

    monkeypatch.setattr(type(kept["one"]), "examine", fail)
    monkeypatch.setenv("FLASK_DEBUG", "1")
    assert len(findings()["error"]) == 2


@pytest.mark.parametrize(
    ("skew", "level"), [(0.9, None), (-3, "warning"), (9, "warning"), (11, "error"), (-60, "error")]
)
def test_clocks_that_differ_are_found(findings, kept, monkeypatch, skew, level):
    monkeypatch.setattr(type(kept["one"]), "clock", lambda _: NOW + skew)
    told = [at for at, texts in findings().items() if "clock and the store's differ" in "".join(texts)]
    assert told == ([level] if level else [])


# The app


@pytest.fixture
def app(monkeypatch) -> flask.Flask:
    module = ModuleType("school_app")
    module.app = flask.Flask("school_app")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "school_app", module)
    app: flask.Flask = module.app
    return app


def test_open_routes_and_debug_mode_of_the_app_are_errors(findings, app):
    app.add_url_rule("/lesson", "lesson", lambda: "")
    app.debug = True
    errors = findings("school_app:app")["error"]
    assert "debug mode" in errors[0]
    assert any("/lesson: it is open" in error for error in errors)


def test_the_kit_of_the_app_s_module_is_examined_with_what_the_app_passes_to_it(findings, app, make_kit):
    web = Web(query="access_token", origins=["http://app.example"])
    module: Any = sys.modules["school_app"]
    module.kit = module.same_kit = make_kit(plugins=[AllowAnyone()], accept=["opentok", "t1"], web=web)
    warnings = findings("school_app:app")["warning"]
    for found in ("AllowAnyone", "T1 are accepted", "http://app.example", "query parameter 'access_token'"):
        assert sum(found in warning for warning in warnings) == 1
    assert "from outside are refused" not in "".join(warnings)
    assert "in the memory of this process" in "".join(findings("school_app:app")["info"])
    assert "AllowAnyone" not in "".join(findings("school_app:app", "--store", STORE)["warning"])


def test_the_kit_of_a_factory_is_examined(findings, app, make_kit):
    def create_app() -> flask.Flask:
        made = flask.Flask("school_app", static_folder=None)
        made.register_blueprint(rolecall_blueprint(make_kit(plugins=[AllowAnyone()])), url_prefix="/video")
        return made

    sys.modules["school_app"].create_app = create_app  # type: ignore[attr-defined]
    found = findings("school_app:create_app()")
    assert [warning.partition(":")[0] for warning in found["warning"]] == [
        "the policy AllowAnyone gives everybody who reaches the app a token for every session"
    ]
    assert found["error"] == []


def test_an_app_that_cannot_be_imported_is_an_error_and_nothing_is_said_of_its_policies(findings):
    found = findings("no_such_app")
    assert "there is no module 'no_such_app'" in found["error"][0]
    assert found["warning"] == []


def test_an_app_that_cannot_be_imported_for_what_the_kit_lacks_is_told_once(findings, monkeypatch, tmp_path):
    (tmp_path / "app_without_secret.py").write_text("from rolecall import Rolecall\nkit = Rolecall.from_env()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROLECALL_API_SECRET", "hunter2hunter2")
    (error,) = findings("app_without_secret:kit")["error"]
    assert "needs at least 32" in error
    assert "app_without_secret.py:2" in error


def test_a_kit_that_cannot_be_made_is_an_error_even_if_nobody_says_why(findings, monkeypatch):
    def fail(*_: object) -> None:
        raise StoreUnavailable("")

    monkeypatch.setattr("rolecall.cli.doctor.kit_of", fail)
    assert findings()["error"] == [": the kit cannot be made until this is mended"]


# Keys


def test_a_key_that_is_needed_no_more_is_named_with_its_command(run, findings, monkeypatch, tmp_path):
    path = tmp_path / "keys.json"
    monkeypatch.delenv("ROLECALL_API_SECRET")
    monkeypatch.setenv("ROLECALL_KEYS_FILE", str(path))
    for command in (["add"], ["add"], ["rotate", "--force"]):
        assert run("keys", *command).exit_code == 0
    assert findings()["info"] == []
    with Rolecall.from_env() as kit:
        (old,) = (key for key in kit.keys if key.state == "verifying")
        assert old.retires_from is not None
        assert list(diagnosis.keys(kit, old.retires_from - 1)) == []
        (finding,) = diagnosis.keys(kit, old.retires_from)
    assert finding.found.startswith(f"the key {old.id} of '123456', from the ring file, verifies")
    assert finding.remedy == f"rolecall keys retire {old.id}"


def test_a_weak_secret_of_a_ring_file_is_found(run, findings, monkeypatch, tmp_path):
    monkeypatch.delenv("ROLECALL_API_SECRET")
    monkeypatch.setenv("ROLECALL_KEYS_FILE", str(tmp_path / "keys.json"))
    secret = "correct horse battery staple hunter2"
    assert run("keys", "add", "--stdin", input=secret).exit_code == 0
    assert "from the ring file, has about" in "\n".join(findings()["warning"])


# -- media services --------------------------------------------------------------------------------

LIVEKIT = {
    "ROLECALL_MEDIA": "livekit",
    "ROLECALL_LIVEKIT_URL": "wss://media.example",
    "ROLECALL_LIVEKIT_API_KEY": "APIkey",
    "ROLECALL_LIVEKIT_API_SECRET": STRONG[::-1],
    "ROLECALL_LIVEKIT_TURN_URLS": "turn:turn.example",
    "ROLECALL_LIVEKIT_TURN_SECRET": "".join(reversed(API_SECRET)),
}
MEDIA: list[tuple[dict[str, str], str]] = [
    ({}, ""),
    ({"ROLECALL_LIVEKIT_URL": "ws://127.0.0.1:7880"}, ""),
    ({"ROLECALL_LIVEKIT_URL": "ws://media.example:7880"}, "by ws://.*write wss://media.example:7880"),
    (
        {
            "ROLECALL_MEDIA": "livekit,opentok",
            "ROLECALL_OPENTOK_API_KEY": "7654321",
            "ROLECALL_OPENTOK_API_SECRET": STRONG[3:] + STRONG[:3],
            "ROLECALL_OPENTOK_API_URL": "http://media.example",
        },
        "by http://.*write https://media.example in ROLECALL_OPENTOK_API_URL$",
    ),
    ({"ROLECALL_LIVEKIT_TICKET_LIFE": "600"}, ""),
    ({"ROLECALL_LIVEKIT_TICKET_LIFE": "3600"}, "good for 60 minutes.*TICKET_LIFE out"),
    ({"ROLECALL_LIVEKIT_API_SECRET": STRONG}, "secret of livekit is one of the kit's own"),
    ({"ROLECALL_LIVEKIT_TURN_SECRET": STRONG}, "secret of the TURN server beside livekit is one of the kit's own"),
    ({"ROLECALL_LIVEKIT_TURN_SECRET": STRONG[::-1]}, "livekit and its TURN server have the same secret"),
    ({"ROLECALL_LIVEKIT_API_SECRET": "correct horse battery staple hunter2"}, "secret of livekit has about .* bits"),
]


@pytest.mark.each_choice
@pytest.mark.parametrize("number", range(len(MEDIA)))
def test_what_is_wrong_with_a_media_service_is_found(findings, monkeypatch, number):
    changes, found = MEDIA[number]
    before = findings()["warning"]
    for name, value in {**LIVEKIT, **changes}.items():
        monkeypatch.setenv(name, value)
    added = [line for line in findings()["warning"] if line not in before]
    if found:
        assert [bool(re.search(found, line)) for line in added] == [True]
    else:
        assert added == []


def test_acts_that_lack_httpx_are_found(findings, monkeypatch):
    for name, value in LIVEKIT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(diagnosis, "find_spec", lambda name: None)
    assert any("acts at livekit are refused" in line for line in findings()["warning"])
