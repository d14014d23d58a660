"""One strict codec for compact JWS (RFC 7515, section 7.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hmac import compare_digest
from types import MappingProxyType
from typing import Any, Final

from ..errors import BadSignature, MalformedToken, UnknownKey, WrongTokenKind
from ..keys import MAX_KID_LENGTH, Key, KeyRing
from ..keys.hmac import HMACKey
from ..keys.issuers import Issuer
from ..wording import shown, wrapping
from . import base64url, strict_json

#: The longest token that is read, in characters. SDKs turn 1,000 characters of data into 6,000 bytes and more.
MAX_TOKEN_LENGTH: Final = 16_384
#: The ``typ`` of tokens in the kit's own format, ``jwt`` (RFC 8725, section 3.11).
OWN_TYPE: Final = "rolecall+jwt"
#: The message for a wrong signature, in every format.
WRONG_SIGNATURE: Final = (
    "the token's signature does not fit its content: it was signed with another secret or key, or changed since"
)
#: The message for a ``kid`` that is not in the ring.
UNKNOWN_KEY: Final = "the token names a key that this kit does not have"
#: How many different headers of good tokens a codec remembers; in practice there are a handful.
_MAX_HEADERS: Final = 64
# Extensions that change how a JWS is read: a reader that does not support them must refuse (RFC 7515, 4.1.11).
_REFUSED_HEADERS: Final = ("crit", "b64", "zip")
# The newer name of an algorithm (RFC 9864); both are the same one.
_SAME: Final = {"Ed25519": "EdDSA"}
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def raw_token(token: object) -> bytes:
    """The bytes of ``token``, unread.

    :raises MalformedToken: unless it is an ASCII string of at most 16,384 characters.
    """
    if type(token) is str and token.isascii() and len(token) <= MAX_TOKEN_LENGTH and " " not in token:
        return token.encode()
    if not isinstance(token, str):
        raise MalformedToken(f"a token is a string, not {type(token).__name__}")
    if len(token) > MAX_TOKEN_LENGTH:
        raise MalformedToken(f"the token has {len(token)} characters; at most {MAX_TOKEN_LENGTH} are read")
    if " " in token:
        raise what_ails(token, MalformedToken("the token holds a space; pass the token alone, without 'Bearer'"))
    if not token.isascii():
        raise what_ails(token, MalformedToken("the token holds a character outside ASCII"))
    return token.encode()


def what_ails(token: object, error: MalformedToken) -> MalformedToken:
    """``error``, or a simpler message if quotes or white space were pasted with the token."""
    around = wrapping(token) if isinstance(token, str) else None
    return error if around is None else MalformedToken(f"the token has {around}; pass the token alone")


def split(token: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """The signing input, header, payload and signature of a compact JWS, still encoded and not yet trusted.

    :raises MalformedToken: unless there are exactly two dots.
    """
    signing_input, _, signature = token.rpartition(b".")
    header, dot, payload = signing_input.partition(b".")
    if not dot or b"." in payload:
        raise _no_compact_jws()
    return signing_input, header, payload, signature


def _no_compact_jws() -> MalformedToken:
    return MalformedToken("the token is not a compact JWS: three parts with two dots are expected")


def read_header(segment: bytes) -> dict[str, Any]:
    """The header in an encoded segment, as strict JSON.

    :raises MalformedToken: for anything else.
    """
    try:
        return strict_json.loads(base64url.decode(segment))
    except ValueError as error:
        raise MalformedToken(f"the token's header is malformed: {error}") from None


def read_payload(segment: bytes) -> bytes:
    """The payload in an encoded segment.

    :raises MalformedToken: unless it is strict base64url.
    """
    try:
        return base64url.decode(segment)
    except ValueError as error:
        raise MalformedToken(f"the token's payload is malformed: {error}") from None


class Codec:
    """Signs and verifies compact JWS of one kind for one issuer, with the issuer's current ring.

    :param issuer: the owner of the keys.
    :param typ: the ``typ`` of these tokens (RFC 8725, section 3.11); None: their header has none.
    :param further: further members of their header, which are demanded, too.
    """

    __slots__ = ("_further", "_issuer", "_prepared", "_typ")

    def __init__(self, issuer: Issuer, typ: str | None = "JWT", further: Mapping[str, str] = _NOTHING) -> None:
        self._issuer = issuer
        self._typ = typ
        self._further = further
        self._prepared = _Prepared(issuer.ring, typ, further)

    def sign(self, payload: bytes) -> str:
        """The token for ``payload``, signed by the ring's signing key."""
        prepared = self._prepared
        if prepared.ring is not self._issuer.ring:
            prepared = self._renewed()
        signing_input = prepared.header + base64url.encode(payload)
        signature = prepared.signer.sign(signing_input)
        return (signing_input + b"." + base64url.encode_signature(signature)).decode("ascii")

    def verify(self, token: bytes) -> bytes:
        """Check the signature of ``token`` and return its payload.

        :raises InvalidToken: a subclass that says what is wrong.
        """
        prepared = self._prepared
        if prepared.ring is not self._issuer.ring:
            prepared = self._renewed()
        signing_input, _, signature = token.rpartition(b".")
        header, dot, payload = signing_input.partition(b".")
        if not dot:
            raise _no_compact_jws()
        known = prepared.keys_by_header.get(header)
        try:
            keys = known or self._keys_for(read_header(header), prepared.ring)
            for key in keys:
                # A MAC has one text, so the texts are compared, which takes half the time of decoding one.
                if type(key) is HMACKey:
                    if compare_digest(base64url.encode_signature(key.sign(signing_input)), signature):
                        break
                elif _fits(key, signing_input, base64url.decode(signature)):
                    break
            else:
                base64url.check(signature)  # says what is wrong with a malformed one
                # A token with a fourth part fails here in any case; this message says why.
                if b"." in payload:
                    raise _no_compact_jws()
                raise BadSignature(WRONG_SIGNATURE)
            if known is None and len(prepared.keys_by_header) < _MAX_HEADERS:
                prepared.keys_by_header[header] = keys
            return base64url.decode(payload)
        except ValueError as error:
            raise MalformedToken(f"the token's payload or signature is malformed: {error}") from None

    def _renewed(self) -> _Prepared:
        self._prepared = prepared = _Prepared(self._issuer.ring, self._typ, self._further)
        return prepared

    def _keys_for(self, header: dict[str, Any], ring: KeyRing) -> tuple[Key, ...]:
        """The keys that may have signed a token with this header, in the order in which to try them."""
        for name in _REFUSED_HEADERS:
            if name in header:
                raise MalformedToken(f"the token's header asks for {name!r}, which is not supported")
        algorithm = header.get("alg")
        if not isinstance(algorithm, str):
            raise MalformedToken("the token's header names no algorithm")
        if header.get("typ") != self._typ:
            raise WrongTokenKind(f"the token's typ is {shown(header.get('typ'))}; here {self._typ!r} is expected").at(
                "key"
            )
        kid = header.get("kid")
        if "kid" in header and not (isinstance(kid, str) and len(kid) <= MAX_KID_LENGTH and kid.isascii()):
            raise MalformedToken(f"the token's kid is not a string of at most {MAX_KID_LENGTH} ASCII characters")
        candidates = ring.find(kid)
        if not candidates:
            raise UnknownKey("the token names no key, and each of this kit's has a kid" if kid is None else UNKNOWN_KEY)
        meant = _SAME.get(algorithm, algorithm)
        keys = tuple(key for key in candidates if key.algorithm == meant)
        if not keys:
            raise WrongTokenKind(
                f"the token's algorithm is {shown(algorithm)}; its key is for {candidates[0].algorithm}"
            ).at("key")
        for name, value in self._further.items():
            if header.get(name) != value:
                raise WrongTokenKind(f"the token's {name} is {shown(header.get(name))}; here {value!r} is expected")
        return keys


def _fits(key: Key, message: bytes, signature: bytes) -> bool:
    try:
        return key.verify(message, signature)
    except ValueError as error:  # of a key of the app's own, whose text is for nobody else
        raise RuntimeError(f"a {type(key).__name__} could not verify a signature") from error


class _Prepared:
    """The values that a codec computes from one ring and drops with it."""

    __slots__ = ("header", "keys_by_header", "ring", "signer")

    def __init__(self, ring: KeyRing, typ: str | None, further: Mapping[str, str]) -> None:
        self.ring = ring
        self.signer = ring.current
        self.header = base64url.encode(_header_json(ring.current, typ, further)) + b"."
        self.keys_by_header: dict[bytes, tuple[Key, ...]] = {}


def _header_json(key: Key, typ: str | None, further: Mapping[str, str]) -> bytes:
    header: dict[str, str] = {"alg": key.algorithm}
    if typ is not None:
        header["typ"] = typ
    if key.kid is not None:
        header["kid"] = key.kid
    header.update(further)
    return json.dumps(header, separators=(",", ":")).encode()
