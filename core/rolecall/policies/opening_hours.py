"""A policy that limits sessions to opening hours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import ConfigurationError, PolicyFault
from ..hookspecs import AccessRequest, TokenRequest, hookimpl
from ..policy import Deny, Limit, Vote
from ..sessions import SessionRecord
from ..wording import shown
from .arguments import checked_name

#: A moment: Unix seconds, an aware datetime, or None for no bound.
Moment: TypeAlias = float | datetime | None

_CODE: Final = "closed"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW: Final = re.compile(r"([a-z,-]+) ([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
# Days to look ahead. A token lives at most 30 days, so later hours limit no token.
_HORIZON: Final = 40


class Interval(NamedTuple):
    """A half-open interval in Unix seconds: ``closes`` is not part of it."""

    opens: float
    closes: float


_ALWAYS: Final = Interval(float("-inf"), float("inf"))


class OpeningHours:
    """Tokens are issued during opening hours only, and end at closing time at the latest.

    It only restricts: during the hours another policy has to allow. It also binds the server's own code. Outside the
    weekly hours guarded routes are closed, too; the hours of a single session bind only its tokens.

    :param windows: weekly hours: ``"mon-fri 08:00-17:30"``, or a list of such texts; days are ``mon`` to ``sun``, lists
        (``"mon,wed"``), ranges (``"fri-mon"``) or ``daily``. If the end is not after the beginning, it is on the next
        day (``"sat 22:00-02:00"``); ``24:00`` is the end of the day. When clocks are set back, the first of two equal
        times counts; when they are set forward, a skipped time counts as the moment of the change.
    :param timezone: the time zone of the windows, for example ``"Europe/Berlin"``.
    :param session: a function from the session's properties to ``(opens, closes)``, each in Unix seconds, an aware
        ``datetime``, or None for no bound. It must not block, because it may run on an event loop. With ``windows`` as
        well, both must be open. A session that is not in the store is closed.
    :param name: the policy's name.
    :raises ConfigurationError: for windows or a time zone that cannot be read, and if there are no hours at all.
    """

    def __init__(
        self,
        windows: str | Iterable[str] = (),
        timezone: str | None = None,
        *,
        session: Callable[[SessionRecord], tuple[Moment, Moment]] | None = None,
        name: str = "opening_hours",
    ) -> None:
        if not isinstance(windows, str | Iterable):
            raise ConfigurationError(f"windows is {shown(windows)}; expected text such as 'mon-fri 08:00-17:30'")
        if session is not None and not callable(session):
            raise ConfigurationError(f"session is {shown(session)}; expected a function that takes a session")
        self._windows = tuple(_window(text) for text in ([windows] if isinstance(windows, str) else windows))
        if not self._windows and session is None:
            raise ConfigurationError("there are no opening hours; pass windows, session, or both")
        if self._windows and timezone is None:
            raise ConfigurationError("windows need a timezone, for example 'Europe/Berlin'")
        self._timezone = UTC if timezone is None else _zone(timezone)
        self._session = session
        self.name = checked_name(name)

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if self._session is None:
            return self._vote(request, _ALWAYS)
        if request.session is None:
            return Deny("nothing is known of this session's hours", _CODE)
        return self._vote(request, _interval(self._session(request.session)))

    @hookimpl
    def rolecall_vote_access(self, request: AccessRequest) -> Vote:
        return self._vote(request, _ALWAYS)

    def _vote(self, request: TokenRequest | AccessRequest, session: Interval) -> Vote:
        earliest = max(request.now, session.opens)
        weekly = self._weekly(earliest) if self._windows else _ALWAYS
        if weekly is None or max(earliest, weekly.opens) >= session.closes:
            return Deny("closed, and the hours of this session do not come again", _CODE)
        opens, closes = max(session.opens, weekly.opens), min(session.closes, weekly.closes)
        if request.now < opens:
            return Deny(f"closed until {self._shown(opens)}", _CODE)
        if closes == _ALWAYS.closes:
            return None
        return Limit(latest_expiry=closes, reason=f"closes {self._shown(closes)}")

    def _weekly(self, now: float) -> Interval | None:
        """The weekly hours that contain ``now``, or else the next ones; None if there are none within the horizon."""
        hours: Interval | None = None
        for interval in self._intervals(datetime.fromtimestamp(now, self._timezone).date()):
            if interval.closes <= now:
                continue
            if hours is not None and interval.opens > hours.closes:
                break
            hours = Interval(hours.opens, max(hours.closes, interval.closes)) if hours else interval
        return hours

    def _intervals(self, today: date) -> Iterator[Interval]:
        """The weekly hours from yesterday on, in the order of their beginnings."""
        for offset in range(-1, _HORIZON):
            day = today + timedelta(offset)
            hours = [window.on(day, self._timezone) for window in self._windows if day.weekday() in window.days]
            yield from sorted(interval for interval in hours if interval.opens < interval.closes)

    def _shown(self, seconds: float) -> str:
        try:
            local = datetime.fromtimestamp(seconds, self._timezone)
        except (OverflowError, ValueError, OSError):
            return "a time beyond all calendars"
        return f"{_DAYS[local.weekday()]} {local:%Y-%m-%d %H:%M} ({self._timezone})"


class _Window(NamedTuple):
    days: frozenset[int]
    opens: int  # minutes from midnight by local clocks
    closes: int

    def on(self, day: date, zone: tzinfo) -> Interval:
        return Interval(_instant(day, self.opens, zone), _instant(day, self.closes, zone))


def _window(text: object) -> _Window:
    match = _WINDOW.fullmatch(text.strip().lower()) if isinstance(text, str) else None
    if match is None:
        raise ConfigurationError(f"the window is {shown(text)}; expected for example 'mon-fri 08:00-17:30'")
    days, *numbers = match.groups()
    hour, minute, last_hour, last_minute = map(int, numbers)
    opens, closes = hour * 60 + minute, last_hour * 60 + last_minute
    if max(minute, last_minute) > 59 or opens >= 24 * 60 or closes > 24 * 60 or opens == closes:
        raise ConfigurationError(
            f"the window is {shown(text, 40)}; expected two different times from 00:00 to 24:00, the second one later"
        )
    return _Window(_weekdays(days, text), opens, closes if closes > opens else closes + 24 * 60)


def _weekdays(text: str, window: object) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise ConfigurationError(
                f"the window is {shown(window, 40)}; expected days as in 'mon-fri', 'sat,sun' or 'daily'"
            )
        start = _DAYS.index(first)
        length = (_DAYS.index(last) - start) % 7 if dash else 0
        days.update((start + step) % 7 for step in range(length + 1))
    return frozenset(days)


def _zone(name: object) -> ZoneInfo:
    try:
        if isinstance(name, str) and name:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise ConfigurationError(
        f"timezone is {shown(name)}, which this machine does not know; expected a name such as 'Europe/Berlin' "
        "(where the system has no time zones, install tzdata)"
    )


def _instant(day: date, minutes: int, zone: tzinfo) -> float:
    """The first moment, in Unix seconds, at which the clocks in ``zone`` show this time or a later one."""
    wall = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(minutes=minutes)
    first, second = int(wall.replace(fold=0).timestamp()), int(wall.replace(fold=1).timestamp())
    if first <= second:
        return first
    # The clocks skip the time: search for the moment of the change between the two readings.
    before, after = second, first
    offset = datetime.fromtimestamp(after, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after


def _interval(answer: object) -> Interval:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise PolicyFault(f"the hours of a session are {shown(answer)}; expected (opens, closes)")
    opens, closes = answer
    return Interval(
        _ALWAYS.opens if opens is None else _seconds(opens), _ALWAYS.closes if closes is None else _seconds(closes)
    )


def _seconds(value: object) -> float:
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value.timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return float(value)
    raise PolicyFault(f"the hours of a session hold {shown(value)}; expected Unix seconds or an aware datetime")
