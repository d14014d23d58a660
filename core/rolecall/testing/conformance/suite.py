"""The tests that an adapter's author subclasses: the table, and behaviour that takes more than one request."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Final, TypeAlias

import pytest

from .driving import Answer
from .expectations import check, comparable, problem_of
from .kits import API_KEY, NOW, OPEN, OTHER, SECOND_KEY, SECOND_SECRET
from .reference import Reference
from .servers import Server
from .sites import MOUNTED, Site
from .table import (
    ANSWERS,
    AUTH,
    CASES,
    KIT_ROUTES,
    ROOT_ROUTES,
    SERVER,
    Case,
    Headers,
    application_jwt,
    bearer,
    server_jwt,
    token,
)
from .traits import Difference

#: Calls a site, at one of its prefixes.
Ask: TypeAlias = Callable[[Case], Answer]

_CREATE: Final = Case("", "POST", "/video/session/create", 200, headers=((AUTH, SERVER),))
_JSON: Final = ("Accept", "application/json")
_FORM: Final = ("Content-Type", "application/x-www-form-urlencoded")

#: Properties of a session, as form fields, and as read from the session.
FORMS: Final[dict[str, dict[str, Any]]] = {
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

#: Single-use credentials: the kit that accepts them, and two with the same ``jti``.
ONCE: Final[dict[str, tuple[str, Headers, Headers]]] = {
    "a project's": ("plain", ((AUTH, server_jwt(jti="j")),), ((AUTH, server_jwt(jti="j", iat=int(NOW) - 1)),)),
    "an application's": ("application", bearer(application_jwt(jti="j")), bearer(application_jwt(jti="j", nonce=1))),
}

#: Requests for guarded routes that routers read differently: a line break (Starlette's Mount matches none), further
#: slashes, an unlisted method. Their answers differ, but none admits the request.
ODD: Final = (
    ("GET", f"/rooms/{OPEN}%0A/join"),
    ("GET", f"/rooms/{OPEN}/join%0A"),
    ("GET", f"/rooms/{OPEN}/moderate%0A"),
    ("GET", f"/video/sessions/{OPEN}%0A"),
    ("DELETE", f"/video/sessions/{OPEN}%0A"),
    ("GET", f"/rooms/{OPEN}/join/"),
    ("GET", f"/rooms/{OPEN}/moderate/below"),
    ("GET", f"/rooms//{OPEN}/moderate"),
    ("GET", f"//rooms/{OPEN}/moderate"),
    ("GET", f"/rooms/./{OPEN}/moderate"),
    ("GET", f"/bare/../rooms/{OPEN}/moderate"),
    ("GET", f"/bare%2F..%2Frooms/{OPEN}/moderate"),
    ("GET", f"/rooms%2F{OPEN}%2Fmoderate"),
    ("GET", f"/rooms/{OPEN}/%6Doderate"),
    ("GET", f"/rooms/{OPEN}/MODERATE"),
    ("GET", f"/inside/open/../{OPEN}"),
    ("GET", f"/inside/open%2F..%2F{OPEN}"),
    ("GET", f"/inside//{OPEN}"),
    ("GET", f"/video//sessions/{OPEN}"),
    ("DELETE", f"/video/sessions//{OPEN}"),
    ("GET", "/inside/open/below"),
    ("GET", "/me/"),
    ("GET", "/me%00"),
    ("DELETE", f"/video/sessions/{OPEN}/connections/..%2Fx"),
    ("POST", f"/video/sessions/{OPEN}/mute%0A"),
    ("POST", f"/video/sessions/{OTHER}/../{OPEN}/mute"),
    ("POST", f"/video/sessions/{OPEN}/streams/../mute"),
    ("POST", "//session/create"),
    ("POST", "/session/create%0A"),
    ("POST", "/session/create/"),
    ("POST", f"/v2//project/{API_KEY}/session/{OPEN}/mute"),
    ("GET", f"/video/v2/project/{API_KEY}/session/{OPEN}/stream/..%2Fstream"),
    *(
        (method, path)
        for method in ("OPTIONS", "TRACE", "PROPFIND", "ROLECALL", "get")
        for path in ("/me", f"/inside/{OPEN}")
    ),
)
STRANGERS: Final[dict[str, Headers]] = {
    "nobody": (),
    "subscriber of another session": bearer(token("subscriber", OTHER)),
    "bad": bearer("x"),
}

#: Paths below the kit's prefix, and at the root, that are none of its routes.
NO_ROUTES: Final = (
    "/video/",
    "/video/session",
    "/video/Sessions",
    "/video/sessions/",
    f"/video/sessions/{OPEN}/",
    f"/video/sessions/{OPEN}/tokens/",
    f"/video/sessions/{OPEN}/tokens/x",
    f"/video/sessions/{OPEN}%2Ftokens%2Fx",
    "/video/./sessions",
    "/video/openapi.json/",
    "/video/openapi_json",
    "/video/tokens",
    "/video/tokens/",
    "/video/tokens/revoke/",
    "/video/tokens/introspect/x",
    "/tokens/revoke",
    "/videos/sessions",
    "/sessions",
    "/session",
    "/session/",
    "/Session/create",
    "/video/session/create/",
    "/video/session/create/x",
    f"/video/sessions/{OPEN}/connections/",
    f"/video/sessions/{OPEN}/connections/a/b",
    f"/video/sessions/{OPEN}/streams/",
    f"/video/sessions/{OPEN}/streams/a/unmute",
    f"/video/sessions/{OPEN}/mute/",
    f"/video/sessions/{OPEN}/exclusions/",
    f"/video/sessions/{OPEN}/exclusions/a/b",
    f"/video/sessions/{OPEN}/exclusions/a%2Fb",
    f"/video/sessions/{OPEN}/reset/",
    f"/sessions/{OPEN}/mute",
    f"/v2/project/{API_KEY}",
    f"/v2/project//session/{OPEN}/mute",
)


def _named(text: str) -> str:
    return text.replace(OPEN, "ID")


def difference_of(case: Case, differences: Sequence[Difference]) -> Difference | None:
    """The answer of a server or a framework itself to a case; None if the kit answers."""
    return next((difference for difference in differences if difference.trait in case.traits), None)


def check_difference(answer: Answer, expected: Answer, difference: Difference) -> None:
    """Assert that an answer is the server's own, as listed, and still differs from the kit's."""
    assert (answer.status, problem_of(answer).get("code")) == (difference.status, difference.code), difference
    assert answer != expected, f"no longer so: {difference}"


@cache
def _reference() -> Reference:
    """The answers of the core itself; shared by a process."""
    return Reference()


class _Suite:
    """A suite whose table can be shortened."""

    #: The rows to run; each may be a ``pytest.param(case, id=case.name, marks=…)``.
    cases: ClassVar[Sequence[Any]] = CASES

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize the tests that take a ``case`` with the rows of the table."""
        if "case" in metafunc.fixturenames:
            rows = [pytest.param(row, id=row.name) if isinstance(row, Case) else row for row in self.cases]
            metafunc.parametrize("case", rows)


class AdapterSuite(_Suite):
    """The tests of every adapter. A subclass has a fixture ``sites``: the sites, by name."""

    @pytest.fixture
    def asks(self, sites: Mapping[str, Site]) -> dict[str, Ask]:
        """The functions that call each site, also under the prefix, by name."""
        return {
            f"{name}{' mounted' if prefix else ''}": _asking(site, prefix)
            for name, site in sites.items()
            for prefix in site.prefixes
        }

    def test_every_site_gives_the_answer_of_the_core_and_it_is_the_right_one(
        self, sites: Mapping[str, Site], case: Case
    ) -> None:
        """Each row of the table."""
        reference = _reference().ask(case)
        check(case, reference)
        expected = comparable(case, reference)
        answers = {}
        for name, site in sites.items():
            difference = difference_of(case, site.differences)
            for prefix in site.prefixes:
                answer = comparable(case, site.ask(case, prefix), prefix)
                if difference is None:
                    answers[f"{name}{prefix}"] = answer
                else:
                    check_difference(answer, expected, difference)
        assert answers == dict.fromkeys(answers, expected)

    def test_json_for_sdks_is_a_list_of_the_session(self, asks: dict[str, Ask]) -> None:
        """Check the answer to an SDK that asks for JSON."""
        for ask in asks.values():
            (session,) = json.loads(ask(_CREATE._replace(headers=(*_CREATE.headers, _JSON))).body)
            session_id = session.pop("session_id")
            assert session == {
                "project_id": API_KEY,
                "partner_id": API_KEY,
                "create_dt": "Fri Nov 20 15:00:00 UTC 2026",
                "media_server_url": "",
            }
            assert _session(ask, session_id)["session_id"] == session_id

    def test_xml_for_sdks_has_the_session(self, asks: dict[str, Ask]) -> None:
        """Check the answer to any other SDK."""
        for ask in asks.values():
            root = ET.fromstring(ask(_CREATE).body)
            assert [one.tag for one in root.iter()] == ["sessions", "Session", "session_id", "partner_id", "create_dt"]
            found = {one.tag: one.text for one in root.iterfind("Session/*")}
            assert (found["partner_id"], found["create_dt"]) == (API_KEY, "Fri Nov 20 15:00:00 UTC 2026")
            assert _session(ask, str(found["session_id"]))["session_id"] == found["session_id"]

    @pytest.mark.parametrize("form", FORMS)
    def test_a_session_is_what_the_form_asks_for(self, asks: dict[str, Ask], form: str) -> None:
        """Forms, as SDKs send them."""
        for ask in asks.values():
            headers = (*_CREATE.headers, _JSON, _FORM)
            (created,) = json.loads(ask(_CREATE._replace(headers=headers, body=form.encode())).body)
            session = _session(ask, created["session_id"])
            assert session | FORMS[form] == session

    @pytest.mark.parametrize(("kit", "headers", "others"), ONCE.values(), ids=ONCE)
    def test_a_credential_that_comes_again_is_refused(
        self, asks: dict[str, Ask], kit: str, headers: Headers, others: Headers
    ) -> None:
        """Check single-use credentials."""
        create = _CREATE._replace(kit=kit, headers=headers)
        again = create._replace(headers=others)
        at_root = create._replace(target="/session/create", once=True)
        for ask in asks.values():
            first, *answers = [ask(case) for case in (create, create, again, at_root)]
            assert [first.status, *(one.status for one in answers)] == [200, 403, 403, 403]
            assert {json.loads(one.body)["code"] for one in answers} == {"invalid_server_credential"}

    def test_two_projects_may_name_their_credentials_alike(self, asks: dict[str, Ask]) -> None:
        """Check that the names of credentials are each project's own."""
        first = _CREATE._replace(kit="two", headers=((AUTH, server_jwt(jti="j")),))
        second = server_jwt(iss=SECOND_KEY, secret=SECOND_SECRET, jti="j")
        for ask in asks.values():
            answers = [ask(first), ask(first._replace(headers=((AUTH, second),), once=True))]
            assert [one.status for one in answers] == [200, 200]

    @pytest.mark.parametrize(("method", "target"), ODD, ids=[_named(f"{method} {target}") for method, target in ODD])
    def test_no_odd_path_or_method_leads_around_a_guard(self, asks: dict[str, Ask], method: str, target: str) -> None:
        """Check requests that the frameworks' own routers decide."""
        for name, ask in asks.items():
            for who, headers in STRANGERS.items():
                answer = ask(Case(who, method, target, 0, headers=headers))
                assert answer.status >= 400 or method == "OPTIONS" or answer.status in (307, 308), (name, who, answer)
                assert b'"role"' not in answer.body

    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    @pytest.mark.parametrize("target", NO_ROUTES, ids=_named)
    def test_what_is_none_of_the_routes_is_found_nowhere(self, asks: dict[str, Ask], target: str, method: str) -> None:
        """Check paths beside those of the kit."""
        case = Case("", method, target, 404, headers=(*bearer(token()), (AUTH, SERVER)))
        assert {name: ask(case).status for name, ask in asks.items()} == dict.fromkeys(asks, 404)


def _asking(site: Site, prefix: str) -> Ask:
    return lambda case: site.ask(case, prefix)


def _session(ask: Ask, session_id: str) -> dict[str, Any]:
    read = Case("", "GET", f"/video/sessions/{session_id}", 200, headers=bearer(token(session_id=session_id)))
    session: dict[str, Any] = json.loads(ask(read).body)
    return session


_WHO: Final = ("somebody", "nobody")
_MOUNTED_NAMES: Final = {
    f"{route.name}-{method}-{who}"
    for route in KIT_ROUTES + ROOT_ROUTES
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "ROLECALL")
    for who in _WHO
}
#: Each of the kit's routes with each method, for servers under the prefix.
MOUNTED_CASES: Final = tuple(case for case in CASES if case.kit == "plain" and case.name in _MOUNTED_NAMES)


class ServerSuite(_Suite):
    """The tests of every server. A subclass has a fixture ``servers``: the running ones, by name."""

    cases = ANSWERS

    def test_every_server_sends_the_answer_of_the_core(self, servers: Mapping[str, Server], case: Case) -> None:
        """The rows for servers."""
        expected = comparable(case, _reference().ask(case))
        answers = {}
        for name, server in servers.items():
            answer = comparable(case, server.ask(case))
            difference = difference_of(case, server.differences)
            if difference is None:
                answers[name] = answer
            else:
                check_difference(answer, expected, difference)
        assert answers == dict.fromkeys(answers, expected)

    @pytest.mark.parametrize("mounted", MOUNTED_CASES, ids=lambda case: case.name)
    def test_every_server_sends_it_under_a_prefix_too(self, servers: Mapping[str, Server], mounted: Case) -> None:
        """Each of the kit's routes with each method."""
        expected = comparable(mounted, _reference().ask(mounted))
        answers = {
            name: comparable(mounted, server.ask(mounted, MOUNTED), MOUNTED)
            for name, server in servers.items()
            if difference_of(mounted, server.differences) is None
        }
        assert answers == dict.fromkeys(answers, expected)

    @pytest.mark.parametrize("owner", ONCE)
    def test_every_server_takes_a_credential_once(self, servers: Mapping[str, Server], owner: str) -> None:
        """Check single-use credentials, in the server's one process."""
        kit, headers, _ = ONCE[owner]
        create = _CREATE._replace(kit=kit, headers=headers)
        for server in servers.values():
            answers = [server.ask(create), server.ask(create._replace(once=True))]
            assert [answer.status for answer in answers] == [200, 403]

    def test_no_server_had_a_fault_to_log(self, servers: Mapping[str, Server]) -> None:
        """Check that the log reports a policy's answers that are no vote, without a traceback."""
        for server in servers.values():
            assert "Traceback" not in server.logged(), server.name
