"""Guards in a Starlette app: who gets in, in every way that Starlette lets an endpoint be written, and who never."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import logging
import threading
import types
import uuid
import weakref
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from rolecall import Allow, Deny, Grant, Role, Rolecall, Web, hookimpl
from rolecall.errors import ConfigurationError
from rolecall.hookspecs import blocking
from rolecall.policies import AllowAnyone
from rolecall.stores.memory import MemoryStore
from rolecall_starlette import (
    current_grant,
    find_grant,
    protect,
    public,
    require_capability,
    require_role,
    require_token,
    rolecall_app,
    rolecall_routes,
)

from ..untyped import untyped

OTHER_KEY, OTHER_SECRET = "654321", "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789"

PATH = "/rooms/{session_id}"
#: OPTIONS is among them: not even an endpoint that lists it is run by it.
METHODS = ["GET", "POST", "OPTIONS"]


@pytest.fixture
def session(kit):
    return kit.create_session()


def app_of(kit, *routes, **options) -> Starlette:
    return Starlette(routes=[*routes, Mount("/video", app=rolecall_app(kit))], **options)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask(app, path: str, token: str | None = None, method: str = "GET", **options):
    headers = (bearer(token) if token else {}) | options.pop("headers", {})
    client = TestClient(app, raise_server_exceptions=False, follow_redirects=False)
    return client.request(method, path, headers=headers, **options)


async def role_of_the_grant(request):
    return PlainTextResponse(str(current_grant(request).role))


async def home(request):
    """For routes without a guard of their own."""
    return PlainTextResponse("home")


# -- every way to write an endpoint ----------------------------------------------------------------


def on_a_coroutine(guard, view):
    @guard
    async def room(request):
        await asyncio.sleep(0)
        return view(request)

    return Route(PATH, room, methods=METHODS)


def on_a_function(guard, view):
    @guard
    def room(request):
        return view(request)

    return Route(PATH, room, methods=METHODS)


def on_methods(guard, view):
    class Room(HTTPEndpoint):
        @guard
        async def get(self, request):
            return view(request)

        @guard
        def post(self, request):
            return view(request)

        @guard
        def options(self, request):
            return view(request)

    return Route(PATH, Room)


def on_an_endpoint_class(guard, view):
    @guard
    class Room(HTTPEndpoint):
        async def get(self, request):
            return view(request)

        def post(self, request):
            return view(request)

        options = post

    return Route(PATH, Room)


def on_the_base_of_an_endpoint_class(guard, view):
    @guard
    class Base(HTTPEndpoint):
        pass

    class Room(Base):
        async def get(self, request):
            return view(request)

        post = options = get

    return Route(PATH, Room)


def on_the_base_of_a_class_that_dispatches_by_itself(guard, view):
    @guard
    class Base(HTTPEndpoint):
        pass

    class Room(Base):
        async def dispatch(self):
            response = view(Request(self.scope))
            await response(self.scope, self.receive, self.send)

    return Route(PATH, Room)


def on_a_mixin_of_an_endpoint_class(guard, view):
    @guard
    class Guarded(HTTPEndpoint):
        pass

    class Plain(HTTPEndpoint):
        async def get(self, request):
            return view(request)

        post = options = get

    class Room(Plain, Guarded):
        pass

    return Route(PATH, Room)


def on_a_class_twice(guard, view):
    @require_token
    @guard
    class Room(HTTPEndpoint):
        async def get(self, request):
            return view(request)

        post = options = get

    return Route(PATH, Room)


def on_a_partial_of_a_coroutine(guard, view):
    async def room(answer, request):
        return answer(request)

    return Route(PATH, guard(functools.partial(room, view)), methods=METHODS)


def on_a_partial_of_a_function(guard, view):
    def room(request, answer):
        return answer(request)

    return Route(PATH, guard(functools.partial(room, answer=view)), methods=METHODS)


def in_a_partial(guard, view):
    @guard
    async def room(answer, request):
        return answer(request)

    return Route(PATH, functools.partial(room, view), methods=METHODS)


def on_a_bound_method(guard, view):
    class Rooms:
        async def room(self, request):
            return view(request)

    return Route(PATH, guard(Rooms().room), methods=METHODS)


class AnApp:
    """What Starlette runs that is no function: a pure ASGI app."""

    def __init__(self, view) -> None:
        self._view = view

    async def __call__(self, scope, receive, send):
        await self._view(HTTPConnection(scope))(scope, receive, send)


def on_a_callable_instance(guard, view):
    return Route(PATH, guard(AnApp(view)))


def on_a_partial_of_a_callable_instance(guard, view):
    return Route(PATH, guard(functools.partial(AnApp(view))))


def on_an_asgi_app_that_is_a_function(guard, view):
    @guard
    async def room(scope, receive, send):
        await view(HTTPConnection(scope))(scope, receive, send)

    return Mount(PATH, app=room)


def on_an_asgi_app_that_is_an_object(guard, view):
    return Mount(PATH, app=guard(AnApp(view)))


def room_of(view, path=""):
    async def room(request):
        return view(request)

    return Route(path or "/", room, methods=METHODS)


def on_a_route(guard, view):
    return guard(room_of(view, PATH))


def on_a_route_to_a_class(guard, view):
    class Room(HTTPEndpoint):
        async def get(self, request):
            return view(request)

        post = options = get

    return guard(Route(PATH, Room))


def on_a_mount_of_routes(guard, view):
    return guard(Mount(PATH, routes=[room_of(view)]))


def on_a_mount_of_an_app(guard, view):
    return guard(Mount(PATH, app=AnApp(view)))


def on_a_mount_of_a_starlette_app(guard, view):
    return guard(Mount(PATH, app=Starlette(routes=[room_of(view)])))


def on_a_mount_with_the_session_within(guard, view):
    return guard(Mount("/rooms", routes=[room_of(view, "/{session_id}/")]))


def on_a_mount_with_the_session_deep_within(guard, view):
    inner = Starlette(routes=[Mount("/{session_id}", routes=[room_of(view)])])
    return guard(Mount("/rooms", routes=[Mount("", app=inner)]))


def on_a_mount_of_a_mount(guard, view):
    return guard(Mount("/rooms", routes=[Mount("/{session_id}", routes=[room_of(view)])]))


def on_a_mount_within_a_mount(guard, view):
    return Mount("/rooms", routes=[guard(Mount("/{session_id}", routes=[room_of(view)]))])


def on_an_endpoint_within_a_mount_that_names_the_session(guard, view):
    @guard
    def room(request):
        return view(request)

    return Mount(PATH, routes=[Route("/", room, methods=METHODS)])


def on_a_mount_with_middleware(guard, view):
    allow = Middleware(CORSMiddleware, allow_origins=["https://app.example"])
    return guard(Mount(PATH, routes=[room_of(view)], middleware=[allow]))


def on_a_host(guard, view):
    return guard(Host("testserver", app=Router([room_of(view, PATH)])))


def on_a_router(guard, view):
    return Mount("/rooms", app=guard(Router([room_of(view, "/{session_id}/")])))


def within_another_guard(guard, view):
    @require_token
    @guard
    def room(request):
        return view(request)

    return Route(PATH, room, methods=METHODS)


def around_another_guard(guard, view):
    @guard
    @require_token()
    async def room(request):
        return view(request)

    return Route(PATH, room, methods=METHODS)


def below_another_decorator(guard, view):
    def timed(endpoint):
        @functools.wraps(endpoint)
        async def wrapper(*args, **kwargs):
            return await endpoint(*args, **kwargs)

        return wrapper

    @timed
    @guard
    async def room(request):
        return view(request)

    return Route(PATH, room, methods=METHODS)


WAYS = [
    on_a_coroutine,
    on_a_function,
    on_methods,
    on_an_endpoint_class,
    on_the_base_of_an_endpoint_class,
    on_the_base_of_a_class_that_dispatches_by_itself,
    on_a_mixin_of_an_endpoint_class,
    on_a_class_twice,
    on_a_partial_of_a_coroutine,
    on_a_partial_of_a_function,
    in_a_partial,
    on_a_bound_method,
    on_a_callable_instance,
    on_a_partial_of_a_callable_instance,
    on_an_asgi_app_that_is_a_function,
    on_an_asgi_app_that_is_an_object,
    on_a_route,
    on_a_route_to_a_class,
    on_a_mount_of_routes,
    on_a_mount_of_an_app,
    on_a_mount_of_a_starlette_app,
    on_a_mount_with_the_session_within,
    on_a_mount_with_the_session_deep_within,
    on_a_mount_of_a_mount,
    on_a_mount_within_a_mount,
    on_an_endpoint_within_a_mount_that_names_the_session,
    on_a_mount_with_middleware,
    on_a_host,
    on_a_router,
    within_another_guard,
    around_another_guard,
    below_another_decorator,
]


class Room:
    """An app with one guarded room, and how often the endpoint behind the guard ran."""

    def __init__(self, app, path: str, runs: list[str]) -> None:
        self.app = app
        self.path = path
        self.runs = runs

    def ask(self, session, token=None, method="GET", **options):
        return ask(self.app, self.path.format(session_id=session.session_id), token, method, **options)


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def room(request, kit):
    """A room that a guard for moderators stands before."""
    runs = []

    def view(connection):
        runs.append(str(current_grant(connection).role))
        assert connection.state.grant is current_grant(connection)
        return PlainTextResponse(runs[-1])

    route = request.param(require_role("moderator"), view)
    ends_with_a_slash = not (isinstance(route, Route | Host))
    return Room(app_of(kit, route), PATH + "/" if ends_with_a_slash else PATH, runs)


def test_the_role_gets_in(room, session):
    response = room.ask(session, session.generate_token("moderator"))
    assert (response.status_code, response.text, room.runs) == (200, "moderator", ["moderator"])
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.each_choice
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_nobody_gets_in_without_a_token(room, session, method):
    response = room.ask(session, method=method)
    assert (response.status_code, room.runs) == (401, [])
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="rolecall"'
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.each_choice
@pytest.mark.parametrize("role", ["subscriber", "publisher", "publisheronly"])
def test_a_lesser_role_does_not_get_in(room, session, role):
    response = room.ask(session, session.generate_token(role))
    assert (response.status_code, room.runs) == (403, [])
    assert response.headers["WWW-Authenticate"].endswith('scope="role:moderator"')


@pytest.mark.each_choice
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_token_of_another_session_does_not_get_in(room, kit, session, method):
    response = room.ask(session, kit.create_session().generate_token("moderator"), method)
    assert (response.status_code, room.runs) == (403, [])


def test_a_bad_token_does_not_get_in(room, session):
    response = room.ask(session, session.generate_token("moderator")[:-6] + "AAAAAA")
    assert (response.status_code, response.json()["code"], room.runs) == (401, "bad_signature", [])


def test_a_token_of_an_ended_session_does_not_get_in(room, session):
    token = session.generate_token("moderator")
    assert room.ask(session, token).status_code == 200
    session.end()
    response = room.ask(session, token)
    assert (response.status_code, response.json()["code"], len(room.runs)) == (401, "revoked_token", 1)


@pytest.mark.parametrize("role", [None, "subscriber", "moderator"])
def test_options_does_not_run_the_endpoint(room, session, role):
    response = room.ask(session, session.generate_token(role) if role else None, "OPTIONS")
    assert (response.status_code, response.content, room.runs) == (204, b"", [])


def test_head_runs_the_guard_and_then_the_endpoint(room, session):
    response = room.ask(session, session.generate_token("moderator"), "HEAD")
    assert (response.status_code, response.content, room.runs) == (200, b"", ["moderator"])


def test_a_method_that_the_endpoint_does_not_have_runs_nothing(room, session):
    assert room.ask(session, None, "DELETE").status_code in {401, 405}
    assert room.runs == []


# -- what is required ------------------------------------------------------------------------------

ROLES = ["subscriber", "publisher", "publisheronly", "moderator"]


@pytest.mark.parametrize(
    ("guard", "admitted"),
    [
        (require_role("subscriber"), ["subscriber", "publisher", "moderator"]),
        (require_role("publisher"), ["publisher", "moderator"]),
        (require_role("publisheronly"), ["publisher", "publisheronly", "moderator"]),
        (require_role("moderator"), ["moderator"]),
        (require_role(Role.MODERATOR), ["moderator"]),
        (require_capability("connect"), ROLES),
        (require_capability("subscribe"), ["subscriber", "publisher", "moderator"]),
        (require_capability("publish"), ["publisher", "publisheronly", "moderator"]),
        (require_capability("signal"), ["publisher", "moderator"]),
        (require_capability("force_disconnect"), ["moderator"]),
        (require_capability("force_unpublish"), ["moderator"]),
        (require_token, ROLES),
        (require_token(), ROLES),
    ],
)
def test_exactly_the_roles_with_the_capabilities_get_in(kit, session, guard, admitted):
    app = app_of(kit, Route("/x", guard(role_of_the_grant)))
    assert [role for role in ROLES if ask(app, "/x", session.generate_token(role)).status_code == 200] == admitted


def test_a_missing_capability_is_named_in_the_challenge(kit, session):
    app = app_of(kit, Route("/x", require_capability("force_disconnect")(role_of_the_grant)))
    response = ask(app, "/x", session.generate_token())
    assert response.headers["WWW-Authenticate"].endswith('scope="capability:force_disconnect"')


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: require_role(untyped("moderater")),
            r"'moderater' does not exist; the roles are subscriber, .*moderator",
        ),
        (lambda: require_role(untyped("")), r"does not exist"),
        (lambda: require_role(untyped(None)), r"None does not exist"),
        (lambda: require_role(untyped(role_of_the_grant)), r'^write @require_role\("publisher"\)'),
        (lambda: require_role(untyped(["publisher", "moderator"])), r"^name one role"),
        (lambda: protect(Starlette(), untyped("moderator")), r"^pass a guard: require_role\('moderator'\)$"),
        (lambda: protect(Starlette(), untyped("")), r"^pass a guard"),
        (lambda: protect(Starlette(), untyped(require_token)), r"^pass a guard of rolecall_starlette"),
        (
            lambda: require_capability(untyped("ban")),
            r"'ban' does not exist; the capabilities are connect, .*force_unpublish",
        ),
        (lambda: require_token(untyped("moderator")), r"an endpoint, a route, a mount or an ASGI app, not 'moderator'"),
        (lambda: require_token(object), r"cannot protect the class object: it is no HTTPEndpoint"),
        (lambda: require_role("moderator")(Starlette), r"cannot protect the class Starlette"),
        (lambda: require_role("moderator")(untyped(None)), r"not None"),
        (lambda: protect(untyped([Route("/x", role_of_the_grant)])), r"not a value of type list"),
    ],
)
def test_a_guard_that_could_never_work_stops_at_import(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_a_guard_for_a_role_of_a_plugin_knows_the_roles_of_its_kit(make_kit):
    class Assistants:
        @hookimpl
        def rolecall_register_roles(self):
            return [Role("assistant", {"connect", "subscribe", "force_unpublish"}, "subscriber")]

    kit = make_kit(plugins=[Assistants()])
    app = app_of(kit, Route("/x", require_role(untyped("assistant"), kit=kit)(role_of_the_grant)))
    session = kit.create_session()
    assert ask(app, "/x", session.generate_token("assistant")).text == "assistant"
    assert ask(app, "/x", session.generate_token("publisher")).status_code == 403


class Teachers:
    """A role that may do no more than a moderator, and no less."""

    @hookimpl
    def rolecall_register_roles(self):
        return [Role("teacher", Role.MODERATOR.capabilities, "moderator")]


def test_a_role_may_be_demanded_exactly(make_kit):
    kit = make_kit(plugins=[Teachers()])
    session = kit.create_session()
    app = app_of(
        kit,
        Route("/teacher", require_role(untyped("teacher"), exact=True, kit=kit)(role_of_the_grant)),
        Route("/publisher", require_role("publisher", exact=True)(role_of_the_grant)),
        Route("/any", require_role(untyped("teacher"), kit=kit)(role_of_the_grant)),
    )
    admitted = {
        path: [role for role in (*ROLES, "teacher") if ask(app, path, session.generate_token(role)).status_code == 200]
        for path in ("/teacher", "/publisher", "/any")
    }
    assert admitted == {"/teacher": ["teacher"], "/publisher": ["publisher"], "/any": ["moderator", "teacher"]}
    refused = ask(app, "/teacher", session.generate_token("moderator"))
    assert refused.json()["detail"] == "role:teacher is required exactly; the token's role is moderator"
    assert refused.headers["WWW-Authenticate"].endswith('scope="role:teacher"')


def test_a_policy_that_lowers_a_role_decides_before_it_is_compared_exactly(make_kit):
    class Lowers:
        @hookimpl
        def rolecall_vote_access(self, request):
            return Allow(max_role="publisher")

    kit = make_kit(plugins=[Lowers()])
    app = app_of(kit, Route("/x", require_role("moderator", exact=True)(role_of_the_grant)))
    assert ask(app, "/x", kit.create_session().generate_token("moderator")).status_code == 403


# -- tokens that are optional ----------------------------------------------------------------------


async def guest_or_role(request):
    grant = find_grant(request)
    return PlainTextResponse("a guest" if grant is None else str(grant.role))


def guest_or_role_sync(request):
    grant = find_grant(request)
    return PlainTextResponse("a guest" if grant is None else str(grant.role))


@require_token(optional=True)
class GuestOrRole(HTTPEndpoint):
    async def get(self, request):
        return await guest_or_role(request)


OPTIONAL = [
    lambda guard: Route(PATH, guard(guest_or_role)),
    lambda guard: Route(PATH, guard(guest_or_role_sync)),
    lambda guard: Route(PATH, GuestOrRole),
    lambda guard: guard(Route(PATH, guest_or_role)),
    lambda guard: guard(Mount("/", routes=[Route(PATH, guest_or_role)])),
    lambda guard: protect(Mount("/", routes=[Route(PATH, guest_or_role)]), guard),
]


@pytest.fixture(params=OPTIONAL)
def lobby(request, kit):
    return app_of(kit, request.param(require_token(optional=True)))


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic dXNlcjpwYXNz"}])
def test_where_the_token_is_optional_no_token_gives_no_grant(lobby, session, headers):
    assert ask(lobby, f"/rooms/{session.session_id}", headers=headers).text == "a guest"


def test_where_the_token_is_optional_a_good_one_gives_a_grant(lobby, session):
    assert ask(lobby, f"/rooms/{session.session_id}", session.generate_token()).text == "publisher"


def test_where_the_token_is_optional_a_bad_one_is_refused(lobby, kit, session):
    other = kit.create_session()
    wrong = {
        "x.y.z": 401,
        "": 400,
        "a b": 400,
        other.generate_token(): 403,
        session.generate_token()[:-6] + "AAAAAA": 401,
    }
    path = f"/rooms/{session.session_id}"
    statuses = {token: ask(lobby, path, headers={"Authorization": f"Bearer {token}"}).status_code for token in wrong}
    assert statuses == wrong


def test_where_the_token_is_optional_there_may_be_no_current_grant(kit):
    app = app_of(kit, Route("/x", require_token(optional=True)(role_of_the_grant)))
    with pytest.raises(RuntimeError, match=r"where the token is optional, ask find_grant\(request\)"):
        TestClient(app).get("/x")


def test_a_policy_is_not_asked_about_who_comes_without_a_token(make_kit):
    asked = []

    class Policy:
        @hookimpl
        async def rolecall_vote_access(self, request):
            asked.append(request.grant.data)
            return Deny("not today")

    kit = make_kit(plugins=[Policy()])
    app = app_of(kit, Route("/x", require_token(optional=True)(guest_or_role)))
    assert ask(app, "/x").text == "a guest"
    assert ask(app, "/x", kit.create_session().generate_token(data="ada")).status_code == 403
    assert asked == ["ada"]


def test_a_guard_within_an_optional_one_demands_a_token(kit, session):
    app = app_of(kit, Route("/x", require_token(optional=True)(require_role("moderator")(role_of_the_grant))))
    assert [ask(app, "/x", token).status_code for token in (None, session.generate_token())] == [401, 403]
    assert ask(app, "/x", session.generate_token("moderator")).status_code == 200


@pytest.mark.parametrize(
    "make", [lambda: require_token(optional=untyped(1)), lambda: require_token(optional=untyped("no"))]
)
def test_optional_is_said_by_true_or_false(make):
    with pytest.raises(ConfigurationError, match=r"optional is .*; expected True or False"):
        make()


def test_the_outer_of_two_guards_decides_first(kit, session):
    endpoint = require_capability("publish")(require_role("moderator")(role_of_the_grant))
    app = app_of(kit, Route("/x", endpoint))
    challenges = [
        ask(app, "/x", session.generate_token(role)).headers["WWW-Authenticate"] for role in ("subscriber", "publisher")
    ]
    assert [text.rpartition("scope=")[2] for text in challenges] == ['"capability:publish"', '"role:moderator"']


@require_token
class AnyToken(HTTPEndpoint):
    pass


@require_role("moderator")
class ModeratorsOnly(HTTPEndpoint):
    async def get(self, request):
        return PlainTextResponse("in")


class Both(AnyToken, ModeratorsOnly):
    pass


class BothTheOtherWay(ModeratorsOnly, AnyToken):
    pass


@pytest.mark.parametrize("endpoint", [ModeratorsOnly, Both, BothTheOtherWay])
def test_with_several_guarded_bases_each_guards(kit, session, endpoint):
    app = app_of(kit, Route("/x", endpoint))
    assert ask(app, "/x", session.generate_token("subscriber")).status_code == 403
    assert ask(app, "/x", session.generate_token("moderator")).text == "in"


def test_a_guarded_class_leaves_its_base_as_it_was(kit):
    class Base(HTTPEndpoint):
        async def get(self, request):
            return PlainTextResponse("open")

    @require_token
    class Guarded(Base):
        pass

    app = app_of(kit, Route("/open", Base), Route("/guarded", Guarded))
    assert (ask(app, "/open").status_code, ask(app, "/guarded").status_code) == (200, 401)


def test_a_guarded_endpoint_keeps_its_name_and_its_docstring(kit):
    @require_token
    async def lobby(request):
        """Where everybody waits."""

    assert (lobby.__name__, lobby.__doc__) == ("lobby", "Where everybody waits.")
    assert app_of(kit, Route("/lobby", lobby)).url_path_for("lobby") == "/lobby"


def test_a_guarded_mount_keeps_its_urls(kit):
    mount = require_token(Mount("/rooms", routes=[Route("/{session_id}", home, name="room")], name="all"))
    assert app_of(kit, mount).url_path_for("all:room", session_id="x") == "/rooms/x"


def test_a_guarded_app_in_a_mount_keeps_its_urls(kit):
    rooms = require_token(Router([Route("/{session_id}", home, name="room")]))
    assert app_of(kit, Mount("/rooms", app=rooms)).url_path_for("room", session_id="x") == "/rooms/x"


def test_an_endpoint_that_is_given_no_request_answers_nobody(kit, session):
    @require_token
    async def blind():
        return PlainTextResponse("open")

    async def endpoint(request):
        return await blind()

    app = app_of(kit, Route("/x", endpoint))
    with pytest.raises(ConfigurationError, match="the guard of blind sees no request"):
        TestClient(app).get("/x", headers=bearer(session.generate_token()))


# -- the session of the route ----------------------------------------------------------------------


def statuses(app, path, kit, session):
    """What a token for the session gets, and one for another."""
    tokens = session.generate_token(), kit.create_session().generate_token()
    return [ask(app, path.format(session.session_id), token).status_code for token in tokens]


@pytest.mark.parametrize(
    ("route", "guard"),
    [
        ("/rooms/{session_id}", require_token),
        ("/rooms/{session_id:str}", require_token),
        ("/rooms/{session_id:path}", require_token),
        ("/rooms/{room}", require_token(session_param="room")),
        ("/rooms/{room}", require_role("publisher", session_param="room")),
        ("/rooms/{room}", require_capability("publish", session_param="room")),
    ],
)
def test_the_token_is_for_the_session_that_the_path_names(kit, session, route, guard):
    app = app_of(kit, Route(route, guard(role_of_the_grant)))
    assert statuses(app, "/rooms/{}", kit, session) == [200, 403]


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/rooms/{session_id}/seats/{seat:int}", "/rooms/{}/seats/3"),
        ("/{school}/rooms/{session_id}", "/school/rooms/{}"),
    ],
)
def test_the_session_may_be_one_of_several_names_in_a_path(kit, session, route, path):
    app = app_of(kit, Route(route, require_token(role_of_the_grant)))
    assert statuses(app, path, kit, session) == [200, 403]


@pytest.mark.parametrize("number", ["5", str(uuid.UUID(int=5))])
def test_a_path_that_names_rooms_by_numbers_matches_no_token(kit, session, number):
    convertor = "int" if number == "5" else "uuid"
    app = app_of(kit, Route(f"/rooms/{{session_id:{convertor}}}", require_token(role_of_the_grant)))
    response = ask(app, f"/rooms/{number}", session.generate_token("moderator"))
    assert (response.status_code, response.json()["code"]) == (403, "wrong_session")


@pytest.mark.parametrize(
    ("route", "guard"),
    [
        ("/rooms/{session_id}", require_token(session_param=None)),
        ("/rooms/{room}", require_token(session_param=None)),
        ("/rooms", require_token),
    ],
)
def test_a_path_that_names_no_session_takes_a_token_for_any(kit, session, route, guard):
    app = app_of(kit, Route(route, guard(role_of_the_grant)))
    path = "/rooms" if route == "/rooms" else "/rooms/{}"
    assert statuses(app, path, kit, session) == [200, 200]


@pytest.mark.parametrize(
    "make",
    [
        lambda guard: Route("/x", guard(role_of_the_grant)),
        lambda guard: guard(Mount("/x", app=AnApp(lambda _: Response()))),
    ],
)
def test_a_parameter_of_ones_own_that_is_not_there_lets_nobody_in(kit, session, make):
    app = app_of(kit, make(require_token(session_param="room")))
    with pytest.raises(ConfigurationError, match="'room', which the route does not have"):
        TestClient(app).get("/x", headers=bearer(session.generate_token()))


def in_the_outer_path(endpoint, guard):
    return guard(Mount("/rooms/{session_id}", routes=[Mount("/board", routes=[Route("/", endpoint)])]))


def in_the_inner_path(endpoint, guard):
    return guard(Mount("/rooms", routes=[Mount("/board", routes=[Route("/{session_id}/", endpoint)])]))


def in_the_inner_path_of_a_sub_app(endpoint, guard):
    inner = Starlette(routes=[Route("/{session_id}/", endpoint)])
    return guard(Mount("/rooms", routes=[Mount("/board", app=inner)]))


def in_both_paths(endpoint, guard):
    return guard(Mount("/rooms/{session_id}", routes=[Route("/{session_id}/", endpoint)]))


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (in_the_outer_path, "/rooms/{}/board/"),
        (in_the_inner_path, "/rooms/board/{}/"),
        (in_the_inner_path_of_a_sub_app, "/rooms/board/{}/"),
        (in_both_paths, "/rooms/other/{}/"),
    ],
)
def test_a_guarded_mount_knows_the_session_that_the_endpoint_will_see(kit, session, make, path):
    seen = []

    async def endpoint(request):
        seen.append(request.path_params["session_id"])
        return Response()

    assert statuses(app_of(kit, make(endpoint, require_token)), path, kit, session) == [200, 403]
    assert seen == [session.session_id]


# -- the grant -------------------------------------------------------------------------------------


def test_the_grant_says_what_the_token_says(kit, session):
    grants = []

    @require_token
    async def endpoint(request):
        grants.extend([current_grant(request), request.state.grant, current_grant(HTTPConnection(request.scope))])
        return Response()

    ask(app_of(kit, Route("/x", endpoint)), "/x", session.generate_token("publisher", data="name=Ada"))
    assert all(isinstance(grant, Grant) for grant in grants)
    assert {(grant.session_id, str(grant.role), grant.data) for grant in grants} == {
        (session.session_id, "publisher", "name=Ada")
    }


def test_without_a_guard_there_is_no_grant(kit, session):
    async def endpoint(request):
        return PlainTextResponse(str(hasattr(request.state, "grant")) + current_grant(request).role)

    app = app_of(kit, Route("/x", endpoint))
    with pytest.raises(RuntimeError, match="current_grant needs an endpoint behind require_role"):
        TestClient(app).get("/x", headers=bearer(session.generate_token()))


def test_a_grant_is_of_one_request_only(kit, session):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield {"database": "open"}

    @public
    async def lobby(request):
        return JSONResponse([request.state.database, hasattr(request.state, "grant")])

    app = app_of(kit, Route("/x", require_token(lobby)), Route("/lobby", lobby), lifespan=lifespan)
    with TestClient(app) as client:
        assert client.get("/x", headers=bearer(session.generate_token())).json() == ["open", True]
        assert client.get("/lobby").json() == ["open", False]


def test_the_grant_of_the_inner_guard_is_the_one_that_counts(kit, make_kit, session):
    other = make_kit(api_key=OTHER_KEY, api_secret=OTHER_SECRET)
    inner = require_token(kit=other)(role_of_the_grant)
    app = app_of(kit, Route("/x", require_token(kit=kit)(inner)))
    assert ask(app, "/x", session.generate_token()).status_code == 401
    assert ask(app, "/x", other.create_session().generate_token()).status_code == 401


def requests_at_once(app, *requests):
    """The answers to requests that are all under way at the same time, in their order."""

    async def run():
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            sent = [
                client.request(method, path, headers=bearer(token) if token else {}) for method, path, token in requests
            ]
            return await asyncio.gather(*sent)

    return asyncio.run(run())


class VotesLater:
    """A policy that gives way to other requests, so that they overlap."""

    @hookimpl
    async def rolecall_vote_access(self, request):
        await asyncio.sleep(0.001 * (int(request.grant.data[5:]) % 3))


async def async_name(request):
    first = current_grant(request).data
    assert first is not None
    await asyncio.sleep(0.001 * (int(first[5:]) % 5))
    return JSONResponse([first, current_grant(request).data, request.state.grant.data])


def sync_name(request):
    return JSONResponse([current_grant(request).data, current_grant(request).data, request.state.grant.data])


@pytest.mark.parametrize("plugins", [[], [VotesLater()]], ids=["none", "a policy that waits"])
@pytest.mark.parametrize("endpoint", [async_name, sync_name])
def test_of_many_requests_at_once_each_sees_its_own_grant(make_kit, endpoint, plugins):
    kit = make_kit(plugins=plugins)
    app = app_of(kit, Route("/rooms/{session_id}", require_token(endpoint)))
    sessions = [kit.create_session() for _ in range(100)]
    names = [f"name={number}" for number in range(100)]
    requests = [
        ("GET", f"/rooms/{session.session_id}", session.generate_token(data=name))
        for session, name in zip(sessions, names, strict=True)
    ]
    answers = requests_at_once(app, *requests)
    assert [answer.json() for answer in answers] == [[name] * 3 for name in names]


# -- endpoints -------------------------------------------------------------------------------------


@pytest.mark.parametrize("guarded", ["function", "method", "class"])
def test_a_function_runs_on_a_worker_thread(kit, session, guarded):
    threads = {}

    async def here(request):
        threads["loop"] = threading.get_ident()
        return Response()

    def there(request):
        threads["function"] = threading.get_ident()
        return Response()

    class Endpoint(HTTPEndpoint):
        def get(self, request):
            return there(request)

    endpoint: Any
    if guarded == "function":
        endpoint = require_token(there)
    elif guarded == "method":
        endpoint = Endpoint
        endpoint.get = require_token(Endpoint.get)
    else:
        endpoint = require_token(Endpoint)
    app = app_of(kit, Route("/here", require_token(here)), Route("/there", endpoint))
    token = session.generate_token()
    first, second = requests_at_once(app, ("GET", "/here", token), ("GET", "/there", token))
    assert (first.status_code, second.status_code) == (200, 200)
    assert threads["loop"] == threading.get_ident() != threads["function"]


def streamed(_):
    return StreamingResponse(iter([b"a", b"b"]))


def filed(_):
    return FileResponse(__file__)


SHARED = PlainTextResponse("always the same object")


@pytest.mark.parametrize("answer", [streamed, filed, lambda _: SHARED], ids=["stream", "file", "shared"])
@pytest.mark.parametrize("around", ["endpoint", "route"])
def test_every_kind_of_answer_is_kept_out_of_caches_once(kit, session, answer, around):
    def endpoint(request):
        return answer(request)

    route = Route("/x", require_token(endpoint)) if around == "endpoint" else require_token(Route("/x", endpoint))
    app = app_of(kit, route)
    for _ in range(2):
        response = ask(app, "/x", session.generate_token())
        assert (response.status_code, response.headers.get_list("Cache-Control")) == (200, ["no-store"])


@pytest.mark.parametrize("around", ["endpoint", "route"])
def test_an_endpoint_may_say_itself_what_caches_do(kit, session, around):
    def endpoint(request):
        return PlainTextResponse("", headers={"Cache-Control": "private, max-age=60"})

    route = Route("/x", require_token(endpoint)) if around == "endpoint" else require_token(Route("/x", endpoint))
    response = ask(app_of(kit, route), "/x", session.generate_token())
    assert response.headers.get_list("Cache-Control") == ["private, max-age=60"]


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("web", "varies"),
    [
        (Web(), "Authorization"),
        (Web(query="access_token"), "Authorization"),
        (Web(cookie="__Host-rolecall"), "Authorization, Cookie"),
    ],
    ids=["header", "query", "cookie"],
)
@pytest.mark.parametrize("around", ["endpoint", "route"])
def test_what_caches_keep_varies_with_each_place_of_a_token(make_kit, around, web, varies):
    def endpoint(request):
        return PlainTextResponse("", headers={"Cache-Control": "private, max-age=60"})

    kit = make_kit(web=web)
    route = Route("/x", require_token(endpoint)) if around == "endpoint" else require_token(Route("/x", endpoint))
    response = ask(app_of(kit, route), "/x", kit.create_session().generate_token())
    assert response.headers.get_list("Vary") == [varies]


@pytest.mark.parametrize("around", ["endpoint", "route"])
def test_an_error_of_the_endpoint_is_the_apps_to_handle(kit, session, around):
    async def endpoint(request):
        raise LookupError("the endpoint's own")

    async def on_lookup_error(request, error):
        return PlainTextResponse(str(error), 418)

    route = Route("/x", require_token(endpoint)) if around == "endpoint" else require_token(Route("/x", endpoint))
    app = app_of(kit, route, exception_handlers={LookupError: on_lookup_error})
    assert ask(app, "/x", session.generate_token()).text == "the endpoint's own"


def test_options_names_the_methods_of_the_route(kit):
    app = app_of(kit, Route("/x", require_token(role_of_the_grant), methods=["POST", "OPTIONS"]))
    response = ask(app, "/x", method="OPTIONS")
    assert (response.status_code, response.headers["Allow"]) == (204, "OPTIONS, POST")


def test_the_apps_own_answer_to_a_preflight_request_comes_first(kit):
    allow = Middleware(CORSMiddleware, allow_origins=["https://app.example"], allow_headers=["Authorization"])
    app = app_of(kit, Route("/x", require_token(role_of_the_grant)), middleware=[allow])
    asking = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    response = ask(app, "/x", method="OPTIONS", headers=asking)
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (200, "https://app.example")


# -- the kit of an app -----------------------------------------------------------------------------


def test_the_kit_is_found_in_the_state_of_the_app(kit, session):
    app = Starlette(routes=[Route("/x", require_token(role_of_the_grant))])
    app.state.rolecall = kit
    assert ask(app, "/x", session.generate_token()).status_code == 200


@pytest.mark.parametrize(
    "routes",
    [
        rolecall_routes,
        lambda kit: [Mount("/a", app=rolecall_app(kit))],
        lambda kit: [Mount("/a", routes=[Mount("/b", app=Starlette(routes=[Mount("/c", app=rolecall_app(kit))]))])],
        lambda kit: [Host("video.example", app=rolecall_app(kit))],
        lambda kit: [Mount("/a", app=rolecall_app(kit)), Mount("/b", app=rolecall_app(kit))],
        lambda kit: [protect(Mount("/a", app=rolecall_app(kit)))],
        lambda kit: [Mount("/a", app=protect(rolecall_app(kit)))],
    ],
)
def test_the_kit_is_found_where_its_routes_are(kit, session, routes):
    app = Starlette(routes=[Route("/x", require_token(role_of_the_grant)), *routes(kit)])
    assert ask(app, "/x", session.generate_token()).status_code == 200


def test_without_a_kit_a_guard_says_where_to_put_one(session):
    app = Starlette(routes=[Route("/x", require_token(role_of_the_grant))])
    with pytest.raises(ConfigurationError, match=r"no kit; mount one with Mount\('/video', app=rolecall_app\(kit\)\)"):
        TestClient(app).get("/x", headers=bearer(session.generate_token()))


def two_kits(kit, make_kit, *guards):
    other = make_kit(api_key=OTHER_KEY, api_secret=OTHER_SECRET)
    routes = [Mount("/school", app=rolecall_app(kit)), Mount("/clinic", app=rolecall_app(other))]
    return other, Starlette(
        routes=[*routes, *(Route(f"/{number}", guard(role_of_the_grant)) for number, guard in enumerate(guards))]
    )


def test_with_several_kits_a_guard_has_to_be_told_which(kit, make_kit, session):
    _, app = two_kits(kit, make_kit, require_token)
    with pytest.raises(ConfigurationError, match="several kits; tell each guard which one it is for"):
        TestClient(app).get("/0", headers=bearer(session.generate_token()))


def test_a_guard_takes_only_tokens_of_the_kit_it_is_told(kit, make_kit, session):
    other, app = two_kits(kit, make_kit, require_token(kit=kit))
    assert ask(app, "/0", session.generate_token()).status_code == 200
    assert ask(app, "/0", other.create_session().generate_token()).status_code == 401


def test_the_kit_in_the_state_of_an_app_is_the_one_of_several(kit, make_kit, session):
    other, app = two_kits(kit, make_kit, require_token)
    app.state.rolecall = other
    assert ask(app, "/0", session.generate_token()).status_code == 401
    assert ask(app, "/0", other.create_session().generate_token()).status_code == 200


def test_an_app_may_state_another_kit_or_none_any_longer(kit, make_kit, session):
    other, app = two_kits(kit, make_kit, require_token)
    foreign = other.create_session().generate_token()
    for stated, statuses in ((kit, [200, 401]), (other, [401, 200])):
        app.state.rolecall = stated
        for _ in range(2):
            assert [ask(app, "/0", token).status_code for token in (session.generate_token(), foreign)] == statuses
    del app.state.rolecall
    with pytest.raises(ConfigurationError, match="several kits"):
        TestClient(app).get("/0", headers=bearer(foreign))


def test_an_app_whose_state_has_attributes_alone_states_its_kit_all_the_same(kit, make_kit, session):
    other, app = two_kits(kit, make_kit, require_token)
    app.state = types.SimpleNamespace(rolecall=other)
    for _ in range(3):
        assert ask(app, "/0", session.generate_token()).status_code == 401
        assert ask(app, "/0", other.create_session().generate_token()).status_code == 200


def test_one_guarded_endpoint_in_two_apps_asks_the_kit_of_each(make_kit):
    endpoint = require_token(role_of_the_grant)
    kits = [make_kit(), make_kit(api_key=OTHER_KEY, api_secret=OTHER_SECRET)]
    apps = [app_of(kit, Route("/x", endpoint)) for kit in kits]
    tokens = [kit.create_session().generate_token() for kit in kits]
    for _ in range(3):
        assert [[ask(app, "/x", token).status_code for token in tokens] for app in apps] == [[200, 401], [401, 200]]


def test_of_two_apps_each_knows_its_own_sessions_that_have_ended(make_kit):
    endpoint = require_token(role_of_the_grant)
    first, second = make_kit(), make_kit()
    apps = [app_of(kit, Route("/x", endpoint)) for kit in (first, second)]
    session = first.create_session()
    token = session.generate_token()
    session.end()
    assert [ask(app, "/x", token).status_code for app in apps] == [401, 200]


def test_a_cache_above_a_guard_stops_the_app(kit, session):
    """What it keeps for one client it would give to everybody."""
    cached = functools.lru_cache(maxsize=8)(require_token(role_of_the_grant))
    app = app_of(kit, Route("/x", cached), Route("/y", require_token(role_of_the_grant)))
    with pytest.raises(ConfigurationError, match="cache"):
        TestClient(app).get("/y", headers={"Authorization": f"Bearer {session.generate_token()}"})
    assert [ask(app, "/x", token).status_code for token in (session.generate_token(), None)] == [500, 500]


def test_a_sub_app_with_guards_has_a_kit_of_its_own(kit, session):
    inner = Starlette(routes=[Route("/x", require_token(role_of_the_grant))])
    app = app_of(kit, Mount("/inner", app=inner))
    assert ask(app, "/inner/x", session.generate_token()).status_code == 500
    inner.state.rolecall = kit
    assert ask(app, "/inner/x", session.generate_token()).status_code == 200


def test_an_asgi_app_without_starlette_is_guarded_with_a_kit(kit, session):
    guarded = require_token(kit=kit, session_param=None)(
        AnApp(lambda connection: PlainTextResponse(current_grant(connection).role))
    )
    assert ask(guarded, "/anywhere").status_code == 401
    assert ask(guarded, "/anywhere", session.generate_token()).text == "publisher"


def test_an_asgi_app_without_starlette_and_without_a_kit_answers_nobody(session):
    guarded = require_token(session_param=None)(AnApp(lambda _: PlainTextResponse("in")))
    with pytest.raises(ConfigurationError, match="no kit"):
        TestClient(guarded).get("/", headers=bearer(session.generate_token()))


# -- a guard that the app never sees ---------------------------------------------------------------


def guarded_too_late(name):
    async def endpoint(request):
        return PlainTextResponse("open")

    route = Route("/late", endpoint, name=name)
    require_role("moderator")(endpoint)
    return route


def test_an_endpoint_that_is_guarded_too_late_stops_every_guard_of_the_app(kit, session):
    app = app_of(kit, guarded_too_late("late"), Route("/x", require_token(role_of_the_grant)))
    client = TestClient(app)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="'/late'"):
            client.get("/x", headers=bearer(session.generate_token()))


def test_an_endpoint_that_is_guarded_too_late_stops_the_kits_routes(make_kit):
    app = app_of(make_kit(plugins=[AllowAnyone()]), Mount("/deep", routes=[guarded_too_late("late")]))
    with pytest.raises(ConfigurationError, match="'/deep/late'"):
        TestClient(app).post("/video/sessions")


def test_an_endpoint_that_has_a_route_with_its_guard_and_one_without_stops_the_app(kit, session):
    """As a guard between two route decorators leaves it."""

    async def board(request):
        raise AssertionError("it ran")

    app = app_of(kit, Route("/board", require_token(board)), Route("/old", board), Route("/home", home))
    with pytest.raises(ConfigurationError, match=r"'/old'.*give it a function of its own, or mark it as @public"):
        TestClient(app).get("/board", headers=bearer(session.generate_token()))
    # Not one route answers from then on, neither the open one, nor those that have nothing to do with it.
    assert [ask(app, path).status_code for path in ("/old", "/home", "/video/openapi.json")] == [500, 500, 500]


def test_an_endpoint_that_is_marked_as_public_may_have_a_route_without_its_guard(kit):
    @public
    async def board(request):
        return PlainTextResponse("board")

    app = app_of(kit, Route("/board", require_token(board)), Route("/open", board))
    assert [ask(app, path).status_code for path in ("/board", "/open")] == [401, 200]


async def shared(request):
    return PlainTextResponse("shared")


def test_a_factory_may_guard_an_endpoint_in_one_app_and_not_in_another(make_kit):
    def create_app(is_guarded):
        return app_of(make_kit(), Route("/x", require_token(shared) if is_guarded else shared))

    # While the apps before are still there.
    apps = [create_app(is_guarded) for is_guarded in (False, True, False, True)]
    assert [ask(app, "/x").status_code for app in apps] == [200, 401, 200, 401]
    assert [ask(app, "/video/openapi.json").status_code for app in apps] == [200] * 4


def test_a_guard_around_a_route_makes_up_for_one_that_its_endpoint_is_without(kit, session):
    @require_token
    async def guarded(request):
        return PlainTextResponse("in")

    bare = inspect.unwrap(guarded)
    app = app_of(kit, Route("/x", guarded), protect(Mount("/tree", routes=[Route("/x", bare)])))
    assert [ask(app, path).status_code for path in ("/x", "/tree/x")] == [401, 401]
    assert ask(app, "/tree/x", session.generate_token()).text == "in"


def test_a_lesser_guard_around_a_route_does_not(kit, session):
    @require_role("moderator")
    async def guarded(request):
        raise AssertionError("it ran")

    app = app_of(kit, Route("/x", guarded), protect(Mount("/tree", routes=[Route("/x", inspect.unwrap(guarded))])))
    with pytest.raises(ConfigurationError, match="'/tree/x'"):
        TestClient(app).get("/tree/x", headers=bearer(session.generate_token()))


# -- whole subtrees --------------------------------------------------------------------------------


@public
async def welcome(request):
    return PlainTextResponse("welcome")


@public
def welcome_in_a_thread(request):
    return PlainTextResponse("welcome")


class Mixed(HTTPEndpoint):
    @public
    async def get(self, request):
        return PlainTextResponse("welcome")

    async def post(self, request):
        return PlainTextResponse("home")


@public
class Open(HTTPEndpoint):
    async def get(self, request):
        return PlainTextResponse("welcome")

    post = get


class HeirOfOpen(Open):
    async def delete(self, request):
        return PlainTextResponse("home")


#: path, method, whether it is open
TREE = [
    ("/home", "GET", False),
    ("/home", "POST", False),
    ("/welcome", "GET", True),
    ("/welcome", "HEAD", True),
    ("/thread", "GET", True),
    ("/mixed", "GET", True),
    ("/mixed", "HEAD", True),
    ("/mixed", "POST", False),
    ("/open", "GET", True),
    ("/open", "POST", True),
    ("/heir", "GET", False),
    ("/heir", "DELETE", False),
    ("/deep/home", "GET", False),
    ("/deep/welcome", "GET", True),
    ("/sub/home", "GET", False),
    ("/sub/welcome", "GET", True),
    ("/static/page.txt", "GET", False),
    ("/static/none.txt", "GET", False),
    ("/nowhere", "GET", False),
    ("/", "GET", False),
    ("/home/", "GET", False),
    ("/both", "GET", True),
    ("/both", "POST", False),
]


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "page.txt").write_text("home")
    return [
        Route("/home", home),
        Route("/welcome", welcome),
        Route("/thread", welcome_in_a_thread),
        Route("/mixed", Mixed),
        Route("/open", Open),
        Route("/heir", HeirOfOpen),
        Route("/both", welcome, methods=["GET"]),
        Route("/both", home, methods=["POST"]),
        Mount("/deep", routes=[Route("/home", home), Route("/welcome", welcome)]),
        Mount("/sub", app=Starlette(routes=[Route("/home", home), Route("/welcome", welcome)])),
        Mount("/static", app=StaticFiles(directory=tmp_path)),
    ]


def a_mount(kit, tree):
    return app_of(kit, protect(Mount("/tree", routes=tree))), "/tree"


def a_router_in_a_mount(kit, tree):
    return app_of(kit, Mount("/tree", app=protect(Router(tree)))), "/tree"


def an_app_in_a_mount(kit, tree):
    return app_of(kit, protect(Mount("/tree", app=Starlette(routes=tree)))), "/tree"


def a_mount_of_a_mount(kit, tree):
    return app_of(kit, protect(Mount("/tree", routes=[Mount("/of", routes=tree)]))), "/tree/of"


def a_whole_app(kit, tree):
    return protect(app_of(kit, *tree)), ""


def a_whole_app_in_a_server_of_others(kit, tree):
    return Starlette(routes=[Mount("/tree", app=protect(app_of(kit, *tree)))]), "/tree"


@pytest.fixture(
    params=[
        a_mount,
        a_router_in_a_mount,
        an_app_in_a_mount,
        a_mount_of_a_mount,
        a_whole_app,
        a_whole_app_in_a_server_of_others,
    ],
    ids=lambda way: way.__name__,
)
def protected(request, kit, tree):
    return request.param(kit, tree)


@pytest.mark.each_choice
@pytest.mark.parametrize(("path", "method", "is_open"), TREE)
def test_everything_needs_a_token_but_what_is_marked(protected, path, method, is_open):
    app, prefix = protected
    response = ask(app, prefix + path, method=method)
    assert response.status_code == (200 if is_open else 401)
    assert "home" not in response.text
    assert "location" not in response.headers


def test_with_a_token_everything_is_as_it_was(protected, session):
    app, prefix = protected
    token = session.generate_token("subscriber")
    answers = {path: ask(app, prefix + path, token) for path, method, _ in TREE if method == "GET"}
    assert {path: answer.status_code for path, answer in answers.items() if answer.status_code != 200} == {
        "/static/none.txt": 404,
        "/nowhere": 404,
        "/": 404,
        "/home/": 307,
    }
    assert {answer.text for answer in answers.values() if answer.status_code == 200} == {"home", "welcome"}
    assert answers["/static/page.txt"].headers["Cache-Control"] == "no-store"


def test_what_is_public_has_no_grant(kit, session):
    @public
    async def endpoint(request):
        return PlainTextResponse(str(hasattr(request.state, "grant")))

    app = app_of(kit, protect(Mount("/tree", routes=[Route("/x", endpoint)])))
    assert ask(app, "/tree/x", session.generate_token()).text == "False"


def test_routes_that_are_added_later_are_protected(kit):
    router = Router()
    app = app_of(kit, protect(Mount("/tree", app=router)))
    router.routes.append(Route("/late", home))
    router.routes.append(Route("/open", welcome))
    assert [ask(app, f"/tree/{path}").status_code for path in ("late", "open")] == [401, 200]


def test_what_protects_may_be_any_guard(kit, session):
    app = app_of(kit, protect(Mount("/tree", routes=[Route("/x", home)]), require_role("moderator")))
    roles = {role: ask(app, "/tree/x", session.generate_token(role)).status_code for role in ROLES}
    assert roles == {"subscriber": 403, "publisher": 403, "publisheronly": 403, "moderator": 200}


def test_a_guard_within_what_is_protected_asks_for_more(kit, session):
    app = app_of(kit, protect(Mount("/tree", routes=[Route("/x", require_role("moderator")(role_of_the_grant))])))
    assert ask(app, "/tree/x", session.generate_token()).status_code == 403
    assert ask(app, "/tree/x", session.generate_token("moderator")).status_code == 200


def test_a_mark_does_not_open_what_has_a_guard_of_its_own(kit):
    app = app_of(kit, protect(Mount("/tree", routes=[Route("/x", public(require_token(role_of_the_grant)))])))
    assert ask(app, "/tree/x").status_code == 401


def test_the_kits_routes_in_a_whole_app_look_after_themselves(make_kit):
    kit = make_kit(plugins=[AllowAnyone("moderator")])
    app = protect(app_of(kit, Route("/x", home)))
    session_id = ask(app, "/video/sessions", method="POST").json()["session_id"]
    token = ask(app, f"/video/sessions/{session_id}/tokens", method="POST").json()["token"]
    assert ask(app, "/x", token).text == "home"
    assert ask(app, "/x").status_code == 401
    assert ask(app, "/video/openapi.json").status_code == 200


def test_the_kits_routes_in_a_protected_mount_need_a_token(make_kit):
    kit = make_kit(plugins=[AllowAnyone()])
    app = Starlette(routes=[protect(Mount("/video", app=rolecall_app(kit)))])
    assert ask(app, "/video/sessions", method="POST").status_code == 401
    assert ask(app, "/video/sessions", kit.create_session().generate_token(), "POST").status_code == 201


def test_a_protected_app_starts_and_stops(kit):
    steps = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        steps.append("start")
        yield
        steps.append("stop")

    with TestClient(protect(app_of(kit, lifespan=lifespan))) as client:
        assert (steps, client.get("/").status_code) == (["start"], 401)
    assert steps == ["start", "stop"]


@pytest.mark.parametrize("scope_type", ["lifespan", "something of tomorrow"])
def test_what_is_no_connection_passes_through(kit, scope_type):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    class App:
        async def __call__(self, scope, receive, send):
            await app(scope, receive, send)

    scope, receive, send = {"type": scope_type}, object(), object()
    for guarded in (require_token(kit=kit)(app), require_token(kit=kit)(App())):
        asyncio.run(guarded(scope, receive, send))
    assert seen == [(scope, receive, send)] * 2
    assert scope == {"type": scope_type}


# -- policies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("around", ["endpoint", "mount"])
def test_an_async_policy_sees_the_request_and_decides(make_kit, around):
    seen = []

    class Policy:
        @hookimpl
        async def rolecall_vote_access(self, request):
            await asyncio.sleep(0)
            seen.append(request)
            return Deny("not today", code="not_today") if request.grant.data == "ben" else None

    kit = make_kit(plugins=[Policy()])
    guard = require_role("publisher")
    route: Route | Mount
    if around == "endpoint":
        route = Route("/rooms/{session_id}/board", guard(role_of_the_grant))
    else:
        route = guard(Mount("/rooms", routes=[Route("/{session_id}/board", home)]))
    app, session = app_of(kit, route), kit.create_session()
    path = f"/rooms/{session.session_id}/board"

    assert ask(app, path, session.generate_token(data="ada")).status_code == 200
    refused = ask(app, path + "?page=1", session.generate_token(data="ben"))
    assert (refused.status_code, refused.json()["code"]) == (403, "not_today")
    http = seen[-1].http
    assert (http.framework, http.method, http.route, http.query) == ("starlette", "GET", path, "page=1")
    assert http.path_params["session_id"] == seen[-1].session_id == session.session_id
    assert seen[-1].requirement.scope == "role:publisher"


def test_a_policy_that_fails_is_a_503_that_does_not_say_why(make_kit, caplog):
    class Policy:
        @hookimpl
        async def rolecall_vote_access(self, request):
            raise RuntimeError("the innermost secret")

    kit = make_kit(plugins=[Policy()])
    app = app_of(kit, Route("/x", require_token(role_of_the_grant)))
    with caplog.at_level(logging.ERROR):
        response = ask(app, "/x", kit.create_session().generate_token())
    assert (response.status_code, response.json()["code"]) == (503, "policy_fault")
    assert "Policy" not in response.text
    assert "raised RuntimeError in rolecall_vote_access" in caplog.text


# -- nothing blocks the event loop -----------------------------------------------------------------


class Slow:
    """Something that waits, without ``await``, until another request has been answered."""

    def __init__(self) -> None:
        self._other_is_answered = threading.Event()
        self.began = threading.Event()

    def wait(self) -> None:
        self.began.set()
        assert self._other_is_answered.wait(4), "meanwhile no other request was answered"

    def order(self, app, method: str, path: str, token: str) -> list[str]:
        """In which order a request that waits, and one to ``/quick`` which is sent meanwhile, are answered."""
        order = []

        async def run():
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:

                async def send_slow():
                    answer = await client.request(method, path, headers=bearer(token))
                    order.append(f"slow {answer.status_code}")

                slow = asyncio.create_task(send_slow())
                await asyncio.to_thread(self.began.wait, 4)
                quick = await client.get("/quick", headers=bearer(token))
                order.append(f"quick {quick.status_code}")
                self._other_is_answered.set()
                await slow

        asyncio.run(run())
        return order


@pytest.mark.parametrize(
    ("step", "method", "path", "answer"),
    [
        ("add_session", "POST", "/video/sessions", "slow 201"),
        ("get_session", "GET", "/video/sessions/{}", "slow 200"),
        ("get_session", "POST", "/video/sessions/{}/tokens", "slow 201"),
        ("end_session", "DELETE", "/video/sessions/{}", "slow 204"),
    ],
)
def test_a_slow_store_holds_nobody_else_up(make_kit, step, method, path, answer):
    slow = Slow()

    class SlowStore(MemoryStore):
        reads_inline = writes_inline = False

    store = SlowStore()
    kit = make_kit(store=store, plugins=[AllowAnyone("moderator")])
    session = kit.create_session()

    def wait(*args):
        slow.wait()
        return getattr(MemoryStore, step)(store, *args)

    token = session.generate_token("moderator")
    setattr(store, step, wait)
    app = app_of(kit, Route("/quick", require_token(role_of_the_grant)))
    order = slow.order(app, method, path.format(session.session_id), token)
    assert order == ["quick 200", answer]


@pytest.mark.parametrize("hook", ["vote_access", "vote_token", "identify"])
def test_a_slow_policy_holds_nobody_else_up(make_kit, hook):
    slow = Slow()

    class Policy:
        @hookimpl
        @blocking
        def rolecall_vote_access(self, request):
            if hook == "vote_access" and request.session_id:
                slow.wait()

        @hookimpl
        @blocking
        def rolecall_vote_token(self, request):
            if hook == "vote_token" and request.http:
                slow.wait()
            return Allow()

        @hookimpl
        @blocking
        def rolecall_identify(self, request):
            if hook == "identify":
                slow.wait()

    kit = make_kit(plugins=[Policy()])
    session = kit.create_session()
    app = app_of(
        kit,
        Route("/quick", require_token(role_of_the_grant)),
        Route("/rooms/{session_id}", require_token(role_of_the_grant)),
    )
    token = session.generate_token()
    if hook == "vote_access":
        order = slow.order(app, "GET", f"/rooms/{session.session_id}", token)
    else:
        order = slow.order(app, "POST", f"/video/sessions/{session.session_id}/tokens", token)
    assert [text.split()[0] for text in order] == ["quick", "slow"]
    assert order[1] in {"slow 200", "slow 201"}


def test_a_slow_endpoint_that_is_no_coroutine_holds_nobody_else_up(kit, session):
    slow = Slow()

    @require_token
    def endpoint(request):
        slow.wait()
        return Response()

    app = app_of(kit, Route("/quick", require_token(role_of_the_grant)), Route("/slow", endpoint))
    assert slow.order(app, "GET", "/slow", session.generate_token()) == ["quick 200", "slow 200"]


# -- what a guard remembers ------------------------------------------------------------------------


def test_a_guard_keeps_no_app_and_no_kit_alive():
    guarded = require_token(home)

    def used():
        with Rolecall(OTHER_KEY, OTHER_SECRET, entry_points=False) as kit:
            app = app_of(kit, Route("/x", guarded))
            assert ask(app, "/x", kit.create_session().generate_token()).status_code == 200
        return weakref.ref(app), weakref.ref(kit)

    dropped = used()
    gc.collect()
    assert [of() for of in dropped] == [None, None]


def test_a_request_without_an_app_is_not_taken_for_one_of_an_app_that_is_gone(kit, session):
    guard = require_token()
    guarded = guard(home)
    token = session.generate_token()

    def used():
        assert ask(app_of(kit, Route("/x", guarded)), "/x", token).status_code == 200
        return guard._seen

    seen = used()
    gc.collect()
    guard._seen = seen  # as a thread has it that looked just before

    async def without_an_app(scope, receive, send):
        del scope["app"]
        await (await guarded(Request(scope, receive, send)))(scope, receive, send)

    with pytest.raises(ConfigurationError, match="no kit"):
        TestClient(Starlette(routes=[Mount("/", without_an_app)])).get("/x", headers=bearer(token))
