"""Operations are shown to plugins that observe, and nothing is paid where none does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import pytest

from rolecall import Allow, blocking, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call, Engine
from rolecall.errors import MissingCredential, PluginError, RolecallError, SessionNotFound
from rolecall.hookspecs import Operation
from rolecall.media import LiveKit
from rolecall.request import Request
from rolecall.roles import ANY_TOKEN

NESTED: ContextVar[tuple[str, ...]] = ContextVar("nested", default=())


class Observer:
    """Keeps each operation with those around it, by their context, and with its outcome."""

    name = "observer"

    def __init__(self) -> None:
        self.seen: list[tuple[tuple[str, ...], Operation, str]] = []

    @hookimpl
    def rolecall_observe(self, operation: Operation):
        return self.around(operation)

    @contextmanager
    def around(self, operation: Operation) -> Iterator[None]:
        outer, outcome = NESTED.get(), ""
        token = NESTED.set((*outer, operation.name))
        try:
            yield
        except RolecallError as error:
            outcome = error.code
            raise
        finally:
            NESTED.reset(token)
            self.seen.append((outer, operation, outcome))

    @property
    def names(self) -> list[tuple[str, ...]]:
        return [(*outer, operation.name) for outer, operation, _ in self.seen]


class Policy:
    name = "policy"

    @hookimpl
    @blocking
    def rolecall_vote_session(self, request):
        return Allow()

    @hookimpl
    async def rolecall_vote_token(self, request):
        return Allow()

    @hookimpl
    def rolecall_vote_access(self, request):
        return None


@pytest.fixture
def observer() -> Observer:
    return Observer()


@pytest.fixture
def observed(make_kit, observer):
    return make_kit(plugins=[Policy(), observer])


CALLS = [
    ("create_session", "rolecall_vote_session"),
    ("create_session", "add_session"),
    ("create_session",),
    ("generate_token", "get_session"),
    ("generate_token", "rolecall_vote_token"),
    ("generate_token",),
    ("verify_token",),
]


def test_what_belongs_to_a_call_is_within_it_on_whatever_thread(observed, observer):
    observed.verify_token(observed.create_session().generate_token())
    assert observer.names == CALLS
    by_name = {operation.name: operation for _, operation, _ in observer.seen}
    assert (by_name["rolecall_vote_token"].kind, by_name["rolecall_vote_token"].plugin) == ("hook", "policy")
    assert (by_name["add_session"].kind, by_name["create_session"].kind) == ("store", "call")


def test_async_code_is_observed_alike(observed, observer):
    async def call() -> None:
        session = await observed.aio.create_session()
        await observed.aio.verify_token(await session.generate_token())

    asyncio.run(call())
    assert observer.names == CALLS


def test_a_guarded_route_is_observed(observed, observer):
    session = observed.create_session()
    token = session.generate_token()
    observer.seen.clear()
    call = Call(Request("GET", "/rooms"))
    drive(observed.engine.authorize(lambda: (token, None), ANY_TOKEN, session.session_id, call))
    assert ("authorize", "rolecall_vote_access") in observer.names
    (operation,) = [one for _, one, _ in observer.seen if one.name == "authorize"]
    assert operation.session_id == session.session_id


def test_tickets_and_webhooks_are_observed(make_kit, observer):
    kit = make_kit(
        plugins=[observer], media=LiveKit("wss://media.example", "APIkey", "a0c1e2f30415263748596a7b8c9dae0f1f2e3d4c")
    )
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token(actor="ada"))
    observer.seen.clear()
    kit.ticket(grant)
    with pytest.raises(MissingCredential):
        kit.receive_webhook("livekit", {}, b"{}")
    calls = [(one.name, one.session_id, outcome) for _, one, outcome in observer.seen if one.kind == "call"]
    assert calls == [("issue_ticket", session.session_id, ""), ("receive_webhook", None, "missing_token")]


def test_an_operation_ends_with_its_refusal_and_names_no_made_up_session(observed, observer):
    token = observed.create_session().generate_token()
    observer.seen.clear()
    for wrong in (lambda: observed.get_session(token), lambda: observed.generate_token(token)):
        with pytest.raises(RolecallError):
            wrong()
    assert [(one.session_id, outcome) for _, one, outcome in observer.seen] == [(None, "invalid_session_id")] * 2


class Failing:
    """Fails to observe, at the start or the end."""

    def __init__(self, where: str) -> None:
        self.where = where

    @hookimpl
    def rolecall_observe(self, operation):
        if self.where == "hook":
            raise ValueError
        return self

    def __enter__(self) -> None:
        if self.where == "enter":
            raise ValueError

    def __exit__(self, *_: object) -> bool:
        if self.where == "exit":
            raise ValueError
        return True


@pytest.mark.parametrize("where", ["hook", "enter", "exit", "suppress"])
def test_an_observer_that_fails_or_suppresses_changes_nothing(make_kit, caplog, where):
    kit = make_kit(plugins=[Failing(where)])
    assert kit.verify_token(kit.create_session().generate_token())
    with pytest.raises(SessionNotFound):
        kit.get_session(make_kit().create_session())
    assert ("failed to observe create_session: it raised ValueError" in caplog.text) == (where != "suppress")


@pytest.mark.parametrize("mark", ["async def", "blocking"])
def test_an_observer_that_waits_stops_start_up(make_kit, mark):
    class Waiting:
        @hookimpl
        async def rolecall_observe(self, operation): ...

    class Blocking:
        @hookimpl
        @blocking
        def rolecall_observe(self, operation): ...

    with pytest.raises(PluginError, match="in the midst of operations"):
        make_kit(plugins=[Waiting() if mark == "async def" else Blocking()])


def test_a_kit_that_nobody_observes_has_the_plain_engine(make_kit, observed):
    kit = make_kit(plugins=[Policy()])
    assert type(kit.engine) is type(kit.aio.engine) is Engine
    assert type(observed.engine) is type(observed.aio.engine) is not Engine
    assert kit.engine.state.plugins.operations is None


def test_an_operation_lasts_as_long_as_its_work(make_kit):
    class Slow:
        @hookimpl
        def rolecall_vote_token(self, request):
            time.sleep(0.02)

    seconds: dict[str, float] = {}

    class Watch:
        @hookimpl
        def rolecall_observe(self, operation):
            return self.timed(operation.name)

        @contextmanager
        def timed(self, name: str) -> Iterator[None]:
            began = time.monotonic()
            yield
            seconds[name] = time.monotonic() - began

    make_kit(plugins=[Slow(), Watch()]).create_session().generate_token()
    assert seconds["generate_token"] >= seconds["rolecall_vote_token"] >= 0.02
