"""What the SDKs call and the kit does not serve: named to those who have a good credential, and told to the log."""

from __future__ import annotations

import json

import jwt
import pytest

from rolecall.driver import drive
from rolecall.http.api.routing import Route, find_route
from rolecall.http.api.sdk import SDK_ROUTES
from rolecall.http.respond import respond
from rolecall.request import Request

NOW = 1_795_186_800
KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
OTHER_KEY, OTHER_SECRET = "654321", "second-secret-of-forty-two-characters-x42"
PROJECT = f"/v2/project/{KEY}"


@pytest.fixture
def kit(make_kit):
    return make_kit(clock=lambda: NOW, entry_points=False)


def ask(kit, method, path, key=KEY, secret=SECRET):
    found = find_route(SDK_ROUTES, path)
    assert found is not None
    route, params = found
    claims = {"iss": key, "ist": "project", "iat": NOW, "exp": NOW + 180}
    headers = {"x-opentok-auth": jwt.encode(claims, secret, "HS256")}
    answer = drive(respond(kit.api, route, Request(method, path, params, headers)))
    return answer.status, json.loads(answer.body)


#: What each SDK's call is named, by its method and path.
CALLS = {
    ("POST", "archive"): "archives",
    ("GET", "archive"): "archives",
    ("GET", "archive/a-1"): "archives",
    ("DELETE", "archive/a-1"): "archives",
    ("POST", "archive/a-1/stop"): "archives",
    ("PATCH", "archive/a-1/streams"): "archives",
    ("PUT", "archive/a-1/layout"): "layouts of archives",
    ("POST", "broadcast"): "broadcasts",
    ("POST", "broadcast/"): "broadcasts",
    ("GET", "broadcast/b-1"): "broadcasts",
    ("PUT", "broadcast/b-1/layout"): "layouts of broadcasts",
    ("POST", "callback"): "callbacks",
    ("POST", "captions"): "live captions",
    ("POST", "captions/c-1/stop"): "live captions",
    ("POST", "connect"): "the audio connector",
    ("POST", "connect/c-1/stop"): "the audio connector",
    ("POST", "dial"): "SIP calls",
    ("POST", "render"): "the Experience Composer",
    ("DELETE", "render/r-1"): "the Experience Composer",
    ("POST", "session/{session}/play-dtmf"): "DTMF tones",
    ("POST", "session/{session}/connection/c-1/play-dtmf"): "DTMF tones",
    ("PUT", "session/{session}/stream"): "layouts of streams",
}


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_a_call_that_is_not_served_is_named_and_logged(kit, caplog, method, path):
    status, problem = ask(kit, method, f"{PROJECT}/{path.format(session=kit.create_session().session_id)}")
    assert (status, problem["code"]) == (501, "not_served")
    assert problem["detail"].startswith(f"{CALLS[method, path]}: not served here. ")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"not_served: {CALLS[method, path]}: not served here" in caplog.text


@pytest.mark.parametrize("path", ["nothing", "Archive", "archives", "layout", "session", "session/x", "play-dtmf"])
def test_what_no_sdk_calls_is_not_found(kit, path):
    status, problem = ask(kit, "GET", f"{PROJECT}/{path}")
    assert (status, problem["code"]) == (404, "route_not_found")


@pytest.mark.parametrize("path", ["archive", "nothing", "session/{session}/play-dtmf"])
@pytest.mark.parametrize("other", [{"secret": OTHER_SECRET}, {"key": OTHER_KEY}])
def test_without_a_good_credential_nothing_is_told(kit, path, other):
    path = path.format(session=kit.create_session().session_id)
    status, problem = ask(kit, "POST", f"{PROJECT}/{path}", **other)
    assert (status, problem["code"]) == (403, "invalid_server_credential")


def test_a_project_asks_for_its_own_alone(make_kit):
    kit = make_kit(clock=lambda: NOW, entry_points=False, projects={OTHER_KEY: OTHER_SECRET})
    assert ask(kit, "POST", f"{PROJECT}/archive", OTHER_KEY, OTHER_SECRET)[0] == 403


REST = Route("/a/{first}/{rest:path}", "rest", {})


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/a/b/c", {"first": "b", "rest": "c"}),
        ("/a/b/c/", {"first": "b", "rest": "c/"}),
        ("/a/b/c//d/e", {"first": "b", "rest": "c//d/e"}),
        ("/a/b", None),
        ("/a/b/", None),
        ("/a/b//c", None),
        ("/a//b/c", None),
        ("/b/b/c", None),
    ],
)
def test_an_open_ended_route_takes_all_that_follows(path, params):
    assert REST.match(path) == params
