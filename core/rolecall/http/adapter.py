"""The contract of an adapter: every name that the adapter of a framework is written with.

An adapter translates, and holds no rule of its own. It imports from here, from :mod:`rolecall` and from
:mod:`rolecall.errors`; for frameworks that speak WSGI or ASGI also from :mod:`rolecall.http.gateways.wsgi` or
:mod:`rolecall.http.gateways.asgi`. What it takes is in these groups:

Messages
    :class:`Request` is what an adapter makes of a request of its framework, with :class:`JoinedHeaders` around the
    framework's own headers; :class:`Response` is what it translates back. ``route`` is the path within the app and
    ``root`` the path under which the app is mounted, in every adapter.

The kit's own routes
    An adapter registers each :class:`Route` of :data:`ROUTES` or :data:`SDK_ROUTES` (or finds one by
    :func:`find_route`), marks what answers it by :func:`mark_own`, and has it answered by :func:`respond`, which takes
    an :class:`Api`: ``kit.api`` under a framework that blocks, where :func:`drive` runs it; ``kit.aio.api`` on an event
    loop; ``kit.api_with(driver)`` for a framework that has a way of its own to wait. A body is read only where
    :func:`respond` asks for it, after :func:`announced_length`; :func:`unread` is what to raise where it breaks off.

Guards
    An adapter's guard is a subclass of :class:`Guard`. It
    says how a guard is put around what the framework calls a view (and marks that by :func:`mark_guarded`), and asks
    :func:`admit` who may enter. :func:`keep_entry` remembers who did, for :func:`while_granted`. A refusal is answered
    by :func:`guard_answer`, and the answers of the app get :func:`headers_to_add`.

WebSockets
    :class:`Handshake` says who may enter, :class:`GuardedSocket` runs the app's handler until the grant ends, and
    closes the socket with :func:`close_code` and :func:`close_reason`.

The list of routes
    The adapter's entry point, in the group ``rolecall.adapters``, has the two functions of
    :class:`~rolecall.http.guards.audit.Adapter`; ``routes_of`` describes an app as a list of :class:`Found`, with the
    guards :class:`Around` them. :func:`check_routes` stops an app in which a door is open.
"""

from __future__ import annotations

from ..driver import Driver, drive
from ..request import Headers, JoinedHeaders, Request
from ..wording import shown
from .api import Api
from .api.rest import ROUTES
from .api.routing import Route, find_route
from .api.sdk import SDK_ROUTES
from .bodies import announced_length, unread
from .gateways.streams import while_granted, while_granted_inline
from .gateways.watching import keep_entry, noted, watches_of
from .gateways.websockets import BEARER, GuardedSocket, Handshake, close_code, close_reason, split_offers
from .guards.admission import admit, challenges, guard_answer, headers_to_add
from .guards.audit import WEBSOCKET, Around, Found, Mistake, check_routes
from .guards.guard import UNSAID, Guard, SessionParam, SessionResolver, only_kit
from .guards.marks import (
    check_guard,
    dispatches_by_method,
    guarded_by,
    guards_of,
    is_public,
    mark_class_guarded,
    mark_guarded,
    mark_own,
    own_kit,
    own_route,
    public,
    view_guards,
)
from .messages import Response
from .problems import refused
from .respond import respond

__all__ = [
    "BEARER",
    "ROUTES",
    "SDK_ROUTES",
    "UNSAID",
    "WEBSOCKET",
    "Api",
    "Around",
    "Driver",
    "Found",
    "Guard",
    "GuardedSocket",
    "Handshake",
    "Headers",
    "JoinedHeaders",
    "Mistake",
    "Request",
    "Response",
    "Route",
    "SessionParam",
    "SessionResolver",
    "admit",
    "announced_length",
    "challenges",
    "check_guard",
    "check_routes",
    "close_code",
    "close_reason",
    "dispatches_by_method",
    "drive",
    "find_route",
    "guard_answer",
    "guarded_by",
    "guards_of",
    "headers_to_add",
    "is_public",
    "keep_entry",
    "mark_class_guarded",
    "mark_guarded",
    "mark_own",
    "noted",
    "only_kit",
    "own_kit",
    "own_route",
    "public",
    "refused",
    "respond",
    "shown",
    "split_offers",
    "unread",
    "view_guards",
    "watches_of",
    "while_granted",
    "while_granted_inline",
]
