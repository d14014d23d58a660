"""The ledger in Redis.

A token's key is its id, a zero byte, and its session's id. The hash ``tokens`` has by that key, one behind the other:

- the time of the issue in 8 bytes, which sort as the times do;
- the actor, as a creator in the record of a session, see redis_records;
- the role and the end of its life, as JSON.

The sorted set ``expiring`` has the keys by the ends. In ``issued``, whose members all have the same score, a token is
twice, and a third time if it is for somebody:

- ``a``, the time, the key;
- ``s``, the session, as a creator is written, the time, the key;
- ``o``, the actor, the time, the key.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Final

from .failures import of_a_value
from .ledger import IssuedToken, TokenPage, TokensFound, answer_for
from .redis_keys import RedisPart, as_bytes, as_seconds, as_text, changing, reading
from .redis_records import TIME, creator, moment_of, sortable

#: The most tokens that one script reads, and the most that it passes over meanwhile, for a few milliseconds.
_BATCH: Final = 250
_LOOK: Final = 1000
#: The most scripts for one page: as many as list 1,000 tokens.
_CALLS: Final = 4
#: Greater than every time in bytes.
_END_OF_TIMES: Final = b"\xff" * (TIME + 1)
#: Scripts that list a token begin with this.
ISSUED: Final = """
local function issued_members(key, value)
  local place = string.sub(value, 1, 8) .. key
  local session = string.sub(key, string.find(key, '\\0', 1, true) + 1)
  local found = {'a' .. place, 's' .. struct.pack('>I4', #session + 1) .. session .. place}
  local size = struct.unpack('>I4', value, 9)
  if size > 0 then found[3] = 'o' .. string.sub(value, 9, 11 + size) .. place end
  return found
end
"""
# Adds tokens, of each the key, the value and the end, and returns their values as they stand. The first one stays.
_ADD: Final = changing(
    ISSUED
    + """
local values = {}
for i = 1, #ARGV, 3 do
  local key, value = ARGV[i], ARGV[i + 1]
  if redis.call('HSETNX', tokens, key, value) == 1 then
    redis.call('ZADD', expiring, ARGV[i + 2], key)
    for _, member in ipairs(issued_members(key, value)) do redis.call('ZADD', issued, 0, member) end
  else
    value = redis.call('HGET', tokens, key)
  end
  values[#values + 1] = value
end
return values
"""
)
#: Removes tokens that expired before a time: the first argument at most, and returns their number.
FORGET: Final = changing(
    ISSUED
    + """
local keys = redis.call('ZRANGEBYSCORE', expiring, '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[1])
for _, key in ipairs(keys) do
  local value = redis.call('HGET', tokens, key)
  if value then redis.call('ZREM', issued, unpack(issued_members(key, value))) end
  redis.call('HDEL', tokens, key)
  redis.call('ZREM', expiring, key)
end
return #keys
"""
)
# The arguments are the most tokens, the most members to look at, the time after which a token must expire, the place
# before which to begin, and what stands before the place in each set of members that a token must be in. Of these, the
# set that has the fewest left is read. The answer is where to go on, or nothing if no more are left, and the tokens.
_LIST: Final = reading("""
local function bounds(beginning) return '[' .. beginning, '(' .. beginning .. ARGV[4] end
local fewest, beginning = math.huge, ''
for i = 5, #ARGV do
  local left = redis.call('ZLEXCOUNT', issued, bounds(ARGV[i]))
  if left < fewest then fewest, beginning = left, ARGV[i] end
end
local function is_wanted(place)
  local ends = redis.call('ZSCORE', expiring, string.sub(place, 9))
  if not ends or tonumber(ends) <= tonumber(ARGV[3]) then return false end
  for i = 5, #ARGV do
    if ARGV[i] ~= beginning and not redis.call('ZSCORE', issued, ARGV[i] .. place) then return false end
  end
  return true
end
local oldest, newest = bounds(beginning)
local found, place = {}, false
for _, member in ipairs(redis.call('ZREVRANGEBYLEX', issued, newest, oldest, 'LIMIT', 0, ARGV[2])) do
  place, fewest = string.sub(member, #beginning + 1), fewest - 1
  if is_wanted(place) then
    local key = string.sub(place, 9)
    found[#found + 1] = {key, redis.call('HGET', tokens, key)}
    if #found == tonumber(ARGV[1]) then break end
  end
end
return {fewest > 0 and place, found}
""")


class RedisLedger(RedisPart):
    """The ledger of a Redis store: see :class:`~rolecall.stores.ledger.Ledger`."""

    def add_token(self, token: IssuedToken) -> None:
        self._add_tokens([token])

    def list_tokens(self, page: TokenPage) -> TokensFound:
        beginnings = _beginnings(page)
        place = _END_OF_TIMES if page.after is None else sortable(page.after[0]) + as_bytes(page.after[1])
        tokens: list[IssuedToken] = []
        for _ in range(_CALLS):
            wanted = min(_BATCH, page.limit - len(tokens))
            place, rows = self._ask(_LIST, wanted, _LOOK, as_text(page.now), place, *beginnings)
            tokens += (token_of(key, value) for key, value in rows)
            if not place or len(tokens) == page.limit:
                break
        return answer_for(page, tokens, _after(place) if place else None)

    def _add_tokens(self, rows: Sequence[Any]) -> list[IssuedToken]:
        """Add tokens, and return them as they stand."""
        keys = [as_bytes(row[1]) + b"\0" + as_bytes(row[0]) for row in rows]
        args = [part for key, row in zip(keys, rows, strict=True) for part in (key, _value(*row[2:]), as_text(row[5]))]
        return [token_of(key, value) for key, value in zip(keys, self._change(_ADD, *args), strict=True)]


def token_of(key: bytes, value: bytes) -> IssuedToken:
    """A token, from its key and its value in the hash.

    :raises StoreUnavailable: if they cannot be read.
    """
    try:
        token_id, _, session_id = key.partition(b"\0")
        (size,) = struct.unpack_from(">I", value, TIME)
        end = TIME + 4 + max(0, size - 1)
        actor_id = value[TIME + 4 : end].decode() if size else None
        role, expires_at = json.loads(value[end:])
        return IssuedToken(
            session_id.decode(), token_id.decode(), actor_id, str(role), moment_of(value[:TIME]), float(expires_at)
        )
    except (struct.error, ValueError, TypeError):
        raise of_a_value("a row of issued tokens in the Redis store cannot be read: it is damaged") from None


def _value(actor_id: str | None, role: str, issued_at: float, expires_at: float) -> bytes:
    return sortable(issued_at) + creator(actor_id) + json.dumps([role, as_seconds(expires_at)]).encode()


def _after(place: bytes) -> tuple[float, str]:
    """The time and the id of a place."""
    return moment_of(place[:TIME]), place[TIME:].partition(b"\0")[0].decode()


def _beginnings(page: TokenPage) -> list[bytes]:
    """What stands before the time in the members that a page needs, for each thing that is wanted of them."""
    beginnings = []
    if page.session_id is not None:
        beginnings.append(b"s" + creator(page.session_id))
    if page.actor_id is not None:
        beginnings.append(b"o" + creator(page.actor_id))
    return beginnings or [b"a"]
