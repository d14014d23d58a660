"""Makes the keys of projects and applications: of the text that somebody passes, or new ones."""

from __future__ import annotations

import re
from typing import Any, Final

from ..errors import InvalidKey
from .hmac import HMACKey, problem_with
from .key import Key

#: The id of an application.
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def is_application(issuer: str) -> bool:
    """Whether an issuer's id is an application's, which signs with private keys; a project signs with secrets."""
    return _UUID.fullmatch(issuer) is not None


def has_private_keys(issuer: str) -> bool:
    """Whether an issuer signs with private keys: an application does, and the issuer of the format ``jwt``, a URL."""
    return is_application(issuer) or "://" in issuer


def new_key(issuer: str) -> Key:
    """Make a key for an issuer: a random secret of 64 hexadecimal digits for a project, an RSA key of 2,048 bits for an
    application, and a key on P-256 for an issuer that is a URL.
    """
    if not has_private_keys(issuer):
        import secrets

        return HMACKey(secrets.token_hex(32))
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if is_application(issuer):
        return application_key(pem_of(rsa.generate_private_key(65537, 2048)))
    return issuer_key(pem_of(ec.generate_private_key(ec.SECP256R1())))


def key_of(issuer: str, text: str | bytes) -> Key:
    """The key of an issuer in a secret, or in the PEM text of a private key.

    :raises InvalidKey: for a text that is none.
    """
    try:
        if not has_private_keys(issuer):
            return secret_key(text)
        return application_key(text) if is_application(issuer) else issuer_key(text)
    finally:
        del text  # so that no frame of a traceback holds it


def secret_key(secret: str | bytes) -> HMACKey:
    """The key for a project's secret.

    :raises InvalidKey: for one that is missing, weak, or publicly known.
    """
    problem = problem_with(secret)
    key = None if problem else HMACKey(secret)
    del secret  # so that no frame of a traceback below holds it
    if key is None:
        raise InvalidKey(problem)
    key.refuse_published()
    return key


def application_key(pem: str | bytes) -> Key:
    """The key for an application's private key, as PEM text.

    :raises InvalidKey: for another kind of key, and for one that is weak or publicly known.
    """
    from .rsa import RSAKey  # not free to import, and most kits have a secret alone

    try:
        key = RSAKey(pem)
    finally:
        del pem
    key.refuse_published()
    return key


def issuer_key(pem: str | bytes) -> Key:
    """The key for a private key of any of the three kinds, as PEM text, named by its thumbprint (RFC 7638).

    :raises InvalidKey: for another kind of key, and for one that is weak or publicly known.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from .ec import ECKey
    from .ed25519 import Ed25519Key
    from .pem import private_key
    from .rsa import RSAKey

    loaded = private_key(pem, "an RSA, EC or Ed25519 key", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
    try:
        if isinstance(loaded, str):
            raise InvalidKey(loaded)
        key: ECKey | Ed25519Key | RSAKey
        if isinstance(loaded, EllipticCurvePrivateKey):
            key = ECKey(pem)
        else:
            key = Ed25519Key(pem) if isinstance(loaded, Ed25519PrivateKey) else RSAKey(pem)
    finally:
        del pem, loaded
    key.refuse_published()
    key.name_by_thumbprint()
    return key


def pem_of(private: Any) -> bytes:
    """The unencrypted PEM text of a private key of ``cryptography``."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem
