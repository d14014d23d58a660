"""Keeps the keys of another service: read again in the background, so that no request waits for a known key."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Final, NamedTuple
from weakref import WeakSet

from ..driver import BackgroundLoop, drive
from ..errors import ConfigurationError, KeysUnavailable, NotInStep
from ..wording import printable
from .ring import KeyRing
from .sets import KeySet, read_key_set
from .sources import FETCH_SECONDS, Reading, Source, Unread

_log: Final = logging.getLogger("rolecall")
#: Requests that wait for a fetch because of an unknown ``kid``; further ones are refused at once.
MOST_WAITING: Final = 8


class Timing(NamedTuple):
    """When keys are fetched, in seconds.

    :param max_stale: the age of the last good set up to which it is used while fetches fail.
    :param refetch: the shortest time between two attempts because of an unknown ``kid``; doubled with each failure.
    :param longest_refetch: the most that it grows to.
    :param first_retry: the pause after the first failure, while there is no set; doubled with each failure.
    :param longest_retry: the most that it grows to, and the pause while there is a set.
    :param patience: the longest wait of a request for an attempt.
    """

    max_stale: float = 86_400.0
    refetch: float = 30.0
    longest_refetch: float = 300.0
    first_retry: float = 1.0
    longest_retry: float = 30.0
    patience: float = 2.0


class FollowedKeys:
    """The keys at a source. Readers take a snapshot, without a lock; one thread fetches.

    :raises ConfigurationError: if a set that was passed in, or a file, cannot be used.
    """

    def __init__(self, source: Source, timing: Timing) -> None:
        self._source = source
        self._timing = timing
        self._loop = BackgroundLoop("rolecall-keys")
        self._kept: KeySet | None = None
        self._ring: KeyRing | None = None
        # Until when the kept set may be used, and the time of the next attempt, by the monotonic clock.
        self._until = self._next = -inf
        self._may_ask = -inf
        self._failures = 0
        # The thumbprints of all keys whose private half was ever in a set; they verify nothing any more.
        self._leaked: set[str] = set()
        # The problems that the log has, since all was well.
        self._told: set[str] = set()
        self._closed = False
        #: How many attempts to fetch the keys are over.
        self.attempts = 0
        #: Called after the ring was replaced, by whoever has replaced it.
        self.on_change: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None
        self._forget()
        if source.is_near:
            try:
                self._load()
            except (Unread, ValueError) as error:
                raise ConfigurationError(f"{source.place} cannot be used: {error}") from None
        if self._next < inf:
            _ALL.add(self)
            self._start()

    def ring(self) -> KeyRing:
        """The keys.

        :raises NotInStep: if they are being fetched for the first time; see :meth:`wait`.
        :raises KeysUnavailable: if there are none, or the last good ones are too old.
        """
        if self._thread is None and self._next < inf:
            self._start()  # after a fork
        ring = self._ring
        if ring is not None and monotonic() < self._until:
            return ring
        if self._is_fetching and ring is None:
            raise NotInStep("the issuer's keys are being fetched")
        raise KeysUnavailable(f"{self._source.place} cannot be used, and no keys are left that may still be used")

    @property
    def patience(self) -> float:
        """The longest that :meth:`wait` waits, in seconds."""
        return self._timing.patience

    def is_worth_a_wait(self) -> bool:
        """Whether :meth:`wait` may find a key that is not known."""
        if self._next == inf or self._waiting >= MOST_WAITING:
            return False
        return self._is_fetching or monotonic() >= self._may_ask

    def wait(self, seen: int) -> bool:
        """Wait for the running attempt to fetch the keys, or ask for one if the last is long enough ago.

        :param seen: the ``attempts`` when the caller looked for its key; none is made if one is over since.
        :returns: whether there is nothing to wait for any more.
        """
        with self._changed:
            if self.attempts != seen:
                return True
            if not self._is_fetching and monotonic() >= self._may_ask:
                self._ask()
            if not self._is_fetching:
                return True
            self._waiting += 1
            try:
                return self._changed.wait_for(lambda: self.attempts != seen, self._timing.patience)
            finally:
                self._waiting -= 1

    def close(self) -> None:
        """End the thread, as soon as a running attempt is over."""
        with self._changed:
            self._closed = True
            self.attempts += 1
            self._changed.notify_all()

    def _ask(self) -> None:
        """Have the thread make an attempt at once. The attempt counts, not its success."""
        timing = self._timing
        self._may_ask = monotonic() + min(timing.refetch * 2.0 ** min(self._failures, 16), timing.longest_refetch)
        self._is_fetching = True
        self._changed.notify_all()

    def _start(self) -> None:
        with self._changed:
            if self._thread is not None or self._closed:
                return
            self._is_fetching = monotonic() >= self._next
            self._thread = threading.Thread(target=self._follow, name="rolecall-keys-refresh", daemon=True)
            self._thread.start()

    def _forget(self) -> None:
        # After a fork neither a thread of the parent nor a lock that it had taken can be relied on.
        self._changed = threading.Condition(threading.Lock())
        self._thread = None
        self._is_fetching = False
        self._waiting = 0

    def _follow(self) -> None:
        changed = self._changed
        while True:
            with changed:
                while not self._closed and not self._is_fetching and (rest := self._next - monotonic()) > 0:
                    changed.wait(rest)
                if self._closed:
                    break
                self._is_fetching = True
            self._attempt()
            with changed:
                self._is_fetching = False
                self.attempts += 1
                changed.notify_all()
        self._loop.close()

    def _attempt(self) -> None:
        """Read the set once, and keep the last good one if that fails."""
        try:
            self._load()
        except (Unread, ValueError) as error:
            self._failed(str(error))
        except Exception as error:
            self._failed(f"an unexpected {type(error).__name__}")

    def _load(self) -> None:
        reading = self._read()
        self._take(read_key_set(reading.data), reading.again_in)

    def _read(self) -> Reading:
        if self._source.is_near:
            return drive(self._source.read())
        return self._loop.run(self._source.read(), FETCH_SECONDS + 1)

    def _take(self, read: KeySet, again_in: float) -> None:
        if read.leaked:
            self._tell_of_leak(read)
        self._leaked |= read.leaked
        if self._kept is not None:
            self._publish(self._kept.without(read.leaked))
        good = read.without(self._leaked)
        if not good.keys:
            raise Unread("; ".join(("it holds no usable key", *read.problems[:3])))
        if read.problems:
            self._tell("%s: %s", "; ".join(read.problems[:3]))
        now = monotonic()
        self._until = now + self._timing.max_stale if again_in < inf else inf
        self._failures = 0
        self._publish(good)
        # At the end: a child that is forked before has an attempt due, and takes the keys itself.
        self._next = now + again_in
        if not read.problems:
            self._told.clear()

    def _publish(self, kept: KeySet) -> None:
        """Make ``kept`` the keys of all readers; the ring stays the same while the keys do."""
        if self._kept is None or self._kept.thumbprints != kept.thumbprints:
            self._ring = KeyRing(kept.keys.values()) if kept.keys else None
            if self.on_change is not None:
                self.on_change()
        self._kept = kept

    def _failed(self, problem: str) -> None:
        timing = self._timing
        pause = min(timing.first_retry * 2.0 ** min(self._failures, 16), timing.longest_retry)
        self._next = monotonic() + (pause if self._ring is None else timing.longest_retry)
        self._failures += 1
        self._tell("%s cannot be used, so the last good one is kept while it is not too old: %s", problem)

    def _tell_of_leak(self, read: KeySet) -> None:
        self._tell("%s shows private halves of keys, which verify nothing here from now on: %s", str(len(read.leaked)))

    def _tell(self, text: str, detail: str) -> None:
        """Log a problem, once until it changes."""
        if detail not in self._told:
            self._told.add(detail)
            _log.warning(text, self._source.place, printable(detail))


# Kept so that a forked child can reset them.
_ALL: WeakSet[FollowedKeys] = WeakSet()


def _forget_all() -> None:
    for keys in _ALL:
        keys._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
