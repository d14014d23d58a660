"""The table over real servers and sockets: what comes back is what the adapters answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import pytest

from .apps import MOUNTED
from .classes import ANSWERS
from .conftest import COMMANDS
from .driving import without_chance
from .requests_table import AUTH, CASES, KIT_ROUTES, ROOT_ROUTES, Case, application_jwt, bearer, server_jwt

pytestmark = pytest.mark.server


class Difference(NamedTuple):
    """Requests that a server refuses or changes before any app sees them.

    :param status: of what it answers then.
    :param code: of the problem, where it is still the kit that answers.
    """

    server: str
    concerns: Callable[[Case], bool]
    status: int
    code: str | None
    why: str


def _has_long_line(case: Case) -> bool:
    return any(len(value) > 8192 for _, value in case.headers)


def _has_two_types(case: Case) -> bool:
    return sum(name == "Content-Type" for name, _ in case.headers) > 1


DIFFERENCES = (
    Difference("gunicorn", _has_long_line, 431, None, "it takes header lines of at most 8,190 bytes"),
    Difference("gunicorn", lambda case: len(case.target) > 4094, 414, None, "it takes request lines of at most 4,094"),
    Difference("gunicorn", _has_two_types, 400, None, "it takes one Content-Type"),
    Difference(
        "waitress", _has_two_types, 415, "unsupported_media_type", "it joins them by ', ', and the detail shows them"
    ),
    Difference(
        "waitress",
        lambda case: case.chunked and not case.body,
        201,
        None,
        "it puts chunks together itself, and what was empty comes as no body at all",
    ),
    Difference("uvicorn", lambda case: case.method == "ROLECALL", 400, None, "its parser has a list of methods"),
)


def differences(case: Case) -> dict[str, Difference]:
    """What is different about a case, by the name of the server."""
    return {
        name: difference
        for name in COMMANDS
        for difference in DIFFERENCES
        if name.endswith(difference.server) and difference.concerns(case)
    }


#: One row of each class of answer, and every row of which a server makes something else.
ROWS = [case for case in CASES if case in ANSWERS or differences(case)]


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_every_server_sends_what_the_adapters_answer(servers, ask, case):
    expected = without_chance(ask("wsgi", case))
    answers = {name: without_chance(server.ask(case)) for name, server in servers.items()}
    for name, difference in differences(case).items():
        answer = answers.pop(name)
        problem = json.loads(answer.body) if answer.header("content-type") == "application/problem+json" else {}
        assert (answer.status, problem.get("code")) == (difference.status, difference.code), difference
        assert answer != expected, f"no longer so: {difference}"
    assert answers == dict.fromkeys(answers, expected)


WHO = ("somebody", "nobody")
#: Each of the kit's routes with each method, once more under the prefix.
MOUNTED_CASES = [
    case
    for case in CASES
    if case.kit == "plain"
    and case.name in {f"{route.name}-{case.method}-{who}" for route in KIT_ROUTES + ROOT_ROUTES for who in WHO}
]


@pytest.mark.parametrize("case", MOUNTED_CASES, ids=lambda case: case.name)
def test_every_server_sends_it_under_a_prefix_too(servers, ask, case):
    expected = without_chance(ask("wsgi mounted", case))
    asked = [server for name, server in servers.items() if name not in differences(case)]
    answers = {server.name: without_chance(server.ask(case, MOUNTED)) for server in asked}
    assert answers == dict.fromkeys(answers, expected)
    assert len(answers) >= 5


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("kit", "headers"),
    [("plain", ((AUTH, server_jwt(jti="j")),)), ("application", bearer(application_jwt(jti="j")))],
    ids=["a project's", "an application's"],
)
def test_every_server_takes_a_credential_once(servers, name, kit, headers):
    create = Case("", "POST", "/video/session/create", 200, headers=headers, kit=kit)
    answers = [servers[name].ask(create), servers[name].ask(create._replace(once=True))]
    assert [answer.status for answer in answers] == [200, 403]


def test_few_answers_are_a_servers_own(record_testsuite_property):
    own = sum(len(differences(case)) for case in CASES)
    assert own / (len(CASES) * len(COMMANDS)) < 0.01
    record_testsuite_property("servers", len(COMMANDS))
    record_testsuite_property("answers over sockets", len(ROWS) * len(COMMANDS) - own)


def test_no_server_had_a_fault_to_log(servers):
    """The rows in which a policy answers what is no vote are told of, without a traceback."""
    for server in servers.values():
        assert "Traceback" not in server.logged(), server.name
