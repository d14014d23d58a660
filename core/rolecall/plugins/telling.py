"""Tells plugins of events that no request has caused, each plugin on a thread of its own."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ..driver import Driver, drive
from ..stores.native import leave_thread, prepare_thread, start_native_thread
from . import Implementation
from .asking import tell

if TYPE_CHECKING:
    from ..events import Event

#: The most events that wait for a plugin that hangs; beyond it the oldest are dropped.
WAITING: Final = 64
_LOG: Final = logging.getLogger("rolecall")


class Messenger:
    """Tells each plugin of events, in their order, without waiting for any of them.

    A plugin that hangs or fails keeps no other from its events. A plain function is called on the plugin's thread,
    which is one of the operating system's even where gevent has replaced those, and lives while there are events. An
    ``async def`` runs on the kit's event loop in the background.

    :param implementations: of the hook ``rolecall_on_event``.
    :param driver: how the threads wait.
    :param deadline: the seconds for each ``async def``.
    """

    def __init__(self, implementations: Iterable[Implementation], driver: Driver, deadline: float) -> None:
        self._listeners = [_Listener(one, driver, deadline) for one in implementations]

    def tell(self, event: Event) -> None:
        """Tell all plugins of an event. It returns at once, and is called by one thread at a time."""
        for listener in self._listeners:
            listener.take(event)


class _Listener:
    """A plugin, and the events that it has yet to be told of."""

    def __init__(self, implementation: Implementation, driver: Driver, deadline: float) -> None:
        # Its thread is its own, so it may block it.
        self._implementation = implementation._replace(blocks=False)
        self._driver = driver
        self._deadline = deadline
        self._begin()

    def take(self, event: Event) -> None:
        if self._pid != os.getpid():
            self._begin()
        self._waiting.append(event)
        if self._claim():
            try:
                prepare_thread()
                start_native_thread(self._run, "rolecall: tells of the store")
            except RuntimeError as error:
                self._free.append(None)
                _LOG.error("no thread can start to tell the plugin %r: %s", self._implementation.plugin, error)

    def _begin(self) -> None:
        """Begin with nothing, as a new process does."""
        self._pid = os.getpid()
        self._waiting: deque[Event] = deque(maxlen=WAITING)
        # Holds one element while no thread tells.
        self._free: list[None] = [None]

    def _claim(self) -> bool:
        """Whether the caller is the one that tells from now on: one step that cannot be interrupted."""
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def _run(self) -> None:
        try:
            self._tell_all()
        finally:
            leave_thread()

    def _tell_all(self) -> None:
        free = self._free
        while True:
            while self._waiting:
                drive(tell([self._implementation], self._waiting.popleft(), self._driver, self._deadline))
            free.append(None)
            # What came in between found it busy.
            if not self._waiting or not self._claim():
                return
