"""The keys of those media services whose tokens an app signs with a secret."""

from __future__ import annotations

import re
from typing import Final

from ..errors import ConfigurationError, InvalidKey
from ..keys.issuers import Issuer, listed, ring_of
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
        key = secret_key(secret)  # type: ignore[arg-type]  # it looks at the type
        ring = ring_of(f"{service}: verify_secrets", key, listed(verify_secrets, f"{service}: "), secret_key)  # type: ignore[arg-type]
    except InvalidKey as error:
        problem = str(error)
        whose = "" if problem.startswith(f"{service}: ") else f"{service}: {names[1]}: "
        raise InvalidKey(whose + problem) from None
    finally:
        del secret, verify_secrets
    if not isinstance(issuer, str) or not pattern.fullmatch(issuer):
        raise ConfigurationError(f"{service}: {names[0]} is missing or malformed; expected {expected}")
    return Issuer(issuer, ring)
