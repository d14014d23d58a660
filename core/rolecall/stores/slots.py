"""Taking turns at a bounded number of connections."""

from __future__ import annotations

from collections import deque
from threading import Lock


class Slots:
    """A bounded number of slots, given to callers in the order in which they came.

    A semaphore of Python's is not fair: a thread that releases a slot and asks for the next one is before all threads
    that wait, which are then refused though the server is quick.

    :param number: how many callers may hold a slot at once.
    """

    def __init__(self, number: int) -> None:
        self._lock = Lock()
        self._free = number
        # A lock for each caller that waits, released when a slot is handed to that caller.
        self._waiting: deque[Lock] = deque()

    def acquire(self, seconds: float) -> bool:
        """Take a slot, and return whether there was one in time."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            mine = Lock()
            mine.acquire()
            self._waiting.append(mine)
        try:
            is_mine = mine.acquire(timeout=max(0.0, seconds))
        except BaseException:  # interrupted, as by gevent.Timeout
            if not self._withdraw(mine):
                self.release()
            raise
        return is_mine or not self._withdraw(mine)

    def release(self) -> None:
        """Give a slot back: to the caller that has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1

    def _withdraw(self, mine: Lock) -> bool:
        """Wait no longer, and return whether that came before a slot did."""
        with self._lock:
            if mine not in self._waiting:
                return False
            self._waiting.remove(mine)
            return True
