"""The ledger of an SQLite file."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from .failures import of_a_value
from .ledger import IssuedToken, TokenPage, TokensFound, answer_for
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
_PLACES: Final = "SELECT issued_at, token_id FROM rolecall_tokens"
_NEWEST_FIRST: Final = "ORDER BY issued_at DESC, token_id DESC"
#: The most rows that a page passes over, in some tenths of a second.
_LOOK: Final = 20_000


class SQLiteLedger:
    """The methods of :class:`~rolecall.stores.ledger.Ledger`."""

    _queue: WriteQueue
    _surveys: Surveys

    def add_token(self, token: IssuedToken) -> None:
        def add(raw: sqlite3.Connection) -> None:
            raw.execute(_ADD, token)

        self._queue.write(add)

    def list_tokens(self, page: TokenPage) -> TokensFound:
        issued_at, token_id = page.after or (None, None)
        values = {**page._asdict(), "issued_at": issued_at, "token_id": token_id}
        del values["after"]
        with self._surveys.reading() as raw:
            end = raw.execute(end_query_for(page), values).fetchone()
            values["last_issued_at"], values["last_token_id"] = end or (None, None)
            rows = raw.execute(query_for(page, has_end=end is not None), values).fetchall()
        return answer_for(page, [_token_of(*row) for row in rows], end)


def end_query_for(page: TokenPage) -> str:
    """The query for the place up to which a page looks: it reads an index, and no rows."""
    # An actor's tokens in a session are looked for in the session's index.
    wanted = _WANTED[page.session_id is not None, page.actor_id is not None and page.session_id is None]
    return f"{_PLACES} WHERE TRUE {wanted} {_after(page)} {_NEWEST_FIRST} LIMIT 1 OFFSET {_LOOK - 1}"


def query_for(page: TokenPage, has_end: bool) -> str:
    """The query for a page, which reads one index from where the page begins.

    :param has_end: whether it looks up to a place only.
    """
    wanted = _WANTED[page.session_id is not None, page.actor_id is not None]
    end = "AND (issued_at, token_id) >= (:last_issued_at, :last_token_id)" if has_end else ""
    return f"{_TOKENS} WHERE +expires_at > :now {wanted} {_after(page)} {end} {_NEWEST_FIRST} LIMIT :limit"


def _after(page: TokenPage) -> str:
    return "" if page.after is None else "AND (issued_at, token_id) < (:issued_at, :token_id)"


def _token_of(session_id: str, token_id: str, actor_id: Any, role: Any, issued_at: Any, expires_at: Any) -> IssuedToken:
    """The token of a row.

    :raises StoreUnavailable: if it is damaged.
    """
    texts = isinstance(actor_id, str | None) and isinstance(role, str)
    if not (texts and isinstance(issued_at, float) and isinstance(expires_at, float)):
        raise of_a_value("a row of issued tokens in the SQLite store is damaged; restore a backup")
    return IssuedToken(session_id, token_id, actor_id, role, issued_at, expires_at)
