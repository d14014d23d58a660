"""Documents with rings: the keys of several issuers with their states, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final, Literal, Protocol, TypeAlias

from ..encoding import strict_json
from ..errors import ConfigurationError, InvalidKey
from ..wording import kind, shown
from .hmac import HMACKey
from .key import MAX_KID_LENGTH, Key
from .making import has_private_keys, key_of, pem_of
from .ring import KeyRing, problem_with_states
from .sealing import Use, WrappingKeys, wrapping_id_of
from .states import STATES, RingKey, key_id

#: The most bytes of a document: some 300 secrets, or 100 private keys.
MAX_DOCUMENT: Final = 262_144
#: The most issuers, and the most keys of one.
_MOST: Final = 1024
#: How many retired keys are remembered, so that they do not come back.
_KEPT_RETIRED: Final = 100
_MEMBERS: Final = frozenset({"id", "state", "since", "algorithm", "secret", "private_key"})

#: Makes the new entries of a ring of the old ones.
Change = Callable[[Sequence[RingKey]], tuple[RingKey, ...]]
#: The rings of a document as JSON has them, by issuer; their keys have not been looked at.
Parsed: TypeAlias = Mapping[str, tuple[Any, ...]]
_Form: TypeAlias = Literal["secret", "private_key"]


class RingPlace(Protocol):
    """A place of a document with rings, where they are read and changed."""

    @property
    def source(self) -> str:
        """The place, in words for :class:`~rolecall.kit.keys.KeyInfo`."""

    @property
    def described(self) -> str:
        """The place, in words for a message."""

    def read(self) -> Mapping[str, tuple[RingKey, ...]]:
        """The entries of each issuer's ring.

        :raises InvalidKey: says where the document is wrong, and quotes no key.
        """

    def rings(self) -> Callable[[str], KeyRing | None]:
        """Read the document, and return a function from an issuer to its ring, or None.

        :raises InvalidKey: as :meth:`read`; the function, too.
        """

    def change(self, issuer: str, change: Change) -> tuple[RingKey, ...]:
        """Change the ring of one issuer, and return its entries. Others see all of a change or nothing.

        :raises InvalidKey: for a change that is refused, and if the document cannot be read or written.
        """


class RingDocument:
    """Reads and writes the text of such a document.

    :param wrapping: what seals its keys; None for a document whose keys stand in it as they are.
    """

    def __init__(self, wrapping: WrappingKeys | None = None) -> None:
        self._wrapping = wrapping
        # Keys by the digest of their text, because to load a private key takes 40 ms.
        self._loaded: dict[bytes, Key] = {}

    def parse(self, content: bytes) -> Parsed:
        """The rings in a text.

        :raises ConfigurationError: if it is no such document.
        :raises ValueError: the same.
        """
        if len(content) > MAX_DOCUMENT:
            raise InvalidKey(f"it has more than {MAX_DOCUMENT} bytes")
        document = strict_json.loads(content.strip(), _MOST, _MOST)
        if document.get("version") != 1:
            raise InvalidKey("its version is not 1")
        issuers = document.get("issuers")
        if set(document) != {"version", "issuers"} or not isinstance(issuers, Mapping):
            raise InvalidKey("it has other members than 'version' and 'issuers'")
        for issuer, found in issuers.items():
            if not isinstance(found, tuple):
                raise InvalidKey(f"the issuer {shown(issuer, 36)} is {kind(found)}; expected a list of keys")
        return issuers

    def entries(self, rings: Parsed, issuer: str, *, with_keys: bool = True) -> tuple[RingKey, ...]:
        """The entries of an issuer's ring; none if it has no ring.

        :param with_keys: False for their ids and states alone, for which nothing is opened.
        :raises InvalidKey: says what is wrong with which key, and quotes none.
        """
        entries = []
        for number, one in enumerate(rings.get(issuer, ()), 1):
            try:
                entries.append(self._entry(issuer, one) if with_keys else _without_key(one))
            except ConfigurationError as error:
                raise InvalidKey(f"key {number} of {shown(issuer, 36)}: {error}") from None
        problem = problem_with_states(entries) if issuer in rings else None
        if problem is not None:
            raise InvalidKey(f"{shown(issuer, 36)}: {problem}")
        return tuple(entries)

    def changed(self, rings: Parsed, issuer: str, change: Change) -> tuple[tuple[RingKey, ...], str]:
        """Change the ring of an issuer; return its new entries, and the text of the new document.

        :raises InvalidKey: for a change that is refused.
        """
        there: dict[Any, Mapping[str, Any]] = {}
        try:
            entries = change(self.entries(rings, issuer))
            KeyRing.of(entries)  # checks it
            forgotten = {one.id for one in [one for one in entries if one.state == "retired"][:-_KEPT_RETIRED]}
            entries = tuple(one for one in entries if one.id not in forgotten)
            there = {one.get("id"): one for one in rings.get(issuer, ())}
            plain = tuple(self._plain(issuer, one, there.get(one.id, {})) for one in entries)
            return entries, text_of({**rings, issuer: plain})
        finally:
            plain = ()
            del rings, there  # so that no frame of a traceback holds what a document without seals has

    def resealed(self, rings: Parsed) -> tuple[Parsed, int, list[str]]:
        """Seal all keys with the first wrapping key.

        :returns: the rings, the number of keys that were sealed anew, and the problem of each that cannot be opened,
            which stays as it is.
        """
        assert self._wrapping is not None
        first, number = self._wrapping.ids[0], 0
        problems: list[str] = []
        made: dict[str, tuple[Any, ...]] = {}
        for issuer, found in rings.items():
            ring = list(found)
            for place, one in enumerate(found):
                try:
                    entry = self._entry(issuer, one)
                except ConfigurationError as error:
                    problems.append(f"key {place + 1} of {shown(issuer, 36)}: {error}")
                    continue
                if entry.key is not None and wrapping_id_of(one.get(_form_of(issuer))) != first:
                    ring[place] = self._plain(issuer, entry, {})
                    number += 1
            made[issuer] = tuple(ring)
        return made, number, problems

    def _entry(self, issuer: str, found: object) -> RingKey:
        described = _without_key(found)
        if described.state == "retired":
            return described
        assert isinstance(found, Mapping)
        key = self._key(issuer, found)
        if found.get("id", key_id(key)) != key_id(key):
            raise InvalidKey(f"its id is {shown(found['id'], 43)}, and its key's is {key_id(key)}; leave the id out")
        return RingKey.of(key, described.state, described.since)

    def _key(self, issuer: str, found: Mapping[str, Any]) -> Key:
        name = _form_of(issuer)
        other = "secret" if name == "private_key" else "private_key"
        text = found.get(name)
        if not isinstance(text, str) or other in found:
            raise InvalidKey(f"expected its {name!r} as text, and no {other!r}")
        use = Use(issuer, str(found.get("id")), str(found.get("algorithm")), name)
        digest = sha256(repr((text, use)).encode("utf-8", "surrogatepass")).digest()
        if digest not in self._loaded:
            self._loaded[digest] = self._opened(text, use)
        return self._loaded[digest]

    def _opened(self, text: str, use: Use) -> Key:
        if self._wrapping is None:
            return key_of(use.issuer, text)
        key = key_of(use.issuer, self._wrapping.open(text, use))
        self._wrapping.refuse(key)
        return key

    def _plain(self, issuer: str, entry: RingKey, there: Mapping[str, Any]) -> dict[str, Any]:
        """An entry as JSON has it.

        :param there: how it stands in the document by now, from which a sealed key is taken as it is.
        """
        plain = {"id": entry.id, "state": entry.state, "algorithm": entry.algorithm, "since": entry.since}
        if entry.key is not None:
            form = _form_of(issuer)
            plain[form] = self._material(entry.key, Use(issuer, entry.id, entry.algorithm, form), there.get(form))
        return {name: value for name, value in plain.items() if value is not None}

    def _material(self, key: Key, use: Use, sealed: str | None) -> str:
        if self._wrapping is None:
            return _text_in(key)
        self._wrapping.refuse(key)
        return sealed or self._wrapping.seal(_text_in(key), use)


def text_of(rings: Parsed) -> str:
    """The text of a document.

    :raises InvalidKey: if it is too long, or could not be read again.
    """
    text = json.dumps({"version": 1, "issuers": rings}, indent=2, ensure_ascii=False, default=dict) + "\n"
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_DOCUMENT:
        del text, rings  # so that no frame of a traceback holds them
        raise InvalidKey(f"the rings would have {size} bytes, and {MAX_DOCUMENT} are the most; use fewer keys")
    if len(rings) > _MOST:
        number = len(rings)
        del text, rings
        raise InvalidKey(f"there would be the rings of {number} issuers, and {_MOST} are the most")
    return text


def _form_of(issuer: str) -> _Form:
    return "private_key" if has_private_keys(issuer) else "secret"


def _without_key(found: object) -> RingKey:
    """An entry without its key."""
    if not isinstance(found, Mapping) or not _MEMBERS.issuperset(found):
        raise InvalidKey(f"expected an object with members among {', '.join(sorted(_MEMBERS))}")
    state, since = found.get("state"), found.get("since")
    if state not in STATES:
        raise InvalidKey(f"its state is {shown(state)}; the states are {', '.join(STATES)}")
    if since is not None and (isinstance(since, bool) or not isinstance(since, int | float)):
        raise InvalidKey(f"its since is {shown(since)}; expected Unix seconds")
    name, algorithm = found.get("id"), found.get("algorithm", "")
    if state == "retired" and not (
        isinstance(name, str) and 0 < len(name) <= MAX_KID_LENGTH and isinstance(algorithm, str)
    ):
        raise InvalidKey("a retired key has its id as text")
    return RingKey(str(name), state, str(algorithm), since)


def _text_in(key: Key) -> str:
    """The secret, or the PEM text, of a key."""
    from .pem import PrivateKey

    if isinstance(key, HMACKey):
        with suppress(UnicodeDecodeError):
            return key._material.decode()
        raise InvalidKey("a secret in a ring file, or in the store, is text in UTF-8; make another one")
    if isinstance(key, PrivateKey):
        return pem_of(key._private).decode()
    raise InvalidKey(
        "a ring file, and the store, hold secrets and private keys alone; a key of another kind comes from a plugin"
    )
