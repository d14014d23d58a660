"""The rules of all five guides at their edges, whichever way a token is minted.

The guides' samples themselves are in ``tests/core/opentok/test_opentok.py``, call by call.
"""

from __future__ import annotations

import asyncio

import pytest

from rolecall.errors import ExpiredToken, InvalidExpireTime
from rolecall.opentok import Client, OpenTokException, Roles

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
NOW, DAY = 1_795_186_800, 86_400


def by_the_kit(kit, **options):
    return kit.generate_token(kit.create_session().session_id, **options)


def by_a_session_of_the_kit(kit, **options):
    return kit.create_session().generate_token(**options)


def by_the_async_kit(kit, **options):
    async def mint():
        session = await kit.aio.create_session()
        return await kit.aio.generate_token(session.session_id, **options)

    return asyncio.run(mint())


def by_a_kit_of_t1(kit, **options):
    return by_the_drop_in(kit, use_jwt=False, **options)


def by_the_drop_in(kit, **options):
    client = Client(KEY, SECRET, kit=kit)
    return client.generate_token(client.create_session().session_id, **options)


def by_a_session_of_the_drop_in(kit, **options):
    return Client(KEY, SECRET, kit=kit).create_session().generate_token(**options)


WAYS = pytest.mark.parametrize(
    "mint",
    [
        by_the_kit,
        by_a_session_of_the_kit,
        by_the_async_kit,
        by_the_drop_in,
        by_a_session_of_the_drop_in,
        by_a_kit_of_t1,
    ],
    ids=lambda mint: mint.__name__,
)


@pytest.fixture
def kit(make_kit):
    """A kit that allows clocks no difference, so that a second is a second."""
    return make_kit(leeway=0, accept=["opentok", "t1"])


@WAYS
def test_a_token_is_a_publishers_unless_asked(kit, mint):
    assert kit.verify_token(mint(kit)).role == "publisher"


@WAYS
@pytest.mark.parametrize("role", list(Roles), ids=lambda role: role.name)
def test_a_token_is_for_the_role_that_was_asked_for(kit, mint, role):
    is_drop_in = mint in (by_the_drop_in, by_a_session_of_the_drop_in, by_a_kit_of_t1)
    assert kit.verify_token(mint(kit, role=role if is_drop_in else role.value)).role == role.value


@WAYS
@pytest.mark.parametrize(
    ("expire_time", "end"),
    [(None, NOW + DAY), (NOW + 1, NOW + 1), (NOW + 30 * DAY - 1, NOW + 30 * DAY - 1), (NOW + 30 * DAY, NOW + 30 * DAY)],
    ids=["24 hours by default", "one second", "30 days less one second", "30 days"],
)
def test_a_token_is_good_to_its_last_second_and_no_longer(kit, clock, mint, expire_time, end):
    token = mint(kit, expire_time=expire_time)
    clock.now = end - 1
    assert kit.verify_token(token).expires_at == end
    for late in (end, end + 1):
        clock.now = late
        with pytest.raises(ExpiredToken):
            kit.verify_token(token)


@WAYS
@pytest.mark.parametrize("expire_time", [NOW - 1, NOW, NOW + 30 * DAY + 1])
def test_a_token_for_another_time_is_refused(kit, mint, expire_time):
    with pytest.raises((OpenTokException, InvalidExpireTime), match="expire_time"):
        mint(kit, expire_time=expire_time)
