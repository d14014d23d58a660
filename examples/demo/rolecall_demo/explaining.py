"""Why the demonstration answered as it did: each step of the kit's decisions, for the page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, TypedDict

import flask

from rolecall import CapabilityName, Request, Rolecall, RoleName


class Demand(TypedDict, total=False):
    role: RoleName
    capability: CapabilityName


#: What each door of the room requires of a token, as its guard in ``app.py`` says it.
DOORS: Final[dict[str, Demand]] = {
    "connect": {"capability": "connect"},
    "publish": {"capability": "publish"},
    "signal": {"capability": "signal"},
    "mute": {"capability": "force_unpublish"},
    "force-disconnect": {"role": "moderator"},
}


def explaining(kit: Rolecall) -> flask.Blueprint:
    """Two routes that take the same questions as the doors and the kit's own route for tokens, and only explain."""
    routes = flask.Blueprint("explaining", __name__, url_prefix="/explain")

    @routes.post("/rooms/<session_id>/<act>")
    def access(session_id: str, act: str) -> dict[str, Any]:
        if act not in DOORS:
            flask.abort(404, "the room has no such door")
        knock = Request("POST", f"/rooms/{session_id}/{act}", {"session_id": session_id}, _headers(), b"", "flask")
        return kit.explain_access(session_id=session_id, http=knock, **DOORS[act]).as_dict()

    @routes.post("/video/sessions/<session_id>/tokens")
    def token(session_id: str) -> dict[str, Any]:
        asked = json_body()
        lifetime = asked.get("expires_in") if isinstance(asked, dict) else None
        if type(lifetime) is not int or not 0 < lifetime < 10**9:
            flask.abort(400, "expires_in is to be a whole number of seconds")
        path = f"/video/sessions/{session_id}/tokens"
        request = Request("POST", path, {"session_id": session_id}, _headers(), b"", "flask")
        role, data = asked.get("role"), asked.get("data")
        return kit.explain_token(session_id, role, timedelta(seconds=lifetime), data, http=request).as_dict()

    return routes


def _headers() -> dict[str, str]:
    return {name.lower(): value for name, value in flask.request.headers}


def json_body() -> Any:
    """The body's JSON, or a bad request: also where it nests deeper than Python counts."""
    try:
        return flask.request.get_json()
    except RecursionError:
        flask.abort(400, "the body nests too deep")
