"""A small class app: teachers open lessons and moderate them, pupils publish until the lesson is over.

Run it with ``uvicorn --app-dir examples/starlette_app --factory app:create_app``; ``ROLECALL_API_KEY`` and
``ROLECALL_API_SECRET`` must be set. With ``ROLECALL_STORE=sqlite:///rolecall.db`` it runs under any number of workers.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

import rolecall
from rolecall import AccessRequest, Actor, Allow, Deny, Rolecall, SessionRequest, TokenRequest, Vote, blocking, hookimpl
from rolecall_starlette import current_grant, public, require_capability, require_role, require_token, rolecall_app

#: Who exists, and as what. A real app asks its database, and for a password.
PEOPLE = {"ada": "teacher", "ben": "pupil", "cleo": "pupil"}
#: How many seconds after its start a lesson is over, for pupils.
LESSON = 45 * 60


class School:
    """Who is logged in, and who was sent out: in a file, because each worker process has a memory of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run("CREATE TABLE IF NOT EXISTS logins (key TEXT PRIMARY KEY, name TEXT)")
        self._run("CREATE TABLE IF NOT EXISTS sent_out (session_id TEXT, name TEXT, PRIMARY KEY (session_id, name))")

    def log_in(self, name: str) -> str:
        key = secrets.token_urlsafe()
        self._run("INSERT INTO logins VALUES (?, ?)", key, name)
        return key

    def who(self, key: str) -> str | None:
        found = self._run("SELECT name FROM logins WHERE key = ?", key)
        return found[0][0] if found else None

    def send_out(self, session_id: str, name: str) -> None:
        self._run("INSERT OR IGNORE INTO sent_out VALUES (?, ?)", session_id, name)

    def has_sent_out(self, session_id: str, name: str | None) -> bool:
        return bool(self._run("SELECT 1 FROM sent_out WHERE session_id = ? AND name = ?", session_id, name))

    def _run(self, statement: str, *values: str | None) -> list[Any]:
        with closing(sqlite3.connect(self._path)) as database, database:
            return database.execute(statement, values).fetchall()


class SchoolPolicy:
    """The rules of the school. What asks its file is marked as blocking, and so runs on a thread."""

    def __init__(self, school: School) -> None:
        self._school = school

    @hookimpl
    @blocking
    def rolecall_identify(self, request: rolecall.Request) -> Actor | None:
        cookies = cookie_parser(request.headers.get("cookie", ""))
        name = self._school.who(cookies["login"]) if "login" in cookies else None
        return Actor(name, {"teaches": PEOPLE[name] == "teacher"}) if name else None

    @hookimpl
    def rolecall_vote_session(self, request: SessionRequest) -> Vote:
        if request.actor is None:
            return None  # from outside that means no, and the app's own code may
        return Allow() if request.actor.attributes["teaches"] else Deny("only teachers open a lesson")

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if request.actor is None or request.session is None:
            return None
        if request.data != request.actor.id:
            return Deny("data must be your own name", code="not_your_name")
        if request.actor.attributes["teaches"]:
            return Allow(max_role="moderator")
        return Allow(max_role="publisher", latest_expiry=request.session.created_at + LESSON)

    @hookimpl
    @blocking
    def rolecall_vote_access(self, request: AccessRequest) -> Vote:
        if self._school.has_sent_out(request.grant.session_id, request.grant.data):
            return Deny("you were sent out", code="sent_out")
        return None


def create_app(**options: Any) -> Starlette:
    """The app.

    :param options: arguments of the kit that win over the environment.
    """
    school = School(Path(os.environ.get("SCHOOL_DATABASE", "school.db")))
    kit = Rolecall.from_env(plugins=[SchoolPolicy(school)], **options)

    @public
    def log_in(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in PEOPLE:
            raise HTTPException(403, "nobody has this name")
        response = JSONResponse({"name": name, "is": PEOPLE[name]})
        # It says who asks, so other sites must not be able to make a browser ask. Behind https add secure=True.
        response.set_cookie("login", school.log_in(name), httponly=True, samesite="lax")
        return response

    @require_token
    async def lesson(request: Request) -> Response:
        grant = current_grant(request)
        return JSONResponse({"lesson": grant.session_id, "you": grant.data, "role": grant.role})

    @require_capability("signal")
    async def ask(request: Request) -> Response:
        grant = current_grant(request)
        return JSONResponse({"lesson": grant.session_id, "asked_by": grant.data}, 201)

    # Not async, since it waits for the file: so it runs on a thread.
    @require_role("moderator")
    def send_out(request: Request) -> Response:
        school.send_out(request.path_params["session_id"], request.path_params["name"])
        return Response(status_code=204)

    @require_token
    async def bell(websocket: WebSocket) -> None:
        grant = current_grant(websocket)
        await websocket.accept()
        await websocket.send_json({"lesson": grant.session_id, "over_at": grant.expires_at})
        await websocket.receive()  # until the pupil leaves, or the lesson is over

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        kit.close()

    return Starlette(
        routes=[
            Mount("/video", app=rolecall_app(kit), name="video"),
            Route("/login/{name}", log_in, methods=["POST"]),
            Route("/lessons/{session_id}", lesson),
            Route("/lessons/{session_id}/questions", ask, methods=["POST"]),
            Route("/lessons/{session_id}/sent-out/{name}", send_out, methods=["POST"]),
            WebSocketRoute("/lessons/{session_id}/bell", bell),
        ],
        lifespan=lifespan,
    )
