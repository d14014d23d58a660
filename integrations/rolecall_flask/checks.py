"""Finds the classic mistakes that leave a route open: once for each app, at its first request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from flask.sansio.app import App

from rolecall.http.adapter import check_routes

if TYPE_CHECKING:
    import flask

#: The key of an app's extensions that says that it is in order.
CHECKED: Final = "rolecall_checked"


def check_once(app: App) -> None:
    """Stop an app in which a route with a guard is open by mistake.

    :raises ConfigurationError: names the route, at each request until it is fixed.
    """
    if CHECKED not in app.extensions:
        from .listing import routes_in

        check_routes(app, lambda _: routes_in(cast("flask.Flask", app)))
        app.extensions[CHECKED] = True
