"""Documents in PostgreSQL: a row for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from .sql_connections import Row, Values
from .sql_values import checked

# One row in any case, which says whether the server is a standby.
_GET: Final = b"""
    SELECT pg_is_in_recovery(), version, content
    FROM (VALUES (1)) AS one LEFT JOIN rolecall_documents ON name = %(name)s
"""
_ADD: Final = b"""
    INSERT INTO rolecall_documents (name, version, content) VALUES (%(name)s, 1, %(content)s)
    ON CONFLICT DO NOTHING RETURNING version
"""
_REPLACE: Final = b"""
    UPDATE rolecall_documents SET version = version + 1, content = %(content)s
    WHERE name = %(name)s AND version = %(version)s RETURNING version
"""


class SQLDocuments(ABC):
    """The documents of a PostgreSQL store: see :class:`~rolecall.stores.documents.Documents`."""

    @abstractmethod
    def _fetch(self, query: bytes, values: Values | None = None) -> list[Row]:
        """Run one statement or script, within the store's time limit."""

    @abstractmethod
    def _refuse_standby(self, is_standby: bool) -> None:
        """Refuse the answer of a standby, which lags behind."""

    def get_document(self, name: str) -> tuple[int, str] | None:
        ((is_standby, version, content),) = self._fetch(_GET, {"name": checked(name)})
        self._refuse_standby(is_standby)
        return None if version is None else (version, content)

    def put_document(self, name: str, content: str, version: int) -> bool:
        values: Values = {"name": checked(name), "content": checked(content)}
        query = _REPLACE if version else _ADD
        written = self._fetch(query, {**values, "version": version} if version else values)
        # A statement is sent once more if the connection is lost, and may have written the document before.
        return bool(written) or self.get_document(name) == (version + 1, content)
