"""Each line of the table of promises names tests that exist, and each script that the pages name is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/stores-promises.md").read_text(encoding="utf-8")
OF_THREATS = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
WAYS_BACK = "tests/core/test_ways_back.py"
OF_KEYS = (ROOT / "docs/keys.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
HEAD = "| when | store | what was acknowledged is | held by |"
PROMISES = "| promise | against | how soon, how long | held by |"
WAYS = "| | the way | what becomes of it | held by |"
#: What must have a line for each of the stores that outlive a process.
WHEN = (
    *("a worker is killed (`kill -9`)", "the server dies", "the power fails", "the disk is full", "read-only"),
    *("frozen", "slow", "failover", "fork, `--preload`", "the content is replaced", "nothing goes wrong"),
)


def table(page: str, head: str) -> list[list[str]]:
    """The cells of each line of the table with this head."""
    rows = page.split(head)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.removeprefix("|").removesuffix("|").split("|")] for row in rows]


def lines() -> list[list[str]]:
    """The lines of the table of stores; the first cell is that of the line above where it is empty."""
    rows = table(PAGE, HEAD)
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


def test_each_promise_against_somebody_is_held_by_tests_that_exist():
    for promise, *_, held_by in table(OF_THREATS, PROMISES):
        named = TEST.findall(held_by)
        assert named, f"{promise}: names no test"
        assert [name for path, name in named if name not in functions_of(path)] == []


def test_each_way_back_is_closed_and_tried_or_said_to_be_none_of_the_promises():
    rows = table(OF_THREATS, WAYS)
    assert [number for number, *_ in rows] == [str(number) for number in range(1, 34)]
    for number, way, what_becomes, held_by in rows:
        named = TEST.findall(held_by)
        assert named or what_becomes.startswith("**not promised**"), f"{number}, {way}: names no test"
        assert [name for path, name in named if name not in functions_of(path)] == []


def test_each_way_back_that_is_tried_is_on_the_page():
    tried = {name for name in functions_of(WAYS_BACK) if name.startswith("test_")}
    assert tried == {name for path, name in TEST.findall(OF_THREATS) if path == WAYS_BACK}


def test_each_fault_has_a_line_for_each_store():
    told = {(when, store) for when, store, *_ in lines()}
    assert {(when, store) for when in WHEN for store in ("SQLite", "PostgreSQL", "Redis")} <= told


def test_each_script_is_there():
    named = re.findall(r"^\| `(\w+) --store", PAGE, re.MULTILINE)
    named += re.findall(r"^\| `(\w+) --rotations", OF_KEYS, re.MULTILINE)
    scripts = {path.stem for path in (ROOT / "tests/faults").glob("*.py") if "def main(" in path.read_text()}
    assert set(named) == scripts
