"""The state of policies: in one SQLite file that all workers share, or in the memory of one process."""

from __future__ import annotations

import os
import sqlite3
from contextlib import AbstractContextManager
from typing import TypeAlias

from ..errors import ConfigurationError, StoreUnavailable
from ..stores.sqlite_file import SharedConnection, SQLiteFile
from ..wording import shown

#: A path, or None for memory.
File: TypeAlias = str | os.PathLike[str] | None


class Database:
    """Tables, and transactions on them, one at a time across all threads and processes.

    :param file: the SQLite file, which may be that of the kit's store. If it does not exist, it is created, readable
        for its owner alone. None for the memory of this process; a forked child starts empty.
    :param schema: statements that create missing tables, separated by ``;``.
    :raises ConfigurationError: if the file cannot be opened as an SQLite database.
    """

    def __init__(self, file: File, schema: str) -> None:
        if file is not None and (not isinstance(file, str | os.PathLike) or str(file) in ("", ":memory:")):
            raise ConfigurationError(f"file is {shown(file)}; expected a path, or None to keep it in memory")
        self._schema = schema
        if file is None:
            self._connection = SharedConnection(None, self._create)
            return
        try:
            self._connection = SharedConnection(SQLiteFile(file))
            with self.transaction() as connection:
                self._create(connection)
            self._connection.disconnect()  # so that a server may fork its workers
        except (StoreUnavailable, ValueError) as error:
            raise ConfigurationError(
                f"cannot keep a policy's state in {os.path.abspath(file)!r}: {error}; "
                "its folder must exist and be writable, and the file be a database or not exist"
            ) from None

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """One transaction at a time; it is rolled back if the block raises.

        :raises StoreUnavailable: if the database does not answer.
        """
        return self._connection.transaction()

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection for reading; it blocks no other process.

        :raises StoreUnavailable: if the database does not answer.
        """
        return self._connection.reading()

    def _create(self, connection: sqlite3.Connection) -> None:
        for statement in filter(str.strip, self._schema.split(";")):
            connection.execute(statement)
