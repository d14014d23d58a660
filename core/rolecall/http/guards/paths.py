"""Paths that are guarded by their beginning, for frameworks without a router."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote

from ...errors import ConfigurationError
from ...wording import shown

# Characters that a prefix never has: of other kinds of patterns, of a query, of escapes.
_FOREIGN: Final = re.compile(r"[<>*?#%\\\x00-\x1f\x7f\ufffd]")
# A scheme in front of a path, as in the target of a request to a proxy (RFC 9112, section 3.2.2).
_SCHEME: Final = re.compile(r"\A[^/]*:")
# The text before the first slash; an app that prepends a host takes it for the end of the host.
_HOST: Final = re.compile(r"\A[^/]+(?=/)")
_PATH_PARAMETERS: Final = re.compile(r";[^/]*")
_END: Final = re.compile(r"[?#]")
# A path without these is read in the same way everywhere.
_ODD: Final = frozenset("%;?# \ufffd")


class PathPattern:
    """A path such as ``/rooms/{session_id}``, in which ``{name}`` stands for one segment.

    :raises ConfigurationError: for a text that is no such path.
    """

    __slots__ = ("_beginning", "_exact", "_segments", "names", "specificity", "text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text.startswith("/") or _FOREIGN.search(text) or is_crooked(text):
            raise ConfigurationError(
                f"{shown(text, 80)} is no path; expected one such as '/rooms/{{session_id}}', not encoded, and no query"
            )
        #: The original text of the path.
        self.text = text
        segments = [segment for segment in text.split("/") if segment]
        #: The names of its variable parts.
        self.names = tuple(_variable(segment, text) for segment in segments if _is_variable(segment))
        if len(set(self.names)) < len(self.names):
            raise ConfigurationError(f"{shown(text, 80)} has one name twice; give each variable part its own")
        #: A sort key: greater for a path that is more specific.
        self.specificity = (len(segments), -len(self.names))
        # An app may take '/Admin' for '/admin', and an app that adds the first slash itself may get a path without one.
        parts = "/".join(map(_caseless, segments))
        self._beginning = re.compile(rf"/?{parts}(?:/|\Z)" if parts else "")
        self._exact = re.compile("/".join(map(_expression, text.split("/"))))
        self._segments = tuple(re.compile(_caseless(segment)) for segment in segments)

    def begins(self, path: str) -> dict[str, str] | None:
        """The variable parts if ``path`` is this one or below it, in any case; else None."""
        found = self._beginning.match(path)
        return None if found is None else found.groupdict()

    def matches(self, path: str) -> bool:
        """Whether ``path`` is exactly this one."""
        return self._exact.fullmatch(path) is not None

    def may_begin(self, path: str) -> bool:
        """Whether some app could take ``path`` for this one or one below it, depending on how it reads odd parts."""
        return any(
            self._is_left_of(reading) if is_crooked(reading) else self.begins(reading) is not None
            for reading in readings(path)
        )

    def _is_left_of(self, path: str) -> bool:
        """Whether removing segments can leave this path, or one below it: resolving a path does no more than that."""
        sent = iter(re.split(r"[/\\]", path))
        return all(any(wanted.fullmatch(segment) for segment in sent) for wanted in self._segments)

    def __repr__(self) -> str:
        return f"PathPattern({self.text!r})"


def path_patterns(texts: Iterable[str]) -> tuple[PathPattern, ...]:
    """The patterns of these texts, the most specific last: ``/rooms/{session_id}`` after ``/rooms``."""
    return tuple(sorted(map(PathPattern, texts), key=lambda pattern: pattern.specificity))


def is_crooked(path: str) -> bool:
    """Whether a path has segments that apps read differently: ``.``, ``..``, empty ones, or a backslash."""
    return "//" in path or "\\" in path or ("." in path and not {".", ".."}.isdisjoint(path.split("/")))


def is_plain(path: str) -> bool:
    """Whether every app reads a path in the same way: it is not crooked, and no app drops or decodes parts of it."""
    if path[:1] not in ("", "/") and (_SCHEME.match(path) or _HOST.match(path)):
        return False
    return not is_crooked(path) and _ODD.isdisjoint(path) and path.isprintable()


def readings(path: str) -> Iterator[str]:
    """The paths that apps may read from one with odd characters; the path itself comes first."""
    # Bottle drops bytes that are no UTF-8, `$` in a regular expression ignores a newline at the end, and an app that
    # decodes a second time finds more. Servlet containers, and apps that parse the path as a URL, drop path parameters
    # (RFC 3986, section 3.3), the text after an encoded '?' or '#', and the text before the first slash.
    for decoded in dict.fromkeys((path, unquote(path))):
        for cut in dict.fromkeys((decoded, _END.split(decoded, maxsplit=1)[0])):
            for bare in dict.fromkeys((cut, _PATH_PARAMETERS.sub("", cut))):
                for within in dict.fromkeys((bare, _SCHEME.sub("", bare), _HOST.sub("", bare))):
                    yield within
                    yield _without_odd(within)


def _without_odd(path: str) -> str:
    """A path without the characters that some apps drop or strip."""
    # U+FFFD stands for a byte that is no UTF-8.
    return "".join(one for one in path if one.isprintable() and one not in " \ufffd")


def _is_variable(segment: str) -> bool:
    return "{" in segment or "}" in segment


def _variable(segment: str, text: str) -> str:
    name = segment[1:-1]
    if segment != f"{{{name}}}" or not name.isidentifier():
        raise ConfigurationError(
            f"{shown(text, 80)} has {{…}} in a segment that it does not fill; expected '/rooms/{{session_id}}'"
        )
    return name


def _expression(segment: str) -> str:
    return rf"(?P<{segment[1:-1]}>[^/]+)" if _is_variable(segment) else re.escape(segment)


def _caseless(segment: str) -> str:
    return _expression(segment) if _is_variable(segment) else f"(?i:{re.escape(segment)})"
