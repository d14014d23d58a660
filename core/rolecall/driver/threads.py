"""Threads for blocking calls: a bounded pool for each purpose, so that one that hangs delays no other purpose."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from math import inf
from time import monotonic
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

Result = TypeVar("Result")

#: The most threads of one pool; they start when needed.
THREADS: Final = 32
#: The most calls that wait for a thread of one pool; later ones would hardly meet their deadlines.
WAITING: Final = 1024
#: Seconds after which a thread without work ends.
IDLE: Final = 30.0
#: Seconds between two log lines about refused calls.
LOG_INTERVAL: Final = 60.0
#: The name of the store's pool. No plugin's pool has this name.
STORE: Final = "the store"


class AppPool(str):
    """The name of a pool for functions of the app: hooks, and the ``session`` functions of guards."""

    __slots__ = ()


class PoolExhausted(Exception):
    """A pool refuses a call, because none of its threads would get to it. Logged, at intervals."""


class ThreadPools:
    """The pools of one kit, by purpose. A forked child starts with new ones."""

    def __init__(self) -> None:
        self._pools: dict[str, ThreadPool] = {}
        _ALL_POOLS.add(self)

    def submit(
        self, purpose: str, function: Callable[..., Result], args: tuple[Any, ...], done: Callable[[], object]
    ) -> Job[Result]:
        """Call ``function(*args)`` on a thread of the pool for ``purpose``, with the caller's context variables.

        :param done: called on that thread when the result is ready.
        :raises PoolExhausted: at once, if no thread would get to it.
        """
        pool = self._pools.get(purpose)
        if pool is None:
            pool = self._pools.setdefault(purpose, ThreadPool(purpose))
        context = copy_context()
        return pool.submit(Job(pool, lambda: context.run(function, *args), done))

    def close(self) -> None:
        """End all threads as soon as they have nothing to do."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def _forget(self) -> None:
        # After a fork neither a thread of the parent nor a lock that it had taken can be relied on.
        self._pools = {}


class Job(Generic[Result]):
    """One call on a thread of a pool."""

    __slots__ = ("_done", "_error", "_function", "_pool", "_result", "is_given_up", "is_running")

    def __init__(self, pool: ThreadPool, function: Callable[[], Result], done: Callable[[], object]) -> None:
        self._pool = pool
        self._function: Callable[[], Result] | None = function
        self._done = done
        self._error: BaseException | None = None
        # The pool changes both, under its lock.
        self.is_running = self.is_given_up = False

    def result(self) -> Result:
        """Return the function's result or re-raise its exception; only after ``done`` was called."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                del self  # the traceback holds this frame
        return self._result

    def give_up(self) -> None:
        """Stop waiting. A call that has not begun is dropped; a running one keeps its thread until it returns."""
        if self._function is not None:
            self._pool.give_up(self)

    def run(self) -> None:
        """Call the function, on a thread of the pool."""
        assert self._function is not None
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        self._function = None
        self._pool.finished(self)
        self._done()


class ThreadPool:
    """Up to :data:`THREADS` daemon threads, and a queue of calls.

    It refuses a call at once if abandoned calls hold all threads, or if too many calls wait.
    """

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[Job[Any]] = deque()
        self._threads = self._idle = 0
        # Running calls that nobody waits for any more.
        self._overdue = 0
        self._refused = 0
        self._told = -inf
        self._closed = False

    def submit(self, job: Job[Result]) -> Job[Result]:
        """Queue a call for the next free thread.

        :raises PoolExhausted: if no thread would get to it.
        """
        with self._changed:
            overdue, waiting = self._overdue, len(self._waiting)
            is_full = overdue >= THREADS or waiting >= WAITING
            starts = not is_full and self._idle <= waiting and self._threads < THREADS
            if not is_full:
                self._waiting.append(job)
                self._threads += starts
                self._changed.notify()
        if is_full:
            raise self._exhausted(f"{overdue} calls that were given up have not come back, and {waiting} wait")
        if starts:
            self._start(job)
        return job

    def give_up(self, job: Job[Any]) -> None:
        """Record that nobody waits for a call any more."""
        with self._changed:
            if job.is_running and not job.is_given_up:
                job.is_given_up = True
                self._overdue += 1
            elif job in self._waiting:
                self._waiting.remove(job)

    def finished(self, job: Job[Any]) -> None:
        """Record that a call has returned."""
        with self._changed:
            job.is_running = False
            if job.is_given_up:
                self._overdue -= 1

    def close(self) -> None:
        """End the threads as soon as no call waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start(self, job: Job[Any]) -> None:
        try:
            threading.Thread(target=self._work, name=f"rolecall: {self._purpose}", daemon=True).start()
        except RuntimeError as error:  # the system has no more threads, or the interpreter shuts down
            with self._changed:
                self._threads -= 1
                if self._threads:
                    return  # a running thread will take the call
                self._waiting.remove(job)
            raise self._exhausted(str(error)) from error

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job.run()
            del job  # so that an idle thread holds nothing of a request

    def _next(self) -> Job[Any] | None:
        """The next call; None if the thread is to end."""
        with self._changed:
            while not self._waiting:
                self._idle += 1
                in_time = not self._closed and self._changed.wait(IDLE)
                self._idle -= 1
                if not self._waiting and not in_time:
                    self._threads -= 1
                    return None
            job = self._waiting.popleft()
            job.is_running = True
            return job

    def _exhausted(self, reason: str) -> PoolExhausted:
        with self._changed:
            self._refused += 1
            now = monotonic()
            tells = now - self._told >= LOG_INTERVAL
            if tells:
                self._told, refused, self._refused = now, self._refused, 0
        if tells:
            import logging

            logging.getLogger("rolecall").error(
                "no thread is free for %s: %s; calls refused since the log last said so: %d",
                self._purpose,
                reason,
                refused,
            )
        return PoolExhausted(f"no thread is free for it: {reason}")


# Kept so that a forked child can reset them.
_ALL_POOLS: WeakSet[ThreadPools] = WeakSet()


def _forget_all() -> None:
    for pools in _ALL_POOLS:
        pools._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
