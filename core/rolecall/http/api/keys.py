"""The kit's route for verifiers in other services: the public keys that its tokens are signed with."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from ...errors import RouteNotFound
from ...request import Request
from ..answers import json_bytes
from ..messages import Response
from . import Api
from .routing import PUBLIC, Answer, Operation, Route

#: The seconds for which others may keep the set. Some keep it for longer, so a new key signs only after an hour: see
#: :data:`rolecall.keys.rotation.PUBLISHED_KEY`.
MAX_AGE: Final = 300

_KEY: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "kty": {"enum": ["RSA", "EC", "OKP"]},
        "kid": {"type": "string", "description": "the key's thumbprint (RFC 7638)"},
        "use": {"const": "sig"},
        "alg": {"enum": ["RS256", "ES256", "EdDSA"]},
    },
    "required": ["kty", "kid", "use", "alg"],
}
_KEY_SET: Final = Answer(
    "KeySet", {"type": "object", "properties": {"keys": {"type": "array", "items": _KEY}}, "required": ["keys"]}
)


async def _list_keys(api: Api, request: Request) -> Response:
    signer = api.engine.state.signer
    if signer is None:
        raise RouteNotFound("this service signs its tokens with no key that has a public half")
    body = json_bytes({"keys": [key.public_jwk() for key in signer.ring]})
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = (("Cache-Control", f"public, max-age={MAX_AGE}"), ("ETag", tag))
    if _is_known(tag, request.headers.get("if-none-match", "")):
        return Response(304, headers)
    return Response(200, (("Content-Type", "application/json"), *headers), body)


def _is_known(tag: str, header: str) -> bool:
    """Whether a client has this version already (RFC 9110, section 13.1.2)."""
    known = [one.strip().removeprefix("W/") for one in header.split(",")]
    return tag in known or known == ["*"]


KEY_ROUTES: Final = (
    Route(
        "/jwks.json",
        "jwks",
        {
            "GET": Operation(
                _list_keys, "The public keys of this service's tokens", PUBLIC, answer=_KEY_SET, refusals=(404,)
            )
        },
    ),
)
