"""The statements by which the PostgreSQL store lists sessions."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import BigInteger, bindparam, func, literal_column, select, tuple_

from .listing import Page, SessionState
from .sql_connections import Values
from .sql_schema import ENDED, INDEXED, SESSIONS
from .sql_statements import RECORD, compiled, double, text
from .sql_values import checked, checked_or_none, seconds


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
    # Subqueries, and no joins, so a page is read from the index in its order, whatever the server's statistics say.
    ended_at = select(ENDED.c.ended_at).where(ENDED.c.session_id == SESSIONS.c.session_id).scalar_subquery()
    wanted = select(*RECORD, ended_at.label("ended_at"))
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
    if state == "open":
        # Looked up as well: a session that was created and ended at the same moment is still marked as open.
        wanted = wanted.where(SESSIONS.c.is_open, ended_at.is_(None))
    if state == "ended":
        wanted = wanted.where(~SESSIONS.c.is_open)
    newest_first = (SESSIONS.c.created_at.desc(), SESSIONS.c.session_id.desc())
    return compiled(wanted.order_by(*newest_first).limit(bindparam("limit", type_=BigInteger)))
