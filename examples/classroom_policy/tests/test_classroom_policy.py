"""Who gets which token for a class, and when."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

import flask
import pytest
from classroom_policy import ClassroomPolicy

from rolecall import PluginError, Request
from rolecall.testing import assert_allowed, assert_refused
from rolecall_flask import current_grant, require_role, rolecall_blueprint

SCHEMA = Path(__file__).parents[1] / "schema.sql"
HOUR = 3600


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "classes.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA.read_text())
    connection.close()
    return path


@pytest.fixture
def config(database):
    return {"database": str(database), "user_header": "X-User"}


@pytest.fixture
def rolecall_kit(rolecall_make_kit, config):
    return rolecall_make_kit(plugins=[ClassroomPolicy()], plugin_config={"classroom": config})


@pytest.fixture
def lesson(rolecall_kit, rolecall_clock, database):
    """The session of a class that starts now and runs for an hour; Ada teaches it, and Ben is its pupil."""
    session_id, now = rolecall_kit.create_session().session_id, rolecall_clock()
    with sqlite3.connect(database) as connection:
        connection.execute("INSERT INTO classes VALUES (?, ?, ?)", (session_id, now, now + HOUR))
        members = [(session_id, "ada", "teacher"), (session_id, "ben", "pupil")]
        connection.executemany("INSERT INTO members VALUES (?, ?, ?)", members)
    connection.close()
    return session_id


def asks(user: str) -> Request:
    return Request("POST", "/video/sessions/…/tokens", headers={"x-user": user})


def test_the_teacher_may_moderate(rolecall_kit, lesson):
    assert_allowed(rolecall_kit, lesson, "moderator", http=asks("ada"))


def test_a_pupil_may_publish_and_no_more(rolecall_kit, lesson):
    assert_allowed(rolecall_kit, lesson, "publisher", http=asks("ben"))
    assert_allowed(rolecall_kit, lesson, "moderator", http=asks("ben"), granted="publisher")


def test_somebody_else_gets_nothing(rolecall_kit, lesson):
    assert_refused(rolecall_kit, lesson, http=asks("eve"), code="not_in_class")
    assert_refused(rolecall_kit, lesson, http=Request("POST", "/"), code="not_identified")


@pytest.mark.parametrize("user", ["ada", "ben"])
@pytest.mark.parametrize("later", [-1, HOUR])
def test_nobody_gets_anything_while_the_class_does_not_run(rolecall_kit, rolecall_clock, lesson, user, later):
    rolecall_clock.advance(later)
    assert_refused(rolecall_kit, lesson, http=asks(user), code="class_not_running")


def test_another_class_is_none_of_a_teachers_business(rolecall_kit, lesson):
    other = rolecall_kit.create_session()
    assert other.session_id != lesson
    assert_refused(rolecall_kit, other, "moderator", http=asks("ada"), code="policy_denied")


def test_the_server_itself_is_not_bound(rolecall_kit, lesson):
    assert_allowed(rolecall_kit, lesson, "moderator")


def test_without_its_database_the_policy_lets_nobody_in(rolecall_kit, lesson, database):
    database.unlink()
    assert_refused(rolecall_kit, lesson, http=asks("ada"), code="policy_fault")


@pytest.mark.parametrize("config", [{}, {"database": 1}, {"database": "classes.db", "user-header": "x-user"}])
def test_a_configuration_that_cannot_be_meant_stops_start_up(rolecall_make_kit, config):
    with pytest.raises(PluginError, match="classroom failed to start"):
        rolecall_make_kit(plugins=[ClassroomPolicy()], plugin_config={"classroom": config})


class TestInFlask:
    @pytest.fixture
    def config(self, database):
        return {"database": str(database)}

    @pytest.fixture
    def client(self, rolecall_kit):
        app = flask.Flask(__name__)
        app.secret_key = secrets.token_hex()
        app.register_blueprint(rolecall_blueprint(rolecall_kit), url_prefix="/video")

        @app.post("/classes/<session_id>/mute")
        @require_role("moderator")
        def mute(session_id):
            return {"session": session_id, "muted_by": current_grant.data}

        return app.test_client()

    def test_the_user_is_who_is_logged_in(self, client, lesson, rolecall_clock):
        with client.session_transaction() as login:
            login["user"] = "ben"
        answer = client.post(f"/video/sessions/{lesson}/tokens", json={"role": "moderator", "data": "ada"}).json
        assert (answer["role"], answer["data"]) == ("publisher", "ben")
        assert answer["expires_at"] == rolecall_clock() + HOUR

    def test_who_is_not_logged_in_gets_nothing(self, client, lesson):
        answer = client.post(f"/video/sessions/{lesson}/tokens", json={}, headers={"X-User": "ada"})
        assert (answer.status_code, answer.json["code"]) == (403, "not_identified")

    def test_the_teacher_mutes_and_a_pupil_does_not(self, client, lesson, rolecall_as_role):
        teacher = rolecall_as_role(client, "moderator", session=lesson, data="ada")
        pupil = rolecall_as_role(client, "publisher", session=lesson, data="ben")
        assert teacher.post(f"/classes/{lesson}/mute").json["muted_by"] == "ada"
        assert pupil.post(f"/classes/{lesson}/mute").status_code == 403
