"""Rolecall in aiohttp: guards on handlers, views and apps, the kit's routes, and what the table does not ask."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from functools import wraps

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

import rolecall_aiohttp
from rolecall import Deny, Rolecall, Web, hookimpl
from rolecall.cli.apps import find_app, routes_of
from rolecall.errors import ConfigurationError
from rolecall_aiohttp import current_grant, find_grant, protect, public, require_capability, require_role, require_token
from rolecall_aiohttp.guards import Refused

from ..untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"


@pytest.fixture
def kit():
    with Rolecall(KEY, SECRET, entry_points=False) as kit:
        yield kit


@pytest.fixture
def room(kit):
    return kit.create_session().session_id


def on_loop(test: Callable) -> Callable:
    """A test that is a coroutine, on an event loop of its own."""

    @wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


def client(app: web.Application) -> TestClient:
    return TestClient(TestServer(app))


def bearer(kit: Rolecall, room: str, role: str = "moderator") -> dict[str, str]:
    return {"Authorization": f"Bearer {kit.generate_token(room, untyped(role))}"}


def site(kit: Rolecall, *routes: web.RouteDef, **options) -> web.Application:
    app = web.Application(**options)
    rolecall_aiohttp.setup(app, kit, "/video")
    app.add_routes(routes)
    return app


async def answer(request: web.Request) -> web.Response:
    grant = find_grant(request)
    return web.json_response(grant and {"role": grant.role})


async def answer_openly(request: web.Request) -> web.Response:
    assert find_grant(request) is None
    return web.Response(text="open to all")


# -- what is guarded -----------------------------------------------------------------------------------


@on_loop
async def test_a_guarded_handler_has_the_grant(kit, room):
    @require_role("publisher")
    async def handler(request):
        return web.json_response({"role": current_grant(request).role, "data": current_grant(request).data})

    async with client(site(kit, web.get("/rooms/{session_id}", handler))) as asked:
        refused = await asked.get(f"/rooms/{room}")
        assert (refused.status, (await refused.json())["code"]) == (401, "missing_token")
        token = kit.generate_token(room, "publisher", data="ada")
        entered = await asked.get(f"/rooms/{room}", headers={"Authorization": f"Bearer {token}"})
        assert await entered.json() == {"role": "publisher", "data": "ada"}
        assert entered.headers["Cache-Control"] == "no-store"


@on_loop
async def test_a_guarded_view_guards_each_method_and_what_inherits_from_it(kit, room):
    ran = []

    @require_role("moderator")
    class Room(web.View):
        async def get(self):
            ran.append("get")
            return web.json_response({"role": current_grant(self.request).role})

    class Further(Room):
        async def delete(self):
            ran.append("delete")
            return web.Response(status=204)

    app = site(kit, web.view("/rooms/{session_id}", Further))
    async with client(app) as asked:
        for method in ("GET", "DELETE", "PUT"):
            assert (await asked.request(method, f"/rooms/{room}")).status == 401
        assert ran == []
        assert (await asked.get(f"/rooms/{room}", headers=bearer(kit, room))).status == 200
        assert (await asked.delete(f"/rooms/{room}", headers=bearer(kit, room))).status == 204
        assert (await asked.put(f"/rooms/{room}", headers=bearer(kit, room))).status == 405


@on_loop
async def test_every_guarded_base_of_a_view_guards(kit, room):
    @require_role("publisher")
    class Publishing(web.View):
        async def get(self):
            return web.Response()

    @require_capability("force_disconnect")
    class Moderating(web.View):
        pass

    class Both(Publishing, Moderating):
        pass

    async with client(site(kit, web.view("/rooms/{session_id}", Both))) as asked:
        statuses = [
            (await asked.get(f"/rooms/{room}", headers=bearer(kit, room, role))).status
            for role in ("subscriber", "publisher", "moderator")
        ]
    assert statuses == [403, 403, 200]


@on_loop
async def test_a_method_of_a_view_or_of_any_object_can_be_guarded(kit, room):
    class Room(web.View):
        async def get(self):
            return web.Response(text="open")

        @require_role("moderator")
        async def delete(self):
            return web.Response(text=current_grant(self.request).role)

    class Handlers:
        @require_role("moderator")
        async def read(self, request):
            return web.Response(text=current_grant(request).role)

    app = site(kit, web.view("/rooms/{session_id}", Room), web.get("/read/{session_id}", Handlers().read))
    async with client(app) as asked:
        assert (await asked.get(f"/rooms/{room}")).status == 200
        assert (await asked.delete(f"/rooms/{room}")).status == 401
        assert await (await asked.delete(f"/rooms/{room}", headers=bearer(kit, room))).text() == "moderator"
        assert (await asked.get(f"/read/{room}", headers=bearer(kit, room, "publisher"))).status == 403
        assert await (await asked.get(f"/read/{room}", headers=bearer(kit, room))).text() == "moderator"


@on_loop
async def test_a_guarded_helper_lets_nobody_by(kit, room):
    """A helper that returned its refusal would be taken for one that let in."""
    ran = []

    @require_role("moderator")
    async def only_moderators(request):
        return None

    async def handler(request):
        await only_moderators(request)
        ran.append(request.method)
        return web.Response()

    async with client(site(kit, web.route("*", "/rooms/{session_id}", handler))) as asked:
        assert (await asked.get(f"/rooms/{room}", headers=bearer(kit, room, "publisher"))).status == 403
        assert (await asked.options(f"/rooms/{room}")).status == 204
        assert ran == []
        assert (await asked.get(f"/rooms/{room}", headers=bearer(kit, room))).status == 200


@on_loop
async def test_a_protected_app_guards_what_is_in_it_and_within(kit, room):
    inner = web.Application()
    inner.add_routes([web.get("/{session_id}", answer), web.get("/open/all", public(answer_openly))])
    app = protect(site(kit, web.get("/rooms/{session_id}", answer)), require_role("publisher"))
    app.add_subapp("/inner", inner)
    app.router.add_static("/files", ".")
    async with client(app) as asked:
        for path in (f"/rooms/{room}", f"/inner/{room}", "/nothing", "/files/README.md"):
            assert (await asked.get(path)).status == 401, path
            assert (await asked.get(path, headers=bearer(kit, room, "subscriber"))).status == 403, path
        good = bearer(kit, room, "publisher")
        statuses = [
            (await asked.get(path, headers=good)).status
            for path in (f"/rooms/{room}", f"/inner/{room}", "/nothing", "/files/README.md")
        ]
        assert statuses == [200, 200, 404, 200]
        other = bearer(kit, kit.create_session().session_id, "publisher")
        assert [(await asked.get(f"/{where}/{room}", headers=other)).status for where in ("rooms", "inner")] == [
            403
        ] * 2
        assert (await asked.get("/inner/open/all")).status == 200
        assert (await asked.post("/video/sessions")).status == 403  # the kit's own, which no policy has opened


@on_loop
async def test_a_protected_sub_app_leaves_the_rest_open(kit, room):
    inner = protect(web.Application())
    inner.add_routes([web.get("/{session_id}", answer)])
    app = site(kit, web.get("/bare", answer))
    app.add_subapp("/inner", inner)
    async with client(app) as asked:
        assert (await asked.get("/bare")).status == 200
        assert (await asked.get(f"/inner/{room}")).status == 401
        assert (await asked.get("/inner/a/b")).status == 401
        assert (await asked.get(f"/inner/{room}", headers=bearer(kit, room))).status == 200


@on_loop
async def test_the_guard_of_an_app_comes_before_its_other_middlewares(kit, room):
    ran = []

    @web.middleware
    async def noting(request, handler):
        ran.append(request.path)
        return await handler(request)

    app = protect(site(kit, web.get("/rooms/{session_id}", answer), middlewares=[noting]))
    async with client(app) as asked:
        assert (await asked.get(f"/rooms/{room}")).status == 401
        assert ran == []
        assert (await asked.get(f"/rooms/{room}", headers=bearer(kit, room))).status == 200
        assert ran == [f"/rooms/{room}"]


@on_loop
async def test_an_optional_token_may_be_missing_and_must_be_good(kit, room):
    app = site(kit, web.get("/rooms/{session_id}", require_token(optional=True)(answer)))
    async with client(app) as asked:
        assert await (await asked.get(f"/rooms/{room}")).json() is None
        assert (await asked.get(f"/rooms/{room}", headers={"Authorization": "Bearer x"})).status == 401
        assert await (await asked.get(f"/rooms/{room}", headers=bearer(kit, room))).json() == {"role": "moderator"}


@on_loop
async def test_a_session_function_finds_the_session_and_may_answer_for_itself(kit, room):
    async def session_of(request):
        if request.match_info["lesson"] == "none":
            raise web.HTTPNotFound(text="no such lesson")
        return room

    app = site(kit, web.get("/lessons/{lesson}", require_token(session=session_of)(answer)))
    async with client(app) as asked:
        other = bearer(kit, kit.create_session().session_id)
        assert (await asked.get("/lessons/none")).status == 401
        assert (await asked.get("/lessons/none", headers=other)).status == 404
        assert (await asked.get("/lessons/1", headers=other)).status == 403
        assert (await asked.get("/lessons/1", headers=bearer(kit, room))).status == 200


@on_loop
async def test_no_grant_is_left_for_the_next_request_of_a_connection(kit, room):
    app = site(kit, web.get("/rooms/{session_id}", require_token(answer)), web.get("/bare", answer_openly))
    async with client(app) as asked:
        assert (await asked.get(f"/rooms/{room}", headers=bearer(kit, room))).status == 200
        assert await (await asked.get("/bare")).text() == "open to all"


# -- attacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/rooms/{room}%2Fother", 403),
        ("/rooms/other%2F{room}", 403),
        ("/rooms/{room}%00", 403),
        ("/rooms/{room}%0A", 403),
        ("/rooms/{room};v=1", 403),
        ("/rooms/{room}%FF", 403),
        ("/rooms/%31{rest}", 200),
        ("/rooms/{room}/", 404),
        ("//rooms/{room}", 404),
        ("/rooms//{room}", 404),
        ("/ROOMS/{room}", 404),
    ],
)
def test_crooked_paths_name_another_session_or_none(kit, room, path, status):
    @on_loop
    async def ask():
        app = site(kit, web.get("/rooms/{session_id}", require_token(answer)))
        async with client(app) as asked:
            target = str(asked.make_url("/")).rstrip("/") + path.format(room=room, rest=room[1:])
            response = await asked.session.get(URL(target, encoded=True), headers=bearer(kit, room))
            assert response.status == status

    ask()


@pytest.mark.parametrize("second", ["Bearer x", "", "Basic dTpw", None])
def test_a_doubled_header_enters_nowhere(kit, room, second):
    @on_loop
    async def ask():
        good = bearer(kit, room)["Authorization"]
        for values in ([good, good if second is None else second], [good if second is None else second, good]):
            headers = [("Authorization", value) for value in values]
            async with client(site(kit, web.get("/rooms/{session_id}", require_token(answer)))) as asked:
                assert (await asked.get(f"/rooms/{room}", headers=headers)).status == 400

    ask()


@on_loop
async def test_head_is_guarded_and_options_runs_nothing(kit, room):
    ran = []

    @require_token
    async def handler(request):
        ran.append(request.method)
        return web.Response(text="hello")

    app = site(kit, web.get("/rooms/{session_id}", handler), web.options("/rooms/{session_id}", handler))
    async with client(app) as asked:
        assert (await asked.head(f"/rooms/{room}")).status == 401
        options = await asked.options(f"/rooms/{room}")
        assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
        assert ran == []
        head = await asked.head(f"/rooms/{room}", headers=bearer(kit, room))
        assert (head.status, head.headers["Cache-Control"], await head.read()) == (200, "no-store", b"")


@on_loop
async def test_an_error_of_the_app_and_a_stream_are_kept_out_of_caches_too(kit, room):
    @require_token
    async def failing(request):
        raise web.HTTPConflict(text="not now")

    @require_token
    async def streaming(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"piece")
        return response

    @require_token
    async def cached(request):
        return web.Response(headers={"Cache-Control": "private"})

    @web.middleware
    async def behind_a_proxy(request, handler):
        # As aiohttp_remotes does it: what the guard keeps is kept on another request than the one that is answered.
        return await handler(request.clone(remote="203.0.113.7"))

    app = site(
        kit,
        web.get("/failing/{session_id}", failing),
        web.get("/streaming/{session_id}", streaming),
        web.get("/cached/{session_id}", cached),
        middlewares=[behind_a_proxy],
    )
    async with client(app) as asked:
        said = {}
        for path in ("failing", "streaming", "cached"):
            response = await asked.get(f"/{path}/{room}", headers=bearer(kit, room))
            said[path] = (response.status, response.headers.getall("Cache-Control"))
    assert said == {"failing": (409, ["no-store"]), "streaming": (200, ["no-store"]), "cached": (200, ["private"])}


@on_loop
async def test_a_refusal_has_the_kits_headers_and_nothing_else(kit, room):
    async with client(site(kit, web.get("/rooms/{session_id}", require_role("moderator")(answer)))) as asked:
        refused = await asked.get(f"/rooms/{room}", headers=bearer(kit, room, "publisher"))
        assert refused.headers.getall("Content-Type") == ["application/problem+json"]
        assert {*refused.headers} - {"Date", "Server"} == {
            "Content-Type",
            "Cache-Control",
            "WWW-Authenticate",
            "Content-Length",
        }


@on_loop
async def test_a_middleware_may_answer_a_refusal_in_its_own_way(kit, room):
    @web.middleware
    async def in_html(request, handler):
        try:
            return await handler(request)
        except Refused as refused:
            code = refused.error and refused.error.code
            return web.Response(text=f"<p>{code}</p>", status=refused.status, content_type="text/html")

    app = site(kit, web.get("/rooms/{session_id}", require_token(answer)), middlewares=[in_html])
    async with client(app) as asked:
        refused = await asked.get(f"/rooms/{room}")
        assert (refused.status, await refused.text()) == (401, "<p>missing_token</p>")


@on_loop
async def test_a_policy_sees_the_framework_its_request_and_where_the_app_stands(room):
    seen = []

    class Door:
        @hookimpl
        def rolecall_vote_access(self, request):
            http = request.http
            seen.append((http.framework, http.route, http.root, dict(http.path_params), http.native.remote))
            return Deny("shut")

    with Rolecall(KEY, SECRET, plugins=[Door()], entry_points=False) as kit:
        app = site(kit, web.get("/rooms/{session_id}", require_token(answer)))
        outer = web.Application()
        outer.add_subapp("/outer", app)
        room = kit.create_session().session_id
        async with client(outer) as asked:
            assert (await asked.get(f"/outer/rooms/{room}", headers=bearer(kit, room))).status == 403
    assert seen == [("aiohttp", f"/rooms/{room}", "/outer", {"session_id": room}, "127.0.0.1")]


# -- what an app is stopped for ------------------------------------------------------------------------


def handler_with(guard) -> Callable:
    async def handler(request):
        return web.Response()

    return guard(handler)


async def started(app: web.Application) -> None:
    await web.AppRunner(app).setup()


def test_an_app_with_a_bare_view_that_was_meant_to_be_guarded_does_not_start(kit):
    routes = web.RouteTableDef()

    @require_role("moderator")
    @routes.get("/rooms/{session_id}")
    async def handler(request):
        return web.Response()

    with pytest.raises(ConfigurationError, match="above a route decorator"):
        asyncio.run(started(site(kit, *routes)))


def test_an_app_in_which_nobody_has_said_which_session_does_not_start(kit):
    with pytest.raises(ConfigurationError, match="session_param='room'"):
        asyncio.run(started(site(kit, web.get("/rooms/{room}", handler_with(require_token())))))


@pytest.mark.parametrize("target", [lambda request: None, object(), web.Application(), int])
def test_what_is_no_handler_takes_no_guard(target):
    with pytest.raises(ConfigurationError, match="async def, or a View"):
        require_token(target)


def test_a_view_that_would_lose_its_guard_is_refused():
    @require_token
    class Guarded(web.View):
        pass

    class Other(web.View):
        def __await__(self):
            return iter(())

    with pytest.raises(ConfigurationError, match="put Guarded first"):
        type("Lost", (Other, Guarded), {})


def test_protect_takes_an_app_and_a_guard():
    with pytest.raises(ConfigurationError, match="protect guards an app"):
        protect(object())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="pass a guard"):
        protect(web.Application(), "moderator")  # type: ignore[arg-type]


def test_setup_takes_a_kit():
    with pytest.raises(ConfigurationError, match="those of a Rolecall"):
        rolecall_aiohttp.setup(web.Application(), object())  # type: ignore[arg-type]


@on_loop
async def test_two_kits_in_one_app_must_be_told_apart(kit, room):
    with Rolecall("654321", SECRET[::-1], entry_points=False) as other:
        app = site(kit, web.get("/rooms/{session_id}", require_token(answer)))
        app.router.add_get("/own/{session_id}", require_token(kit=kit)(answer))
        rolecall_aiohttp.setup(app, other, "/other", name="other")
        async with client(app) as asked:
            assert (await asked.get(f"/rooms/{room}", headers=bearer(kit, room))).status == 500
            assert (await asked.get(f"/own/{room}", headers=bearer(kit, room))).status == 200


@on_loop
async def test_a_guard_keeps_no_app_and_no_kit_alive():
    guarded = require_token(answer)

    async def used():
        with Rolecall(KEY, SECRET, entry_points=False) as kit:
            app = site(kit, web.get("/x", guarded))
            async with client(app) as http:
                assert (await http.get("/x", headers=bearer(kit, kit.create_session().session_id))).status == 200
            return weakref.ref(app), weakref.ref(kit)

    dropped = await used()
    gc.collect()
    assert [of() for of in dropped] == [None, None]


@on_loop
async def test_a_guard_in_an_app_without_setup_lets_nobody_in(kit, room):
    app = web.Application()
    app.add_routes([web.get("/rooms/{session_id}", require_token(kit=kit)(answer))])
    async with client(app) as asked:
        assert (await asked.get(f"/rooms/{room}", headers=bearer(kit, room))).status == 500


def test_the_list_of_routes_says_what_each_requires(kit, monkeypatch):
    inner = protect(web.Application())
    inner.add_routes([web.get("/{session_id}", answer), web.get("/open/all", public(answer_openly))])

    class Room(web.View):
        async def get(self):
            return web.Response()

        @require_role("moderator")
        async def delete(self):
            return web.Response()

    app = site(kit, web.get("/rooms/{session_id}", handler_with(require_role("publisher"))), web.view("/view", Room))
    app.add_subapp("/inner", inner)
    app.router.add_static("/files", ".")
    app.add_domain("admin.example", protect(web.Application(), require_role("moderator")))
    lines = {(line.path, line.methods): line.requires for line in routes_of(app) if "video" not in line.path}
    assert lines == {
        ("/rooms/{session_id}", ("GET",)): "role:publisher of {session_id}",
        ("/view", ("GET",)): "OPEN",
        ("/view", ("DELETE",)): "role:moderator",
        ("/inner/{session_id}", ("GET",)): "token of {session_id}",
        ("/inner/open/all", ("GET",)): "public",
        ("/files/{path:path}", ("GET",)): "OPEN",
    }
    own = [line for line in routes_of(app) if line.path.startswith("/video")]
    assert {line.access for line in own} == {"kit"}
    assert "/video/sessions/{session_id}/tokens" in {line.path for line in own}


def test_the_routes_command_takes_an_app_of_aiohttp(kit, monkeypatch, tmp_path):
    (tmp_path / "school_aiohttp.py").write_text("from aiohttp import web\napp = web.Application()\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(find_app("school_aiohttp:app"), web.Application)


# -- the kit's own routes ------------------------------------------------------------------------------


@on_loop
async def test_routes_have_names_and_serve_sdks(kit):
    app = site(kit)
    rolecall_aiohttp.setup(app, kit, name="sdk", routes=rolecall_aiohttp.SDK_ROUTES)
    assert str(app.router["rolecall.sessions"].url_for()) == "/video/sessions"
    assert str(app.router["rolecall.tokens"].url_for(session_id="a")) == "/video/sessions/a/tokens"
    async with client(app) as asked:
        refused = await asked.post("/session/create")
        assert (refused.status, (await refused.json())["code"]) == (403, "invalid_server_credential")


@on_loop
async def test_a_body_that_does_not_come_is_given_up(room):
    with Rolecall(KEY, SECRET, entry_points=False, web=Web(body_timeout=0.05)) as kit:

        async def endless():
            yield b'{"media_mode":'
            await asyncio.sleep(20)

        async with client(site(kit)) as asked:
            response = await asked.post("/video/sessions", data=endless(), headers={"Content-Type": "application/json"})
            assert (response.status, (await response.json())["code"]) == (400, "invalid_request")


@on_loop
async def test_what_streams_ends_with_its_grant(room):
    with Rolecall(KEY, SECRET, entry_points=False, web=Web(recheck=0.05)) as kit:
        room = kit.create_session().session_id

        @require_token
        async def handler(request):
            async def chunks():
                while True:
                    yield b"piece"
                    await asyncio.sleep(0.01)

            response = web.StreamResponse()
            await response.prepare(request)
            async for chunk in rolecall_aiohttp.while_granted(request, chunks()):
                await response.write(chunk)
            return response

        async with client(site(kit, web.get("/rooms/{session_id}", handler))) as asked:
            response = await asked.get(f"/rooms/{room}", headers=bearer(kit, room))
            assert await response.content.readexactly(5) == b"piece"
            kit.end_session(room)
            assert b"piece" * 2 in b"piece" + await response.content.read() + b"piece"


def test_the_parts_of_aiohttp_that_are_none_of_its_interface_are_still_there():
    """The adapter sets a request's headers anew, so that no token of a WebSocket is shown or logged."""
    from aiohttp.test_utils import make_mocked_request
    from multidict import CIMultiDict, CIMultiDictProxy

    request = make_mocked_request("GET", "/", headers={"A": "b"})
    assert request.headers["A"] == "b"
    request._cache["headers"] = CIMultiDictProxy(CIMultiDict({"A": "c"}))
    assert dict(request.headers) == {"A": "c"}
