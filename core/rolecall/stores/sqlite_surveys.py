"""Reads of an SQLite file that may take long: on a connection of their own, so that no token waits for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final

from ..errors import StoreUnavailable
from . import sqlite_file
from .sqlite_file import SharedConnection, SQLiteFile

#: Steps of SQLite's machine between two looks at the time: less than a millisecond.
_STEPS: Final = 10_000


class Surveys:
    """Listing, counting, copying and examining a file. Each read ends within the busy timeout."""

    def __init__(self, file: SQLiteFile) -> None:
        self._connection = SharedConnection(file)

    def rows(self, query: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Fetch all rows of a query, as they were at one moment.

        :raises StoreUnavailable: if the database does not answer, or takes too long.
        """
        with self.reading() as raw:
            return raw.execute(query, values).fetchall()

    @contextmanager
    def reading(self, seconds: float | None = None) -> Iterator[sqlite3.Connection]:
        """Lend the connection for some reads.

        :param seconds: how long they may take; the busy timeout unless given.
        :raises StoreUnavailable: if the database does not answer, or takes too long.
        """
        seconds = sqlite_file.BUSY_TIMEOUT if seconds is None else seconds
        deadline = monotonic() + seconds
        with self._connection.reading() as raw:
            raw.set_progress_handler(lambda: monotonic() > deadline, _STEPS)
            try:
                yield raw
            except sqlite3.OperationalError as error:
                if not is_interrupted(error):
                    raise
                raise StoreUnavailable(
                    f"the SQLite database did not answer a long query within {seconds:g} seconds; "
                    "ask when less is going on"
                ) from error
            finally:
                raw.set_progress_handler(None, 0)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def is_interrupted(error: sqlite3.Error) -> bool:
    """Whether a query was ended because it took too long."""
    # Errors that Python itself raises, as for a text that is no UTF-8, have no code.
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
