"""Janus's signed tokens: ``expiry,realm,descriptors:signature``, the signature being HMAC-SHA1 in base64."""

from __future__ import annotations

import hmac
import re
from binascii import b2a_base64
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, ClassVar, Final
from urllib.parse import quote, unquote

from ...encoding.jws import WRONG_SIGNATURE
from ...errors import BadSignature, MalformedToken, WrongTokenKind
from ...formats.claims import ClaimRules, wrong_claim
from ...formats.inspection import Inspection
from ...keys import HMACKey
from ...keys.issuers import Issuer
from ...tokens import Grant, TokenOptions
from ..backend import MediaBackend
from ..tokens import PARTICIPANT, Seat, ServiceFormat

#: The plugin whose rooms are sessions, and the realm of the tokens of its rooms.
PLUGIN: Final = "janus.plugin.videoroom"
_TOKEN: Final = re.compile(rb"([0-9]{1,12}),(janus[a-z.]{0,64})((?:,[!-+.-9;-~-]+)*):([0-9A-Za-z+/]{27}=)")
_DESCRIPTORS: Final = ("room", "iat", "actor")
_TIME: Final = re.compile("[0-9]{1,12}")


class JanusFormat(ServiceFormat):
    """Mints and verifies the tokens with which clients join a room of the plugin VideoRoom.

    Janus looks for the descriptor ``room=…`` alone. So a token that is minted here says for whom it is, too, and since
    when, in descriptors of its own: ``iat=…`` and ``actor=…``, which is percent-encoded.
    """

    __slots__ = ("_issuer",)

    identity_claim: ClassVar[str] = "actor"

    def __init__(self, backend: MediaBackend, issuer: Issuer, rules: ClaimRules) -> None:
        super().__init__(backend, rules)
        self._issuer = issuer

    @staticmethod
    def recognizes(token: bytes) -> bool:
        """See :meth:`TokenFormat.recognizes`."""
        return _TOKEN.fullmatch(token) is not None

    @staticmethod
    def inspect(token: bytes) -> Inspection:
        """See :meth:`TokenFormat.inspect`."""
        expiry, realm, descriptors, signature = _parts(token)
        return Inspection("janus", {}, {"exp": expiry, "realm": realm, "descriptors": descriptors}, signature.decode())

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        """See :meth:`TokenFormat.mint`."""
        room, _, issued_at, expires_at = options[:4]
        actor = _quoted(self.subject_of(options))
        data = f"{expires_at},{PLUGIN},room={room},iat={issued_at},actor={actor}".encode()
        return signed(self._issuer, data), sha256(data).hexdigest()

    def verify(self, token: bytes, now: float) -> Grant:
        """See :meth:`TokenFormat.verify`."""
        expiry, realm, descriptors, signature = _parts(token)
        data = token.partition(b":")[0]
        # Each secret is tried, so that the time tells nothing.
        good = [hmac.compare_digest(_signature(key, data), signature) for key in self._issuer.ring.secrets]
        if not any(good):
            raise BadSignature(WRONG_SIGNATURE)
        if realm != PLUGIN:
            raise WrongTokenKind(
                "the token is for requests to Janus, and for no room: the token of a room is the one that its ticket "
                "has in credentials.videoroom"
            )
        claims: dict[str, Any] = {"exp": expiry, **_read(descriptors)}
        seat = Seat(claims.get("room"), claims.get("actor"), PARTICIPANT, claims.get("iat"), expiry)
        return self._grant(seat, claims, sha256(data).hexdigest(), now, self._issuer.id)


@lru_cache(1024)
def _quoted(actor: str) -> str:
    return quote(actor, safe="")


def signed(issuer: Issuer, data: bytes) -> str:
    """A token: expiry, realm and descriptors with their signature."""
    return (data + b":" + _signature(issuer.ring.secrets[0], data)).decode()


def core_token(issuer: Issuer, expires_at: int) -> str:
    """The token that every request to Janus needs, for no other plugin than this one."""
    return signed(issuer, f"{expires_at},janus,{PLUGIN}".encode())


def _signature(key: HMACKey, data: bytes) -> bytes:
    return b2a_base64(key.digest(data, "sha1"), newline=False)


def _parts(token: bytes) -> tuple[int, str, list[str], bytes]:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise MalformedToken("the token is not 'expiry,realm,descriptors:signature', as Janus has it")
    return int(match[1]), match[2].decode(), match[3].decode().split(",")[1:], match[4]


def _read(descriptors: list[str]) -> Mapping[str, Any]:
    """The descriptors of the token of one room."""
    claims: dict[str, Any] = {}
    for descriptor in descriptors:
        name, _, value = descriptor.partition("=")
        if name not in _DESCRIPTORS or name in claims:
            raise WrongTokenKind("the token is not that of one room: it has further descriptors")
        claims[name] = value
    if "iat" in claims:
        if not _TIME.fullmatch(claims["iat"]):
            raise wrong_claim("iat", "a number of Unix seconds")
        claims["iat"] = int(claims["iat"])
    if "actor" in claims:
        actor = unquote(claims["actor"], errors="replace")
        if quote(actor, safe="") != claims["actor"]:
            raise wrong_claim("actor", "an actor's id, percent-encoded")
        claims["actor"] = actor
    return claims
