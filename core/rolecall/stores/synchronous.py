"""The upkeep and the documents of a store for sync code: plain functions that return when the store has answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Any, Final

from ..driver import InlineDriver, drive
from ..driver.threads import ThreadPools
from ..errors import ConfigurationError, StoreUnavailable
from ..wording import kind as kind_of
from ..wording import shown
from . import Store
from .calling import Calls
from .checking import DOCUMENTS, LEASES, MARKS, UPKEEP, has
from .leases import Full, Slot
from .marks import mark_name
from .upkeep import Finding, Kind, Over, Row

#: The seconds that one call may take: to examine a large store takes minutes.
PATIENCE: Final = 3600.0


class SyncUpkeep:
    """The upkeep of a store, whose own methods may be plain functions or ``async def``.

    :param store: a store with the methods of :class:`~rolecall.stores.upkeep.Upkeep`.
    :raises ConfigurationError: if the store lacks one of them.
    """

    def __init__(self, store: Store) -> None:
        missing = [method for method in UPKEEP if not hasattr(store, method)]
        if missing:
            raise ConfigurationError(
                f"the store, {kind_of(store)}, cannot be looked after: it has no method {missing[0]}; "
                "see rolecall.stores.upkeep.Upkeep"
            )
        self.store = store
        self._pools = ThreadPools()
        self._driver = InlineDriver(self._pools)
        self._calls = Calls(store, self._driver, lambda: PATIENCE, blocks=True)

    def forget(self, over: Over) -> int:
        return int(self._ask("forget", over))

    def count(self) -> Mapping[Kind, int]:
        counted: Mapping[Kind, int] = self._ask("count")
        return counted

    def dump(self, kind: Kind, after: str | None, limit: int) -> tuple[Sequence[Row], str | None]:
        rows, end = self._ask("dump", kind, after, limit)
        return [tuple(row) for row in rows], end

    def load(self, kind: Kind, rows: Sequence[Row]) -> Sequence[Row]:
        return [tuple(row) for row in self._ask("load", kind, rows)]

    def examine(self) -> Sequence[Finding]:
        return list(self._ask("examine"))

    def migrate(self) -> tuple[int, int]:
        before, after = self._ask("migrate")
        return before, after

    def clock(self) -> float | None:
        now: float | None = self._ask("clock")
        return now

    @property
    def has_leases(self) -> bool:
        """Whether the store has the methods of :class:`~rolecall.stores.leases.Leases`, too."""
        return has(self.store, LEASES)

    def full_slot(self, slots: Sequence[Slot], now: float) -> Full | None:
        full: Full | None = self._ask("full_slot", slots, now)
        return full

    def keep_lease(self, lease: str, slots: Sequence[Slot]) -> None:
        self._ask("keep_lease", lease, slots)

    def drop_lease(self, lease: str) -> None:
        self._ask("drop_lease", lease)

    def drop_slot(self, key: str) -> None:
        self._ask("drop_slot", key)

    def close(self) -> None:
        """Release the store, and the threads in the background."""
        try:
            drive(self._calls.close())
        finally:
            self._driver.close()
            self._pools.close()

    def __enter__(self) -> SyncUpkeep:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, *args: Any) -> Any:
        return drive(self._calls.further(method, *args))


class SyncDocuments:
    """The documents of a store, whose own methods may be plain functions or ``async def``.

    :param store: a store with the methods of :class:`~rolecall.stores.documents.Documents` and
        :class:`~rolecall.stores.marks.Marked`.
    :param driver: how a call waits.
    :param seconds: returns the time limit of a call.
    :raises ConfigurationError: if the store lacks one of them.
    """

    def __init__(self, store: Store, driver: InlineDriver, seconds: Callable[[], float]) -> None:
        missing = [method for method in (*DOCUMENTS, *MARKS, "marks") if not hasattr(store, method)]
        if missing:
            raise ConfigurationError(
                f"keys_key has keys in the store, and {kind_of(store)} is the store, which has no {missing[0]}; give "
                "it the methods of rolecall.stores.documents.Documents and rolecall.stores.marks.Marked, or use a ring "
                "file (keys_file)"
            )
        self.store = store
        self._calls = Calls(store, driver, seconds, blocks=True)

    def get_document(self, name: str) -> tuple[int, str] | None:
        found = self._ask("get_document", name)
        if found is None:
            return None
        if isinstance(found, Sequence) and [*map(type, found)] == [int, str]:
            return found[0], found[1]
        raise StoreUnavailable(
            f"the store's get_document returned {shown(found)}; expected a version and a content, or None"
        )

    def put_document(self, name: str, content: str, version: int) -> bool:
        return bool(self._ask("put_document", name, content, version))

    def announce(self, name: str, version: int) -> None:
        """Have other processes learn of a new version, by a mark that grows with each change."""
        mark = mark_name("keys", name)
        stands = self._ask("raise_mark", mark, float(version), inf)
        if stands > version:  # of a backup, from before which the document was restored
            self._ask("raise_mark", mark, stands + 1, inf)

    def close(self) -> None:
        """Release the store."""
        drive(self._calls.close())

    def _ask(self, method: str, *args: Any) -> Any:
        return drive(self._calls.further(method, *args))


def change_of(store: Any, name: str) -> Callable[[], object]:
    """A function that tells whether a document was changed, by any process: its answers differ then.

    It answers from memory, as ``has_ended`` does. While the store cannot tell, the answer stays the same.
    """
    last: object = None

    def change() -> object:
        nonlocal last
        with suppress(StoreUnavailable):
            store.has_ended("")  # which brings the marks of this process into step
            last = store.marks.value("keys", name)
        return last

    return change
