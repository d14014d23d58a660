"""The store of many machines: a Redis server, or Valkey, that all workers share (extra ``redis``)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import chain
from typing import Final

from ..errors import StoreUnavailable
from ..sessions import SessionRecord
from .failures import converted, of_a_value
from .following import POLL, Follower
from .redis_keys import MASTER, Keys, as_bytes, as_seconds, as_text, changing, reading
from .redis_leases import RedisLeases
from .redis_listing import RedisListing
from .redis_log import RedisLog, ending
from .redis_records import ADD, as_record, packed
from .redis_server import RedisServer
from .redis_upkeep import CLOCK_MARGIN, LONGEST, RedisUpkeep
from .redis_url import RedisURL

_GET: Final = reading("return {redis.call('HGET', sessions, ARGV[1]), redis.call('ZSCORE', ended, ARGV[1])}")
# Which of some sessions have ended, by their places among the arguments.
_ENDED_AMONG: Final = reading(
    MASTER
    + """
local places = {}
for place, id in ipairs(ARGV) do
  if redis.call('ZSCORE', ended, id) then places[#places + 1] = place end
end
return places
"""
)
# Whoever tries again brings the same token, and so is the first again.
_USE: Final = changing("""
local used = redis.call('GET', further[1])
if used then return string.match(used, '^%S*') == ARGV[1] and 1 or 0 end
redis.call('SET', further[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1
""")


def _addition(record: SessionRecord) -> tuple[bytes, bytes]:
    """The arguments of ``ADD`` for a session."""
    return as_bytes(record.session_id), packed(record.created_at, record.created_by, record.properties.as_json())


class RedisStore(RedisLeases, RedisListing, RedisUpkeep):
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
        self._where = where = RedisURL.parse(url)
        self._keys = Keys(where.prefix)
        self._server = RedisServer(where, where.connections)
        # The follower waits on a connection of its own.
        server = RedisServer(where, 1, POLL)
        self._log = RedisLog(server, self._keys, (server, self._server), where.max_staleness / 2)
        self.follower = Follower(self._log, max_staleness=where.max_staleness)
        self.has_ended = self.follower.has_ended  # without a method between, because it is asked for every token
        self.revision = self.follower.revision

    @classmethod
    def from_url(cls, url: str) -> RedisStore:
        return cls(url)

    def add_session(self, record: SessionRecord) -> None:
        self.follower.start()
        self._change(ADD, *_addition(record))

    def add_sessions(self, records: Sequence[SessionRecord]) -> list[StoreUnavailable | None]:
        """Create several sessions in one round trip, and return the failure of each, or None."""
        self.follower.start()
        additions, failures = converted(records, _addition)
        if additions:
            self._change(ADD, *chain.from_iterable(additions))
        return failures

    def get_session(self, session_id: str) -> SessionRecord | None:
        self.follower.start()
        kept, ended_at = self._ask(_GET, as_bytes(session_id))
        return None if kept is None else as_record(session_id, kept, ended_at)

    def end_session(self, session_id: str, ended_at: float) -> None:
        self.follower.start()
        self._change(*ending([(session_id, ended_at)]))
        self.follower.add(session_id)

    def ended_among(self, session_ids: Sequence[str]) -> set[str]:
        """Those of some sessions that have ended, as the master has it now."""
        self.follower.start()
        places = self._ask(_ENDED_AMONG, *map(as_bytes, session_ids))
        return {session_ids[place - 1] for place in places}

    def use_once(self, name: str, until: float, now: float) -> bool:
        self.follower.start()
        # By the time that is left, not by the moment: the server's clock may differ from the worker's.
        left = max(0.0, as_seconds(until) - as_seconds(now)) + CLOCK_MARGIN
        if left > LONGEST:
            raise of_a_value("the Redis store keeps a single-use id for at most 30,000 years; until is later")
        token = secrets.token_hex(16)
        first = self._change(_USE, token, as_text(until), int(left * 1000), keys=(self._keys.used(name),))
        return bool(first)

    def close(self) -> None:
        self.follower.close()
        self._server.close()

    def __repr__(self) -> str:
        return "<RedisStore>"
