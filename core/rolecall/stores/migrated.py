"""Stores whose tables something else makes: a framework's own command that migrates databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..errors import StoreUnavailable
from . import Store, _class_for, open_store

_SQLITE: Final = "sqlite:///"


def open_migrated(url: str, remedy: str, problem: Callable[[], str | None]) -> Store:
    """The SQLite or PostgreSQL store for a URL, which makes and changes no table.

    :param remedy: what migrates the tables, such as ``"run manage.py migrate"``.
    :param problem: returns the reason why the database cannot be used, or None. PostgreSQL's store asks it, and looks
        for the tables, with each process's first connection.
    :raises ConfigurationError: if the URL is wrong.
    :raises StoreUnavailable: if the tables in an SQLite file are missing, or of an earlier version.
    """
    made: Any = _class_for(url.partition("://")[0])
    if url.startswith(_SQLITE):
        from .sqlite_schema import require as require_in_file

        require_in_file(url.removeprefix(_SQLITE), remedy)
        in_file: Store = made.from_url(url)
        return in_file
    from .sql_schema import require

    def check(connection: Any) -> None:
        if (reason := problem()) is not None:
            raise StoreUnavailable(reason)
        require(connection, remedy)

    store: Store = made(url, check)
    return store


def migrate(url: str) -> tuple[int, int]:
    """Make or extend the tables of a store; return the versions of its schema before and after.

    :raises ConfigurationError: if the URL is wrong, or names no file that can be made.
    :raises StoreUnavailable: if the store does not answer, or refuses.
    """
    store: Any = open_store(url)
    try:
        before, after = store.migrate()
        return before, after
    finally:
        store.close()
