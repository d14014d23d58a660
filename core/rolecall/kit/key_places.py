"""The place of a kit's rings: a ring file, or the kit's store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigurationError
from ..keys.issuers import Issuer
from ..wording import shown

if TYPE_CHECKING:
    from ..driver import InlineDriver
    from ..keys.ring_document import RingPlace
    from ..keys.sealing import WrappingKeys
    from ..stores import Store
    from ..stores.synchronous import SyncDocuments


class KeyPlace(NamedTuple):
    """Where the rings are that are no arguments.

    :param rings: the ring file, or the rings in the store; None if there is neither.
    :param paths: the files to follow for it.
    :param change: a function whose answers differ when what is in the store has changed.
    :param wrapping: what seals the keys in the store.
    :param documents: the documents of the store.
    """

    rings: RingPlace | None = None
    paths: tuple[str, ...] = ()
    change: Callable[[], object] | None = None
    wrapping: WrappingKeys | None = None
    documents: SyncDocuments | None = None


def place_of(
    keys_file: object, keys_key: object, open_it: Callable[[], Store], driver: InlineDriver, seconds: float
) -> KeyPlace:
    """The place of the rings of a kit with these arguments.

    :param open_it: opens the kit's store, if its rings are there.
    :param driver: how a call of the store waits.
    :param seconds: the time limit of such a call.
    :raises ConfigurationError: for an argument that is wrong, for both, and for a store that cannot keep rings.
    """
    try:
        if keys_key is None:
            return KeyPlace() if keys_file is None else _in_file(keys_file)
        if keys_file is not None:
            raise ConfigurationError(
                "keys_file and keys_key name two places for the keys, a ring file and the store; leave one of them out"
            )
        from ..keys.sealing import wrapping_keys

        wrapping = wrapping_keys(keys_key)
    finally:
        del keys_key  # so that no frame of a traceback holds it
    return _in_store(wrapping, open_it(), driver, seconds)


def refuse_wrapping_keys(wrapping: WrappingKeys | None, issuers: Iterable[Issuer]) -> None:
    """Refuse a wrapping key that is a secret of an issuer, too.

    :raises InvalidKey: for such a key.
    """
    if wrapping is not None:
        for issuer in issuers:
            for key in issuer.ring:
                wrapping.refuse(key)


def _in_file(path: object) -> KeyPlace:
    from ..keys.ring_file import RingFile

    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ConfigurationError(f"keys_file is {shown(path)}; expected the path of a ring file")
    file = RingFile(path)
    return KeyPlace(file, (file.path,))


def _in_store(wrapping: WrappingKeys, store: Store, driver: InlineDriver, seconds: float) -> KeyPlace:
    from ..keys.ring_store import DOCUMENT, RingStore
    from ..stores.synchronous import SyncDocuments, change_of

    documents = SyncDocuments(store, driver, lambda: seconds)
    return KeyPlace(
        RingStore(documents, wrapping), change=change_of(store, DOCUMENT), wrapping=wrapping, documents=documents
    )
