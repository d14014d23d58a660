"""The parts of a token, unverified. :meth:`Rolecall.verify_token` verifies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..encoding import strict_json
from ..encoding.jws import read_header, read_payload, split
from ..errors import MalformedToken
from ..pickling import reduced


class Inspection(NamedTuple):
    """The content of a token.

    :param format: ``"jwt"`` or ``"t1"``.
    :param header: the JWT's header; empty for T1.
    :param claims: the JWT's claims, or the fields of the T1 token, with its times as ``iat`` and ``exp``.
    :param signature: the encoded signature.
    """

    format: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signature: str

    def __reduce__(self) -> Any:
        return reduced(self)

    def as_dict(self) -> dict[str, Any]:
        """The content as a dict for JSON: nested claims are plain dictionaries and lists."""
        parts = {"format": self.format, "header": self.header, "claims": self.claims, "signature": self.signature}
        plain: dict[str, Any] = json.loads(json.dumps(parts, default=dict))
        return plain

    def __repr__(self) -> str:
        return f"<Inspection {self.format} header={dict(self.header)} claims={dict(self.claims)}>"


def inspect_jwt(token: bytes) -> Inspection:
    """Read the parts of a JWT.

    :raises MalformedToken: if it is none.
    """
    _, header, payload, signature = split(token)
    claims = claims_in(payload)
    return Inspection("jwt", read_header(header), claims, signature.decode("ascii"))


def claims_in(payload: bytes) -> dict[str, Any]:
    """The claims in the encoded payload of a JWT, as strict JSON.

    :raises MalformedToken: for anything else.
    """
    try:
        return strict_json.loads(read_payload(payload))
    except ValueError as error:
        raise MalformedToken(f"the token's payload is malformed: {error}") from None
