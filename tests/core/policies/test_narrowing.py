"""Whatever the ready policies are combined with, they take rights away from what the others allow, in any order."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rolecall import Allow, Deny, Role, hookimpl
from rolecall.errors import PolicyDenied, PolicyFault
from rolecall.policies import AllowAnyone, MaxLiveTokens, OpeningHours, OwnedSessions, RateLimit, RoleMap, TomlPolicy
from rolecall.roles import RoleName

from ...budgets import examples
from ...untyped import untyped

ROLES: dict[str, Role | RoleName] = {
    "teachers": "moderator",
    "pupils": "publisher",
    "guests": "subscriber",
    "cameras": "publisheronly",
}
SCHOOL = '[[token]]\nwho = { groups = ["teachers"] }\nrole = "publisher"\nlifetime = "1h"\n'
STANDARD = [Role.SUBSCRIBER, Role.PUBLISHER_ONLY, Role.PUBLISHER, Role.MODERATOR]


@dataclass(eq=False)
class Other:
    """Some policy of an app."""

    answer: object

    @hookimpl
    def rolecall_vote_token(self, request):
        return self.answer


HOURS = ["daily 14:00-16:00", "daily 16:00-17:00"]
#: How each policy is made, so that one with the same arguments can be made again.
READY = {
    "AllowAnyone": st.sampled_from(STANDARD).map(lambda role: lambda _: AllowAnyone(role)),
    "RoleMap": st.sampled_from([None, "subscriber"]).map(lambda role: lambda _: RoleMap(ROLES, default=untyped(role))),
    "OpeningHours": st.sampled_from(HOURS).map(lambda hours: lambda _: OpeningHours(hours, "UTC")),
    "OwnHours": st.just(lambda _: OpeningHours(session=lambda session: (None, session.created_at + 1800))),
    "MaxLiveTokens": st.sampled_from([None, 1]).map(
        lambda most: lambda _: MaxLiveTokens(per_session=1, per_actor=most)
    ),
    "RateLimit": st.just(lambda _: RateLimit("1000000/second")),
    "OwnedSessions": st.sampled_from([None, *STANDARD]).map(lambda role: lambda _: OwnedSessions(others=role)),
    "TomlPolicy": st.just(lambda shared: TomlPolicy(shared["file"])),
}
LIMITS = st.builds(
    Allow,
    max_role=st.none() | st.sampled_from(STANDARD),
    max_lifetime=st.none() | st.integers(-10, 100_000),
    capabilities=st.none() | st.sets(st.sampled_from(["connect", "subscribe", "publish", "signal"])),
)
OTHERS = st.lists(LIMITS | st.none() | st.just(Deny()) | st.just(True), max_size=3)
GROUPS = st.none() | st.lists(st.sampled_from(sorted(ROLES)), max_size=2)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    file = tmp_path_factory.mktemp("policy") / "policy.toml"
    file.write_text(SCHOOL)
    return {"file": file}


def outcome(asker, plugins, http, role, lifetime):
    """The capabilities and the end of the token; None if it is refused."""
    ask = asker(*plugins)
    try:
        session_id = ask.session()
        return _rights(ask.token(session_id, role, http, ask.kit._state.clock() + lifetime))
    except (PolicyDenied, PolicyFault):
        return None
    finally:
        ask.kit.close()


def _rights(grant):
    return grant.capabilities, grant.expires_at


@settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_ready_policy_never_widens_what_the_others_allow_and_order_never_matters(asker, outside, shared, data):
    others = [Other(answer) for answer in data.draw(OTHERS)]
    names = data.draw(st.lists(st.sampled_from(sorted(READY)), min_size=1, max_size=3, unique=True))
    groups = data.draw(GROUPS)
    http = data.draw(st.sampled_from([None, outside() if groups is None else outside("ada", *groups)]))
    asked = (http, data.draw(st.sampled_from(STANDARD)), data.draw(st.integers(1, 100_000)))

    makers = [data.draw(READY[name]) for name in names]

    def combined(ready, order):
        plugins = [*others, *(make(shared) for make in ready)]
        for place, plugin in zip(order, plugins, strict=True):
            plugin.name = f"policy {place}"  # plugins vote in the order of their names
        return outcome(asker, plugins, *asked)

    without = combined([], range(len(others)))
    places = range(len(others) + len(makers))
    together = combined(makers, places)

    if without is not None and together is not None:
        assert together[0] <= without[0]
        assert together[1] <= without[1]
    if any(other.answer is True or isinstance(other.answer, Deny) for other in others):
        assert together is None
    assert combined(makers, data.draw(st.permutations(places))) == together


@pytest.mark.parametrize("restriction", ["OpeningHours", "OwnHours", "MaxLiveTokens", "RateLimit"])
@given(data=st.data())
@settings(
    max_examples=examples(20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_restriction_opens_no_door(asker, outside, shared, restriction, data):
    policy = data.draw(READY[restriction])(shared)
    role, lifetime = data.draw(st.sampled_from(STANDARD)), data.draw(st.integers(1, 100_000))
    assert outcome(asker, [policy, Other(None)], outside("ada", "teachers"), role, lifetime) is None
