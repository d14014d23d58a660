"""One behaviour in Flask, Starlette and plain WSGI, each as it is and mounted under a prefix: the table in process."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import pytest

import rolecall_wsgi
from rolecall import Web
from rolecall.http.api.rest import ROUTES

from . import apps
from .classes import SHORT_TABLE, framing
from .driving import ADAPTERS, Answer, without_chance
from .requests_table import (
    AUTH,
    CASES,
    CONNECTION,
    KIT_ROUTES,
    ROOT_ROUTES,
    SERVER,
    STREAM,
    Case,
    application_jwt,
    bearer,
    server_jwt,
    token,
)


def unmounted(answer: Answer, case: Case, adapter: str) -> Answer:
    """The answer, with the one thing put back that a prefix changes: where the description says that the routes are."""
    if not (adapter.endswith("mounted") and case.target == "/video/openapi.json" and answer.status == 200):
        return answer
    assert case.method == "HEAD" or f'"url":"{apps.MOUNTED}/video"'.encode() in answer.body
    body = answer.body.replace(f'"url":"{apps.MOUNTED}/video"'.encode(), b'"url":"/video"')
    length = str(int(answer.header("content-length")) - len(apps.MOUNTED))
    headers = tuple((name, length if name == "content-length" else value) for name, value in answer.headers)
    return Answer(answer.status, headers, body)


#: The whole table, of which the newcomer's tier has one row of each class.
TABLE = [
    pytest.param(case, id=case.name, marks=() if case in SHORT_TABLE else pytest.mark.exhaustive) for case in CASES
]


@pytest.mark.parametrize("case", TABLE)
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
    if case.says:
        assert problem["detail"] == case.says if problem else case.says in body.decode()
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
    assert answer.header("referrer-policy") == ("no-referrer" if holds_token(case) else None)


def holds_token(case: Case) -> bool:
    """Whether the URL has a token, or what was meant for one, where the kit looks for it."""
    names = (name for name, _ in parse_qsl(case.target.partition("?")[2], keep_blank_values=True, errors="replace"))
    return apps.KITS[case.kit].get("web", Web()).query in names


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
    detail = re.sub(r"[^ -~]|\\", "?", problem["detail"].replace('"', "'"))
    said = f'Bearer realm="rolecall", error="{CHALLENGES[case.code]}", error_description="{detail}"'
    if case.code != "insufficient_role":
        return said
    scope = problem["detail"].partition(" is required")[0]
    return f'{said}, scope="{scope}"'


def test_the_table_has_every_method_of_every_route_of_the_kit():
    params = {"session_id": apps.OPEN, "api_key": apps.API_KEY, "connection_id": CONNECTION, "stream_id": STREAM}
    params["rest"] = "archive"
    at_root = {route.path.replace(":path}", "}").format(**params): route for route in rolecall_wsgi.SDK_ROUTES}
    paths = {f"/video{route.path.replace(':path}', '}').format(**params)}": route for route in ROUTES}
    asked = {(case.method, case.target) for case in CASES if case.kit == "plain"}
    assert {(method, path) for path, route in (paths | at_root).items() for method in route.methods} <= asked
    assert {route.path: route.allow for route in KIT_ROUTES} == {
        path: ", ".join(route.methods) for path, route in paths.items()
    }
    assert {route.path for route in ROOT_ROUTES} == set(at_root)


def test_every_operation_of_the_kit_is_granted_and_refused_by_some_row():
    for route in KIT_ROUTES + ROOT_ROUTES:
        for method, status in route.granted.items():
            rows = [case for case in CASES if (case.method, case.target) == (method, route.path)]
            assert status in {case.status for case in rows}, (method, route.path)
            # The description is open to all.
            assert route.name == "openapi" or any(case.status >= 400 for case in rows), (method, route.path)


def test_the_short_table_has_each_kind_of_answer_of_each_kit_and_of_each_framing():
    def kinds(cases: Iterable[Case]) -> set[Any]:
        return {(case.kit, case.method, case.status, case.code, framing(case)) for case in cases}

    assert kinds(SHORT_TABLE) == kinds(CASES)
    assert 300 < len(SHORT_TABLE) < len(CASES) / 10


def test_the_table_is_as_long_as_is_said(record_testsuite_property):
    assert len({case.name for case in CASES}) == len(CASES) >= 2_000
    record_testsuite_property("cases", len(CASES))
    record_testsuite_property("adapters", len(ADAPTERS))


# -- what SDKs find in an answer, and a credential that comes twice ---------------------------------

CREATE = Case("", "POST", "/video/session/create", 200, headers=((AUTH, SERVER),))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_json_for_sdks_is_a_list_of_the_session(ask, adapter):
    answer = ask(adapter, CREATE._replace(headers=(*CREATE.headers, ("Accept", "application/json"))))
    (session,) = json.loads(answer.body)
    session_id = session.pop("session_id")
    assert session == {
        "project_id": apps.API_KEY,
        "partner_id": apps.API_KEY,
        "create_dt": "Fri Nov 20 15:00:00 UTC 2026",
        "media_server_url": "",
    }
    read = Case("", "GET", f"/video/sessions/{session_id}", 200, headers=bearer(token(session_id=session_id)))
    assert json.loads(ask(adapter, read).body)["session_id"] == session_id


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_xml_for_sdks_has_the_session(ask, adapter):
    root = ET.fromstring(ask(adapter, CREATE).body)
    assert [one.tag for one in root.iter()] == ["sessions", "Session", "session_id", "partner_id", "create_dt"]
    found = {one.tag: one.text for one in root.iterfind("Session/*")}
    assert (found["partner_id"], found["create_dt"]) == (apps.API_KEY, "Fri Nov 20 15:00:00 UTC 2026")
    read = Case(
        "", "GET", f"/video/sessions/{found['session_id']}", 200, headers=bearer(token(session_id=found["session_id"]))
    )
    assert json.loads(ask(adapter, read).body)["session_id"] == found["session_id"]


#: Properties of a session, as a form asks for them, and as they are read.
FORMS = {
    "": {"media_mode": "relayed", "archive_mode": "manual", "e2ee": False, "location": None},
    "p2p.preference=enabled": {"media_mode": "relayed"},
    "p2p.preference=disabled": {"media_mode": "routed"},
    "p2p.preference=disabled&archiveMode=always": {"media_mode": "routed", "archive_mode": "always"},
    "location=203.0.113.7": {"location": "203.0.113.7"},
    "location=": {"location": None},
    "p2p.preference=disabled&e2ee=True": {"e2ee": True},
    "p2p.preference=disabled&e2ee=true": {"e2ee": True},
    "e2ee=False": {"e2ee": False},
    "media_mode=routed": {"media_mode": "routed"},
    "media_mode=relayed": {"media_mode": "relayed"},
    "media_mode=routed&p2p.preference=enabled": {"media_mode": "relayed"},
    "p2p.preference=disabled&media_mode=relayed": {"media_mode": "routed"},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_session_is_what_the_form_asks_for(ask, form):
    headers = (*CREATE.headers, ("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded"))
    (created,) = json.loads(ask("flask", CREATE._replace(headers=headers, body=form.encode())).body)
    session_id = created["session_id"]
    read = Case("", "GET", f"/video/sessions/{session_id}", 200, headers=bearer(token(session_id=session_id)))
    session = json.loads(ask("flask", read).body)
    assert session | FORMS[form] == session


#: Credentials that are taken once: the kit that takes them, and two that have the same ``jti``.
ONCE = {
    "a project's": ("plain", ((AUTH, server_jwt(jti="j")),), ((AUTH, server_jwt(jti="j", iat=int(apps.NOW) - 1)),)),
    "an application's": ("application", bearer(application_jwt(jti="j")), bearer(application_jwt(jti="j", nonce=1))),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(("kit", "headers", "others"), ONCE.values(), ids=ONCE)
def test_a_credential_that_comes_again_is_refused(ask, adapter, kit, headers, others):
    create = CREATE._replace(kit=kit, headers=headers)
    first, again, other = ask(adapter, create), ask(adapter, create), ask(adapter, create._replace(headers=others))
    at_root = ask(adapter, create._replace(target="/session/create", once=True))
    assert [one.status for one in (first, again, other, at_root)] == [200, 403, 403, 403]
    assert {json.loads(one.body)["code"] for one in (again, other, at_root)} == {"invalid_server_credential"}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_two_projects_may_name_their_credentials_alike(ask, adapter):
    second = server_jwt(iss=apps.SECOND_KEY, secret=apps.SECOND_SECRET, jti="j")
    create = CREATE._replace(kit="two")
    answers = [
        ask(adapter, create._replace(headers=((AUTH, text),), once=text == second))
        for text in (server_jwt(jti="j"), second)
    ]
    assert [one.status for one in answers] == [200, 200]


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
    ("DELETE", f"/video/sessions/{apps.OPEN}/connections/..%2Fx"),
    ("POST", f"/video/sessions/{apps.OPEN}/mute%0A"),
    ("POST", f"/video/sessions/{apps.OTHER}/../{apps.OPEN}/mute"),
    ("POST", f"/video/sessions/{apps.OPEN}/streams/../mute"),
    ("POST", "//session/create"),
    ("POST", "/session/create%0A"),
    ("POST", "/session/create/"),
    ("POST", f"/v2//project/{apps.API_KEY}/session/{apps.OPEN}/mute"),
    ("GET", f"/video/v2/project/{apps.API_KEY}/session/{apps.OPEN}/stream/..%2Fstream"),
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
    "/session",
    "/session/",
    "/Session/create",
    "/video/session/create/",
    "/video/session/create/x",
    f"/video/sessions/{apps.OPEN}/connections/",
    f"/video/sessions/{apps.OPEN}/connections/a/b",
    f"/video/sessions/{apps.OPEN}/streams/",
    f"/video/sessions/{apps.OPEN}/streams/a/unmute",
    f"/video/sessions/{apps.OPEN}/mute/",
    f"/sessions/{apps.OPEN}/mute",
    f"/v2/project/{apps.API_KEY}",
    f"/v2/project//session/{apps.OPEN}/mute",
)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("target", NO_ROUTES, ids=[path.replace(apps.OPEN, "ID") for path in NO_ROUTES])
def test_what_is_none_of_the_routes_is_found_nowhere(ask, target, method):
    case = Case("", method, target, 404, headers=(*bearer(token()), (AUTH, SERVER)))
    assert {adapter: ask(adapter, case).status for adapter in ADAPTERS} == dict.fromkeys(ADAPTERS, 404)
