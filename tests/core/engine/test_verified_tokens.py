"""What is remembered of tokens that were verified: enough to save work, and never enough to pass a check."""

from __future__ import annotations

import pytest

from rolecall import hookimpl
from rolecall.engine.verified import Verified, VerifiedTokens
from rolecall.errors import ExpiredToken, InsufficientRole, InvalidToken, RevokedToken, TokenNotYetValid, WrongSession
from rolecall.formats.opentok import OpenTokFormat
from rolecall.roles import ANY_TOKEN, Requirement
from rolecall.stores.memory import MemoryStore


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
    grants = [[kit.verify_token(token) for _ in range(3)] for token in tokens]
    assert remembered(kit) == 200
    assert [[kit.verify_token(token)] * 3 for token in tokens] == grants


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


def test_what_is_not_asked_for_is_forgotten(kit):
    grant = kit.verify_token(kit.create_session().generate_token())
    verified = VerifiedTokens(size=4)
    for number in range(10):
        verified.keep(str(number), Verified("token", grant, 0.0))
    assert len(verified.young) <= 2
    assert len(verified.old) <= 2


def test_a_token_of_the_generation_before_is_remembered_still(kit):
    token = kit.create_session().generate_token()
    for _ in range(2):
        kit.verify_token(token)
    verified = kit._state.verified
    verified.old, verified.young = verified.young, {}
    (remembered_as,) = verified.old.values()
    kit.verify_token(token)
    assert [*verified.young.values()] == [remembered_as]


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


@pytest.mark.each_choice
@pytest.mark.parametrize("leeway", [0, 60])
def test_a_remembered_token_ends_with_its_life_as_any_other(make_kit, clock, leeway):
    kit = make_kit(leeway=leeway)
    token = kit.create_session().generate_token(expire_time=clock.now + 100)
    for _ in range(3):
        kit.verify_token(token)
    clock.now += 99 + leeway
    kit.verify_token(token)
    clock.now += 1
    with pytest.raises(ExpiredToken):
        kit.verify_token(token)


def test_a_remembered_token_ends_with_the_age_of_its_session_as_any_other(make_kit, clock):
    kit = make_kit(leeway=60, max_session_age=100)
    token = kit.create_session().generate_token(expire_time=clock.now + 1000)
    for _ in range(3):
        kit.verify_token(token)
    clock.now += 100
    with pytest.raises(ExpiredToken, match="max_session_age"):
        kit.verify_token(token)


# -- what was revoked ------------------------------------------------------------------------------


class Asked(MemoryStore):
    """Counts how often it is asked whether a session has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def has_ended(self, session_id: str) -> bool:
        self.times += 1
        return super().has_ended(session_id)


class Mute(Asked):
    """A store that cannot tell its revision."""

    def revision(self) -> None:
        return None


class Slow(Asked):
    """A store in which a session ends while it is asked whether another has."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: str | None = None

    def has_ended(self, session_id: str) -> bool:
        answer = super().has_ended(session_id)
        if self.ends is not None:
            self.end_session(self.ends, 7.5)
        return answer


def remembered_token(kit, session) -> str:
    token = session.generate_token()
    for _ in range(3):
        kit.verify_token(token)
    return token


def test_the_store_is_asked_about_a_remembered_token_only_after_a_revocation(make_kit):
    kit = make_kit(store=(store := Asked()))
    session, other = kit.create_session(), kit.create_session()
    token = remembered_token(kit, session)
    revocations = (
        lambda: None,
        lambda: kit.end_session(other.session_id),
        lambda: kit.revoke_actor("ada"),
        lambda: kit.reset_session(other.session_id),
    )
    for number, revoke in enumerate(revocations):
        revoke()
        store.times = 0
        for _ in range(5):
            kit.verify_token(token)
        assert store.times == (1 if number else 0)


@pytest.mark.each_choice
@pytest.mark.parametrize(
    "revoke",
    [
        lambda kit, token, grant: kit.end_session(grant.session_id),
        lambda kit, token, grant: kit.revoke_token(token),
        lambda kit, token, grant: kit.reset_session(grant.session_id),
        lambda kit, token, grant: kit.revoke_before(),
    ],
    ids=["end_session", "revoke_token", "reset_session", "revoke_before"],
)
@pytest.mark.parametrize("kind", [Asked, Mute])
def test_a_remembered_token_is_refused_once_it_is_revoked(make_kit, kind, revoke):
    kit = make_kit(store=kind())
    token = remembered_token(kit, kit.create_session())
    revoke(kit, token, kit.verify_token(token))
    for _ in range(3):
        with pytest.raises(RevokedToken):
            kit.verify_token(token)


def test_a_store_that_does_not_tell_its_revision_is_asked_each_time(make_kit):
    kit = make_kit(store=(store := Mute()))
    token = remembered_token(kit, kit.create_session())
    store.times = 0
    for _ in range(5):
        kit.verify_token(token)
    assert store.times == 5


class SaysTrue:
    """Equal to everything, as what a mocking library or an array says."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize(
    "made", [SaysTrue, lambda: float("nan"), lambda: None, list], ids=["true", "nan", "none", "list"]
)
def test_a_revision_decides_nothing_about_a_token_that_was_never_live(make_kit, made):
    class Store(MemoryStore):
        def revision(self) -> object:
            return made()

    kit = make_kit(store=Store())
    session = kit.create_session()
    token = session.generate_token()
    kit.end_session(session.session_id)
    for _ in range(5):
        with pytest.raises(RevokedToken):
            kit.api.engine.check_token(token, ANY_TOKEN, None)


def test_what_is_revoked_during_a_check_counts_at_the_next_one(make_kit):
    kit = make_kit(store=(store := Slow()))
    session = kit.create_session()
    token = session.generate_token()
    kit.verify_token(token)
    store.ends = session.session_id
    kit.verify_token(token)  # from now on it is remembered
    store.ends = None
    with pytest.raises(RevokedToken):
        kit.verify_token(token)


def test_a_requirement_that_was_met_says_nothing_about_another_one(kit):
    token, check = kit.create_session().generate_token("publisher"), kit.api.engine.check_token
    lesser, greater = Requirement.of_role("publisher"), Requirement.of_role("moderator")
    only = Requirement.of_role("subscriber", exact=True)
    for _ in range(4):
        assert check(token, lesser, None).role == "publisher"
        for too_much in (greater, only):
            with pytest.raises(InsufficientRole):
                check(token, too_much, None)


def test_a_requirement_that_was_met_is_met_no_longer_once_the_token_is_revoked(kit):
    session = kit.create_session()
    token, check = session.generate_token("publisher"), kit.api.engine.check_token
    publisher = Requirement.of_role("publisher")
    for _ in range(4):
        check(token, publisher, session.session_id)
    with pytest.raises(WrongSession):
        check(token, publisher, kit.create_session().session_id)
    kit.revoke_token(token)
    with pytest.raises(RevokedToken):
        check(token, publisher, session.session_id)
