"""Rolecall with python-socketio: who connects, which events happen, and who is disconnected, on its async server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import pytest
import socketio
from aiohttp import web
from aiohttp.test_utils import TestServer

from rolecall import AccessRequest, Deny, Rolecall, Web, hookimpl
from rolecall.errors import ConfigurationError
from rolecall_socketio import Call, Gate

from ..untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"


class Doorkeeper:
    def __init__(self) -> None:
        self.out: set[str] = set()
        self.asked: list[tuple[str | None, Any]] = []

    @hookimpl
    def rolecall_vote_access(self, request: AccessRequest) -> Any:
        assert request.http is not None
        self.asked.append((request.http.framework, request.again))
        return Deny("you were sent out", code="sent_out") if request.grant.data in self.out else None


@pytest.fixture
def keeper():
    return Doorkeeper()


@pytest.fixture
def kit(keeper):
    with Rolecall(KEY, SECRET, entry_points=False, plugins=[keeper], web=Web(recheck=0.05)) as kit:
        yield kit


def on_loop(test: Callable) -> Callable:
    """A test that is a coroutine, on an event loop of its own."""

    @wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


class Site:
    """A server with a gate, and the events that its handlers have seen."""

    def __init__(self, kit: Rolecall, namespace: str = "/", **options: Any) -> None:
        self.sio = socketio.AsyncServer(async_mode="aiohttp")
        self.gate = Gate(self.sio, kit, namespace)
        self.ran: list[Any] = []
        self.namespace = namespace

        @self.sio.on("connect", namespace=namespace)
        @self.gate.require_token(**options)
        async def connected(sid, environ, auth):
            self.ran.append("connect")

        @self.sio.on("say", namespace=namespace)
        @self.gate.require_role("publisher")
        async def said(sid, data):
            self.ran.append(data)
            return self.gate.current_grant(sid).data

    @asynccontextmanager
    async def served(self):
        app = web.Application()
        self.sio.attach(app)
        async with TestServer(app) as server:
            yield str(server.make_url("/"))

    @asynccontextmanager
    async def client(self, auth: Any = None, **options: Any):
        async with self.served() as url:
            client = socketio.AsyncClient(reconnection=False)
            try:
                await client.connect(url, auth=auth, namespaces=[self.namespace], wait_timeout=10, **options)
                yield client
            finally:
                await client.disconnect()


async def refusal_of(site: Site, auth: Any, **options: Any) -> Any:
    """What a client that is not connected is told."""
    told: list[Any] = []
    async with site.served() as url:
        client = socketio.AsyncClient(reconnection=False)
        client.on("connect_error", told.append, namespace=site.namespace)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(url, auth=auth, namespaces=[site.namespace], wait_timeout=10, **options)
        await client.disconnect()
    assert site.ran == []
    return told[0]


@on_loop
async def test_a_token_connects_and_an_event_has_its_grant(kit):
    site = Site(kit)
    token = kit.create_session().generate_token("publisher", data="Ada")
    async with site.client({"token": token}) as client:
        assert await client.call("say", {"text": "hello"}) == "Ada"
    assert site.ran == ["connect", {"text": "hello"}]
    async with site.client(headers={"Authorization": f"Bearer {token}"}) as client:
        assert await client.call("say", "hello") == "Ada"


@on_loop
async def test_who_has_no_good_token_is_not_connected_and_told_why(kit, keeper):
    session = kit.create_session()
    keeper.out.add("Eve")
    token, header = session.generate_token(), {"Authorization": f"Bearer {session.generate_token()}"}
    for auth, options, code in (
        (None, {}, "missing_token"),
        ({"token": "x"}, {}, "malformed_token"),
        ({"token": ""}, {}, "malformed_credential"),
        ({"token": [token]}, {}, "malformed_credential"),
        ({"token": token}, {"headers": header}, "malformed_credential"),
        ({"token": session.generate_token(data="Eve")}, {}, "sent_out"),
        ({"token": token, "session_id": kit.create_session().session_id}, {}, "wrong_session"),
        ({"token": token, "session_id": None}, {}, "wrong_session"),
        ({"token": token, "session_id": [session.session_id]}, {}, "wrong_session"),
    ):
        told = await refusal_of(Site(kit), auth, **options)
        assert told["data"]["code"] == code, auth
        assert token not in repr(told)


@on_loop
async def test_a_session_that_must_be_named_is_the_tokens(kit):
    session = kit.create_session()
    token = session.generate_token()
    for room in (None, kit.create_session().session_id):
        told = await refusal_of(Site(kit, session_param="room"), {"token": token, "room": room})
        assert told["data"]["code"] == "wrong_session"
    assert (await refusal_of(Site(kit, session_param="room"), {"token": token}))["data"]["code"] == "wrong_session"
    async with Site(kit, session_param="room").client({"token": token, "room": session.session_id}) as client:
        assert client.connected


@on_loop
async def test_an_event_that_is_refused_does_not_happen_and_is_acknowledged_so(kit, keeper):
    site = Site(kit)
    session = kit.create_session()
    async with site.client({"token": session.generate_token("subscriber")}) as client:
        refused = await client.call("say", "hello")
        assert (refused["error"]["code"], refused["error"]["status"]) == ("insufficient_role", 403)
    async with site.client({"token": session.generate_token("publisher", data="Ada")}) as client:
        refused = await client.call("say", {"session_id": kit.create_session().session_id})
        assert refused["error"]["code"] == "wrong_session"
        assert (await client.call("say", {"session_id": 7}))["error"]["code"] == "wrong_session"
        assert await client.call("say", {"session_id": session.session_id}) == "Ada"
    assert site.ran == ["connect", "connect", {"session_id": session.session_id}]
    assert {framework for framework, _ in keeper.asked} == {"socketio"}


@on_loop
async def test_events_of_a_client_that_no_guard_has_admitted_are_refused(kit):
    site = Site(kit, optional=True)
    async with site.client() as client:
        assert (await client.call("say", "hello"))["error"]["code"] == "missing_token"
    assert site.ran == ["connect"]


@on_loop
async def test_a_client_does_not_connect_again_by_an_event(kit):
    site = Site(kit)
    async with site.client({"token": kit.create_session().generate_token()}) as client:
        refused = await client.call("connect", ({"HTTP_COOKIE": "login=ada"}, {"token": "x"}))
        assert refused["error"]["code"] == "invalid_request"
    assert site.ran == ["connect"]


@pytest.mark.parametrize("namespace", ["/chat", "*"])
@pytest.mark.parametrize("as_class", [False, True])
def test_a_gate_of_another_namespace_connects_nobody(kit, namespace, as_class):
    @on_loop
    async def run():
        site = Site(kit)
        site.namespace = "/chat"

        @site.gate.require_token()
        async def on_connect(*args):
            site.ran.append("connect")

        if as_class:
            site.sio.register_namespace(type("Chat", (socketio.AsyncNamespace,), {"on_connect": on_connect})(namespace))
        else:
            site.sio.on("connect", on_connect, namespace=namespace)
        site.sio.namespaces = "*"
        told = await refusal_of(site, {"token": kit.create_session().generate_token("moderator")})
        assert told["data"] == {"code": "configuration_error", "status": 500}

    run()


@on_loop
async def test_an_event_with_the_name_of_another_client_has_not_its_grant(kit):
    site, sids = Site(kit), []

    @site.sio.on("whoami")
    async def whoami(sid):
        sids.append(sid)

    @site.sio.on("*")
    @site.gate.require_role("moderator")
    async def anything(*args):
        site.ran.append(args)

    session = kit.create_session()
    async with site.served() as url:
        moderator, other = socketio.AsyncClient(reconnection=False), socketio.AsyncClient(reconnection=False)
        await moderator.connect(url, auth={"token": session.generate_token("moderator")}, wait_timeout=10)
        await other.connect(url, auth={"token": session.generate_token("subscriber")}, wait_timeout=10)
        await moderator.call("whoami")
        refused = await other.call(sids[0], {})
        await moderator.disconnect()
        await other.disconnect()
    assert refused["error"]["code"] == "configuration_error"
    assert site.ran == ["connect", "connect"]


@on_loop
async def test_a_function_finds_the_session_of_an_event(kit):
    site = Site(kit)
    session = kit.create_session()
    seen: list[Call] = []

    async def session_of(call: Call) -> str | None:
        seen.append(call)
        return session.session_id if call.data == ("lesson", 1) else None

    @site.sio.on("lesson")
    @site.gate.require_token(session=session_of)
    def lesson(sid, kind, number):
        return [kind, number]

    async with site.client({"token": session.generate_token()}) as client:
        assert await client.call("lesson", ("lesson", 1)) == ["lesson", 1]
        assert (await client.call("lesson", ("lesson", 2)))["error"]["code"] == "wrong_session"
    assert seen[0].environ["REQUEST_METHOD"] == "GET"


@pytest.mark.each_choice
@pytest.mark.parametrize("namespace", ["/", "/chat"])
@pytest.mark.parametrize("end", ["revoked", "expired", "sent out"])
def test_a_client_is_told_and_disconnected_when_its_grant_ends(kit, keeper, namespace, end):
    @on_loop
    async def run():
        site = Site(kit, namespace)
        session = kit.create_session()
        life = 2 if end == "expired" else None
        token = session.generate_token("publisher", life and int(kit.engine.state.clock()) + life, data="Ada")
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        gone = asyncio.Event()
        async with site.served() as url:
            client = socketio.AsyncClient(reconnection=False)
            client.on("rolecall_ended", lambda data: told.set_result(data), namespace=namespace)
            client.on("disconnect", lambda *_: gone.set(), namespace=namespace)
            await client.connect(url, auth={"token": token}, namespaces=[namespace], wait_timeout=10)
            if end == "revoked":
                kit.revoke_token(token)
            elif end == "sent out":
                keeper.out.add("Ada")
            codes = {"revoked": "revoked_token", "expired": "expired_token", "sent out": "sent_out"}
            assert (await told)["code"] == codes[end]
            await gone.wait()
            await client.disconnect()

    run()


@on_loop
async def test_an_event_after_the_end_does_not_happen(kit):
    site = Site(kit)
    token = kit.create_session().generate_token("publisher")
    ran = []

    @site.sio.on("late")
    async def late(sid):
        kit.revoke_token(token)
        return await said_late(sid, "late")

    @site.gate.require_token()
    async def said_late(sid, data):
        ran.append(data)

    async with site.client({"token": token}) as client:
        assert (await client.call("late"))["error"]["code"] == "revoked_token"
    assert ran == []


@on_loop
async def test_a_namespace_class_is_guarded_by_its_methods(kit):
    sio = socketio.AsyncServer(async_mode="aiohttp")
    gate = Gate(sio, kit, "/chat")

    class Chat(socketio.AsyncNamespace):
        @gate.require_token()
        def on_connect(self, sid, environ):
            pass

        @gate.require_role("moderator")
        async def on_close(self, sid):
            return gate.current_grant(sid).role

    sio.register_namespace(Chat("/chat"))
    site = Site(kit, "/unused")
    site.sio, site.namespace = sio, "/chat"
    session = kit.create_session()
    for role, answer in (("moderator", "moderator"), ("publisher", "insufficient_role")):
        async with site.client({"token": session.generate_token(untyped(role))}) as client:
            said = await client.call("close", namespace="/chat")
            assert (said if isinstance(said, str) else said["error"]["code"]) == answer
    assert (await refusal_of(site, None))["data"]["code"] == "missing_token"


def test_what_a_gate_and_a_guard_cannot_use_is_refused(kit):
    sio = socketio.AsyncServer(async_mode="aiohttp")
    with pytest.raises(ConfigurationError, match=r"takes a socketio\.Server or AsyncServer"):
        Gate(untyped(object()), kit)
    with pytest.raises(ConfigurationError, match="takes a Rolecall"):
        Gate(sio, untyped(None))
    with pytest.raises(ConfigurationError, match="leave always_connect out"):
        Gate(socketio.AsyncServer(async_mode="aiohttp", always_connect=True), kit)
    gate = Gate(sio, kit)

    async def disconnect(sid, reason):
        pass

    with pytest.raises(ConfigurationError, match="a handler of disconnect must run for everybody"):
        gate.require_token()(disconnect)
    with pytest.raises(ConfigurationError, match="protects the handler of connect or of an event"):
        gate.require_token()(untyped(object()))
    with pytest.raises(RuntimeError, match="there is no grant here"):
        gate.current_grant("nobody")
    assert gate.find_grant("nobody") is None


def test_a_handler_of_a_gate_is_not_called_without_a_client(kit):
    handler = Gate(socketio.Server(async_mode="threading"), kit).require_token()(lambda sid: None)
    given: list[Any] = [(), ({},), (object(), {})]
    for args in given:
        with pytest.raises(ConfigurationError, match="called without the client's id"):
            handler(*args)
