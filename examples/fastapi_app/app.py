"""A small class app: teachers open lessons and moderate them, pupils publish until the lesson is over.

Run it with ``uvicorn --app-dir examples/fastapi_app --factory app:create_app``; ``ROLECALL_API_KEY`` and
``ROLECALL_API_SECRET`` must be set. With ``ROLECALL_STORE=sqlite:///rolecall.db`` it runs under any number of workers.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Response, WebSocket
from pydantic import BaseModel
from starlette.requests import cookie_parser

from rolecall import (
    AccessRequest,
    Actor,
    Allow,
    Deny,
    Grant,
    Request,
    Rolecall,
    SessionRequest,
    TokenRequest,
    Vote,
    blocking,
    hookimpl,
)
from rolecall_fastapi import CapabilityRequired, Refused, RoleRequired, TokenRequired, problem_handler
from rolecall_starlette import current_grant, public, require_token, rolecall_app

#: Who exists, and as what. A real app asks its database, and for a password.
PEOPLE = {"ada": "teacher", "ben": "pupil", "cleo": "pupil"}
#: How many seconds after its start a lesson is over, for pupils.
LESSON = 45 * 60

Anyone = Annotated[Grant, Depends(TokenRequired())]
Speaker = Annotated[Grant, Depends(CapabilityRequired("signal"))]
Moderator = Annotated[Grant, Depends(RoleRequired("moderator"))]


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
    def rolecall_identify(self, request: Request) -> Actor | None:
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


class Login(BaseModel):
    """What somebody logs in with."""

    name: str


def create_app(**options: Any) -> FastAPI:
    """The app.

    :param options: arguments of the kit that win over the environment.
    """
    school = School(Path(os.environ.get("SCHOOL_DATABASE", "school.db")))
    kit = Rolecall.from_env(plugins=[SchoolPolicy(school)], **options)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        kit.close()

    app = FastAPI(title="School", lifespan=lifespan)
    app.mount("/video", rolecall_app(kit))
    app.add_exception_handler(Refused, problem_handler)

    @app.post("/login")
    @public
    def login(who: Login, response: Response) -> dict[str, str]:
        if who.name not in PEOPLE:
            raise HTTPException(403, "nobody has this name")
        # It says who asks, so other sites must not be able to make a browser ask. Behind https add secure=True.
        response.set_cookie("login", school.log_in(who.name), httponly=True, samesite="lax")
        return {"name": who.name, "is": PEOPLE[who.name]}

    @app.get("/lessons/{session_id}")
    async def lesson(session_id: str, grant: Anyone) -> dict[str, str | None]:
        return {"lesson": session_id, "you": grant.data, "role": grant.role}

    @app.post("/lessons/{session_id}/questions", status_code=201)
    async def ask(session_id: str, grant: Speaker) -> dict[str, str | None]:
        return {"lesson": session_id, "asked_by": grant.data}

    @app.post("/lessons/{session_id}/sent-out/{name}", status_code=204)
    def send_out(session_id: str, name: str, _: Moderator) -> None:
        school.send_out(session_id, name)

    @app.websocket("/lessons/{session_id}/bell")
    @require_token
    async def bell(websocket: WebSocket, session_id: str) -> None:
        await websocket.accept()
        await websocket.send_json({"lesson": session_id, "over_at": current_grant(websocket).expires_at})
        await websocket.receive()  # until the pupil leaves, or the lesson is over

    return app
