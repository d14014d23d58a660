"""The store of many machines: a Redis server, or Valkey, that all workers share (extra ``redis``)."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Any, Final, NamedTuple

from ..errors import StoreUnavailable
from ..sessions import SessionProperties, SessionRecord
from ..wording import shown
from .failures import of_a_value, unreadable
from .following import POLL, Follower, Gap, Position
from .redis_server import RedisServer
from .redis_url import RedisURL

#: About the number of ended sessions in the log. A worker that was away for longer reads all of them.
LOG_LENGTH: Final = 100_000
#: The most entries of the log, and about the most ended sessions, in one answer.
PAGE: Final = 1000
#: The seconds for which a single-use id is kept beyond its time, because workers' clocks differ.
CLOCK_MARGIN: Final = 60.0

# Row and entry of the log in one step. The log's entries are numbered without gaps, so that a missing one is noticed. A
# number that the log does not take shows that keys were lost: then a new generation begins, and every follower notices.
_END: Final = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 0 end
local number = redis.call('INCR', KEYS[3])
local entry = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], number .. '-0', 'ended', ARGV[1])
if type(entry) == 'table' and entry.err then
  redis.call('DEL', KEYS[2])
  redis.call('SET', KEYS[4], ARGV[3])
  redis.call('XADD', KEYS[2], number .. '-0', 'ended', ARGV[1])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
# The log's generation, its last number, and its entries from a number on, as of one moment.
_READ: Final = """
local generation = redis.call('GET', KEYS[3])
if not generation then
  generation = ARGV[3]
  redis.call('SET', KEYS[3], generation)
end
local entries = {}
if ARGV[2] ~= '0' then
  entries = redis.call('XRANGE', KEYS[1], ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])
end
return {generation, redis.call('GET', KEYS[2]) or '0', entries}
"""
# Whoever tries again brings the same token, and so is the first again.
_USE: Final = """
local holder = redis.call('GET', KEYS[1])
if holder then return holder == ARGV[1] and 1 or 0 end
redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
return 1
"""


class RedisStore:
    """Sessions on a Redis server. Nothing connects before the first call.

    An acknowledged change survives the death of a worker and of the server. With ``appendfsync always`` it survives a
    loss of power, too; with ``everysec`` about the last second may be lost. Behind Sentinels and in a cluster a change
    is acknowledged once a replica has it (``WAIT``), which makes its loss in a failover unlikely, not impossible.

    With ``durability=none`` a server without append-only file, or with an eviction policy, is accepted. It may forget
    everything that it acknowledged: ended sessions come back in workers that start later, and single-use ids can be
    used again.

    Each call ends within ``timeout`` seconds (0.4 unless set) or little more, also on a server that has frozen.

    :param url: such as ``redis://:password@host:6379/0``; see :class:`~rolecall.stores.redis_url.RedisURL`.
    :raises ConfigurationError: if the URL is wrong.
    """

    bounded = True

    def __init__(self, url: str) -> None:
        where = RedisURL.parse(url)
        self._keys = _Keys(where.prefix)
        self._server = RedisServer(where, where.connections)
        # The follower waits on a connection of its own.
        server = RedisServer(where, 1, POLL)
        self._log = RedisLog(server, self._keys, (server, self._server), where.max_staleness / 2)
        self.follower = Follower(self._log, max_staleness=where.max_staleness)
        self.has_ended = self.follower.has_ended  # without a method between, because it is asked for every token

    @classmethod
    def from_url(cls, url: str) -> RedisStore:
        return cls(url)

    def add_session(self, record: SessionRecord) -> None:
        self.follower.start()
        kept = f"{_seconds(record.created_at)} {record.properties.as_json()}"
        self._server.change("SET", self._keys.session(record.session_id), _bytes(kept), "NX")

    def get_session(self, session_id: str) -> SessionRecord | None:
        self.follower.start()
        kept, ended_at = self._server.call(
            ("GET", self._keys.session(session_id)), ("HGET", self._keys.ended, _bytes(session_id))
        )
        return None if kept is None else _record(session_id, kept, ended_at)

    def end_session(self, session_id: str, ended_at: float) -> None:
        self.follower.start()
        keys = (self._keys.ended, self._keys.log, self._keys.count, self._keys.generation)
        args = (_bytes(session_id), _seconds(ended_at), secrets.token_hex(16), LOG_LENGTH)
        self._server.change("EVAL", _END, len(keys), *keys, *args)
        self.follower.add(session_id)

    def use_once(self, name: str, until: float, now: float) -> bool:
        self.follower.start()
        # By the time that is left, not by the moment: the server's clock may differ from the worker's.
        left = max(0.0, float(_seconds(until)) - float(_seconds(now))) + CLOCK_MARGIN
        if left > 1e12:
            raise of_a_value("the Redis store keeps a single-use id for at most 30,000 years; until is later")
        token = secrets.token_hex(16)
        return bool(self._server.change("EVAL", _USE, 1, self._keys.used(name), token, int(left * 1000)))

    def close(self) -> None:
        self.follower.close()
        self._server.close()

    def __repr__(self) -> str:
        return "<RedisStore>"


class RedisLog:
    """The log of ended sessions on a Redis server: a stream whose entries are numbered without gaps.

    :param server: with one connection, for this log alone.
    :param watched: what goes to another server when the Sentinels or the cluster name another master.
    :param look_every: the seconds between two questions to them.
    """

    def __init__(self, server: RedisServer, keys: _Keys, watched: tuple[RedisServer, ...], look_every: float) -> None:
        self._server = server
        self._keys = keys
        self._watched = watched
        self._look_every = look_every
        self._looked_at = monotonic()

    def snapshot(self) -> tuple[Iterable[str], Position]:
        position, _ = self._read(0, 0)
        return self._all_ended(), position

    def changes(self, after: Position, wait: float) -> tuple[Iterable[str], Position]:
        if monotonic() - self._looked_at > self._look_every:
            for server in self._watched:
                server.look_for_master()
            self._looked_at = monotonic()
        if wait:
            milliseconds = max(1, int(wait * 1000))
            self._server.call(
                ("XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", self._keys.log, f"{after.number}-0")
            )
        now, entries = self._read(after.number + 1, PAGE)
        if gap := _gap(after, now, [number for number, _ in entries]):
            raise Gap(gap)
        return [session_id for _, session_id in entries], after._replace(number=after.number + len(entries))

    def _read(self, first: int, most: int) -> tuple[_Position, list[tuple[int, str]]]:
        """Where the log ends by now, and its entries from a number on."""
        keys = (self._keys.log, self._keys.count, self._keys.generation)
        answer = self._server.call(("EVAL", _READ, len(keys), *keys, first, most, secrets.token_hex(16)))[0]
        try:
            generation, number, entries = answer
            position = _Position(self._server.run_id, generation, int(number))
            return position, [(int(entry.partition(b"-")[0]), fields[1].decode()) for entry, fields in entries]
        except (ValueError, IndexError, TypeError) as error:
            raise StoreUnavailable(
                "the Redis store's log cannot be read: it is damaged, or a later version of Rolecall wrote it"
            ) from error

    def _all_ended(self) -> Iterator[str]:
        cursor = 0
        while True:
            cursor, page = self._server.call(("HSCAN", self._keys.ended, cursor, "COUNT", PAGE))[0]
            for session_id in page:
                yield session_id.decode()
            if not cursor:
                return


class _Position(NamedTuple):
    """A place in a log: in which process of the server, in which generation of the store, after which entry."""

    run_id: str
    generation: bytes
    number: int


class _Keys:
    """The names of a store's keys. They share a hash tag, so that a cluster keeps them on one server."""

    def __init__(self, prefix: str) -> None:
        self._tag = b"{%s}:" % prefix.encode()
        #: A hash: when each ended session ended.
        self.ended = self._tag + b"ended"
        #: A stream of the ended sessions, the number of its last entry, and a random text that a new store gets.
        self.log = self._tag + b"log"
        self.count = self._tag + b"count"
        self.generation = self._tag + b"generation"

    def session(self, session_id: str) -> bytes:
        """The key of a session: its creation in Unix seconds, a space, its properties as JSON."""
        return self._tag + b"session:" + _bytes(session_id)

    def used(self, name: str) -> bytes:
        """The key of a single-use id: a random token of whoever used it. It expires."""
        return self._tag + b"used:" + _bytes(name)


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


def _record(session_id: str, kept: bytes, ended_at: bytes | None) -> SessionRecord:
    try:
        created_at, _, properties = kept.decode().partition(" ")
        return SessionRecord(
            session_id,
            SessionProperties.from_json(properties),
            float(created_at),
            None if ended_at is None else float(ended_at),
        )
    except ValueError:
        raise unreadable("Redis", session_id) from None


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise of_a_value(f"the Redis store cannot hold {shown(text)}: it is no Unicode") from None


def _seconds(moment: Any) -> str:
    """A moment as text that reads back as the same float."""
    try:
        seconds = float(moment)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise of_a_value(f"the Redis store cannot hold the moment {shown(moment)}; expected Unix seconds")
    return repr(seconds)
