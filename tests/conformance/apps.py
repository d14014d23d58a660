"""One small site in Flask, Starlette and plain WSGI, for each of several kits: what the conformance suite asks.

Every kit has the same secret, a clock that stands still, and the same sessions, so what is answered is the same to the
byte. Which kit answers is the first label of the request's ``Host``; under ``/outer`` stands the same app once more,
mounted in another. The routes that SDKs call stand at the root as well. ``/-/reset`` and ``/-/status`` are for the
tests themselves.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import Callable
from typing import Any

import flask
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import rolecall_flask
import rolecall_starlette
import rolecall_wsgi
from rolecall import Allow, Deny, Grant, Rolecall, Web, hookimpl
from rolecall.errors import NotFoundAtService, PolicyDenied, Unavailable
from rolecall.hookspecs import blocking
from rolecall.http.guards.marks import public
from rolecall.policies import AllowAnyone
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores.memory import MemoryStore

API_KEY, API_SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
NOW = 1_795_186_800.0
ORIGIN = "https://app.example"
COOKIE, QUERY = "__Host-rolecall", "access_token"

#: A second project, which one of the kits serves as well, and a session of it.
SECOND_KEY, SECOND_SECRET = "654321", "fedcba0987654321fedcba0987654321fedcba0987"
OF_SECOND = "1_MX42NTQzMjF-fjE3OTUxODY4MDAwMDB-cmN1NGF2eHd3NG5rM2llNG5peGEzd3BwamxjdWV1cnc1anczY2M2d2l6flB-fg"
#: An application, and a session of it that its service made.
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
OF_APPLICATION = "2_MX43YjFkM2IyYy05NmYxLTRmNTItOGIwZS0wYzhhMWY3ZTVkMzR-fjE3OTUxODY4MDAwMDB-YWJjZGVmfn5-"

#: Ids that a kit of this secret made: of an open session, of a second one, of one that has ended, of one that no store
#: knows; and of another project's.
OPEN = "1_MX4xMjM0NTZ-fjE3OTUxODY4MDAwMDB-cmN6aXA1bTJodDRzcW1meW95bHRwYW9mZnY2NXNheGZpYWpvbHZic3Z6flB-fg"
OTHER = "1_MX4xMjM0NTZ-fjE3OTUxODY4MDAwMDB-cmMzZWVpZm1uanJ4NmljemJmZXJyaWlyNWY2b2htNW5sM3VleG02Njd0flB-fg"
ENDED = "1_MX4xMjM0NTZ-fjE3OTUxODY4MDAwMDB-cmN0amg2eWx3bXhkM3BjcGxya3hzdnBrZDNhbjY2bHp2eGp0N3V1YTJ0flB-fg"
UNKNOWN = "1_MX4xMjM0NTZ-fjE3OTUxODY4MDAwMDB-cmNucjdlaTZxNWQzc2l5NW9nNXZqeW80YnR0dDJtcHZpN2pnZDI2ZGV5flB-fg"
FOREIGN = "1_MX42NTQzMjF-fjE3OTUxODY4MDAwMDB-cmNzN3lweHlsdWNtZmtud3ZwM3lwNHhqeGtiNnk1YjdjbzJ6ZzM1M3piflB-fg"

MOUNTED = "/outer"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
#: What the routes of the app's own require, by the last part of their path.
ROOMS = {"moderate": "role:moderator", "publish": "role:publisher", "signal": "signal", "join": "token"}


CONNECTIONS = [{"connectionId": "connection-1", "connectionState": "Connected", "createdAt": 1_795_186_800_000}]
STREAMS = [{"id": "stream-1", "name": "Zoë", "layoutClassList": ["focus"]}, {"id": "stream-2"}]


def private_key() -> str:
    """The application's, made anew by the tests' process and handed on to the servers that it starts."""
    if "CONFORMANCE_PRIVATE_KEY" not in os.environ:
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        os.environ["CONFORMANCE_PRIVATE_KEY"] = pem.decode()
    return os.environ["CONFORMANCE_PRIVATE_KEY"]


class Service:
    """Carries the media of every session; some of its methods wait, in each of the ways in which one can."""

    async def signal(self, session_id, type, data, connection_id=None):
        await asyncio.sleep(0)

    def force_disconnect(self, session_id, connection_id):
        return None

    @blocking
    def mute_stream(self, session_id, stream_id):
        return None

    def mute_all(self, session_id, active=True, excluded_stream_ids=()):
        return None

    async def list_streams(self, session_id):
        return STREAMS

    async def list_connections(self, session_id):
        return CONNECTIONS


class Refusing:
    """A service that carries nothing out.

    :param error: is raised, with what was asked.
    """

    def __init__(self, error: Callable[[str], Exception]) -> None:
        self._error = error

    def signal(self, *asked):
        raise self._error(json.dumps(["signal", *asked]))

    async def force_disconnect(self, *asked):
        raise self._error(json.dumps(["force_disconnect", *asked]))

    def mute_stream(self, *asked):
        raise self._error(json.dumps(["mute_stream", *asked]))

    @blocking
    def mute_all(self, *asked):
        raise self._error(json.dumps(["mute_all", *asked]))

    def list_streams(self, *asked):
        raise self._error(json.dumps(["list_streams", *asked]))

    async def list_connections(self, *asked):
        raise self._error(json.dumps(["list_connections", *asked]))


class Failing:
    """A service that is of no use, in a way of its own for each act; it cannot mute all."""

    async def signal(self, *asked):
        raise RuntimeError("a fault of the service, with a secret in it")

    def force_disconnect(self, *asked):
        raise Unavailable("the service is out of order")

    def mute_stream(self, *asked):
        raise ValueError("another fault of the service")

    def list_streams(self, *asked):
        return "none"

    def list_connections(self, *asked):
        return [{"id": "a stream's"}]


class Studio:
    """Names the service."""

    def __init__(self, service: Any) -> None:
        self._service = service

    @hookimpl
    def rolecall_media_service(self, request):
        return self._service


BUSY = Deny("there is too much to do", code="busy", status=429, retry_after=30)


class Doorman:
    """Votes on who enters guarded routes, as a header says, and on acts, as a header or the act itself says."""

    @hookimpl
    def rolecall_vote_session(self, request):
        return BUSY if request.http is not None and request.http.headers.get("x-door") == "busy" else None

    @hookimpl
    def rolecall_vote_token(self, request):
        return BUSY if request.http is not None and request.http.headers.get("x-door") == "busy" else None

    @hookimpl
    async def rolecall_vote_access(self, request):
        await asyncio.sleep(0)
        match request.http.headers.get("x-door"):
            case "shut":
                return Deny("the door is shut")
            case "busy":
                return BUSY
            case "narrow":
                return Allow(max_role="subscriber")
            case "broken":
                return True
        return None

    @hookimpl
    async def rolecall_vote_moderation(self, request):
        act = request.act
        said = act.target or getattr(act, "type", "") if request.http is None else request.http.headers.get("x-act")
        match said:
            case "shut":
                return Deny("this is not done here")
            case "busy":
                return BUSY
            case "narrow":
                return Allow(max_role="subscriber")
            case "less":
                return Allow(max_role="publisher")
            case "broken":
                return True
        return None


#: Who may, and what carries it out.
PLUGINS = [AllowAnyone("moderator"), Studio(Service())]
KITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "closed": {"plugins": []},
    "voting": {"plugins": [*PLUGINS, Doorman()]},
    "forgetful": {"plugins": [Studio(Refusing(NotFoundAtService))]},
    "refusing": {"plugins": [Studio(Refusing(PolicyDenied))]},
    "failing": {"plugins": [Studio(Failing())]},
    "two": {"projects": {SECOND_KEY: SECOND_SECRET}},
    "application": {
        "application_id": APPLICATION,
        "private_key": private_key(),
        "accept": ["vonage", "opentok", "t1"],
    },
    "application-alone": {
        "api_key": None,
        "api_secret": None,
        "application_id": APPLICATION,
        "private_key": private_key(),
        "accept": ["vonage"],
    },
    "pages": {"web": Web(origins=[ORIGIN, "http://localhost:5173"])},
    "cookie": {"web": Web(cookie=COOKIE)},
    "query": {"web": Web(query=QUERY)},
    "browser": {"web": Web(origins=[ORIGIN], cookie=COOKIE, query=QUERY)},
    "quick": {"web": Web(body_timeout=1)},
}


class Sessions(MemoryStore):
    """A store with the sessions above, which can go back to its beginning: no session ended, no credential used."""

    def __init__(self) -> None:
        super().__init__()
        for session_id in (OPEN, OTHER, ENDED):
            self.add_session(SessionRecord(session_id, SessionProperties(), NOW))
        self.end_session(ENDED, NOW)

    reset = __init__


def make_kit(name: str) -> Rolecall:
    options = {
        "api_key": API_KEY,
        "api_secret": API_SECRET,
        "accept": ["opentok", "t1"],
        "plugins": PLUGINS,
        "entry_points": False,
        **KITS[name],
    }
    return Rolecall(store=Sessions(), clock=lambda: NOW, **options)


def described(grant: Grant | None) -> bytes:
    """What every endpoint of the app's own answers."""
    return json.dumps(grant and {"role": grant.role, "session": grant.session_id, "data": grant.data}).encode()


# -- Flask -----------------------------------------------------------------------------------------


def flask_app(kit: Rolecall) -> flask.Flask:
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit), url_prefix="/video")
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit, "sdk", routes=rolecall_flask.SDK_ROUTES))

    def granted(**_):
        return flask.Response(described(rolecall_flask.current_grant), content_type="application/json")

    def granted_inside(**_):
        return granted()

    def bare(**_):
        return flask.Response(described(None), content_type="application/json")

    def add(path: str, view, target=app) -> None:
        target.add_url_rule(path.replace("{", "<").replace("}", ">"), path, view, methods=METHODS)

    for path, guard in own_guards(rolecall_flask).items():
        add(path, guard(granted))
    add("/bare", bare)
    inside = flask.Blueprint("inside", __name__, url_prefix="/inside")
    inside.add_url_rule("/<session_id>", "guarded", granted_inside, methods=METHODS)
    inside.add_url_rule("/open", "open", public(bare), methods=METHODS)
    app.register_blueprint(rolecall_flask.protect(inside))
    app.register_error_handler(404, lambda error: flask.Response(b"nothing here", 404, content_type="text/plain"))
    return app


def own_guards(adapter) -> dict[str, Any]:
    """The guarded routes of the app's own, for Flask and Starlette."""
    return {
        "/rooms/{session_id}/moderate": adapter.require_role("moderator"),
        "/rooms/{session_id}/publish": adapter.require_role("publisher"),
        "/rooms/{session_id}/signal": adapter.require_capability("signal"),
        "/rooms/{session_id}/join": adapter.require_token,
        "/named/{room}": adapter.require_role("moderator", session_param="room"),
        "/unbound/{session_id}": adapter.require_token(session_param=None),
        "/me": adapter.require_role("publisher"),
    }


# -- Starlette -------------------------------------------------------------------------------------


def starlette_app(kit: Rolecall) -> Starlette:
    async def granted(request: Request) -> Response:
        return Response(described(rolecall_starlette.current_grant(request)), media_type="application/json")

    def granted_on_a_thread(request: Request) -> Response:
        return Response(described(rolecall_starlette.current_grant(request)), media_type="application/json")

    async def granted_inside(request: Request) -> Response:
        return await granted(request)

    async def bare(request: Request) -> Response:
        return Response(described(None), media_type="application/json")

    async def open_to_all(request: Request) -> Response:
        return Response(described(None), media_type="application/json")

    async def nothing(request: Request, error: Exception) -> Response:
        return Response(b"nothing here", 404, {"content-type": "text/plain"})

    endpoints = {"/me": granted_on_a_thread}
    inside = [
        Route("/open", public(open_to_all), methods=METHODS),
        Route("/{session_id}", granted_inside, methods=METHODS),
    ]
    return Starlette(
        routes=[
            Mount("/video", app=rolecall_starlette.rolecall_app(kit)),
            *rolecall_starlette.rolecall_routes(kit, "sdk", routes=rolecall_starlette.SDK_ROUTES),
            *(
                Route(path, guard(endpoints.get(path, granted)), methods=METHODS)
                for path, guard in own_guards(rolecall_starlette).items()
            ),
            Route("/bare", bare, methods=METHODS),
            rolecall_starlette.protect(Mount("/inside", routes=inside)),
        ],
        exception_handlers={404: nothing},
    )


# -- plain WSGI ------------------------------------------------------------------------------------

_OWN_PATHS = re.compile("/rooms/[^/]+/(moderate|publish|signal|join)|/(named|unbound|inside)/[^/]+|/me|/bare")


def wsgi_app(kit: Rolecall) -> Any:
    def own(environ, start_response):
        head = environ["REQUEST_METHOD"] == "HEAD"
        if not _OWN_PATHS.fullmatch(environ["PATH_INFO"]):
            start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "12")])
            return [] if head else [b"nothing here"]
        is_open = environ["PATH_INFO"] in ("/bare", "/inside/open")
        body = described(None if is_open else rolecall_wsgi.current_grant(environ))
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [] if head else [body]

    app = own
    for path, guard in {
        "/rooms/{session_id}/moderate": rolecall_wsgi.require_role(
            "moderator", prefixes=["/rooms/{session_id}/moderate"]
        ),
        "/rooms/{session_id}/publish": rolecall_wsgi.require_role(
            "publisher", prefixes=["/rooms/{session_id}/publish"]
        ),
        "/rooms/{session_id}/signal": rolecall_wsgi.require_capability(
            "signal", prefixes=["/rooms/{session_id}/signal"]
        ),
        "/rooms/{session_id}/join": rolecall_wsgi.require_token(prefixes=["/rooms/{session_id}/join"]),
        "/named/{room}": rolecall_wsgi.require_role("moderator", session_param="room", prefixes=["/named/{room}"]),
        "/unbound/{session_id}": rolecall_wsgi.require_token(session_param=None, prefixes=["/unbound/{session_id}"]),
        "/me": rolecall_wsgi.require_role("publisher", prefixes=["/me"]),
    }.items():
        assert path in own_guards(rolecall_flask)
        app = guard(app)
    inside = rolecall_wsgi.require_token(prefixes=["/inside/{session_id}"])
    app = rolecall_wsgi.protect(app, inside, public=["/inside/open"])
    app = rolecall_wsgi.RolecallMiddleware(app, kit)
    return rolecall_wsgi.RolecallMiddleware(app, kit, prefix="", routes=rolecall_wsgi.SDK_ROUTES)


# -- the sites -------------------------------------------------------------------------------------


class WsgiSite:
    """The apps of one framework: that of each kit, and the same under a prefix."""

    def __init__(self, make_app) -> None:
        self._kits = {name: make_kit(name) for name in KITS}
        self._apps = {}
        for name, kit in self._kits.items():
            app = make_app(kit)
            self._apps[name] = DispatcherMiddleware(app, {MOUNTED: app})

    def reset(self) -> None:
        for kit in self._kits.values():
            kit.engine.state.store.reset()

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"].startswith("/-/"):
            body = json.dumps(_control(self, environ["PATH_INFO"])).encode()
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        return self._apps.get(_first_label(environ.get("HTTP_HOST", "")), self._apps["plain"])(environ, start_response)


class StarletteSite:
    """The same for Starlette, whose prefix is that of a ``Mount`` in another app."""

    def __init__(self) -> None:
        self._kits = {name: make_kit(name) for name in KITS}
        self._apps = {name: starlette_app(kit) for name, kit in self._kits.items()}
        self._outer = {name: Starlette(routes=[Mount(MOUNTED, app=app)]) for name, app in self._apps.items()}

    reset = WsgiSite.reset

    async def __call__(self, scope, receive, send) -> None:
        if scope["path"].startswith("/-/"):
            body = json.dumps(_control(self, scope["path"]) | {"tasks": len(asyncio.all_tasks())}).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        apps = self._outer if scope["path"].startswith(f"{MOUNTED}/") else self._apps
        await apps.get(_first_label(host), apps["plain"])(scope, receive, send)


def _first_label(host: str) -> str:
    return host.partition(".")[0]


def _control(site: Any, path: str) -> dict[str, int]:
    """What the tests want to know of the process: how much of everything it holds."""
    if path == "/-/reset":
        site.reset()
    sockets = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            sockets += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
        except OSError:  # that of the listing itself
            continue
    return {"threads": threading.active_count(), "sockets": sockets}


flask_site = WsgiSite(flask_app)
wsgi_site = WsgiSite(wsgi_app)
starlette_site = StarletteSite()
