"""Private keys as PEM text, and what to do about the forms that are not PEM."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm

from ..errors import InvalidKey
from .jwk import thumbprint
from .key import check_kid
from .public import PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_Loaded = TypeVar("_Loaded")


class PrivateKey(PublicKey, Generic[_Loaded]):
    """The base of the kit's own private keys: one that signs, and verifies what it signed."""

    __slots__ = ("_private",)

    def __init__(self, pem: str | bytes, kid: str | None = None) -> None:
        """Load the key once: loading takes far longer than signing.

        :param pem: the private key as unencrypted PEM text, of the kind that the class names.
        :param kid: at most 128 ASCII characters.
        :raises InvalidKey: for anything else.
        """
        loaded = self._load(pem)
        del pem  # so that no frame of a traceback below holds it
        if isinstance(loaded, str):
            raise InvalidKey(loaded)
        check_kid(kid)
        self._private = loaded
        self._prepare(loaded.public_key(), kid)  # type: ignore[attr-defined]  # which each of the three kinds has

    def name_by_thumbprint(self) -> None:
        """Take the thumbprint of the public half as key id (RFC 7638)."""
        self.kid = thumbprint(self.public_jwk())

    @staticmethod
    def _load(pem: object) -> _Loaded | str:
        """The key in ``pem``, or the problem with it: returned, so that no frame of a traceback holds the key."""
        raise NotImplementedError


def private_key(pem: object, name: str, *labels: str) -> PrivateKeyTypes | str:
    """The private key in ``pem``, or the problem with it: returned, so that no frame of a traceback holds the key.

    :param pem: unencrypted PEM text.
    :param name: the kind of key, for messages.
    :param labels: the labels that the first line of such PEM text may have, the usual one first.
    """
    # Not at the top: it also loads the reader of OpenSSH's keys, which takes longer than all other modules about keys.
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not isinstance(pem, str | bytes):
        return f"a private key is PEM text, not {type(pem).__name__}"
    try:
        text = pem.encode() if isinstance(pem, str) else pem
        return load_pem_private_key(text, password=None)
    except TypeError:
        return "the private key is encrypted; decrypt it with: openssl pkey -in encrypted.pem -out private.pem"
    except (ValueError, UnsupportedAlgorithm):
        return _unreadable(pem, name, labels)


def _unreadable(pem: str | bytes, name: str, labels: tuple[str, ...]) -> str:
    text = pem if isinstance(pem, str) else pem.decode("latin-1")
    if "PRIVATE KEY-----" not in text and re.search("-----BEGIN [A-Z0-9 ]*(PUBLIC KEY|CERTIFICATE)-----", text):
        return "this is a public key or a certificate; to sign tokens the private key is needed"
    begins = " or ".join(f"'-----BEGIN {label}-----'" for label in labels)
    return other_key_form(text.encode("latin-1", "replace")) or (
        f"the private key cannot be read; expected PEM of {name}, which begins with {begins}"
    )


def other_key_form(material: bytes) -> str | None:
    """Advice for a private key in another form than PEM; None if ``material`` is in none of the known forms."""
    if b"-----BEGIN OPENSSH PRIVATE KEY-----" in material:
        return (
            "the private key is in OpenSSH's form; turn a copy of its file into PEM with: "
            "ssh-keygen -p -N '' -m PKCS8 -f private.pem"
        )
    if _DER.match(material):
        return (
            "the private key is DER; turn it into PEM with: openssl pkey -inform DER -in private.der -out private.pem"
        )
    decoded = from_base64(material) or b""
    if b"-----BEGIN" in decoded:
        return "the private key is PEM in base64; decode it first, for example with: base64 -d"
    if _DER.match(decoded):
        return (
            "the private key is PEM without its first and last line; put them back: '-----BEGIN PRIVATE KEY-----' and "
            "'-----END PRIVATE KEY-----'"
        )
    return None


#: A sequence of 256 bytes or more, as every RSA key is; or a shorter one that begins with a version.
_DER: Final = re.compile(rb"\x30(?:\x82|\x81.\x02\x01[\x00\x01]|[\x20-\x7f]\x02\x01[\x00\x01])", re.DOTALL)


def from_base64(material: bytes) -> bytes | None:
    """``material`` decoded from base64 or base64url, with or without padding and white space; None if it is neither."""
    compact = b"".join(material.split()).rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except ValueError:
        return None
