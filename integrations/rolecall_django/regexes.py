"""Regular expressions of URLs, made readable."""

from __future__ import annotations

import re
from typing import Final

_PARTS: Final = re.compile(
    r"""
    (?P<escape>\\.)
    | (?P<characters>\[\^?\]?(?:\\.|[^\]])*\])
    | (?P<begin>\((?:\?(?:P<\w+>|<[=!]|[:=!]|[aiLmsux-]+:?))?)
    | (?P<end>\))
    | (?P<quantifier>\{[\d,]+\}\??)
    | (?P<anchor>[\^$])
    | (?P<other>.)
    """,
    re.DOTALL | re.VERBOSE,
)
#: Escapes that stand for a place, and not for a character.
_PLACES: Final = frozenset({r"\A", r"\Z", r"\b", r"\B"})


def readable(regex: str) -> tuple[str, frozenset[str]]:
    """A regular expression as a path with ``{name}``, and the names of its groups.

    Where none has a name, Django passes the groups by position: they are called ``unnamed_1`` and so on.
    """
    compiled = re.compile(regex)
    named = {place: name for name, place in compiled.groupindex.items()}
    names = named or {place: f"unnamed_{place}" for place in range(1, compiled.groups + 1)}
    text, place, inside = "", 0, list[bool]()
    for part in _PARTS.finditer(regex):
        kind, found = part.lastgroup, part[0]
        is_hidden = any(inside)
        if kind == "begin":
            takes_part = found == "(" or found.startswith("(?P<")
            place += takes_part
            if takes_part and not is_hidden:
                text += f"{{{names[place]}}}" if place in names else "…"
            inside.append(takes_part or found[2:3] in ("=", "!", "<"))
        elif kind == "end":
            if inside:  # else of a comment in a verbose expression
                inside.pop()
        elif not is_hidden and kind != "quantifier" and kind != "anchor":
            text += _character(found)
    return text, frozenset(names.values())


def _character(part: str) -> str:
    if not part.startswith("\\"):
        return part
    if part in _PLACES:
        return ""
    return part if part[1].isalnum() else part[1]
