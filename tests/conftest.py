"""What all tests share: kits with a clock of their own, and the services that some tests need."""

from __future__ import annotations

import gc
import re
import shutil
from collections import defaultdict
from collections.abc import Generator, Iterable
from functools import cache
from itertools import combinations
from pathlib import Path

import hypothesis
import pytest

from rolecall import Rolecall

from .budgets import REQUIRE_ALL
from .sdk_tokens import API_KEY, API_SECRET

NOW = 1_795_186_800.0

hypothesis.settings.load_profile("rolecall")

#: The tier of each test that asks for a fixture, by the fixture's name.
TIER_OF_FIXTURE = {
    "servers": "server",
    "node": "sdk",
    "chromium": "browser",
}


#: The expression of pyproject.toml by which the newcomer's tier is chosen.
NEWCOMERS = "not (server or process or sdk or browser or exhaustive)"
#: A line by which a whole file belongs to one tier.
WHOLE_FILE = re.compile(r"^pytestmark = \[?pytest\.mark\.(?:server|process|sdk|browser)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare the newcomer's tier the time to read the files of the others."""
    if config.option.markexpr != NEWCOMERS or collection_path.suffix != ".py":
        return None
    return True if _has_a_tier(collection_path) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector what collecting makes: a million objects, none of which is garbage before the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@cache
def _has_a_tier(path: Path) -> bool:
    """Whether all tests of a file belong to one tier, none of which is the newcomer's."""
    return WHOLE_FILE.search(path.read_text(encoding="utf-8")) is not None


#: How many rows of a table the newcomer's tier runs, unless the table is marked otherwise.
ROWS = 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Put each test into its tier, before pytest leaves out those that ``-m`` does not name; the slow files first.

    With ``--no-loadscope-reorder`` they begin first, so that none is left to run alone at the end.
    """
    _keep_all_pairs(items)
    items.sort(key=lambda item: not _has_a_tier(item.path))
    tables = defaultdict(list)
    for item in items:
        for fixture in TIER_OF_FIXTURE.keys() & item.fixturenames:
            item.add_marker(TIER_OF_FIXTURE[fixture])
        if hasattr(item, "callspec"):
            tables[item.nodeid.partition("[")[0]].append(item)
    for rows in tables.values():
        if any(row.get_closest_marker("exhaustive") for row in rows):
            continue  # the table itself says which
        most = len(rows) if rows[0].get_closest_marker("each_choice") else ROWS
        for item in _left_out(rows, most):
            item.add_marker("exhaustive")


def _keep_all_pairs(items: list[pytest.Function]) -> None:
    """Take out the rows of the tables so marked that have no pair of values which has not come before."""
    tables = defaultdict(list)
    for item in items:
        if hasattr(item, "callspec") and item.get_closest_marker("pairs"):
            tables[item.nodeid.partition("[")[0]].append(item)
    needless = {row for rows in tables.values() for row in _left_out(rows, len(rows), together=2)}
    items[:] = (item for item in items if item not in needless)


def _left_out(rows: list[pytest.Function], most: int, together: int = 1) -> Iterable[pytest.Function]:
    """The rows of a table that are left once each value of each parameter has come, or ``most`` rows are chosen.

    :param together: of how many parameters the values have to come together, in all ways.
    """
    # By identity: values need not be hashable, and one that comes in several rows is the same object there.
    values = [sorted((name, id(value)) for name, value in row.callspec.params.items()) for row in rows]
    choices = [set(combinations(one, min(together, len(one)))) for one in values]
    unseen = set().union(*choices)
    # From all over the table: of rows with equally many new values the first in this order is chosen.
    step = -(-len(rows) // most)
    order = sorted(range(len(rows)), key=lambda number: (number % step, number))
    kept: set[int] = set()
    while unseen and len(kept) < most:
        best = max(order, key=lambda number: len(choices[number] & unseen))
        kept.add(best)
        unseen -= choices[best]
    return (row for number, row in enumerate(rows) if number not in kept)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_kit(clock):
    """Makes kits for the project of ``sdk_tokens``, on a clock that stands still; closes them at the end."""
    kits = []

    def make(**options) -> Rolecall:
        options = {"api_key": API_KEY, "api_secret": API_SECRET, "clock": clock, **options}
        kits.append(Rolecall(**options))
        return kits[-1]

    yield make
    for kit in kits:
        kit.close()


@pytest.fixture
def kit(make_kit) -> Rolecall:
    return make_kit()


def needed(found: object, what: str) -> None:
    """Skip the test, or fail it where everything is required, unless ``found``."""
    if found:
        return
    if REQUIRE_ALL:
        pytest.fail(f"{what} is required here, and missing")
    pytest.skip(f"needs {what}")


@pytest.fixture(scope="session", name="needed")
def needed_fixture():
    """:func:`needed`, for test modules."""
    return needed


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium or Chrome browser."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    needed(path, "a Chromium browser on the PATH")
    assert path
    return path


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js; ``npm`` is there as well."""
    path = shutil.which("node") if shutil.which("npm") else None
    needed(path, "Node.js with npm on the PATH")
    assert path
    return path


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of public test vectors."""
    return Path(__file__).parent / "vectors"
