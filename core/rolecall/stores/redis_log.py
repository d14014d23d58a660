"""The log of what is revoked on a Redis server: a stream whose entries are numbered without gaps."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from random import SystemRandom
from time import monotonic, sleep
from typing import Any, Final, NamedTuple

from ..errors import StoreUnavailable
from .following import Gap, News, Position
from .redis_keys import MASTER, Keys, RedisPart, as_bytes, as_text, changing
from .redis_records import LISTS
from .redis_server import RedisServer

#: About the number of entries in the log. A worker that was away for longer reads all that is revoked.
LOG_LENGTH: Final = 100_000
#: The most entries of the log in one answer.
PAGE: Final = 1000
#: About the most ended sessions or marks in one answer while all of them are read: a millisecond of the server's time.
#: After each the worker pauses for as long as it took, or a part of that: when all workers read at once, they queue.
SCANNED: Final = 500

_RANDOM: Final = SystemRandom()

#: Scripts that add to the log begin with this; a change and its entry are one step. Their first arguments are those of
#: :func:`log_arguments`. The log's entries are numbered without gaps, so that a missing one is noticed. A number that
#: the log does not take shows that keys were lost: then a new generation begins, and every follower notices.
ADD_TO_LOG: Final = """
local function add_to_log(...)
  local number = redis.call('INCR', count)
  local entry = redis.pcall('XADD', log, 'MAXLEN', '~', ARGV[2], number .. '-0', ...)
  if type(entry) == 'table' and entry.err then
    redis.call('DEL', log)
    redis.call('SET', generation, ARGV[1])
    redis.call('XADD', log, number .. '-0', ...)
  end
end
"""
# Ends sessions, of each the id and the time, and returns the times of their ends as they stand: a first end stays.
_END: Final = changing(
    LISTS
    + ADD_TO_LOG
    + """
local ends = {}
for i = 3, #ARGV, 2 do
  local id, ended_at = ARGV[i], ARGV[i + 1]
  local first = redis.call('ZSCORE', ended, id)
  if not first then
    add_to_log('ended', id)
    redis.call('ZADD', ended, ended_at, id)
    local value = redis.call('HGET', sessions, id)
    if value then
      unlist(id, value, 'o')
      list(id, value, 'e')
      redis.call('ZADD', over, ended_at, id)
    end
  end
  ends[#ends + 1] = first or ended_at
end
return ends
"""
)
# The log's generation, its last number, and its entries from a number on, as of one moment. A new log gets a
# generation.
_READ: Final = changing(
    MASTER
    + """
local found_generation = redis.call('GET', generation)
if not found_generation then
  found_generation = ARGV[3]
  redis.call('SET', generation, found_generation)
end
local entries = {}
if ARGV[2] ~= '0' then
  entries = redis.call('XRANGE', log, ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])
end
return {found_generation, redis.call('GET', count) or '0', entries}
"""
)


def log_arguments() -> tuple[str, int]:
    """The first arguments of a script with ``ADD_TO_LOG``: a new generation, should one begin, and the log's length."""
    return secrets.token_hex(16), LOG_LENGTH


def ending(rows: Iterable[tuple[str, float]]) -> tuple[Any, ...]:
    """The script that ends sessions, of each the id and the time, and its arguments."""
    return (
        _END,
        *log_arguments(),
        *(part for session_id, ended_at in rows for part in (as_bytes(session_id), as_text(ended_at))),
    )


class RedisLog(RedisPart):
    """The log of what is revoked on a Redis server: a stream whose entries are numbered without gaps.

    :param server: with one connection, for this log alone.
    :param watched: what goes to another server when the Sentinels or the cluster name another master.
    :param look_every: the seconds between two questions to them.
    """

    def __init__(self, server: RedisServer, keys: Keys, watched: tuple[RedisServer, ...], look_every: float) -> None:
        self._server = server
        self._keys = keys
        self._log = keys.named("log")
        self._watched = watched
        self._look_every = look_every
        self._looked_at = monotonic()

    def snapshot(self) -> tuple[News, Position]:
        position, _, _ = self._read(0, 0)
        ended = (session_id for session_id, _ in self._all("ended"))
        return News(ended, self._all("marks")), position

    def changes(self, after: Position, wait: float) -> tuple[News, Position]:
        if monotonic() - self._looked_at > self._look_every:
            for server in self._watched:
                server.look_for_master()
            self._looked_at = monotonic()
        if wait:
            milliseconds = max(1, int(wait * 1000))
            self._server.call(("XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", self._log, f"{after.number}-0"))
        # All that was in the log at the first answer: who knows a part of it is not in step.
        ended: list[str] = []
        marks: list[tuple[str, float]] = []
        last = None
        while last is None or after.number < last:
            now, numbers, news = self._read(after.number + 1, PAGE)
            if gap := _gap(after, now, numbers):
                raise Gap(gap)
            ended += news.ended
            marks += news.marks
            after, last = after._replace(number=after.number + len(numbers)), last or now.number
        return News(ended, marks), after

    def close(self) -> None:
        self._server.close()

    def _read(self, first: int, most: int) -> tuple[_Position, list[int], News]:
        """Where the log ends by now, and of its entries from a number on the numbers, and what they tell."""
        answer = self._ask(_READ, first, most, secrets.token_hex(16))
        try:
            generation, number, entries = answer
            position = _Position(self._server.run_id, generation, int(number))
            numbers = [int(entry.partition(b"-")[0]) for entry, _ in entries]
            return position, numbers, _news(fields for _, fields in entries)
        except (ValueError, IndexError, TypeError) as error:
            raise StoreUnavailable(
                "the Redis store's log cannot be read: it is damaged, or a later version of Rolecall wrote it"
            ) from error

    def _all(self, key: str) -> Iterator[tuple[str, float]]:
        """All members of a sorted set, with their scores."""
        cursor = 0
        while True:
            began = monotonic()
            cursor, page = self._server.call(("ZSCAN", self._keys.named(key), cursor, "COUNT", SCANNED))[0]
            for member, score in page:
                yield member.decode(), score
            if not cursor:
                return
            sleep(_RANDOM.uniform(0.0, monotonic() - began))


def _news(entries: Iterable[list[bytes]]) -> News:
    """What entries tell. Those of other kinds, which a later version of Rolecall wrote, tell nothing."""
    ended: list[str] = []
    marks: list[tuple[str, float]] = []
    for kind, name, *rest in entries:
        if kind == b"ended":
            ended.append(name.decode())
        elif kind == b"marked":
            marks.append((name.decode(), float(rest[1])))
    return News(ended, marks)


class _Position(NamedTuple):
    """A place in a log: in which process of the server, in which generation of the store, after which entry."""

    run_id: str
    generation: bytes
    number: int


def _gap(after: _Position, now: _Position, numbers: list[int]) -> str | None:
    """What shows that entries between two places may be missing; None if nothing does."""
    if now.run_id != after.run_id:
        return "the Redis server was restarted, or another one has taken its place"
    if now.generation != after.generation:
        return "the content of the Redis server was removed or replaced"
    if now.number < after.number:
        return "the content of the Redis server is older than before"
    last = after.number + len(numbers)
    is_whole = len(numbers) == PAGE or last == now.number
    if numbers != list(range(after.number + 1, last + 1)) or not is_whole:
        return "the store's log in Redis was trimmed"
    return None
