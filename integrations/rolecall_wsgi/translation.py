"""WSGI environments as the kit sees them, and what is no WSGI app."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from rolecall.errors import ConfigurationError
from rolecall.http.adapter import Request, shown
from rolecall.http.gateways import wsgi


def neutral_request(environ: Mapping[str, Any], path_params: Mapping[str, str]) -> Request:
    """A request, as the kit sees it."""
    return wsgi.neutral_request(environ, "wsgi", path_params)


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
