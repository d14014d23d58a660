"""A policy that limits the number of live tokens."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Final

from ..errors import ConfigurationError
from ..events import Event, SessionClosed, TokenIssued
from ..hookspecs import TokenRequest, blocking, hookimpl
from ..policy import Deny, Limit, Vote
from ..wording import shown
from .arguments import checked_name
from .database import Database, File

_CODE: Final = "too_many_tokens"
# A reservation counts until ``reserved_until``. A token has NULL there, and counts until ``expires_at``.
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
    """Limits the number of live tokens of each session, of each actor, or both.

    A place is reserved after all policies have allowed the token, in one transaction, so that no two workers take the
    last place. When the token is issued, the reservation becomes a token, which counts until it expires (without the
    kit's leeway) or its session ends. A refused request takes no place. If a worker dies in between, its place is free
    again after ``reservation`` seconds. This policy never allows: another policy has to.

    :param per_session: the most live tokens of one session, including those for the server's own code.
    :param per_actor: the most live tokens of one identified actor. Requests from outside without an identified actor
        are denied (``"not_identified"``); requests of the server's own code have no actor, and are not counted.
    :param file: an SQLite file for the counts, shared by all workers of one machine; None counts in memory, for one
        worker with any number of threads.
    :param reservation: seconds after which a reservation lapses: longer than issuing a token ever takes.
    :param name: the policy's name. Policies with the same name share the counts of their file.
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
        self._database = Database(file, _SCHEMA)

    @hookimpl
    @blocking
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        actor_id = None if request.actor is None else request.actor.id
        if actor_id is None and self._per_actor is not None and request.http is not None:
            return Deny("tokens are counted for each user, and nobody was identified", code="not_identified")
        with self._database.reading() as connection:
            denial = self._denial(connection, request, actor_id)
        if denial is not None:
            return denial
        return Limit(
            reason="there is a place for one more token",
            reserve=partial(self._reserve, request, actor_id),
            release=partial(self._release, request.call_id),
        )

    def _reserve(self, request: TokenRequest, actor_id: str | None) -> Deny | None:
        with self._database.transaction() as connection:
            # Checked again: another request may have taken the last place since the vote.
            denial = self._denial(connection, request, actor_id)
            if denial is not None:
                return denial
            connection.execute("DELETE FROM rolecall_live_tokens WHERE expires_at <= ?", (request.now,))
            connection.execute(
                "INSERT INTO rolecall_live_tokens VALUES (?, ?, ?, ?, ?, ?)",
                (
                    self._place(request.call_id),
                    self.name,
                    request.session_id,
                    actor_id,
                    request.expires_at,
                    request.now + self._reservation,
                ),
            )
        return None

    def _release(self, call_id: str) -> None:
        self._write("DELETE FROM rolecall_live_tokens WHERE id = ?", self._place(call_id))

    def _denial(self, connection: sqlite3.Connection, request: TokenRequest, actor_id: str | None) -> Deny | None:
        """The denial if there is no place for one more token; else None."""
        counts = (
            (_COUNT_OF_SESSION, request.session_id, self._per_session, "the session has"),
            (_COUNT_OF_ACTOR, actor_id, self._per_actor, "you have"),
        )
        for query, value, most, who in counts:
            if most is None or value is None:
                continue
            (live,) = connection.execute(query, (self.name, value, request.now, request.now)).fetchone()
            if live >= most:
                return Deny(f"{who} {most} live tokens, which is the most there may be", code=_CODE)
        return None

    @hookimpl
    @blocking
    def rolecall_on_event(self, event: Event) -> None:
        if isinstance(event, TokenIssued):
            # Even if its reservation has lapsed: the token exists, so it counts.
            self._write(
                "UPDATE rolecall_live_tokens SET reserved_until = NULL, expires_at = ? WHERE id = ?",
                event.expires_at,
                self._place(event.call_id),
            )
        elif isinstance(event, SessionClosed):
            self._write(
                "DELETE FROM rolecall_live_tokens WHERE policy = ? AND session_id = ?", self.name, event.session_id
            )

    def _place(self, call_id: str) -> str:
        return f"{self.name} {call_id}"

    def _write(self, statement: str, *values: object) -> None:
        with self._database.transaction() as connection:
            connection.execute(statement, values)
