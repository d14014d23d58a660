"""One behaviour in Flask, Starlette and plain WSGI, each as it is and mounted under a prefix: the table in process."""

from __future__ import annotations

import json
import re

import pytest

from rolecall.http.endpoints import ROUTES

from . import apps
from .driving import ADAPTERS, Answer, without_chance
from .requests_table import CASES, KIT_ROUTES, Case, bearer, token


def unmounted(answer: Answer, case: Case, adapter: str) -> Answer:
    """The answer, with the one thing put back that a prefix changes: where the description says that the routes are."""
    if not (adapter.endswith("mounted") and case.target == "/video/openapi.json" and answer.status == 200):
        return answer
    assert case.method == "HEAD" or f'"url":"{apps.MOUNTED}/video"'.encode() in answer.body
    body = answer.body.replace(f'"url":"{apps.MOUNTED}/video"'.encode(), b'"url":"/video"')
    length = str(int(answer.header("content-length")) - len(apps.MOUNTED))
    headers = tuple((name, length if name == "content-length" else value) for name, value in answer.headers)
    return Answer(answer.status, headers, body)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_adapter_gives_the_same_answer_and_it_is_the_right_one(ask, case):
    raw = {adapter: ask(adapter, case) for adapter in ADAPTERS}
    answers = {adapter: without_chance(unmounted(answer, case, adapter)) for adapter, answer in raw.items()}
    first = answers["flask"]
    assert answers == dict.fromkeys(ADAPTERS, first)
    check(case, raw["flask"])


def check(case: Case, answer: Answer) -> None:
    """That an answer is what the table says, and what holds for all answers."""
    media_type, body = answer.header("content-type"), answer.body
    problem = json.loads(body) if media_type == "application/problem+json" and body else {}
    assert (answer.status, problem.get("code")) == (case.status, None if case.method == "HEAD" else case.code)
    for name, value in case.has.items():
        assert answer.header(name) == value, name
    assert (media_type == "application/problem+json") == (case.code is not None)
    assert problem.get("status", case.status) == case.status
    assert answer.header("www-authenticate") == challenge(case, problem)
    if case.status == 204:
        assert (body, media_type, answer.header("content-length")) == (b"", None, None)
    elif case.method == "HEAD":
        assert (body, int(answer.header("content-length")) > 0) == (b"", True)
    else:
        assert answer.header("content-length") == str(len(body))
    if case.code is not None or (not case.is_own and case.method in ("POST", "DELETE")):
        assert answer.header("cache-control") == "no-store"


#: What a challenge says is wrong (RFC 6750, section 3.1), by the code of the problem.
CHALLENGES = {
    "malformed_credential": "invalid_request",
    "wrong_session": "insufficient_scope",
    "insufficient_role": "insufficient_scope",
} | dict.fromkeys(
    (
        "malformed_token",
        "wrong_token_kind",
        "unknown_key",
        "bad_signature",
        "invalid_claim",
        "expired_token",
        "token_not_yet_valid",
        "revoked_token",
    ),
    "invalid_token",
)


def challenge(case: Case, problem: dict) -> str | None:
    """The ``WWW-Authenticate`` of a refusal."""
    if case.code == "missing_token":
        return 'Bearer realm="rolecall"'
    if case.code not in CHALLENGES:
        return None
    if case.method == "HEAD":
        raise AssertionError(
            "the table asks with HEAD only where the answer challenges nobody, or has no detail to tell"
        )
    detail = re.sub(r"[^ -~]|\\\\", "?", problem["detail"].replace('"', "'"))
    said = f'Bearer realm="rolecall", error="{CHALLENGES[case.code]}", error_description="{detail}"'
    if case.code != "insufficient_role":
        return said
    scope = problem["detail"].partition(" is required")[0]
    return f'{said}, scope="{scope}"'


def test_the_table_has_every_method_of_every_route_of_the_kit():
    paths = {f"/video{route.path}".replace("{session_id}", apps.OPEN): route for route in ROUTES}
    asked = {(case.method, case.target) for case in CASES if case.kit == "plain"}
    assert {(method, path) for path, route in paths.items() for method in route.methods} <= asked
    assert {route.path for route in KIT_ROUTES} == set(paths)


def test_every_operation_of_the_kit_is_granted_and_refused_by_some_row():
    for route in KIT_ROUTES:
        for method, status in route.granted.items():
            rows = [case for case in CASES if (case.method, case.target) == (method, route.path)]
            assert status in {case.status for case in rows}, (method, route.path)
            # The description is open to all.
            assert route.name == "openapi" or any(case.status >= 400 for case in rows), (method, route.path)


def test_the_table_is_as_long_as_is_said(record_testsuite_property):
    assert len({case.name for case in CASES}) == len(CASES) >= 2_000
    record_testsuite_property("cases", len(CASES))
    record_testsuite_property("adapters", len(ADAPTERS))


# -- what the frameworks' own routers decide -----------------------------------------------------------

#: Requests for guarded routes that not every router takes for the same: a line break (Starlette's Mount matches none),
#: further slashes, a method that nobody lists. What they get differs; that nobody enters does not.
ODD = (
    ("GET", f"/rooms/{apps.OPEN}%0A/join"),
    ("GET", f"/rooms/{apps.OPEN}/join%0A"),
    ("GET", f"/rooms/{apps.OPEN}/moderate%0A"),
    ("GET", f"/video/sessions/{apps.OPEN}%0A"),
    ("DELETE", f"/video/sessions/{apps.OPEN}%0A"),
    ("GET", f"/rooms/{apps.OPEN}/join/"),
    ("GET", f"/rooms/{apps.OPEN}/moderate/below"),
    ("GET", f"/rooms//{apps.OPEN}/moderate"),
    ("GET", f"//rooms/{apps.OPEN}/moderate"),
    ("GET", f"/rooms/./{apps.OPEN}/moderate"),
    ("GET", f"/bare/../rooms/{apps.OPEN}/moderate"),
    ("GET", f"/bare%2F..%2Frooms/{apps.OPEN}/moderate"),
    ("GET", f"/rooms%2F{apps.OPEN}%2Fmoderate"),
    ("GET", f"/rooms/{apps.OPEN}/%6Doderate"),
    ("GET", f"/rooms/{apps.OPEN}/MODERATE"),
    ("GET", f"/inside/open/../{apps.OPEN}"),
    ("GET", f"/inside/open%2F..%2F{apps.OPEN}"),
    ("GET", f"/inside//{apps.OPEN}"),
    ("GET", f"/video//sessions/{apps.OPEN}"),
    ("DELETE", f"/video/sessions//{apps.OPEN}"),
    ("GET", "/inside/open/below"),
    ("GET", "/me/"),
    ("GET", "/me%00"),
    *(
        (method, path)
        for method in ("OPTIONS", "TRACE", "PROPFIND", "ROLECALL", "get")
        for path in ("/me", f"/inside/{apps.OPEN}")
    ),
)
STRANGERS = [
    ("nobody", ()),
    ("subscriber of another session", bearer(token("subscriber", apps.OTHER))),
    ("bad", bearer("x")),
]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(
    ("method", "target"), ODD, ids=[f"{method} {target}".replace(apps.OPEN, "ID") for method, target in ODD]
)
def test_no_odd_path_or_method_leads_around_a_guard(ask, adapter, method, target):
    for name, headers in STRANGERS:
        answer = ask(adapter, Case(name, method, target, 0, headers=headers))
        assert answer.status >= 400 or method == "OPTIONS" or answer.status in (307, 308), (name, answer)
        assert b'"role"' not in answer.body


#: The paths below the kit's prefix that are none of its routes.
NO_ROUTES = (
    "/video/",
    "/video/session",
    "/video/Sessions",
    "/video/sessions/",
    f"/video/sessions/{apps.OPEN}/",
    f"/video/sessions/{apps.OPEN}/tokens/",
    f"/video/sessions/{apps.OPEN}/tokens/x",
    f"/video/sessions/{apps.OPEN}%2Ftokens%2Fx",
    "/video/./sessions",
    "/video/openapi.json/",
    "/video/openapi_json",
    "/videos/sessions",
    "/sessions",
)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("target", NO_ROUTES, ids=[path.replace(apps.OPEN, "ID") for path in NO_ROUTES])
def test_what_is_none_of_the_routes_is_found_nowhere(ask, target, method):
    case = Case("", method, target, 404, headers=bearer(token()))
    assert {adapter: ask(adapter, case).status for adapter in ADAPTERS} == dict.fromkeys(ADAPTERS, 404)
