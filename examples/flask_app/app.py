"""A small class app: teachers open lessons and moderate them, pupils publish until the lesson is over.

Run it with ``flask --app examples/flask_app/app run``; ``ROLECALL_API_KEY`` and ``ROLECALL_API_SECRET`` must be set.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

import flask

from rolecall import AccessRequest, Actor, Allow, Deny, Rolecall, SessionRequest, TokenRequest, Vote, hookimpl
from rolecall_flask import current_grant, require_capability, require_role, require_token, rolecall_blueprint

#: Who exists, and as what. A real app asks its database, and for a password.
PEOPLE = {"ada": "teacher", "ben": "pupil", "cleo": "pupil"}
#: How many seconds after its start a lesson is over, for pupils.
LESSON = 45 * 60


class SchoolPolicy:
    """The rules of the school."""

    def __init__(self) -> None:
        #: Pupils who were sent out, by session.
        self.sent_out: dict[str, set[str]] = {}

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
        if request.grant.data in self.sent_out.get(request.grant.session_id, ()):
            return Deny("you were sent out", code="sent_out")
        return None


def create_app(**options: Any) -> flask.Flask:
    """The app.

    :param options: arguments of the kit that win over the environment.
    """
    app = flask.Flask(__name__)
    app.secret_key = os.environ.get("SECRET_KEY") or secrets.token_hex()
    # A cookie says who asks, so other sites must not be able to make a browser ask.
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"

    policy = SchoolPolicy()
    kit = Rolecall.from_env(plugins=[policy], **options)
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")

    @app.post("/login")
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
        policy.sent_out.setdefault(session_id, set()).add(name)
        return "", 204

    return app
