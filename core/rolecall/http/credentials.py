"""The places of a request's token (RFC 6750, section 2): the header, and if switched on a cookie or the query."""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest
from typing import Final
from urllib.parse import parse_qsl

from ..encoding import base64url
from ..encoding.jws import MAX_TOKEN_LENGTH
from ..errors import CredentialTooLarge, CsrfFailed, MalformedCredential, MissingCredential
from ..keys import HMACKey
from ..keys.issuers import Issuer
from ..request import Request
from .web import Web

_NEEDED: Final = "this route needs a token: send 'Authorization: Bearer <token>'"
#: The message for a request with several tokens.
TOO_MANY: Final = "the request carries more than one token; send one, in one place"
#: The places of a token, as explanations name them.
HEADER: Final = "the Authorization header"
COOKIE: Final = "the cookie"
QUERY: Final = "the query"
#: The header that proves that a page of this site sends the cookie.
CSRF_HEADER: Final = "x-csrf-token"
#: The header of answers to a URL with a token, so that no page there sends the token on (RFC 9700, section 4.2.4).
NO_REFERRER: Final = ("Referrer-Policy", "no-referrer")
#: The purpose for which the keys of these proofs are derived.
_PURPOSE: Final = "csrf"
#: The methods that change nothing (RFC 9110, section 9.2.1).
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token in the ``Authorization`` header.

    :param headers: by name, in any case.
    :raises MissingCredential: if there is no such header, or it is for another scheme.
    :raises MalformedCredential: if there is more than one token, or none after ``Bearer``.
    :raises CredentialTooLarge: if the token is too long.
    """
    return bearer_of(headers.get("authorization"))


def bearer_of(value: str | None) -> str:
    """:func:`bearer_token` for the value of the header; None if there is no such header."""
    if value is None:
        raise MissingCredential(_NEEDED)
    scheme, _, token = value.strip(" \t").partition(" ")
    if scheme.lower() == "bearer":
        return _checked(token.lstrip(" "), HEADER)
    if "bearer" in value.lower():
        raise MalformedCredential(f"{HEADER} is not one bearer token")
    raise MissingCredential(_NEEDED)


class Credentials:
    """Finds the token of a request in the places that a kit allows.

    :param web: says which places are allowed.
    :param issuer: the kit's first issuer, from whose keys the proofs against request forgery are derived.
    """

    __slots__ = ("_issuer", "_web")

    def __init__(self, web: Web, issuer: Issuer) -> None:
        self._web = web
        self._issuer = issuer

    def find(self, request: Request) -> tuple[str, str]:
        """The token of ``request``, and its place.

        :raises MissingCredential: if there is none.
        :raises MalformedCredential: if there is not exactly one token.
        :raises CredentialTooLarge: if it is too long.
        :raises CsrfFailed: if it is in a cookie, the request changes something, and the proof is missing or wrong.
        """
        if self._web.header_alone:
            return bearer_token(request.headers), HEADER
        tokens = [*_in_header(request), *self._in_cookie(request), *self._in_query(request)]
        if not tokens:
            raise MissingCredential(_NEEDED)
        if len(tokens) > 1:
            raise MalformedCredential(TOO_MANY)
        token, place = tokens[0]
        if place != HEADER:
            _checked(token, place)
        if place == COOKIE and request.method not in SAFE_METHODS:
            self._check_csrf(token, request)
        return token, place

    def csrf_token(self, token: str) -> str:
        """The proof for ``token`` in a cookie: only pages of this site can read it."""
        return _proof(self._issuer.ring.derived(_PURPOSE)[0], token).decode()

    def _check_csrf(self, token: str, request: Request) -> None:
        proof = (request.headers.get(CSRF_HEADER) or "").encode("utf-8", "replace")
        # A proof by an earlier key is valid, too: its page was loaded before the keys changed.
        if not any(compare_digest(proof, _proof(key, token)) for key in self._issuer.ring.derived(_PURPOSE)):
            raise CsrfFailed(
                "a token in a cookie changes nothing without its proof: send the csrf_token that came with it in the "
                "header X-CSRF-Token"
            )

    def _in_cookie(self, request: Request) -> list[tuple[str, str]]:
        if self._web.cookie is None:
            return []
        pairs = (pair.strip(" \t").partition("=") for pair in request.headers.get("cookie", "").split(";"))
        tokens = [(value, COOKIE) for name, _, value in pairs if name == self._web.cookie]
        # An empty cookie is one that was deleted.
        return [] if tokens == [("", COOKIE)] else tokens

    def _in_query(self, request: Request) -> list[tuple[str, str]]:
        if self._web.query is None:
            return []
        pairs = parse_qsl(request.query, keep_blank_values=True, errors="replace")
        return [(value, QUERY) for name, value in pairs if name == self._web.query]


def _proof(key: HMACKey, token: str) -> bytes:
    return base64url.encode(key.sign(token.encode("utf-8", "replace")))


def holds_token(web: Web, query: str) -> bool:
    """Whether a URL with this query string has the parameter for tokens."""
    return web.query is not None and any(name == web.query for name, _ in parse_qsl(query, True, errors="replace"))


def _in_header(request: Request) -> list[tuple[str, str]]:
    try:
        return [(bearer_token(request.headers), HEADER)]
    except MissingCredential:
        return []


def _checked(token: str, place: str) -> str:
    """Check that ``token`` is one token, without reading it, and return it."""
    # Web servers join a repeated header as "a,b".
    if "," in token or token.split() != [token]:
        hint = "; a '+' is written %2B there" if place == QUERY and " " in token else ""
        raise MalformedCredential(f"{place} does not hold one token, and nothing else{hint}")
    if len(token) > MAX_TOKEN_LENGTH:
        raise CredentialTooLarge(MAX_TOKEN_LENGTH)
    return token


def url_headers(web: Web | None, query: str) -> tuple[tuple[str, str], ...]:
    """The headers of an answer to a URL that may hold a token."""
    return (NO_REFERRER,) if query and web is not None and holds_token(web, query) else ()
