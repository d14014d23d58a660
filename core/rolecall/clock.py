"""The default clock of a kit, and how long something may take."""

from __future__ import annotations

import time
from typing import Final

from .wording import shown

_LONGEST_TIMEOUT: Final = 300


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
