"""Publicly known secrets and keys, so that nobody uses one of them as a secret."""

from __future__ import annotations

import binascii
import hashlib
import os
from bisect import bisect_left
from contextlib import suppress
from typing import Final

from ..errors import InvalidKey

#: Sorted fingerprints without separators, made by ``scripts/published_secrets.py``.
TABLE: Final = os.path.join(os.path.dirname(__file__), "published.bin")
#: The length of a fingerprint in bytes. A random secret has a fingerprint of the table with a probability of 10^-15.
FINGERPRINT_BYTES: Final = 8

_TO_BASE64: Final = bytes.maketrans(b"-_", b"+/")


def is_published(material: bytes) -> bool:
    """Whether ``material`` is in a public list, a standard, a tutorial or the tests of an SDK.

    :param material: an HMAC secret, or the public half of a private key: an RSA key's modulus as big-endian bytes, the
        two coordinates of a point on P-256 (32 bytes each), or the 32 bytes of an Ed25519 key.
    """
    with open(TABLE, "rb", buffering=0) as file:
        table = file.readall()
    return _holds(table, fingerprint(material)) or _holds(table, fingerprint(plain(material)))


def refuse_published_private(public: bytes) -> None:
    """Stop start-up on a private key that is publicly known.

    :param public: its public half, as :func:`is_published` takes it.
    :raises InvalidKey: for such a key.
    """
    if is_published(public):
        raise InvalidKey("the private key is publicly known; make one of your own, or let the service make it")


def fingerprint(material: bytes) -> bytes:
    """The fingerprint of ``material`` in the table: the first bytes of its SHA-256."""
    return hashlib.sha256(material).digest()[:FINGERPRINT_BYTES]


def plain(material: bytes) -> bytes:
    """Decode ``material`` from hexadecimal digits or base64; else remove the white space around it.

    So all spellings of a secret have one fingerprint.
    """
    text = material.strip()
    with suppress(ValueError):
        return binascii.unhexlify(text)
    with suppress(ValueError):
        digits = text.removeprefix(b"base64:").rstrip(b"=").translate(_TO_BASE64)
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)
    return text


def _holds(table: bytes, entry: bytes) -> bool:
    count = len(table) // FINGERPRINT_BYTES
    place = bisect_left(range(count), entry, key=lambda index: _entry(table, index))
    return place < count and _entry(table, place) == entry


def _entry(table: bytes, index: int) -> bytes:
    return table[index * FINGERPRINT_BYTES : (index + 1) * FINGERPRINT_BYTES]
