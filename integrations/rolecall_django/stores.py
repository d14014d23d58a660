"""``store="django"``: the store in the database of Django's settings, on connections of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.connection import ConnectionDoesNotExist

from rolecall import stores
from rolecall.errors import ConfigurationError, StoreUnavailable
from rolecall.http.adapter import shown
from rolecall.stores import Store, migrated

#: The name of the store. Behind a colon it may have the alias of a database: ``django:sessions``.
NAME: Final = "django"
_REMEDY: Final = "run manage.py migrate"
_ELSEWHERE: Final = (
    'name a store by its URL: "store": "sqlite:///…", "postgresql://…" or "redis://…"; or another database of '
    'DATABASES by its alias: "store": "django:alias"'
)
#: What libpq knows and the store sets itself.
_OWN: Final = frozenset({"client_encoding", "connect_timeout"})
# The databases of the settings when the process began, before a test runner exchanges them for its own.
_at_start: Final[dict[str, Any]] = {}
# Those of them for which a store was opened last.
_opened: Final[dict[str, Any]] = {}


class StoreNotReady(ConfigurationError):
    """The database is there, but not for a store: it lacks the tables, or is that of a test run."""


class Place(NamedTuple):
    """A database of Django's settings that has a store.

    :param alias: its alias.
    :param options: those of the store, as in a store's URL.
    """

    alias: str
    options: str = ""


def place_in(store: object) -> Place | None:
    """The database that the name of a store means; None if it is the name of another store.

    :param store: for example ``"django"``, or ``"django:alias?timeout=2"``.
    :raises ConfigurationError: if the settings have no database of this alias.
    """
    if not isinstance(store, str):
        return None
    named, _, store_options = store.partition("?")
    name, separator, alias = named.partition(":")
    if name != NAME:
        return None
    alias = alias if separator else DEFAULT_DB_ALIAS
    if alias not in connections.settings:
        raise ConfigurationError(
            f"the store {shown(store)} names no database: DATABASES has {', '.join(map(repr, connections.settings))}; "
            f"expected '{NAME}', or '{NAME}:' and one of these"
        )
    return Place(alias, store_options)


def remember_databases() -> None:
    """Take note of the databases of the settings, before a test runner exchanges them."""
    for alias in connections.settings:
        _at_start.setdefault(alias, connections.settings[alias]["NAME"])


def open_store(alias: str, options: str = "") -> Store:
    """The store in a database of the settings. It never makes or changes a table.

    :param options: of the store, as in a store's URL: ``"timeout=2"``.

    In an SQLite database in memory, as Django's tests have it, sessions are kept in this process's memory, too.

    :raises ConfigurationError: if the database cannot have a store, or lacks its tables.
    """
    wrapper = _wrapper_of(alias)
    _opened[alias] = wrapper.settings_dict["NAME"]
    if _is_in_memory(wrapper):
        return stores.open_store("memory://")
    problem = partial(_problem_of_tests, alias)
    if (reason := problem()) is not None:
        raise StoreNotReady(reason)
    try:
        # Of a kit that was made before a test run, as a module was imported, PostgreSQL's store asks once more.
        return migrated.open_migrated(_with_options(wrapper, options), _REMEDY, problem)
    except StoreUnavailable as error:
        raise StoreNotReady(f"the database {alias!r} of DATABASES is not ready: {error}") from None


def is_of_another(alias: str) -> bool:
    """Whether the store that was opened last is that of a database which a test run has exchanged since."""
    name = connections[alias].settings_dict["NAME"]
    return bool(_opened.get(alias, name) != name)


def migrate(alias: str) -> tuple[int, int] | None:
    """Make or extend the store's tables; return the versions of the schema before and after.

    :returns: None for a database that has none: one in memory, or a test run's.
    :raises ConfigurationError: if the database cannot have a store.
    :raises StoreUnavailable: if it does not answer, or refuses.
    """
    wrapper = _wrapper_of(alias)
    if _is_in_memory(wrapper) or _problem_of_tests(alias) is not None:
        return None
    return migrated.migrate(url_of(wrapper))


def url_of(wrapper: Any) -> str:
    """The URL of the store in a database of Django's settings."""
    return f"sqlite:///{path_beside(wrapper)}" if wrapper.vendor == "sqlite" else postgresql_url(wrapper)


def _with_options(wrapper: Any, options: str) -> str:
    url = url_of(wrapper)
    if not options:
        return url
    if wrapper.vendor == "sqlite":
        raise ConfigurationError(f"the store has the options {shown(options)}; one in an SQLite database takes none")
    return f"{url}&{options}"


def path_beside(wrapper: Any) -> Path:
    """The file beside an SQLite database that has the sessions: ``db.rolecall.sqlite3`` for ``db.sqlite3``.

    SQLite has one writer for each file. In the same file a request that has written could not revoke a token before its
    own transaction has ended: it would wait for itself.
    """
    name = str(wrapper.settings_dict["NAME"])
    if name.startswith("file:"):
        raise ConfigurationError(f"the database's NAME is a URI, beside which no file can be named; {_ELSEWHERE}")
    path = Path(name)
    return path.absolute().with_name(f"{path.stem}.rolecall{path.suffix}")


def postgresql_url(wrapper: Any) -> str:
    """The URL of the store in a PostgreSQL database of Django's settings."""
    try:
        from psycopg.pq import Conninfo
    except ImportError as error:  # also of psycopg without libpq, which names no module
        raise ConfigurationError(
            f"the store in the database {wrapper.alias!r} needs the package {error.name or 'libpq'}: "
            "pip install 'rolecall[django,sql]'"
        ) from error
    try:
        given = wrapper.get_connection_params()
    except ImproperlyConfigured as error:
        raise ConfigurationError(f"the database {wrapper.alias!r} of DATABASES: {error}") from None
    known = {option.keyword.decode() for option in Conninfo.get_defaults()} - _OWN
    parameters = {name: value for name, value in given.items() if name in known}
    if role := wrapper.settings_dict["OPTIONS"].get("assume_role"):
        quoted = str(role).replace("\\", r"\\").replace(" ", r"\ ")
        parameters["options"] = f"{parameters.get('options', '')} -c role={quoted}".strip()
    return f"postgresql://?{urlencode(parameters, quote_via=quote)}"


def _wrapper_of(alias: str) -> Any:
    """Django's wrapper of a database, from which its settings are read; it opens no connection here."""
    try:
        wrapper: Any = connections[alias]
    except (ConnectionDoesNotExist, ImproperlyConfigured, ImportError) as error:
        raise ConfigurationError(f"the database {alias!r} of DATABASES cannot be used: {error}") from None
    if wrapper.vendor not in ("sqlite", "postgresql"):
        kind = wrapper.settings_dict["ENGINE"] if wrapper.vendor == "unknown" else wrapper.display_name
        raise ConfigurationError(
            f"the database {alias!r} of DATABASES is {kind}, which cannot be a store; {_ELSEWHERE}"
        )
    if not apps.is_installed("rolecall_django"):
        raise ConfigurationError(
            f'the store "{NAME}" needs its tables: put "rolecall_django" into INSTALLED_APPS, and {_REMEDY}'
        )
    return wrapper


def _is_in_memory(wrapper: Any) -> bool:
    return wrapper.vendor == "sqlite" and bool(wrapper.is_in_memory_db())


def _problem_of_tests(alias: str) -> str | None:
    """The reason why there can be no store, if the database is that of a test run; None for any other."""
    name = connections[alias].settings_dict["NAME"]
    if _at_start.get(alias, name) == name:
        return None
    return (
        f"the database {alias!r} was exchanged since this process began, as for a test run, in which Django's own "
        "tables are rolled back or dropped and what the store keeps is not; give tests a store in memory: "
        'override_settings(ROLECALL={**settings.ROLECALL, "store": "memory://"})'
    )
