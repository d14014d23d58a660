"""A small class app: teachers open lessons and moderate them, pupils publish until the lesson is over.

Run it with ``uvicorn --app-dir examples/fastapi_app --factory app:create_app``; ``ROLECALL_API_KEY`` and
``ROLECALL_API_SECRET`` must be set. With ``ROLECALL_STORE=sqlite:///rolecall.db`` it runs under any number of workers.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Cookie, Depends, FastAPI, HTTPException, Request, Response, WebSocket
from pydantic import BaseModel

from rolecall import (
    AccessRequest,
    Actor,
    Allow,
    Deny,
    Rolecall,
    RolecallError,
    SessionRequest,
    TokenRequest,
    Vote,
    blocking,
    hookimpl,
)
from rolecall_fastapi import (
    CapabilityRequired,
    CurrentGrant,
    Refused,
    RoleRequired,
    TokenRequired,
    document_refusals,
    problem_handler,
    rolecall_lifespan,
    rolecall_router,
)
from rolecall_starlette import problem_response, public

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


def current_user(request: Request, login: Annotated[str | None, Cookie()] = None) -> str:
    """The name of whoever is logged in; FastAPI asks this on a thread, since it reads the file."""
    name: str | None = request.app.state.school.who(login) if login else None
    if name is None:
        raise HTTPException(401, "log in first")
    return name


def current_actor(name: Annotated[str, Depends(current_user)]) -> Actor:
    """The same person, for the policy."""
    return Actor(name, {"teaches": PEOPLE[name] == "teacher"})


#: Everything in a lesson is for those who have a token for it.
lessons = APIRouter(prefix="/lessons/{session_id}", dependencies=[Depends(TokenRequired())])


@lessons.get("")
async def lesson(session_id: str, grant: CurrentGrant) -> dict[str, str | None]:
    """What the lesson knows of its bearer."""
    return {"lesson": session_id, "you": grant.data, "role": grant.role}


@lessons.post("/questions", status_code=201, dependencies=[Depends(CapabilityRequired("signal"))])
async def ask(session_id: str, grant: CurrentGrant) -> dict[str, str | None]:
    """Ask a question."""
    return {"lesson": session_id, "asked_by": grant.data}


@lessons.post("/sent-out/{name}", status_code=204, dependencies=[Depends(RoleRequired("moderator"))])
def send_out(request: Request, session_id: str, name: str) -> None:
    """Send somebody out, who then stays out."""
    request.app.state.school.send_out(session_id, name)


@lessons.websocket("/bell")
async def bell(websocket: WebSocket, session_id: str, grant: CurrentGrant) -> None:
    """Tell when the lesson is over, and stay open until then."""
    await websocket.accept()
    await websocket.send_json({"lesson": session_id, "over_at": grant.expires_at})
    await websocket.receive()  # until the pupil leaves, or the lesson is over


def create_app(**options: Any) -> FastAPI:
    """The app.

    :param options: arguments of the kit that win over the environment.
    """
    school = School(Path(os.environ.get("SCHOOL_DATABASE", "school.db")))
    kit = Rolecall.from_env(plugins=[SchoolPolicy(school)], **options)

    app = FastAPI(
        title="School",
        lifespan=rolecall_lifespan(kit),
        exception_handlers={Refused: problem_handler, RolecallError: problem_response},
    )
    app.state.school = school
    document_refusals(app)
    app.include_router(rolecall_router(kit, Depends(current_actor)), prefix="/video", tags=["video"])
    app.include_router(lessons, tags=["lessons"])

    @app.post("/login")
    @public
    def login(who: Login, response: Response) -> dict[str, str]:
        if who.name not in PEOPLE:
            raise HTTPException(403, "nobody has this name")
        # It says who asks, so other sites must not be able to make a browser ask. Behind https add secure=True.
        response.set_cookie("login", school.log_in(who.name), httponly=True, samesite="lax")
        return {"name": who.name, "is": PEOPLE[who.name]}

    return app
