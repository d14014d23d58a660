"""Lists the sessions of an SQLite file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..sessions import SessionProperties, SessionRecord
from .failures import unreadable
from .listing import Page
from .sqlite_surveys import Surveys

_STATES: Final[Mapping[str, str]] = {"open": "ended_at IS NULL", "ended": "ended_at IS NOT NULL"}
_SESSIONS: Final = "SELECT session_id, properties, created_at, ended_at, created_by FROM rolecall_sessions"
_NEWEST_FIRST: Final = "ORDER BY created_at DESC, session_id DESC LIMIT :limit"


class SQLiteListing:
    """The method of :class:`~rolecall.stores.listing.Listing`. No page takes longer because others stand between its
    sessions.
    """

    _surveys: Surveys

    def list_sessions(self, page: Page) -> Sequence[SessionRecord]:
        created_at, session_id = page.after or (None, None)
        values = {
            "limit": page.limit,
            "created_by": page.created_by,
            "created_at": created_at,
            "session_id": session_id,
        }
        return [record_of(*row) for row in self._surveys.rows(query_for(page), values)]


def query_for(page: Page) -> str:
    """The query for a page, of which each part reads one index from where the page begins."""
    after = "" if page.after is None else "AND (created_at, session_id) < (:created_at, :session_id)"
    parts = (f"{_SESSIONS} WHERE {wanted} {after} {_NEWEST_FIRST}" for wanted in _conditions(page))
    return f"SELECT * FROM ({') UNION ALL SELECT * FROM ('.join(parts)}) {_NEWEST_FIRST}"  # noqa: S608 (names above)


def _conditions(page: Page) -> list[str]:
    """The wanted sessions, by a condition for each index that has them."""
    states = list(_STATES.values()) if page.state is None else [_STATES[page.state]]
    return states if page.created_by is None else [f"created_by = :created_by AND {state}" for state in states]


def record_of(session_id: str, properties: Any, created_at: Any, ended_at: Any, created_by: Any) -> SessionRecord:
    """The session of a row.

    :raises StoreUnavailable: if it is damaged, or of a later version.
    """
    try:
        if not isinstance(created_at, float) or not isinstance(ended_at, float | None):
            raise ValueError
        if not isinstance(created_by, str | None):
            raise ValueError
        return SessionRecord(session_id, SessionProperties.from_json(properties), created_at, ended_at, created_by)
    except ValueError:
        raise unreadable("SQLite", session_id) from None
