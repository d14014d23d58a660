"""The kits of an app: ``app.state.rolecall``, or that of the routes that the app has mounted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from starlette.routing import BaseRoute

from rolecall import Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http.guarding import only_kit
from rolecall.http.marks import ids_of, is_bare

_CHECKED = "rolecall_checked"


def kit_of(app: Any) -> Rolecall:
    """The only kit of ``app``.

    :raises ConfigurationError: if it has none, or several to choose from.
    """
    stated = stated_kit(app)
    if stated is not None:
        return stated
    kits: list[Rolecall] = []
    for route in routes_within(app):
        kit = getattr(getattr(route, "endpoint", None), "kit", None)
        if isinstance(kit, Rolecall) and kit not in kits:
            kits.append(kit)
    return only_kit(kits, "mount one with Mount('/video', app=rolecall_app(kit)), set app.state.rolecall = kit")


def stated_kit(app: Any) -> Rolecall | None:
    """The kit that the app itself names, which may be another after its next start."""
    stated = getattr(getattr(app, "state", None), "rolecall", None)
    return stated if isinstance(stated, Rolecall) else None


def check_once(app: Any) -> None:
    """Stop an app in which a bare endpoint is registered, and the guarded one that stands for it is not.

    :raises ConfigurationError: names the route, at each request that a guard or the kit sees, until it is mended.
    """
    state = getattr(app, "state", None)
    if state is None or getattr(state, _CHECKED, False):
        return
    routes = list(routes_within(app))
    registered = ids_of(getattr(route, "endpoint", None) for route in routes)
    for route in routes:
        if is_bare(getattr(route, "endpoint", None), registered):
            raise ConfigurationError(
                f"the route {getattr(route, 'path', '?')!r} has its endpoint without the guard that was put around it "
                "elsewhere, so the route is open; guard it before the route gets it, below a route decorator or in "
                "Route(path, require_role(…)(endpoint)), and where it is to be open give it a function of its own"
            )
    setattr(state, _CHECKED, True)


def routes_within(app: Any) -> Iterator[BaseRoute]:
    """Every route of an app, and of what it mounts."""
    for route in routes_of(app):
        yield route
        yield from routes_within(route)


def routes_of(app: Any) -> Sequence[BaseRoute]:
    """The routes directly in an app or a mount, or in a router that FastAPI has included and shows in its own way."""
    contexts = getattr(app, "effective_route_contexts", None)
    if contexts is not None:
        return [context.starlette_route or context for context in contexts()]
    return getattr(app, "routes", None) or ()
