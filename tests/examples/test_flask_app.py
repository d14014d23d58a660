"""The class app of ``examples/flask_app``, as its teacher and its pupils see it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from rolecall.cli.commands import rolecall

APP = Path(__file__).parents[2] / "examples" / "flask_app" / "app.py"


@pytest.fixture
def app(monkeypatch, clock, tmp_path):
    monkeypatch.setenv("SECRET_KEY", "a key for the cookies of this test")
    monkeypatch.setenv("SCHOOL_DATABASE", str(tmp_path / "school.db"))
    monkeypatch.setenv("ROLECALL_API_KEY", "123456")
    monkeypatch.setenv("ROLECALL_API_SECRET", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e")
    monkeypatch.delenv("ROLECALL_STORE", raising=False)
    app = runpy.run_path(str(APP))["create_app"](clock=clock)
    yield app
    for kit in app.extensions["rolecall"]:
        kit.close()


@pytest.fixture
def person(app):
    """Logs somebody in, and gives the client that they use."""

    def log_in(name):
        client = app.test_client()
        assert client.post("/login", data={"name": name}).status_code == 200
        return client

    return log_in


@pytest.fixture
def session_id(person):
    return person("ada").post("/video/sessions").json["session_id"]


@pytest.fixture
def token(person, session_id):
    """The answer to somebody who asks for a token in their own name."""

    def ask(name, **body):
        return person(name).post(f"/video/sessions/{session_id}/tokens", json={"data": name, **body})

    return ask


@pytest.fixture
def bearer(token):
    def headers(name, **body):
        return {"Authorization": f"Bearer {token(name, **body).json['token']}"}

    return headers


def test_a_stranger_cannot_log_in(app):
    assert app.test_client().post("/login", data={"name": "mallory"}).status_code == 403


def test_a_stranger_opens_no_lesson(app):
    assert app.test_client().post("/video/sessions").json["code"] == "not_identified"


def test_a_pupil_opens_no_lesson(person):
    assert person("ben").post("/video/sessions").json["detail"] == "only teachers open a lesson"


def test_a_stranger_gets_no_token(app, session_id):
    assert app.test_client().post(f"/video/sessions/{session_id}/tokens").status_code == 403


def test_a_teacher_moderates(token):
    assert token("ada", role="moderator").json["role"] == "moderator"


def test_a_pupil_publishes_until_the_lesson_is_over(token, clock):
    given = token("ben", role="moderator").json
    assert (given["role"], given["expires_at"]) == ("publisher", int(clock.now) + 45 * 60)


def test_after_the_lesson_a_pupil_gets_no_token(token, session_id, clock):
    clock.now += 45 * 60
    assert token("ben").status_code == 403


def test_nobody_gets_a_token_in_another_name(token):
    assert token("ben", data="ada").json["code"] == "not_your_name"


def test_the_lesson_knows_its_people(app, bearer, session_id):
    answer = app.test_client().get(f"/lessons/{session_id}", headers=bearer("ben"))
    assert answer.json == {"lesson": session_id, "you": "ben", "role": "publisher"}


def test_a_subscriber_asks_no_questions(app, bearer, session_id):
    ask = f"/lessons/{session_id}/questions"
    assert app.test_client().post(ask, headers=bearer("ben")).status_code == 201
    assert app.test_client().post(ask, headers=bearer("ben", role="subscriber")).json["code"] == "insufficient_role"


def test_a_teacher_sends_a_pupil_out_who_then_stays_out(app, bearer, session_id):
    client, ada, ben, cleo = app.test_client(), bearer("ada", role="moderator"), bearer("ben"), bearer("cleo")
    assert client.post(f"/lessons/{session_id}/sent-out/ben", headers=cleo).status_code == 403
    assert client.post(f"/lessons/{session_id}/sent-out/ben", headers=ada).status_code == 204
    assert client.get(f"/lessons/{session_id}", headers=ben).json["code"] == "sent_out"
    assert client.get(f"/lessons/{session_id}", headers=cleo).status_code == 200


def test_a_teacher_closes_the_lesson_for_everybody(person, bearer, session_id):
    ada, ben = bearer("ada", role="moderator"), bearer("ben")
    close = f"/lessons/{session_id}/close"
    assert person("ben").post(close, headers=ben).status_code == 403
    assert person("ada").post(close, headers=ada).status_code == 204
    assert person("ben").get(f"/lessons/{session_id}", headers=ben).json["code"] == "revoked_token"


def test_every_route_is_guarded_or_marked_as_public(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "school", SimpleNamespace(app=app))
    assert CliRunner().invoke(rolecall, ["routes", "school:app", "--check"]).exit_code == 0
