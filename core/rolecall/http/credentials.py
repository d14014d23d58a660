"""The bearer token of a request (RFC 6750, section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import MalformedCredential, MissingCredential

_NEEDED: Final = "this route needs a token: send 'Authorization: Bearer <token>'"


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token in the ``Authorization`` header.

    :param headers: by lower-case name.
    :raises MissingCredential: if there is no such header, or it is for another scheme.
    :raises MalformedCredential: if there is more than one token, or none after ``Bearer``.
    """
    value = headers.get("authorization")
    if value is None:
        raise MissingCredential(_NEEDED)
    scheme, _, token = value.strip(" \t").partition(" ")
    token = token.lstrip(" ")
    # Servers join a header that came twice as "a,b".
    if scheme.lower() == "bearer" and "," not in token and token.split() == [token]:
        return token
    if "bearer" in value.lower():
        raise MalformedCredential("the Authorization header is not one bearer token")
    raise MissingCredential(_NEEDED)
