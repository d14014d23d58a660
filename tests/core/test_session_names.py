"""Session ids that are plain names of rooms: what a name may be, and a kit whose sessions have names."""

from __future__ import annotations

import unicodedata
from typing import Any
from urllib.parse import quote

import flask
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from rolecall import Rolecall, hookimpl
from rolecall.errors import ConfigurationError, InvalidSessionId, InvalidSessionOption, PolicyFault, WrongSession
from rolecall.keys.issuers import credentials_of
from rolecall.policies import AllowAnyone
from rolecall.session_ids import PlainNames
from rolecall.sessions import MediaMode
from rolecall_flask import rolecall_blueprint
from rolecall_starlette import rolecall_routes

pytestmark = pytest.mark.each_choice

API_KEY, SECRET = "123456", "7c1f0a6be2d94f58b3a1c5e8d7f60912"
PROJECT, _ = credentials_of(API_KEY, SECRET, None, None)
assert PROJECT is not None
NAMES = PlainNames(PROJECT)


def rooms(*arguments: Any, **options: Any) -> Rolecall:
    """A kit whose sessions are named plainly."""
    return Rolecall(*arguments, session_names="plain", **options)


class NamedAfterPlaces:
    """Creates sessions at a service that lets the app name its rooms."""

    def __init__(self, *names: str) -> None:
        self._names = list(names)

    @hookimpl
    def rolecall_create_session(self, request: object) -> str | None:
        return self._names.pop(0) if self._names else None


class Studio:
    """A media service that takes note of what it is to do."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def force_disconnect(self, session_id: str, connection_id: str) -> None:
        self.done.append((session_id, connection_id))

    @hookimpl
    def rolecall_media_service(self, request: object) -> Any:
        return self


GOOD = [
    "physics-1",
    "a",
    "École",
    "阿部",
    "bob@example.org",
    "auth0|123",
    "O'Brien",
    "..a",
    "x" * 255,
    "é" * 127,
    "3b0e2a44-7d2e-4b52-9a80-5b0e7a5e4ab1",
]


@pytest.mark.parametrize("name", GOOD, ids=lambda name: name[:20])
def test_a_name_is_what_services_take(name):
    assert NAMES.check(name) == API_KEY
    assert NAMES.accepts(name)


WRONG = {
    "a number": 7,
    "nothing": None,
    "bytes": b"physics",
    "empty": "",
    "too long": "x" * 256,
    "too many bytes": "é" * 128,
    "space": "phy sics",
    "space before": " physics",
    "space behind": "physics ",
    "line end": "physics\n",
    "no-break space": "physics\u00a0",
    "no width": "phy\u200bsics",
    "byte order mark": "\ufeffphysics",
    "turned around": "\u202ephysics",
    "blank letter": "\u3164",
    "braille blank": "\u2800",
    "tag": "a\U000e0041",
    "control": "a\x1b",
    "nul": "a\x00b",
    "surrogate": "a\ud800",
    "dot": ".",
    "dots": "..",
    "slash": "a/b",
    "backslash": "a\\b",
    "query": "a?b",
    "fragment": "a#b",
    "percent": "a%2Fb",
    "quote": 'a"b',
    "not in normal form": unicodedata.normalize("NFD", "École"),
}


@pytest.mark.parametrize("name", WRONG.values(), ids=WRONG)
def test_a_name_is_nothing_else(name):
    assert not NAMES.accepts(name)
    with pytest.raises(InvalidSessionId, match=r"^session_id "):
        NAMES.check(name)


def test_names_are_of_one_project():
    with pytest.raises(ConfigurationError, match="projects"):
        rooms(API_KEY, SECRET, projects={"654321": SECRET + "0"}, entry_points=False)
    with pytest.raises(InvalidSessionOption, match="api_key"):
        NAMES.make(MediaMode.RELAYED, 0, "654321")


# -- a kit of rooms --------------------------------------------------------------------------------


@pytest.fixture
def kit() -> Rolecall:
    return rooms(API_KEY, SECRET, plugins=[NamedAfterPlaces("physics-1", "École"), AllowAnyone()], entry_points=False)


def test_rooms_are_created_and_their_tokens_verified(kit):
    first, second, third = (kit.create_session() for _ in range(3))
    assert (first.session_id, second.session_id) == ("physics-1", "École")
    assert len(third.session_id) == 32
    for session in (first, second, third):
        token = session.generate_token("moderator", data="Ada")
        grant = kit.verify_token(token, session.session_id)
        assert (grant.session_id, grant.role, grant.data) == (session.session_id, "moderator", "Ada")
    with pytest.raises(WrongSession):
        kit.verify_token(first.generate_token(), "École")
    assert kit.get_session("École").session_id == "École"
    assert kit.api_key_of("École") == API_KEY


def test_a_room_that_a_plugin_names_wrongly_is_not_created():
    kit = rooms(API_KEY, SECRET, plugins=[NamedAfterPlaces("a/b")], entry_points=False)
    with pytest.raises(PolicyFault, match="not of this kit"):
        kit.create_session()


def test_two_rooms_differ_by_case(kit):
    kit.create_session()
    kit.create_session()
    with pytest.raises(WrongSession):
        kit.verify_token(kit.generate_token("École"), "école")


def of_flask(kit: Rolecall, method: str, path: str, **headers: str) -> int:
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit))
    return app.test_client().open(path, method=method, headers=headers).status_code


def of_starlette(kit: Rolecall, method: str, path: str, **headers: str) -> int:
    app = Starlette(routes=[Mount("/", routes=rolecall_routes(kit))])
    return TestClient(app).request(method, path, headers=headers).status_code


@pytest.mark.parametrize("ask", [of_flask, of_starlette])
@pytest.mark.parametrize("room", ["physics-1", "École", "bob@example.org", "auth0|123"])
@pytest.mark.parametrize("connection", ["bob@example.org", "auth0|123", "Zoë", "c-1"])
def test_in_a_url_names_are_percent_encoded(ask, room, connection):
    studio = Studio()
    kit = rooms(API_KEY, SECRET, plugins=[NamedAfterPlaces(room), studio, AllowAnyone()], entry_points=False)
    token = kit.create_session().generate_token("moderator")
    path = f"/sessions/{quote(room, safe='')}"
    assert ask(kit, "POST", f"{path}/tokens") == 201
    gone = ask(kit, "DELETE", f"{path}/connections/{quote(connection, safe='')}", Authorization=f"Bearer {token}")
    assert gone == 204
    assert studio.done == [(room, connection)]
