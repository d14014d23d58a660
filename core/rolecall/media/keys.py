"""The keys of those media services whose tokens an app signs: with a secret, or with a private key."""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from ..errors import ConfigurationError, InvalidKey
from ..keys import Key, KeyRing
from ..keys.issuers import Issuer, listed, private_key_of, ring_of
from ..keys.making import secret_key

#: The ids of API keys and the like.
SHOWN: Final = re.compile(r"[!-~]{1,128}")


def service_issuer(
    service: str,
    issuer: object,
    secret: object,
    verify_secrets: object = (),
    *,
    expected: str,
    names: tuple[str, str] = ("api_key", "api_secret"),
    pattern: re.Pattern[str] = SHOWN,
) -> Issuer:
    """The issuer of a service's tokens. No message quotes a value: id and secret may have been swapped.

    :param service: the name of the service, for messages.
    :param issuer: the id that its tokens name, or that goes with its secret.
    :param secret: the secret that signs, at least 32 bytes.
    :param verify_secrets: at most two further secrets, which only verify.
    :param expected: what the id is, for messages.
    :param names: the settings with the id and with the secret.
    :param pattern: matches the id.
    :raises ConfigurationError: for a wrong id.
    :raises InvalidKey: for a secret that is missing, weak, or publicly known.
    """
    try:
        key = _key(secret)
        if isinstance(key, str):
            raise InvalidKey(f"{service}: {names[1]}: {key}")
        ring = ring_of(f"{service}: verify_secrets", key, listed(verify_secrets, f"{service}: "), _key)
        return Issuer(_checked_id(service, issuer, names[0], expected, pattern), ring)
    finally:
        del issuer, secret, verify_secrets


def private_issuer(
    service: str, issuer: object, private_key: object, kid: str | None, *, expected: str, setting: str
) -> Issuer:
    """The issuer of a service's tokens that a private RSA key signs; the service has its public half.

    :param service: the name of the service, for messages.
    :param issuer: the id that its tokens name.
    :param private_key: PEM text, or the path of a file with it.
    :param kid: the name by which the service knows the key; its thumbprint (RFC 7638) unless given.
    :param expected: what the id is, for messages.
    :param setting: the setting with the id.
    :raises ConfigurationError: for a wrong id.
    :raises InvalidKey: for another kind of key, and for one that is weak or publicly known.
    """
    try:
        key = private_key_of(private_key, "private_key", partial(_rsa_key, kid=kid))
        if isinstance(key, str):
            raise InvalidKey(f"{service}: {key}")
        return Issuer(_checked_id(service, issuer, setting, expected, SHOWN), KeyRing([key]))
    finally:
        del issuer, private_key, kid  # one may have been given for another


def header_text(service: str, name: str, secret: str | bytes) -> str:
    """A secret that also stands in the headers of calls, as text.

    :param name: the setting that has it.
    :raises InvalidKey: if no header can hold it.
    """
    try:
        text = secret if isinstance(secret, str) else secret.decode("ascii", "replace")
        if not re.fullmatch(r"[!-~]+", text):
            raise InvalidKey(f"{service}: {name} has a character that no header of a request can hold")
        return text
    finally:
        del secret, text


def _checked_id(service: str, issuer: object, setting: str, expected: str, pattern: re.Pattern[str]) -> str:
    try:
        if not isinstance(issuer, str) or not pattern.fullmatch(issuer):
            raise ConfigurationError(f"{service}: {setting} is missing or malformed; expected {expected}")
        return issuer
    finally:
        del issuer  # it may have been swapped with the secret


def _rsa_key(pem: bytes, kid: str | None) -> Key:
    from ..keys import RSAKey  # not free to import

    key = RSAKey(pem, kid)
    key.refuse_published()
    if kid is None:
        key.name_by_thumbprint()
    return key


def _key(secret: object) -> Key | str:
    """The key for a secret; or the problem with it."""
    try:
        return secret_key(secret)  # type: ignore[arg-type]  # it looks at the type
    except InvalidKey as error:
        return str(error)
    finally:
        del secret
