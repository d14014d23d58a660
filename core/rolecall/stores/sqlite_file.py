"""SQLite files, and connections to them that are safe with threads, greenlets and forks."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import get_ident
from time import monotonic
from typing import Any, Final, Protocol
from weakref import WeakSet, ref

from ..errors import RolecallError, StoreUnavailable
from .failures import of_a_value
from .native import native_lock

#: The longest wait of a write for other threads of its process, and again for other processes, in seconds.
BUSY_TIMEOUT: Final = 10.0
#: How long reads trust the last check of the file, in seconds. Each write is followed by a check. (A check takes up to
#: 70 µs where other work lies between two of them.)
LOOK_INTERVAL: Final = 0.05

#: What ``sqlite3`` raises. A value that SQLite cannot hold, such as a lone surrogate or a huge integer, raises one of
#: the last two.
FAILURES: Final = (sqlite3.Error, ValueError, OverflowError)
# Of these, what is raised for a value that SQLite cannot hold: no Unicode, a huge int, no moment.
_OF_A_VALUE: Final = (UnicodeEncodeError, OverflowError, sqlite3.IntegrityError)
_FORKED: Final = (
    "this process was forked while its parent was using the SQLite store, so nothing that it writes would be kept; "
    "start it anew, and fork only by Python's os.fork (uWSGI: set lazy-apps), never inside a transaction"
)

Identity = tuple[int, int]


# Where the kernel lists what is mounted, and the file systems that other machines share: neither SQLite's shared memory
# nor its locks hold there.
_MOUNTS: Final = "/proc/self/mountinfo"
_NETWORKED: Final = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "beegfs", "glusterfs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph-fuse", "fuse.s3fs", "fuse.rclone"),
    )
)


class SQLiteFile:
    """A database file. If it does not exist, it is created for its owner alone (mode 0600); its folder must exist.

    SQLite continues with a file that was deleted or replaced, and nobody else sees what it writes there. Therefore the
    file is identified by device and inode.

    :raises StoreUnavailable: if the file cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        #: The path without symbolic links, beside which SQLite puts its other files.
        self.real = real = os.path.realpath(self.path)
        self._names = (str(self.path), f"{real}-wal", f"{real}-shm")
        if (kind := _networked(os.path.dirname(real))) is not None:
            raise StoreUnavailable(
                f"the folder is on {kind}, a network file system, where workers would overwrite each other's changes; "
                "use a local disk, or a database server"
            )
        # A process loses its locks on a file when it closes any descriptor of it. No connection has a lock here yet:
        # the file is new, and others open it only behind this gate.
        with _GATE:
            try:
                os.close(os.open(real, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                pass
            except OSError as error:
                raise StoreUnavailable(f"the file cannot be made: {error.strerror}") from error
        if not os.path.isfile(real):
            raise StoreUnavailable("it is not a file")
        self.identity = _identity(self._names[0])
        self._used_by: list[ref[SharedConnection]] = []
        #: How often it was found deleted or replaced.
        self.times_missed = 0

    def used_by(self, connection: SharedConnection) -> None:
        """Have a connection look again as soon as another one finds that the file was deleted or replaced."""
        self._used_by.append(ref(connection))

    def connect(self) -> sqlite3.Connection:
        """Open a connection. A missing file is not created again."""
        self.look()
        raw = _connect(f"{self.path.as_uri()}?mode=rw")
        try:
            # FULL, because an acknowledged end of a session must survive a loss of power.
            raw.execute("PRAGMA synchronous=FULL")
        except BaseException:
            raw.close()
            raise
        return raw

    def look(self) -> tuple[Identity | None, ...]:
        """Identify the files: the database, its write-ahead log, its shared memory.

        :raises StoreUnavailable: if the database is not the original one.
        """
        found = tuple(map(_identity, self._names))
        if found[0] is None or found[0] != self.identity:
            raise self.moved()
        return found

    def moved(self) -> StoreUnavailable:
        """Have all connections of this object look at the file before they read again, and return the error.

        The error is for a file that was deleted or replaced.
        """
        self.times_missed += 1
        for one in self._used_by:
            if (connection := one()) is not None:
                connection.look_again_at = 0.0
        return StoreUnavailable(
            f"the SQLite file {str(self.path)!r}, or its -wal or -shm file, was deleted or replaced while this process "
            "used it: nothing that it reads or writes there is shared with others. Restart every worker "
            "(and stop them before a file is restored)"
        )


def _identity(name: str) -> Identity | None:
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _networked(folder: str) -> str | None:
    """The type of the folder's file system, if other machines share it; None for a local one, or an unknown one."""
    if not os.path.exists(_MOUNTS):
        return None
    with suppress(OSError):
        device = os.stat(folder).st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        with open(_MOUNTS, encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                mounted, _, described = line.partition(" - ")  # proc(5): … major:minor … - type source options
                kind = described.partition(" ")[0]
                if kind in _NETWORKED and mounted.split(" ")[2:3] == [number]:
                    return kind
    return None


class SharedConnection:
    """A connection that the threads of a process share, one at a time. It is opened when first needed.

    It is closed before a fork, and a fork waits until it is unused. A child that inherits an open connection inherits
    SQLite's records of locks, but not the locks: its writes are lost, or wait for ever.

    :param file: the database; None for one in memory, which is empty in a forked child.
    :param setup: called with each new connection.
    """

    def __init__(self, file: SQLiteFile | None, setup: Callable[[sqlite3.Connection], None] | None = None) -> None:
        self._file = file
        self._setup = setup
        self._lock = native_lock()
        self._cursor: sqlite3.Cursor | None = None
        self._found: tuple[Identity | None, ...] = ()
        #: When the file was looked at, and until when that counts, by the monotonic clock.
        self.looked_at = self.look_again_at = 0.0
        self._closed = False
        #: How often the connection was opened.
        self.times_opened = 0
        # Whether a fork waits for this connection, and whether it has got it.
        self._wanted = False
        self._paused = False
        if file is not None:
            file.used_by(self)
        with _GATE:
            _CONNECTIONS.add(self)

    @property
    def log(self) -> Identity | None:
        """The write-ahead log that the connection uses, as of the last look at the file."""
        return self._found[1] if self._found else None

    def is_fresh(self) -> bool:
        """Whether the connection is open, and the file was looked at within :data:`LOOK_INTERVAL`."""
        return self.looked_at <= monotonic() < self.look_again_at

    def read(self, query: str, value: object) -> tuple[Any, ...] | None:
        """Fetch the only row of a query with one parameter; None if there is none.

        :raises StoreUnavailable: if the database does not answer.
        """
        try:
            if not (self.is_fresh() and self._lock.acquire(False)):
                self._acquire()
            try:
                cursor = self._cursor or self._open()
                row: tuple[Any, ...] | None = cursor.execute(query, (value,)).fetchone()
            finally:
                self._lock.release()
        except FAILURES as error:
            raise self.unavailable(error) from error
        return row

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run one writing transaction at a time. It is rolled back if the block raises.

        :raises StoreUnavailable: if the database does not answer, or if its file was deleted or replaced meanwhile.
        """
        try:
            raw = self._acquire().connection
            try:
                try:
                    # IMMEDIATE, because a reader that becomes a writer fails at once while another one writes.
                    raw.execute("BEGIN IMMEDIATE")
                    yield raw
                    raw.execute("COMMIT")
                except BaseException:
                    self._undo(raw)
                    raise
                # After the commit: a write to a file that was gone by then is not acknowledged.
                self._look()
            finally:
                self._lock.release()
        except RolecallError:
            raise
        except FAILURES as error:
            raise self.unavailable(error) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for reads, which block no other process.

        :raises StoreUnavailable: if the database does not answer.
        """
        try:
            cursor = self._acquire()
            try:
                yield cursor.connection
            finally:
                self._lock.release()
        except RolecallError:
            raise
        except FAILURES as error:
            raise self.unavailable(error) from error

    def close(self) -> None:
        """Close the connection as soon as it is unused. It is not opened again."""
        self._closed = True
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection as soon as it is unused. It is opened again when needed."""
        notice_a_fork()
        if self._lock.acquire(timeout=BUSY_TIMEOUT):
            try:
                self._close()
            finally:
                self._lock.release()

    def _acquire(self) -> sqlite3.Cursor:
        """Take the lock, and a cursor on a file that still exists. The caller releases the lock."""
        if self._wanted:
            _let_a_fork_pass()
        notice_a_fork()
        if not self._lock.acquire(timeout=BUSY_TIMEOUT):
            raise StoreUnavailable(f"the SQLite database is locked: other threads used it for {BUSY_TIMEOUT:g} seconds")
        try:
            cursor = self._cursor or self._open()
            if not self.is_fresh():
                self._look()
        except BaseException:
            self._lock.release()
            raise
        return cursor

    def _open(self) -> sqlite3.Cursor:
        if self._closed:
            raise StoreUnavailable("the store was closed; make another kit")
        if self._file is not None and self._file.identity in _INHERITED:
            raise StoreUnavailable(_FORKED)
        raw = _connect(":memory:") if self._file is None else self._file.connect()
        try:
            if self._setup is not None:
                self._setup(raw)
            raw.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()  # opens the write-ahead log, too
            self._found = ()
            self._look()
        except BaseException:
            raw.close()
            raise
        self._cursor = raw.cursor()
        self.times_opened += 1
        return self._cursor

    def _look(self) -> None:
        file, missed = self._file, 0
        if file is not None:
            missed = file.times_missed
            found = file.look()
            # A missing log may appear: the file is switched to WAL mode. None disappears while the file is open.
            if found != self._found:
                if any(then is not None and then != now for then, now in zip(self._found, found, strict=False)):
                    raise file.moved()
                self._found = found
        self.looked_at = monotonic()
        self.look_again_at = self.looked_at + LOOK_INTERVAL
        if file is not None and file.times_missed != missed:
            self.look_again_at = 0.0  # another connection has found it gone meanwhile

    def _undo(self, raw: sqlite3.Connection) -> None:
        try:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
        except sqlite3.Error:
            self._close()  # which rolls back as well

    def _close(self) -> None:
        self.look_again_at = 0.0
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.connection.close()

    def unavailable(self, error: Exception) -> StoreUnavailable:
        """The error for a failure of SQLite."""
        if isinstance(error, _OF_A_VALUE):
            return of_a_value(f"the SQLite store cannot hold this: {error}")
        if self._file is None:
            return StoreUnavailable(f"the SQLite database in memory does not answer: {error}")
        try:
            self._file.look()
        except StoreUnavailable as moved:
            return moved
        return StoreUnavailable(f"the SQLite file {str(self._file.path)!r} does not answer: {error}")

    def _pause(self, until: float) -> None:
        self._wanted = True
        self._paused = self._lock.acquire(False)
        while not self._paused and monotonic() < until:
            self.look_again_at = 0.0  # so that reads pass through the gate
            self._paused = self._lock.acquire(timeout=0.1)
        if self._paused and self._file is not None:
            with suppress(sqlite3.Error):
                self._close()

    def _resume(self) -> None:
        self._wanted = False
        if self._paused:
            self._paused = False
            self._lock.release()

    def begin_in_child(self) -> None:
        """Leave the parent's connection alone."""
        used = self._lock.locked() and not self._paused
        if self._file is not None and (used or self._cursor is not None):
            # Neither use nor close it: closing would roll back the parent's transaction.
            _INHERITED.setdefault(self._file.identity, []).append(self._cursor)
            self._cursor = None
        self._close()
        self._lock = native_lock()
        self._wanted = self._paused = False

    def __del__(self) -> None:
        if getattr(self, "_cursor", None) is not None and _pid == os.getpid():
            self._close()


class _Connection(sqlite3.Connection):
    def __del__(self) -> None:
        # As sqlite3 itself does, but without the warning of Python 3.13: where a whole kit is abandoned, the collector
        # may come here before SharedConnection.__del__.
        with suppress(sqlite3.Error):  # it was never opened
            self.close()


def _connect(target: str) -> sqlite3.Connection:
    # Transactions begin explicitly. The holder of the lock uses the connection, on any thread.
    return sqlite3.connect(
        target,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
        factory=_Connection,
    )


# -- forks -----------------------------------------------------------------------------------------


class _Forkable(Protocol):
    def pause(self, until: float) -> None:
        """Stop where a fork may copy it, or give up at this time on the monotonic clock."""

    def resume(self) -> None:
        """Go on in the parent."""

    def begin_in_child(self) -> None: ...


# Held by the thread that forks.
_FORK = native_lock()
# Held during a fork, and by operations that must not run during one.
_GATE = native_lock()
_CONNECTIONS: WeakSet[SharedConnection] = WeakSet()
_OTHERS: WeakSet[_Forkable] = WeakSet()
# Connections that this process has inherited open, by file. No other connection to such a file is safe in it.
_INHERITED: dict[Identity | None, list[sqlite3.Cursor | None]] = {}
_forking_thread: int | None = None
_has_gate = False
_pid = os.getpid()


def tell_in_child(one: _Forkable) -> None:
    """Have ``one`` paused during each fork, and told in the child before the store is used there."""
    with _GATE:
        _OTHERS.add(one)


def notice_a_fork() -> None:
    """Begin anew if this is a forked child, and something other than Python has forked it."""
    if _pid != os.getpid():
        _begin_unannounced()


def _let_a_fork_pass() -> None:
    # A connection's lock is not fair: without this, busy threads could delay a fork for long.
    if not _GATE.acquire(timeout=2 * BUSY_TIMEOUT):
        raise StoreUnavailable("the process is being forked, and that takes too long")
    _GATE.release()


def _before_fork() -> None:
    global _forking_thread, _has_gate
    # As long as the holder of a lock may wait. After that the child refuses to use the store.
    until = monotonic() + 2 * BUSY_TIMEOUT
    if not _FORK.acquire(timeout=2 * BUSY_TIMEOUT):
        return
    _forking_thread = get_ident()
    # Before the gate, through which they may have to pass on their way to a stop.
    for one in list(_OTHERS):
        one.pause(until)
    _has_gate = _GATE.acquire(timeout=max(0.0, until - monotonic()))
    if _has_gate:
        # Connections in use come first, so that the others can be used until their turn.
        for connection in sorted(_CONNECTIONS, key=lambda one: not one._lock.locked()):
            connection._pause(until)


def _after_fork_in_parent() -> None:
    global _forking_thread, _has_gate
    if _forking_thread == get_ident():
        _forking_thread = None
        for connection in list(_CONNECTIONS):
            connection._resume()
        if _has_gate:
            _has_gate = False
            _GATE.release()
        for one in list(_OTHERS):
            one.resume()
        _FORK.release()


def _after_fork_in_child() -> None:
    global _FORK, _GATE, _forking_thread, _has_gate, _pid
    _FORK, _GATE, _forking_thread, _has_gate = native_lock(), native_lock(), None, False
    for connection in list(_CONNECTIONS):
        connection.begin_in_child()
    for one in list(_OTHERS):
        one.begin_in_child()
    _pid = os.getpid()


def _begin_unannounced() -> None:
    # Called if something other than Python has forked.
    gate = _GATE
    if not gate.acquire(timeout=BUSY_TIMEOUT):
        raise StoreUnavailable(_FORKED)
    try:
        if _pid != os.getpid():
            _after_fork_in_child()
    finally:
        gate.release()


# Fork hooks run in reverse order of registration. These modules are imported first, so that they take their locks after
# the wait here.
for _earlier in ("logging", "concurrent.futures.thread"):
    import_module(_earlier)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
