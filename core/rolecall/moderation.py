"""Moderation: acts in a running session, and the media service that carries them out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

from .actors import checked_actor
from .errors import InvalidRequest, InvalidSessionId, NotFoundAtService, SignalTooLarge
from .revocations import Exclusion, Reset
from .roles import Capability, Role
from .session_ids import ID_EXPECTED, is_plain_id
from .tokens import END_OF_TIME
from .wording import shown

#: OpenTok's limits of a signal, in bytes of UTF-8.
MAX_SIGNAL_TYPE: Final = 128
MAX_SIGNAL_DATA: Final = 8192
#: The most streams that can be excluded when all others are muted.
MAX_EXCLUDED: Final = 1000

#: The streams of a session, in the service's own form: JSON objects with a text ``id``.
Streams = list[dict[str, Any]]
#: The connections of a session, in the service's own form: JSON objects with a text ``connectionId``.
Connections = list[dict[str, Any]]

Result = TypeVar("Result")
_Self = TypeVar("_Self", bound="Act[Any]")


class Act(Generic[Result]):
    """An act in a running session."""

    __slots__ = ()

    #: The name of the act, and of the method of a :class:`MediaService` that carries it out.
    name: ClassVar[str]
    #: The capability that the token needs.
    capability: ClassVar[Capability]
    #: Whether it changes something, so that an event reports it.
    changes: ClassVar[bool] = True
    #: Whether the kit carries it out itself, in its store, and no media service is needed.
    takes_back: ClassVar[bool] = False

    session_id: str

    def checked(self: _Self) -> _Self:
        """Validate the act's arguments, and return it.

        :raises InvalidRequest: for a wrong argument; for a signal that is too long its subclass
            :class:`~rolecall.errors.SignalTooLarge`.
        """
        raise NotImplementedError

    @property
    def target(self) -> str | None:
        """The connection or the stream that it acts on; None if it acts on all."""
        return None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the service's method."""
        raise NotImplementedError

    def problem_with(self, answer: object) -> str | None:
        """The problem with the answer of the service's method; None if there is none."""
        # Never by truthiness: False, or another library's response with a status, is no success.
        return None if answer is None else f"returned {shown(answer)}; expected None, or an error raised"


@dataclass(frozen=True, slots=True)
class Signal(Act[None]):
    """Send a signal to the connections of a session.

    :param type: the signal's type, at most 128 bytes of UTF-8.
    :param data: its content, at most 8,192 bytes of UTF-8.
    :param connection_id: the only connection that gets it; None for all.
    """

    name: ClassVar[str] = "signal"
    capability: ClassVar[Capability] = Capability.SIGNAL

    session_id: str
    type: str = ""
    data: str = field(default="", repr=False)
    connection_id: str | None = None

    def checked(self) -> Signal:
        """See :meth:`Act.checked`."""
        check_id("session_id", self.session_id)
        _check_text("type", self.type, MAX_SIGNAL_TYPE)
        _check_text("data", self.data, MAX_SIGNAL_DATA)
        if self.connection_id is not None:
            check_id("connection_id", self.connection_id)
        return self

    @property
    def target(self) -> str | None:
        """The connection that gets it; None for all."""
        return self.connection_id

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the service's method."""
        return (self.session_id, self.type, self.data, self.connection_id)


@dataclass(frozen=True, slots=True)
class ForceDisconnect(Act[None]):
    """End a connection to a session."""

    name: ClassVar[str] = "force_disconnect"
    capability: ClassVar[Capability] = Capability.FORCE_DISCONNECT

    session_id: str
    connection_id: str

    def checked(self) -> ForceDisconnect:
        """See :meth:`Act.checked`."""
        check_id("session_id", self.session_id)
        check_id("connection_id", self.connection_id)
        return self

    @property
    def target(self) -> str:
        """The connection."""
        return self.connection_id

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the service's method."""
        return (self.session_id, self.connection_id)


@dataclass(frozen=True, slots=True)
class MuteStream(Act[None]):
    """Mute the audio of a stream."""

    name: ClassVar[str] = "mute_stream"
    capability: ClassVar[Capability] = Capability.FORCE_UNPUBLISH

    session_id: str
    stream_id: str

    def checked(self) -> MuteStream:
        """See :meth:`Act.checked`."""
        check_id("session_id", self.session_id)
        check_id("stream_id", self.stream_id)
        return self

    @property
    def target(self) -> str:
        """The stream."""
        return self.stream_id

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the service's method."""
        return (self.session_id, self.stream_id)


@dataclass(frozen=True, slots=True)
class MuteAll(Act[None]):
    """Mute the audio of all streams of a session, future ones included; or stop doing so.

    :param active: False to stop: future streams are not muted.
    :param excluded_stream_ids: streams that are not muted.
    """

    name: ClassVar[str] = "mute_all"
    capability: ClassVar[Capability] = Capability.FORCE_UNPUBLISH

    session_id: str
    active: bool = True
    excluded_stream_ids: Iterable[str] = ()

    def checked(self) -> MuteAll:
        """See :meth:`Act.checked`."""
        check_id("session_id", self.session_id)
        if not isinstance(self.active, bool):
            raise InvalidRequest(f"active is {shown(self.active)}; expected true or false")
        excluded = _checked_streams(self.excluded_stream_ids)
        if excluded and not self.active:
            raise InvalidRequest("excluded_stream_ids goes with active=True: when muting stops, it stops for all")
        return replace(self, excluded_stream_ids=excluded)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the service's method."""
        return (self.session_id, self.active, self.excluded_stream_ids)


@dataclass(frozen=True, slots=True)
class ChangeRole(Act[None]):
    """Have an actor that is in the session hold another role there from now on. Its tokens stay as they are.

    :param role: the role whose rights the media service gives to it, in place of those that it has.
    """

    name: ClassVar[str] = "change_role"
    capability: ClassVar[Capability] = Capability.FORCE_DISCONNECT

    session_id: str
    actor_id: str
    role: Role

    def checked(self) -> ChangeRole:
        """See :meth:`Act.checked`."""
        check_id("session_id", self.session_id)
        checked_actor(self.actor_id)
        if not isinstance(self.role, Role):
            raise InvalidRequest(f"role is {shown(self.role)}; expected a Role")
        return self

    @property
    def target(self) -> str:
        """The id of the actor."""
        return self.actor_id

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the service's method."""
        return (self.session_id, self.actor_id, self.role)


@dataclass(frozen=True, slots=True)
class ListStreams(Act[Streams]):
    """List the streams of a session. It changes nothing, and needs the capability to mute streams."""

    name: ClassVar[str] = "list_streams"
    capability: ClassVar[Capability] = Capability.FORCE_UNPUBLISH
    changes: ClassVar[bool] = False

    session_id: str

    def checked(self) -> ListStreams:
        """See :meth:`Act.checked`."""
        check_id("session_id", self.session_id)
        return self

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the service's method."""
        return (self.session_id,)

    def problem_with(self, answer: object) -> str | None:
        """See :meth:`Act.problem_with`."""
        problem = problem_with_streams(answer)
        return problem and f"returned {problem}"


@dataclass(frozen=True, slots=True)
class ListConnections(Act[Connections]):
    """List the connections to a session. It changes nothing, and needs the capability to end connections."""

    name: ClassVar[str] = "list_connections"
    capability: ClassVar[Capability] = Capability.FORCE_DISCONNECT
    changes: ClassVar[bool] = False

    session_id: str

    def checked(self) -> ListConnections:
        """See :meth:`Act.checked`."""
        check_id("session_id", self.session_id)
        return self

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the service's method."""
        return (self.session_id,)

    def problem_with(self, answer: object) -> str | None:
        """See :meth:`Act.problem_with`."""
        problem = problem_with_connections(answer)
        return problem and f"returned {problem}"


@dataclass(frozen=True, slots=True)
class Exclude(Act[Exclusion]):
    """Exclude an actor from a session: its tokens are refused, and none is issued to it.

    :param until: when the exclusion ends, in Unix seconds; None for never.
    """

    name: ClassVar[str] = "exclude"
    capability: ClassVar[Capability] = Capability.FORCE_DISCONNECT
    takes_back: ClassVar[bool] = True

    session_id: str
    actor_id: str
    until: float | None = None

    def checked(self) -> Exclude:
        """See :meth:`Act.checked`."""
        check_id("session_id", self.session_id)
        checked_actor(self.actor_id)
        until = self.until
        is_number = isinstance(until, int | float) and not isinstance(until, bool)
        if until is not None and not (is_number and 0 < until < END_OF_TIME):
            raise InvalidRequest(
                f"until is {shown(until)}; expected Unix seconds, or nothing for an exclusion for good"
            )
        return self

    @property
    def target(self) -> str:
        """The id of the actor."""
        return self.actor_id

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the service's method ``disconnect_actor``."""
        return (self.session_id, self.actor_id)


@dataclass(frozen=True, slots=True)
class Readmit(Act[None]):
    """End the exclusion of an actor from a session. If there is none, nothing changes."""

    name: ClassVar[str] = "readmit"
    capability: ClassVar[Capability] = Capability.FORCE_DISCONNECT
    takes_back: ClassVar[bool] = True

    session_id: str
    actor_id: str

    def checked(self) -> Readmit:
        """See :meth:`Act.checked`."""
        check_id("session_id", self.session_id)
        checked_actor(self.actor_id)
        return self

    @property
    def target(self) -> str:
        """The id of the actor."""
        return self.actor_id


@dataclass(frozen=True, slots=True)
class ResetSession(Act[Reset]):
    """Revoke all tokens that a session has issued so far. It stays open, and issues new ones.

    :param epoch: the session's epoch that the caller knows: if another reset has come since, nothing changes. So a
        repetition revokes nothing that was issued meanwhile. None for a reset in any case.
    """

    name: ClassVar[str] = "reset_session"
    capability: ClassVar[Capability] = Capability.FORCE_DISCONNECT
    takes_back: ClassVar[bool] = True

    session_id: str
    epoch: int | None = None

    def checked(self) -> ResetSession:
        """See :meth:`Act.checked`."""
        check_id("session_id", self.session_id)
        if self.epoch is not None and (type(self.epoch) is not int or not 0 <= self.epoch < END_OF_TIME * 1000):
            raise InvalidRequest(f"epoch is {shown(self.epoch)}; expected the epoch of an earlier answer, or 0")
        return self


class MediaService(Protocol):
    """A service that carries the media of sessions, and so can act in them.

    Each method is ``def``, which runs on a thread of the kit, or ``async def``. It returns when the act is complete. It
    may raise the kit's errors, which reach the caller: :class:`~rolecall.errors.NotFoundAtService` for a connection or
    a stream that does not exist, :class:`~rolecall.errors.Unavailable` if the service is out of order. Arguments are
    validated.

    A service that knows which connections are whose may have further methods: ``disconnect_actor(session_id,
    actor_id)``, which ends all connections of an actor when it is excluded; and ``change_role(session_id, actor_id,
    role)``, which gives the connected actor the rights of a :class:`~rolecall.Role`, in place of those that it has.
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
        """Mute all streams but the excluded ones, also future ones; with ``active=False`` stop doing so."""

    def list_streams(self, session_id: str) -> Awaitable[Streams] | Streams:
        """The streams of a session; an empty list if there are none."""

    def list_connections(self, session_id: str) -> Awaitable[Connections] | Connections:
        """The connections to a session; an empty list if there are none."""


def problem_with_streams(value: object) -> str | None:
    """The problem with a list of streams; None if it has JSON objects, each with a text ``id``."""
    return _problem_with_list(value, "stream", "id")


def problem_with_connections(value: object) -> str | None:
    """The problem with a list of connections; None if it has JSON objects, each with a text ``connectionId``."""
    return _problem_with_list(value, "connection", "connectionId")


def find_stream(streams: Streams, stream_id: str) -> dict[str, Any]:
    """The stream with this id.

    :raises NotFoundAtService: if there is none.
    """
    for stream in streams:
        if stream["id"] == stream_id:
            return stream
    raise NotFoundAtService("the session has no stream of this id")


def check_id(name: str, value: object) -> None:
    """Refuse an invalid id of a session, a connection or a stream.

    :param name: the name of the argument.
    :raises InvalidSessionId: if ``name`` is ``"session_id"``.
    :raises InvalidRequest: for other names.
    """
    if not isinstance(value, str) or not is_plain_id(value):
        error = InvalidSessionId if name == "session_id" else InvalidRequest
        raise error(f"{name} is {shown(value)}; {ID_EXPECTED}")


def _problem_with_list(value: object, item: str, name: str) -> str | None:
    """The problem with a list of JSON objects; None if there is none.

    :param item: the noun for one object.
    :param name: the text that each object must have.
    """
    expected = f"expected dicts, each with a text {name!r}"
    if not isinstance(value, list):
        return f"{shown(value)}; {expected}"
    for one in value:
        if type(one) is not dict:
            return f"a list with {shown(one)}; {expected}"
        if not isinstance(one.get(name), str):
            return f"a {item} without {name!r}; {expected}"
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return f"{item}s that JSON cannot hold"
    return None


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
        raise SignalTooLarge(f"{name} of the signal has {length} bytes; at most {limit} are carried")
