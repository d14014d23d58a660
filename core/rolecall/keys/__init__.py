"""Keys that sign and verify, prepared once, and the ring that holds them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .hmac import MIN_SECRET_BYTES, HMACKey, problem_with
from .key import MAX_KID_LENGTH, Key
from .ring import MAX_NAMELESS, KeyRing

if TYPE_CHECKING:
    from .ec import ECKey
    from .ed25519 import Ed25519Key
    from .pem import other_key_form
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

# Private keys are loaded when they are first used: most kits have a secret alone.
_LATER = {
    "ECKey": ".ec",
    "Ed25519Key": ".ed25519",
    "MIN_RSA_BITS": ".rsa",
    "RSAKey": ".rsa",
    "other_key_form": ".pem",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name], __name__), name)
