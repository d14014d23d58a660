"""RSA keys for RS256 (RFC 7518, section 3.3)."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from .jwk import number, public_jwk
from .key import derived
from .pem import PrivateKey, private_key
from .public import PublicKey
from .published import refuse_published_private

#: NIST SP 800-131A.
MIN_RSA_BITS: Final = 2048
_PADDING: Final = PKCS1v15()
_HASH: Final = SHA256()


class RSAPublicKey(PublicKey):
    """A public RSA key, for RS256."""

    __slots__ = ()

    _algorithm = "RS256"

    def verify(self, message: bytes, signature: bytes) -> bool:
        """See :class:`Key`."""
        try:
            self._public.verify(signature, message, _PADDING, _HASH)
        except InvalidSignature:
            return False
        return True

    def public_jwk(self) -> dict[str, str]:
        """See :class:`Key`."""
        numbers = self._public.public_numbers()
        return public_jwk(self, {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)})


class RSAKey(PrivateKey[RSAPrivateKey], RSAPublicKey):
    """A private RSA key of at least 2,048 bits, for RS256: PEM text in PKCS #8 or PKCS #1."""

    __slots__ = ()

    @staticmethod
    def _load(pem: object) -> RSAPrivateKey | str:
        key = private_key(pem, "an RSA key", "PRIVATE KEY", "RSA PRIVATE KEY")
        if isinstance(key, str):
            return key
        if not isinstance(key, RSAPrivateKey):
            return "the private key is of another kind; RS256 needs an RSA key"
        if key.key_size < MIN_RSA_BITS:
            return f"the RSA key has {key.key_size} bits; at least {MIN_RSA_BITS} are needed"
        if has_weak_primes(key.public_key().public_numbers().n):
            return (
                "the RSA key was made by a faulty generator (ROCA, CVE-2017-15361) and can be worked out; "
                "make a new one"
            )
        return key

    def sign(self, message: bytes) -> bytes:
        """See :class:`Key`."""
        return self._private.sign(message, _PADDING, _HASH)

    def derive(self, purpose: str) -> bytes:
        """See :class:`Key`."""
        # From the key itself and not from its PEM text, which has several spellings.
        return derived(self._private.private_numbers().d.to_bytes((self._private.key_size + 7) // 8), purpose)

    def refuse_published(self) -> None:
        """Stop start-up on a private key that is publicly known.

        :raises InvalidKey: for such a key.
        """
        modulus = self._public.public_numbers().n
        refuse_published_private(modulus.to_bytes((modulus.bit_length() + 7) // 8))


def has_weak_primes(modulus: int) -> bool:
    """Whether a key was made by the generator with the fault ROCA (CVE-2017-15361)."""
    # Each prime of such a key, and so their product, is a power of 65537 modulo each of the first 39 primes
    # (Nemec et al., The Return of Coppersmith's Attack, 2017). Among other keys hardly one in 10^8 is.
    return all(modulus % prime in {pow(65537, n, prime) for n in range(prime)} for prime in _SMALL_PRIMES)


_SMALL_PRIMES: Final = [prime for prime in range(2, 168) if all(prime % n for n in range(2, prime))]
