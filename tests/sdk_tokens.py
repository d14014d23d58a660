"""Real tokens of the public SDKs, for kits: those refuse the secret of the SDKs' tests, which everybody knows."""

from __future__ import annotations

from base64 import b64decode, b64encode, urlsafe_b64encode
from hmac import digest

#: The project of the SDKs' own tests, whose real tokens stand in ``vectors/opentok_tokens.json``.
API_KEY = "123456"
#: Random, and of the form of theirs.
API_SECRET = "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"


def resigned(token: str, secret: str = API_SECRET) -> str:
    """``token`` with all that it says, signed with a secret that a kit takes."""
    if token.startswith("T1=="):
        head, _, data = b64decode(token[4:]).partition(b":")
        partner_id = head.partition(b"&")[0]
        envelope = partner_id + b"&sig=" + digest(secret.encode(), data, "sha1").hex().encode() + b":" + data
        return "T1==" + b64encode(envelope).decode()
    signed = token.rpartition(".")[0]
    signature = urlsafe_b64encode(digest(secret.encode(), signed.encode(), "sha256")).decode().rstrip("=")
    return f"{signed}.{signature}"
