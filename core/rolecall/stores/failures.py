"""The errors that several stores have in common."""

from __future__ import annotations

import math
from typing import Any

from ..errors import StoreUnavailable
from ..wording import shown


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


def for_one_of_several(error: BaseException) -> StoreUnavailable:
    """The same error for one of several callers, each of which adds a traceback to its own."""
    unavailable = StoreUnavailable(str(error))
    unavailable.is_of_a_value = getattr(error, "is_of_a_value", False)
    unavailable.__cause__ = error
    return unavailable
