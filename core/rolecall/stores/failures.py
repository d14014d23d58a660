"""The errors that several stores have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..errors import StoreUnavailable
from ..wording import shown

Item = TypeVar("Item")
Converted = TypeVar("Converted")


def unreadable(store: str, session_id: object) -> StoreUnavailable:
    """The error for a session that is kept in a form which this version cannot read.

    :param store: the kind of store, such as ``SQLite``.
    """
    return of_a_value(
        f"the {store} store's row of the session {shown(session_id)} cannot be read: it is damaged, or a later version "
        "of Rolecall wrote it; update this worker, or restore a backup"
    )


def of_a_value(message: str) -> StoreUnavailable:
    """The error for one value that the store cannot hold or read, though it answers."""
    error = StoreUnavailable(message)
    error.is_of_a_value = True
    return error


def missing_schema(store: str, found: int, wanted: int, remedy: str) -> StoreUnavailable:
    """The error for a schema that is missing or of an earlier version, where something else migrates it.

    :param store: the kind of store, such as ``SQLite``.
    :param remedy: what migrates it, such as ``"run manage.py migrate"``.
    """
    kept = f"are of version {found}, and this version of Rolecall needs {wanted}" if found else "do not exist"
    return StoreUnavailable(f"the tables of the {store} store {kept}: {remedy}")


def finite_seconds(moment: Any, store: str) -> float:
    """A moment, or a number of seconds, which is finite.

    :param store: the kind of store, such as ``Redis``.
    :raises StoreUnavailable: for anything else.
    """
    try:
        seconds = float(moment)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise of_a_value(f"the {store} store cannot hold this moment: it is no finite number of seconds")
    return seconds


def any_number(value: Any, store: str) -> float:
    """A number, which may be infinite.

    :param store: the kind of store, such as ``Redis``.
    :raises StoreUnavailable: for anything else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise of_a_value(f"the {store} store cannot hold this mark: its number, or its time, is no number")
    return number


def converted(
    items: Iterable[Item], convert: Callable[[Item], Converted]
) -> tuple[list[Converted], list[StoreUnavailable | None]]:
    """The items as the store needs them, without those that it cannot hold; and for each item its failure, or None."""
    made: list[Converted] = []
    failures: list[StoreUnavailable | None] = []
    for item in items:
        try:
            made.append(convert(item))
            failures.append(None)
        except StoreUnavailable as error:
            failures.append(error)
    return made, failures


def for_one_of_several(error: BaseException) -> StoreUnavailable:
    """The same error for one of several callers, each of which adds a traceback to its own."""
    unavailable = StoreUnavailable(str(error))
    unavailable.is_of_a_value = getattr(error, "is_of_a_value", False)
    unavailable.__cause__ = error
    return unavailable
