"""The policy that counts tokens while they live."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass
from secrets import token_hex
from typing import Final

from ..errors import ConfigurationError, shown
from ..hookspecs import Event, TokenRequest, blocking, hookimpl
from ..http.messages import Request
from ..policy import Deny, Vote
from .arguments import checked_name
from .database import Database, File

_CODE: Final = "too_many_tokens"
# A reservation counts until ``reserved_until``; a token, for which that is NULL, until ``expires_at``.
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS rolecall_live_tokens (
        id TEXT PRIMARY KEY,
        policy TEXT NOT NULL,
        session_id TEXT NOT NULL,
        actor_id TEXT,
        expires_at REAL NOT NULL,
        reserved_until REAL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS rolecall_live_tokens_by_session ON rolecall_live_tokens (policy, session_id);
    CREATE INDEX IF NOT EXISTS rolecall_live_tokens_by_actor ON rolecall_live_tokens (policy, actor_id);
    CREATE INDEX IF NOT EXISTS rolecall_live_tokens_by_expiry ON rolecall_live_tokens (expires_at)
"""
_COUNT: Final = """
    SELECT count(*) FROM rolecall_live_tokens
    WHERE policy = ? AND {column} = ? AND expires_at > ? AND (reserved_until IS NULL OR reserved_until > ?)
"""
_COUNT_OF_SESSION: Final = _COUNT.format(column="session_id")
_COUNT_OF_ACTOR: Final = _COUNT.format(column="actor_id")


class MaxLiveTokens:
    """At most so many tokens are alive at a time, for each session, for each actor, or both.

    A vote reserves a place, in one transaction, so that no two workers can take the last one. The token's issue turns
    the reservation into a token, which counts until it expires (without the kit's leeway) or its session ends. A
    refusal gives the place back at once; where that cannot be told (after :meth:`~rolecall.Rolecall.explain_token`,
    for the server's own code under ``kit.aio``, and if the worker dies), ``reservation`` seconds later. It never
    allows: another policy has to.

    :param per_session: the most live tokens of one session, of whoever asks, the server's own code included.
    :param per_actor: the most live tokens of one identified actor. From outside, whoever is not identified is denied
        (``"not_identified"``); the server's own code acts for nobody, and is not counted.
    :param file: an SQLite file in which they are counted, right for all workers of one machine; None counts in memory,
        right for one worker with any number of threads.
    :param reservation: seconds after which a reservation lapses: more than issuing a token takes at the most.
    :param name: the name that the policy goes by. Policies of one name share the counts of their file.
    :raises ConfigurationError: for numbers that are no counts, and for a file that cannot be opened.
    """

    def __init__(
        self,
        *,
        per_session: int | None = None,
        per_actor: int | None = None,
        file: File = None,
        reservation: float = 60,
        name: str = "max_live_tokens",
    ) -> None:
        if per_session is None and per_actor is None:
            raise ConfigurationError("nothing is limited; pass per_session, per_actor, or both")
        for argument, value in (("per_session", per_session), ("per_actor", per_actor)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigurationError(f"{argument} is {shown(value)}; expected a count of 1 or more")
        if isinstance(reservation, bool) or not isinstance(reservation, int | float) or not 0 < reservation <= 3600:
            raise ConfigurationError(f"reservation is {shown(reservation)}; expected seconds, above 0 and up to 3600")
        self._per_session = per_session
        self._per_actor = per_actor
        self._reservation = reservation
        self.name = checked_name(name)
        self._places = _Places(Database(file, _SCHEMA), name)
        self._calls = _Calls()

    @hookimpl
    @blocking
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        actor_id = None if request.actor is None else request.actor.id
        if actor_id is None and self._per_actor is not None and request.http is not None:
            return Deny("tokens are counted for each user, and nobody was identified", code="not_identified")
        reserved = _Reservation(
            token_hex(16),
            request.session_id,
            actor_id,
            request.expires_at,
            request.now + self._reservation,
            request.http,
        )
        refusal = self._places.reserve(reserved, request.now, self._per_session, self._per_actor)
        if refusal is None:
            self._calls.add(reserved, request.now)
        return refusal

    @hookimpl
    def rolecall_token_claims(self, request: TokenRequest) -> None:
        # By now every policy has voted, and the end of the token's life is known.
        reserved = self._calls.find(request.http, request.session_id)
        if reserved is not None:
            reserved.expires_at = request.expires_at

    @hookimpl
    @blocking
    def rolecall_on_event(self, event: Event) -> None:
        if event.session_id is None:
            return
        if event.name == "token_issued":
            reserved = self._calls.take(event.http, event.session_id) or self._calls.take_any(event.session_id)
            if reserved is not None:
                self._places.confirm(reserved)
        elif event.name == "token_refused":
            reserved = self._calls.take(event.http, event.session_id)
            if reserved is not None:
                self._places.release(reserved)
        elif event.name == "session_ended":
            self._places.forget_session(event.session_id)


@dataclass(slots=True, eq=False)
class _Reservation:
    id: str
    session_id: str
    actor_id: str | None
    expires_at: float
    reserved_until: float
    http: Request | None


class _Places:
    """The count that all workers share."""

    def __init__(self, database: Database, policy: str) -> None:
        self._database = database
        self._policy = policy

    def reserve(
        self, reserved: _Reservation, now: float, per_session: int | None, per_actor: int | None
    ) -> Deny | None:
        counts = (
            (_COUNT_OF_SESSION, reserved.session_id, per_session, "the session has"),
            (_COUNT_OF_ACTOR, reserved.actor_id, per_actor, "you have"),
        )
        with self._database.transaction() as connection:
            for query, value, most, who in counts:
                if most is None or value is None:
                    continue
                (live,) = connection.execute(query, (self._policy, value, now, now)).fetchone()
                if live >= most:
                    return Deny(f"{who} {most} live tokens, which is the most there may be", code=_CODE)
            connection.execute("DELETE FROM rolecall_live_tokens WHERE expires_at <= ?", (now,))
            connection.execute(
                "INSERT INTO rolecall_live_tokens VALUES (?, ?, ?, ?, ?, ?)",
                (
                    reserved.id,
                    self._policy,
                    reserved.session_id,
                    reserved.actor_id,
                    reserved.expires_at,
                    reserved.reserved_until,
                ),
            )
        return None

    def confirm(self, reserved: _Reservation) -> None:
        # Also one that has lapsed: the token is there, so it counts.
        self._write(
            "UPDATE rolecall_live_tokens SET reserved_until = NULL, expires_at = ? WHERE id = ?",
            reserved.expires_at,
            reserved.id,
        )

    def release(self, reserved: _Reservation) -> None:
        self._write("DELETE FROM rolecall_live_tokens WHERE id = ?", reserved.id)

    def forget_session(self, session_id: str) -> None:
        self._write("DELETE FROM rolecall_live_tokens WHERE policy = ? AND session_id = ?", self._policy, session_id)

    def _write(self, statement: str, *values: object) -> None:
        with self._database.transaction() as connection:
            connection.execute(statement, values)


# The reservations of the server's own calls, innermost last: what runs in the same context is the same call.
_own_calls: ContextVar[tuple[_Reservation, ...]] = ContextVar("rolecall_own_calls", default=())


class _Calls:
    """Which reservation belongs to which call of this process: by its request, or else by its context.

    Under ``kit.aio`` votes and events of the server's own code run on threads, each in a copy of the context, so that
    none is found. Then any reservation of the session does for an issued token, since each is one place; for a
    refused one none does, because it may never have had one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, _Reservation] = {}

    def add(self, reserved: _Reservation, now: float) -> None:
        with self._lock:
            for lapsed in [one.id for one in self._open.values() if one.reserved_until <= now]:
                del self._open[lapsed]
            self._open[reserved.id] = reserved
            kept = tuple(one for one in _own_calls.get() if one.id in self._open)
        if reserved.http is None:
            _own_calls.set((*kept, reserved))

    def find(self, http: Request | None, session_id: str) -> _Reservation | None:
        with self._lock:
            return self._find(http, session_id)

    def take(self, http: Request | None, session_id: str) -> _Reservation | None:
        with self._lock:
            found = self._find(http, session_id)
            return None if found is None else self._open.pop(found.id)

    def take_any(self, session_id: str) -> _Reservation | None:
        """The server's own reservation that lives longest, so that no token is counted for less than it lives."""
        with self._lock:
            own = [one for one in self._open.values() if one.http is None and one.session_id == session_id]
            found = max(own, key=lambda one: one.expires_at, default=None)
            return None if found is None else self._open.pop(found.id)

    def _find(self, http: Request | None, session_id: str) -> _Reservation | None:
        candidates = _own_calls.get() if http is None else tuple(self._open.values())
        for one in reversed(candidates):
            # The request itself, not one that is equal to it.
            if one.id in self._open and one.http is http and one.session_id == session_id:
                return one
        return None
