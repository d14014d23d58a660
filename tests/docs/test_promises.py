"""Each line of the table of promises names tests that exist, and each script that the pages name is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/stores-promises.md").read_text(encoding="utf-8")
OF_KEYS = (ROOT / "docs/keys.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
HEAD = "| when | store | what was acknowledged is | held by |"
#: What must have a line for each of the stores that outlive a process.
WHEN = (
    *("a worker is killed (`kill -9`)", "the server dies", "the power fails", "the disk is full", "read-only"),
    *("frozen", "slow", "failover", "fork, `--preload`", "the content is replaced", "nothing goes wrong"),
)


def lines() -> list[list[str]]:
    """The cells of each line of the table; the first one is that of the line above where it is empty."""
    table = PAGE.split(HEAD)[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    for before, row in pairwise(rows):
        row[0] = row[0] or before[0]
    return rows


@cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_each_line_is_held_by_tests_that_exist():
    for when, store, _, held_by in lines():
        named = TEST.findall(held_by)
        assert named or held_by.startswith("no test: "), f"{when}, {store}: names no test"
        for path, name in named:
            assert name in functions_of(path), f"{when}, {store}: {path} has no {name}"


def test_each_fault_has_a_line_for_each_store():
    told = {(when, store) for when, store, *_ in lines()}
    assert {(when, store) for when in WHEN for store in ("SQLite", "PostgreSQL", "Redis")} <= told


def test_each_script_is_there():
    named = re.findall(r"^\| `(\w+) --store", PAGE, re.MULTILINE)
    named += re.findall(r"^\| `(\w+) --rotations", OF_KEYS, re.MULTILINE)
    scripts = {path.stem for path in (ROOT / "tests/faults").glob("*.py") if "def main(" in path.read_text()}
    assert set(named) == scripts
