"""Renewal: a token for a while longer, and never for more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rolecall import Actor, Allow, Deny, Limit, Rolecall, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.engine.renewing import Wishes
from rolecall.errors import (
    BadSignature,
    ConfigurationError,
    ExpiredToken,
    InvalidData,
    InvalidExpireTime,
    InvalidRole,
    NotRenewable,
    OnlyVerifies,
    PolicyDenied,
    RenewedAlready,
    RevokedToken,
    RolecallError,
    StoreUnavailable,
    TokenNotYetValid,
    WrongActor,
    WrongSession,
)
from rolecall.events import TokenIssued, TokenRefused
from rolecall.policies import AllowRenewal
from rolecall.request import Request
from rolecall.roles import RoleName
from rolecall.stores.memory import MemoryStore
from rolecall.stores.upkeep import Over
from rolecall.tokens import Grant, TokenId

from ... import own_tokens
from ...conftest import NOW
from ...sdk_tokens import API_KEY, API_SECRET
from ...untyped import untyped
from .test_taking_back import sdk_token

MINUTE, HOUR = 60, 3600
FIVE = timedelta(minutes=5)
SUBSCRIBER = {"connect", "subscribe"}

FORMATS: dict[str, dict[str, Any]] = {
    "opentok": {},
    "jwt": {
        "format": "jwt",
        "issuer": own_tokens.ISSUER,
        "audience": "rooms",
        "private_key": own_tokens.pem(),
        "accept": ["jwt", "opentok"],
    },
}


class Login:
    """Whoever sends ``x-user`` is logged in."""

    @hookimpl
    def rolecall_identify(self, request: Request) -> Actor | None:
        user = request.headers.get("x-user")
        return None if user is None else Actor(user, {"name": user.title()})


class Asked:
    """Answers requests for tokens, and keeps them; and the events."""

    def __init__(self, vote: Any = None) -> None:
        self.vote: Any = vote
        self.requests: list[Any] = []
        self.events: list[Any] = []

    @hookimpl
    def rolecall_vote_token(self, request: Any) -> Any:
        self.requests.append(request)
        return self.vote() if callable(self.vote) else self.vote

    @hookimpl
    def rolecall_on_event(self, event: Any) -> None:
        self.events.append(event)


@pytest.fixture(params=FORMATS)
def kit(request: pytest.FixtureRequest, make_kit: Any) -> Rolecall:
    return make_kit(**FORMATS[request.param], plugins=[AllowRenewal(), Login()])


def renewed(kit: Rolecall, token: str, *, user: str | None = None, session_id: str | None = None, **wishes: Any) -> str:
    """A token that somebody outside has renewed."""
    headers = {} if user is None else {"x-user": user}
    call = Call(Request("POST", "/tokens", headers=headers))
    new, _ = drive(kit.engine.renew_token(lambda: (token, None), session_id, Wishes(**wishes), call))
    return new


def begun(
    kit: Rolecall, role: RoleName = "publisher", life: Any = FIVE, data: str | None = None, **options: Any
) -> str:
    return kit.create_session().generate_token(role, life, data, **{"actor": "ada", **options})


# -- what it gives ---------------------------------------------------------------------------------


def test_a_renewed_token_is_the_same_for_as_long_again(kit, clock):
    old = begun(kit, "moderator", data="name=Ada", initial_layout_class_list=["focus", "full"])
    before = kit.verify_token(old)
    clock.now += 4 * MINUTE
    after = kit.verify_token(renewed(kit, old))

    assert (after.issued_at, after.expires_at) == (NOW + 4 * MINUTE, NOW + 9 * MINUTE)
    assert after.begun_at == before.begun_at == NOW
    assert after.token_id != before.token_id
    same = ("session_id", "role", "capabilities", "actor_id", "data", "layout")
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    assert after.claims.get("aud") == before.claims.get("aud")
    assert after.claims.keys() == before.claims.keys()


def test_the_one_before_stays_good_until_it_expires(kit, clock):
    old = begun(kit)
    clock.now += 4 * MINUTE
    renewed(kit, old)
    assert kit.verify_token(old).actor_id == "ada"


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_call_of_five_hours_on_tokens_of_five_minutes(make_kit, clock, fmt):
    listening = Asked()
    kit = make_kit(**FORMATS[fmt], plugins=[AllowRenewal(), listening])
    token, renewals = begun(kit), 0
    while clock.now < NOW + 5 * HOUR:
        assert kit.verify_token(token).actor_id == "ada"
        clock.now += 4 * MINUTE
        old, token = token, renewed(kit, token)
        renewals += 1
        assert listening.events[-1].renewed == kit.verify_token(old).token_id
        assert kit.verify_token(token).expires_at == clock.now + 5 * MINUTE
    assert renewals == 75


def test_all_renewals_end_twelve_hours_after_the_first_issue(kit, clock):
    token = begun(kit, life=timedelta(hours=1))
    ends = []
    for _ in range(14):
        clock.now += 50 * MINUTE
        token = renewed(kit, token)
        ends.append(kit.verify_token(token).expires_at)
    assert ends == [NOW + min(110 + 50 * count, 12 * 60) * MINUTE for count in range(14)]
    clock.now = NOW + 12 * HOUR
    with pytest.raises(ExpiredToken):
        renewed(kit, token)


def test_the_last_renewal_is_cut_at_the_total_life(make_kit, clock):
    kit = make_kit(plugins=[AllowRenewal()], max_total_life=timedelta(minutes=8))
    old = begun(kit)
    clock.now += 4 * MINUTE
    last = renewed(kit, old)
    assert kit.verify_token(last).expires_at == NOW + 8 * MINUTE
    clock.now = NOW + 8 * MINUTE - 1
    assert kit.verify_token(renewed(kit, last)).expires_at == NOW + 8 * MINUTE
    assert kit.renew_token(last)
    clock.now += 1
    with pytest.raises(ExpiredToken):
        kit.renew_token(last)


def test_a_token_that_outlives_its_total_life_is_not_renewed_beyond_it(make_kit, clock):
    kit = make_kit(max_total_life=HOUR)
    token = begun(kit, life=timedelta(days=1))
    clock.now += 59 * MINUTE
    assert kit.verify_token(kit.renew_token(token)).expires_at == NOW + HOUR
    clock.now += MINUTE
    with pytest.raises(NotRenewable, match="ask for a first token again"):
        kit.renew_token(token)


@pytest.mark.parametrize(
    "value", [None, 0, -1, 12 * HOUR + 1, timedelta(hours=13), True, "1h", float("nan"), float("inf")]
)
def test_there_is_always_an_end_to_renewals(make_kit, value):
    with pytest.raises(ConfigurationError, match="max_total_life is"):
        make_kit(max_total_life=value)
    with pytest.raises(ConfigurationError, match="total_life is"):
        AllowRenewal(value)


# -- never more ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has", "asks", "gets"),
    [
        ("publisher", None, "publisher"),
        ("publisher", "moderator", "publisher"),
        ("subscriber", "moderator", "subscriber"),
        ("moderator", "publisher", "publisher"),
        ("moderator", "subscriber", "subscriber"),
        ("publisher", "publisheronly", "publisheronly"),
    ],
)
def test_a_role_is_never_more_than_before(kit, clock, has, asks, gets):
    old = begun(kit, has)
    clock.now += 4 * MINUTE
    after = kit.verify_token(renewed(kit, old, role=asks))
    assert (after.role, after.capabilities) == (gets, kit.roles.get(gets).capabilities)


def test_capabilities_that_policies_took_do_not_come_back(make_kit, clock):
    narrowing = Asked(Limit(capabilities=["connect", "subscribe", "publish", "signal", "force_disconnect"]))
    kit = make_kit(plugins=[AllowRenewal(), narrowing])
    old = begun(kit, "moderator")
    before = kit.verify_token(old)
    assert (before.role, len(before.capabilities)) == ("publisher", 5)
    narrowing.vote = None
    clock.now += 4 * MINUTE
    for asks in (None, "moderator", "publisher"):
        after = kit.verify_token(renewed(kit, kit.renew_token(old), role=asks))
        assert after.role == "publisher"
        assert after.capabilities == (
            kit.roles.get("publisher").capabilities if asks == "publisher" else before.capabilities
        )


def test_votes_narrow_further_and_for_good(make_kit, clock):
    narrowing = Asked()
    kit = make_kit(plugins=[AllowRenewal(), narrowing])
    old = begun(kit, "moderator")
    clock.now += 4 * MINUTE
    narrowing.vote = Limit(max_role="subscriber", max_lifetime=60, data="muted")
    less = renewed(kit, old)
    grant = kit.verify_token(less)
    assert (grant.role, grant.capabilities, grant.expires_at, grant.data) == (
        "subscriber",
        SUBSCRIBER,
        clock.now + 60,
        "muted",
    )
    narrowing.vote = None
    clock.now += 50
    grant = kit.verify_token(renewed(kit, less, role="moderator", expire_time=FIVE))
    assert (grant.capabilities, grant.expires_at) == (SUBSCRIBER, clock.now + 60)


def test_a_life_is_never_longer_than_before_and_may_be_shorter(kit, clock):
    old = begun(kit)
    clock.now += 4 * MINUTE
    assert kit.verify_token(kit.renew_token(old, timedelta(hours=2))).expires_at == clock.now + 5 * MINUTE
    short = kit.renew_token(old, timedelta(minutes=2))
    assert kit.verify_token(short).expires_at == clock.now + 2 * MINUTE
    clock.now += MINUTE
    assert kit.verify_token(kit.renew_token(short)).expires_at == clock.now + 2 * MINUTE
    with pytest.raises(InvalidExpireTime):
        kit.renew_token(short, clock.now - 1)


@pytest.mark.parametrize(
    ("wishes", "error"),
    [
        ({"data": "name=Eve"}, InvalidData),
        ({"data": ""}, InvalidData),
        ({"layout": ["full"]}, InvalidData),
        ({"role": "owner"}, InvalidRole),
        ({"expire_time": "soon"}, InvalidExpireTime),
    ],
)
def test_what_the_token_has_not_is_not_to_be_had(kit, clock, wishes, error):
    old = begun(kit, data="name=Ada", initial_layout_class_list=["focus"])
    clock.now += 4 * MINUTE
    with pytest.raises(error):
        renewed(kit, old, **wishes)
    # What was refused has not been counted.
    grant = kit.verify_token(renewed(kit, old, data="name=Ada", layout=["focus"]))
    assert (grant.data, grant.layout) == ("name=Ada", ("focus",))


def test_a_role_of_which_the_token_has_too_little(kit):
    old = begun(kit, "subscriber")
    with pytest.raises(NotRenewable, match="role is subscriber, and no role is within both that and publisheronly"):
        renewed(kit, old, role="publisheronly")


def test_a_renewed_token_has_the_format_of_the_one_before(make_kit, clock):
    kit = make_kit(**FORMATS["jwt"], plugins=[AllowRenewal()])
    other = make_kit(store=kit.engine.state.store)
    old = other.generate_token(other.create_session(), "publisher", FIVE, actor="ada")
    clock.now += 4 * MINUTE
    grant = kit.verify_token(renewed(kit, old))
    assert ("aud" in grant.claims, grant.claims["iss"]) == (False, API_KEY)


# -- which tokens ----------------------------------------------------------------------------------


def test_a_token_is_renewed_without_leeway(kit, clock):
    old = begun(kit)
    clock.now = NOW + 5 * MINUTE - 1
    assert renewed(kit, old)
    clock.now += 1
    assert kit.verify_token(old)  # with leeway
    for renew in (kit.renew_token, lambda token: renewed(kit, token)):
        with pytest.raises(ExpiredToken, match="not renewed by the leeway alone"):
            renew(old)


def test_a_token_from_a_clock_that_is_ahead_is_not_renewed_yet(kit, clock):
    clock.now += 5
    old = begun(kit)
    clock.now -= 5
    assert kit.verify_token(old)
    with pytest.raises(TokenNotYetValid):
        kit.renew_token(old)


def test_a_token_of_an_sdk_is_not_renewable(make_kit):
    kit = make_kit(plugins=[AllowRenewal()])
    session_id = kit.create_session().session_id
    for claims in ({}, {"jti": "a" * 32}, {"jti": "3f2504e0-4f89-41d3-9a0c-0305e82c3301"}):
        token = sdk_token(session_id, NOW - 60, rolecall_actor="ada", **claims)
        assert kit.verify_token(token).begun_at is None
        for renew in (kit.renew_token, lambda token: renewed(kit, token)):
            with pytest.raises(NotRenewable, match="not minted by this service's own kit"):
                renew(token)


def test_a_token_of_t1_is_not_renewable(make_kit):
    kit = make_kit(format="t1", accept=["t1"])
    with pytest.raises(NotRenewable, match="not minted by"):
        kit.renew_token(begun(kit))


def test_a_token_for_an_actor_never_becomes_one_for_nobody(make_kit):
    old = begun(named := make_kit())
    kit = make_kit(actor_claim=False, store=named.engine.state.store)
    with pytest.raises(NotRenewable, match="actor_claim is False"):
        kit.renew_token(old)
    nobodys = begun(kit)
    assert kit.verify_token(kit.renew_token(nobodys)).actor_id is None


def test_a_forged_token_and_one_of_another_session_are_refused(kit):
    old = begun(kit)
    with pytest.raises(BadSignature):
        renewed(kit, old[:-8] + "AAAAAAAA")
    with pytest.raises(WrongSession):
        renewed(kit, old, session_id=kit.create_session().session_id)


def test_a_verifier_renews_nothing(make_kit, clock):
    kit = make_kit(**FORMATS["jwt"])
    old = begun(kit)
    with Rolecall.verifier(own_tokens.jwks(kit), issuer=own_tokens.ISSUER, audience="rooms", clock=clock) as verifier:
        assert verifier.verify_token(old)
        with pytest.raises(OnlyVerifies):
            verifier.renew_token(old)


# -- what stands -----------------------------------------------------------------------------------


def test_what_was_taken_back_is_not_renewed(kit, clock):
    ways = {
        "revoked": lambda old, grant: kit.revoke_token(old),
        "excluded": lambda old, grant: kit.exclude(grant.session_id, "ada"),
        "reset": lambda old, grant: kit.reset_session(grant.session_id),
        "ended": lambda old, grant: kit.end_session(grant.session_id),
        "actor": lambda old, grant: kit.revoke_actor("ada"),
        "project": lambda old, grant: kit.revoke_before(),
    }
    for take_back in ways.values():
        old = begun(kit)
        clock.now += 2
        take_back(old, kit.verify_token(old))
        clock.now += 2
        for renew in (kit.renew_token, lambda token: renewed(kit, token)):
            with pytest.raises(RevokedToken):
                renew(old)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("which", range(4))
def test_a_revoked_token_takes_all_its_renewals_with_it(make_kit, clock, fmt, which):
    """Whichever of them is revoked, by whatever it is named, also after its end."""
    kit = make_kit(**FORMATS[fmt], plugins=[AllowRenewal()])
    session = kit.create_session()
    for name in (lambda token, grant: {"token": token}, lambda token, grant: ids_of(grant)):
        family, others = [session.generate_token(expire_time=FIVE)], [session.generate_token()]
        grants = [kit.verify_token(family[0])]
        for _ in range(3):
            clock.now += 4 * MINUTE
            family.append(kit.renew_token(family[-1]))
            grants.append(kit.verify_token(family[-1]))
        others += [session.generate_token(), kit.renew_token(others[0])]
        kit.revoke_token(**name(family[which], grants[which]))
        with pytest.raises(RevokedToken):
            kit.verify_token(family[-1])
        with pytest.raises(RevokedToken):
            kit.renew_token(family[-1])
        assert all(map(kit.verify_token, others))


def ids_of(grant: Grant) -> dict[str, str]:
    return {"session_id": grant.session_id, "token_id": grant.token_id}


def test_the_revocation_of_an_expired_token_is_kept_while_its_renewals_live(kit, clock):
    first = begun(kit, life=timedelta(hours=6))
    clock.now += 6 * HOUR - MINUTE
    second = kit.renew_token(first)
    clock.now += 2 * MINUTE
    kit.revoke_token(first)
    for _ in range(11):
        clock.now += HOUR / 2
        kit.engine.state.store.forget(Over(clock.now, None, None, 100))
        with pytest.raises(RevokedToken):
            kit.verify_token(second)


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("revoke", "revoked_token"),
        ("reset", "revoked_token"),
        ("exclude", "excluded"),
        ("end", "session_ended"),
        ("actor", "unavailable"),
    ],
)
def test_what_is_taken_back_while_the_policies_vote_is_not_renewed(make_kit, clock, way, code):
    asked = Asked()
    kit = make_kit(plugins=[AllowRenewal(), asked])
    old = begun(kit)
    grant = kit.verify_token(old)
    clock.now += 2
    session = kit.get_session(grant.session_id)
    acts: dict[str, Callable[[], object]] = {
        "revoke": lambda: kit.revoke_token(old),
        "reset": lambda: session.reset(),
        "exclude": lambda: session.exclude("ada"),
        "end": lambda: kit.end_session(grant.session_id),
        "actor": lambda: kit.revoke_actor("ada"),
    }
    asked.vote = lambda: (acts[way](), None)[1]
    with pytest.raises(RolecallError) as refusal:
        renewed(kit, old)
    assert refusal.value.code == code
    assert not [event for event in asked.events if isinstance(event, TokenIssued) and event.renewed]


def test_a_renewed_token_is_of_the_epoch_after_a_reset_of_before(kit, clock):
    session = kit.create_session()
    session.reset()
    clock.now += 2
    old = session.generate_token("publisher", FIVE, actor="ada")
    clock.now += 2
    new = kit.renew_token(old)
    made = [TokenId.read(kit.verify_token(token).token_id) for token in (old, new)]
    assert made[0] is not None
    assert made[1] == (made[0].epoch, NOW + 2, made[0].family)
    assert made[0].epoch > 0
    session.reset()
    with pytest.raises(RevokedToken):
        kit.verify_token(new)


def test_an_exclusion_holds_for_the_renewed_token_too(kit, clock):
    old = begun(kit)
    clock.now += 4 * MINUTE
    new = renewed(kit, old)
    kit.exclude(kit.verify_token(new).session_id, "ada")
    with pytest.raises(RevokedToken):
        kit.verify_token(new)


# -- who may ---------------------------------------------------------------------------------------


def test_nobody_renews_from_outside_unless_a_policy_allows(make_kit):
    kit = make_kit()
    with pytest.raises(PolicyDenied, match="no policy of this service allows the request"):
        renewed(kit, begun(kit))
    assert kit.renew_token(begun(kit))


def test_a_policy_that_knows_nothing_of_renewals_allows_none(make_kit):
    asked = Asked(Allow(max_role="subscriber"))
    kit = make_kit(plugins=[asked])
    old = begun(kit, "moderator")
    with pytest.raises(PolicyDenied, match="no policy of this service allows the request"):
        renewed(kit, old)
    asked.vote = Allow(max_role="subscriber", renewal=True)
    assert kit.verify_token(renewed(kit, old)).role == "subscriber"


def test_the_limits_of_such_a_policy_count_all_the_same(make_kit):
    class Knows(Asked):
        name = "knows"

    taken: list[str] = []
    unaware = Asked(Allow(max_role="publisher", reserve=lambda: taken.append("place")))
    kit = make_kit(plugins=[unaware, Knows(Allow(renewal=True))])
    old = kit.create_session().generate_token("publisher", FIVE, actor="ada")
    taken.clear()
    assert kit.verify_token(renewed(kit, old, role="moderator")).role == "publisher"
    assert taken == ["place"]
    unaware.vote = Deny("closed")
    with pytest.raises(PolicyDenied, match="closed"):
        renewed(kit, old)


def test_only_an_allow_is_for_renewals():
    with pytest.raises(ConfigurationError, match="renewal is 'yes'"):
        Allow(renewal=untyped("yes"))
    with pytest.raises(ConfigurationError, match="renewal is True"):
        Limit(renewal=True)


def test_policies_see_what_is_renewed_and_by_whom(make_kit):
    asked = Asked(Allow(renewal=True))
    kit = make_kit(plugins=[asked, Login()])
    old = begun(kit, data="name=Ada")
    grant = kit.verify_token(old)
    renewed(kit, old)
    seen = asked.requests[-1]
    assert (seen.renewed, seen.actor, seen.actor_id, seen.data) == (grant, None, "ada", "name=Ada")
    assert seen.http is not None
    renewed(kit, begun(kit), user="ada")
    assert (asked.requests[-1].actor.id, asked.requests[-1].actor_id) == ("ada", "ada")
    kit.renew_token(begun(kit))
    assert (asked.requests[-1].http, asked.requests[-1].actor_id) == (None, "ada")
    kit.generate_token(grant.session_id, actor="bob")
    assert (asked.requests[-1].renewed, asked.requests[-1].actor_id) == (None, "bob")


def test_a_login_must_be_that_of_the_tokens_actor(kit):
    old = begun(kit)
    with pytest.raises(WrongActor, match="for somebody else than who is logged in"):
        renewed(kit, old, user="eve")
    assert kit.verify_token(renewed(kit, old, user="ada")).actor_id == "ada"
    for_nobody = begun(kit, actor=None)
    with pytest.raises(WrongActor):
        renewed(kit, for_nobody, user="ada")


def test_with_a_login_a_policy_decides_as_on_a_first_token(make_kit):
    asked = Asked(Allow())
    kit = make_kit(plugins=[asked, Login()])
    old = begun(kit)
    assert renewed(kit, old, user="ada")
    with pytest.raises(PolicyDenied, match="nobody is identified"):
        renewed(kit, begun(kit))


# -- how often -------------------------------------------------------------------------------------


def test_a_token_is_renewed_once_in_each_quarter_of_its_life(kit, clock):
    old = begun(kit, life=timedelta(seconds=400))
    for quarter in range(4):
        clock.now = NOW + quarter * 100
        assert renewed(kit, old)
        for into, left in ((1, 99), (99, 1), (99.5, 1)):
            clock.now = NOW + quarter * 100 + into
            with pytest.raises(RenewedAlready) as refusal:
                renewed(kit, old)
            assert (refusal.value.status, refusal.value.retry_after) == (429, left)


def test_each_token_is_counted_for_itself(kit, clock):
    session = kit.create_session()
    tokens = [session.generate_token("publisher", FIVE, actor="ada") for _ in range(3)]
    assert all(renewed(kit, token) for token in tokens)
    assert renewed(kit, renewed(kit, session.generate_token("publisher", FIVE, actor="ada")))


def test_of_many_at_the_same_time_one_renews(make_kit):
    kit = make_kit(plugins=[AllowRenewal()])
    old = begun(kit)

    async def ask() -> object:
        call = Call(Request("POST", "/tokens"))
        try:
            return (await kit.aio.engine.renew_token(lambda: (old, None), None, Wishes(), call))[0]
        except RenewedAlready as error:
            return error

    async def ask_all() -> list[object]:
        return await asyncio.gather(*(ask() for _ in range(20)))

    answers = asyncio.run(ask_all())
    assert [type(answer) for answer in answers].count(str) == 1


def test_what_policies_deny_is_not_counted(make_kit):
    asked = Asked()
    kit = make_kit(plugins=[AllowRenewal(), asked])
    old = begun(kit)
    asked.vote = Deny("not now")
    with pytest.raises(PolicyDenied):
        renewed(kit, old)
    asked.vote = None
    assert renewed(kit, old)


def test_what_is_too_soon_gives_its_reservations_back(make_kit):
    places: list[str] = []
    asked = Asked()
    kit = make_kit(plugins=[AllowRenewal(), asked])
    old = begun(kit)
    renewed(kit, old)
    asked.vote = Limit(reserve=lambda: places.append("taken"), release=lambda: places.append("free"))
    with pytest.raises(RenewedAlready):
        renewed(kit, old)
    assert places == ["taken", "free"]


def test_the_servers_own_code_is_not_held_to_it(kit):
    old = begun(kit)
    assert len({kit.renew_token(old) for _ in range(5)}) == 5


class Forgetful(MemoryStore):
    """Does not take single-use ids today."""

    def use_once(self, name: str, until: float, now: float) -> bool:
        raise StoreUnavailable("the disk is full")


def test_a_store_that_does_not_count_refuses(make_kit):
    kit = make_kit(plugins=[AllowRenewal()], store=Forgetful())
    with pytest.raises(StoreUnavailable) as refusal:
        renewed(kit, begun(kit))
    assert refusal.value.status == 503


# -- events, async ---------------------------------------------------------------------------------


def test_events_say_that_it_was_a_renewal(make_kit, clock):
    asked = Asked()
    kit = make_kit(plugins=[AllowRenewal(), asked])
    old = begun(kit)
    grant = kit.verify_token(old)
    first = asked.events[-1]
    assert (type(first), first.renewed, first.as_dict()["renewed"]) == (TokenIssued, None, None)
    clock.now += 4 * MINUTE
    new = kit.verify_token(renewed(kit, old))
    event = asked.events[-1]
    assert (type(event), event.token_id, event.renewed) == (TokenIssued, new.token_id, grant.token_id)
    assert (event.actor, event.actor_id, event.session_id) == (None, "ada", grant.session_id)
    assert event.as_dict()["renewed"] == grant.token_id
    with pytest.raises(RenewedAlready):
        renewed(kit, old)
    refused = asked.events[-1]
    assert (type(refused), refused.code, refused.renewed) == (TokenRefused, "renewed_already", grant.token_id)
    assert (refused.actor_id, refused.session_id) == ("ada", grant.session_id)


def test_async_code_renews_alike(kit, clock):
    async def renew() -> None:
        session = await kit.aio.create_session()
        old = await session.generate_token("moderator", FIVE, actor="ada")
        clock.now += 4 * MINUTE
        grant = await kit.aio.verify_token(await kit.aio.renew_token(old, timedelta(minutes=1)))
        assert (grant.role, grant.actor_id, grant.expires_at) == ("moderator", "ada", clock.now + MINUTE)

    asyncio.run(renew())


def test_a_session_that_is_over_by_its_age_ends_all_renewals(make_kit, clock):
    kit = make_kit(max_session_age=10 * MINUTE)
    old = begun(kit)
    clock.now += 4 * MINUTE
    old = kit.renew_token(old)
    clock.now += 4 * MINUTE
    assert kit.verify_token(kit.renew_token(old)).expires_at <= NOW + 10 * MINUTE


def test_the_total_life_comes_from_the_environment():
    with Rolecall.from_env(
        {"ROLECALL_API_KEY": API_KEY, "ROLECALL_API_SECRET": API_SECRET, "ROLECALL_MAX_TOTAL_LIFE": "3600"}
    ) as kit:
        assert kit.engine.state.total_life == HOUR
