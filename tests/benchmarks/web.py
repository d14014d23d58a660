"""What a guard costs a request, beside the bare view and peers: ``python tests/benchmarks/web.py``.

Apps are called directly, without a server or a test client between.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO
from typing import Any

import flask
import jwt
from measuring import Fresh, Row, Table, Times, show, target
from peers import DATA, SECRET, flask_jwt_extended_app
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser, requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import rolecall_flask
import rolecall_starlette
import rolecall_wsgi
from rolecall import Rolecall
from rolecall.driver import drive

API_KEY = "123456"
BARE, SEEN, FIRST = "bare", "Rolecall guard, token seen before", "Rolecall guard, first sight"


class Room:
    """A kit, a session of it, and tokens for that session."""

    def __init__(self) -> None:
        self.kit = Rolecall(API_KEY, SECRET)
        self.session_id = self.kit.create_session().session_id
        seen = self._mint()
        self.seen = lambda: seen
        self.first = Fresh(self._mint)

    def _mint(self) -> str:
        return self.kit.generate_token(self.session_id, "moderator", data=DATA)


def flask_views(rounds: int) -> None:
    room = Room()
    app = flask.Flask("bench")
    app.register_blueprint(rolecall_flask.rolecall_blueprint(room.kit), url_prefix="/video")
    app.add_url_rule("/bare/<session_id>", "bare", lambda session_id: "ok")
    guarded = rolecall_flask.require_role("moderator")(lambda session_id: "ok")
    app.add_url_rule("/guarded/<session_id>", "guarded", guarded)
    table: Table = {
        BARE: wsgi_call(app, f"/bare/{room.session_id}", room.seen),
        SEEN: wsgi_call(app, f"/guarded/{room.session_id}", room.seen),
        FIRST: wsgi_call(app, f"/guarded/{room.session_id}", room.first),
    }
    with suppress(ImportError):
        table["flask-jwt-extended jwt_required"] = _flask_jwt_extended_view()
    times = Times(table, rounds, 200, [room.first])
    show("one Flask request", times, BARE)
    target("seen before / bare", times.ratio(SEEN, BARE), 1.2)
    target("first sight / bare", times.ratio(FIRST, BARE), 1.6)


def starlette_endpoints(rounds: int) -> None:
    room = Room()

    async def bare(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    @rolecall_starlette.require_role("moderator")
    async def guarded(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    app = Starlette(
        routes=[
            Route("/bare/{session_id}", bare),
            Route("/guarded/{session_id}", guarded),
            Mount("/video", app=rolecall_starlette.rolecall_app(room.kit)),
        ]
    )
    table: Table = {
        BARE: asgi_call(app, f"/bare/{room.session_id}", room.seen),
        SEEN: asgi_call(app, f"/guarded/{room.session_id}", room.seen),
        FIRST: asgi_call(app, f"/guarded/{room.session_id}", room.first),
        "AuthenticationMiddleware + PyJWT, @requires": _authentication_middleware(room),
    }
    times = Times(table, rounds, 400, [room.first])
    show("one Starlette request", times, BARE)
    target("seen before / bare", times.ratio(SEEN, BARE), 1.5)
    target("first sight / bare", times.ratio(FIRST, BARE), 2.6)


def wsgi_functions(rounds: int) -> None:
    room = Room()

    def function(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    guarded = rolecall_wsgi.require_role("moderator", kit=room.kit, session_param=None)(function)
    bound = rolecall_wsgi.require_role("moderator", kit=room.kit, prefixes=["/rooms/{session_id}"])(function)
    path = f"/rooms/{room.session_id}"
    table: Table = {
        BARE: wsgi_call(function, path, room.seen),
        SEEN: wsgi_call(guarded, path, room.seen),
        FIRST: wsgi_call(guarded, path, room.first),
        "the same, bound by a prefix, seen before": wsgi_call(bound, path, room.seen),
    }
    times = Times(table, rounds, 400, [room.first])
    show("one request of a WSGI function", times, BARE)
    target("added to one seen before, µs", times.microseconds(SEEN) - times.microseconds(BARE), 2.5)


def wsgi_call(app: Callable[..., Any], path: str, token: Callable[[], str]) -> Row:
    base = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
    }

    def start_response(status: str, headers: object, exc_info: object = None) -> None:
        if not status.startswith("200"):
            raise AssertionError(status)

    def call() -> object:
        environ = {**base, "HTTP_AUTHORIZATION": "Bearer " + token()}
        return b"".join(app(environ, start_response))

    return call


def asgi_call(app: Callable[..., Any], path: str, token: Callable[[], str]) -> Row:
    base = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise AssertionError(message)

    def call() -> object:
        headers = [(b"host", b"localhost"), (b"accept", b"*/*"), (b"authorization", b"Bearer " + token().encode())]
        return drive(app({**base, "headers": headers, "state": {}}, receive, send))

    return call


def _authentication_middleware(room: Room) -> Row:
    class Backend(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
            try:
                claims = jwt.decode(conn.headers["authorization"].partition(" ")[2], SECRET, algorithms=["HS256"])
            except jwt.PyJWTError as error:
                raise AuthenticationError from error
            return AuthCredentials([claims["role"]]), SimpleUser(claims["connection_data"])

    @requires("moderator")
    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    app = Starlette(
        routes=[Route("/guarded/{session_id}", endpoint)],
        middleware=[Middleware(AuthenticationMiddleware, backend=Backend())],
    )
    return asgi_call(app, f"/guarded/{room.session_id}", room.seen)


def _flask_jwt_extended_view() -> Row:
    from flask_jwt_extended import jwt_required

    app, token = flask_jwt_extended_app()
    app.add_url_rule("/guarded", "guarded", jwt_required()(lambda: "ok"))
    return wsgi_call(app, "/guarded", lambda: token)


def main(rounds: int) -> None:
    flask_views(rounds)
    starlette_endpoints(rounds)
    wsgi_functions(rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="how often each row runs (60)")
    main(parser.parse_args().rounds)
