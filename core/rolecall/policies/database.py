"""What some policies remember: in one SQLite file that all workers share, or in the memory of one process."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from ..errors import ConfigurationError, StoreUnavailable, shown
from ..stores.sqlite import BUSY_TIMEOUT, immediate

#: A path; None stands for memory.
File: TypeAlias = str | os.PathLike[str] | None


class Database:
    """Tables, and transactions on them of which one runs at a time, in whatever thread or process.

    :param file: the SQLite file, which may be that of the kit's store; None for the memory of this process.
    :param schema: statements that make the tables where they do not exist, separated by ``;``.
    :raises ConfigurationError: if the file cannot be opened as an SQLite database.
    """

    def __init__(self, file: File, schema: str) -> None:
        if file is not None and (not isinstance(file, str | os.PathLike) or str(file) in ("", ":memory:")):
            raise ConfigurationError(f"file is {shown(file)}; expected a path, or None to keep it in memory")
        self._path = None if file is None else Path(file).absolute()
        self._schema = schema
        self._memory: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        try:
            with self.transaction() as connection:
                self._create(connection)
        except (StoreUnavailable, ValueError) as error:
            raise ConfigurationError(
                f"cannot keep a policy's state in {str(self._path)!r}: {error}; "
                "its folder must exist and be writable, and the file be a database or not exist"
            ) from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which others wait for; it is undone where the block raises.

        :raises StoreUnavailable: if the database does not answer.
        """
        try:
            with self._connection() as connection, immediate(connection):
                yield connection
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the SQLite file of a policy does not answer: {error}") from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that only reads, and for which no other process waits.

        :raises StoreUnavailable: if the database does not answer.
        """
        try:
            with self._connection() as connection:
                yield connection
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the SQLite file of a policy does not answer: {error}") from error

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if self._path is not None:
            # A new one each time: it takes a fraction of what the commit takes, and no fork can inherit it.
            connection = _connect(self._path)
            try:
                yield connection
            finally:
                connection.close()
            return
        if self._pid != os.getpid():
            # What a forked parent remembered is not this process's, nor is a lock that it held at that moment.
            self._lock, self._memory, self._pid = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._memory is None:
                self._memory = _connect(":memory:")
                self._create(self._memory)
            yield self._memory

    def _create(self, connection: sqlite3.Connection) -> None:
        for statement in filter(str.strip, self._schema.split(";")):
            connection.execute(statement)

    def __del__(self) -> None:
        if getattr(self, "_memory", None) is not None:
            self._memory.close()  # type: ignore[union-attr]


def _connect(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
