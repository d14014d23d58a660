"""A refusal is never a value: what comes of one where the guard is not what the route runs, and how apps answer it."""

from __future__ import annotations

import asyncio
import functools
import pickle

import pytest
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse

from rolecall import Deny, RolecallError, hookimpl
from rolecall.errors import ConfigurationError, InsufficientRole, MissingCredential
from rolecall_starlette import Refused, problem_handler, protect, require_role, require_token

PATH = "/rooms/{session_id}"
MODERATOR = require_role("moderator")


@pytest.fixture
def session(kit):
    return kit.create_session()


def app_of(kit, *routes, **options) -> Starlette:
    app = Starlette(routes=routes, **options)
    app.state.rolecall = kit
    return app


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def ask(app, path: str, token: str | None = None, method: str = "GET"):
    return TestClient(app, raise_server_exceptions=False).request(method, path, headers=bearer(token))


# -- whoever asks a guarded function ---------------------------------------------------------------


@MODERATOR
async def may_moderate(request):
    return True


@MODERATOR
def may_moderate_sync(request):
    return True


class Club:
    @MODERATOR
    async def is_accessible(self, request):
        return True


def a_helper_that_an_endpoint_asks(act):
    async def room(request):
        if await may_moderate(request):
            act()
        return PlainTextResponse("done")

    return Route(PATH, room)


def a_helper_that_an_endpoint_asks_for_nothing(act):
    async def room(request):
        await may_moderate(request)
        act()
        return PlainTextResponse("done")

    return Route(PATH, room)


def a_helper_that_a_function_asks(act):
    def room(request):
        if may_moderate_sync(request):
            act()
        return PlainTextResponse("done")

    return Route(PATH, room)


def a_helper_on_another_thread(act):
    async def room(request):
        if await run_in_threadpool(may_moderate_sync, request):
            act()
        return PlainTextResponse("done")

    return Route(PATH, room)


def a_method_of_a_class_of_the_apps(act):
    async def room(request):
        if await Club().is_accessible(request):
            act()
        return PlainTextResponse("done")

    return Route(PATH, room)


def a_method_that_another_method_asks(act):
    class Room(HTTPEndpoint):
        @MODERATOR
        async def post(self, request):
            return True

        async def get(self, request):
            if await self.post(request):
                act()
            return PlainTextResponse("done")

    return Route(PATH, Room)


def a_guarded_endpoint_that_another_endpoint_asks(act):
    @MODERATOR
    async def door(request):
        return PlainTextResponse("come in")

    async def room(request):
        if (await door(request)).body:
            act()
        return PlainTextResponse("done")

    return Mount("/", routes=[Route("/door", door), Route(PATH, room)])


def a_decorator_that_reads_truthiness(act):
    def asks_first(ask):
        def decorate(endpoint):
            async def room(request):
                if not await ask(request):
                    return PlainTextResponse("no", 403)
                return await endpoint(request)

            return room

        return decorate

    @asks_first(may_moderate)
    async def room(request):
        act()
        return PlainTextResponse("done")

    return Route(PATH, room)


def a_decorator_above_the_guard(act):
    def then_acts(endpoint):
        async def room(request):
            if await endpoint(request):
                act()
            return PlainTextResponse("done")

        return room

    return Route(PATH, then_acts(MODERATOR(functools.partial(an_endpoint, True))))


def a_decorator_above_the_guard_that_says_what_it_wraps(act):
    def then_acts(endpoint):
        @functools.wraps(endpoint)
        async def room(request):
            if await endpoint(request):
                act()
            return PlainTextResponse("done")

        return room

    return Route(PATH, then_acts(MODERATOR(functools.partial(an_endpoint, True))))


async def an_endpoint(answer, request):
    return answer


ASKERS = [
    a_helper_that_an_endpoint_asks,
    a_helper_that_an_endpoint_asks_for_nothing,
    a_helper_that_a_function_asks,
    a_helper_on_another_thread,
    a_method_of_a_class_of_the_apps,
    a_method_that_another_method_asks,
    a_guarded_endpoint_that_another_endpoint_asks,
    a_decorator_that_reads_truthiness,
    a_decorator_above_the_guard,
    a_decorator_above_the_guard_that_says_what_it_wraps,
]


@pytest.fixture(params=ASKERS, ids=lambda asker: asker.__name__)
def asked(request, kit):
    """An app whose endpoint acts once a guarded function has answered, and what it did."""
    acts = []
    return app_of(kit, request.param(lambda: acts.append("act"))), acts


def test_whoever_is_let_in_acts(asked, session):
    app, acts = asked
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token("moderator"))
    assert (response.text, acts) == ("done", ["act"])


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [(None, 401, "missing_token"), ("x.y.z", 401, "malformed_token"), ("publisher", 403, "insufficient_role")],
)
def test_whoever_is_refused_does_not_act(asked, session, token, status, code):
    app, acts = asked
    token = session.generate_token(token) if token == "publisher" else token
    response = ask(app, f"/rooms/{session.session_id}", token)
    assert (response.status_code, response.json()["code"], acts) == (status, code, [])
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["WWW-Authenticate"].startswith('Bearer realm="rolecall"')
    assert response.headers.get_list("Cache-Control") == ["no-store"]


def test_a_token_of_another_session_does_not_act(asked, kit, session):
    app, acts = asked
    response = ask(app, f"/rooms/{session.session_id}", kit.create_session().generate_token("moderator"))
    assert (response.status_code, acts) == (403, [])


def test_a_policy_that_denies_keeps_a_helper_from_answering(make_kit):
    class Policy:
        @hookimpl
        async def rolecall_vote_access(self, request):
            await asyncio.sleep(0)
            return Deny("not today")

    kit, acts = make_kit(plugins=[Policy()]), []
    app = app_of(kit, a_helper_that_a_function_asks(lambda: acts.append("act")))
    session = kit.create_session()
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token("moderator"))
    assert (response.status_code, response.json()["detail"], acts) == (403, "not today", [])


@pytest.mark.parametrize("token", [None, "x.y.z", "publisher", "moderator"])
def test_a_guarded_function_cannot_be_asked_on_the_event_loop(kit, session, token):
    """There it cannot wait for what is to be decided; and a coroutine would be taken for a yes."""
    acts = []

    async def room(request):
        if may_moderate_sync(request):
            acts.append("act")
        return PlainTextResponse("done")

    app = app_of(kit, Route(PATH, room))
    token = session.generate_token(token) if token in ("publisher", "moderator") else token
    with pytest.raises(ConfigurationError, match=r"guard of may_moderate_sync.*cannot wait.*make it an async def"):
        TestClient(app).get(f"/rooms/{session.session_id}", headers=bearer(token))
    assert acts == []


def test_options_reaches_no_helper(kit, session):
    acts = []
    route = a_helper_that_an_endpoint_asks(lambda: acts.append("act"))
    route.methods = {"GET", "OPTIONS"}
    response = ask(app_of(kit, route), f"/rooms/{session.session_id}", method="OPTIONS")
    assert (response.status_code, response.content, acts) == (204, b"", [])


def test_a_refusal_that_the_app_catches_says_what_it_is(kit, session):
    caught = []

    async def room(request):
        try:
            await may_moderate(request)
        except Refused as refusal:
            caught.append(refusal)
        return PlainTextResponse("for everybody")

    app = app_of(kit, Route(PATH, room))
    assert ask(app, f"/rooms/{session.session_id}").text == "for everybody"
    (refusal,) = caught
    assert (refusal.status_code, type(refusal.error)) == (401, MissingCredential)
    copy = pickle.loads(pickle.dumps(refusal))
    assert (copy.status_code, copy.detail, copy.headers) == (401, refusal.detail, refusal.headers)


# -- WebSockets ------------------------------------------------------------------------------------


def knock(app, path, token=None):
    with TestClient(app).websocket_connect(path, headers=bearer(token)) as websocket:
        return websocket.receive_text()


def a_socket_that_asks(kit, then):
    @MODERATOR
    async def admit(websocket):
        pass

    async def room(websocket):
        await admit(websocket)
        then()

    return app_of(kit, WebSocketRoute(PATH, room))


def test_whoever_is_refused_on_a_websocket_stops_the_endpoint_that_asked(kit, session):
    acts = []
    app = a_socket_that_asks(kit, lambda: acts.append("act"))
    with pytest.raises(WebSocketDenialResponse) as refusal:
        knock(app, f"/rooms/{session.session_id}")
    assert (refusal.value.status_code, refusal.value.json()["code"], acts) == (401, "missing_token", [])


def test_a_helper_that_leaves_the_rest_of_a_websocket_to_its_caller_is_a_mistake(kit, session):
    """Nobody would see there when the grant ends."""
    acts = []
    app = a_socket_that_asks(kit, lambda: acts.append("act"))
    with pytest.raises(ConfigurationError, match="the guard of admit does not see when the grant ends"):
        knock(app, f"/rooms/{session.session_id}", session.generate_token("moderator"))
    assert acts == []


def test_a_guarded_function_may_have_the_whole_of_a_websocket(kit, session):
    @MODERATOR
    async def board(websocket):
        await websocket.accept()
        await websocket.send_text("the board")
        await websocket.close()

    async def room(websocket):
        await board(websocket)

    app = app_of(kit, WebSocketRoute(PATH, room))
    assert knock(app, f"/rooms/{session.session_id}", session.generate_token("moderator")) == "the board"


# -- in an app's own style -------------------------------------------------------------------------


def in_my_style(request, error):
    return JSONResponse({"sorry": error.code}, error.status, {"X-Path": request.url.path})


async def in_my_style_async(request, error):
    await asyncio.sleep(0)
    return in_my_style(request, error)


class InMyStyle:
    async def __call__(self, request, error):
        return in_my_style(request, error)


HANDLERS = [in_my_style, in_my_style_async, InMyStyle(), functools.partial(in_my_style_async)]


async def home(request: FastAPIRequest):
    return PlainTextResponse("home")


def home_sync(request: FastAPIRequest):
    return PlainTextResponse("home")


async def asks(request: FastAPIRequest):
    return PlainTextResponse(str(await may_moderate(request)))


def on_an_endpoint(kit, **options):
    return app_of(kit, Route("/x", MODERATOR(home)), **options)


def on_a_function(kit, **options):
    return app_of(kit, Route("/x", MODERATOR(home_sync)), **options)


def in_a_helper(kit, **options):
    return app_of(kit, Route("/x", asks), **options)


def on_a_class(kit, **options):
    @MODERATOR
    class Home(HTTPEndpoint):
        async def get(self, request):
            return await home(request)

    return app_of(kit, Route("/x", Home), **options)


def on_a_route(kit, **options):
    return app_of(kit, MODERATOR(Route("/x", home)), **options)


def around_a_mount(kit, **options):
    return app_of(kit, MODERATOR(Mount("/", routes=[Route("/x", home)])), **options)


def around_the_app(kit, **options):
    return protect(app_of(kit, Route("/x", home), **options), MODERATOR)


def on_an_endpoint_of_fastapi(kit, **options):
    app = FastAPI(**options)
    app.state.rolecall = kit
    app.get("/x")(MODERATOR(home))
    return app


def in_a_helper_in_fastapi(kit, **options):
    app = FastAPI(**options)
    app.state.rolecall = kit
    app.get("/x")(asks)
    return app


PLACES = [on_an_endpoint, on_a_function, in_a_helper, on_a_class, on_a_route, around_a_mount, around_the_app]
FASTAPI = [on_an_endpoint_of_fastapi, in_a_helper_in_fastapi]


@pytest.mark.parametrize("place", [*PLACES, *FASTAPI], ids=lambda place: place.__name__)
@pytest.mark.parametrize("handler", HANDLERS, ids=["sync", "async", "object", "partial"])
def test_an_app_answers_errors_of_the_kit_in_its_own_style(kit, session, place, handler):
    app = place(kit, exception_handlers={RolecallError: handler})
    missing, role = ask(app, "/x"), ask(app, "/x", session.generate_token())
    assert (missing.status_code, missing.json(), missing.headers["X-Path"]) == (401, {"sorry": "missing_token"}, "/x")
    assert (role.status_code, role.json()) == (403, {"sorry": "insufficient_role"})
    assert ask(app, "/x", session.generate_token("moderator")).status_code == 200


@pytest.mark.parametrize("place", [*PLACES, *FASTAPI], ids=lambda place: place.__name__)
def test_the_handler_for_the_nearest_class_of_error_answers(kit, session, place):
    app = place(
        kit,
        exception_handlers={
            RolecallError: lambda request, error: PlainTextResponse("any", 400),
            InsufficientRole: lambda request, error: PlainTextResponse("role", 400),
        },
    )
    assert [ask(app, "/x", token).text for token in (None, session.generate_token())] == ["any", "role"]


@pytest.mark.parametrize("place", [*PLACES, on_an_endpoint_of_fastapi], ids=lambda place: place.__name__)
def test_a_handler_for_every_exception_answers_no_refusal(kit, place):
    """Such a one is for what nobody has thought of."""
    app = place(kit, exception_handlers={Exception: lambda request, error: PlainTextResponse("sorry", 500)})
    response = ask(app, "/x")
    assert (response.status_code, response.json()["code"]) == (401, "missing_token")


@pytest.mark.parametrize("key", [401, HTTPException])
def test_a_refusal_that_is_raised_is_an_http_error_like_others(kit, key):
    def handler(request, error):
        return PlainTextResponse(f"{error.status_code}: {error.detail}", error.status_code, error.headers)

    response = ask(in_a_helper(kit, exception_handlers={key: handler}), "/x")
    assert response.text == "401: this route needs a token: send 'Authorization: Bearer <token>'"
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="rolecall"'


def test_in_fastapi_a_refusal_that_is_raised_can_be_the_problem_document(kit):
    plain = ask(in_a_helper_in_fastapi(kit), "/x")
    assert (plain.status_code, list(plain.json())) == (401, ["detail"])
    documents = ask(in_a_helper_in_fastapi(kit, exception_handlers={Refused: problem_handler}), "/x")
    assert (documents.status_code, documents.json()["code"]) == (401, "missing_token")


def test_without_an_app_a_refusal_of_a_router_is_a_problem_document(kit):
    router = Router([Route("/x", require_token(kit=kit)(home))])
    response = ask(router, "/x")
    assert (response.status_code, response.json()["code"]) == (401, "missing_token")
