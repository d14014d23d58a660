"""The documentation builds without a warning, with what its extra installs, and shows no internals."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]

#: Sphinx in an interpreter in which nothing of some distributions can be imported.
SPHINX_WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class NotInstalled(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""


def installed_by(requirement: str, seen: set[tuple[str, str]] | None = None) -> set[str]:
    """The names of the distributions that pip installs for ``requirement``."""
    seen = set() if seen is None else seen
    wanted = Requirement(requirement)
    for extra in {"", *wanted.extras}:
        here = (canonicalize_name(wanted.name), extra)
        if here in seen:
            continue
        seen.add(here)
        for needed in requires(wanted.name) or ():
            if (marker := Requirement(needed).marker) is None or marker.evaluate({"extra": extra}):
                installed_by(needed, seen)
    return {name for name, _ in seen}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site as somebody gets it who has only what the README says to install."""
    assert 'pip install -e ".[docs]" && sphinx-build -W docs docs/_build' in (ROOT / "README.md").read_text()
    installed = installed_by("rolecall[docs]")
    missing = {
        module
        for module, distributions in packages_distributions().items()
        if not {canonicalize_name(name) for name in distributions} & installed
    }
    assert {"bottle", "hypothesis"} <= missing  # as it is for somebody else, so far as that can be seen here
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-n", "-q", "-d", folder / "trees"]
    built = subprocess.run(
        [sys.executable, "-c", SPHINX_WITHOUT.format(missing=missing), *options, ROOT / "docs", folder / "html"],
        capture_output=True,
        text=True,
    )
    assert (built.returncode, built.stderr) == (0, "")
    return folder / "html"


def signatures(page: Path) -> list[str]:
    """The signature of everything that a page documents."""
    found = re.findall(r'<dt class="sig sig-object.*?</dt>', page.read_text(encoding="utf-8"), re.DOTALL)
    texts = [html.unescape(re.sub(r"<a class=\"headerlink.*?</a>|<[^>]+>", "", one)) for one in found]
    return [" ".join(text.split()) for text in texts]


def test_it_is_complete(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path for path in pages if "_build" not in path.parts and not (site / path).exists()} == set()
    documented = "\n".join(signatures(site / "api.html"))
    for name in ("rolecall.Rolecall(", "rolecall_flask.require_role(", "rolecall_fastapi.RoleRequired("):
        assert name in documented


def test_no_signature_of_the_reference_shows_an_internal(site):
    # An argument that is not read is called "_".
    internal = re.compile(r"\b_\w|mappingproxy|frozenset\(\{|<\w+ |\b0x[0-9a-f]{6}|\*args, \*\*kwargs\)$")
    assert [text for text in signatures(site / "api.html") if internal.search(text)] == []


def test_the_reference_has_none_of_what_only_the_kit_calls(site):
    names = {
        re.sub(r"^(?:property|class|async|exception|classmethod) ", "", text) for text in signatures(site / "api.html")
    }
    named = {re.split(r"[(:= ]", name)[0] for name in names}
    assert not named & {
        "engine",
        "header_alone",
        "find_stream",
        "problem_with_streams",
        "problem_with",
        "checked",
        "at",
    }
