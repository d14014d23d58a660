"""Rolecall in Django Channels: consumers of every kind, refused before they accept, and closed with their grant."""
# ruff: noqa: RUF012

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.auth import AuthMiddlewareStack
from channels.consumer import AsyncConsumer
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.testing import HttpCommunicator, WebsocketCommunicator
from django.core.asgi import get_asgi_application
from django.test import override_settings
from django.urls import path, re_path

from rolecall import Allow, Deny, Rolecall, Web, hookimpl
from rolecall.cli.apps import routes_of
from rolecall.errors import ConfigurationError, RolecallError
from rolecall.http.gateways import websockets
from rolecall.testing import Clock
from rolecall_django import protect, public, require_capability, require_role, require_token
from rolecall_django.channels import current_grant, find_grant, renew_grant, while_granted
from rolecall_django.listing import project

from ..django_settings import configure
from ..untyped import untyped

configure()

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
NOW = 1_800_000_000.0
BEARER = "rolecall.bearer"
#: Seconds after which a test fails, however busy the machine is.
LONG = 20


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def policies() -> list[Any]:
    return []


@pytest.fixture
def kit(clock, policies) -> Iterator[Rolecall]:
    web = Web(recheck=0.05)
    with Rolecall(KEY, SECRET, clock=clock, web=web, entry_points=False, plugins=policies) as kit:
        layers = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
        with override_settings(ROLECALL=kit, CHANNEL_LAYERS=layers):
            yield kit


@pytest.fixture
def room(kit) -> str:
    return kit.create_session().session_id


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    monkeypatch.setattr(websockets, "GRACE", 0.3)


def token_of(kit: Rolecall, room: str, role: str = "moderator", **options: Any) -> str:
    return kit.generate_token(room, untyped(role), **options)


def client_of(app, url, token=None, headers=(), offered=None) -> Any:
    sent = [*headers] if token is None else [*headers, (b"authorization", f"Bearer {token}".encode())]
    return WebsocketCommunicator(app, url, headers=sent, subprotocols=offered)


@asynccontextmanager
async def socket(app, url, token=None, *, offered=None, headers=()):
    """A client of an app, which asks to be connected; and the app's answer."""
    client = client_of(app, url, token, headers, offered)
    answer = await client.connect(LONG)
    try:
        yield client, answer
    finally:
        if answer[0]:
            await client.disconnect(timeout=LONG)


async def knock(app, url, token=None, **options) -> Any:
    async with socket(app, url, token, **options) as (_, answer):
        return answer


#: What consumers have done, in order.
done: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_done():
    done.clear()


class Talk(WebsocketConsumer):
    def connect(self):
        done.append("connected")
        self.accept()
        self.send(text_data=current_grant(self).role)

    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data=f"{current_grant(self).role}: {text_data}")

    def disconnect(self, code):
        done.append(code)


class AsyncTalk(AsyncWebsocketConsumer):
    groups = ["everybody"]

    async def connect(self):
        done.append("connected")
        await self.accept()
        await self.send(text_data=current_grant(self).role)

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=f"{current_grant(self).role}: {text_data}")

    async def said(self, event):
        await self.send(text_data=event["text"])

    async def disconnect(self, code):
        done.append(code)


class JsonTalk(JsonWebsocketConsumer):
    def connect(self):
        done.append("connected")
        self.accept()
        self.send_json(current_grant(self).role)

    def receive_json(self, content, **kwargs):
        try:
            grant = async_to_sync(renew_grant)(self, content["token"])
        except RolecallError as error:
            self.send_json(error.code)
        else:
            self.send_json(grant.expires_at)

    def disconnect(self, code):
        done.append(code)


class AsyncJsonTalk(AsyncJsonWebsocketConsumer):
    async def connect(self):
        done.append("connected")
        await self.accept()
        await self.send_json(current_grant(self).role)

    async def receive_json(self, content, **kwargs):
        try:
            grant = await renew_grant(self, content["token"])
        except RolecallError as error:
            await self.send_json(error.code)
        else:
            await self.send_json(grant.expires_at)

    async def disconnect(self, code):
        done.append(code)


KINDS = [Talk, AsyncTalk, JsonTalk, AsyncJsonTalk]


def below(consumer: type[Any]) -> type[Any]:
    """A class of its own, which a test may guard."""
    return type(consumer.__name__, (consumer,), {})


def on_the_class(consumer):
    return URLRouter([path("rooms/<session_id>/", require_role("publisher")(below(consumer)).as_asgi())])


def on_a_base(consumer):
    guarded = require_role("publisher")(below(consumer))
    return URLRouter([path("rooms/<session_id>/", below(guarded).as_asgi())])


def on_the_application(consumer):
    return URLRouter([path("rooms/<session_id>/", require_capability("publish")(consumer.as_asgi()))])


def around_middleware(consumer):
    guard = require_role("publisher")
    return URLRouter([path("rooms/<session_id>/", guard(AuthMiddlewareStack(consumer.as_asgi())))])


def on_the_router(consumer):
    inner = URLRouter([path("<session_id>/", consumer.as_asgi())])
    return AuthMiddlewareStack(require_role("publisher")(URLRouter([path("rooms/", inner)])))


def by_protect_of_patterns(consumer):
    return URLRouter(protect([path("rooms/<session_id>/", consumer.as_asgi())], require_role("publisher")))


def around_own_middleware(consumer):
    class Own:
        def __init__(self, inner):
            self.inner = inner

        async def __call__(self, scope, receive, send):
            await self.inner(scope, receive, send)

    return URLRouter([path("rooms/<session_id>/", require_role("publisher")(Own(consumer.as_asgi())))])


def by_protect(consumer):
    return ProtocolTypeRouter(
        {"websocket": protect(URLRouter([path("rooms/<session_id>/", consumer.as_asgi())]), require_role("publisher"))}
    )


PLACES: list[Callable[[Any], Any]] = [
    on_the_class,
    on_a_base,
    on_the_application,
    around_middleware,
    on_the_router,
    by_protect,
    by_protect_of_patterns,
    around_own_middleware,
]


@pytest.mark.each_choice
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("consumer", KINDS)
def test_a_consumer_admits_the_token_and_no_other(kit, room, place, consumer):
    app, url = place(consumer), f"/rooms/{room}/"
    elsewhere = kit.create_session().session_id

    async def main():
        refused = [
            await knock(app, url),
            await knock(app, url, "x.y.z"),
            await knock(app, url, token_of(kit, room, "subscriber")),
            await knock(app, url, token_of(kit, elsewhere)),
        ]
        assert refused == [(False, 4401), (False, 4401), (False, 4403), (False, 4403)]
        assert done == []  # no consumer ran
        async with socket(app, url, token_of(kit, room)) as (client, answer):
            assert answer == (True, None)
            assert (await client.receive_from(LONG)).strip('"') == "moderator"
        async with socket(app, url, offered=["chat", BEARER, token_of(kit, room)]) as (client, answer):
            assert answer == (True, BEARER)

    asyncio.run(main())
    assert done == ["connected", 1000] * 2


def test_a_server_that_can_answers_with_the_problem(kit, room):
    app = on_the_application(Talk)

    async def main():
        client = WebsocketCommunicator(app, f"/rooms/{room}/")
        client.scope["extensions"] = {"websocket.http.response": {}}
        await client.send_input({"type": "websocket.connect"})
        start, body = await client.receive_output(LONG), await client.receive_output(LONG)
        assert (start["status"], dict(start["headers"])[b"content-type"]) == (401, b"application/problem+json")
        assert b'"code":"missing_token"' in body["body"]

    asyncio.run(main())


ENDS: list[tuple[str, Callable[..., Any]]] = [
    ("session_ended", lambda kit, clock, room, token: kit.end_session(room)),
    ("revoked_token", lambda kit, clock, room, token: kit.revoke_token(token)),
    ("excluded", lambda kit, clock, room, token: kit.get_session(room).exclude("ada")),
    ("expired_token", lambda kit, clock, room, token: clock.advance(60)),
]


@pytest.mark.each_choice
@pytest.mark.parametrize("consumer", KINDS)
@pytest.mark.parametrize("end", [end for _, end in ENDS], ids=[name for name, _ in ENDS])
def test_a_socket_is_closed_with_its_grant_and_its_consumer_told(kit, clock, room, consumer, end):
    app = on_the_application(consumer)
    token = token_of(kit, room, expire_time=NOW + 60, actor="ada")

    async def main():
        client = WebsocketCommunicator(
            app, f"/rooms/{room}/", headers=[(b"authorization", b"Bearer " + token.encode())]
        )
        assert (await client.connect(LONG))[0]
        await client.receive_output(LONG)
        end(kit, clock, room, token)
        closed = await client.receive_output(LONG)
        assert (closed["type"], closed["code"]) == ("websocket.close", 4401)
        assert closed["reason"].startswith(("revoked_token: ", "expired_token: "))
        await client.wait(LONG)

    asyncio.run(main())
    assert done == ["connected", 4401]


def test_a_consumer_that_was_closed_is_in_no_group(kit, room):
    app = on_the_application(AsyncTalk)

    async def main():
        layer: Any = get_channel_layer()
        token = token_of(kit, room)
        client = WebsocketCommunicator(
            app, f"/rooms/{room}/", headers=[(b"authorization", b"Bearer " + token.encode())]
        )
        await client.connect(LONG)
        assert await client.receive_from(LONG) == "moderator"
        await layer.group_send("everybody", {"type": "said", "text": "hello"})
        assert await client.receive_from(LONG) == "hello"
        # What is said between the end and the consumer's farewell reaches nobody, and does not keep it from leaving.
        kit.end_session(room)
        await layer.group_send("everybody", {"type": "said", "text": "too late"})
        messages = [await client.receive_output(LONG)]
        while messages[-1]["type"] != "websocket.close":
            messages.append(await client.receive_output(LONG))
        await layer.group_send("everybody", {"type": "said", "text": "too late"})
        await client.wait(LONG)
        assert await client.receive_nothing()
        assert not layer.groups.get("everybody")

    asyncio.run(main())
    assert done == ["connected", 4401]


def test_a_consumer_that_does_not_end_is_cancelled(kit, room):
    class Deaf(AsyncConsumer):
        async def websocket_connect(self, message):
            await self.send({"type": "websocket.accept"})
            try:
                await asyncio.Event().wait()
            finally:
                done.append("cancelled")

    app = on_the_application(Deaf)

    async def main():
        token = token_of(kit, room)
        client = WebsocketCommunicator(
            app, f"/rooms/{room}/", headers=[(b"authorization", b"Bearer " + token.encode())]
        )
        await client.connect(LONG)
        kit.end_session(room)
        assert (await client.receive_output(LONG))["code"] == 4401
        await client.wait(LONG)

    asyncio.run(main())
    assert done == ["cancelled"]


@pytest.mark.each_choice
@pytest.mark.parametrize("consumer", [JsonTalk, AsyncJsonTalk])
def test_a_grant_is_renewed(kit, clock, room, consumer):
    app = on_the_application(consumer)

    async def main():
        first, second = (token_of(kit, room, expire_time=NOW + life) for life in (60, 120))
        async with socket(app, f"/rooms/{room}/", first) as (client, _):
            await client.receive_from(LONG)
            await client.send_json_to({"token": token_of(kit, kit.create_session().session_id)})
            assert await client.receive_json_from(LONG) == "wrong_session"
            await client.send_json_to({"token": second})
            assert await client.receive_json_from(LONG) == NOW + 120
            clock.advance(90)
            await client.send_json_to({"token": second})
            assert await client.receive_json_from(LONG) == NOW + 120

    asyncio.run(main())


def test_an_optional_token_may_be_missing(kit, room):
    class Either(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
            with pytest.raises(RuntimeError, match="there is no grant here"):
                current_grant(self)
            await self.send(text_data=str(find_grant(self)))

    app = URLRouter([path("rooms/<session_id>/", require_token(optional=True)(Either.as_asgi()))])

    async def main():
        async with socket(app, f"/rooms/{room}/") as (client, _):
            assert await client.receive_from(LONG) == "None"
        assert await knock(app, f"/rooms/{room}/", "x") == (False, 4401)

    asyncio.run(main())


TALK = Talk.as_asgi()


# -- sessions --------------------------------------------------------------------------------------


def test_the_session_is_bound_as_at_every_guard(kit, room):
    def room_of(scope):
        return {"blue": room}.get(scope["url_route"]["kwargs"]["slug"])

    talk = Talk.as_asgi()
    app = URLRouter(
        [
            path("named/<pk>/", require_token(session_param="pk")(talk)),
            path("found/<slug>/", require_token(session=room_of)(talk)),
            path("any/<slug>/", require_token(session_param=None)(talk)),
            path("both/<pk>/", require_token(session_param="pk")(require_role("moderator")(talk))),
            path("within/<pk>/", require_role("moderator")(require_token(session_param="pk")(talk))),
        ]
    )
    elsewhere = kit.create_session().session_id

    async def main():
        for url, other in {
            f"/named/{room}/": (False, 4403),
            "/found/blue/": (False, 4403),
            "/any/blue/": (True, None),
            f"/both/{room}/": (False, 4403),
            f"/within/{room}/": (False, 4403),
        }.items():
            assert await knock(app, url, token_of(kit, room)) == (True, None)
            assert await knock(app, url, token_of(kit, elsewhere)) == other
        assert await knock(app, "/found/red/", token_of(kit, room)) == (False, 4403)

    asyncio.run(main())


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("app", "message"),
    [
        (URLRouter([path("rooms/<pk>/", require_token(Talk.as_asgi()))]), "session_param='pk'"),
        (URLRouter([re_path(r"^rooms/([^/]+)/$", require_token(Talk.as_asgi()))]), "unnamed_1"),
        (require_token(AuthMiddlewareStack(URLRouter([path("rooms/<session_id>/", Talk.as_asgi())]))), "whole route"),
        (
            URLRouter(
                [re_path("^rooms/", require_token(AuthMiddlewareStack(URLRouter([path("<session_id>/", TALK)]))))]
            ),
            "whole route",
        ),
        (URLRouter([re_path(r"^rooms/", require_token(Talk.as_asgi()))]), "whole route"),
        (URLRouter([path("rooms/<session_id>/", require_token(session_param="pk")(Talk.as_asgi()))]), "does not have"),
    ],
)
def test_a_route_whose_session_nobody_has_named_opens_nothing(kit, room, app, message):
    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        done.append(message)

    headers = [(b"authorization", f"Bearer {token_of(kit, room)}".encode())]
    scope = {"type": "websocket", "path": f"/rooms/{room}/", "query_string": b"", "headers": headers}
    with pytest.raises(ConfigurationError, match=message):
        asyncio.run(app(scope, receive, send))
    assert done == []


def test_marked_consumers_are_spared_by_protect(kit, room):
    @public
    class Open(AsyncWebsocketConsumer):
        pass

    talk = below(Talk).as_asgi()
    routes = [path("open/", Open.as_asgi()), path("marked/", public(below(Open).as_asgi())), path("talk/", talk)]
    app = protect(URLRouter(routes))

    async def main():
        answers = [await knock(app, url) for url in ("/open/", "/marked/", "/talk/")]
        assert answers == [(True, None), (True, None), (False, 4401)]

    asyncio.run(main())


def test_a_subclass_of_a_marked_consumer_is_not_spared(kit):
    @public
    class Open(AsyncWebsocketConsumer):
        pass

    app = protect(URLRouter([path("below/", below(Open).as_asgi())]))
    assert asyncio.run(knock(app, "/below/")) == (False, 4401)


def test_a_guard_does_not_go_around_what_also_serves_requests(kit):
    with pytest.raises(ConfigurationError, match="put it on the URLRouter within"):
        require_token(ProtocolTypeRouter({"http": get_asgi_application()}))


def test_what_is_no_connection_has_no_token(kit):
    app = require_token(Talk.as_asgi())

    async def main():
        await app({"type": "channel", "channel": "thumbnails"}, untyped(None), untyped(None))

    with pytest.raises(ConfigurationError, match="no token to look for in what is of the type 'channel'"):
        asyncio.run(main())


# -- policies --------------------------------------------------------------------------------------


class AsksTheDatabase:
    """A policy as an app of Django's writes it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl
    def rolecall_vote_access(self, request):
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        self.seen.append((request.http.framework, request.http.route, request.http.native["user"].is_anonymous))
        return Deny("not today") if request.http.query == "denied" else Allow()


@pytest.mark.parametrize("policies", [[AsksTheDatabase()]])
def test_policies_see_the_scope_and_may_ask_the_database(kit, room, policies):
    app = URLRouter([path("rooms/<session_id>/", require_token(Talk.as_asgi()))])
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        stack = AuthMiddlewareStack(app)

        async def main():
            assert await knock(stack, f"/rooms/{room}/", token_of(kit, room)) == (True, None)
            assert await knock(stack, f"/rooms/{room}/?denied", token_of(kit, room)) == (False, 4403)

        asyncio.run(main())
    assert policies[0].seen[0] == ("channels", f"/rooms/{room}/", True)


# -- requests --------------------------------------------------------------------------------------


def test_a_consumer_of_requests_is_guarded_as_a_view(kit, room):
    class Told(AsyncHttpConsumer):
        async def handle(self, body):
            assert self.scope["state"]["grant"] is current_grant(self)
            await self.send_response(200, current_grant(self).role.encode())

    app = URLRouter([path("rooms/<session_id>/", require_role("publisher")(Told).as_asgi())])

    async def ask(method, token=None):
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        return await HttpCommunicator(app, method, f"/rooms/{room}/", headers=headers).get_response(LONG)

    async def main():
        answer = await ask("GET", token_of(kit, room))
        assert (answer["status"], answer["body"]) == (200, b"moderator")
        assert (b"cache-control", b"no-store") in answer["headers"]
        refused = await ask("GET")
        assert (refused["status"], b"missing_token" in refused["body"]) == (401, True)
        assert (await ask("GET", token_of(kit, room, "subscriber")))["status"] == 403
        assert (await ask("OPTIONS"))["status"] == 204

    asyncio.run(main())


def test_what_a_consumer_of_requests_streams_ends_with_its_grant(kit, room):
    closed = []

    async def chunks():
        try:
            while True:
                yield b"more"
                await asyncio.sleep(0.01)
        finally:
            closed.append(True)

    class Streaming(AsyncHttpConsumer):
        async def handle(self, body):
            await self.send_headers()
            async for chunk in while_granted(self, chunks()):
                await self.send_body(chunk, more_body=True)
            await self.send_body(b"")

    app = URLRouter([path("rooms/<session_id>/", require_token(Streaming).as_asgi())])

    async def main():
        headers = [(b"authorization", f"Bearer {token_of(kit, room)}".encode())]
        client = HttpCommunicator(app, "GET", f"/rooms/{room}/", headers=headers)
        await client.send_input({"type": "http.request", "body": b""})
        assert (await client.receive_output(LONG))["status"] == 200
        assert (await client.receive_output(LONG))["body"] == b"more"
        await kit.aio.end_session(room)
        while (await client.receive_output(LONG))["more_body"]:
            pass
        assert closed == [True]

    asyncio.run(asyncio.wait_for(main(), 30))


# -- the list of routes ----------------------------------------------------------------------------


@public
class Rules(AsyncWebsocketConsumer):
    pass


class News(AsyncHttpConsumer):
    pass


application = ProtocolTypeRouter(
    {
        "http": URLRouter([path("news/", News.as_asgi()), re_path("", untyped(get_asgi_application()))]),
        "websocket": AuthMiddlewareStack(
            URLRouter(
                [
                    path("rooms/<session_id>/", require_role("publisher")(Talk.as_asgi()), name="talk"),
                    path("lobby/", URLRouter([path("<slug:which>/", below(Talk).as_asgi())])),
                    path("rules/", Rules.as_asgi()),
                    protect(URLRouter([path("staff/<session_id>/", below(AsyncTalk).as_asgi())])).routes[0],
                    path("unsaid/<pk>/", require_token(below(JsonTalk).as_asgi())),
                ]
            )
        ),
        "channel": object(),
    }
)


async def another_kind(scope, receive, send): ...


without_websockets = ProtocolTypeRouter({"http": get_asgi_application()})
of_another_kind = ProtocolTypeRouter({"websocket": another_kind})


def test_consumers_are_listed(kit):
    with override_settings(ROOT_URLCONF=()):
        listed = {f"{' '.join(route.methods)} {route.path}": route for route in routes_of(application)}
    assert {name: route.requires for name, route in listed.items()} == {
        "any /news/": "OPEN",
        "WEBSOCKET /rooms/{session_id}/": "role:publisher of {session_id}",
        "WEBSOCKET /lobby/{which}/": "OPEN",
        "WEBSOCKET /rules/": "public",
        "WEBSOCKET /staff/{session_id}/": "token of {session_id}",
        "WEBSOCKET /unsaid/{pk}/": "token",
    }
    assert listed["WEBSOCKET /rooms/{session_id}/"].name == "talk"
    assert [mistake.code for mistake in listed["WEBSOCKET /unsaid/{pk}/"].mistakes] == ["unsettled_session"]


def test_the_project_has_the_consumers_of_its_application(kit):
    with override_settings(ROOT_URLCONF=(), ASGI_APPLICATION=f"{__name__}.application"):
        assert "WEBSOCKET" in {method for route in routes_of(project) for method in route.methods}
    for name in (None, f"{__name__}.without_websockets"):
        with override_settings(ROOT_URLCONF=(), ASGI_APPLICATION=name):
            assert routes_of(project) == []
    with override_settings(ROOT_URLCONF=(), ASGI_APPLICATION=f"{__name__}.of_another_kind"):
        assert [(route.path, route.requires) for route in routes_of(project)] == [("/…", "OPEN (unknown inside)")]


def test_a_subclass_that_would_pass_by_the_guard_of_its_base_is_refused():
    class Base(AsyncWebsocketConsumer):
        pass

    guarded = require_token(type("Guarded", (Base,), {}))
    passing = classmethod(lambda cls, **initkwargs: Base.as_asgi.__func__(cls, **initkwargs))
    with pytest.raises(ConfigurationError, match="as_asgi of Passing in the place of that of Guarded"):
        type("Passing", (guarded,), {"as_asgi": passing})
