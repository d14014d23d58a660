"""Seals the keys of issuers for a place that others may read, with wrapping keys that are kept elsewhere.

A sealed text is ``rc1``, the wrapping key's id, a nonce and a ciphertext of AES-256-GCM, with dots between them. What
the key is for is authenticated with it, so a sealed text that is moved to another issuer or key does not open.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

from ..encoding import base64url
from ..errors import ConfigurationError, InvalidKey
from ..wording import kind, wrapping
from .hmac import HMACKey
from .pem import from_base64

#: The bytes of a wrapping key.
KEY_BYTES: Final = 32
_FORMAT: Final = "rc1"
_NONCE_BYTES: Final = 12
_ID_BYTES: Final = 8
#: The fewest different bytes of a key that can be random.
_FEWEST_BYTES: Final = 8
_SEALED: Final = re.compile(r"rc1\.([0-9a-f]{16})\.([\w-]{16})\.([\w-]+)", re.ASCII)
_EXPECTED: Final = (
    "expected 32 random bytes, as 64 hexadecimal digits or in base64; make them with: "
    'python -c "import secrets; print(secrets.token_hex(32))"'
)


class Use(NamedTuple):
    """What a sealed key is for.

    :param issuer: the id of its issuer.
    :param key_id: its id in the ring.
    :param algorithm: the ``alg`` of its tokens.
    :param form: whether it is a secret or a private key.
    """

    issuer: str
    key_id: str
    algorithm: str
    form: Literal["secret", "private_key"]

    @property
    def authenticated(self) -> bytes:
        """These values in bytes, each behind its length, so that no two uses have the same."""
        values = [value.encode("utf-8", "surrogatepass") for value in (_FORMAT, *self)]
        return b"".join(len(value).to_bytes(4) + value for value in values)


class WrappingKeys:
    """The keys that seal and open other keys: the first one seals, and each opens what it has sealed.

    :param keys: different keys of 32 bytes; at least one.
    """

    __slots__ = ("_ciphers", "_digests")

    def __init__(self, keys: Iterable[bytes]) -> None:
        # Not at the top: most kits seal nothing.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._ciphers: dict[str, Any] = {}
        self._digests: list[bytes] = []
        for key in keys:
            digest = _digest(key)
            self._digests.append(digest)
            self._ciphers[digest[:_ID_BYTES].hex()] = AESGCM(key)
            del key

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys, the one that seals first. They are no secrets."""
        return tuple(self._ciphers)

    def seal(self, text: str, use: Use) -> str:
        """Seal the text of a key."""
        try:
            wrapping_id, cipher = next(iter(self._ciphers.items()))
            nonce = secrets.token_bytes(_NONCE_BYTES)
            sealed = cipher.encrypt(nonce, text.encode(), use.authenticated)
        finally:
            del text  # so that no frame of a traceback holds it
        return ".".join((_FORMAT, wrapping_id, *(base64url.encode(part).decode() for part in (nonce, sealed))))

    def open(self, sealed: str, use: Use) -> str:
        """The text of a key.

        :raises InvalidKey: for a text that was changed or moved, or that another wrapping key has sealed.
        """
        from cryptography.exceptions import InvalidTag

        wrapping_id, nonce, ciphertext = _parts(sealed)
        cipher = self._ciphers.get(wrapping_id)
        if cipher is None:
            raise InvalidKey(
                f"it is sealed with the wrapping key {wrapping_id}, and those given are {', '.join(self.ids)}; "
                "name that key, too, behind the first one: in keys_key, or ROLECALL_KEYS_KEY"
            )
        try:
            opened: bytes = cipher.decrypt(nonce, ciphertext, use.authenticated)
        except InvalidTag:
            raise InvalidKey(
                f"its sealed {use.form} does not open: it was changed, or belongs to another issuer or key; "
                "restore a backup, or retire the key"
            ) from None
        return opened.decode()

    def refuse(self, key: object) -> None:
        """Refuse a key of an issuer that is a wrapping key, too: whoever learns of it could open all others.

        :raises InvalidKey: for such a key.
        """
        if isinstance(key, HMACKey) and any(self._has(candidate) for candidate in _readings(key._material)):
            raise InvalidKey(
                "one of its secrets is the wrapping key, too, so whoever has the one could open all; "
                'make another wrapping key: python -c "import secrets; print(secrets.token_hex(32))"'
            )

    def _has(self, key: bytes) -> bool:
        return _digest(key) in self._digests

    def __repr__(self) -> str:
        return f"<WrappingKeys {', '.join(self.ids)}>"

    def __reduce__(self) -> Any:
        raise TypeError("WrappingKeys cannot be pickled: the keys would travel with them")


def wrapping_id_of(sealed: object) -> str | None:
    """The id of the wrapping key in a sealed text; None if it is no sealed text."""
    match = _SEALED.fullmatch(sealed) if isinstance(sealed, str) else None
    return match and match[1]


def wrapping_keys(given: object, name: str = "keys_key") -> WrappingKeys:
    """The wrapping keys in an argument: one, or a sequence of them.

    :param given: keys of 32 bytes, each as bytes, as hexadecimal digits, or in base64.
    :param name: what the message calls them.
    :raises ConfigurationError: for anything else. The message does not quote it.
    """
    problem: str | None = None
    keys: list[bytes] = []
    one: object = None
    key: bytes | str = b""
    listed = [given] if isinstance(given, str | bytes) or not isinstance(given, Sequence) else list(given)
    for number, one in enumerate(listed, 1):
        key = _key_in(one)
        if isinstance(key, str):
            problem = f"{name}{f', number {number},' if len(listed) > 1 else ''} {key}"
            break
        keys.append(key)
    one, key = None, b""
    if problem is None and not keys:
        problem = f"{name} is empty; {_EXPECTED}"
    if problem is None and len(set(keys)) < len(keys):
        problem = f"{name} has one key twice; leave one of the two out"
    del given, listed
    if problem is None:
        return WrappingKeys(keys)
    del keys  # so that no frame of a traceback holds them
    raise ConfigurationError(problem)


def _key_in(given: object) -> bytes | str:
    """The wrapping key in a text; or the problem with it: returned, so that no frame of a traceback holds the key."""
    if not isinstance(given, str | bytes):
        return f"is {kind(given)}; {_EXPECTED}"
    if isinstance(given, str) and (around := wrapping(given)):
        return f"has {around}; take it off"
    decoded = given if isinstance(given, bytes) and len(given) == KEY_BYTES else _decoded(given)
    if decoded is None:
        return f"is a text of {len(given)} characters that is neither hexadecimal nor base64; {_EXPECTED}"
    if len(decoded) != KEY_BYTES:
        return f"has {len(decoded)} bytes; {_EXPECTED}"
    if len(set(decoded)) < _FEWEST_BYTES:
        return f"repeats a few bytes; {_EXPECTED}"
    return decoded


def _readings(material: bytes) -> Iterable[bytes]:
    """The wrapping keys that a secret may be."""
    return filter(None, (material, _decoded(material)))


def _decoded(text: str | bytes) -> bytes | None:
    material = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if re.fullmatch(rb"(?:[0-9a-fA-F]{2})+", material):
        return bytes.fromhex(material.decode())
    # Nothing of a passphrase is base64, though words without the spaces between them would be.
    return None if re.search(rb"\s", material) else from_base64(material)


def _parts(sealed: str) -> tuple[str, bytes, bytes]:
    match = _SEALED.fullmatch(sealed)
    try:
        if match is not None:
            return match[1], base64url.decode(match[2].encode()), base64url.decode(match[3].encode())
    except ValueError:
        pass
    raise InvalidKey("it is not sealed, or its sealed text is damaged; restore a backup, or retire the key")


def _digest(key: bytes) -> bytes:
    return hmac.digest(key, b"rolecall wrap id", "sha256")
