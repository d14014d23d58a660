"""Checks a history of concurrent calls: is there one order of them, in real time, in which each answer is right?

Sessions and single-use ids change once: a session is created, and ends; an id is used. For values that change once, the
question comes down to intervals of time. A call takes effect somewhere between its beginning and its end, so

- what is seen must have been begun: no call sees a change and ends before any call began that could have made it;
- what is known must be seen: no call misses a change and begins after one that made it, or saw it, has ended.

Where a store promises a bound only, the second rule holds after the bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import inf
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One call of a process, by a clock that all processes share, in seconds.

    :ivar act: ``create``, ``end``, ``use``, ``get`` or ``has_ended``.
    :ivar answer: what it answered; for a get the session's value and whether it has ended, or None.
    :ivar is_known: False if it was not answered: it may have taken effect, or may yet.
    """

    process: int
    act: str
    key: str
    began: float
    ended: float
    answer: Any = None
    is_known: bool = True


def problems(history: Iterable[Call], bound: float = 0.0) -> list[str]:
    """What cannot be in a linearizable history.

    :param bound: the seconds after which ``has_ended`` tells of a session that another process has ended.
    """
    by_key: dict[str, list[Call]] = defaultdict(list)
    for call in history:
        by_key[call.key].append(call)
    return [
        f"{key}: {problem}"
        for key, calls in by_key.items()
        for check in (_created, _ended, _followed, _used)
        for problem in check(calls, bound)
    ]


def _created(calls: list[Call], _: float) -> Iterator[str]:
    """A session, once created, is there for all, with the value that it was created with."""
    gets = _known(calls, "get")
    seen = [get for get in gets if get.answer is not None]
    missed = [get for get in gets if get.answer is None]
    creates = [call for call in calls if call.act == "create"]
    yield from _one_change("created", creates, seen, missed)
    if len(values := {get.answer[0] for get in seen}) > 1:
        yield f"has several values: {sorted(values)}"
    accepted = {create.answer for create in creates if create.is_known}
    if values and accepted and values != accepted:
        yield f"has the value {sorted(values)}, and was created with {sorted(accepted)}"


def _ended(calls: list[Call], _: float) -> Iterator[str]:
    """A session that was created, once ended, has ended for all who get it."""
    gets = [get for get in _known(calls, "get") if get.answer is not None]
    seen = [get for get in gets if get.answer[1]]
    missed = [get for get in gets if not get.answer[1]]
    yield from _one_change("ended, by get_session", _ends(calls), seen, missed)


def _followed(calls: list[Call], bound: float) -> Iterator[str]:
    """``has_ended`` says so to all after the bound, and to the process that ended it, or has seen it, at once."""
    looks = _known(calls, "has_ended")
    seen, missed = [look for look in looks if look.answer], [look for look in looks if not look.answer]
    yield from _one_change("ended", _ends(calls), seen, missed, bound)
    for process in {call.process for call in calls}:
        ends, has_seen, has_missed = (
            [call for call in some if call.process == process] for some in (_ends(calls), seen, missed)
        )
        yield from _missed(f"ended, within process {process}", ends, has_seen, has_missed)


def _used(calls: list[Call], _: float) -> Iterator[str]:
    """Of all uses of an id one is the first, and it is none that began after another was refused."""
    uses = [call for call in calls if call.act == "use"]
    firsts = [use for use in uses if use.is_known and use.answer]
    refused = [use for use in uses if use.is_known and not use.answer]
    if len(firsts) > 1:
        yield f"was used for the first time {len(firsts)} times"
    yield from _one_change("used", [use for use in uses if use not in refused], refused, ())
    yield from _missed("used", (), refused, firsts)


def _ends(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.act == "end"]


def _known(calls: list[Call], act: str) -> list[Call]:
    return [call for call in calls if call.act == act and call.is_known]


def _one_change(
    what: str, makes: Iterable[Call], seen: Iterable[Call], missed: Iterable[Call], bound: float = 0.0
) -> Iterator[str]:
    makes, seen = list(makes), list(seen)
    possible_from = min((call.began for call in makes), default=inf)
    for call in seen:
        if call.ended < possible_from:
            yield f"process {call.process} saw it as {what} before anybody could have done that"
    yield from _missed(what, makes, seen, missed, bound)


def _missed(
    what: str, makes: Iterable[Call], seen: Iterable[Call], missed: Iterable[Call], bound: float = 0.0
) -> Iterator[str]:
    known_from = min((call.ended for call in (*makes, *seen) if call.is_known), default=inf)
    for call in missed:
        if call.began > known_from + bound:
            late = call.began - known_from
            yield f"process {call.process} missed that it was {what}, {late:.4f} s after that was known"
