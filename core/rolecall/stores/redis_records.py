"""Sessions in Redis: the form of their records, and the sorted set by which they are listed.

A record in the hash ``sessions`` is, one behind the other:

- the time of the creation in 8 bytes, which sort as the times do;
- the creator: the number of its bytes and one more in 4 bytes, and the bytes; four zero bytes for nobody;
- the properties as JSON.

A session is once in ``listed``, and a second time if somebody created it. That is a sorted set whose members all have
the same score, so that their bytes decide:

- ``o`` (``e`` if it has ended), the time, the id;
- ``O`` (``E`` if it has ended), the creator, the time, the id.
"""

from __future__ import annotations

import struct
from typing import Final

from ..sessions import SessionProperties, SessionRecord
from .failures import unreadable
from .listing import SessionState
from .redis_keys import as_bytes, as_seconds, changing
from .upkeep import Row

#: How the members of ``listed`` begin: for everybody's sessions, and for those of a creator.
STATES: Final[dict[SessionState, tuple[bytes, bytes]]] = {"open": (b"o", b"O"), "ended": (b"e", b"E")}
#: The bytes of a time.
TIME: Final = 8
_SIGN: Final = 1 << 63

#: Scripts that list a session begin with this.
LISTS: Final = """
local function members(id, value, state)
  local size = struct.unpack('>I4', value, 9)
  local place = string.sub(value, 1, 8) .. id
  if size == 0 then return {state .. place} end
  return {state .. place, string.upper(state) .. string.sub(value, 9, 11 + size) .. place}
end
local function list(id, value, state)
  for _, member in ipairs(members(id, value, state)) do redis.call('ZADD', listed, 0, member) end
end
local function unlist(id, value, state)
  redis.call('ZREM', listed, unpack(members(id, value, state)))
end
"""
#: Adds sessions, of each the id and the record, and returns their records as they stand. The first record stays.
ADD: Final = changing(
    LISTS
    + """
local records = {}
for i = 1, #ARGV, 2 do
  local id, value = ARGV[i], ARGV[i + 1]
  if redis.call('HSETNX', sessions, id, value) == 1 then
    local ended_at = redis.call('ZSCORE', ended, id)
    list(id, value, ended_at and 'e' or 'o')
    if ended_at then redis.call('ZADD', over, ended_at, id) end
  else
    value = redis.call('HGET', sessions, id)
  end
  records[#records + 1] = value
end
return records
"""
)


def sortable(moment: float) -> bytes:
    """A time in 8 bytes, which sort as the times do."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", as_seconds(moment) + 0.0))  # no negative zero
    return struct.pack(">Q", bits ^ (_SIGN if bits < _SIGN else 2 * _SIGN - 1))


def moment_of(time: bytes) -> float:
    """The time in 8 bytes that sort."""
    (bits,) = struct.unpack(">Q", time)
    (moment,) = struct.unpack(">d", struct.pack(">Q", bits ^ (_SIGN if bits >= _SIGN else 2 * _SIGN - 1)))
    return float(moment)


def creator(created_by: str | None) -> bytes:
    """A creator, or nobody, in a form that begins no other creator's."""
    if created_by is None:
        return struct.pack(">I", 0)
    name = as_bytes(created_by)
    return struct.pack(">I", len(name) + 1) + name


def packed(created_at: float, created_by: str | None, properties: str) -> bytes:
    """The record of a session as it is kept."""
    return sortable(created_at) + creator(created_by) + as_bytes(properties)


def as_row(session_id: str, kept: bytes) -> Row:
    """The row of a session, from its record as it is kept.

    :raises StoreUnavailable: if the record cannot be read.
    """
    properties, created_at, created_by = _unpacked(session_id, kept)
    return session_id, properties, created_at, created_by


def as_record(session_id: str, kept: bytes, ended_at: bytes | None) -> SessionRecord:
    """A session, from its record as it is kept and from its end.

    :raises StoreUnavailable: if the record cannot be read.
    """
    properties, created_at, created_by = _unpacked(session_id, kept)
    try:
        return SessionRecord(
            session_id,
            SessionProperties.from_json(properties),
            created_at,
            None if ended_at is None else float(ended_at),
            created_by,
        )
    except ValueError:
        raise unreadable("Redis", session_id) from None


def _unpacked(session_id: str, kept: bytes) -> tuple[str, float, str | None]:
    """The properties, the creation and the creator."""
    try:
        (size,) = struct.unpack_from(">I", kept, TIME)
        end = TIME + 4 + max(0, size - 1)
        created_by = kept[TIME + 4 : end].decode() if size else None
        return kept[end:].decode(), moment_of(kept[:TIME]), created_by
    except (struct.error, ValueError):
        raise unreadable("Redis", session_id) from None
