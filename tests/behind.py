"""A store in whose process nothing is known yet of what other processes have taken back."""

from __future__ import annotations

from typing import Any

from rolecall.stores.memory import MemoryStore


class Behind(MemoryStore):
    """Only whoever asks the store itself is told."""

    immediate = False

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, float] = {}

    def has_ended(self, session_id: str) -> bool:
        return False

    def ended_among(self, session_ids: Any) -> Any:
        return {session_id for session_id in session_ids if session_id in self._ended}

    def raise_mark(self, name: str, value: float, until: float) -> float:
        self.kept[name] = value
        return value

    def get_marks(self, names: Any) -> Any:
        return {name: self.kept[name] for name in names if name in self.kept}
