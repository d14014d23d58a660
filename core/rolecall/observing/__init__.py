"""Ready-made plugins that observe a kit. Each is imported at its first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .audit import AuditFile, AuditLog, StrictAuditFile

__all__ = [
    "AuditFile",
    "AuditLog",
    "StrictAuditFile",
]

_MODULES: Final = {
    "AuditFile": "audit",
    "AuditLog": "audit",
    "StrictAuditFile": "audit",
}


def __getattr__(name: str) -> object:
    # So that only users of Prometheus or OpenTelemetry import them.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
