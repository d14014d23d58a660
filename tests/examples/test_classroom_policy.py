"""The package in ``examples/classroom_policy``, installed and named beside an app that knows nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "classroom_policy"

APP = """
import flask
from rolecall import Rolecall
from rolecall_flask import current_grant, require_role, rolecall_blueprint

kit = Rolecall.from_env()
app = flask.Flask(__name__)
app.secret_key = "a secret of this test"
app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")


@app.post("/login/<user>")
def login(user):
    flask.session["user"] = user
    return ""


@app.post("/classes/<session_id>/mute")
@require_role("moderator")
def mute(session_id):
    return {"muted_by": current_grant.data}
"""

# What becomes of three people who ask for a moderator's token, and then mute the class with what they got.
VISITS = """
import json, pathlib, sqlite3, sys, time
from app import app, kit

session_id = kit.create_session().session_id
database = sqlite3.connect("classes.db")
database.executescript(pathlib.Path(sys.argv[1]).read_text())
database.execute("INSERT INTO classes VALUES (?, ?, ?)", (session_id, time.time() - 60, time.time() + 3600))
members = [(session_id, "ada", "teacher"), (session_id, "ben", "pupil")]
database.executemany("INSERT INTO members VALUES (?, ?, ?)", members)
database.commit()
database.close()

def visit(user):
    client = app.test_client()
    client.post(f"/login/{user}")
    answer = client.post(f"/video/sessions/{session_id}/tokens", json={"role": "moderator"}).json
    credential = {"Authorization": f"Bearer {answer['token']}"} if "token" in answer else {}
    muted = client.post(f"/classes/{session_id}/mute", headers=credential)
    return [answer.get("role") or answer["code"], muted.json.get("muted_by") or muted.json["code"]]

print(json.dumps({user: visit(user) for user in ("ada", "ben", "eve")}))
kit.close()
"""

NOBODY_ALLOWED = {user: ["policy_denied", "missing_token"] for user in ("ada", "ben", "eve")}
BY_THE_RULE = {
    "ada": ["moderator", "ada"],
    "ben": ["publisher", "insufficient_role"],
    "eve": ["not_in_class", "missing_token"],
}


@dataclass
class Environment:
    """A virtual environment."""

    python: Path

    def run(self, *arguments: object, **options: Any) -> str:
        """What Python prints; this environment, and nothing of the one that runs the tests, is on its path."""
        finished = self.attempt(*arguments, **options)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def attempt(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ROLECALL_"))}
        environ |= options.pop("env", {})
        return subprocess.run(
            [self.python, *map(str, arguments)], capture_output=True, text=True, env=environ, **options
        )

    def pip(self, *arguments: object) -> str:
        return self.run("-m", "pip", "--disable-pip-version-check", *arguments)

    def install(self, folder: Path) -> None:
        """Build and install what stands in ``folder``; what it depends on is there."""
        self.pip("install", "--no-deps", "--no-build-isolation", folder)


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> Environment:
    """A new virtual environment without the package; what the tests run with is there, the checkout included."""
    folder = tmp_path_factory.mktemp("environment")
    scheme = {"base": folder, "platbase": folder}
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    made = Environment(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    # Before Python 3.12 an environment begins with one, which is too old for what the tests run with.
    made.pip("uninstall", "-q", "-y", "setuptools")
    here, there = Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("purelib", "venv", scheme))
    # As a folder of packages, so that the files in it that name further ones are read, that of the checkout for one.
    (there / "tests.pth").write_text(f"import site; site.addsitedir({str(here)!r})\n", encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def installed(environment):
    """The environment with the package, from here on."""
    environment.install(PACKAGE)
    return environment


@pytest.fixture
def visits(environment, tmp_path):
    """Runs the app, each time with a new database, and tells what became of its visitors."""
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "visits.py").write_text(VISITS, encoding="utf-8")
    config = {"database": str(tmp_path / "classes.db")}
    credentials = {
        "ROLECALL_API_KEY": "123456",
        "ROLECALL_API_SECRET": "2df95e9fdac14502e8a27a9d8a71e87ef64a502e",
    }
    named = {"ROLECALL_ENTRY_POINTS": "classroom", "ROLECALL_PLUGIN_CLASSROOM": json.dumps(config)}

    def visit(*, is_named: bool) -> subprocess.CompletedProcess[str]:
        (tmp_path / "classes.db").unlink(missing_ok=True)
        environ = credentials | (named if is_named else {})
        return environment.attempt("-W", "error", "visits.py", PACKAGE / "schema.sql", cwd=tmp_path, env=environ)

    return visit


# First, because the next tests install it.
def test_an_app_that_names_the_package_does_not_start_without_it(environment, visits):
    finished = visits(is_named=True)
    assert finished.returncode != 0
    assert "the plugin classroom is wanted, and no installed package offers it" in finished.stderr


def test_naming_the_installed_package_changes_what_an_unchanged_app_allows(installed, visits):
    finished = visits(is_named=False)
    assert json.loads(finished.stdout) == NOBODY_ALLOWED
    assert "these are not: classroom (of classroom-policy 1.0.0)" in finished.stderr

    finished = visits(is_named=True)
    assert json.loads(finished.stdout) == BY_THE_RULE
    assert "classroom" not in finished.stderr


def test_the_packages_own_tests_pass_where_it_is_installed(installed):
    printed = installed.run("-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", PACKAGE, cwd=PACKAGE)
    assert " passed" in printed


def test_what_both_packages_declare_is_all_that_they_need(installed):
    assert installed.pip("check").strip() == "No broken requirements found."


def test_a_kit_names_the_package_that_its_plugin_comes_from(installed, tmp_path):
    code = """if True:
        from rolecall import Rolecall
        options = {"entry_points": ["classroom"], "plugin_config": {"classroom": {"database": "classes.db"}}}
        kit = Rolecall("123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e", **options)
        print(*kit.plugins, sep="\\n")
    """
    printed = installed.run("-c", code, cwd=tmp_path)
    assert "name='classroom', origin=\"entry point 'classroom' of classroom-policy 1.0.0\"" in printed


def test_the_package_is_typed_throughout(installed):
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", os.devnull]
    command = [*mypy, "--python-executable", installed.python, "-p", "classroom_policy"]
    checked = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
