"""Marks in the memory of a process: in any order, any number of times, by any thread."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from math import inf
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.stores import marks as marks_module
from rolecall.stores.marks import PARTS, Marks, mark_name
from rolecall.stores.memory import MemoryStore

from ...forking import in_child, needs_fork

#: No part but the last has spaces.
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=4)
LAST = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
NAMES = st.sampled_from(sorted(PARTS)).flatmap(
    lambda kind: st.tuples(st.just(kind), *[WORDS] * (PARTS[kind] - 1), LAST)
)
NUMBERS = st.one_of(st.floats(0.001, 1e13), st.just(inf))


@given(st.data(), st.lists(st.tuples(NAMES, NUMBERS), max_size=12))
def test_the_greatest_number_of_each_name_holds_in_any_order(data, raised):
    told = data.draw(st.permutations([*raised, *raised[::2]]))
    marks = Marks()
    marks.learn_all((mark_name(*parts), value) for parts, value in told)
    greatest: dict[tuple[str, ...], float] = {}
    for parts, value in raised:
        greatest[parts] = max(value, greatest.get(parts, 0.0))
    assert {parts: marks.value(*parts) for parts in greatest} == greatest
    assert marks.kinds == {parts[0] for parts in greatest}
    assert len(marks) == len(greatest)


@given(NAMES, NAMES)
def test_a_name_says_nothing_of_another(one, other):
    marks = Marks()
    marks.learn(mark_name(*one), 5.0)
    assert marks.value(*other) == (5.0 if one == other else 0.0)


@given(st.lists(NAMES, max_size=12), WORDS)
def test_a_session_with_a_mark_may_have_one_and_most_others_have_none(raised, other):
    marks = Marks()
    assert not marks.may_touch(other)
    marks.learn_all((mark_name(*parts), 5.0) for parts in raised)
    own = {parts[1] for parts in raised if parts[0] in ("token", "reset", "excluded", "readmitted")}
    assert all(map(marks.may_touch, own))
    others = [f"{other} {number}" for number in range(50)]
    assert sum(map(marks.may_touch, others)) <= 5, "a chance of 1 in 700,000 each"


@pytest.mark.parametrize("name", ["later kind of mark", "", "ended 1_a"])
def test_a_kind_of_a_later_version_is_left_out(name):
    marks = Marks()
    marks.learn(name, 5.0)
    assert len(marks) == 0
    assert not marks.kinds


def test_threads_raise_the_same_mark():
    marks = Marks()
    numbers = [float(number) for number in range(1, 20_000)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda number: marks.learn("reset 1_a", number), numbers):
            pass
    assert marks.value("reset", "1_a") == numbers[-1]


def test_the_revision_changes_with_what_was_not_known_and_with_nothing_else():
    marks = Marks()
    told = [("reset 1_a", 5.0), ("reset 1_a", 5.0), ("reset 1_a", 4.0), ("reset 1_a", 6.0), ("reset 1_b", 6.0)]
    told += [("token 1_a x", inf), ("token 1_a x", inf), ("token 1_a x", 7.0), ("later kind", 1.0)]
    changes = []
    for name, value in told:
        seen = marks.revision
        marks.learn(name, value)
        changes.append(marks.revision != seen)
    assert changes == [True, False, False, True, True, True, False, False, False]


@needs_fork
def test_a_child_learns_though_a_thread_of_the_parent_was_learning():
    marks = Marks()
    with marks._lock:
        in_child(lambda: marks.learn("reset 1_a", 5.0))


class TimedOut(BaseException):
    """Raised where a signal may raise it: at any line."""


def learn_until(marks: Marks, name: str, value: float, line: int) -> bool:
    """Whether ``learn`` came as far as its line with this number, counted from the first, and was left there."""
    # Each once: a tracer may raise where a `with` is left, before the lock is released, and a signal never does.
    lines: set[int] = set()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != marks_module.__file__:
            return None
        if event == "line" and frame.f_lineno not in lines:
            lines.add(frame.f_lineno)
            if len(lines) == line:
                raise TimedOut
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        marks.learn(name, value)
    except TimedOut:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("earlier", [None, 5.0], ids=["new", "raised"])
@pytest.mark.parametrize(
    ("name", "value"), [("token 1_a x", inf), ("reset 1_a", 6.0), ("excluded 1_a 0 ada", 6.0), ("actor ada", 6.0)]
)
def test_what_was_left_halfway_by_a_signal_is_made_up_for(name, value, earlier):
    kind, *parts = name.split(" ")
    for line in count(1):
        marks = Marks()
        if earlier is not None:
            marks.learn(name, earlier)
        seen = marks.revision
        if not learn_until(marks, name, value, line):
            break
        marks.learn(name, value)
        assert marks.revision != seen, line
        assert marks.value(kind, *parts) == value, line
        assert kind in marks.kinds
        assert kind == "actor" or marks.may_touch("1_a")
    assert line > 10


@needs_fork
def test_a_child_of_a_process_that_was_marking_can_mark():
    store = MemoryStore()
    with store._lock:
        in_child(lambda: store.raise_mark("reset 1_a", 5.0, inf))
