"""WebSockets of FastAPI behind a dependency: who gets in, and that they are closed when their grant ends."""

# No postponed annotations: FastAPI could not look up the dependencies that tests make for themselves.
import asyncio
from contextlib import AsyncExitStack
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, WebSocket, WebSocketDisconnect
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from rolecall import Allow, Deny, Grant, RolecallError, Web, hookimpl
from rolecall.errors import ConfigurationError
from rolecall_fastapi import CapabilityRequired, CurrentGrant, GrantRequired, RoleRequired, TokenRequired
from rolecall_starlette import current_grant, problem_response, renew_grant

from ..untyped import untyped
from .test_websockets import RECHECK, asking, knock, on_a_loop, serving, short_grace  # noqa: F401

RULE = "/rooms/{session_id}/board"
Publisher = Annotated[Grant, Depends(RoleRequired("publisher"))]


@pytest.fixture
def kit(make_kit):
    return make_kit(web=Web(recheck=RECHECK))


def app_of(kit, endpoint, *dependencies):
    app = FastAPI(dependencies=[Depends(dependency) for dependency in dependencies])
    app.state.rolecall = kit
    app.add_api_websocket_route(RULE, endpoint)
    return app


async def board(websocket: WebSocket, grant: Publisher):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{grant.role}: {text}")


async def wait_for_ever(websocket: WebSocket, grant: Publisher):
    await websocket.accept()
    await asyncio.Event().wait()


# -- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", [board, wait_for_ever])
@on_a_loop
async def test_it_is_closed_when_the_session_ends(kit, endpoint, short_grace):  # noqa: F811
    session_id, token = asking(kit)
    async with serving(app_of(kit, endpoint), session_id, token) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session_id)
        end = await socket.sent("websocket.close")
        await socket.over()
        assert (end["code"], end["reason"]) == (4401, "revoked_token: the token's session has ended")
        assert socket.task.cancelling() == 0


@on_a_loop
async def test_what_an_endpoint_leaves_open_is_closed(kit):
    async def leave(websocket: WebSocket, grant: Publisher):
        await websocket.accept()

    session_id, token = asking(kit)
    async with serving(app_of(kit, leave), session_id, token) as socket:
        await socket.over()
        assert [message["type"] for message in socket.left()] == ["websocket.accept", "websocket.close"]


@on_a_loop
async def test_dependencies_with_yield_are_told_of_the_end_and_run_to_theirs(kit):
    told: list[Any] = []

    async def lesson(grant: Publisher):
        try:
            yield grant
        except WebSocketDisconnect as end:
            told.append(end.code)
            raise
        finally:
            told.append("over")

    async def endpoint(websocket: WebSocket, grant: Annotated[Grant, Depends(lesson)]):
        await websocket.accept()
        while True:
            await websocket.receive_text()

    session_id, token = asking(kit)
    async with serving(app_of(kit, endpoint), session_id, token) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session_id)
        await socket.over()
    assert told == [4401, "over"]


@on_a_loop
async def test_it_can_be_renewed(kit):
    async def endpoint(websocket: WebSocket, grant: CurrentGrant):
        await websocket.accept()
        await renew_grant(websocket, await websocket.receive_text())
        await websocket.send_text(current_grant(websocket).token_id)

    session = kit.create_session()
    token = session.generate_token()
    async with serving(app_of(kit, endpoint), session.session_id, session.generate_token()) as socket:
        socket.say(token)
        assert (await socket.sent("websocket.send"))["text"] == kit.verify_token(token).token_id


# -- refusals --------------------------------------------------------------------------------------


def test_a_refusal_is_fastapis_own_answer(kit):
    session = kit.create_session()
    with pytest.raises(WebSocketDenialResponse) as refused:
        TestClient(app_of(kit, board)).websocket_connect(f"/rooms/{session.session_id}/board").__enter__()
    assert refused.value.status_code == 401
    assert list(refused.value.json()) == ["detail"]


def test_a_handler_for_the_kits_errors_answers(kit):
    app = app_of(kit, board)
    app.add_exception_handler(RolecallError, problem_response)
    session = kit.create_session()
    assert knock(app, session.session_id, session.generate_token("subscriber"))[:2] == (403, "insufficient_role")


@pytest.mark.parametrize("handler", [None, problem_response])
@on_a_loop
async def test_where_the_server_sends_no_http_answer_a_close_code_says_it(kit, handler):
    app = app_of(kit, board)
    if handler:
        app.add_exception_handler(RolecallError, handler)
    session_id, token = asking(kit, role="subscriber")
    async with serving(app, session_id, token, extensions=()) as socket:
        end = await socket.sent()
        await socket.over()
    assert (end["type"], end["code"], end["reason"][:18]) == ("websocket.close", 4403, "insufficient_role:")


@on_a_loop
async def test_a_client_that_has_gone_before_the_handshake_is_no_case(kit):
    ran = []

    async def endpoint(websocket: WebSocket, grant: Publisher):
        ran.append(1)

    scope = {"type": "websocket", "path": "/rooms/x/board", "headers": [], "query_string": b"", "subprotocols": []}

    async def receive():
        return {"type": "websocket.disconnect", "code": 1001}

    async def send(message):
        ran.append(message)

    with pytest.raises(WebSocketDisconnect):
        await app_of(kit, endpoint)(scope, receive, send)
    assert ran == []


@pytest.mark.parametrize("before", [True, False])
def test_a_dependency_that_accepts_it_before_its_guard_is_a_mistake_that_is_named(kit, before):
    async def accept(websocket: WebSocket):
        await websocket.accept()

    order = [accept, RoleRequired("publisher")][:: 1 if before else -1]
    session = kit.create_session()

    async def talk(websocket: WebSocket):
        await websocket.send_text("in")

    client = TestClient(app_of(kit, talk, *order))
    path, headers = f"/rooms/{session.session_id}/board", {"Authorization": f"Bearer {session.generate_token()}"}
    if before:
        with pytest.raises(ConfigurationError, match="accepted before its guard"):
            client.websocket_connect(path, headers=headers).__enter__()
    else:
        with client.websocket_connect(path, headers=headers) as websocket:
            assert websocket.receive_text() == "in"


def no_room(connection):
    raise HTTPException(404, "no such room")


def test_an_http_error_of_the_guards_own_function_is_the_answer(kit):
    session = kit.create_session()
    app = app_of(kit, lambda websocket: None, TokenRequired(session=no_room))
    headers = {"Authorization": f"Bearer {session.generate_token()}"}
    with pytest.raises(WebSocketDenialResponse) as refused:
        TestClient(app).websocket_connect(f"/rooms/{session.session_id}/board", headers=headers).__enter__()
    assert (refused.value.status_code, refused.value.json()) == (404, {"detail": "no such room"})


def test_a_websocket_whose_end_nobody_would_see_does_not_open(kit, monkeypatch):
    """As in a version of FastAPI that keeps its stack elsewhere."""
    monkeypatch.setattr("rolecall_fastapi.websockets.STACK", "elsewhere")
    session = kit.create_session()
    with pytest.raises(ConfigurationError, match="does not see how long the endpoint"):
        knock(app_of(kit, board), session.session_id, session.generate_token())


def test_fastapi_keeps_a_stack_of_what_is_open_around_an_endpoint():
    seen: dict[str, Any] = {}
    app = FastAPI()

    async def look(websocket: WebSocket):
        seen["dependency"] = websocket

    @app.websocket("/x")
    async def endpoint(websocket: WebSocket, _: Annotated[None, Depends(look)]):
        seen["stack"], seen["endpoint"] = websocket.scope["fastapi_inner_astack"], websocket
        await websocket.accept()

    with TestClient(app).websocket_connect("/x"):
        pass
    assert isinstance(seen["stack"], AsyncExitStack)
    assert seen["dependency"] is seen["endpoint"]


# -- several guards --------------------------------------------------------------------------------


class Counting:
    def __init__(self, vote=None) -> None:
        self.asked: list[Any] = []
        self.vote = vote

    @hookimpl
    def rolecall_vote_access(self, request):
        self.asked.append((request.requirement.scope, request.again))
        return self.vote


def in_one_router(kit):
    """HTTP routes and WebSockets behind one guard, whose endpoints take the grant."""
    router = APIRouter(prefix="/rooms/{session_id}", dependencies=[Depends(RoleRequired("publisher"))])

    @router.get("/board")
    async def show(grant: CurrentGrant) -> str:
        return grant.role

    @router.websocket("/board")
    async def board(websocket: WebSocket, grant: CurrentGrant):
        await websocket.accept()
        await websocket.send_json({"role": grant.role})
        await websocket.close()

    app = FastAPI()
    app.state.rolecall = kit
    app.include_router(router)
    return app


def test_one_guard_is_for_a_routers_http_routes_and_websockets_alike(kit):
    app, session = in_one_router(kit), kit.create_session()
    statuses = {role: knock(app, session.session_id, session.generate_token(role)) for role in ("moderator",)}
    assert statuses["moderator"].said == {"role": "moderator"}
    with pytest.raises(WebSocketDenialResponse):
        TestClient(app).websocket_connect(f"/rooms/{session.session_id}/board").__enter__()
    client, path = TestClient(app), f"/rooms/{session.session_id}/board"
    assert client.get(path).status_code == 401
    headers = {"Authorization": f"Bearer {session.generate_token('subscriber')}"}
    assert client.get(path, headers=headers).status_code == 403


def test_a_current_grant_behind_a_guard_asks_nobody_again(make_kit):
    policy = Counting(Allow(max_role="publisher"))
    kit = make_kit(plugins=[policy])
    app, session = in_one_router(kit), kit.create_session()
    token = session.generate_token("moderator")
    assert knock(app, session.session_id, token).said == {"role": "publisher"}
    path, headers = f"/rooms/{session.session_id}/board", {"Authorization": f"Bearer {token}"}
    assert TestClient(app).get(path, headers=headers).json() == "publisher"
    assert policy.asked == [("role:publisher", False)] * 2


def test_a_current_grant_without_a_guard_demands_a_token_itself(make_kit):
    kit = make_kit(plugins=[Counting(Deny("not you", code="not_you"))])
    app = FastAPI()
    app.state.rolecall = kit

    @app.get("/rooms/{session_id}")
    async def show(grant: CurrentGrant) -> str:
        raise AssertionError("it ran")

    session, other = kit.create_session(), kit.create_session()
    client = TestClient(app)
    for token, status in [("", 401), (other.generate_token(), 403), (session.generate_token(), 403)]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        assert client.get(f"/rooms/{session.session_id}", headers=headers).status_code == status


def test_a_current_grant_binds_the_session_if_the_guard_before_does_not(kit):
    app = FastAPI(dependencies=[Depends(TokenRequired(session_param=None))])
    app.state.rolecall = kit

    @app.get("/rooms/{session_id}")
    async def show(grant: CurrentGrant) -> str:
        return grant.session_id

    session, client = kit.create_session(), TestClient(app)
    for one, status in ((session, 200), (kit.create_session(), 403)):
        headers = {"Authorization": f"Bearer {one.generate_token()}"}
        assert client.get(f"/rooms/{session.session_id}", headers=headers).status_code == status


def test_a_current_grant_is_no_guest(kit):
    app = FastAPI(dependencies=[Depends(TokenRequired(optional=True))])
    app.state.rolecall = kit
    app.add_api_route("/rooms/{session_id}", lambda grant: None)

    @app.get("/seats/{session_id}")
    async def show(grant: CurrentGrant) -> str:
        raise AssertionError("it ran")

    assert TestClient(app).get("/seats/x").status_code == 401


@on_a_loop
async def test_each_of_several_guards_watches(make_kit):
    policy = Counting()
    kit = make_kit(web=Web(recheck=RECHECK), plugins=[policy])
    session_id, token = asking(kit)
    async with serving(app_of(kit, board, CapabilityRequired("signal"), TokenRequired()), session_id, token) as socket:
        await socket.sent("websocket.accept")
        policy.vote = Deny("over", code="over")
        end = await socket.sent("websocket.close")
        await socket.over()
    assert (end["code"], end["reason"][:5]) == (4403, "over:")
    assert {scope for scope, again in policy.asked if not again} == {"capability:signal", "token", "role:publisher"}


def by_query(connection):
    return connection.query_params.get("room")


def test_a_grant_of_a_session_that_a_function_finds_is_asked_for_anew(kit):
    app = FastAPI(dependencies=[Depends(TokenRequired(session_param=None))])
    app.state.rolecall = kit

    @app.get("/seats")
    async def show(grant: Annotated[Grant, Depends(GrantRequired(session=by_query))]) -> str:
        return grant.session_id

    session, client = kit.create_session(), TestClient(app)
    headers = {"Authorization": f"Bearer {session.generate_token()}"}
    assert client.get("/seats", params={"room": session.session_id}, headers=headers).status_code == 200
    assert client.get("/seats", params={"room": kit.create_session().session_id}, headers=headers).status_code == 403
    assert client.get("/seats", headers=headers).status_code >= 400


def test_a_grant_of_another_kit_is_asked_for_anew(kit, make_kit):
    other = make_kit(api_key="654321", api_secret="0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789")
    app = FastAPI(dependencies=[Depends(TokenRequired(kit=other))])
    app.state.rolecall = kit

    @app.get("/seats")
    async def show(grant: CurrentGrant) -> str:
        raise AssertionError("it ran")

    headers = {"Authorization": f"Bearer {other.create_session().generate_token()}"}
    assert TestClient(app).get("/seats", headers=headers).status_code == 401


# -- as apps are tested ----------------------------------------------------------------------------


def test_an_overridden_guard_lets_a_test_in(kit):
    app, session = app_of(kit, board), kit.create_session()
    grant = kit.verify_token(session.generate_token("moderator"))
    app.dependency_overrides[RoleRequired("publisher")] = lambda: grant
    app.get("/seat")(untyped(_seat))
    app.dependency_overrides[GrantRequired()] = lambda: grant
    assert TestClient(app).get("/seat").json() == "moderator"
    with TestClient(app).websocket_connect("/rooms/x/board") as websocket:
        websocket.send_text("hello")
        assert websocket.receive_text() == "moderator: hello"


def _seat(grant: CurrentGrant) -> str:
    return grant.role
