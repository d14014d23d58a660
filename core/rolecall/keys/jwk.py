"""JSON Web Keys (RFC 7517) of public keys."""

from __future__ import annotations

from collections.abc import Mapping

from ..encoding import base64url
from .key import Key


def public_jwk(key: Key, members: Mapping[str, str]) -> dict[str, str]:
    """The JWK of a key's public half, with its algorithm, use and key id.

    :param members: the key's type, and the numbers of its public half.
    """
    named = {} if key.kid is None else {"kid": key.kid}
    return {**members, "alg": key.algorithm, "use": "sig", **named}


def number(value: int, length: int | None = None) -> str:
    """A number as its big-endian bytes in base64url (RFC 7518, section 6.2.1.2).

    :param length: in bytes; as short as possible unless given.
    """
    return octets(value.to_bytes(length or (value.bit_length() + 7) // 8))


def octets(value: bytes) -> str:
    """Bytes in base64url."""
    return base64url.encode(value).decode("ascii")
