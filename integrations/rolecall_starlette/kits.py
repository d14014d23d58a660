"""The kits of an app: ``app.state.rolecall``, or that of the kit's routes that the app has mounted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from rolecall import Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import check_routes, only_kit

_CHECKED = "rolecall_checked"


def kit_of(app: Any) -> Rolecall:
    """The only kit of ``app``.

    :raises ConfigurationError: if it has none, or more than one.
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
    """The kit that the app itself names; it may be another one after the app's next start."""
    stated = getattr(getattr(app, "state", None), "rolecall", None)
    return stated if isinstance(stated, Rolecall) else None


def check_once(app: Any) -> None:
    """Stop an app in which a route with a guard is open by mistake.

    It is checked when a guard or the kit first sees one of its requests; after that it answers none at all.

    :raises ConfigurationError: names the route.
    """
    state = getattr(app, "state", None)
    if state is None or getattr(state, _CHECKED, False):
        return
    from . import listing

    try:
        check_routes(app, listing.routes_of)
    except ConfigurationError as error:
        if isinstance(app, Starlette):
            app.middleware_stack = _stopped(error)
        raise
    setattr(state, _CHECKED, True)


def check_at_start(app: Any) -> None:
    """Have an app with an open route not start. It is checked again later, because a lifespan may add routes.

    :raises ConfigurationError: names the route.
    """
    from . import listing

    if isinstance(app, Starlette):
        check_routes(app, listing.routes_of)


def _stopped(error: ConfigurationError) -> ASGIApp:
    """The app that replaces one with an open route."""

    async def stopped(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error.with_traceback(None)

    return stopped


def routes_within(app: Any) -> Iterator[BaseRoute]:
    """All routes of an app, and of the apps that it mounts."""
    for route in routes_of(app):
        yield route
        yield from routes_within(route)


def routes_of(app: Any) -> Sequence[BaseRoute]:
    """The routes directly in an app or a mount, or in a router that FastAPI has included and shows in its own way.

    Empty if they are not Starlette's.
    """
    contexts = getattr(app, "effective_route_contexts", None)
    if contexts is not None:
        return [context.starlette_route or context for context in contexts()]
    routes = getattr(app, "routes", None) or ()
    # Other frameworks, such as Litestar, have an attribute of this name, too.
    return routes if routes and callable(getattr(routes[0], "matches", None)) else ()
