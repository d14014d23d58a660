"""SQLite's write-ahead log, written through to the disk outside of all locks."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import suppress
from typing import Final

from ..errors import StoreUnavailable
from .sqlite_file import Identity, SharedConnection

_UNKNOWN: Final = "whether the change was made is unknown"


class WriteAheadLog:
    """The ``-wal`` file of a database. One thread uses it at a time.

    ``COMMIT`` with ``synchronous=NORMAL`` makes a change visible, and :meth:`sync` makes it durable. In between other
    writers go on, so that the syncs of all processes run in parallel.

    :param path: the ``-wal`` file.
    :param connection: a connection to its database.
    """

    def __init__(self, path: str, connection: SharedConnection) -> None:
        self._path = path
        self._connection = connection
        self._descriptor: int | None = None
        # After a failed sync the system may have dropped what it could not write, and later frames hang on it.
        self._is_suspect = False

    def sync(self) -> None:
        """Write through to the disk all that was committed before the call, by any process.

        :raises StoreUnavailable: if the disk does not take it. From then on nothing is durable, until SQLite has
            copied the whole log into the database.
        """
        if self._is_suspect:
            self._empty()
            return
        try:
            _sync(self._opened(self._connection.log))
        except OSError as error:
            self._is_suspect = True
            raise StoreUnavailable(f"the disk does not take the SQLite log: {error.strerror}; {_UNKNOWN}") from error

    def close(self) -> None:
        """Close the file. It is opened again when needed."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def _opened(self, log: Identity | None) -> int:
        """The descriptor of the log that the last commit went to."""
        if self._descriptor is not None and _identity_of(self._descriptor) != log:
            self.close()
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR)
            if _identity_of(self._descriptor) != log:
                raise FileNotFoundError(None, "it was replaced")
        return self._descriptor

    def _empty(self) -> None:
        try:
            with self._connection.reading() as raw:
                (is_busy, *_) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (sqlite3.Error, StoreUnavailable) as error:
            raise StoreUnavailable(f"the SQLite log is damaged, and cannot be emptied: {error}; {_UNKNOWN}") from error
        if is_busy:
            raise StoreUnavailable(f"the SQLite log is damaged, and others use it; {_UNKNOWN}")
        self._is_suspect = False


def _identity_of(descriptor: int) -> Identity | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync there leaves it in the disk's cache
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)
