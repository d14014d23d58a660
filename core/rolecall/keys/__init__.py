"""Keys that sign and verify, prepared once, and the ring that holds them."""

from __future__ import annotations

from .ec import ECKey
from .ed25519 import Ed25519Key
from .hmac import MIN_SECRET_BYTES, HMACKey, problem_with
from .key import MAX_KID_LENGTH, Key
from .pem import other_key_form
from .ring import MAX_NAMELESS, KeyRing
from .rsa import MIN_RSA_BITS, RSAKey

__all__ = [
    "MAX_KID_LENGTH",
    "MAX_NAMELESS",
    "MIN_RSA_BITS",
    "MIN_SECRET_BYTES",
    "ECKey",
    "Ed25519Key",
    "HMACKey",
    "Key",
    "KeyRing",
    "RSAKey",
    "other_key_form",
    "problem_with",
]
