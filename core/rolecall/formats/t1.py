"""T1, the older OpenTok form: ``"T1==" + base64("partner_id=…&sig=…:" + form-encoded fields)``, with HMAC-SHA1."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from ..encoding.jws import WRONG_SIGNATURE
from ..errors import BadSignature, InvalidClaim, MalformedToken, PolicyFault, UnknownKey
from ..keys import HMACKey
from ..keys.issuers import Issuer
from ..tokens import Grant, TokenOptions
from ..wording import shown
from . import TokenFormat
from .claims import OPENTOK_CLAIMS, ClaimRules
from .inspection import Inspection

_PREFIX = b"T1=="
_ENVELOPE = re.compile(rb"partner_id=([0-9A-Za-z-]{1,64})&sig=([0-9a-f]{40}):(.*)", re.DOTALL)
_FIELD = re.compile(rb"([a-zA-Z_]{1,64})=((?:[!-$'-*,-<>-~ +]|%[0-9a-fA-F]{2})*)")
_NAME = re.compile("[a-zA-Z_]{1,64}")
_ESCAPE = re.compile(rb"%(..)")
_TIME = re.compile(r"[0-9]{1,12}")
_MAX_FIELDS = 64
# The fields that SDKs write. Two SDKs join fields without encoding them, so anybody who chooses a session id or a
# layout class can add a field. Other fields therefore need a tag, which no SDK makes.
_WIRE_FIELDS = frozenset(
    {
        "session_id",
        "role",
        "iat",
        "exp",
        "nbf",
        "nonce",
        "scope",
        "connection_data",
        "initial_layout_class_list",
        "layout",
    }
)
_TAG = "rolecall_tag"
_TAGGED = re.compile(rb"(.*)&rolecall_tag=([0-9a-f]{64})", re.DOTALL)
# The claims that name the issuer of a JWT; T1 has the envelope for that, so such a field is refused.
_FOREIGN = frozenset({"iss", "ist", "sub", "subject", "aud", "jti", "acl", "application_id", "partner_id", "sig"})
# Two claims have other names in T1 than in a JWT.
_CLAIM_NAMES = {"create_time": "iat", "expire_time": "exp"}


class T1Format(TokenFormat):
    """Mints and verifies T1 tokens, each signed with its project's secret.

    A token with claims that no SDK writes ends in a field ``rolecall_tag``: HMAC-SHA256 of everything before it. None
    says for which actor it is, so that it stays as an SDK writes it.
    """

    __slots__ = ("_first", "_issuers", "_rules")

    reserved_claims: ClassVar[frozenset[str]] = OPENTOK_CLAIMS
    names_actor: ClassVar[bool] = False
    _known_as: ClassVar[str | None] = "a T1 token, the older form"

    def __init__(self, issuers: Sequence[Issuer], rules: ClaimRules) -> None:
        self._issuers = {issuer.id: issuer for issuer in issuers}
        self._first = issuers[0]
        self._rules = rules

    @staticmethod
    def recognizes(token: bytes) -> bool:
        return token.startswith(_PREFIX)

    @staticmethod
    def issuer_of(token: bytes) -> str | None:
        """The API key in ``token``, unverified; None if it has none."""
        try:
            return open_envelope(token)[0].decode("ascii")
        except MalformedToken:
            return None

    @staticmethod
    def inspect(token: bytes) -> Inspection:
        """Read ``token`` without verifying it."""
        partner_id, signature, data = open_envelope(token)
        named = {"partner_id": partner_id.decode("ascii")}
        claims = {**named, **read_fields(data), **named}  # first, and not replaceable by a field
        return Inspection("t1", {}, claims, signature.decode("ascii"))

    @staticmethod
    def fingerprint(token: bytes) -> bytes:
        """The partner id and the signature, at the beginning: the end of a T1 token is its fields."""
        return token[4:160]

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        issuer = self._first if options.issuer is None else self._issuers[options.issuer]
        fields: list[tuple[str, str | int]] = [
            ("session_id", options.session_id),
            ("create_time", options.issued_at),
            ("expire_time", options.expires_at),
            ("role", options.role.wire_name),
            # The SDK's nonce is below a million, so it repeats; only the nonce makes a T1 token unique.
            ("nonce", int.from_bytes(os.urandom(8)) >> 11),
            ("initial_layout_class_list", " ".join(options.layout)),
        ]
        if options.data:
            fields.append(("connection_data", options.data))
        own = options.own_claims
        fields.extend(_own_fields(own))
        data = urlencode(fields).encode("ascii")
        if own:
            data += f"&{_TAG}={_tag(_tag_keys(issuer)[0], data)}".encode("ascii")
        signature = _signature(issuer.ring.secrets[0], data)
        envelope = f"partner_id={issuer.id}&sig={signature}:".encode("ascii") + data
        token = (_PREFIX + binascii.b2a_base64(envelope, newline=False)).decode("ascii")
        return token, hashlib.sha256(data).hexdigest()

    def verify(self, token: bytes, now: float) -> Grant:
        partner_id, signature, data = open_envelope(token)
        # The HMAC is computed in every case, so that an unknown API key takes as long as a bad signature.
        issuer = self._issuers.get(partner_id.decode("ascii"), self._first)
        genuine = any(hmac.compare_digest(_signature(key, data).encode(), signature) for key in issuer.ring.secrets)
        if partner_id != issuer.id.encode():
            raise UnknownKey("the token's partner_id is not this kit's API key")
        if not genuine:
            raise BadSignature(WRONG_SIGNATURE)
        claims = read_fields(data)
        if not _WIRE_FIELDS.issuperset(claims):
            _check_tag(data, claims, issuer)
            del claims[_TAG]
        return self._rules.grant(claims, now, hashlib.sha256(data).hexdigest(), issuer.id)


def _check_tag(data: bytes, claims: Mapping[str, Any], issuer: Issuer) -> None:
    match = _TAGGED.fullmatch(data)
    if match is None or not any(
        hmac.compare_digest(_tag(key, match[1]).encode(), match[2]) for key in _tag_keys(issuer)
    ):
        added = next((name for name in claims if name not in _WIRE_FIELDS and name != _TAG), _TAG)
        raise InvalidClaim(
            f"the token has a field {added!r}, which no SDK writes, without the tag of the kit that does: "
            "it may have been smuggled in by way of another field"
        )


def _tag_keys(issuer: Issuer) -> tuple[HMACKey, ...]:
    return issuer.ring.derived("t1 claims")


def _signature(key: HMACKey, data: bytes) -> str:
    return key.digest(data, "sha1").hex()


def _tag(key: HMACKey, data: bytes) -> str:
    return key.sign(data).hex()


def _own_fields(claims: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in claims.items():
        if not isinstance(value, str) or not _NAME.fullmatch(name) or name == _TAG:
            raise PolicyFault(f"the claim {shown(name)} is not for T1, which has texts under names of letters and '_'")
        yield name, value


def open_envelope(token: bytes) -> tuple[bytes, bytes, bytes]:
    """The partner id, the signature and the signed fields of a T1 token; only the form is checked."""
    text = token[len(_PREFIX) :]
    try:
        envelope = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise MalformedToken("the token is not base64 after 'T1=='") from None
    if binascii.b2a_base64(envelope, newline=False) != text:
        raise MalformedToken("the token is not canonical base64 after 'T1=='")
    match = _ENVELOPE.fullmatch(envelope)
    if match is None:
        raise MalformedToken("the token does not hold 'partner_id=…&sig=…:' and fields")
    return match[1], match[2], match[3]


def read_fields(data: bytes) -> dict[str, Any]:
    """The fields of a T1 token under their names in a JWT."""
    parts = data.split(b"&", _MAX_FIELDS)
    if len(parts) > _MAX_FIELDS:
        raise MalformedToken(f"the token has more than {_MAX_FIELDS} fields")
    claims: dict[str, Any] = {}
    for part in parts:
        match = _FIELD.fullmatch(part)
        if match is None:
            raise MalformedToken("the token holds a field that is not form-encoded")
        field = match[1].decode("ascii")
        name = _CLAIM_NAMES.get(field, field)
        if name in _FOREIGN:
            raise MalformedToken(f"the token has a field {field!r}, which T1 does not have")
        if name in claims:
            raise MalformedToken(f"the token's field {field!r} stands twice")
        value = _unquote(match[2])
        if name == "iat" or name == "exp" or name == "nbf":
            if not _TIME.fullmatch(value):
                raise MalformedToken(f"the token's {field} is not a whole number of Unix seconds")
            claims[name] = int(value)
        else:
            claims[name] = value
    return claims


def _unquote(value: bytes) -> str:
    raw = _ESCAPE.sub(lambda match: binascii.a2b_hex(match[1]), value.replace(b"+", b" "))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise MalformedToken("the token holds a field that is not UTF-8") from None
