"""Rolecall in Tornado: guards on handlers and methods, WebSockets, and the list of routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import pytest
from tornado import httpclient, httpserver, netutil, web, websocket
from tornado.httputil import HTTPHeaders

import rolecall_tornado
from rolecall import Deny, Rolecall, Web, hookimpl
from rolecall.cli.apps import routes_of
from rolecall.errors import ConfigurationError
from rolecall_tornado import current_grant, find_grant, require_capability, require_role, require_token

from ..untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
ROOM = r"/rooms/(?P<session_id>[^/]+)"


class Doorkeeper:
    @hookimpl
    def rolecall_vote_access(self, request: Any) -> Any:
        return Deny("not today", code="not_today") if request.grant.data == "Eve" else None


@pytest.fixture
def kit():
    with Rolecall(KEY, SECRET, entry_points=False, plugins=[Doorkeeper()], web=Web(recheck=0.05)) as kit:
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


@asynccontextmanager
async def served(kit: Rolecall, *rules: Any, **settings: Any):
    """A function that asks an app with these rules; ``url`` is where the app is."""
    app = web.Application([*rolecall_tornado.rolecall_rules(kit), *rules], rolecall=kit, **settings)
    server = httpserver.HTTPServer(app)
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    client = httpclient.AsyncHTTPClient(force_instance=True)

    async def ask(path: str, token: str | None = None, method: str = "GET", **options: Any):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        options |= {"allow_nonstandard_methods": True, "raise_error": False, "follow_redirects": False}
        return await client.fetch(f"{url}{path}", method=method, headers=headers, **options)

    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    ask.url = url  # type: ignore[attr-defined]
    try:
        yield ask
    finally:
        client.close()
        server.stop()
        await server.close_all_connections()


def code_of(answer: Any) -> str:
    code: str = json.loads(answer.body)["code"]
    return code


class Room(web.RequestHandler):
    def get(self, session_id):
        grant = find_grant(self)
        self.write({"role": grant and grant.role})

    def delete(self, session_id):
        self.set_status(204)


@on_loop
async def test_a_guarded_class_guards_each_method_and_what_inherits_from_it(kit, room):
    ran = []

    @require_role("publisher")
    class Guarded(Room):
        def prepare(self):
            ran.append("prepare")

    class Further(Guarded):
        def post(self, session_id):
            ran.append("post")
            self.write("posted")

    async with served(kit, (ROOM, Further)) as ask:
        for method in ("GET", "POST", "DELETE", "HEAD", "PUT"):
            assert (await ask(f"/rooms/{room}", method=method)).code == 401
        assert (await ask(f"/rooms/{room}", method="OPTIONS")).code == 204
        assert ran == []
        entered = await ask(f"/rooms/{room}", kit.generate_token(room, "publisher"))
        assert (entered.code, entered.headers["Cache-Control"], json.loads(entered.body)) == (
            200,
            "no-store",
            {"role": "publisher"},
        )
        assert (await ask(f"/rooms/{room}", kit.generate_token(room, "publisher"), "POST")).body == b"posted"
        assert ran == ["prepare", "prepare", "post"]


@on_loop
async def test_refusals_are_the_kits_and_have_nothing_of_tornados(kit, room):
    other = kit.create_session().session_id
    async with served(kit, (ROOM, require_role("publisher")(type("Guarded", (Room,), {})))) as ask:
        for token, headers, code in (
            (None, {}, "missing_token"),
            ("x", {}, "malformed_token"),
            (kit.generate_token(room, "subscriber"), {}, "insufficient_role"),
            (kit.generate_token(other, "moderator"), {}, "wrong_session"),
            (kit.generate_token(room, "moderator", data="Eve"), {}, "not_today"),
        ):
            refused = await ask(f"/rooms/{room}", token, headers=headers)
            assert code_of(refused) == code
            assert refused.headers["Content-Type"] == "application/problem+json"
            names = {"Content-Type", "Cache-Control", "Www-Authenticate", "Content-Length"}
            assert set(refused.headers) - {"Connection"} <= names


@on_loop
async def test_no_cache_gives_an_answer_to_somebody_else(kit, room):
    class Kept(web.RequestHandler):
        def get(self, session_id):
            self.set_header("Vary", "Accept")
            self.set_header("Cache-Control", "max-age=60")

    class Failing(web.RequestHandler):
        def get(self, session_id):
            raise web.HTTPError(418)

    class Streaming(web.RequestHandler):
        async def get(self, session_id):
            for part in ("one ", "two"):
                self.write(part)
                await self.flush()

    answers = {}
    for handler in (Kept, Failing, Streaming):
        async with served(kit, (ROOM, require_token(handler))) as ask:
            answer = await ask(f"/rooms/{room}", kit.generate_token(room))
            answers[handler.__name__] = (answer.code, answer.headers["Cache-Control"], answer.headers.get("Vary"))
    assert answers == {
        "Kept": (200, "max-age=60", "Accept, Authorization"),
        "Failing": (418, "no-store", None),
        "Streaming": (200, "no-store", None),
    }


@on_loop
async def test_one_method_may_be_guarded(kit, room):
    class Half(Room):
        @require_role("moderator")
        async def delete(self, session_id):
            self.set_status(204)

        @require_token
        def put(self, session_id):
            self.write(current_grant(self).role)

    async with served(kit, (ROOM, Half)) as ask:
        assert (await ask(f"/rooms/{room}")).code == 200
        assert (await ask(f"/rooms/{room}", method="DELETE")).code == 401
        assert (await ask(f"/rooms/{room}", kit.generate_token(room, "publisher"), "DELETE")).code == 403
        assert (await ask(f"/rooms/{room}", kit.generate_token(room, "moderator"), "DELETE")).code == 204
        assert (await ask(f"/rooms/{room}", kit.generate_token(room), "PUT", body=b"")).body == b"publisher"


def test_a_subclass_that_would_lose_the_guard_is_refused(kit):
    guarded = require_token(type("Guarded", (Room,), {}))
    with pytest.raises(ConfigurationError, match="in the place of the guard of Guarded"):
        type("Own", (guarded,), {"prepare": lambda self: None})

    class Preparing(web.RequestHandler):
        def prepare(self):
            pass

    with pytest.raises(ConfigurationError, match="put Guarded first among its bases"):
        type("Mixed", (Preparing, guarded), {})
    assert issubclass(type("Fine", (guarded, Preparing), {}), guarded)
    own = require_token(type("Own", (web.RequestHandler,), {"prepare": lambda self: None}))
    further = require_token(type("Further", (web.RequestHandler,), {}))
    for between in (own, Preparing):
        with pytest.raises(ConfigurationError, match=f"prepare of {between.__name__} in the place of the guard"):
            type("Both", (further, between, guarded), {})
    assert require_role("moderator")(type("Stricter", (guarded,), {})) is not None


def test_a_subclass_that_would_lose_the_guard_of_a_method_is_refused(kit):
    class Half(Room):
        @require_role("moderator")
        async def delete(self, session_id):
            pass

        @require_token
        @require_role("publisher")
        def put(self, session_id):
            pass

    class Calls(Half):
        async def delete(self, session_id):
            await super().delete(session_id)

    class Guards(Half):
        @require_token
        def delete(self, session_id):
            pass

    class Opens(Half):
        @rolecall_tornado.public
        def delete(self, session_id):
            pass

    for base in (Half, Calls, Guards, Opens):
        with pytest.raises(ConfigurationError, match=r"Open overrides delete, for which \w+ has a guard"):
            type("Open", (base,), {"delete": lambda self, session_id: None})
    with pytest.raises(ConfigurationError, match=r"Mixed overrides put, for which Half has a guard"):
        type("Mixed", (type("Putting", (Room,), {"put": lambda self, session_id: None}), Half), {})


@on_loop
async def test_a_body_that_is_streamed_is_received_after_the_guard(kit, room, caplog):
    received = []

    class Upload(web.RequestHandler):
        def data_received(self, chunk):
            received.append(chunk)

        def post(self, session_id):
            self.write("received")

    token = kit.generate_token(room)
    async with served(kit, (ROOM, require_token(web.stream_request_body(Upload)))) as ask:
        assert (await ask(f"/rooms/{room}", method="POST", body=b"text")).code == 401
        assert received == []
        assert (await ask(f"/rooms/{room}", token, "POST", body=b"text")).body == b"received"
    assert received == [b"text"]
    late = type(
        "Late", (web.RequestHandler,), {"data_received": Upload.data_received, "post": require_token(Upload.post)}
    )
    async with served(kit, (ROOM, web.stream_request_body(late))) as ask:
        assert (await ask(f"/rooms/{room}", token, "POST", body=b"text")).code == 500
    assert "the guard of what streams a body stands on its class, Late" in caplog.text


@on_loop
async def test_every_guarded_base_guards(kit, room):
    publishing = require_role("publisher")(type("Publishing", (Room,), {}))
    moderating = require_capability("force_disconnect")(type("Moderating", (publishing,), {}))
    beside = type("Beside", (require_token(type("Any", (web.RequestHandler,), {})), moderating), {})
    for guarded in (moderating, beside):
        async with served(kit, (ROOM, guarded)) as ask:
            codes = [
                (await ask(f"/rooms/{room}", kit.generate_token(room, untyped(role)))).code
                for role in ("subscriber", "publisher", "moderator")
            ]
        assert codes == [403, 403, 200], guarded


@on_loop
async def test_what_stands_beside_a_guarded_base_is_prepared_after_the_guard(kit, room):
    ran = []

    class Preparing(web.RequestHandler):
        def prepare(self):
            ran.append(find_grant(self))

    both = type("Both", (require_token(type("Guarded", (Room,), {})), Preparing), {})
    async with served(kit, (ROOM, both)) as ask:
        assert (await ask(f"/rooms/{room}")).code == 401
        assert ran == []
        assert (await ask(f"/rooms/{room}", kit.generate_token(room))).code == 200
    assert [grant and grant.session_id for grant in ran] == [room]


@on_loop
async def test_unnamed_groups_let_nobody_in_until_it_is_said_what_they_are(kit, room, caplog):
    ran = []

    class Unnamed(web.RequestHandler):
        def get(self, session_id):
            ran.append(session_id)

    def guarded(**options: Any) -> Any:
        return require_token(**options)(type("Guarded", (Unnamed,), {}))

    token = kit.generate_token(room)
    async with served(kit, (r"/rooms/([^/]+)", guarded())) as ask:
        assert (await ask(f"/rooms/{room}", token)).code == 500
    assert "is not told whether that names the session" in caplog.text
    found = guarded(session=lambda handler: handler.path_args[0])
    async with served(kit, (r"/rooms/([^/]+)", found)) as ask:
        assert (await ask(f"/rooms/{room}", token)).code == 200
        assert (await ask("/rooms/other", token)).code == 403
    assert ran == [room]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/rooms/{room}%2Fother", 403),
        ("/rooms/other%2F{room}", 403),
        ("/rooms/{room}%00", 403),
        ("/rooms/{room}%0A", 403),
        ("/rooms/{room};v=1", 403),
        ("/rooms/{room}%FF", 400),
        ("/rooms/%31{rest}", 200),
        ("/rooms/{room}/", 404),
        ("//rooms/{room}", 404),
        ("/rooms//{room}", 404),
        ("/ROOMS/{room}", 404),
    ],
)
@pytest.mark.each_choice
def test_crooked_paths_name_another_session_or_none(kit, room, path, status):
    @on_loop
    async def ask_crooked():
        async with served(kit, (ROOM, require_token(type("Guarded", (Room,), {})))) as ask:
            answer = await ask(path.format(room=room, rest=room[1:]), kit.generate_token(room))
            assert answer.code == status

    ask_crooked()


@on_loop
async def test_a_doubled_header_enters_nowhere(kit, room):
    async with served(kit, (ROOM, require_token(type("Guarded", (Room,), {})))) as ask:
        headers = HTTPHeaders()
        for _ in range(2):
            headers.add("Authorization", f"Bearer {kit.generate_token(room)}")
        client = httpclient.AsyncHTTPClient(force_instance=True)
        answer = await client.fetch(f"{ask.url}/rooms/{room}", headers=headers, raise_error=False)
        client.close()
        assert answer.code == 400


@on_loop
async def test_an_optional_token_may_be_missing_and_must_be_good(kit, room):
    async with served(kit, (ROOM, require_token(optional=True)(type("Guarded", (Room,), {})))) as ask:
        assert json.loads((await ask(f"/rooms/{room}")).body) == {"role": None}
        assert (await ask(f"/rooms/{room}", "x")).code == 401
        assert json.loads((await ask(f"/rooms/{room}", kit.generate_token(room))).body) == {"role": "publisher"}


@on_loop
async def test_what_streams_ends_with_its_grant(kit, room):
    @require_token
    class Streaming(web.RequestHandler):
        async def get(self, session_id):
            async def chunks():
                while True:
                    yield b"piece"
                    await asyncio.sleep(0.01)

            async for chunk in rolecall_tornado.while_granted(self, chunks()):
                self.write(chunk)
                await self.flush()

    async with served(kit, (ROOM, Streaming)) as ask:
        begun = asyncio.Event()
        asking = asyncio.ensure_future(
            ask(f"/rooms/{room}", kit.generate_token(room), streaming_callback=lambda _: begun.set())
        )
        await begun.wait()
        kit.end_session(room)
        assert (await asking).code == 200


# -- the kit's routes ----------------------------------------------------------------------------------


@on_loop
async def test_the_kits_routes_answer_whatever_the_app_protects_its_own_with(kit, room):
    async with served(kit, xsrf_cookies=True, cross_origin_protection=True) as ask:
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}
        headers["Content-Type"] = "application/json"
        refused = await ask("/video/sessions", method="POST", body=b"{}", headers=headers)
        assert (refused.code, code_of(refused)) == (403, "policy_denied")
        too_long = await ask("/video/sessions", method="POST", body=b"x" * 20_000)
        assert (too_long.code, code_of(too_long)) == (413, "body_too_large")
        session = await ask(f"/video/sessions/{room}", kit.generate_token(room))
        assert (session.code, "Etag" in session.headers) == (200, False)


@on_loop
async def test_an_app_with_a_mistake_answers_not_even_for_the_kit(kit, room, caplog):
    @require_token
    class Guarded(Room):
        pass

    async with served(kit, (ROOM, Guarded), (r"/other/(?P<room>.+)", Guarded)) as ask:
        for path in (f"/video/sessions/{room}", f"/rooms/{room}"):
            assert (await ask(path, kit.generate_token(room))).code == 500
    assert "whether that names the session; say session_param" in caplog.text


@on_loop
async def test_an_answer_waits_for_a_body_only_if_it_reads_one_and_not_for_long(room):
    async def first_line(head: str) -> bytes:
        host, port = ask.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{head} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc".encode())
        line = await reader.readline()
        writer.close()
        return line

    with Rolecall(KEY, SECRET, entry_points=False, web=Web(body_timeout=0.05)) as kit:
        async with served(kit) as ask:
            assert (await first_line(f"GET /video/sessions/{room}")).startswith(b"HTTP/1.1 401 ")
            assert (await first_line("POST /video/sessions")).startswith(b"HTTP/1.1 400 ")


def test_routes_have_names_and_are_listed_with_what_they_demand(kit):
    class Half(Room):
        @require_role("moderator")
        async def delete(self, session_id):
            pass

    class Talk(websocket.WebSocketHandler):
        pass

    rules: list[Any] = [
        (ROOM, Half),
        (r"/rooms/([0-9]{4})/(?:x|y)", require_token(session_param=None)(type("Numbered", (Room,), {}))),
        (r"/talk/(?P<session_id>[^/]+)", require_token(Talk)),
        (r"/files/(.*)", web.StaticFileHandler, {"path": "."}),
        *rolecall_tornado.rolecall_rules(kit),
    ]
    app = web.Application(rules, rolecall=kit)
    assert app.reverse_url("rolecall.tokens", "a b") == "/video/sessions/a%20b/tokens"
    lines = {(line.path, line.methods): line.requires for line in routes_of(app) if "video" not in line.path}
    assert lines[("/rooms/{session_id}", ("DELETE",))] == "role:moderator of {session_id}"
    assert lines[("/rooms/{session_id}", ("GET",))] == "OPEN"
    assert lines[("/talk/{session_id}", ("WEBSOCKET",))] == "token of {session_id}"
    own = [line for line in routes_of(app) if line.path.startswith("/video")]
    assert {line.access for line in own} == {"kit"}


def test_what_cannot_be_guarded_is_refused(kit):
    for target in (object(), int, lambda: None, print):
        with pytest.raises(ConfigurationError, match="protects a RequestHandler, or one of its methods"):
            require_token(untyped(target))
    with pytest.raises(ConfigurationError, match=r"the rules are those of a Rolecall"):
        rolecall_tornado.rolecall_rules(untyped(None))


# -- WebSockets ----------------------------------------------------------------------------------------


class Echo(websocket.WebSocketHandler):
    seen: list[str] = []  # noqa: RUF012

    async def open(self, session_id):
        grant = find_grant(self)
        await self.write_message(grant.role if grant else "nobody")

    async def on_message(self, message):
        self.seen.append(str(message))
        if str(message).startswith("renew "):
            await rolecall_tornado.renew_grant(self, str(message).removeprefix("renew "))
        await self.write_message(message)


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@asynccontextmanager
async def connected(ask: Any, path: str, *protocols: str):
    """A client's end of a WebSocket."""
    request = httpclient.HTTPRequest(ask.url.replace("http", "ws") + path)
    socket = await websocket.websocket_connect(request, subprotocols=[*protocols])
    try:
        yield socket
    finally:
        socket.close()


@on_loop
async def test_a_websocket_is_refused_before_it_is_open(kit, room):
    Echo.seen = []
    async with served(kit, (ROOM, require_role("publisher")(type("Talk", (Echo,), {})))) as ask:
        good = kit.generate_token(room)
        for protocols, headers, status in (
            ((), {}, 401),
            (("rolecall.bearer", "x"), {}, 401),
            (("rolecall.bearer",), {}, 400),
            (("rolecall.bearer", good), {"Authorization": f"Bearer {good}"}, 400),
            (("rolecall.bearer", kit.generate_token(room, "subscriber")), {}, 403),
            (("rolecall.bearer", kit.generate_token(kit.create_session().session_id)), {}, 403),
        ):
            offered = {"Sec-WebSocket-Protocol": ", ".join(protocols)} if protocols else {}
            refused = await ask(f"/rooms/{room}", headers={**UPGRADE, **headers, **offered})
            assert (refused.code, refused.headers["Content-Type"]) == (status, "application/problem+json")
        tasks = len(asyncio.all_tasks())
        plain = await ask(f"/rooms/{room}", good)
        assert (plain.code, len(asyncio.all_tasks()) <= tasks + 1) == (400, True)


@on_loop
async def test_a_websocket_opens_with_a_token_and_is_closed_when_the_session_ends(kit, room):
    Echo.seen = []
    async with (
        served(kit, (ROOM, require_token(type("Talk", (Echo,), {})))) as ask,
        connected(ask, f"/rooms/{room}", "rolecall.bearer", kit.generate_token(room)) as socket,
    ):
        assert (await socket.read_message(), socket.selected_subprotocol) == ("publisher", "rolecall.bearer")
        await socket.write_message("hello")
        assert await socket.read_message() == "hello"
        kit.end_session(room)
        assert await socket.read_message() is None
        assert socket.close_code == 4401
        assert socket.close_reason.startswith("revoked_token: ")
    assert Echo.seen == ["hello"]


@on_loop
async def test_messages_that_come_after_the_end_reach_nobody(kit, room):
    seen = []

    @require_token
    class Slow(websocket.WebSocketHandler):
        def open(self, session_id):
            self.socket = vars(self)["_rolecall"]["rolecall.socket"]

        async def on_message(self, message):
            seen.append(message)
            if message == "end":
                kit.end_session(room)
                while self.socket.ended is None:
                    await asyncio.sleep(0.01)

    async with (
        served(kit, (ROOM, Slow)) as ask,
        connected(ask, f"/rooms/{room}", "rolecall.bearer", kit.generate_token(room)) as socket,
    ):
        await socket.write_message("end")
        await socket.write_message("too late")
        assert await socket.read_message() is None
    assert seen == ["end"]


@on_loop
async def test_nothing_is_written_to_one_that_opens_when_its_grant_has_ended(kit, room):
    raised = []

    class Opening(websocket.WebSocketHandler):
        async def prepare(self):
            kit.end_session(room)
            while vars(self)["_rolecall"]["rolecall.socket"].ended is None:
                await asyncio.sleep(0.01)

        async def open(self, session_id):
            try:
                await self.write_message("a secret")
            except websocket.WebSocketClosedError as error:
                raised.append(error)

    async with (
        served(kit, (ROOM, require_token(Opening))) as ask,
        connected(ask, f"/rooms/{room}", "rolecall.bearer", kit.generate_token(room)) as socket,
    ):
        assert await socket.read_message() is None
        assert socket.close_code == 4401
    assert len(raised) == 1


@on_loop
async def test_a_renewed_grant_keeps_it_open_and_an_app_may_choose_the_subprotocol(kit, room):
    class Choosing(Echo):
        def select_subprotocol(self, subprotocols):
            assert "rolecall.bearer" not in subprotocols
            return "chat" if "chat" in subprotocols else None

    async with (
        served(kit, (ROOM, require_token(Choosing))) as ask,
        connected(ask, f"/rooms/{room}", "chat", "rolecall.bearer", kit.generate_token(room)) as socket,
    ):
        assert (await socket.read_message(), socket.selected_subprotocol) == ("publisher", "chat")
        await socket.write_message(f"renew {kit.generate_token(room, 'moderator')}")
        assert (await socket.read_message()).startswith("renew ")
        kit.end_session(room)
        assert await socket.read_message() is None


@on_loop
async def test_a_client_that_goes_leaves_no_task(kit, room):
    async with served(kit, (ROOM, require_token(type("Talk", (Echo,), {})))) as ask:
        before = len(asyncio.all_tasks())
        async with connected(ask, f"/rooms/{room}", "rolecall.bearer", kit.generate_token(room)) as socket:
            await socket.read_message()
            socket.close()
            for _ in range(500):
                if len(asyncio.all_tasks()) <= before:
                    break
                await asyncio.sleep(0.01)
            assert len(asyncio.all_tasks()) <= before
