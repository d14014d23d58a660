"""The bearer token of a request (RFC 6750, section 2.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..errors import MalformedCredential, MissingCredential

# Visible ASCII without a comma: servers join a header that came twice as "a,b".
_TOKEN: Final = re.compile(r"[!-+\--~]+")


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token in the ``Authorization`` header.

    :param headers: by lower-case name.
    :raises MissingCredential: if there is no such header, or it is for another scheme.
    :raises MalformedCredential: if there is more than one token, or none after ``Bearer``.
    """
    value = headers.get("authorization")
    if value is None:
        raise MissingCredential("this route needs a token: send 'Authorization: Bearer <token>'")
    scheme, _, rest = value.strip(" \t").partition(" ")
    if scheme.lower() != "bearer":
        if "bearer" in value.lower():
            raise MalformedCredential("the Authorization header is not one bearer token")
        raise MissingCredential("this route needs a token: send 'Authorization: Bearer <token>'")
    token = rest.strip(" ")
    if not _TOKEN.fullmatch(token):
        raise MalformedCredential("the Authorization header is not one bearer token")
    return token
