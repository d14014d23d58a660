"""Names for the values that a test is given, the same in each process that runs it."""

from __future__ import annotations

import re


def as_text(value: object) -> str:
    """What ``repr`` says, without the address in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
