"""Values that a signature does not take, for tests of what an app is told that passes one."""

from __future__ import annotations

from typing import Any


def untyped(value: object) -> Any:
    """Return the value as it is; type checkers let it pass for a value of any type."""
    return value
