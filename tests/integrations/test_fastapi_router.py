"""The kit's routes as a FastAPI router: the app's dependency names the caller, and the app's description has them."""

# No postponed annotations: FastAPI could not look up the dependencies that tests make for themselves.
import json
import re
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, HTTPException, Request
from fastapi.security import OAuth2PasswordBearer
from fastapi.testclient import TestClient
from pydantic import BaseModel

from rolecall import Actor, Allow, Deny, Grant, Rolecall, RolecallError, Web, hookimpl
from rolecall.cli.apps import routes_of
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import ROUTES, SDK_ROUTES, description, guard_refusals
from rolecall.policies import AllowAnyone
from rolecall_fastapi import (
    REFUSALS,
    Refused,
    RoleRequired,
    TokenRequired,
    document_refusals,
    problem_handler,
    rolecall_lifespan,
    rolecall_router,
)
from rolecall_starlette import problem_response, protect, public, rolecall_app

from ..sdk_tokens import API_KEY, API_SECRET
from ..untyped import untyped


class Members:
    """Lets in whoever has a name; what it knows of them is remembered."""

    def __init__(self) -> None:
        self.actors: list[Actor | None] = []

    @hookimpl
    def rolecall_vote_session(self, request):
        self.actors.append(request.actor)
        return Allow() if request.actor else Deny("who are you?")

    @hookimpl
    def rolecall_vote_token(self, request):
        return self.rolecall_vote_session(request)

    @hookimpl
    def rolecall_vote_access(self, request):
        self.actors.append(request.actor)


@pytest.fixture
def members():
    return Members()


@pytest.fixture
def kit(make_kit, members):
    return make_kit(plugins=[members])


@pytest.fixture
def session(kit):
    return kit.create_session(actor=Actor("a teacher"))


def minted(session, role="publisher"):
    return bearer(session.generate_token(role, actor=Actor("a teacher")))


def by_cookie(login: Annotated[str | None, Cookie()] = None) -> Actor | None:
    return Actor(login, {"kind": "user"}) if login else None


def app_of(router, prefix="/video", **options):
    app = FastAPI()
    app.include_router(router, prefix=prefix, **options)
    return app


def router_of(kit, actor=None, **options):
    """A router with a few of the kit's routes, which is made faster."""
    few = [route for route in ROUTES if route.name in ("sessions", "session", "tokens", "healthz", "sdk_other")]
    return rolecall_router(kit, actor, routes=few, **options)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


# -- who asks --------------------------------------------------------------------------------------


def test_the_apps_dependency_names_the_caller(kit, members):
    client = TestClient(app_of(router_of(kit, Depends(by_cookie))), cookies={"login": "ada"})
    session_id = client.post("/video/sessions").json()["session_id"]
    answer = client.post(f"/video/sessions/{session_id}/tokens")
    assert members.actors == [Actor("ada", {"kind": "user"})] * 2
    assert kit.verify_token(answer.json()["token"]).actor_id == "ada"


@pytest.mark.parametrize(("actor", "code"), [(Depends(by_cookie), "not_identified"), (None, "policy_denied")])
def test_whom_the_dependency_does_not_know_policies_may_deny(kit, actor, code):
    answer = TestClient(app_of(router_of(kit, actor))).post("/video/sessions")
    assert (answer.status_code, answer.json()["code"]) == (403, code)


def refuse() -> Actor:
    raise HTTPException(401, "log in first", {"WWW-Authenticate": "Cookie"})


def test_an_http_error_of_the_dependency_is_fastapis_own_answer(kit, members):
    answer = TestClient(app_of(router_of(kit, Depends(refuse)))).post("/video/sessions")
    assert (answer.status_code, answer.json()) == (401, {"detail": "log in first"})
    assert (answer.headers["WWW-Authenticate"], members.actors) == ("Cookie", [])


def test_where_a_token_is_the_credential_nobody_has_to_log_in(kit, session):
    client = TestClient(app_of(router_of(kit, Depends(refuse))))
    path = f"/video/sessions/{session.session_id}"
    assert client.get(path, headers=minted(session)).status_code == 200
    assert client.delete(path, headers=minted(session, "moderator")).status_code == 204
    assert client.get("/video/healthz").status_code == 200


def test_a_browser_asks_before_anybody_has_logged_in(kit):
    client = TestClient(app_of(router_of(kit, Depends(refuse)), dependencies=[Depends(refuse)]))
    assert client.options("/video/sessions").headers["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert client.put("/video/sessions").json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_routers_further_dependencies_are_asked(kit, method):
    client = TestClient(app_of(router_of(kit), dependencies=[Depends(refuse)]))
    assert client.request(method, "/video/healthz").status_code == 401
    assert client.request(method, "/video/v2/project/123456/archive").status_code == 401


@pytest.mark.parametrize("wrong", ["ada", {"id": "ada"}, True, 7])
def test_what_is_no_actor_is_a_fault_of_the_app(kit, members, wrong, caplog):
    client = TestClient(app_of(router_of(kit, Depends(lambda: wrong))))
    assert client.post("/video/sessions").status_code == 500
    assert members.actors == []
    assert "expected a rolecall.Actor" in caplog.text


def test_an_actor_whom_a_plugin_contradicts_gets_nothing(make_kit, members):
    class Another:
        @hookimpl
        def rolecall_identify(self, request):
            return Actor("ben")

    kit = make_kit(plugins=[members, Another()])
    client = TestClient(app_of(router_of(kit, Depends(lambda: Actor("ada")))))
    assert (client.post("/video/sessions").status_code, members.actors) == (503, [])


def test_the_dependency_may_be_overridden_in_a_test(kit):
    app = app_of(router_of(kit, Depends(by_cookie)))
    app.dependency_overrides[by_cookie] = lambda: Actor("a test")
    assert TestClient(app).post("/video/sessions").status_code == 201


def test_a_dependency_that_has_read_the_body_leaves_it_to_the_kit(kit):
    async def look(request: Request) -> Actor:
        assert await request.json() == {"media_mode": "routed"}
        return Actor("ada")

    client = TestClient(app_of(router_of(kit, Depends(look))))
    assert client.post("/video/sessions", json={"media_mode": "routed"}).json()["media_mode"] == "routed"


class Login(BaseModel):
    name: str


def test_a_dependency_that_takes_the_body_from_the_kit_is_refused(kit):
    def by_body(login: Login) -> Actor:
        return Actor(login.name)

    with pytest.raises(ConfigurationError, match="takes a form or a body"):
        rolecall_router(kit, Depends(by_body))


@pytest.mark.parametrize("wrong", [by_cookie, "ada", Actor("ada"), Depends()])
def test_an_actor_that_is_no_dependency_is_refused(kit, wrong):
    with pytest.raises(ConfigurationError, match=r"expected Depends\(…\)"):
        rolecall_router(kit, wrong)


@pytest.mark.parametrize("wrong", ["", "a b", "7", "école", "rolecall.eu"])
def test_a_name_that_could_not_stand_before_a_models_is_refused(kit, wrong):
    with pytest.raises(ConfigurationError, match="expected letters, digits"):
        rolecall_router(kit, name=wrong)


def test_a_name_may_have_several_words(kit):
    schema = schema_of(app_of(router_of(kit, name="night-school")))
    assert "NightSchoolSession" in schema["components"]["schemas"]


def test_a_router_is_of_a_kit():
    with pytest.raises(ConfigurationError, match="takes a Rolecall"):
        rolecall_router(untyped("kit"))


# -- where it is put -------------------------------------------------------------------------------


def included_in_a_router(router):
    outer = APIRouter(prefix="/v1")
    outer.include_router(router, prefix="/video")
    return app_of(outer, ""), "/v1/video"


def included_twice(router):
    app = app_of(router, "/first")
    app.include_router(router, prefix="/video")
    return app, "/video"


def in_a_sub_application(router):
    app = FastAPI()
    app.mount("/v1", app_of(router))
    return app, "/v1/video"


def below_a_parameter(router):
    return app_of(router, "/schools/{school}/video"), "/schools/7/video"


@pytest.mark.parametrize("put", [included_in_a_router, included_twice, in_a_sub_application, below_a_parameter])
def test_it_answers_wherever_it_is_included(kit, put):
    app, prefix = put(router_of(kit, Depends(by_cookie)))
    client = TestClient(app, cookies={"login": "ada"})
    session_id = client.post(f"{prefix}/sessions").json()["session_id"]
    token = client.post(f"{prefix}/sessions/{session_id}/tokens").json()["token"]
    assert client.get(f"{prefix}/sessions/{session_id}", headers=bearer(token)).status_code == 200
    assert client.patch(f"{prefix}/sessions").json()["code"] == "method_not_allowed"


def test_its_kit_is_the_one_of_the_apps_guards(kit, session):
    app = app_of(router_of(kit))

    @app.get("/rooms/{session_id}")
    def room(session_id: str, grant: Annotated[Grant, Depends(TokenRequired())]) -> str:
        return grant.session_id

    path = f"/rooms/{session.session_id}"
    assert TestClient(app).get(path, headers=minted(session)).status_code == 200


def test_its_routes_have_the_names_of_the_kits(kit):
    app = app_of(router_of(kit))
    assert app.url_path_for("rolecall.session", session_id="x") == "/video/sessions/x"
    assert app_of(router_of(kit, name="clinic")).url_path_for("clinic.healthz") == "/video/healthz"


def listed(app):
    return [(route.path, route.methods, route.requires, route.mistakes) for route in routes_of(app)]


def test_the_list_of_routes_is_that_of_the_mounted_kit(kit):
    mounted, included = FastAPI(openapi_url=None), FastAPI(openapi_url=None)
    mounted.mount("/video", rolecall_app(kit))
    included.include_router(rolecall_router(kit, Depends(by_cookie)), prefix="/video")
    assert listed(included) == listed(mounted)


def test_a_guard_around_the_app_spares_its_routes(kit):
    app = protect(app_of(router_of(kit)))
    assert TestClient(app).get("/video/healthz").status_code == 200
    assert TestClient(app).put("/video/healthz").status_code == 405
    assert TestClient(app).get("/elsewhere").status_code == 401


def test_a_route_of_the_apps_own_that_the_kit_leaves_to_it_is_guarded(kit):
    """The kit's last route stands for the rest of a path, which is not empty."""
    app = app_of(rolecall_router(kit, routes=SDK_ROUTES), "")
    app.get("/v2/project/7/")(lambda: "the app's own")
    assert TestClient(protect(app)).get("/v2/project/7/").status_code == 401


def test_guards_around_the_router_are_asked_and_listed(kit, session):
    app = app_of(router_of(kit), dependencies=[Depends(RoleRequired("moderator"))])
    assert TestClient(app).get("/video/healthz").status_code == 401
    assert TestClient(app).get("/video/healthz", headers=minted(session, "moderator")).status_code == 200
    assert ("/video/healthz", ("GET",), "role:moderator, then the kit's own (public)", ()) in listed(app)


def test_a_class_of_routes_that_matches_in_its_own_way_is_matched_so_by_a_guard_around(kit):
    """A guard around an app would take the first route of the path for the one that answers."""
    from fastapi.routing import APIRoute
    from starlette.routing import Match

    class Versioned(APIRoute):
        def matches(self, scope):
            match, found = super().matches(scope)
            wanted = dict(scope["headers"]).get(b"x-version", b"1").decode()
            return (match, found) if wanted in self.name else (Match.NONE, {})

    router = APIRouter(route_class=Versioned)
    router.add_api_route("/x", public(lambda: "open"), name="1")
    router.add_api_route("/x", lambda: "secret", name="2")
    app = app_of(router, "")
    app.state.rolecall = kit
    client = TestClient(protect(app))
    assert client.get("/x").json() == "open"
    assert client.get("/x", headers={"X-Version": "2"}).status_code == 401


# -- the app's description -------------------------------------------------------------------------


def schema_of(app):
    return TestClient(app).get("/openapi.json").json()


def operations(schema):
    return {
        (method, path): operation
        for path, item in schema["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }


def resolved(value, schema):
    """A part of a description without references, and without the titles that FastAPI adds."""
    if isinstance(value, list):
        return [resolved(one, schema) for one in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return resolved(schema["components"]["schemas"][value["$ref"].rpartition("/")[2]], schema)
    return {key: resolved(one, schema) for key, one in value.items() if key != "title"}


@pytest.fixture(scope="module", params=[{}, {"cookie": "__Host-rolecall", "origins": ["https://a.example"]}])
def described(request):
    """The app's description, and the kit's own, as JSON."""
    kit = Rolecall(API_KEY, API_SECRET, web=Web(**request.param))
    own = json.loads(json.dumps(description(ROUTES, "", kit.aio.api)))
    return schema_of(app_of(rolecall_router(kit, Depends(by_cookie)), "/video")), own


def test_the_description_has_every_operation_of_the_kits_own(described):
    schema, own = described
    assert {(method, path.removeprefix("/video")) for method, path in operations(schema)} == operations(own).keys()


@pytest.mark.parametrize("part", ["summary", "description", "requestBody"])
def test_the_description_says_of_an_operation_what_the_kits_own_does(described, part):
    schema, own = described
    mine = {(method, path[6:]): one.get(part) for (method, path), one in operations(schema).items()}
    assert mine == {key: resolved(one.get(part), own) for key, one in operations(own).items()}


def test_the_description_has_each_answer_of_an_operation(described):
    schema, own = described
    mine = {
        (method, path[6:]): resolved(one["responses"], schema) for (method, path), one in operations(schema).items()
    }
    for key, operation in operations(own).items():
        for status, response in resolved(operation["responses"], own).items():
            assert mine[key][status] == response, (key, status)
        assert mine[key].keys() - operation["responses"].keys() <= {"422"}, key


def test_the_models_have_names_and_every_reference_leads_to_one(described):
    schema, _ = described
    names = schema["components"]["schemas"].keys()
    assert {"RolecallSession", "RolecallToken", "RolecallProblem"} <= names
    assert {one.rpartition("/")[2] for one in re.findall(r'"\$ref": "([^"]+)"', json.dumps(schema))} <= names


def test_an_operation_names_its_credentials(make_kit):
    kit = make_kit(web=Web(cookie="__Host-rolecall", origins=["https://a.example"]))
    schema = schema_of(app_of(rolecall_router(kit)))
    end, create = (
        operations(schema)[one] for one in (("delete", "/video/sessions/{session_id}"), ("post", "/video/sessions"))
    )
    assert end["security"] == [{"rolecall": ["role:moderator"]}, {"rolecall_cookie": ["role:moderator"]}]
    assert [one["name"] for one in end["parameters"]] == ["session_id", "x-csrf-token"]
    assert "security" not in create
    assert schema["components"]["securitySchemes"].keys() >= {"rolecall", "rolecall_cookie", "rolecall_server"}


def test_the_apps_own_way_to_identify_is_described(kit):
    def by_token(token: Annotated[str, Depends(OAuth2PasswordBearer("login"))]) -> Actor:
        return Actor(token)

    found = operations(schema_of(app_of(rolecall_router(kit, Depends(by_token)))))
    assert found["post", "/video/sessions"]["security"] == [{"OAuth2PasswordBearer": []}]
    assert found["get", "/video/sessions/{session_id}"]["security"] == [{"rolecall": []}]


def test_two_kits_and_two_inclusions_are_described_beside_each_other(kit, make_kit):
    """FastAPI warns of operations with one id, and a warning is an error here."""
    router = rolecall_router(kit)
    app = app_of(router, "/first")
    app.include_router(router, prefix="/second")
    app.include_router(rolecall_router(make_kit(), name="clinic"), prefix="/clinic")
    schema = schema_of(app)
    assert {"RolecallToken", "ClinicToken"} <= schema["components"]["schemas"].keys()
    assert len({one["operationId"] for one in operations(schema).values()}) == len(operations(schema))


class RolecallSession(BaseModel):
    mine: int


def test_a_model_of_the_app_by_the_same_name_is_told_apart(kit):
    app = app_of(rolecall_router(kit))
    app.get("/mine")(untyped(_mine))
    schema = schema_of(app)
    assert resolved(operations(schema)["get", "/mine"]["responses"]["200"], schema)["content"] == {
        "application/json": {
            "schema": {"type": "object", "properties": {"mine": {"type": "integer"}}, "required": ["mine"]}
        }
    }


def _mine() -> RolecallSession:
    return RolecallSession(mine=1)


@pytest.mark.parametrize(
    "routes", [SDK_ROUTES, [route for route in ROUTES if route.name in ("session", "connections")]]
)
def test_some_routes_alone_are_described_in_full(kit, routes):
    schema = schema_of(app_of(rolecall_router(kit, routes=routes)))
    for operation in operations(schema).values():
        content = resolved(operation["responses"]["503"], schema)["content"]
        assert content["application/problem+json"]["schema"]["type"] == "object"


def test_a_kit_that_describes_itself_to_nobody_is_not_described(make_kit):
    app = app_of(rolecall_router(make_kit(web=Web(openapi=False), plugins=[AllowAnyone()])))
    assert schema_of(app)["paths"] == {}
    assert TestClient(app).post("/video/sessions").status_code == 201


# -- guarded operations ----------------------------------------------------------------------------


def guarded(**options):
    app = FastAPI(**options)
    document_refusals(app)

    @app.get("/rooms/{session_id}")
    def room(session_id: str, grant: Annotated[Grant, Depends(TokenRequired())]) -> str:
        return ""

    return app


def contents(app) -> Any:
    schema = app.openapi()
    responses = operations(schema)["get", "/rooms/{session_id}"]["responses"]
    return {
        json.dumps(resolved(responses[str(status)].get("content"), schema), sort_keys=True)
        for status in guard_refusals()
    }


PROBLEMS = [{Refused: problem_handler}, {RolecallError: problem_response}]


@pytest.mark.parametrize("handlers", PROBLEMS, ids=["Refused", "RolecallError"])
def test_refusals_are_described_as_problems_where_the_app_answers_so(handlers):
    (content,) = contents(guarded(exception_handlers=handlers))
    assert '"application/problem+json"' in content
    assert '"code"' in content


def test_refusals_are_described_as_fastapis_errors_where_it_answers_so():
    (content,) = contents(guarded())
    assert json.loads(content)["application/json"]["schema"]["properties"] == {"detail": {"type": "string"}}


@pytest.mark.parametrize("kind", [HTTPException, Refused, RolecallError])
def test_nothing_is_said_of_answers_that_the_app_makes_itself(kind):
    assert contents(guarded(exception_handlers={kind: lambda request, error: None})) == {"null"}


def test_refusals_are_described_with_their_headers():
    responses = operations(guarded().openapi())["get", "/rooms/{session_id}"]["responses"]
    assert responses["401"]["headers"]["WWW-Authenticate"]["required"] is True
    assert "Retry-After" in responses["429"]["headers"]


def test_the_refusals_are_those_of_the_kit():
    assert REFUSALS.keys() == guard_refusals().keys()


# -- the end of an app -----------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
def test_the_kit_is_closed_when_the_app_ends(kit, own):
    from contextlib import asynccontextmanager

    order = []
    close = kit.aio.close

    async def closing():
        order.append("kit")
        await close()

    @asynccontextmanager
    async def lifespan(app):
        order.append("begin")
        yield {"own": 7}
        order.append("end")

    kit.aio.close = closing
    app = FastAPI(lifespan=rolecall_lifespan(kit, lifespan if own else None))
    app.get("/")(untyped(_state))
    with TestClient(app) as client:
        assert client.get("/").json() == (7 if own else None)
    assert order == (["begin", "end", "kit"] if own else ["kit"])


def _state(request: Request, x_nothing: Annotated[str | None, Header()] = None) -> int | None:
    return getattr(request.state, "own", None)


@pytest.mark.parametrize("made", ["by its router", "by a router within", "by its lifespan"])
def test_an_app_with_an_open_route_does_not_start(kit, made):
    lifespan = rolecall_lifespan(kit) if made == "by its lifespan" else None
    app = FastAPI(dependencies=[Depends(TokenRequired(kit=kit, session_param=None))], lifespan=lifespan)
    if made != "by its lifespan":
        router = router_of(kit)
        if made == "by a router within":
            router = APIRouter(prefix="/v1")
            router.include_router(router_of(kit), prefix="/video")
        app.include_router(router)
    with TestClient(app) as client:
        assert client.get("/nowhere").status_code == 404
    app.add_route("/plain", untyped(_state))
    with pytest.raises(ConfigurationError, match="'/plain'"), TestClient(app):
        pass


def test_a_lifespan_is_of_a_kit():
    with pytest.raises(ConfigurationError, match="takes a Rolecall"):
        rolecall_lifespan(untyped("kit"))
