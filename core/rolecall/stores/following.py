"""Following a store behind a network: what is revoked, held in the process and kept in step with the store's log."""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Iterable
from functools import partial
from math import inf
from random import SystemRandom
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from weakref import WeakSet, ref

from ..errors import NotInStep, StoreUnavailable
from .marks import Marks
from .native import leave_thread, patching_gevent, prepare_thread, start_native_thread
from .watching import LOG, StoreWatch

#: The seconds after which a process that is out of touch with its store refuses, unless set.
MAX_STALENESS: Final = 1.0
#: The seconds for which one read of the log may wait for news, unless set.
POLL: Final = 0.25
#: The shortest and the longest pause before a read that has failed is tried again, in seconds.
PAUSES: Final = (0.02, 0.4)
#: The most seconds for which the end of a process under gevent waits for its followers.
AT_EXIT: Final = 2.0

# A session is held as this many bits of its id's hash: the most that Python keeps in two digits. The hash is keyed anew
# in each process, unless PYTHONHASHSEED is set.
_BITS: Final = 2**60 - 1
# Not the module's own, whose state belongs to the app: a test may have seeded it.
_RANDOM: Final = SystemRandom()
_LOG: Final = logging.getLogger("rolecall")

#: A place in a store's log. Only the log itself looks into it.
Position: TypeAlias = Any


class Gap(Exception):
    """Entries of the log may be missing: it was trimmed, or the store's content was replaced.

    :param noticed: what was noticed, as a clause.
    """

    def __init__(self, noticed: str) -> None:
        super().__init__(f"{noticed}, so all that is revoked is read anew")


class News(NamedTuple):
    """What a log tells. Repetitions do no harm. It may be read from the store while it is iterated over.

    :param ended: the ids of sessions that have ended.
    :param marks: the names of marks, each with its number.
    """

    ended: Iterable[str] = ()
    marks: Iterable[tuple[str, float]] = ()


class Log(Protocol):
    """The ended sessions and the marks of a store, and their changes. The follower calls it on its own thread alone.

    Its reads raise :class:`~rolecall.errors.StoreUnavailable` if the store does not answer, and do so in bounded time.
    A log does not refer to its follower, so that an abandoned follower ends.
    """

    def snapshot(self) -> tuple[News, Position]:
        """Every ended session and every mark, and the place from where :meth:`changes` continues.

        The place is determined before the first of them is read, so that nothing is missed in between.
        """

    def changes(self, after: Position, wait: float) -> tuple[News, Position]:
        """What has ended or was marked after a place in the log, and the place behind it.

        If there is nothing, it waits for something; an entry ends the wait.

        :param wait: the longest wait in seconds; 0 to return at once.
        :raises Gap: if entries after that place may be missing.
        """

    def close(self) -> None:
        """Close what the reads have opened: they were the last."""


class Follower:
    """Holds the ended sessions and the marks of a store in this process, and follows the store's log on its own thread.

    The thread starts at first use, and again in a forked child. It ends when the follower is closed or abandoned. It is
    a thread of the operating system even where gevent has replaced those.

    An ended session costs about 81 bytes: it is held as a number of 60 bits. With a chance of 10⁻¹² one of a million
    ended sessions has the same number as another session, which is then refused; none is ever accepted for another.
    What has ended stays ended in this process, even if the store forgets it.

    :param log: the store's log.
    :param max_staleness: the longest time out of touch with the store, in seconds. After it every check is refused.
    :param poll: the seconds for which one read of the log waits for news; at most a quarter of ``max_staleness``.
    """

    _started: bool

    def __init__(self, log: Log, *, max_staleness: float = MAX_STALENESS, poll: float = POLL) -> None:
        self._log = log
        self.max_staleness = max_staleness
        self._poll = min(poll, max_staleness / 4)
        self._closed = False
        self._watches: list[StoreWatch] = []
        self._begin()
        _FOLLOWERS.add(self)

    def has_ended(self, session_id: str) -> bool:
        """Whether a session has ended. It answers from memory, at once.

        :raises NotInStep: if all is still being read, or the follower is late, though nothing has failed.
        :raises StoreUnavailable: if the process has been out of touch with the store for longer than
            ``max_staleness``.
        """
        if monotonic() > self._trusted_until:
            self.start()
            # What has ended stays so, also if the store has lost it meanwhile.
            if not self._is_complete or hash(session_id) & _BITS not in self._ended:
                raise self._out_of_touch()
        return hash(session_id) & _BITS in self._ended

    def revision(self) -> object:
        """What is another one as soon as more is revoked; see :class:`~rolecall.stores.Store`.

        :raises StoreUnavailable: as :meth:`has_ended` does.
        """
        if monotonic() > self._trusted_until:
            self.start()
            raise self._out_of_touch()
        # What has ended stays ended here, so its number tells; a forked child begins anew, with marks of its own.
        marks = self.marks
        return marks, len(self._ended), marks.revision

    def add(self, session_id: str) -> None:
        """Note that this process has ended a session, so that it counts at once."""
        self._ended.add(hash(session_id) & _BITS)

    def start(self) -> None:
        """Start to follow, so that the first check need not wait. Starting again changes nothing.

        :raises StoreUnavailable: if the follower was closed, or no thread can start.
        """
        if self._pid != os.getpid():
            self._begin()
        if self._closed:
            raise StoreUnavailable("the store was closed; make another kit")
        if not self._started and _claim(self._claims):
            self._started = True
            try:
                prepare_thread()
                start_native_thread(
                    partial(_follow, ref(self), self._log, self._poll, self._pid), "rolecall: follows the store"
                )
            except RuntimeError as error:
                self._begin()
                raise StoreUnavailable(f"no thread can start to follow the store: {error}") from error

    def lag(self) -> float:
        """The seconds since this process was last known to be in step with the store; infinite before that."""
        return max(0.0, monotonic() - (self._trusted_until - self.max_staleness))

    def is_late(self) -> bool:
        """Whether the ended sessions are not known here just now."""
        return monotonic() > self._trusted_until

    def tell(self, watch: StoreWatch) -> None:
        """Report the loss of touch, and its end, to ``watch`` from now on."""
        self._watches.append(watch)

    def close(self) -> None:
        """End the thread, once its current read has returned. Later checks are refused."""
        self._closed = True
        self._trusted_until = -inf

    def _begin(self) -> None:
        """Begin with nothing, as a new process does."""
        self._pid = os.getpid()
        self._started = False
        self._claims: list[None] = [None]
        self._ended: set[int] = set()
        #: The marks, in step as of the last answer of :meth:`has_ended`.
        self.marks = Marks()
        self._trusted_until = -inf
        self._is_complete = False
        self._failure: str | None = None
        # Whether the last read that failed had an answer: the store is there, and can be asked.
        self._is_answered = False
        self._is_lost = False

    def _out_of_touch(self) -> StoreUnavailable:
        failure = self._failure
        # While the store does not answer, it is not asked either: it would keep each caller waiting in vain.
        kind = NotInStep if failure is None or self._is_answered else StoreUnavailable
        if not self._is_complete:
            return kind(f"the ended sessions have not been read from the store yet: {failure or 'they are being read'}")
        return kind(
            f"this process is out of touch with the store for longer than max_staleness ({self.max_staleness:g} s), "
            f"so a session may have been ended elsewhere: {failure or 'the thread that follows it is late'}"
        )

    def _is_done(self, pid: int) -> bool:
        return self._closed or self._pid != pid

    def _learn(self, news: News, began: float) -> Exception | None:
        """Take in what was read, as of the moment before the read began.

        :returns: why it could not be read to its end, or None.
        """
        add = self._ended.add
        try:
            for session_id in news.ended:
                add(hash(session_id) & _BITS)
            self.marks.learn_all(news.marks)
        except Exception as error:
            return error
        if self._failure is not None and self._is_complete:
            _LOG.info("the store is followed again")
        was_lost = self._is_lost or self._failure is not None
        self._failure, self._is_complete = None, True
        if not self._closed:
            self._trusted_until = began + self.max_staleness
            if was_lost and not self.is_late():
                self._is_lost = False
                for watch in self._watches:
                    watch.answered(LOG)
        return None

    def _miss(self, error: Exception) -> None:
        """Take note of a read that has failed."""
        if self._failure is None and not self._closed:
            _LOG.warning("the store is not followed: %s", error)
        self._failure, self._is_answered = str(error), isinstance(error, Gap)
        if self.is_late():
            self._lose(str(self._out_of_touch()))

    def _lose(self, reason: str) -> None:
        """Report, once, that checks are refused from now on."""
        if self._is_lost or self._closed:
            return
        self._is_lost = True
        for watch in self._watches:
            watch.failed(LOG, reason, self._trusted_until - self.max_staleness)


def _follow(follower: ref[Follower], log: Log, poll: float, pid: int) -> None:
    """Follow a log, on a thread of its own."""
    me = object()
    _RUNNING.add(me)
    try:
        _read_on(follower, log, poll, pid)
        # Here, because under gevent only the thread that has opened a connection can close it.
        log.close()
    finally:
        leave_thread()
        _RUNNING.discard(me)


def _read_on(follower: ref[Follower], log: Log, poll: float, pid: int) -> None:
    """Read the snapshot and then the changes, for as long as the follower is used in this process."""
    position: Position = None
    # Without a wait at first, and after a failure: the sooner the log has been read, the sooner checks are answered.
    wait, failures = 0.0, 0
    while True:
        began = monotonic()
        failure: Exception | None = None
        try:
            news, reached = log.snapshot() if position is None else log.changes(position, wait)
        except Exception as error:
            news, reached, failure = News(), None, error
        current = follower()
        if current is None or current._is_done(pid):
            return
        if failure is None:
            failure = current._learn(news, began)
        if failure is None:
            wait, failures = (0.0 if position is None or current.is_late() else poll), 0
            position = reached
        else:
            current._miss(failure)
            wait, failures = 0.0, failures + 1
            if isinstance(failure, Gap):
                position = None
        # Nothing here keeps an abandoned follower alive while the next read waits.
        del current, news, failure
        if failures:
            time.sleep(_pause(failures))


def _pause(failures: int) -> float:
    """The seconds before the next try. Random, so that all workers of a service do not ask at once."""
    shortest, longest = PAUSES
    return _RANDOM.uniform(0.5, 1.0) * min(longest, shortest * 2.0 ** min(failures, 16))


def _claim(claims: list[None]) -> bool:
    """Whether the caller is the only one of all threads to have claimed it: one step that cannot be interrupted."""
    try:
        claims.pop()
    except IndexError:
        return False
    return True


_FOLLOWERS: Final[WeakSet[Follower]] = WeakSet()
# What stands for each thread of this process that follows a log.
_RUNNING: Final[set[object]] = set()


def _begin_in_child() -> None:
    _RUNNING.clear()
    for follower in list(_FOLLOWERS):
        follower._begin()


def _end_at_exit() -> None:
    """End all threads where gevent has replaced sockets: its event loops crash if the interpreter ends under them."""
    if patching_gevent() is None:
        return
    for follower in list(_FOLLOWERS):
        follower.close()
    deadline = monotonic() + AT_EXIT
    while _RUNNING and monotonic() < deadline:
        time.sleep(0.005)


atexit.register(_end_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
