"""The issuer of tokens in the format ``jwt``: a name, and a private key of any of three kinds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..errors import ConfigurationError, InvalidKey
from ..wording import kind, shown, wrapping
from .issuers import Issuer, read_pem
from .ring import KeyRing

if TYPE_CHECKING:
    from .ec import ECKey
    from .ed25519 import Ed25519Key
    from .rsa import RSAKey

#: The longest name of an issuer or an audience, in characters. A session id carries the issuer's.
MAX_NAME: Final = 100


class Signer(Issuer):
    """The issuer of tokens in the format ``jwt``.

    :param audience: the ``aud`` of its tokens; None: they have none.
    """

    __slots__ = ("audience",)

    def __init__(self, id: str, ring: KeyRing, audience: str | None) -> None:
        super().__init__(id, ring)
        self.audience = audience


def signer_of(issuer: object, private_key: object, audience: object = None) -> Signer:
    """The issuer, whose key is named by its thumbprint (RFC 7638).

    :param issuer: its URL.
    :param audience: the ``aud`` of its tokens, or None.
    :param private_key: PEM text of an RSA, P-256 or Ed25519 key, or the path of a file with it.
    :raises ConfigurationError: for a name that is no URL.
    :raises InvalidKey: for anything but such a key.
    """
    pem = read_pem(private_key, "the issuer's private_key")
    del private_key
    if isinstance(pem, str):
        raise InvalidKey(pem)
    try:
        key = _private_key(pem)
    finally:
        del pem
    name = checked_issuer(issuer)
    key.refuse_published()
    key.name_by_thumbprint()
    return Signer(name, KeyRing([key]), checked_audience(audience))


def _private_key(pem: bytes) -> ECKey | Ed25519Key | RSAKey:
    """The key, of the class for its kind."""
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
        if isinstance(loaded, EllipticCurvePrivateKey):
            return ECKey(pem)
        return Ed25519Key(pem) if isinstance(loaded, Ed25519PrivateKey) else RSAKey(pem)
    finally:
        del pem, loaded


def checked_issuer(issuer: object) -> str:
    """The name of an issuer: a URL with neither query nor fragment (RFC 8414, section 2).

    :raises ConfigurationError: for anything else.
    """
    example = "expected a URL, such as 'https://video.example'"
    if not isinstance(issuer, str):
        raise ConfigurationError(f"issuer is {'missing' if issuer is None else kind(issuer)}; {example}")
    around = wrapping(issuer)
    if around is not None:
        raise ConfigurationError(f"issuer has {around}; take it off")
    if len(issuer) > MAX_NAME or not re.fullmatch(r"https?://[!-}]+", issuer) or not _is_plain_url(issuer):
        raise ConfigurationError(
            f"issuer is {kind(issuer)}, and no URL of at most {MAX_NAME} characters without user, query and fragment; "
            f"{example}"
        )
    return issuer


def _is_plain_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0 and not re.search("[?#@]", text)
    except ValueError:
        return False


def checked_audience(audience: object) -> str | None:
    """The audience of tokens, or None.

    :raises ConfigurationError: unless it is None or 1 to 100 printable characters.
    """
    if audience is None or (isinstance(audience, str) and 0 < len(audience) <= MAX_NAME and audience.isprintable()):
        return audience
    raise ConfigurationError(f"audience is {shown(audience)}; expected 1 to {MAX_NAME} printable characters")
