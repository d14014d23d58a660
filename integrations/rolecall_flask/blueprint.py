"""The kit's routes as a Flask blueprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wsgi import get_input_stream

from rolecall import Rolecall
from rolecall.driver import drive
from rolecall.errors import InvalidRequest
from rolecall.http.service import ROUTES, Route, refused, respond
from rolecall.http.wsgi import read_body

from .kits import register_kit
from .translation import current_request, flask_response, neutral_request

# Flask leaves methods that a rule does not list to the app's own error handlers; the kit answers all of them itself.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def rolecall_blueprint(kit: Rolecall, name: str = "rolecall") -> flask.Blueprint:
    """A blueprint with the routes of ``kit``; registering it also tells the app's guards of the kit.

    :param name: the blueprint's name, for ``url_for("rolecall.sessions")``; two kits in one app need two.
    """
    blueprint = flask.Blueprint(name, __name__)
    blueprint.record(lambda state: register_kit(state.app, kit))
    for route in ROUTES:
        view = _view(kit, route)
        rest = [method for method in _METHODS if method not in route.methods or method == "OPTIONS"]
        path = route.path.replace("{", "<").replace("}", ">")
        for endpoint, methods in ((route.name, list(route.handlers)), (f"{route.name}_other", rest)):
            blueprint.add_url_rule(path, endpoint, view, methods=methods, provide_automatic_options=False)
    return blueprint


def _view(kit: Rolecall, route: Route) -> Callable[..., flask.Response]:
    def view(**_: Any) -> flask.Response:
        request = current_request()
        try:
            body = read_body(get_input_stream(request.environ).read)
        except ClientDisconnected:
            return flask_response(refused(InvalidRequest("the body ended before its Content-Length")))
        return flask_response(drive(respond(kit.engine, route, neutral_request(request, body))))

    return view
