"""The settings of media services in environment variables: ``ROLECALL_LIVEKIT_URL``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from ..wording import nearest

_PREFIX: Final = "ROLECALL_"
_TURN: Final = "turn_"


def split_name(variable: str, media: Collection[str]) -> tuple[str, str] | None:
    """The media service and the setting in the name of a variable; None if it is no such variable.

    :param media: the names of media services that may be configured.
    """
    rest = variable.removeprefix(_PREFIX).lower()
    # The longest name first: one may begin with another.
    for name in sorted(media, key=len, reverse=True):
        if variable.startswith(_PREFIX) and rest.startswith(f"{name}_") and len(rest) > len(name) + 1:
            return name, rest[len(name) + 1 :]
    return None


def nearest_setting(name: str, media: Iterable[str]) -> str | None:
    """``name`` with the media service that it may have misspelt; None if there is none."""
    service, _, setting = name.partition("_")
    close = nearest(service, media, least=0.8) if setting else None
    return f"{close}_{setting}".upper() if close else None


def collected(settings: Mapping[tuple[str, str], object]) -> dict[str, dict[str, Any]]:
    """The settings by media service; those of TURN in a mapping of their own."""
    configs: dict[str, dict[str, Any]] = {}
    for (name, setting), value in settings.items():
        config = configs.setdefault(name, {})
        if setting.startswith(_TURN):
            config.setdefault("turn", {})[setting.removeprefix(_TURN)] = value
        else:
            config[setting] = value
    return configs
