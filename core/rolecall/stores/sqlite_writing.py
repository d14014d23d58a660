"""The queue of changes to an SQLite file: waiting changes are written together, by one thread of each process."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Any, Final, Generic, TypeAlias, TypeVar

from ..errors import StoreUnavailable
from . import sqlite_file
from .failures import for_one_of_several
from .native import native_lock, signal, start_native_thread
from .sqlite_file import FAILURES, SharedConnection, SQLiteFile
from .sqlite_lock import LockFile
from .sqlite_log import WriteAheadLog

Answer = TypeVar("Answer")
#: Makes a change within a transaction, by statements of which a failed one leaves the others' work as it is.
Work: TypeAlias = Callable[[sqlite3.Connection], Answer]

#: The most changes of one transaction.
TOGETHER: Final = 256
#: Seconds after which a thread without work ends.
IDLE: Final = 1.0


@contextmanager
def undone_if_it_fails(raw: sqlite3.Connection) -> Iterator[None]:
    """Undo all statements of the block if one of them fails, and none of what others wrote in the transaction."""
    raw.execute("SAVEPOINT rolecall_change")
    try:
        yield
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK TO rolecall_change")
        raise
    finally:
        if raw.in_transaction:
            raw.execute("RELEASE rolecall_change")


class WriteQueue:
    """Changes that wait to be written, first come, first served.

    A thread takes all that wait, writes them in one transaction, and acknowledges them when the disk has them. Callers
    wait with a deadline, whatever the thread hangs in: another process's lock, or the disk. A change that still waits
    then is withdrawn.

    :param connection: used by the thread alone; it commits with ``synchronous=NORMAL``.
    """

    def __init__(self, file: SQLiteFile, connection: SharedConnection) -> None:
        self._connection = connection
        self._lock_file = LockFile(file.real)
        self._log = WriteAheadLog(f"{file.real}-wal", connection)
        self._mutex, self._working, self._wake = _fresh_locks()
        self._waiting: deque[_Change[Any]] = deque()
        self._has_thread = self._is_idle = self._is_paused = False
        sqlite_file.tell_in_child(self)

    def write(self, work: Work[Answer]) -> Answer:
        """Make a change, and return its answer once it is durable.

        :raises StoreUnavailable: if it was not made, or if that is unknown; the message says which.
        """
        sqlite_file.notice_a_fork()
        change = _Change(work)
        self._submit(change)
        try:
            change.signal.wait(sqlite_file.BUSY_TIMEOUT)
        finally:
            with self._mutex:
                if not change.is_done:
                    self._give_up(change)
                change.signal.close()
        return self._answer(change)

    def close(self) -> None:
        """Release the files, after what is being written is durable. What waits is refused."""
        sqlite_file.notice_a_fork()
        is_still = self._working.acquire(timeout=sqlite_file.BUSY_TIMEOUT)
        self._connection.close()
        if is_still:
            self._log.close()
            self._lock_file.close()
            self._working.release()

    # -- in callers ------------------------------------------------------------------------------

    def _submit(self, change: _Change[Any]) -> None:
        with self._mutex:
            self._waiting.append(change)
            starts, wakes = not self._has_thread, self._is_idle
            self._has_thread, self._is_idle = True, False
            if wakes:
                self._wake.release()
        if starts:
            try:
                start_native_thread(self._serve, "rolecall: writes to SQLite")
            except RuntimeError:  # the interpreter shuts down, or the system has no more threads
                self._serve(idle=0.0)

    def _give_up(self, change: _Change[Any]) -> None:
        change.is_given_up = True
        change.was_taken = change not in self._waiting
        if not change.was_taken:
            self._waiting.remove(change)

    def _answer(self, change: _Change[Answer]) -> Answer:
        if not change.is_given_up:
            if change.error is not None:
                raise change.error
            return change.answer
        seconds = f"{sqlite_file.BUSY_TIMEOUT:g} seconds"
        if change.was_taken:
            raise StoreUnavailable(
                f"the SQLite database has not answered within {seconds}: its disk hangs, or is too slow; "
                "whether the change was made is unknown"
            )
        raise StoreUnavailable(
            f"the SQLite database is locked: others wrote to it for {seconds}, or its disk hangs; "
            "the change was not made"
        )

    # -- in the thread ---------------------------------------------------------------------------

    def _serve(self, idle: float = IDLE) -> None:
        while self._is_needed(idle):
            with self._working:
                self._write_together()

    def _is_needed(self, idle: float) -> bool:
        """Wait for changes; False if none come within ``idle`` seconds."""
        with self._mutex:
            if self._waiting:
                return True
            self._is_idle = True
        if self._wake.acquire(timeout=idle):
            return True
        with self._mutex:
            if self._is_idle:
                self._is_idle = self._has_thread = False
                return False
        self._wake.acquire()  # somebody has just released it
        return True

    def _write_together(self) -> None:
        taken: list[_Change[Any]] = []
        with self._mutex:
            first = set(self._waiting)
        try:
            with self._lock_file.held(), self._connection.transaction() as raw:
                # Not earlier: what still waits can be withdrawn.
                taken += self._take()
                for change in taken:
                    change.make(raw)
            self._log.sync()
        except BaseException as error:
            # What came meanwhile has waited less long than the others: it is tried once more.
            for change in taken or self._withdraw(first):
                change.error = for_one_of_several(error)
                self._finish(change)
            return
        for change in taken:
            if isinstance(change.error, FAILURES):
                change.error = self._connection.unavailable(change.error)
            self._finish(change)

    def _take(self) -> list[_Change[Any]]:
        with self._mutex:
            return [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]

    def _withdraw(self, changes: set[_Change[Any]]) -> set[_Change[Any]]:
        """Those of the changes that still wait, which do so no longer."""
        with self._mutex:
            withdrawn = changes.intersection(self._waiting)
            for change in withdrawn:
                self._waiting.remove(change)
        return withdrawn

    def _finish(self, change: _Change[Any]) -> None:
        with self._mutex:
            if not change.is_given_up:
                change.is_done = True
                change.signal.send()

    # -- forks -----------------------------------------------------------------------------------

    def pause(self, until: float) -> None:
        """Wait until what was committed is durable: a fork closes connections, and SQLite may delete the log then."""
        self._is_paused = self._working.acquire(timeout=max(0.0, until - monotonic()))

    def resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._working.release()

    def begin_in_child(self) -> None:
        """Forget the parent's thread, and what waited for it."""
        # The child's copies of the descriptors would keep the parent's lock after its death.
        self._lock_file.close()
        self._log.close()
        self._mutex, self._working, self._wake = _fresh_locks()
        self._waiting.clear()
        self._has_thread = self._is_idle = self._is_paused = False


def _fresh_locks() -> tuple[Lock, Lock, Lock]:
    locks = native_lock(), native_lock(), native_lock()
    locks[-1].acquire()
    return locks


class _Change(Generic[Answer]):
    """One change, and what became of it."""

    __slots__ = ("answer", "error", "is_done", "is_given_up", "signal", "was_taken", "work")

    def __init__(self, work: Work[Answer]) -> None:
        self.work = work
        self.signal = signal()
        self.answer: Answer
        self.error: BaseException | None = None
        self.is_done = self.is_given_up = self.was_taken = False

    def make(self, raw: sqlite3.Connection) -> None:
        try:
            self.answer = self.work(raw)
        except Exception as error:
            if not raw.in_transaction:
                raise  # SQLite has undone the changes before this one, too
            self.error = error
