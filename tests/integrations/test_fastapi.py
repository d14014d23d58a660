"""Guards as FastAPI's dependencies: who gets in, what the app's own description says, and how refusals are answered."""

# No postponed annotations: FastAPI could not look up the dependencies that tests make for themselves.
import asyncio
import json
import subprocess
import sys
import threading
from typing import Annotated
from uuid import UUID

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import FastAPIError
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.testclient import WebSocketDenialResponse

from rolecall import Allow, Deny, Grant, Role, Web, hookimpl
from rolecall.errors import ConfigurationError
from rolecall_fastapi import (
    REFUSALS,
    CapabilityRequired,
    Refused,
    RoleRequired,
    TokenRequired,
    UncachedMiddleware,
    document_refusals,
    problem_handler,
)
from rolecall_flask import require_role as flask_role
from rolecall_starlette import (
    current_grant,
    protect,
    public,
    require_capability,
    require_role,
    require_token,
    rolecall_app,
)

from ..untyped import untyped

OTHER_KEY, OTHER_SECRET = "654321", "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789"

PATH = "/rooms/{session_id}"
ROLES = ["subscriber", "publisher", "publisheronly", "moderator"]

Moderator = Annotated[Grant, Depends(RoleRequired("moderator"))]
Bearer = Annotated[Grant, Depends(TokenRequired())]


class Question(BaseModel):
    text: str


@pytest.fixture
def app(kit):
    app = FastAPI()
    app.mount("/video", rolecall_app(kit))
    return app


@pytest.fixture
def session(kit):
    return kit.create_session()


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def ask(app, path: str, token: str | None = None, method: str = "GET", **options):
    client = TestClient(app, raise_server_exceptions=False)
    return client.request(method, path, headers=bearer(token) | options.pop("headers", {}), **options)


# -- every way to depend on a guard ----------------------------------------------------------------


def of_an_async_endpoint(app, guard, run):
    @app.get(PATH)
    async def room(session_id: str, grant: Annotated[Grant, Depends(guard)]) -> str:
        return run(grant)


def of_an_endpoint(app, guard, run):
    @app.get(PATH)
    def room(session_id: str, grant: Annotated[Grant, Depends(guard)]) -> str:
        return run(grant)


def as_a_default(app, guard, run):
    @app.get(PATH)
    def room(session_id: str, grant: Grant = Depends(guard)) -> str:  # noqa: B008
        return run(grant)


def of_the_decorator(app, guard, run):
    @app.get(PATH, dependencies=[Depends(guard)])
    def room(request: Request) -> str:
        return run(current_grant(request))


def of_a_router(app, guard, run):
    router = APIRouter(dependencies=[Depends(guard)])

    @router.get(PATH)
    def room(request: Request) -> str:
        return run(current_grant(request))

    app.include_router(router)


def of_an_included_router(app, guard, run):
    router = APIRouter()

    @router.get("/{session_id}")
    def room(request: Request) -> str:
        return run(current_grant(request))

    app.include_router(router, prefix="/rooms", dependencies=[Depends(guard)])


def of_a_router_in_a_router(app, guard, run):
    inner, outer = APIRouter(), APIRouter(prefix="/rooms", dependencies=[Depends(guard)])

    @inner.get("/{session_id}")
    async def room(request: Request) -> str:
        return run(current_grant(request))

    outer.include_router(inner)
    app.include_router(outer)


def of_the_app(app, guard, run):
    app.router.dependencies.append(Depends(guard))

    @app.get(PATH)
    def room(request: Request) -> str:
        return run(current_grant(request))


def of_a_dependency(app, guard, run):
    def teacher(grant: Annotated[Grant, Depends(guard)]) -> Grant:
        return grant

    @app.get(PATH)
    def room(grant: Annotated[Grant, Depends(teacher)]) -> str:
        return run(grant)


def of_a_dependency_with_yield(app, guard, run):
    async def teacher(grant: Annotated[Grant, Depends(guard)]):
        yield grant

    @app.get(PATH)
    def room(grant: Annotated[Grant, Depends(teacher)]) -> str:
        return run(grant)


def of_a_dependency_class(app, guard, run):
    class Teacher:
        def __init__(self, grant: Annotated[Grant, Depends(guard)]) -> None:
            self.grant = grant

    @app.get(PATH)
    def room(teacher: Annotated[Teacher, Depends()]) -> str:
        return run(teacher.grant)


def beside_a_lesser_one(app, guard, run):
    router = APIRouter(dependencies=[Depends(TokenRequired())])

    @router.get(PATH)
    def room(grant: Annotated[Grant, Depends(guard)], _: Bearer) -> str:
        return run(grant)

    app.include_router(router)


def in_a_sub_application(app, guard, run):
    rooms = FastAPI()
    rooms.state.rolecall = app.routes[-1].routes[0].endpoint.kit

    @rooms.get("/{session_id}")
    def room(grant: Annotated[Grant, Depends(guard)]) -> str:
        return run(grant)

    app.mount("/rooms", rooms)


def in_a_sub_application_below_the_session(app, guard, run):
    room = FastAPI()
    room.state.rolecall = app.routes[-1].routes[0].endpoint.kit

    @room.get("/")
    def front(grant: Annotated[Grant, Depends(guard)]) -> str:
        return run(grant)

    app.mount(PATH, room)


WAYS = [
    of_an_async_endpoint,
    of_an_endpoint,
    as_a_default,
    of_the_decorator,
    of_a_router,
    of_an_included_router,
    of_a_router_in_a_router,
    of_the_app,
    of_a_dependency,
    of_a_dependency_with_yield,
    of_a_dependency_class,
    beside_a_lesser_one,
    in_a_sub_application,
    in_a_sub_application_below_the_session,
]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def runs(request, app):
    """How often the endpoint ran that depends on a moderator."""
    runs = []

    def run(grant):
        runs.append(str(grant.role))
        return runs[-1]

    request.param(app, RoleRequired("moderator"), run)
    return runs


def test_the_role_gets_in(app, runs, session):
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token("moderator"))
    assert (response.status_code, response.json(), runs) == (200, "moderator", ["moderator"])
    assert response.headers["Cache-Control"] == "no-store"


def test_nobody_gets_in_without_a_token(app, runs, session):
    response = ask(app, f"/rooms/{session.session_id}")
    assert (response.status_code, runs) == (401, [])
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="rolecall"'


@pytest.mark.parametrize("role", ROLES[:-1])
def test_a_lesser_role_does_not_get_in(app, runs, session, role):
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token(role))
    assert (response.status_code, runs) == (403, [])
    assert response.headers["WWW-Authenticate"].endswith('scope="role:moderator"')


def test_a_token_of_another_session_does_not_get_in(app, kit, runs, session):
    response = ask(app, f"/rooms/{session.session_id}", kit.create_session().generate_token("moderator"))
    assert (response.status_code, runs) == (403, [])


def test_a_token_of_an_ended_session_does_not_get_in(app, kit, runs, session):
    token = session.generate_token("moderator")
    kit.end_session(session.session_id)
    response = ask(app, f"/rooms/{session.session_id}", token)
    assert (response.status_code, runs) == (401, [])


# -- what is required ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guard", "admitted"),
    [
        (RoleRequired("subscriber"), ["subscriber", "publisher", "moderator"]),
        (RoleRequired("publisher"), ["publisher", "moderator"]),
        (RoleRequired("publisheronly"), ["publisher", "publisheronly", "moderator"]),
        (RoleRequired(Role.MODERATOR), ["moderator"]),
        (CapabilityRequired("publish"), ["publisher", "publisheronly", "moderator"]),
        (CapabilityRequired("force_disconnect"), ["moderator"]),
        (TokenRequired(), ROLES),
    ],
)
def test_who_meets_a_requirement(app, session, guard, admitted):
    of_an_endpoint(app, guard, lambda grant: str(grant.role))
    statuses = {
        role: ask(app, f"/rooms/{session.session_id}", session.generate_token(role)).status_code for role in ROLES
    }
    assert statuses == {role: 200 if role in admitted else 403 for role in ROLES}


@pytest.mark.parametrize(
    "wrong", [lambda: RoleRequired(untyped("moderater")), lambda: CapabilityRequired(untyped("fly"))]
)
def test_what_does_not_exist_cannot_be_required(wrong):
    with pytest.raises(ConfigurationError, match="does not exist"):
        wrong()


@pytest.mark.parametrize("forgotten", [RoleRequired, CapabilityRequired, TokenRequired])
def test_a_guard_without_its_parentheses_stops_the_app_at_the_start(app, forgotten):
    with pytest.raises(FastAPIError):
        of_an_endpoint(app, forgotten, str)


def test_each_of_several_guards_has_to_let_in(app, session):
    router = APIRouter(dependencies=[Depends(CapabilityRequired("signal"))])

    @router.get(PATH)
    def room(grant: Annotated[Grant, Depends(CapabilityRequired("subscribe"))]) -> str:
        return grant.role

    app.include_router(router)
    statuses = [ask(app, f"/rooms/{session.session_id}", session.generate_token(role)).status_code for role in ROLES]
    assert statuses == [403, 200, 403, 200]


# -- the session -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, int, UUID])
def test_a_session_of_whatever_type_is_bound_before_it_is_validated(app, kit, session, kind):
    @app.get(PATH)
    def room(session_id: kind, grant: Moderator) -> str:  # type: ignore[valid-type]
        return grant.role

    for path in (f"/rooms/{session.session_id}", "/rooms/7", "/rooms/7fdc2eb1-7b4d-4a47-9d63-6a2f7e7f0c5d"):
        assert ask(app, path, kit.create_session().generate_token("moderator")).status_code == 403


@pytest.mark.parametrize("convertor", ["int", "uuid"])
def test_a_session_that_the_route_converts_is_bound(app, session, convertor):
    @app.get(f"/rooms/{{session_id:{convertor}}}")
    def room(grant: Moderator) -> str:
        return grant.role

    path = {"int": "/rooms/7", "uuid": "/rooms/7fdc2eb1-7b4d-4a47-9d63-6a2f7e7f0c5d"}[convertor]
    assert ask(app, path, session.generate_token("moderator")).status_code == 403


def test_the_session_may_stand_in_a_parameter_of_another_name(app, kit, session):
    @app.get("/calls/{call}")
    def call(call: str, grant: Annotated[Grant, Depends(TokenRequired(session_param="call"))]) -> str:
        return grant.session_id

    path = f"/calls/{session.session_id}"
    assert ask(app, path, session.generate_token()).json() == session.session_id
    assert ask(app, path, kit.create_session().generate_token()).status_code == 403


def test_a_parameter_named_explicitly_that_the_route_does_not_have_opens_nothing(app, session):
    @app.get("/calls/{call}")
    def call(grant: Annotated[Grant, Depends(TokenRequired(session_param="cal"))]) -> str:
        return grant.session_id

    assert ask(app, f"/calls/{session.session_id}", session.generate_token()).status_code == 500


def test_binding_to_the_session_can_be_turned_off(app, kit, session):
    of_an_endpoint(app, TokenRequired(session_param=None), lambda grant: str(grant.role))
    assert ask(app, f"/rooms/{session.session_id}", kit.create_session().generate_token()).status_code == 200


def test_a_session_that_is_named_elsewhere_plays_no_part(app, kit, session):
    of_an_endpoint(app, TokenRequired(), lambda grant: str(grant.role))
    other = kit.create_session()
    path = f"/rooms/{other.session_id}?session_id={session.session_id}"
    assert ask(app, path, session.generate_token()).status_code == 403


def room_of(connection):
    return connection.path_params["room"].removeprefix("room-of-")


async def room_of_async(connection):
    await asyncio.sleep(0)
    return room_of(connection)


def no_room(connection):
    raise HTTPException(404, "no such room")


@pytest.mark.parametrize("find", [room_of, room_of_async, lambda connection: room_of_async(connection)])
@pytest.mark.parametrize("make", [TokenRequired, lambda session: RoleRequired("publisher", session=session)])
def test_a_function_finds_the_session(app, kit, session, find, make):
    @app.get("/rooms/{room}")
    def room(room: str, grant: Annotated[Grant, Depends(make(session=find))]) -> str:
        return grant.session_id

    path = f"/rooms/room-of-{session.session_id}"
    assert ask(app, path, session.generate_token()).json() == session.session_id
    assert ask(app, path, kit.create_session().generate_token()).status_code == 403
    assert ask(app, path).status_code == 401


def test_an_http_error_of_that_function_is_the_answer(app, session):
    @app.get("/rooms/{room}")
    def room(room: str, grant: Annotated[Grant, Depends(TokenRequired(session=no_room))]) -> str:
        raise AssertionError("it ran")

    assert ask(app, "/rooms/7").status_code == 401
    response = ask(app, "/rooms/7", session.generate_token())
    assert (response.status_code, response.json()) == (404, {"detail": "no such room"})
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "guard", [TokenRequired(), RoleRequired("moderator"), CapabilityRequired("signal"), TokenRequired(optional=True)]
)
def test_a_parameter_of_another_name_stops_the_app_until_it_is_said_what_it_names(app, session, guard):
    @app.get("/calls/{callId}")
    def call(grant: Annotated[Grant, Depends(guard)]) -> str:
        raise AssertionError("it ran")

    with pytest.raises(ConfigurationError, match=r"parameter 'callId'.*session_param='callId' if it does"):
        TestClient(app).get(f"/calls/{session.session_id}", headers=bearer(session.generate_token("moderator")))


def test_one_of_several_dependencies_may_say_it_for_all(app, kit, session):
    router = APIRouter(prefix="/calls/{call}", dependencies=[Depends(TokenRequired(session_param="call"))])

    @router.get("/notes")
    def notes(grant: Moderator) -> str:
        return grant.role

    app.include_router(router)
    path = f"/calls/{session.session_id}/notes"
    assert ask(app, path, session.generate_token("moderator")).json() == "moderator"
    assert ask(app, path, kit.create_session().generate_token("moderator")).status_code == 403


@pytest.mark.parametrize("include", [{}, {"prefix": "/calls/{call}"}])
def test_a_route_may_say_it_for_the_guard_with_which_its_router_is_included(app, kit, session, include):
    path = "/notes" if include else "/calls/{call}/notes"
    router = APIRouter()
    router.add_api_route(path, lambda: "in", dependencies=[Depends(TokenRequired(session_param=None))])
    app.include_router(router, dependencies=[Depends(RoleRequired("moderator"))], **include)
    token = kit.create_session().generate_token("moderator")
    assert ask(app, f"/calls/{session.session_id}/notes", token).json() == "in"
    assert ask(app, f"/calls/{session.session_id}/notes", session.generate_token()).status_code == 403


# -- tokens that are optional ----------------------------------------------------------------------


@pytest.fixture
def lobby(app):
    @app.get(PATH)
    def room(grant: Annotated[Grant | None, Depends(TokenRequired(optional=True))]) -> str:
        return "a guest" if grant is None else grant.role

    return app


def test_without_a_token_an_optional_dependency_gives_no_grant(lobby, session):
    path = f"/rooms/{session.session_id}"
    assert ask(lobby, path).json() == "a guest"
    assert ask(lobby, path, headers={"Authorization": "Basic dXNlcjpwYXNz"}).json() == "a guest"
    assert ask(lobby, path, session.generate_token()).json() == "publisher"


def test_a_token_that_is_not_good_is_refused_by_an_optional_dependency_too(lobby, kit, session):
    path, other = f"/rooms/{session.session_id}", kit.create_session()
    wrong = {
        "x.y.z": 401,
        "": 400,
        "a b": 400,
        other.generate_token(): 403,
        session.generate_token()[:-6] + "AAAAAA": 401,
    }
    assert {
        token: ask(lobby, path, headers={"Authorization": f"Bearer {token}"}).status_code for token in wrong
    } == wrong


def test_a_role_may_be_demanded_exactly(app, make_kit):
    class Teachers:
        @hookimpl
        def rolecall_register_roles(self):
            return [Role("teacher", Role.MODERATOR.capabilities, "moderator")]

    kit = make_kit(plugins=[Teachers()])
    app = FastAPI()
    app.state.rolecall = kit
    of_an_endpoint(app, RoleRequired(untyped("teacher"), exact=True, kit=kit), lambda grant: str(grant.role))
    session = kit.create_session()
    statuses = {
        role: ask(app, f"/rooms/{session.session_id}", session.generate_token(role)).status_code
        for role in (*ROLES, "teacher")
    }
    assert statuses == dict.fromkeys(ROLES, 403) | {"teacher": 200}


# -- FastAPI's own description ---------------------------------------------------------------------


@pytest.fixture
def description(app):
    router = APIRouter(prefix="/routed", dependencies=[Depends(CapabilityRequired("signal"))])

    @app.get("/open")
    def open_to_all() -> str:
        return ""

    @app.get("/any/{session_id}")
    def any_token(session_id: str, grant: Bearer) -> str:
        return ""

    @app.post("/role/{session_id}")
    def role(session_id: str, question: Question, grant: Moderator) -> str:
        return ""

    @router.get("/both")
    def both(grant: Moderator) -> str:
        return ""

    def nested(grant: Annotated[Grant, Depends(RoleRequired("publisher"))]) -> Grant:
        return grant

    @app.get("/nested")
    def nesting(grant: Annotated[Grant, Depends(nested)]) -> str:
        return ""

    app.include_router(router, prefix="/v1")
    return TestClient(app).get("/openapi.json").json()


def test_there_is_one_scheme_whatever_the_guards(description):
    ((name, scheme),) = description["components"]["securitySchemes"].items()
    assert (name, scheme["type"], scheme["scheme"]) == ("rolecall", "http", "bearer")


@pytest.mark.parametrize(
    ("method", "path", "security"),
    [
        ("get", "/open", None),
        ("get", "/any/{session_id}", [{"rolecall": []}]),
        ("post", "/role/{session_id}", [{"rolecall": ["role:moderator"]}]),
        ("get", "/v1/routed/both", [{"rolecall": ["capability:signal", "role:moderator"]}]),
        ("get", "/nested", [{"rolecall": ["role:publisher"]}]),
    ],
)
def test_an_operation_says_what_it_requires(description, method, path, security):
    assert description["paths"][path][method].get("security") == security


def test_a_grant_is_neither_a_parameter_nor_a_part_of_the_body(description):
    operation = description["paths"]["/role/{session_id}"]["post"]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["session_id"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Question"}
    assert "parameters" not in description["paths"]["/nested"]["get"]


STATUSES = ["400", "401", "403", "429", "431", "503"]


@pytest.fixture
def documented(app):
    document_refusals(app)  # before there is a route, as an app does
    router = APIRouter(dependencies=[Depends(CapabilityRequired("signal"))])

    @app.get("/open")
    def open_to_all() -> str:
        return ""

    @app.get("/own", responses={403: {"description": "Only on Mondays"}})
    def own(grant: Moderator) -> str:
        return ""

    @app.get("/optional")
    def optional(grant: Annotated[Grant | None, Depends(TokenRequired(optional=True))]) -> str:
        return ""

    @router.post("/routed/{page}")
    def routed(page: int, grant: Annotated[Grant, Depends(TokenRequired(session_param=None))]) -> str:
        return ""

    app.include_router(router)
    return app


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("get", "/open", ["200"]),
        ("get", "/own", ["200", *STATUSES]),
        ("get", "/optional", ["200", *STATUSES]),
        ("post", "/routed/{page}", ["200", *STATUSES[:3], "422", *STATUSES[3:]]),
    ],
)
def test_a_guarded_operation_lists_what_its_guard_may_answer(documented, method, path, statuses):
    for _ in range(2):
        description = ask(documented, "/openapi.json").json()
        operation = description["paths"][path][method]
        assert sorted(operation["responses"]) == statuses
        assert all(response["description"] for response in operation["responses"].values())


def test_what_an_operation_says_of_a_status_itself_stays(documented):
    description = documented.openapi()
    assert description["paths"]["/own"]["get"]["responses"]["403"] == {"description": "Only on Mondays"}


def test_the_refusals_may_be_listed_for_one_router_alone(app):
    router = APIRouter(responses=REFUSALS, dependencies=[Depends(TokenRequired())])
    router.add_api_route("/x", lambda: "")
    app.include_router(router)
    responses = ask(app, "/openapi.json").json()["paths"]["/x"]["get"]["responses"]
    assert sorted(responses) == ["200", *STATUSES]


@pytest.mark.parametrize("status", [400, 401, 403, 429, 503])
def test_a_guard_does_answer_what_is_listed(make_kit, status):
    denials = {403: Deny("no"), 429: Deny("later", status=429, retry_after=30), 503: True}

    class Policy:
        @hookimpl
        def rolecall_vote_access(self, request):
            return denials.get(status)

    app, kit = FastAPI(), make_kit(plugins=[Policy()])
    of_an_endpoint(app, TokenRequired(kit=kit), str)
    session = kit.create_session()
    token = {400: "a b", 401: None}.get(status, session.generate_token())
    assert ask(app, f"/rooms/{session.session_id}", token).status_code == status


def test_the_routes_of_the_kit_have_a_description_of_their_own(description):
    assert not any(path.startswith("/video") for path in description["paths"])


def test_the_page_with_the_docs_is_served(app, description):
    assert "/openapi.json" in ask(app, "/docs").text


# -- refusals --------------------------------------------------------------------------------------

CREDENTIALS = [
    ({}, 401),
    ({"Authorization": "Basic dXNlcjpwYXNz"}, 401),
    ({"Authorization": "Bearer"}, 400),
    ({"Authorization": "Bearer a, Bearer b"}, 400),
    ({"Authorization": "Bearer null"}, 401),
    ({"Authorization": "Bearer a.b.c"}, 401),
    ({"Authorization": "Bearer " + "x" * 17 * 1024}, 431),
]


@pytest.mark.parametrize(("headers", "status"), CREDENTIALS)
def test_a_refusal_is_an_answer_of_fastapi(app, session, headers, status):
    of_an_endpoint(app, RoleRequired("moderator"), str)
    response = ask(app, f"/rooms/{session.session_id}", headers=headers)
    assert (response.status_code, list(response.json())) == (status, ["detail"])
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers.get("WWW-Authenticate", "Bearer").startswith("Bearer")


@pytest.mark.parametrize("headers", [headers for headers, _ in CREDENTIALS] + ["subscriber", "another session"])
def test_a_refusal_can_be_the_same_problem_document_as_everywhere(app, kit, session, headers):
    import flask

    if isinstance(headers, str):
        wrong = kit.create_session() if headers == "another session" else session
        headers = bearer(wrong.generate_token("subscriber"))
    of_an_endpoint(app, RoleRequired("moderator"), str)
    app.add_exception_handler(Refused, problem_handler)
    other = flask.Flask(__name__)
    other.add_url_rule("/rooms/<session_id>", "room", flask_role("moderator", kit=kit)(lambda session_id: ""))

    mine = ask(app, f"/rooms/{session.session_id}", headers=headers)
    theirs = other.test_client().get(f"/rooms/{session.session_id}", headers=headers)

    assert (mine.status_code, mine.content) == (theirs.status_code, theirs.data)
    for name in ("Content-Type", "Content-Length", "Cache-Control", "WWW-Authenticate"):
        assert mine.headers.get(name) == theirs.headers.get(name)


def test_a_handler_of_the_app_for_every_http_error_gets_refusals_too(app, session):
    @app.exception_handler(HTTPException)
    async def explain(_, error):
        return PlainTextResponse(f"my own {error.status_code}", error.status_code, error.headers)

    of_an_endpoint(app, TokenRequired(), str)
    response = ask(app, f"/rooms/{session.session_id}")
    assert (response.status_code, response.text) == (401, "my own 401")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="rolecall"'


def test_a_problem_handler_passes_on_what_is_not_a_refusal():
    with pytest.raises(ZeroDivisionError):
        asyncio.run(problem_handler(None, ZeroDivisionError()))


BODIES = [{"text": "why?"}, {"text": 7}, {}, None]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("token", "status"), [(None, 401), ("x.y.z", 401), ("subscriber", 403)])
def test_a_body_is_not_validated_for_somebody_who_does_not_get_in(app, session, body, token, status):
    @app.post("/rooms/{session_id}/questions")
    async def put(session_id: str, question: Question, grant: Moderator) -> str:
        return question.text

    token = session.generate_token(token) if token in ROLES else token
    assert ask(app, f"/rooms/{session.session_id}/questions", token, "POST", json=body).status_code == status


def test_a_query_is_not_validated_for_somebody_who_does_not_get_in(app, session):
    @app.get(PATH)
    async def room(session_id: str, page: int, grant: Moderator) -> str:
        return grant.role

    path = f"/rooms/{session.session_id}"
    assert ask(app, f"{path}?page=x").status_code == 401
    assert ask(app, f"{path}?page=x", session.generate_token("moderator")).status_code == 422


@pytest.fixture
def with_questions(kit):
    app = FastAPI()
    app.state.rolecall = kit

    @app.post("/rooms/{session_id}/questions")
    async def put(session_id: str, question: Question, grant: Moderator) -> str:
        return question.text

    return app


def post_half_a_body(app, session, token=None):
    half = {"content": b'{"text', "headers": {"Content-Type": "application/json"}}
    return ask(app, f"/rooms/{session.session_id}/questions", token, "POST", **half)


def test_fastapi_reads_a_body_before_it_asks_a_dependency(with_questions, session):
    """Its own order, for every dependency: what is not JSON at all is told so first, and learns nothing else."""
    response = post_half_a_body(with_questions, session)
    assert (response.status_code, response.json()["detail"][0]["type"]) == (422, "json_invalid")


def test_a_guard_around_the_app_refuses_before_a_body_is_read(with_questions, session):
    guarded = protect(with_questions)
    assert post_half_a_body(guarded, session).status_code == 401
    assert post_half_a_body(guarded, session, session.generate_token()).status_code == 422


# -- caches ----------------------------------------------------------------------------------------


def own_response(grant):
    return PlainTextResponse(grant.role)


def own_stream(grant):
    return StreamingResponse(iter([str(grant.role)]))


def own_cache_control(grant):
    return PlainTextResponse(grant.role, headers={"Cache-Control": "private, max-age=60"})


def error(grant):
    raise HTTPException(404)


@pytest.mark.parametrize(
    ("answer", "cache_control"),
    [
        (lambda grant: {"role": grant.role}, "no-store"),
        (own_response, "no-store"),
        (own_stream, "no-store"),
        (error, "no-store"),
        (own_cache_control, "private, max-age=60"),
    ],
)
def test_with_the_middleware_no_answer_is_kept_by_caches(app, session, answer, cache_control):
    app.add_middleware(UncachedMiddleware)

    @app.get(PATH)
    def room(grant: Bearer):
        return answer(grant)

    response = ask(app, f"/rooms/{session.session_id}", session.generate_token())
    assert response.headers.get_list("Cache-Control") == [cache_control]


def test_the_middleware_leaves_alone_what_no_guard_let_in(app):
    app.add_middleware(UncachedMiddleware)

    @app.get("/open")
    def open_to_all():
        return PlainTextResponse("open")

    @app.websocket("/live")
    async def live(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text("open")

    assert "Cache-Control" not in ask(app, "/open").headers
    with TestClient(app).websocket_connect("/live") as websocket:
        assert websocket.receive_text() == "open"


@pytest.mark.parametrize("order", [1, -1])
def test_a_cache_control_of_the_apps_own_wins_whoever_is_asked_first(app, session, order):
    from fastapi import Response

    def cached(response: Response) -> None:
        response.headers["Cache-Control"] = "private, max-age=60"

    @app.get(PATH, dependencies=[Depends(cached), Depends(TokenRequired())][::order])
    def room() -> str:
        return ""

    response = ask(app, f"/rooms/{session.session_id}", session.generate_token())
    assert response.headers.get_list("Cache-Control") == ["private, max-age=60"]
    assert response.headers.get_list("Vary") == ["Authorization"]


# -- OPTIONS and generators ------------------------------------------------------------------------


@pytest.mark.parametrize("handler", [False, True])
@pytest.mark.parametrize("role", [None, "moderator"])
def test_options_does_not_run_the_endpoint(app, session, role, handler):
    runs = []
    if handler:
        app.add_exception_handler(Refused, problem_handler)

    @app.api_route(PATH, methods=["GET", "OPTIONS"], include_in_schema=False)
    def room(grant: Moderator) -> None:
        runs.append(grant)

    token = session.generate_token(role) if role else None
    response = ask(app, f"/rooms/{session.session_id}", token, "OPTIONS")
    assert (response.status_code, response.content, runs) == (204, b"", [])
    assert response.headers["Allow"] == "GET, OPTIONS"


def test_an_endpoint_that_streams_is_guarded(app, session):
    @app.get(PATH)
    async def room(grant: Moderator):
        yield {"role": grant.role}

    path = f"/rooms/{session.session_id}"
    assert ask(app, path, session.generate_token("moderator")).json() == {"role": "moderator"}
    assert ask(app, path, session.generate_token("publisher")).status_code == 403


# -- kits ------------------------------------------------------------------------------------------


def stated(app, kit):
    app.state.rolecall = kit
    return TokenRequired()


def mounted(app, kit):
    app.mount("/video", rolecall_app(kit))
    return TokenRequired()


def mounted_on_an_included_router(app, kit):
    router = APIRouter()
    router.mount("/video", rolecall_app(kit))
    app.include_router(router, prefix="/v1")
    return TokenRequired()


def given(app, kit):
    return TokenRequired(kit=kit)


@pytest.mark.parametrize("way", [stated, mounted, mounted_on_an_included_router, given])
def test_where_a_guard_finds_its_kit(kit, session, way):
    app = FastAPI()
    of_an_endpoint(app, way(app, kit), lambda grant: str(grant.role))
    assert ask(app, f"/rooms/{session.session_id}", session.generate_token()).status_code == 200


def test_without_a_kit_nobody_gets_in(session):
    app = FastAPI()
    of_an_endpoint(app, TokenRequired(), str)
    with pytest.raises(ConfigurationError, match="this app has no kit"):
        TestClient(app).get(f"/rooms/{session.session_id}", headers=bearer(session.generate_token()))


def test_with_two_kits_a_guard_that_names_none_lets_nobody_in(app, make_kit, session):
    app.mount("/other", rolecall_app(make_kit(api_key=OTHER_KEY, api_secret=OTHER_SECRET)))
    of_an_endpoint(app, TokenRequired(), str)
    with pytest.raises(ConfigurationError, match="tell each guard which one it is for"):
        TestClient(app).get(f"/rooms/{session.session_id}", headers=bearer(session.generate_token()))


def test_with_two_kits_a_guard_takes_the_tokens_of_its_own(app, kit, make_kit, session):
    other = make_kit(api_key=OTHER_KEY, api_secret=OTHER_SECRET)
    app.mount("/other", rolecall_app(other))
    of_an_endpoint(app, TokenRequired(kit=kit), lambda grant: str(grant.role))
    assert ask(app, f"/rooms/{session.session_id}", session.generate_token()).status_code == 200
    theirs = other.create_session()
    assert ask(app, f"/rooms/{theirs.session_id}", theirs.generate_token()).status_code == 401


# -- policies --------------------------------------------------------------------------------------


def voting(answer):
    class Classroom:
        @hookimpl
        def rolecall_vote_access(self, request):
            return answer(request)

    return Classroom()


def voting_async(answer):
    class Classroom:
        @hookimpl
        async def rolecall_vote_access(self, request):
            await asyncio.sleep(0)
            return answer(request)

    return Classroom()


@pytest.mark.parametrize("policy", [voting, voting_async])
@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (lambda _: None, 200, "moderator"),
        (lambda _: Allow(max_role="publisher"), 200, "publisher"),
        (lambda _: Allow(max_role="subscriber"), 403, None),
        (lambda _: Deny("the class is over"), 403, "the class is over"),
        (lambda _: True, 503, None),
    ],
)
def test_a_policy_has_its_say(make_kit, policy, answer, status, said):
    kit = make_kit(plugins=[policy(answer)])
    app = FastAPI()
    of_an_endpoint(app, RoleRequired("publisher", kit=kit), lambda grant: str(grant.role))
    session = kit.create_session()
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token("moderator"))
    assert response.status_code == status
    body = response.json()
    assert said in (None, body["detail"] if isinstance(body, dict) else body)


@pytest.mark.parametrize("policy", [voting, voting_async])
def test_a_policy_asks_to_come_again_later(make_kit, policy):
    kit = make_kit(plugins=[policy(lambda _: Deny("later", status=429, retry_after=30))])
    app = FastAPI()
    of_an_endpoint(app, RoleRequired("publisher", kit=kit), lambda grant: str(grant.role))
    session = kit.create_session()
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token("moderator"))
    assert (response.status_code, response.headers["retry-after"]) == (429, "30")


# -- the decorators --------------------------------------------------------------------------------


def decorated_async(app, decorated):
    @app.get(PATH)
    @decorated
    async def room(session_id: str, request: Request) -> str:
        return current_grant(request).role


def decorated_sync(app, decorated):
    @app.get(PATH)
    @decorated
    def room(session_id: str, request: Request) -> str:
        return current_grant(request).role


@pytest.mark.parametrize("endpoint", [decorated_async, decorated_sync])
def test_a_decorator_below_the_routes_guards(app, kit, session, endpoint):
    endpoint(app, require_role("moderator"))
    path = f"/rooms/{session.session_id}"
    response = ask(app, path, session.generate_token("moderator"))
    assert (response.status_code, response.json()) == (200, "moderator")
    assert ask(app, path).json()["code"] == "missing_token"
    assert ask(app, path, session.generate_token()).status_code == 403
    assert ask(app, path, kit.create_session().generate_token("moderator")).status_code == 403


def test_a_decorator_of_an_endpoint_that_takes_no_request_opens_nothing(app, session):
    @app.get(PATH)
    @require_role("moderator")
    async def room(session_id: str) -> str:
        raise AssertionError("it ran")

    with pytest.raises(ConfigurationError, match=r"guard of room .* takes? one .*RoleRequired"):
        TestClient(app).get(f"/rooms/{session.session_id}", headers=bearer(session.generate_token("moderator")))


@pytest.mark.parametrize("guard", [require_role("moderator"), require_role, require_token])
def test_a_decorator_in_place_of_a_dependency_stops_the_app_at_the_start(app, guard):
    with pytest.raises(FastAPIError):
        of_the_decorator(app, guard, str)


def of_an_http_endpoint(app, teacher):
    @app.get(PATH)
    def room(who: Annotated[str, Depends(teacher)]) -> str:
        return who


def of_a_guarded_endpoint(app, teacher):
    router = APIRouter(dependencies=[Depends(teacher)])

    @router.get(PATH)
    @require_token
    async def room(request: Request) -> str:
        return "a teacher"

    app.include_router(router)


def of_another_dependency(app, teacher):
    def school(who: Annotated[str, Depends(teacher)]):
        yield who

    @app.get(PATH)
    async def room(who: Annotated[str, Depends(school)]) -> str:
        return who


def a_function(guard):
    @guard
    def teacher(request: Request) -> str:
        return "a teacher"

    return teacher


def a_coroutine_function(guard):
    @guard
    async def teacher(connection: HTTPConnection) -> str:
        return "a teacher"

    return teacher


def a_method(guard):
    class School:
        @guard
        def teacher(self, request: Request) -> str:
            return "a teacher"

    return School().teacher


@pytest.mark.parametrize("way", [of_an_http_endpoint, of_a_guarded_endpoint, of_another_dependency])
@pytest.mark.parametrize("teacher", [a_function, a_coroutine_function, a_method])
def test_a_guarded_function_is_a_dependency_like_others(app, kit, session, way, teacher):
    way(app, teacher(require_role("moderator")))
    path = f"/rooms/{session.session_id}"
    assert ask(app, path, session.generate_token("moderator")).json() == "a teacher"
    tokens = [None, "x.y.z", session.generate_token(), kit.create_session().generate_token("moderator")]
    refused = [ask(app, path, token) for token in tokens]
    assert [(answer.status_code, list(answer.json())) for answer in refused] == [
        (status, ["detail"]) for status in (401, 401, 403, 403)
    ]
    assert refused[0].headers["WWW-Authenticate"] == 'Bearer realm="rolecall"'
    assert {answer.headers["Cache-Control"] for answer in refused} == {"no-store"}


@pytest.mark.parametrize("token", [None, "a moderator's"])
def test_a_guarded_function_is_no_dependency_of_a_websocket(app, session, token):
    """It does not see when the grant ends; and who is refused does not get as far as the endpoint."""

    @require_role("moderator")
    async def teacher(websocket: WebSocket) -> None:
        pass

    @app.websocket("/live/{session_id}", dependencies=[Depends(teacher)])
    async def live(websocket: WebSocket):
        raise AssertionError("it ran")

    expected = ConfigurationError if token else WebSocketDenialResponse
    with pytest.raises(expected, match="the guard of teacher does not see when the grant ends" if token else None):
        connect(app, session, token and session.generate_token("moderator"))


def streaming():
    yield {"role": "moderator"}


async def streaming_async():
    yield {"role": "moderator"}


@pytest.mark.parametrize("endpoint", [streaming, streaming_async])
def test_a_decorator_cannot_go_on_an_endpoint_that_yields(endpoint):
    with pytest.raises(ConfigurationError, match=r"yields its answer.*RoleRequired"):
        require_role("moderator")(endpoint)


def above_on_the_app(app):
    @require_role("moderator")
    @app.get("/bare/{session_id}")
    async def bare(session_id: str, request: Request) -> str:
        return "open"


def above_on_a_router(app):
    router = APIRouter()

    @require_role("moderator")
    @router.get("/bare/{session_id}")
    async def bare(session_id: str, request: Request) -> str:
        return "open"

    app.include_router(router)


@pytest.mark.parametrize("mistake", [above_on_the_app, above_on_a_router])
@pytest.mark.parametrize("path", ["/rooms/x", "/video/sessions/x"])
def test_a_decorator_above_the_routes_is_noticed(app, mistake, path):
    of_an_endpoint(app, TokenRequired(), str)
    mistake(app)
    with pytest.raises(ConfigurationError, match=r"/bare/\{session_id\}.*above a route decorator.* open"):
        TestClient(app).get(path)


def a_plain_route(app):
    app.router.add_route("/bare", PlainTextResponse("open"))


def a_mount(app):
    app.mount("/bare", PlainTextResponse("open"))


@pytest.mark.parametrize("put", [a_plain_route, a_mount])
@pytest.mark.parametrize("dependency", [RoleRequired("moderator"), TokenRequired(optional=True)])
@pytest.mark.parametrize("mark", [public, lambda endpoint: endpoint])
def test_what_dependencies_of_the_app_do_not_reach_is_noticed_unless_it_is_to_be_open(app, put, dependency, mark):
    app.router.dependencies.append(Depends(dependency))
    put(app)
    mark(app.router.routes[-1].app)
    of_an_endpoint(app, TokenRequired(), str)
    if mark is public or dependency == TokenRequired(optional=True):
        assert ask(app, "/rooms/x").status_code == 401
        return
    with pytest.raises(ConfigurationError, match=r"/bare.*role:moderator.* does not reach it, so it is open"):
        TestClient(app).get("/rooms/x")
    with pytest.raises(ConfigurationError):
        TestClient(app).get("/bare")


# -- a guard around an app or a router -------------------------------------------------------------


def with_its_own_route(app):
    @app.get("/rooms/{session_id}/door")
    async def door(session_id: str) -> str:
        return "open"


def with_an_included_router(app):
    router = APIRouter(prefix="/{session_id}")

    @router.get("/door")
    async def door(session_id: str) -> str:
        return "open"

    outer = APIRouter()
    outer.include_router(router)
    app.include_router(outer, prefix="/rooms")


@pytest.mark.parametrize("routes", [with_its_own_route, with_an_included_router])
def test_a_guard_around_an_app_binds_the_session_of_its_routes(app, kit, session, routes):
    routes(app)
    guarded = protect(app, require_role("moderator"))
    path = f"/rooms/{session.session_id}/door"
    assert ask(guarded, path, session.generate_token("moderator")).status_code == 200
    assert ask(guarded, path, kit.create_session().generate_token("moderator")).status_code == 403


# -- WebSockets ------------------------------------------------------------------------------------


def connect(app, session, token=None):
    with TestClient(app).websocket_connect(f"/live/{session.session_id}", headers=bearer(token)) as websocket:
        return websocket.receive_text()


def with_a_lesser_guard(app):
    @app.websocket("/live/{session_id}", dependencies=[Depends(RoleRequired("moderator"))])
    @require_capability("signal")
    async def live(websocket: WebSocket):
        raise AssertionError("it ran")


def with_a_guard_that_binds_no_session(app):
    @app.websocket("/live/{session_id}", dependencies=[Depends(RoleRequired("moderator"))])
    @require_role("moderator", session_param=None)
    async def live(websocket: WebSocket):
        raise AssertionError("it ran")


@pytest.mark.parametrize("way", [with_a_lesser_guard, with_a_guard_that_binds_no_session])
def test_a_dependency_guards_a_websocket_whatever_its_own_guard_admits(app, kit, session, way):
    way(app)
    for wrong in (session.generate_token("publisher"), kit.create_session().generate_token("moderator")):
        with pytest.raises(WebSocketDenialResponse):
            connect(app, session, wrong)


def test_a_websocket_with_a_guard_of_another_kit_needs_a_token_of_each(app, make_kit, session):
    other = make_kit(api_key=OTHER_KEY, api_secret=OTHER_SECRET)

    @app.websocket("/live/{session_id}", dependencies=[Depends(TokenRequired())])
    @require_token(kit=other)
    async def live(websocket: WebSocket):
        raise AssertionError("it ran")

    with pytest.raises(WebSocketDenialResponse):
        connect(app, session, session.generate_token())


@pytest.mark.parametrize("dependencies", [[], [Depends(TokenRequired()), Depends(RoleRequired("moderator"))]])
def test_a_decorator_guards_a_websocket_also_in_an_app_that_depends_on_guards(app, kit, session, dependencies):
    router = APIRouter(dependencies=dependencies)

    @router.websocket("/live/{session_id}")
    @require_role("moderator")
    async def live(websocket: WebSocket, session_id: str):
        await websocket.accept()
        await websocket.send_text(current_grant(websocket).role)

    app.include_router(router)
    assert connect(app, session, session.generate_token("moderator")) == "moderator"
    for wrong in (None, session.generate_token(), kit.create_session().generate_token("moderator")):
        with pytest.raises(WebSocketDisconnect):
            connect(app, session, wrong)


# -- how apps are tested, and run ------------------------------------------------------------------


def test_the_tests_of_an_app_can_put_a_grant_in_its_place(app, kit, session):
    moderator = RoleRequired("moderator")
    of_an_endpoint(app, moderator, lambda grant: str(grant.role))
    app.dependency_overrides[moderator] = lambda: kit.verify_token(session.generate_token("publisher"))
    assert ask(app, f"/rooms/{session.session_id}").json() == "publisher"
    app.dependency_overrides.clear()
    assert ask(app, f"/rooms/{session.session_id}").status_code == 401


EQUALS = [
    lambda kit: RoleRequired("moderator"),
    lambda kit: RoleRequired("moderator", exact=True),
    lambda kit: RoleRequired("moderator", session_param="session_id"),
    lambda kit: RoleRequired("moderator", session_param=None),
    lambda kit: RoleRequired("moderator", kit=kit),
    lambda kit: RoleRequired("moderator", session=by_header),
    lambda kit: RoleRequired("publisher"),
    lambda kit: CapabilityRequired("force_disconnect"),
    lambda kit: TokenRequired(),
    lambda kit: TokenRequired(optional=True),
]


def by_header(request):
    return request.headers.get("x-session")


def test_dependencies_are_equal_if_they_demand_the_same(kit):
    made, again = [make(kit) for make in EQUALS], [make(kit) for make in EQUALS]
    assert made == again
    assert len(set(made)) == len({*made, *again}) == len(EQUALS)


@pytest.mark.parametrize("make", EQUALS)
def test_an_equal_dependency_that_a_test_makes_anew_overrides(app, kit, session, make):
    @app.get("/x")
    def marks(grant: Annotated[Grant | None, Depends(make(kit))]) -> str | None:
        return grant and grant.data

    app.dependency_overrides[make(kit)] = lambda: kit.verify_token(session.generate_token(data="a test"))
    assert ask(app, "/x").json() == "a test"


def test_overriding_another_dependency_leaves_the_guard_in_place(app, session):
    of_an_endpoint(app, RoleRequired("moderator"), str)
    app.dependency_overrides[RoleRequired("publisher")] = lambda: None
    assert ask(app, f"/rooms/{session.session_id}").status_code == 401


def test_requests_at_the_same_time_have_each_its_own_grant(app, kit):
    together = threading.Barrier(6, timeout=10)

    def run(grant):
        together.wait()
        return grant.data

    of_an_endpoint(app, TokenRequired(), run)
    said = {}
    with TestClient(app) as client:

        def ask_as(number):
            session = kit.create_session()
            token = session.generate_token(data=str(number))
            said[number] = client.get(f"/rooms/{session.session_id}", headers=bearer(token)).json()

        threads = [threading.Thread(target=ask_as, args=[number]) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert said == {number: str(number) for number in range(6)}


def test_starlette_apps_do_not_load_fastapi():
    code = "import sys, json, rolecall_starlette; print(json.dumps([name for name in sys.modules]))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "rolecall_starlette" in json.loads(ran.stdout)
    assert not {"fastapi", "pydantic"} & set(json.loads(ran.stdout))


def test_a_route_of_a_router_is_not_guarded_because_its_inclusion_would_lose_the_guard():
    router = APIRouter()
    router.add_api_route("/x", lambda: "in")
    with pytest.raises(ConfigurationError, match="dependencies="):
        protect(router.routes[0])


# -- tokens in the query ---------------------------------------------------------------------------


@pytest.mark.parametrize("own", [{}, {"Referrer-Policy": "same-origin"}], ids=["none", "the app's own"])
def test_an_answer_to_a_url_with_a_token_hides_that_url(make_kit, own):
    kit = make_kit(web=Web(query="access_token"))
    app, session = FastAPI(), kit.create_session()
    app.mount("/video", rolecall_app(kit))

    @app.get("/plain")
    def plain(grant: Bearer, response: Response):
        response.headers.update(own)
        return str(grant.role)

    token = session.generate_token()
    answers = [ask(app, f"/plain?access_token={token}"), ask(app, "/plain?access_token=x"), ask(app, "/plain", token)]
    assert [answer.status_code for answer in answers] == [200, 401, 200]
    said = [answer.headers.get("Referrer-Policy") for answer in answers]
    assert said == [own.get("Referrer-Policy", "no-referrer"), "no-referrer", own.get("Referrer-Policy")]
