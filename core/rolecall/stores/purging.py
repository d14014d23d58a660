"""Forgetting what is over in small batches, between which other changes go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from .synchronous import SyncUpkeep
from .upkeep import Over

# The shortest pause between two batches, in seconds.
_PAUSE: Final = 0.05


def purge(store: SyncUpkeep, over: Over, sleep: Callable[[float], object] = time.sleep) -> Iterator[int]:
    """Forget what is over, batch by batch; yield the number of rows that each batch removed.

    After a batch it pauses for as long as the batch took, so that half of the time is left to others.
    """
    while True:
        began = time.monotonic()
        removed = store.forget(over)
        if not removed:
            return
        yield removed
        sleep(max(_PAUSE, time.monotonic() - began))
