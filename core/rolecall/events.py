"""Events: what has happened, for an audit trail. One class for each kind, with what there is to say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final

from .explain import circumstances
from .request import Actor, Request

#: The members of an event as JSON that only some have; the others have null there, so that each line has them all.
_OF_SOME: Final = ("role", "token_id", "expires_at", "act", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that has happened.

    :param at: when, in Unix seconds, by the kit's clock.
    :param call_id: of the call that it tells of; policies were shown the same id in the same call.
    :param session_id: the session that it is about, if there is one.
    :param actor: who asked, where a plugin identified somebody.
    :param http: the request from outside; None for a call in the server's own code.
    """

    #: The event's name in logs. It stays the same in later versions.
    name: ClassVar[str]

    at: float
    call_id: str = ""
    session_id: str | None = None
    actor: Actor | None = None
    http: Request | None = None

    def as_dict(self) -> dict[str, Any]:
        """The event as JSON has it, for a log: the request's method and route, the actor's id, and no header.

        Each event has the same members, in the same order; what it says nothing of is None.
        """
        where = circumstances(
            time=self.at,
            call_id=self.call_id,
            session_id=self.session_id,
            http=self.http,
            actor_id=self.actor and self.actor.id,
        )
        what = {name: getattr(self, name, None) for name in _OF_SOME}
        return {"event": self.name, "code": getattr(self, "code", None), **where, **what}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """A request that was refused: the base of all events that tell of one.

    :param code: why: the error's ``code``.
    """

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(Event):
    """A session was created."""

    name: ClassVar[str] = "session_created"

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRefused(Refused):
    """Somebody asked for a session, and was refused."""

    name: ClassVar[str] = "session_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed(Event):
    """A session was ended. Its class is not called after its name, which an error has: ``SessionEnded``."""

    name: ClassVar[str] = "session_ended"

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssued(Event):
    """A token was issued.

    :param role: the role that it gives.
    :param token_id: the token, by its :attr:`~rolecall.Grant.token_id`.
    :param expires_at: the end of its life, in Unix seconds.
    """

    name: ClassVar[str] = "token_issued"

    session_id: str
    role: str
    token_id: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRefused(Refused):
    """Somebody asked for a token, and was refused.

    :param role: the role that was asked for; None if there is no such role.
    """

    name: ClassVar[str] = "token_refused"

    role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRefused(Refused):
    """Somebody came with a token, or with none, and was refused; or a server with a credential that is not good."""

    name: ClassVar[str] = "access_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderated(Event):
    """An act in a session was carried out. What only lists streams or connections is not told of.

    :param act: what was done: the ``name`` of the :class:`~rolecall.moderation.Act`.
    :param target: the connection or the stream that it was done to, if it was one.
    :param role: the role of whoever did it with a token.
    :param token_id: that token, by its :attr:`~rolecall.Grant.token_id`.
    """

    name: ClassVar[str] = "moderated"

    session_id: str
    act: str
    target: str | None = None
    role: str | None = None
    token_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationRefused(Refused):
    """An act in a session was not carried out; lists of streams or connections are such acts, too.

    :param act: what was asked for: the ``name`` of the :class:`~rolecall.moderation.Act`.
    :param target: the connection or the stream that it is about, if it is about one.
    :param role: the role of whoever asked with a token.
    :param token_id: that token, by its :attr:`~rolecall.Grant.token_id`.
    """

    name: ClassVar[str] = "moderation_refused"

    act: str
    target: str | None = None
    role: str | None = None
    token_id: str | None = None


#: The events by their names.
EVENTS: Final[Mapping[str, Callable[..., Event]]] = MappingProxyType(
    {
        event.name: event
        for event in (
            *(SessionCreated, SessionRefused, SessionClosed),
            *(TokenIssued, TokenRefused, AccessRefused),
            *(Moderated, ModerationRefused),
        )
    }
)
