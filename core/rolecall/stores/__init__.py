"""Stores: what a kit's workers share. One protocol, chosen by URL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Protocol, TypeAlias, TypeVar

from ..errors import ConfigurationError
from ..sessions import SessionRecord
from ..wording import shown, wrapping
from .checking import problem_with

_Answer = TypeVar("_Answer")
#: The result of a method that may be a plain function or an ``async def``.
MaybeAwaitable: TypeAlias = _Answer | Awaitable[_Answer]


class Store(Protocol):
    """Keeps sessions and single-use ids.

    Each method but :meth:`has_ended` is a plain function or an ``async def``, as suits the store, and returns once the
    change is durable. Arguments come by position.

    - Plain functions are safe in every thread. The kit calls them on threads of its own.
    - An ``async def`` is awaited on the caller's event loop, and under a sync framework on one in the background.
      One store serves several loops, in turn and at once: connections that belong to a loop are kept by loop.

    Either way the kit gives up after ``Rolecall(store_timeout=…)``. Every method raises
    :class:`~rolecall.errors.StoreUnavailable`, and nothing else, when the store does not answer, when it holds what
    cannot be read, and when it cannot hold what it is given. Methods work on in a forked child, which never uses a
    connection of its parent's.

    A store may have attributes, each True or False, which say something of its plain functions and its reach:

    - ``reads_inline``: ``get_session`` is a plain function that takes microseconds, so the kit calls it at once,
      also on an event loop. False unless given.
    - ``writes_inline``: ``add_session``, ``end_session`` and ``use_once`` are, too. False unless given.
    - ``bounded``: each plain function ends by itself within seconds, so sync code calls it on its own thread. False
      unless given.
    - ``shared``: other processes see the same sessions. True unless given; where it is False, the kit warns of signs of
      other processes.
    """

    @abstractmethod
    def add_session(self, record: SessionRecord, /) -> MaybeAwaitable[None]:
        """Keep a new session.

        The first record of an id stays: for a second one raise StoreUnavailable, or change nothing.
        """

    @abstractmethod
    def get_session(self, session_id: str, /) -> MaybeAwaitable[SessionRecord | None]:
        """The session, open or ended; None if it was never added."""

    @abstractmethod
    def end_session(self, session_id: str, ended_at: float, /) -> MaybeAwaitable[None]:
        """Mark a session as ended, whether or not it was added.

        The first moment stays.

        :param ended_at: in Unix seconds.
        """

    @abstractmethod
    def has_ended(self, session_id: str, /) -> bool:
        """Whether the session was ended.

        A plain function, which the kit calls for every token, also on an event loop: it answers from memory, within
        microseconds. What this store ended counts at once. A store behind a network keeps the ids of ended sessions in
        the process, follows what other workers end, and raises :class:`~rolecall.errors.StoreUnavailable` once it has
        been out of touch for longer than it promises.
        """

    @abstractmethod
    def use_once(self, name: str, until: float, now: float, /) -> MaybeAwaitable[bool]:
        """Record a single-use id, such as the ``jti`` of a credential.

        Of concurrent callers exactly one gets True.

        :param until: when the id may be forgotten, in Unix seconds.
        :param now: this moment, in Unix seconds.
        :returns: whether this is its first use.
        """

    @abstractmethod
    def close(self) -> MaybeAwaitable[None]:
        """Release what the store holds; it is not used afterwards.

        Closing it again changes nothing.
        """


_STORES = {"memory": "memory:MemoryStore", "sqlite": "sqlite:SQLiteStore"}


#: The URL schemes of the kit's own stores.
SCHEMES = tuple(_STORES)


def open_store(store: str | Store, registered: Mapping[str, Callable[[str], Store]] = MappingProxyType({})) -> Store:
    """The store behind a URL such as ``memory://`` or ``sqlite:///rolecall.db``; a store is returned as it is.

    :param registered: the stores of plugins, by scheme.
    :raises ConfigurationError: for an object that is no store, with what it lacks; and for a URL that names none,
        without quoting what may be a password.
    """
    if not isinstance(store, str):
        if problem := problem_with(store):
            raise ConfigurationError(f"store is {shown(store)}, neither a URL nor a store: {problem}")
        return store
    around = wrapping(store)
    if around is not None:
        raise ConfigurationError(f"the store's URL has {around}; take it off")
    scheme, separator, _ = store.partition("://")
    if separator and scheme in registered:
        made = registered[scheme](store)
        if problem := problem_with(made):
            raise ConfigurationError(
                f"what is registered for {scheme}:// made {shown(made)}, which is no store: {problem}"
            )
        return made
    if not separator or scheme not in _STORES:
        named = shown(scheme) if separator and scheme.isalnum() else "none"
        raise ConfigurationError(
            f"the store's URL has the scheme {named}; expected 'memory://' or 'sqlite:///path/to/file.db'"
            + "".join(f", or '{other}://…'" for other in registered)
        )
    module, _, name = _STORES[scheme].partition(":")
    opened: Store = getattr(import_module("." + module, __name__), name).from_url(store)
    return opened
