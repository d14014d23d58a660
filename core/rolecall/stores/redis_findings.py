"""The examination of a Redis store: what its server promises, and whether its keys agree with each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from ..errors import StoreUnavailable
from .redis_keys import RedisPart, reading
from .redis_url import RedisURL
from .upkeep import Finding, Level

#: The first version that has all commands of the scripts.
_OLDEST: Final = (6, 2)
#: The share of the memory limit from which on a server is said to be nearly full.
_NEARLY_FULL: Final = 0.9
# Numbers that must agree: the sessions and those in the list, the marks by both sorted sets, and the last entry of the
# log twice.
_COMPARE: Final = reading("""
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
return {
  redis.call('HLEN', sessions),
  redis.call('ZLEXCOUNT', listed, '[e', '(f') + redis.call('ZLEXCOUNT', listed, '[o', '(p'),
  redis.call('ZCARD', marks),
  redis.call('ZCARD', kept),
  redis.call('GET', count) or '0',
  last and string.match(last[1], '^%d+') or redis.call('GET', count) or '0',
}
""")
_FILES: Final[Mapping[str, tuple[Level, str]]] = {
    "aof_last_write_status": ("error", "the server cannot write its append-only file, and so takes no changes"),
    "aof_last_bgrewrite_status": ("warning", "the append-only file could not be rewritten, and so grows"),
    "rdb_last_bgsave_status": ("warning", "the last snapshot failed, for which the server may refuse changes"),
}
_Facts: TypeAlias = Mapping[str, Any]


class RedisFindings(RedisPart):
    """The examination of a Redis store: see :meth:`rolecall.stores.upkeep.Upkeep.examine`."""

    _where: RedisURL

    def examine(self) -> Sequence[Finding]:
        (facts,) = self._server.call(("INFO",))
        looks = (_version, _append_only_file, _writes, _eviction, _memory)
        findings = [finding for look in looks for finding in look(facts)]
        return [*findings, *_replicas(facts, self._where), *self._sync(facts), *self._agreement()]

    def _sync(self, facts: _Facts) -> Iterator[Finding]:
        """How often the append-only file is synced, which INFO does not say."""
        if facts.get("aof_enabled") != 1:
            return
        setting = self._appendfsync()
        if setting is None:
            yield Finding(
                "info",
                "the server does not tell this user its appendfsync, which decides what a loss of power costs",
                "grant it: ACL SETUSER … +config|get, or look at the server's settings",
            )
        elif setting != "always":
            lost = "about the last second" if setting == "everysec" else "about the last 30 seconds"
            yield Finding(
                "warning",
                f"with appendfsync {setting} a loss of power costs {lost} of acknowledged changes",
                "set appendfsync always",
            )

    def _appendfsync(self) -> str | None:
        """None if the URL's user may not ask."""
        with suppress(StoreUnavailable):
            name_and_value = self._server.call(("CONFIG", "GET", "appendfsync"))[0]
            return str(name_and_value[1].decode()) if name_and_value else None
        return None

    def _agreement(self) -> Iterator[Finding]:
        sessions, listed, marks, kept, count, last = map(int, self._ask(_COMPARE))
        if sessions != listed:
            yield Finding(
                "error",
                f"the store has {sessions} sessions and a list of {listed}: keys were lost or changed",
                "restore a backup, or copy the store to an empty one: rolecall store copy",
            )
        if marks != kept:
            yield Finding(
                "error",
                f"the store has {marks} revocations and the times of {kept}: keys were lost or changed",
                "restore a backup",
            )
        if count != last:
            yield Finding(
                "warning",
                "the log of what is revoked and its counter disagree: keys were lost or changed",
                "restart the workers, which then read all that is revoked anew",
            )


def _version(facts: _Facts) -> Iterator[Finding]:
    version = str(facts.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < _OLDEST:
        yield Finding("error", f"the server speaks as Redis {version}, which is too old", "update it to 6.2 or later")


def _append_only_file(facts: _Facts) -> Iterator[Finding]:
    if facts.get("aof_enabled") != 1:
        yield Finding(
            "warning",
            "the server has no append-only file: at a restart it forgets who was ended, and what was used once",
            "set appendonly yes and appendfsync always, and take durability=none out of the URL",
        )


def _writes(facts: _Facts) -> Iterator[Finding]:
    """The files that the server failed to write."""
    for name, (level, found) in _FILES.items():
        if facts.get(name, "ok") != "ok":
            yield Finding(level, found, "see the server's log, and the space and rights of its folder")


def _eviction(facts: _Facts) -> Iterator[Finding]:
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield Finding(
            "warning",
            f"with maxmemory-policy {policy} the server drops ended sessions when its memory is full",
            "set maxmemory-policy noeviction, and take durability=none out of the URL",
        )


def _memory(facts: _Facts) -> Iterator[Finding]:
    limit, used = int(facts.get("maxmemory", 0)), int(facts.get("used_memory", 0))
    if limit and used > limit * _NEARLY_FULL:
        yield Finding(
            "warning",
            f"the server uses {used / limit:.0%} of its maxmemory; beyond it every change is refused",
            "raise maxmemory, or let the store forget more: rolecall store purge",
        )


def _replicas(facts: _Facts, where: RedisURL) -> Iterator[Finding]:
    connected = int(facts.get("connected_slaves", 0))
    if connected < where.replicas:
        yield Finding(
            "error",
            f"{connected} replicas are connected and the URL demands {where.replicas}: no change is acknowledged",
            "see that the replicas run and are reached",
        )
    elif 0 < connected == where.replicas:
        yield Finding(
            "warning",
            f"no change is acknowledged when one of the {connected} replicas fails or takes the master's place",
            "add a replica",
        )
    elif connected and not where.replicas:
        yield Finding(
            "warning",
            "a failover to a replica may lose acknowledged changes: the URL demands no replica",
            "add replicas=1 to the URL",
        )
    if where.replicas and "min_slaves_good_slaves" not in facts:
        yield Finding(
            "warning",
            "a master that is cut off from its replicas takes changes for longer than need be",
            "set min-replicas-to-write 1",
        )
