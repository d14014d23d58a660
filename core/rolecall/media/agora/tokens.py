"""Agora's tokens of the form 007 (AccessToken2): deflated, with the privileges of one account in one channel."""

from __future__ import annotations

import hmac
import os
import re
import zlib
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from struct import Struct, error, pack
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple

from ...encoding.jws import WRONG_SIGNATURE
from ...errors import BadSignature, MalformedToken, UnknownKey, WrongTokenKind
from ...formats.claims import ClaimRules
from ...formats.inspection import Inspection
from ...keys import HMACKey
from ...keys.issuers import Issuer
from ...roles import Capability
from ...tokens import Grant, TokenOptions
from ..backend import MediaBackend
from ..tokens import Seat, ServiceFormat

_TOKEN: Final = re.compile(rb"007[0-9A-Za-z+/]{4,}={0,2}")
_OLDER: Final = re.compile(rb"006[0-9a-fA-F]{32}[0-9A-Za-z+/]{4,}={0,2}")
#: The longest content that is read, in bytes; one channel and one account take at most 500.
_LONGEST: Final = 4096
DAY: Final = 86_400
#: The service of channels, the privilege to join one, and what further privileges stand for.
_RTC: Final = 1
_JOIN: Final = 1
_PRIVILEGES: Final = {2: Capability.PUBLISH, 3: Capability.PUBLISH, 4: Capability.SIGNAL}
_U16: Final = Struct("<H")
_U32: Final = Struct("<I")
_HEAD: Final = Struct("<IIIH")
_PRIVILEGE: Final = Struct("<HI")
#: What every participant may do where Agora authenticates hosts, and so reads the privileges.
AUDIENCE: Final = frozenset({Capability.CONNECT, Capability.SUBSCRIBE})


class _Content(NamedTuple):
    """What a token holds; ``info`` is what is signed."""

    signature: bytes
    info: bytes
    app_id: str
    issued_at: int
    life: int
    salt: int
    privileges: Mapping[int, int]
    channel: str
    account: str


class AgoraFormat(ServiceFormat):
    """Mints and verifies tokens for one channel and one account.

    A token for further services or channels is refused. A privilege that ends before the token does is not read.
    """

    __slots__ = ("_app_id", "_issuer")

    room_claim: ClassVar[str] = "channel"
    identity_claim: ClassVar[str] = "account"

    def __init__(self, backend: MediaBackend, issuer: Issuer, rules: ClaimRules) -> None:
        super().__init__(backend, rules)
        self._issuer = issuer
        self._app_id = _packed(issuer.id)

    @staticmethod
    def recognizes(token: bytes) -> bool:
        """See :meth:`TokenFormat.recognizes`."""
        return _TOKEN.fullmatch(token) is not None or _OLDER.fullmatch(token) is not None

    @staticmethod
    def issuer_of(token: bytes) -> str | None:
        """The App ID in ``token``, unverified; None if it has none."""
        try:
            return _content(token).app_id
        except (MalformedToken, WrongTokenKind):
            return None

    @staticmethod
    def inspect(token: bytes) -> Inspection:
        """See :meth:`TokenFormat.inspect`."""
        content = _content(token)
        return Inspection("agora", {}, _claims(content), content.signature.hex())

    def read_as(self, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """See :meth:`ServiceFormat.read_as`: a token tells who may publish, also where Agora does not look at that."""
        return capabilities | AUDIENCE

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        """See :meth:`TokenFormat.mint`. For equal input, and an equal salt, the token is the SDK's, byte by byte.

        :raises NoIdentity: without an account, or for one that Agora does not take.
        """
        channel, _, issued_at, expires_at = options[:4]
        account = self.subject_of(options)
        life, salt = expires_at - issued_at, new_salt()
        info = (
            self._app_id
            + _HEAD.pack(issued_at, life, salt, 1)
            + _granted(options.capabilities, life)
            + _packed(channel)
            + _packed(account)
        )
        signature = _signature(self._issuer.ring.secrets[0], issued_at, salt, info)
        content = zlib.compress(_U16.pack(len(signature)) + signature + info)
        return "007" + b2a_base64(content, newline=False).decode(), sha256(info).hexdigest()

    def verify(self, token: bytes, now: float) -> Grant:
        """See :meth:`TokenFormat.verify`."""
        content = _content(token)
        _, info, app_id, issued_at, life, salt, privileges, channel, account = content
        # In every case, so that an unknown App ID takes as long as a bad signature; and with each certificate.
        good = [
            hmac.compare_digest(_signature(key, issued_at, salt, info), content.signature)
            for key in self._issuer.ring.secrets
        ]
        if app_id != self._issuer.id:
            raise UnknownKey("the token's App ID is not this service's")
        if not any(good):
            raise BadSignature(WRONG_SIGNATURE)
        if _JOIN not in privileges:
            raise WrongTokenKind("the token has no privilege to join a channel")
        if "*" in channel:
            raise WrongTokenKind("the token is for more than one channel")
        life = min(life, privileges[_JOIN] or life, DAY)
        lasting = {number for number, seconds in privileges.items() if seconds == 0 or seconds >= life}
        held = {capability for capability in _PRIVILEGES.values() if _numbers(capability) <= lasting}
        seat = Seat(channel, account, AUDIENCE | held, issued_at, issued_at + life)
        return self._grant(seat, _claims(content), sha256(info).hexdigest(), now, app_id)


def new_salt() -> int:
    """A random number, of as many digits as the SDKs write."""
    return int.from_bytes(os.urandom(8)) % 99_999_999 + 1


def _signature(key: HMACKey, issued_at: int, salt: int, info: bytes) -> bytes:
    derived = hmac.digest(_U32.pack(salt), key.digest_under(_U32.pack(issued_at), "sha256"), "sha256")
    return hmac.digest(derived, info, "sha256")


def _packed(text: str) -> bytes:
    raw = text.encode()
    return _U16.pack(len(raw)) + raw


def _numbers(capability: Capability) -> set[int]:
    """The privileges that a capability needs."""
    return {number for number, one in _PRIVILEGES.items() if one is capability}


@lru_cache(256)
def _granted(capabilities: frozenset[Capability], life: int) -> bytes:
    """The service of channels with its privileges, which all end with the token."""
    numbers = [_JOIN, *(number for number, one in _PRIVILEGES.items() if one in capabilities)]
    return pack("<HH", _RTC, len(numbers)) + b"".join(_PRIVILEGE.pack(number, life) for number in numbers)


def _claims(content: _Content) -> dict[str, Any]:
    return {
        "app_id": content.app_id,
        "iat": content.issued_at,
        "exp": content.issued_at + content.life,
        "salt": content.salt,
        "channel": content.channel,
        "account": content.account,
        "privileges": MappingProxyType({str(number): seconds for number, seconds in content.privileges.items()}),
    }


def _content(token: bytes) -> _Content:
    """What a token holds, unverified.

    :raises MalformedToken: if it cannot be read.
    :raises WrongTokenKind: if it is not one for one service of channels.
    """
    if token.startswith(b"006"):
        raise WrongTokenKind(
            "the token is of Agora's older form, 006; expected 007, which its SDKs make with AccessToken2"
        )
    content = _inflated(token)
    try:
        return _parsed(content)
    except (error, UnicodeDecodeError):
        raise MalformedToken("the token ends before its content does, or has a text that is no UTF-8") from None


def _inflated(token: bytes) -> bytes:
    text = token[3:]
    try:
        if not token.startswith(b"007"):
            raise ValueError
        compressed = a2b_base64(text, strict_mode=True)
        if b2a_base64(compressed, newline=False) != text:
            raise ValueError
        # Bounded, because a token of 8 KiB could hold 8 MB.
        stream = zlib.decompressobj()
        content = stream.decompress(compressed, _LONGEST)
    except (Error, ValueError, zlib.error):
        raise MalformedToken("the token is not '007' with canonical base64 of zlib's form") from None
    if not stream.eof or stream.unused_data:
        raise MalformedToken(f"the token holds more than {_LONGEST} bytes, or something after its content")
    return content


def _parsed(content: bytes) -> _Content:
    signature, at = _bytes(content, 0)
    info = content[at:]
    app_id, at = _bytes(info, 0)
    issued_at, life, salt, services = _HEAD.unpack_from(info, at)
    at += _HEAD.size
    service, count = (_U16.unpack_from(info, at + offset)[0] for offset in (0, 2))
    if services != 1 or service != _RTC:
        raise WrongTokenKind("the token is not for the channels of Agora alone: it has another service, or several")
    at += 4
    privileges: dict[int, int] = {}
    for _ in range(count):
        number, seconds = _PRIVILEGE.unpack_from(info, at)
        if number in privileges or number not in (_JOIN, *_PRIVILEGES):
            raise MalformedToken("the token has a privilege twice, or an unknown one")
        privileges[number] = seconds
        at += _PRIVILEGE.size
    channel, at = _bytes(info, at)
    account, at = _bytes(info, at)
    if at != len(info):
        raise MalformedToken("the token holds something after its content")
    return _Content(
        signature, info, app_id.decode(), issued_at, life, salt, privileges, channel.decode(), account.decode()
    )


def _bytes(content: bytes, at: int) -> tuple[bytes, int]:
    """The bytes at a position, after their length; and the position after them."""
    (length,) = _U16.unpack_from(content, at)
    end = at + 2 + length
    if end > len(content):
        raise error
    return content[at + 2 : end], end
