"""The contract of adapters: what a request carries, whom a framework has identified, drivers, and guarded sockets."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import time
from typing import Any, ClassVar

import pytest

from rolecall import Actor, Allow, Grant, Rolecall, Web, hookimpl
from rolecall.driver import drive
from rolecall.errors import InsufficientRole, MissingCredential, RevokedToken, RolecallError, SessionEnded
from rolecall.http.adapter import (
    BEARER,
    ROUTES,
    AppPool,
    Guard,
    GuardedSocket,
    Handshake,
    JoinedHeaders,
    LoopDriver,
    Request,
    admit,
    close_code,
    close_reason,
    find_route,
    respond,
    split_offers,
)
from rolecall.http.gateways import websockets

from ...untyped import untyped

SECRET = "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
MODERATOR = Guard.of_role("moderator")


@pytest.fixture
def kit():
    with Rolecall("123456", SECRET) as kit:
        yield kit


# -- requests --------------------------------------------------------------------------------------


def test_the_framework_s_own_request_is_part_of_no_comparison_and_no_copy():
    plain = Request("GET", "/rooms")
    native = Request("GET", "/rooms", native=object(), actor=Actor("ada"))
    assert native == plain
    assert (native != plain) is False
    assert native != Request("GET", "/other")
    assert (native == ("GET", "/rooms")) is False
    assert repr(native) == repr(plain)
    for same in (pickle.loads(pickle.dumps(native)), copy.deepcopy(native)):
        assert (same, same.native, same.actor) == (plain, None, None)


def test_a_request_that_is_changed_keeps_the_framework_s_own():
    native = object()
    assert Request("GET", "/rooms", native=native)._replace(body=b"{}").native is native


def joined(*headers: tuple[str, str]) -> JoinedHeaders:
    return JoinedHeaders(
        lambda name: [value for key, value in headers if key.lower() == name], [key for key, _ in headers]
    )


def test_headers_of_one_name_are_joined_by_the_core():
    headers = joined(("Authorization", "Bearer a"), ("AUTHORIZATION", "Bearer b"), ("Cookie", "a=1"), ("cookie", "b=2"))
    assert headers["authorization"] == headers.get("Authorization") == "Bearer a,Bearer b"
    assert headers["Cookie"] == "a=1; b=2"
    assert dict(headers) == {"authorization": "Bearer a,Bearer b", "cookie": "a=1; b=2"}
    assert len(headers) == 2
    assert headers.get("origin") is None
    assert headers.get("origin", "none") == "none"
    with pytest.raises(KeyError):
        headers["origin"]


def test_an_empty_header_has_come():
    assert joined(("Origin", "")).get("origin") == ""
    assert joined(("Origin", "")).get("origin", "none") == ""


# -- who asks --------------------------------------------------------------------------------------


class Identifying:
    def __init__(self, actor: Actor | None) -> None:
        self.actor = actor
        self.seen: list[Actor | None] = []

    @hookimpl
    def rolecall_identify(self, request):
        return self.actor

    @hookimpl
    def rolecall_vote_session(self, request):
        self.seen.append(request.actor)
        return Allow()


def asked(kit: Rolecall, actor: Any) -> int:
    found = find_route(ROUTES, "/sessions")
    assert found is not None
    route, params = found
    request = Request("POST", "/sessions", params, {"content-type": "application/json"})
    return drive(respond(kit.api, route, request, actor=actor)).status


@pytest.mark.parametrize("named", [None, Actor("ada")], ids=["no plugin knows", "a plugin agrees"])
def test_policies_see_whom_the_framework_has_identified(named):
    policy = Identifying(named)
    with Rolecall("123456", SECRET, plugins=[policy]) as kit:
        assert asked(kit, Actor("ada")) == 201
    assert policy.seen == [Actor("ada")]


def test_a_plugin_that_identifies_somebody_else_has_the_request_refused():
    policy = Identifying(Actor("eve"))
    with Rolecall("123456", SECRET, plugins=[policy]) as kit:
        assert asked(kit, Actor("ada")) == 503
    assert policy.seen == []


def test_what_is_no_actor_is_the_adapter_s_fault_and_lets_nobody_in(caplog):
    policy = Identifying(None)
    with Rolecall("123456", SECRET, plugins=[policy]) as kit:
        assert asked(kit, "ada") == 500
    assert policy.seen == []
    assert "the actor is of type str; expected a rolecall.Actor, or None" in caplog.text


# -- drivers ---------------------------------------------------------------------------------------


class Counting:
    """A driver that runs everything where it is asked to."""

    hooks_block = False

    def __init__(self) -> None:
        self.waited = 0

    def pass_through(self, error):
        return None

    async def take_turn(self):
        pass

    async def run(self, purpose, deadline, function, *args):
        return function(*args)

    async def wait(self, awaitable, deadline, purpose=None):
        self.waited += 1
        return await awaitable


class Slow:
    @hookimpl
    async def rolecall_vote_access(self, request):
        await asyncio.sleep(0)
        return


def test_an_adapter_may_bring_a_way_of_its_own_to_wait():
    driver = Counting()
    with Rolecall("123456", SECRET, plugins=[Slow()]) as kit:
        session = kit.create_session()
        token = session.generate_token("moderator")
        api = kit.api_with(driver)
        admitted = admit(api, f"Bearer {token}", MODERATOR, session.session_id, lambda: bearing(token))
        assert inspect.iscoroutine(admitted)
        grant = asyncio.run(admitted)
    assert isinstance(grant, Grant)
    assert grant.session_id == session.session_id
    assert driver.waited == 1


class Elsewhere(LoopDriver):
    """Runs each function of the app where it says, and all else where the kit does."""

    hooks_block = True
    ran: ClassVar[list[str]] = []

    async def run(self, purpose, deadline, function, *args):
        if isinstance(purpose, AppPool):
            self.ran.append(purpose)
            return function(*args)
        return await super().run(purpose, deadline, function, *args)


class Plain:
    @hookimpl
    def rolecall_vote_access(self, request):
        return


def test_an_adapter_may_have_every_hook_go_through_its_driver():
    with Rolecall("123456", SECRET, plugins=[Plain()]) as kit:
        token = kit.create_session().generate_token("moderator")
        admitted = admit(kit.api_with(Elsewhere), f"Bearer {token}", MODERATOR, None, lambda: bearing(token))
        assert inspect.iscoroutine(admitted)
        assert isinstance(asyncio.run(admitted), Grant)
    (purpose,) = Elsewhere.ran
    assert purpose.startswith("rolecall_vote_access of the plugin")


def bearing(token: str | None) -> Request:
    return Request("GET", "/room", headers={} if token is None else {"authorization": f"Bearer {token}"})


# -- guards ----------------------------------------------------------------------------------------


def test_a_guard_of_a_subclass_is_made_by_role_capability_and_token():
    class Own(Guard):
        def __call__(self, view):
            return self, view

    assert type(Own.of_role("moderator")) is Own
    assert Own.of_role("moderator", exact=True).requirement.only is not None
    assert Own.of_capability("signal").requirement.scope == "capability:signal"
    assert Own.of_token(optional=True).optional
    assert untyped(Own.of_token(print)) == (Own.of_token(), print)


# -- sockets ---------------------------------------------------------------------------------------


def test_tokens_among_the_subprotocols_are_none_that_the_app_may_choose():
    assert split_offers(["chat", BEARER, "a.b.c", "v2"]) == (["chat", "v2"], ["a.b.c"])
    assert split_offers([BEARER]) == ([], [""])
    assert split_offers([]) == ([], [])


def test_a_close_tells_the_status_and_the_code():
    error = SessionEnded("the session has ended")
    assert close_code(error.status) == 4000 + error.status
    assert close_reason(error).startswith(f"{error.code}: ")


class Line:
    """What carries a socket: it remembers what came over it."""

    def __init__(self) -> None:
        self.closed: list[tuple[int, str]] = []
        self.grants: list[Grant] = []
        self.left = asyncio.Event()

    async def close(self, error: RolecallError) -> None:
        self.closed.append((close_code(error.status), close_reason(error)))
        self.left.set()


async def opened(kit, token, session_id, guard=MODERATOR, line=None, outer=None):
    handshake = Handshake(kit.aio.api, Request("GET", "/room"), [token])
    grant = await handshake.enter(guard, session_id)
    assert isinstance(grant, Grant)
    line = line or Line()
    return line, GuardedSocket(handshake.watch(guard, session_id, grant), line.close, line.grants.append, outer)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(websockets, "GRACE", 0.05)
    with Rolecall("123456", SECRET, web=Web(recheck=0.05)) as kit:
        yield kit


def test_a_handshake_lets_in_refuses_and_needs_no_asgi(kit):
    session, other = kit.create_session(), kit.create_session()
    token = session.generate_token("publisher")

    async def enter(token, guard, session_id):
        return await Handshake(kit.aio.api, Request("GET", "/room"), [token] if token else []).enter(guard, session_id)

    assert isinstance(asyncio.run(enter(token, Guard.of_token(), session.session_id)), Grant)
    assert isinstance(asyncio.run(enter(token, MODERATOR, session.session_id)), InsufficientRole)
    assert isinstance(asyncio.run(enter(token, Guard.of_token(), other.session_id)), RolecallError)
    assert isinstance(asyncio.run(enter(None, Guard.of_token(), None)), MissingCredential)
    assert asyncio.run(enter(None, Guard.of_token(optional=True), None)) is None


def test_a_policy_is_shown_a_handshake_without_what_was_offered(kit):
    request = Request("GET", "/room", headers={"Sec-WebSocket-Protocol": f"{BEARER}, a.b.c", "Origin": "null"})
    handshake = Handshake(kit.aio.api, request, ["a.b.c"])
    assert dict(handshake.request.headers) == {"origin": "null", "authorization": "Bearer a.b.c"}
    assert handshake.subprotocol == BEARER
    assert Handshake(kit.aio.api, request, []).subprotocol is None


def test_a_socket_is_closed_when_its_session_ends_and_its_handler_is_cancelled(quick):
    session = quick.create_session()
    cancelled = []

    async def run():
        line, socket = await opened(quick, session.generate_token("moderator"), session.session_id)

        async def handler():
            quick.end_session(session)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        began = time.monotonic()
        await socket.run(handler)
        return line, socket, time.monotonic() - began

    line, socket, lasted = asyncio.run(run())
    assert [code for code, _ in line.closed] == [4000 + RevokedToken.status]
    assert line.grants[0].session_id == session.session_id
    assert socket.ended is not None
    assert cancelled == [True]
    assert lasted < 30


@pytest.mark.parametrize("when", ["before it is watched", "after a renewal was judged"])
def test_a_token_that_is_revoked_in_between_closes_the_socket(when):
    with Rolecall("123456", SECRET, web=Web(recheck=60)) as kit:
        session = kit.create_session()
        tokens = [session.generate_token("moderator") for _ in range(2)]

        async def run():
            handshake = Handshake(kit.aio.api, Request("GET", "/room"), [tokens[0]])
            grant = await handshake.enter(MODERATOR, session.session_id)
            assert isinstance(grant, Grant)
            line, watch = Line(), handshake.watch(MODERATOR, session.session_id, grant)
            socket = GuardedSocket(watch, line.close, line.grants.append)
            if when == "before it is watched":
                kit.revoke_token(tokens[0])

            async def handler():
                if when == "after a renewal was judged":
                    renewed, told = await watch.ask_to_renew(tokens[1]), asyncio.Event()
                    with kit._state.revisions.told(lambda: told.set() or False):
                        kit.revoke_token(tokens[1])
                        await told.wait()  # and with this one, the watch was told
                    assert line.closed == []
                    watch.renew(renewed)
                await line.left.wait()

            async with asyncio.timeout(20):
                await socket.run(handler)
            return line

        assert [code for code, _ in asyncio.run(run()).closed] == [4401]


def test_a_socket_whose_handler_ends_is_not_closed(quick):
    session = quick.create_session()

    async def run():
        line, socket = await opened(quick, session.generate_token("moderator"), session.session_id)
        await socket.run(lambda: asyncio.sleep(0))
        return line, socket

    line, socket = asyncio.run(run())
    assert (line.closed, socket.ended) == ([], None)


def test_of_two_guards_around_a_socket_one_closes_it(quick):
    session = quick.create_session()

    async def run():
        token = session.generate_token("moderator")
        line, outer = await opened(quick, token, session.session_id)
        _, inner = await opened(quick, token, session.session_id, line=line, outer=outer)

        async def handler():
            quick.end_session(session)
            await line.left.wait()
            await asyncio.sleep(60)

        await outer.run(lambda: inner.run(handler))
        return line

    assert len(asyncio.run(run()).closed) == 1


def test_a_renewal_is_for_every_guard_around(quick):
    session = quick.create_session()

    async def run():
        token, later = session.generate_token("moderator"), session.generate_token("moderator")
        line, outer = await opened(quick, token, session.session_id)
        _, inner = await opened(quick, token, session.session_id, line=line, outer=outer)

        async def handler():
            renewed = await inner.renew(later)
            assert outer.grant.token_id == inner.grant.token_id == renewed.token_id
            assert line.grants[-1] == renewed
            with pytest.raises(RolecallError):
                await inner.renew(session.generate_token("subscriber"))
            assert inner.grant == renewed

        await outer.run(lambda: inner.run(handler))

    asyncio.run(run())
