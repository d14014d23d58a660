"""Ways around the guards of a Starlette app: paths, hosts, methods and headers that are read in two ways."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient, WebSocketDenialResponse

from rolecall import Rolecall, hookimpl
from rolecall.errors import ConfigurationError
from rolecall_starlette import protect, public, require_token, rolecall_app, rolecall_lifespan

from ..budgets import examples

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
NOW = 1_795_186_800


def send(app, path, token=None, method="GET", headers=(), **scope) -> int:
    """The status of the answer to a request that no client library has tidied up; 500 if the app raised."""
    started = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def answer(message):
        if message["type"] == "http.response.start":
            started.append(message["status"])

    credential = [(b"authorization", b"Bearer " + token.encode())] if token else []
    sent = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "headers": [*headers, *credential],
        "server": ("testserver", 80),
    } | scope
    asyncio.run(app(sent, receive, answer))
    (status,) = started
    return status


class Site:
    """A site of which one endpoint is public; it notes the other endpoints that were reached, and for which session."""

    def __init__(self, kit) -> None:
        self.kit = kit
        self.runs: list[Any] = []

    def routes(self):
        async def home(request):
            self.runs.append(request.path_params.get("session_id"))
            return PlainTextResponse("home")

        @public
        async def welcome(request):
            return PlainTextResponse("welcome")

        class Mixed(HTTPEndpoint):
            @public
            async def get(self, request):
                return PlainTextResponse("welcome")

            @public
            def helper(self, request):
                return PlainTextResponse("welcome")

            async def post(self, request):
                return await home(request)

        async def anything(scope, receive, send):
            self.runs.append(scope["path_params"].get("session_id"))
            await PlainTextResponse("anything")(scope, receive, send)

        return [
            Route("/home", home),
            Route("/welcome", welcome),
            Route("/mixed", Mixed),
            Mount("/sub", app=Starlette(routes=[Route("/home/", home), Route("/welcome", welcome)])),
            # Which session it is about must be said; whom it lets in is left to the guard around.
            Mount("/app", app=require_token(optional=True, session_param=None)(anything)),
            Route("/rooms/{session_id}/home", home),
            Mount("/rooms/{session_id}", routes=[Route("/{session_id}/home", home), Route("/welcome", welcome)]),
        ]

    def mounted(self):
        return Starlette(
            routes=[
                protect(Mount("/tree", routes=self.routes())),
                Mount("/video", app=rolecall_app(self.kit)),
            ]
        )

    def whole(self):
        app = Starlette(routes=[Mount("/tree", routes=self.routes()), Mount("/video", app=rolecall_app(self.kit))])
        return protect(app)


@pytest.fixture
def site(kit):
    return Site(kit)


@pytest.fixture(params=["mounted", "whole"])
def app(request, site):
    return getattr(site, request.param)()


# -- paths -----------------------------------------------------------------------------------------

PATHS = [
    "/tree/home",
    "/tree/home/",
    "/tree//home",
    "//tree/home",
    "/tree/./home",
    "/./tree/home",
    "/tree/../tree/home",
    "/nowhere/../tree/home",
    "/tree/welcome/../home",
    "/tree/welcome/..%2fhome",
    "/tree/welcome/%2e%2e/home",
    "/tree%2fhome",
    "/tree%2Fhome",
    "/%74ree/home",
    "/tree/hom%65",
    "/tree\\home",
    "/tree/home;welcome",
    "/tree/home?/tree/welcome",
    "/tree/home#/tree/welcome",
    "/tree/home\n",
    "/tree/home\n/welcome",
    "/tree/welcome\n/home",
    "/tree/home\x00",
    "/TREE/home",
    "/tree/HOME",
    "/tree/sub/home",
    "/tree/sub/home/",
    "/tree/sub//home/",
    "/tree/sub/welcome/../home/",
    "/tree/app",
    "/tree/app/",
    "/tree/app//welcome",
    "/tree/app/../welcome",
    "/tree/mixed/",
    "tree/home",
    "",
    "/",
    "/tree",
    "/tree/",
]


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_no_spelling_of_a_path_reaches_an_endpoint_without_a_token(app, site, path):
    assert send(app, path) in {307, 401, 404}
    assert site.runs == []


@pytest.mark.parametrize(
    "raw_path", [b"/tree/welcome", b"/tree/../tree/welcome", b"", b"http://testserver/tree/welcome"]
)
def test_what_the_path_was_before_it_was_decoded_opens_nothing(app, site, raw_path):
    assert send(app, "/tree/home", raw_path=raw_path) == 401
    assert site.runs == []


SEGMENTS = st.sampled_from(
    [
        "tree",
        "home",
        "welcome",
        "mixed",
        "sub",
        "app",
        "rooms",
        "{mine}",
        "{other}",
        "..",
        ".",
        "",
        "%2e%2e",
        "%2F",
        "\n",
    ]
)


def a_site():
    kit = Rolecall(KEY, SECRET, clock=lambda: NOW)
    return Site(kit), kit.create_session(), kit.create_session()


@settings(max_examples=examples(150), deadline=None)
@given(segments=st.lists(SEGMENTS, max_size=7), whole=st.booleans(), root=st.sampled_from(["", "/tree", "/behind"]))
def test_no_path_at_all_reaches_an_endpoint_without_a_token(segments, whole, root):
    site, mine, other = a_site()
    tail = "/".join(segments).replace("{mine}", mine.session_id).replace("{other}", other.session_id)
    app = site.whole() if whole else site.mounted()
    for path in ("/" + tail, "/tree/" + tail):
        send(app, path, root_path=root)
    assert site.runs == []


@settings(max_examples=examples(150), deadline=None)
@given(segments=st.lists(SEGMENTS, max_size=7), whole=st.booleans(), root=st.sampled_from(["", "/tree", "/behind"]))
def test_no_path_at_all_reaches_an_endpoint_with_a_token_for_another_session(segments, whole, root):
    site, mine, other = a_site()
    tail = "/".join(segments).replace("{mine}", mine.session_id).replace("{other}", other.session_id)
    app = site.whole() if whole else site.mounted()
    for path in ("/" + tail, "/tree/rooms/" + tail):
        send(app, path, mine.generate_token("moderator"), root_path=root)
    assert set(site.runs) <= {None, mine.session_id}


def test_the_paths_above_do_reach_their_endpoints_with_a_token(app, site):
    """Otherwise the tests above would hold for a site that answers nobody."""
    mine = site.kit.create_session()
    token = mine.generate_token()
    assert send(app, "/tree/home", token) == 200
    assert send(app, "/tree/app/x", token) == 200
    assert send(app, f"/tree/rooms/{mine.session_id}/home", token) == 200
    assert send(app, f"/tree/rooms/x/{mine.session_id}/home", token) == 200
    assert site.runs == [None, None, mine.session_id, mine.session_id]
    assert send(app, "/tree/welcome") == 200


@pytest.mark.parametrize("root", ["/behind", "/behind/a/proxy", "/tree"])
def test_behind_a_root_path_the_same_needs_a_token(app, site, root):
    token = site.kit.create_session().generate_token()
    assert send(app, f"{root}/tree/home", root_path=root) == 401
    assert send(app, f"{root}/tree/welcome", root_path=root) == 200
    assert site.runs == []
    assert send(app, f"{root}/tree/home", token, root_path=root) == 200


def test_a_file_outside_the_folder_is_out_of_reach_with_a_token_too(kit, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "public").mkdir()
    files = Mount("/files", app=StaticFiles(directory=tmp_path / "public"))
    app = Starlette(routes=[protect(files), Mount("/video", app=rolecall_app(kit))])
    token = kit.create_session().generate_token()
    assert send(app, "/files/../secret.txt") == 401
    assert send(app, "/files/../secret.txt", token) == 404


# -- hosts and headers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        b"testserver/tree/welcome?",
        b"testserver/tree/welcome#",
        b"testserver/tree/welcome/..",
        b"user@testserver/tree/welcome",
        b"testserver:80/tree/welcome?x=",
        b"/tree/welcome",
        b"?",
        b"",
        b"testserver\\tree\\welcome",
    ],
)
def test_a_host_header_that_looks_like_a_path_opens_nothing(app, site, host):
    """Rebuilt from ``Host``, a URL may have another path than the one that is routed (CVE-2026-48710)."""
    assert send(app, "/tree/home", headers=[(b"host", host)]) == 401
    assert site.runs == []


def test_a_policy_sees_the_path_that_was_routed_whatever_the_host(make_kit):
    seen = []

    class Watch:
        @hookimpl
        def rolecall_vote_access(self, request):
            seen.append(request.http.route)

    site = Site(make_kit(plugins=[Watch()]))
    token = site.kit.create_session().generate_token()
    assert send(site.mounted(), "/tree/home", token, headers=[(b"host", b"x/tree/welcome?")]) == 200
    assert seen == ["/tree/home"]


@pytest.mark.parametrize(
    "header",
    [
        (b"x-original-url", b"/tree/welcome"),
        (b"x-rewrite-url", b"/tree/welcome"),
        (b"x-forwarded-prefix", b"/tree/welcome"),
        (b"x-forwarded-host", b"testserver/tree/welcome?"),
        (b"forwarded", b"host=welcome;proto=https"),
        (b"x-http-method-override", b"OPTIONS"),
        (b"x-method-override", b"OPTIONS"),
        (b"authorization_", b"Bearer x"),
        (b"x-forwarded-user", b"moderator"),
    ],
)
def test_no_other_header_opens_anything(app, site, header):
    assert send(app, "/tree/home", headers=[header]) == 401
    assert site.runs == []


def test_a_guarded_host_answers_no_other(site):
    app = Starlette(
        routes=[
            protect(Host("rooms.example", app=Router(site.routes()))),
            Mount("/video", app=rolecall_app(site.kit)),
        ]
    )
    for host in (b"rooms.example", b"ROOMS.example", b"rooms.example:8000", b"rooms.example."):
        assert send(app, "/home", headers=[(b"host", host)]) in {401, 404}
    assert site.runs == []


# -- methods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "post", "Post", "HELPER", "helper", "__INIT__", "DISPATCH", "POST ", ""])
def test_a_public_method_opens_no_other_method_of_its_class(app, site, method):
    assert send(app, "/tree/mixed", method=method) in {401, 405}
    assert site.runs == []


@pytest.mark.parametrize("method", ["options", "Options", "OPTIONS "])
def test_a_method_that_looks_like_options_needs_a_token(app, site, method):
    assert send(app, "/tree/home", method=method) in {401, 405}
    assert send(app, "/tree/app/", method=method) == 401
    assert site.runs == []


class OverridesMethod:
    """A middleware as there are many: a form says with which method it was meant."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send):
        override = dict(scope.get("headers", ())).get(b"x-http-method-override")
        await self.app({**scope, "method": override.decode()} if override else scope, receive, send)


class MovesPaths:
    """A middleware that answers an old address with what has moved elsewhere."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send):
        moved = {**scope, "path": "/home"} if scope.get("path") == "/welcome" else scope
        await self.app(moved, receive, send)


@pytest.mark.parametrize("override", [b"POST", b"post", b"OPTIONS"])
def test_a_whole_app_is_guarded_behind_its_middleware_that_changes_the_method(site, override):
    app = Starlette(routes=site.routes(), middleware=[Middleware(OverridesMethod)])
    app.state.rolecall = site.kit
    send(protect(app), "/mixed", headers=[(b"x-http-method-override", override)])
    assert site.runs == []


def test_a_whole_app_is_guarded_behind_its_middleware_that_changes_the_path(site):
    app = Starlette(routes=site.routes(), middleware=[Middleware(MovesPaths)])
    app.state.rolecall = site.kit
    assert send(protect(app), "/welcome") == 401
    assert site.runs == []


class Rewrites:
    """What middleware may make of a request that it passes on."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send):
        headers = dict(scope.get("headers", ()))
        scope = {**scope}
        if method := headers.get(b"x-method"):
            scope["method"] = method.decode()
        if path := headers.get(b"x-path"):
            scope["path"] = scope.get("root_path", "") + path.decode()
        await self.app(scope, receive, send)


async def rewriting(request, call_next):
    """Rewrites within ``BaseHTTPMiddleware``, which hands its own scope on."""
    if method := request.headers.get("x-method"):
        request.scope["method"] = method
    if path := request.headers.get("x-path"):
        request.scope["path"] = request.scope.get("root_path", "") + path
    return await call_next(request)


PURE = Middleware(Rewrites)
BASE = Middleware(BaseHTTPMiddleware, dispatch=rewriting)


def in_an_app(routes, guard, middleware, kit):
    inner = Starlette(routes=routes, middleware=[middleware])
    return Starlette(routes=[guard(Mount("/in", app=inner)), Mount("/video", app=rolecall_app(kit))])


def in_an_app_below(routes, guard, middleware, kit):
    inner = Starlette(routes=routes, middleware=[middleware])
    outer = Starlette(routes=[Mount("/", app=inner)])
    return Starlette(routes=[guard(Mount("/in", app=outer)), Mount("/video", app=rolecall_app(kit))])


def in_a_router(routes, guard, middleware, kit):
    inner = Router(routes, middleware=[middleware])
    return Starlette(routes=[guard(Mount("/in", app=inner)), Mount("/video", app=rolecall_app(kit))])


def in_a_mount(routes, guard, middleware, kit):
    mount = Mount("/in", routes=routes, middleware=[middleware])
    return Starlette(routes=[guard(mount), Mount("/video", app=rolecall_app(kit))])


def in_a_mount_below(routes, guard, middleware, kit):
    mount = Mount("/in", routes=[Mount("/", routes=routes, middleware=[middleware])])
    return Starlette(routes=[guard(mount), Mount("/video", app=rolecall_app(kit))])


def around_an_app(routes, guard, middleware, kit):
    inner = middleware.cls(Starlette(routes=routes), *middleware.args, **middleware.kwargs)
    return Starlette(routes=[Mount("/in", app=guard(inner)), Mount("/video", app=rolecall_app(kit))])


def around_an_app_that_is_guarded_twice(routes, guard, middleware, kit):
    inner = Starlette(routes=routes, middleware=[middleware])
    inner.state.rolecall = kit
    return Starlette(routes=[guard(Mount("/in", app=protect(guard(inner)))), Mount("/video", app=rolecall_app(kit))])


#: Where a guard around looks once more at what the middleware has made of a request.
SEEN = [in_an_app, around_an_app, around_an_app_that_is_guarded_twice]
#: Where no guard around can look.
UNSEEN = [in_an_app_below, in_a_router, in_a_mount, in_a_mount_below]


def protect_for_any_session(target):
    return protect(target, require_token(session_param=None))


@pytest.mark.parametrize("middleware", [PURE, BASE], ids=["pure", "base"])
@pytest.mark.parametrize(
    ("make", "guard"),
    [*((make, protect) for make in SEEN), *((make, protect_for_any_session) for make in [*SEEN, *UNSEEN])],
    ids=lambda function: function.__name__,
)
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/in/welcome", [(b"x-path", b"/home")]),
        ("/in/mixed", [(b"x-method", b"POST")]),
        ("/in/welcome", [(b"x-path", b"/mixed"), (b"x-method", b"POST")]),
        ("/in/welcome", [(b"x-path", b"/sub/home/")]),
    ],
)
def test_what_is_public_is_decided_at_the_endpoint_that_runs(site, make, guard, middleware, path, headers):
    app = make(site.routes(), guard, middleware, site.kit)
    assert send(app, path, headers=headers) == 401
    assert site.runs == []
    token = site.kit.create_session().generate_token()
    assert send(app, path, token, headers=headers) == 200
    assert site.runs == [None]


@pytest.mark.parametrize("make", [in_an_app, around_an_app_that_is_guarded_twice], ids=lambda make: make.__name__)
def test_what_is_public_stays_so_where_middleware_leaves_it_alone(site, make):
    app = make(site.routes(), protect, PURE, site.kit)
    assert [send(app, path) for path in ("/in/welcome", "/in/mixed", "/in/home", "/in/nowhere")] == [200, 200, 401, 401]
    assert site.runs == []


@pytest.mark.parametrize("make", SEEN, ids=lambda make: make.__name__)
def test_a_session_that_middleware_puts_into_the_path_is_refused_too(site, make):
    mine, other = site.kit.create_session(), site.kit.create_session()
    app = make(site.routes(), protect, PURE, site.kit)
    path, token = f"/in/rooms/{mine.session_id}/home", mine.generate_token()
    moved = [(b"x-path", f"/rooms/{other.session_id}/home".encode())]
    assert [send(app, path, token, headers=headers) for headers in ([], moved)] == [200, 403]
    assert site.runs == [mine.session_id]


@pytest.mark.parametrize("middleware", [PURE, BASE], ids=["pure", "base"])
@pytest.mark.parametrize("make", UNSEEN, ids=lambda make: make.__name__)
@pytest.mark.parametrize("path", ["/in/rooms/{mine}/home", "/in/rooms/{other}/home", "/in/home", "/in/nowhere"])
def test_a_guard_that_binds_a_session_lets_nobody_in_where_middleware_hides_it(site, make, middleware, path):
    mine, other = site.kit.create_session(), site.kit.create_session()
    app = make(site.routes(), protect, middleware, site.kit)
    path, token = path.format(mine=mine.session_id, other=other.session_id), mine.generate_token()
    for headers in ([], [(b"x-path", f"/rooms/{other.session_id}/home".encode())]):
        with pytest.raises(ConfigurationError, match=r"middleware stands between.*session=….*or session_param=None"):
            send(app, path, token, headers=headers)
    assert site.runs == []


@pytest.mark.parametrize("make", UNSEEN, ids=lambda make: make.__name__)
def test_a_function_may_find_the_session_that_middleware_hides(site, make):
    mine, other = site.kit.create_session(), site.kit.create_session()
    guard = require_token(session=lambda connection: mine.session_id)
    app = make(site.routes(), guard, PURE, site.kit)
    path = f"/in/rooms/{mine.session_id}/home"
    assert [send(app, path, one.generate_token()) for one in (mine, other)] == [200, 403]
    assert site.runs == [mine.session_id]


def test_middleware_opens_no_other_websocket_than_it_should(kit):
    ran = []

    @public
    async def welcome(websocket):
        await websocket.accept()
        await websocket.close()

    async def room(websocket):
        ran.append(websocket.path_params["session_id"])
        await welcome(websocket)

    routes = [WebSocketRoute("/welcome", welcome), WebSocketRoute("/rooms/{session_id}", room)]
    app = in_an_app(routes, protect, PURE, kit)
    session = kit.create_session()
    mine, other = f"/rooms/{session.session_id}", f"/rooms/{kit.create_session().session_id}"
    token = session.generate_token()

    def knock(path, moved=None, token=None):
        headers = {"x-path": moved} if moved else {}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        try:
            with TestClient(app).websocket_connect(f"/in{path}", headers=headers):
                return 101
        except WebSocketDenialResponse as refusal:
            return refusal.status_code

    assert [knock("/welcome"), knock("/welcome", mine), knock(mine, "/welcome")] == [101, 401, 401]
    assert [knock("/welcome", other, token), knock(mine, other, token)] == [403, 403]
    assert ran == []
    assert [knock(mine, None, token), knock("/welcome", mine, token)] == [101, 101]
    assert ran == [session.session_id] * 2


def test_what_is_public_in_a_whole_fastapi_app_is_open(kit):
    app, router = FastAPI(openapi_url=None), APIRouter()
    app.state.rolecall = kit

    @router.get("/poster")
    @public
    async def poster():
        return "poster"

    @router.get("/home")
    async def home():
        return "home"

    app.include_router(router, prefix="/in")
    guarded = protect(app)
    assert [send(guarded, path) for path in ("/in/poster", "/in/home")] == [200, 401]


def test_an_app_behind_several_guards_is_looked_at_once_more_and_not_more_often(kit):
    app = Starlette(routes=Site(kit).routes())
    for _ in range(3):
        Mount("/in", app=protect(protect(Mount("/x", app=app)).app))
    assert len(app.user_middleware) == 1


def test_a_whole_app_is_protected_where_it_stands(site):
    """As a mount is: an app that nothing was put in place of must not stay open."""
    app = Starlette(routes=site.routes())
    app.state.rolecall = site.kit
    protect(app)
    assert send(app, "/home") == 401
    assert site.runs == []


# -- who goes away, and who comes in between -------------------------------------------------------


def test_a_client_that_goes_away_while_a_policy_votes_reaches_nothing(make_kit):
    class Slow:
        @hookimpl
        async def rolecall_vote_access(self, request):
            voting.set()
            await asyncio.sleep(60)

    site = Site(make_kit(plugins=[Slow()]))
    token = site.kit.create_session().generate_token()
    voting = asyncio.Event()

    async def run():
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/tree/home",
            "headers": [(b"authorization", f"Bearer {token}".encode())],
        }
        request = asyncio.create_task(site.mounted()(scope, None, None))
        await voting.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(run())
    assert site.runs == []


def test_a_session_that_ends_while_a_policy_votes_lets_nobody_in(make_kit):
    class Ends:
        @hookimpl
        async def rolecall_vote_access(self, request):
            await asyncio.sleep(0)
            session.end()

    site = Site(make_kit(plugins=[Ends()]))
    session = site.kit.create_session()
    assert send(site.mounted(), "/tree/home", session.generate_token()) == 401
    assert site.runs == []


def test_a_policy_that_never_answers_is_given_up_and_lets_nobody_in(make_kit):
    class Never:
        @hookimpl
        async def rolecall_vote_access(self, request):
            await asyncio.Event().wait()

    site = Site(make_kit(plugins=[Never()], hook_timeout=0.02))
    assert send(site.mounted(), "/tree/home", site.kit.create_session().generate_token()) == 503
    assert site.runs == []


def test_a_policy_that_answers_true_lets_nobody_in(make_kit):
    class Truthy:
        @hookimpl
        async def rolecall_vote_access(self, request):
            return True

    site = Site(make_kit(plugins=[Truthy()]))
    assert send(site.mounted(), "/tree/home", site.kit.create_session().generate_token()) == 503
    assert site.runs == []


def test_a_grant_in_the_state_of_the_server_is_no_grant(kit):
    """What a lifespan leaves in the state is there in every request."""

    async def endpoint(request):
        return PlainTextResponse("in")

    app = Starlette(routes=[Route("/x", require_token(endpoint))])
    app.state.rolecall = kit
    assert send(app, "/x", state={"grant": kit.verify_token(kit.create_session().generate_token())}) == 401


def test_a_guard_that_is_added_as_middleware_binds_the_session_and_leaves_the_kit_alone(make_kit):
    kit = make_kit()
    app = Starlette(
        routes=[
            Route("/rooms/{session_id}", lambda request: PlainTextResponse("in")),
            Route("/poster", public(lambda request: PlainTextResponse("open"))),
            Mount("/video", app=rolecall_app(kit)),
        ]
    )
    app.add_middleware(require_token(kit=kit))
    session, other = kit.create_session(), kit.create_session()
    client, headers = TestClient(app), {"Authorization": f"Bearer {session.generate_token()}"}
    assert client.get(f"/rooms/{session.session_id}", headers=headers).status_code == 200
    assert client.get(f"/rooms/{other.session_id}", headers=headers).status_code == 403
    assert client.get(f"/rooms/{session.session_id}").status_code == 401
    assert client.get("/poster").status_code == 200
    assert client.get("/video/openapi.json").status_code == 200


def test_an_app_with_an_open_route_does_not_start(kit):
    class Half(HTTPEndpoint):
        @require_token(kit=kit)
        async def delete(self, request):
            return PlainTextResponse("in")

    class Lost(Half):
        async def delete(self, request):
            return PlainTextResponse("in")

    for endpoint in (Half, Lost):
        app = Starlette(routes=[Route("/x", endpoint)], lifespan=rolecall_lifespan(kit))
        if endpoint is Half:
            with TestClient(app) as client:
                assert client.delete("/x").status_code == 401
        else:
            with pytest.raises(ConfigurationError, match="which Lost overrides"), TestClient(app):
                pass
