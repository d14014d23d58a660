"""A cache of the grants of verified tokens."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from ..tokens import Grant

_MAX_VERIFIED: Final = 4096
_MAX_CAME: Final = 4 * _MAX_VERIFIED
#: Cache key: the token's last 32 characters. A miss proves that it is new; a hit is confirmed by SHA-256, for which
#: processors have instructions.
END: Final = slice(-32, None)


class VerifiedTokens:
    """A cache of the grants of verified tokens. It holds no token, only the hash and the cache key of each.

    A grant is cached when its token is verified for the second time: many tokens are used once, to join, and would
    evict those of every request. There are two generations: when the young one is full it becomes the old one, and
    entries that were not read since are dropped. So there is no lock, and no list to reorder.
    """

    __slots__ = ("_came", "_size", "old", "young")

    def __init__(self, size: int = _MAX_VERIFIED) -> None:
        self._size = size // 2
        #: The hash and the grant of tokens, by cache key.
        self.young: dict[bytes, tuple[bytes, Grant]] = {}
        #: Entries that were last read a generation ago.
        self.old: dict[bytes, tuple[bytes, Grant]] = {}
        self._came: set[bytes] = set()

    def take_note(self, token: bytes, fingerprint: bytes, grant: Grant) -> None:
        """Cache the grant of a verified token, unless this is its first time."""
        if fingerprint in self._came:
            self.keep(fingerprint, (sha256(token).digest(), grant))
            return
        if len(self._came) >= _MAX_CAME:
            self._came = set()
        self._came.add(fingerprint)

    def keep(self, fingerprint: bytes, kept: tuple[bytes, Grant]) -> None:
        """Put an entry into the young generation."""
        if len(self.young) >= self._size:
            self.old, self.young = self.young, {}
        self.young[fingerprint] = kept
