"""The URLs of media services."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..wording import kind, wrapping


def problem_with_url(url: object, schemes: tuple[str, ...], setting: str = "url", expected: str = "") -> str | None:
    """The problem with the URL of a service, which is not quoted: it may hold a password. None if there is none.

    :param setting: the name of the setting that has it.
    :param expected: what is expected, for messages; a URL with the first of the schemes unless given.
    """
    expected = expected or f"expected one like '{schemes[0]}://media.example.org'"
    around = wrapping(url) if isinstance(url, str) else None
    if around is not None:
        return f"{setting} has {around}; take it off"
    if not isinstance(url, str) or not re.fullmatch(r"[!-~]+", url):
        return f"{setting} is {kind(url)}; {expected}"
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        return f"{setting} is not the URL of a service; {expected}"
    if "@" in parts.netloc or "?" in url or "#" in url:
        return f"{setting} holds a user, a query or a fragment; {expected}"
    return None
