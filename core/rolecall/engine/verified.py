"""Grants of tokens that were verified before."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from ..tokens import Grant

_MAX_VERIFIED: Final = 4096
_MAX_CAME: Final = 4 * _MAX_VERIFIED
#: The fingerprint of a token whose format has no other way.
END: Final = slice(-32, None)


class VerifiedTokens:
    """Grants of tokens that were verified before. It holds no token: of each the SHA-256, and its fingerprint.

    A grant is kept when its token comes for the second time: many tokens come once, to join, and would push out those
    that come with every request. Two generations: when the young one is full it becomes the old one, and what was not
    asked for since is forgotten. No lock, and no list to reorder.
    """

    __slots__ = ("_came", "_size", "old", "young")

    def __init__(self, size: int = _MAX_VERIFIED) -> None:
        self._size = size // 2
        #: Where a hit is found: the SHA-256 and the grant, by the token's fingerprint.
        self.young: dict[bytes, tuple[bytes, Grant]] = {}
        #: What was last asked for a generation ago.
        self.old: dict[bytes, tuple[bytes, Grant]] = {}
        self._came: set[bytes] = set()

    def take_note(self, token: bytes, fingerprint: bytes, grant: Grant) -> None:
        """Keep the grant of a token that was verified, unless it comes for the first time."""
        if fingerprint in self._came:
            self.keep(fingerprint, (sha256(token).digest(), grant))
            return
        if len(self._came) >= _MAX_CAME:
            self._came = set()
        self._came.add(fingerprint)

    def keep(self, fingerprint: bytes, kept: tuple[bytes, Grant]) -> None:
        """Put what is kept among the young."""
        if len(self.young) >= self._size:
            self.old, self.young = self.young, {}
        self.young[fingerprint] = kept
