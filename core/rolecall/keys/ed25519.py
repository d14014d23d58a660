"""Private Ed25519 keys for EdDSA (RFC 8037, section 3.1)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..errors import InvalidKey
from .jwk import octets, public_jwk
from .key import Concealed, check_kid, derived
from .pem import private_key
from .published import refuse_published_private


class Ed25519Key(Concealed):
    """A private Ed25519 key, for EdDSA: it signs, and verifies what it signed."""

    __slots__ = ("_private", "_public")

    def __init__(self, pem: str | bytes, kid: str | None = None) -> None:
        """Load the key once.

        :param pem: the private key as PEM text (PKCS #8), unencrypted. Ed448, the other curve of EdDSA, is refused.
        :param kid: at most 128 ASCII characters.
        :raises InvalidKey: for anything else.
        """
        loaded = _private_ed25519_key(pem)
        del pem  # so that no frame of a traceback below holds it
        if isinstance(loaded, str):
            raise InvalidKey(loaded)
        check_kid(kid)
        self._private = loaded
        self._public = loaded.public_key()
        self.algorithm = "EdDSA"
        self.kid = kid

    def sign(self, message: bytes) -> bytes:
        """See :class:`Key`."""
        return self._private.sign(message)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """See :class:`Key`."""
        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def derive(self, purpose: str) -> bytes:
        """See :class:`Key`."""
        return derived(self._private.private_bytes_raw(), purpose)

    def public_jwk(self) -> dict[str, str]:
        """See :class:`Key`."""
        return public_jwk(self, {"kty": "OKP", "crv": "Ed25519", "x": octets(self._public.public_bytes_raw())})

    def refuse_published(self) -> None:
        """Stop start-up on a private key that is publicly known.

        :raises InvalidKey: for such a key.
        """
        refuse_published_private(self._public.public_bytes_raw())


def _private_ed25519_key(pem: object) -> Ed25519PrivateKey | str:
    """The key in ``pem``, or the problem with it: returned, so that no frame of a traceback holds the key."""
    key = private_key(pem, "an Ed25519 key", "PRIVATE KEY")
    if isinstance(key, str | Ed25519PrivateKey):
        return key
    return "the private key is of another kind; EdDSA needs an Ed25519 key"
