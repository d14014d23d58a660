"""Adapters are written with their contract alone, and hold no rule that another one has to write again."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import pytest

from rolecall.http import adapter

INTEGRATIONS: Final = Path(__file__).parents[2] / "integrations"
#: What an adapter may import of Rolecall; from the first, the names in ``__all__``.
CONTRACT: Final = {
    "rolecall.http.adapter",
    "rolecall",
    "rolecall.errors",
    "rolecall.http.gateways.wsgi",
    "rolecall.http.gateways.asgi",
    # For a framework that has commands and checks of its own.
    "rolecall.cli",
    "rolecall.cli.diagnosis",
    # For a framework that has a database of its own.
    "rolecall.stores",
    "rolecall.stores.migrated",
}
#: What goes within the apps of other adapters, and so finds none of its own.
WITHIN: Final = {"rolecall_graphql", "rolecall_socketio"}
MODULES: Final = sorted(INTEGRATIONS.rglob("*.py"))


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """What a module imports of the core, wherever in the file: each name with the module that it is of."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.partition(".")[0] == "rolecall")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "rolecall":
            yield from ((node.module or "", alias.name) for alias in node.names)


def is_of_the_contract(module: str, name: str) -> bool:
    if module == "rolecall.http.adapter":
        return name in adapter.__all__
    return module in CONTRACT or f"{module}.{name}" in CONTRACT


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_an_adapter_imports_its_contract_alone(path):
    assert [one for one in imports_of(path) if not is_of_the_contract(*one)] == []


def test_every_name_of_the_contract_is_used_or_explained():
    page = (INTEGRATIONS.parent / "docs" / "adapters.md").read_text("utf-8")
    used = {name for path in MODULES for module, name in imports_of(path) if module == adapter.__name__}
    assert [name for name in adapter.__all__ if name not in used and f"`{name}`" not in page] == []


def test_every_adapter_has_an_entry_point_by_which_its_apps_are_found():
    points = entry_points(group="rolecall.adapters")
    assert {path.relative_to(INTEGRATIONS).parts[0] for path in MODULES} - WITHIN <= {
        point.value.partition(".")[0] for point in points
    }
    for point in points:
        import_module(point.name)
        found = point.load()
        assert found.routes_of(object()) is None
        assert found.is_app(object()) is False
