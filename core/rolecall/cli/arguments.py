"""Reading what is passed on the command line: tokens, durations and moments."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta
from typing import Final

import click

from ..errors import MalformedToken
from ..wording import shown

#: The most bytes that are read from stdin: a token of the greatest length, and white space around it.
MAX_STDIN: Final = 32_768

_DURATION: Final = re.compile(r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s?)?")
_UNIX_SECONDS: Final = re.compile(r"[0-9]{1,24}(\.[0-9]{1,9})?")


def read_token(text: str) -> str:
    """The token that was passed, or for ``-`` the one on stdin.

    :raises MalformedToken: if there is nothing on stdin, or far more than a token.
    """
    return _token_on_stdin() if text == "-" else text


def duration(text: str) -> timedelta:
    """``2h``, ``30m``, ``7d``, ``1h30m``; a number alone is in seconds."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise click.BadParameter(f"{shown(text)} is not a duration; expected for example 30m, 2h, 7d, or seconds: 3600")
    days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def moment_in_time(text: str) -> float | datetime:
    """Unix seconds, or an ISO 8601 date and time with its offset."""
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
    # The interpreter sets it to None when the caller has closed it.
    if sys.stdin is None:
        raise MalformedToken("stdin is closed; expected a token on it")
    data: bytes = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise MalformedToken(f"there are more than {MAX_STDIN} bytes on stdin; expected one token")
    # Every byte has a character in Latin-1: what is not ASCII is refused where all tokens are, with its own message.
    token = data.decode("latin-1").strip()
    if not token:
        raise MalformedToken("stdin is empty; expected a token on it")
    return token
