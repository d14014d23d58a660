"""Taking a token apart to look at it. Nothing in it is checked: :meth:`Rolecall.verify_token` does that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..encoding import strict_json
from ..encoding.jws import raw_token, read_header, read_payload, split
from ..errors import MalformedToken
from ..pickling import reduced
from ..wording import wrapping


class Inspection(NamedTuple):
    """What a token says of itself.

    :param format: ``"jwt"`` or ``"t1"``.
    :param header: the JWT's header; empty for T1.
    :param claims: the JWT's claims, or the fields of the T1 token, with its times as ``iat`` and ``exp``.
    :param signature: as it stands in the token.
    """

    format: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signature: str

    def __reduce__(self) -> Any:
        return reduced(self)

    def as_dict(self) -> dict[str, Any]:
        """What the token says, as JSON has it: nested claims are plain dictionaries and lists."""
        parts = {"format": self.format, "header": self.header, "claims": self.claims, "signature": self.signature}
        plain: dict[str, Any] = json.loads(json.dumps(parts, default=dict))
        return plain

    def __repr__(self) -> str:
        return f"<Inspection {self.format} header={dict(self.header)} claims={dict(self.claims)}>"


def inspect_token(token: str) -> Inspection:
    """Take ``token`` apart without a key, and without trusting any of it.

    :raises MalformedToken: if it is not a token in a form that can be read.
    """
    raw = raw_token(token)
    around = wrapping(token)
    if around is not None:
        raise MalformedToken(f"the token has {around}; pass the token alone")
    from . import t1  # formats load when used

    if t1.T1Format.recognizes(raw):
        partner_id, signature, data = t1.open_envelope(raw)
        named = {"partner_id": partner_id.decode("ascii")}
        claims = {**named, **t1.read_fields(data), **named}  # first in order, and not to be replaced by a field
        return Inspection("t1", {}, claims, signature.decode("ascii"))
    _, header, payload, signature = split(raw)
    try:
        claims = strict_json.loads(read_payload(payload))
    except ValueError as error:
        raise MalformedToken(f"the token's payload is malformed: {error}") from None
    return Inspection("jwt", read_header(header), claims, signature.decode("ascii"))
