"""The ledger of an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from .failures import of_a_value
from .ledger import IssuedToken, TokenPage
from .sqlite_surveys import Surveys
from .sqlite_writing import WriteQueue

_ADD: Final = """
    INSERT INTO rolecall_tokens (session_id, token_id, actor_id, role, issued_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""
_TOKENS: Final = "SELECT session_id, token_id, actor_id, role, issued_at, expires_at FROM rolecall_tokens"
# The signs keep SQLite from other indexes: that of the ends, and that of an actor's tokens for those in a session.
_WANTED: Final = {
    (False, False): "",
    (True, False): "AND session_id = :session_id",
    (False, True): "AND actor_id = :actor_id",
    (True, True): "AND session_id = :session_id AND +actor_id = :actor_id",
}


class SQLiteLedger:
    """The methods of :class:`~rolecall.stores.ledger.Ledger`."""

    _queue: WriteQueue
    _surveys: Surveys

    def add_token(self, token: IssuedToken) -> None:
        def add(raw: sqlite3.Connection) -> None:
            raw.execute(_ADD, token)

        self._queue.write(add)

    def list_tokens(self, page: TokenPage) -> Sequence[IssuedToken]:
        issued_at, token_id = page.after or (None, None)
        values = {**page._asdict(), "issued_at": issued_at, "token_id": token_id}
        del values["after"]
        return [_token_of(*row) for row in self._surveys.rows(query_for(page), values)]


def query_for(page: TokenPage) -> str:
    """The query for a page, which reads one index from where the page begins."""
    wanted = _WANTED[page.session_id is not None, page.actor_id is not None]
    after = "" if page.after is None else "AND (issued_at, token_id) < (:issued_at, :token_id)"
    return f"{_TOKENS} WHERE +expires_at > :now {wanted} {after} ORDER BY issued_at DESC, token_id DESC LIMIT :limit"


def _token_of(session_id: str, token_id: str, actor_id: Any, role: Any, issued_at: Any, expires_at: Any) -> IssuedToken:
    """The token of a row.

    :raises StoreUnavailable: if it is damaged.
    """
    texts = isinstance(actor_id, str | None) and isinstance(role, str)
    if not (texts and isinstance(issued_at, float) and isinstance(expires_at, float)):
        raise of_a_value("a row of issued tokens in the SQLite store is damaged; restore a backup")
    return IssuedToken(session_id, token_id, actor_id, role, issued_at, expires_at)
