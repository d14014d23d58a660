"""The conforming site in Flask."""

from __future__ import annotations

import flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import rolecall_flask
from rolecall import Rolecall
from rolecall.testing.conformance import METHODS, MOUNTED, WsgiSite, described, own_guards, own_headers


def flask_app(kit: Rolecall) -> flask.Flask:
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit), url_prefix="/video")
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit, "sdk", routes=rolecall_flask.SDK_ROUTES))

    def granted(**_):
        headers = own_headers(flask.request.path)
        return flask.Response(described(rolecall_flask.current_grant), headers=headers, content_type="application/json")

    def granted_inside(**_):
        return granted()

    def bare(**_):
        return flask.Response(described(None), content_type="application/json")

    def add(path: str, view, target=app) -> None:
        target.add_url_rule(path.replace("{", "<").replace("}", ">"), path, view, methods=[*METHODS])

    for path, guard in own_guards(rolecall_flask).items():
        add(path, guard(granted))
    add("/bare", bare)
    inside = flask.Blueprint("inside", __name__, url_prefix="/inside")
    inside.add_url_rule("/<session_id>", "guarded", granted_inside, methods=[*METHODS])
    inside.add_url_rule("/open", "open", rolecall_flask.public(bare), methods=[*METHODS])
    app.register_blueprint(rolecall_flask.protect(inside))
    app.register_error_handler(404, lambda error: flask.Response(b"nothing here", 404, content_type="text/plain"))
    return app


def under_dispatcher(app):
    """A WSGI app under the prefix, by the middleware that is usual for it."""
    return DispatcherMiddleware(app, {MOUNTED: app})


site = WsgiSite(flask_app, under_dispatcher)
