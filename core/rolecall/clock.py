"""The default clock of a kit."""

from __future__ import annotations

import time


def system_clock() -> float:
    """Now, in Unix seconds. ``time.time`` is looked up at each call, because freezegun replaces it."""
    return time.time()
