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
from .ledger import IssuedToken, TokenPage
from .redis_keys import RedisPart, as_bytes, as_seconds, as_text, changing, reading
from .redis_records import TIME, creator, moment_of, sortable

#: The most tokens that one script reads.
_BATCH: Final = 250
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
# The arguments are the most tokens, the number of bytes before the time and the key, and the bounds.
_LIST: Final = reading("""
local found = {}
for _, member in ipairs(redis.call('ZREVRANGEBYLEX', issued, ARGV[3], ARGV[4], 'LIMIT', 0, ARGV[1])) do
  local place = string.sub(member, ARGV[2] + 1)
  found[#found + 1] = {place, redis.call('HGET', tokens, string.sub(place, 9))}
end
return found
""")


class RedisLedger(RedisPart):
    """The ledger of a Redis store: see :class:`~rolecall.stores.ledger.Ledger`."""

    def add_token(self, token: IssuedToken) -> None:
        self._add_tokens([token])

    def list_tokens(self, page: TokenPage) -> Sequence[IssuedToken]:
        beginning = _beginning(page)
        after = None if page.after is None else sortable(page.after[0]) + as_bytes(page.after[1])
        tokens: list[IssuedToken] = []
        while True:
            newest = _END_OF_TIMES if after is None else after
            found = self._ask(_LIST, _BATCH, len(beginning), b"(" + beginning + newest, b"[" + beginning)
            read = (token_of(place[TIME:], value) for place, value in found if value)
            tokens += (token for token in read if _is_wanted(token, page))
            if len(found) < _BATCH or len(tokens) >= page.limit:
                return tokens[: page.limit]
            after = found[-1][0]

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


def _beginning(page: TokenPage) -> bytes:
    """What stands before the time in the members that a page needs."""
    if page.session_id is not None:
        return b"s" + creator(page.session_id)
    return b"a" if page.actor_id is None else b"o" + creator(page.actor_id)


def _is_wanted(token: IssuedToken, page: TokenPage) -> bool:
    return token.expires_at > page.now and page.actor_id in (None, token.actor_id)
