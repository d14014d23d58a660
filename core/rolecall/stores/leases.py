"""Leases: places that are limited in number and in time, for the state of policies."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from . import MaybeAwaitable


class Slot(NamedTuple):
    """A number of places, of which a lease takes one.

    :param key: what is counted, at most 1,000 characters, such as ``"max_live_tokens session 1_MX4x…"``.
    :param most: the most leases that hold a place at the same time, 1 or more; None for any number, which costs no
        count: such a slot is never full, and its places are only held.
    :param until: the time at which this lease's place is free again, in Unix seconds.
    """

    key: str
    most: int | None
    until: float


class Full(NamedTuple):
    """A slot without a free place.

    :param key: the slot's key.
    :param free_at: the earliest time at which one of its places is free again, in Unix seconds.
    """

    key: str
    free_at: float


class Leases(Protocol):
    """What a store has that keeps the state of policies: a lease takes one place of each of its slots.

    The methods are plain functions or ``async def``, durable, positional and limited in time, as those of
    :class:`~rolecall.stores.Store`. A place counts until its ``until`` is reached: at ``until`` it is free.
    """

    @abstractmethod
    def full_slot(self, slots: Sequence[Slot], now: float, /) -> MaybeAwaitable[Full | None]:
        """The first of ``slots`` without a free place; None if a lease could be taken. Nothing is changed.

        :param now: in Unix seconds.
        """

    @abstractmethod
    def take_lease(self, lease: str, slots: Sequence[Slot], now: float, /) -> MaybeAwaitable[Full | None]:
        """Take a place of every slot, or of none: of concurrent callers exactly as many succeed as there are places.

        A lease that has its places already keeps them, so that it may be tried again.

        :param lease: the id of the lease, which nobody else takes.
        :param now: in Unix seconds.
        :returns: None if it was taken; otherwise the first slot without a free place.
        """

    @abstractmethod
    def keep_lease(self, lease: str, slots: Sequence[Slot], /) -> MaybeAwaitable[None]:
        """Hold a place of every slot until its ``until``, even if it was not taken before, or the slot is full."""

    @abstractmethod
    def drop_lease(self, lease: str, /) -> MaybeAwaitable[None]:
        """Free all places of a lease. An unknown lease changes nothing."""

    @abstractmethod
    def drop_slot(self, key: str, /) -> MaybeAwaitable[None]:
        """Free all places of every lease that has one in the slot ``key``, also those in other slots."""
