"""Stores that a command names: by URL, in the environment, or by the name of a variable with a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import click

from ..engine.housekeeping import Retention
from ..errors import ConfigurationError
from ..kit import Rolecall
from ..kit.assembly import plugins_of, registered
from ..kit.environment import read_environment
from ..stores import SCHEMES, Store, open_store
from ..stores.synchronous import SyncUpkeep
from ..wording import shown
from .frameworks import current_framework
from .kits import Clock, answering, find_plugins_here, kit_of, store_of_framework

_SQLITE: Final = "sqlite:///"
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_FORGETFUL: Final = "the store memory:// holds nothing but what one process writes, and is forgotten with it"


def url_of_store(given: str | None) -> str | Store:
    """The URL that ``--store`` gives, or that the environment has; or the store that a framework has for it.

    :raises UsageError: if there is none.
    """
    found = store_of_framework(given)
    if found is not None:
        return found
    if given is not None:
        return given
    url = _read("ROLECALL_STORE", "ROLECALL_STORE_FILE").get("store")
    if not isinstance(url, str):
        raise click.UsageError("no store is named; set ROLECALL_STORE, or give --store URL")
    return url


def named_url(argument: str) -> str | Store:
    """The URL that an argument is, or that the environment variable has whose name it is; or a framework's store.

    :raises UsageError: if there is no such variable.
    """
    if "://" in argument:
        return argument
    found = store_of_framework(argument)
    if found is not None:
        return found
    if not _VARIABLE.fullmatch(argument):
        raise click.UsageError("a store is named by its URL, or by the environment variable that has the URL")
    url = os.environ.get(argument)
    if not url:
        raise click.UsageError(f"the environment variable {argument} is not set; expected a store's URL in it")
    return url


def retention() -> Retention:
    """How long the kits of the environment, or of the framework around the command, keep sessions.

    :raises ConfigurationError: for a value that is wrong.
    """
    options = _read("ROLECALL_SESSION_RETENTION", "ROLECALL_MAX_SESSION_AGE")
    if (framework := current_framework()) is not None:
        options |= framework.find_retention()
    return Retention.of(options.get("session_retention"), options.get("max_session_age"))


def opened(url: str | Store, *, may_be_new: bool = False) -> SyncUpkeep:
    """Open a store for its upkeep.

    :param may_be_new: whether a file that does not exist may be made.
    :raises ConfigurationError: for a URL that names no store, and for a store without upkeep; no URL is quoted.
    """
    return SyncUpkeep(store_of(url, may_be_new=may_be_new))


def store_of(url: str | Store, *, may_be_new: bool = False) -> Store:
    """Open a store.

    :param may_be_new: whether a file that does not exist may be made.
    :raises ConfigurationError: for a URL that names no store; no URL is quoted.
    """
    if not isinstance(url, str):
        return url
    if not may_be_new:
        _refuse_missing(url)
    return open_store(url, _stores_of_plugins(url))


@contextmanager
def shared_kit(clock: Clock, store: str | None, as_json: bool) -> Iterator[Rolecall]:
    """The kit of the environment, with a store that an app uses: none that this command would make.

    :param store: the URL that ``--store`` gives; None for the one of the environment.
    """
    with answering(as_json):
        _refuse_missing_file(store)
        with kit_of(clock, store) as kit:
            refuse_forgetful(kit.engine.state.store)
            yield kit


def _refuse_missing_file(given: str | None) -> None:
    """Refuse a file that does not exist, which a kit would make."""
    url = given if given is not None else _read("ROLECALL_STORE", "ROLECALL_STORE_FILE").get("store")
    if isinstance(url, str):
        _refuse_missing(url)


def _refuse_missing(url: str) -> None:
    path = url.removeprefix(_SQLITE)
    if path != url and not os.path.exists(path):
        where = shown(os.path.abspath(path), 300)
        raise ConfigurationError(
            f"the SQLite store's file {where} does not exist; see the path in its URL, and the folder that you are in"
        )


def refuse_forgetful(store: Store) -> None:
    """Refuse a store that only this process sees.

    :raises ConfigurationError: for such a store.
    """
    if getattr(store, "shared", True) is False:
        raise ConfigurationError(f"{_FORGETFUL}; name the store of your app, with --store or in ROLECALL_STORE")


def is_same_url(one: str | Store, other: str | Store) -> bool:
    """Whether two URLs name the same store, as far as their texts tell."""
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    files = [url.removeprefix(_SQLITE) for url in (one, other) if url.startswith(_SQLITE)]
    return one == other or (len(files) == 2 and os.path.realpath(files[0]) == os.path.realpath(files[1]))


def without_credentials(url: str) -> str:
    """What tells a store from others, without user, password and secrets of its options."""
    if url.startswith(_SQLITE):
        return _SQLITE + os.path.realpath(url.removeprefix(_SQLITE))
    scheme, _, rest = url.partition("://")
    place, _, query = rest.rpartition("@")[2].partition("?")
    options = [(name, value) for name, value in parse_qsl(query) if not re.search("pass|user|key", name)]
    return f"{scheme}://{place}?{urlencode(sorted(options))}"


def _read(*names: str) -> dict[str, Any]:
    """Some of the kit's variables; the others need not be valid."""
    return read_environment({name: os.environ[name] for name in names if name in os.environ})


def _stores_of_plugins(url: str) -> Mapping[str, Callable[[str], Store]]:
    if url.partition("://")[0] in SCHEMES:
        return {}
    find_plugins_here()
    options: dict[str, Any] = read_environment(os.environ)
    named, wanted, blocked = (options.get(name, ()) for name in ("plugins", "entry_points", "blocked_plugins"))
    loaded = plugins_of(named, wanted, blocked, (), all_known=False)
    return registered(loaded, "rolecall_register_stores", SCHEMES)
