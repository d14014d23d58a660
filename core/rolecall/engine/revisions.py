"""Whether more was revoked, as far as this process knows, and who is to be told of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from ..driver.turns import MOST

if TYPE_CHECKING:
    from ..driver.event_loops import EventLoop
    from ..stores import Store

#: The seconds between two looks at a store's revision, while somebody is to be told.
INTERVAL: Final = 0.05
#: The most that are told in one turn of an event loop: about a millisecond. Of those whom it concerns, who then go on
#: with their work, :data:`~rolecall.driver.turns.MOST`.
AT_ONCE: Final = 256


class Revisions:
    """The revision of a store, which changes when this process learns that more was revoked.

    :param store: one that has ``revision``, see :class:`~rolecall.stores.Store`; with another one nobody is told.
    """

    __slots__ = ("_ask", "_pollers")

    def __init__(self, store: Store) -> None:
        self._ask: Callable[[], object] | None = getattr(store, "revision", None)
        self._pollers: WeakKeyDictionary[Any, _Poller] = WeakKeyDictionary()

    def current(self) -> object:
        """The revision; None if the store cannot tell."""
        if self._ask is None:
            return None
        try:
            return self._ask()
        except Exception:  # the next check of a grant finds out, and refuses
            return None

    @contextmanager
    def told(self, tell: Callable[[], bool]) -> Iterator[None]:
        """Have ``tell`` called, on the running event loop, each time after the revision has changed.

        What changes before is not told.

        :param tell: returns at once, whether somebody goes on with work; if it raises, it is called again at the next
            look.
        """
        if self._ask is None:
            yield
            return
        from ..driver import event_loops  # which loads asyncio

        loop = event_loops.running()
        poller = self._pollers.setdefault(loop.itself(), _Poller(self.current))
        poller.add(tell, loop)
        try:
            yield
        finally:
            poller.remove(tell)


class _Poller:
    """Looks at the revision, on one event loop, for all who wait there: one timer, however many they are."""

    __slots__ = ("_current", "_left", "_seen", "_stop", "_tells")

    def __init__(self, current: Callable[[], object]) -> None:
        self._current = current
        self._tells: set[Callable[[], bool]] = set()
        # Those that are still to be told of the last change.
        self._left: deque[Callable[[], bool]] = deque()
        self._seen: object = None
        self._stop: Callable[[], None] | None = None

    def add(self, tell: Callable[[], bool], loop: EventLoop) -> None:
        if self._stop is None:
            self._seen = self._current()
            self._stop = loop.repeat(INTERVAL, self._look)
        self._tells.add(tell)

    def remove(self, tell: Callable[[], bool]) -> None:
        self._tells.discard(tell)
        if not self._tells and self._stop is not None:
            self._stop()
            self._stop = None
            self._left.clear()

    def _look(self) -> float:
        """Tell, if the revision has changed; return the seconds until the next look."""
        if not self._left:
            current = self._current()
            if current is not None and current != self._seen:
                self._seen = current
                self._left.extend(self._tells)
        told = busy = 0
        while self._left and told < AT_ONCE and busy < MOST:
            told += 1
            busy += self._tell(self._left.popleft())
        return 0.0 if self._left else INTERVAL

    def _tell(self, tell: Callable[[], bool]) -> bool:
        if tell not in self._tells:
            return False
        try:
            return tell()
        except Exception:
            self._seen = None  # so that the next look finds a change
            return False
