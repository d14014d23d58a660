"""The ended sessions of an SQLite file, in memory, in step with every commit of every process."""

from __future__ import annotations

import mmap
import os
import sqlite3
from collections.abc import Iterable
from typing import Final, TypeAlias

from .sqlite_file import Identity, SharedConnection, SQLiteFile

#: The first copy of the WAL-index header. SQLite writes it as the act that makes a commit visible
#: (https://sqlite.org/walformat.html, section 2.1).
HEADER: Final = 48
#: The most rows of one read: about a millisecond.
PAGE: Final = 1000

Mapped: TypeAlias = mmap.mmap | bytes

_MASK: Final = (1 << 60) - 1
# As BLOB, so that a damaged id fails no other one.
_PAGE: Final = """
    SELECT CAST(session_id AS BLOB) FROM rolecall_ended_sessions
    WHERE session_id >= CAST(? AS TEXT) AND typeof(session_id) = 'text' ORDER BY session_id LIMIT ?
"""
_LAST: Final = "SELECT sequence, CAST(id AS BLOB) FROM rolecall_changes ORDER BY sequence DESC LIMIT 1"
# The log says what has changed, and the table what holds.
_CHANGES: Final = """
    SELECT sequence, CAST(id AS BLOB), kind = 'session ended'
        AND EXISTS (SELECT 1 FROM rolecall_ended_sessions WHERE session_id = id),
        CASE kind WHEN 'ends forgotten' THEN CAST(id AS INTEGER) ELSE 0 END
    FROM rolecall_changes WHERE sequence >= ? ORDER BY sequence LIMIT ?
"""


class EndedSessions:
    """Tells whether a session has ended: in less than a microsecond if nothing was committed since the last call.

    Each call compares the header of SQLite's shared memory with the one it saw last. If they differ, it reads what the
    log of changes has more. The ids are kept as hashes of 60 bits, and the table has the last word on each that is
    found; so a wrong hash refuses nobody.

    The first calls read the ended sessions, a page each, and ask the table meanwhile.

    :param connection: shared with other reads.
    """

    def __init__(self, file: SQLiteFile, connection: SharedConnection) -> None:
        self._file = file
        self._connection = connection
        # One tuple, so that a thread sees all of it as it was at one moment: how often the connection was opened; its
        # shared memory; the header when all was read, or None; the hashes of what has ended by then.
        self._state: tuple[int, Mapped, bytes | None, set[int]] = (0, b"", None, set())
        # The last id of the last page; None after the last page.
        self._page: bytes | None = b""
        # The last row of the log of changes; None before the first page.
        self._last: tuple[int, bytes] | None = None
        # How many ends were forgotten since the first page.
        self._forgotten = 0
        #: How often more was found to have ended, as of the last call.
        self.revision = 0

    def __contains__(self, session_id: str) -> bool:
        """Whether a session has ended.

        :raises StoreUnavailable: if the database does not answer.
        """
        connection = self._connection
        opened, header, seen, hashes = self._state
        if header[:HEADER] != seen or opened != connection.times_opened or not connection.is_fresh():
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
            header = mapped[:HEADER]
            if header == seen:
                return hashes
            known = len(hashes)
            if not self._read_changes(raw, hashes):
                hashes, known = set(), -1
            is_complete = self._read_page(raw, hashes)
            self._state = opened, mapped, header if is_complete and header else None, hashes
            self.revision += len(hashes) != known
            return hashes if is_complete else None

    def _read_changes(self, raw: sqlite3.Connection, hashes: set[int]) -> bool:
        """Follow the log; False if all has to be read anew."""
        last, rows = self._last, []
        while last is not None:
            rows = raw.execute(_CHANGES, (last[0], PAGE)).fetchall()
            # No number is left out, and the last row stays: else the log was cut, or the database restored.
            if not rows or rows[0][:2] != last:
                break
            _add(hashes, (session_id for _, session_id, is_ended, _ in rows if is_ended))
            self._forgotten += sum(forgotten for *_, forgotten in rows[1:])
            self._last = last = rows[-1][:2]
            if self._forgotten > max(PAGE, len(hashes) // 2):
                break  # most of what is held is of no use, and a hash may belong to two ids
            if len(rows) < PAGE:
                return True
        self._last = raw.execute(_LAST).fetchone() or (0, b"")
        self._page, self._forgotten = b"", 0
        return False

    def _read_page(self, raw: sqlite3.Connection, hashes: set[int]) -> bool:
        """Read the next page of ended sessions, if one is left; return whether it was the last."""
        if self._page is not None:
            rows = raw.execute(_PAGE, (self._page, PAGE)).fetchall()
            _add(hashes, (session_id for (session_id,) in rows))
            self._page = rows[-1][0] if len(rows) == PAGE else None
        return self._page is None


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
