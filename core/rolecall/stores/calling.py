"""How an engine calls a store: directly, on a thread or on an event loop; chosen when the kit is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from time import monotonic
from typing import Any, Final, TypeAlias, TypeVar

from ..driver import Driver, LoopDriver
from ..driver.threads import STORE, PoolExhausted
from ..errors import StoreUnavailable
from ..sessions import SessionRecord
from ..wording import kind, shown
from . import Store
from .checking import is_async
from .gathering import Gathering
from .watching import READS, WRITES, StoreWatch

_Answer = TypeVar("_Answer")
_Call: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]
#: The types of the usual answers, which are returned without further checks.
_USUAL: Final[Mapping[str, tuple[type, ...]]] = {
    "add_session": (type(None),),
    "get_session": (SessionRecord, type(None)),
    "end_session": (type(None),),
    "use_once": (bool,),
    "ended_among": (frozenset, list, set, tuple),
    "close": (type(None),),
}


# The methods that change nothing.
_READS: Final = frozenset(
    {
        *("get_session", "ended_among", "get_marks", "get_document", "list_sessions", "full_slot"),
        *("count", "dump", "examine", "clock"),
    }
)


class Calls:
    """The methods of a store that may wait, all as ``async`` functions.

    :param driver: how the engine waits.
    :param blocks: whether the engine's caller is sync code, whose thread may be blocked.
    :param seconds: returns the time limit of a call; read at each call.
    :param watch: takes note of failures and answers, if somebody wants to be told.
    :param around: makes a context manager around a call, by the method's name, if somebody observes.
    """

    __slots__ = (
        "_further",
        "_store",
        "add_session",
        "close",
        "end_session",
        "get_session",
        "look_up_ended",
        "use_once",
    )

    def __init__(
        self,
        store: Store,
        driver: Driver,
        seconds: Callable[[], float],
        *,
        blocks: bool,
        watch: StoreWatch | None = None,
        around: Callable[[str], AbstractContextManager[None]] | None = None,
    ) -> None:
        ends_calls = blocks and getattr(store, "bounded", False)
        reads_inline = ends_calls or getattr(store, "reads_inline", False)
        writes_inline = ends_calls or getattr(store, "writes_inline", False)

        def chosen(method: str, inline: bool = writes_inline) -> _Call:
            if is_async(getattr(store, method)):
                return _awaited(store, method, driver, seconds)
            return (_inline if inline else _threaded)(store, method, driver, seconds)

        def watched(method: str, call: _Call) -> _Call:
            if watch is not None:
                call = _watched(call, READS if method in _READS else WRITES, watch)
            return call if around is None else _observed(call, method, around)

        adding = (
            _gathered(store, driver, seconds)
            if isinstance(driver, LoopDriver) and hasattr(store, "add_sessions")
            else chosen("add_session")
        )
        self.add_session: Callable[[SessionRecord], Coroutine[Any, Any, None]] = watched("add_session", adding)
        self.get_session: Callable[[str], Coroutine[Any, Any, SessionRecord | None]] = watched(
            "get_session", chosen("get_session", reads_inline)
        )
        self.end_session: Callable[[str, float], Coroutine[Any, Any, None]] = watched(
            "end_session", chosen("end_session")
        )
        self.use_once: Callable[[str, float, float], Coroutine[Any, Any, bool]] = watched(
            "use_once", chosen("use_once")
        )
        #: Whether a session has ended, by the store itself; None if the store cannot be asked.
        self.look_up_ended: Callable[[str], Coroutine[Any, Any, bool]] | None = None
        if hasattr(store, "ended_among"):
            is_gathered = isinstance(driver, LoopDriver) and not reads_inline and not is_async(store.ended_among)
            look_up = (
                _gathered_look_up(store, driver, seconds)
                if isinstance(driver, LoopDriver) and is_gathered
                else _look_up(chosen("ended_among", reads_inline))
            )
            self.look_up_ended = watched("ended_among", look_up)
        # Sync code closes on its own thread, because no new thread starts at the end of a process.
        self.close: Callable[[], Coroutine[Any, Any, None]] = chosen("close", blocks)
        self._store = store
        self._further: Callable[[str], _Call] = lambda method: watched(method, chosen(method))

    async def further(self, method: str, *args: Any) -> Any:
        """Call a method that a store need not have, such as ``take_lease`` or ``list_sessions``.

        :raises StoreUnavailable: if this store does not have it.
        """
        if not hasattr(self._store, method):
            raise StoreUnavailable(f"the store, {kind(self._store)}, has no method {method}; see rolecall.stores")
        return await self._further(method)(*args)


def _watched(call: _Call, what: str, watch: StoreWatch) -> _Call:
    """Take note of the failures and answers of a call."""

    async def watched(*args: Any) -> Any:
        try:
            answer = await call(*args)
        except StoreUnavailable as error:
            if not error.is_of_a_value:
                watch.failed(what, str(error))
            raise
        watch.answered(what)
        return answer

    return watched


def _observed(call: _Call, method: str, around: Callable[[str], AbstractContextManager[None]]) -> _Call:
    """Put a context manager around a call."""

    async def observed(*args: Any) -> Any:
        with around(method):
            return await call(*args)

    return observed


def _inline(store: Store, method: str, driver: Driver, seconds: Callable[[], float]) -> _Call:
    """Call a plain function that returns at once, or may block its caller."""
    usual = _USUAL.get(method, ())

    async def call(*args: Any) -> Any:
        answer = getattr(store, method)(*args)
        return answer if type(answer) in usual else await _unusual(answer, method, driver, seconds())

    return call


def _threaded(store: Store, method: str, driver: Driver, seconds: Callable[[], float]) -> _Call:
    """Call a plain function on a thread of the store's pool."""
    usual = _USUAL.get(method, ())

    async def call(*args: Any) -> Any:
        deadline, started = seconds(), monotonic()
        try:
            answer = await driver.run(STORE, deadline, getattr(store, method), *args)
        except TimeoutError as error:
            raise _late(method, deadline) from error
        except PoolExhausted as error:
            raise StoreUnavailable(f"the store was not called: {error}") from error
        if type(answer) in usual:
            return answer
        return await _unusual(answer, method, driver, deadline, monotonic() - started)

    return call


def _gathered(store: Any, driver: LoopDriver, seconds: Callable[[], float]) -> _Call:
    """Create the sessions that wait at the same time by one call on a thread: a thread for each costs the loop dear."""
    return _in_time(Gathering(lambda records: _failures(records, store.add_sessions(records)), driver), seconds)


def _gathered_look_up(store: Any, driver: LoopDriver, seconds: Callable[[], float]) -> _Call:
    """Look up the sessions that are asked about at the same time by one call on a thread."""
    return _in_time(Gathering(lambda ids: _whether_each(ids, store.ended_among(ids)), driver), seconds)


def _in_time(gathering: Gathering[Any, Any], seconds: Callable[[], float]) -> _Call:
    async def call(item: Any) -> Any:
        deadline = seconds()
        try:
            return await gathering.ask(item, deadline)
        except TimeoutError as error:
            raise _late("", deadline) from error

    return call


def _look_up(ended_among: _Call) -> Callable[[str], Coroutine[Any, Any, bool]]:
    """Look up one session."""

    async def call(session_id: str) -> bool:
        return _whether_each([session_id], await ended_among([session_id]))[0]

    return call


def _failures(records: Sequence[SessionRecord], answer: Any) -> Sequence[Exception | None]:
    """The failure of each creation, or None."""
    if (
        isinstance(answer, Sequence)
        and len(answer) == len(records)
        and all(isinstance(one, Exception | None) for one in answer)
    ):
        return answer
    raise StoreUnavailable(
        "the store's add_sessions returned no list with a failure or None for each session; they may have been created"
    )


def _whether_each(session_ids: Sequence[str], answer: Any) -> list[bool]:
    """Whether each session has ended. An answer that names others, or none in this way, could admit somebody."""
    is_good = type(answer) in _USUAL["ended_among"]
    with suppress(TypeError):
        ended = frozenset(answer) if is_good else frozenset()
        if is_good and ended.issubset(session_ids):
            return [session_id in ended for session_id in session_ids]
    raise StoreUnavailable(
        f"the store's ended_among returned {shown(answer)}; expected a set of those of the session ids that have ended"
    )


def _awaited(store: Store, method: str, driver: Driver, seconds: Callable[[], float]) -> _Call:
    """Await an ``async def``: on the caller's event loop, or for sync code on the store's own loop."""

    async def call(*args: Any) -> Any:
        return await _unusual(getattr(store, method)(*args), method, driver, seconds())

    return call


async def _unusual(answer: Any, method: str, driver: Driver, deadline: float, spent: float = 0.0) -> Any:
    """Await an answer that is awaitable, even a plain function's, and check that it is an answer."""
    if inspect.isawaitable(answer):
        try:
            answer = await driver.wait(answer, deadline - spent, STORE)
        except TimeoutError as error:
            raise _late(method, deadline) from error
    if method == "get_session" and not isinstance(answer, SessionRecord | None):
        raise StoreUnavailable(f"the store's get_session returned {shown(answer)}; expected a SessionRecord or None")
    return answer


def _late(method: str, seconds: float) -> StoreUnavailable:
    if method == "close":
        return StoreUnavailable("the store has not closed in time, and may still hold what it held")
    return StoreUnavailable(
        f"the store has not answered within {seconds:g} s, and may have done what it was asked to; "
        "see Rolecall(store_timeout=…)"
    )
