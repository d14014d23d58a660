"""Locks, threads and signals of the operating system, also where gevent has replaced Python's."""

from __future__ import annotations

import _thread
import os
import sys
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any, Final, Protocol
from weakref import WeakSet


def native_lock() -> Lock:
    """Make a lock of the operating system's threads.

    No greenlet switches while it holds such a lock. Threads that gevent does not know may hold it, too.
    """
    gevent = sys.modules.get("gevent.monkey")
    allocate = _thread.allocate_lock if gevent is None else gevent.get_original("_thread", "allocate_lock")
    lock: Lock = allocate()
    return lock


class HasLock(Protocol):
    """What holds a :func:`native_lock` for a moment at a time."""

    _lock: Lock


def renew_lock_in_children(owner: HasLock) -> None:
    """Give ``owner`` a new lock in each forked child, where the thread that may hold the old one is missing."""
    _OWNERS.add(owner)


# Kept so that a forked child can reach them.
_OWNERS: Final[WeakSet[HasLock]] = WeakSet()


def _renew_locks() -> None:
    for owner in list(_OWNERS):
        owner._lock = native_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def start_native_thread(function: Callable[[], None], name: str) -> None:
    """Start a daemon thread of the operating system.

    :raises RuntimeError: if the system has no more threads, or the interpreter shuts down.
    """
    gevent = sys.modules.get("gevent.monkey")
    if gevent is None or not gevent.is_module_patched("threading"):
        Thread(target=function, name=name, daemon=True).start()
    else:
        gevent.get_original("_thread", "start_new_thread")(function, ())


def prepare_thread() -> None:
    """Import here what a thread needs for an event loop of gevent's own: two threads that import it at the same time
    wait for each other for ever.
    """
    if (gevent := patching_gevent()) is not None:
        hub = gevent.get_hub()
        _ = hub.resolver, hub.threadpool


def leave_thread() -> None:
    """Release the event loop that gevent made on this thread, for its sockets."""
    if (gevent := patching_gevent()) is not None:
        gevent.get_hub().destroy(destroy_loop=True)


def patching_gevent() -> Any:
    """The package gevent, if it has replaced this process's sockets; otherwise None."""
    monkey = sys.modules.get("gevent.monkey")
    return sys.modules["gevent"] if monkey is not None and monkey.is_module_patched("socket") else None


class Signal(Protocol):
    """A message from a thread to one waiting caller, sent at most once."""

    def send(self) -> None:
        """Wake the caller, from any thread."""

    def wait(self, seconds: float) -> bool:
        """Wait until it is sent, and return whether it was."""

    def close(self) -> None:
        """Release what it holds. It is not sent afterwards."""


def signal() -> Signal:
    """Make a signal for the calling thread; for the calling greenlet, if gevent runs this thread."""
    hub = _hub_of_this_thread()
    return _ThreadSignal() if hub is None else _GreenletSignal(hub)


class _ThreadSignal:
    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = native_lock()
        self._lock.acquire()

    def send(self) -> None:
        self._lock.release()

    def wait(self, seconds: float) -> bool:
        return self._lock.acquire(timeout=max(seconds, 0.0))

    def close(self) -> None:
        pass


class _GreenletSignal:
    """Wakes a greenlet by its hub's loop, so that other greenlets run meanwhile."""

    __slots__ = ("_event", "_watcher")

    def __init__(self, hub: Any) -> None:
        from gevent.event import Event

        self._event = Event()
        self._watcher = hub.loop.async_()
        self._watcher.start(self._event.set)

    def send(self) -> None:
        self._watcher.send()

    def wait(self, seconds: float) -> bool:
        return bool(self._event.wait(max(seconds, 0.0)))

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()


def _hub_of_this_thread() -> Any:
    if "gevent.hub" not in sys.modules:
        return None
    from gevent._hub_local import get_hub_if_exists

    return get_hub_if_exists()
