"""What all tests share: kits with a clock of their own, and the services that some tests need."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rolecall import Rolecall

from .sdk_tokens import API_KEY, API_SECRET

NOW = 1_795_186_800.0

#: With this variable set, a test that lacks what it needs fails instead of being skipped. Its name has not the prefix
#: of the kits' own variables, because kits refuse those of their prefix that they do not know.
REQUIRE_ALL = bool(os.environ.get("REQUIRE_ALL_TESTS", ""))


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
    return path


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js; ``npm`` is there as well."""
    path = shutil.which("node") if shutil.which("npm") else None
    needed(path, "Node.js with npm on the PATH")
    return path


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of public test vectors."""
    return Path(__file__).parent / "vectors"
