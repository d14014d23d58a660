"""Sessions, and session ids in the form that all OpenTok SDKs read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, TypeVar, overload

from .errors import InvalidSessionOption
from .wording import shown


class MediaMode(StrEnum):
    """Whether streams go straight between the participants, or through a media server."""

    RELAYED = "relayed"
    ROUTED = "routed"


#: What a media mode is called on the OpenTok wire.
P2P_PREFERENCES: Final = {MediaMode.RELAYED: "enabled", MediaMode.ROUTED: "disabled"}


class ArchiveMode(StrEnum):
    """Whether the session is recorded from its start."""

    MANUAL = "manual"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The properties of a session, as stores keep them.

    :param session_id: its id, at most 255 characters.
    :param location: the IP address that hints where its participants are, or None.
    :param media_mode: relayed or routed.
    :param archive_mode: manual or always.
    :param e2ee: whether its media is encrypted from end to end.
    :param created_at: when it was created, in Unix seconds.
    :param ended_at: when it was ended, in Unix seconds; None while it is open.
    """

    session_id: str
    location: str | None
    media_mode: MediaMode
    archive_mode: ArchiveMode
    e2ee: bool
    created_at: float
    ended_at: float | None = None


@overload
def session_id_of(session: str | SessionRecord) -> str: ...


@overload
def session_id_of(session: str | SessionRecord | None) -> str | None: ...


def session_id_of(session: str | SessionRecord | None) -> str | None:
    """The id of a session that is given by itself, or by its id; None where none is given."""
    return session.session_id if isinstance(session, SessionRecord) else session


def record_fields(record: SessionRecord) -> dict[str, Any]:
    """The properties of a record by name, without the kit of a subclass."""
    return {item.name: getattr(record, item.name) for item in fields(SessionRecord)}


def check_properties(
    location: object, media_mode: object, archive_mode: object, e2ee: object
) -> tuple[str | None, MediaMode, ArchiveMode, bool]:
    """The properties of a session to be created, validated each and together.

    :raises InvalidSessionOption: says which property, and what was expected.
    """
    media = _choice(MediaMode, "media_mode", media_mode)
    archive = _choice(ArchiveMode, "archive_mode", archive_mode)
    if not isinstance(e2ee, bool):
        raise InvalidSessionOption(f"e2ee is {shown(e2ee)}; expected true or false")
    # What follows is what the service itself answers (the SDKs' documentation of e2ee and of archives).
    if archive is ArchiveMode.ALWAYS and media is not MediaMode.ROUTED:
        raise InvalidSessionOption(
            "archive_mode 'always' needs media_mode 'routed': relayed media passes no server that could record it"
        )
    if e2ee and media is not MediaMode.ROUTED:
        raise InvalidSessionOption("e2ee needs media_mode 'routed'")
    if e2ee and archive is ArchiveMode.ALWAYS:
        raise InvalidSessionOption("e2ee does not go with archive_mode 'always'")
    return _location(location), media, archive, e2ee


#: The sizes in which a session's archives may be recorded, in pixels.
ARCHIVE_RESOLUTIONS: Final = ("640x480", "480x640", "1280x720", "720x1280", "1920x1080", "1080x1920")
MAX_ARCHIVE_NAME: Final = 80


def check_archives(
    mode: ArchiveMode,
    name: object,
    resolution: object,
    called: tuple[str, str] = ("archive_name", "archive_resolution"),
) -> tuple[str | None, str | None]:
    """What the archives of a session are to be called, and in which size recorded, validated.

    :param called: what whoever asks calls the two.
    :raises InvalidSessionOption: says which of the two, and what was expected.
    """
    for option, value in zip(called, (name, resolution), strict=True):
        if value is not None and mode is not ArchiveMode.ALWAYS:
            raise InvalidSessionOption(f"{option} is for sessions that are archived from their start (always)")
    if name is not None and not (isinstance(name, str) and 1 <= len(name) <= MAX_ARCHIVE_NAME):
        raise InvalidSessionOption(f"{called[0]} is {shown(name)}; expected 1 to {MAX_ARCHIVE_NAME} characters")
    if resolution is not None and resolution not in ARCHIVE_RESOLUTIONS:
        raise InvalidSessionOption(
            f"{called[1]} is {shown(resolution)}; expected one of {', '.join(ARCHIVE_RESOLUTIONS)}"
        )
    return name, resolution


_Choice = TypeVar("_Choice", bound=StrEnum)


def _choice(kind: type[_Choice], name: str, value: object) -> _Choice:
    try:
        return kind(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidSessionOption(f"{name} is {shown(value)}; expected one of {', '.join(kind)}") from None


def _location(value: object) -> str | None:
    if value is None:
        return None
    from ipaddress import ip_address  # seldom needed, and not free to import

    try:
        # A zone ("fe80::1%eth0") means nothing outside its own machine, and can hold any text.
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return str(ip_address(value))
    except ValueError:
        raise InvalidSessionOption(
            f"location is {shown(value)}; expected an IP address, for example '203.0.113.7'"
        ) from None
