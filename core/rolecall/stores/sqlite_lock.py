"""The lock file beside a database, in which the writers of all processes wait in order."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from ..errors import StoreUnavailable

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: SQLite's own waiting has no order, but keeps writers apart
    fcntl = None

#: Seconds between two attempts of a process that starts.
_RETRY: Final = 0.005


class LockFile:
    """An empty file whose ``flock`` is held for the length of one transaction.

    It only orders the writers; what keeps them apart is SQLite's own lock. ``flock`` belongs to a descriptor, so one
    ``LockFile`` is used by one thread at a time. The file is never deleted.

    :param database: the path of the database, whose owner and mode the file gets.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self.path = f"{database}-lock"
        self._descriptor: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. The wait has no bound; the system wakes the waiting in the order in which they came.

        :raises StoreUnavailable: if the file cannot be opened.
        """
        self._acquire(0 if fcntl is None else fcntl.LOCK_EX)
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def held_within(self, seconds: float) -> Iterator[None]:
        """Hold the lock, after a wait without order: for a process that starts, and must not wait for ever.

        :raises StoreUnavailable: if others held it all the time.
        """
        deadline = time.monotonic() + seconds
        while not self._acquire(0 if fcntl is None else fcntl.LOCK_EX | fcntl.LOCK_NB):
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"the SQLite database is locked: other workers used it for {seconds:g} seconds")
            time.sleep(_RETRY)
        try:
            yield
        finally:
            self._release()

    def close(self) -> None:
        """Close the file. It is opened again when needed."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def _acquire(self, how: int) -> bool:
        if fcntl is None:
            return True
        while True:
            if self._descriptor is None:
                self._descriptor = self._open()
            try:
                fcntl.flock(self._descriptor, how)
            except BlockingIOError:
                return False
            except OSError as error:
                self.close()
                raise StoreUnavailable(f"the lock file {self.path!r} cannot be locked: {error.strerror}") from error
            if os.fstat(self._descriptor).st_nlink:
                return True
            self.close()  # somebody has deleted it, so others wait elsewhere

    def _release(self) -> None:
        if fcntl is not None and self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _open(self) -> int:
        try:
            try:
                return os.open(self.path, os.O_RDWR)
            except FileNotFoundError:
                return self._make()
        except OSError as error:
            raise StoreUnavailable(f"the lock file {self.path!r} cannot be opened: {error.strerror}") from error

    def _make(self) -> int:
        like = os.stat(self._database)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, stat.S_IMODE(like.st_mode) & 0o666)
        # As SQLite makes its own files: whoever may write to the database may wait for it.
        made = os.fstat(descriptor)
        if made.st_uid == os.geteuid():
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode) & 0o666)
            if os.geteuid() == 0:
                os.fchown(descriptor, like.st_uid, like.st_gid)
        return descriptor
