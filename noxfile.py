"""Every check of the project: ``nox`` runs them all, ``nox -l`` lists them, ``nox -s lint`` runs one.

The tests run on each version of Python that is installed; one that is not is skipped, and said so.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
#: What the wheel holds. Tests and the other examples are type-checked as the oldest Python has them, and no more.
SHIPPED = ["core", "integrations", "examples/demo"]
#: The tiers that the plain command leaves out, and the searches of hypothesis once more, with all their examples.
FURTHER_TIERS = "server or process or sdk or browser or exhaustive or hypothesis"

nox.needs_version = ">=2025.10"
nox.options.sessions = ["lint", "types", "tests", "coverage", "docs", "release"]
nox.options.reuse_existing_virtualenvs = True
# Environments for other Pythons, in seconds instead of minutes.
nox.options.default_venv_backend = "uv|virtualenv"
# A Python that is not installed is skipped, not fetched.
nox.options.download_python = "never"
# Also where CI is set, where nox would rather fail.
nox.options.error_on_missing_interpreters = False


def _offer_pythons_of_pyenv() -> None:
    """Let nox find every Python that pyenv has installed, not only the one that it has chosen."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = {python: sorted(root.glob(f"versions/{python}.*")) for python in PYTHONS}
    versions = [folders[-1].name for folders in found.values() if folders]
    if versions:
        os.environ["PYENV_VERSION"] = ":".join(versions)
        os.environ["PATH"] += os.pathsep + str(root / "shims")


_offer_pythons_of_pyenv()


def _install(session: nox.Session, extra: str = "dev") -> None:
    """Install the project in the tested versions; with ``--no-venv`` it is where it runs already."""
    if session.venv_backend != "none":
        session.install("-c", "constraints.txt", "-e", f".[{extra}]")


@nox.session
def lint(session: nox.Session) -> None:
    """Rules of style, and the format."""
    _install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types: of everything, and of what is shipped as each further version of Python has them, or those named."""
    _install(session)
    session.run("mypy")
    for python in session.posargs or PYTHONS[1:]:
        session.run("mypy", f"--python-version={python}", *SHIPPED)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The newcomer's tier, on each Python; further arguments go to pytest."""
    _install(session)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS[1:])
def django(session: nox.Session) -> None:
    """The further tiers' rows of Django, whose newest version the oldest Python does not have; no stores' contracts."""
    _install(session)
    chosen = ["-m", "server or exhaustive", "-k", "django and not TestIn", *session.posargs]
    session.run("python", "-m", "pytest", *chosen, env={"REQUIRE_ALL_TESTS": "1"})


@nox.session
def coverage(session: nox.Session) -> None:
    """The share of the branches that the newcomer's tier takes together with server, process and exhaustive."""
    _install(session)
    session.run("coverage", "erase")
    tiers = ["-m", "not (sdk or browser)", *session.posargs]
    session.run("coverage", "run", "-m", "pytest", *tiers)
    session.run("coverage", "combine", "-q")
    session.run("coverage", "report")


@nox.session
def further(session: nox.Session) -> None:
    """The tiers that the newcomer's leaves out; a test that lacks what it needs fails."""
    _install(session)
    # Four at a time: half of the time these tests wait for servers and browsers. In the order of tests/conftest.py.
    chosen = ["-n", "4", "--no-loadscope-reorder", "-m", FURTHER_TIERS, *session.posargs]
    session.run("python", "-m", "pytest", *chosen, env={"REQUIRE_ALL_TESTS": "1"})


@nox.session
def mutation(session: nox.Session) -> None:
    """Mutants of the modules that decide, which tests have to kill; a quarter of an hour. Modules may be named."""
    _install(session, "mutation")
    session.run("python", "scripts/mutation.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, built without a warning."""
    _install(session, "docs")
    with tempfile.TemporaryDirectory() as folder:
        session.run("sphinx-build", "-W", "--keep-going", "-n", "-q", "docs", folder)


@nox.session
def release(session: nox.Session) -> None:
    """Wheel and sdist, installed as a stranger would: the demonstration starts and answers."""
    _install(session)
    session.run("python", "scripts/check_release.py")


@nox.session(python=PYTHONS, reuse_venv=False)
def constraints(session: nox.Session) -> None:
    """Renew constraints.txt with the newest of everything, as each Python takes it."""
    session.install("-e", ".[dev]")
    folder = Path(session.cache_dir) / "frozen"
    folder.mkdir(exist_ok=True)
    frozen = session.run("python", "-m", "pip", "freeze", "--exclude-editable", silent=True)
    (folder / f"{session.python}.txt").write_text(str(frozen), encoding="utf-8")
    session.run("python", "scripts/constraints.py", *map(str, sorted(folder.glob("*.txt"))))
