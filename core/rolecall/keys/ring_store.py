"""Rings in a store: one document, whose keys are sealed with a wrapping key that the store does not have."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from ..errors import ConfigurationError, InvalidKey, StoreUnavailable
from .ring import KeyRing
from .ring_document import Change, Parsed, RingDocument, text_of
from .sealing import WrappingKeys, wrapping_id_of
from .states import RingKey

#: The name of the document.
DOCUMENT: Final = "keys"
#: The seconds for which a change is tried again because others have changed the rings at the same time.
_CHANGE_WAIT: Final = 10.0
#: The most seconds between two tries.
_PAUSE: Final = 0.05
_LOG: Final = logging.getLogger("rolecall")


class Documents(Protocol):
    """The documents of a store, for sync code."""

    def get_document(self, name: str) -> tuple[int, str] | None:
        """See :class:`rolecall.stores.documents.Documents`."""

    def put_document(self, name: str, content: str, version: int) -> bool:
        """See :class:`rolecall.stores.documents.Documents`."""

    def announce(self, name: str, version: int) -> None:
        """Tell other processes that there is a new version of a document."""


class RingStore:
    """The rings in a store, by the ids of their issuers: API keys, and ids of applications.

    :param documents: the documents of the store.
    :param wrapping: what seals the keys.
    """

    source: Final = "store"
    described: Final = "the store"

    def __init__(self, documents: Documents, wrapping: WrappingKeys) -> None:
        self._documents = documents
        self._document = RingDocument(wrapping)
        #: The ids of the wrapping keys, the one that seals first.
        self.wrapping_ids = wrapping.ids

    def __repr__(self) -> str:
        return "<RingStore>"

    def read(self) -> dict[str, tuple[RingKey, ...]]:
        """The entries of each issuer's ring.

        :raises InvalidKey: says which key is wrong, or cannot be opened.
        :raises StoreUnavailable: if the store does not answer.
        """
        _, rings = self._parsed()
        return {issuer: self._entries(rings, issuer) for issuer in rings}

    def listed(self) -> dict[str, tuple[RingKey, ...]]:
        """The entries of each issuer's ring without their keys, for which nothing is opened.

        :raises InvalidKey: as :meth:`read`.
        """
        _, rings = self._parsed()
        return {issuer: self._entries(rings, issuer, with_keys=False) for issuer in rings}

    def sealed_by(self) -> Mapping[str, int]:
        """The ids of the wrapping keys that have sealed keys, and how many each."""
        _, rings = self._parsed()
        members = (one.get(form) for found in rings.values() for one in found for form in ("secret", "private_key"))
        return Counter(filter(None, map(wrapping_id_of, members)))

    def rings(self) -> Callable[[str], KeyRing | None]:
        """Read the rings, and return a function from an issuer to its ring, or None.

        A ring of which nobody asks is not opened: it may be another kit's, which has another wrapping key.

        :raises InvalidKey: as :meth:`read`; the function, too.
        """
        _, rings = self._parsed()
        return lambda issuer: KeyRing.of(self._entries(rings, issuer)) if issuer in rings else None

    def change(self, issuer: str, change: Change) -> tuple[RingKey, ...]:
        """Change the ring of one issuer, and return its entries. Others see all of a change or nothing.

        :param change: makes the new entries of the old ones. It is called again if another process was quicker.
        :raises InvalidKey: for a change that is refused, and for a ring that cannot be opened.
        :raises StoreUnavailable: if the store does not answer; the change may have been made.
        """
        changed: tuple[RingKey, ...] = ()

        def text(rings: Parsed) -> str:
            nonlocal changed
            self._entries(rings, issuer)  # which says where a problem is
            changed, text = self._document.changed(rings, issuer, change)
            return text

        self._write(text)
        return changed

    def rewrap(self) -> tuple[int, list[str]]:
        """Seal all keys with the first wrapping key.

        :returns: the number of keys that were sealed anew, and the problem of each that cannot be opened, which stays
            as it is.
        """
        number, problems = 0, list[str]()

        def text(rings: Parsed) -> str | None:
            nonlocal number, problems
            rings, number, problems = self._document.resealed(rings)
            return text_of(rings) if number else None

        self._write(text)
        return number, problems

    def _entries(self, rings: Parsed, issuer: str, *, with_keys: bool = True) -> tuple[RingKey, ...]:
        try:
            return self._document.entries(rings, issuer, with_keys=with_keys)
        except ConfigurationError as error:
            problem = str(error)
        raise _unusable(problem)

    def _parsed(self) -> tuple[int, Parsed]:
        """The version of the document, and the rings in it; 0 and none if there is no document."""
        version, content = self._documents.get_document(DOCUMENT) or (0, None)
        if content is None:
            return 0, {}
        try:
            return version, self._document.parse(content.encode("utf-8", "surrogatepass"))
        except (ConfigurationError, ValueError) as error:
            problem = str(error)
        raise _unusable(problem)

    def _write(self, make: Callable[[Parsed], str | None]) -> None:
        """Replace the document, as long as no other process does so between reading and writing.

        :param make: makes the new text of the rings; None leaves the document as it is.
        """
        deadline = time.monotonic() + _CHANGE_WAIT
        while True:
            version, rings = self._parsed()
            text = make(rings)
            if text is None:
                return
            if self._documents.put_document(DOCUMENT, text, version):
                break
            if time.monotonic() > deadline:
                raise InvalidKey("the keys in the store are being changed by other processes; try again")
            time.sleep(random.uniform(0, _PAUSE))  # noqa: S311 (no secret)
        try:
            self._documents.announce(DOCUMENT, version + 1)
        except StoreUnavailable as error:
            _LOG.warning("the keys in the store have changed, and other processes learn of it in a minute: %s", error)


def _unusable(problem: str) -> InvalidKey:
    return InvalidKey(f"the keys in the store cannot be used: {problem}")
