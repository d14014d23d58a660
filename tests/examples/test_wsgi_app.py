"""The practice of ``examples/wsgi_app``, as its doctor and its patients see it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from wsgiref.validate import validator

import pytest
from click.testing import CliRunner
from werkzeug.test import Client

from rolecall.cli.commands import rolecall

APP = Path(__file__).parents[2] / "examples" / "wsgi_app" / "app.py"
DOCTOR, BEN = "D-4711", "P-1001"


@pytest.fixture
def app(monkeypatch, clock):
    monkeypatch.setenv("ROLECALL_API_KEY", "123456")
    monkeypatch.setenv("ROLECALL_API_SECRET", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e")
    monkeypatch.delenv("ROLECALL_STORE", raising=False)
    app = runpy.run_path(str(APP))["create_app"](clock=clock)
    yield app
    app.kit.close()


@pytest.fixture
def client(app):
    return Client(validator(app))


@pytest.fixture
def ask(client):
    def ask(method, path, code=None, bearer=None, **options):
        headers = {"Booking-Code": code} if code else {}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        return client.open(path, method=method, headers=headers, buffered=True, **options)

    return ask


@pytest.fixture
def session_id(ask):
    return ask("POST", "/video/sessions", DOCTOR).json["session_id"]


@pytest.fixture
def issue(ask, session_id):
    """The answer to somebody who asks for a token with their booking."""

    def issue(code, **body):
        return ask("POST", f"/video/sessions/{session_id}/tokens", code, json=body)

    return issue


@pytest.fixture
def token(issue):
    return lambda code, **body: issue(code, **body).json["token"]


def test_the_front_page_is_open_to_all_and_knows_who_comes(ask, token):
    assert ask("GET", "/").json == {"welcome": "stranger"}
    assert ask("GET", "/", bearer=token(BEN)).json == {"welcome": "Ben"}


@pytest.mark.parametrize("code", [None, "P-9999", BEN])
def test_only_a_doctor_opens_a_consultation(ask, code):
    assert ask("POST", "/video/sessions", code).status_code == 403


def test_without_a_booking_there_is_no_token(issue):
    assert issue(None).json["code"] == "not_identified"


def test_a_doctor_moderates(issue):
    assert issue(DOCTOR, role="moderator").json["role"] == "moderator"


def test_a_patient_publishes_until_the_consultation_is_over(issue, clock):
    given = issue(BEN, role="moderator").json
    assert (given["role"], given["expires_at"]) == ("publisher", int(clock.now) + 30 * 60)
    clock.now += 30 * 60
    assert issue(BEN).status_code == 403


def test_a_token_says_who_came_whatever_was_asked_for(issue):
    assert issue(BEN, data="Dr. Ada").json["data"] == "Ben"


def test_a_consultation_is_for_those_who_have_its_token(ask, token, session_id):
    other = ask("POST", "/video/sessions", DOCTOR).json["session_id"]
    assert ask("GET", f"/consultations/{session_id}", bearer=token(BEN)).json["you"] == "Ben"
    assert ask("GET", f"/consultations/{session_id}").json["code"] == "missing_token"
    assert ask("GET", f"/consultations/{other}", bearer=token(BEN)).json["code"] == "wrong_session"


def test_the_doctor_takes_notes_that_the_patient_reads(ask, token, session_id):
    path, doctor, ben = f"/consultations/{session_id}/notes", token(DOCTOR, role="moderator"), token(BEN)
    assert ask("POST", path, bearer=doctor, data=b"two a day").json == {"noted": "two a day"}
    assert ask("POST", path, bearer=ben, data=b"three a day").json["code"] == "insufficient_role"
    assert ask("GET", path, bearer=ben).text == "Dr. Ada: two a day\n"
    assert ask("GET", path).status_code == 401


def test_which_pages_there_are_is_told_only_to_who_has_a_token(ask, token):
    assert ask("GET", "/elsewhere").status_code == 401
    assert ask("GET", "/elsewhere", bearer=token(BEN)).status_code == 404


def test_every_route_is_guarded_or_marked_as_public(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "practice", SimpleNamespace(app=app))
    assert CliRunner().invoke(rolecall, ["routes", "practice:app", "--check"]).exit_code == 0
