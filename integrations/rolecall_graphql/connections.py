"""The connection behind a GraphQL context, with the record of the guards that it has passed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rolecall.errors import ConfigurationError
from rolecall.http.adapter import Request
from rolecall.http.gateways import asgi, wsgi

_EXPECTED = (
    "the context of this query has no request of an ASGI or WSGI framework; return one that has, {'request': request}, "
    "as Strawberry and Ariadne do unless told otherwise"
)


def connection_of(context: Any) -> tuple[Mapping[str, Any], Request]:
    """The mapping with the entries of a connection, and its request in the kit's form.

    :param context: the query's context, a mapping or an object with the framework's ``request``.
    :raises ConfigurationError: if no request is found.
    """
    request = _request_of(context)
    scope = getattr(request, "scope", None)
    if isinstance(scope, Mapping) and "type" in scope:
        return scope, asgi.neutral_request(dict(scope), "graphql", native=request)
    environ = request if isinstance(request, Mapping) else getattr(request, "environ", None)
    if isinstance(environ, Mapping) and "wsgi.url_scheme" in environ:
        return environ, wsgi.neutral_request(environ, "graphql", {})._replace(native=request)
    raise ConfigurationError(_EXPECTED)


def _request_of(context: Any) -> Any:
    for name in ("request", "websocket", "socket", "connection"):
        found = context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)
        if found is not None:
            return found
    raise ConfigurationError(_EXPECTED)
