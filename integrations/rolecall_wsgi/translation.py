"""WSGI environments and answers, as the kit's and back."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from rolecall.errors import ConfigurationError
from rolecall.http.gateways.wsgi import WsgiHeaders, path_of
from rolecall.http.messages import Response
from rolecall.http.problems import phrase
from rolecall.request import Request
from rolecall.wording import shown


def neutral_request(environ: Mapping[str, Any], path_params: Mapping[str, str]) -> Request:
    """A request, as the kit sees it; its body is read where one is wanted."""
    return Request(
        environ["REQUEST_METHOD"],
        path_of(environ),
        path_params,
        WsgiHeaders(environ),
        framework="wsgi",
        query=environ.get("QUERY_STRING", ""),
        root=environ.get("SCRIPT_NAME", ""),
        native=environ,
    )


def answer(response: Response, environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
    """Send an answer of the kit; for HEAD without its body."""
    start_response(f"{response.status} {phrase(response.status)}", list(response.framed_headers))
    return [] if environ["REQUEST_METHOD"] == "HEAD" or not response.body else [response.body]


def check_app(app: object, what: str) -> None:
    """Stop what is no WSGI app.

    :param what: begins the message: "a guard protects".
    :raises ConfigurationError: says what to pass.
    """
    if not callable(app):
        raise ConfigurationError(f"{what} a WSGI app, not {shown(app)}")
    if isinstance(app, type) and not hasattr(app, "__iter__"):
        # A class is an app if its instances are answers (PEP 3333); this one's are apps, or nothing of the kind.
        raise ConfigurationError(f"{what} a WSGI app, not the class {app.__name__}; pass an instance: {app.__name__}()")
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        raise ConfigurationError(f"{what} a WSGI app, and this is an ASGI one; for those there is rolecall_starlette")
