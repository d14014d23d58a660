"""Paths that are guarded by what they begin with, for frameworks that have no router."""

from __future__ import annotations

from ..errors import ConfigurationError, shown


class PathPattern:
    """A path such as ``/rooms/{session_id}``, in which ``{name}`` stands for one segment.

    :raises ConfigurationError: for a text that is no such path.
    """

    __slots__ = ("_segments", "text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text.startswith("/") or not is_plain(text):
            raise ConfigurationError(f"{shown(text, 80)} is no path; expected one such as '/rooms/{{session_id}}'")
        #: The path as it was given.
        self.text = text
        self._segments = _segments(text)
        for segment in self._segments:
            if ("{" in segment or "}" in segment) and not (
                segment[0] == "{" and segment[-1] == "}" and segment[1:-1].isidentifier()
            ):
                raise ConfigurationError(
                    f"{shown(text, 80)} has {{…}} in a segment that it does not fill; expected '/rooms/{{session_id}}'"
                )

    def begins(self, path: str) -> dict[str, str] | None:
        """The variable parts if ``path``, in its normal form, is this one or below it."""
        return self._match(_segments(path)[: len(self._segments)])

    def begins_as_sent(self, path: str) -> bool:
        """Whether an app that resolves no ``..`` would read ``path`` as this one or one below it."""
        sent = [segment for segment in path.split("/") if segment not in ("", ".")]
        return self._match(sent[: len(self._segments)]) is not None

    def matches(self, path: str) -> dict[str, str] | None:
        """The variable parts if ``path``, in its normal form, is this one."""
        return self._match(_segments(path))

    def _match(self, segments: list[str]) -> dict[str, str] | None:
        if len(segments) != len(self._segments):
            return None
        params = {}
        for wanted, segment in zip(self._segments, segments, strict=True):
            if wanted[0] == "{":
                params[wanted[1:-1]] = segment
            elif wanted != segment:
                return None
        return params

    def __repr__(self) -> str:
        return f"PathPattern({self.text!r})"


def is_plain(path: str) -> bool:
    """Whether a path can be read in one way only: no empty segment but the last, no ``.`` and no ``..``."""
    return not any(segment in (".", "..") for segment in path.split("/")) and "//" not in path


def _segments(path: str) -> list[str]:
    """The segments of a path in its normal form (RFC 3986, section 5.2.4), empty ones left out."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment and segment != ".":
            kept.append(segment)
    return kept
