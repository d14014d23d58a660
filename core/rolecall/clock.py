"""The default clock of a kit, how long something may take, and durations as text."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Final

from .wording import shown

_LONGEST_TIMEOUT: Final = 300
_DURATION: Final = re.compile(r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s?)?")


def system_clock() -> float:
    """Now, in Unix seconds. ``time.time`` is looked up at each call, because freezegun replaces it."""
    return time.time()


def problem_with_timeout(seconds: object, setting: str = "timeout") -> str | None:
    """The problem with a time-out in seconds; None if there is none.

    :param setting: the name of the setting that has it.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST_TIMEOUT:
        return f"{setting} is {shown(seconds)}; expected seconds, above 0 and up to {_LONGEST_TIMEOUT}"
    return None


def read_duration(text: str) -> timedelta | None:
    """The duration that ``text`` is: ``2h``, ``7d``, ``1h30m``, or a number of seconds; None if it is none."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        return None
    days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def read_duration_with_unit(text: str) -> timedelta | None:
    """The duration that ``text`` is, if it has a unit: ``90d``, ``90s``; None otherwise.

    Where something is removed for good by its age, 90 may be meant as days.
    """
    return None if text[-1:].isdigit() else read_duration(text)
