"""Housekeeping: how long a kit keeps what is over, and any worker removes it, a little at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from typing import Any, Final, NamedTuple

from ..driver import drive
from ..driver.threads import STORE, PoolExhausted, ThreadPools
from ..errors import ConfigurationError, StoreUnavailable
from ..stores.upkeep import Over
from ..wording import shown

#: The seconds for which single-use ids and leases are kept beyond their time, because workers' clocks differ.
MARGIN: Final = 3600.0
#: The seconds for which what is too old for ``max_session_age`` is kept beyond it: the token's leeway, and clocks that
#: are set back.
AGE_MARGIN: Final = 86_400.0
#: The seconds between two removals: at least, while there is more to remove; when that was all; and when there was
#: nothing.
SHORT: Final = 0.05
PAUSE: Final = 1.0
IDLE: Final = 60.0


class Retention(NamedTuple):
    """How long a kit keeps sessions.

    :param ended: the seconds for which the record of an ended session is kept; None: always.
    :param age: the age in seconds at which a session is over, whether it was ended or not; None: at none.
    """

    ended: float | None = None
    age: float | None = None

    @classmethod
    def of(cls, session_retention: object, max_session_age: object) -> Retention:
        """Check the two arguments of a kit, each in seconds or a ``timedelta``.

        :raises ConfigurationError: says which one is wrong.
        """
        return cls(
            _seconds("session_retention", session_retention, 0), _seconds("max_session_age", max_session_age, 60)
        )

    def over(self, now: float) -> Over:
        """What a store may forget at ``now`` (Unix seconds).

        The *end* of a session is kept until the session's age alone refuses all of its tokens, so that no refused token
        is ever good again; without ``max_session_age`` that is for ever.
        """
        return Over(
            lapsed_before=now - MARGIN,
            ended_before=None if self.ended is None else now - self.ended,
            created_before=None if self.age is None else now - self.age - AGE_MARGIN,
        )


class Housekeeper:
    """Has the store forget what is over: a batch on a thread of the store's pool, and then at least as long a pause.

    It is reminded by the calls that make the store grow, so that an idle kit has no thread for it, and needs none.

    :param forget: calls the store's method, as a coroutine that never suspends.
    :param clock: returns now, in Unix seconds.
    """

    def __init__(
        self, forget: Callable[[Over], Any], pools: ThreadPools, retention: Retention, clock: Callable[[], float]
    ) -> None:
        self._forget = forget
        self._pools = pools
        self._retention = retention
        self._clock = clock
        self._due = monotonic() + IDLE

    def remind(self) -> None:
        """Begin a removal, if it is time for one. Returns at once."""
        if monotonic() < self._due:
            return
        self._due = monotonic() + IDLE
        with suppress(PoolExhausted):  # the store has more urgent things to do
            self._pools.submit(STORE, self.forget_some, (), _ignore)

    def forget_some(self) -> int:
        """Remove some of what is over, and return the number of rows."""
        over, began = self._retention.over(self._clock()), monotonic()
        try:
            removed: int = drive(self._forget(over))
        except StoreUnavailable:  # whoever needs the store is told so
            return 0
        now = monotonic()
        if removed < over.limit:
            self._due = now + (PAUSE if removed else IDLE)
        else:
            # So that no more comes up than is removed: else some kinds of rows would never have their turn.
            self._due = now + max(SHORT, now - began)
        return removed


def _seconds(name: str, value: object, least: float) -> float | None:
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not least <= seconds < float("inf"):
        raise ConfigurationError(
            f"{name} is {shown(seconds)}; expected seconds, or a timedelta, of {least:g} seconds or more"
        )
    return float(seconds)


def _ignore() -> None:
    pass
