"""Outcomes of operations as labels: few, whatever policies and strangers do."""

from __future__ import annotations

from typing import Final

from ..errors import RolecallError

#: The most codes that are told apart: the kit's own, and those of the app's policies.
MOST: Final = 100
#: What stands for all others, as in OpenTelemetry's conventions.
OTHER: Final = "_OTHER"


class Codes:
    """The codes of refusals that have come so far, up to :data:`MOST`."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def label(self, code: str | None) -> str:
        """The code, or :data:`OTHER` for one too many; empty for None."""
        if code is None or code in self._known:
            return code or ""
        if len(self._known) >= MOST:
            return OTHER
        self._known.add(code)
        return code


def code_of(error: BaseException | None) -> str | None:
    """The code of a refusal; None for any other outcome."""
    return error.code if isinstance(error, RolecallError) else None


def fault_of(error: BaseException | None) -> str | None:
    """What names a fault of the service: the code, or the exception's type; None if there is none.

    That a client is refused is no fault.
    """
    if isinstance(error, RolecallError):
        return error.code if error.status >= 500 else None
    return None if error is None else f"{type(error).__module__}.{type(error).__qualname__}"
