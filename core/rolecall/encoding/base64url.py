"""Strict base64url without padding (RFC 7515, section 2): one text for each value, and no other."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Callable

# Base64 with padding. The extra ``fast`` brings a library that takes a fifth of binascii's time.
_encoded: Callable[[bytes], bytes]
_decoded: Callable[[bytes], bytes]
try:
    from pybase64 import b64decode, b64encode
except ImportError:
    _encoded, _decoded = lambda data: b2a_base64(data, newline=False), a2b_base64
else:
    _encoded, _decoded = b64encode, lambda text: b64decode(text, None, True)

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_PADDING = (b"", b"", b"==", b"=")
# By the length modulo 4: the last characters whose unused bits are zero; none for a length that cannot be.
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")
_PLUS, _SLASH, _MINUS, _LOW_LINE = b"+/-_"


def encode(data: bytes) -> bytes:
    """``data`` in base64url, unpadded."""
    text = _encoded(data).rstrip(b"=")
    # Few texts have one of these, ASCII in base64 hardly ever; and to look for one byte takes next to no time.
    return text.translate(_TO_URL) if _PLUS in text or _SLASH in text else text


def encode_signature(signature: bytes) -> bytes:
    """:func:`encode`, in less time for random bytes: most have one of the two characters."""
    return b2a_base64(signature).translate(_TO_URL, b"=\n")


def decode(text: bytes) -> bytes:
    """Decode ``text``.

    :raises ValueError: for padding, a character outside the alphabet, an impossible length, or unused bits that are
        not zero.
    """
    rest = len(text) % 4
    if rest and text[-1] not in _LAST[rest]:
        raise _wrong_end()
    standard = text.translate(_TO_STANDARD) if _MINUS in text or _LOW_LINE in text else text
    try:
        data = _decoded(standard + _PADDING[rest])
    except Error:
        data = b""
    # binascii skips padding, and characters outside the alphabet, so the result is too short. (Its strict mode is
    # slower.)
    if len(data) != len(text) * 3 // 4 or _PLUS in text or _SLASH in text:
        raise _outside()
    return data


def check(text: bytes) -> None:
    """Refuse what :func:`decode` refuses, in less time for a short text.

    :raises ValueError: see there.
    """
    rest = len(text) % 4
    if rest and text[-1] not in _LAST[rest]:
        raise _wrong_end()
    if text.translate(None, _ALPHABET):
        raise _outside()


def _wrong_end() -> ValueError:
    return ValueError("not base64url: the length is impossible, or unused bits are not zero")


def _outside() -> ValueError:
    return ValueError("not base64url: a character is outside its alphabet")
