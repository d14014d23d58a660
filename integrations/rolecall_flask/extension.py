"""Rolecall as an extension of Flask's: a kit for each app, from the app's configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import flask

from rolecall import Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import Route, shown

from .blueprint import rolecall_blueprint

_PREFIX: Final = "ROLECALL_"
_FILE: Final = "_FILE"


class FlaskRolecall:
    """Gives each app a kit, and the kit's routes: ``FlaskRolecall(app)``, or :meth:`init_app` in a factory.

    A kit is made of the app's configuration, ``app.config["ROLECALL_API_KEY"]`` and so on, and of the variables of the
    environment that the configuration lacks; see :meth:`rolecall.Rolecall.from_env`.

    :param app: the app, if there is one already.
    :param url_prefix: the beginning of the routes' paths.
    :param routes: the kit's routes; all of them unless given. ``()`` has none registered.
    :param arguments: arguments of :class:`rolecall.Rolecall`, which take precedence over both, for every app.
    """

    def __init__(
        self,
        app: flask.Flask | None = None,
        *,
        url_prefix: str = "/video",
        routes: Iterable[Route] | None = None,
        **arguments: Any,
    ) -> None:
        if not isinstance(url_prefix, str) or not url_prefix.startswith("/"):
            raise ConfigurationError(f"url_prefix is {shown(url_prefix)}; expected a path that begins with a slash")
        self._url_prefix = url_prefix
        self._routes = None if routes is None else tuple(routes)
        self._arguments = arguments
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask, **arguments: Any) -> Rolecall:
        """Make the kit of ``app``, and register its routes.

        :param arguments: further arguments of :class:`rolecall.Rolecall`, for this app alone.
        :returns: the kit, which ``current_kit`` is within the app.
        :raises ConfigurationError: says which entry is missing, unknown or invalid; or that the app has a kit already.
        """
        if not isinstance(app, flask.Flask):
            raise ConfigurationError(f"init_app takes a Flask app, not {shown(app)}")
        if app.extensions.get("rolecall"):
            raise ConfigurationError(
                "this app has a kit already; call init_app once for each app, and register further kits by "
                "app.register_blueprint(rolecall_blueprint(kit, name=…))"
            )
        kit = Rolecall.from_env(_configuration(app.config, os.environ), **{**self._arguments, **arguments})
        app.register_blueprint(rolecall_blueprint(kit, routes=self._routes), url_prefix=self._url_prefix)
        return kit


def _configuration(config: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, object]:
    """The entries of the app's configuration, and the variables of the environment that it lacks."""
    own = {name: value for name, value in config.items() if name.startswith(_PREFIX) and value is not None}
    # A secret may stand in the one, and the file with it be named in the other.
    said = {name.removesuffix(_FILE) for name in own}
    return {**{name: value for name, value in environ.items() if name.removesuffix(_FILE) not in said}, **own}
