"""LoginUser: Flask-Login's user as the actor on the kit's own routes, and no user for a page of another site."""

from __future__ import annotations

import sys

import flask
import pytest
from flask_login import LoginManager, UserMixin, login_user

from rolecall import Actor, Allow, hookimpl
from rolecall.errors import ConfigurationError
from rolecall_flask import rolecall_blueprint
from rolecall_flask.identity import LoginUser

from ..untyped import untyped

PAGE = "https://app.example"


class User(UserMixin):
    def __init__(self, name):
        self.id = name


class Members:
    def __init__(self) -> None:
        self.actors: list[Actor | None] = []

    @hookimpl
    def rolecall_vote_session(self, request):
        self.actors.append(request.actor)
        return Allow() if request.actor else None


@pytest.fixture
def members():
    return Members()


def app_of(make_kit, *plugins, has_login=True):
    app = flask.Flask(__name__, static_folder=None)
    app.secret_key = "for tests"
    if has_login:
        manager = LoginManager(app)
        manager.user_loader(User)
    app.register_blueprint(rolecall_blueprint(make_kit(plugins=plugins)), url_prefix="/video")

    @app.post("/login/<name>")
    def login(name):
        return {"in": login_user(User(name))}

    return app


def ask(app, name="ada", **headers):
    client = app.test_client()
    if name:
        client.post(f"/login/{name}")
    sent = {header.replace("_", "-"): value for header, value in headers.items()}
    return client.post("/video/sessions", headers=sent, json={})


def test_the_user_who_is_logged_in_is_the_actor(make_kit, members):
    assert ask(app_of(make_kit, members, LoginUser())).status_code == 201
    assert members.actors == [Actor("ada")]


def test_it_may_be_named_in_the_configuration(make_kit, members):
    assert ask(app_of(make_kit, members, "rolecall_flask.identity:LoginUser")).status_code == 201


def test_who_is_not_logged_in_is_nobody(make_kit, members):
    answer = ask(app_of(make_kit, members, LoginUser()), name=None)
    assert (answer.status_code, answer.json["code"], members.actors) == (403, "not_identified", [None])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Sec_Fetch_Site": "same-origin"}, 201),
        ({"Sec_Fetch_Site": "none"}, 201),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "new-in-2030"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "http://localhost"}, 201),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
    ],
)
def test_a_user_counts_only_where_no_foreign_page_asks(make_kit, members, headers, status):
    assert ask(app_of(make_kit, members, LoginUser()), **headers).status_code == status


@pytest.mark.parametrize(("origin", "status"), [(PAGE, 201), ("https://evil.example", 403)])
def test_pages_of_listed_origins_may_ask(make_kit, members, origin, status):
    app = app_of(make_kit, members, LoginUser([PAGE]))
    assert ask(app, Sec_Fetch_Site="same-site", Origin=origin).status_code == status


def test_origins_are_a_list():
    with pytest.raises(ConfigurationError, match="expected a list of origins"):
        LoginUser(untyped(PAGE))


def test_a_subclass_may_say_who_it_is(make_kit, members):
    class ByMail(LoginUser):
        def actor_of(self, user):
            return Actor(f"{user.id}@school.example", {"teaches": True})

    assert ask(app_of(make_kit, members, ByMail())).status_code == 201
    assert members.actors == [Actor("ada@school.example", {"teaches": True})]


def test_an_app_without_a_login_manager_is_told_so(make_kit, members, caplog):
    app = app_of(make_kit, members, LoginUser(), has_login=False)
    assert app.test_client().post("/video/sessions", json={}).status_code == 503
    assert (members.actors, "ConfigurationError" in caplog.text) == ([], True)


def test_where_flask_login_is_not_installed_nobody_is_anybody(make_kit, members, monkeypatch, caplog):
    app = app_of(make_kit, members, LoginUser())
    monkeypatch.setitem(sys.modules, "flask_login", None)
    assert app.test_client().post("/video/sessions", json={}).status_code == 503
    assert members.actors == []


def test_under_another_framework_it_knows_nobody():
    from rolecall import Request

    assert LoginUser().rolecall_identify(Request("POST", "/sessions")) is None
