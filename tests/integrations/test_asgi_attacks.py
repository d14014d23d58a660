"""Ways around a guard that compositions of ASGI apps, or an open WebSocket, once offered."""

# No postponed annotations: FastAPI could not look up the dependencies that tests make for themselves.
import asyncio
from contextlib import suppress
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from rolecall import Web
from rolecall.cli.apps import routes_of
from rolecall.errors import ConfigurationError
from rolecall_fastapi import RoleRequired
from rolecall_starlette import protect, public, require_role, require_token, rolecall_app, rolecall_routes

from ..untyped import untyped

NOW = 1_795_186_800
MODERATOR = require_role("moderator")


@pytest.fixture
def kit(make_kit):
    return make_kit(web=Web(recheck=0.05))


@pytest.fixture
def session(kit):
    return kit.create_session()


def with_kit(app, kit):
    app.state.rolecall = kit
    return app


def status(app, path, token=None, method="GET") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return TestClient(app, raise_server_exceptions=False).request(method, path, headers=headers).status_code


def knock(app, path, token=None) -> int:
    """The status of the answer to a handshake: 101 for a WebSocket that was opened."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with TestClient(app).websocket_connect(path, headers=headers):
            return 101
    except WebSocketDenialResponse as refusal:
        return refusal.status_code


def required(app) -> dict[str, str]:
    return {line.path: line.requires for line in routes_of(app)}


def mistakes(app) -> list[str]:
    return [mistake.code for line in routes_of(app) for mistake in line.mistakes]


async def home(request):
    return PlainTextResponse("home")


async def greet(websocket):
    await websocket.accept()
    await websocket.close()


# -- routes that FastAPI makes anew ----------------------------------------------------------------


def included(kit, *routes):
    router = APIRouter()
    router.routes.extend(routes)
    app = with_kit(FastAPI(openapi_url=None), kit)
    app.include_router(router, prefix="/in")
    return app


def test_a_guard_around_a_route_survives_its_inclusion(kit, session):
    app = included(kit, MODERATOR(Route("/x", home)))
    answers = [status(app, "/in/x", token) for token in (None, session.generate_token())]
    assert (answers, status(app, "/in/x", session.generate_token("moderator"))) == ([401, 403], 200)
    assert required(app) == {"/in/x": "role:moderator"}


def test_a_guard_around_a_websocket_route_survives_its_inclusion(kit, session):
    app = included(kit, MODERATOR(WebSocketRoute("/x", greet)))
    answers = [knock(app, "/in/x", token) for token in (None, session.generate_token())]
    assert (answers, knock(app, "/in/x", session.generate_token("moderator"))) == ([401, 403], 101)
    assert required(app) == {"/in/x": "role:moderator"}


@pytest.mark.parametrize("overridden", [True, False])
def test_a_guard_below_a_dependency_that_is_overridden_is_reported(kit, overridden):
    def grown_up(grant=Depends(RoleRequired("moderator"))):  # noqa: B008
        return grant

    app = with_kit(FastAPI(openapi_url=None), kit)
    app.get("/x", dependencies=[Depends(grown_up)])(lambda: "")
    if overridden:
        app.dependency_overrides[grown_up] = lambda: None
    assert mistakes(app) == (["guard_overridden"] if overridden else [])
    assert (required(app)["/x"], status(app, "/x")) == (("OPEN", 200) if overridden else ("role:moderator", 401))


# -- an app that puts a root path of its own in place ----------------------------------------------


def api(kit, register):
    app = FastAPI(openapi_url=None)
    app.root_path = "/api"
    register(app)
    return protect(with_kit(Starlette(routes=[Mount("/", app=app)]), kit))


def test_an_app_with_a_root_path_binds_the_session(kit, session):
    app = api(kit, lambda inner: inner.get("/rooms/{session_id}")(lambda session_id: session_id))
    token, other = session.generate_token("moderator"), kit.create_session().generate_token("moderator")
    path = f"/api/rooms/{session.session_id}"
    assert [status(app, path, one) for one in (None, other, token)] == [401, 403, 200]


def test_a_public_route_of_an_app_with_a_root_path_opens_no_other(kit, session):
    @public
    def article(section: str, slug: str):
        return "article"

    def register(app):
        app.get("/admin")(lambda: "admin")
        app.get("/{section}/{slug}")(article)

    app = api(kit, register)
    assert [status(app, path) for path in ("/api/admin", "/api/news/today")] == [401, 200]
    assert status(app, "/api/admin", session.generate_token()) == 200


# -- WebSockets ------------------------------------------------------------------------------------


def test_a_guard_on_the_method_that_opens_a_websocket_is_refused(kit, session):
    opened = []

    class Board(WebSocketEndpoint):
        @require_token
        async def on_connect(self, websocket):
            opened.append(websocket)
            await websocket.accept()

    app = with_kit(Starlette(routes=[WebSocketRoute("/x", Board)]), kit)
    with pytest.raises(ConfigurationError, match=r"a guard on a method of Board does not see .*; guard the class"):
        knock(app, "/x", session.generate_token())
    assert opened == []


def test_a_socket_that_a_guarded_helper_leaves_open_is_closed(kit, session):
    @require_token
    async def admit(websocket):
        await websocket.accept()

    async def board(websocket):
        await admit(websocket)
        with pytest.raises((RuntimeError, WebSocketDisconnect)):
            await asyncio.wait_for(websocket.receive_text(), 2)

    app = with_kit(Starlette(routes=[WebSocketRoute("/x", board)]), kit)
    headers = {"Authorization": f"Bearer {session.generate_token()}"}
    with TestClient(app).websocket_connect("/x", headers=headers) as websocket:
        assert websocket.receive() == {"type": "websocket.close", "code": 1000, "reason": ""}


def test_a_clock_that_is_set_back_keeps_no_websocket_open_for_longer(kit, clock):
    session = kit.create_session()

    @require_token
    async def board(websocket):
        await websocket.accept()
        with suppress(WebSocketDisconnect):
            await websocket.receive_text()

    app = with_kit(Starlette(routes=[WebSocketRoute("/x", board)]), kit)
    token = session.generate_token(expire_time=NOW + 1)

    async def run():
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        inbox.put_nowait({"type": "websocket.connect"})
        headers = [(b"authorization", f"Bearer {token}".encode())]
        scope = {"type": "websocket", "path": "/x", "headers": headers, "query_string": b"", "subprotocols": []}
        serving = asyncio.create_task(app(scope, inbox.get, outbox.put))
        async with asyncio.timeout(5):
            accepted = await outbox.get()
            clock.now = NOW - 3600
            closed = await outbox.get()
            inbox.put_nowait({"type": "websocket.disconnect", "code": closed["code"]})
            await serving
        return accepted, closed

    accepted, closed = asyncio.run(run())
    assert (accepted["type"], closed["code"]) == ("websocket.accept", 4401)
    assert closed["reason"].startswith("expired_token")


# -- the kit's own routes --------------------------------------------------------------------------


def guarded_one_by_one(kit):
    return [MODERATOR(route) for route in rolecall_routes(kit)]


def guarded_as_a_mount(kit):
    return [MODERATOR(Mount("/", app=GZipMiddleware(rolecall_app(kit))))]


def guarded_behind_the_middleware(kit):
    return [Mount("/", app=GZipMiddleware(MODERATOR(rolecall_app(kit))))]


def guarded_around_the_middleware(kit):
    return [Mount("/", app=MODERATOR(GZipMiddleware(rolecall_app(kit))))]


@pytest.mark.parametrize(
    "make", [guarded_one_by_one, guarded_as_a_mount, guarded_behind_the_middleware, guarded_around_the_middleware]
)
def test_guards_on_the_kits_own_routes_hold(make, kit, session):
    app = with_kit(Starlette(routes=make(kit)), kit)
    tokens = [None, session.generate_token(), session.generate_token("moderator")]
    assert [status(app, "/openapi.json", token) for token in tokens] == [401, 403, 200]
    lines = routes_of(app)
    assert lines
    assert all(line.requires.startswith("role:moderator") and ", then the kit's own" in line.requires for line in lines)


# -- what is within an app -------------------------------------------------------------------------


def test_a_public_mark_on_a_front_does_not_open_the_guarded_app_that_it_returns(kit, session):
    inner = require_token(PlainTextResponse("inner"))

    @public
    async def front(request):
        return inner

    app = with_kit(Starlette(routes=[Route("/x", front)]), kit)
    assert [status(app, "/x", token) for token in (None, session.generate_token())] == [401, 200]


def test_the_default_of_a_router_is_in_the_list(kit, session):
    async def fallback(scope, receive, send):
        await PlainTextResponse("fallback")(scope, receive, send)

    opened = with_kit(Starlette(routes=[Mount("/a", app=Router([Route("/x", home)], default=fallback))]), kit)
    guard = require_role("moderator", session_param=None)
    guarded = with_kit(Starlette(routes=[Mount("/a", app=Router(default=guard(fallback)))]), kit)
    assert required(opened) == {"/a/x": "OPEN", "/a/…": "OPEN (unknown inside)"}
    assert required(guarded) == {"/a/…": "role:moderator"}
    assert [status(app, "/a/elsewhere") for app in (opened, guarded)] == [200, 401]


def test_a_kit_that_an_app_names_anew_is_the_one_that_verifies(make_kit):
    first, second = make_kit(), make_kit(api_key="654321", api_secret="another-secret-of-32-bytes-or-more!")
    app = Starlette(routes=[Route("/", require_token(lambda request: PlainTextResponse("in")))])
    client = TestClient(app)
    for kit, other in ((first, second), (second, first)):
        app.state.rolecall = kit
        tokens = kit.create_session().generate_token(), other.create_session().generate_token()
        statuses = [client.get("/", headers={"Authorization": f"Bearer {token}"}).status_code for token in tokens]
        assert statuses == [200, 401]


class Timed:
    """Awaits by itself."""

    def __await__(self):
        return untyped(self).dispatch().__await__()


def guarded_class():
    @require_token
    class Guarded(HTTPEndpoint):
        async def get(self, request):
            return PlainTextResponse("in")

    return Guarded


def test_a_subclass_that_awaits_by_itself_before_the_guard_is_refused():
    for bases in ((Timed, guarded_class()), (guarded_class(), Timed, guarded_class())):
        with pytest.raises(ConfigurationError, match="__await__ of Timed in the place of the guard of Guarded"):
            type("Sub", bases, {})


def test_other_subclasses_are_as_they_were():
    first, second = guarded_class(), guarded_class()
    for bases in ((first,), (first, Timed), (first, second), (type("Middle", (first,), {}), Timed)):
        assert untyped(type("Sub", bases, {})).__await__ is first.__await__
