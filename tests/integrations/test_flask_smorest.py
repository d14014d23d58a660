"""Guards on the blueprints and views of flask-smorest."""

from __future__ import annotations

import flask
import pytest
from flask.views import MethodView
from flask_smorest import Api, Blueprint

from rolecall.cli.apps import routes_of
from rolecall_flask import current_grant, require_role, require_token, rolecall_blueprint


@pytest.fixture
def app(kit):
    app = flask.Flask(__name__, static_folder=None)
    app.config.update(API_TITLE="x", API_VERSION="1", OPENAPI_VERSION="3.0.2")
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    return app


def add(app, blueprint):
    Api(app).register_blueprint(blueprint)


def a_guard_on_a_view(app):
    blueprint = Blueprint("x", __name__)

    @blueprint.route("/x/<session_id>")
    @blueprint.response(200)
    @require_role("moderator")
    def x(session_id):
        return {"you_are": str(current_grant.role)}

    add(app, blueprint)


def guards_on_methods(app):
    blueprint = Blueprint("x", __name__)

    @blueprint.route("/x/<session_id>")
    class X(MethodView):
        @blueprint.response(200)
        @require_role("moderator")
        def get(self, session_id):
            return {"you_are": str(current_grant.role)}

    add(app, blueprint)


def a_guard_on_a_blueprint(app):
    blueprint = require_role("moderator")(Blueprint("x", __name__))

    @blueprint.route("/x/<session_id>")
    @blueprint.response(200)
    def x(session_id):
        return {"you_are": str(current_grant.role)}

    add(app, blueprint)


@pytest.mark.parametrize("build", [a_guard_on_a_view, guards_on_methods, a_guard_on_a_blueprint])
def test_who_may_enter_enters_and_nobody_else(app, kit, build):
    build(app)
    session = kit.create_session()
    tokens = [
        *(None, "abc", session.generate_token()),
        kit.create_session().generate_token("moderator"),
        session.generate_token("moderator"),
    ]
    client = app.test_client()
    answers = [
        client.get(f"/x/{session.session_id}", headers={"Authorization": f"Bearer {token}"} if token else {})
        for token in tokens
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 403, 403, 200]
    assert answers[0].headers["WWW-Authenticate"] == 'Bearer realm="rolecall"'
    assert answers[0].json["code"] == "missing_token"
    assert answers[-1].json == {"you_are": "moderator"}


@pytest.mark.parametrize("build", [a_guard_on_a_view, guards_on_methods, a_guard_on_a_blueprint])
def test_the_guard_is_listed(app, build):
    build(app)
    (line,) = (line for line in routes_of(app) if line.path.startswith("/x"))
    assert (line.requires, line.is_good) == ("role:moderator of {session_id}", True)


def test_a_guard_above_the_route_decorator_opens_nothing(app):
    blueprint = Blueprint("x", __name__)

    @require_token
    @blueprint.route("/x")
    def x():
        return {"open": True}

    add(app, blueprint)
    assert app.test_client().get("/x").status_code == 500
