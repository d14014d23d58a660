"""Sessions: their properties, and their records in a store."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from .encoding import strict_json
from .errors import InvalidSessionOption
from .wording import shown

#: The names of the modes, for arguments.
MediaModeName: TypeAlias = Literal["relayed", "routed"]
ArchiveModeName: TypeAlias = Literal["manual", "always"]


class MediaMode(StrEnum):
    """Whether streams go directly between the participants, or through a media server."""

    RELAYED = "relayed"
    ROUTED = "routed"


#: The media modes in OpenTok's protocol.
P2P_PREFERENCES: Final = {MediaMode.RELAYED: "enabled", MediaMode.ROUTED: "disabled"}


class ArchiveMode(StrEnum):
    """Whether the session is recorded from its start."""

    MANUAL = "manual"
    ALWAYS = "always"


#: The sizes in which a session's archives may be recorded, in pixels.
ARCHIVE_RESOLUTIONS: Final = ("640x480", "480x640", "1280x720", "720x1280", "1920x1080", "1080x1920")
MAX_ARCHIVE_NAME: Final = 80
# Made once: json.dumps makes one for each call, which takes longer than the encoding.
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class SessionProperties:
    """The properties that a session is created with.

    :param location: an IP address near the participants, as a hint, or None.
    :param media_mode: relayed or routed.
    :param archive_mode: manual or always.
    :param e2ee: whether its media is encrypted from end to end.
    :param archive_name: the name of its archives, 1 to 80 characters, or None.
    :param archive_resolution: the resolution of its archives, such as ``"1280x720"``, or None.
    :param media: the name of the media service that carries it, or None.
    """

    location: str | None = None
    media_mode: MediaMode = MediaMode.RELAYED
    archive_mode: ArchiveMode = ArchiveMode.MANUAL
    e2ee: bool = False
    archive_name: str | None = None
    archive_resolution: str | None = None
    media: str | None = None

    def checked(self) -> SessionProperties:
        """Validate these properties, each alone and all together, and return them normalised.

        :raises InvalidSessionOption: says which property is wrong, and what is expected.
        """
        media = _choice(MediaMode, "media_mode", self.media_mode)
        archive = _choice(ArchiveMode, "archive_mode", self.archive_mode)
        if not isinstance(self.e2ee, bool):
            raise InvalidSessionOption(f"e2ee is {shown(self.e2ee)}; expected true or false")
        # The service itself has these rules (the SDKs' documentation of e2ee and of archives).
        if archive is ArchiveMode.ALWAYS and media is not MediaMode.ROUTED:
            raise InvalidSessionOption(
                "archive_mode 'always' needs media_mode 'routed': relayed media passes no server that could record it"
            )
        if self.e2ee and media is not MediaMode.ROUTED:
            raise InvalidSessionOption("e2ee needs media_mode 'routed'")
        if self.e2ee and archive is ArchiveMode.ALWAYS:
            raise InvalidSessionOption("e2ee does not go with archive_mode 'always'")
        location = _location(self.location)
        if self.media is not None and not isinstance(self.media, str):
            raise InvalidSessionOption(f"media is {shown(self.media)}; expected the name of a media service")
        self.check_archives()
        return replace(self, location=location, media_mode=media, archive_mode=archive)

    def check_archives(self, called: tuple[str, str] = ("archive_name", "archive_resolution")) -> None:
        """Refuse an impossible name or resolution of archives.

        :param called: the caller's own names for the two properties, for messages.
        :raises InvalidSessionOption: says which of the two is wrong, and what is expected.
        """
        name, resolution = self.archive_name, self.archive_resolution
        for option, value in zip(called, (name, resolution), strict=True):
            if value is not None and self.archive_mode != ArchiveMode.ALWAYS:
                raise InvalidSessionOption(f"{option} is for sessions that are archived from their start (always)")
        if name is not None and not (_is_text(name) and 1 <= len(name) <= MAX_ARCHIVE_NAME):
            raise InvalidSessionOption(f"{called[0]} is {shown(name)}; expected 1 to {MAX_ARCHIVE_NAME} characters")
        if resolution is not None and resolution not in ARCHIVE_RESOLUTIONS:
            raise InvalidSessionOption(
                f"{called[1]} is {shown(resolution)}; expected one of {', '.join(ARCHIVE_RESOLUTIONS)}"
            )

    def at_media(self, name: str) -> SessionProperties:
        """The same properties, at the media service of this name."""
        return replace(self, media=name)

    def as_dict(self) -> dict[str, Any]:
        """The properties by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def as_json(self) -> str:
        """The properties as one JSON object, for a store."""
        return _ENCODE(self.as_dict())

    @classmethod
    def from_json(cls, text: object) -> SessionProperties:
        """Read the properties that :meth:`as_json` wrote, in this version or another.

        A property that an earlier version lacked has its default; a property of a later version is ignored.

        :raises ValueError: for anything else.
        """
        if not isinstance(text, str):
            raise ValueError("not text")
        return _from_json(text)

    def as_form(self) -> dict[str, str]:
        """The properties as the fields of the OpenTok service's ``POST /session/create``."""
        form = {
            "p2p.preference": P2P_PREFERENCES[self.media_mode],
            "archiveMode": str(self.archive_mode),
            "e2ee": "true" if self.e2ee else "false",
            "location": self.location,
            "archiveName": self.archive_name,
            "archiveResolution": self.archive_resolution,
        }
        return {name: value for name, value in form.items() if value is not None}


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session in a store. The properties of the SDKs' sessions are also attributes of the record.

    :param session_id: its id, at most 255 characters.
    :param properties: the properties that it was created with.
    :param created_at: the time of its creation, in Unix seconds.
    :param ended_at: the time of its end, in Unix seconds; None while it is open.
    :param created_by: the id of the actor that created it; None if nobody was identified. It may be personal, so it is
        shown to policies and servers alone.
    """

    session_id: str
    properties: SessionProperties
    created_at: float
    ended_at: float | None = None
    created_by: str | None = None

    @property
    def location(self) -> str | None:
        """An IP address near the participants, as a hint, or None."""
        return self.properties.location

    @property
    def media_mode(self) -> MediaMode:
        """Relayed or routed."""
        return self.properties.media_mode

    @property
    def archive_mode(self) -> ArchiveMode:
        """Manual or always."""
        return self.properties.archive_mode

    @property
    def e2ee(self) -> bool:
        """Whether its media is encrypted from end to end."""
        return self.properties.e2ee

    @property
    def media(self) -> str | None:
        """The name of the media service that carries it; None if it was created without one."""
        return self.properties.media

    def as_dict(self) -> dict[str, Any]:
        """The session as a dict for JSON, for clients."""
        return {
            "session_id": self.session_id,
            "location": self.location,
            "media_mode": self.media_mode,
            "archive_mode": self.archive_mode,
            "e2ee": self.e2ee,
            "media": self.media,
            "created_at": self.created_at,
            "ended_at": self.ended_at,
        }


@overload
def session_id_of(session: str | SessionRecord) -> str: ...


@overload
def session_id_of(session: str | SessionRecord | None) -> str | None: ...


def session_id_of(session: str | SessionRecord | None) -> str | None:
    """The id of a session, which is given as a record or as its id; None for None."""
    return session.session_id if isinstance(session, SessionRecord) else session


def record_fields(record: SessionRecord) -> dict[str, Any]:
    """The fields of a record by name, without the kit of a subclass."""
    return {item.name: getattr(record, item.name) for item in fields(SessionRecord)}


@lru_cache(maxsize=256)
def _from_json(text: str) -> SessionProperties:
    # Cached, because most sessions of an app have the same properties.
    stored = strict_json.loads(text.encode())
    known = {item.name: stored[item.name] for item in fields(SessionProperties) if item.name in stored}
    try:
        return SessionProperties(**known).checked()
    except InvalidSessionOption as error:
        raise ValueError("properties that this version does not know") from error


_Choice = TypeVar("_Choice", bound=StrEnum)


def _choice(kind: type[_Choice], name: str, value: object) -> _Choice:
    try:
        return kind(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidSessionOption(f"{name} is {shown(value)}; expected one of {', '.join(kind)}") from None


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(value.encode())
    except UnicodeEncodeError:  # a lone surrogate, which JSON cannot carry
        return False


def _location(value: object) -> str | None:
    if value is None:
        return None
    from ipaddress import ip_address  # seldom needed, and not free to import

    try:
        # A zone ("fe80::1%eth0") is local to one machine, and can hold any text.
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return str(ip_address(value))
    except ValueError:
        raise InvalidSessionOption(
            f"location is {shown(value)}; expected an IP address, for example '203.0.113.7'"
        ) from None
