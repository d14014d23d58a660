"""The kits of a Flask app: ``app.extensions["rolecall"]`` holds them."""

from __future__ import annotations

import flask
from flask.sansio.app import App

from rolecall import Rolecall
from rolecall.http.adapter import only_kit

from .checks import check_once


class KitBlueprint(flask.Blueprint):
    """A blueprint with a kit's own routes."""


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
        _spare_of_csrf(app)
        check_once(app)
        # Found good: no later request pays for it. (A new list, since Flask is going through the old one.)
        app.before_request_funcs[None] = [other for other in app.before_request_funcs[None] if other is not check]

    functions.insert(0, check)


def _spare_of_csrf(app: App) -> None:
    """Keep Flask-WTF from asking the kit's own routes for its form token.

    They take JSON, which no form sends, and ask for a proof of their own where a cookie carries the token.
    """
    protection = app.extensions.get("csrf")
    exempt = getattr(protection, "exempt", None)
    if callable(exempt):
        for blueprint in app.blueprints.values():
            if isinstance(blueprint, KitBlueprint):
                exempt(blueprint)
