"""The kits of a Flask app: ``app.extensions["rolecall"]`` holds them."""

from __future__ import annotations

from typing import cast

import flask
from flask.sansio.app import App
from werkzeug.local import LocalProxy

from rolecall import Rolecall
from rolecall.http.adapter import only_kit

from .checks import check_once
from .translation import current_app

_ADVICE = "register one with FlaskRolecall(app), or app.register_blueprint(rolecall_blueprint(kit))"


class KitBlueprint(flask.Blueprint):
    """A blueprint with a kit's own routes."""


def register_kit(app: App, kit: Rolecall) -> None:
    """Give ``kit`` to the guards of ``app``, and have the app checked at its first request."""
    kits: list[Rolecall] = app.extensions.setdefault("rolecall", [])
    if not kits:
        _check_at_first_request(app)
    if kit not in kits:
        kits.append(kit)


def kit_of(app: App) -> Rolecall:
    """The only kit of ``app``.

    :raises ConfigurationError: if it has none, or more than one.
    """
    kits: list[Rolecall] = app.extensions.get("rolecall", [])
    return kits[0] if len(kits) == 1 else only_kit(kits, _ADVICE)


def _current_kit() -> Rolecall:
    # RuntimeError, which a proxy keeps to itself where nobody wants the object but its class.
    kits: list[Rolecall] = current_app().extensions.get("rolecall", [])
    if len(kits) == 1:
        return kits[0]
    if not kits:
        raise RuntimeError(f"this app has no kit; {_ADVICE}")
    raise RuntimeError(
        "this app has several kits, and current_kit is none of them; take one of app.extensions['rolecall']"
    )


#: The only kit of the current app, within a request, a command, or ``app.app_context()``.
current_kit: Rolecall = cast(Rolecall, LocalProxy(_current_kit))


def _check_at_first_request(app: App) -> None:
    functions = app.before_request_funcs.setdefault(None, [])

    def check() -> None:
        _spare_of_csrf(app)
        check_once(app)
        # The app is in order, so later requests need no check. (A new list, because Flask iterates over the old one.)
        app.before_request_funcs[None] = [other for other in app.before_request_funcs[None] if other is not check]

    functions.insert(0, check)


def _spare_of_csrf(app: App) -> None:
    """Exempt the kit's own routes from Flask-WTF's form token.

    They take JSON, which no form sends, and need their own proof if a cookie carries the token.
    """
    protection = app.extensions.get("csrf")
    exempt = getattr(protection, "exempt", None)
    if callable(exempt):
        for blueprint in app.blueprints.values():
            if isinstance(blueprint, KitBlueprint):
                exempt(blueprint)
