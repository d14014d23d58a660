"""JSON Web Keys (RFC 7517) of public keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from ..encoding import base64url
from .key import Key


def public_jwk(key: Key, members: Mapping[str, str]) -> dict[str, str]:
    """The JWK of a key's public half, with its algorithm, use and key id.

    :param members: the key's type, and the numbers of its public half.
    """
    named = {} if key.kid is None else {"kid": key.kid}
    return {**members, "alg": key.algorithm, "use": "sig", **named}


def thumbprint(jwk: Mapping[str, str]) -> str:
    """The SHA-256 thumbprint of a public key (RFC 7638, section 3; RFC 8037, section 2), in base64url.

    :param jwk: with the required members of its type: ``RSA``, ``EC`` or ``OKP``.
    """
    required = {name: jwk[name] for name in _REQUIRED[jwk["kty"]]}
    text = json.dumps(required, sort_keys=True, separators=(",", ":"))
    return octets(hashlib.sha256(text.encode()).digest())


_REQUIRED: Final = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}


def number(value: int, length: int | None = None) -> str:
    """A number as its big-endian bytes in base64url (RFC 7518, section 6.2.1.2).

    :param length: in bytes; as short as possible unless given.
    """
    return octets(value.to_bytes(length or (value.bit_length() + 7) // 8))


def octets(value: bytes) -> str:
    """Bytes in base64url."""
    return base64url.encode(value).decode("ascii")
