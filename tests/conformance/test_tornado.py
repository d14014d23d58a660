"""Tornado, which has no mounts, and a connection for each row: it is asked a short table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from rolecall.testing.conformance import ANSWERS, CASES, SHORT_TABLE, AdapterSuite, Site

from ..conftest import NEWCOMERS
from . import tornado_site


@pytest.fixture(scope="module")
def sites() -> Iterator[dict[str, Site]]:
    with tornado_site.site as site:
        yield {"tornado": site}


class TestTornado(AdapterSuite):
    """It gives the answers of the core, and they are the right ones."""

    cases: ClassVar = [
        pytest.param(case, id=case.name, marks=() if case in ANSWERS[::4] else pytest.mark.exhaustive)
        for case in CASES
        if case in SHORT_TABLE or case in ANSWERS[::4]
    ]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Spare the newcomer's tier the time to collect thousands of rows and to leave them out."""
        if metafunc.config.option.markexpr == NEWCOMERS:
            chosen = [pytest.param(case, id=case.name, marks=pytest.mark.each_choice) for case in ANSWERS[::4]]
            self.cases = chosen  # type: ignore[misc]  # of this one collection
        super().pytest_generate_tests(metafunc)
