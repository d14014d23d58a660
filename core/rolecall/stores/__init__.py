"""Stores: the state that a kit's workers share. One protocol, chosen by URL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, TypeVar

from ..errors import ConfigurationError
from ..sessions import SessionRecord
from ..wording import shown, wrapping
from .checking import problem_with

_Answer = TypeVar("_Answer")
#: The result of a method that may be a plain function or an ``async def``.
MaybeAwaitable: TypeAlias = _Answer | Awaitable[_Answer]


class Store(Protocol):
    """Keeps sessions and single-use ids.

    Each method but :meth:`has_ended` is a plain function or an ``async def``, as suits the store, and returns when the
    change is durable. Arguments are positional.

    - Plain functions must be safe in every thread. The kit calls them on its own threads.
    - An ``async def`` is awaited on the caller's event loop, and under a sync framework on a loop in the background.
      One store serves several loops, in turn and at once: keep connections that belong to a loop for each loop.

    In both cases the kit gives up after ``Rolecall(store_timeout=…)``. The only exception of all methods is
    :class:`~rolecall.errors.StoreUnavailable`: if the store does not answer, if its content cannot be read, and if it
    cannot hold an argument. Methods continue to work in a forked child, which never uses its parent's connections.

    A store may have a plain function ``add_sessions(records)``, which returns a list with the failure of each session,
    or None. The kit hands it the sessions that are created at the same time on an event loop.

    A store may have a method ``ended_among(session_ids)``, plain or async, which returns those of at most 200 sessions
    that have ended, as a set. It asks the database itself, so that no end is missed that was acknowledged in any
    process before the call. ``Rolecall(revocation="immediate")`` needs it.

    A store may have a plain function ``revision()``, whose answers are equal only if nothing was revoked in between, by
    any process, that this process knows of: another one comes as soon as :meth:`has_ended` or the marks tell of more,
    and an earlier one never again. It takes microseconds, as :meth:`has_ended`, and raises the same. The kit asks it
    first about each token that was verified before, and looks for what was revoked only if the answer is another one
    than at the last check. While connections are open it asks some 20 times a second, and closes at once those whose
    grants were revoked; without ``revision`` within ``Web(recheck=…)``.

    A store may have these attributes, of which all but ``follower`` are True or False:

    - ``reads_inline``: ``get_session`` is a plain function that takes microseconds, so the kit calls it directly, also
      on an event loop. False unless given.
    - ``writes_inline``: the same for ``add_session``, ``end_session`` and ``use_once``. False unless given.
    - ``bounded``: each plain function ends by itself within seconds, so sync code calls it on its own thread. False
      unless given.
    - ``follower``: a ``rolecall.stores.following.Follower``, with which the store follows what other processes end. The
      kit then knows its lag, and tells ``rolecall_on_event`` when it is out of touch.
    - ``shared``: other processes see the same sessions. True unless given; if it is False, the kit warns of signs of
      other processes.
    - ``immediate``: ``has_ended`` knows what any process has ended as soon as ``end_session`` has returned there, so
      ``ended_among`` is not needed. False unless given.
    """

    @abstractmethod
    def add_session(self, record: SessionRecord, /) -> MaybeAwaitable[None]:
        """Store a new session.

        The first record of an id stays: on a second one raise StoreUnavailable, or change nothing.
        """

    @abstractmethod
    def get_session(self, session_id: str, /) -> MaybeAwaitable[SessionRecord | None]:
        """The session, open or ended; None if it was never added."""

    @abstractmethod
    def end_session(self, session_id: str, ended_at: float, /) -> MaybeAwaitable[None]:
        """Mark a session as ended, whether it was added or not.

        The first time stays.

        :param ended_at: in Unix seconds.
        """

    @abstractmethod
    def has_ended(self, session_id: str, /) -> bool:
        """Whether the session was ended.

        A plain function, which the kit calls for every token, also on an event loop: it answers from memory, within
        microseconds. Sessions that this store ended count at once. A store behind a network keeps the ids of ended
        sessions in the process, follows the changes of other workers, and raises
        :class:`~rolecall.errors.StoreUnavailable` when it has been out of touch for longer than it promises. If it
        raises :class:`~rolecall.errors.NotInStep`, a subclass, the kit asks ``ended_among`` instead: at the start
        of a process, while the ended sessions are being read.
        """

    @abstractmethod
    def use_once(self, name: str, until: float, now: float, /) -> MaybeAwaitable[bool]:
        """Record a single-use id, such as the ``jti`` of a credential.

        Of concurrent callers exactly one gets True.

        :param until: the time after which the id may be forgotten, in Unix seconds.
        :param now: in Unix seconds.
        :returns: whether this is its first use.
        """

    @abstractmethod
    def close(self) -> MaybeAwaitable[None]:
        """Release the store's resources; it is not used afterwards.

        Closing it again changes nothing.
        """


_REDIS = ("redis", "rediss", "redis+unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_POSTGRESQL = ("postgresql", "postgresql+psycopg", "postgres")
_STORES = {
    "memory": "memory:MemoryStore",
    "sqlite": "sqlite:SQLiteStore",
    **dict.fromkeys(_POSTGRESQL, "sql:SQLStore"),
    **dict.fromkeys(_REDIS, "redis:RedisStore"),
}
# The extra of a store that needs more than the core.
_EXTRAS = dict.fromkeys(_POSTGRESQL, "sql") | dict.fromkeys(_REDIS, "redis")
# Databases that SQLAlchemy speaks and no store does, by the schemes of its URLs.
_OTHERS = {
    "mysql": "MySQL",
    "mariadb": "MariaDB",
    "oracle": "Oracle",
    "mssql": "SQL Server",
    "cockroachdb": "CockroachDB",
    "redshift": "Redshift",
}

#: The URL schemes of the kit's own stores.
SCHEMES = tuple(_STORES)


def open_store(store: str | Store, registered: Mapping[str, Callable[[str], Store]] = MappingProxyType({})) -> Store:
    """The store for a URL such as ``sqlite:///rolecall.db`` or ``postgresql://host/db``; a store is returned unchanged.

    :param registered: the stores of plugins, by scheme.
    :raises ConfigurationError: for an object that is no store (the message says why), and for an invalid URL (the
        message does not quote it, because it may hold a password).
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
                f"the function registered for {scheme}:// returned {shown(made)}, which is no store: {problem}"
            )
        return made
    if not separator or scheme not in _STORES:
        raise ConfigurationError(
            f"the store's URL {_problem_with_scheme(scheme) if separator else 'has the scheme none'}; expected "
            "'memory://', 'sqlite:///path/to/file.db', 'postgresql://host:5432/database' or 'redis://host:6379/0'"
            + "".join(f", or '{other}://…'" for other in registered)
        )
    opened: Store = _class_for(scheme).from_url(store)
    return opened


def _problem_with_scheme(scheme: str) -> str:
    name, _, driver = scheme.partition("+")
    if name in _OTHERS:
        return f"names {_OTHERS[name]}, which cannot be a store"
    if name == "postgresql" and driver:
        return "names a driver for postgresql, which has one of its own"
    return f"has the scheme {shown(scheme) if scheme.isalnum() else 'none'}"


def _class_for(scheme: str) -> Any:
    """The class of the kit's own store for a scheme of URLs.

    :raises ConfigurationError: if a package is missing that it needs.
    """
    module, _, name = _STORES[scheme].partition(":")
    try:
        return getattr(import_module("." + module, __name__), name)
    except ImportError as error:  # also of psycopg without libpq, which names no module
        extra = _EXTRAS.get(scheme)
        if extra is None:
            raise
        raise ConfigurationError(
            f"the store {scheme}:// needs the package {error.name or 'libpq'}: pip install 'rolecall[{extra}]'"
        ) from error
