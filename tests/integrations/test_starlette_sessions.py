"""Which session a guard binds a connection to, and that it binds to none only where the app has said so."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import urlparse

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from rolecall import blocking, hookimpl
from rolecall.cli.apps import routes_of
from rolecall.errors import ConfigurationError
from rolecall_starlette import (
    current_grant,
    protect,
    require_capability,
    require_role,
    require_token,
    rolecall_app,
)

from ..untyped import untyped


@pytest.fixture
def session(kit):
    return kit.create_session()


@pytest.fixture
def other(kit):
    return kit.create_session()


def app_of(kit, *routes, **options) -> Starlette:
    for route in routes:
        inner = getattr(route, "app", None)
        if isinstance(inner, Starlette):
            inner.state.rolecall = kit
    return Starlette(routes=[*routes, Mount("/video", app=rolecall_app(kit))], **options)


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def ask(app, path: str, token: str | None = None, **headers):
    return TestClient(app, raise_server_exceptions=False).get(path, headers=bearer(token) | headers)


def get(app, path: str, token: str):
    """Like :func:`ask`, where the app raises."""
    return TestClient(app).get(path, headers=bearer(token))


def knock(app, path: str, token: str | None = None, **headers) -> int:
    """The status of the answer to a handshake: 101 for a WebSocket that was opened."""
    try:
        with TestClient(app).websocket_connect(path, headers=bearer(token) | headers):
            return 101
    except WebSocketDenialResponse as refusal:
        return refusal.status_code


def mistakes(app) -> list[str]:
    return [mistake.code for line in routes_of(app) for mistake in line.mistakes]


async def home(request):
    return PlainTextResponse(current_grant(request).session_id)


async def greet(websocket):
    await websocket.accept()
    await websocket.close()


# -- a route of which nobody has said which session it is about ------------------------------------

UNSAID = [
    lambda path: Route(path, require_token(home)),
    lambda path: Route(path, require_role("moderator")(home)),
    lambda path: Route(path, require_capability("publish")(home)),
    lambda path: require_token(Route(path, home)),
    lambda path: require_token(Mount(path, routes=[Route("/", home)])),
    lambda path: Mount(path, app=require_token(Router([Route("/", home)]))),
    lambda path: protect(Mount("/", routes=[Route(path, home)])),
    lambda path: Mount("/", app=protect(Router([Route(path, home)]))),
    lambda path: WebSocketRoute(path, require_token(greet)),
]


@pytest.mark.parametrize("make", UNSAID)
@pytest.mark.parametrize("name", ["sessionId", "room_id", "sid", "id", "session"])
def test_a_parameter_of_another_name_stops_the_app_until_it_is_said_what_it_names(kit, session, make, name):
    app = app_of(kit, make(f"/rooms/{{{name}}}/"))
    assert mistakes(app) == ["unsettled_session"]
    message = rf"parameter '{name}'.*say session_param='{name}' if it does, session=….*or session_param=None"
    reach = knock if isinstance(app.routes[0], WebSocketRoute) else get
    with pytest.raises(ConfigurationError, match=message):
        reach(app, f"/rooms/{session.session_id}/", session.generate_token())


def test_such_a_route_stops_the_routes_beside_it_too(kit, session):
    """The app is looked at when a guard, or the kit, first sees a request of it."""
    app = app_of(kit, Route("/rooms/{room}", require_token(home)), Route("/me", require_token(home)))
    assert ask(app, "/video/sessions/x", session.generate_token()).status_code == 500
    assert ask(app, "/me", session.generate_token()).status_code == 500


@pytest.mark.parametrize(
    ("guard", "path", "statuses"),
    [
        (require_token(session_param="sessionId"), "/rooms/{sessionId}", (200, 403)),
        (require_role("publisher", session_param="room_id"), "/schools/{school}/rooms/{room_id}", (200, 403)),
        (require_capability("signal", session_param="call"), "/calls/{call:path}", (200, 403)),
        (require_token(session_param=None), "/rooms/{room_id}", (200, 200)),
        (require_token, "/schools/{school}/rooms/{session_id}", (200, 403)),
        (require_token, "/me", (200, 200)),
    ],
)
def test_what_is_said_is_what_is_bound(kit, session, other, guard, path, statuses):
    app = app_of(kit, Route(path, guard(home)), WebSocketRoute("/live" + path, guard(greet)))
    assert mistakes(app) == []
    asked = re.sub(r"\{(sessionId|room_id|session_id|call:path)\}", session.session_id, path)
    asked = asked.replace("{school}", other.session_id)
    tokens = session.generate_token(), other.generate_token()
    assert tuple(ask(app, asked, token).status_code for token in tokens) == statuses
    sockets = tuple({200: 101}.get(status, status) for status in statuses)
    assert tuple(knock(app, "/live" + asked, token) for token in tokens) == sockets


def test_one_of_several_guards_may_say_it_for_all(kit, session, other):
    endpoint = require_token(require_role("publisher", session_param="room")(home))
    app = app_of(kit, Route("/rooms/{room}", endpoint), protect(Mount("/tree", routes=[Route("/{room}", endpoint)])))
    assert mistakes(app) == []
    for path in (f"/rooms/{session.session_id}", f"/tree/{session.session_id}"):
        assert [ask(app, path, one.generate_token()).status_code for one in (session, other)] == [200, 403]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"session_param": 7},
            r"session_param is 7; expected the name of a path parameter, such as 'room_id', or None",
        ),
        ({"session_param": True}, "session_param is True"),
        ({"session_param": ""}, "session_param is ''"),
        ({"session_param": "{room}"}, r"session_param is '\{room\}'"),
        ({"session_param": b"room"}, "session_param is a value of type bytes"),
        ({"session_param": home}, "session_param is a value of type function"),
        ({"session": "room"}, "session is 'room'; expected a function from the request to the session's id"),
        ({"session": 7}, "session is 7; expected a function"),
        ({"session": lambda: ""}, "session is a function that does not take one argument"),
        ({"session": lambda one, two: ""}, "session is a function that does not take one argument"),
        ({"session": home, "session_param": "room"}, "takes session_param or session, not both"),
        ({"session": home, "session_param": None}, "takes session_param or session, not both"),
        ({"kit": "123456"}, r"kit is '123456'; expected a Rolecall"),
        ({"prefixes": "/rooms"}, "prefixes, methods and public are lists"),
        ({"prefixes": ["/rooms/{room}"]}, r"prefix '/rooms/\{room\}' has the path parameter 'room'"),
        ({"prefixes": ["/rooms/{room}"], "session_param": "call"}, r"by 'call', which is no part of '/rooms/\{room\}'"),
        ({"prefixes": ["rooms"]}, "rooms"),
    ],
)
@pytest.mark.parametrize("make", [require_token, lambda **arguments: require_role("moderator", **arguments)])
def test_what_cannot_be_meant_is_refused_where_the_guard_is_made(make, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        make(**arguments)


# -- a function that finds the session -------------------------------------------------------------


class Rooms:
    """An app's own rooms, by its own ids, and which of them were looked for."""

    def __init__(self) -> None:
        self.sessions: dict[Any, Any] = {}
        self.asked: list[Any] = []

    def find(self, connection):
        room = connection.path_params.get("room") or connection.query_params.get("room")
        self.asked.append(room)
        return self.sessions.get(room)


@pytest.fixture
def rooms(session):
    rooms = Rooms()
    rooms.sessions["7"] = session.session_id
    return rooms


def a_function(rooms):
    def find(connection):
        return rooms.find(connection)

    return find


def a_coroutine_function(rooms):
    async def find(connection):
        await asyncio.sleep(0)
        return rooms.find(connection)

    return find


def a_lambda(rooms):
    return lambda connection: rooms.find(connection)


def a_lambda_around_a_coroutine(rooms):
    find = a_coroutine_function(rooms)
    return lambda connection: find(connection)


def a_method(rooms):
    return rooms.find


def a_blocking_function(rooms):
    return blocking(lambda connection: rooms.find(connection))


@pytest.fixture(
    params=[a_function, a_coroutine_function, a_lambda, a_lambda_around_a_coroutine, a_method, a_blocking_function],
    ids=lambda make: make.__name__,
)
def by_room(request, rooms):
    return require_token(session=request.param(rooms))


def on_a_coroutine(guard, path):
    return Route(path, guard(home))


def on_a_function(guard, path):
    @guard
    def room(request):
        return PlainTextResponse(current_grant(request).session_id)

    return Route(path, room)


def on_a_class(guard, path):
    @guard
    class Room(HTTPEndpoint):
        async def get(self, request):
            return await home(request)

    return Route(path, Room)


def on_a_route(guard, path):
    return guard(Route(path, home))


def around_a_mount(guard, path):
    return guard(Mount("/", routes=[Route(path, home)]))


def around_an_app(guard, path):
    return Mount("/", app=guard(Starlette(routes=[Route(path, home)])))


PLACES = [on_a_coroutine, on_a_function, on_a_class, on_a_route, around_a_mount, around_an_app]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_the_session_is_the_one_that_the_function_finds(kit, session, other, rooms, by_room, place):
    app = app_of(kit, place(by_room, "/rooms/{room}"))
    assert mistakes(app) == []
    assert ask(app, "/rooms/7", session.generate_token()).text == session.session_id
    wrong, nowhere = ask(app, "/rooms/7", other.generate_token()), ask(app, "/rooms/8", session.generate_token())
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_session")
    assert (nowhere.status_code, nowhere.json()["code"]) == (403, "wrong_session")
    assert nowhere.json()["detail"] == "the request is about no session, so no token is for it"


def test_the_session_may_come_in_the_query(kit, session, other, by_room):
    app = app_of(kit, Route("/board", by_room(home)))
    assert [ask(app, "/board?room=7", one.generate_token()).status_code for one in (session, other)] == [200, 403]
    assert ask(app, "/board", session.generate_token()).status_code == 403


@pytest.mark.parametrize(
    "make",
    [
        lambda guard: WebSocketRoute("/rooms/{room}", guard(greet)),
        lambda guard: guard(WebSocketRoute("/rooms/{room}", greet)),
        lambda guard: guard(Mount("/rooms/{room}", routes=[WebSocketRoute("/", greet)])),
    ],
)
def test_it_finds_the_session_of_a_websocket(kit, session, other, rooms, by_room, make):
    app = app_of(kit, make(by_room))
    path = "/rooms/7/" if isinstance(app.routes[0], Mount) else "/rooms/7"
    assert [knock(app, path, one.generate_token()) for one in (session, other)] == [101, 403]
    assert knock(app, path.replace("7", "8"), session.generate_token()) == 403


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_it_is_not_called_before_the_token_is_good(kit, session, rooms, place):
    """Otherwise who has no token could learn which rooms there are."""
    app = app_of(kit, place(require_role("moderator", session=rooms.find), "/rooms/{room}"))
    app.router.routes.append(WebSocketRoute("/live/{room}", require_role("moderator", session=rooms.find)(greet)))
    for token in (None, "x.y.z", session.generate_token("publisher")):
        assert ask(app, "/rooms/7", token).status_code in {401, 403}
        assert knock(app, "/live/7", token) in {401, 403}
    ended = session.generate_token("moderator")
    session.end()
    assert ask(app, "/rooms/7", ended).status_code == 401
    assert rooms.asked == []


@pytest.mark.parametrize("handled", [False, True])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_an_http_error_of_it_is_the_answer(kit, session, place, handled):
    async def find(connection):
        raise HTTPException(404, "no such room", {"X-Room": "none"})

    def not_found(request, error):
        return JSONResponse({"lost": error.detail}, error.status_code, error.headers)

    app = app_of(kit, place(require_token(session=find), "/rooms/{room}"))
    for one in (app, untyped(app.routes[0]).app) if handled else ():
        if isinstance(one, Starlette):
            one.add_exception_handler(404, not_found)
    response = ask(app, "/rooms/7", session.generate_token())
    assert (response.status_code, response.headers["X-Room"]) == (404, "none")
    assert response.text == ('{"lost":"no such room"}' if handled else "no such room")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("around", [False, True])
def test_an_http_error_of_it_is_the_answer_around_a_whole_app(kit, session, around):
    async def find(connection):
        raise HTTPException(404, "no such room")

    guard = require_token(session=find, kit=kit)
    app = app_of(kit, Route("/rooms/{room}", home), WebSocketRoute("/live/{room}", greet))
    app = guard(lambda_app(app)) if around else protect(app, guard)
    assert ask(app, "/rooms/7", session.generate_token()).text == "no such room"
    assert knock(app, "/live/7", session.generate_token()) == 404


def lambda_app(app):
    """An app whose framework is not to be seen."""

    class Opaque:
        async def __call__(self, scope, receive, send):
            await app(scope, receive, send)

    return Opaque()


@pytest.mark.parametrize(
    "make",
    [
        lambda guard: WebSocketRoute("/rooms/{room}", guard(greet)),
        lambda guard: guard(WebSocketRoute("/rooms/{room}", greet)),
    ],
)
def test_an_http_error_of_it_is_the_answer_to_a_handshake(kit, session, make):
    def find(connection):
        raise HTTPException(404, "no such room")

    app = app_of(kit, make(require_token(session=find)))
    assert knock(app, "/rooms/7", session.generate_token()) == 404


def test_an_http_error_of_the_endpoint_is_its_own(kit, session, rooms):
    async def room(websocket):
        raise HTTPException(410, "gone")

    app = app_of(kit, WebSocketRoute("/rooms/{room}", require_token(session=rooms.find)(room)))
    assert knock(app, "/rooms/7", session.generate_token()) == 410


def test_where_a_server_takes_no_answer_to_a_handshake_the_close_code_says_it(kit, session):
    def find(connection):
        raise HTTPException(404, "no such room")

    guarded = require_token(session=find, kit=kit)(Starlette(routes=[WebSocketRoute("/rooms/{room}", greet)]))
    sent = handshake(guarded, "/rooms/7", session.generate_token(), extensions={})
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 4404)]


def test_it_may_take_as_long_as_hooks_may(make_kit):
    async def find(connection):
        await asyncio.Event().wait()

    kit = make_kit(hook_timeout=0.05)
    guard = require_token(session=find)
    app = app_of(kit, Route("/rooms/{room}", guard(home)), WebSocketRoute("/live/{room}", guard(greet)))
    token = kit.create_session().generate_token()
    assert ask(app, "/rooms/7", token).status_code == 503
    assert knock(app, "/live/7", token) == 503


@pytest.mark.parametrize("found", [7, b"x", True, ["x"], object()])
def test_what_is_no_session_id_lets_nobody_in(kit, session, found, caplog):
    app = app_of(kit, Route("/rooms/{room}", require_token(session=lambda connection: found)(home)))
    response = ask(app, "/rooms/7", session.generate_token())
    assert (response.status_code, "session function" in response.text) == (503, False)
    assert "the guard's session function failed: it returned" in caplog.text


def test_what_it_raises_lets_nobody_in(kit, session):
    def find(connection):
        raise LookupError("room 7")

    app = app_of(kit, Route("/rooms/{room}", require_token(session=find)(home)))
    with pytest.raises(LookupError, match="room 7"):
        TestClient(app).get("/rooms/7", headers=bearer(session.generate_token()))


def test_it_is_given_the_connection_of_the_framework(kit, session):
    kinds = []

    def find(connection):
        kinds.append(type(connection))
        return session.session_id

    guard = require_token(session=find)
    app = app_of(
        kit,
        Route("/a", guard(home)),
        WebSocketRoute("/b", guard(greet)),
        guard(Mount("/c", routes=[Route("/", home)])),
    )
    token = session.generate_token()
    assert (ask(app, "/a", token).status_code, knock(app, "/b", token), ask(app, "/c/", token).status_code) == (
        200,
        101,
        200,
    )
    assert kinds[0] is Request
    assert all(issubclass(kind, HTTPConnection) for kind in kinds)


def test_policies_see_the_session_that_it_finds(make_kit):
    seen = []

    class Policy:
        @hookimpl
        def rolecall_vote_access(self, request):
            seen.append(request.session_id)

    kit = make_kit(plugins=[Policy()])
    session = kit.create_session()
    app = app_of(kit, Route("/rooms/{room}", require_token(session=lambda _: session.session_id)(home)))
    assert ask(app, "/rooms/7", session.generate_token()).status_code == 200
    assert seen == [session.session_id]


# -- apps whose routes are not Starlette's ---------------------------------------------------------


class Own:
    """An app of another framework, which finds the room in the path by itself, and who was in which."""

    def __init__(self) -> None:
        self.runs: list[Any] = []

    def _room(self, scope):
        match = re.fullmatch(r"(?:/app)?/rooms/([^/]+)(?:/.*)?", scope["path"])
        return match and match[1]

    async def __call__(self, scope, receive, send):
        self.runs.append(self._room(scope))
        if scope["type"] == "websocket":
            await greet(WebSocket(scope, receive, send))
        else:
            await PlainTextResponse("in")(scope, receive, send)


class LikeQuart(Own):
    """Has the app's routes in a map, as Quart has."""

    def __init__(self) -> None:
        super().__init__()
        self.url_map = {"/rooms/<room>": "room"}


class LikeLitestar(Own):
    """Has ``routes`` that are none of Starlette's, as Litestar has, and puts what it finds into the scope."""

    def __init__(self) -> None:
        super().__init__()
        self.routes = [type("HTTPRoute", (), {"path": "/rooms/{room:str}"})()]

    async def __call__(self, scope, receive, send):
        scope["path_params"] = {"room": self._room(scope)}
        scope["route_handler"] = object()
        await super().__call__(scope, receive, send)


def a_function_of(own):
    async def app(scope, receive, send):
        await own(scope, receive, send)

    return app


APPS = [Own, LikeQuart, LikeLitestar]


@pytest.fixture(params=APPS, ids=lambda kind: kind.__name__)
def own(request):
    return request.param()


@pytest.mark.parametrize("wrapped", [lambda own: own, a_function_of])
def test_around_an_app_of_another_framework_it_must_be_said(kit, session, own, wrapped):
    guarded = require_token(kit=kit)(wrapped(own))
    message = r"does not see its path parameters.*prefixes=\['/rooms/\{session_id\}'\].*session=….*session_param=None"
    with pytest.raises(ConfigurationError, match=message):
        TestClient(guarded).get("/rooms/7", headers=bearer(session.generate_token()))
    assert own.runs == []


@pytest.mark.parametrize("make", [lambda own: require_token(Mount("/app", app=own)), lambda own: Mount("/app", own)])
def test_in_a_guarded_app_too_and_the_check_says_so(kit, session, own, make):
    app = protect(app_of(kit, make(own)))
    assert set(mistakes(app)) == {"unsettled_session"}
    with pytest.raises(ConfigurationError, match="does not see its path parameters"):
        TestClient(app).get("/app/rooms/7", headers=bearer(session.generate_token()))
    assert own.runs == []


def alone(own, kit):
    return require_token(kit=kit, prefixes=["/rooms/{session_id}", "/staff"])(own), ""


def in_a_mount(own, kit):
    guard = require_token(prefixes=["/rooms/{session_id}", "/staff"])
    return app_of(kit, Mount("/app", app=guard(own))), "/app"


def in_a_guarded_app(own, kit):
    return protect(in_a_mount(own, kit)[0]), "/app"


@pytest.mark.parametrize("place", [alone, in_a_mount, in_a_guarded_app])
def test_prefixes_bind_the_session(kit, session, other, own, place):
    app, root = place(own, kit)
    mine, theirs = session.generate_token(), other.generate_token()
    for path in (f"{root}/rooms/{session.session_id}", f"{root}/rooms/{session.session_id}/board"):
        assert [ask(app, path, token).status_code for token in (None, theirs, mine)] == [401, 403, 200]
        assert [knock(app, path, token) for token in (None, theirs, mine)] == [401, 403, 101]
    assert set(own.runs) == {session.session_id}
    assert [ask(app, f"{root}/staff/board", token).status_code for token in (None, theirs)] == [401, 200]


def test_what_no_prefix_names_is_open_and_listed(kit, own):
    app, _ = alone(own, kit)
    assert ask(app, "/elsewhere").status_code == 200
    assert {line.path: line.requires for line in routes_of(app)} == {
        "/rooms/{session_id}/…": "token of {session_id}",
        "/staff/…": "token",
        "/…": "OPEN (unknown inside)",
    }


@pytest.mark.parametrize("wrapped", [lambda own: own, a_function_of])
def test_what_no_prefix_names_is_no_mistake_where_another_guard_is_around(kit, own, wrapped):
    guard = require_token(kit=kit, prefixes=["/rooms/{session_id}"])
    app = app_of(kit, Mount("/app", app=require_token(session_param=None)(guard(wrapped(own)))))
    assert mistakes(app) == []
    assert [ask(app, path).status_code for path in ("/app/rooms/7", "/app/elsewhere")] == [401, 401]


def test_prefixes_may_name_the_session_otherwise(kit, session, other, own):
    guarded = require_token(kit=kit, prefixes=["/rooms/{room}"], session_param="room")(own)
    statuses = [
        ask(guarded, f"/rooms/{session.session_id}", one.generate_token()).status_code for one in (session, other)
    ]
    assert statuses == [200, 403]


def test_a_function_finds_the_session_of_an_app_of_another_framework(kit, session, other, own):
    def find(connection):
        return session.session_id if connection.url.path == "/rooms/7" else None

    guarded = require_token(kit=kit, session=find)(own)
    assert [ask(guarded, "/rooms/7", one.generate_token()).status_code for one in (session, other)] == [200, 403]
    assert ask(guarded, "/rooms/8", session.generate_token()).status_code == 403
    assert [knock(guarded, "/rooms/7", one.generate_token()) for one in (session, other)] == [101, 403]


def test_such_an_app_may_take_a_token_for_any_session(kit, session, own):
    guarded = require_token(kit=kit, session_param=None)(own)
    assert [ask(guarded, "/rooms/7", token).status_code for token in (None, session.generate_token())] == [401, 200]
    assert mistakes(guarded) == []


def test_a_path_parameter_around_such_an_app_binds_it(kit, session, other, own):
    app = app_of(kit, require_token(Mount("/in/{session_id}", app=own)))
    path = f"/in/{session.session_id}/x"
    assert mistakes(app) == []
    assert [ask(app, path, one.generate_token()).status_code for one in (session, other)] == [200, 403]


def test_files_are_about_no_session(kit, session, tmp_path):
    (tmp_path / "page.txt").write_text("page")
    app = app_of(kit, protect(Mount("/files", app=StaticFiles(directory=tmp_path))))
    assert mistakes(app) == []
    assert [ask(app, "/files/page.txt", token).status_code for token in (None, session.generate_token())] == [401, 200]


@pytest.mark.parametrize(
    "target", [lambda: Starlette(), lambda: Route("/x", home), lambda: Mount("/x", routes=[]), lambda: "x"]
)
def test_prefixes_are_not_for_what_a_guard_sees_by_itself(kit, target):
    with pytest.raises(ConfigurationError, match="prefixes are for an app whose routes a guard does not see"):
        require_token(kit=kit, prefixes=["/rooms/{session_id}"])(target())


# -- paths that can be read in two ways ------------------------------------------------------------

CROOKED = [
    "/staff;x=1",
    "/staff;/board",
    "/;x/staff",
    "/staff?x",
    "/staff#x",
    "/./staff",
    "/elsewhere/../staff",
    "//staff",
    "/staff\x00",
    "/%73taff",
    "\\staff",
    "/rooms/{mine}/../{theirs}/kick",
    "/rooms/{mine}/..;/{theirs}/kick",
    "/rooms;x/{theirs}",
    "/rooms/{theirs};x",
    "a:/staff",
    "http:/rooms/{theirs}",
    "x/rooms/{theirs}",
    "\ufeff/staff",
    "/staff\xa0",
    "/staff\u2028",
]


def call(app, path, token=None, kind="http", extensions=None, root=""):
    """What an app sends for a path that no client library, and no server, has tidied up."""
    sent: list[Any] = []
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    scope = {
        "type": kind,
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": root,
        "query_string": b"",
        "headers": headers,
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}} if extensions is None else extensions,
    }
    if kind == "websocket":
        del scope["method"]
    inbox.put_nowait({"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request"})

    async def send(message):
        sent.append(message)
        inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})

    asyncio.run(app(scope, inbox.get, send))
    return sent


def handshake(app, path, token=None, extensions=None, root=""):
    return call(app, path, token, "websocket", extensions, root)


@pytest.mark.parametrize("path", CROOKED, ids=ascii)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_path_that_can_be_read_in_two_ways_is_400_where_one_of_them_is_guarded(kit, session, other, path, kind):
    own = Own()
    guarded = require_token(kit=kit, prefixes=["/rooms/{session_id}", "/staff"])(own)
    path = path.replace("{mine}", session.session_id).replace("{theirs}", other.session_id)
    for token in (None, session.generate_token("moderator")):
        first, *rest = call(guarded, path, token, kind)
        assert first["status"] == 400
        assert json.loads(rest[0]["body"])["code"] == "invalid_request"
    assert own.runs == []


def test_without_the_extension_such_a_handshake_is_closed(kit):
    guarded = require_token(kit=kit, prefixes=["/staff"])(Own())
    (closed,) = handshake(guarded, "/staff;x", extensions={})
    assert (closed["type"], closed["code"]) == ("websocket.close", 4400)


def test_what_is_odd_elsewhere_is_left_to_the_app(kit):
    own = Own()
    guarded = require_token(kit=kit, prefixes=["/staff"])(own)
    for path in ("/files;v=2", "/files?x", "/files/a b"):
        assert call(guarded, path)[0]["status"] == 200


class ReadsLikeQuart(Own):
    """Takes the root path off without looking for a slash, and a scheme before that."""

    def _room(self, scope):
        path = scope["path"] if scope["path"].startswith("/") else urlparse(scope["path"]).path
        match = re.fullmatch("/?rooms/([^/]+)", path.removeprefix(scope["root_path"]))
        return match and match[1]


class ReadsLikeLitestar(Own):
    """Takes off all that is before the root path, too."""

    def _room(self, scope):
        root = scope["root_path"]
        path = scope["path"].split(root, maxsplit=1)[-1] if root else scope["path"]
        match = re.fullmatch("/?rooms/([^/]+)", path)
        return match and match[1]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("own", "root", "path"),
    [
        (ReadsLikeQuart, "/api", "/api/rooms/{id}"),
        (ReadsLikeQuart, "/api", "/apirooms/{id}"),
        (ReadsLikeQuart, "", "a:/rooms/{id}"),
        (ReadsLikeQuart, "/api", "a:/api/rooms/{id}"),
        (ReadsLikeLitestar, "/api", "/api/rooms/{id}"),
        (ReadsLikeLitestar, "/api", "/x/api/rooms/{id}"),
        (ReadsLikeLitestar, "/api/", "/api/rooms/{id}"),
    ],
)
def test_however_an_app_takes_the_root_path_off_it_serves_no_room_without_its_token(
    kit, session, other, own, root, path, kind
):
    own = own()
    guarded = require_token(kit=kit, prefixes=["/rooms/{session_id}"])(own)
    path = path.format(id=session.session_id)
    for token in (None, other.generate_token("moderator")):
        assert call(guarded, path, token, kind, root=root)[0]["status"] in (400, 401, 403)
    assert own.runs == []
    call(guarded, path, session.generate_token(), kind, root=root)
    assert set(own.runs) <= {session.session_id}


# -- Django Channels -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def channels():
    """Channels' routing, and a consumer that accepts."""
    from django.conf import settings

    if not settings.configured:
        settings.configure(SECRET_KEY="x" * 50, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, LOGGING_CONFIG=None)
    from channels import routing
    from channels.generic.websocket import AsyncWebsocketConsumer

    class Chat(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
            await self.close()

    routing.Chat = Chat
    return routing


urlpatterns: list[Any] = []


def guard_on_the_consumer(channels, guard, route):
    return channels.URLRouter([route(guard(channels.Chat.as_asgi()))])


def guard_around_the_router(channels, guard, route):
    return guard(channels.URLRouter([route(channels.Chat.as_asgi())]))


def guard_around_a_router_of_routers(channels, guard, route):
    from django.urls import path

    return guard(channels.URLRouter([path("", channels.URLRouter([route(channels.Chat.as_asgi())]))]))


CHANNELS = [guard_on_the_consumer, guard_around_the_router, guard_around_a_router_of_routers]


def route_of(name):
    from django.urls import path

    return lambda app: path(f"rooms/<{name}>/", app)


def regex_route_of(name):
    from django.urls import re_path

    return lambda app: re_path(rf"^rooms/(?P<{name}>[^/]+)/$", app)


@pytest.mark.parametrize("place", CHANNELS, ids=lambda place: place.__name__)
@pytest.mark.parametrize("route", [route_of, regex_route_of])
@pytest.mark.parametrize("name", ["session_id", "room"])
def test_a_consumer_of_channels_is_bound_to_the_session_of_its_route(channels, kit, session, other, place, route, name):
    guard = require_token(kit=kit) if name == "session_id" else require_token(kit=kit, session_param=name)
    app = channels.ProtocolTypeRouter({"websocket": place(channels, guard, route(name))})
    path = f"/rooms/{session.session_id}/"
    answers = [handshake(app, path, token)[0] for token in (None, other.generate_token(), session.generate_token())]
    assert [answer.get("status") for answer in answers] == [401, 403, None]
    assert answers[-1]["type"] == "websocket.accept"


@pytest.mark.parametrize("place", CHANNELS, ids=lambda place: place.__name__)
def test_a_route_of_channels_whose_parameter_nobody_has_spoken_of_opens_nothing(channels, kit, session, place):
    app = place(channels, require_token(kit=kit), route_of("room"))
    with pytest.raises(ConfigurationError, match=r"parameter 'room'.*session_param='room'"):
        handshake(app, f"/rooms/{session.session_id}/", session.generate_token())


@pytest.mark.parametrize("place", CHANNELS, ids=lambda place: place.__name__)
def test_a_route_of_channels_whose_groups_have_no_names_opens_nothing(channels, kit, session, place):
    from django.urls import re_path

    app = place(channels, require_token(kit=kit), lambda app: re_path(r"^rooms/([^/]+)/$", app))
    with pytest.raises(ConfigurationError, match="path parameter"):
        handshake(app, f"/rooms/{session.session_id}/", session.generate_token())


@pytest.mark.parametrize("place", CHANNELS, ids=lambda place: place.__name__)
def test_a_route_of_channels_without_parameters_takes_a_token_for_any_session(channels, kit, session, place):
    from django.urls import path

    app = place(channels, require_token(kit=kit), lambda app: path("lobby/", app))
    answers = [handshake(app, "/lobby/", token)[0] for token in (None, session.generate_token())]
    assert [answer.get("status") for answer in answers] == [401, None]


def routes_with_a_nested_router(channels, app):
    from django.urls import path

    return [path("x/", channels.URLRouter([path("<session_id>/", app)]))]


def routes_of_which_the_first_leads_nowhere(channels, app):
    from django.urls import path, re_path

    return [
        path("rooms/", channels.URLRouter([path("lobby/", app)])),
        re_path(r"^rooms/(?P<session_id>[^/]+)/", app),
    ]


def routes_of_which_the_first_names_another_session(channels, app):
    from django.urls import path

    return [path("<session_id>/", channels.URLRouter([path("lobby/", app)])), path("<who>/<session_id>/", app)]


def one_route(channels, app):
    return [route_of("session_id")(app)]


@pytest.mark.parametrize(
    ("routes", "path", "root"),
    [
        (one_route, "/rooms/{mine}/", ""),
        (one_route, "/api/rooms/{mine}/", "/api"),
        (one_route, "/apirooms/{mine}/", "/api"),
        (one_route, "//rooms/{mine}/", ""),
        (routes_with_a_nested_router, "/x/{mine}/", ""),
        (routes_with_a_nested_router, "/x//{mine}/", ""),
        (routes_of_which_the_first_leads_nowhere, "/rooms/{mine}/", ""),
        (routes_of_which_the_first_names_another_session, "/{other}/{mine}/", ""),
    ],
)
def test_a_connection_is_bound_to_the_session_that_channels_finds(channels, kit, session, other, routes, path, root):
    guarded = require_token(kit=kit)(channels.URLRouter(routes(channels, channels.Chat.as_asgi())))
    path = path.format(mine=session.session_id, other=other.session_id)
    tokens = (None, other.generate_token("moderator"), session.generate_token())
    answers = [handshake(guarded, path, token, root=root)[0] for token in tokens]
    assert [answer.get("status") for answer in answers] == [401, 403, None]
    assert answers[-1]["type"] == "websocket.accept"


def test_a_connection_is_bound_to_the_session_that_a_route_of_channels_names_by_itself(channels, kit, session, other):
    from django.urls import path

    route = path("main/", channels.Chat.as_asgi(), {"session_id": session.session_id})
    guarded = require_token(kit=kit)(channels.URLRouter([route]))
    answers = [handshake(guarded, "/main/", one.generate_token())[0] for one in (other, session)]
    assert [answer.get("status") for answer in answers] == [403, None]


def test_a_guard_leaves_the_router_of_channels_that_it_was_put_around_as_it_was(channels, kit, session):
    router = channels.URLRouter([route_of("session_id")(channels.Chat.as_asgi())])
    require_token(kit=kit)(router)
    assert handshake(router, f"/rooms/{session.session_id}/")[0]["type"] == "websocket.accept"


# -- apps that are mounted later -------------------------------------------------------------------


@pytest.mark.parametrize("is_late", [False, True])
def test_an_app_of_another_framework_that_is_mounted_later_opens_nothing(kit, session, own, is_late):
    app = protect(app_of(kit))
    token = session.generate_token()
    if is_late:
        assert ask(app, "/nowhere", token).status_code == 404
    app.mount("/app", own)
    with pytest.raises(ConfigurationError, match="does not see its path parameters"):
        get(app, "/app/rooms/7", token)
    assert own.runs == []


def test_an_app_that_is_mounted_later_with_a_guard_of_its_own_is_bound_by_that(kit, session, other, own):
    app = protect(app_of(kit))
    ask(app, "/nowhere", session.generate_token())
    app.mount("/app", require_token(prefixes=["/rooms/{session_id}"])(own))
    path = f"/app/rooms/{session.session_id}"
    assert [ask(app, path, one.generate_token()).status_code for one in (session, other)] == [200, 403]
