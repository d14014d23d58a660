"""The contents of a WSGI app, as far as they are known, for the list of its routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rolecall.http.adapter import Around, Found

from .guards import NO_KIT, GuardedApp
from .middleware import RolecallMiddleware


def is_app(value: object) -> bool:
    """Whether this is an app of this package; other WSGI apps are recognized by how a server calls them."""
    return isinstance(value, RolecallMiddleware | GuardedApp)


def routes_of(app: Any) -> list[Found] | None:
    """The contents of ``app``; None if they are not known here."""
    if isinstance(app, RolecallMiddleware):
        own = [Found(app.prefix + route.path, name=route.name, own=route) for route in app.routes]
        return [*own, Found("", app=app.app, kits=(app.kit,))]
    if isinstance(app, GuardedApp):
        guard = app.rolecall_guard
        around = Around(
            guard,
            prefixes=guard.paths.prefixes,
            methods=guard.paths.methods,
            public=guard.paths.public,
            problem=None if guard.kit else NO_KIT,
            takes_kit=True,
        )
        return [Found("", app=app.app, around=(around,))]
    exports = getattr(app, "exports", None)
    if isinstance(exports, list) and callable(getattr(app, "app", None)):
        # Werkzeug's SharedDataMiddleware.
        files = [Found(f"{prefix.rstrip('/')}/{{file:path}}", ("GET", "HEAD"), "files") for prefix, _ in exports]
        return [*files, Found("", app=app.app)]
    mounts = getattr(app, "mounts", None)
    if isinstance(mounts, Mapping) and callable(getattr(app, "app", None)):
        # Werkzeug's DispatcherMiddleware, and similar ones.
        return [*(Found(prefix, app=mounted) for prefix, mounted in mounts.items()), Found("", app=app.app)]
    return None
