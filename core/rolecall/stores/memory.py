"""The store of one process: for tests, demonstrations and one-worker apps. It forgets at exit."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ..errors import ConfigurationError
from ..sessions import SessionRecord

_MANY: Final = 1024


class MemoryStore:
    """Sessions in dictionaries."""

    reads_inline = True
    writes_inline = True
    shared = False
    immediate = True

    def __init__(self) -> None:
        self._sessions: dict[str, SessionRecord] = {}
        self._ended: dict[str, float] = {}
        self._used: dict[str, tuple[float, object]] = {}
        self._many = _MANY

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:
        if url != "memory://":
            raise ConfigurationError("the memory store's URL is 'memory://', with nothing behind it")
        return cls()

    def add_session(self, record: SessionRecord) -> None:
        self._sessions.setdefault(record.session_id, record)

    def get_session(self, session_id: str) -> SessionRecord | None:
        record = self._sessions.get(session_id)
        if record is None or session_id not in self._ended:
            return record
        return replace(record, ended_at=self._ended[session_id])

    def end_session(self, session_id: str, ended_at: float) -> None:
        self._ended.setdefault(session_id, ended_at)

    def has_ended(self, session_id: str) -> bool:
        return session_id in self._ended

    def use_once(self, name: str, until: float, now: float) -> bool:
        if len(self._used) >= self._many:
            for used, (end, _) in list(self._used.items()):
                if end < now:
                    self._used.pop(used, None)
            self._many = max(_MANY, 2 * len(self._used))
        mine = object()
        # One atomic step, so that of two threads exactly one is the first.
        return self._used.setdefault(name, (until, mine))[1] is mine

    def close(self) -> None:
        pass
