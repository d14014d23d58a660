"""A cache of verified tokens."""

from __future__ import annotations

import os
from array import array
from typing import Final
from weakref import WeakSet

from ..roles import Requirement
from ..tokens import Grant

_MAX_VERIFIED: Final = 4096
# A power of two.
_MAX_CAME: Final = 4 * _MAX_VERIFIED
#: Cache key: the token's last 32 characters. A miss proves that it is new; a hit is confirmed by the whole token.
END: Final = slice(-32, None)


class _Never:
    """Equal to nothing, whatever the other side of a comparison says."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return False


#: The revision of no store.
NEVER: Final = _Never()


class Verified:
    """A cached token.

    Outside of its time, which a clock that is set back may bring about, it has to be verified again.

    :param token: the token.
    :param grant: its grant.
    :param since: when it was verified, in Unix seconds.
    """

    __slots__ = ("grant", "met", "revision", "since", "token", "until")

    def __init__(self, token: str, grant: Grant, since: float) -> None:
        self.token = token
        self.grant = grant
        self.since = since
        #: The end of its life, in Unix seconds.
        self.until = float(grant.expires_at)
        #: The revision of the store as of which the grant was live.
        self.revision: object = NEVER
        #: A requirement that the grant meets, as neither ever changes.
        self.met: Requirement | None = None


class VerifiedTokens:
    """A cache of verified tokens, in memory alone.

    It holds the tokens themselves: to compare them takes a tenth of the time of a hash. One that has expired stays
    until others take its place.

    A token is cached when it is verified for the second time: many are used once, to join, and would evict those of
    every request. Which came once is known by their hashes, each in a place of its own, until another one takes that.
    There are two generations: when the young one is full it becomes the old one, and entries that were not read since
    are dropped. So there is no lock, and no list to reorder.
    """

    __slots__ = ("__weakref__", "_came", "_size", "old", "young")

    def __init__(self, size: int = _MAX_VERIFIED) -> None:
        self._size = size // 2
        #: The tokens by cache key.
        self.young: dict[str, Verified] = {}
        #: Entries that were last read a generation ago.
        self.old: dict[str, Verified] = {}
        self._came = array("q", bytes(8 * _MAX_CAME))
        _ALL.add(self)

    def take_note(self, fingerprint: str, token: str, grant: Grant, now: float) -> Verified | None:
        """Cache a token that was verified at ``now``, unless this is its first time."""
        mark = hash(fingerprint)
        place = mark % _MAX_CAME
        if self._came[place] == mark:
            verified = Verified(token, grant, now)
            self.keep(fingerprint, verified)
            return verified
        self._came[place] = mark
        return None

    def keep(self, fingerprint: str, verified: Verified) -> None:
        """Put an entry into the young generation."""
        if len(self.young) >= self._size:
            self.old, self.young = self.young, {}
        self.young[fingerprint] = verified

    def forget(self) -> None:
        """Have all tokens verified again."""
        self.young, self.old = {}, {}


# Kept so that a forked child can reach them.
_ALL: WeakSet[VerifiedTokens] = WeakSet()


def _forget_in_child() -> None:
    # A key may have been removed by another thread, which has come no further: to replace the cache that knows it.
    for verified in list(_ALL):
        verified.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
