"""The table of what media services hold is what their backends say."""

from __future__ import annotations

from pathlib import Path

from rolecall import Role
from rolecall.media import BACKENDS, MediaBackend, find_backend
from rolecall.media.plan import ACTS, wider
from rolecall.roles import STANDARD_ROLES

PAGE = (Path(__file__).parents[2] / "docs" / "media.md").read_text("utf-8")


def row(backend: type[MediaBackend]) -> str:
    name = f"[`{backend.name}`](media/{backend.name}.md)"
    acts = [f"`{act}`" for act in ACTS if act in backend.acts]
    cells = [name, *(_held(backend, role) for role in STANDARD_ROLES), _few(acts)]
    return f"| {' | '.join(cells)} |"


def _held(backend: type[MediaBackend], role: Role) -> str:
    beyond = wider(backend, role)
    if backend.names_roles and not beyond:
        return "by name"
    return f"and {', '.join(sorted(beyond))}" if beyond else "held"


def _few(acts: list[str]) -> str:
    if len(acts) == len(ACTS):
        return "all"
    return ", ".join(acts) or "-"


def test_the_table_has_every_service_with_what_it_holds():
    table = PAGE.partition("## What each service holds")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| [")]
    assert rows == [row(backend) for name in sorted(BACKENDS) if (backend := find_backend(name)) is not None]


def test_the_chooser_has_every_service():
    chooser = PAGE.partition("| name |")[2].partition("\n\n")[0]
    for name in BACKENDS:
        assert f"[`{name}`](media/{name}.md)" in chooser
