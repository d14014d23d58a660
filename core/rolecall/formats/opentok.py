"""The OpenTok project JWT: HS256 with the API secret, as minted by the SDKs for Python, Node, Ruby and PHP."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json import JSONEncoder
from json.encoder import encode_basestring
from typing import Any, ClassVar

from ..encoding import jws, strict_json
from ..errors import InvalidToken, MalformedToken, UnknownKey, WrongTokenKind
from ..keys.issuers import Issuer
from ..tokens import ACTOR_CLAIM, Grant, TokenOptions
from ..wording import shown, shown_key
from . import TokenFormat
from .claims import OPENTOK_CLAIMS, SCOPE, ClaimRules
from .inspection import claims_in

# Not escaped to ASCII, so that a thousand characters of any script fit into a token.
_encoded = JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=dict).encode
# For session ids: few of them, used again and again.
_quoted = lru_cache(1024)(encode_basestring)


class OpenTokFormat(TokenFormat):
    """Mints and verifies project JWTs, each signed with its project's secret."""

    __slots__ = ("_codecs", "_first", "_only", "_rules")

    reserved_claims: ClassVar[frozenset[str]] = OPENTOK_CLAIMS
    writes_epoch: ClassVar[bool] = True
    _reads_rest: ClassVar[bool] = True

    def __init__(self, issuers: Sequence[Issuer], rules: ClaimRules) -> None:
        self._codecs = {issuer.id: jws.Codec(issuer) for issuer in issuers}
        self._first = issuers[0].id
        self._only = self._codecs[self._first] if len(issuers) == 1 else None
        self._rules = rules

    @staticmethod
    def recognizes(token: bytes) -> bool:
        return "ist" in _claims_of(token)

    @staticmethod
    def issuer_of(token: bytes) -> str | None:
        """The API key in ``token``, unverified; None if it has none."""
        return _as_key(_claims_of(token).get("iss"))

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        # Unpacked once, because each access to an attribute takes as long.
        session_id, role, issued_at, expires_at, data, layout, claims, narrowed, issuer, subject, *_ = options
        api_key = issuer or self._first
        random = os.urandom(20)
        token_id = options.new_token_id(random[:16])
        # Built by hand, because a JSON encoder takes longer than the signature. Values that may need escapes are
        # encoded; the others are validated to letters, digits, "-" and "_".
        payload = (
            f'{{"session_id":{_quoted(session_id)},"role":"{role.wire_name}",'
            f'"iat":{issued_at},"exp":{expires_at},"scope":"{SCOPE}",'
            f'"iss":"{api_key}","ist":"project",'
            f'"nonce":{int.from_bytes(random[16:])},"jti":"{token_id}"'
        )
        # As in the SDKs, empty claims are left out.
        if layout:
            payload += f',"initial_layout_class_list":{encode_basestring(" ".join(layout))}'
        if data:
            payload += f',"connection_data":{encode_basestring(data)}'
        if subject is not None:
            payload += f',"{ACTOR_CLAIM}":{encode_basestring(subject)}'
        if claims or narrowed or role != role.wire_name:
            for name, value in options.own_claims.items():
                payload += f",{_encoded(name)}:{_encoded(value)}"
        return self._codecs[api_key].sign(f"{payload}}}".encode()), token_id

    def verify(self, token: bytes, now: float) -> Grant:
        api_key, codec = self._first, self._only
        if codec is None:
            # If the token names none of the projects, the first one's key is tried, so that this takes as long as a bad
            # signature.
            named = self.issuer_of(token)
            api_key = named if named is not None and named in self._codecs else api_key
            codec = self._codecs[api_key]
        try:
            claims = strict_json.loads(codec.verify(token))
        except ValueError as error:
            raise MalformedToken(f"the token's payload is malformed: {error}") from None
        # A REST credential has the same key, typ and issuer, but neither scope nor session_id.
        get = claims.get
        issuer = get("iss")
        if not (
            (issuer == api_key or _as_key(issuer) == api_key)
            and get("ist") == "project"
            and "scope" in claims
            and "session_id" in claims
        ):
            raise _wrong_kind(claims, api_key)
        token_id = claims["jti"] if "jti" in claims else hashlib.sha256(jws.split(token)[0]).hexdigest()
        return self._rules.grant(claims, now, token_id, api_key)


def _wrong_kind(claims: Mapping[str, Any], api_key: str) -> InvalidToken:
    if _as_key(claims.get("iss")) != api_key:
        return UnknownKey(f"the token's iss is {shown_key(claims.get('iss'))}, not this kit's API key")
    if claims.get("ist") != "project":
        return WrongTokenKind(f"the token's ist is {shown(claims.get('ist'))}; a client's token has 'project'")
    return WrongTokenKind("the token is not for a client: it has no scope or no session_id")


def _claims_of(token: bytes) -> dict[str, Any]:
    """The unverified claims of a JWT; empty if it cannot be read."""
    try:
        return claims_in(jws.split(token)[2])
    except MalformedToken:
        return {}


def _as_key(issuer: object) -> str | None:
    """The API key in an ``iss``. The SDK for PHP writes a number if the app's key is one."""
    if type(issuer) is str:
        return issuer
    return str(issuer) if type(issuer) is int else None
