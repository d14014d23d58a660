"""Keys on the curve P-256 for ES256 (RFC 7518, section 3.4)."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from .jwk import number, public_jwk
from .key import derived
from .pem import PrivateKey, private_key
from .public import PublicKey
from .published import refuse_published_private

#: The bytes of each of the two numbers of a signature, and of each coordinate of a point.
_SIZE: Final = 32
_ECDSA: Final = ECDSA(SHA256())


class ECPublicKey(PublicKey):
    """A public key on the curve P-256, for ES256."""

    __slots__ = ()

    _algorithm = "ES256"

    def verify(self, message: bytes, signature: bytes) -> bool:
        """See :class:`Key`. A JWS carries the two numbers side by side, and never DER."""
        if len(signature) != 2 * _SIZE:
            return False
        r, s = int.from_bytes(signature[:_SIZE]), int.from_bytes(signature[_SIZE:])
        try:
            self._public.verify(encode_dss_signature(r, s), message, _ECDSA)
        except InvalidSignature:
            return False
        return True

    def public_jwk(self) -> dict[str, str]:
        """See :class:`Key`."""
        point = self._public.public_numbers()
        numbers = {"x": number(point.x, _SIZE), "y": number(point.y, _SIZE)}
        return public_jwk(self, {"kty": "EC", "crv": "P-256", **numbers})


class ECKey(PrivateKey[EllipticCurvePrivateKey], ECPublicKey):
    """A private key on the curve P-256, for ES256: PEM text in PKCS #8 or SEC 1."""

    __slots__ = ()

    @staticmethod
    def _load(pem: object) -> EllipticCurvePrivateKey | str:
        key = private_key(pem, "an EC key", "PRIVATE KEY", "EC PRIVATE KEY")
        if isinstance(key, str):
            return key
        if not isinstance(key, EllipticCurvePrivateKey):
            return "the private key is of another kind; ES256 needs an EC key"
        if not isinstance(key.curve, SECP256R1):
            return f"the EC key is on the curve {key.curve.name}; ES256 needs P-256, which OpenSSL calls prime256v1"
        return key

    def sign(self, message: bytes) -> bytes:
        """See :class:`Key`."""
        # Read by hand, in a third of the time: two tags and lengths of one byte each, and after them two numbers.
        der = self._private.sign(message, _ECDSA)
        end = 4 + der[3]
        r, s = der[4:end], der[end + 2 :]
        return r[-_SIZE:].rjust(_SIZE, b"\0") + s[-_SIZE:].rjust(_SIZE, b"\0")

    def derive(self, purpose: str) -> bytes:
        """See :class:`Key`."""
        # From the key itself and not from its PEM text, which has several spellings.
        return derived(self._private.private_numbers().private_value.to_bytes(_SIZE), purpose)

    def refuse_published(self) -> None:
        """Stop start-up on a private key that is publicly known.

        :raises InvalidKey: for such a key.
        """
        point = self._public.public_numbers()
        refuse_published_private(point.x.to_bytes(_SIZE) + point.y.to_bytes(_SIZE))
