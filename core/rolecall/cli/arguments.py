"""Reads arguments of the command line: tokens, durations and times."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta
from typing import Final

import click

from ..clock import read_duration, read_duration_with_unit
from ..errors import MalformedToken
from ..wording import shown

#: How many bytes are read from stdin at most: the longest token, and white space around it.
MAX_STDIN: Final = 32_768

_UNIX_SECONDS: Final = re.compile(r"[0-9]{1,24}(\.[0-9]{1,9})?")


def read_token(text: str) -> str:
    """The token on the command line, or for ``-`` the one on stdin.

    :raises MalformedToken: if stdin is empty, or far longer than a token.
    """
    return _token_on_stdin() if text == "-" else text


def duration(text: str) -> timedelta:
    """Parse a duration: ``2h``, ``30m``, ``7d``, ``1h30m``; a plain number is in seconds."""
    found = read_duration(text)
    if found is None:
        raise click.BadParameter(f"{shown(text)} is not a duration; expected for example 30m, 2h, 7d, or seconds: 3600")
    return found


def duration_with_unit(text: str) -> timedelta:
    """Parse a duration by which something is removed for good: ``90d``, ``12h``, ``90s``, and no plain number."""
    found = read_duration_with_unit(text)
    if found is None:
        raise click.BadParameter(f"{shown(text)} is not a duration with its unit; write for example 90d, 12h or 90s")
    return found


def moment_in_time(text: str) -> float | datetime:
    """Parse Unix seconds, or an ISO 8601 date and time with its offset."""
    if _UNIX_SECONDS.fullmatch(text):
        return float(text) if "." in text else int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{shown(text)} is not a time; expected Unix seconds, or ISO 8601: 2030-01-31T18:00:00Z"
        ) from None
    if moment.utcoffset() is None:
        raise click.BadParameter(f"{shown(text)} has no time zone; add 'Z' for UTC, or an offset such as '+02:00'")
    return moment


def _token_on_stdin() -> str:
    # None if the caller has closed it.
    if sys.stdin is None:
        raise MalformedToken("stdin is closed; expected a token on it")
    data: bytes = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise MalformedToken(f"there are more than {MAX_STDIN} bytes on stdin; expected one token")
    # Latin-1 decodes every byte; a character outside ASCII is refused later, with the message for tokens.
    token = data.decode("latin-1").strip()
    if not token:
        raise MalformedToken("stdin is empty; expected a token on it")
    return token
