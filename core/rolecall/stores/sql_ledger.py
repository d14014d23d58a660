"""The ledger in PostgreSQL: a row for each token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from .ledger import IssuedToken, TokenPage, TokensFound, answer_for
from .sql_connections import Row, Values
from .sql_values import checked, checked_or_none, seconds

_ADD: Final = b"""
    INSERT INTO rolecall_tokens (session_id, token_id, actor_id, role, issued_at, expires_at)
    VALUES (%(session_id)s, %(token_id)s, %(actor_id)s, %(role)s, %(issued_at)s, %(expires_at)s)
    ON CONFLICT DO NOTHING
"""
_LIST: Final = b"""
    SELECT session_id, token_id, actor_id, role, issued_at, expires_at FROM rolecall_tokens
    WHERE expires_at > %%(now)s::float8%s ORDER BY issued_at DESC, token_id DESC LIMIT %%(limit)s
"""


class SQLLedger(ABC):
    """The ledger of a PostgreSQL store: see :class:`~rolecall.stores.ledger.Ledger`."""

    @abstractmethod
    def _fetch(self, query: bytes, values: Values | None = None) -> list[Row]:
        """Run one statement or script, within the store's time limit."""

    def add_token(self, token: IssuedToken) -> None:
        self._fetch(
            _ADD,
            {
                "session_id": checked(token.session_id),
                "token_id": checked(token.token_id),
                "actor_id": checked_or_none(token.actor_id),
                "role": checked(token.role),
                "issued_at": seconds(token.issued_at),
                "expires_at": seconds(token.expires_at),
            },
        )

    def list_tokens(self, page: TokenPage) -> TokensFound:
        return answer_for(page, [IssuedToken(*row) for row in self._fetch(*_listing(page))])


def _listing(page: TokenPage) -> tuple[bytes, Values]:
    """The statement for a page, and its values."""
    values: Values = {"now": seconds(page.now), "limit": page.limit}
    wanted = b""
    if page.session_id is not None:
        wanted += b" AND session_id = %(session_id)s"
        values["session_id"] = checked(page.session_id)
    if page.actor_id is not None:
        wanted += b" AND actor_id = %(actor_id)s"
        values["actor_id"] = checked(page.actor_id)
    if page.after is not None:
        wanted += b" AND (issued_at, token_id) < (%(issued_at)s::float8, %(token_id)s)"
        values["issued_at"], values["token_id"] = seconds(page.after[0]), checked(page.after[1])
    return _LIST % wanted, values
