"""Where the token of a request is (RFC 6750, section 2): the header, and a cookie or the query if switched on."""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest
from typing import Final
from urllib.parse import parse_qsl

from .. import base64url
from ..errors import CredentialTooLarge, CsrfFailed, MalformedCredential, MissingCredential
from ..jws import MAX_TOKEN_LENGTH
from ..keys import Key
from .messages import Request
from .web import Web

_NEEDED: Final = "this route needs a token: send 'Authorization: Bearer <token>'"
#: The header that proves that a page of this site sends the cookie.
CSRF_HEADER: Final = "x-csrf-token"
#: The methods that change nothing (RFC 9110, section 9.2.1).
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token in the ``Authorization`` header.

    :param headers: by lower-case name.
    :raises MissingCredential: if there is no such header, or it is for another scheme.
    :raises MalformedCredential: if there is more than one token, or none after ``Bearer``.
    :raises CredentialTooLarge: if the token is longer than is read.
    """
    value = headers.get("authorization")
    if value is None:
        raise MissingCredential(_NEEDED)
    scheme, _, token = value.strip(" \t").partition(" ")
    token = token.lstrip(" ")
    # Servers join a header that came twice as "a,b".
    if scheme.lower() == "bearer" and "," not in token and token.split() == [token]:
        if len(token) > MAX_TOKEN_LENGTH:
            raise CredentialTooLarge(MAX_TOKEN_LENGTH)
        return token
    if "bearer" in value.lower():
        raise MalformedCredential("the Authorization header is not one bearer token")
    raise MissingCredential(_NEEDED)


class Credentials:
    """Finds the token of a request in one of the places that a kit allows.

    :param web: says which places these are.
    :param key: the kit's key, from which proofs against forged requests are derived.
    """

    __slots__ = ("_csrf_key", "_web")

    def __init__(self, web: Web, key: Key) -> None:
        self._web = web
        self._csrf_key = Key(key.derive("csrf"))

    def find(self, request: Request) -> tuple[str, str]:
        """The token of ``request``, and where it was.

        :raises MissingCredential: if there is none.
        :raises MalformedCredential: if there is more than one, or something that is not one token.
        :raises CsrfFailed: if it is in a cookie, the request changes something, and the proof is missing or wrong.
        """
        if self._web.header_alone:
            return bearer_token(request.headers), "the Authorization header"
        found = [*self._in_header(request), *self._in_cookie(request), *self._in_query(request)]
        if not found:
            raise MissingCredential(_NEEDED)
        if len(found) > 1:
            raise MalformedCredential("the request carries more than one token; send one, in one place")
        token, place = found[0]
        if not token:
            raise MalformedCredential(f"{place} holds no token")
        if len(token) > MAX_TOKEN_LENGTH:
            raise CredentialTooLarge(MAX_TOKEN_LENGTH)
        if place == "the cookie" and request.method not in SAFE_METHODS:
            self._check_csrf(token, request)
        return token, place

    def csrf_token(self, token: str) -> str:
        """The proof that goes with ``token`` in a cookie: who can read it is a page of this site."""
        return base64url.encode(self._csrf_key.sign(token.encode("utf-8", "replace"))).decode()

    def _check_csrf(self, token: str, request: Request) -> None:
        proof = request.headers.get(CSRF_HEADER) or ""
        if not compare_digest(proof.encode("utf-8", "replace"), self.csrf_token(token).encode()):
            raise CsrfFailed(
                "a token in a cookie changes nothing without its proof: send the csrf_token that came with it in the "
                "header X-CSRF-Token"
            )

    def _in_header(self, request: Request) -> list[tuple[str, str]]:
        try:
            return [(bearer_token(request.headers), "the Authorization header")]
        except MissingCredential:
            return []

    def _in_cookie(self, request: Request) -> list[tuple[str, str]]:
        if self._web.cookie is None:
            return []
        pairs = (pair.strip(" \t").partition("=") for pair in request.headers.get("cookie", "").split(";"))
        # An empty one is a cookie that was deleted.
        return [(value, "the cookie") for name, _, value in pairs if name == self._web.cookie and value]

    def _in_query(self, request: Request) -> list[tuple[str, str]]:
        if self._web.query is None:
            return []
        pairs = parse_qsl(request.query, keep_blank_values=True, errors="replace")
        return [(value, "the query") for name, value in pairs if name == self._web.query]
