"""Strict base64url without padding (RFC 7515, section 2): one text for each value, and no other."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64

_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_PADDING = (b"", None, b"==", b"=")
# The last character of a text that does not fill its bytes has unused bits, which must be zero.
_LAST_OF_TWO = frozenset(b"AQgw")
_LAST_OF_THREE = frozenset(b"AEIMQUYcgkosw048")


def encode(data: bytes) -> bytes:
    """``data`` in base64url, unpadded."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def decode(text: bytes) -> bytes:
    """The bytes that ``text`` stands for.

    :raises ValueError: for padding, a character outside the alphabet, a length that cannot be, or unused bits that
        are not zero.
    """
    rest = len(text) % 4
    padding = _PADDING[rest]
    if padding is None:
        raise ValueError("not base64url: the length cannot be")
    if (rest == 2 and text[-1] not in _LAST_OF_TWO) or (rest == 3 and text[-1] not in _LAST_OF_THREE):
        raise ValueError("not base64url: unused bits are not zero")
    try:
        data = a2b_base64(text.translate(_TO_STANDARD) + padding)
    except Error:
        data = b""
    # binascii passes over what is outside the alphabet, and then comes out short (its strict mode is slower).
    if len(data) != len(text) * 3 // 4:
        raise ValueError("not base64url: a character is outside its alphabet")
    return data
