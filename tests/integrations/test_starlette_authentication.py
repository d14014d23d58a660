"""Starlette's own AuthenticationMiddleware and ``@requires``, with the tokens of a kit."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthenticationError, requires
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

import rolecall
import rolecall_starlette
from rolecall import Role, Web, hookimpl
from rolecall.policies import AllowAnyone
from rolecall_starlette import (
    RolecallAuthentication,
    RolecallBackend,
    RolecallUser,
    on_auth_error,
    require_role,
    rolecall_app,
)

from ..untyped import untyped

ROLES = ["subscriber", "publisher", "publisheronly", "moderator"]
CAPABILITIES = {
    "subscriber": {"connect", "subscribe"},
    "publisher": {"connect", "subscribe", "publish", "signal"},
    "publisheronly": {"connect", "publish"},
    "moderator": {"connect", "subscribe", "publish", "signal", "force_disconnect", "force_unpublish"},
}


async def who(request):
    user = request.user
    return JSONResponse([user.is_authenticated, user.display_name, user.identity])


async def scopes(request):
    return JSONResponse(sorted(request.auth.scopes))


@requires("role:moderator")
async def moderators_only(request):
    return PlainTextResponse("in")


@requires(["publish", "signal"])
def who_publishes_and_signals(request):
    return PlainTextResponse("in")


class Methods(HTTPEndpoint):
    @requires("force_unpublish", status_code=404)
    async def get(self, request):
        return PlainTextResponse("in")


@requires("role:publisher")
async def talk(websocket):
    await websocket.accept()
    await websocket.send_text(websocket.user.display_name)
    await websocket.close()


def app_of(kit, *routes, **options) -> Starlette:
    all_routes = [
        Route("/who", who),
        Route("/scopes", scopes),
        Route("/moderators", moderators_only),
        Route("/publishers", who_publishes_and_signals),
        Route("/methods", Methods),
        WebSocketRoute("/talk", talk),
        *routes,
    ]
    middleware = [Middleware(AuthenticationMiddleware, backend=RolecallBackend(kit), **options)]
    return Starlette(routes=all_routes, middleware=middleware)


@pytest.fixture
def session(kit):
    return kit.create_session()


@pytest.fixture
def app(kit):
    return app_of(kit, on_error=on_auth_error)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def get(app, path, token=None, **options):
    return TestClient(app).get(path, headers=bearer(token) if token else {}, **options)


def test_who_comes_without_a_token_is_not_authenticated(app):
    assert get(app, "/who").json() == [False, "", ""]
    assert get(app, "/scopes").json() == []


@pytest.mark.parametrize("value", ["Basic Zm9vOmJhcg==", "Token abc", ""])
def test_who_comes_with_a_credential_of_another_scheme_is_not_authenticated(app, value):
    assert TestClient(app).get("/who", headers={"Authorization": value}).json() == [False, "", ""]


def test_the_bearer_of_a_token_is_the_user(app, kit, session):
    token = session.generate_token(data="name=Ada")
    assert get(app, "/who", token).json() == [True, "name=Ada", kit.verify_token(token).token_id]


def test_a_token_without_data_names_nobody(app, session):
    assert get(app, "/who", session.generate_token()).json()[:2] == [True, ""]


def test_the_user_has_the_grant(kit, session):
    grant = kit.verify_token(session.generate_token("moderator"))
    user = RolecallUser(grant)
    assert (user.grant, user.is_authenticated) == (grant, True)


@pytest.mark.parametrize("role", ROLES)
def test_the_scopes_are_the_capabilities_and_every_role_that_they_amount_to(app, session, role):
    roles = {f"role:{other}" for other in ROLES if CAPABILITIES[other] <= CAPABILITIES[role]}
    assert set(get(app, "/scopes", session.generate_token(role)).json()) == CAPABILITIES[role] | roles


def test_the_roles_of_a_plugin_are_among_the_scopes(make_kit):
    class Assistants:
        @hookimpl
        def rolecall_register_roles(self):
            return [Role("assistant", {"connect", "subscribe", "force_unpublish"}, "subscriber")]

    kit = make_kit(plugins=[Assistants()])
    app, session = app_of(kit), kit.create_session()
    assert set(get(app, "/scopes", session.generate_token("assistant")).json()) == {
        "connect",
        "subscribe",
        "force_unpublish",
        "role:assistant",
        "role:subscriber",
    }
    assert "role:assistant" in get(app, "/scopes", session.generate_token("moderator")).json()
    assert "role:assistant" not in get(app, "/scopes", session.generate_token("publisher")).json()


@pytest.mark.parametrize(
    ("path", "admitted", "refusal"),
    [
        ("/moderators", ["moderator"], 403),
        ("/publishers", ["publisher", "moderator"], 403),
        ("/methods", ["moderator"], 404),
    ],
)
def test_requires_admits_exactly_the_roles_with_the_scopes(app, session, path, admitted, refusal):
    found = {role: get(app, path, session.generate_token(role)).status_code for role in ROLES}
    assert found == {role: 200 if role in admitted else refusal for role in ROLES}
    assert get(app, path).status_code == refusal


def test_what_redirects_strangers_still_does(kit, session):
    @requires("connect", redirect="login")
    async def lobby(request):
        return PlainTextResponse("in")

    async def login(request):
        return PlainTextResponse("log in")

    app = app_of(kit, Route("/lobby", lobby), Route("/login", login))
    assert get(app, "/lobby").text == "log in"
    assert get(app, "/lobby", session.generate_token()).text == "in"


# -- tokens that are refused -----------------------------------------------------------------------


def forged(kit, clock):
    return kit.create_session().generate_token("publisher")[:-6] + "AAAAAA"


def of_an_ended_session(kit, clock):
    session = kit.create_session()
    token = session.generate_token()
    session.end()
    return token


def expired(kit, clock):
    token = kit.create_session().generate_token(expire_time=clock.now + 60)
    clock.now += 70
    return token


@pytest.mark.parametrize("path", ["/who", "/moderators", "/nowhere"])
@pytest.mark.parametrize(
    ("make", "status", "code"),
    [
        (lambda kit, clock: "abc", 401, "malformed_token"),
        (forged, 401, "bad_signature"),
        (of_an_ended_session, 401, "revoked_token"),
        (expired, 401, "expired_token"),
        (lambda kit, clock: "a,Bearer b", 400, "malformed_credential"),
        (lambda kit, clock: "x" * 16_385, 431, "credential_too_large"),
    ],
    ids=["malformed", "forged", "ended", "expired", "two", "too long"],
)
def test_a_bad_token_is_a_problem_wherever_it_comes(app, kit, clock, path, make, status, code):
    response = get(app, path, make(kit, clock))
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers.get("WWW-Authenticate", "Bearer").startswith("Bearer")


def test_two_authorization_headers_are_one_too_many(app, session):
    token = session.generate_token().encode()
    response = TestClient(app).get("/who", headers=[(b"Authorization", b"Bearer " + token)] * 2)
    assert (response.status_code, response.json()["code"]) == (400, "malformed_credential")


def test_without_on_error_a_bad_token_is_starlettes_plain_400_that_says_why(kit, session):
    token = session.generate_token()[:-6] + "AAAAAA"
    response = get(app_of(kit), "/who", token)
    assert (response.status_code, response.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert response.text == (
        "the token's signature does not fit its content: it was signed with another secret or key, or changed since"
    )
    assert token not in response.text


def test_an_error_of_another_backend_is_not_for_on_auth_error():
    with pytest.raises(AuthenticationError, match="of another backend"):
        on_auth_error(untyped(None), AuthenticationError("of another backend"))


def test_the_plugins_are_told_of_a_refused_token(make_kit):
    events = []

    class Audit:
        @hookimpl
        async def rolecall_on_event(self, event):
            events.append((event.name, event.code))

    get(app_of(make_kit(plugins=[Audit()]), on_error=on_auth_error), "/who", "abc")
    assert events == [("access_refused", "malformed_token")]


# -- with the rest of the kit ----------------------------------------------------------------------


def test_a_guard_within_asks_for_the_session_as_well(kit, session):
    async def room(request):
        return PlainTextResponse(request.user.grant.session_id)

    app = app_of(kit, Route("/rooms/{session_id}", require_role("publisher", kit=kit)(room)), on_error=on_auth_error)
    path = f"/rooms/{session.session_id}"
    assert get(app, path, session.generate_token()).text == session.session_id
    assert get(app, path, kit.create_session().generate_token()).status_code == 403
    assert get(app, path).status_code == 401


def test_the_kits_own_routes_work_behind_the_middleware(make_kit):
    kit = make_kit(plugins=[AllowAnyone()])
    app = app_of(kit, Mount("/video", app=rolecall_app(kit)), on_error=on_auth_error)
    session_id = TestClient(app).post("/video/sessions").json()["session_id"]
    token = TestClient(app).post(f"/video/sessions/{session_id}/tokens").json()["token"]
    assert get(app, f"/video/sessions/{session_id}", token).status_code == 200


def test_of_many_requests_at_once_each_has_its_own_user(kit, session):
    async def late(request):
        await asyncio.sleep(0.001)
        return PlainTextResponse(request.user.display_name)

    async def run():
        transport = httpx2.ASGITransport(app=app_of(kit, Route("/late", late)))
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await asyncio.gather(*(client.get("/late", headers=bearer(token)) for token in tokens))

    tokens = [session.generate_token(data=f"name={number}") for number in range(50)]
    assert [answer.text for answer in asyncio.run(run())] == [f"name={number}" for number in range(50)]


# -- WebSockets ------------------------------------------------------------------------------------


BEARER = "rolecall.bearer"
#: How a client sends a token to a WebSocket: path, subprotocols, headers; ``{}`` stands for the token.
PLACES = {
    "the header": ("/talk", None, {"Authorization": "Bearer {}"}),
    "a subprotocol": ("/talk", [BEARER, "{}"], {}),
    "a subprotocol among others": ("/talk", ["chat", BEARER, "{}"], {}),
    "the cookie": ("/talk", None, {"Cookie": "__Host-rolecall={}"}),
    "the query": ("/talk?access_token={}", None, {}),
}


@pytest.fixture
def everywhere(make_kit):
    """A kit that takes tokens wherever it can."""
    return make_kit(web=Web(cookie="__Host-rolecall", query="access_token"))


def talk_to(app, place, token):
    path, offered, headers = place
    return TestClient(app).websocket_connect(
        path.format(token),
        offered and [part.format(token) for part in offered],
        headers={name: value.format(token) for name, value in headers.items()},
    )


def of_starlette(kit):
    return app_of(kit, on_error=on_auth_error)


def of_rolecall(kit):
    return Starlette(routes=[WebSocketRoute("/talk", talk)], middleware=[Middleware(RolecallAuthentication, kit=kit)])


@pytest.fixture(params=[of_starlette, of_rolecall], ids=["Starlette's middleware", "the kit's middleware"])
def authenticated(request):
    return request.param


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_websocket_has_the_user_of_its_token_wherever_that_is(place, authenticated, everywhere):
    token = everywhere.create_session().generate_token(data="name=Ada")
    with talk_to(authenticated(everywhere), place, token) as websocket:
        assert websocket.receive_text() == "name=Ada"


@pytest.mark.parametrize("place", [PLACES["the cookie"], PLACES["the query"]], ids=["cookie", "query"])
def test_a_place_that_is_off_holds_no_token(place, authenticated, kit):
    token = kit.create_session().generate_token()
    with pytest.raises(WebSocketDisconnect), talk_to(authenticated(kit), place, token):
        pass


def test_the_app_sees_no_token_among_the_subprotocols(authenticated, kit):
    offered = []

    async def note(websocket):
        offered.extend(websocket.scope["subprotocols"])
        await websocket.accept()
        await websocket.close()

    app = authenticated(kit)
    app.router.routes.insert(0, WebSocketRoute("/talk", note))
    with talk_to(app, ("/talk", ["v1", BEARER, "{}", "v2"], {}), kit.create_session().generate_token()):
        pass
    assert offered == ["v1", "v2"]


@pytest.mark.parametrize(
    ("offer", "chosen", "answered"),
    [
        ([BEARER, "{}"], None, BEARER),
        (["chat", BEARER, "{}"], None, BEARER),
        (["chat", BEARER, "{}"], "chat", "chat"),
        (["chat"], None, None),
        (None, None, None),
    ],
)
def test_the_kits_middleware_answers_the_bearer_unless_the_app_chooses_another(offer, chosen, answered, kit):
    async def open_(websocket):
        await websocket.accept(chosen)
        await websocket.close()

    app = Starlette(routes=[WebSocketRoute("/talk", open_)], middleware=[Middleware(RolecallAuthentication, kit=kit)])
    with talk_to(app, ("/talk", offer, {}), kit.create_session().generate_token()) as websocket:
        assert websocket.accepted_subprotocol == answered


@pytest.mark.parametrize(
    ("offer", "headers", "status", "code"),
    [
        ([BEARER, "abc"], {}, 401, "malformed_token"),
        ([BEARER], {}, 400, "malformed_credential"),
        ([BEARER, "{}", BEARER, "{}"], {}, 400, "malformed_credential"),
        ([BEARER, "{}"], {"Authorization": "Bearer {}"}, 400, "malformed_credential"),
        ([BEARER, "{}"], {"Origin": "https://elsewhere.example"}, 403, "origin_not_allowed"),
    ],
)
def test_the_kits_middleware_says_why_a_websocket_is_refused(offer, headers, status, code, make_kit):
    kit = make_kit(web=Web(origins=["https://app.example"]))
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        talk_to(of_rolecall(kit), ("/talk", offer, headers), kit.create_session().generate_token()),
    ):
        pass
    assert (refused.value.status_code, refused.value.json()["code"]) == (status, code)


def test_the_kits_middleware_does_over_http_what_starlettes_does(kit):
    app = Starlette(
        routes=[Route("/who", who), Route("/moderators", moderators_only)],
        middleware=[Middleware(RolecallAuthentication, kit=kit)],
    )
    token = kit.create_session().generate_token(data="name=Ada")
    assert get(app, "/who", token).json()[:2] == [True, "name=Ada"]
    assert get(app, "/who").json() == [False, "", ""]
    assert get(app, "/moderators", token).status_code == 403
    assert get(app, "/who", "abc").json()["code"] == "malformed_token"


def test_a_guard_within_reads_the_token_that_the_middleware_has_read(authenticated, kit):
    @require_role("publisher", kit=kit)
    async def room(websocket):
        await websocket.accept()
        await websocket.send_text(websocket.user.grant.session_id)

    app, session = authenticated(kit), kit.create_session()
    app.router.routes.append(WebSocketRoute("/rooms/{session_id}", room))
    path = f"/rooms/{session.session_id}"
    with talk_to(app, (path, [BEARER, "{}"], {}), session.generate_token()) as websocket:
        assert (websocket.accepted_subprotocol, websocket.receive_text()) == (BEARER, session.session_id)


@pytest.mark.parametrize("token", [None, "abc", "subscriber"])
def test_a_websocket_with_too_little_is_refused_before_it_is_accepted(app, session, token):
    token = session.generate_token(token) if token == "subscriber" else token
    headers = bearer(token) if token else {}
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        TestClient(app).websocket_connect("/talk", headers=headers) as websocket,
    ):
        websocket.receive_text()
    assert refused.value.code == 1000


# -- pure ASGI -------------------------------------------------------------------------------------


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {node.module or "" for node in imported if isinstance(node, ast.ImportFrom)}
    return modules | {alias.name for node in imported for alias in node.names}


@pytest.mark.parametrize("package", [rolecall_starlette, rolecall], ids=lambda package: package.__name__)
def test_nothing_is_built_on_the_middleware_that_runs_apps_in_tasks_of_their_own(package):
    """``BaseHTTPMiddleware`` breaks context variables, background tasks and cancellation."""
    found = set().union(*map(names_in, Path(package.__file__).parent.rglob("*.py")))
    assert "starlette" not in found or package is rolecall_starlette
    assert found.isdisjoint({"BaseHTTPMiddleware", "starlette.middleware.base"})
