"""The layers of the house: each module imports only what stands below it, and nothing runs in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core" / "rolecall"

#: From the ground up. A name stands for the module, or for the package with all that is in it.
LAYERS: Final = {
    "words": ["errors", "wording", "roles", "request", "clock", "pickling", "driver", "encoding", "keys"],
    "values": [
        *("sessions", "session_ids", "tokens", "moderation", "policy", "explain", "hookspecs"),
        *("formats", "stores"),
    ],
    "plugins": ["plugins"],
    "engine": ["engine"],
    "http": ["http"],
    "kit": ["kit"],
    "top": ["", "__main__", "testing", "connector", "opentok", "policies", "cli"],
}
LEVELS: Final = {room: level for level, rooms in enumerate(LAYERS.values()) for room in rooms}


def modules() -> dict[str, Path]:
    """Every module of the core, by its dotted name below ``rolecall``."""
    found = {}
    for path in CORE.rglob("*.py"):
        parts = path.relative_to(CORE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES: Final = modules()


def imports_of(module: str) -> Iterator[str]:
    """What a module imports of the core, wherever in the file: under TYPE_CHECKING and in functions, too."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [] if not node.level else ["rolecall", *package[: len(package) - node.level + 1]]
            origin = ".".join([*base, *filter(None, [node.module])])
            names = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == "rolecall" or name.startswith("rolecall."):
                yield _module_of(name.removeprefix("rolecall").removeprefix("."))


def _module_of(name: str) -> str:
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


GRAPH: Final = {module: set(imports_of(module)) - {module} for module in MODULES}


def level_of(module: str) -> int:
    return LEVELS[module.partition(".")[0]]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_nothing_above_it(module):
    assert [other for other in sorted(GRAPH[module]) if level_of(other) > level_of(module)] == []


def circles() -> list[list[str]]:
    """The strongly connected parts of the import graph with more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in GRAPH[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            part = []
            while not part or part[-1] != module:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for module in GRAPH:
        if module not in index:
            visit(module)
    return found


def test_nothing_imports_in_a_circle():
    assert circles() == []


def test_every_room_has_a_layer():
    assert {module.partition(".")[0] for module in MODULES} == set(LEVELS)
