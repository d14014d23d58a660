"""What apps write. No type checker finds anything to say about it."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, assert_type

import flask
from django.http import HttpResponse
from fastapi import Depends, FastAPI, WebSocket
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request as RestRequest
from rest_framework.response import Response as RestResponse
from rest_framework.views import APIView

import rolecall_django
import rolecall_django.channels
import rolecall_django.rest
import rolecall_fastapi
import rolecall_flask
import rolecall_starlette
from rolecall import (
    AccessRequest,
    Actor,
    Allow,
    AsyncSession,
    Capability,
    Deny,
    Event,
    Explanation,
    Grant,
    Limit,
    MediaMode,
    MediaService,
    ModerationRequest,
    Request,
    Role,
    Rolecall,
    RolecallError,
    Session,
    SessionRequest,
    TokenRequest,
    Vote,
    blocking,
    hookimpl,
)
from rolecall.connector import RemoteService
from rolecall.policies import AllowAnyone, RoleMap
from rolecall_fastapi import RoleRequired

ASSISTANT = Role("assistant", ["connect", "publish", Capability.SUBSCRIBE], wire_name="publisheronly")


class Policy:
    @hookimpl
    def rolecall_startup(self, kit: Rolecall) -> None: ...

    @hookimpl
    def rolecall_register_roles(self) -> Iterable[Role]:
        yield ASSISTANT

    @hookimpl
    def rolecall_identify(self, request: Request) -> Actor | None:
        return Actor(request.headers.get("x-user", "")) if "x-user" in request.headers else None

    @hookimpl
    def rolecall_vote_session(self) -> Vote:
        return Allow()

    @hookimpl
    async def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        return Limit(max_role="publisher") if request.actor else Deny("who are you?")

    @hookimpl
    @blocking
    def rolecall_vote_access(self, request: AccessRequest) -> Allow | None:
        return Allow(capabilities=["connect", Capability.PUBLISH], max_role=ASSISTANT)

    @hookimpl
    def rolecall_vote_moderation(self, request: ModerationRequest) -> Deny | None:
        return None

    @hookimpl
    def rolecall_create_session(self, request: SessionRequest) -> str | None:
        return None

    @hookimpl
    def rolecall_media_service(self, request: ModerationRequest) -> MediaService | None:
        return None

    @hookimpl
    def rolecall_token_claims(self, request: TokenRequest) -> Mapping[str, Any]:
        return {"tenant": "acme"}

    @hookimpl
    async def rolecall_on_event(self, event: Event) -> None: ...


class Untyped:
    @hookimpl  # type: ignore[untyped-decorator,unused-ignore]
    def rolecall_vote_token(self, request):  # type: ignore[no-untyped-def]
        return Allow()


@hookimpl
def rolecall_vote_token(request: TokenRequest) -> Vote:
    return None


module = types.ModuleType("policies")
kit = Rolecall(
    plugins=[
        Policy(),
        Untyped(),
        AllowAnyone("moderator"),
        RoleMap({"staff": "moderator"}),
        module,
        "a:b",
    ]
)
session = kit.create_session(media_mode="routed", archive_mode="always", archive_name="lesson")
assert_type(session, Session)
assert_type(kit.create_session("203.0.113.7", MediaMode.ROUTED), Session)
assert_type(kit.get_session(session), Session)
assert_type(kit.generate_token(session, "moderator"), str)
assert_type(kit.generate_token(session.session_id, role=Role.MODERATOR, data="Ada"), str)
assert_type(session.generate_token("subscriber", expire_time=None), str)
assert_type(kit.generate_token(session, kit.roles.get("assistant")), str)
assert_type(kit.verify_token("token", session_id=session), Grant)
assert_type(kit.verify_token("token").allows("publish"), bool)
assert_type(kit.explain_token(session, role="publisher"), Explanation)
assert_type(kit.list_streams(session), list[dict[str, Any]])
assert_type(RemoteService("key", "secret").create_session(media_mode="routed"), str)
with kit as entered:
    assert_type(entered, Rolecall)


async def in_async_code() -> None:
    async with kit.aio as aio:
        made = await aio.create_session(media_mode="relayed")
        assert_type(made, AsyncSession)
        assert_type(await made.generate_token("moderator"), str)
        assert_type(await aio.verify_token("token", made), Grant)
        await made.end()
    await RemoteService("key", "secret").aio.signal("session", data="hello")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield


def current_actor() -> Actor | None:
    return Actor("ada")


the_kit = Rolecall("123456", "secret")
app = FastAPI(
    lifespan=rolecall_fastapi.rolecall_lifespan(the_kit, lifespan),
    exception_handlers={
        rolecall_fastapi.Refused: rolecall_fastapi.problem_handler,
        RolecallError: rolecall_starlette.problem_response,
    },
)
rolecall_fastapi.document_refusals(app)
app.include_router(rolecall_fastapi.rolecall_router(the_kit, Depends(current_actor)), prefix="/video")


@app.websocket("/rooms/{session_id}")
async def board(websocket: WebSocket, grant: rolecall_fastapi.CurrentGrant) -> None:
    assert_type(grant, Grant)
    assert_type(rolecall_starlette.current_grant(websocket), Grant)


video = rolecall_flask.FlaskRolecall(plugins=[Policy()], leeway=5)
assert_type(video.init_app(flask.Flask("school")), Rolecall)
assert_type(rolecall_flask.current_kit, Rolecall)
assert_type(rolecall_flask.current_kit.create_session(), Session)
assert_type(rolecall_flask.current_grant, Grant)


@app.get("/rooms/{session_id}")
def room(session_id: str, grant: Annotated[Grant, Depends(RoleRequired("moderator"))]) -> str:
    return grant.role


@rolecall_flask.require_role("publisher", exact=True)
def view(session_id: str) -> flask.Response:
    return flask.Response()


@rolecall_starlette.require_capability(Capability.SIGNAL)
async def endpoint(request: Any) -> Any: ...


@rolecall_django.require_role("publisher")
def django_view(request: rolecall_django.GuardedRequest, session_id: str) -> HttpResponse:
    assert_type(request.grant, Grant)
    return HttpResponse(session_id)


@rolecall_django.require_token
async def django_coroutine(request: rolecall_django.GuardedRequest, session_id: str) -> HttpResponse:
    assert_type(rolecall_django.find_grant(request), Grant | None)
    return django_view(request, session_id)


class RestView(APIView):
    authentication_classes = (rolecall_django.rest.RolecallAuthentication,)
    permission_classes = (
        rolecall_django.rest.TokenRequired,
        rolecall_django.rest.TokenRequired(session_param="room"),
        IsAdminUser | rolecall_django.rest.RoleRequired("moderator"),
        rolecall_django.rest.CapabilityRequired("publish") & IsAdminUser,
    )

    def get(self, request: RestRequest, room: str) -> RestResponse:
        assert_type(rolecall_django.find_grant(request), Grant | None)
        return RestResponse(rolecall_django.current_grant(request).role)


@api_view(["GET"])
@permission_classes([rolecall_django.rest.RoleRequired("moderator"), rolecall_django.rest.TokenRequired])
def rest_function(request: RestRequest, session_id: str) -> RestResponse:
    return RestResponse()
