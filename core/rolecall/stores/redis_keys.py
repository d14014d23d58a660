"""The keys of a Redis store, and the scripts that work on them."""

from __future__ import annotations

from typing import Any, Final

from .failures import finite_seconds, of_a_value
from .redis_server import OTHER_LAYOUT, RedisServer

#: The layout of the keys. It is written beside them, and a store with another layout is refused: a later version of
#: Rolecall wrote it, whose keys this version would misread.
LAYOUT: Final = 1
#: The keys that every store has, in the order in which each script gets them. In a script a local variable of the same
#: name holds each.
FIXED: Final = (
    "layout",  # the number of the layout
    "sessions",  # a hash: the record of each session, see redis_records
    "listed",  # a sorted set without scores: the sessions in the order of their creation, see redis_records
    "ended",  # a sorted set: each session that ended, by that time, also if it has no record
    "over",  # a sorted set: those of them that have a record
    "log",  # a stream of the ended sessions and of the marks that grew
    "count",  # the number of the last entry of the log
    "generation",  # a random text that a new log gets
    "places",  # a sorted set: the places of leases by their ends, see redis_leases
    "marks",  # a sorted set: the marks by their numbers, see redis_marks
    "kept",  # a sorted set: the marks by the times until which they are kept
    "tokens",  # a hash: the tokens of the ledger, see redis_ledger
    "issued",  # a sorted set without scores: these tokens in the order of their issue
    "expiring",  # a sorted set: these tokens by the ends of their lives
    "documents",  # a hash: the documents, see redis_documents
)
# Single-use ids, slots and leases have keys of their own besides. All share a hash tag, so that a cluster keeps them on
# one server, where a script may touch several.
_BEGIN: Final = f"""
local {", ".join(FIXED)} = unpack(KEYS)
local further = {{unpack(KEYS, {len(FIXED) + 1})}}
local tag = string.match(layout, '^.-:')
local found_layout = redis.call('GET', layout)
if found_layout and found_layout ~= '{LAYOUT}' then return redis.error_reply('{OTHER_LAYOUT} ' .. found_layout) end
"""
#: Scripts begin with this whose answer is worth nothing from a replica: a master that is demoted keeps its connections,
#: and knows from then on what it once knew. The error makes the caller look for the master.
MASTER: Final = """
if not string.find(redis.call('INFO', 'replication'), 'role:master', 1, true) then
  return redis.error_reply('READONLY the server has become a replica')
end
"""
_BEGIN_CHANGE: Final = f"{_BEGIN}if not found_layout then redis.call('SET', layout, '{LAYOUT}') end\n"


def reading(script: str) -> str:
    """A script that changes nothing, with what comes before it: the names of the keys, and a look at their layout."""
    return _BEGIN + script


def changing(script: str) -> str:
    """A script that may change something, with what comes before it."""
    return _BEGIN_CHANGE + script


class Keys:
    """The names of a store's keys.

    :param prefix: their beginning.
    """

    def __init__(self, prefix: str) -> None:
        self.tag = b"{%s}:" % prefix.encode()
        self.fixed = tuple(self.tag + name.encode() for name in FIXED)

    def named(self, name: str) -> bytes:
        """One of the keys in ``FIXED``."""
        return self.tag + name.encode()

    def used(self, name: str) -> bytes:
        """The key of a single-use id: a random token of whoever used it, a space, and until when. It expires."""
        return self.tag + b"used:" + as_bytes(name)

    def slot(self, key: str) -> bytes:
        """The key of a slot: a sorted set of leases by the ends of their places."""
        return self.tag + b"slot:" + as_bytes(key)

    def lease(self, lease: str) -> bytes:
        """The key of a lease: the set of its slots."""
        return self.tag + b"lease:" + as_bytes(lease)


class RedisPart:
    """A part of a Redis store: it runs scripts on the store's keys.

    A script's keys are declared as far as its answer depends on them, so that a cluster which moves them refuses it.
    """

    _server: RedisServer
    _keys: Keys

    def _ask(self, script: str, *args: Any, keys: tuple[bytes, ...] = ()) -> Any:
        """Run a script that changes nothing."""
        return self._server.call(evaluation(script, self._keys.fixed + keys, args))[0]

    def _change(self, script: str, *args: Any, keys: tuple[bytes, ...] = ()) -> Any:
        """Run a script that may change something, and return its answer once that is kept."""
        return self._server.change(*evaluation(script, self._keys.fixed + keys, args))


def evaluation(script: str, keys: tuple[bytes, ...], args: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """The command that runs a script."""
    return "EVAL", script, len(keys), *keys, *args


def as_bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise of_a_value("the Redis store cannot hold this text: it is no Unicode") from None


def as_seconds(moment: Any) -> float:
    """A moment, which is finite.

    :raises StoreUnavailable: for anything else.
    """
    return finite_seconds(moment, "Redis")


def as_text(moment: Any) -> str:
    """A moment as text that reads back as the same float, also in the server."""
    return repr(as_seconds(moment))
