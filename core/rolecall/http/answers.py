"""Answers in JSON."""

from __future__ import annotations

import json
from typing import Any, Final

from .messages import Response

#: Of every answer that holds a token, or follows from a credential (RFC 6750, section 5.3).
NO_STORE: Final = ("Cache-Control", "no-store")


def json_bytes(value: Any) -> bytes:
    """``value`` as the body of a JSON answer."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


def json_answer(status: int, value: Any) -> Response:
    """``value`` as an answer that no cache keeps."""
    return Response(status, (("Content-Type", "application/json"), NO_STORE), json_bytes(value))


def done() -> Response:
    """The answer to what was carried out, and has nothing to say."""
    return Response(204, (NO_STORE,))
