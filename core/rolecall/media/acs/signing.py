"""Signatures of calls of Azure Communication Services, by an access key of the resource."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from email.utils import formatdate
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from ...errors import InvalidKey
from ...keys.making import secret_key

_SIGNED: Final = "x-ms-date;host;x-ms-content-sha256"
#: The fewest bytes of a key.
_SHORTEST: Final = 32


class AccessKeySigner:
    """Signs calls with HMAC-SHA256, as Azure's SDKs do.

    :param access_key: a key of the resource, in base64, as the portal shows it.
    :raises InvalidKey: for one that is missing, weak, or no base64.
    """

    def __init__(self, access_key: str) -> None:
        try:
            self._key = _read(access_key)
        finally:
            del access_key  # so that no frame of a traceback holds it

    def __repr__(self) -> str:
        return "<AccessKeySigner>"

    async def __call__(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """The headers with the signature of a call."""
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        now, digest = formatdate(usegmt=True), b64encode(sha256(body).digest()).decode()
        text = f"{method}\n{target}\n{now};{parts.netloc};{digest}"
        signature = b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode()
        return {
            "Host": parts.netloc,
            "x-ms-date": now,
            "x-ms-content-sha256": digest,
            "Authorization": f"HMAC-SHA256 SignedHeaders={_SIGNED}&Signature={signature}",
        }


def _read(access_key: str) -> bytes:
    problem, key = "", b""
    try:
        secret_key(access_key)
        key = b64decode(access_key, validate=True)
    except InvalidKey as error:
        problem = str(error)
    except NotBase64:
        problem = "it is no base64; expected an access key as the Azure portal shows it"
    finally:
        del access_key
    if not problem and len(key) < _SHORTEST:
        problem = f"it has {len(key)} bytes; expected an access key as the Azure portal shows it"
    if problem:
        del key
        raise InvalidKey(f"acs: access_key: {problem}")
    return key
