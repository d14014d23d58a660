"""The values that PostgreSQL can hold."""

from __future__ import annotations

from .failures import any_number, finite_seconds, of_a_value


def checked(text: str) -> str:
    """Text that PostgreSQL can hold.

    :raises StoreUnavailable: for other text. The message does not quote it.
    """
    if isinstance(text, str) and "\0" not in text and text.encode("utf-8", "replace").decode() == text:
        return text
    raise of_a_value("the PostgreSQL store cannot hold this text: it has a zero byte, or is no Unicode")


def checked_or_none(text: str | None) -> str | None:
    """The same for text that may be missing."""
    return None if text is None else checked(text)


def seconds(moment: float) -> float:
    """A finite number of seconds.

    :raises StoreUnavailable: for anything else.
    """
    return finite_seconds(moment, "PostgreSQL")


def possibly_infinite(value: float) -> float:
    """The number of a mark, or its time. Either may be infinite.

    :raises StoreUnavailable: for anything else.
    """
    return any_number(value, "PostgreSQL")
