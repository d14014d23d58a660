"""What each ready policy says about renewals: none opens a door, and those that restrict do so again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rolecall import Actor, Rolecall, hookimpl, policies
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.engine.renewing import Wishes
from rolecall.errors import ConfigurationError, NotRenewable, PolicyDenied
from rolecall.policies import (
    AllowAnyone,
    AllowRenewal,
    MaxLiveTokens,
    OpeningHours,
    OwnedSessions,
    RateLimit,
    RoleMap,
    TomlPolicy,
)
from rolecall.request import Request

from ...conftest import NOW

FIVE = timedelta(minutes=5)
FILE = """
[[token]]
who = "*"
role = "moderator"

[[token]]
who = "anonymous"
role = "subscriber"
"""


class Login:
    """Says who asks, as the header ``x-user`` has it."""

    @hookimpl
    def rolecall_identify(self, request: Request) -> Actor | None:
        user = request.headers.get("x-user")
        return Actor(user, {"groups": ["teachers"]}) if user else None


@pytest.fixture(name="policy_file")
def policy_file_fixture(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text(FILE, "utf-8")
    return file


#: Each ready policy, as open as it can be.
OPEN: dict[str, Callable[[Any], object]] = {
    "AllowAnyone": lambda file: AllowAnyone("moderator"),
    "MaxLiveTokens": lambda file: MaxLiveTokens(per_session=100, per_actor=100),
    "OpeningHours": lambda file: OpeningHours("daily 00:00-24:00", "UTC"),
    "OwnedSessions": lambda file: OwnedSessions(others="moderator"),
    "RateLimit": lambda file: RateLimit("100/minute"),
    "RoleMap": lambda file: RoleMap({"teachers": "moderator"}, default="moderator"),
    "TomlPolicy": lambda file: TomlPolicy(file),
}


def renewed_token(kit: Rolecall, token: str, user: str | None = None, **wishes: Any) -> str:
    """A token that somebody outside has renewed."""
    headers = {} if user is None else {"x-user": user}
    call = Call(Request("POST", "/tokens", headers=headers))
    return drive(kit.engine.renew_token(lambda: (token, None), None, Wishes(**wishes), call))[0]


def renewed(kit: Rolecall, token: str, user: str | None = None, **wishes: Any) -> Any:
    """Its grant."""
    return kit.verify_token(renewed_token(kit, token, user, **wishes))


def outside(kit: Rolecall, session_id: str, user: str, role: str = "publisher") -> str:
    """A first token for a login."""
    call = Call(Request("POST", "/tokens", headers={"x-user": user}))
    return drive(kit.engine.generate_token(session_id, role, FIVE, None, (), call))[0]


def test_each_ready_policy_is_among_them():
    assert OPEN.keys() | {"AllowRenewal"} == set(policies.__all__)


@pytest.mark.parametrize("actor", ["ada", None])
@pytest.mark.parametrize("name", OPEN)
@pytest.mark.each_choice
def test_no_other_policy_allows_a_renewal_without_a_login(make_kit, policy_file, name, actor):
    kit = make_kit(plugins=[OPEN[name](policy_file), Login()])
    session = kit.create_session(actor="ada")
    with pytest.raises(PolicyDenied) as refusal:
        renewed(kit, session.generate_token("moderator", FIVE, actor=actor))
    assert refusal.value.code in ("not_identified", "not_the_owner")


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.each_choice
def test_beside_one_that_does_a_moderator_stays_one(make_kit, policy_file, name):
    kit = make_kit(plugins=[OPEN[name](policy_file), Login(), AllowRenewal()])
    session = kit.create_session(actor="ada")
    for actor in ("ada", "bob"):
        token = session.generate_token("moderator", FIVE, actor=actor)
        assert renewed(kit, token).role == "moderator"
        assert kit.verify_token(kit.renew_token(token)).role == "moderator"


@pytest.mark.parametrize("name", ["AllowAnyone", "OwnedSessions", "RoleMap", "TomlPolicy"])
@pytest.mark.each_choice
def test_with_a_login_a_policy_judges_as_on_a_first_token(make_kit, policy_file, name):
    kit = make_kit(plugins=[OPEN[name](policy_file), Login()])
    token = kit.create_session(actor="ada").generate_token("publisher", FIVE, actor="ada")
    if name == "AllowAnyone":
        with pytest.raises(PolicyDenied):
            renewed(kit, token, "ada")
    else:
        assert renewed(kit, token, "ada", role="moderator").role == "publisher"


# -- AllowRenewal ----------------------------------------------------------------------------------


def test_renewals_end_with_the_total_life(make_kit, clock):
    kit = make_kit(plugins=[AllowRenewal(timedelta(minutes=8))])
    token = kit.create_session().generate_token("publisher", FIVE, actor="ada")
    clock.now += 240
    new = renewed_token(kit, token)
    assert kit.verify_token(new).expires_at == NOW + 480
    clock.now = NOW + 479
    assert renewed(kit, new).expires_at == NOW + 480
    # The kit's own total life is longer, and the server's own code is not bound.
    assert kit.verify_token(kit.renew_token(new)).expires_at == NOW + 719


def test_the_kits_total_life_counts_too(make_kit, clock):
    kit = make_kit(plugins=[AllowRenewal()], max_total_life=480)
    token = kit.create_session().generate_token("publisher", timedelta(days=1), actor="ada")
    assert renewed(kit, token).expires_at == NOW + 480
    clock.now += 480
    with pytest.raises(NotRenewable):
        renewed(kit, token)


def test_a_token_for_nobody_is_not_renewed(make_kit):
    kit = make_kit(plugins=[AllowRenewal()])
    token = kit.create_session().generate_token("publisher", FIVE)
    with pytest.raises(PolicyDenied):
        renewed(kit, token)


def test_it_allows_no_first_token(make_kit):
    kit = make_kit(plugins=[AllowRenewal(), Login()])
    with pytest.raises(PolicyDenied):
        outside(kit, kit.create_session().session_id, "ada")


@pytest.mark.parametrize("life", [0, -1, timedelta(hours=12, seconds=1), "1h", None, True])
def test_a_total_life_is_checked(life):
    with pytest.raises(ConfigurationError, match=r"^total_life is"):
        AllowRenewal(life)


# -- those that restrict ---------------------------------------------------------------------------


def test_closing_time_ends_renewals(make_kit, clock):
    closes = NOW + 400
    kit = make_kit(plugins=[AllowRenewal(), OpeningHours(session=lambda session: (None, closes))])
    token = kit.create_session().generate_token("publisher", FIVE, actor="ada")
    clock.now += 240
    assert renewed(kit, token).expires_at == closes


def test_the_owner_is_known_by_the_token(make_kit):
    kit = make_kit(plugins=[AllowRenewal(), OwnedSessions(others=None), Login()])
    session = kit.create_session(actor="ada")
    assert renewed(kit, session.generate_token("moderator", FIVE, actor="ada")).role == "moderator"
    strangers = make_kit(store=kit.engine.state.store).generate_token(
        session.session_id, "publisher", FIVE, actor="bob"
    )
    with pytest.raises(PolicyDenied, match="somebody else"):
        renewed(kit, strangers)


def test_renewals_count_for_the_rate_of_the_tokens_actor(make_kit, clock):
    kit = make_kit(plugins=[AllowRenewal(), RateLimit("2/minute"), Login()])
    store = kit.engine.state.store
    session = kit.create_session()
    tokens = [
        make_kit(store=store).generate_token(session.session_id, "publisher", FIVE, actor="ada") for _ in range(3)
    ]
    renewed(kit, tokens[0])
    renewed(kit, tokens[1])
    with pytest.raises(PolicyDenied) as refusal:
        renewed(kit, tokens[2])
    assert (refusal.value.status, refusal.value.code) == (429, "rate_limited")
    others = make_kit(store=store).generate_token(session.session_id, "publisher", FIVE, actor="bob")
    assert renewed(kit, others)


# -- MaxLiveTokens ---------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    return {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/app.db"}[request.param]


def counting(make_kit: Any, store: str, **most: Any) -> Rolecall:
    return make_kit(
        plugins=[AllowRenewal(), RoleMap({}, default="moderator"), MaxLiveTokens(**most), Login()], store=store
    )


@pytest.mark.parametrize("most", [{"per_actor": 1}, {"per_session": 1}])
def test_a_token_and_its_renewals_have_one_place(make_kit, clock, store, most):
    kit = counting(make_kit, store, **most)
    session_id = kit.create_session().session_id
    token = outside(kit, session_id, "ada")
    for _ in range(5):
        clock.now += 240
        token = renewed_token(kit, token)
        with pytest.raises(PolicyDenied) as refusal:
            outside(kit, session_id, "ada")
        assert refusal.value.code == "too_many_tokens"
    clock.now += 301
    assert outside(kit, session_id, "ada")


def test_a_short_renewal_does_not_free_the_place_of_a_long_token(make_kit, clock, store):
    kit = counting(make_kit, store, per_actor=1)
    session_id = kit.create_session().session_id
    token = outside(kit, session_id, "ada")
    renewed(kit, token, expire_time=timedelta(seconds=30))
    clock.now += 60
    assert kit.verify_token(token)
    with pytest.raises(PolicyDenied):
        outside(kit, session_id, "ada")


def test_a_token_without_a_place_needs_one_to_be_renewed(make_kit, store):
    kit = counting(make_kit, store, per_session=1)
    session_id = kit.create_session().session_id
    uncounted = make_kit(store=kit.engine.state.store).generate_token(session_id, "publisher", FIVE, actor="bob")
    outside(kit, session_id, "ada")
    with pytest.raises(PolicyDenied) as refusal:
        renewed(kit, uncounted)
    assert refusal.value.code == "too_many_tokens"


def test_a_refused_renewal_leaves_the_place_as_it_was(make_kit, clock, store):
    kit = counting(make_kit, store, per_actor=1)
    session_id = kit.create_session().session_id
    token = outside(kit, session_id, "ada")
    renewed(kit, token)
    with pytest.raises(Exception, match="renewed a moment ago"):
        renewed(kit, token)
    with pytest.raises(PolicyDenied):
        outside(kit, session_id, "ada")


def test_the_servers_own_renewals_count_alike(make_kit, store):
    kit = counting(make_kit, store, per_session=1)
    session_id = kit.create_session().session_id
    token = outside(kit, session_id, "ada")
    assert kit.renew_token(kit.renew_token(token))
    with pytest.raises(PolicyDenied):
        kit.generate_token(session_id)
