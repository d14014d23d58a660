"""Leases in Redis.

A place stands in three keys: in the slot's sorted set, by its end; in the set of the lease's slots; and in ``places``,
the sorted set of all places, by its end. A member of that is the number of the lease's bytes in 4 bytes, the lease, and
the slot.
No key expires: only ``now`` says whether a place is free, not the server's clock.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from .leases import Full, Slot
from .redis_keys import RedisPart, as_bytes, as_text, changing, reading

#: The most leases that one script frees.
_BATCH: Final = 100
#: Scripts that change places begin with this.
PLACES: Final = """
local function slot_of(key) return tag .. 'slot:' .. key end
local function slots_of(lease) return tag .. 'lease:' .. lease end
local function place(lease, key) return struct.pack('>I4', #lease) .. lease .. key end
local function hold(lease, key, ends)
  redis.call('ZADD', slot_of(key), ends, lease)
  redis.call('SADD', slots_of(lease), key)
  redis.call('ZADD', places, ends, place(lease, key))
end
local function free(lease, key)
  redis.call('ZREM', slot_of(key), lease)
  redis.call('SREM', slots_of(lease), key)
  redis.call('ZREM', places, place(lease, key))
end
local function drop(lease)
  for _, key in ipairs(redis.call('SMEMBERS', slots_of(lease))) do free(lease, key) end
end
"""
# The arguments are the lease, the time, and of each slot the key, the most places (empty: any number) and the end. The
# further keys are the slots'.
_FULL: Final = """
local lease, now = ARGV[1], ARGV[2]
for i = 3, #ARGV, 3 do
  local slot = further[(i - 3) / 3 + 1]
  local most = tonumber(ARGV[i + 1])
  local mine = redis.call('ZSCORE', slot, lease)
  local holds = mine and tonumber(mine) > tonumber(now)
  if most and not holds and redis.call('ZCOUNT', slot, '(' .. now, '+inf') >= most then
    local first = redis.call('ZRANGEBYSCORE', slot, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    return {ARGV[i], first[2]}
  end
end
"""
_LOOK: Final = reading(_FULL)
# Frees two lapsed places for each that is taken, so that a slot in steady use does not grow until it is tidied up.
_TAKE: Final = changing(
    PLACES
    + _FULL
    + """
for i = 3, #ARGV, 3 do
  for _, lapsed in ipairs(redis.call('ZRANGEBYSCORE', slot_of(ARGV[i]), '-inf', now, 'LIMIT', 0, 2)) do
    free(lapsed, ARGV[i])
  end
  hold(lease, ARGV[i], ARGV[i + 2])
end
"""
)
_KEEP: Final = changing(PLACES + "for i = 3, #ARGV, 3 do hold(ARGV[1], ARGV[i], ARGV[i + 2]) end\n")
_DROP: Final = changing(PLACES + "drop(ARGV[1])\n")
_DROP_SLOT: Final = changing(
    PLACES
    + """
local leases = redis.call('ZRANGE', further[1], 0, ARGV[1] - 1)
for _, lease in ipairs(leases) do drop(lease) end
return #leases
"""
)


class RedisLeases(RedisPart):
    """The leases of a Redis store: see :class:`~rolecall.stores.leases.Leases`."""

    def full_slot(self, slots: Sequence[Slot], now: float) -> Full | None:
        return _full(self._ask(_LOOK, *_arguments("", now, slots), keys=self._slots(slots)))

    def take_lease(self, lease: str, slots: Sequence[Slot], now: float) -> Full | None:
        keys = self._slots(slots)
        return _full(self._change(_TAKE, *_arguments(lease, now, slots), keys=(*keys, self._keys.lease(lease))))

    def keep_lease(self, lease: str, slots: Sequence[Slot]) -> None:
        keys = self._slots(slots)
        self._change(_KEEP, *_arguments(lease, 0.0, slots), keys=(*keys, self._keys.lease(lease)))

    def drop_lease(self, lease: str) -> None:
        self._change(_DROP, as_bytes(lease), keys=(self._keys.lease(lease),))

    def drop_slot(self, key: str) -> None:
        while self._change(_DROP_SLOT, _BATCH, keys=(self._keys.slot(key),)) == _BATCH:
            pass

    def _slots(self, slots: Sequence[Slot]) -> tuple[bytes, ...]:
        return tuple(self._keys.slot(slot.key) for slot in slots)


def place_in(member: bytes) -> tuple[str, str]:
    """The lease and the slot of a member of ``places``."""
    (size,) = struct.unpack_from(">I", member)
    return member[4 : 4 + size].decode(), member[4 + size :].decode()


def _arguments(lease: str, now: float, slots: Sequence[Slot]) -> tuple[bytes | str | int, ...]:
    of_slots = ((as_bytes(slot.key), _most(slot), as_text(slot.until)) for slot in slots)
    return as_bytes(lease), as_text(now), *(part for one in of_slots for part in one)


def _most(slot: Slot) -> int | str:
    return "" if slot.most is None else int(slot.most)


def _full(answer: list[bytes] | None) -> Full | None:
    return None if answer is None else Full(answer[0].decode(), float(answer[1]))
