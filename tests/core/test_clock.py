"""A kit without a clock of its own follows the system's, and the libraries that move that one in tests."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import freezegun
import pytest
import time_machine

from rolecall import Rolecall, hookimpl, opentok
from rolecall.clock import system_clock
from rolecall.connector import RemoteService
from rolecall.errors import ExpiredToken, TokenNotYetValid

KEY, SECRET = "123456", "a secret that is made for these tests alone"
NOON = datetime(2031, 5, 1, 12, tzinfo=UTC)

#: How each library sets the clock to a moment, for as long as a ``with`` lasts.
LIBRARIES = {
    "freezegun": freezegun.freeze_time,
    "time-machine": lambda moment: time_machine.travel(moment, tick=False),
}


@pytest.fixture(params=LIBRARIES)
def at(request):
    return LIBRARIES[request.param]


@pytest.fixture
def kit():
    with Rolecall(KEY, SECRET) as kit:
        yield kit


def test_a_kit_that_was_made_before_follows(kit, at):
    with at(NOON):
        grant = kit.verify_token(kit.create_session().generate_token(expire_time=timedelta(minutes=5)))
    assert grant.issued_at == NOON.timestamp()
    assert grant.expires_at == NOON.timestamp() + 300


def test_a_token_ends_when_the_clock_is_moved(kit, at):
    with at(NOON):
        token = kit.create_session().generate_token(expire_time=timedelta(minutes=5))
        for _ in range(3):  # also once it is remembered
            kit.verify_token(token)
    with at(NOON + timedelta(minutes=6)), pytest.raises(ExpiredToken, match="2031-05-01T12:06:00Z"):
        kit.verify_token(token)


def test_a_token_of_tomorrow_is_refused_when_the_clock_is_set_back(kit, at):
    with at(NOON + timedelta(days=1)):
        token = kit.create_session().generate_token()
        for _ in range(3):
            kit.verify_token(token)
    with at(NOON), pytest.raises(TokenNotYetValid):
        kit.verify_token(token)


def test_async_code_follows(kit, at):
    async def expiry():
        session = await kit.aio.create_session()
        return session.created_at, (await kit.aio.verify_token(await session.generate_token())).expires_at

    with at(NOON):
        created_at, expires_at = asyncio.run(expiry())
    assert (created_at, expires_at) == (NOON.timestamp(), NOON.timestamp() + 86_400)


def test_an_event_is_told_at_that_time(at):
    class Audit:
        @hookimpl
        def rolecall_on_event(self, event):
            told.append(event.at)

    told: list[Any] = []
    with Rolecall(KEY, SECRET, plugins=[Audit()]) as kit, at(NOON):
        kit.create_session()
    assert told == [NOON.timestamp()]


def test_the_drop_in_follows(at):
    client = opentok.Client(KEY, SECRET)
    with at(NOON):
        session_id = client.create_session().session_id
        token = client.generate_token(session_id, expire_time=int(NOON.timestamp()) + 60)
        assert Rolecall(KEY, SECRET).verify_token(token).expires_at == NOON.timestamp() + 60


@pytest.mark.parametrize("made", [Rolecall, RemoteService])
def test_a_clock_that_is_not_given_follows(made, at):
    clock = inspect.signature(made).parameters["clock"].default
    with at(NOON):
        assert clock() == NOON.timestamp()


def test_a_clock_of_its_own_is_left_alone(at):
    with Rolecall(KEY, SECRET, clock=lambda: 1_800_000_000.0) as kit, at(NOON):
        assert kit.create_session().created_at == 1_800_000_000.0


def test_without_either_it_is_the_system_s():
    rounded = 1e-6  # a datetime has no more digits
    before = datetime.now(UTC).timestamp()
    assert before - rounded <= system_clock() <= datetime.now(UTC).timestamp() + rounded
