"""A small class app: teachers open lessons and moderate them, pupils publish until the lesson is over.

Run it with ``flask --app examples/flask_app/app run``; ``ROLECALL_API_KEY``, ``ROLECALL_API_SECRET`` and ``SECRET_KEY``
(Flask's own) must be set. With ``ROLECALL_STORE=sqlite:///rolecall.db`` it runs under any number of workers.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import flask

from rolecall import AccessRequest, Actor, Allow, Deny, SessionRequest, TokenRequest, Vote, hookimpl
from rolecall_flask import (
    FlaskRolecall,
    current_grant,
    current_kit,
    public,
    require_capability,
    require_role,
    require_token,
)

#: Who exists, and as what. A real app asks its database, and for a password.
PEOPLE = {"ada": "teacher", "ben": "pupil", "cleo": "pupil"}
#: How many seconds after its start a lesson is over, for pupils.
LESSON = 45 * 60


class SentOut:
    """Who was sent out of which lesson: in a file, because each worker process has a memory of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run("CREATE TABLE IF NOT EXISTS sent_out (session_id TEXT, name TEXT, PRIMARY KEY (session_id, name))")

    def add(self, session_id: str, name: str) -> None:
        self._run("INSERT OR IGNORE INTO sent_out VALUES (?, ?)", session_id, name)

    def holds(self, session_id: str, name: str | None) -> bool:
        return bool(self._run("SELECT 1 FROM sent_out WHERE session_id = ? AND name = ?", session_id, name))

    def _run(self, statement: str, *values: str | None) -> list[Any]:
        with closing(sqlite3.connect(self._path)) as database, database:
            return database.execute(statement, values).fetchall()


class SchoolPolicy:
    """The rules of the school."""

    def __init__(self, sent_out: SentOut) -> None:
        self._sent_out = sent_out

    @hookimpl
    def rolecall_identify(self) -> Actor | None:
        name = flask.session.get("name")
        return Actor(name, {"teaches": PEOPLE[name] == "teacher"}) if name in PEOPLE else None

    @hookimpl
    def rolecall_vote_session(self, request: SessionRequest) -> Vote:
        if request.actor is None:
            return None  # from outside that means no, and the app's own code may
        return Allow() if request.actor.attributes["teaches"] else Deny("only teachers open a lesson")

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if request.actor is None or request.session is None:
            return None
        if request.data != request.actor.id:
            return Deny("data must be your own name", code="not_your_name")
        if request.actor.attributes["teaches"]:
            return Allow(max_role="moderator")
        return Allow(max_role="publisher", latest_expiry=request.session.created_at + LESSON)

    @hookimpl
    def rolecall_vote_access(self, request: AccessRequest) -> Vote:
        if self._sent_out.holds(request.grant.session_id, request.grant.data):
            return Deny("you were sent out", code="sent_out")
        return None


def create_app(**options: Any) -> flask.Flask:
    """The app.

    :param options: arguments of the kit that win over the environment.
    """
    app = flask.Flask(__name__)
    app.secret_key = os.environ["SECRET_KEY"]  # one for all workers, or a login in one is none in the next
    # A cookie says who asks, so other sites must not be able to make a browser ask.
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"

    sent_out = SentOut(Path(os.environ.get("SCHOOL_DATABASE", "school.db")))
    FlaskRolecall(app, plugins=[SchoolPolicy(sent_out)], **options)

    @app.post("/login")
    @public
    def login() -> Any:
        name = flask.request.form.get("name", "")
        if name not in PEOPLE:
            return {"error": "nobody has this name"}, 403
        flask.session["name"] = name
        return {"name": name, "is": PEOPLE[name]}

    @app.get("/lessons/<session_id>")
    @require_token
    def lesson(session_id: str) -> Any:
        return {"lesson": session_id, "you": current_grant.data, "role": current_grant.role}

    @app.post("/lessons/<session_id>/questions")
    @require_capability("signal")
    def ask(session_id: str) -> Any:
        return {"lesson": session_id, "asked_by": current_grant.data}, 201

    @app.post("/lessons/<session_id>/sent-out/<name>")
    @require_role("moderator")
    def send_out(session_id: str, name: str) -> Any:
        sent_out.add(session_id, name)
        return "", 204

    @app.post("/lessons/<session_id>/close")
    @require_role("moderator")
    def close(session_id: str) -> Any:
        current_kit.end_session(session_id)
        return "", 204

    return app
