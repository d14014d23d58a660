"""The contract of an adapter: all names that the adapter of a framework needs.

An adapter translates, and has no rule of its own. It imports from here, from ``rolecall`` and from
``rolecall.errors``; for frameworks with WSGI or ASGI also from ``rolecall.http.gateways.wsgi`` or
``rolecall.http.gateways.asgi``. The names are in these groups:

Messages
    An adapter makes a ``Request`` from a request of its framework, with ``JoinedHeaders`` around the framework's
    own headers, and translates ``Response`` back. In every adapter ``route`` is the path within the app, and
    ``root`` the path under which the app is mounted.

The kit's own routes
    An adapter registers each ``Route`` of ``ROUTES`` or ``SDK_ROUTES`` (or finds one by ``find_route``), marks its
    view by ``mark_own``, and answers it by ``respond``, which takes an ``Api``: ``kit.api`` under a framework that
    blocks, where ``drive`` runs it; ``kit.aio.api`` on an event loop; ``kit.api_with(driver)`` for a framework with
    its own way to wait (in a subclass of ``InlineDriver`` or ``LoopDriver``, where an ``AppPool`` marks the app's own
    functions). It reads a body only when ``respond`` asks for it: by ``collected`` on an event loop,
    elsewhere after ``announced_length``, and raises ``unread`` if the body breaks off.

Guards
    An adapter's guard is a subclass of ``Guard``, or of ``PathGuard`` around apps that show no routes. It puts itself
    around the framework's views, marks them by ``mark_guarded``, and asks ``admit`` who may enter, which records it
    for ``granted`` and ``while_granted``. ``keep_entry`` records who enters otherwise. ``guard_answer``
    answers a refusal, ``options_response`` answers OPTIONS, and the app's answers get ``headers_to_add``. The guard's
    ``require_role`` is ``Guard.of_role``, and so on.

WebSockets
    ``Handshake`` decides who may enter. ``GuardedSocket`` runs the app's handler until the grant ends, and closes the
    socket with ``close_code`` and ``close_reason``.

Calls within a connection
    ``enter_within`` judges the grant of a connection anew, for one of the calls that it carries: a field of a GraphQL
    query, an event of Socket.IO. It returns the ``Watch`` over the grant.

The list of routes
    The adapter's entry point, in the group ``rolecall.adapters``, has the two functions of ``Adapter``;
    ``routes_of`` describes an app as a list of ``Found``, with the guards ``Around`` them. ``check_routes`` stops an
    app in which a guarded route is open by mistake.
"""

from __future__ import annotations

from ..driver import Driver, InlineDriver, LoopDriver, drive
from ..driver.threads import AppPool
from ..request import JoinedHeaders, Request
from ..roles import ANY_TOKEN, Requirement
from ..wording import shown
from .api import Api
from .api.openapi import description, guard_refusals
from .api.rest import ROUTES
from .api.routing import PROBLEMS, Route, checked_prefix, find_route
from .api.sdk import SDK_ROUTES
from .bodies import announced_length, collected, unread
from .cors import is_cross_site
from .gateways.streams import while_granted, while_granted_inline
from .gateways.watching import SOCKET, Watch, current_grant, granted, watches_of
from .gateways.websockets import (
    BEARER,
    GuardedSocket,
    Handshake,
    close_code,
    close_reason,
    split_offers,
)
from .gateways.within import enter_within, named_session
from .guards.admission import admit, challenges, guard_answer, headers_to_add, options_response, vary_by_token
from .guards.audit import WEBSOCKET, Around, Found, Mistake, check_routes, inner_app
from .guards.classes import GuardedMethod, guard_awaited, guard_first, guard_made
from .guards.entries import has_entered, keep_entry
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
    calls_base,
    dispatches_by_method,
    guarded_by,
    guards_of,
    handler_of,
    is_run_as,
    is_spared,
    mark_guarded,
    mark_own,
    own_kit,
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
    "PROBLEMS",
    "ROUTES",
    "SDK_ROUTES",
    "SOCKET",
    "UNSAID",
    "WEBSOCKET",
    "Api",
    "AppPool",
    "Around",
    "Driver",
    "Found",
    "Guard",
    "GuardedMethod",
    "GuardedPaths",
    "GuardedSocket",
    "Handshake",
    "InlineDriver",
    "JoinedHeaders",
    "LoopDriver",
    "Mistake",
    "PathGuard",
    "Request",
    "Requirement",
    "Response",
    "Route",
    "SessionParam",
    "SessionResolver",
    "Watch",
    "admit",
    "announced_length",
    "calls_base",
    "challenges",
    "check_routes",
    "checked_prefix",
    "close_code",
    "close_reason",
    "collected",
    "current_grant",
    "description",
    "dispatches_by_method",
    "drive",
    "enter_within",
    "find_route",
    "granted",
    "guard_answer",
    "guard_awaited",
    "guard_first",
    "guard_made",
    "guard_refusals",
    "guarded_by",
    "guards_of",
    "handler_of",
    "has_entered",
    "headers_to_add",
    "inner_app",
    "is_cross_site",
    "is_run_as",
    "is_spared",
    "keep_entry",
    "kit_problem",
    "mark_guarded",
    "mark_own",
    "named_session",
    "noted",
    "only_kit",
    "options_response",
    "own_kit",
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
    "vary_by_token",
    "view_guards",
    "watches_of",
    "while_granted",
    "while_granted_inline",
]
