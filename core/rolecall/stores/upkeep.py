"""The upkeep of a store: forgetting what is over, examining it, and copying it to another one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

if TYPE_CHECKING:
    from . import MaybeAwaitable

#: The kinds of a store's rows, in the order in which they are copied: ends and marks first, so that nothing that was
#: revoked is good in the copy at any time.
Kind: TypeAlias = Literal["ended", "marks", "sessions", "used", "leases", "tokens", "documents"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: One row, whatever the store: of ``ended`` (session id, ended at), of ``marks`` (name, number, until), of ``sessions``
#: (session id, properties as JSON, created at, created by or None), of ``used`` (name, until), of ``leases`` (lease,
#: key, until), of ``tokens`` (session id, token id, actor's id or None, role, issued at, expires at), of ``documents``
#: (name, version, content). Times are in Unix seconds; the numbers and times of marks may be infinite.
Row: TypeAlias = tuple[str | float | None, ...]
#: How much a finding matters: what loses data or lets somebody in, what may do so, and what is only good to know.
Level: TypeAlias = Literal["error", "warning", "info"]


class Over(NamedTuple):
    """What a store may forget. Times are Unix seconds.

    :param lapsed_before: single-use ids, marks, places of leases and issued tokens that were over before this time.
    :param ended_before: the records of sessions that ended before this time. *Their ends stay known*, because tokens
        may still be good. None for no records.
    :param created_before: sessions that were created before this time, open or ended; and ends of before this time, but
        for those of sessions whose records are kept, which would be open again. Only for sessions whose ids show their
        age, of which the kit accepts no token any more. None for none.
    :param limit: about the most rows to remove, so that no other change waits long.
    """

    lapsed_before: float
    ended_before: float | None = None
    created_before: float | None = None
    limit: int = 500


class Finding(NamedTuple):
    """One thing that the examination of a store found.

    :param level: how much it matters.
    :param found: what was found, as a sentence without a secret.
    :param remedy: what to do about it; empty if there is nothing to do.
    """

    level: Level
    found: str
    remedy: str = ""


class Upkeep(Protocol):
    """What a store has that ``rolecall store`` and ``rolecall doctor`` look after.

    The methods are plain functions or ``async def``, durable and positional, as those of
    :class:`~rolecall.stores.Store`.
    """

    @abstractmethod
    def forget(self, over: Over, /) -> MaybeAwaitable[int]:
        """Remove some of what is over; other changes go on meanwhile.

        :returns: the number of rows that were removed; 0 if nothing is left to remove.
        """

    @abstractmethod
    def count(self) -> MaybeAwaitable[Mapping[Kind, int]]:
        """The number of rows of each kind."""

    @abstractmethod
    def dump(self, kind: Kind, after: str | None, limit: int, /) -> MaybeAwaitable[tuple[Sequence[Row], str | None]]:
        """Some rows of a kind, and from where to continue.

        A row that stays unchanged meanwhile comes once, or more than once if the store's own scan has that property.

        :param after: where the page before ended; None for the first page.
        :param limit: about the most rows.
        :returns: the rows, and where they end as a text that another process may continue from; None at the end.
        """

    @abstractmethod
    def load(self, kind: Kind, rows: Sequence[Row], /) -> MaybeAwaitable[Sequence[Row]]:
        """Add rows of another store; what is there already stays. Repetition is harmless.

        A mark is raised, and a document replaced by one of a later version.

        :returns: these rows as they stand in this store by now, in the same order.
        """

    @abstractmethod
    def examine(self) -> MaybeAwaitable[Sequence[Finding]]:
        """Examine the schema, the settings that durability rests on, and the integrity of the content."""

    @abstractmethod
    def migrate(self) -> MaybeAwaitable[tuple[int, int]]:
        """Bring the schema up to date, as the first use does; the versions before and after. 0 means: no schema."""

    @abstractmethod
    def clock(self) -> MaybeAwaitable[float | None]:
        """The time by the store's own clock, in Unix seconds; None if it has none."""
