"""The classes, as they stand in the database."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import aiosqlite

_LESSON = """
    SELECT members.part, classes.starts_at, classes.ends_at
    FROM classes LEFT JOIN members ON members.session_id = classes.session_id AND members.user = :user
    WHERE classes.session_id = :session_id
"""


class Lesson(NamedTuple):
    """A class, as one user sees it.

    :param part: ``"teacher"``, ``"pupil"``, or None for somebody who is not in it.
    :param starts_at: when it starts, in Unix seconds.
    :param ends_at: when it ends.
    """

    part: str | None
    starts_at: float
    ends_at: float


class Timetable:
    """Looks classes up; it never writes.

    :param database: the path of the SQLite file with the tables of ``schema.sql``.
    """

    def __init__(self, database: str) -> None:
        self._uri = f"{Path(database).absolute().as_uri()}?mode=ro"

    async def lesson(self, session_id: str, user: str) -> Lesson | None:
        """The class that meets in this session, as ``user`` sees it; None if there is none."""
        values = {"session_id": session_id, "user": user}
        async with aiosqlite.connect(self._uri, uri=True) as database, database.execute(_LESSON, values) as rows:
            row = await rows.fetchone()
        return None if row is None else Lesson(*row)
