"""The demonstration as a Flask app: the kit's routes under ``/video``, and a room whose doors are guarded by role."""

from __future__ import annotations

import time
from typing import Any, Final

import flask

from rolecall import Capability, InvalidToken, Rolecall, inspect_token
from rolecall_flask import current_grant, require_capability, require_role, rolecall_blueprint

from .explaining import explaining, json_body

_ROLE_NOTES: Final = {
    "subscriber": "watches and listens",
    "publisheronly": "sends, and sees nobody",
    "publisher": "takes part",
    "moderator": "may mute and remove",
}

_SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

rooms = flask.Blueprint("rooms", __name__, url_prefix="/rooms/<session_id>")


def create_app(kit: Rolecall) -> flask.Flask:
    """The demonstration for ``kit``, whose policies should let anyone in.

    It answers only to the names of this computer; set ``TRUSTED_HOSTS`` to change that.
    """
    app = flask.Flask(__name__)
    # Otherwise a web site could give its own name this computer's address, and pass for the page itself.
    app.config["TRUSTED_HOSTS"] = ["127.0.0.1", "localhost"]
    app.config["MAX_CONTENT_LENGTH"] = 16_384
    app.json.sort_keys = False  # type: ignore[attr-defined]  # claims are shown as the token orders them
    app.before_request(_refuse_other_origins)
    app.after_request(_add_security_headers)
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    app.register_blueprint(rooms)
    app.register_blueprint(explaining(kit))
    app.add_url_rule("/inspect", view_func=inspect, methods=["POST"])

    @app.get("/")
    def index() -> str:
        return flask.render_template(
            "index.html", roles=list(kit.roles), notes=_ROLE_NOTES, capabilities=list(Capability)
        )

    return app


# Each door asks the token for a capability or for a role. Because the route has a session_id, the token must also be
# for that session: a moderator of one room is nobody in another.


@rooms.post("/connect")
@require_capability("connect")
def connect(session_id: str) -> dict[str, Any]:
    return _welcome("connect", session_id)


@rooms.post("/publish")
@require_capability("publish")
def publish(session_id: str) -> dict[str, Any]:
    return _welcome("publish", session_id)


@rooms.post("/signal")
@require_capability("signal")
def signal(session_id: str) -> dict[str, Any]:
    return _welcome("signal", session_id)


@rooms.post("/mute")
@require_capability("force_unpublish")
def mute(session_id: str) -> dict[str, Any]:
    return _welcome("mute", session_id)


@rooms.post("/force-disconnect")
@require_role("moderator")
def force_disconnect(session_id: str) -> dict[str, Any]:
    return _welcome("force-disconnect", session_id)


def _welcome(act: str, session_id: str) -> dict[str, Any]:
    detail = f"{act} is allowed; the token's role is {current_grant.role}"
    return {"detail": detail, "session_id": session_id, "data": current_grant.data}


def inspect() -> flask.typing.ResponseReturnValue:
    """Take the token in the body apart. It may be anybody's: none of it is checked or believed."""
    headers = {"Cache-Control": "no-store"}
    body = json_body()
    try:
        token = inspect_token(body["token"] if isinstance(body, dict) and "token" in body else "")
    except InvalidToken as error:
        return {"detail": error.public_message, "code": error.code}, 400, headers
    return {**token.as_dict(), "now": time.time()}, 200, headers


def _refuse_other_origins() -> None:
    """Another site's page may not make this one act, not even by a request whose answer it could not read."""
    origin = flask.request.headers.get("Origin")
    if origin is not None and origin != flask.request.host_url.rstrip("/"):
        flask.abort(403, "this demonstration answers only to its own page")


def _add_security_headers(response: flask.Response) -> flask.Response:
    response.headers.update(_SECURITY_HEADERS)
    return response
