"""What the SDK says of muting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """What muting returns: it is true, and has what can be relied on of the response that the SDK returns."""

    status_code: int = 200
    ok: bool = True
