"""WSGI environments in the kit's form, and the check for WSGI apps."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from rolecall.errors import ConfigurationError
from rolecall.http.adapter import Request, shown
from rolecall.http.gateways import wsgi


def neutral_request(environ: Mapping[str, Any], path_params: Mapping[str, str]) -> Request:
    """A request in the kit's form."""
    return wsgi.neutral_request(environ, "wsgi", path_params)


def check_app(app: object, what: str) -> None:
    """Refuse an object that is no WSGI app.

    :param what: the beginning of the message: "a guard protects".
    :raises ConfigurationError: says what to pass.
    """
    if not callable(app):
        raise ConfigurationError(f"{what} a WSGI app, not {shown(app)}")
    if isinstance(app, type) and not hasattr(app, "__iter__"):
        # A class is an app if its instances are answers (PEP 3333); instances of this one are apps, or something else.
        raise ConfigurationError(f"{what} a WSGI app, not the class {app.__name__}; pass an instance: {app.__name__}()")
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        raise ConfigurationError(f"{what} a WSGI app, and this is an ASGI one; for those there is rolecall_starlette")
