"""The place of the rings that a command is about: a ring file, or a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from ..driver import InlineDriver
from ..driver.threads import ThreadPools
from ..keys.ring_file import RingFile
from ..keys.ring_store import RingStore
from ..keys.sealing import WrappingKeys, wrapping_keys
from ..kit.environment import read_environment
from ..stores.synchronous import SyncDocuments
from .store_urls import refuse_forgetful, store_of, url_of_store

_FILE: Final = "ROLECALL_KEYS_FILE"
_KEY: Final = "ROLECALL_KEYS_KEY"
#: The seconds that one call of the store may take.
_PATIENCE: Final = 30.0


@contextmanager
def ring_place(path: str | None, store: str | None, *, may_be_new: bool = False) -> Iterator[RingFile | RingStore]:
    """The ring file, or the rings in the store, that options or the environment name.

    :param path: the path that ``--file`` gives.
    :param store: the URL that ``--store`` gives.
    :param may_be_new: whether a store's file that does not exist may be made.
    :raises UsageError: if neither is named, or both.
    :raises ConfigurationError: for a store that cannot keep rings, and a wrapping key that is none.
    """
    file, wrapping = path or os.environ.get(_FILE), _wrapping_keys()
    if file and (wrapping or store):
        raise _two_places()
    if file:
        yield RingFile(file)
        return
    if wrapping is None:
        raise click.UsageError(
            f"no ring file is named; set {_FILE}, or give --file PATH. "
            f"For keys in the store set {_KEY} (or {_KEY}_FILE), by which they are sealed"
        )
    with stored_rings(store, wrapping, may_be_new=may_be_new) as rings:
        yield rings


@contextmanager
def stored_rings(store: str | None, wrapping: WrappingKeys | None = None, *, may_be_new: bool) -> Iterator[RingStore]:
    """The rings in the store that ``--store`` or the environment names.

    :param wrapping: the wrapping keys; those of the environment unless given.
    :raises UsageError: if no store, or no wrapping key, is named; and if a ring file is.
    """
    if os.environ.get(_FILE):
        raise _two_places()
    wrapping = wrapping or _wrapping_keys()
    if wrapping is None:
        raise click.UsageError(f"{_KEY} is not set, by which the keys in the store are sealed; set it, or {_KEY}_FILE")
    opened = store_of(url_of_store(store), may_be_new=may_be_new)
    refuse_forgetful(opened)
    pools = ThreadPools()
    driver = InlineDriver(pools)
    documents = SyncDocuments(opened, driver, lambda: _PATIENCE)
    try:
        yield RingStore(documents, wrapping)
    finally:
        try:
            documents.close()
        finally:
            driver.close()
            pools.close()


def _two_places() -> click.UsageError:
    return click.UsageError(
        f"a ring file is named, by --file or {_FILE}, and keys in the store, by --store or {_KEY}; leave one out"
    )


def _wrapping_keys() -> WrappingKeys | None:
    """The wrapping keys of the environment; None if there are none."""
    variables = {name: os.environ[name] for name in (_KEY, f"{_KEY}_FILE") if os.environ.get(name)}
    try:
        given = read_environment(variables).get("keys_key")
        return None if given is None else wrapping_keys(given, _KEY)
    finally:
        given = None
        del variables  # so that no frame of a traceback holds them
