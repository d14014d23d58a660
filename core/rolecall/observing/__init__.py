"""Ready-made plugins that observe a kit. Each is imported at its first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .audit import AuditFile, AuditLog, StrictAuditFile
    from .otel import OpenTelemetry
    from .prometheus import PrometheusDurations, PrometheusMetrics

__all__ = [
    "AuditFile",
    "AuditLog",
    "OpenTelemetry",
    "PrometheusDurations",
    "PrometheusMetrics",
    "StrictAuditFile",
]

_MODULES: Final = {
    "AuditFile": "audit",
    "AuditLog": "audit",
    "OpenTelemetry": "otel",
    "PrometheusDurations": "prometheus",
    "PrometheusMetrics": "prometheus",
    "StrictAuditFile": "audit",
}


# Modules that need the extra of their name.
_EXTRAS: Final = ("otel", "prometheus")


def __getattr__(name: str) -> object:
    # So that only users of Prometheus or OpenTelemetry import them.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES[name]
    try:
        return getattr(import_module(f".{module}", __name__), name)
    except ModuleNotFoundError as error:
        if module not in _EXTRAS:
            raise
        raise ConfigurationError(f"{name} needs the package {error.name}: pip install 'rolecall[{module}]'") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
