"""The protocol of a key, and the common parts of the kit's own keys."""

from __future__ import annotations

import hmac
from typing import Any, Final, Protocol, runtime_checkable

from ..errors import InvalidKey
from ..wording import kind

MAX_KID_LENGTH: Final = 128


@runtime_checkable
class Key(Protocol):
    """One key for one algorithm, prepared once and used by many threads.

    The kit has :class:`HMACKey`, :class:`RSAKey`, :class:`ECKey` and :class:`Ed25519Key`. Any object with these members
    is a key, for example one that signs by a key management service. No ``repr``, message or pickle shows its material.
    """

    @property
    def algorithm(self) -> str:
        """The only ``alg`` that this key signs and verifies (RFC 8725, section 3.1)."""

    @property
    def kid(self) -> str | None:
        """The key id in the header of its tokens, or None."""

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``, in the form that JWS defines (RFC 7518, section 3)."""

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether this key made ``signature`` for ``message``. Raises nothing for any signature."""

    def derive(self, purpose: str) -> bytes:
        """Derive 32 bytes for another use of this key, always the same. They reveal nothing about the key."""

    def public_jwk(self) -> dict[str, str] | None:
        """The public half as a JSON Web Key (RFC 7517); None for a secret, which has none."""


class Concealed:
    """The base of the kit's own keys: neither ``repr`` nor pickles show the material."""

    __slots__ = ("algorithm", "kid")

    algorithm: str
    kid: str | None

    def __repr__(self) -> str:
        return f"<Key {getattr(self, 'algorithm', '?')} kid={getattr(self, 'kid', None)!r}>"

    def __reduce__(self) -> Any:
        raise TypeError("a Key cannot be pickled: its secret would travel with it")


def derived(secret: bytes, purpose: str) -> bytes:
    """Derive 32 bytes for another use of ``secret``. They reveal nothing about it."""
    return hmac.digest(secret, b"rolecall:" + purpose.encode(), "sha256")


def check_kid(kid: object) -> None:
    """Refuse a key id that a header cannot carry.

    :raises InvalidKey: unless it is None or 1 to 128 ASCII characters.
    """
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_LENGTH and kid.isascii()):
        raise InvalidKey(f"a kid is a string of 1 to {MAX_KID_LENGTH} ASCII characters, not {kind(kid)}")
