"""The statements by which the PostgreSQL store lists sessions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, Select, bindparam, func, literal_column, select, tuple_, union_all

from .listing import Page, SessionState
from .sql_connections import Values
from .sql_schema import ENDED, INDEXED, SESSIONS
from .sql_statements import RECORD, compiled, double, text
from .sql_values import checked, checked_or_none, seconds

# A subquery, and no join, so a page is read from the index in its order, whatever the server's statistics say.
_ENDED_AT: Final = select(ENDED.c.ended_at).where(ENDED.c.session_id == SESSIONS.c.session_id).scalar_subquery()
_STATES: Final[Mapping[SessionState, Any]] = {"open": SESSIONS.c.is_open, "ended": ~SESSIONS.c.is_open}


def listing(page: Page) -> tuple[bytes, Values]:
    """The statement for a page, and its values.

    :raises StoreUnavailable: if PostgreSQL can hold none of such values.
    """
    moment, session_id = page.after or (0.0, "")
    values = {
        "limit": page.limit,
        "creator": checked_or_none(page.created_by),
        "moment": seconds(moment),
        "id": checked(session_id),
    }
    return _compiled(page.state, page.created_by is not None, page.after is not None), values


@cache
def _compiled(state: SessionState | None, by_creator: bool, is_further: bool) -> bytes:
    if state is None and by_creator:
        # A creator's sessions of each state have an index of their own.
        parts = (_newest(_sessions(by_creator, is_further).where(one), SESSIONS.c) for one in _STATES.values())
        both = union_all(*(select(part.subquery()) for part in parts)).subquery()
        return compiled(_newest(select(both), both.c))
    wanted = _sessions(by_creator, is_further)
    if state is not None:
        wanted = wanted.where(_STATES[state])
    if state == "open":
        # Looked up as well: a session that was created and ended at the same moment is still marked as open.
        wanted = wanted.where(_ENDED_AT.is_(None))
    return compiled(_newest(wanted, SESSIONS.c))


def _sessions(by_creator: bool, is_further: bool) -> Select[Any]:
    """The sessions that a page may have, whatever their state."""
    wanted = select(*RECORD, _ENDED_AT.label("ended_at"))
    if is_further:
        wanted = wanted.where(
            tuple_(SESSIONS.c.created_at, SESSIONS.c.session_id) < tuple_(double("moment"), text("id"))
        )
    if by_creator:
        beginning: Any = literal_column(str(INDEXED))
        wanted = wanted.where(
            func.left(SESSIONS.c.created_by, beginning) == func.left(text("creator"), beginning),
            SESSIONS.c.created_by == text("creator"),
        )
    return wanted


def _newest(wanted: Select[Any], columns: Any) -> Select[Any]:
    newest_first = (columns.created_at.desc(), columns.session_id.desc())
    return wanted.order_by(*newest_first).limit(bindparam("limit", type_=BigInteger))
