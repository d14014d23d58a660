"""LiveKit's webhooks: JSON, with a token that has the SHA-256 of it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from ...encoding import jws, strict_json
from ...errors import (
    BadSignature,
    ExpiredToken,
    InvalidRequest,
    MalformedToken,
    MissingCredential,
    TokenNotYetValid,
    UnknownKey,
    WrongTokenKind,
)
from ...formats.claims import wrong_claim
from ...keys.issuers import Issuer
from ...wording import moment, shown_key
from ..webhooks import Notice
from .tokens import has_type

#: By how much the clocks may differ, in seconds: as LiveKit's own receivers have it.
LEEWAY: Final = 60
#: The longest name or id that is read, in bytes: the server takes 256 for identities and rooms.
_LONGEST: Final = 1024
#: The kit's names of LiveKit's events; it has others, for recordings and the like.
_EVENTS: Final = {
    **{name: name for name in ("room_started", "room_finished", "participant_joined", "participant_left")},
    "track_published": "stream_published",
    "track_unpublished": "stream_unpublished",
}


class LiveKitWebhooks:
    """Reads the webhooks of one server.

    :param issuer: the API key with its secret; ``webhook.api_key`` in the server's configuration names the same key.
    """

    def __init__(self, issuer: Issuer) -> None:
        self._api_key = issuer.id
        self._typed, self._untyped = jws.Codec(issuer), jws.Codec(issuer, None)

    def read(self, headers: Mapping[str, str], body: bytes, now: float) -> tuple[Notice, ...]:
        """The events of a webhook that the server has signed; none for an event that the kit does not have.

        :raises MissingCredential: without a signature.
        :raises InvalidToken: if the signature is not good for this body, or has expired.
        :raises InvalidRequest: if the body is not that of a webhook.
        """
        authorization = headers.get("authorization")
        if authorization is None:
            raise MissingCredential("a webhook of LiveKit has a token in Authorization, without a scheme")
        claims = self._claims(jws.raw_token(authorization))
        _check_times(claims, now)
        signed = claims.get("sha256")
        if type(signed) is not str:
            raise WrongTokenKind("the token is not that of a webhook: it has no text 'sha256'")
        if not compare_digest(b64encode(sha256(body).digest()), signed.encode()):
            raise BadSignature("the body is not the one that was signed: its SHA-256 is another")
        return _notices(_read(body))

    def _claims(self, token: bytes) -> dict[str, Any]:
        codec = self._typed if has_type(token.partition(b".")[0]) else self._untyped
        try:
            claims = strict_json.loads(codec.verify(token))
        except ValueError as error:
            raise MalformedToken(f"the token's payload is malformed: {error}") from None
        if claims.get("iss") != self._api_key:
            raise UnknownKey(
                f"the webhook's iss is {shown_key(claims.get('iss'))}, not this service's API key: "
                "webhook.api_key in the server's configuration names it"
            )
        return claims


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    for name in ("nbf", "exp"):
        if type(claims.get(name)) not in (int, float):
            raise wrong_claim(name, "a number of Unix seconds")
    if now >= claims["exp"] + LEEWAY:
        raise ExpiredToken(f"the webhook expired at {moment(claims['exp'])}; now is {moment(now)} by this server")
    if now < claims["nbf"] - LEEWAY:
        raise TokenNotYetValid(f"the webhook is of {moment(claims['nbf'])}; now is {moment(now)} by this server")


def _read(body: bytes) -> dict[str, Any]:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise InvalidRequest("the webhook's body is not a JSON object")
    return read


def _notices(read: dict[str, Any]) -> tuple[Notice, ...]:
    named = read.get("event")
    event = _EVENTS.get(named) if isinstance(named, str) else None
    if event is None:
        return ()
    notice = Notice(_text(read, "id"), event, _text(read, "room", "name"))
    if not event.startswith("room"):
        identity = _text(read, "participant", "identity")
        notice = notice._replace(connection_id=identity, identity=identity)
    if event.startswith("stream"):
        notice = notice._replace(stream_id=_text(read, "track", "sid"))
    return (notice,)


def _text(read: dict[str, Any], *path: str) -> str:
    """A text of a webhook, by the names of the members that lead to it."""
    value: Any = read
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, str) or not 0 < len(value.encode("utf-8", "replace")) <= _LONGEST:
        raise InvalidRequest(f"the webhook's {'.'.join(path)} is missing, or no text of 1 to {_LONGEST} bytes")
    return value
