"""The issuer of tokens in the format ``jwt``: a name, and a private key of any of three kinds."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from ..errors import ConfigurationError, InvalidKey
from ..wording import kind, shown, wrapping
from .issuers import Elsewhere, Issuer, listed, nowhere, private_key_of, refuse_further, refuse_twice, ring_of
from .key import Key
from .making import issuer_key
from .ring import KeyRing

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


def signer_of(
    issuer: object,
    private_key: object,
    audience: object = None,
    verify_keys: object = (),
    elsewhere: Elsewhere = nowhere,
) -> Signer:
    """The issuer, whose keys are named by their thumbprints (RFC 7638).

    :param issuer: its URL.
    :param audience: the ``aud`` of its tokens, or None.
    :param private_key: PEM text of an RSA, P-256 or Ed25519 key, or the path of a file with it.
    :param verify_keys: further private keys, which only verify.
    :param elsewhere: the keys of an issuer without a private key.
    :raises ConfigurationError: for a name that is no URL.
    :raises InvalidKey: for anything but such keys.
    """
    if private_key is None and isinstance(issuer, str) and (ring := elsewhere(issuer, needed=True)) is not None:
        try:
            refuse_further(verify_keys, "verify_keys")
        finally:
            del verify_keys
        return Signer(checked_issuer(issuer), ring, checked_audience(audience))
    key = _private(private_key)
    del private_key
    try:
        if isinstance(key, str):
            raise InvalidKey(key)
        name = checked_issuer(issuer)
        refuse_twice(name, elsewhere)
        ring = ring_of("verify_keys", key, listed(verify_keys, "", "verify_keys"), _private)
    finally:
        del verify_keys
    return Signer(name, ring, checked_audience(audience))


def _private(private_key: object) -> Key | str:
    return private_key_of(private_key, "the issuer's private_key", issuer_key)


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
