"""The conforming site in FastAPI: the kit's router, and guards as dependencies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import Request
from starlette.responses import Response

import rolecall_fastapi
import rolecall_starlette
from rolecall import Grant, Rolecall
from rolecall.testing.conformance import METHODS, MOUNTED, AsgiSite, described, own_guards, own_headers

_DEPENDENCIES = SimpleNamespace(
    require_role=rolecall_fastapi.RoleRequired,
    require_capability=rolecall_fastapi.CapabilityRequired,
    require_token=rolecall_fastapi.TokenRequired,
)


def fastapi_app(kit: Rolecall) -> FastAPI:
    async def nothing(request: Request, error: Exception) -> Response:
        return Response(b"nothing here", 404, {"content-type": "text/plain"})

    def nobody() -> None:
        """Where the kit's plugins know who asks."""

    async def bare() -> Response:
        return Response(described(None), media_type="application/json")

    async def granted_inside(request: Request) -> Response:
        return Response(described(rolecall_starlette.current_grant(request)), media_type="application/json")

    def granted_by(guard: Any, path: str) -> Any:
        dependency = Depends(guard)

        async def granted(grant: Grant = dependency) -> Response:
            return Response(described(grant), media_type="application/json", headers=own_headers(path))

        return granted

    handlers: Any = {404: nothing, rolecall_fastapi.Refused: rolecall_fastapi.problem_handler}
    app = FastAPI(openapi_url=None, redirect_slashes=False, exception_handlers=handlers)
    # The endpoints make their answers themselves, which the dependencies do not reach.
    app.add_middleware(rolecall_fastapi.UncachedMiddleware)
    actor = Depends(nobody) if kit.engine.state.plugins.identify else None
    app.include_router(rolecall_fastapi.rolecall_router(kit, actor), prefix="/video")
    app.include_router(rolecall_fastapi.rolecall_router(kit, name="sdk", routes=rolecall_starlette.SDK_ROUTES))
    for path, dependency in own_guards(_DEPENDENCIES).items():
        app.add_api_route(path, granted_by(dependency, path), methods=[*METHODS])
    app.add_api_route("/bare", bare, methods=[*METHODS])
    app.add_api_route("/inside/open", rolecall_starlette.public(bare), methods=[*METHODS])
    inside = APIRouter(prefix="/inside", dependencies=[Depends(rolecall_fastapi.TokenRequired())])
    inside.add_api_route("/{session_id}", granted_inside, methods=[*METHODS])
    app.include_router(inside)
    return app


def under_mount(app):
    """The app under the prefix, mounted in another one."""
    outer = FastAPI()
    outer.mount(MOUNTED, app)
    return outer


site = AsgiSite(fastapi_app, under_mount)
