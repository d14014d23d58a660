"""Frameworks behind the guards for WSGI and ASGI: their own reading of paths and methods opens no room."""

from __future__ import annotations

import asyncio
import inspect
import io
import threading
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count, product
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

import rolecall_starlette
import rolecall_wsgi
from rolecall import AccessRequest, Deny, Rolecall, Web, hookimpl
from rolecall.cli.apps import routes_of
from rolecall.errors import ConfigurationError

from ..untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
ROOM = ["/rooms/{session_id}"]

#: The session ids that the views of a site have seen.
Runs = list[str]


class NotToday:
    """Keeps one bearer out, by name."""

    @hookimpl
    def rolecall_vote_access(self, request: AccessRequest) -> Any:
        return Deny("not today", code="not_today") if request.grant.data == "Eve" else None


@pytest.fixture
def kit():
    with Rolecall(KEY, SECRET, entry_points=False, plugins=[NotToday()], web=Web(recheck=0.05)) as kit:
        yield kit


# -- the sites -----------------------------------------------------------------------------------------


def bottle_site(kit: Rolecall, runs: Runs) -> Any:
    import bottle

    app = bottle.Bottle()

    @app.route("/rooms/<session_id>", ["GET", "POST"])
    def room(session_id):
        runs.append(session_id)
        return {"role": rolecall_wsgi.current_grant(bottle.request.environ).role}

    return rolecall_wsgi.require_role("publisher", kit=kit, prefixes=ROOM)(app)


def pyramid_site(kit: Rolecall, runs: Runs) -> Any:
    from pyramid.config import Configurator
    from pyramid.response import Response

    def room(request):
        runs.append(request.matchdict["session_id"])
        return Response(json_body={"role": rolecall_wsgi.current_grant(request.environ).role})

    with Configurator() as config:
        config.add_route("room", "/rooms/{session_id}")
        config.add_view(room, route_name="room", request_method=("GET", "POST"))
        app = config.make_wsgi_app()
    return rolecall_wsgi.require_role("publisher", kit=kit, prefixes=ROOM)(app)


def falcon_site(kit: Rolecall, runs: Runs) -> Any:
    import falcon

    class Room:
        def on_get(self, req, resp, session_id):
            runs.append(session_id)
            resp.media = {"role": rolecall_wsgi.current_grant(req.env).role}

        on_post = on_get

    app = falcon.App()
    app.add_route("/rooms/{session_id}", Room())
    return rolecall_wsgi.require_role("publisher", kit=kit, prefixes=ROOM)(app)


def falcon_asgi_site(kit: Rolecall, runs: Runs) -> Any:
    import falcon
    import falcon.asgi

    class Room:
        async def on_get(self, req, resp, session_id):
            runs.append(session_id)
            resp.media = {"role": rolecall_starlette.current_grant(req).role}

        on_post = on_get

        async def on_websocket(self, req, ws, session_id):
            runs.append(session_id)
            await ws.accept()
            await ws.send_text(rolecall_starlette.current_grant(req).role)
            try:
                while True:
                    await ws.send_text(await ws.receive_text())
            except falcon.WebSocketDisconnected:
                pass

    app = falcon.asgi.App()
    app.add_route("/rooms/{session_id}", Room())
    return rolecall_starlette.require_role("publisher", kit=kit, prefixes=ROOM)(app)


def quart_site(kit: Rolecall, runs: Runs) -> Any:
    import quart

    app = quart.Quart(__name__)

    @app.route("/rooms/<session_id>", methods=["GET", "POST"])
    async def room(session_id):
        runs.append(session_id)
        return {"role": rolecall_starlette.current_grant(quart.request).role}

    @app.websocket("/rooms/<session_id>")
    async def chat(session_id):
        runs.append(session_id)
        await quart.websocket.send(rolecall_starlette.current_grant(quart.websocket).role)
        while True:
            await quart.websocket.send(await quart.websocket.receive())

    guard = rolecall_starlette.require_role("publisher", kit=kit, prefixes=ROOM)
    app.asgi_app = guard(app.asgi_app)  # type: ignore[method-assign]
    return app


def litestar_site(kit: Rolecall, runs: Runs) -> Any:
    import litestar
    from litestar.params import FromPath

    def publishers(app):
        return rolecall_starlette.require_role("publisher")(app)

    async def room(session_id: FromPath[str], request: litestar.Request) -> dict[str, str]:
        runs.append(session_id)
        return {"role": rolecall_starlette.current_grant(request).role}

    async def chat(session_id: FromPath[str], socket: litestar.WebSocket) -> None:
        runs.append(session_id)
        await socket.accept()
        await socket.send_text(rolecall_starlette.current_grant(socket).role)
        while True:
            await socket.send_text(await socket.receive_text())

    for function in (room, chat):  # the annotations are text, and name what is imported here
        names = {"litestar": litestar, "FromPath": FromPath}
        function.__annotations__ = inspect.get_annotations(function, globals=names, eval_str=True)
    handlers = [
        litestar.route("/rooms/{session_id:str}", http_method=["GET", "POST"], status_code=200)(room),
        litestar.websocket("/rooms/{session_id:str}")(chat),
    ]
    app = litestar.Litestar(handlers, middleware=[publishers], logging_config=None)
    app.state.rolecall = kit
    return app


def sanic_site(kit: Rolecall, runs: Runs) -> Any:
    import sanic
    from sanic.response import json

    app = sanic.Sanic(f"rooms_{next(_numbers)}", configure_logging=False)
    app.config.TOUCHUP = False  # which rewrites Sanic's own code, once in a process

    @app.route("/rooms/<session_id>", methods=["GET", "POST"])
    async def room(request, session_id):
        runs.append(unquote(session_id))  # it comes as it was sent
        return json({"role": rolecall_starlette.current_grant(request).role})

    @app.websocket("/rooms/<session_id>/chat")
    async def chat(request, ws, session_id):
        runs.append(session_id)
        await ws.send(rolecall_starlette.current_grant(request).role)
        while (text := await ws.recv()) is not None:
            await ws.send(text)

    return Started(rolecall_starlette.require_role("publisher", kit=kit, prefixes=ROOM)(app))


# Sanic's apps have a name each.
_numbers = count()


class Started:
    """An app that answers nothing before it was started."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._is_started = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._is_started and scope["type"] != "lifespan":
            await self._start()
        self._is_started = True
        await self._app(scope, receive, send)

    async def _start(self) -> None:
        waiting = [{"type": "lifespan.startup"}]
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def receive():
            return waiting.pop() if waiting else await asyncio.Event().wait()

        async def send(message):
            told.set_result(message["type"])

        living = asyncio.ensure_future(self._app({"type": "lifespan"}, receive, send))
        assert await told == "lifespan.startup.complete"
        living.cancel()


class Framework(NamedTuple):
    package: str
    site: Callable[[Rolecall, Runs], Any]
    has_websockets: bool = False
    websocket_path: str = "/rooms/{id}"
    lives: bool = False  # whether it must be started


FRAMEWORKS = {
    "bottle": Framework("bottle", bottle_site),
    "pyramid": Framework("pyramid", pyramid_site),
    "falcon": Framework("falcon", falcon_site),
    "falcon asgi": Framework("falcon", falcon_asgi_site, has_websockets=True),
    "quart": Framework("quart", quart_site, has_websockets=True),
    "litestar": Framework("litestar", litestar_site, has_websockets=True),
    "sanic": Framework("sanic", sanic_site, has_websockets=True, websocket_path="/rooms/{id}/chat", lives=True),
}


@pytest.fixture
def framework(request):
    """One of the frameworks, by its name in the table."""
    found = FRAMEWORKS[request.param]
    pytest.importorskip(found.package)
    return found


every_framework = pytest.mark.parametrize("framework", FRAMEWORKS, indirect=True)
with_websockets = [name for name, framework in FRAMEWORKS.items() if framework.has_websockets]


#: The event loop of a test; an app is asked on one alone.
RUNNERS: list[asyncio.Runner] = []


@pytest.fixture(autouse=True)
def one_loop():
    with asyncio.Runner() as runner:
        RUNNERS.append(runner)
        yield
        RUNNERS.pop()


# -- asking --------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def ask(app: Any, method: str, target: str, *tokens: str) -> Answer:
    """Ask for a raw path, as a server that changes nothing about it."""
    path = unquote_to_bytes(target)
    authorizations = [f"Bearer {token}" for token in tokens]
    call = app if inspect.isroutine(app) else type(app).__call__
    if inspect.iscoroutinefunction(call):
        return RUNNERS[-1].run(_ask_asgi(app, method, target, path, authorizations))
    return _ask_wsgi(app, method, path, authorizations)


def _ask_wsgi(app: Any, method: str, path: bytes, authorizations: list[str]) -> Answer:
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if authorizations:
        environ["HTTP_AUTHORIZATION"] = ",".join(authorizations)
    started: list[Any] = []
    body = b"".join(app(environ, lambda status, headers, exc_info=None: started.append((status, headers))))
    status, headers = started[-1]
    return Answer(int(status[:3]), {name.lower(): value for name, value in headers}, body)


async def _ask_asgi(app: Any, method: str, target: str, path: bytes, authorizations: list[str]) -> Answer:
    headers = [(b"host", b"localhost"), *((b"authorization", value.encode()) for value in authorizations)]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.decode("utf-8", "replace"),
        "raw_path": target.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "state": {},
    }
    waiting, sent, is_answered = [{"type": "http.request", "body": b"", "more_body": False}], [], asyncio.Event()

    async def receive():
        if waiting:
            return waiting.pop()
        await is_answered.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            is_answered.set()

    await asyncio.wait_for(app(scope, receive, send), 20)
    named = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], named, b"".join(message.get("body", b"") for message in sent))


# -- what is guarded -----------------------------------------------------------------------------------


@pytest.mark.each_choice
@every_framework
def test_the_view_has_the_grant_and_a_refusal_is_the_kits(framework, kit):
    runs: Runs = []
    app = framework.site(kit, runs)
    mine, other = kit.create_session(), kit.create_session()
    path = f"/rooms/{mine.session_id}"
    entered = ask(app, "GET", path, mine.generate_token("moderator"))
    assert (entered.status, entered.headers["cache-control"]) == (200, "no-store")
    assert b"moderator" in entered.body
    assert runs.pop() == mine.session_id
    refusals = {
        "missing_token": (),
        "malformed_token": ("x",),
        "insufficient_role": (mine.generate_token("subscriber"),),
        "wrong_session": (other.generate_token("moderator"),),
        "malformed_credential": (mine.generate_token("moderator"),) * 2,
        "not_today": (mine.generate_token("moderator", data="Eve"),),
    }
    statuses = {}
    for code, tokens in refusals.items():
        refused = ask(app, "GET", path, *tokens)
        assert f'"code":"{code}"'.encode() in refused.body
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["cache-control"] == "no-store"
        statuses[code] = refused.status
    assert statuses == dict(zip(refusals, (401, 401, 403, 403, 400, 403), strict=True))
    assert runs == []


METHODS = ["GET", "HEAD", "POST"]
OTHER_METHODS = ["PUT", "OPTIONS", "PURGE"]
#: Spellings of a room's path, in which ``{id}`` is the room of the token, or another one.
SPELLINGS = [
    "/rooms/{id}",
    "/rooms/{id}/",
    "//rooms/{id}",
    "/rooms//{id}",
    "/ROOMS/{id}",
    "/rooms/%31{rest}",
    "/rooms/{id}%2F",
    "/rooms/x%2F{id}",
    "/rooms/{id}%2Fx",
    "/rooms%2F{id}",
    "/%2Frooms/{id}",
    "/rooms/{id};v=1",
    "/rooms;v=1/{id}",
    "/rooms/{id}%3Fx",
    "/rooms/{id}%23x",
    "/rooms/{id}%0A",
    "/rooms/{id}%00",
    "/rooms/{id}%FF",
    "/rooms/%FF{id}",
    "/rooms/{id}%20",
    "/rooms/%2531{rest}",
    "/x/../rooms/{id}",
    "/rooms/x/../{id}",
    "/rooms/./{id}",
    "/rooms\\{id}",
]


@pytest.mark.each_choice
@every_framework
def test_no_spelling_of_a_path_runs_the_view_for_another_session_than_the_tokens(framework, kit):
    runs: Runs = []
    app = framework.site(kit, runs)
    mine, other = kit.create_session(), kit.create_session()
    token = mine.generate_token("moderator")
    for spelling, asked in product(SPELLINGS, (mine, other)):
        path = spelling.format(id=asked.session_id, rest=asked.session_id[1:])
        for method in METHODS + OTHER_METHODS * (spelling == SPELLINGS[0]):
            assert ask(app, method, path).status in (204, 400, 401, 404, 405)
            assert runs == [], (method, path)
            ask(app, method, path, token)
            assert set(runs) <= {mine.session_id}, (method, path)
            runs.clear()


# -- WebSockets ----------------------------------------------------------------------------------------


@pytest.mark.each_choice
@pytest.mark.parametrize("framework", with_websockets, indirect=True)
def test_a_websocket_is_refused_before_it_is_open_and_closed_when_its_session_ends(framework, kit):
    runs: Runs = []
    site, ended = framework.site(kit, runs), threading.Event()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        ended.clear()
        try:
            await site(scope, receive, send)
        finally:
            ended.set()

    client = TestClient(watched)
    with client if framework.lives else nullcontext():  # Falcon does not end its lifespan in this client
        ask_for_websockets(client, framework, kit, runs, ended)


def ask_for_websockets(
    client: TestClient, framework: Framework, kit: Rolecall, runs: Runs, ended: threading.Event
) -> None:
    mine, other = kit.create_session(), kit.create_session()
    path = framework.websocket_path.format(id=mine.session_id)
    refusals = [
        (None, 401),
        (mine.generate_token("subscriber"), 403),
        (other.generate_token("moderator"), 403),
        (mine.generate_token("moderator", data="Eve"), 403),
    ]
    for token, status in refusals:
        offered = ["rolecall.bearer", token] if token else []
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(path, offered):
            pass
        assert refused.value.status_code == status
    assert runs == []
    offered = ["rolecall.bearer", mine.generate_token("moderator")]
    with client.websocket_connect(path, offered) as websocket:
        answered: Any = websocket.accepted_subprotocol
        assert (answered, websocket.receive_text()) == ("rolecall.bearer", "moderator")
        websocket.send_text("hello")
        assert websocket.receive_text() == "hello"
        kit.end_session(mine.session_id)
        closed = websocket.receive()
        websocket.close(closed["code"])  # as a client does that was told so
        assert ended.wait(30)  # by itself: at its own end, the test's client cancels it
    assert (closed["type"], closed["code"]) == ("websocket.close", 4401)
    assert closed["reason"].startswith("revoked_token: ")


def test_a_mount_of_litestars_hides_the_session_so_it_must_be_said(kit):
    litestar = pytest.importorskip("litestar")

    def guarded(**options: Any) -> Any:
        def middleware(app):
            return rolecall_starlette.require_token(kit=kit, **options)(app)

        mount = litestar.asgi("/site", is_mount=True, copy_scope=True, middleware=[middleware])(Behind())
        return litestar.Litestar([mount], logging_config=None)

    token = kit.create_session().generate_token("moderator")
    assert ask(guarded(), "GET", "/site/rooms/another", token).status == 500
    assert ask(guarded(session_param=None), "GET", "/site/rooms/another", token).body == b"behind"
    assert ask(guarded(session_param=None), "GET", "/site/rooms/another").status == 401


# -- the kit's routes in front of any ASGI app ---------------------------------------------------------


class Behind:
    """An ASGI app that tells what reaches it."""

    def __init__(self) -> None:
        self.types: list[tuple[Any, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.types.append((scope["type"], scope.get("path", "")))
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"behind"})


def test_the_middleware_answers_the_kits_routes_and_passes_everything_else_on(kit):
    behind = Behind()
    app = rolecall_starlette.RolecallMiddleware(behind, kit)
    session = kit.create_session()
    path = f"/video/sessions/{session.session_id}"
    assert ask(app, "GET", path).status == 401
    assert ask(app, "GET", path, session.generate_token()).status == 200
    assert ask(app, "PUT", path).status == 405
    assert behind.types == []
    for other in ("/video", "/video/nothing", "/videos/sessions", "/", f"{path}/", "/x/video/sessions"):
        assert ask(app, "GET", other).body == b"behind"
    RUNNERS[-1].run(app({"type": "lifespan"}, untyped(None), untyped(None)))
    RUNNERS[-1].run(app({"type": "websocket", "path": path}, untyped(None), untyped(None)))
    assert behind.types[-2:] == [("lifespan", ""), ("websocket", path)]


def test_the_middleware_finds_the_kits_routes_under_a_root_path_too(kit):
    app = rolecall_starlette.RolecallMiddleware(Behind(), kit, "/video", rolecall_starlette.SDK_ROUTES)
    client = TestClient(app, root_path="/api")
    refused = client.post("/api/video/session/create")
    assert (refused.status_code, refused.json()["code"]) == (403, "invalid_server_credential")
    assert client.post("/api/video/sessions").content == b"behind"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, "kit"), "goes around an ASGI app, not None"),
        ((Behind, "kit"), "goes around an ASGI app, not"),
        ((Behind(), None), "takes a Rolecall"),
        ((Behind(), "kit", "video"), "prefix is 'video'; expected a path such as '/video'"),
    ],
)
def test_the_middleware_refuses_what_it_cannot_use(kit, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        rolecall_starlette.RolecallMiddleware(*(kit if one == "kit" else one for one in arguments))


def test_the_list_of_routes_has_those_of_the_middleware_and_what_the_guard_covers(kit):
    guarded = rolecall_starlette.require_role("publisher", kit=kit, prefixes=ROOM)(Behind())
    lines = {line.path: line.requires for line in routes_of(rolecall_starlette.RolecallMiddleware(guarded, kit))}
    assert lines["/video/sessions/{session_id}/tokens"].startswith("the kit's own")
    assert [requires for path, requires in lines.items() if path.startswith("/rooms")] == [
        "role:publisher of {session_id}"
    ]


# -- an encoded slash ----------------------------------------------------------------------------------


class RoutesByRawPath:
    """Takes an encoded slash for a part of a segment, as Sanic does."""

    def __init__(self) -> None:
        self.runs: Runs = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        segments = scope["raw_path"].decode().split("/")
        if segments[:2] == ["", "rooms"] and len(segments) > 2:
            self.runs.append(segments[2])
        await Behind()(scope, receive, send)


def test_an_encoded_slash_names_no_other_session(kit):
    app = RoutesByRawPath()
    guarded = rolecall_starlette.require_token(kit=kit, prefixes=ROOM)(app)
    session = kit.create_session()
    path, token = f"/rooms/{session.session_id}", session.generate_token()
    assert ask(guarded, "GET", f"{path}%2Fother", token).status == 400
    assert ask(guarded, "GET", f"{path}%2fother", token).status == 400
    assert app.runs == []
    assert ask(guarded, "GET", f"{path}/files/a%2Fb", token).status == 200
    assert app.runs == [session.session_id]
