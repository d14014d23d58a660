"""Guarded WebSockets, in process: who gets in, in every way that an endpoint can be written, and for how long."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import asynccontextmanager, suppress
from functools import partial, wraps
from typing import Annotated, Any, NamedTuple

import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import Mount, Router, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from rolecall import Allow, Deny, Grant, Web, hookimpl
from rolecall.errors import ConfigurationError, RevokedToken, StoreUnavailable
from rolecall.http.gateways import websockets
from rolecall.stores.memory import MemoryStore
from rolecall_fastapi import CurrentGrant, Refused, problem_handler
from rolecall_fastapi.dependencies import Dependency
from rolecall_starlette import (
    current_grant,
    find_grant,
    protect,
    renew_grant,
    require_capability,
    require_role,
    require_token,
)

NOW = 1_795_186_800
BEARER = "rolecall.bearer"
PAGE, STRANGER = "https://app.example", "https://elsewhere.example"
#: The least that a kit takes, so that no test waits for long.
RECHECK = 0.05


@pytest.fixture
def kit(make_kit):
    return make_kit(web=Web(recheck=RECHECK))


@pytest.fixture
def short_grace(monkeypatch):
    """An app that does not end by itself is cancelled soon."""
    monkeypatch.setattr(websockets, "GRACE", 0.1)


class Told:
    """A plugin that remembers what it is told of the tokens that somebody came with."""

    def __init__(self) -> None:
        self.codes: list[Any] = []
        self.events: list[Any] = []

    @hookimpl
    def rolecall_on_event(self, event):
        if event.name == "access_refused":
            self.events.append(event)
            self.codes.append(event.code)


# -- the handshake ---------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What came of a handshake: 101 for a WebSocket that was opened."""

    status: int
    code: str | None = None
    said: Any = None
    subprotocol: str | None = None
    headers: Any = None
    problem: Any = None


def knock(app, session_id, token=None, *, path="/rooms/{}/board", offer=None, headers=()) -> Answer:
    """Ask ``app`` for a WebSocket."""
    headers = dict(headers)
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    try:
        with TestClient(app).websocket_connect(path.format(session_id), offer, headers=headers) as websocket:
            return Answer(101, None, websocket.receive_json(), websocket.accepted_subprotocol)
    except WebSocketDenialResponse as refusal:
        return Answer(refusal.status_code, refusal.json()["code"], headers=refusal.headers, problem=refusal.json())


async def greet(websocket) -> None:
    await websocket.accept()
    await websocket.send_json(
        {
            "role": current_grant(websocket).role,
            "same": websocket.state.grant is current_grant(websocket),
            "offered": websocket.scope["subprotocols"],
        }
    )
    await websocket.close()


def welcome(role, offered=()):
    return {"role": role, "same": True, "offered": list(offered)}


def starlette(kit, *routes):
    app = Starlette(routes=routes)
    app.state.rolecall = kit
    return app


def fastapi(kit):
    app = FastAPI()
    app.state.rolecall = kit
    return app


def room(kit, guard=require_token):
    """An app with one guarded WebSocket."""
    return on_a_function(kit, guard)


# -- every way to write an endpoint ----------------------------------------------------------------

RULE = "/rooms/{session_id}/board"


def on_a_function(kit, guard):
    @guard
    async def board(websocket):
        await greet(websocket)

    return starlette(kit, WebSocketRoute(RULE, board))


def on_an_endpoint_class(kit, guard):
    @guard
    class Board(WebSocketEndpoint):
        async def on_connect(self, websocket):
            await greet(websocket)

    return starlette(kit, WebSocketRoute(RULE, Board))


def on_the_base_of_an_endpoint_class(kit, guard):
    @guard
    class Base(WebSocketEndpoint):
        pass

    class Board(Base):
        async def on_connect(self, websocket):
            await greet(websocket)

    return starlette(kit, WebSocketRoute(RULE, Board))


def on_a_class_that_dispatches_by_itself(kit, guard):
    @guard
    class Board(WebSocketEndpoint):
        async def dispatch(self):
            await greet(WebSocket(self.scope, self.receive, self.send))

    return starlette(kit, WebSocketRoute(RULE, Board))


def on_a_subclass_of_a_guarded_class(kit, guard):
    @require_token
    class Base(WebSocketEndpoint):
        pass

    @guard
    class Board(Base):
        async def on_connect(self, websocket):
            await greet(websocket)

    return starlette(kit, WebSocketRoute(RULE, Board))


def on_a_route(kit, guard):
    return starlette(kit, guard(WebSocketRoute(RULE, greet)))


def on_a_mount(kit, guard):
    return starlette(kit, guard(Mount("/rooms/{session_id}", routes=[WebSocketRoute("/board", greet)])))


def on_a_mounted_app(kit, guard):
    return starlette(kit, Mount("/rooms/{session_id}", guard(Router([WebSocketRoute("/board", greet)]))))


def on_a_whole_app(kit, guard):
    return guard(starlette(kit, WebSocketRoute(RULE, greet)))


def on_an_asgi_function(kit, guard):
    @guard
    async def board(scope, receive, send):
        await greet(WebSocket(scope, receive, send))

    return starlette(kit, Mount("/rooms/{session_id}", board))


def on_a_partial(kit, guard):
    async def board(greeting, websocket):
        await greeting(websocket)

    return starlette(kit, WebSocketRoute(RULE, guard(partial(board, greet))))


def on_a_fastapi_function(kit, guard):
    app = fastapi(kit)

    @app.websocket(RULE)
    @guard
    async def board(websocket: WebSocket):
        await greet(websocket)

    return app


def who(websocket: WebSocket) -> str:
    return websocket.query_params.get("who", "nobody")


def on_a_fastapi_function_with_parameters(kit, guard):
    app = fastapi(kit)

    @app.websocket("/rooms/{session_id}/{name}")
    @guard
    async def board(
        session_id: str, client: WebSocket, name: str, caller: Annotated[str, Depends(who)], since: int = 7
    ):
        assert (name, caller, since) == ("board", "nobody", 7)
        assert session_id == current_grant(client).session_id
        await greet(client)

    return app


def on_a_fastapi_router(kit, guard):
    app, router = fastapi(kit), APIRouter(prefix="/rooms")

    @router.websocket("/{session_id}/board")
    @guard
    async def board(websocket: WebSocket):
        await greet(websocket)

    app.include_router(router)
    return app


def of_a_fastapi_dependency(kit, guard):
    app = depending(kit, guard)

    @app.websocket(RULE)
    async def board(session_id: str, client: WebSocket, grant: CurrentGrant):
        assert (grant.session_id, grant.role) == (session_id, current_grant(client).role)
        await greet(client)

    return app


def of_a_fastapi_dependency_beside_a_guard(kit, guard):
    app = depending(kit, guard)

    @app.websocket(RULE)
    @require_token
    async def board(websocket: WebSocket, caller: Annotated[str, Depends(who)]):
        await greet(websocket)

    return app


def depending(kit, guard):
    """A FastAPI app that has a guard among its dependencies, and answers with problems."""
    app = fastapi(kit)
    app.add_exception_handler(Refused, problem_handler)
    app.router.dependencies.append(Depends(Dependency(guard() if guard is require_token else guard)))
    return app


def within_another_guard(kit, guard):
    @guard
    async def board(websocket):
        await greet(websocket)

    return starlette(kit, protect(Mount("/rooms/{session_id}", routes=[WebSocketRoute("/board", board)])))


def around_another_guard(kit, guard):
    @guard
    @require_token
    async def board(websocket):
        await greet(websocket)

    return starlette(kit, WebSocketRoute(RULE, board))


WAYS = [
    on_a_function,
    on_an_endpoint_class,
    on_the_base_of_an_endpoint_class,
    on_a_class_that_dispatches_by_itself,
    on_a_subclass_of_a_guarded_class,
    on_a_route,
    on_a_mount,
    on_a_mounted_app,
    on_a_whole_app,
    on_an_asgi_function,
    on_a_partial,
    on_a_fastapi_function,
    on_a_fastapi_function_with_parameters,
    on_a_fastapi_router,
    of_a_fastapi_dependency,
    of_a_fastapi_dependency_beside_a_guard,
    within_another_guard,
    around_another_guard,
]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request):
    return request.param


def test_a_token_that_is_enough_opens_it(way, kit):
    session = kit.create_session()
    app = way(kit, require_role("publisher"))
    answer = knock(app, session.session_id, session.generate_token("moderator"))
    assert answer == Answer(101, None, welcome("moderator"))


def test_a_token_that_is_offered_as_a_subprotocol_opens_it(way, kit):
    session = kit.create_session()
    app = way(kit, require_role("publisher"))
    answer = knock(app, session.session_id, offer=["chat", BEARER, session.generate_token(), "v2"])
    assert answer == Answer(101, None, welcome("publisher", ["chat", "v2"]), BEARER)


@pytest.mark.parametrize(
    ("role", "elsewhere", "expected"),
    [
        (None, False, (401, "missing_token")),
        ("subscriber", False, (403, "insufficient_role")),
        ("moderator", True, (403, "wrong_session")),
    ],
)
def test_any_other_does_not(way, role, elsewhere, expected, kit):
    session, other = kit.create_session(), kit.create_session()
    app = way(kit, require_role("publisher"))
    token = role and session.generate_token(role)
    assert knock(app, (other if elsewhere else session).session_id, token)[:2] == expected


def test_a_capability_can_be_required(kit):
    session = kit.create_session()
    app = room(kit, require_capability("force_disconnect"))
    assert knock(app, session.session_id, session.generate_token("moderator")).status == 101
    assert knock(app, session.session_id, session.generate_token("publisher"))[:2] == (403, "insufficient_role")


def test_a_route_without_the_session_takes_a_token_for_any(kit):
    app = starlette(kit, require_token(WebSocketRoute("/lobby", greet)))
    assert knock(app, "", kit.create_session().generate_token(), path="/lobby").status == 101


async def greet_guest(websocket) -> None:
    await websocket.accept()
    grant = find_grant(websocket)
    await websocket.send_json("a guest" if grant is None else grant.role)
    await websocket.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda guard: WebSocketRoute(RULE, guard(greet_guest)),
        lambda guard: guard(WebSocketRoute(RULE, greet_guest)),
        lambda guard: guard(Mount("/rooms/{session_id}", routes=[WebSocketRoute("/board", greet_guest)])),
    ],
)
def test_where_the_token_is_optional_a_websocket_opens_without_one(kit, make):
    app, session = starlette(kit, make(require_token(optional=True))), kit.create_session()
    assert knock(app, session.session_id).said == "a guest"
    assert knock(app, session.session_id, headers={"Authorization": "Basic dXNlcjpwYXNz"}).said == "a guest"
    assert knock(app, session.session_id, session.generate_token()).said == "publisher"
    assert knock(app, session.session_id, offer=[BEARER, session.generate_token()]).said == "publisher"
    wrong = {"x.y.z": 401, kit.create_session().generate_token(): 403}
    assert {token: knock(app, session.session_id, token).status for token in wrong} == wrong


def test_a_websocket_without_a_token_stays_open_when_the_session_ends(kit):
    """There is no grant that could end."""

    @require_token(optional=True)
    async def board(websocket):
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    app, session = starlette(kit, WebSocketRoute(RULE, board)), kit.create_session()
    with TestClient(app).websocket_connect(f"/rooms/{session.session_id}/board") as websocket:
        session.end()
        time.sleep(4 * RECHECK)
        websocket.send_text("still here")
        assert websocket.receive_text() == "still here"


def test_the_session_is_bound_by_the_parameter_that_the_guard_names(kit):
    session = kit.create_session()
    app = starlette(kit, require_role("publisher", session_param="room")(WebSocketRoute("/rooms/{room}", greet)))
    assert knock(app, session.session_id, session.generate_token(), path="/rooms/{}").status == 101
    assert knock(app, "another", session.generate_token(), path="/rooms/{}")[:2] == (403, "wrong_session")


def test_a_socket_that_was_accepted_before_its_guard_is_a_mistake_that_is_named(kit):
    session = kit.create_session()
    app = fastapi(kit)

    async def accepted(websocket: WebSocket):
        await websocket.accept()

    @app.websocket(RULE, dependencies=[Depends(accepted)])
    @require_token
    async def board(websocket: WebSocket):
        raise AssertionError("nobody may get here")

    @on_a_loop
    async def enter():
        async with serving(app, session.session_id, session.generate_token()) as socket:
            with pytest.raises(ConfigurationError, match="before its guard"):
                await socket.over()

    enter()


def test_a_guard_on_the_app_stands_before_the_dependencies_of_fastapi(kit):
    session = kit.create_session()
    app, asked = fastapi(kit), []

    @app.websocket(RULE, dependencies=[Depends(lambda: asked.append(True))])
    async def board(websocket: WebSocket):
        await greet(websocket)

    guarded = protect(app)
    assert knock(guarded, session.session_id).status == 401
    assert asked == []
    assert knock(guarded, session.session_id, session.generate_token()).status == 101
    assert asked == [True]


# -- the refusal -----------------------------------------------------------------------------------


def test_the_refusal_is_a_problem_with_its_challenge(kit):
    answer = knock(room(kit), kit.create_session().session_id)
    assert answer.status == 401
    assert answer.problem == {
        "title": "Unauthorized",
        "status": 401,
        "detail": "this WebSocket needs a token: send 'Authorization: Bearer <token>' or the subprotocols "
        "rolecall.bearer, <token>",
        "code": "missing_token",
    }
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["www-authenticate"] == 'Bearer realm="rolecall"'


def test_the_challenge_names_the_role_that_is_required(kit):
    session = kit.create_session()
    answer = knock(room(kit, require_role("moderator")), session.session_id, session.generate_token())
    assert answer.headers["www-authenticate"].endswith('error="insufficient_scope", error_description='
        '"role:moderator is required; the token\'s role is publisher", scope="role:moderator"')  # fmt: skip


def refused_by(kind, kit, clock, session):
    """A token, or what stands for one, that is refused in this way."""
    if kind == "none":
        return None
    if kind == "role":
        return session.generate_token("subscriber")
    if kind == "malformed":
        return "one two"
    if kind == "bad":
        return "no.token.atall"
    if kind == "long":
        return "a" * 17_000
    if kind == "ended":
        token = session.generate_token()
        session.end()
        return token
    token = session.generate_token(expire_time=clock() + 60)
    # The leeway takes this token once more over HTTP; a WebSocket would be over before it begins.
    clock.now += 61
    return token


REFUSALS = [
    ("none", 401, "missing_token"),
    ("bad", 401, "malformed_token"),
    ("ended", 401, "revoked_token"),
    ("expired", 401, "expired_token"),
    ("role", 403, "insufficient_role"),
    ("malformed", 400, "malformed_credential"),
    ("long", 431, "credential_too_large"),
]


@pytest.mark.parametrize(("kind", "status", "code"), REFUSALS)
def test_it_is_refused_with_an_http_answer(kind, status, code, kit, clock):
    session = kit.create_session()
    token = refused_by(kind, kit, clock, session)
    assert knock(room(kit, require_role("publisher")), session.session_id, token)[:2] == (status, code)


@pytest.mark.parametrize(("kind", "status", "code"), REFUSALS)
def test_where_the_server_sends_no_http_answer_a_close_code_says_it(kind, status, code, kit, clock):
    session = kit.create_session()
    token = refused_by(kind, kit, clock, session)

    @on_a_loop
    async def refused():
        app = room(kit, require_role("publisher"))
        async with serving(app, session.session_id, token, extensions=None) as socket:
            message = await socket.sent()
            assert (message["type"], message["code"]) == ("websocket.close", 4000 + status)
            assert message["reason"].startswith(f"{code}: ")
            await socket.over()
            assert socket.left() == []

    refused()


def test_every_refusal_is_told_once(make_kit):
    told = Told()
    kit = make_kit(plugins=[told], web=Web(origins=[PAGE]))
    session = kit.create_session()
    app = room(kit)
    knock(app, session.session_id)
    knock(app, session.session_id, session.generate_token(), headers={"origin": STRANGER})
    assert told.codes == ["missing_token", "origin_not_allowed"]
    assert {event.session_id for event in told.events} == {session.session_id}
    assert told.events[0].http.route == f"/rooms/{session.session_id}/board"


def test_a_store_that_does_not_answer_lets_nobody_in(make_kit):
    store = FailingStore()
    kit = make_kit(store=store)
    session = kit.create_session()
    token = session.generate_token()
    store.failure = StoreUnavailable("the test has cut the line")
    assert knock(room(kit), session.session_id, token)[:2] == (503, "store_unavailable")


def test_a_fault_of_the_kit_itself_lets_nobody_in_and_is_logged(make_kit, caplog):
    store = FailingStore()
    kit = make_kit(store=store)
    session = kit.create_session()
    token = session.generate_token()
    store.failure = ZeroDivisionError("a fault")
    answer = knock(room(kit), session.session_id, token)
    assert answer[:2] == (500, "rolecall_error")
    assert "a fault" not in str(answer.problem)
    assert "ZeroDivisionError: a fault" in caplog.text


# -- where the token is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "header", "expected"),
    [
        ([BEARER, "{token}"], None, (101, None)),
        (["chat", BEARER, "{token}"], None, (101, None)),
        ([BEARER, "{token}", "chat"], None, (101, None)),
        (["chat"], "Bearer {token}", (101, None)),
        # What a browser sends by itself where the site is behind a password.
        ([BEARER, "{token}"], "Basic YWRhOmE=", (101, None)),
        (["chat"], None, (401, "missing_token")),
        (["{token}"], None, (401, "missing_token")),
        (["Rolecall.Bearer", "{token}"], None, (401, "missing_token")),
        (["{token}", BEARER], None, (400, "malformed_credential")),
        ([BEARER], None, (400, "malformed_credential")),
        ([BEARER, ""], None, (400, "malformed_credential")),
        ([BEARER, "{token}", BEARER, "{token}"], None, (400, "malformed_credential")),
        ([BEARER, "{token}", BEARER], None, (400, "malformed_credential")),
        ([BEARER, "{token}"], "Bearer {token}", (400, "malformed_credential")),
        ([BEARER, "{token}"], "bearer", (400, "malformed_credential")),
        ([BEARER, "{token}"], "Basic YWRhOmE=,Bearer {token}", (400, "malformed_credential")),
        ([BEARER, "chat"], None, (401, "malformed_token")),
        ([BEARER, BEARER, "{token}"], None, (401, "malformed_token")),
    ],
)
def test_a_token_among_the_subprotocols_counts_as_one_in_the_header(offer, header, expected, kit):
    session = kit.create_session()
    token = session.generate_token()
    headers = {"authorization": header.format(token=token)} if header else {}
    answer = knock(room(kit), session.session_id, offer=[part.format(token=token) for part in offer], headers=headers)
    assert answer[:2] == expected


TOO_MANY = "the request carries more than one token; send one, in one place"


@pytest.mark.parametrize(
    ("offer", "header", "detail"),
    [
        ([BEARER], None, "the subprotocol 'rolecall.bearer' is followed by no token"),
        ([BEARER, ""], None, "the subprotocol 'rolecall.bearer' is followed by no token"),
        ([BEARER, "a"], "Bearer a", TOO_MANY),
        ([BEARER], "Bearer a", TOO_MANY),
        ([BEARER, "a", BEARER, "a"], None, TOO_MANY),
        ([BEARER, "a"], "Basic YWRhOmE=,Bearer a", TOO_MANY),
    ],
)
def test_what_is_wrong_with_an_offer_is_said_of_the_subprotocol(offer, header, detail, kit):
    answer = knock(room(kit), "x", offer=offer, headers={"authorization": header} if header else {})
    assert (answer.status, answer.problem["detail"]) == (400, detail)


def test_the_app_sees_no_token_among_the_subprotocols(kit):
    session = kit.create_session()
    answer = knock(room(kit), session.session_id, offer=["v1", BEARER, session.generate_token(), "v2"])
    assert answer.said["offered"] == ["v1", "v2"]


@pytest.mark.parametrize(
    ("offer", "chosen", "answered"),
    [
        ([BEARER, "{token}"], None, BEARER),
        (["chat", BEARER, "{token}"], None, BEARER),
        (["chat", BEARER, "{token}"], "chat", "chat"),
        (["chat"], "chat", "chat"),
        (["chat"], None, None),
    ],
)
def test_the_bearer_is_answered_unless_the_app_chooses_another(offer, chosen, answered, kit):
    @require_token
    async def board(websocket):
        await websocket.accept(chosen)
        await websocket.send_json(None)

    session = kit.create_session()
    token = session.generate_token()
    app = starlette(kit, WebSocketRoute(RULE, board))
    headers = {} if BEARER in offer else {"authorization": f"Bearer {token}"}
    offered = [part.format(token=token) for part in offer]
    assert knock(app, session.session_id, offer=offered, headers=headers).subprotocol == answered


@pytest.mark.parametrize(
    ("query", "web", "expected"),
    [
        ("?access_token={token}", Web(), (401, "missing_token")),
        ("?access_token={token}", Web(query="access_token"), (101, None)),
        ("?token={token}", Web(query="access_token"), (401, "missing_token")),
        ("?access_token=", Web(query="access_token"), (400, "malformed_credential")),
        ("?access_token={token}&access_token={token}", Web(query="access_token"), (400, "malformed_credential")),
    ],
)
def test_a_token_in_the_query_counts_only_when_that_is_on(query, web, expected, make_kit):
    kit = make_kit(web=web)
    session = kit.create_session()
    path = "/rooms/{}/board" + query.format(token=session.generate_token())
    assert knock(room(kit), session.session_id, path=path)[:2] == expected


def test_a_token_in_the_query_and_one_in_a_subprotocol_are_one_too_many(make_kit):
    kit = make_kit(web=Web(query="access_token"))
    session = kit.create_session()
    token = session.generate_token()
    answer = knock(room(kit), session.session_id, path=f"/rooms/{{}}/board?access_token={token}", offer=[BEARER, token])
    assert answer[:2] == (400, "malformed_credential")


WITH_COOKIE: dict[str, Any] = {"cookie": "__Host-rolecall"}


@pytest.mark.parametrize(
    ("web", "origin", "expected"),
    [
        ({}, PAGE, (401, "missing_token")),
        (WITH_COOKIE, None, (101, None)),
        (WITH_COOKIE, PAGE, (403, "origin_not_allowed")),
        ({**WITH_COOKIE, "origins": [PAGE]}, PAGE, (101, None)),
        ({**WITH_COOKIE, "origins": [PAGE]}, STRANGER, (403, "origin_not_allowed")),
        ({**WITH_COOKIE, "origins": [PAGE]}, "null", (403, "origin_not_allowed")),
        ({**WITH_COOKIE, "origins": [PAGE]}, "", (403, "origin_not_allowed")),
    ],
)
def test_a_cookie_counts_only_when_that_is_on_and_for_pages_that_are_listed(web, origin, expected, make_kit):
    kit = make_kit(web=Web(**web))
    session = kit.create_session()
    headers = {"cookie": f"a=b; __Host-rolecall={session.generate_token()}"}
    if origin is not None:
        headers["origin"] = origin
    assert knock(room(kit), session.session_id, headers=headers)[:2] == expected


def test_a_token_in_a_cookie_and_one_in_a_subprotocol_are_one_too_many(make_kit):
    kit = make_kit(web=Web(**WITH_COOKIE))
    session = kit.create_session()
    token = session.generate_token()
    headers = {"cookie": f"__Host-rolecall={token}"}
    assert knock(room(kit), session.session_id, offer=[BEARER, token], headers=headers).status == 400


# -- origins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 101),
        ("https://app.example", 101),
        ("http://localhost:3000", 101),
        ("https://app.example:443", 403),
        ("https://app.example:8443", 403),
        ("http://app.example", 403),
        ("HTTPS://APP.EXAMPLE", 403),
        ("https://app.example/", 403),
        ("https://app.example.", 403),
        ("https://app.example.evil.example", 403),
        ("https://evil-app.example", 403),
        ("https://sub.app.example", 403),
        ("https://app.example@evil.example", 403),
        ("https://app.example https://evil.example", 403),
        ("https://app.example,https://app.example", 403),
        ("http://localhost:30001", 403),
        ("wss://app.example", 403),
        ("null", 403),
        ("*", 403),
        ("", 403),
    ],
)
def test_a_page_opens_it_if_its_origin_is_listed_exactly(origin, status, make_kit):
    kit = make_kit(web=Web(origins=["https://app.example", "http://localhost:3000"]))
    session = kit.create_session()
    headers = {} if origin is None else {"origin": origin}
    assert knock(room(kit), session.session_id, session.generate_token(), headers=headers).status == status


def test_the_client_learns_which_page_and_the_log_what_to_do(make_kit, caplog):
    caplog.set_level(logging.INFO, "rolecall")
    app = room(make_kit(web=Web(origins=[PAGE])))
    refused = f"pages of '{STRANGER}' open no WebSocket here"
    assert knock(app, "x", headers={"origin": STRANGER}).problem["detail"] == refused
    assert f"{refused}; see Web(origins=…)" in caplog.messages


@pytest.mark.parametrize("origin", [STRANGER, "null", ""])
def test_without_a_list_a_token_is_proof_enough(origin, kit):
    session = kit.create_session()
    headers = {"origin": origin}
    assert knock(room(kit), session.session_id, session.generate_token(), headers=headers).status == 101


def test_an_origin_that_came_twice_is_on_no_list(make_kit):
    kit = make_kit(web=Web(origins=[PAGE]))
    session = kit.create_session()

    @on_a_loop
    async def twice():
        origins = [(b"origin", PAGE.encode()), (b"origin", PAGE.encode())]
        async with serving(room(kit), session.session_id, session.generate_token(), headers=origins) as socket:
            assert (await socket.sent())["status"] == 403

    twice()


# -- policies --------------------------------------------------------------------------------------


class Policy:
    """Votes as it is told, and keeps what it was asked."""

    def __init__(self, vote) -> None:
        self.asked: list[Any] = []
        self._vote = vote

    @hookimpl
    def rolecall_vote_access(self, request):
        self.asked.append(request)
        return self._vote(request)


class AsyncPolicy(Policy):
    @hookimpl
    async def rolecall_vote_access(self, request):
        await asyncio.sleep(0)
        self.asked.append(request)
        return self._vote(request)


@pytest.mark.parametrize("kind", [Policy, AsyncPolicy])
def test_policies_are_asked_once_and_see_the_handshake(kind, make_kit):
    policy = kind(lambda request: Allow())
    kit = make_kit(plugins=[policy])
    session = kit.create_session()
    token = session.generate_token()
    assert knock(room(kit), session.session_id, offer=[BEARER, token], headers={"origin": PAGE}).status == 101
    (request,) = policy.asked
    assert (request.http.method, request.http.route) == ("GET", f"/rooms/{session.session_id}/board")
    assert (request.http.framework, request.http.headers["origin"]) == ("starlette", PAGE)
    assert request.http.headers["authorization"] == f"Bearer {token}"
    assert "sec-websocket-protocol" not in request.http.headers


def test_policies_see_the_path_parameters_however_the_guard_was_put(way, make_kit):
    policy = Policy(lambda request: Allow())
    kit = make_kit(plugins=[policy])
    session = kit.create_session()
    assert knock(way(kit, require_token), session.session_id, session.generate_token()).status == 101
    assert {request.http.path_params["session_id"] for request in policy.asked} == {session.session_id}


@pytest.mark.parametrize("kind", [Policy, AsyncPolicy])
def test_a_policy_that_denies_keeps_it_shut(kind, make_kit):
    kit = make_kit(plugins=[kind(lambda request: Deny("not on a Sunday", code="sunday"))])
    session = kit.create_session()
    assert knock(room(kit), session.session_id, session.generate_token())[:2] == (403, "sunday")


def test_a_policy_asks_to_come_again_later(make_kit):
    kit = make_kit(plugins=[Policy(lambda request: Deny("later", code="busy", status=429, retry_after=30))])
    session = kit.create_session()
    answer = knock(room(kit), session.session_id, session.generate_token())
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, "busy", "30")

    @on_a_loop
    async def closed():
        async with serving(room(kit), session.session_id, session.generate_token(), extensions=None) as socket:
            message = await socket.sent()
            assert (message["code"], message["reason"]) == (4429, "busy: later")


@pytest.mark.parametrize("kind", [Policy, AsyncPolicy])
def test_a_policy_that_fails_keeps_it_shut(kind, make_kit):
    kit = make_kit(plugins=[kind(lambda request: 1 / 0)])
    session = kit.create_session()
    assert knock(room(kit), session.session_id, session.generate_token())[:2] == (503, "policy_fault")


def test_a_policy_can_narrow_what_the_app_sees(make_kit):
    kit = make_kit(plugins=[Policy(lambda request: Allow(max_role="subscriber"))])
    session = kit.create_session()
    assert knock(room(kit), session.session_id, session.generate_token()).said == welcome("subscriber")


# -- while it is open ------------------------------------------------------------------------------


def on_a_loop(test):
    """Run an async test on an event loop of its own, and see that it leaves no task behind."""

    @wraps(test)
    def run(*args, **kwargs):
        async def watched():
            async with asyncio.timeout(10):
                await test(*args, **kwargs)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(watched())

    return run


class Socket:
    """The server's side of one WebSocket."""

    def __init__(self, app, scope, closes, writable) -> None:
        self.scope = scope
        self.writable = writable
        self._closes = closes
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self.receive_soon({"type": "websocket.connect"})
        self.task = asyncio.create_task(app(scope, self._inbox.get, self._send))

    async def _send(self, message) -> None:
        if not self.writable:
            await asyncio.Event().wait()
        self._outbox.put_nowait(message)
        if message["type"] == "websocket.close" and self._closes:
            self.receive_soon({"type": "websocket.disconnect", "code": message["code"]})

    def receive_soon(self, message) -> None:
        self._inbox.put_nowait(message)

    def say(self, text) -> None:
        self.receive_soon({"type": "websocket.receive", "text": text})

    def leave(self) -> None:
        self.receive_soon({"type": "websocket.disconnect", "code": 1001})

    async def sent(self, kind=None):
        """The next message of the app, or the next of this kind."""
        async with asyncio.timeout(5):
            while True:
                message = await self._outbox.get()
                if kind in (None, message["type"]):
                    return message

    def left(self):
        """What else the app has sent."""
        return [self._outbox.get_nowait() for _ in range(self._outbox.qsize())]

    async def over(self) -> None:
        """Wait for the end of the app."""
        async with asyncio.timeout(5):
            await self.task


@asynccontextmanager
async def serving(
    app, session_id="", token=None, *, headers=(), extensions=("websocket.http.response",), closes=True, writable=True
):
    """A WebSocket of ``app``, whose client has just asked for it.

    :param closes: whether the client answers a close, so that the server tells the app of the end.
    :param writable: whether the client takes what it is sent.
    """
    sent = [(b"authorization", f"Bearer {token}".encode())] if token is not None else []
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "path": f"/rooms/{session_id}/board",
        "root_path": "",
        "query_string": b"",
        "headers": [*sent, *headers],
        "subprotocols": [],
    }
    if extensions is not None:
        scope["extensions"] = {name: {} for name in extensions}
    socket = Socket(app, scope, closes, writable)
    try:
        yield socket
    finally:
        if not socket.task.done():
            socket.task.cancel()
        await asyncio.wait([socket.task])


class FailingStore(MemoryStore):
    """Answers, until it has a failure."""

    failure: Exception | None = None

    def has_ended(self, session_id):
        if self.failure is not None:
            raise self.failure
        return super().has_ended(session_id)


class Seen:
    """What an endpoint has come across."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.codes: list[int] = []
        self.reasons: list[str] = []
        self.ended = asyncio.Event()


def endpoint(kit, function, guard=require_token):
    """An app with a guarded WebSocket whose endpoint accepts, and then runs ``function``."""

    @guard
    async def board(websocket):
        await websocket.accept()
        await function(websocket)

    return starlette(kit, WebSocketRoute(RULE, board))


async def listen(websocket, seen=None) -> None:
    """An endpoint that ends when its client goes."""
    while True:
        try:
            text = await websocket.receive_text()
        except WebSocketDisconnect as end:
            if seen is not None:
                seen.codes.append(end.code)
                seen.reasons.append(end.reason)
            return
        if seen is not None:
            seen.texts.append(text)


def asking(kit, **options):
    """A session, and a token for it, as arguments of :func:`serving`."""
    session = kit.create_session()
    return session.session_id, session.generate_token(**options)


@on_a_loop
async def test_it_is_closed_when_the_token_expires(kit, clock):
    session_id, token = asking(kit, expire_time=NOW + 60)
    async with serving(endpoint(kit, listen), session_id, token) as socket:
        assert (await socket.sent())["type"] == "websocket.accept"
        clock.now = NOW + 60
        end = await socket.sent()
        await socket.over()
        assert (end["type"], end["code"]) == ("websocket.close", 4401)
        assert end["reason"].startswith("expired_token: the token's life ended at ")
        assert socket.left() == []


@on_a_loop
async def test_it_stays_open_until_then(kit, clock):
    session_id, token = asking(kit, expire_time=NOW + 60)
    async with serving(endpoint(kit, listen), session_id, token) as socket:
        await socket.sent("websocket.accept")
        clock.now = NOW + 59.99
        await asyncio.sleep(4 * RECHECK)
        assert socket.left() == []
        assert not socket.task.done()


@on_a_loop
async def test_expiry_does_not_wait_for_the_next_look_at_the_store(make_kit):
    begun = time.monotonic()
    policy = Policy(lambda request: Allow(latest_expiry=NOW + 0.3))
    kit = make_kit(web=Web(recheck=60), plugins=[policy], clock=lambda: NOW + time.monotonic() - begun)
    session_id, token = asking(kit)
    async with serving(endpoint(kit, listen), session_id, token) as socket:
        await socket.sent("websocket.accept")
        assert (await socket.sent())["code"] == 4401
        await socket.over()
        assert 0.3 <= time.monotonic() - begun < 5


@on_a_loop
async def test_the_expiry_that_counts_is_the_one_that_a_policy_narrowed(make_kit, clock):
    policy = Policy(lambda request: Allow(latest_expiry=NOW + 10))
    kit = make_kit(web=Web(recheck=RECHECK), plugins=[policy])
    session_id, token = asking(kit, expire_time=NOW + 60)
    async with serving(endpoint(kit, listen), session_id, token) as socket:
        await socket.sent("websocket.accept")
        clock.now = NOW + 10
        assert (await socket.sent())["code"] == 4401
        assert len(policy.asked) == 1
        await socket.over()


@on_a_loop
async def test_it_is_closed_when_the_session_ends(kit):
    session_id, token = asking(kit)
    async with serving(endpoint(kit, listen), session_id, token) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session_id)
        end = await socket.sent()
        await socket.over()
        assert (end["code"], end["reason"]) == (4401, "revoked_token: the token's session has ended")


@on_a_loop
async def test_the_end_of_another_session_changes_nothing(kit):
    session_id, token = asking(kit)
    async with serving(endpoint(kit, listen), session_id, token) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(kit.create_session().session_id)
        await asyncio.sleep(4 * RECHECK)
        assert socket.left() == []


@pytest.mark.parametrize(
    ("failure", "code", "logged"),
    [
        (StoreUnavailable("the test has cut the line"), 4503, "the test has cut the line"),
        (ZeroDivisionError("a fault"), 4500, "ZeroDivisionError: a fault"),
    ],
)
def test_it_is_closed_when_nobody_can_say_whether_the_session_goes_on(failure, code, logged, make_kit, caplog):
    store = FailingStore()
    kit = make_kit(web=Web(recheck=RECHECK), store=store)

    @on_a_loop
    async def closed():
        async with serving(endpoint(kit, listen), *asking(kit)) as socket:
            await socket.sent("websocket.accept")
            store.failure = failure
            end = await socket.sent()
            await socket.over()
            assert end["code"] == code
            assert end["reason"].endswith("the server could not answer this request; its log says why")

    closed()
    assert logged in caplog.text


def test_a_reason_fits_in_a_control_frame_whatever_the_error_says():
    for message in ("ä" * 200, "\udcff" * 200, "x" * 122 + "€"):
        reason = websockets.close_reason(StoreUnavailable(message))
        assert len(reason.encode()) <= 123
        reason = websockets.close_reason(ConfigurationErrorForClients(message))
        assert 100 < len(reason.encode()) <= 123


class ConfigurationErrorForClients(StoreUnavailable):
    """An error whose whole message is for clients."""

    status = 403
    code = "x"


@on_a_loop
async def test_a_close_that_comes_before_the_app_has_accepted_is_an_http_answer(kit):
    session_id, token = asking(kit)

    entered = asyncio.Event()

    @require_token
    async def board(websocket):
        entered.set()
        await asyncio.sleep(4 * RECHECK)
        await websocket.accept()
        raise AssertionError("it was closed before it was accepted")

    app = starlette(kit, WebSocketRoute(RULE, board))
    async with serving(app, session_id, token) as socket:
        await entered.wait()
        kit.end_session(session_id)
        start, body = await socket.sent(), await socket.sent()
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
        assert json.loads(body["body"])["code"] == "revoked_token"
        await socket.over()
        assert socket.left() == []


# -- what apps do about it -------------------------------------------------------------------------


@on_a_loop
async def test_an_app_that_receives_learns_why(kit):
    seen = Seen()
    session_id, token = asking(kit)
    async with serving(endpoint(kit, partial(listen, seen=seen)), session_id, token) as socket:
        await socket.sent("websocket.accept")
        socket.say("hello")
        kit.end_session(session_id)
        await socket.sent("websocket.close")
        await socket.over()
    assert (seen.texts, seen.codes) == (["hello"], [4401])
    assert seen.reasons == ["revoked_token: the token's session has ended"]


@on_a_loop
async def test_nothing_that_comes_after_the_end_reaches_the_app(kit):
    seen, busy = Seen(), asyncio.Event()

    async def work(websocket):
        await websocket.receive_text()
        await busy.wait()
        await listen(websocket, seen)

    session_id, token = asking(kit)
    async with serving(endpoint(kit, work), session_id, token, closes=False) as socket:
        await socket.sent("websocket.accept")
        socket.say("begin")
        socket.say("before the end, not looked at yet")
        kit.end_session(session_id)
        await socket.sent("websocket.close")
        socket.say("after the end")
        busy.set()
        await socket.over()
    assert (seen.texts, seen.codes) == ([], [4401])


@on_a_loop
async def test_an_app_that_receives_after_the_end_does_not_wait_for_its_client(kit):
    seen, busy = Seen(), asyncio.Event()

    async def work(websocket):
        await busy.wait()
        await listen(websocket, seen)

    session_id, token = asking(kit)
    async with serving(endpoint(kit, work), session_id, token, closes=False) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session_id)
        await socket.sent("websocket.close")
        busy.set()
        await socket.over()
    assert seen.codes == [4401]


@on_a_loop
async def test_what_arrives_in_the_moment_of_the_end_does_not_reach_an_app_that_waits_for_it(kit):
    seen = Seen()
    session_id, token = asking(kit)
    async with serving(endpoint(kit, partial(listen, seen=seen)), session_id, token, closes=False) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session_id)
        await socket.sent("websocket.close")
        socket.say("after the end")
        await socket.over()
    assert (seen.texts, seen.codes) == ([], [4401])


@on_a_loop
async def test_an_app_that_sends_is_told_that_its_client_has_gone(kit):
    codes = []

    async def talk(websocket):
        try:
            while True:
                await websocket.send_text("tick")
                await asyncio.sleep(RECHECK / 5)
        except WebSocketDisconnect as end:
            codes.append(end.code)

    session_id, token = asking(kit)
    async with serving(endpoint(kit, talk), session_id, token) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session_id)
        await socket.sent("websocket.close")
        await socket.over()
        assert socket.left() == []
    assert codes == [1006]


async def wait_for_ever(websocket):
    await asyncio.Event().wait()


async def talk_for_ever(websocket):
    while True:
        await websocket.send_text("tick")
        await asyncio.sleep(0.01)


async def receive_for_ever(websocket):
    while True:
        await websocket.receive_text()


async def disregard_the_end_of_sending(websocket):
    while True:
        with suppress(Exception):
            await websocket.send_text("tick")
        await asyncio.sleep(0.01)


async def disregard_the_end_of_receiving(websocket):
    while True:
        with suppress(Exception):
            await websocket.receive_text()
        await asyncio.sleep(0.01)


async def in_a_task_group(websocket):
    async with asyncio.TaskGroup() as group:
        group.create_task(receive_for_ever(websocket))
        group.create_task(talk_for_ever(websocket))


async def clean_up_and_end(websocket):
    try:
        await wait_for_ever(websocket)
    finally:
        await asyncio.sleep(0.01)


async def swallow_the_cancellation(websocket):
    with suppress(asyncio.CancelledError):
        await wait_for_ever(websocket)


async def close_it_again(websocket):
    try:
        await listen(websocket)
    finally:
        await websocket.close()


@pytest.mark.parametrize(
    "function",
    [
        wait_for_ever,
        talk_for_ever,
        receive_for_ever,
        disregard_the_end_of_sending,
        disregard_the_end_of_receiving,
        in_a_task_group,
        clean_up_and_end,
        swallow_the_cancellation,
        close_it_again,
    ],
)
@pytest.mark.parametrize("closes", [True, False], ids=["answered", "unanswered"])
@on_a_loop
async def test_whatever_the_app_does_it_ends_without_an_error(function, closes, kit, short_grace):
    session_id, token = asking(kit)
    async with serving(endpoint(kit, function), session_id, token, closes=closes) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session_id)
        assert (await socket.sent("websocket.close"))["code"] == 4401
        await socket.over()
        assert socket.left() == []


@pytest.mark.parametrize("function", [wait_for_ever, swallow_the_cancellation])
@on_a_loop
async def test_an_app_that_was_cancelled_leaves_the_servers_task_as_it_was(function, kit, short_grace):
    session_id, token = asking(kit)
    async with serving(endpoint(kit, function), session_id, token) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session_id)
        await socket.over()
        assert socket.task.cancelling() == 0


@on_a_loop
async def test_an_asgi_app_that_asks_again_and_again_is_ended(kit, short_grace):
    @require_token
    async def board(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await receive()

    session_id, token = asking(kit)
    async with serving(starlette(kit, Mount("/rooms/{session_id}", board)), session_id, token) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session_id)
        await socket.sent("websocket.close")
        await socket.over()


@on_a_loop
async def test_an_app_has_the_time_of_grace_to_end_by_itself(kit):
    saved = []

    async def save(websocket):
        await listen(websocket)
        await asyncio.sleep(0.05)
        saved.append(True)

    session_id, token = asking(kit)
    async with serving(endpoint(kit, save), session_id, token) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session_id)
        await socket.over()
    assert saved == [True]


@on_a_loop
async def test_a_client_that_reads_nothing_holds_up_nothing_for_long(kit, short_grace):
    session_id, token = asking(kit)
    async with serving(endpoint(kit, talk_for_ever), session_id, token) as socket:
        await socket.sent("websocket.accept")
        socket.writable = False
        kit.end_session(session_id)
        await socket.over()


class Mishap(Exception):
    """A fault of an app."""


@on_a_loop
async def test_a_fault_of_the_app_is_the_servers_to_report_before_the_end(kit):
    async def fail(websocket):
        raise Mishap

    async with serving(endpoint(kit, fail), *asking(kit)) as socket:
        with pytest.raises(Mishap):
            await socket.over()


@pytest.mark.parametrize("as_group", [False, True])
@on_a_loop
async def test_a_fault_of_the_app_is_the_servers_to_report_after_the_end(as_group, kit):
    async def fail(websocket):
        await listen(websocket)
        raise ExceptionGroup("both", [WebSocketDisconnect(), Mishap()]) if as_group else Mishap

    session_id, token = asking(kit)
    async with serving(endpoint(kit, fail), session_id, token) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session_id)
        with pytest.raises(ExceptionGroup if as_group else Mishap):
            await socket.over()


@pytest.mark.parametrize("error", [WebSocketDisconnect, TimeoutError, OSError])
@on_a_loop
async def test_an_error_that_looks_like_an_end_is_none_while_the_grant_lasts(error, kit):
    async def fail(websocket):
        raise error

    async with serving(endpoint(kit, fail), *asking(kit)) as socket:
        with pytest.raises(error):
            await socket.over()


# -- other ends ------------------------------------------------------------------------------------


@on_a_loop
async def test_a_client_that_goes_first_is_not_told_of_an_end(make_kit, clock, short_grace):
    told, seen = Told(), Seen()
    kit = make_kit(web=Web(recheck=RECHECK), plugins=[told])

    async def clean_up_for_long(websocket):
        await listen(websocket, seen)
        await asyncio.sleep(6 * RECHECK)  # longer than the grant lasts, and the time of grace
        seen.ended.set()

    session_id, token = asking(kit, expire_time=NOW + 60)
    async with serving(endpoint(kit, clean_up_for_long), session_id, token) as socket:
        await socket.sent("websocket.accept")
        socket.leave()
        await asyncio.sleep(0.01)
        clock.now = NOW + 60
        await socket.over()
        assert socket.left() == []
    assert (seen.codes, seen.ended.is_set(), told.codes) == ([1001], True, [])


@on_a_loop
async def test_an_app_that_closes_first_may_take_its_time(make_kit, clock, short_grace):
    told, seen = Told(), Seen()
    kit = make_kit(web=Web(recheck=RECHECK), plugins=[told])

    async def close_and_clean_up(websocket):
        await websocket.close(4000)
        clock.now = NOW + 60
        await asyncio.sleep(6 * RECHECK)
        seen.ended.set()

    session_id, token = asking(kit, expire_time=NOW + 60)
    async with serving(endpoint(kit, close_and_clean_up), session_id, token) as socket:
        await socket.over()
        assert [message.get("code") for message in socket.left()] == [None, 4000]
    assert (seen.ended.is_set(), told.codes) == (True, [])


@on_a_loop
async def test_an_app_may_refuse_by_itself(kit):
    @require_token
    async def board(websocket):
        await websocket.close()

    async with serving(starlette(kit, WebSocketRoute(RULE, board)), *asking(kit)) as socket:
        await socket.over()
        assert [message["type"] for message in socket.left()] == ["websocket.close"]


@on_a_loop
async def test_an_app_that_ends_first_leaves_nothing_behind(kit):
    async def nothing(websocket):
        pass

    async with serving(endpoint(kit, nothing), *asking(kit)) as socket:
        await socket.over()


@pytest.mark.parametrize("ended", [False, True], ids=["while it lasts", "in the time of grace"])
@on_a_loop
async def test_a_server_that_shuts_down_cancels_at_once(ended, kit, monkeypatch):
    monkeypatch.setattr(websockets, "GRACE", 60)
    session_id, token = asking(kit)
    async with serving(endpoint(kit, wait_for_ever), session_id, token) as socket:
        await socket.sent("websocket.accept")
        if ended:
            kit.end_session(session_id)
            await socket.sent("websocket.close")
        socket.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await socket.over()


@on_a_loop
async def test_a_server_that_shuts_down_while_plugins_are_told_cancels_at_once(make_kit):
    reached = asyncio.Event()

    class Slow:
        @hookimpl
        async def rolecall_on_event(self, event):
            if event.name == "access_refused":
                reached.set()
                await asyncio.sleep(4)  # which is within the time that a plugin has

    kit = make_kit(web=Web(recheck=RECHECK), plugins=[Slow()])
    session_id, token = asking(kit)
    async with serving(endpoint(kit, listen), session_id, token) as socket:
        await socket.sent("websocket.accept")
        await kit.aio.end_session(session_id)
        await reached.wait()
        socket.task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await socket.over()
        assert time.monotonic() - began < 2


@on_a_loop
async def test_a_client_that_has_gone_before_the_handshake_is_no_case(make_kit):
    told = Told()
    kit = make_kit(plugins=[told])
    app = Mount("/rooms", require_token(kit=kit)(Router([])))
    inbox = [{"type": "websocket.disconnect", "code": 1006}]

    async def receive():
        return inbox.pop()

    async def send(message):
        raise AssertionError(message)

    scope = {"type": "websocket", "path": "/rooms/1", "root_path": "", "headers": [], "subprotocols": []}
    await app.app(scope, receive, send)
    assert told.codes == []


# -- the policies, while it is open ----------------------------------------------------------------


class Doorkeeper:
    """Votes as it is told at the door, and as it is told now at each look again."""

    def __init__(self, now=None) -> None:
        self.now = now
        self.asked: list[Any] = []

    @hookimpl
    async def rolecall_vote_access(self, request):
        self.asked.append(request)
        if not request.again:
            return None
        return await self.now(request) if asyncio.iscoroutinefunction(self.now) else self.now and self.now(request)

    async def looks(self, count) -> None:
        """Wait until it was asked again so often from now on."""
        count += len(self.asked)
        async with asyncio.timeout(5):
            while len(self.asked) < count:
                await asyncio.sleep(RECHECK / 5)


def make_doorkeeper(make_kit, *plugins):
    keeper = Doorkeeper()
    return keeper, make_kit(web=Web(recheck=RECHECK), plugins=[keeper, *plugins])


@on_a_loop
async def test_the_policies_are_asked_again_at_each_look(make_kit):
    keeper, kit = make_doorkeeper(make_kit)
    session_id, token = asking(kit)
    async with serving(endpoint(kit, listen), session_id, token) as socket:
        await socket.sent("websocket.accept")
        await keeper.looks(3)
        assert socket.left() == []
    first, *later = keeper.asked
    assert (first.again, {request.again for request in later}) == (False, {True})
    assert {request.dry_run for request in later} == {True}
    as_at_first = {"again": False, "call_id": first.call_id, "dry_run": False}
    assert all(request._replace(**as_at_first) == first for request in later)


@pytest.mark.parametrize(
    ("vote", "code", "reason"),
    [
        (lambda request: Deny("you were sent out", code="sent_out"), 4403, "sent_out: you were sent out"),
        (lambda request: Allow(max_role="subscriber"), 4403, "insufficient_role: role:publisher is required; "),
        (lambda request: Allow(latest_expiry=NOW), 4403, "policy_denied: "),
        (lambda request: 1 / 0, 4503, "policy_fault: "),
        (lambda request: "yes", 4503, "policy_fault: "),
    ],
    ids=["denied", "narrowed", "outlived", "failed", "answered nonsense"],
)
def test_it_is_closed_when_the_policies_no_longer_let_it_in(vote, code, reason, make_kit):
    @on_a_loop
    async def closed():
        told, seen = Told(), Seen()
        keeper, kit = make_doorkeeper(make_kit, told)
        session_id, token = asking(kit)
        app = endpoint(kit, partial(listen, seen=seen), require_role("publisher"))
        async with serving(app, session_id, token) as socket:
            await socket.sent("websocket.accept")
            keeper.now = vote
            end = await socket.sent()
            assert (end["type"], end["code"]) == ("websocket.close", code)
            assert end["reason"].startswith(reason)
            await socket.over()
            assert socket.left() == []
        assert seen.codes == [code]
        assert told.codes == [reason.partition(":")[0]]

    closed()


def test_a_policy_that_misses_its_deadline_at_a_look_closes_it(make_kit):
    async def never(request):
        await asyncio.Event().wait()

    @on_a_loop
    async def closed():
        keeper = Doorkeeper(never)
        kit = make_kit(web=Web(recheck=RECHECK), plugins=[keeper], hook_timeout=0.1)
        async with serving(endpoint(kit, listen), *asking(kit)) as socket:
            await socket.sent("websocket.accept")
            assert (await socket.sent())["code"] == 4503
            await socket.over()

    closed()


@on_a_loop
async def test_expiry_does_not_wait_for_a_policy(make_kit):
    async def never(request):
        await asyncio.Event().wait()

    begun = time.monotonic()
    keeper = Doorkeeper(never)
    kit = make_kit(
        web=Web(recheck=RECHECK), plugins=[keeper], hook_timeout=60, clock=lambda: NOW + time.monotonic() - begun
    )
    session_id, token = asking(kit, expire_time=NOW + 2)
    async with serving(endpoint(kit, listen), session_id, token) as socket:
        await socket.sent("websocket.accept")
        assert (await socket.sent())["reason"].startswith("expired_token: ")
        await socket.over()


@on_a_loop
async def test_the_grant_is_what_the_last_look_has_left(make_kit):
    keeper, kit = make_doorkeeper(make_kit)
    found = []

    async def say(websocket):
        async for _ in websocket.iter_text():
            found.append((current_grant(websocket).role, websocket.state.grant.role))
            await websocket.send_text("noted")

    session_id, token = asking(kit)
    async with serving(endpoint(kit, say), session_id, token) as socket:
        await socket.sent("websocket.accept")
        for vote in (None, lambda request: Allow(max_role="subscriber"), None):
            keeper.now = vote
            await keeper.looks(2)  # the first of them may have begun before
            socket.say("who am I?")
            await socket.sent("websocket.send")
    assert found == [("publisher", "publisher"), ("subscriber", "subscriber"), ("publisher", "publisher")]


@on_a_loop
async def test_a_look_gives_no_more_than_was_left_at_the_door(make_kit):
    class Narrow:
        @hookimpl
        def rolecall_vote_access(self, request):
            looked.append(request.grant.role)
            return None if request.again else Allow(max_role="subscriber")

    looked: list[Any] = []
    found: list[Any] = []

    async def wait(websocket):
        while len(looked) < 4:
            await asyncio.sleep(RECHECK)
        found.append(current_grant(websocket).role)

    kit = make_kit(web=Web(recheck=RECHECK), plugins=[Narrow()])
    async with serving(endpoint(kit, wait), *asking(kit)) as socket:
        await socket.over()
    assert found == ["subscriber"]
    assert looked[:2] == ["publisher", "subscriber"]


@on_a_loop
async def test_each_guard_asks_for_what_it_requires(make_kit):
    keeper, kit = make_doorkeeper(make_kit)
    app = protect(
        starlette(kit, Mount("/rooms/{session_id}", routes=[WebSocketRoute("/board", greeting_and_listening)])),
        require_role("publisher", kit=kit),
    )
    session_id, token = asking(kit)
    async with serving(app, session_id, token) as socket:
        await socket.sent("websocket.accept")
        keeper.now = lambda request: Allow(max_role="subscriber")
        end = await socket.sent("websocket.close")
        await socket.over()
    assert end["reason"].startswith("insufficient_role: role:publisher is required")
    assert {request.requirement.scope for request in keeper.asked} == {"role:publisher", "role:subscriber"}


@require_role("subscriber")
async def greeting_and_listening(websocket):
    await websocket.accept()
    await listen(websocket)


# -- renewal ---------------------------------------------------------------------------------------


async def renewing(websocket, results):
    """An endpoint to which the client sends tokens."""
    async for token in websocket.iter_text():
        try:
            results.append(await renew_grant(websocket, token))
        except Exception as error:
            results.append(error)
        await websocket.send_text(current_grant(websocket).token_id)


@on_a_loop
async def test_a_renewed_token_keeps_it_open_beyond_the_first_ones_expiry(kit, clock):
    results: list[Any] = []
    session = kit.create_session()
    first = session.generate_token(expire_time=NOW + 60, data="name=Ada")
    second = session.generate_token(expire_time=NOW + 120, data="name=Ada")
    app = endpoint(kit, partial(renewing, results=results))
    async with serving(app, session.session_id, first) as socket:
        await socket.sent("websocket.accept")
        socket.say(second)
        assert (await socket.sent())["text"] == kit.verify_token(second).token_id
        assert results == [kit.verify_token(second)]
        clock.now = NOW + 60
        await asyncio.sleep(4 * RECHECK)
        assert socket.left() == []
        clock.now = NOW + 120
        assert (await socket.sent())["reason"].startswith("expired_token: ")
        await socket.over()


@on_a_loop
async def test_a_renewed_token_that_ends_sooner_ends_it_sooner(make_kit):
    begun = time.monotonic()
    kit = make_kit(web=Web(recheck=60), clock=lambda: NOW + time.monotonic() - begun)
    session = kit.create_session()
    first, second = session.generate_token(expire_time=NOW + 600), session.generate_token(expire_time=NOW + 2)
    async with serving(endpoint(kit, partial(renewing, results=[])), session.session_id, first) as socket:
        await socket.sent("websocket.accept")
        await asyncio.sleep(0.02)  # so that it waits for the next look
        socket.say(second)
        await socket.sent("websocket.send")
        assert (await socket.sent())["reason"].startswith("expired_token: ")
        await socket.over()


def another_session(kit, session, clock):
    return kit.create_session().generate_token(data="name=Ada")


def somebody_else(kit, session, clock):
    return session.generate_token(data="name=Ben")


def nobody(kit, session, clock):
    return session.generate_token()


def too_little(kit, session, clock):
    return session.generate_token("subscriber", data="name=Ada")


def expired_but_for_the_leeway(kit, session, clock):
    token = session.generate_token(data="name=Ada", expire_time=NOW + 1)
    clock.now = NOW + 2
    return token


def forged(kit, session, clock):
    return session.generate_token(data="name=Ada")[:-6] + "AAAAAA"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (another_session, "wrong_session"),
        (somebody_else, "wrong_actor"),
        (nobody, "wrong_actor"),
        (too_little, "insufficient_role"),
        (expired_but_for_the_leeway, "expired_token"),
        (forged, "bad_signature"),
        (lambda *_: "", "malformed_token"),
    ],
)
def test_a_renewal_that_is_refused_changes_nothing(make, code, make_kit, clock):
    @on_a_loop
    async def refused():
        results: list[Any] = []
        told = Told()
        kit = make_kit(web=Web(recheck=RECHECK), plugins=[told])
        session = kit.create_session()
        first = session.generate_token(expire_time=NOW + 60, data="name=Ada")
        app = endpoint(kit, partial(renewing, results=results), require_role("publisher"))
        async with serving(app, session.session_id, first) as socket:
            await socket.sent("websocket.accept")
            socket.say(make(kit, session, clock))
            assert (await socket.sent())["text"] == kit.verify_token(first).token_id
            assert (results[0].code, told.codes) == (code, [code])
            await asyncio.sleep(2 * RECHECK)
            assert socket.left() == []
            clock.now = NOW + 60
            assert (await socket.sent())["reason"].startswith("expired_token: ")
            await socket.over()

    refused()


@on_a_loop
async def test_the_policies_are_asked_about_a_renewal(make_kit):
    keeper, kit = make_doorkeeper(make_kit)
    results: list[Any] = []
    session = kit.create_session()
    first, second = session.generate_token(), session.generate_token()
    wanted = kit.verify_token(second).token_id
    keeper.now = lambda request: Deny("not she", code="no") if request.grant.token_id == wanted else None
    async with serving(endpoint(kit, partial(renewing, results=results)), session.session_id, first) as socket:
        await socket.sent("websocket.accept")
        socket.say(second)
        assert (await socket.sent())["text"] == kit.verify_token(first).token_id
        assert results[0].code == "no"
        socket.say(session.generate_token(role="moderator"))
        await socket.sent("websocket.send")
        assert results[1].role == "moderator"
        asked = [request for request in keeper.asked if request.grant.token_id == wanted]
        assert [(request.again, request.session_id) for request in asked] == [(True, session.session_id)]


@on_a_loop
async def test_every_guard_renews_or_none(make_kit, clock):
    class Nights:
        """At night only what requires no more than a subscriber."""

        night = False

        @hookimpl
        def rolecall_vote_access(self, request):
            denied = (
                self.night and request.requirement.scope == "role:publisher" and request.grant.expires_at > NOW + 60
            )
            return Deny("at night", code="night") if denied else None

    nights = Nights()
    results: list[Any] = []
    kit = make_kit(web=Web(recheck=RECHECK), plugins=[nights])

    @require_role("subscriber")
    async def board(websocket):
        await websocket.accept()
        await renewing(websocket, results)

    mount = Mount("/rooms/{session_id}", routes=[WebSocketRoute("/board", board)])
    app = starlette(kit, require_role("publisher")(mount))
    session = kit.create_session()
    first, second = session.generate_token(expire_time=NOW + 60), session.generate_token(expire_time=NOW + 120)
    async with serving(app, session.session_id, first) as socket:
        await socket.sent("websocket.accept")
        nights.night = True
        socket.say(second)
        assert (await socket.sent())["text"] == kit.verify_token(first).token_id
        nights.night = False
        socket.say(second)
        assert (await socket.sent())["text"] == kit.verify_token(second).token_id
        clock.now = NOW + 60
        await asyncio.sleep(4 * RECHECK)
        assert socket.left() == []
        clock.now = NOW + 120
        assert (await socket.sent())["code"] == 4401
        await socket.over()
    assert [getattr(result, "code", None) for result in results] == ["night", None]


@on_a_loop
async def test_what_was_closed_is_not_renewed(kit, clock):
    results: list[Any] = []

    async def too_late(websocket, token):
        await listen(websocket)
        try:
            results.append(await renew_grant(websocket, token))
        except RevokedToken as error:
            results.append(error.code)

    session = kit.create_session()
    token = session.generate_token()
    async with serving(endpoint(kit, partial(too_late, token=token)), session.session_id, token) as socket:
        await socket.sent("websocket.accept")
        kit.end_session(session.session_id)
        await socket.over()
    assert results == ["revoked_token"]


@on_a_loop
async def test_a_renewal_wins_over_a_look_that_was_under_way(make_kit):
    asked, answer = asyncio.Event(), asyncio.Event()

    class Late:
        @hookimpl
        async def rolecall_vote_access(self, request):
            if request.again and request.grant.token_id == first_id:
                asked.set()
                await answer.wait()
                return Deny("the first one is no longer good")
            return None

    kit = make_kit(web=Web(recheck=RECHECK), plugins=[Late()])
    session = kit.create_session()
    first, second = session.generate_token(), session.generate_token()
    first_id = kit.verify_token(first).token_id
    async with serving(endpoint(kit, partial(renewing, results=[])), session.session_id, first) as socket:
        await socket.sent("websocket.accept")
        await asked.wait()
        socket.say(second)
        await socket.sent("websocket.send")
        answer.set()
        await asyncio.sleep(4 * RECHECK)
        assert socket.left() == []


def test_what_has_no_guard_is_not_renewed(kit):
    async def board(websocket):
        with pytest.raises(RuntimeError, match="renew_grant needs a WebSocket behind require_role"):
            await renew_grant(websocket, "abc")
        await websocket.accept()
        await websocket.send_json("open")

    assert knock(starlette(kit, WebSocketRoute(RULE, board)), "x").said == "open"


@on_a_loop
async def test_an_asgi_app_renews_by_what_its_scope_has(kit):
    @require_token
    async def board(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        grant = await scope["rolecall.socket"].renew(second)
        await send({"type": "websocket.send", "text": grant.token_id})

    session = kit.create_session()
    first, second = session.generate_token(), session.generate_token()
    app = starlette(kit, Mount("/rooms/{session_id}", board))
    async with serving(app, session.session_id, first) as socket:
        assert (await socket.sent("websocket.send"))["text"] == kit.verify_token(second).token_id


@on_a_loop
async def test_the_grant_is_renewed_for_an_app_behind_middleware_that_copies_the_scope(kit):
    results: list[Any] = []

    async def board(websocket):
        await websocket.accept()
        await renewing(websocket, results)

    inner = starlette(kit, WebSocketRoute(RULE, board))

    async def copying(scope, receive, send):
        await inner({**scope}, receive, send)

    session = kit.create_session()
    first, second = session.generate_token(), session.generate_token()
    guarded = require_token(kit=kit, session_param=None)(Mount("/", copying))
    async with serving(guarded.app, session.session_id, first) as socket:
        await socket.sent("websocket.accept")
        socket.say(second)
        assert (await socket.sent())["text"] == kit.verify_token(second).token_id


# -- the audit trail -------------------------------------------------------------------------------


class SlowlyTold(Told):
    """A plugin that takes longer than the app needs to end."""

    @hookimpl
    async def rolecall_on_event(self, event):
        await asyncio.sleep(0.05)
        super().rolecall_on_event(event)


@pytest.mark.parametrize("kind", [Told, SlowlyTold])
@on_a_loop
async def test_the_end_is_told_once(kind, make_kit):
    told = kind()
    kit = make_kit(web=Web(recheck=RECHECK), plugins=[told])
    session_id, token = asking(kit)
    async with serving(endpoint(kit, listen), session_id, token) as socket:
        await socket.sent("websocket.accept")
        await kit.aio.end_session(session_id)
        await socket.over()
    assert told.codes == ["revoked_token"]
    assert told.events[0].session_id == session_id
    assert told.events[0].http.route == f"/rooms/{session_id}/board"


@on_a_loop
async def test_an_end_that_two_guards_see_closes_once_and_is_told_once(make_kit):
    told = Told()
    kit = make_kit(web=Web(recheck=RECHECK), plugins=[told])

    @require_role("publisher")
    async def board(websocket):
        await websocket.accept()
        await listen(websocket)

    app = starlette(kit, protect(Mount("/rooms/{session_id}", routes=[WebSocketRoute("/board", board)])))
    session_id, token = asking(kit)
    async with serving(app, session_id, token) as socket:
        await socket.sent("websocket.accept")
        await kit.aio.end_session(session_id)
        assert (await socket.sent("websocket.close"))["code"] == 4401
        await socket.over()
        assert socket.left() == []
    assert told.codes == ["revoked_token"]


def test_no_token_is_in_the_log(make_kit, caplog):
    caplog.set_level(logging.DEBUG)
    kit = make_kit(trace=True, web=Web(query="access_token"))
    session = kit.create_session()
    token = session.generate_token()
    knock(room(kit), session.session_id, offer=[BEARER, token])
    knock(room(kit, require_role("moderator")), session.session_id, offer=[BEARER, token])
    knock(room(kit), session.session_id, offer=[BEARER, token, BEARER, token])
    assert "insufficient_role" in caplog.text
    assert token not in caplog.text


def test_the_grant_is_typed_as_one(kit):
    found = []

    @require_token
    async def board(websocket):
        found.append(current_grant(websocket))
        await greet(websocket)

    session = kit.create_session()
    token = session.generate_token(data="Ada")
    knock(starlette(kit, WebSocketRoute(RULE, board)), session.session_id, token)
    assert isinstance(found[0], Grant)
    assert found[0].data == "Ada"
