"""The classic mistake, found before it opens a door: a guard above the route decorator, so that Flask never sees it."""

from __future__ import annotations

from flask.sansio.app import App

from rolecall.errors import ConfigurationError
from rolecall.http.marks import ids_of, is_bare

_CHECKED = "rolecall_checked"


def check_once(app: App) -> None:
    """Stop an app in which a view is registered itself, and none of the guarded views that stand for it.

    :raises ConfigurationError: names the view, at each request until it is mended.
    """
    if _CHECKED not in app.extensions:
        _refuse_bare_views(app)
        app.extensions[_CHECKED] = True


def _refuse_bare_views(app: App) -> None:
    registered = ids_of(app.view_functions.values())
    for endpoint, function in app.view_functions.items():
        if is_bare(function, registered):
            raise ConfigurationError(
                f"the view of endpoint {endpoint!r} has a guard above its route decorator, so its route is open; "
                "put the guard below the route decorator"
            )
