"""A small practice for video consultations: doctors open them and take notes, patients join with their booking.

Run it with ``python examples/wsgi_app/app.py``, or with any WSGI server: ``gunicorn "app:create_app()"``.
``ROLECALL_API_KEY`` and ``ROLECALL_API_SECRET`` must be set.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from wsgiref.simple_server import make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from rolecall import Actor, Allow, Deny, Request, Rolecall, SessionRequest, TokenRequest, Vote, hookimpl
from rolecall_wsgi import RolecallMiddleware, current_grant, protect, require_role, require_token

#: Who comes with which code. A real app asks its database.
BOOKINGS = {
    "D-4711": ("Dr. Ada", "doctor"),
    "P-1001": ("Ben", "patient"),
    "P-1002": ("Cleo", "patient"),
}
#: How many seconds a patient may stay, from when the consultation was opened.
CONSULTATION = 30 * 60
_MAX_NOTE = 2_000


class PracticePolicy:
    """The rules of the practice."""

    @hookimpl
    def rolecall_identify(self, request: Request) -> Actor | None:
        found = BOOKINGS.get(request.headers.get("booking-code", ""))
        return Actor(found[0], {"is": found[1]}) if found else None

    @hookimpl
    def rolecall_vote_session(self, request: SessionRequest) -> Vote:
        if request.actor is None:
            return None  # from outside that means no, and the app's own code may
        return Allow() if request.actor.attributes["is"] == "doctor" else Deny("only doctors open a consultation")

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if request.actor is None or request.session is None:
            return None
        # Whatever a client asks to be called, the token says who it is.
        if request.actor.attributes["is"] == "doctor":
            return Allow(max_role="moderator", data=request.actor.id)
        latest = request.session.created_at + CONSULTATION
        return Allow(max_role="publisher", latest_expiry=latest, data=request.actor.id)


class Practice:
    """The app: plain WSGI, which knows nothing of tokens but the grant that it finds."""

    def __init__(self) -> None:
        # In memory, for one process; a real app has a database.
        self._notes: dict[str, list[str]] = defaultdict(list)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/").split("/"):
            case "GET", [""]:
                grant = environ["rolecall.grant"]
                return _json(start_response, "200 OK", {"welcome": grant.data if grant else "stranger"})
            case "GET", ["consultations", session_id]:
                grant = current_grant(environ)
                return _json(start_response, "200 OK", {"consultation": session_id, "you": grant.data})
            case "GET", ["consultations", session_id, "notes"]:
                start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
                return (f"{note}\n".encode() for note in self._notes[session_id])
            case "POST", ["consultations", session_id, "notes"]:
                length = min(int(environ.get("CONTENT_LENGTH") or 0), _MAX_NOTE)
                note = environ["wsgi.input"].read(length).decode("utf-8", "replace")
                self._notes[session_id].append(f"{current_grant(environ).data}: {note}")
                return _json(start_response, "201 Created", {"noted": note})
        return _json(start_response, "404 Not Found", {"error": "there is nothing here"})


def _json(start_response: StartResponse, status: str, value: dict[str, Any]) -> Iterable[bytes]:
    body = json.dumps(value).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def create_app(**options: Any) -> RolecallMiddleware:
    """The app.

    :param options: arguments of the kit that win over the environment.
    """
    app = require_token(prefixes=["/consultations/{session_id}"])(Practice())
    app = require_role("moderator", prefixes=["/consultations/{session_id}/notes"], methods=["POST"])(app)
    # The others say which session a token must be for; this one, that nothing else is open.
    app = protect(app, require_token(session_param=None), public=["/"])
    return RolecallMiddleware(app, Rolecall.from_env(plugins=[PracticePolicy()], **options), prefix="/video")


if __name__ == "__main__":
    with make_server("127.0.0.1", 8000, create_app()) as server:
        print("http://127.0.0.1:8000")
        server.serve_forever()
