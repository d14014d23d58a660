"""Moderation: what can be done in a session while it goes on, and the service that carries it out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from .errors import InvalidRequest, InvalidSessionId, shown
from .roles import Capability
from .strict_json import MAX_MEMBERS

#: The limits of a signal that OpenTok names, in bytes of UTF-8.
MAX_SIGNAL_TYPE: Final = 128
MAX_SIGNAL_DATA: Final = 8192
#: The most streams that are left out when all others are muted: as many as a strict JSON array holds.
MAX_EXCLUDED: Final = MAX_MEMBERS

# Nothing that would mean something in a path: sessions, connections and streams are named by base64url or UUIDs.
_ID: Final = re.compile(r"(?!\.+\Z)[0-9A-Za-z_.~=+-]{1,255}")


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the connections of a session.

    :param type: what it is about, at most 128 bytes of UTF-8.
    :param data: its content, at most 8,192 bytes of UTF-8.
    :param connection_id: the one connection that gets it; None for all.
    :raises InvalidRequest: for an argument that is wrong.
    """

    #: The act's name, and that of the method of a :class:`MediaService`.
    name: ClassVar[str] = "signal"
    #: What a token must allow.
    capability: ClassVar[Capability] = Capability.SIGNAL

    session_id: str
    type: str = ""
    data: str = field(default="", repr=False)
    connection_id: str | None = None

    def __post_init__(self) -> None:
        check_id("session_id", self.session_id)
        _check_text("type", self.type, MAX_SIGNAL_TYPE)
        _check_text("data", self.data, MAX_SIGNAL_DATA)
        if self.connection_id is not None:
            check_id("connection_id", self.connection_id)

    @property
    def target(self) -> str | None:
        """The connection that it is for, if it is for one."""
        return self.connection_id

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the service's method is called with."""
        return (self.session_id, self.type, self.data, self.connection_id)


@dataclass(frozen=True, slots=True)
class ForceDisconnect:
    """End a connection to a session.

    :raises InvalidRequest: for an argument that is wrong.
    """

    name: ClassVar[str] = "force_disconnect"
    capability: ClassVar[Capability] = Capability.FORCE_DISCONNECT

    session_id: str
    connection_id: str

    def __post_init__(self) -> None:
        check_id("session_id", self.session_id)
        check_id("connection_id", self.connection_id)

    @property
    def target(self) -> str:
        """The connection."""
        return self.connection_id

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the service's method is called with."""
        return (self.session_id, self.connection_id)


@dataclass(frozen=True, slots=True)
class MuteStream:
    """Mute the audio of a stream.

    :raises InvalidRequest: for an argument that is wrong.
    """

    name: ClassVar[str] = "mute_stream"
    capability: ClassVar[Capability] = Capability.FORCE_UNPUBLISH

    session_id: str
    stream_id: str

    def __post_init__(self) -> None:
        check_id("session_id", self.session_id)
        check_id("stream_id", self.stream_id)

    @property
    def target(self) -> str:
        """The stream."""
        return self.stream_id

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the service's method is called with."""
        return (self.session_id, self.stream_id)


@dataclass(frozen=True, slots=True)
class MuteAll:
    """Mute the audio of all streams of a session, those to come included; or stop doing so.

    :param active: False to stop: streams to come are not muted.
    :param excluded_stream_ids: streams that are not muted.
    :raises InvalidRequest: for an argument that is wrong.
    """

    name: ClassVar[str] = "mute_all"
    capability: ClassVar[Capability] = Capability.FORCE_UNPUBLISH
    target: ClassVar[None] = None

    session_id: str
    active: bool = True
    excluded_stream_ids: Iterable[str] = ()

    def __post_init__(self) -> None:
        check_id("session_id", self.session_id)
        if not isinstance(self.active, bool):
            raise InvalidRequest(f"active is {shown(self.active)}; expected true or false")
        object.__setattr__(self, "excluded_stream_ids", _checked_streams(self.excluded_stream_ids))
        if self.excluded_stream_ids and not self.active:
            raise InvalidRequest("excluded_stream_ids goes with active=True: when muting stops, it stops for all")

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the service's method is called with."""
        return (self.session_id, self.active, self.excluded_stream_ids)


@dataclass(frozen=True, slots=True)
class ListStreams:
    """Say which streams a session has. It changes nothing; who may mute streams may see which there are.

    :raises InvalidRequest: for an argument that is wrong.
    """

    name: ClassVar[str] = "list_streams"
    capability: ClassVar[Capability] = Capability.FORCE_UNPUBLISH
    target: ClassVar[None] = None

    session_id: str

    def __post_init__(self) -> None:
        check_id("session_id", self.session_id)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the service's method is called with."""
        return (self.session_id,)


Act = Signal | ForceDisconnect | MuteStream | MuteAll | ListStreams
#: The streams of a session, each as the service describes it: JSON objects with an ``id``.
Streams = list[dict[str, Any]]


class MediaService(Protocol):
    """What carries the media of sessions, and so can act in them.

    Each method is ``def`` or ``async def``; one that waits without ``await`` is marked with
    :func:`~rolecall.blocking`. It returns once the act is carried out, and raises an error of the kit where
    that is for the caller to read: :class:`~rolecall.errors.NotFoundAtService` for a connection or a stream that is
    not there, :class:`~rolecall.errors.Unavailable` if it is out of order. What it has been given is validated.
    """

    def signal(self, session_id: str, type: str, data: str, connection_id: str | None = None) -> Awaitable[None] | None:
        """Send a signal to one connection, or to all."""

    def force_disconnect(self, session_id: str, connection_id: str) -> Awaitable[None] | None:
        """End a connection."""

    def mute_stream(self, session_id: str, stream_id: str) -> Awaitable[None] | None:
        """Mute the audio of a stream."""

    def mute_all(
        self, session_id: str, active: bool = True, excluded_stream_ids: Iterable[str] = ()
    ) -> Awaitable[None] | None:
        """Mute all streams but those excluded, and those to come; with ``active=False`` stop doing so."""

    def list_streams(self, session_id: str) -> Awaitable[Streams] | Streams:
        """The streams of a session; an empty list if there are none."""


def check_id(name: str, value: object) -> None:
    """Refuse what cannot be the id of a session, a connection or a stream.

    :param name: of the argument.
    :raises InvalidSessionId: if ``name`` is ``"session_id"``.
    :raises InvalidRequest: otherwise.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        error = InvalidSessionId if name == "session_id" else InvalidRequest
        raise error(f"{name} is {shown(value)}; expected 1 to 255 letters, digits and '-', '_', '.', '~', '=', '+'")


def _checked_streams(value: object) -> tuple[str, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidRequest(f"excluded_stream_ids is {shown(value)}; expected a list of stream ids")
    streams = tuple(value)
    if len(streams) > MAX_EXCLUDED:
        raise InvalidRequest(f"excluded_stream_ids has {len(streams)} stream ids; at most {MAX_EXCLUDED} are taken")
    for stream in streams:
        check_id("excluded_stream_ids", stream)
    return streams


def _check_text(name: str, value: object, limit: int) -> None:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} of the signal is {shown(value)}; expected a string")
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(f"{name} of the signal holds a lone surrogate; it has no bytes in UTF-8") from None
    if length > limit:
        raise InvalidRequest(f"{name} of the signal has {length} bytes; at most {limit} are carried")
