"""The docs name what the code has: every error, every hook, every public name."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import rolecall
import rolecall.connector
import rolecall_flask
from rolecall import errors, events, hookspecs, moderation
from rolecall.cli.commands import rolecall as cli
from rolecall.http.api.moderation import MODERATION_ROUTES

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tree(error: type[errors.RolecallError], depth: int = 0) -> list[tuple[str, ...]]:
    """Each error and, below it, those that derive from it, as the rows of the table have them."""
    name = "– " * depth + f"`{error.__name__}`"
    row = (name, f"`{error.code}`", str(error.status), f"`{error.challenge}`" if error.challenge else "")
    children = [child for child in error.__subclasses__() if child.__module__.startswith("rolecall.")]
    return [row, *(below for child in children for below in tree(child, depth + 1))]


def test_the_table_of_errors_is_the_tree():
    rows = [tuple(cell.strip() for cell in line.split("|")[1:5]) for line in page("docs/errors.md").splitlines()]
    assert [row for row in rows if row and "`" in row[0]] == tree(errors.RolecallError)


def test_every_hook_has_a_page_whose_heading_is_its_exact_signature():
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("rolecall_")}
    signatures = {name: f"# `{name}{inspect.signature(hook)}`".replace("'", "") for name, hook in hooks.items()}
    headings = {hook: page(f"docs/hooks/{file_of(hook)}").partition("\n")[0] for hook in hooks}
    assert headings == signatures


def test_every_page_of_a_hook_is_of_one_that_exists():
    hooks = [name for name in vars(hookspecs) if name.startswith("rolecall_")]
    assert sorted(path.name for path in (ROOT / "docs/hooks").iterdir()) == sorted(map(file_of, hooks))


def test_the_index_of_hooks_lists_each_in_order():
    hooks = [name for name in vars(hookspecs) if name.startswith("rolecall_")]
    assert re.findall(r"^\| \[`(\w+)`\]", page("docs/hooks.md"), re.MULTILINE) == hooks
    assert re.findall(r"^(\w+) <hooks/", page("docs/hooks.md"), re.MULTILINE) == hooks


def file_of(hook: str) -> str:
    return hook.removeprefix("rolecall_").replace("_", "-") + ".md"


def test_every_event_is_in_the_table():
    kinds = [kind for kind in vars(events).values() if inspect.isclass(kind) and hasattr(kind, "name")]
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page("docs/hooks/on-event.md"), re.MULTILINE)
    assert rows == [(kind.__name__, kind.name) for kind in kinds]


def test_every_act_is_in_the_table_with_its_method_and_its_capability():
    rows = re.findall(r"^\| `([A-Z]\w+)` \| `(\w+)\([^`]*\)` \| `(\w+)` \|", page("docs/moderation.md"), re.MULTILINE)
    acts: list[Any] = [
        one for one in vars(moderation).values() if inspect.isclass(one) and moderation.Act in one.__bases__
    ]
    assert rows == [(act.__name__, act.name, act.capability) for act in acts]


def test_every_signature_of_an_act_is_that_of_the_kit():
    rows = dict(re.findall(r"^\| `[A-Z]\w+` \| `(\w+)(\([^`]*\))` \|", page("docs/moderation.md"), re.MULTILINE))
    kit = {name: inspect.signature(getattr(rolecall.Rolecall, name)).parameters.values() for name in rows}
    plain = {name: [p.replace(annotation=p.empty) for p in found if p.name != "self"] for name, found in kit.items()}
    said = {name: str(inspect.Signature(found)).replace("'", '"') for name, found in plain.items()}
    assert rows == said


def test_the_limits_of_acts_are_those_of_the_kit():
    text = " ".join(page("docs/moderation.md").split())
    assert f"at most {moderation.MAX_EXCLUDED} that are excluded" in text
    assert f"at most {moderation.MAX_SIGNAL_TYPE} bytes of UTF-8, `data` {moderation.MAX_SIGNAL_DATA:,}." in text


def test_every_error_of_the_connector_is_in_its_table():
    faults = [name for name in rolecall.connector.__all__ if issubclass(getattr(rolecall.connector, name), Exception)]
    rows = re.findall(r"^\| [– ]*`(\w+)` \| `(\w+)` \| (\d+) \|", page("docs/connector.md"), re.MULTILINE)
    known = [getattr(rolecall.connector, name) for name in faults]
    assert sorted(rows) == sorted((error.__name__, error.code, str(error.status)) for error in known)


@pytest.mark.parametrize(
    ("name", "routes"),
    [("docs/moderation.md", MODERATION_ROUTES), ("docs/sdk-endpoint.md", rolecall_flask.SDK_ROUTES)],
    ids=["of participants", "of servers"],
)
def test_every_route_that_moderates_is_in_a_table(name, routes):
    documented = set(re.findall(r"\| `((?:GET|POST|DELETE) /\S+)` \|", page(name)))
    every = {f"{method} {route.path}": one for route in routes for method, one in route.operations.items()}
    assert documented == {place for place, operation in every.items() if operation.status < 400}


def test_every_limit_of_a_vote_is_in_the_table():
    limits = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", page("docs/policies.md"), re.MULTILINE)
    assert sorted([*limits, "reason", "reserve", "release", "renewal"]) == sorted(
        inspect.signature(rolecall.Allow).parameters
    )


def test_every_variable_of_the_environment_is_in_the_configuration():
    table = page("docs/configuration.md").partition("## Environment")[2].partition("## Stores")[0]
    known = re.findall(r"``(ROLECALL_[A-Z_<>]+)``", inspect.getdoc(rolecall.Rolecall.from_env) or "")
    assert re.findall(r"^\| `(ROLECALL_[A-Z_<>]+)` \|", table, re.MULTILINE) == known


def test_the_table_of_roles_has_what_each_may():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page("docs/tokens.md").splitlines()]
    capabilities = next(row for row in rows if row[:2] == ["role", "connect"])[1:]
    assert set(capabilities) == set(rolecall.Capability)
    documented = {
        row[0].strip("`"): {name for name, mark in zip(capabilities, row[1:], strict=True) if mark == "x"}
        for row in rows
        if len(row) == 7 and row[0].startswith("`")
    }
    known = rolecall.roles.STANDARD_ROLES
    assert documented == {str(role): set(role.capabilities) for role in known}


def test_every_argument_of_the_kit_is_in_the_configuration():
    names = re.findall(r"^\| `(\w+)` \|", page("docs/configuration.md").partition("## Environment")[0], re.MULTILINE)
    assert names == list(inspect.signature(rolecall.Rolecall).parameters)


def test_every_command_is_in_the_table():
    commands = re.findall(r"^\| `rolecall ([a-z -]+)", page("docs/command-line.md"), re.MULTILINE)
    groups: Any = cli.commands
    known = [
        f"{group} {name}"
        for group in ("session", "store", "keys", "token", "media", "explain")
        for name in groups[group].commands
    ]
    assert sorted(map(str.strip, commands)) == sorted(["demo", "doctor", "plugins", "routes", *known])


def test_the_apis_page_names_every_package():
    modules = re.findall(r"automodule:: (\S+)", page("docs/api.md"))
    assert {rolecall.__name__, rolecall_flask.__name__, errors.__name__} <= set(modules)


def test_the_app_of_the_readme_has_at_most_ten_lines():
    app = next(
        block
        for block in re.findall(r"^```python\n(.*?)^```$", page("README.md"), re.DOTALL | re.MULTILINE)
        if "Flask(__name__)" in block
    )
    assert len(list(filter(str.strip, app.splitlines()))) <= 10


def test_the_changelog_has_the_version():
    assert f"## [{rolecall.__version__}]" in page("CHANGELOG.md")


def test_every_link_between_pages_leads_somewhere():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    links = [(page, target) for page in pages for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text())]
    assert [(page.name, target) for page, target in links if not (page.parent / target).exists()] == []
