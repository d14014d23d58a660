"""The plugin that identifies Flask-Login's user on the kit's own routes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import flask

from rolecall import Actor, Request, hookimpl
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import is_cross_site


class LoginUser:
    """Names Flask-Login's current user as the actor: ``plugins=["rolecall_flask.identity:LoginUser"]``.

    The browser sends the login's cookie with every request, also with one that a foreign page makes. So a user counts
    only if the browser says that the request comes from a page of the same origin.

    :param origins: other origins whose pages may ask in the user's name: ``["https://app.example"]``.
    """

    def __init__(self, origins: Iterable[str] = ()) -> None:
        if isinstance(origins, str):
            raise ConfigurationError("origins is a text; expected a list of origins: ['https://app.example']")
        self._origins = frozenset(origins)

    @hookimpl
    def rolecall_identify(self, request: Request) -> Actor | None:
        """Identify the user of a request; on the request's thread, where Flask-Login has it."""
        if not isinstance(request.native, flask.Request):
            return None
        user = _current_user()
        if user is None or not user.is_authenticated:
            return None
        if is_cross_site(request) and request.headers.get("origin") not in self._origins:
            return None
        return self.actor_of(user)

    def actor_of(self, user: Any) -> Actor:
        """The actor that a user is: by the id that Flask-Login has of it. A subclass may say otherwise."""
        return Actor(str(user.get_id()))


def _current_user() -> Any:
    """Flask-Login's user, and no proxy."""
    try:
        from flask_login import current_user
    except ImportError:
        raise ConfigurationError("LoginUser needs Flask-Login: pip install Flask-Login") from None
    if not hasattr(flask.current_app, "login_manager"):
        raise ConfigurationError("LoginUser needs Flask-Login's LoginManager: call login_manager.init_app(app)")
    return current_user._get_current_object()
