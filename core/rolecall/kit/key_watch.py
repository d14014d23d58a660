"""Watches the files and the store that a kit's keys are in, on a thread of its own, so that requests do not."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import Final, Protocol, TypeAlias
from weakref import WeakSet, ref

#: The seconds between two looks at the files, and at what this process knows of the store.
EVERY: Final = 1.0
#: The seconds between two calls of plugins with keys, and between two reads of the store in any case.
ASK_EVERY: Final = 60.0
#: The seconds between two log lines about the same failure.
TOLD_EVERY: Final = 60.0

_LOG: Final = logging.getLogger("rolecall")
#: What a file's change shows in: modification in nanoseconds, size, and inode; None if it cannot be looked at.
_Mark: TypeAlias = tuple[int, int, int] | None
_UNREAD: Final = object()


class Followed(Protocol):
    """Keys that a watch has read again."""

    def reload(self) -> None:
        """Read all keys again. It may raise anything, and has changed nothing then."""

    def begin_anew(self) -> None:
        """Release what a thread of the parent may have held, in a forked child."""


class KeyWatch:
    """Reads keys again when their files, or those in the store, change. It ends when it is closed, or its keys are
    abandoned.

    Files that cannot be read, or that hold no good ring, are an error in the log, at once and each minute; the keys
    stay as they were, and the next look tries again; so it is with the store. A plugin that fails is asked again when
    its minute is over.
    """

    def __init__(self, keys: Followed) -> None:
        self._keys = ref(keys)
        self._looks: list[Callable[[], object]] = []
        # By look, what it saw when the keys were read the last time.
        self._seen: list[object] = []
        self._asks_each_minute = False
        self._asked_at = monotonic()
        self._told: tuple[str, float] | None = None
        self._closed = False
        self._pid = 0
        self._stop = threading.Event()
        _WATCHES.add(self)

    def follow(
        self, paths: Iterable[str], changes: Iterable[Callable[[], object]] = (), *, asks_each_minute: bool
    ) -> None:
        """Follow these files, too, and other places.

        :param changes: functions that take microseconds, and whose answers differ when there are other keys.
        :param asks_each_minute: whether the keys are read each minute in any case: plugins have some, or the store.
        """
        looks: list[Callable[[], object]] = [*(partial(_mark, path) for path in paths), *changes]
        # The first look reads them in any case: they may have changed since the kit has read them.
        self._seen += [_UNREAD] * len(looks)
        self._looks += looks
        self._asks_each_minute = self._asks_each_minute or asks_each_minute
        self.start()

    def start(self) -> None:
        """Start the thread, once in each process."""
        if self._closed or self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._stop = threading.Event()
        watch, stop = ref(self), self._stop
        threading.Thread(target=_run, args=(watch, stop), name="rolecall keys", daemon=True).start()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._stop.set()

    def look(self) -> None:
        """Read the keys again, if it is time for it."""
        seen = [look() for look in self._looks]
        is_due = self._asks_each_minute and monotonic() >= self._asked_at + ASK_EVERY
        keys = self._keys()
        if keys is None or (seen == self._seen and not is_due):
            return
        self._asked_at = monotonic()
        try:
            keys.reload()
        except Exception as error:  # whatever a plugin raises
            self._tell(str(error) or type(error).__name__)
        else:
            # What is followed since this look is in none of these, and is read at the next one.
            self._seen[: len(seen)], self._told = seen, None

    def _tell(self, problem: str) -> None:
        now = monotonic()
        if self._told is None or self._told[0] != problem or now >= self._told[1] + TOLD_EVERY:
            self._told = problem, now
            _LOG.error("the changed keys cannot be used, so the kit keeps those that it has: %s", problem)

    def begin_anew(self) -> None:
        """Start the thread in a forked child."""
        if (keys := self._keys()) is not None and self._pid:
            keys.begin_anew()
            self.start()


def _run(watch: ref[KeyWatch], stop: threading.Event) -> None:
    while not stop.wait(EVERY):
        one = watch()
        if one is None or one._keys() is None:
            return
        one.look()
        del one


def _mark(path: str) -> _Mark:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


_WATCHES: Final[WeakSet[KeyWatch]] = WeakSet()


def _after_fork() -> None:
    for watch in [*_WATCHES]:
        watch.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
