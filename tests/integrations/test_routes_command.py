"""``rolecall routes``: what it says of real apps is what real requests meet, and every classic mistake is caught."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import bottle
import flask
import pytest
from click.testing import CliRunner
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from flask.views import MethodView, View
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient, WebSocketDenialResponse
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.middleware.shared_data import SharedDataMiddleware
from werkzeug.test import Client

import rolecall_flask
import rolecall_starlette
import rolecall_wsgi
from rolecall.cli import apps
from rolecall.cli.commands import rolecall
from rolecall.errors import ConfigurationError
from rolecall.http.api.sdk import SDK_ROUTES
from rolecall.http.guards.audit import Access, GuardedRoute
from rolecall.http.guards.marks import public
from rolecall_fastapi import RoleRequired

from ..untyped import untyped

#: A WSGI guard that lets in with a token of any session.
ANY_SESSION = rolecall_wsgi.require_token(session_param=None)
PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def required(app) -> dict[str, str]:
    """What each line of the list requires, by methods and path, but for the kit's own routes."""
    return {
        f"{','.join(line.methods)} {line.path}": line.requires
        for line in apps.routes_of(app)
        if line.access is not Access.KIT
    }


def codes(app) -> dict[str, list[str]]:
    """The mistakes, by methods and path."""
    return {
        f"{','.join(line.methods)} {line.path}": [mistake.code for mistake in line.mistakes]
        for line in apps.routes_of(app)
        if line.mistakes
    }


# -- what is listed is what requests meet ----------------------------------------------------------


def flask_app(kit) -> flask.Flask:
    """A Flask app with a view of every kind."""
    role, token = rolecall_flask.require_role, rolecall_flask.require_token
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit), url_prefix="/video")

    @app.get("/open")
    def opened():
        return "open"

    @app.get("/public")
    @rolecall_flask.public
    def opened_on_purpose():
        return "public"

    @app.route("/rooms/<session_id>", methods=["GET", "POST"])
    @role("moderator")
    def room(session_id):
        return "room"

    @app.get("/halls/<int:hall>/<path:rest>")
    @role("moderator", session_param="hall")
    def hall(hall, rest):
        return "hall"

    class Parts(MethodView):
        @token
        def get(self):
            return "get"

        def post(self):
            return "post"

        @rolecall_flask.public
        def put(self):
            return "put"

    app.add_url_rule("/parts", view_func=Parts.as_view("parts"))

    @role("publisher")
    class Whole(MethodView):
        def get(self):
            return "get"

    class Child(Whole):
        def post(self):
            return "post"

    app.add_url_rule("/child", view_func=Child.as_view("child"))

    class Decorated(View):
        decorators: ClassVar = [token]

        def dispatch_request(self):
            return "decorated"

    app.add_url_rule("/decorated", view_func=Decorated.as_view("decorated"))

    class Dispatched(View):
        @token
        def dispatch_request(self):
            return "dispatched"

    app.add_url_rule("/dispatched", view_func=Dispatched.as_view("dispatched"))

    staff = flask.Blueprint("staff", __name__, url_prefix="/staff")
    rolecall_flask.protect(staff)
    rolecall_flask.protect(staff, role("moderator"))
    staff.add_url_rule("/", "index", lambda: "staff")
    staff.add_url_rule("/poster", "poster", rolecall_flask.public(lambda: "poster"))
    nested = flask.Blueprint("nested", __name__, url_prefix="/nested")
    nested.add_url_rule("/", "index", lambda: "nested")
    nested.add_url_rule("/own", "own", rolecall_flask.public(token(lambda: "own")))
    staff.register_blueprint(nested)
    app.register_blueprint(staff)
    return app


def protected_flask_app(kit) -> flask.Flask:
    app = flask_app(kit)
    return rolecall_flask.protect(app, rolecall_flask.require_capability("signal"))


def answer(text: str):
    def endpoint(request):
        return PlainTextResponse(text)

    return endpoint


async def asgi_function(scope, receive, send):
    await PlainTextResponse("asgi")(scope, receive, send)


class AsgiApp:
    async def __call__(self, scope, receive, send):
        await asgi_function(scope, receive, send)


async def accept(websocket):
    await websocket.accept()
    await websocket.close()


async def greet(websocket):
    await accept(websocket)


class Parts(HTTPEndpoint):
    @rolecall_starlette.require_role("moderator")
    async def get(self, request):
        return PlainTextResponse("get")

    async def post(self, request):
        return PlainTextResponse("post")

    @rolecall_starlette.public
    async def put(self, request):
        return PlainTextResponse("put")


@rolecall_starlette.require_token
class Whole(HTTPEndpoint):
    async def get(self, request):
        return PlainTextResponse("get")


class Child(Whole):
    async def post(self, request):
        return PlainTextResponse("post")


@rolecall_starlette.require_token
class Socket(WebSocketEndpoint):
    async def on_connect(self, websocket):
        await websocket.accept()


def starlette_routes(kit):
    role, token, protect = rolecall_starlette.require_role, rolecall_starlette.require_token, rolecall_starlette.protect
    sub = Starlette(
        routes=[
            Route("/", answer("sub")),
            Route("/open", rolecall_starlette.public(answer("open"))),
            Route("/deep/{session_id}", answer("deep")),
        ],
        middleware=[Middleware(GZipMiddleware)],
    )
    sub.state.rolecall = kit
    return [
        Mount("/video", app=rolecall_starlette.rolecall_app(kit), name="video"),
        Route("/open", answer("open")),
        Route("/public", rolecall_starlette.public(answer("public"))),
        Route("/rooms/{session_id}", role("moderator")(answer("room")), methods=["GET", "POST"]),
        Route("/halls/{hall:int}/{rest:path}", role("moderator", session_param="hall")(answer("hall"))),
        Route("/parts", Parts),
        Route("/child", Child),
        token(Route("/route", answer("route"))),
        token(Route("/route/open", rolecall_starlette.public(answer("open")))),
        Route("/middleware", answer("middleware"), middleware=[Middleware(token)]),
        Route("/asgi", AsgiApp()),
        Route("/asgi-guarded", token(AsgiApp())),
        Mount("/staff", routes=[Route("/", answer("staff"))], middleware=[Middleware(token)]),
        protect(
            Mount(
                "/guarded",
                routes=[
                    Route("/", answer("guarded")),
                    Route("/poster", rolecall_starlette.public(answer("poster"))),
                    Route("/own", rolecall_starlette.public(token(answer("own")))),
                    Mount("/{session_id}", routes=[Route("/in", answer("in")), WebSocketRoute("/ws", accept)]),
                ],
            ),
            role("publisher"),
        ),
        Mount("/sub", app=protect(sub)),
        Mount("/wrapped", app=protect(GZipMiddleware(sub))),
        Mount("/files", app=StaticFiles(directory=Path(__file__).parent)),
        Mount("/files-public", app=rolecall_starlette.public(AsgiApp())),
        Mount("/files-guarded", app=token(session_param=None)(AsgiApp())),
        Mount("/files-guarded-and-public", app=token(rolecall_starlette.public(AsgiApp()))),
        Mount("/function", app=token(session_param=None)(asgi_function)),
        Mount("/functions/{session_id}", app=token(asgi_function)),
        Mount("/prefixes", app=token(prefixes=["/rooms/{session_id}", "/staff"])(AsgiApp())),
        Route("/optional/{session_id}", role("moderator")(token(optional=True)(answer("optional")))),
        Route("/exact/{room}", role("moderator", exact=True, session_param="room")(answer("exact"))),
        Route("/login", rolecall_starlette.guarded_by("login_required")(answer("login"))),
        Host("api.example.org", app=Router([Route("/host", token(answer("host")))])),
        WebSocketRoute("/ws/{session_id}", token(accept)),
        WebSocketRoute("/ws-open", greet),
        WebSocketRoute("/ws-class", Socket),
    ]


def starlette_app(kit) -> Starlette:
    return Starlette(routes=starlette_routes(kit))


def protected_starlette_app(kit):
    return rolecall_starlette.protect(starlette_app(kit))


def starlette_app_in_a_guard_as_middleware(kit) -> Starlette:
    app = starlette_app(kit)
    app.add_middleware(rolecall_starlette.require_role("subscriber"))
    return app


def router_in_a_guard_as_middleware(kit) -> Router:
    guard = rolecall_starlette.require_token(kit=kit)
    return Router([Route("/", rolecall_starlette.public(answer("")))], middleware=[Middleware(guard)])


def fastapi_app(kit) -> FastAPI:
    app = FastAPI()
    app.state.rolecall = kit
    moderator = Depends(RoleRequired("moderator"))

    @app.get("/open")
    async def opened():
        return "open"

    @app.get("/rooms/{session_id}")
    async def room(session_id: str, grant=moderator):
        return "room"

    @app.get("/decorated")
    @rolecall_starlette.require_token
    async def decorated(request: Request):
        return "decorated"

    async def signed_in(grant=moderator):
        return grant

    @app.get("/nested", dependencies=[Depends(signed_in)])
    async def nested():
        return "nested"

    @app.websocket("/ws/{session_id}")
    @rolecall_starlette.require_token
    async def websocket(websocket: WebSocket):
        await accept(websocket)

    inner = APIRouter(prefix="/inner")

    @inner.get("/")
    async def index():
        return "inner"

    @inner.get("/{session_id}/public")
    @rolecall_starlette.public
    async def poster(session_id: str):
        return "poster"

    inner.add_route("/plain", rolecall_starlette.public(answer("plain")))
    mounted = Starlette(routes=[Route("/", answer("mounted"))])
    mounted.state.rolecall = kit
    inner.mount("/mounted", rolecall_starlette.protect(mounted))
    outer = APIRouter(prefix="/outer", dependencies=[moderator])
    outer.include_router(inner, prefix="/more")
    app.include_router(outer)
    app.include_router(inner, prefix="/bare")
    return app


def protected_fastapi_app(kit):
    return rolecall_starlette.protect(fastapi_app(kit))


def make_site():
    """An app of its own each time, since guards leave marks."""

    def site(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"site"]

    return site


def wsgi_app(kit):
    guarded = rolecall_wsgi.require_role("moderator", prefixes=["/admin", "/rooms/{session_id}"], methods=["GET"])(
        make_site()
    )
    return rolecall_wsgi.RolecallMiddleware(guarded, kit)


def protected_wsgi_app(kit):
    inner = rolecall_wsgi.require_role("moderator", prefixes=["/admin"])(make_site())
    outer = rolecall_wsgi.protect(inner, ANY_SESSION, public=["/health", "/rooms/{room}/poster"])
    return rolecall_wsgi.RolecallMiddleware(ProxyFix(outer), kit, prefix="/api")


def dispatched_wsgi_app(kit):
    token = rolecall_wsgi.require_token(kit=kit, session_param=None)
    return DispatcherMiddleware(flask_app(kit), {"/guarded": token(make_site()), "/site": ProxyFix(make_site())})


def flask_app_in_a_wsgi_guard(kit) -> flask.Flask:
    app = flask_app(kit)
    guard = rolecall_wsgi.require_token(prefixes=["/staff", "/rooms/{session_id}", "/halls/7"])
    untyped(app).wsgi_app = rolecall_wsgi.RolecallMiddleware(guard(app.wsgi_app), kit)
    return app


def bottle_app(kit):
    guard = rolecall_wsgi.require_token(kit=kit, session_param=None)
    return rolecall_wsgi.protect(bottle.Bottle(), guard, public=["/health"])


WSGI_APPS = [
    flask_app,
    protected_flask_app,
    wsgi_app,
    protected_wsgi_app,
    dispatched_wsgi_app,
    flask_app_in_a_wsgi_guard,
    bottle_app,
]
ASGI_APPS = [
    starlette_app,
    protected_starlette_app,
    starlette_app_in_a_guard_as_middleware,
    router_in_a_guard_as_middleware,
    fastapi_app,
    protected_fastapi_app,
]


def path_of(line: GuardedRoute) -> str:
    """A path that a line stands for; not one that is special to some guard."""
    path = PARAMETER.sub("1", line.path.removeprefix("//api.example.org"))
    return path.replace("…", "what/ever")


def methods_of(line: GuardedRoute) -> list[str]:
    return [{"any": "GET", "others": "PUT"}.get(method, method) for method in line.methods]


def is_kept_out(line: GuardedRoute) -> bool:
    """Whether a line says that a request without a token is answered with 401."""
    if line.access is Access.KIT:
        # A server without its credential is answered with 403, as the SDKs expect it.
        return line.requires not in ("the kit's own (public)", "the kit's own (server)")
    return line.access is Access.GUARDED


def asked_of(line: GuardedRoute) -> bool:
    # Whom a policy lets in, it says itself; and no media service of these kits sends webhooks.
    return not any(who in line.requires for who in ("(policy)", "(media service)"))


@pytest.mark.parametrize("make", WSGI_APPS, ids=lambda make: make.__name__)
def test_a_wsgi_app_answers_as_its_list_says(make, kit):
    app = make(kit)
    lines = list(filter(asked_of, apps.routes_of(app)))
    said = {(method, line.path): is_kept_out(line) for line in lines for method in methods_of(line)}
    met = {
        (method, line.path): Client(app).open(path_of(line), method=method).status_code == 401
        for line in lines
        for method in methods_of(line)
    }
    assert said == met


@pytest.mark.parametrize("make", ASGI_APPS, ids=lambda make: make.__name__)
def test_an_asgi_app_answers_as_its_list_says(make, kit):
    app = make(kit)
    lines = list(filter(asked_of, apps.routes_of(app)))
    said = {(method, line.path): is_kept_out(line) for line in lines for method in methods_of(line)}
    met = {(method, line.path): is_refused(app, line, method) for line in lines for method in methods_of(line)}
    assert said == met


def is_refused(app, line: GuardedRoute, method: str) -> bool:
    host = "api.example.org" if line.path.startswith("//") else "testserver"
    client = TestClient(app, base_url=f"http://{host}")
    if method != "WEBSOCKET":
        return client.request(method, path_of(line)).status_code == 401
    try:
        with client.websocket_connect(path_of(line)):
            return False
    except WebSocketDenialResponse as denial:
        return denial.status_code == 401


@pytest.mark.parametrize("make", [*WSGI_APPS, *ASGI_APPS], ids=lambda make: make.__name__)
def test_a_token_for_another_session_is_refused_where_the_list_says_so(make, kit):
    """What is bound answers 403, and what is not bound does not."""
    app = make(kit)
    token = kit.create_session().generate_token("moderator")
    headers = {"Authorization": f"Bearer {token}"}
    for line in apps.routes_of(app):
        if line.access is not Access.GUARDED or "WEBSOCKET" in line.methods:
            continue
        method, path = methods_of(line)[0], path_of(line)
        if make in WSGI_APPS:
            status = Client(app).open(path, method=method, headers=headers).status_code
        else:
            host = "api.example.org" if line.path.startswith("//") else "testserver"
            client = TestClient(app, base_url=f"http://{host}")
            status = client.request(method, path, headers=headers).status_code
        assert (status == 403) == any(demand.session_param for demand in line.demands), line


def test_every_route_of_a_flask_app_is_listed(kit):
    app = flask_app(kit)
    rules = {re.sub(r"<(?:(path)|\w+:)?:?(\w+)>", r"{\2}", rule.rule) for rule in app.url_map.iter_rules()}
    assert {line.path.replace(":path}", "}") for line in apps.routes_of(app)} == rules


def test_what_a_flask_app_requires(kit):
    assert required(flask_app(kit)) == {
        "GET /static/{filename:path}": "open, made by Flask",
        "GET /open": "OPEN",
        "GET /public": "public",
        "GET,POST /rooms/{session_id}": "role:moderator of {session_id}",
        "GET /halls/{hall}/{rest:path}": "role:moderator of {hall}",
        "GET /parts": "token",
        "POST /parts": "OPEN",
        "PUT /parts": "public",
        "GET,POST /child": "role:publisher",
        "GET /decorated": "token",
        "GET /dispatched": "token",
        "GET /staff/": "token and role:moderator",
        "GET /staff/poster": "public",
        "GET /staff/nested/": "token and role:moderator",
        "GET /staff/nested/own": "token",
    }


def test_the_kit_s_own_routes_are_listed_once_with_what_each_requires(kit):
    own = [line for line in apps.routes_of(flask_app(kit)) if line.access is Access.KIT]
    at = "/video/sessions/{session_id}"
    assert {f"{','.join(line.methods)} {line.path}": line.requires for line in own if "/sessions" in line.path} == {
        "GET /video/sessions": "the kit's own (server)",
        "POST /video/sessions": "the kit's own (policy)",
        f"GET {at}": "the kit's own (token)",
        f"DELETE {at}": "the kit's own (role:moderator)",
        f"POST {at}/tokens": "the kit's own (policy)",
        f"GET {at}/tokens": "the kit's own (role:moderator or server)",
        f"POST {at}/ticket": "the kit's own (capability:connect)",
        f"POST {at}/signal": "the kit's own (capability:signal)",
        f"DELETE {at}/connections/{{connection_id}}": "the kit's own (capability:force_disconnect)",
        f"GET {at}/connections": "the kit's own (capability:force_disconnect)",
        f"GET {at}/streams": "the kit's own (capability:force_unpublish)",
        f"POST {at}/streams/{{stream_id}}/mute": "the kit's own (capability:force_unpublish)",
        f"POST {at}/mute": "the kit's own (capability:force_unpublish)",
        **dict.fromkeys(
            (
                f"PUT,DELETE {at}/exclusions/{{actor_id}}",
                f"POST {at}/exclusions",
                f"POST {at}/readmissions",
                f"POST {at}/reset",
            ),
            "the kit's own (capability:force_disconnect or server)",
        ),
    }
    servers = {"/video/sessions", *(f"/video{route.path}" for route in SDK_ROUTES)}
    assert {line.path for line in own if line.requires == "the kit's own (server)"} == servers
    clients = {line.path for line in own if line.requires == "the kit's own (client)"}
    assert clients == {"/video/tokens/revoke", "/video/tokens/introspect"}


def test_a_whole_flask_app_guards_its_static_files_and_spares_the_kit_s_routes(kit):
    lines = {line.path: line for line in apps.routes_of(protected_flask_app(kit))}
    assert lines["/static/{filename:path}"].requires == "capability:signal"
    assert lines["/video/sessions"].requires == "the kit's own (policy)"


def test_fastapi_s_own_pages_are_told_from_the_app_s(kit):
    lines = {line.path: line for line in apps.routes_of(fastapi_app(kit))}
    made = [path for path, line in lines.items() if line.access is Access.FRAMEWORK]
    assert made == ["/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"]


def test_what_fastapi_serves_as_a_front_end_is_listed(kit, tmp_path):
    (tmp_path / "index.html").write_text("hello")
    app = fastapi_with_a_kit(kit)
    app.frontend("/", directory=tmp_path)
    inner = APIRouter(dependencies=[Depends(RoleRequired("moderator"))])
    inner.frontend("/in", directory=tmp_path)
    app.include_router(inner, prefix="/staff")
    assert required(app) == {
        "GET /{file:path}": "open, made by FastAPI",
        "GET /staff/in/{file:path}": "role:moderator",
    }
    client = TestClient(app)
    assert [client.get(path).status_code for path in ("/index.html", "/staff/in/index.html")] == [200, 401]


def test_names_are_those_for_reverse_routing(kit):
    lines = {line.path: line.name for line in apps.routes_of(starlette_app(kit))}
    assert (lines["/video/sessions"], lines["/parts"]) == ("video:sessions", "Parts")
    assert {line.name for line in apps.routes_of(flask_app(kit))} >= {"rolecall.sessions", "staff.nested.index"}


# -- the classic mistakes --------------------------------------------------------------------------


def flask_with_a_kit(kit) -> flask.Flask:
    app = flask.Flask(__name__, static_folder=None)
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit), url_prefix="/video")
    return app


def flask_guard_above_the_route(kit):
    app = flask_with_a_kit(kit)
    rolecall_flask.require_role("moderator")(app.get("/x")(lambda: ""))
    return app


def flask_guard_above_the_route_and_one_below(kit):
    app = flask_with_a_kit(kit)
    rolecall_flask.require_role("moderator")(app.get("/x")(rolecall_flask.require_token(lambda: "")))
    return app


def flask_class_guarded_too_late(kit):
    class Late(MethodView):
        def get(self):
            return ""

    app = flask_with_a_kit(kit)
    app.add_url_rule("/x", view_func=Late.as_view("x"))
    rolecall_flask.require_token(Late)
    return app


def flask_cache_above_the_guard(kit):
    app = flask_with_a_kit(kit)

    @app.get("/x")
    @functools.cache
    @rolecall_flask.require_role("moderator")
    def x():
        return ""

    return app


def flask_session_param_that_is_not_there(kit):
    app = flask_with_a_kit(kit)
    app.get("/x")(rolecall_flask.require_token(session_param="room")(lambda: ""))
    return app


def flask_without_a_kit(_):
    app = flask.Flask(__name__, static_folder=None)
    app.get("/x")(rolecall_flask.require_token(lambda: ""))
    return app


def flask_with_two_kits(kit):
    app = flask_with_a_kit(kit)
    app.extensions["rolecall"].append(object())
    app.get("/x")(rolecall_flask.require_token(lambda: ""))
    return app


def flask_class_guarded_in_part(kit):
    class Parts(MethodView):
        @rolecall_flask.require_token
        def get(self):
            return ""

        def delete(self):
            return ""

    app = flask_with_a_kit(kit)
    app.add_url_rule("/x", view_func=Parts.as_view("x"))
    return app


def starlette_with(kit, *routes) -> Starlette:
    app = Starlette(routes=routes)
    app.state.rolecall = kit
    return app


def fastapi_with_a_kit(kit) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.rolecall = kit
    return app


def starlette_session_param_that_is_not_there(kit):
    return starlette_with(kit, Route("/x", rolecall_starlette.require_token(session_param="room")(answer(""))))


def starlette_without_a_kit(_):
    return Starlette(routes=[Route("/x", rolecall_starlette.require_token(answer("")))])


def starlette_kit_outside_of_the_app_that_is_mounted(kit):
    inner = Starlette(routes=[Route("/", rolecall_starlette.require_token(answer("")))])
    return starlette_with(kit, Mount("/x", app=inner))


def starlette_with_two_kits(kit):
    others = rolecall_starlette.rolecall_routes(type(kit)("654321", "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789"))
    own = rolecall_starlette.rolecall_routes(kit)
    return Starlette(routes=[*own, *others, Route("/x", rolecall_starlette.require_token(answer("")))])


def flask_handler_overridden_without_its_guard(kit):
    class Lesson(MethodView):
        @rolecall_flask.require_token
        def get(self):
            return ""

    class Bare(Lesson):
        def get(self):
            return ""

    app = flask_with_a_kit(kit)
    app.add_url_rule("/x", view_func=Bare.as_view("x"))
    return app


def flask_decorators_overridden_without_the_guard(kit):
    class Lesson(MethodView):
        decorators: ClassVar = [rolecall_flask.require_token()]

        def get(self):
            return ""

    class Bare(Lesson):
        decorators: ClassVar = []

    app = flask_with_a_kit(kit)
    app.add_url_rule("/x", view_func=Bare.as_view("x"))
    return app


def starlette_handler_overridden_without_its_guard(kit):
    class Lesson(HTTPEndpoint):
        @rolecall_starlette.require_token
        async def get(self, request):
            return PlainTextResponse("")

    class Bare(Lesson):
        async def get(self, request):
            return PlainTextResponse("")

    app = Starlette(routes=[Route("/x", Bare)])
    app.state.rolecall = kit
    return app


def starlette_class_guarded_in_part(kit):
    class GuardedInPart(HTTPEndpoint):
        @rolecall_starlette.require_token
        async def get(self, request): ...

        async def delete(self, request): ...

    return starlette_with(kit, Route("/x", GuardedInPart))


def starlette_guard_between_two_routes(kit):
    async def x(request): ...

    return starlette_with(kit, Route("/old", x), Route("/x", rolecall_starlette.require_token(x)))


def starlette_parameter_of_another_name(kit):
    return starlette_with(kit, Route("/x/{room}", rolecall_starlette.require_token(answer(""))))


def starlette_app_of_another_framework(kit):
    return starlette_with(kit, Mount("/x", app=rolecall_starlette.require_token(AsgiApp())))


def fastapi_guard_above_the_route(kit):
    app = fastapi_with_a_kit(kit)

    @rolecall_starlette.require_role("moderator")
    @app.get("/x")
    async def x(request: Request):
        return ""

    return app


def fastapi_guard_without_a_request(kit):
    app = fastapi_with_a_kit(kit)

    @app.get("/x")
    @rolecall_starlette.require_token
    async def x():
        return ""

    return app


def fastapi_session_in_the_query(kit):
    app = fastapi_with_a_kit(kit)
    app.get("/x", dependencies=[Depends(RoleRequired("moderator"))])(lambda session_id: "")
    return app


def fastapi_parameter_of_another_name(kit):
    app = fastapi_with_a_kit(kit)
    app.get("/x/{room}", dependencies=[Depends(RoleRequired("moderator"))])(lambda room: "")
    return app


def fastapi_guard_that_is_overridden(kit):
    app = fastapi_with_a_kit(kit)
    required_role = RoleRequired("moderator")
    app.get("/x", dependencies=[Depends(required_role)])(lambda: "")
    app.dependency_overrides[required_role] = lambda: None
    return app


def fastapi_plain_route_in_a_guarded_router(kit):
    app, router = fastapi_with_a_kit(kit), APIRouter()
    router.add_route("/x", accept)
    app.include_router(router, dependencies=[Depends(RoleRequired("moderator"))])
    return app


def fastapi_mount_in_a_guarded_app(kit):
    app = fastapi_with_a_kit(kit)
    app.router.dependencies.append(Depends(RoleRequired("moderator")))
    app.mount("/x", Starlette(routes=[Route("/y", accept)]))
    return app


def fastapi_guard_within_a_dependency_of_the_app(kit):
    def teacher(grant: Any = Depends(RoleRequired("moderator"))):  # noqa: B008
        return grant

    app = fastapi_with_a_kit(kit)
    app.router.dependencies.append(Depends(teacher))
    app.router.add_route("/x", accept)
    return app


def wsgi_without_a_kit(_):
    return rolecall_wsgi.protect(make_site(), ANY_SESSION)


def wsgi_with_two_kits(kit):
    other = type(kit)("654321", "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789")
    inner = rolecall_wsgi.RolecallMiddleware(rolecall_wsgi.protect(make_site(), ANY_SESSION), kit, prefix="/a")
    return rolecall_wsgi.RolecallMiddleware(inner, other, prefix="/b")


def wsgi_guard_around_the_kit(kit):
    return rolecall_wsgi.protect(rolecall_wsgi.RolecallMiddleware(make_site(), kit), ANY_SESSION)


def wsgi_guard_that_is_thrown_away(kit):
    def bare(environ, start_response): ...

    rolecall_wsgi.protect(bare, ANY_SESSION)
    return rolecall_wsgi.RolecallMiddleware(bare, kit)


def wsgi_guard_that_does_not_see_the_session(kit):
    app = flask_with_a_kit(kit)
    app.get("/<session_id>")(lambda session_id: "")
    return rolecall_wsgi.require_token(kit=kit, prefixes=["/"])(app)


MISTAKES = [
    (flask_guard_above_the_route, "guard_above_route"),
    (flask_guard_above_the_route_and_one_below, "guard_above_route"),
    (flask_class_guarded_too_late, "guarded_too_late"),
    (flask_session_param_that_is_not_there, "no_session_param"),
    (flask_without_a_kit, "no_kit"),
    (flask_with_two_kits, "no_kit"),
    (flask_class_guarded_in_part, "guarded_in_part"),
    (flask_cache_above_the_guard, "cached_above_guard"),
    (starlette_session_param_that_is_not_there, "no_session_param"),
    (starlette_without_a_kit, "no_kit"),
    (starlette_kit_outside_of_the_app_that_is_mounted, "no_kit"),
    (starlette_with_two_kits, "no_kit"),
    (starlette_class_guarded_in_part, "guarded_in_part"),
    (starlette_handler_overridden_without_its_guard, "guard_lost"),
    (flask_handler_overridden_without_its_guard, "guard_lost"),
    (flask_decorators_overridden_without_the_guard, "guard_lost"),
    (starlette_guard_between_two_routes, "guard_above_route"),
    (starlette_parameter_of_another_name, "unsettled_session"),
    (starlette_app_of_another_framework, "unsettled_session"),
    (fastapi_guard_above_the_route, "guard_above_route"),
    (fastapi_guard_without_a_request, "no_request"),
    (fastapi_session_in_the_query, "unbound_query"),
    (fastapi_parameter_of_another_name, "unsettled_session"),
    (fastapi_guard_that_is_overridden, "guard_overridden"),
    (fastapi_plain_route_in_a_guarded_router, "guard_skipped"),
    (fastapi_mount_in_a_guarded_app, "guard_skipped"),
    (fastapi_guard_within_a_dependency_of_the_app, "guard_skipped"),
    (wsgi_without_a_kit, "no_kit"),
    (wsgi_with_two_kits, "no_kit"),
    (wsgi_guard_around_the_kit, "no_kit"),
    (wsgi_guard_that_is_thrown_away, "guard_above_route"),
    (wsgi_guard_that_does_not_see_the_session, "unbound_session"),
]


@pytest.mark.parametrize(("make", "code"), MISTAKES, ids=[make.__name__ for make, _ in MISTAKES])
def test_a_classic_mistake_is_caught(make, code, kit):
    assert {one for found in codes(make(kit)).values() for one in found} == {code}


@pytest.mark.parametrize("make", [*WSGI_APPS, *ASGI_APPS], ids=lambda make: make.__name__)
def test_nothing_is_called_a_mistake_that_is_none(make, kit):
    """All that is wrong with these apps is known."""
    known = {"guarded_in_part", "unbound_session"}
    assert {code for found in codes(make(kit)).values() for code in found} <= known


@pytest.mark.parametrize("make", [make for make, _ in MISTAKES], ids=lambda make: make.__name__)
def test_whatever_the_mistake_what_is_listed_as_guarded_lets_nobody_in(make, kit):
    app = make(kit)
    for line in apps.routes_of(app):
        if line.access is Access.GUARDED and "WEBSOCKET" not in line.methods:
            assert status_of(app, methods_of(line)[0], path_of(line)) in (401, 500), line


def status_of(app, method: str, path: str) -> int:
    if isinstance(app, Starlette):
        return TestClient(app, raise_server_exceptions=False).request(method, path).status_code
    try:
        return Client(app).open(path, method=method).status_code
    except ConfigurationError:  # what servers answer with 500
        return 500


MISTAKES_THAT_LEAVE_A_DOOR_OPEN = [
    fastapi_guard_that_is_overridden,
]


def test_a_guarded_function_that_is_a_dependency_guards(kit):
    app = fastapi_with_a_kit(kit)

    @rolecall_starlette.require_token
    async def signed_in(request: Request):
        return ""

    app.get("/x", dependencies=[Depends(signed_in)])(lambda: "")
    assert (required(app), codes(app), TestClient(app).get("/x").status_code) == ({"GET /x": "token"}, {}, 401)


@pytest.mark.parametrize(
    ("parameter", "is_noted"), [("room", True), ("meetingId", True), ("call_id", True), ("page", False)]
)
def test_a_query_that_may_name_the_session_is_noted_until_it_is_said(kit, parameter, is_noted):
    def lines(**said):
        app = fastapi_with_a_kit(kit)
        endpoint = eval(f"lambda {parameter}: ''")
        app.get("/x", dependencies=[Depends(RoleRequired("publisher", **said))])(endpoint)
        return [(line.is_good, bool(line.notes)) for line in apps.routes_of(app)]

    assert lines() == [(True, is_noted)]
    assert lines(session_param=None) == lines(session=lambda request: None) == [(True, False)]


@pytest.mark.parametrize("make", MISTAKES_THAT_LEAVE_A_DOOR_OPEN, ids=lambda make: make.__name__)
def test_what_a_mistake_leaves_open_is_listed_as_open_and_is(make, kit):
    app = make(kit)
    assert required(app) == {"GET /x": "OPEN"}
    assert TestClient(app).get("/x").status_code == 200


def test_a_guard_around_an_app_that_is_thrown_away_is_told_of_in_the_words_of_apps(kit):
    mistakes = [mistake for line in apps.routes_of(wsgi_guard_that_is_thrown_away(kit)) for mistake in line.mistakes]
    (message,) = {mistake.message for mistake in mistakes}
    assert message.endswith("; serve what require_token(…)(app) returned, not the app itself")


@pytest.mark.parametrize("rule", ["/<room>", "/<sessionId>", "/<int:lesson>", "/<path:page>"])
def test_a_parameter_of_which_nobody_says_whether_it_names_the_session_fails(kit, rule):
    app = flask_with_a_kit(kit)
    app.get(rule)(rolecall_flask.require_token(lambda **_: ""))
    line = apps.routes_of(app)[-1]
    assert ([mistake.code for mistake in line.mistakes], line.is_good) == (["unsettled_session"], False)


# -- the command -----------------------------------------------------------------------------------

SECRET = "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
GOOD = f"""
import flask
from rolecall import Rolecall
from rolecall_flask import protect, public, require_role, rolecall_blueprint

def create_app():
    made = flask.Flask(__name__)
    made.register_blueprint(rolecall_blueprint(Rolecall("123456", "{SECRET}")), url_prefix="/video")

    @made.get("/rooms/<session_id>")
    @require_role("moderator")
    def room(session_id): return ""

    @made.get("/health")
    @public
    def health(): return ""

    return made

app = create_app()
number = 1
"""
OPEN = GOOD + "\napp.get('/open')(lambda: '')\n"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(folder):
    """Writes a module under a name of its own, and says that name."""

    def write(text: str) -> str:
        name = f"served_{len(list(folder.iterdir()))}_{os.getpid()}"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    return write


def run(*arguments: str):
    return CliRunner(catch_exceptions=False).invoke(rolecall, ["routes", *arguments])


def test_the_table_is_aligned_and_ends_with_a_sum(write):
    output = run(write(OPEN)).stdout.splitlines()
    assert output[0].split() == ["methods", "path", "endpoint", "requires"]
    column = output[0].index("requires")
    table = output[: output.index("")]
    assert all(line[column - 1] == " " and line[column] != " " for line in table)
    assert output[-1] == f"{len(table) - 1} routes, 1 open, 0 mistakes"


def test_what_to_do_about_an_open_route_is_said(write):
    assert "GET /open: it is open; put a guard on it, or mark it as @public" in run(write(OPEN)).stdout


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [(GOOD, [], 0), (GOOD, ["--check"], 0), (OPEN, [], 0), (OPEN, ["--check"], 1), (OPEN, ["--check", "--json"], 1)],
)
def test_only_check_fails_and_only_where_something_is_to_be_done(write, text, options, code):
    assert run(write(text), *options).exit_code == code


@pytest.mark.parametrize(("make", "code"), MISTAKES, ids=[make.__name__ for make, _ in MISTAKES])
def test_check_fails_for_every_classic_mistake(make, code, kit, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "served", make(kit), raising=False)
    monkeypatch.setitem(sys.modules, "mistaken", sys.modules[__name__])
    assert run("mistaken:served", "--check").exit_code == 1


@pytest.mark.parametrize("suffix", ["", ":app", ":create_app()"])
def test_an_app_is_found_by_its_name_by_a_usual_name_or_by_its_factory(write, suffix):
    result = run(write(GOOD) + suffix)
    assert (result.exit_code, "/rooms/{session_id}" in result.stdout) == (0, True)


def test_application_is_a_usual_name_too(write):
    assert run(write(GOOD.replace("app = create_app", "application = create_app"))).exit_code == 0


def test_json_has_every_line_with_its_parts(write):
    name = write(GOOD)
    data = json.loads(run(name, "--json").stdout)
    room = next(route for route in data["routes"] if route["endpoint"] == "room")
    assert (data["app"], data["ok"]) == (name, True)
    assert room == {
        "methods": ["GET"],
        "path": "/rooms/{session_id}",
        "endpoint": "room",
        "access": "guarded",
        "requires": "role:moderator of {session_id}",
        "guards": [{"scope": "role:moderator", "session_param": "session_id", "resolved": False, "optional": False}],
        "mistakes": [],
        "notes": [],
    }


def test_json_has_mistakes_with_their_codes(write):
    text = GOOD + "\nrequire_role('moderator')(app.get('/x')(lambda: ''))\n"
    data = json.loads(run(write(text), "--json").stdout)
    assert [mistake["code"] for route in data["routes"] for mistake in route["mistakes"]] == ["guard_above_route"]


def test_what_an_app_prints_when_it_is_imported_is_kept_out_of_the_answer(write):
    result = run(write(GOOD + "\nprint('hello')\n"), "--json")
    assert (json.loads(result.stdout)["ok"], "hello" in result.stderr) == (True, True)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no.such.module:app", "there is no module 'no'; expected MODULE:APP"),
        ("{name}:nothing", "has no 'nothing'"),
        ("{name}:number", "is a int, and no app"),
        ("{name}:number()", "is a int, and cannot be called"),
        ("{name}:create_app", "is a function, and no app"),
        ("{name}:flask", "is a module, and no app"),
        ("{name}:require_role()", "cannot be called without arguments: missing a required argument: 'role'"),
        ("{name}:", "names no app; expected MODULE:APP"),
        ("{name}:app.", "names no app"),
        ("/etc/passwd", "names no app"),
        ("{name}:create_app(1)", "cannot be called with these arguments: too many positional arguments"),
        ("{name}:create_app(open('x'))", "are no literals"),
        ("{name}:create_app(**{{}})", "are no literals"),
        ("{name}:create_app()()", "are no literals"),
        ("{name}:create_app(", "names no app"),
    ],
)
def test_an_app_that_is_not_there_is_said_in_a_line(write, reference, message):
    result = run(reference.format(name=write(GOOD)), "--check")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) <= 2


@pytest.mark.parametrize("arguments", ["'/rooms', testing=True", "prefix='/rooms', testing=True"])
def test_a_factory_takes_literals_as_arguments(write, arguments):
    name = write(
        GOOD.replace(
            "def create_app():",
            "def make(prefix, *, testing):\n    assert testing is True\n\n    return create_app()"
            "\n\n\ndef create_app():",
        )
    )
    assert run(f"{name}:make({arguments})", "--check").exit_code == 0


def test_the_kit_s_own_routes_are_left_out_on_demand(write):
    name = write(GOOD)
    everything, own = run(name).stdout, run(name, "--app", "--check")
    assert (own.exit_code, "the kit's own" in everything, "the kit's own" in own.stdout) == (0, True, False)


@pytest.mark.parametrize(
    ("attribute", "hint"),
    [(":create_app", ":create_app()'"), (":nothing", "Perhaps: {name}:app, {name}:create_app()")],
)
def test_a_hint_names_what_was_probably_meant(write, attribute, hint):
    name = write(GOOD)
    assert hint.format(name=name) in run(name + attribute).stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "failed with ZeroDivisionError: division by zero"),
        ("import no_such_thing", "failed with ModuleNotFoundError: No module named 'no_such_thing'"),
        ("def broken(:", "failed with SyntaxError"),
        ("raise SystemExit('stop')", "failed with SystemExit: stop"),
        ("from rolecall import Rolecall\nRolecall('123456', 'short')", "failed with InvalidKey"),
        ("raise ValueError('two\\nlines \\x1b[31m')", "failed with ValueError: two lines ?[31m"),
    ],
)
def test_an_app_that_cannot_be_imported_is_said_in_a_line_or_two(write, text, message):
    result = run(write(text))
    assert (result.exit_code, result.stdout, message in result.stderr) == (2, "", True)
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 2


def test_the_line_in_which_an_import_failed_is_named(write):
    name = write("import flask\n\n1 / 0\n")
    assert f"{name}.py:3" in run(name).stderr


@pytest.mark.parametrize(
    "mistake",
    [
        "rolecall.Rolecall('123456', 'short')",
        "rolecall_flask.require_role('king')",
        "rolecall_starlette.protect(None)",
        "rolecall_wsgi.require_token(methods='POST')",
    ],
)
def test_the_line_that_called_rolecall_wrongly_is_named_and_none_of_rolecalls_own(write, mistake):
    name = write(f"import rolecall, rolecall_flask, rolecall_starlette, rolecall_wsgi\n\n{mistake}\n")
    assert run(name).stderr.splitlines()[-1].endswith(f"{name}.py:3")


def test_a_factory_that_fails_is_said_in_a_line_or_two(write):
    name = write("def create_app():\n    return 1 / 0\n")
    result = run(f"{name}:create_app()")
    assert (result.exit_code, "calling" in result.stderr, f"{name}.py:2" in result.stderr) == (2, True, True)


def test_json_has_the_reason_why_there_is_no_list(write):
    result = run("no.such:app", "--json")
    assert (result.exit_code, json.loads(result.stdout)["ok"]) == (2, False)


def test_nothing_in_a_name_steers_the_terminal(write):
    text = GOOD + "\napp.add_url_rule('/x', 'red\\x1b[31m', lambda: '')\n"
    assert "\x1b" not in run(write(text)).stdout


def test_no_framework_is_imported_that_the_app_does_not_use(folder):
    (folder / "plain.py").write_text("def app(environ, start_response): ...\n")
    code = (
        "import sys\nfrom rolecall.cli import apps\n"
        "print([line.requires for line in apps.routes_of(apps.find_app('plain'))])\n"
        "print([name for name in ('flask', 'starlette', 'fastapi', 'rolecall_wsgi') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["['OPEN (unknown inside)']", "[]"]


def test_the_installed_command_finds_the_app_in_its_folder(folder):
    (folder / "site_app.py").write_text(OPEN)
    command = Path(sys.executable).with_name("rolecall")
    done = subprocess.run(
        [command, "routes", "site_app:app", "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "\x1b" not in done.stdout
    assert "OPEN" in done.stdout


def test_the_app_in_the_folder_goes_before_an_installed_module_of_its_name(folder):
    (folder / "this.py").write_text(OPEN)  # the Zen of Python has that name, too
    command = Path(sys.executable).with_name("rolecall")
    done = subprocess.run([command, "routes", "this"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "/open" in done.stdout) == (0, True)


def test_public_may_mark_an_app_that_nobody_knows():
    files = public(StaticFiles(directory=Path(__file__).parent))
    app = Starlette(routes=[Mount("/app", app=public(AsgiApp())), Mount("/files", app=files)])
    assert required(app) == {"any /app/…": "public", "GET /files/{file:path}": "public"}


# -- what a guard does not reach --------------------------------------------------------------------


def test_a_host_is_no_part_of_the_path_that_a_wsgi_guard_covers(kit):
    inner = flask.Flask("hosts", static_folder=None, subdomain_matching=True)
    inner.config["SERVER_NAME"] = "school.example"
    inner.add_url_rule("/users", "users", lambda: "open", subdomain="admin")
    guarded = rolecall_wsgi.require_role("moderator", prefixes=["/admin"])(inner)
    app = rolecall_wsgi.RolecallMiddleware(guarded, kit)
    assert required(app) == {"GET //admin/users": "OPEN"}
    assert Client(app).get("/users", base_url="http://admin.school.example").status_code == 200


def test_files_that_a_middleware_serves_are_open(kit, tmp_path):
    (tmp_path / "secret.txt").write_text("open")
    inner = flask_with_a_kit(kit)
    inner.add_url_rule("/x", "x", lambda: "in")
    rolecall_flask.protect(inner)
    app = SharedDataMiddleware(inner, {"/files": str(tmp_path)})
    assert [access for path, access in required(app).items() if "/files" in path] == ["OPEN"]
    with Client(app).get("/files/secret.txt") as answer:
        assert answer.get_data() == b"open"


def test_what_wraps_a_view_of_the_kit_is_not_the_kits_own(kit):
    app = flask_with_a_kit(kit)
    own = app.view_functions["rolecall.sessions"]
    app.add_url_rule("/x", "x", functools.wraps(own)(lambda: "in"))
    rolecall_flask.protect(app)
    assert required(app) == {"GET /x": "token"}
    assert Client(app).get("/x").status_code == 401


def test_a_class_that_dispatches_by_its_own_rules_is_not_opened_by_a_method(kit):
    class Own(View):
        @rolecall_flask.public
        def get(self):
            return "open"

        def dispatch_request(self):
            return "in"

    app = flask_with_a_kit(kit)
    app.add_url_rule("/x", view_func=Own.as_view("x"))
    rolecall_flask.protect(app)
    assert Client(app).get("/x").status_code == 401
