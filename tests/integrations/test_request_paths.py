"""What ``Request.route`` and ``Request.root`` mean in every adapter: the path within the app, and the app's own."""

from __future__ import annotations

from typing import Any

import flask
import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

import rolecall_fastapi
import rolecall_flask
import rolecall_starlette
import rolecall_wsgi
from rolecall import Allow, Rolecall, hookimpl

ROOM, OWN = "/rooms/{session_id}", "/video/sessions/{session_id}/tokens"


class Noting:
    """Notes what each policy is shown of a request."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl
    def rolecall_vote_access(self, request):
        self.seen.append(request.http)

    @hookimpl
    def rolecall_vote_token(self, request):
        if request.http is not None:
            self.seen.append(request.http)
        return Allow()


@pytest.fixture
def policy():
    return Noting()


@pytest.fixture
def kit(policy):
    with Rolecall("123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e", plugins=[policy]) as kit:
        yield kit


def flask_app(kit):
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit), url_prefix="/video")
    app.add_url_rule("/rooms/<session_id>", "room", rolecall_flask.require_token(lambda session_id: "in"))
    return app


def wsgi_app(kit):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"in"]

    return rolecall_wsgi.RolecallMiddleware(rolecall_wsgi.require_token(prefixes=[ROOM])(app), kit)


async def room(request):
    return PlainTextResponse("in")


def starlette_app(kit):
    guarded = rolecall_starlette.require_token(room)
    return Starlette(routes=[Mount("/video", rolecall_starlette.rolecall_app(kit)), Route(ROOM, guarded)])


def mounting_app(kit):
    """The guard is in a mount of the app's own, or around one."""
    inside = rolecall_starlette.protect(Mount("/rooms", routes=[Route("/{session_id}", room)]))
    return Starlette(routes=[*prefixed(kit), inside])


def whole_app(kit):
    """The guard is around the whole app."""
    app = Starlette(routes=[*prefixed(kit), Mount("/rooms", routes=[Route("/{session_id}", room)])])
    app.state.rolecall = kit
    return rolecall_starlette.protect(app)


def prefixed(kit):
    return [Mount("/video", rolecall_starlette.rolecall_app(kit))]


def foreign_app(kit):
    """The guard is around an app that shows no routes."""

    async def app(scope, receive, send):
        await PlainTextResponse("in")(scope, receive, send)

    guarded = rolecall_starlette.require_token(kit=kit, prefixes=[ROOM])(app)
    routes = Starlette(routes=prefixed(kit))

    async def both(scope, receive, send):
        await (routes if "/video/" in scope["path"] else guarded)(scope, receive, send)

    return both


def fastapi_app(kit):
    app = FastAPI()
    app.mount("/video", rolecall_starlette.rolecall_app(kit))
    router = APIRouter(prefix="/rooms")

    @router.get("/{session_id}", dependencies=[Depends(rolecall_fastapi.TokenRequired())])
    async def room() -> str:
        return "in"

    app.include_router(router)
    return app


def wsgi_client(app, root):
    return Client(DispatcherMiddleware(app, {root: app})).open


def asgi_client(app, root):
    outer = Starlette(routes=[Mount(root, app)]) if root else app
    return lambda path, method="GET", **options: TestClient(outer).request(method, path, **options)


def behind_a_proxy(app, root):
    """A server that is told the path that a proxy has taken off, and puts it in front again."""
    return lambda path, method="GET", **options: TestClient(app, root_path=root).request(method, path, **options)


ADAPTERS = {
    "flask": (flask_app, wsgi_client),
    "wsgi": (wsgi_app, wsgi_client),
    "starlette": (starlette_app, asgi_client),
    "starlette behind a proxy": (starlette_app, behind_a_proxy),
    "a mount of starlette's": (mounting_app, asgi_client),
    "a whole app of starlette's": (whole_app, asgi_client),
    # In a mount of Starlette's it would be a part of that app, as all that is mounted in it.
    "an app of another framework": (foreign_app, behind_a_proxy),
    "fastapi": (fastapi_app, asgi_client),
    "fastapi behind a proxy": (fastapi_app, behind_a_proxy),
}


@pytest.mark.parametrize("root", ["", "/outer", "/outer/inner"], ids=["alone", "mounted", "mounted deeper"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_policy_sees_the_path_within_the_app_and_where_the_app_is(kit, policy, name, root):
    make_app, client = ADAPTERS[name]
    session = kit.create_session()
    ask, bearer = client(make_app(kit), root), {"Authorization": f"Bearer {session.generate_token('moderator')}"}
    paths = [path.format(session_id=session.session_id) for path in (ROOM, OWN)]
    assert ask(root + paths[0], headers=bearer).status_code == 200
    assert ask(root + paths[1], method="POST", headers={**bearer, "Content-Type": "application/json"}).status_code < 300
    assert [(request.root, request.route) for request in policy.seen] == [(root, path) for path in paths]


@pytest.mark.parametrize("root", ["", "/outer"], ids=["alone", "mounted"])
def test_a_websocket_is_told_the_same_of_its_path(kit, policy, root):
    @rolecall_starlette.require_token
    async def listen(websocket):
        await websocket.accept()
        await websocket.close()

    session = kit.create_session()
    app = Starlette(routes=[Mount("/rooms", routes=[WebSocketRoute("/{session_id}", listen)])])
    app.state.rolecall = kit
    outer = Starlette(routes=[Mount(root, app)]) if root else app
    headers = {"Authorization": f"Bearer {session.generate_token()}"}
    with TestClient(outer).websocket_connect(f"{root}/rooms/{session.session_id}", headers=headers):
        pass
    assert (policy.seen[0].root, policy.seen[0].route) == (root, f"/rooms/{session.session_id}")


def test_middleware_before_the_router_is_told_the_same_of_the_path(kit):
    seen = []

    class Backend(rolecall_starlette.RolecallAuthentication):
        async def __call__(self, scope, receive, send):
            from rolecall_starlette.translation import neutral_request

            seen.append(neutral_request(scope))
            await super().__call__(scope, receive, send)

    app = Starlette(routes=[Route("/me", room)], middleware=[Middleware(Backend, kit=kit)])
    assert TestClient(Starlette(routes=[Mount("/outer", app)])).get("/outer/me").status_code == 200
    assert [(request.root, request.route) for request in seen] == [("/outer", "/me")]


@pytest.mark.parametrize("name", ["flask", "wsgi", "starlette", "a whole app of starlette's", "fastapi"])
def test_a_policy_finds_the_framework_s_own_request(kit, policy, name):
    make_app, client = ADAPTERS[name]
    session = kit.create_session()
    ask, bearer = client(make_app(kit), ""), {"Authorization": f"Bearer {session.generate_token('moderator')}"}
    for path, method in ((ROOM, "GET"), (OWN, "POST")):
        options = {"Content-Type": "application/json"} if method == "POST" else {}
        ask(path.format(session_id=session.session_id), method=method, headers={**bearer, **options})
    kinds = {"flask": flask.Request, "wsgi": dict}
    assert len(policy.seen) == 2
    assert all(isinstance(request.native, kinds.get(name, HTTPConnection)) for request in policy.seen)
