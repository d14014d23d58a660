"""What is remembered of tokens that were verified: enough to save work, and never enough to pass a check."""

from __future__ import annotations

import pytest

from rolecall import hookimpl
from rolecall.engine.verified import VerifiedTokens
from rolecall.errors import InvalidToken, RevokedToken, TokenNotYetValid
from rolecall.formats.opentok import OpenTokFormat

from ...untyped import untyped


def remembered(kit) -> int:
    verified = kit._state.verified
    return len({**verified.old, **verified.young})


def test_a_token_is_remembered_when_it_comes_for_the_second_time(kit):
    token = kit.create_session().generate_token()
    kit.verify_token(token)
    assert remembered(kit) == 0
    kit.verify_token(token)
    assert remembered(kit) == 1


@pytest.mark.parametrize("format", ["opentok", "t1"])
def test_every_token_is_remembered_by_itself(make_kit, format):
    kit = make_kit(format=format)
    session = kit.create_session()
    tokens = [session.generate_token() for _ in range(200)]
    grants = [kit.verify_token(token) for token in tokens * 2]
    assert remembered(kit) == 200
    assert [kit.verify_token(token) for token in tokens] == grants[:200]


@pytest.mark.parametrize("format", ["opentok", "t1"])
def test_a_token_with_the_end_and_the_beginning_of_one_that_is_remembered_is_not_taken_for_it(make_kit, format):
    kit = make_kit(format=format)
    token = kit.create_session().generate_token(data="x" * 300)
    for _ in range(3):
        kit.verify_token(token)
    middle = len(token) // 2
    other = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    with pytest.raises(InvalidToken):
        kit.verify_token(other)


def test_what_is_not_asked_for_is_forgotten():
    verified = VerifiedTokens(size=4)
    for number in range(10):
        verified.keep(b"%d" % number, (b"", untyped(None)))
    assert len(verified.young) <= 2
    assert len(verified.old) <= 2


def test_a_format_of_a_plugin_is_asked_every_time(make_kit):
    denied = set()

    class WithDenylist(OpenTokFormat):
        __slots__ = ()

        def verify(self, token, now):
            grant = super().verify(token, now)
            if grant.token_id in denied:
                raise RevokedToken("denied")
            return grant

    class Plugin:
        @hookimpl
        def rolecall_register_formats(self):
            return {"denylist": WithDenylist}

    kit = make_kit(plugins=[Plugin()], format="denylist", accept=["denylist"])
    token = kit.create_session().generate_token()
    grants = [kit.verify_token(token) for _ in range(3)]
    denied.add(grants[0].token_id)
    with pytest.raises(RevokedToken):
        kit.verify_token(token)


def test_a_clock_that_is_set_back_in_small_steps_makes_no_token_older_than_it_is(kit, clock):
    token = kit.create_session().generate_token()
    for _ in range(3):
        kit.verify_token(token)
    with pytest.raises(TokenNotYetValid):  # noqa: PT012
        for _ in range(40):
            clock.now -= 0.9
            kit.verify_token(token)
