"""The kit's routes in Starlette: mounted, or in the app's own list; every route, and what is none of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Host, Mount, NoMatchFound, Route, Router
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from rolecall import Allow, RolecallError, hookimpl
from rolecall.errors import ConfigurationError
from rolecall.http.api.rest import ROUTES
from rolecall.http.messages import MAX_BODY
from rolecall.http.web import Web
from rolecall.policies import AllowAnyone
from rolecall_starlette import problem_response, rolecall_app, rolecall_routes

from ..untyped import untyped

OTHER_KEY, OTHER_SECRET = "654321", "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789"
NOW = 1_795_186_800


class Api:
    """A client of the kit's routes, wherever they are mounted."""

    def __init__(self, app, prefix: str, **options) -> None:
        self._client = TestClient(app, follow_redirects=False, **options)
        self._prefix = prefix

    def __call__(self, method: str, path: str, token: str | None = None, **options):
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self._client.request(method, self._prefix + path, headers=headers, **options)


async def own_page(*_):
    return PlainTextResponse("the app's own page", 418)


#: What an app may do with errors; none of it is to reach the answers of the kit.
OWN_PAGES = dict.fromkeys((400, 401, 403, 404, 405, 413, 415), own_page) | {
    HTTPException: own_page,
    RolecallError: own_page,
}


def alone(kit):
    return Api(rolecall_app(kit), "")


def mounted(kit):
    return Api(Starlette(routes=[Mount("/video", app=rolecall_app(kit))]), "/video")


def mounted_with_error_handlers(kit):
    app = Starlette(routes=[Mount("/video", app=rolecall_app(kit))], exception_handlers=OWN_PAGES)
    return Api(app, "/video")


def mounted_deeply(kit):
    inner = Starlette(routes=[Mount("/video", app=rolecall_app(kit))])
    return Api(Starlette(routes=[Mount("/api/{tenant}", routes=[Mount("/v1", app=inner)])]), "/api/acme/v1/video")


def under_a_root_path(kit):
    """As servers do it: what the server itself is mounted under is in the path, too."""
    app = Starlette(routes=[Mount("/video", app=rolecall_app(kit))])
    return Api(app, "/behind/a/proxy/video", root_path="/behind/a/proxy")


def in_the_apps_own_list(kit):
    return Api(Starlette(routes=[*rolecall_routes(kit)], exception_handlers=OWN_PAGES), "")


def in_the_list_of_a_mount(kit):
    return Api(Starlette(routes=[Mount("/video", routes=rolecall_routes(kit))]), "/video")


def in_a_router(kit):
    return Api(Router([Mount("/video", routes=rolecall_routes(kit))]), "/video")


WAYS = [
    alone,
    mounted,
    mounted_with_error_handlers,
    mounted_deeply,
    under_a_root_path,
    in_the_apps_own_list,
    in_the_list_of_a_mount,
    in_a_router,
]


@pytest.fixture
def kit(make_kit):
    return make_kit(plugins=[AllowAnyone("moderator")])


@pytest.fixture
def session(kit):
    return kit.create_session()


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def api(request, kit):
    return request.param(kit)


def assert_problem(response, status: int, code: str) -> None:
    assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Length"] == str(len(response.content))
    assert (response.json()["status"], response.json()["code"]) == (status, code)


# -- every route, wherever it is --------------------------------------------------------------------


def test_a_session_is_created(api, kit):
    response = api("POST", "/sessions", json={"media_mode": "routed"})
    assert (response.status_code, response.headers["Content-Type"]) == (201, "application/json")
    assert response.headers["Cache-Control"] == "no-store"
    assert kit.get_session(response.json()["session_id"]).media_mode == "routed"


def test_a_session_is_read(api, session):
    response = api("GET", f"/sessions/{session.session_id}", session.generate_token("subscriber"))
    assert (response.status_code, response.json()["session_id"]) == (200, session.session_id)


def test_a_session_is_ended(api, kit, session):
    response = api("DELETE", f"/sessions/{session.session_id}", session.generate_token("moderator"))
    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Length" not in response.headers
    assert kit.get_session(session.session_id).ended_at == NOW


def test_a_token_is_issued(api, kit, session):
    asked = {"role": "moderator", "data": 'Zoë "Z"'}
    response = api("POST", f"/sessions/{session.session_id}/tokens", json=asked)
    assert response.status_code == 201
    grant = kit.verify_token(response.json()["token"], session.session_id)
    assert (grant.role, grant.data) == ("moderator", 'Zoë "Z"')


def test_the_description_is_read(api):
    response = api("GET", "/openapi.json")
    assert (response.status_code, response.json()["openapi"]) == (200, "3.1.0")


def test_without_a_token_there_is_a_challenge(api, session):
    response = api("GET", f"/sessions/{session.session_id}")
    assert_problem(response, 401, "missing_token")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="rolecall"'


# -- methods ---------------------------------------------------------------------------------------

#: One route that is posted to, one with a parameter and several methods, and one that is open to all: the table of the
#: conformance suite has every route.
PATHS = ["/sessions", "/sessions/x", "/openapi.json"]
METHODS = {route.path.replace("{session_id}", "x"): route.methods for route in ROUTES}
WRONG_METHODS = [
    (path, method)
    for path in PATHS
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY", "PROPFIND")
    if method not in METHODS[path]
]


@pytest.fixture(params=[mounted, in_the_apps_own_list], ids=lambda way: way.__name__)
def one_of_two(request, kit):
    return request.param(kit)


@pytest.mark.parametrize(("path", "method"), WRONG_METHODS)
def test_another_method_is_answered_with_those_that_are_allowed(one_of_two, path, method):
    response = one_of_two(method, path)
    assert (response.status_code, response.headers["Allow"]) == (405, ", ".join(METHODS[path]))
    if method != "HEAD":
        assert_problem(response, 405, "method_not_allowed")


@pytest.mark.parametrize("path", PATHS)
def test_options_needs_no_token(one_of_two, path):
    response = one_of_two("OPTIONS", path)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["Allow"] == ", ".join(METHODS[path])


def test_head_answers_as_get_without_the_body(one_of_two, session):
    path, token = f"/sessions/{session.session_id}", session.generate_token()
    got, headed = one_of_two("GET", path, token), one_of_two("HEAD", path, token)
    assert (headed.status_code, headed.content, dict(headed.headers)) == (200, b"", dict(got.headers))


# -- what is no route ------------------------------------------------------------------------------

NO_ROUTES = [
    "/",
    "//sessions",
    "/sessions/",
    "/sessions//tokens",
    "/sessions/x/",
    "/sessions/x/tokens/",
    "/sessions/x/tokens/y",
    "/Sessions",
    "/session",
    "/sessions/x%2Fy",
    "/openapi.json/",
    "/openapi",
]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", NO_ROUTES)
def test_an_unknown_path_within_the_mount_is_a_problem(kit, path, method):
    response = mounted_with_error_handlers(kit)(method, path)
    assert_problem(response, 404, "route_not_found")


@pytest.mark.parametrize("path", NO_ROUTES)
def test_no_path_within_the_mount_sends_a_client_elsewhere(kit, path):
    response = mounted(kit)("POST", path, headers={"Host": "evil.example"})
    assert response.status_code == 404
    assert "location" not in response.headers
    assert b"evil.example" not in response.content


def test_an_unknown_path_answers_head_without_a_body(kit):
    response = mounted(kit)("HEAD", "/nowhere")
    assert (response.status_code, response.content) == (404, b"")


def test_a_websocket_at_the_kits_routes_is_refused(api):
    with pytest.raises(WebSocketDisconnect), api._client.websocket_connect(api._prefix + "/sessions"):
        pass


def test_what_the_app_does_not_know_is_the_apps_own_affair(kit):
    assert in_the_apps_own_list(kit)("GET", "/nowhere").status_code == 418


# -- names -----------------------------------------------------------------------------------------


async def urls_of(request):
    names = request.query_params["names"].split(",")
    return JSONResponse(
        [str(request.url_for(name, **({} if name.endswith("sessions") else {"session_id": "x"}))) for name in names]
    )


def urls(routes, names, root=""):
    app = Starlette(routes=[*routes, Route("/urls", urls_of)])
    return TestClient(app, root_path=root).get(f"{root}/urls", params={"names": names}).json()


def test_a_mount_with_a_name_has_the_routes_below_it(kit):
    app = Starlette(routes=[Mount("/video", app=rolecall_app(kit), name="video")])
    assert app.url_path_for("video:sessions") == "/video/sessions"
    assert app.url_path_for("video:session", session_id="x") == "/video/sessions/x"
    assert app.url_path_for("video:tokens", session_id="x") == "/video/sessions/x/tokens"
    assert app.url_path_for("video:openapi") == "/video/openapi.json"


def test_a_mount_without_a_name_has_the_routes_as_they_are(kit):
    app = Starlette(routes=[Mount("/video", app=rolecall_app(kit))])
    assert app.url_path_for("tokens", session_id="x") == "/video/sessions/x/tokens"


def test_routes_in_the_apps_own_list_begin_with_rolecall(kit):
    app = Starlette(routes=rolecall_routes(kit))
    assert [app.url_path_for("rolecall.sessions"), app.url_path_for("rolecall.tokens", session_id="x")] == [
        "/sessions",
        "/sessions/x/tokens",
    ]


def test_a_name_that_no_route_has_is_found_nowhere(kit):
    with pytest.raises(NoMatchFound):
        Starlette(routes=rolecall_routes(kit)).url_path_for("sessions")


def test_routes_below_a_mount_of_ones_own_have_both_names(kit):
    app = Starlette(routes=[Mount("/video", routes=rolecall_routes(kit), name="video")])
    assert app.url_path_for("video:rolecall.sessions") == "/video/sessions"


def test_an_endpoint_finds_the_urls(kit):
    routes = [Mount("/video", app=rolecall_app(kit), name="video")]
    assert urls(routes, "video:sessions,video:tokens") == [
        "http://testserver/video/sessions",
        "http://testserver/video/sessions/x/tokens",
    ]


def test_an_endpoint_finds_the_urls_behind_a_root_path(kit):
    assert urls(rolecall_routes(kit), "rolecall.sessions", "/behind") == ["http://testserver/behind/sessions"]


def test_every_route_has_a_name_of_its_own(kit):
    names = [getattr(route, "name", None) for route in rolecall_routes(kit)]
    assert names == [f"rolecall.{route.name}" for route in ROUTES]
    assert len(set(names)) == len(names)


# -- apps and kits ---------------------------------------------------------------------------------


def test_two_kits_in_one_app_have_a_name_each(kit, make_kit):
    other = make_kit(api_key=OTHER_KEY, api_secret=OTHER_SECRET, plugins=[AllowAnyone()])
    app = Starlette(
        routes=[
            Mount("/school", routes=rolecall_routes(kit, "school")),
            Mount("/clinic", routes=rolecall_routes(other, "clinic")),
        ]
    )
    assert app.url_path_for("school.sessions") == "/school/sessions"
    assert app.url_path_for("clinic.sessions") == "/clinic/sessions"
    client = TestClient(app)
    in_school, in_clinic = (client.post(f"/{at}/sessions").json()["session_id"] for at in ("school", "clinic"))
    assert kit.get_session(in_school)
    assert other.get_session(in_clinic)
    assert client.post(f"/clinic/sessions/{in_school}/tokens").json()["code"] == "invalid_session_id"


def test_one_kit_may_serve_two_apps(kit):
    first, second = mounted(kit), in_the_apps_own_list(kit)
    session_id = first("POST", "/sessions").json()["session_id"]
    assert second("POST", f"/sessions/{session_id}/tokens").status_code == 201


def test_two_apps_share_nothing(make_kit):
    first, second = (mounted(make_kit(plugins=[AllowAnyone()])) for _ in range(2))
    session_id = first("POST", "/sessions").json()["session_id"]
    assert_problem(second("POST", f"/sessions/{session_id}/tokens"), 404, "session_not_found")


def test_the_routes_of_an_app_are_beside_those_of_the_kit(kit):
    async def home(_):
        return PlainTextResponse("home")

    app = Starlette(routes=[Route("/", home), *rolecall_routes(kit)])
    client = TestClient(app)
    assert (client.get("/").text, client.post("/sessions").status_code) == ("home", 201)


def test_the_kit_answers_behind_the_apps_middleware(kit):
    allow = Middleware(CORSMiddleware, allow_origins=["https://app.example"])
    app = Starlette(routes=[Mount("/video", app=rolecall_app(kit))], middleware=[allow])
    response = Api(app, "/video")("POST", "/sessions", headers={"Origin": "https://app.example"}, json={})
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
    redirected = Api(HTTPSRedirectMiddleware(app), "/video")("POST", "/sessions")
    assert redirected.status_code == 307


def test_the_kit_answers_for_a_host(kit):
    app = Starlette(routes=[Host("video.example", app=rolecall_app(kit), name="video")])
    assert TestClient(app, base_url="http://video.example").post("/sessions").status_code == 201
    assert TestClient(app).post("/sessions").status_code == 404
    assert app.url_path_for("video:sessions").make_absolute_url("http://x") == "http://video.example/sessions"


def test_a_server_may_run_the_routes_alone_with_their_lifespan(kit):
    with TestClient(rolecall_app(kit)) as client:
        assert client.post("/sessions").status_code == 201


@pytest.mark.parametrize("wrong", [None, "kit", object()], ids=["none", "text", "object"])
@pytest.mark.parametrize("make", [rolecall_app, rolecall_routes])
def test_routes_without_a_kit_stop_at_once(make, wrong):
    with pytest.raises(ConfigurationError, match=r"the routes are those of a Rolecall\(…\), not of"):
        make(wrong)


def test_the_apps_own_endpoints_answer_the_kits_errors_with_problems(kit):
    def create_token(request):
        kit.generate_token("1_made-up")

    async def raises_something_else(request):
        raise ValueError("not the kit's")

    app = Starlette(
        routes=[Route("/token", create_token), Route("/other", raises_something_else)],
        exception_handlers={RolecallError: problem_response},
    )
    assert_problem(TestClient(app).get("/token"), 400, "invalid_session_id")
    assert TestClient(app, raise_server_exceptions=False).get("/other").status_code == 500


def test_what_is_no_error_of_the_kit_is_not_for_the_handler():
    with pytest.raises(ValueError, match="not the kit's"):
        asyncio.run(problem_response(untyped(None), ValueError("not the kit's")))


# -- policies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_policy_sees_the_request_as_it_was_routed(make_kit, way):
    seen = []

    class Watch:
        @hookimpl
        async def rolecall_vote_token(self, request):
            if request.http:
                seen.append(request.http)
            return Allow()

    kit = make_kit(plugins=[Watch()])
    session_id = kit.create_session().session_id
    assert way(kit)("POST", f"/sessions/{session_id}/tokens", headers={"Host": "evil.example"}).status_code == 201
    (http,) = seen
    assert (http.method, http.framework, http.path_params["session_id"]) == ("POST", "starlette", session_id)
    assert http.route.endswith(f"/sessions/{session_id}/tokens")


# -- bodies, as a server hands them on --------------------------------------------------------------


async def post(app, receive, *headers):
    """What ``app`` sends in answer to a request for a session, whose body ``receive`` gives."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/video/sessions",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), *headers],
    }
    await app(scope, receive, send)
    start, body = sent
    return start["status"], json.loads(body["body"])


@pytest.fixture
def make_app(make_kit):
    def make(**options):
        kit = make_kit(plugins=[AllowAnyone()], **options)
        return Starlette(routes=[Mount("/video", app=rolecall_app(kit))])

    return make


def chunks(*bodies):
    """Gives the parts of a body, and counts those that are taken."""
    left = list(bodies)

    async def take():
        receive.taken += 1
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    receive: Any = take
    receive.taken = 0
    return receive


def test_a_body_in_chunks_is_read_to_its_end(make_app):
    status, created = asyncio.run(post(make_app(), chunks(b'{"media_', b"", b'mode":"routed"}')))
    assert (status, created["media_mode"]) == (201, "routed")


def test_no_more_is_read_of_a_body_in_chunks_than_is_accepted(make_app):
    receive = chunks(*[b" " * 1024] * 1000)
    status, refusal = asyncio.run(post(make_app(), receive))
    assert (status, refusal["code"], receive.taken) == (413, "body_too_large", MAX_BODY // 1024 + 1)


def test_nothing_is_read_of_a_body_that_announces_too_much(make_app):
    receive = chunks(b"{}")
    status, _ = asyncio.run(post(make_app(), receive, (b"content-length", b"%d" % (MAX_BODY + 1))))
    assert (status, receive.taken) == (413, 0)


@pytest.mark.parametrize("length", [b"x", b"-1", b"1e3", b"2, 2", b"9" * 5000], ids=lambda length: length[:4])
def test_a_length_that_is_none_is_refused(make_app, length):
    status, _ = asyncio.run(post(make_app(), chunks(b"{}"), (b"content-length", length)))
    assert status in {400, 413}


def test_a_client_that_goes_away_in_the_middle_creates_nothing(make_app):
    parts = [{"type": "http.request", "body": b"{}", "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return parts.pop(0)

    status, refusal = asyncio.run(post(make_app(), receive))
    assert (status, refusal["code"]) == (400, "invalid_request")


def test_a_body_that_does_not_arrive_is_not_waited_for(make_app):
    async def receive():
        await asyncio.sleep(60)

    status, refusal = asyncio.run(post(make_app(web=Web(body_timeout=0.01)), receive))
    assert (status, refusal["code"]) == (400, "invalid_request")
