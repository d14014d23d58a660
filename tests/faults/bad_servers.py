"""A server that is stopped, frozen, reset or slow for 5 s under load: ``python -m tests.faults.bad_servers``.

Two workers' stores: one creates, ends, gets and uses once all the time, the other is asked for what has ended. The
server is killed and started again, or stands still, for both of them; connections are reset, or answers come late, for
the second one alone, so that the first one goes on ending sessions that the second cannot hear of. Then

- no check that began later than ``max_staleness`` (1 s) after the acknowledged end of a session lets that session in;
- every call and every check is answered, or refused, within half a second (and ``--slack``, for a busy machine);
- within a second (and ``--slack``) of the server's return all calls and checks succeed again.

SQLite has no server; its disks that hang, fail and are full are in ``tests/core/stores/test_sqlite_writing.py``.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from itertools import count
from typing import Any

from rolecall.errors import StoreUnavailable
from rolecall.stores import open_store

from ..cutting import Proxy, proxy_to
from ..waiting import PATIENCE
from .places import MAX_STALENESS, Place, insist, parser, place, show, verdict
from .writers import ENDED_AT, NOW, UNTIL, record_of

#: The promised longest time of an answer, and of the recovery, in seconds.
ANSWER, RECOVERY = 0.5, 1.0
#: By how much a slow server's answers come later: within the store's time-out, and beyond it, in seconds.
SLOW, TOO_SLOW = 0.1, 0.6
#: Between two calls of one thread.
PAUSE = 0.003


@contextmanager
def _stopped(where: Place, _: Proxy) -> Iterator[None]:
    assert where.server is not None
    where.server.kill()
    yield
    where.server.start()


def _frozen(where: Place, _: Proxy) -> AbstractContextManager[None]:
    return where.frozen()


def _reset(_: Place, proxy: Proxy) -> AbstractContextManager[None]:
    return proxy.broken()


@contextmanager
def _slowed(_: Place, proxy: Proxy, *, delay: float) -> Iterator[None]:
    proxy.delay = delay
    yield
    proxy.delay = 0.0


FAULTS: dict[str, Callable[[Place, Proxy], AbstractContextManager[None]]] = {
    "stopped": _stopped,
    "frozen": _frozen,
    "reset": _reset,
    "slowed": partial(_slowed, delay=SLOW),
    "too slow": partial(_slowed, delay=TOO_SLOW),
}


class Load:
    """Two workers under load, and how their calls were answered.

    :ivar problems: sessions that were let in after their end and the bound, or refused though nobody has ended them.
    """

    def __init__(self, writes: Any, follows: Any, prefix: str) -> None:
        self._writes, self._follows, self._prefix = writes, follows, prefix
        self.problems: list[str] = []
        #: The seconds that each call took.
        self.took: dict[str, list[float]] = defaultdict(list)
        self.refused: dict[str, int] = defaultdict(int)
        #: When each call, and the check of the other worker, last succeeded.
        self.succeeded: dict[str, float] = {}
        #: The moment of the acknowledgement of each end.
        self._ended: dict[str, float] = {}
        self._is_over = threading.Event()
        works = (self._create, self._end, self._get, self._use, self._check, self._check)
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def acknowledged(self) -> int:
        """How many sessions were ended."""
        return len(self._ended)

    def _each(self, what: str) -> Iterator[str]:
        for number in count():
            if self._is_over.wait(PAUSE):
                return
            yield f"1_{self._prefix}_{what}_{number}"

    def _ask(self, what: str, call: Callable[[], object]) -> object:
        """The answer, or the refusal."""
        began = time.monotonic()
        answer: object
        try:
            answer = call()
            self.succeeded[what] = time.monotonic()
        except StoreUnavailable as error:
            answer = error
            self.refused[what] += 1
        self.took[what].append(time.monotonic() - began)
        return answer

    def _create(self) -> None:
        for name in self._each("create"):
            self._ask("create", partial(self._writes.add_session, record_of(name)))

    def _end(self) -> None:
        for name in self._each("end"):
            if self._ask("end", partial(self._writes.end_session, name, ENDED_AT)) is None:
                self._ended[name] = time.monotonic()

    def _get(self) -> None:
        for name in self._each("get"):
            self._ask("get", partial(self._writes.get_session, name))

    def _use(self) -> None:
        for name in self._each("use"):
            self._ask("use", partial(self._writes.use_once, name, UNTIL, NOW))

    def _check(self) -> None:
        """Ask for the sessions that were last ended, whether the bound is over or not, and for one that never was."""
        for never in self._each("never"):
            if self._ask("check", partial(self._follows.has_ended, never)) is True:
                self.problems.append("a session was refused that nobody has ended")
            for name in list(self._ended)[-600::60]:
                began = time.monotonic()
                answer = self._ask("check", partial(self._follows.has_ended, name))
                late = began - self._ended[name] - MAX_STALENESS
                if answer is False and late > 0:
                    self.problems.append(f"a session was let in {late:.3f} s after its end and the bound")


def run(where: Place, faults: Iterable[str], seconds: float, slack: float) -> list[str]:
    """What was let in, late, or did not recover."""
    assert where.server is not None
    problems: list[str] = []
    with proxy_to(where.server.port) as proxy:
        for number, fault in enumerate(faults):
            follows = open_store(where.url_with(port=proxy.port))
            with closing(open_store(where.url)) as writes, closing(follows):
                insist(partial(follows.has_ended, "1_never"))
                with Load(writes, follows, f"{number}") as load:
                    found = _put_to(load, FAULTS[fault](where, proxy), fault, seconds, slack)
            problems += [f"{fault}: {problem}" for problem in (*load.problems, *found)]
    return problems


def _put_to(load: Load, fault: AbstractContextManager[None], what: str, seconds: float, slack: float) -> list[str]:
    _wait_for_success(load)
    before = load.acknowledged()
    with fault:
        time.sleep(seconds)
    ended, returned = load.acknowledged() - before, time.monotonic()
    _wait_for_success(load)
    recovery = time.monotonic() - returned
    time.sleep(MAX_STALENESS)
    longest = {call: max(took) for call, took in load.took.items()}
    worst = max(longest, key=longest.__getitem__)
    show(f"{what} for {seconds:g} s: sessions ended meanwhile", f"{ended:,}")
    show("calls refused", ", ".join(f"{call} {number}" for call, number in sorted(load.refused.items())) or "none")
    show("longest answer, ms", f"{longest[worst] * 1e3:.0f} ({worst})")
    show("until everything succeeded again, ms", f"{recovery * 1e3:.0f}")
    found = []
    if longest[worst] > ANSWER + slack:
        found.append(f"{worst} was answered after {longest[worst]:.3f} s")
    if recovery > RECOVERY + slack:
        found.append(f"it took {recovery:.3f} s to recover")
    return found


def _wait_for_success(load: Load) -> None:
    """Wait until each call has succeeded that begins from now on."""
    since, deadline = time.monotonic(), time.monotonic() + PATIENCE
    while any(load.succeeded.get(call, 0) < since for call in ("create", "end", "get", "use", "check")):
        assert time.monotonic() < deadline, "it does not recover"
        time.sleep(0.002)


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, 1, ("postgres", "redis"))
    made.add_argument("--fault", choices=FAULTS, action="append", help="one of them (all)")
    made.add_argument("--lasts", type=float, default=5, help="the seconds of each fault (5)")
    made.add_argument("--slack", type=float, default=0, help="seconds that a busy machine may add (0)")
    given = made.parse_args(argv)
    faults = [*(given.fault or FAULTS)] * given.rounds
    with place(given.store) as where:
        return verdict(run(where, faults, given.lasts, given.slack))


if __name__ == "__main__":
    sys.exit(main())
