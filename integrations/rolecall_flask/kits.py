"""The kits of a Flask app: ``app.extensions["rolecall"]`` holds them."""

from __future__ import annotations

from flask.sansio.app import App

from rolecall import Rolecall
from rolecall.errors import ConfigurationError


def register_kit(app: App, kit: Rolecall) -> None:
    """Make ``kit`` known to the guards of ``app``."""
    kits: list[Rolecall] = app.extensions.setdefault("rolecall", [])
    if kit not in kits:
        kits.append(kit)


def kit_of(app: App) -> Rolecall:
    """The only kit of ``app``.

    :raises ConfigurationError: if it has none, or several to choose from.
    """
    kits: list[Rolecall] = app.extensions.get("rolecall", [])
    if len(kits) == 1:
        return kits[0]
    if kits:
        raise ConfigurationError(
            "this app has several kits; tell each guard which one it is for: require_role(…, kit=kit)"
        )
    raise ConfigurationError(
        "this app has no kit; register one with app.register_blueprint(rolecall_blueprint(kit)), "
        "or tell the guard: require_role(…, kit=kit)"
    )
