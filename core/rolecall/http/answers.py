"""JSON answers."""

from __future__ import annotations

import json
from typing import Any, Final

from .messages import Response

#: The header of every answer that holds a token, or depends on a credential (RFC 6750, section 5.3).
NO_STORE: Final = ("Cache-Control", "no-store")


def json_bytes(value: Any) -> bytes:
    """``value`` as the body of a JSON answer."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


def json_answer(status: int, value: Any) -> Response:
    """``value`` as an answer that is not cached."""
    return Response(status, (("Content-Type", "application/json"), NO_STORE), json_bytes(value))


def done() -> Response:
    """The answer to a request that succeeded, without content."""
    return Response(204, (NO_STORE,))
