"""FlaskRolecall: a kit for each app, from the app's configuration and the environment; and the current kit."""

from __future__ import annotations

from typing import Any

import flask
import pytest

from rolecall import Rolecall
from rolecall.errors import ConfigurationError, RolecallError
from rolecall.policies import AllowAnyone
from rolecall_flask import FlaskRolecall, current_grant, current_kit, require_token, rolecall_blueprint

from ..sdk_tokens import API_KEY, API_SECRET
from ..untyped import untyped

OTHER_KEY, OTHER_SECRET = "654321", "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789"
CONFIG = {"ROLECALL_API_KEY": API_KEY, "ROLECALL_API_SECRET": API_SECRET}


def app_with(**config: Any) -> flask.Flask:
    app = flask.Flask(__name__, static_folder=None)
    app.config.update(config)
    return app


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


# -- where the configuration is --------------------------------------------------------------------


def test_an_app_gets_its_kit_from_its_configuration():
    app = app_with(**CONFIG)
    FlaskRolecall(app, plugins=[AllowAnyone()])
    answer = app.test_client().post("/video/sessions")
    assert (answer.status_code, [kit.api_key for kit in app.extensions["rolecall"]]) == (201, [API_KEY])


def test_what_the_configuration_lacks_is_in_the_environment(monkeypatch):
    monkeypatch.setenv("ROLECALL_API_KEY", OTHER_KEY)
    monkeypatch.setenv("ROLECALL_API_SECRET", API_SECRET)
    kit = FlaskRolecall().init_app(app_with(ROLECALL_API_KEY=int(API_KEY)))
    assert kit.verify_token(Rolecall(API_KEY, API_SECRET).create_session().generate_token()).role == "publisher"


@pytest.mark.parametrize("in_file", ["the configuration's", "the environment's"])
def test_a_secret_of_the_configuration_wins_whichever_of_the_two_is_in_a_file(monkeypatch, tmp_path, in_file):
    file = tmp_path / "secret"
    if in_file == "the configuration's":
        file.write_text(API_SECRET)
        monkeypatch.setenv("ROLECALL_API_SECRET", OTHER_SECRET)
        app = app_with(ROLECALL_API_KEY=API_KEY, ROLECALL_API_SECRET_FILE=str(file))
    else:
        file.write_text(OTHER_SECRET)
        monkeypatch.setenv("ROLECALL_API_SECRET_FILE", str(file))
        app = app_with(**CONFIG)
    kit = FlaskRolecall().init_app(app)
    assert kit.verify_token(Rolecall(API_KEY, API_SECRET).create_session().generate_token()).role == "publisher"


def test_arguments_win_and_those_of_one_app_over_those_of_all():
    extension = FlaskRolecall(api_key=OTHER_KEY, plugins=[AllowAnyone()])
    assert extension.init_app(app_with(**CONFIG)).api_key == OTHER_KEY
    assert extension.init_app(app_with(**CONFIG), api_key="777").api_key == "777"


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({}, "ROLECALL_API_KEY is not set"),
        ({**CONFIG, "ROLECALL_API_SECRET": None}, "ROLECALL_API_SECRET is not set"),
        ({**CONFIG, "ROLECALL_ORIGIN": "x"}, "did you mean ROLECALL_ORIGINS"),
        ({**CONFIG, "ROLECALL_API_SECRET": "short"}, "needs at least 32"),
        ({**CONFIG, "ROLECALL_TRACE": "maybe"}, "ROLECALL_TRACE is neither 1 nor 0"),
    ],
)
def test_a_configuration_that_cannot_be_meant_stops_the_app(monkeypatch, config, match):
    for name in CONFIG:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RolecallError, match=match) as refused:
        FlaskRolecall(app_with(**config))
    assert API_SECRET not in str(refused.value)


def test_an_app_gets_one_kit_from_it():
    app, extension = app_with(**CONFIG), FlaskRolecall()
    extension.init_app(app)
    with pytest.raises(ConfigurationError, match="has a kit already; call init_app once"):
        extension.init_app(app)


@pytest.mark.parametrize("wrong", [None, "app", flask.Blueprint("x", __name__)])
def test_it_is_for_apps(wrong):
    with pytest.raises(ConfigurationError, match="takes a Flask app"):
        FlaskRolecall().init_app(untyped(wrong))


@pytest.mark.parametrize("wrong", ["video", "", None])
def test_its_prefix_is_a_path(wrong):
    with pytest.raises(ConfigurationError, match="begins with a slash"):
        FlaskRolecall(url_prefix=untyped(wrong))


def test_its_routes_may_be_elsewhere_or_none():
    elsewhere, without = app_with(**CONFIG), app_with(**CONFIG)
    FlaskRolecall(elsewhere, url_prefix="/calls")
    FlaskRolecall(without, routes=())
    assert elsewhere.test_client().get("/calls/healthz").status_code == 200
    assert without.test_client().get("/video/healthz").status_code == 404


# -- factories -------------------------------------------------------------------------------------


def test_each_app_of_a_factory_has_a_kit_of_its_own():
    extension = FlaskRolecall(plugins=[AllowAnyone()])

    def create_app(key, secret):
        app = app_with(ROLECALL_API_KEY=key, ROLECALL_API_SECRET=secret)
        extension.init_app(app)
        school = flask.Blueprint("school", __name__, url_prefix="/school")
        rooms = flask.Blueprint("rooms", __name__, url_prefix="/rooms")

        @rooms.get("/<session_id>")
        @require_token
        def room(session_id):
            return {"key": current_kit.api_key, "session": current_grant.session_id}

        school.register_blueprint(rooms)
        app.register_blueprint(school)
        return app

    one, other = create_app(API_KEY, API_SECRET), create_app(OTHER_KEY, OTHER_SECRET)
    for app, key in ((one, API_KEY), (other, OTHER_KEY)):
        session = app.extensions["rolecall"][0].create_session()
        path, headers = f"/school/rooms/{session.session_id}", bearer(session.generate_token())
        assert app.test_client().get(path, headers=headers).json == {"key": key, "session": session.session_id}
        foreign = one if app is other else other
        assert foreign.test_client().get(path, headers=headers).status_code in (400, 401, 403)


def test_the_current_kit_is_that_of_the_innermost_app():
    one, other = app_with(**CONFIG), app_with(ROLECALL_API_KEY=OTHER_KEY, ROLECALL_API_SECRET=OTHER_SECRET)
    FlaskRolecall(one)
    FlaskRolecall(other)
    with one.app_context():
        with other.app_context():
            assert current_kit.api_key == OTHER_KEY
        assert current_kit.api_key == API_KEY
    with other.test_request_context("/"):
        assert isinstance(current_kit, Rolecall)
        assert current_kit.create_session().api_key == OTHER_KEY


def test_a_command_has_the_current_kit():
    app = app_with(**CONFIG)
    FlaskRolecall(app)

    @app.cli.command()
    def open_lesson():
        print(current_kit.create_session().session_id)

    result = app.test_cli_runner().invoke(args=["open-lesson"])
    assert (result.exit_code, result.output[:2]) == (0, "1_")


def test_without_an_app_there_is_no_current_kit():
    with pytest.raises(RuntimeError, match="application context"):
        _ = current_kit.api_key


@pytest.mark.parametrize(("kits", "match"), [(0, r"has no kit; .*FlaskRolecall\(app\)"), (2, "has several kits")])
def test_without_one_kit_there_is_no_current_one(make_kit, kits, match):
    app = app_with()
    for number in range(kits):
        app.register_blueprint(rolecall_blueprint(make_kit(), f"kit{number}", routes=()))
    with app.app_context():
        with pytest.raises(RuntimeError, match=match):
            _ = current_kit.api_key
        assert not isinstance(current_kit, Rolecall), "what looks at all objects of a process meets no error"


def test_the_current_kit_of_a_copied_context_is_the_same():
    app = app_with(**CONFIG)
    FlaskRolecall(app)
    with app.test_request_context("/"):
        copied = flask.copy_current_request_context(lambda: current_kit.api_key)
    assert copied() == API_KEY
