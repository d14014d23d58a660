"""Marks in PostgreSQL: a row for each, which only grows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final

from .following import Follower
from .marks import Marks
from .sql_connections import Row, Values
from .sql_log import CHANNEL
from .sql_values import checked, possibly_infinite

# Whatever grows gets the id of its latest transaction, by which followers find it (sql_log.py). A mark that does not
# grow gets one as well, which harms nobody. Announced with the commit, in the same round trip.
_RAISE: Final = b"""
    WITH raised AS (
        INSERT INTO rolecall_marks AS there (name, value, until) VALUES (%%(name)s, %%(value)s, %%(until)s)
        ON CONFLICT (name) DO UPDATE SET value = greatest(there.value, excluded.value),
            until = greatest(there.until, excluded.until), xid = excluded.xid
        RETURNING value)
    SELECT value, pg_notify('%s', '') FROM raised
""" % (CHANNEL.encode())
# One row in any case, which says whether the server is a standby.
_GET: Final = b"""
    SELECT pg_is_in_recovery(), name, value
    FROM (VALUES (1)) AS one LEFT JOIN rolecall_marks ON name = ANY(%(names)s::text[])
"""


class SQLMarks(ABC):
    """The marks of a PostgreSQL store."""

    follower: Follower

    @abstractmethod
    def _fetch(self, query: bytes, values: Values | None = None) -> list[Row]:
        """Run one statement or script, within the store's time limit."""

    @abstractmethod
    def _refuse_standby(self, is_standby: bool) -> None:
        """Refuse the answer of a standby, which lags behind."""

    @property
    def marks(self) -> Marks:
        return self.follower.marks

    def raise_mark(self, name: str, value: float, until: float) -> float:
        values = {"name": checked(name), "value": possibly_infinite(value), "until": possibly_infinite(until)}
        stands: float = self._fetch(_RAISE, values)[0][0]
        self.follower.marks.learn(name, stands)
        return stands

    def get_marks(self, names: Sequence[str]) -> Mapping[str, float]:
        rows = self._fetch(_GET, {"names": list(map(checked, names))})
        self._refuse_standby(rows[0][0])
        return {name: value for _, name, value in rows if name is not None}
