"""Frameworks on top of Starlette, and their additions to its guards and its list of routes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from rolecall.http.adapter import Found, Guard

if TYPE_CHECKING:
    from .listing import Place
    from .refusals import Refused

# The adapters of such frameworks: an app that imports the framework may use it without importing its adapter.
_ADAPTERS: Final = {"fastapi": "rolecall_fastapi"}
_dialects: Final[list[Dialect]] = []


class Dialect:
    """The additions of such a framework. Each method returns None for objects that are not the framework's."""

    def refused(self, app: Any) -> type[Refused] | None:
        """The framework's own subclass of :class:`Refused`, for its error handlers, if the app is the framework's."""

    def found(self, route: Any, place: Place) -> Iterator[Found] | None:
        """The entries of a route in the list, if it is one of the framework's."""

    def guards_in(self, router: Any) -> Iterable[Guard]:
        """The guards of a router of the framework's, which it asks for its own routes alone."""
        return ()

    def route(self, scope: Scope) -> Any:
        """The route of a connection with what the routers around have added, if it is one of the framework's."""

    def match(self, route: Any, scope: Scope) -> tuple[Match, Scope] | None:
        """The match of a scope with a route, as the framework's router sees it, if it is one of the framework's."""


def add_dialect(dialect: Dialect) -> None:
    """Register a framework with guards and list."""
    _dialects.append(dialect)


def dialects() -> list[Dialect]:
    """The dialects of the imported frameworks."""
    for framework, adapter in _ADAPTERS.items():
        if framework in sys.modules and adapter not in sys.modules:
            import_module(adapter)
    return _dialects


def match_of(route: BaseRoute, scope: Scope) -> tuple[Match, Scope]:
    """The match of a scope with a route, as the app's router sees it."""
    matches = (dialect.match(route, scope) for dialect in dialects())
    return next((match for match in matches if match is not None), None) or route.matches(scope)


def route_of(scope: Scope) -> Any:
    """The route of a connection, with what the routers around have added."""
    routes = (dialect.route(scope) for dialect in dialects())
    return next((route for route in routes if route is not None), scope.get("route"))
