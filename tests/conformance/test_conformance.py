"""One behaviour in every framework that has an adapter, plain and mounted under a prefix: the table in process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest

import rolecall_wsgi
from rolecall.http.api.rest import ROUTES
from rolecall.testing.conformance import ANSWERS, CASES, SHORT_TABLE, AdapterSuite, Case, Site
from rolecall.testing.conformance.kits import API_KEY, OPEN
from rolecall.testing.conformance.table import ACTOR, CONNECTION, KIT_ROUTES, ROOT_ROUTES, STREAM

from ..conftest import NEWCOMERS
from . import aiohttp_site, django_site, fastapi_site, flask_site, starlette_site, wsgi_site

SITES: dict[str, Site] = {
    "flask": flask_site.site,
    "wsgi": wsgi_site.site,
    "starlette": starlette_site.site,
    "fastapi": fastapi_site.site,
    "aiohttp": aiohttp_site.site,
    "django": django_site.wsgi_site,
}


@pytest.fixture(scope="module")
def sites() -> Iterator[dict[str, Site]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(site) for name, site in SITES.items()}


class TestAdapters(AdapterSuite):
    """Every adapter gives the answers of the core, and they are the right ones."""

    #: The whole table, of which the newcomer's tier has one row for each class of answer.
    cases: ClassVar = [
        pytest.param(case, id=case.name, marks=() if case in ANSWERS else pytest.mark.exhaustive) for case in CASES
    ]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Spare the newcomer's tier the time to collect thousands of rows and to leave them out."""
        if metafunc.config.option.markexpr == NEWCOMERS:
            chosen = [pytest.param(case, id=case.name, marks=pytest.mark.each_choice) for case in ANSWERS]
            self.cases = chosen  # type: ignore[misc]  # of this one collection
        super().pytest_generate_tests(metafunc)


def test_every_site_is_asked_under_a_prefix_too():
    sites = {**SITES, "django asgi": django_site.asgi_site}
    assert {name: len(site.prefixes) for name, site in sites.items()} == dict.fromkeys(sites, 2)


def test_the_table_has_every_method_of_every_route_of_the_kit():
    params = {"session_id": OPEN, "api_key": API_KEY, "connection_id": CONNECTION, "stream_id": STREAM}
    params |= {"actor_id": ACTOR, "media": "livekit", "rest": "archive"}
    at_root = {route.path.replace(":path}", "}").format(**params): route for route in rolecall_wsgi.SDK_ROUTES}
    paths = {f"/video{route.path.replace(':path}', '}').format(**params)}": route for route in ROUTES}
    asked = {(case.method, case.target.partition("?")[0]) for case in CASES if case.kit == "plain"}
    assert {(method, path) for path, route in (paths | at_root).items() for method in route.methods} <= asked
    assert {route.path: route.allow for route in KIT_ROUTES} == {
        path: ", ".join(route.methods) for path, route in paths.items()
    }
    assert {route.path for route in ROOT_ROUTES} == set(at_root)


def test_every_operation_of_the_kit_is_granted_and_refused_by_some_row():
    for route in KIT_ROUTES + ROOT_ROUTES:
        for method, status in route.granted.items():
            targets = (route.path, f"{route.path}{route.query}")
            rows = [case for case in CASES if case.method == method and case.target in targets]
            assert status in {case.status for case in rows}, (method, route.path)
            # The description is open to all, and no life is denied.
            is_refused = any(case.status >= 400 for case in rows)
            assert is_refused or route.name in ("openapi", "healthz"), (method, route.path)


def test_the_short_table_has_each_kind_of_answer_of_each_kit_and_of_each_framing():
    def kinds(cases: Iterable[Case]) -> set[Any]:
        return {(case.kit, case.method, case.status, case.code, case.framing) for case in cases}

    assert kinds(SHORT_TABLE) == kinds(CASES)
    assert 300 < len(SHORT_TABLE) < len(CASES) / 10


def test_the_table_is_as_long_as_is_said(record_testsuite_property):
    assert len({case.name for case in CASES}) == len(CASES) >= 2_000
    record_testsuite_property("cases", len(CASES))
    record_testsuite_property("adapters", sum(len(site.prefixes) for site in SITES.values()))
