"""Stores: what a kit's workers share. One protocol, chosen by URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from ..errors import ConfigurationError
from ..sessions import SessionRecord
from ..wording import shown, wrapping


@runtime_checkable
class Store(Protocol):
    """Keeps sessions, and what has come once.

    Methods are plain functions, safe in every thread, and return once the change is durable. They work on in a forked
    child, which never uses a connection that its parent has opened.

    Every method raises :class:`~rolecall.errors.StoreUnavailable`, and nothing else, when the store does not answer,
    when it holds what cannot be read, and when it cannot hold what it is given. What may block is called on threads of
    the kit's own, and given up after ``Rolecall(store_timeout=…)``. A store that ends each call by itself within
    seconds may say so by ``bounded = True``: then sync code calls it on its own thread. One that only its own process
    sees says so by ``shared = False``: then the kit warns of signs of other processes.
    """

    #: Whether :meth:`get_session` takes microseconds, so that it may run on an event loop.
    reads_inline: bool
    #: Whether a write does, too.
    writes_inline: bool

    def add_session(self, record: SessionRecord) -> None:
        """Keep a new session."""

    def get_session(self, session_id: str) -> SessionRecord | None:
        """The session, open or ended; None if it was never added here."""

    def end_session(self, session_id: str, ended_at: float) -> None:
        """Mark a session as ended, whether or not it was added here. The first time given stays."""

    def has_ended(self, session_id: str) -> bool:
        """Whether the session was ended.

        Asked for every token that is verified, also on an event loop, so it must answer within microseconds: a store
        behind a network keeps what it needs for this in the process, in step with the others.
        """

    def use_once(self, name: str, until: float, now: float) -> bool:
        """Take note of what may come once, such as the ``jti`` of a credential. Of several at a time one is the first.

        :param until: when it may be forgotten, in Unix seconds.
        :param now: this moment, in Unix seconds.
        :returns: whether it comes for the first time.
        """

    def close(self) -> None:
        """Release what the store holds; it is not used afterwards."""


_STORES = {"memory": "memory:MemoryStore", "sqlite": "sqlite:SQLiteStore"}


#: The URL schemes of the kit's own stores.
SCHEMES = tuple(_STORES)


def open_store(store: str | Store, registered: Mapping[str, Callable[[str], Store]] = MappingProxyType({})) -> Store:
    """The store behind a URL such as ``memory://`` or ``sqlite:///rolecall.db``; a store is returned as it is.

    :param registered: the stores of plugins, by scheme.
    :raises ConfigurationError: for a URL that names no store, without quoting what may be a password.
    """
    if not isinstance(store, str):
        if isinstance(store, Store):
            return store
        raise ConfigurationError(
            f"store is {shown(store)}; expected a URL, or an object with the methods of rolecall.stores.Store"
        )
    around = wrapping(store)
    if around is not None:
        raise ConfigurationError(f"the store's URL has {around}; take it off")
    scheme, separator, _ = store.partition("://")
    if separator and scheme in registered:
        made = registered[scheme](store)
        if not isinstance(made, Store):
            raise ConfigurationError(f"what is registered for {scheme}:// made {shown(made)}, which is no store")
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
