"""Ed25519 keys for EdDSA (RFC 8037, section 3.1)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .jwk import octets, public_jwk
from .key import derived
from .pem import PrivateKey, private_key
from .public import PublicKey
from .published import refuse_published_private


class Ed25519PublicKey(PublicKey):
    """A public Ed25519 key, for EdDSA."""

    __slots__ = ()

    _algorithm = "EdDSA"

    def verify(self, message: bytes, signature: bytes) -> bool:
        """See :class:`Key`."""
        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def public_jwk(self) -> dict[str, str]:
        """See :class:`Key`."""
        return public_jwk(self, {"kty": "OKP", "crv": "Ed25519", "x": octets(self._public.public_bytes_raw())})


class Ed25519Key(PrivateKey[Ed25519PrivateKey], Ed25519PublicKey):
    """A private Ed25519 key, for EdDSA: PEM text in PKCS #8. Ed448, the other curve of EdDSA, is refused."""

    __slots__ = ()

    @staticmethod
    def _load(pem: object) -> Ed25519PrivateKey | str:
        key = private_key(pem, "an Ed25519 key", "PRIVATE KEY")
        if isinstance(key, str | Ed25519PrivateKey):
            return key
        return "the private key is of another kind; EdDSA needs an Ed25519 key"

    def sign(self, message: bytes) -> bytes:
        """See :class:`Key`."""
        return self._private.sign(message)

    def derive(self, purpose: str) -> bytes:
        """See :class:`Key`."""
        return derived(self._private.private_bytes_raw(), purpose)

    def refuse_published(self) -> None:
        """Stop start-up on a private key that is publicly known.

        :raises InvalidKey: for such a key.
        """
        refuse_published_private(self._public.public_bytes_raw())
