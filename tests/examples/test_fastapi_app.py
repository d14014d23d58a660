"""The class app of ``examples/fastapi_app``, as its teacher and its pupils see it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from rolecall.cli.commands import rolecall

APP = Path(__file__).parents[2] / "examples" / "fastapi_app" / "app.py"


@pytest.fixture
def app(monkeypatch, clock, tmp_path):
    monkeypatch.setenv("SCHOOL_DATABASE", str(tmp_path / "school.db"))
    monkeypatch.setenv("ROLECALL_API_KEY", "123456")
    monkeypatch.setenv("ROLECALL_API_SECRET", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e")
    monkeypatch.delenv("ROLECALL_STORE", raising=False)
    return runpy.run_path(str(APP))["create_app"](clock=clock)


@pytest.fixture
def client(app):
    with TestClient(app) as client:
        yield client


@pytest.fixture
def person(app, client):
    """Logs somebody in, and gives the client that they use."""

    def log_in(name):
        own = TestClient(app)
        assert own.post("/login", json={"name": name}).status_code == 200
        return own

    return log_in


@pytest.fixture
def session_id(person):
    return person("ada").post("/video/sessions").json()["session_id"]


@pytest.fixture
def token(person, session_id):
    """The answer to somebody who asks for a token in their own name."""

    def ask(name, **body):
        return person(name).post(f"/video/sessions/{session_id}/tokens", json={"data": name, **body})

    return ask


@pytest.fixture
def bearer(token):
    def headers(name, **body):
        return {"Authorization": f"Bearer {token(name, **body).json()['token']}"}

    return headers


def test_a_stranger_cannot_log_in(client):
    assert client.post("/login", json={"name": "mallory"}).status_code == 403


@pytest.mark.parametrize("cookie", ["", "login=", "login=made-up", "login=ada", 'login="', "="])
def test_a_stranger_opens_no_lesson(client, cookie):
    answer = client.post("/video/sessions", headers={"Cookie": cookie})
    assert (answer.status_code, answer.json()) == (401, {"detail": "log in first"})


def test_a_pupil_opens_no_lesson(person):
    assert person("ben").post("/video/sessions").json()["detail"] == "only teachers open a lesson"


def test_a_stranger_gets_no_token(client, session_id):
    assert client.post(f"/video/sessions/{session_id}/tokens").status_code == 401


def test_a_teacher_moderates(token):
    assert token("ada", role="moderator").json()["role"] == "moderator"


def test_a_pupil_publishes_until_the_lesson_is_over(token, clock):
    given = token("ben", role="moderator").json()
    assert (given["role"], given["expires_at"]) == ("publisher", int(clock.now) + 45 * 60)


def test_nobody_gets_a_token_in_another_name(token):
    assert token("ben", data="ada").json()["code"] == "not_your_name"


def test_the_lesson_knows_its_people(client, bearer, session_id):
    answer = client.get(f"/lessons/{session_id}", headers=bearer("ben"))
    assert answer.json() == {"lesson": session_id, "you": "ben", "role": "publisher"}


def test_a_refusal_is_a_problem_document(client, session_id):
    answer = client.get(f"/lessons/{session_id}")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")


def test_a_subscriber_asks_no_questions(client, bearer, session_id):
    ask = f"/lessons/{session_id}/questions"
    assert client.post(ask, headers=bearer("ben")).status_code == 201
    assert client.post(ask, headers=bearer("ben", role="subscriber")).json()["code"] == "insufficient_role"


def test_a_teacher_sends_a_pupil_out_who_then_stays_out(client, bearer, session_id):
    ada, ben, cleo = bearer("ada", role="moderator"), bearer("ben"), bearer("cleo")
    assert client.post(f"/lessons/{session_id}/sent-out/ben", headers=cleo).status_code == 403
    assert client.post(f"/lessons/{session_id}/sent-out/ben", headers=ada).status_code == 204
    assert client.get(f"/lessons/{session_id}", headers=ben).json()["code"] == "sent_out"
    assert client.get(f"/lessons/{session_id}", headers=cleo).status_code == 200


def test_the_bell_tells_a_pupil_when_the_lesson_is_over(client, bearer, session_id, clock):
    with client.websocket_connect(f"/lessons/{session_id}/bell", headers=bearer("ben")) as websocket:
        assert websocket.receive_json() == {"lesson": session_id, "over_at": int(clock.now) + 45 * 60}


def test_a_pupil_who_is_sent_out_hears_the_bell_no_more(client, bearer, session_id):
    with client.websocket_connect(f"/lessons/{session_id}/bell", headers=bearer("ben")) as websocket:
        websocket.receive_json()
        client.post(f"/lessons/{session_id}/sent-out/ben", headers=bearer("ada", role="moderator"))
        with pytest.raises(WebSocketDisconnect) as end:
            websocket.receive_json()
    assert (end.value.code, end.value.reason) == (4403, "sent_out: you were sent out")


def test_the_bell_tells_a_stranger_nothing(client, session_id):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"/lessons/{session_id}/bell"):
        pass


def test_its_description_says_what_each_route_requires(client):
    paths = client.get("/openapi.json").json()["paths"]
    required = {
        path: [operation.get("security") for operation in item.values()]
        for path, item in paths.items()
        if not path.startswith("/video")
    }
    assert required == {
        "/login": [None],
        "/lessons/{session_id}": [[{"rolecall": []}]],
        "/lessons/{session_id}/questions": [[{"rolecall": ["capability:signal"]}]],
        "/lessons/{session_id}/sent-out/{name}": [[{"rolecall": ["role:moderator"]}]],
    }
    assert paths["/video/sessions/{session_id}"]["delete"]["security"] == [{"rolecall": ["role:moderator"]}]
    assert {"401", "403"} <= paths["/lessons/{session_id}"]["get"]["responses"].keys()


def test_every_route_is_guarded_or_marked_as_public(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "school", SimpleNamespace(app=app))
    assert CliRunner().invoke(rolecall, ["routes", "school:app", "--check"]).exit_code == 0
