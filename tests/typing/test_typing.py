"""Type checkers take what apps write rightly, and say where they write something wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.process

ROOT: Final = Path(__file__).parents[2]
CASES: Final = Path(__file__).parent / "cases"
Places = set[tuple[str, int]]


def marked() -> Places:
    """The lines that end in ``# wrong``."""
    return {
        (path.name, number)
        for path in CASES.glob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if line.endswith("# wrong")
    }


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stdout, done.stderr
    return done.stdout


def mypy(_: Path) -> Places:
    found = run("mypy", "--no-pretty", "--hide-error-context", *map(str, sorted(CASES.glob("*.py"))))
    return {(name, int(line)) for name, line in re.findall(r"(\w+\.py):(\d+): error:", found)}


def pyright(folder: Path) -> Places:
    config = folder / "pyrightconfig.json"
    paths = [str(ROOT / name) for name in ("core", "integrations")]
    # As pyright itself checks, without the rules that basedpyright adds.
    settings = {"include": [str(CASES)], "extraPaths": paths, "typeCheckingMode": "standard", "pythonVersion": "3.11"}
    config.write_text(json.dumps(settings), "utf-8")
    found = json.loads(run("basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(config)))
    errors = [one for one in found["generalDiagnostics"] if one["severity"] == "error"]
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in errors}


@pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])
def test_a_type_checker_flags_what_is_wrong_and_nothing_else(checker, tmp_path, needed):
    if checker is pyright:
        needed(find_spec("basedpyright"), "basedpyright, a pyright that pip installs")
    assert checker(tmp_path) == marked()
