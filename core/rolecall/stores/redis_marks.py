"""Marks in Redis.

A mark stands in two sorted sets: in ``marks`` by its number, and in ``kept`` by the time until which it is kept. Both
are doubles, and come and go as text that reads back as the same double.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Final

from .following import Follower
from .marks import Marks
from .redis_keys import MASTER, RedisPart, as_bytes, as_text, changing, reading
from .redis_log import ADD_TO_LOG, log_arguments

# Raises marks, of each the name, the number and the time until which it is kept, and returns the numbers and times as
# they stand, one behind the other: the greatest.
_RAISE: Final = changing(
    ADD_TO_LOG
    + """
local standing = {}
for i = 3, #ARGV, 3 do
  local name, value = ARGV[i], ARGV[i + 1]
  local there = redis.call('ZSCORE', marks, name)
  if not there or tonumber(value) > tonumber(there) then
    add_to_log('marked', name, 'value', value)
    redis.call('ZADD', marks, value, name)
  end
  redis.call('ZADD', kept, 'GT', ARGV[i + 2], name)
  standing[#standing + 1] = redis.call('ZSCORE', marks, name)
  standing[#standing + 1] = redis.call('ZSCORE', kept, name)
end
return standing
"""
)
_GET: Final = reading(
    MASTER
    + """
local values = {}
for i, name in ipairs(ARGV) do values[i] = redis.call('ZSCORE', marks, name) end
return values
"""
)


class RedisMarks(RedisPart):
    """The marks of a Redis store: see :class:`~rolecall.stores.marks.Marked`."""

    follower: Follower

    @property
    def marks(self) -> Marks:
        return self.follower.marks

    def raise_mark(self, name: str, value: float, until: float) -> float:
        self.follower.start()
        ((_, raised, _),) = self._raise_marks([(name, value, until)])
        return raised

    def get_marks(self, names: Sequence[str]) -> Mapping[str, float]:
        self.follower.start()
        values = self._ask(_GET, *map(as_bytes, names))
        return {name: float(value) for name, value in zip(names, values, strict=True) if value is not None}

    def _raise_marks(self, rows: Sequence[Any]) -> list[tuple[str, float, float]]:
        """Raise marks, of each the name, the number and the time, and return them as they stand by now."""
        args = [part for name, value, until in rows for part in (as_bytes(name), _as_text(value), _as_text(until))]
        standing = self._change(_RAISE, *log_arguments(), *args)
        raised = [
            (name, float(value), float(until))
            for (name, _, _), value, until in zip(rows, standing[::2], standing[1::2], strict=True)
        ]
        self.follower.marks.learn_all((name, value) for name, value, _ in raised)
        return raised


def _as_text(number: Any) -> str:
    return "inf" if number == inf else as_text(number)
