"""Flask's requests and responses, as the kit's and back."""

from __future__ import annotations

import flask

from rolecall.http import messages
from rolecall.http.wsgi import WsgiHeaders


def neutral_request(body: bytes = b"") -> messages.Request:
    """The current request, as the kit sees it."""
    request = flask.request
    return messages.Request(
        method=request.method,
        route=request.path,
        path_params=request.view_args or {},
        headers=WsgiHeaders(request.environ),
        body=body,
        framework="flask",
    )


def flask_response(response: messages.Response) -> flask.Response:
    """A response of the kit, as Flask sends it."""
    translated = flask.Response(response.body, response.status)
    translated.headers.clear()
    translated.headers.extend(response.headers)
    return translated
