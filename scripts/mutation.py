"""Mutation tests: change the modules that decide, one place at a time, and see that a test notices.

    python scripts/mutation.py                        every module
    python scripts/mutation.py policy.py              this one
    cd build/mutation/policy.py && mutmut show NAME   what a mutant changes

Each module is judged by the few files of tests that are about it: they are fast, and what only a test far away notices
is not tested where a reader looks for it. mutmut changes what stands in functions without decorators. It fails here if
fewer than 95 of 100 mutants are killed, or if tests/mutation/survivors.md does not explain one that is left.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SURVIVORS = ROOT / "tests" / "mutation" / "survivors.md"
#: The least share of all mutants that has to be killed.
LEAST = 0.95
#: The tests that judge a module, in tests/core.
JUDGES = {
    "encoding/base64url.py": ["encoding/test_base64url.py"],
    "encoding/jws.py": ["encoding/test_jws.py"],
    "encoding/strict_json.py": ["encoding/test_strict_json.py"],
    "formats/claims.py": ["formats/test_claims.py"],
    "http/guards/admission.py": ["http/test_admission.py"],
    "policy.py": ["test_policy.py"],
}
#: What the exit codes of mutmut mean.
OUTCOMES = {0: "survived", 1: "killed", 3: "killed", 24: "timeout", -24: "timeout", 152: "timeout"}

CONFIGURATION = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/rolecall/{module}"]
pytest_add_cli_args_test_selection = {tests}
# Every row of each table.
pytest_add_cli_args = ["-n0", "-m", ""]
# Seconds for a mutant: three times what its tests take and twenty more.
timeout_multiplier = 3.0
timeout_constant = 20.0
"""


def lay_out(module: str, workplace: Path) -> None:
    """Copy the project as mutmut wants one: it knows a module by its path below ``src``."""
    shutil.rmtree(workplace, ignore_errors=True)
    unread = shutil.ignore_patterns("__pycache__", ".hypothesis")
    shutil.copytree(ROOT / "core", workplace / "src", ignore=unread)
    (workplace / "tests").mkdir()
    for file in (ROOT / "tests").glob("*.py"):
        shutil.copy(file, workplace / "tests")
    for name in JUDGES[module]:
        copied = workplace / "tests" / "core" / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / "core" / name, copied)
    tests = json.dumps([f"tests/core/{name}" for name in JUDGES[module]])
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (workplace / "pyproject.toml").write_text(project + CONFIGURATION.format(module=module, tests=tests), "utf-8")


def mutate(module: str) -> dict[str, str]:
    """The outcome of each mutant of ``module``, by its name."""
    workplace = ROOT / "build" / "mutation" / module.replace("/", "-")
    lay_out(module, workplace)
    # With CI set, hypothesis searches the same examples in every run, and keeps none of them.
    environment = {**os.environ, "CI": "true", "PYTHONHASHSEED": "0"}
    mutmut = Path(sys.executable).with_name("mutmut")
    with (workplace / "mutmut.log").open("w", encoding="utf-8") as log:
        command = [mutmut, "run", "--max-children=2"]
        subprocess.run(command, cwd=workplace, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True)
    meta = json.loads((workplace / "mutants" / "src" / "rolecall" / f"{module}.meta").read_text(encoding="utf-8"))
    return {name: OUTCOMES.get(code, f"exit code {code}") for name, code in meta["exit_code_by_key"].items()}


def main(modules: list[str]) -> int:
    explained = set(re.findall(r"`(rolecall\.\S+__mutmut_\d+)`", SURVIVORS.read_text(encoding="utf-8")))
    total: Counter[str] = Counter()
    unexplained = []
    for module in modules or JUDGES:
        outcomes = mutate(module)
        print(f"{module}: {dict(Counter(outcomes.values()))}", flush=True)
        total.update(outcomes.values())
        left = {name: outcome for name, outcome in outcomes.items() if outcome not in ("killed", "timeout")}
        unexplained += [f"{name} ({outcome})" for name, outcome in left.items() if name not in explained]
    share = (total["killed"] + total["timeout"]) / total.total()
    print(f"{total.total()} mutants, {share:.1%} killed")
    print(*(f"not killed, and not explained: {name}" for name in unexplained), sep="\n")
    return int(bool(unexplained) or share < LEAST)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
