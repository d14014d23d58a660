"""Leases of a kit's store, for policies that count: of ready-made ones, and of the app's."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, Final

from ..driver import drive
from ..engine import Engine
from ..errors import ConfigurationError
from ..stores.checking import LEASES, has
from ..stores.leases import Full, Slot
from ..wording import kind, shown
from .facade import P, Result, derived

#: The longest key of a slot and id of a lease, in characters.
MAX_KEY: Final = 1000


class AsyncLeases:
    """Places that are limited in number and in time, in the kit's store; it is ``kit.aio.leases``.

    A policy that counts takes a lease where a place is reserved (``Limit(reserve=…)``): it holds one place of each of
    its slots, until the slot's time is over or it is dropped. All workers of a store count together. Keys are shared by
    all plugins, so let them begin with the policy's name.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def check_supported(self) -> None:
        """Check that the kit's store has leases.

        :raises ConfigurationError: if it has none.
        """
        store = self._engine.state.store
        if not has(store, LEASES):
            raise ConfigurationError(
                f"the store, {kind(store)}, has no leases, which a policy of this kit counts by; "
                "give it the methods of rolecall.stores.leases.Leases, or use another store"
            )

    async def full_slot(self, *slots: Slot) -> Full | None:
        """The first of ``slots`` without a free place; None if a lease could be taken. Nothing is changed.

        :raises ConfigurationError: for a slot that cannot be meant.
        :raises StoreUnavailable: if the store does not answer; so in all methods.
        """
        return await self._engine.full_slot(_checked_slots(slots))

    async def take(self, lease: str, *slots: Slot) -> Full | None:
        """Take a place of every slot, or of none: of concurrent callers as many succeed as there are places.

        A lease that has its places already keeps them, so that it may be tried again.

        :param lease: the id of the lease, such as the policy's name and ``request.call_id``.
        :returns: None if it was taken; otherwise the first slot without a free place.
        """
        return await self._engine.take_lease(_checked_text("the id of a lease", lease), _checked_slots(slots))

    async def keep(self, lease: str, *slots: Slot) -> None:
        """Hold a place of every slot until its time, even if the lease was not taken before, or the slot is full."""
        await self._engine.keep_lease(_checked_text("the id of a lease", lease), _checked_slots(slots))

    async def drop(self, lease: str) -> None:
        """Free all places of a lease. An unknown lease changes nothing."""
        await self._engine.drop_lease(_checked_text("the id of a lease", lease))

    async def drop_slot(self, key: str) -> None:
        """Free all places of every lease that has one in the slot ``key``, also those in other slots."""
        await self._engine.drop_slot(_checked_text("the key of a slot", key))


def _driven(
    method: Callable[Concatenate[AsyncLeases, P], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[Leases, P], Result]:
    """The sync form of a method."""

    def call(self: Leases, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return drive(method(self._leases, *args, **kwargs))

    return derived(call, method)


class Leases:
    """The methods of :class:`AsyncLeases` for sync code; it is ``kit.leases``. Mark a hook that calls them as
    :func:`~rolecall.hookspecs.blocking`.
    """

    def __init__(self, engine: Engine) -> None:
        self._leases = AsyncLeases(engine)
        self.check_supported = self._leases.check_supported

    full_slot = _driven(AsyncLeases.full_slot)
    take = _driven(AsyncLeases.take)
    keep = _driven(AsyncLeases.keep)
    drop = _driven(AsyncLeases.drop)
    drop_slot = _driven(AsyncLeases.drop_slot)


def _checked_slots(slots: Sequence[Slot]) -> Sequence[Slot]:
    for slot in slots:
        if not isinstance(slot, Slot):
            raise ConfigurationError(f"a slot is {shown(slot)}; expected Slot(key, most, until)")
        _checked_text("the key of a slot", slot.key)
        if slot.most is not None and (type(slot.most) is not int or slot.most < 1):
            raise ConfigurationError(f"most is {shown(slot.most)}; expected a count of 1 or more, or None")
        if isinstance(slot.until, bool) or not isinstance(slot.until, int | float) or not math.isfinite(slot.until):
            raise ConfigurationError(f"until is {shown(slot.until)}; expected Unix seconds")
    return slots


def _checked_text(what: str, text: object) -> str:
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_KEY or not text.isprintable():
        raise ConfigurationError(f"{what} is {shown(text)}; expected 1 to {MAX_KEY} printable characters")
    return text
