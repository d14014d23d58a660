"""The ended sessions and the marks of an SQLite file, in memory, in step with every commit of every process."""

from __future__ import annotations

import mmap
import os
import sqlite3
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final, TypeAlias

from .marks import Marks
from .sqlite_file import Identity, SharedConnection, SQLiteFile
from .sqlite_marks import AskedMarks

#: The first copy of the WAL-index header. SQLite writes it as the act that makes a commit visible
#: (https://sqlite.org/walformat.html, section 2.1).
HEADER: Final = 48
_WHOLE: Final = slice(HEADER)
#: The most rows of one read of a table, and of the log, which asks the tables about each row: about a millisecond.
PAGE: Final = 1000
LOG_PAGE: Final = 250
#: The pause after a page, as a part of the time that the page took.
PAUSE: Final = 1.0

Mapped: TypeAlias = mmap.mmap | bytes

_MASK: Final = (1 << 60) - 1
# Where a mark's name begins in the log, behind what is random.
_NAME: Final = 17
# Texts as BLOB, and what is no number as '', so that a damaged row fails no other one.
_ENDED: Final = """
    SELECT CAST(session_id AS BLOB) FROM rolecall_ended_sessions
    WHERE session_id >= CAST(? AS TEXT) AND typeof(session_id) = 'text' ORDER BY session_id LIMIT ?
"""
_MARKS: Final = """
    SELECT CAST(name AS BLOB), CASE typeof(value) WHEN 'real' THEN value ELSE '' END FROM rolecall_marks
    WHERE name >= CAST(? AS TEXT) AND typeof(name) = 'text' ORDER BY name LIMIT ?
"""
_LAST: Final = "SELECT sequence, CAST(id AS BLOB) FROM rolecall_changes ORDER BY sequence DESC LIMIT 1"
# The log says what has changed, and the tables what holds.
_CHANGES: Final = """
    SELECT sequence, CAST(id AS BLOB),
        kind = 'session ended' AND EXISTS (SELECT 1 FROM rolecall_ended_sessions WHERE session_id = id),
        CASE kind WHEN 'marked' THEN (
            SELECT CASE typeof(value) WHEN 'real' THEN value ELSE '' END FROM rolecall_marks WHERE name = substr(id, 18)
        ) END,
        CASE WHEN kind IN ('ends forgotten', 'marks forgotten') THEN CAST(id AS INTEGER) ELSE 0 END
    FROM rolecall_changes WHERE sequence >= ? ORDER BY sequence LIMIT ?
"""


class _Pages:
    """The rows of a table, page by page.

    :param query: selects a page of rows, of which each begins with the table's key.
    """

    __slots__ = ("_after", "_query")

    def __init__(self, query: str) -> None:
        self._query = query
        # The last key of the last page; None after the last page.
        self._after: bytes | None = b""

    @property
    def are_read(self) -> bool:
        return self._after is None

    def begin(self) -> None:
        """Begin anew."""
        self._after = b""

    def next(self, raw: sqlite3.Connection) -> list[Any]:
        """The rows of the next page; none after the last one."""
        if self._after is None:
            return []
        rows = raw.execute(self._query, (self._after, PAGE)).fetchall()
        self._after = rows[-1][0] if len(rows) == PAGE else None
        return rows


class EndedSessions:
    """Tells whether a session has ended: in less than a microsecond if nothing was committed since the last call.

    Each call compares the header of SQLite's shared memory with the one it saw last. If they differ, it reads what the
    log of changes has more, of marks, too. The ids are kept as hashes of 60 bits, and the table has the last word on
    each that is found; so a wrong hash refuses nobody.

    A call reads a page at most, of the log and of what was there before it, and only if half of the time is left to
    others: so no request waits for long, nor do those that come one right after the other. As long as there is more to
    read, the tables are asked.

    :param connection: shared with other reads.
    """

    def __init__(self, file: SQLiteFile, connection: SharedConnection) -> None:
        self._file = file
        self._connection = connection
        self._asked_marks = AskedMarks(connection)
        #: The marks, in step as of the last answer of the others. As long as some are not read, or one is damaged, each
        #: is asked for.
        self.marks: Marks = self._asked_marks
        # One tuple, so that a thread sees all of it as it was at one moment: how often the connection was opened; its
        # shared memory; the header when all was read, or None; the hashes of what has ended by then.
        self._state: tuple[int, Mapped, bytes | None, set[int]] = (0, b"", None, set())
        self._ended_pages = _Pages(_ENDED)
        self._marks_pages = _Pages(_MARKS)
        # The marks that were read: they become those of all, once there is no more to read.
        self._read_marks = Marks()
        self._has_damaged_mark = False
        # The last row of the log of changes; None before the first page.
        self._last: tuple[int, bytes] | None = None
        # Whether the log has more than was read of it; and when the next page may be read.
        self._is_behind = False
        self._read_again_at = 0.0
        # How many ends and marks were forgotten since the first page.
        self._forgotten = 0
        # How often the log told of an end or a mark, or all was read anew.
        self._revision = 0

    def revision(self) -> object:
        """What is another one as soon as more is revoked; see :class:`~rolecall.stores.Store`.

        :raises StoreUnavailable: if the database does not answer.
        """
        connection = self._connection
        opened, header, seen, _ = self._state
        # With SharedConnection.is_fresh in place, as in has_ended, because each request comes here.
        if not (
            header[_WHOLE] == seen
            and opened == connection.times_opened
            and connection.looked_at <= monotonic() < connection.look_again_at
        ):
            self._catch_up()
        return self._revision

    def has_ended(self, session_id: str) -> bool:
        """Whether a session has ended.

        :raises StoreUnavailable: if the database does not answer.
        """
        connection = self._connection
        opened, header, seen, hashes = self._state
        if not (
            header[_WHOLE] == seen
            and opened == connection.times_opened
            and connection.looked_at <= monotonic() < connection.look_again_at
        ):
            known = self._catch_up()
        else:
            known = hashes
        if known is not None and hash(session_id) & _MASK not in known and session_id.isascii():
            return False
        query = "SELECT 1 FROM rolecall_ended_sessions WHERE session_id = ?"
        return connection.read(query, session_id) is not None

    def _catch_up(self) -> set[int] | None:
        """Read what has changed; return the hashes, or None if there is more to read."""
        with self._connection.reading() as raw:
            opened, mapped, seen, hashes = self._state
            if opened != self._connection.times_opened or not mapped:
                opened, mapped, seen = self._connection.times_opened, header_of(self._file), None
            # In this order: a commit in between costs one more look, and is not overlooked.
            header = mapped[_WHOLE]
            if header == seen:
                return hashes
            began = monotonic()
            if seen is None and began < self._read_again_at:
                self._revision += 1  # nobody knows what there is to read
                return None
            try:
                if not self._read_changes(raw, hashes):
                    hashes = set()
                is_complete = self._read_page(raw, hashes) and not self._is_behind
                # The marks first, so that a thread that takes the state for in step finds them so.
                self.marks = self._read_marks if is_complete and not self._has_damaged_mark else self._asked_marks
                self._state = opened, mapped, header if is_complete and header else None, hashes
                self._read_again_at = 0.0 if is_complete else monotonic() + PAUSE * (monotonic() - began)
            except BaseException:
                # Rows were read that are kept nowhere, so all is read anew: also after a time limit of the app, which
                # a signal raises anywhere.
                self._last = None
                raise
            return hashes if is_complete else None

    def _read_changes(self, raw: sqlite3.Connection, hashes: set[int]) -> bool:
        """Follow the log; False if all has to be read anew."""
        rows = [] if self._last is None else raw.execute(_CHANGES, (self._last[0], LOG_PAGE)).fetchall()
        # No number is left out, and the last row stays: else the log was cut, or the database restored.
        if rows and rows[0][:2] == self._last:
            _add(hashes, (session_id for _, session_id, is_ended, *_ in rows if is_ended))
            self._learn((id_[_NAME:], value) for _, id_, _, value, _ in rows if value is not None)
            self._forgotten += sum(forgotten for *_, forgotten in rows[1:])
            self._last = rows[-1][:2]
            self._is_behind = len(rows) == LOG_PAGE
            # Nobody knows what the rest of a long log has.
            self._revision += self._is_behind or any(
                is_ended or value is not None for _, _, is_ended, value, _ in rows[1:]
            )
            # Else most of what is held is of no use, and a hash may belong to two ids.
            if self._forgotten <= max(PAGE, (len(hashes) + len(self._read_marks)) // 2):
                return True
        self._last, self._is_behind = raw.execute(_LAST).fetchone() or (0, b""), False
        self._ended_pages.begin()
        self._marks_pages.begin()
        self._read_marks, self._has_damaged_mark, self._forgotten = Marks(), False, 0
        self._revision += 1
        return False

    def _read_page(self, raw: sqlite3.Connection, hashes: set[int]) -> bool:
        """Read the next page, if one is left; return whether it was the last."""
        _add(hashes, (session_id for (session_id,) in self._ended_pages.next(raw)))
        if not self._ended_pages.are_read:
            return False
        self._learn(self._marks_pages.next(raw))
        return self._marks_pages.are_read

    def _learn(self, rows: Iterable[tuple[bytes, object]]) -> None:
        """Take in the numbers of marks."""
        for name, value in rows:
            if isinstance(value, float):
                self._read_marks.learn(name.decode("utf-8", "replace"), value)
            else:
                self._has_damaged_mark = True  # which fails no other mark


def _add(hashes: set[int], session_ids: Iterable[bytes]) -> None:
    # An id that is not ASCII is always looked up in the table.
    hashes.update(hash(session_id.decode("ascii", "replace")) & _MASK for session_id in session_ids)


# -- the shared memory -----------------------------------------------------------------------------

# A process loses SQLite's locks on a file when it closes any descriptor of it, and an app may have connections of its
# own. So each shared memory is mapped once, and let go only after SQLite has deleted it, with the last connection.
_MAPS: dict[Identity, tuple[Mapped, int]] = {}
# Those of threads that came second.
_SPARE: list[tuple[Mapped, int]] = []


def header_of(file: SQLiteFile) -> Mapped:
    """A file's WAL-index header; b"" where it cannot be mapped. A connection must be open, and have read."""
    forget_deleted()
    identity = file.look()[2]
    if identity is None or os.name != "posix":
        return b""
    if identity not in _MAPS:
        try:
            descriptor = os.open(f"{file.real}-shm", os.O_RDONLY)
        except OSError:
            return b""
        mapped: Mapped
        try:
            mapped = mmap.mmap(descriptor, HEADER, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            mapped = b""
        found = os.fstat(descriptor)
        mine = mapped, descriptor
        if _MAPS.setdefault((found.st_dev, found.st_ino), mine) is not mine:
            _SPARE.append(mine)
    return _MAPS[identity][0] if identity in _MAPS else b""


def forget_deleted() -> None:
    """Close the shared memory of files that nobody has open any more."""
    for identity, (_, descriptor) in list(_MAPS.items()):
        try:
            found = os.fstat(descriptor)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != identity:
            _MAPS.pop(identity, None)  # somebody closed it, as daemons close all files
        elif not found.st_nlink and _MAPS.pop(identity, None) is not None:
            os.close(descriptor)
