"""The kit's routes as FastAPI's own: a router whose operations stand in the app's OpenAPI description."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from inspect import Parameter, Signature
from typing import Any, Final

from fastapi import APIRouter
from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from rolecall import Actor, Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import ROUTES, Route, collected, description, mark_own, respond, shown, unread
from rolecall_starlette.kits import check_at_start, check_once
from rolecall_starlette.routes import ends_in_rest
from rolecall_starlette.translation import neutral_request, starlette_response

from .described import Description

_REQUEST: Final = Parameter("request", Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)


def rolecall_router(
    kit: Rolecall, actor: Any = None, *, name: str = "rolecall", routes: Iterable[Route] | None = None
) -> APIRouter:
    """Make a router with the routes of ``kit``: ``app.include_router(rolecall_router(kit), prefix="/video")``.

    Including it also gives the kit to the app's guards. An app in which a route with a guard is open by mistake does
    not start.

    :param actor: ``Depends(…)`` around the app's own dependency that knows the caller, and returns a
        :class:`~rolecall.Actor`, or None. It runs for the operations that policies decide on without a token: to create
        a session, and to get a token. An ``HTTPException`` that it raises is the answer.
    :param name: the beginning of the routes' names, ``request.url_for("rolecall.sessions")``, and of their models' in
        the app's description; two kits in one app need two.
    :param routes: the routes; all of them unless given. ``SDK_ROUTES`` are those that the OpenTok SDKs call.
    :raises ConfigurationError: for an argument of another type, and a dependency that reads the body.
    """
    if not isinstance(kit, Rolecall):
        raise ConfigurationError(f"rolecall_router takes a Rolecall(…), not {shown(kit)}")
    if actor is not None and not (isinstance(actor, Depends) and actor.dependency):
        raise ConfigurationError(f"actor is {shown(actor)}; expected Depends(…) around a dependency of the app")
    if not (name.isascii() and name.replace("-", "_").isidentifier()):
        raise ConfigurationError(
            f"name is {shown(name)}; expected letters, digits, '_' and '-', with a letter in front"
        )
    listed = tuple(ROUTES if routes is None else routes)
    router, described = APIRouter(lifespan=_checked), Description(description(listed, "", kit.aio.api), name)
    for route in listed:
        for method, operation in route.operations.items():
            endpoint = KitEndpoint(kit, route, actor if operation.identifies else None)
            arguments = described.arguments(route.path, method) if kit.aio.api.web.openapi else None
            for one, options in _registered(method, arguments):
                router.add_api_route(
                    route.path,
                    endpoint,
                    methods=[one],
                    name=f"{name}.{operation.name}",
                    route_class_override=KitRoute,
                    **options,
                )
        router.add_api_route(
            route.path,
            KitEndpoint(kit, route),
            methods=["OPTIONS"],
            name=f"{name}.{route.name}",
            include_in_schema=False,
            route_class_override=OtherMethods,
        )
    _check_bodies(router)
    return router


@asynccontextmanager
async def _checked(app: Any) -> AsyncIterator[None]:
    """The router's lifespan, which runs in that of the app."""
    check_at_start(app)
    yield


def _registered(method: str, arguments: dict[str, Any] | None) -> Iterable[tuple[str, dict[str, Any]]]:
    """The methods under which an operation is registered, with arguments for FastAPI: HEAD is not described."""
    hidden: dict[str, Any] = {"include_in_schema": False}
    yield method, hidden if arguments is None else arguments
    if method == "GET":
        yield "HEAD", hidden


def _check_bodies(router: APIRouter) -> None:
    for route in router.routes:
        if isinstance(route, APIRoute) and route.body_field is not None:
            raise ConfigurationError(
                "actor is a dependency that takes a form or a body, which the kit's routes read themselves; let it "
                "take headers, cookies or the request"
            )


class KitEndpoint:
    """The endpoint of one of the kit's routes.

    :param actor: the app's dependency that identifies the caller, if the operation needs it.
    """

    def __init__(self, kit: Rolecall, route: Route, actor: Depends | None = None) -> None:
        self.kit = kit
        self._route = route
        # FastAPI reads the dependencies of an endpoint from its signature, and a description from its docstring.
        self._identifies = actor is not None
        named = [] if actor is None else [Parameter("actor", Parameter.KEYWORD_ONLY, annotation=Any, default=actor)]
        self.__signature__ = Signature([_REQUEST, *named])
        self.__doc__ = None
        mark_own(self, route, kit)

    async def __call__(self, request: Request, actor: Actor | None = None) -> Response:
        if "app" in request.scope:
            check_once(request.scope["app"])
        api, neutral = self.kit.aio.api, neutral_request(request.scope, request)
        neutral = neutral._replace(anonymous=self._identifies and actor is None)

        async def read(longest: int) -> bytes:
            # Through the request, because one of the app's dependencies may have read the body before.
            pieces = partial(_next, request.stream())
            return await collected(neutral.headers, pieces, api.web.body_timeout, longest)

        answer = starlette_response(await respond(api, self._route, neutral, read, actor))
        if request.method == "HEAD":
            answer.body = b""
        return answer


async def _next(stream: Any) -> bytes:
    """The next piece of a body; empty at its end."""
    try:
        piece: bytes = await anext(stream, b"")
    except ClientDisconnect:
        raise unread() from None
    return piece


class KitRoute(APIRoute):
    """A route of the kit's. The rest of a path, where it stands for one, is not empty, and begins with no slash."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a scope for FastAPI's router."""
        return ends_in_rest(super().matches(scope))


class OtherMethods(KitRoute):
    """Answers the methods without an operation before any dependency, as FastAPI does: a browser asks before it sends
    a credential."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a scope, whatever its method."""
        match, found = super().matches(scope)
        return Match.FULL if match is Match.PARTIAL else match, found

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer without FastAPI's dependencies."""
        endpoint: Any = self.endpoint
        answer = await endpoint(Request(scope, receive))
        await answer(scope, receive, send)
