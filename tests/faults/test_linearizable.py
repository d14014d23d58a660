"""The checker of histories, on histories that somebody wrote: it finds what is wrong, and nothing else."""

from __future__ import annotations

import pytest

from .linearizable import Call, problems


def create(began: float, ended: float, value: str = "a", *, process: int = 1, is_known: bool = True) -> Call:
    return Call(process, "create", "s", began, ended, value, is_known)


def end(began: float, ended: float, *, process: int = 1, is_known: bool = True) -> Call:
    return Call(process, "end", "s", began, ended, None, is_known)


def get(began: float, ended: float, answer: object, *, process: int = 2) -> Call:
    return Call(process, "get", "s", began, ended, answer)


def look(began: float, ended: float, answer: bool, *, process: int = 2) -> Call:
    return Call(process, "has_ended", "s", began, ended, answer)


def use(began: float, ended: float, answer: object, *, process: int = 2, is_known: bool = True) -> Call:
    return Call(process, "use", "s", began, ended, answer, is_known)


OPEN, ENDED = ("a", False), ("a", True)

GOOD = {
    "nothing": [],
    "one after the other": [create(1, 2), get(3, 4, OPEN), end(5, 6), get(7, 8, ENDED), look(7, 8, True)],
    "a get beside a create may find it": [create(1, 4), get(2, 3, OPEN), get(3.5, 5, OPEN)],
    "a get beside a create may miss it": [create(1, 4), get(2, 5, None), get(6, 7, OPEN)],
    "gets beside each other may differ": [create(1, 4), get(2, 5, OPEN), get(3, 6, None)],
    "a lost answer of a create": [create(1, 2, is_known=False), get(3, 4, None), get(5, 6, OPEN)],
    "a lost answer of an end": [end(1, 2, is_known=False), look(3, 4, False), look(5, 6, True)],
    "looks beside an end": [end(1, 4), look(2, 5, False), look(2, 5, True, process=3), look(6, 7, True)],
    "one first use of many": [use(1, 5, False), use(2, 4, True), use(3, 6, False)],
    "a first use whose answer was lost": [use(1, 2, None, is_known=False), use(3, 4, False)],
    "a lost use that was never made": [use(1, 2, None, is_known=False), use(3, 4, True), use(5, 6, False)],
}
BAD = {
    "lost after the acknowledgement": ([create(1, 2), get(3, 4, None)], "missed that it was created"),
    "seen, then lost": (
        [create(1, 9), get(2, 3, OPEN), get(4, 5, None, process=3)],
        "process 3 missed that it was created, 1.0000 s after",
    ),
    "seen before it was made": ([get(1, 2, OPEN), create(3, 4)], "before anybody could have"),
    "seen, and never made": ([get(1, 2, OPEN)], "before anybody could have"),
    "two values": ([create(1, 2), get(3, 4, OPEN), get(5, 6, ("b", False))], "several values"),
    "another's value": ([create(1, 2), get(3, 4, ("b", False))], "was created with ['a']"),
    "open after its end": (
        [create(1, 2), end(3, 4), get(5, 6, OPEN)],
        "missed that it was ended, by get_session",
    ),
    "ended, then open": ([create(1, 2), end(3, 9), get(4, 5, ENDED), get(6, 7, OPEN)], "missed that it was ended"),
    "ended by nobody": ([create(1, 2), get(3, 4, ENDED)], "saw it as ended"),
    "let in after its end": ([end(1, 2), look(3, 4, False)], "missed that it was ended"),
    "let in after another has seen its end": (
        [end(1, 9), look(2, 3, True), look(4, 5, False, process=3)],
        "process 3 missed that it was ended",
    ),
    "refused before its end": ([look(1, 2, True), end(3, 4)], "before anybody could have"),
    "used twice": ([use(1, 2, True), use(1, 2, True, process=3)], "first time 2 times"),
    "the first use after another was refused": (
        [use(1, 9, None, is_known=False), use(2, 3, False), use(4, 5, True)],
        "missed that it was used",
    ),
    "refused before the first use": ([use(1, 2, False), use(3, 4, True)], "before anybody could have"),
    "refused, and used by nobody": ([use(1, 2, False), use(1, 2, False, process=3)], "before anybody could have"),
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_what_can_be_is_no_problem(history):
    assert problems(history) == []


@pytest.mark.parametrize(("history", "said"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_found(history, said):
    assert said in "; ".join(problems(history))


def test_within_the_bound_another_process_may_miss_an_end():
    history = [end(1, 2), look(2.9, 3, False), look(3.1, 3.2, True)]
    assert problems(history, bound=1.0) == []
    assert "missed that it was ended" in problems([end(1, 2), look(3.1, 3.2, False)], bound=1.0)[0]


@pytest.mark.parametrize("seen", [end(1, 2, process=2), look(1, 2, True)], ids=["its own end", "an end that it saw"])
def test_within_the_bound_no_process_forgets_what_it_knows(seen):
    history = [end(0.5, 0.9), seen, look(2.1, 2.2, False)]
    assert problems(history, bound=5.0) == [
        "s: process 2 missed that it was ended, within process 2, 0.1000 s after that was known"
    ]
