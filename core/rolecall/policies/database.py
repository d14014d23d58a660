"""What some policies remember: in one SQLite file that all workers share, or in the memory of one process."""

from __future__ import annotations

import os
import sqlite3
from contextlib import AbstractContextManager
from typing import TypeAlias

from ..errors import ConfigurationError, StoreUnavailable
from ..stores.sqlite_file import SharedConnection, SQLiteFile
from ..wording import shown

#: A path; None stands for memory.
File: TypeAlias = str | os.PathLike[str] | None


class Database:
    """Tables, and transactions on them of which one runs at a time, in whatever thread or process.

    :param file: the SQLite file, which may be that of the kit's store. It is created for its owner alone if it does
        not exist. None for the memory of this process; a forked child begins with an empty one.
    :param schema: statements that make the tables where they do not exist, separated by ``;``.
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
            self._connection.disconnect()  # a server may fork its workers now
        except (StoreUnavailable, ValueError) as error:
            raise ConfigurationError(
                f"cannot keep a policy's state in {os.path.abspath(file)!r}: {error}; "
                "its folder must exist and be writable, and the file be a database or not exist"
            ) from None

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """One transaction, which others wait for; it is undone where the block raises.

        :raises StoreUnavailable: if the database does not answer.
        """
        return self._connection.transaction()

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection that only reads, and for which no other process waits.

        :raises StoreUnavailable: if the database does not answer.
        """
        return self._connection.reading()

    def _create(self, connection: sqlite3.Connection) -> None:
        for statement in filter(str.strip, self._schema.split(";")):
            connection.execute(statement)
