"""The kits of a Flask app: ``app.extensions["rolecall"]`` holds them."""

from __future__ import annotations

from flask.sansio.app import App

from rolecall import Rolecall
from rolecall.http.guarding import only_kit

from .checks import check_once


def register_kit(app: App, kit: Rolecall) -> None:
    """Make ``kit`` known to the guards of ``app``, and have the app checked when its first request comes."""
    kits: list[Rolecall] = app.extensions.setdefault("rolecall", [])
    if not kits:
        _check_at_first_request(app)
    if kit not in kits:
        kits.append(kit)


def kit_of(app: App) -> Rolecall:
    """The only kit of ``app``.

    :raises ConfigurationError: if it has none, or several to choose from.
    """
    kits: list[Rolecall] = app.extensions.get("rolecall", [])
    return only_kit(kits, "register one with app.register_blueprint(rolecall_blueprint(kit))")


def _check_at_first_request(app: App) -> None:
    functions = app.before_request_funcs.setdefault(None, [])

    def check() -> None:
        check_once(app)
        # Found good: no later request pays for it. (A new list, since Flask is going through the old one.)
        app.before_request_funcs[None] = [other for other in app.before_request_funcs[None] if other is not check]

    functions.insert(0, check)
