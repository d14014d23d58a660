"""Ready-made policies, to be passed to a kit as plugins. Each is imported at its first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .allow_anyone import AllowAnyone
    from .allow_renewal import AllowRenewal
    from .max_live_tokens import MaxLiveTokens
    from .opening_hours import OpeningHours
    from .owned_sessions import OwnedSessions
    from .rate_limit import RateLimit
    from .role_map import RoleMap
    from .toml_policy import TomlPolicy

__all__ = [
    "AllowAnyone",
    "AllowRenewal",
    "MaxLiveTokens",
    "OpeningHours",
    "OwnedSessions",
    "RateLimit",
    "RoleMap",
    "TomlPolicy",
]

_MODULES: Final = {
    "AllowAnyone": "allow_anyone",
    "AllowRenewal": "allow_renewal",
    "MaxLiveTokens": "max_live_tokens",
    "OpeningHours": "opening_hours",
    "OwnedSessions": "owned_sessions",
    "RateLimit": "rate_limit",
    "RoleMap": "role_map",
    "TomlPolicy": "toml_policy",
}


def __getattr__(name: str) -> object:
    # So that only users of SQLite, time zones or TOML import them.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
