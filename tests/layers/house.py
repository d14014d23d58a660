"""Measures the house: modules, lines, circles, arrows that run up, what adapters lean on.

Run it by hand, for this tree or for another one: ``python tests/layers/house.py [ROOT]``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]

#: From the ground up. A name stands for the module, or for the package with all that is in it.
LAYERS: Final = {
    "words": ["errors", "wording", "roles", "request", "actors", "clock", "pickling", "driver", "encoding", "keys"],
    "values": [
        *("sessions", "session_ids", "tokens", "moderation", "revocations", "events", "policy", "explain", "hookspecs"),
        *("formats", "media", "stores"),
    ],
    "plugins": ["plugins"],
    "engine": ["engine"],
    "http": ["http"],
    "kit": ["kit"],
    "top": ["", "__main__", "testing", "connector", "opentok", "policies", "observing", "cli"],
}
LEVELS: Final = {room: level for level, rooms in enumerate(LAYERS.values()) for room in rooms}

Graph = dict[str, set[str]]


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the core, by its dotted name below ``rolecall``."""
    core, found = root / "core" / "rolecall", {}
    for path in core.rglob("*.py"):
        parts = path.relative_to(core).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, package: list[str]) -> Iterator[str]:
    """Each name that a module imports, wherever in the file: under TYPE_CHECKING and in functions, too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def graph(root: Path = ROOT) -> Graph:
    """What each module of the core imports of the core."""
    found = modules(root)
    drawn: Graph = {}
    for module, path in found.items():
        parts = ["rolecall", *filter(None, module.split("."))]
        names = imports(path, parts if path.name == "__init__.py" else parts[:-1])
        inner = [name for name in names if name == "rolecall" or name.startswith("rolecall.")]
        drawn[module] = {_module_of(name, found) for name in inner} - {module}
    return drawn


def _module_of(name: str, found: dict[str, Path]) -> str:
    name = name.removeprefix("rolecall").removeprefix(".")
    while name and name not in found:
        name = name.rpartition(".")[0]
    return name


def level_of(module: str) -> int | None:
    """The layer of a module, counted from the ground; None where no layer names it."""
    return LEVELS.get(module.partition(".")[0])


def arrows_up(drawn: Graph) -> list[tuple[str, str]]:
    """The imports of what stands above the importing module."""
    return [
        (module, other)
        for module, others in sorted(drawn.items())
        for other in sorted(others)
        if (level_of(other) or 0) > (level_of(module) or 0)
    ]


def circles(drawn: Graph) -> list[list[str]]:
    """The strongly connected parts with more than one module (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in drawn[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            part: list[Any] = []
            while not part or part[-1] != module:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for module in drawn:
        if module not in index:
            visit(module)
    return found


def _functions(paths: list[Path]) -> list[int]:
    """The length of each function, in lines."""
    return [
        node.end_lineno - node.lineno + 1  # type: ignore[operator]
        for path in paths
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _lines(paths: list[Path]) -> int:
    """The lines that are not empty."""
    return sum(bool(line.strip()) for path in paths for line in path.read_text("utf-8").splitlines())


def _report(root: Path) -> None:
    found, drawn = modules(root), graph(root)
    paths = list(found.values())
    functions = _functions(paths)
    print(f"core: {len(found)} modules, {_lines(paths):,} lines that are not empty")
    print(f"      {len({name.partition('.')[0] for name in found if name})} rooms at top level")
    print(f"      {len(functions)} functions: median {median(functions):g} lines, longest {max(functions)}")
    print(f"      {sum(map(len, drawn.values()))} arrows; circles: {[len(part) for part in circles(drawn)] or 'none'}")
    if None not in map(level_of, found):
        print(f"      arrows that run up: {len(arrows_up(drawn))}")
    print(f"      names exported by rolecall: {len(_exported(found['']))}")
    for package in sorted((root / "integrations").iterdir()):
        files = sorted(package.rglob("*.py"))
        if files:
            used = {name for path in files for name in imports(path, [package.name]) if name.startswith("rolecall.")}
            rooms = {name.rpartition(".")[0] for name in used}
            lines = _lines(files)
            print(f"{package.name}: {lines} lines that are not empty, {len(used)} names of {len(rooms)} modules")


def _exported(path: Path) -> list[str]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


if __name__ == "__main__":
    _report(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
