"""The SDK's result of muting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """The result of muting: truthy, with the reliable attributes of the response that the SDK returns."""

    status_code: int = 200
    ok: bool = True
