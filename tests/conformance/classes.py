"""One row of the table for each class of answer: what the newcomer's tier and the servers are asked."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from .requests_table import CASES, Case


def framing(case: Case) -> str:
    """How the body of a request is framed."""
    if case.body is None:
        return "none"
    return "chunked" if case.chunked else "by its length"


def class_of_answer(case: Case) -> Hashable:
    """Rows of one class differ only in what the core alone judges: a server handles them alike."""
    return case.method, case.status, case.code, framing(case), case.is_own


def class_by_kit(case: Case) -> Hashable:
    """The class of the answer, by each kit: what the options of the kit change comes with each of them."""
    return class_of_answer(case), case.kit


def one_of_each(cases: Iterable[Case], class_of: Callable[[Case], Hashable]) -> tuple[Case, ...]:
    """The first row of each class, in the order of the table."""
    first: dict[Hashable, Case] = {}
    for case in cases:
        first.setdefault(class_of(case), case)
    return tuple(first.values())


#: What the newcomer's tier puts to every adapter.
SHORT_TABLE = one_of_each(CASES, class_by_kit)
#: What every server is asked.
ANSWERS = one_of_each(CASES, class_of_answer)
