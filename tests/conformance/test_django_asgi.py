"""Django under ASGI, which starts two threads for each request: it is asked one row of each kind of answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from rolecall.testing.conformance import ANSWERS, SHORT_TABLE, AdapterSuite, Site

from . import django_site


@pytest.fixture(scope="module")
def sites() -> Iterator[dict[str, Site]]:
    with django_site.asgi_site as site:
        yield {"django asgi": site}


class TestDjangoOnALoop(AdapterSuite):
    """It gives the answers of the core, and they are the right ones."""

    cases: ClassVar = [
        pytest.param(case, id=case.name, marks=() if case in ANSWERS[::4] else pytest.mark.exhaustive)
        for case in SHORT_TABLE
    ]
