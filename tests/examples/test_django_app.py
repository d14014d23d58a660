"""The class app of ``examples/django_app``: its own tests, its checks, and its list of routes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

APP = Path(__file__).parents[2] / "examples" / "django_app"


@pytest.fixture
def manage(tmp_path):
    """Runs a command of the app's, and returns its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROLECALL_")}
    environment |= {
        "SECRET_KEY": "a key for the cookies of this test",
        "SCHOOL_DATABASE": str(tmp_path / "school.sqlite3"),
        "ROLECALL_API_KEY": "123456",
        "ROLECALL_API_SECRET": "2df95e9fdac14502e8a27a9d8a71e87ef64a502e",
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, "-W", "error", "manage.py", *arguments]
        ran = subprocess.run(command, cwd=APP, env=environment, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    return run


def test_the_app_passes_its_own_tests(manage):
    assert "Ran 7 tests" in manage("test")


def test_every_route_is_guarded_or_marked_as_public(manage):
    assert "0 open, 0 mistakes" in manage("rolecall", "routes", "--check")
