"""What the adapter takes of Flask and its extensions beyond their documented API.

Where one of these fails with a new version, the adapter needs a look before the bound in pyproject.toml is raised.
"""

from __future__ import annotations

import io
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flask
import pytest
from flask_socketio import SocketIO
from flask_wtf import CSRFProtect
from socketio.exceptions import ConnectionRefusedError as Unconnected
from werkzeug.exceptions import HTTPException

from ..untyped import untyped

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


@pytest.fixture
def app():
    return flask.Flask(__name__, static_folder=None)


def test_the_version_of_flask_has_an_upper_bound():
    (flask_itself,) = PYPROJECT["project"]["optional-dependencies"]["flask"]
    assert flask_itself.endswith("<4")
    assert version("flask").startswith("3.")


def test_error_handlers_are_kept_by_blueprint_status_and_class(app):
    blueprint = flask.Blueprint("rooms", __name__)
    handlers = {error: lambda _: "" for error in (KeyError, LookupError)}
    blueprint.register_error_handler(KeyError, handlers[KeyError])
    app.register_error_handler(LookupError, handlers[LookupError])
    app.register_blueprint(blueprint)
    assert app.error_handler_spec["rooms"][None] == {KeyError: handlers[KeyError]}
    assert app.error_handler_spec[None][None] == {LookupError: handlers[LookupError]}


def test_flask_asks_the_handlers_of_the_innermost_blueprint_first(app):
    parent, child = flask.Blueprint("parent", __name__), flask.Blueprint("child", __name__)
    child.get("/x")(lambda: flask.request.blueprints)
    parent.register_blueprint(child)
    app.register_blueprint(parent)
    assert app.test_client().get("/x").json == ["parent.child", "parent"]


def test_no_error_handler_is_asked_about_an_http_exception_without_a_code(app):
    app.register_error_handler(Exception, lambda _: "handled")
    app.register_error_handler(HTTPException, lambda _: "handled")

    @app.get("/x")
    def view():
        raise HTTPException("why", flask.Response("as it is", 401))

    answer = app.test_client().get("/x")
    assert (answer.status_code, answer.text) == (401, "as it is")


def test_the_functions_before_a_request_are_a_list_that_may_change_while_it_is_gone_through(app):
    ran = []

    def once():
        ran.append("once")
        app.before_request_funcs[None] = [one for one in app.before_request_funcs[None] if one is not once]

    app.before_request_funcs.setdefault(None, []).insert(0, once)
    app.before_request_funcs[None].append(lambda: ran.append("each"))
    app.get("/x")(lambda: "")
    client = app.test_client()
    client.get("/x")
    client.get("/x")
    assert ran == ["once", "each", "each"]


def test_a_rule_shows_its_parameters_methods_and_converters(app):
    app.add_url_rule("/<int:room>/<path:rest>", "x", lambda **_: "", defaults={"page": 1})
    (rule,) = app.url_map.iter_rules()
    assert rule.arguments == {"room", "rest", "page"}
    assert rule.methods == {"GET", "HEAD", "OPTIONS"}
    assert rule.provide_automatic_options is True
    assert {name: one.part_isolating for name, one in rule._converters.items()} == {"room": True, "rest": False}


def test_a_rule_without_methods_takes_all_of_them(app):
    app.add_url_rule("/x", "x", lambda: flask.request.method, methods=["GET"], provide_automatic_options=False)
    for rule in app.url_map.iter_rules():
        rule.methods = None
    client = app.test_client()
    assert [client.open("/x", method=method).text for method in ("GET", "PUT", "BREW")] == ["GET", "PUT", "BREW"]


def test_the_stream_for_parsing_has_the_body_though_something_has_read_it(app):
    @app.post("/x")
    def view():
        before = flask.request.get_data()
        return {"read": before == flask.request._get_stream_for_parsing().read() == b"body"}

    assert app.test_client().post("/x", input_stream=io.BytesIO(b"body"), content_length=4).json == {"read": True}


def test_the_view_for_static_files_comes_from_flask_itself(tmp_path):
    app = flask.Flask(__name__, static_folder=str(tmp_path))
    assert app.view_functions["static"].__module__.startswith("flask.")


def test_the_handler_of_a_socket_finds_the_event_in_the_request(app):
    app.config["SECRET_KEY"] = "for tests"
    socketio = SocketIO(app, async_mode="threading")
    seen: list[Any] = []

    def event() -> Any:
        return untyped(flask.request).event

    socketio.on("connect")(lambda auth=None: seen.append(event()["message"]))
    socketio.on("question")(lambda text: seen.append((event()["message"], event()["args"][0])))
    socketio.test_client(app).emit("question", "?")
    assert seen == ["connect", ("question", "?")]


def test_no_handler_for_errors_is_asked_about_a_connection_that_is_refused(app):
    app.config["SECRET_KEY"] = "for tests"
    socketio = SocketIO(app, async_mode="threading")
    socketio.on_error_default(lambda error: True)

    @socketio.on("connect")
    def connect(auth=None):
        raise Unconnected("why")

    assert not socketio.test_client(app).is_connected()


def test_csrf_protection_is_found_among_the_extensions_and_spares_blueprints(app):
    app.config["SECRET_KEY"] = "for tests"
    blueprint = flask.Blueprint("x", __name__)
    blueprint.post("/x")(lambda: "in")
    app.register_blueprint(blueprint)
    CSRFProtect(app)
    app.extensions["csrf"].exempt(blueprint)
    assert app.test_client().post("/x").text == "in"
