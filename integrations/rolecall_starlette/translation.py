"""The kit's answers, as Starlette's."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from rolecall.http import messages

#: The adapter's name, for policies and traces.
FRAMEWORK: Final = "starlette"


def starlette_response(response: messages.Response) -> Response:
    """A response of the kit, as Starlette sends it."""
    translated = Response(response.body, response.status)
    translated.raw_headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.framed_headers
    ]
    return translated
