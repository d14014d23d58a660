"""A reader of tokens by the rules of Jitsi's plugins for prosody, as measured; it shares nothing with the kit.

The plugins are in no package, so this stands in their place: ``mod_auth_token`` and ``token_verification`` at version
0.12.3 of prosody, with ``mod_token_affiliation``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key


class Refused(Exception):
    """The server says no."""


class Hangs(Exception):
    """The server never answers."""


class Prosody:
    """A server with one app.

    :param app_secret: for HS256; None: ``key_files`` is what its key server has, for RS256.
    """

    def __init__(
        self, domain: str, app_id: str, app_secret: str | None = None, key_files: Mapping[str, str] | None = None
    ) -> None:
        self._domain = domain
        self._app_id = app_id
        self._app_secret = app_secret
        self._key_files = key_files or {}

    def affiliation(self, token: str, room: str, now: float) -> str:
        """The affiliation with which a token joins a room, ``owner`` or ``member``.

        :raises Refused: or :class:`Hangs`.
        """
        claims = self._authenticated(token, now)
        if claims["room"] != "*" and claims["room"].lower() != room:
            raise Refused("room")
        if "sub" not in claims:
            raise Hangs("sub")
        if claims["sub"] != "*" and claims["sub"].lower() != self._domain.lower():
            raise Refused("sub")
        user = claims.get("context", {}).get("user", {})
        is_owner = user.get("affiliation") in ("owner", "moderator", "teacher") or user.get("moderator") in (
            True,
            "true",
        )
        return "owner" if is_owner else "member"

    def _authenticated(self, token: str, now: float) -> dict[str, Any]:
        signing_input, _, signature = token.rpartition(".")
        header, claims = (json.loads(_decoded(part)) for part in signing_input.split("."))
        if header.get("typ") != "JWT":
            raise Refused("Invalid typ")
        self._check_signature(header, signing_input.encode(), _decoded(signature))
        for name, is_good in (("exp", lambda end: now < end), ("nbf", lambda begin: now >= begin)):
            if name in claims and (type(claims[name]) not in (int, float) or not is_good(claims[name])):
                raise Refused(name)
        if claims.get("iss") != self._app_id:
            raise Refused("iss")
        if "aud" not in claims:
            raise Refused("aud")
        if "room" not in claims:
            raise Hangs("room")
        return dict(claims)

    def _check_signature(self, header: Mapping[str, Any], signing_input: bytes, signature: bytes) -> None:
        if header.get("alg") != ("RS256" if self._app_secret is None else "HS256"):
            raise Refused("alg")
        if self._app_secret is not None:
            if not hmac.compare_digest(hmac.digest(self._app_secret.encode(), signing_input, "sha256"), signature):
                raise Refused("signature")
            return
        if "kid" not in header:
            raise Refused("kid")
        name = hashlib.sha256(header["kid"].encode()).hexdigest() + ".pem"
        if name not in self._key_files:
            raise Refused("could not obtain public key")
        public = load_pem_public_key(self._key_files[name].encode())
        assert isinstance(public, RSAPublicKey)
        try:
            public.verify(signature, signing_input, PKCS1v15(), SHA256())
        except InvalidSignature:
            raise Refused("signature") from None


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "==")
