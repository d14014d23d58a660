"""Flask's requests and responses, translated to the kit's and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flask

from rolecall.http.adapter import Request, Response
from rolecall.http.gateways.wsgi import WsgiHeaders

#: The current request itself: each access through Flask's proxy costs as much as reading a token's header.
current_request: Callable[[], flask.Request] = flask.request._get_current_object  # type: ignore[attr-defined]
#: The current app itself.
current_app: Callable[[], flask.Flask] = flask.current_app._get_current_object  # type: ignore[attr-defined]


def path_params_of(request: flask.Request) -> Mapping[str, Any]:
    """The path parameters of a request's route, also those that a ``url_value_preprocessor`` removed for the view."""
    params, rule = request.view_args or {}, request.url_rule
    if rule is None or not rule.arguments or params.keys() >= rule.arguments:
        return params
    adapter = flask.current_app.create_url_adapter(request)
    return {**adapter.match()[1], **params} if adapter else params


def neutral_request(request: flask.Request) -> Request:
    """A request in the kit's form."""
    return Request(
        request.method,
        request.path,
        path_params_of(request),
        WsgiHeaders(request.environ),
        framework="flask",
        query=request.environ.get("QUERY_STRING", ""),
        root=request.environ.get("SCRIPT_NAME", ""),
        native=request,
    )


def flask_response(response: Response) -> flask.Response:
    """A response of the kit as Flask's."""
    translated = flask.Response(response.body, response.status)
    translated.headers.clear()
    translated.headers.extend(response.headers)
    return translated
