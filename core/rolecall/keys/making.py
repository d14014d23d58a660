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


def new_key(issuer: str) -> Key:
    """Make a key for an issuer: a random secret of 64 hexadecimal digits, or an RSA key of 2,048 bits."""
    if not is_application(issuer):
        import secrets

        return HMACKey(secrets.token_hex(32))
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

    return application_key(pem_of(generate_private_key(65537, 2048)))


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


def pem_of(private: Any) -> bytes:
    """The unencrypted PEM text of a private key of ``cryptography``."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem
