"""The ring: the keys of one issuer at one time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ..errors import InvalidKey
from .hmac import HMACKey
from .key import Key, check_kid

#: How many keys without a ``kid`` one ring has at most: a token without ``kid`` is tried with each of them.
MAX_NAMELESS: Final = 3


class KeyRing:
    """The keys of one issuer: the first signs, and all of them verify.

    A ring never changes. Other keys make another ring, which takes this one's place in its
    :class:`~rolecall.keys.issuers.Issuer`; what was derived from this one goes with it.
    """

    __slots__ = ("_by_kid", "_derived", "_keys", "_nameless")

    def __init__(self, keys: Iterable[Key]) -> None:
        """Put keys on a ring.

        :param keys: at least one; the one that signs comes first.
        :raises InvalidKey: for anything but keys, for two with the same ``kid``, and for more than three without one.
        """
        self._keys = tuple(keys) if isinstance(keys, Iterable) else ()
        if not self._keys or not all(map(_is_key, self._keys)):
            raise InvalidKey("a key ring is made of at least one Key, and of nothing else")
        for key in self._keys:
            check_kid(key.kid)
        self._by_kid = {key.kid: (key,) for key in self._keys if key.kid is not None}
        self._nameless = tuple(key for key in self._keys if key.kid is None)
        if len(self._by_kid) + len(self._nameless) != len(self._keys):
            raise InvalidKey("two keys of one ring have the same kid; each needs its own")
        if len(self._nameless) > MAX_NAMELESS:
            raise InvalidKey(
                f"a ring has {len(self._nameless)} keys without a kid, and a token without kid is tried with each; "
                f"at most {MAX_NAMELESS} can be: retire the oldest, or give the keys a kid"
            )
        self._derived: dict[str, tuple[HMACKey, ...]] = {}

    @classmethod
    def from_jwks(cls, jwks: Mapping[str, Any]) -> KeyRing:
        """The ring in a JWK set (RFC 7517, section 5) of secrets, the one that signs first."""
        keys = jwks.get("keys") if isinstance(jwks, Mapping) else None
        if not isinstance(keys, list):
            raise InvalidKey("a JWK set is a JSON object with a list 'keys'")
        return cls(map(HMACKey.from_jwk, keys))

    @property
    def current(self) -> Key:
        """The key that signs."""
        return self._keys[0]

    @property
    def secrets(self) -> tuple[HMACKey, ...]:
        """The keys, for a format with a MAC of its own; the one that signs first.

        :raises InvalidKey: if one of them is no secret.
        """
        secrets = tuple(key for key in self._keys if isinstance(key, HMACKey))
        if len(secrets) != len(self._keys):
            raise InvalidKey("a format with a MAC needs a secret, not a private key")
        return secrets

    def find(self, kid: str | None) -> tuple[Key, ...]:
        """The keys that may have signed a token, in the order in which they are tried; none if there is none.

        :param kid: what the token's header names, which is looked up exactly; None: it names none, so that every key
            without a ``kid`` is meant, at most three, and never one that has a name.
        """
        return self._nameless if kid is None else self._by_kid.get(kid, ())

    def derived(self, purpose: str) -> tuple[HMACKey, ...]:
        """The keys for another use of the ring, one of each of its keys; the one that signs first."""
        made = self._derived.get(purpose)
        if made is None:
            made = self._derived[purpose] = tuple(HMACKey.derived(key, purpose) for key in self._keys)
        return made

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __repr__(self) -> str:
        return f"<KeyRing of {len(self._keys)}>"


def _is_key(value: object) -> bool:
    # Of a class the members are there, too.
    return isinstance(value, Key) and not isinstance(value, type) and isinstance(value.algorithm, str)
