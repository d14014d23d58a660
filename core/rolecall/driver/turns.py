"""Turns on asyncio's event loop: many tasks that go on at once must not hold the loop up together."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import asyncio

#: The most tasks that go on in one turn of the loop. Each may take some 0.1 to 0.3 ms until it next awaits, and a turn
#: itself some 0.02 ms.
MOST: Final = 6


class Turns:
    """Spreads tasks that go on at once over several turns of the loop."""

    def __init__(self) -> None:
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turn] = WeakKeyDictionary()

    async def take(self) -> None:
        """Go on in this turn of the loop, or in a later one."""
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # trio's loop, which this does not know
        turn = self._turns.get(loop)
        if turn is None:
            turn = self._turns.setdefault(loop, _Turn())
        if turn.tasks < MOST:
            turn.begin(loop)
        else:
            await turn.later(loop)


class _Turn:
    """The current turn of one loop, and the tasks that wait for a later one."""

    def __init__(self) -> None:
        self.tasks = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.tasks == 0:
            loop.call_soon(self._next, loop)
        self.tasks += 1

    def later(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Queue for a later turn. A plain function, because a coroutine more for each task costs all of them dear."""
        mine = loop.create_future()
        self._waiting.append(mine)
        return mine

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self.tasks = 0
        while self._waiting and self.tasks < MOST:
            waiting = self._waiting.popleft()
            if not waiting.done():  # as it is when its task was cancelled
                self.begin(loop)
                waiting.set_result(None)
