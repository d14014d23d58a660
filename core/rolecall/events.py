"""Events for an audit trail: one class for each kind, with the members of that kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final

from .explain import circumstances
from .request import Actor, Request

#: Members that only some events have; as JSON the others have null there, so that all lines have the same members.
_OF_SOME: Final = (
    *("role", "token_id", "expires_at", "renewed", "media"),
    *("act", "target", "until", "reason", "seconds"),
    *("connection_id", "stream_id"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event in a kit.

    :param at: its time, in Unix seconds, by the kit's clock.
    :param call_id: the id of the call that it reports; requests to policies in the same call have the same id.
    :param session_id: its session, if there is one.
    :param actor: who made the call, if a plugin identified somebody, or the server's own code said for whom it calls.
    :param actor_id: the id of this actor; else of the one that the call's token is for, if the token says so.
    :param http: the request from outside; None for a call in the server's own code.
    """

    #: The event's name in logs. It never changes.
    name: ClassVar[str]

    at: float
    call_id: str = ""
    session_id: str | None = None
    actor: Actor | None = None
    actor_id: str | None = None
    http: Request | None = None

    def as_dict(self) -> dict[str, Any]:
        """The event as a dict for JSON and logs: with the request's method and route, the actor's id, and no header.

        All events have the same members, in the same order; a member that an event lacks is None.
        """
        where = circumstances(
            time=self.at,
            call_id=self.call_id,
            session_id=self.session_id,
            http=self.http,
            actor_id=self.actor.id if self.actor else self.actor_id,
        )
        what = {name: getattr(self, name, None) for name in _OF_SOME}
        return {"event": self.name, "code": getattr(self, "code", None), **where, **what}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """A refused request: the base of all events about refusals.

    :param code: the error's ``code``.
    """

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(Event):
    """A session was created."""

    name: ClassVar[str] = "session_created"

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRefused(Refused):
    """A request for a session was refused."""

    name: ClassVar[str] = "session_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed(Event):
    """A session was ended. The class is not named ``SessionEnded``, because an error has that name."""

    name: ClassVar[str] = "session_ended"

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssued(Event):
    """A token was issued.

    :param role: the token's role.
    :param token_id: the token's id, as in :attr:`~rolecall.Grant.token_id`.
    :param expires_at: the end of its life, in Unix seconds.
    :param renewed: the id of the token that it renews; None for a first one.
    """

    name: ClassVar[str] = "token_issued"

    session_id: str
    role: str
    token_id: str
    expires_at: float
    renewed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRefused(Refused):
    """A request for a token was refused.

    :param role: the requested role; None if there is no such role, and for a renewal that asks for none.
    :param renewed: the id of the token that was to be renewed, if it is known.
    """

    name: ClassVar[str] = "token_refused"

    role: str | None = None
    renewed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketIssued(Event):
    """A grant was exchanged for a ticket of a media service.

    :param media: the name of the media service.
    :param role: the role of the grant.
    :param token_id: the id of the grant's token, as in :attr:`~rolecall.Grant.token_id`.
    :param expires_at: the end of the ticket's life, in Unix seconds.
    """

    name: ClassVar[str] = "ticket_issued"

    session_id: str
    media: str
    role: str
    token_id: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRefused(Refused):
    """The exchange of a grant for a ticket was refused.

    :param media: the name of the media service; None if the session has none.
    :param role: the role of the grant.
    :param token_id: the id of the grant's token.
    """

    name: ClassVar[str] = "ticket_refused"

    role: str
    token_id: str
    media: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRevoked(Event):
    """One token was revoked.

    :param token_id: the token's id, as in :attr:`~rolecall.Grant.token_id`.
    """

    name: ClassVar[str] = "token_revoked"

    session_id: str
    token_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorRevoked(Event):
    """All tokens that an actor had were revoked, in every session.

    :param target: the id of that actor.
    """

    name: ClassVar[str] = "actor_revoked"

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensRevoked(Event):
    """All tokens of a project that were issued until a time were revoked.

    :param target: the API key of the project.
    :param until: that time, in Unix seconds.
    """

    name: ClassVar[str] = "tokens_revoked"

    target: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRefused(Refused):
    """A request was refused because of its token, or because it had none; or because of a server's credential."""

    name: ClassVar[str] = "access_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderated(Event):
    """An act in a session was carried out. Lists of streams or connections are not reported.

    :param act: the ``name`` of the :class:`~rolecall.moderation.Act`.
    :param target: the connection, the stream or the actor that it acted on, if there is one.
    :param until: when an exclusion ends, in Unix seconds; None for never.
    :param role: the role of the token, if the actor used one.
    :param token_id: the token's id, as in :attr:`~rolecall.Grant.token_id`.
    """

    name: ClassVar[str] = "moderated"

    session_id: str
    act: str
    target: str | None = None
    until: float | None = None
    role: str | None = None
    token_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationRefused(Refused):
    """An act in a session was refused; lists of streams or connections are such acts, too.

    :param act: the ``name`` of the :class:`~rolecall.moderation.Act`.
    :param target: the connection, the stream or the actor that it would act on, if there is one.
    :param until: when an exclusion would end, in Unix seconds.
    :param role: the role of the token, if the actor used one.
    :param token_id: the token's id, as in :attr:`~rolecall.Grant.token_id`.
    """

    name: ClassVar[str] = "moderation_refused"

    act: str
    target: str | None = None
    until: float | None = None
    role: str | None = None
    token_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtMedia(Event):
    """An event in a session's room that its media service has told of: the base of all such events.

    ``at`` is the time at which the kit heard of it. ``actor_id`` is the identity of the participant.

    :param media: the name of the media service.
    """

    session_id: str
    media: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomStarted(AtMedia):
    """The room of a session was opened."""

    name: ClassVar[str] = "room_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomFinished(AtMedia):
    """The room of a session was closed: by an act, or because nobody was there for a while. The session goes on."""

    name: ClassVar[str] = "room_finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantJoined(AtMedia):
    """A participant joined.

    :param connection_id: the participant, as acts take it.
    :param code: the code of the error for which the kit has put it out at once, ``excluded`` or ``session_ended``;
        None: it may stay.
    """

    name: ClassVar[str] = "participant_joined"

    connection_id: str
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantLeft(AtMedia):
    """A participant left, or was disconnected.

    :param connection_id: the participant.
    """

    name: ClassVar[str] = "participant_left"

    connection_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPublished(AtMedia):
    """A participant published a stream.

    :param connection_id: the participant.
    :param stream_id: the stream, as acts take it.
    """

    name: ClassVar[str] = "stream_published"

    connection_id: str
    stream_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamUnpublished(AtMedia):
    """A stream ended.

    :param connection_id: the participant that published it.
    :param stream_id: the stream.
    """

    name: ClassVar[str] = "stream_unpublished"

    connection_id: str
    stream_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLost(Event):
    """The store has stopped to answer this process, or the process has been out of touch with it for too long.

    :param reason: the first failure, for people; it quotes no secret.
    """

    name: ClassVar[str] = "store_lost"

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFound(Event):
    """The store answers this process again.

    :param seconds: how long it was lost.
    """

    name: ClassVar[str] = "store_found"

    seconds: float


#: The events by their names.
EVENTS: Final[Mapping[str, Callable[..., Event]]] = MappingProxyType(
    {
        event.name: event
        for event in (
            *(SessionCreated, SessionRefused, SessionClosed),
            *(TokenIssued, TokenRefused, AccessRefused),
            *(TicketIssued, TicketRefused),
            *(TokenRevoked, ActorRevoked, TokensRevoked),
            *(Moderated, ModerationRefused),
            *(RoomStarted, RoomFinished, ParticipantJoined, ParticipantLeft),
            *(StreamPublished, StreamUnpublished),
            *(StoreLost, StoreFound),
        )
    }
)
