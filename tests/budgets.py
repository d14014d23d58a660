"""How long hypothesis searches: a tenth for a newcomer, all of it where every test is required."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: With this variable set, a test that lacks what it needs fails instead of being skipped. Its name has not the prefix
#: of the kits' own variables, because kits refuse those of their prefix that they do not know.
REQUIRE_ALL = bool(os.environ.get("REQUIRE_ALL_TESTS", ""))


def examples(number: int) -> int:
    """The number of examples to search here, of ``number`` in a whole run."""
    return number if REQUIRE_ALL else max(number // 10, 10)


# A busy machine is no fault of a test.
settings.register_profile(
    "rolecall",
    settings.default,
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
