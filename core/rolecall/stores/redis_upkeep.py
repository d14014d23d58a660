"""The upkeep of a Redis store: forgetting what is over, and copying it to another store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

from .redis_documents import RedisDocuments, document_of
from .redis_findings import RedisFindings
from .redis_keys import LAYOUT, as_bytes, as_seconds, as_text, changing, evaluation, reading
from .redis_leases import PLACES, place_in
from .redis_ledger import FORGET, RedisLedger, token_of
from .redis_log import ending
from .redis_marks import RedisMarks
from .redis_records import ADD, LISTS, STATES, as_row, packed, sortable
from .upkeep import Kind, Over, Row

#: The seconds for which a single-use id is kept beyond its time, because workers' clocks differ.
CLOCK_MARGIN: Final = 60.0
#: The most seconds for which a single-use id is kept.
LONGEST: Final = 1e12
#: The most rows that one script changes: others wait for less than a millisecond meanwhile.
_BATCH: Final = 100
#: About the keys that one step looks at to count single-use ids.
_SCANNED: Final = 1000

# Each of these removes rows, the first argument at most, and returns their number.
_FORGET_PLACES: Final = changing(
    PLACES
    + """
local lapsed = redis.call('ZRANGEBYSCORE', places, '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[1])
for _, member in ipairs(lapsed) do
  local size = struct.unpack('>I4', member)
  free(string.sub(member, 5, 4 + size), string.sub(member, 5 + size))
end
return #lapsed
"""
)
_FORGET_MARKS: Final = changing("""
local names = redis.call('ZRANGEBYSCORE', kept, '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[1])
for _, name in ipairs(names) do
  redis.call('ZREM', marks, name)
  redis.call('ZREM', kept, name)
end
return #names
""")
_REMOVE: Final = (
    LISTS
    + """
local function remove(id, state)
  local value = redis.call('HGET', sessions, id)
  if value then
    unlist(id, value, state)
    redis.call('HDEL', sessions, id)
  end
  redis.call('ZREM', over, id)
end
"""
)
_FORGET_RECORDS: Final = changing(
    _REMOVE
    + """
local ids = redis.call('ZRANGEBYSCORE', over, '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do remove(id, 'e') end
return #ids
"""
)
_FORGET_CREATED: Final = changing(
    _REMOVE
    + """
local state = string.sub(ARGV[2], 1, 1)
local members = redis.call('ZRANGEBYLEX', listed, '[' .. state, '(' .. ARGV[2], 'LIMIT', 0, ARGV[1])
for _, member in ipairs(members) do
  remove(string.sub(member, 10), state)
  redis.call('ZREM', listed, member)
end
return #members
"""
)
# The end of a session that has a record stays: without it the session would be open again.
_FORGET_ENDS: Final = changing("""
local removed = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ended, '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[1])) do
  if redis.call('HEXISTS', sessions, id) == 0 then removed = removed + redis.call('ZREM', ended, id) end
end
return removed
""")
_COUNT: Final = reading("""
return {
  redis.call('ZCARD', ended),
  redis.call('ZCARD', marks),
  redis.call('HLEN', sessions),
  redis.call('ZCARD', places),
  redis.call('HLEN', tokens),
  redis.call('HLEN', documents),
}
""")
# The number and the time of each mark, one behind the other.
_MARKS: Final = reading("""
local found = {}
for _, name in ipairs(ARGV) do
  found[#found + 1] = redis.call('ZSCORE', marks, name)
  found[#found + 1] = redis.call('ZSCORE', kept, name) or 'inf'
end
return found
""")
_LOAD_USED: Final = changing("""
local values = {}
for i, used in ipairs(further) do
  redis.call('SET', used, '- ' .. ARGV[2 * i - 1], 'NX', 'PXAT', ARGV[2 * i])
  values[i] = redis.call('GET', used) or '- ' .. ARGV[2 * i - 1]
end
return values
""")
_LOAD_PLACES: Final = changing(
    PLACES
    + """
local ends = {}
for i = 1, #ARGV, 3 do
  local there = redis.call('ZSCORE', places, place(ARGV[i], ARGV[i + 1]))
  if not there then hold(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
  ends[#ends + 1] = there or ARGV[i + 2]
end
return ends
"""
)
_LOOK: Final = reading("")
_MIGRATE: Final = changing("return found_layout or '0'")
_Rows: TypeAlias = Sequence[Any]


class RedisUpkeep(RedisFindings, RedisMarks, RedisLedger, RedisDocuments):
    """The upkeep of a Redis store: see :class:`~rolecall.stores.upkeep.Upkeep`."""

    def forget(self, over: Over) -> int:
        removed = 0
        for script, before in _removals(over):
            while (wanted := min(_BATCH, over.limit - removed)) > 0:
                found = int(self._change(script, wanted, before))
                removed += found
                if found < wanted:
                    break
        return removed

    def count(self) -> Mapping[Kind, int]:
        ended, marks, sessions, places, tokens, documents = self._ask(_COUNT)
        return {
            "ended": ended,
            "marks": marks,
            "sessions": sessions,
            "used": self._count_used(),
            "leases": places,
            "tokens": tokens,
            "documents": documents,
        }

    def dump(self, kind: Kind, after: str | None, limit: int) -> tuple[Sequence[Row], str | None]:
        began_in, _, cursor = (after or "").partition(" ")
        run_id, cursor, found = self._scan(kind, cursor or "0", limit)
        if after is not None and run_id != began_in:
            # Another process of the server goes through its content in another order.
            run_id, cursor, found = self._scan(kind, "0", limit)
        return list(self._rows(kind, found)), None if cursor == "0" else f"{run_id} {cursor}"

    def load(self, kind: Kind, rows: Sequence[Row]) -> Sequence[Row]:
        loading = {
            "ended": self._load_ended,
            "marks": self._load_marks,
            "sessions": self._load_sessions,
            "used": self._load_used,
            "leases": self._load_leases,
            "tokens": self._load_tokens,
            "documents": self._load_documents,
        }[kind]
        remaining = iter(rows)
        loaded: list[Row] = []
        while batch := list(islice(remaining, _BATCH)):
            loaded += loading(batch)
        return loaded

    def migrate(self) -> tuple[int, int]:
        return int(self._change(_MIGRATE)), LAYOUT

    def clock(self) -> float:
        (now,) = self._server.call(("TIME",))
        return float(now[0]) + float(now[1]) / 1e6

    # -- copying ---------------------------------------------------------------------------------

    def _scan(self, kind: Kind, cursor: str, limit: int) -> tuple[str, str, Any]:
        """A step through the rows of a kind: the process of the server, the next cursor, and what was found."""
        command: dict[Kind, tuple[Any, ...]] = {
            "ended": ("ZSCAN", self._keys.named("ended"), cursor),
            "marks": ("ZSCAN", self._keys.named("marks"), cursor),
            "sessions": ("HSCAN", self._keys.named("sessions"), cursor),
            "used": ("SCAN", cursor, "MATCH", self._keys.used("*")),
            "leases": ("ZSCAN", self._keys.named("places"), cursor),
            "tokens": ("HSCAN", self._keys.named("tokens"), cursor),
            "documents": ("HSCAN", self._keys.named("documents"), cursor),
        }
        facts, _, (following, found) = self._server.call(
            ("INFO", "server"), evaluation(_LOOK, self._keys.fixed), (*command[kind], "COUNT", max(1, limit))
        )
        return str(facts["run_id"]), str(following), found

    def _rows(self, kind: Kind, found: Any) -> Iterator[Row]:
        if kind == "ended":
            yield from ((session_id.decode(), ended_at) for session_id, ended_at in found)
        elif kind == "marks":
            yield from self._marks([name for name, _ in found])
        elif kind == "sessions":
            yield from (as_row(session_id.decode(), kept) for session_id, kept in found.items())
        elif kind == "leases":
            yield from ((*place_in(member), until) for member, until in found)
        elif kind == "tokens":
            yield from (token_of(key, value) for key, value in found.items())
        elif kind == "documents":
            yield from (document_of(name, kept) for name, kept in found.items())
        elif found:
            begins = len(self._keys.used(""))
            for key, kept in zip(found, self._server.call(("MGET", *found))[0], strict=True):
                if kept is not None:  # it has not expired since
                    yield key[begins:].decode(), _until(kept)

    def _marks(self, names: Sequence[bytes]) -> Iterator[Row]:
        numbers = self._ask(_MARKS, *names)
        for name, value, until in zip(names, numbers[::2], numbers[1::2], strict=True):
            if value is not None:  # it has not been forgotten since
                yield name.decode(), float(value), float(until)

    def _count_used(self) -> int:
        number, cursor = 0, "0"
        while True:
            _, cursor, found = self._scan("used", cursor, _SCANNED)
            number += len(found)
            if cursor == "0":
                return number

    def _load_ended(self, rows: _Rows) -> list[Row]:
        ends = self._change(*ending(rows))
        for session_id, _ in rows:
            self.follower.add(session_id)
        return [(session_id, float(ended_at)) for (session_id, _), ended_at in zip(rows, ends, strict=True)]

    def _load_marks(self, rows: _Rows) -> list[Row]:
        return list(self._raise_marks(rows))

    def _load_tokens(self, rows: _Rows) -> list[Row]:
        return list(self._add_tokens(rows))

    def _load_sessions(self, rows: _Rows) -> list[Row]:
        args = [
            part
            for session_id, properties, created_at, created_by in rows
            for part in (as_bytes(session_id), packed(created_at, created_by, properties))
        ]
        kept = self._change(ADD, *args)
        return [as_row(row[0], one) for row, one in zip(rows, kept, strict=True)]

    def _load_used(self, rows: _Rows) -> list[Row]:
        # By the server's clock: a row does not say how much time is left.
        args = [part for _, until in rows for part in (as_text(until), _expiry(until))]
        kept = self._change(_LOAD_USED, *args, keys=tuple(self._keys.used(name) for name, _ in rows))
        return [(name, _until(one)) for (name, _), one in zip(rows, kept, strict=True)]

    def _load_leases(self, rows: _Rows) -> list[Row]:
        args = [part for lease, key, until in rows for part in (as_bytes(lease), as_bytes(key), as_text(until))]
        keys = tuple(key for row in rows for key in (self._keys.lease(row[0]), self._keys.slot(row[1])))
        ends = self._change(_LOAD_PLACES, *args, keys=keys)
        return [(lease, key, float(until)) for (lease, key, _), until in zip(rows, ends, strict=True)]


def _removals(over: Over) -> Iterator[tuple[str, bytes | str]]:
    """The scripts that remove what is over, each with its bound. Single-use ids expire by themselves."""
    yield _FORGET_PLACES, as_text(over.lapsed_before)
    yield _FORGET_MARKS, as_text(over.lapsed_before)
    yield FORGET, as_text(over.lapsed_before)
    if over.ended_before is not None:
        yield _FORGET_RECORDS, as_text(over.ended_before)
    if over.created_before is not None:
        for everybody, _ in STATES.values():
            yield _FORGET_CREATED, everybody + sortable(over.created_before)
        yield _FORGET_ENDS, as_text(over.created_before)


def _until(used: bytes) -> float:
    return float(used.partition(b" ")[2])


def _expiry(until: float) -> int:
    """When the key of a single-use id expires, in Unix milliseconds."""
    return max(1, int((min(as_seconds(until), LONGEST) + CLOCK_MARGIN) * 1000))
