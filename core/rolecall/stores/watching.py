"""Watching a store: when it is lost, and when it is found again."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import isfinite
from time import monotonic
from typing import TYPE_CHECKING, Final

from .native import native_lock

if TYPE_CHECKING:
    from ..events import Event

#: What fails or answers: calls that read, calls that write, and the log of ended sessions that a follower reads.
READS: Final = "reads"
WRITES: Final = "writes"
LOG: Final = "log"
# What works again if one of them does. On a full disk reads prove nothing for writes. A log answers here only after it
# has failed, and then the whole store is back.
_PROVED: Final = {READS: {READS}, WRITES: {READS, WRITES}, LOG: {READS, WRITES, LOG}}


class StoreWatch:
    """Tells that a store is lost, and that it is found again: once for each change, whichever thread notices.

    A forked child begins anew: it has its own connections, and tells of what it notices itself.

    :param tell: takes the events, one at a time. It must return at once.
    :param clock: returns now, in Unix seconds.
    """

    def __init__(self, tell: Callable[[Event], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._by_pid: dict[int, _Here] = {}
        self._closed = False

    def failed(self, what: str, reason: str, since: float | None = None) -> None:
        """Take note of a failure.

        :param reason: for people.
        :param since: when the store last answered, by the monotonic clock, if known.
        """
        here = self._here()
        with here.lock:
            was_lost = bool(here.failing)
            here.failing.add(what)
            if was_lost or self._closed:
                return
            here.since = monotonic() if since is None or not isfinite(since) else since
            from ..events import StoreLost

            self._tell(StoreLost(at=self._clock(), reason=reason))

    def answered(self, what: str) -> None:
        """Take note of an answer."""
        here = self._here()
        if not here.failing:
            return
        with here.lock:
            was_lost = bool(here.failing)
            here.failing -= _PROVED[what]
            if here.failing or not was_lost or self._closed:
                return
            from ..events import StoreFound

            self._tell(StoreFound(at=self._clock(), seconds=monotonic() - here.since))

    def close(self) -> None:
        """Tell no more."""
        self._closed = True

    def _here(self) -> _Here:
        """What this process knows of the store."""
        # One step, so that all threads have the same.
        return self._by_pid.get(os.getpid()) or self._by_pid.setdefault(os.getpid(), _Here())


class _Here:
    """What one process knows of its store: what fails, and since when."""

    __slots__ = ("failing", "lock", "since")

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.since = 0.0
        self.lock = native_lock()
