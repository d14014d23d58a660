"""The results of the commands for media services: each as lines for people, and as one object for ``--json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..media import MediaBackend
from ..media.plan import Change, Part, not_done
from .reports import Line, Report, Tone, row

_PARTS: Final[Mapping[Part, str]] = {
    "role": "roles",
    "act": "acts",
    "limit": "limits",
    "setting": "settings",
}


def listed_report(backends: Sequence[type[MediaBackend]]) -> Report:
    """The media services."""
    cells = [("service", "grants to everybody", "not done, or otherwise")]
    cells += [(one.name, _listed(sorted(one.always_granted)), _listed(not_done(one))) for one in backends]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    data = [{"name": one.name, "always_granted": sorted(one.always_granted), "acts": not_done(one)} for one in backends]
    lines = (Line(row(cells[0], widths)), *(Line("", row(line, widths)) for line in cells[1:]))
    return Report((lines,), {"services": data})


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "-"


def plan_report(source: str, target: str, changes: Sequence[Change]) -> Report:
    """A plan: what changes, part by part, and the rest in one line each."""
    blocks = [(Line("", f"from {source} to {target}"),), *filter(None, (_block(part, changes) for part in _PARTS))]
    data = {
        "from": source,
        "to": target,
        "changes": [{**one._asdict(), "changes": one.is_one} for one in changes],
    }
    return Report(tuple(blocks), data)


def _block(part: Part, changes: Sequence[Change]) -> tuple[Line, ...]:
    own = [one for one in changes if one.part == part]
    lines = [Line(one.subject, _text(one), Tone.DOUBTFUL if one.advice else Tone.PLAIN) for one in own if one.is_one]
    same = [one.subject for one in own if not one.is_one]
    if same:
        lines.append(Line("", f"as before: {', '.join(same)}", Tone.GOOD))
    return (Line(_PARTS[part]), *lines) if lines else ()


def _text(change: Change) -> str:
    told = f"{change.before} -> {change.after}" if change.before else change.after
    return f"{told}\n{change.advice}" if change.advice else told
