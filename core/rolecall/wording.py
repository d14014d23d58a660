"""Values in messages: shortened, printable, and never a secret."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final


def shown(value: object, limit: int = 24) -> str:
    """``value`` as a message may show it: short, escaped, or only its type."""
    if isinstance(value, str):
        # So that no control character or quote from outside reaches a header or a log line unescaped.
        return ascii(value) if len(value) <= limit else ascii(value[:limit]) + "…"
    if isinstance(value, bool | int | float | None):
        return repr(value) if not isinstance(value, int) or abs(value) < 10**24 else "a huge int"
    if isinstance(value, MappingProxyType):
        return "an object"  # parsed JSON
    return f"a value of type {type(value).__name__}"


def printable(text: str) -> str:
    """``text`` on one line, fit for a log: unprintable characters become question marks."""
    return "".join(character if character.isprintable() else "?" for character in text)


def wrapping(text: str | bytes) -> str | None:
    """Describe white space, a line end or quotes around ``text``; None if there are none.

    Files, mounted secrets and other programs' settings often leave them there. Bytes are checked only if they are text:
    random bytes may end in a line end.
    """
    if isinstance(text, bytes):
        text = _readable(text)
    for place, character in (("beginning", text[:1]), ("end", text[-1:])):
        if character in ("\n", "\r"):
            return f"a line end at its {place}"
        if character.isspace():
            return f"white space at its {place}"
        if not character.isprintable() and not "\ud800" <= character <= "\udfff":
            return f"an invisible character at its {place}"
    if text.endswith(("\\n", "\\r")):
        return "a line end at its end, written out as two characters"
    return "quotes around it" if len(text) > 1 and text[0] + text[-1] in _QUOTES else None


_QUOTES = frozenset(('""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\u201e\u201c", "\u00ab\u00bb"))


def _readable(material: bytes) -> str:
    try:
        text = material.decode()
    except UnicodeDecodeError:
        return ""
    return text if text[1:-1].strip().isprintable() else ""


def nearest(name: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """The known name that ``name`` may be a misspelling of, in any case; None if there is none.

    :param least: how alike they are at least, from 0 to 1.
    """
    from difflib import get_close_matches  # wanted where start-up stops, and nowhere else

    spellings = {spelling.casefold(): spelling for spelling in known}
    close = get_close_matches(name.casefold(), spellings, n=1, cutoff=least)
    return spellings[close[0]] if close else None


def kind(value: object) -> str:
    """The kind of ``value``, for values that may be a misplaced secret."""
    return f"a text of {len(value)} characters" if isinstance(value, str) else f"of type {type(value).__name__}"


def shown_key(value: object) -> str:
    """An API key from outside as a message may show it.

    If key and secret were swapped, it is the secret: only a UUID, or a text too short for a secret, is shown in full.
    """
    if not isinstance(value, str):
        return shown(value)
    parts = value.split("-")
    is_uuid = [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(part.isalnum() for part in parts)
    return shown(value, limit=36) if len(value) <= _MAX_SHOWN_KEY or is_uuid else kind(value)


#: The longest text that is shown as an API key, in characters; the services' shortest secrets have 16.
_MAX_SHOWN_KEY: Final = 12


def moment(seconds: float) -> str:
    """A Unix time for people and machines: ``2026-11-20T15:46:12Z (1795189572)``."""
    try:
        stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.6g}"
    return f"{stamp} ({int(seconds)})"
