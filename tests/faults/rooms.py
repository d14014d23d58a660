"""Apps whose workers ``ended_elsewhere.py`` asks: one for gunicorn, one for uvicorn, with the same three routes.

Each answer ends with the worker's pid.
"""

from __future__ import annotations

import os

import flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import rolecall_flask
import rolecall_starlette
from rolecall import Rolecall
from rolecall.errors import StoreUnavailable

#: The variables that tell the store's URL and the project's secret to the workers.
STORE, SECRET = "ROOMS_STORE", "ROOMS_SECRET"


def _kit() -> Rolecall:
    return Rolecall("123456", os.environ[SECRET], store=os.environ[STORE], entry_points=False)


def wsgi() -> flask.Flask:
    kit = _kit()
    app = flask.Flask("rooms")
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit), url_prefix="/video")

    @app.post("/create")
    def create() -> str:
        session = kit.create_session()
        return f"{session.session_id} {session.generate_token()} {os.getpid()}"

    @app.post("/end/<session_id>")
    def end(session_id: str) -> str:
        kit.end_session(session_id)
        return f"ended {os.getpid()}"

    @app.get("/enter/<session_id>")
    @rolecall_flask.require_role("publisher")
    def enter(session_id: str) -> str:
        return f"in {os.getpid()}"

    @app.errorhandler(StoreUnavailable)
    def unavailable(error: StoreUnavailable) -> tuple[str, int]:
        return str(error), error.status

    return app


def asgi() -> Starlette:
    kit = _kit()

    async def create(request: Request) -> PlainTextResponse:
        session = await kit.aio.create_session()
        token = await kit.aio.generate_token(session.session_id)
        return PlainTextResponse(f"{session.session_id} {token} {os.getpid()}")

    async def end(request: Request) -> PlainTextResponse:
        await kit.aio.end_session(request.path_params["session_id"])
        return PlainTextResponse(f"ended {os.getpid()}")

    @rolecall_starlette.require_role("publisher")
    async def enter(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"in {os.getpid()}")

    async def unavailable(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse(str(error), StoreUnavailable.status)

    return Starlette(
        exception_handlers={StoreUnavailable: unavailable},
        routes=[
            Route("/create", create, methods=["POST"]),
            Route("/end/{session_id}", end, methods=["POST"]),
            Route("/enter/{session_id}", enter),
            Mount("/video", app=rolecall_starlette.rolecall_app(kit)),
        ],
    )
