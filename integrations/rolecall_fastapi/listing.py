"""The parts of a FastAPI app beyond a Starlette one, for the list of its routes and for refusals."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.dependencies.utils import get_dependant
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

import rolecall_starlette
from rolecall.http.adapter import Found, Guard, Mistake, guards_of
from rolecall_starlette.dialects import Dialect, add_dialect
from rolecall_starlette.listing import Place, leaf, path_of, route_within
from rolecall_starlette.listing import routes_of as routes_of

# Where FastAPI keeps the route of a connection as the routers around have included it.
_SCOPE, _INCLUDED = "fastapi", "effective_route_context"
#: The attributes of an app with the paths of FastAPI's own routes.
_MADE_BY_FASTAPI = ("openapi_url", "docs_url", "redoc_url", "swagger_ui_oauth2_redirect_url")


def is_app(value: object) -> bool:
    """Whether this is a FastAPI app."""
    return isinstance(value, FastAPI)


class RefusedByDependency(rolecall_starlette.Refused, HTTPException):
    """:class:`~rolecall_starlette.Refused`, for handlers of ``fastapi.HTTPException``."""


class _FastAPI(Dialect):
    def refused(self, app: Any) -> type[rolecall_starlette.Refused] | None:
        return RefusedByDependency if isinstance(app, FastAPI) else None

    def found(self, route: Any, place: Place) -> Iterator[Found] | None:
        if hasattr(route, "effective_route_contexts"):
            return _included(route, place)
        if _is_front_end(route):
            return _front_ends(route, place, "", route.dependant)
        path = path_of(getattr(route, "path", ""))
        if _is_made_by_fastapi(route, path, place.app):
            return (replace(one, made_by="FastAPI") for one in leaf(route, place, path))
        dependant = getattr(route, "dependant", None)
        return None if dependant is None else _described(route, place, path, dependant)

    def guards_in(self, router: Any) -> Iterator[Guard]:
        for depends in getattr(router, "dependencies", ()):
            dependant = get_dependant(path="", call=depends.dependency)
            for dependency in (dependant, *_flattened(dependant, {})):
                yield from guards_of(dependency.call)

    def route(self, scope: Scope) -> Any:
        included = scope.get(_SCOPE, {}).get(_INCLUDED)
        return included if getattr(included, "original_route", None) is scope.get("route") else None

    def match(self, route: Any, scope: Scope) -> tuple[Match, Scope] | None:
        original = getattr(route, "original_route", None)
        if not isinstance(original, APIRoute):
            return None
        # An included route: FastAPI has its original match, whose class may do so in its own way.
        return original.matches({**scope, _SCOPE: {**scope.get(_SCOPE, {}), _INCLUDED: route}})


def install() -> None:
    """Register FastAPI with Starlette's guards and list of routes."""
    add_dialect(_FastAPI())


def _included(router: Any, place: Place) -> Iterator[Found]:
    """The routes of a router that ``include_router`` has put into an app."""
    place = place.within(router).skipping(router.include_context).skipping(router.original_router)
    for context in (*router.effective_route_contexts(), *getattr(router, "effective_low_priority_routes", tuple)()):
        original = context.original_route
        if _is_front_end(original):
            yield from _front_ends(original, place, context.frontend_prefix, context.dependant)
        else:
            yield from route_within(context.starlette_route or context, place)


def _is_front_end(route: Any) -> bool:
    """Whether it is the group of routes that ``app.frontend(…)`` makes."""
    return hasattr(route, "routes") and hasattr(route, "dependant")


def _front_ends(group: Any, place: Place, prefix: str, dependant: Any) -> Iterator[Found]:
    place = place.within(group)
    for route in group.routes:
        for found in _described(route, place, f"{prefix}{route.path.rstrip('/')}/{{file:path}}", dependant):
            # It has no view for a mark.
            yield replace(found, made_by="FastAPI")


def _described(route: Any, place: Place, path: str, dependant: Any) -> Iterator[Found]:
    """A route, with the guards and parameters of its dependencies."""
    for found in leaf(route, place, path):
        depended_on, mistakes = _dependencies(dependant, place.app)
        own = guards_of(found.view)
        if own and inspect.isroutine(found.view) and not _takes_connection(dependant):
            mistakes.append(_NO_REQUEST)
        yield replace(
            found,
            dependencies=tuple(depended_on),
            query=frozenset(_query_names(dependant)),
            mistakes=tuple(mistakes),
        )


def _dependencies(dependant: Any, app: Any) -> tuple[list[Guard], list[Mistake]]:
    """The guards among the dependencies of a route."""
    found: list[Guard] = []
    mistakes: list[Mistake] = []
    replaced = getattr(app, "dependency_overrides", None) or {}
    for dependency in _flattened(dependant, replaced):
        call = dependency.call
        if call in replaced:
            if any(guards_of(one.call) for one in (dependency, *_flattened(dependency, {}))):
                mistakes.append(_OVERRIDDEN)
            call = replaced[call]
        while isinstance(call, partial):
            call = call.func
        if inspect.isroutine(call) and guards_of(call) and not _takes_connection(dependency):
            mistakes.append(_NO_REQUEST)
        found += guards_of(call)
    return found, mistakes


def _flattened(dependant: Any, replaced: Any) -> Iterator[Any]:
    for dependency in dependant.dependencies:
        yield dependency
        if dependency.call not in replaced:
            yield from _flattened(dependency, replaced)


def _query_names(dependant: Any) -> Iterator[str]:
    """The query parameters of a route, and of its dependencies."""
    for one in (dependant, *_flattened(dependant, {})):
        for param in one.query_params:
            yield str(param.alias)


def _takes_connection(dependant: Any) -> bool:
    names = ("request_param_name", "websocket_param_name", "http_connection_param_name")
    return any(getattr(dependant, name, None) for name in names)


def _is_made_by_fastapi(route: Any, path: str, app: Any) -> bool:
    module = getattr(getattr(route, "endpoint", None), "__module__", "")
    return module == "fastapi.applications" and path in (getattr(app, name, None) for name in _MADE_BY_FASTAPI)


_OVERRIDDEN = Mistake(
    "guard_overridden", "app.dependency_overrides replaces its guard; leave that to tests, and clear it after them"
)
_NO_REQUEST = Mistake(
    "no_request",
    "its guard lets nobody in, because FastAPI does not hand it the request; let the endpoint take one "
    "(request: Request), or use Depends(RoleRequired(…))",
)
