"""A policy by which a session belongs to its creator."""

from __future__ import annotations

from typing import Final

from ..events import Event, SessionClosed, SessionCreated
from ..hookspecs import TokenRequest, blocking, hookimpl
from ..policy import Allow, Deny, Limit, Vote
from ..roles import Role, RoleName
from .arguments import checked_name, checked_role
from .database import Database, File

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS rolecall_session_owners (
        session_id TEXT PRIMARY KEY,
        actor_id TEXT NOT NULL
    ) WITHOUT ROWID
"""


class OwnedSessions:
    """The actor that creates a session owns it: the owner may become its moderator, and end it.

    Others are limited to a role, and another policy has to allow them at all. It does not decide who may create
    sessions. A session has no owner if its creator was not identified or is not recorded; then all are others. It
    abstains on requests of the server's own code.

    :param others: the highest role of everybody else: a standard role's name, or a :class:`~rolecall.Role`. None
        denies them (``"not_the_owner"``).
    :param file: an SQLite file for the owners, shared by several workers; None keeps them in memory, for one worker,
        until it exits.
    :param name: the policy's name.
    :raises ConfigurationError: for a role that does not exist, or a file that cannot be opened.
    """

    def __init__(
        self, *, others: Role | RoleName | None = Role.PUBLISHER, file: File = None, name: str = "owned_sessions"
    ) -> None:
        self._others = None if others is None else checked_role("others", others)
        self.name = checked_name(name)
        self._database = Database(file, _SCHEMA)

    @hookimpl
    @blocking
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if request.http is None:
            return None
        if request.actor is not None and request.actor.id == self._owner(request.session_id):
            return Allow(max_role=Role.MODERATOR, reason="the actor owns the session")
        if self._others is None:
            return Deny("the session belongs to somebody else", code="not_the_owner")
        return Limit(max_role=self._others, reason="the session belongs to somebody else")

    @hookimpl
    @blocking
    def rolecall_on_event(self, event: Event) -> None:
        if isinstance(event, SessionCreated) and event.actor is not None:
            with self._database.transaction() as connection:
                connection.execute(
                    "INSERT INTO rolecall_session_owners VALUES (?, ?) ON CONFLICT DO NOTHING",
                    (event.session_id, event.actor.id),
                )
        elif isinstance(event, SessionClosed):
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM rolecall_session_owners WHERE session_id = ?", (event.session_id,))

    def _owner(self, session_id: str) -> str | None:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT actor_id FROM rolecall_session_owners WHERE session_id = ?", (session_id,)
            ).fetchone()
        return None if row is None else str(row[0])
