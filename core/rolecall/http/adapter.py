"""The contract of an adapter: every name that the adapter of a framework is written with.

An adapter translates, and holds no rule of its own. It imports from here, from ``rolecall`` and from
``rolecall.errors``; for frameworks that speak WSGI or ASGI also from ``rolecall.http.gateways.wsgi`` or
``rolecall.http.gateways.asgi``. What it takes is in these groups:

Messages
    ``Request`` is what an adapter makes of a request of its framework, with ``JoinedHeaders`` around the
    framework's own headers; ``Response`` is what it translates back. ``route`` is the path within the app and
    ``root`` the path under which the app is mounted, in every adapter.

The kit's own routes
    An adapter registers each ``Route`` of ``ROUTES`` or ``SDK_ROUTES`` (or finds one by
    ``find_route``), marks what answers it by ``mark_own``, and has it answered by ``respond``, which takes
    an ``Api``: ``kit.api`` under a framework that blocks, where ``drive`` runs it; ``kit.aio.api`` on an event
    loop; ``kit.api_with(driver)`` for a framework that has a way of its own to wait. A body is read only where
    ``respond`` asks for it: by ``collected`` on an event loop, elsewhere after ``announced_length``, with
    ``unread`` for one that breaks off.

Guards
    An adapter's guard is a subclass of ``Guard``, or of ``PathGuard`` around apps that show no routes. It
    says how a guard is put around what the framework calls a view (and marks that by ``mark_guarded``), and asks
    ``admit`` who may enter. ``keep_entry`` remembers who did, for ``granted`` and ``while_granted``. A
    refusal is answered by ``guard_answer``, OPTIONS by ``options_response``, and the answers of the app get
    ``headers_to_add``. Its ``require_role`` is ``Guard.of_role``, and so on.

WebSockets
    ``Handshake`` says who may enter, ``GuardedSocket`` runs the app's handler until the grant ends, and
    closes the socket with ``close_code`` and ``close_reason``.

The list of routes
    The adapter's entry point, in the group ``rolecall.adapters``, has the two functions of
    ``Adapter``; ``routes_of`` describes an app as a list of ``Found``, with the
    guards ``Around`` them. ``check_routes`` stops an app in which a door is open.
"""

from __future__ import annotations

from ..driver import Driver, drive
from ..request import JoinedHeaders, Request
from ..roles import ANY_TOKEN, Requirement
from ..wording import shown
from .api import Api
from .api.rest import ROUTES
from .api.routing import Route, find_route
from .api.sdk import SDK_ROUTES
from .bodies import announced_length, collected, unread
from .gateways.streams import while_granted, while_granted_inline
from .gateways.watching import SOCKET, current_grant, granted, keep_entry, watches_of
from .gateways.websockets import (
    BEARER,
    GuardedSocket,
    Handshake,
    close_code,
    close_reason,
    split_offers,
)
from .guards.admission import admit, challenges, guard_answer, headers_to_add, options_response
from .guards.audit import WEBSOCKET, Around, Found, Mistake, check_routes, inner_app
from .guards.classes import guard_awaited
from .guards.guard import (
    UNSAID,
    Guard,
    SessionParam,
    SessionResolver,
    kit_problem,
    only_kit,
    required_role,
    several_kits,
    unsettled_app,
)
from .guards.marks import (
    dispatches_by_method,
    guarded_by,
    guards_of,
    handler_of,
    is_public,
    is_run_as,
    mark_guarded,
    mark_own,
    own_kit,
    own_route,
    public,
    unwrapped,
    view_guards,
)
from .guards.path_guard import GuardedPaths, PathGuard
from .messages import Response
from .problems import noted, refused
from .respond import respond

__all__ = [
    "ANY_TOKEN",
    "BEARER",
    "ROUTES",
    "SDK_ROUTES",
    "SOCKET",
    "UNSAID",
    "WEBSOCKET",
    "Api",
    "Around",
    "Driver",
    "Found",
    "Guard",
    "GuardedPaths",
    "GuardedSocket",
    "Handshake",
    "JoinedHeaders",
    "Mistake",
    "PathGuard",
    "Request",
    "Requirement",
    "Response",
    "Route",
    "SessionParam",
    "SessionResolver",
    "admit",
    "announced_length",
    "challenges",
    "check_routes",
    "close_code",
    "close_reason",
    "collected",
    "current_grant",
    "dispatches_by_method",
    "drive",
    "find_route",
    "granted",
    "guard_answer",
    "guard_awaited",
    "guarded_by",
    "guards_of",
    "handler_of",
    "headers_to_add",
    "inner_app",
    "is_public",
    "is_run_as",
    "keep_entry",
    "kit_problem",
    "mark_guarded",
    "mark_own",
    "noted",
    "only_kit",
    "options_response",
    "own_kit",
    "own_route",
    "public",
    "refused",
    "required_role",
    "respond",
    "several_kits",
    "shown",
    "split_offers",
    "unread",
    "unsettled_app",
    "unwrapped",
    "view_guards",
    "watches_of",
    "while_granted",
    "while_granted_inline",
]
