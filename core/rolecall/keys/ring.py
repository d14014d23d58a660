"""The ring: the keys of one issuer at one time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ..errors import InvalidKey
from ..wording import shown
from .hmac import HMACKey
from .key import Key, check_kid
from .states import STATES, RingKey

#: How many keys without a ``kid`` a ring has at most: each of them is tried on a token without a ``kid``.
MAX_NAMELESS: Final = 3


class KeyRing:
    """The keys of one issuer: the first signs, and all of them verify.

    A ring never changes. To change the keys, make another ring and assign it to the
    :class:`~rolecall.keys.issuers.Issuer`; everything derived from the old ring goes with it.
    """

    __slots__ = ("_by_kid", "_derived", "_entries", "_keys", "_nameless", "_secrets")

    def __init__(self, keys: Iterable[Key]) -> None:
        """Make a ring.

        :param keys: at least one key; the first one signs.
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
        self._entries: tuple[RingKey, ...] | None = None
        self._secrets: tuple[HMACKey, ...] | None = None

    @classmethod
    def of(cls, entries: Iterable[RingKey]) -> KeyRing:
        """Make a ring of keys in their states. It signs with the one that is signing, and refuses those retired.

        :raises InvalidKey: unless exactly one key is signing; for an unknown state, and for one key twice.
        """
        found = tuple(entries)
        problem = problem_with_states(found)
        if problem is not None:
            raise InvalidKey(problem)
        # Tokens without a kid are tried with the signing key first, and last with those that hardly anybody uses yet.
        live = sorted((one for one in found if one.state != "retired"), key=lambda one: _ORDER[one.state])
        ring = cls(one.key for one in live if one.key is not None)
        ring._entries = found
        return ring

    @classmethod
    def from_jwks(cls, jwks: Mapping[str, Any]) -> KeyRing:
        """The ring in a JWK set (RFC 7517, section 5) of secrets; the first one signs."""
        keys = jwks.get("keys") if isinstance(jwks, Mapping) else None
        if not isinstance(keys, list):
            raise InvalidKey("a JWK set is a JSON object with a list 'keys'")
        return cls(map(HMACKey.from_jwk, keys))

    @property
    def current(self) -> Key:
        """The key that signs."""
        return self._keys[0]

    @property
    def entries(self) -> tuple[RingKey, ...]:
        """The keys with their states, those that are retired included."""
        if self._entries is None:
            self._entries = tuple(
                RingKey.of(key, "verifying" if number else "signing") for number, key in enumerate(self._keys)
            )
        return self._entries

    @property
    def secrets(self) -> tuple[HMACKey, ...]:
        """The keys, for a format with a MAC of its own; the signing key first.

        :raises InvalidKey: if one of them is no secret.
        """
        if self._secrets is None:
            secrets = tuple(key for key in self._keys if isinstance(key, HMACKey))
            if len(secrets) != len(self._keys):
                raise InvalidKey("a format with a MAC needs a secret, not a private key")
            self._secrets = secrets
        return self._secrets

    def find(self, kid: str | None) -> tuple[Key, ...]:
        """The keys that may have signed a token, in the order in which to try them; empty if there are none.

        :param kid: the ``kid`` in the token's header, compared exactly. None: the header has none; then all keys
            without a ``kid`` are returned (at most three), and no others.
        """
        return self._nameless if kid is None else self._by_kid.get(kid, ())

    def derived(self, purpose: str) -> tuple[HMACKey, ...]:
        """The keys for another use of the ring, one derived from each of its keys; the signing key's first."""
        made = self._derived.get(purpose)
        if made is None:
            made = self._derived[purpose] = tuple(HMACKey.derived(key, purpose) for key in self._keys)
        return made

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __repr__(self) -> str:
        return f"<KeyRing of {len(self._keys)}>"


_ORDER: Final = {"signing": 0, "verifying": 1, "published": 2}


def problem_with_states(entries: Iterable[RingKey]) -> str | None:
    """The problem with the states of a ring's keys; None if there is none. It names keys by their ids alone."""
    seen: set[str] = set()
    signing = []
    for one in entries:
        if one.state not in STATES:
            return f"the key {one.id} has the state {shown(one.state)}; the states are {', '.join(STATES)}"
        if one.id in seen:
            return (
                f"the key {one.id} is in the ring twice; leave one of the two out, and make a new key if none is left"
            )
        seen.add(one.id)
        if one.state == "signing":
            signing.append(one.id)
    if len(signing) > 1:
        return f"{len(signing)} keys are signing, {' and '.join(signing)}; one signs, so set the others to 'verifying'"
    if not signing:
        return "no key is signing; set one of those that are published to 'signing'"
    return None


def _is_key(value: object) -> bool:
    # A class with these members is no key; an instance is.
    return isinstance(value, Key) and not isinstance(value, type) and isinstance(value.algorithm, str)
