"""The OpenTok project JWT: HS256 with the API secret, as the SDKs for Python, Node, Ruby and PHP mint it."""

from __future__ import annotations

import hashlib
import os
from json import JSONEncoder
from typing import Any

from ..encoding import base64url, jws, strict_json
from ..errors import InvalidToken, MalformedToken, UnknownKey, WrongTokenKind
from ..keys import KeyRing
from ..keys.issuers import Issuer
from ..tokens import SCOPE, ClaimRules, Grant, TokenOptions, wrong_claim
from ..wording import shown, shown_key

# Not escaped to ASCII: a thousand characters of any script then fit into a token.
_encoded = JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=dict).encode


class OpenTokFormat:
    """Mints and verifies project JWTs of one API key."""

    __slots__ = ("_api_key", "_codec", "_rules")

    def __init__(self, api_key: str, keys: KeyRing, rules: ClaimRules) -> None:
        self._api_key = api_key
        self._codec = jws.Codec(Issuer(api_key, keys))
        self._rules = rules

    @staticmethod
    def recognizes(token: bytes) -> bool:
        return not token.startswith(b"T1==")

    @staticmethod
    def issuer_of(token: bytes) -> str | None:
        """The API key that ``token`` names, which nothing proves yet; None if it names none."""
        try:
            issuer = strict_json.loads(base64url.decode(jws.split(token)[2])).get("iss")
        except (ValueError, InvalidToken):
            return None
        return _as_key(issuer)

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        random = os.urandom(20)
        role, token_id = options.role, random[:16].hex()
        # Written out, because a JSON encoder takes longer than the signature. Only data and layout hold anything that
        # JSON must escape; the rest was validated to letters, digits, "-" and "_".
        payload = (
            f'{{"session_id":"{options.session_id}","role":"{role.wire_name}",'
            f'"iat":{options.issued_at},"exp":{options.expires_at},"scope":"{SCOPE}",'
            f'"iss":"{self._api_key}","ist":"project",'
            f'"nonce":{int.from_bytes(random[16:])},"jti":"{token_id}"'
        )
        # The SDKs leave out what is empty.
        if options.layout:
            payload += f',"initial_layout_class_list":{_encoded(" ".join(options.layout))}'
        if options.data:
            payload += f',"connection_data":{_encoded(options.data)}'
        if options.claims or options.narrowed or role != role.wire_name:
            for name, value in options.own_claims.items():
                payload += f",{_encoded(name)}:{_encoded(value)}"
        return self._codec.sign(f"{payload}}}".encode()), token_id

    def verify(self, token: bytes, now: float) -> Grant:
        try:
            claims = strict_json.loads(self._codec.verify(token))
        except ValueError as error:
            raise MalformedToken(f"the token's payload is malformed: {error}") from None
        # A REST credential has the same key, the same typ and the same issuer, but no scope and no session_id.
        get = claims.get
        issuer = get("iss")
        if not (
            (issuer == self._api_key or _as_key(issuer) == self._api_key)
            and get("ist") == "project"
            and "scope" in claims
            and "session_id" in claims
        ):
            raise self._wrong_kind(claims)
        token_id = get("jti")
        if type(token_id) is not str or not 0 < len(token_id) <= 255:
            if "jti" in claims:
                raise wrong_claim("jti", "a string of 1 to 255 characters")
            token_id = hashlib.sha256(jws.split(token)[0]).hexdigest()
        return self._rules.grant(claims, now, token_id)

    def _wrong_kind(self, claims: dict[str, Any]) -> InvalidToken:
        if _as_key(claims.get("iss")) != self._api_key:
            return UnknownKey(f"the token's iss is {shown_key(claims.get('iss'))}, not this kit's API key")
        if claims.get("ist") != "project":
            return WrongTokenKind(f"the token's ist is {shown(claims.get('ist'))}; a client's token has 'project'")
        return WrongTokenKind("the token is not for a client: it has no scope or no session_id")


def _as_key(issuer: object) -> str | None:
    """The API key in an ``iss``. PHP's SDK writes a number where the app has the key as one."""
    if type(issuer) is str:
        return issuer
    return str(issuer) if type(issuer) is int else None
