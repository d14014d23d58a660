"""Marks: what takes grants back, each a name with a number that only grows.

So it does not matter in which order, or how often, a process learns of them: the greatest number of a name holds. A
mark is never removed before it has lost its meaning; what takes one back is another mark.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from .native import native_lock, renew_lock_in_children

if TYPE_CHECKING:
    from . import MaybeAwaitable

#: What a mark is about; see :data:`PARTS`.
MarkKind: TypeAlias = Literal["token", "reset", "excluded", "readmitted", "actor", "project", "keys"]
#: What a mark's name has after its kind, and the meaning of its number:
#:
#: - ``token``, the session's id and the token's lineage (see ``rolecall.tokens.lineage``): infinite, for it was
#:   revoked with its renewals;
#: - ``reset``, the session's id: the session's epoch, see :class:`~rolecall.tokens.TokenId`;
#: - ``excluded``, the session's id, how often the actor was readmitted before, the actor's id: until when, in Unix
#:   seconds;
#: - ``readmitted``, the session's id, the actor's id: how often;
#: - ``actor``, the actor's id: tokens that were issued until then are revoked, in Unix seconds;
#: - ``project``, its API key: the same;
#: - ``keys``, the name of a document with keys: how often it was changed. It takes nothing back; it is a mark because
#:   each process follows these anyway.
PARTS: Final[Mapping[str, int]] = {
    "token": 2,
    "reset": 1,
    "excluded": 3,
    "readmitted": 2,
    "actor": 1,
    "project": 1,
    "keys": 1,
}

#: The kinds whose names begin with a session's id.
_OF_A_SESSION: Final = frozenset({"token", "reset", "excluded", "readmitted"})
# The bytes for one bit a session: with a million sessions that have marks, one in nine others shares a bit.
_BYTES: Final = 2**20
# The most that Python keeps in two digits; see rolecall.stores.following.
_BITS: Final = 2**60 - 1


class Marked(Protocol):
    """What a store has that keeps marks: ``rolecall.stores.Store`` with these, and the attribute ``marks``.

    The methods are plain functions or ``async def``, durable and positional, as those of
    :class:`~rolecall.stores.Store`.
    """

    @property
    def marks(self) -> Marks:
        """The marks that are known in this process, as of the last call of ``has_ended``.

        ``has_ended`` keeps them in step as it keeps the ended sessions, and what this process marks counts at once.
        """

    @abstractmethod
    def raise_mark(self, name: str, value: float, until: float, /) -> MaybeAwaitable[float]:
        """Raise the number of a mark, or leave it if it is as great already.

        :param name: at most 1,024 characters.
        :param value: a positive number; it may be infinite.
        :param until: the time after which the mark may be forgotten, in Unix seconds; infinite for never. The latest
            of a name counts.
        :returns: the number as it stands now.
        """

    @abstractmethod
    def get_marks(self, names: Sequence[str], /) -> MaybeAwaitable[Mapping[str, float]]:
        """The numbers of those of at most 200 marks that exist, from the database itself."""


class Marks:
    """Marks in the memory of a process. Threads of any kind may learn and ask at the same time.

    One takes about 70 bytes if its number is infinite, and about 110 otherwise; all together take 1 MB more. Each is
    held by 60 bits of its name's hash. Of a million marks one has, with a chance of 10⁻¹², the same hash as another
    name, which then has its number too.
    """

    __slots__ = (
        "__weakref__",
        "_bits",
        "_for_good",
        "_lock",
        "_touched",
        "_unfinished",
        "_values",
        "kinds",
        "revision",
    )

    def __init__(self) -> None:
        self._lock = native_lock()
        self._for_good: set[int] = set()
        self._values: dict[int, float] = {}
        # A bit for each hash of a session's id: whether there is a mark of it, or of another one with that bit.
        self._touched = bytearray(1)
        # All bits of a hash that tell its place there; none before the first mark of a session.
        self._bits = 0
        #: The kinds of which there are marks.
        self.kinds: frozenset[str] = frozenset()
        #: How often something was learned that was not known.
        self.revision = 0
        # Whether a number has changed, and the revision not yet: for what an exception of a signal leaves so.
        self._unfinished = False
        renew_lock_in_children(self)

    def learn(self, name: str, value: float) -> None:
        """Take in the number of a mark; a smaller one changes nothing."""
        kind, _, rest = name.partition(" ")
        if kind not in PARTS:
            return  # of a later version of Rolecall
        parts = rest.split(" ", PARTS[kind] - 1)
        key = hash((kind, *parts)) & _BITS
        with self._lock:
            if kind in _OF_A_SESSION:
                self._touch(parts[0])
            if kind not in self.kinds:
                self.kinds |= {kind}
            if value > self._values.get(key, 0.0) and key not in self._for_good:
                self._unfinished = True
                if value == inf:
                    self._for_good.add(key)
                    self._values.pop(key, None)
                else:
                    self._values[key] = value
            if self._unfinished:
                self.revision += 1
                self._unfinished = False

    def learn_all(self, marks: Iterable[tuple[str, float]]) -> None:
        """Take in several marks."""
        for name, value in marks:
            self.learn(name, value)

    def may_touch(self, session_id: str) -> bool:
        """Whether there may be marks of a session. Most have none, which this tells by one look.

        :returns: False only if there is none that begins with the session's id.
        """
        bit = hash(session_id) & self._bits
        return self._touched[bit >> 3] >> (bit & 7) & 1 == 1

    def value(self, *parts: str) -> float:
        """The number of a mark, by its kind and the parts of its name; 0 if there is none."""
        key = hash(parts) & _BITS
        # In this order, because an infinite number is added before the smaller one is removed.
        value = self._values.get(key, 0.0)
        return inf if key in self._for_good else value

    def _touch(self, session_id: str) -> None:
        if not self._bits:
            # In this order, because others look meanwhile.
            self._touched = bytearray(_BYTES)
            self._bits = 8 * _BYTES - 1
        bit = hash(session_id) & self._bits
        self._touched[bit >> 3] |= 1 << (bit & 7)

    def __len__(self) -> int:
        return len(self._for_good) + len(self._values)


def mark_name(*parts: str) -> str:
    """The name of a mark, of its kind and its parts. Only the last part may hold spaces."""
    return " ".join(parts)
