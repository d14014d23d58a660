"""Names of rooms, for services that take less than a session id can be."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

#: What a derived name begins with.
DERIVED: Final = "rc-"


def derived_room(session_id: str, pattern: re.Pattern[str], longest: int) -> str:
    """The name of a session's room at a service: the session's id if it fits, else ``rc-`` and 40 hexadecimal digits.

    The digits begin the id's SHA-256, so two sessions never share a room. An id that could be such a name never fits.

    :param pattern: matches the names that the service takes, and keeps apart. A service that folds case keeps apart
        those in lower case alone.
    :param longest: the longest name, in bytes of UTF-8; at least 43.
    """
    fits = pattern.fullmatch(session_id) and len(session_id.encode()) <= longest
    if fits and not session_id.lower().startswith(DERIVED):
        return session_id
    return DERIVED + sha256(session_id.encode()).hexdigest()[:40]
