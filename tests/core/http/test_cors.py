"""Which pages may call the kit's routes: nobody's unless listed, and then what browsers ask for, on every answer."""

from __future__ import annotations

import json
from typing import Any

import flask
import pytest

from rolecall import Web
from rolecall.driver import drive
from rolecall.http.api.rest import ROUTES
from rolecall.http.api.routing import PUBLIC, Operation, Route, find_route
from rolecall.http.messages import MAX_BODY, Response
from rolecall.http.respond import respond
from rolecall.policies import AllowAnyone
from rolecall.request import Request
from rolecall_flask import rolecall_blueprint

COOKIE = "__Host-rolecall"
LISTED = "https://app.example"
OTHERS = [
    "https://other.example",
    "https://app.example:8443",
    "http://app.example",
    "https://app.example.",
    "https://app.example.evil.example",
    "https://evilapp.example",
    "https://APP.example",
    "https://app.example/",
    "https://app.example, https://app.example",
    "https://app.example,https://other.example",
    " https://app.example",
    "null",
    "*",
    "",
    "\ud800",
]


@pytest.fixture
def listing(make_kit):
    return make_kit(web=Web(origins=[LISTED, "http://localhost:3000"]), plugins=[AllowAnyone("moderator")])


@pytest.fixture
def with_cookie(make_kit):
    return make_kit(web=Web(origins=[LISTED], cookie=COOKIE), plugins=[AllowAnyone("moderator")])


@pytest.fixture
def closed(make_kit):
    return make_kit(plugins=[AllowAnyone("moderator")])


def ask(kit, method: str, path: str, origin: str | None = LISTED, body: bytes = b"", **headers: str) -> Response:
    found = find_route(ROUTES, path)
    assert found is not None
    route, params = found
    sent = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    sent |= {} if origin is None else {"origin": origin}
    return drive(respond(kit.api, route, Request(method, path, params, sent, body)))


def preflight(kit, path: str, origin: str | None = LISTED, method: str = "POST") -> Response:
    headers: dict[str, Any] = {
        "access_control_request_method": method,
        "access_control_request_headers": "authorization,content-type",
    }
    return ask(kit, "OPTIONS", path, origin, **headers)


def cors(answer: Response) -> dict[str, str]:
    """The headers by which an answer speaks to browsers about pages; none stands twice."""
    found = [(name, text) for name, text in answer.headers if name.lower().startswith("access-control")]
    assert len(dict(found)) == len(found)
    return dict(found)


def vary(answer: Response) -> str | None:
    return dict(answer.headers).get("Vary")


def every_answer(kit) -> dict[str, Response]:
    """An answer for each status that the routes give."""
    session = kit.create_session()
    path, bearer = f"/sessions/{session.session_id}", f"Bearer {session.generate_token('subscriber')}"
    ended = kit.create_session()
    kit.end_session(ended.session_id)
    answers = {
        "200": ask(kit, "GET", path, authorization=bearer),
        "200, HEAD": ask(kit, "HEAD", path, authorization=bearer),
        "200, description": ask(kit, "GET", "/openapi.json"),
        "201": ask(kit, "POST", "/sessions"),
        "204": ask(kit, "DELETE", path, authorization=f"Bearer {session.generate_token('moderator')}"),
        "204, OPTIONS": ask(kit, "OPTIONS", path),
        "400": ask(kit, "POST", "/sessions", body=b"{"),
        "401": ask(kit, "GET", path),
        "403": ask(kit, "DELETE", f"/sessions/{ended.session_id}", authorization=bearer),
        "404": ask(kit, "POST", "/sessions/1_MX4xMjM0NTZ-fjF-YX5-/tokens"),
        "405": ask(kit, "PUT", path),
        "410": ask(kit, "POST", f"/sessions/{ended.session_id}/tokens"),
        "413": ask(kit, "POST", "/sessions", body=b" " * (MAX_BODY + 1)),
        "415": ask(kit, "POST", "/sessions", body=b"{}", content_type="text/plain"),
        "431": ask(kit, "GET", path, authorization="Bearer " + "x" * 17_000),
    }
    wrong = {name: answer.status for name, answer in answers.items() if not name.startswith(str(answer.status))}
    assert wrong == {}
    return answers


# -- off -------------------------------------------------------------------------------------------


def test_without_a_list_no_answer_says_anything_about_pages(closed):
    for answer in (*every_answer(closed).values(), preflight(closed, "/sessions")):
        assert (cors(answer), vary(answer)) == ({}, None)


def test_a_cookie_alone_opens_nothing_to_other_pages(make_kit):
    kit = make_kit(web=Web(cookie=COOKIE), plugins=[AllowAnyone("moderator")])
    for answer in (*every_answer(kit).values(), preflight(kit, "/sessions")):
        assert (cors(answer), vary(answer)) == ({}, "Cookie")


# -- who may ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [LISTED, "http://localhost:3000"])
def test_a_listed_origin_is_answered_by_its_name(listing, origin):
    assert cors(ask(listing, "POST", "/sessions", origin))["Access-Control-Allow-Origin"] == origin
    assert cors(preflight(listing, "/sessions", origin))["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize("origin", [*OTHERS, None], ids=ascii)
def test_any_other_origin_is_told_nothing(listing, origin):
    for answer in (ask(listing, "POST", "/sessions", origin), preflight(listing, "/sessions", origin)):
        assert (cors(answer), vary(answer)) == ({}, "Origin")


@pytest.mark.parametrize("origin", [LISTED, *OTHERS], ids=ascii)
def test_no_origin_is_refused_by_this_alone(listing, origin):
    """Whose answers no page reads is the browser's to enforce; a server-side client may send any Origin."""
    assert ask(listing, "POST", "/sessions", origin).status == 201


# -- what they are told ----------------------------------------------------------------------------


def test_every_answer_tells_whom_it_is_for(listing):
    for name, answer in every_answer(listing).items():
        assert cors(answer) == {
            "Access-Control-Allow-Origin": LISTED,
            "Access-Control-Expose-Headers": "Retry-After, WWW-Authenticate",
        }, name
        assert vary(answer) == "Origin", name


def test_with_cookies_every_answer_allows_credentials(with_cookie):
    for name, answer in {**every_answer(with_cookie), "preflight": preflight(with_cookie, "/sessions")}.items():
        assert cors(answer)["Access-Control-Allow-Credentials"] == "true", name
        assert cors(answer)["Access-Control-Allow-Origin"] == LISTED, name
        assert vary(answer) == "Origin, Cookie", name


def test_without_cookies_no_answer_allows_credentials(listing):
    for answer in (*every_answer(listing).values(), preflight(listing, "/sessions")):
        assert "Access-Control-Allow-Credentials" not in cors(answer)


def test_no_answer_ever_holds_a_wildcard(listing, with_cookie):
    for kit in (listing, with_cookie):
        for answer in (*every_answer(kit).values(), preflight(kit, "/sessions")):
            assert "*" not in "".join(cors(answer).values())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT"])
def test_a_preflight_is_answered_with_what_the_route_takes(listing, route, method):
    answer = preflight(listing, route.path.replace("{session_id}", "x"), method=method)
    assert (answer.status, answer.body) == (204, b"")
    assert cors(answer) == {
        "Access-Control-Allow-Origin": LISTED,
        "Access-Control-Allow-Methods": ", ".join(route.methods),
        "Access-Control-Allow-Headers": "Authorization, Content-Type, X-CSRF-Token",
        "Access-Control-Max-Age": "600",
    }
    assert dict(answer.headers)["Allow"] == ", ".join(route.methods)


def test_a_preflight_looks_at_no_token(listing):
    answer = ask(
        listing,
        "OPTIONS",
        "/sessions/x",
        access_control_request_method="DELETE",
        authorization="Bearer " + "x" * 17_000,
    )
    assert answer.status == 204


async def broken(engine, request):
    raise RuntimeError("the innermost secret")


def test_a_fault_of_the_server_can_be_read_by_the_page_too(listing):
    route = Route("/x", "x", {"GET": Operation(broken, "x", PUBLIC)})
    answer = drive(respond(listing.api, route, Request("GET", "/x", {}, {"origin": LISTED})))
    assert (answer.status, json.loads(answer.body)["code"]) == (500, "rolecall_error")
    assert (cors(answer)["Access-Control-Allow-Origin"], vary(answer)) == (LISTED, "Origin")


def test_an_adapter_hands_all_of_it_on(with_cookie):
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(with_cookie), url_prefix="/video")
    asked = {"Origin": LISTED, "Access-Control-Request-Method": "POST"}
    answer = app.test_client().options("/video/sessions", headers=asked)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == LISTED
    assert answer.headers["Vary"] == "Origin, Cookie"
    created: Any = app.test_client().post("/video/sessions", headers={"Origin": LISTED}, json={}).json
    session = created["session_id"]
    path = f"/video/sessions/{session}/tokens"
    answer = app.test_client().post(path, headers={"Origin": LISTED}, json={"cookie": True})
    assert len(answer.headers.getlist("Set-Cookie")) == 2
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
