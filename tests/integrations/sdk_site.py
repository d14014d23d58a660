"""One small site in Flask, Starlette and plain WSGI, which the SDKs of OpenTok and Vonage are pointed at.

The SDKs' routes stand at the root and, with all others, under ``/video``; under ``/quiet`` those of a kit that has no
media service; and for the host ``frozen.example`` at the root those of a kit whose clock stands still. All kits have
the same keys and the same store. ``/rooms/{session_id}`` says what a token grants there. ``/-/heard`` is for the tests
themselves: what the kits' plugins were asked for since the last time.
"""

from __future__ import annotations

import json
import os
from typing import Any

import flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

import rolecall_flask
import rolecall_starlette
import rolecall_wsgi
from rolecall import Grant, Rolecall, hookimpl
from rolecall.connector import NotFoundAtService

API_KEY, API_SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
#: The kits' second project.
OTHER_KEY, OTHER_SECRET = "654321", "second-secret-of-forty-two-characters-x42"
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
#: When the clock stands still: in the life of the credential that stands in the tests of the SDK for Ruby.
FROZEN = 1_492_510_660.0
FROZEN_HOST = "frozen.example"
#: The streams of every session.
STREAMS = [
    {"id": "8b732909-0a06-46a2-8ea8-074e64d43422", "videoType": "camera", "name": "Zoë", "layoutClassList": ["full"]},
    {"id": "b1963d15-537f-459a-be89-e00fc310b82b", "videoType": "screen", "name": "", "layoutClassList": []},
]
#: The connections to every session, as SDKs read them.
CONNECTIONS = [
    {"connectionId": "c053fcc8-c681-41d5-8ec2-7a9e1434a21f", "connectionState": "Connected", "createdAt": 1492510650000}
]
#: The connection that nobody has.
GONE = "00000000-0a06-46a2-8ea8-074e64d43422"

heard: list[Any] = []


class Listener:
    """Writes down which sessions are asked for."""

    @hookimpl
    def rolecall_vote_session(self, request):
        asked = request.properties.as_dict()
        del asked["media"]  # which no SDK names
        heard.append(["session", *asked.values()])


class Media:
    """Writes down what is to be done in sessions."""

    @hookimpl
    def rolecall_media_service(self, request):
        return self

    def signal(self, session_id, type, data, connection_id=None):
        heard.append(["signal", session_id, type, data, connection_id])

    def force_disconnect(self, session_id, connection_id):
        heard.append(["force_disconnect", session_id, connection_id])
        if connection_id == GONE:
            raise NotFoundAtService("nobody is connected by this id")

    def mute_stream(self, session_id, stream_id):
        heard.append(["mute_stream", session_id, stream_id])

    def mute_all(self, session_id, active=True, excluded_stream_ids=()):
        heard.append(["mute_all", session_id, active, list(excluded_stream_ids)])

    def list_streams(self, session_id):
        heard.append(["list_streams", session_id])
        return STREAMS

    def list_connections(self, session_id):
        heard.append(["list_connections", session_id])
        return CONNECTIONS


def make_kit(**options) -> Rolecall:
    """A kit of the site's keys and its store; the tests have one beside the site's own."""
    return Rolecall(
        API_KEY,
        API_SECRET,
        projects={OTHER_KEY: OTHER_SECRET},
        application_id=APPLICATION,
        private_key=os.environ["SDK_SITE_PRIVATE_KEY"],
        store=os.environ["SDK_SITE_STORE"],
        accept=["vonage", "opentok", "t1"],
        entry_points=False,
        **options,
    )


def make_kits() -> tuple[Rolecall, Rolecall, Rolecall]:
    return (
        make_kit(plugins=[Listener(), Media()]),
        make_kit(plugins=[Listener()]),
        make_kit(plugins=[Listener(), Media()], clock=lambda: FROZEN),
    )


def described(grant: Grant) -> bytes:
    said = {"session_id": grant.session_id, "role": grant.role, "data": grant.data, "layout": grant.layout}
    return json.dumps({**said, "issued_at": grant.issued_at, "expires_at": grant.expires_at}).encode()


def told() -> bytes:
    """What was heard, which is forgotten with that."""
    said, heard[:] = json.dumps(heard).encode(), []
    return said


def flask_site():
    kit, quiet, frozen = make_kits()
    app, still = flask.Flask("site"), flask.Flask("still")
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit), url_prefix="/video")
    for target, name, its_kit, prefix in (
        (app, "sdk", kit, None),
        (app, "quiet", quiet, "/quiet"),
        (still, "sdk", frozen, None),
    ):
        blueprint = rolecall_flask.rolecall_blueprint(its_kit, name, routes=rolecall_flask.SDK_ROUTES)
        target.register_blueprint(blueprint, url_prefix=prefix)

    @app.get("/rooms/<session_id>")
    @rolecall_flask.require_token(kit=kit)
    def room(session_id):
        return flask.Response(described(rolecall_flask.current_grant), content_type="application/json")

    @app.get("/-/heard")
    def hear():
        return flask.Response(told(), content_type="application/json")

    return lambda environ, start_response: _by_host(environ, app, still)(environ, start_response)


def wsgi_site():
    kit, quiet, frozen = make_kits()
    routes = rolecall_wsgi.SDK_ROUTES

    def respond(start_response, status: str, body: bytes):
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    @rolecall_wsgi.require_token(kit=kit, prefixes=["/rooms/{session_id}"])
    def own(environ, start_response):
        if environ["PATH_INFO"] == "/-/heard":
            return respond(start_response, "200 OK", told())
        if environ["PATH_INFO"].startswith("/rooms/"):
            return respond(start_response, "200 OK", described(rolecall_wsgi.current_grant(environ)))
        return respond(start_response, "404 Not Found", b"{}")

    app = rolecall_wsgi.RolecallMiddleware(own, kit)
    app = rolecall_wsgi.RolecallMiddleware(app, kit, prefix="", routes=routes)
    app = rolecall_wsgi.RolecallMiddleware(app, quiet, prefix="/quiet", routes=routes)
    still = rolecall_wsgi.RolecallMiddleware(own, frozen, prefix="", routes=routes)
    return lambda environ, start_response: _by_host(environ, app, still)(environ, start_response)


def _by_host(environ, app, still):
    return still if environ.get("HTTP_HOST") == FROZEN_HOST else app


def starlette_site():
    kit, quiet, frozen = make_kits()
    routes = rolecall_starlette.SDK_ROUTES

    async def room(request: Request) -> Response:
        return Response(described(rolecall_starlette.current_grant(request)), media_type="application/json")

    async def hear(_: Request) -> Response:
        return Response(told(), media_type="application/json")

    app = Starlette(
        routes=[
            *rolecall_starlette.rolecall_routes(kit, "sdk", routes=routes),
            Mount("/video", app=rolecall_starlette.rolecall_app(kit)),
            Mount("/quiet", app=rolecall_starlette.rolecall_app(quiet, routes=routes)),
            Route("/rooms/{session_id}", rolecall_starlette.require_token(kit=kit)(room)),
            Route("/-/heard", hear),
        ]
    )
    still = Starlette(routes=rolecall_starlette.rolecall_routes(frozen, "sdk", routes=routes))

    async def site(scope, receive, send) -> None:
        frozen_host = (b"host", FROZEN_HOST.encode()) in scope["headers"]
        await (still if frozen_host else app)(scope, receive, send)

    return site
