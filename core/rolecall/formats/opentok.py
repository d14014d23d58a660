"""The OpenTok project JWT: HS256 with the API secret, as the SDKs for Python, Node, Ruby and PHP mint it."""

from __future__ import annotations

import hashlib
import os
from json import JSONEncoder
from typing import Any

from .. import jws, strict_json
from ..errors import MalformedToken, UnknownKey, WrongTokenKind, shown
from ..keys import KeyRing
from ..tokens import SCOPE, ClaimRules, Grant, TokenOptions, wrong_claim

_encode = JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode


class OpenTokFormat:
    """Mints and verifies project JWTs of one API key."""

    __slots__ = ("_api_key", "_codec", "_rules")

    def __init__(self, api_key: str, keys: KeyRing, rules: ClaimRules) -> None:
        self._api_key = api_key
        self._codec = jws.Codec(keys)
        self._rules = rules

    @staticmethod
    def recognizes(token: bytes) -> bool:
        return not token.startswith(b"T1==")

    def mint(self, options: TokenOptions) -> str:
        random = os.urandom(20)
        claims = {
            "session_id": options.session_id,
            "role": options.role.wire_name,
            "iat": options.issued_at,
            "exp": options.expires_at,
            "scope": SCOPE,
            "iss": self._api_key,
            "ist": "project",
            "nonce": int.from_bytes(random[16:]),
            "jti": random[:16].hex(),
        }
        # The SDKs leave out what is empty.
        if options.layout:
            claims["initial_layout_class_list"] = " ".join(options.layout)
        if options.data:
            claims["connection_data"] = options.data
        return self._codec.sign(_encode(claims).encode())

    def verify(self, token: bytes, now: float) -> Grant:
        try:
            claims = strict_json.loads(self._codec.verify(token))
        except ValueError as error:
            raise MalformedToken(f"the token's payload is malformed: {error}") from None
        self._check_kind(claims)
        token_id = claims.get("jti")
        if token_id is None:
            token_id = hashlib.sha256(jws.split(token)[0]).hexdigest()
        elif type(token_id) is not str or not 0 < len(token_id) <= 255:
            raise wrong_claim("jti", "a string of 1 to 255 characters")
        return self._rules.grant(claims, now, token_id)

    def _check_kind(self, claims: dict[str, Any]) -> None:
        if claims.get("iss") != self._api_key:
            raise UnknownKey(f"the token's iss is {shown(claims.get('iss'))}, not this kit's API key")
        if claims.get("ist") != "project":
            raise WrongTokenKind(f"the token's ist is {shown(claims.get('ist'))}; a client's token has 'project'")
        # A REST credential has the same key, the same typ and the same issuer, and neither of these two.
        if "scope" not in claims or "session_id" not in claims:
            raise WrongTokenKind("the token is not for a client: it has no scope or no session_id")
