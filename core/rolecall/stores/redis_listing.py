"""Listing the sessions of a Redis store: from its sorted set of sessions, a few hundred at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ..sessions import SessionRecord
from .listing import Page
from .redis_keys import RedisPart, as_bytes, reading
from .redis_records import STATES, TIME, as_record, creator, sortable

#: The most sessions that one script reads of each state.
_BATCH: Final = 250
#: Greater than every time in bytes.
_END_OF_TIMES: Final = b"\xff" * (TIME + 1)
# The arguments are the most sessions, the number of bytes before the time, and of each state wanted the bounds.
_LIST: Final = reading("""
local found = {}
for i = 3, #ARGV, 2 do
  for _, member in ipairs(redis.call('ZREVRANGEBYLEX', listed, ARGV[i], ARGV[i + 1], 'LIMIT', 0, ARGV[1])) do
    local place = string.sub(member, ARGV[2] + 1)
    local id = string.sub(place, 9)
    found[#found + 1] = {place, redis.call('HGET', sessions, id), redis.call('ZSCORE', ended, id)}
  end
end
return found
""")


class RedisListing(RedisPart):
    """The listing of a Redis store: see :class:`~rolecall.stores.listing.Listing`."""

    def list_sessions(self, page: Page) -> Sequence[SessionRecord]:
        beginnings = _beginnings(page)
        after = None if page.after is None else sortable(page.after[0]) + as_bytes(page.after[1])
        sessions: list[SessionRecord] = []
        while (wanted := min(_BATCH, page.limit - len(sessions))) > 0:
            found = self._ask(_LIST, wanted, len(beginnings[0]), *_bounds(beginnings, after))
            newest = sorted(found, key=_place, reverse=True)[:wanted]
            sessions += (as_record(place[TIME:].decode(), kept, ended_at) for place, kept, ended_at in newest if kept)
            if len(newest) < wanted:
                break
            after = newest[-1][0]
        return sessions


def _beginnings(page: Page) -> list[bytes]:
    """What stands before the time in the members of ``listed``, for each state wanted; all of the same length."""
    states = STATES.values() if page.state is None else [STATES[page.state]]
    if page.created_by is None:
        return [everybody for everybody, _ in states]
    return [one + creator(page.created_by) for _, one in states]


def _bounds(beginnings: Iterable[bytes], after: bytes | None) -> list[bytes]:
    """The bounds of sessions, the newest first."""
    newest = _END_OF_TIMES if after is None else after
    return [bound for beginning in beginnings for bound in (b"(" + beginning + newest, b"[" + beginning)]


def _place(found: Any) -> bytes:
    place: bytes = found[0]
    return place
