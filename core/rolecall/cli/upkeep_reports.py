"""The results of commands that look after a store: each as lines for people, and as one object for ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..stores.copying import Copied, Tally
from ..stores.upkeep import KINDS, Finding, Kind, Level
from .reports import Line, Report, Tone, counted, printable, row

_TONES: Final[Mapping[Level, Tone]] = {"error": Tone.BAD, "warning": Tone.DOUBTFUL, "info": Tone.PLAIN}
#: What the rows of each kind are, for people.
_NAMES: Final[Mapping[Kind, str]] = {
    "ended": "ended sessions",
    "marks": "marks",
    "sessions": "sessions",
    "used": "single-use ids",
    "leases": "places of leases",
    "tokens": "issued tokens",
    "documents": "documents",
}
_COLUMNS: Final = ("", "source", "sent", "over", "differ", "target", "checksum sent", "checksum stored")


def findings_report(findings: Sequence[Finding]) -> Report:
    """Findings, the worst first, each with what to do about it."""
    by_level = sorted(findings, key=lambda finding: list(_TONES).index(finding.level))
    data = {
        "ok": not any(finding.level == "error" for finding in findings),
        "findings": [finding._asdict() for finding in by_level],
    }
    return Report((*(_finding_block(finding) for finding in by_level), (_summary(findings),)), data)


def stats_report(counts: Mapping[Kind, int], sums: Mapping[Kind, int] | None) -> Report:
    """The number of rows of each kind, and the checksum of each if they were read."""
    lines = [Line(_NAMES[kind], f"{counts[kind]:,}" + (f"  {sums[kind]:016x}" if sums else "")) for kind in KINDS]
    data: dict[str, Any] = {"rows": {kind: counts[kind] for kind in KINDS}}
    if sums:
        data["checksums"] = {kind: f"{sums[kind]:016x}" for kind in KINDS}
    return Report((tuple(lines),), data)


def migrated_report(before: int, after: int) -> Report:
    """The versions of a schema before and after a migration."""
    data = {"before": before, "after": after}
    if not after:
        return Report(((Line("", "this store has no schema; nothing is to be done"),),), data)
    text = f"the schema has version {after}, as before"
    if before != after:
        text = f"the schema was brought from version {before or 'none'} to version {after}"
    return Report(((Line("", text, Tone.GOOD),),), data)


def purged_report(removed: int) -> Report:
    """The number of rows that were removed."""
    return Report(((Line("", f"{counted(removed, 'row')} removed", Tone.GOOD),),), {"removed": removed})


def copied_report(copied: Copied, source: Mapping[Kind, int], target: Mapping[Kind, int]) -> Report:
    """A copy, kind by kind, and what is left to do.

    :param source: the rows of the source, of each kind, after the copy.
    :param target: the same of the target.
    """
    rows = [_COLUMNS, *(_copied_row(kind, copied.tallies[kind], source, target) for kind in KINDS)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = (Line(row(rows[0], widths)), *(Line("", row(cells, widths)) for cells in rows[1:]))
    problems = problems_of(copied, source, target)
    end = [Line("", problem, Tone.BAD) for problem in problems]
    if not problems:
        end.append(Line("", "complete, if nobody has written to the source since the copy began", Tone.GOOD))
    data = {
        "ok": not problems,
        "problems": problems,
        "kinds": {kind: _copied_data(copied.tallies[kind], source[kind], target[kind]) for kind in KINDS},
        "differing": list(copied.differing),
    }
    return Report((table, tuple(end)), data)


def problems_of(copied: Copied, source: Mapping[Kind, int], target: Mapping[Kind, int]) -> list[str]:
    """The reasons why a copy is not complete, each with what to do."""
    problems = []
    for kind in KINDS:
        if differing := copied.tallies[kind].differing:
            problems.append(
                f"{_NAMES[kind]}: {counted(differing, 'row')} stand otherwise in the target, and stay so there; "
                "was it in use already? Copy to an empty store, or see to them by hand" + _named(kind, copied)
            )
        # Single-use ids and leases come and go by themselves.
        missing = source[kind] - target[kind]
        if kind in ("ended", "sessions") and missing > 0:
            problems.append(
                f"{_NAMES[kind]}: the source has {missing:,} more than the target, written while it was copied; "
                "stop its writers, and copy again"
            )
    return problems


def _finding_block(finding: Finding) -> tuple[Line, ...]:
    text = "\n".join(printable(line) for line in (finding.found, finding.remedy) if line)
    return (Line(finding.level, text, _TONES[finding.level]),)


def _summary(findings: Sequence[Finding]) -> Line:
    errors, warnings = (sum(one.level == level for one in findings) for level in ("error", "warning"))
    tone = Tone.BAD if errors else Tone.DOUBTFUL if warnings else Tone.GOOD
    return Line("", f"{counted(errors, 'error')}, {counted(warnings, 'warning')}", tone)


def _copied_row(kind: Kind, tally: Tally, source: Mapping[Kind, int], target: Mapping[Kind, int]) -> tuple[str, ...]:
    numbers = (source[kind], tally.sent, tally.lapsed, tally.differing, target[kind])
    return _NAMES[kind], *(f"{number:,}" for number in numbers), *_sums(tally)


def _copied_data(tally: Tally, source: int, target: int) -> dict[str, Any]:
    sent, stored = _sums(tally)
    return {**tally._asdict(), "sent_sum": sent, "stored_sum": stored, "source": source, "target": target}


def _sums(tally: Tally) -> tuple[str, str]:
    return f"{tally.sent_sum:016x}", f"{tally.stored_sum:016x}"


def _named(kind: Kind, copied: Copied) -> str:
    if kind not in ("ended", "sessions") or not copied.differing:
        return ""
    return ": " + ", ".join(map(printable, copied.differing))
