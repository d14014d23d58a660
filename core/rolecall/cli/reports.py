"""The results of commands: each as lines for people, and as one object for ``--json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, Final

from ..errors import RolecallError
from ..explain import Explanation
from ..formats.inspection import Inspection
from ..http.guards.audit import Access, GuardedRoute
from ..kit import Session
from ..plugins import PluginInfo
from ..roles import Capability, Role, RoleTable
from ..tokens import DEFAULT_LIFETIME, Grant, leeway_used

# The registered claims (RFC 7519, section 4.1), and two SDKs' own.
_TIMES: Final = frozenset({"iat", "exp", "nbf", "create_time", "expire_time", "expireTime"})
_COLUMNS: Final = ("methods", "path", "endpoint", "requires")
_OPEN_HINT: Final = "it is open; put a guard on it, or mark it as @public"
_UNKNOWN_HINT: Final = "nobody knows what is inside, and it is open; put protect(…) around it, or mark it: public(app)"
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 365 * 86_400


class Tone(Enum):
    """The tone of a line."""

    PLAIN = auto()
    GOOD = auto()
    BAD = auto()
    DOUBTFUL = auto()


@dataclass(frozen=True, slots=True)
class Line:
    """A label and its text; one of the two may be empty. The text may have several lines."""

    label: str
    text: str = ""
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Grid:
    """Names, each with a mark for yes or no."""

    label: str
    cells: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a command.

    :param blocks: for people: lines and grids, in blocks.
    :param data: for machines.
    """

    blocks: tuple[tuple[Line | Grid, ...], ...]
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A kit's verdict on a token.

    :param accepted: whether it is accepted; None if it was not checked.
    :param code: the error's code if it is refused.
    :param detail: why it is refused, or was not checked; or that only the leeway accepts it.
    :param hint: advice.
    """

    accepted: bool | None
    code: str | None = None
    detail: str | None = None
    hint: str = ""

    def as_data(self) -> dict[str, Any]:
        """The verdict for ``--json``."""
        return {"accepted": self.accepted, "code": self.code, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Instant:
    """A time for people.

    :param seconds: Unix seconds.
    :param utc: ISO 8601, in UTC.
    :param relative: relative to now, for example ``in 23 h 59 min``.
    """

    seconds: float
    utc: str
    relative: str

    def __str__(self) -> str:
        return f"{self.utc} ({self.seconds}), {self.relative}"


def session_report(session: Session) -> Report:
    """A created session: its id for people and pipes, all its properties for machines."""
    return Report(((Line("", session.session_id),),), session.as_dict())


def token_report(token: str, claims: Mapping[str, Any]) -> Report:
    """A minted token, and its main claims."""
    data = {"token": token, "session_id": claims["session_id"], "role": claims["role"], "expires_at": claims["exp"]}
    return Report(((Line("", token),),), data)


def grant_report(grant: Grant, now: float) -> Report:
    """The grant of an accepted token."""
    verdict = accepted(grant, now)
    lines = (
        _verdict_line(verdict),
        Line("session", quoted(grant.session_id)),
        *_role_lines(grant.role),
        Line("actor", "not said" if grant.actor_id is None else quoted(grant.actor_id)),
        Line("data", "none" if grant.data is None else quoted(grant.data)),
        Line("layout", ", ".join(map(quoted, grant.layout)) or "none"),
        Line("issued", _time_text(grant.issued_at, now)),
        Line("expires", _time_text(grant.expires_at, now)),
        Line("token id", quoted(grant.token_id)),
    )
    data = {
        "accepted": True,
        "detail": verdict.detail,
        "session_id": grant.session_id,
        "role": str(grant.role),
        "capabilities": _names(grant.role),
        "actor_id": grant.actor_id,
        "data": grant.data,
        "layout": list(grant.layout),
        "issued_at": grant.issued_at,
        "expires_at": grant.expires_at,
        "token_id": grant.token_id,
    }
    return Report((lines,), data)


def accepted(grant: Grant, now: float) -> Verdict:
    """The verdict on a token that was accepted with ``grant`` at ``now`` (Unix seconds)."""
    return Verdict(True, detail=leeway_used(grant, now))


def inspection_report(inspection: Inspection, verdict: Verdict, now: float) -> Report:
    """The parts of a token, and the verdict on it; without its signature, so nobody can use the token from there."""
    claims = inspection.claims
    named = claims.get("role")
    role = RoleTable().find(named) if isinstance(named, str) else None
    head = [Line("format", inspection.format)]
    if inspection.header:
        head.append(Line("header", quoted(inspection.header)))
    blocks = (
        tuple(head),
        (Line("claims"), *(_claim_line(name, value, now) for name, value in claims.items()), *_notes(claims, now)),
        _role_lines(role) if role else (_unknown_role(named),),
        (_verdict_line(verdict),),
    )
    times = {name: instant(value, now) for name, value in claims.items() if name in _TIMES}
    data = {
        "format": inspection.format,
        "header": dict(inspection.header),
        "claims": dict(claims),
        "times": {name: asdict(time) for name, time in times.items() if time},
        "role": role and str(role),
        "capabilities": role and _names(role),
        **verdict.as_data(),
    }
    return Report(blocks, data)


def explanation_report(explanation: Explanation) -> Report:
    """A decision with its steps."""
    verdict, *steps = (printable(line) for line in str(explanation).split("\n"))
    lines = (Line("", verdict, Tone.GOOD if explanation.allowed else Tone.BAD), *(Line("", step) for step in steps))
    return Report((lines,), explanation.as_dict())


def plugins_report(plugins: Iterable[PluginInfo], left: Mapping[str, str]) -> Report:
    """The loaded plugins, and for each hook the plugins that it calls, in order.

    :param left: the installed plugins that are not loaded, each with its package.
    """
    # Plugins are called in the order of their names, so that the order of loading does not matter.
    loaded = sorted(plugins)
    asked = {
        hook: [plugin.name for plugin in loaded if hook in plugin.hooks]
        for hook in sorted({hook for plugin in loaded for hook in plugin.hooks})
    }
    data = {"plugins": [plugin._asdict() for plugin in loaded], "order": asked, "not_loaded": dict(left)}
    offers = (
        Line("installed, and not loaded"),
        *(Line(f"  {printable(name)}", printable(package)) for name, package in left.items()),
    )
    rest = (offers,) if left else ()
    if not loaded:
        return Report(((Line("", "no plugin is loaded"),), *rest), data)
    order = (Line("asked in this order"), *(Line(f"  {hook}", _listed(names)) for hook, names in asked.items()))
    return Report((*map(_plugin_block, loaded), order, *rest), data)


def routes_report(app: str, routes: Sequence[GuardedRoute]) -> Report:
    """The routes of an app, the requirement of each, and advice on open routes and mistakes."""
    rows = [(", ".join(route.methods), route.path, route.name, route.requires) for route in routes]
    widths = [max(map(len, column)) for column in zip(*rows, _COLUMNS, strict=True)]
    table = (
        Line(row(_COLUMNS, widths)),
        *(Line("", printable(row(cells, widths)), _tone(route)) for cells, route in zip(rows, routes, strict=True)),
    )
    findings = [(*_findings(route), route) for route in routes]
    blocks = [
        tuple(Line("", f"{_place(route)}: {printable(text)}", tone) for texts, route in group for text in texts)
        for tone, group in (
            (Tone.BAD, [(bad, route) for bad, _, route in findings]),
            (Tone.DOUBTFUL, [(notes, route) for _, notes, route in findings]),
        )
    ]
    data = {"app": app, "ok": all(route.is_good for route in routes), "routes": [_route_data(one) for one in routes]}
    return Report((table, *filter(None, blocks), (_routes_summary(routes),)), data)


def route_findings(routes: Iterable[GuardedRoute]) -> Iterator[tuple[str, str]]:
    """The problems of an app's routes, each with its place."""
    for route in routes:
        problems, _ = _findings(route)
        yield from ((_place(route), printable(problem)) for problem in problems)


def refusal(error: RolecallError) -> dict[str, Any]:
    """An error for ``--json``."""
    return Verdict(False, error.code, str(error)).as_data()


def quoted(value: object) -> str:
    """A value of a token as JSON, without control characters."""
    return printable(json.dumps(value, ensure_ascii=False, default=dict))


def printable(text: str) -> str:
    """``text`` with escapes for unprintable characters: controls, bidi marks, surrogates."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def instant(value: object, now: float) -> Instant | None:
    """The time in a claim; None if it is no time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        utc = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return None
    return Instant(value, utc, relative(value - now))


def relative(seconds: float) -> str:
    """A time relative to now: ``in 23 h 59 min``, ``3 days ago``, ``now``."""
    distance = int(abs(seconds))
    if distance == 0:
        return "now"
    text = _distance(distance)
    return f"in {text}" if seconds > 0 else f"{text} ago"


def _distance(seconds: int) -> str:
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < 2 * _DAY:
        minutes = seconds % _HOUR // _MINUTE
        return f"{seconds // _HOUR} h" + (f" {minutes} min" if minutes else "")
    if seconds < 2 * _YEAR:
        return f"{seconds // _DAY} days"
    return f"{seconds // _YEAR} years"


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _plugin_block(plugin: PluginInfo) -> tuple[Line, ...]:
    return (
        Line(printable(plugin.name)),
        Line("  from", printable(plugin.origin)),
        Line("  hooks", "\n".join(plugin.hooks)),
    )


def row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The cells of a row of a table, in columns."""
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _place(route: GuardedRoute) -> str:
    return printable(f"{', '.join(route.methods)} {route.path}")


def _tone(route: GuardedRoute) -> Tone:
    if not route.is_good:
        return Tone.BAD
    return Tone.GOOD if route.access is Access.GUARDED else Tone.PLAIN


def _findings(route: GuardedRoute) -> tuple[list[str], list[str]]:
    """The problems of a route, and its notes."""
    texts = [mistake.message for mistake in route.mistakes]
    if route.access is Access.OPEN and not texts:
        texts.append(_UNKNOWN_HINT if route.is_unknown else _OPEN_HINT)
    return texts, list(route.notes)


def _routes_summary(routes: Sequence[GuardedRoute]) -> Line:
    opened = sum(route.access is Access.OPEN for route in routes)
    mistakes = sum(len(route.mistakes) for route in routes)
    text = f"{counted(len(routes), 'route')}, {opened} open, {counted(mistakes, 'mistake')}"
    return Line("", text, Tone.BAD if opened or mistakes else Tone.GOOD)


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def _route_data(route: GuardedRoute) -> dict[str, Any]:
    return {
        "methods": list(route.methods),
        "path": route.path,
        "endpoint": route.name,
        "access": str(route.access),
        "requires": route.requires,
        "guards": [asdict(demand) for demand in route.demands],
        "mistakes": [asdict(mistake) for mistake in route.mistakes],
        "notes": list(route.notes),
    }


def _listed(names: Iterable[str]) -> str:
    return printable(", ".join(names))


def _time_text(value: object, now: float) -> str:
    time = instant(value, now)
    return str(time) if time else quoted(value)


def _claim_line(name: str, value: object, now: float) -> Line:
    text = _time_text(value, now) if name in _TIMES else quoted(value)
    return Line("  " + printable(name), text)


def _notes(claims: Mapping[str, Any], now: float) -> tuple[Line, ...]:
    """Notes on claims: two SDKs mint tokens without an expiry."""
    issued = instant(claims.get("iat"), now)
    if "exp" in claims or issued is None:
        return ()
    expiry = instant(issued.seconds + DEFAULT_LIFETIME, now)
    return (Line("  exp", f"none, so 24 hours after iat: {expiry}" if expiry else "none"),)


def _role_lines(role: Role) -> tuple[Line | Grid, ...]:
    cells = tuple((str(capability), capability in role.capabilities) for capability in Capability)
    return Line("role", str(role)), Grid("may", cells)


def _unknown_role(name: object) -> Line:
    text = "the token names none" if name is None else f"{quoted(name)}, which is not a standard role"
    return Line("role", text, Tone.DOUBTFUL)


def _verdict_line(verdict: Verdict) -> Line:
    if verdict.accepted:
        tone = Tone.DOUBTFUL if verdict.detail else Tone.GOOD
        return Line("accepted", ", ".join(filter(None, ("yes", verdict.detail))), tone)
    detail = printable(f"{verdict.detail} ({verdict.code})")
    hint = "\n" + verdict.hint if verdict.hint else ""
    if verdict.accepted is None:
        return Line("accepted", f"unknown: the signature was not checked\n{detail}{hint}", Tone.DOUBTFUL)
    return Line("accepted", f"no: {detail}{hint}", Tone.BAD)


def _names(role: Role) -> list[str]:
    return [str(capability) for capability in Capability if capability in role.capabilities]
