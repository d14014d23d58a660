"""Documents in Redis: a hash, of which each value is a version, a space and a content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..wording import shown
from .failures import of_a_value
from .following import Follower
from .redis_keys import MASTER, RedisPart, as_bytes, changing, reading
from .upkeep import Row

_GET: Final = reading(MASTER + "return redis.call('HGET', documents, ARGV[1])")
_VERSION: Final = """
local function version_of(kept)
  return kept and tonumber(string.sub(kept, 1, string.find(kept, ' ', 1, true) - 1)) or 0
end
"""
# Whoever tries again brings the same document, which counts as written.
_PUT: Final = changing(
    _VERSION
    + """
local kept = redis.call('HGET', documents, ARGV[1])
if kept == ARGV[2] then return 1 end
if version_of(kept) ~= version_of(ARGV[2]) - 1 then return 0 end
redis.call('HSET', documents, ARGV[1], ARGV[2])
return 1
"""
)
# Adds documents, or replaces those of an earlier version, and returns each as it stands.
_LOAD: Final = changing(
    _VERSION
    + """
local standing = {}
for i = 1, #ARGV, 2 do
  local kept = redis.call('HGET', documents, ARGV[i])
  if version_of(kept) < version_of(ARGV[i + 1]) then
    redis.call('HSET', documents, ARGV[i], ARGV[i + 1])
    kept = ARGV[i + 1]
  end
  standing[#standing + 1] = kept
end
return standing
"""
)


class RedisDocuments(RedisPart):
    """The documents of a Redis store: see :class:`~rolecall.stores.documents.Documents`."""

    follower: Follower

    def get_document(self, name: str) -> tuple[int, str] | None:
        self.follower.start()
        kept = self._ask(_GET, as_bytes(name))
        return None if kept is None else _unpacked(name, kept)

    def put_document(self, name: str, content: str, version: int) -> bool:
        self.follower.start()
        return bool(self._change(_PUT, as_bytes(name), _packed(version + 1, content)))

    def _load_documents(self, rows: Sequence[Any]) -> list[Row]:
        args = [part for name, version, content in rows for part in (as_bytes(name), _packed(version, content))]
        standing = self._change(_LOAD, *args)
        return [(row[0], *_unpacked(row[0], kept)) for row, kept in zip(rows, standing, strict=True)]


def document_of(name: bytes, kept: bytes) -> Row:
    """The row of a document, from its name and value in the hash.

    :raises StoreUnavailable: if it is damaged.
    """
    return name.decode(), *_unpacked(name.decode(), kept)


def _packed(version: int, content: str) -> bytes:
    return b"%d %s" % (version, as_bytes(content))


def _unpacked(name: str, kept: bytes) -> tuple[int, str]:
    try:
        version, _, content = kept.partition(b" ")
        return int(version), content.decode()
    except ValueError:
        raise of_a_value(f"the Redis store's document {shown(name)} is damaged; restore a backup") from None
