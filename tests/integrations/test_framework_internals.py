"""What the adapters rely on that no framework documents: a new version that changes it fails here first."""

# No postponed annotations: FastAPI could not look up the dependencies that tests make for themselves.
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Match, Mount, Route, Router, WebSocketRoute

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("package", ["Flask", "starlette", "fastapi"])
def test_a_framework_has_an_upper_bound(package):
    """The adapters look into what the next major version may change."""
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    (wanted,) = [one for one in extras[package.lower()] if one.lower().startswith(package.lower())]
    assert re.search(r",<\d", wanted), wanted


# -- Starlette -------------------------------------------------------------------------------------


def app_that_answered(*routes, path="/x", kind="get"):
    """An app of these routes, which has answered one request."""
    app = Starlette(routes=routes)
    client = TestClient(app)
    if kind == "get":
        client.get(path)
    else:
        with client.websocket_connect(path):
            pass
    return app


def test_a_scope_names_the_endpoint_the_parameters_and_the_app():
    seen = {}

    async def endpoint(request):
        seen.update(request.scope)
        return PlainTextResponse("")

    app = app_that_answered(Mount("/a/{one}", routes=[Route("/{two}", endpoint)]), path="/a/1/2")
    assert (seen["endpoint"], seen["path_params"], seen["app"]) == (endpoint, {"one": "1", "two": "2"}, app)


def test_the_scope_of_a_websocket_does_so_too():
    seen = {}

    async def endpoint(websocket):
        seen.update(websocket.scope)
        await websocket.accept()
        await websocket.close()

    app = app_that_answered(WebSocketRoute("/{one}", endpoint), path="/1", kind="websocket")
    assert (seen["endpoint"], seen["path_params"], seen["app"]) == (endpoint, {"one": "1"}, app)


def test_the_scope_of_a_method_of_a_class_names_the_class():
    seen = {}

    class Endpoint(HTTPEndpoint):
        async def get(self, request):
            seen.update(request.scope)
            return PlainTextResponse("")

    app_that_answered(Route("/x", Endpoint))
    assert seen["endpoint"] is Endpoint


def test_routes_that_match_say_what_a_scope_will_be():
    inner = Router([Route("/{two}", PlainTextResponse(""))])
    mount = Mount("/a/{one}", app=inner)
    match, child = mount.matches({"type": "http", "method": "GET", "path": "/a/1/2", "headers": []})
    assert (match.name, child["endpoint"], child["path_params"]) == ("FULL", inner, {"one": "1"})
    assert mount.routes is inner.routes
    assert Host("a.example", app=inner).routes is inner.routes


def test_what_is_around_the_routes_of_an_app_is_there_to_be_seen():
    app = Starlette()
    assert (app.middleware_stack, app.user_middleware, app.exception_handlers) == (None, [], {})
    TestClient(app).get("/")
    stack: Any = app.middleware_stack
    around = stack.app
    assert (type(around), around.app) == (ExceptionMiddleware, app.router)
    router = Router()
    assert router.middleware_stack == router.app
    assert getattr(router.app, "__self__", None) is router


# -- FastAPI ---------------------------------------------------------------------------------------


def first(connection: HTTPConnection) -> None:
    """A dependency."""


def second(_: Annotated[None, Depends(first)], request: Request) -> None:
    """A dependency that has one."""


@pytest.mark.parametrize("is_included", [False, True])
def test_a_scope_names_the_route_with_its_dependencies(is_included):
    app, inner, seen = FastAPI(), APIRouter(), []
    router = inner if is_included else app

    @router.get("/x", dependencies=[Depends(second)])
    async def endpoint(request: Request) -> None:
        seen.append(request.scope)

    @router.websocket("/x", dependencies=[Depends(first)])
    async def live(websocket: WebSocket) -> None:
        seen.append(websocket.scope)
        await websocket.accept()
        await websocket.close()

    if is_included:
        outer = APIRouter(prefix="/outer")
        outer.include_router(inner)
        app.include_router(outer, prefix="/app")
    path = "/app/outer/x" if is_included else "/x"
    client = TestClient(app)
    client.get(path)
    with client.websocket_connect(path):
        pass
    assert [scope["endpoint"] for scope in seen] == [endpoint, live]
    calls = [[dependency.call for dependency in scope["route"].dependant.dependencies] for scope in seen]
    assert calls == [[second], [first]]
    (nested,) = seen[0]["route"].dependant.dependencies
    assert [dependency.call for dependency in nested.dependencies] == [first]
    assert nested.request_param_name == "request"
    assert nested.dependencies[0].http_connection_param_name == "connection"
    assert seen[1]["route"].dependant.websocket_param_name == "websocket"


def test_a_dependant_names_the_parameters_of_the_query():
    app = FastAPI(openapi_url=None)

    @app.get("/x")
    def endpoint(session_id: str, other: int = 0) -> None: ...

    route: Any = app.routes[0]
    assert [param.alias for param in route.dependant.query_params] == ["session_id", "other"]


def test_a_router_that_is_included_shows_its_routes():
    app, router = FastAPI(openapi_url=None), APIRouter()
    router.get("/x")(first)
    app.include_router(router, prefix="/in")
    group: Any
    (group,) = app.routes
    (context,) = group.effective_route_contexts()
    assert (context.path, context.endpoint, context.starlette_route) == ("/in/x", first, None)


def test_the_scope_of_an_included_route_has_the_route_as_it_was_included():
    app, router, seen = FastAPI(openapi_url=None), APIRouter(), []

    @router.get("/x")
    def endpoint(request: Request) -> None:
        seen.append(request.scope)

    app.include_router(router, prefix="/in", dependencies=[Depends(first)])
    TestClient(app).get("/in/x")
    included = seen[0]["fastapi"]["effective_route_context"]
    assert included.original_route is seen[0]["route"] is router.routes[0]
    assert [dependency.call for dependency in included.dependant.dependencies] == [first]


def test_an_included_route_matches_by_its_original_which_its_scope_names():
    app, router = FastAPI(openapi_url=None), APIRouter()
    router.get("/x")(first)
    app.include_router(router, prefix="/in")
    group: Any
    (group,) = app.routes
    (context,) = group.effective_route_contexts()
    scope = {"type": "http", "path": "/in/x", "method": "GET"}
    assert context.original_route.matches(scope)[0] is Match.NONE
    match, _ = context.original_route.matches({**scope, "fastapi": {"effective_route_context": context}})
    assert match is Match.FULL


def test_a_router_keeps_its_dependencies_and_those_of_its_inclusion():
    app, router = FastAPI(openapi_url=None), APIRouter(dependencies=[Depends(first)])
    app.include_router(router, dependencies=[Depends(second)])
    group: Any
    (group,) = app.routes
    kept = [*group.original_router.dependencies, *group.include_context.dependencies]
    assert [depends.dependency for depends in kept] == [first, second]


def test_an_app_has_what_guards_and_the_list_of_routes_ask_it_for():
    app = FastAPI()
    assert (app.dependency_overrides, callable(app.openapi)) == ({}, True)
    assert (app.openapi_url, app.docs_url, app.redoc_url) == ("/openapi.json", "/docs", "/redoc")
    assert app.swagger_ui_oauth2_redirect_url == "/docs/oauth2-redirect"
