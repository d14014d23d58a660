"""The results of the commands for keys: each as lines for people, and as one object for ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from ..keys.rotation import Step, retires_from
from ..keys.states import RingKey
from .reports import Line, Report, Tone, printable

_TONES: Final = {"signing": Tone.GOOD, "retired": Tone.BAD}


def keys_report(rings: Mapping[str, Sequence[RingKey]], longest_life: float, now: float) -> Report:
    """The keys of each issuer."""
    blocks = [
        (Line(printable(issuer)), *(_line(entry, longest_life, now) for entry in entries))
        for issuer, entries in rings.items()
    ]
    data = [_data(issuer, entry, longest_life) for issuer, entries in rings.items() for entry in entries]
    return Report(tuple(blocks) or ((Line("", "no keys"),),), {"keys": data})


def seals_report(sealed_by: Mapping[str, int], given: Sequence[str]) -> Report:
    """The wrapping keys: how many keys each has sealed.

    :param given: the ids of those that are given, the one that seals first.
    """
    ids = [*given, *sorted(sealed_by.keys() - {*given})]
    data = [{"id": one, "seals": sealed_by.get(one, 0), "is_given": one in given} for one in ids]
    return Report((tuple(map(_sealing, data)),), {"wrapping_keys": data})


def joined(one: Report, other: Report) -> Report:
    """Two reports as one."""
    return Report((*one.blocks, *other.blocks), {**one.data, **other.data})


def rewrapped_report(number: int, problems: Sequence[str]) -> Report:
    """How many keys were sealed anew, and which could not be."""
    lines = (Line("sealed anew", _counted(number)), *(Line("left", one, Tone.BAD) for one in problems))
    return Report((lines,), {"sealed_anew": number, "problems": list(problems)})


def _sealing(wrapping_key: Mapping[str, Any]) -> Line:
    text = f"{wrapping_key['id']}  seals {_counted(wrapping_key['seals'])}"
    if wrapping_key["is_given"]:
        return Line("wrapping key", text)
    return Line("wrapping key", f"{text}, and is not given", Tone.BAD)


def _counted(number: int) -> str:
    return f"{number} key" if number == 1 else f"{number} keys"


def changed_report(issuer: str, entry: RingKey, longest_life: float, now: float) -> Report:
    """A key after its change of state."""
    return Report(((_line(entry, longest_life, now),),), _data(issuer, entry, longest_life))


def schedule_report(steps: Mapping[str, Sequence[Step]], now: float) -> Report:
    """The steps of the next rotation of each issuer."""
    blocks = [
        (Line(printable(issuer)), *(Line(_when(step, now), _command(issuer, step)) for step in found))
        for issuer, found in steps.items()
    ]
    data = [{"issuer": issuer, **step._asdict()} for issuer, found in steps.items() for step in found]
    return Report(tuple(blocks) or ((Line("", "no keys"),),), {"steps": data})


def _when(step: Step, now: float) -> str:
    if step.from_then is None:
        return "by force"
    return "now" if step.from_then <= now else f"from {_day(step.from_then)}"


def _command(issuer: str, step: Step) -> str:
    key = "" if step.id is None else f" {step.id}"
    return f"rolecall keys {step.what}{key} --issuer {printable(issuer)}"


def _line(entry: RingKey, longest_life: float, now: float) -> Line:
    text = f"{entry.id}  {entry.algorithm}"
    if entry.since is not None:
        text += f"  since {_day(entry.since)}"
    if entry.state == "verifying":
        from_then = retires_from(entry, longest_life)
        text += "  can be retired"
        if from_then is None:
            text += " by force"
        elif from_then > now:
            text += f" from {_day(from_then)}"
    return Line(entry.state, text, _TONES.get(entry.state, Tone.PLAIN))


def _data(issuer: str, entry: RingKey, longest_life: float) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "id": entry.id,
        "state": entry.state,
        "algorithm": entry.algorithm,
        "since": entry.since,
        "retires_from": retires_from(entry, longest_life),
    }


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
