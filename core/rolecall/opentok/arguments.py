"""Converts and checks arguments as the SDK does, before the kit checks them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, SupportsInt

from ..errors import InvalidRequest
from ..sessions import ARCHIVE_RESOLUTIONS, MAX_ARCHIVE_NAME
from ..wording import shown
from .constants import ArchiveModes, MediaModes
from .exceptions import OpenTokException
from .messages import plain

_DIGITS: Final = re.compile("[+-]?[0-9]{1,30}")
_SIGNAL: Final = ("type", "data")


def expiry_of(value: object) -> Any:
    """``value`` as a moment, as the SDK reads it, for the kit; unchanged if it is none."""
    if isinstance(value, str):
        return int(value) if _DIGITS.fullmatch(value.strip()) else value
    if value is None or isinstance(value, int | float | datetime | timedelta) or not isinstance(value, SupportsInt):
        return value
    try:
        return int(value)
    except (ValueError, TypeError, ArithmeticError):
        return value


def layout_of(value: object) -> Any:
    """The layout classes in ``value``; unchanged if it is no collection."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return tuple(value)
    return value


def check_modes(media_mode: object, archive_mode: object) -> None:
    """Refuse values that are not members of the SDK's enums, and an archive of relayed media.

    :raises OpenTokException: says which argument is wrong.
    """
    for kind, mode, what in ((MediaModes, media_mode, "media mode"), (ArchiveModes, archive_mode, "archive mode")):
        if not isinstance(mode, kind):
            raise OpenTokException(
                f"Cannot create session, {plain(mode)} is not a valid {what}; expected {' or '.join(map(str, kind))}"
            )
    if archive_mode is ArchiveModes.always and media_mode is not MediaModes.routed:
        raise OpenTokException(
            "A session with always archive mode must also have the routed media mode. "
            "Relayed media passes no server that could record it: pass media_mode=MediaModes.routed"
        )


def check_archive(mode: ArchiveModes, name: object, resolution: object) -> None:
    """Refuse an impossible name or resolution of an archive.

    :raises OpenTokException: says which argument is wrong.
    """
    for argument, value in (("archive_name", name), ("archive_resolution", resolution)):
        if value is not None and mode is ArchiveModes.manual:
            raise OpenTokException(
                f"You cannot specify a value for {argument} with archive mode: manual. "
                "Leave it out, or pass archive_mode=ArchiveModes.always"
            )
    if name is not None and not (isinstance(name, str) and 1 <= len(name) <= MAX_ARCHIVE_NAME):
        raise OpenTokException(
            f"archive_name must be between 1 and {MAX_ARCHIVE_NAME} characters in length. It is {shown(name)}"
        )
    if resolution is not None and resolution not in ARCHIVE_RESOLUTIONS:
        raise OpenTokException(
            f"archive_resolution must be one of the allowed values: {', '.join(ARCHIVE_RESOLUTIONS)}. "
            f"It is {shown(resolution)}"
        )


def signal_of(payload: object) -> tuple[Any, Any]:
    """The type and data of a signal, each empty if left out.

    :raises InvalidRequest: if it has other members.
    """
    if not isinstance(payload, Mapping):
        raise InvalidRequest(f'payload is {shown(payload)}; expected {{"type": "…", "data": "…"}}')
    for name in payload:
        if name not in _SIGNAL:
            raise InvalidRequest(f"payload has {shown(name)}; a signal carries its type and its data alone")
    return payload.get("type", ""), payload.get("data", "")
