"""The table over real servers and sockets: what comes back is what the core answers."""

from __future__ import annotations

import pytest

from rolecall.testing.conformance import ANSWERS, CASES, Case, ServerSuite
from rolecall.testing.conformance.suite import difference_of

from .conftest import COMMANDS, DIFFERENCES

pytestmark = pytest.mark.server


def is_different(case: Case) -> bool:
    return any(difference_of(case, differences) for differences in DIFFERENCES.values())


#: One row of each class of answer, and every row of which a server makes something else.
ROWS = tuple(case for case in CASES if case in ANSWERS or is_different(case))


class TestServers(ServerSuite):
    """Every server sends what the core answers, but for what it says to do itself."""

    cases = ROWS


def test_few_answers_are_a_servers_own(record_testsuite_property):
    own = sum(difference_of(case, DIFFERENCES[name]) is not None for name in COMMANDS for case in CASES)
    assert own < 400  # of some 37,000
    record_testsuite_property("servers", len(COMMANDS))
    record_testsuite_property("answers over sockets", len(ROWS) * len(COMMANDS) - own)
