"""Votes, and the rule that combines them."""

from __future__ import annotations

import pickle
from datetime import timedelta
from http import HTTPStatus
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolecall import Allow, Capability, Deny, Limit, Role, RolecallError, hookimpl
from rolecall.driver import InlineDriver, drive
from rolecall.driver.threads import ThreadPools
from rolecall.errors import ConfigurationError, PolicyDenied, PolicyFault
from rolecall.plugins import Plugins
from rolecall.plugins.asking import vote
from rolecall.plugins.sources import passed
from rolecall.policy import (
    Ballot,
    Decision,
    Limits,
    Scope,
    earliest_expiry,
    narrow,
    narrowed_capabilities,
    narrowed_role,
    outlived,
)
from rolecall.roles import STANDARD_ROLES, RoleTable

from ..untyped import untyped

NOW = 1_000_000
LATER = NOW + 3600
ROLES = RoleTable()
ASKED = Scope(Role.MODERATOR, Role.MODERATOR.capabilities, LATER, "asked for")

allows = st.builds(
    Allow,
    max_role=st.none() | st.sampled_from(STANDARD_ROLES),
    latest_expiry=st.none() | st.integers(NOW - 10, LATER + 10),
    capabilities=st.none() | st.frozensets(st.sampled_from(list(Capability))),
    max_lifetime=st.none() | st.integers(-10, 4000),
    data=st.none() | st.sampled_from(["a", "b"]),
)
votes = (
    st.none()
    | allows
    | allows.map(lambda vote: Limit(vote.max_role, vote.latest_expiry, vote.capabilities))
    | st.builds(Deny, st.sampled_from(["no", "never"]))
    | st.builds(
        Deny,
        st.sampled_from(["wait", "later"]),
        status=st.just(429),
        retry_after=st.none() | st.sampled_from([0, 60, 3600]),
    )
)
faults = st.just("it raised ValueError")
ballots = st.lists(
    st.tuples(votes, st.just("")) | st.tuples(st.none(), faults),
    max_size=4,
).map(lambda cast: [Ballot(f"p{number}", vote, fault) for number, (vote, fault) in enumerate(cast)])


def decide(cast):
    return Decision(tuple(cast))


def plugin_of(ballot):
    """A plugin that casts this ballot."""

    class Casts:
        name = ballot.plugin

        @hookimpl
        def rolecall_vote_token(self):
            if ballot.fault:
                raise ValueError
            return ballot.vote

    return Casts()


def outcome(cast, role=Role.MODERATOR):
    """What a request for ``role`` comes to under plugins that cast these ballots: the refusal, or what is granted."""
    plugins = Plugins(passed(list(map(plugin_of, cast))))
    decision = drive(vote(plugins.vote_token, None, None, ROLES, InlineDriver(ThreadPools()), deadline=5))
    if refusal := decision.refusal():
        return type(refusal), str(refusal), refusal.status, refusal.retry_after
    limits = decision.limits
    try:
        return tuple(narrow(Scope(role, role.capabilities, LATER, "asked for"), limits, ROLES, issued_at=NOW, now=NOW))
    except RolecallError as refusal:
        return type(refusal), str(refusal)


def test_nobody_voting_denies():
    assert not decide([]).allowed


def test_abstaining_alone_denies():
    assert not decide([Ballot("a"), Ballot("b")]).allowed


def test_one_allow_is_enough():
    assert decide([Ballot("a"), Ballot("b", Allow())]).allowed


def test_a_deny_outweighs_every_allow():
    decision = decide([Ballot("a", Allow()), Ballot("b", Deny("no", code="no_way")), Ballot("c", Allow())])

    refusal = decision.refusal()

    assert isinstance(refusal, PolicyDenied)
    assert (str(refusal), refusal.code) == ("no", "no_way")


def test_a_fault_outweighs_every_allow_and_names_the_plugin():
    refusal = decide([Ballot("a", Allow()), Ballot("b", fault="it raised OSError")]).refusal()

    assert isinstance(refusal, PolicyFault)
    assert "'b'" in str(refusal)
    assert "'b'" not in refusal.public_message


@settings(deadline=None)  # 24 orders, each on a machine that may be busy
@given(ballots)
def test_the_order_of_plugins_never_matters(cast):
    assert len({outcome(order) for order in permutations(cast)}) == 1


@given(ballots, votes)
def test_another_plugin_never_widens_what_the_others_allow(cast, vote):
    before, after = outcome(cast), outcome([*cast, Ballot("one more", vote)])
    if isinstance(before[0], Role) and isinstance(after[0], Role):
        assert after[1] <= before[1]
        assert after[2] <= before[2]
    else:
        # What was denied by a vote stays denied; only "nobody allowed" can turn into an allowance.
        assert not isinstance(after[0], Role) or "no policy" in before[1]


@given(st.sampled_from(STANDARD_ROLES), st.lists(allows, max_size=4))
def test_a_narrowed_role_never_exceeds_what_was_asked_for_or_any_limit(role, limits):
    held = narrowed_capabilities(role.capabilities, limits, ROLES)
    try:
        granted = narrowed_role(role, held, ROLES)
    except PolicyDenied:
        return
    assert granted.capabilities <= held <= role.capabilities


@pytest.mark.parametrize(
    ("asked", "limit", "granted"),
    [
        (Role.MODERATOR, Allow(), Role.MODERATOR),
        (Role.MODERATOR, Allow(max_role="publisher"), Role.PUBLISHER),
        (Role.PUBLISHER, Allow(max_role="moderator"), Role.PUBLISHER),
        (Role.MODERATOR, Allow(max_role="publisheronly"), Role.PUBLISHER_ONLY),
        (Role.PUBLISHER, Allow(capabilities=["connect", "subscribe"]), Role.SUBSCRIBER),
        (Role.PUBLISHER, Allow(capabilities=["connect", "subscribe", "publish"]), Role.SUBSCRIBER),
    ],
)
def test_a_limit_narrows_to_the_greatest_role_below_it(asked, limit, granted):
    assert narrowed_role(asked, narrowed_capabilities(asked.capabilities, [limit], ROLES), ROLES) == granted


def test_limits_that_leave_no_role_deny():
    with pytest.raises(PolicyDenied):
        narrowed_role(Role.SUBSCRIBER, frozenset({Capability.CONNECT}), ROLES)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Allow(latest_expiry=untyped("tomorrow")),
        lambda: Allow(latest_expiry=True),
        lambda: Allow(latest_expiry=float("nan")),
        lambda: Deny(reason=untyped(7)),
        lambda: Deny(code=untyped(7)),
        lambda: Deny(status=200),
        lambda: Deny(status=404),
        lambda: Deny(status=503),
        lambda: Deny(status=untyped("429")),
        lambda: Deny(status=untyped(429.0)),
        lambda: Deny(status=untyped(None)),
        lambda: Deny(retry_after=60),
        lambda: Deny(status=429, retry_after=-1),
        lambda: Deny(status=429, retry_after=untyped(1.5)),
        lambda: Deny(status=429, retry_after=True),
        lambda: Deny(status=429, retry_after=untyped("60")),
        lambda: Deny(status=429, retry_after=2**31),
        lambda: Deny(status=429, retry_after=timedelta(seconds=-1)),
    ],
)
def test_votes_refuse_limits_that_are_none(make):
    with pytest.raises(ConfigurationError):
        make()


def test_an_unknown_capability_in_a_vote_is_an_error():
    with pytest.raises(ValueError, match="fly"):
        Allow(capabilities=[untyped("fly")])


def test_a_denial_may_ask_to_come_again_later():
    refusal = decide([Ballot("a", Allow()), Ballot("b", Deny("later", "busy", status=429, retry_after=60))]).refusal()

    assert (str(refusal), refusal.code, refusal.status, refusal.retry_after) == ("later", "busy", 429, 60)


def test_a_status_may_be_named():
    denial = Deny(status=HTTPStatus.TOO_MANY_REQUESTS)
    assert denial == Deny(status=429)
    assert type(denial.status) is int


def test_a_time_to_wait_is_rounded_up_to_seconds():
    assert Deny(status=429, retry_after=timedelta(seconds=2, microseconds=1)).retry_after == 3


NEVER, LATER_ON, SOON, SOMETIME = (
    Deny("never"),
    Deny("later on", status=429, retry_after=3600),
    Deny("soon", status=429, retry_after=0),
    Deny("sometime", status=429),
)


@pytest.mark.parametrize(
    ("denials", "told"),
    [
        ([NEVER, LATER_ON], NEVER),  # to wait would be in vain
        ([SOON, LATER_ON], LATER_ON),  # to wait for less would be in vain
        ([SOMETIME, SOON], SOON),
        ([SOMETIME, LATER_ON, SOON, NEVER], NEVER),
    ],
)
def test_of_several_denials_the_one_that_lasts_longest_is_told(denials, told):
    for order in permutations(denials):
        refusal = decide([Ballot(f"p{number}", denial) for number, denial in enumerate(order)]).refusal()
        assert (str(refusal), refusal.status, refusal.retry_after) == (told.reason, told.status, told.retry_after)


def test_a_denial_goes_to_another_process_whole():
    refusal = Deny("later", "busy", status=429, retry_after=60).error()
    copy = pickle.loads(pickle.dumps(refusal))
    assert (str(copy), copy.code, copy.status, copy.retry_after) == ("later", "busy", 429, 60)


def test_a_longest_life_is_counted_from_the_issue():
    assert earliest_expiry(LATER, [Allow(max_lifetime=timedelta(minutes=5))], NOW) == NOW + 300


def test_two_policies_that_replace_the_data_differently_are_a_fault():
    refusal = decide([Ballot("first", Allow(data="a")), Ballot("second", Limit(data="b"))]).refusal()

    assert isinstance(refusal, PolicyFault)
    assert "'first', 'second'" in str(refusal)


def test_a_limit_narrows_and_opens_nothing():
    alone = decide([Ballot("hours", Limit(max_role="subscriber"))])
    beside = decide([Ballot("hours", Limit(max_role="subscriber")), Ballot("school", Allow())])

    assert not alone.allowed
    assert beside.allowed
    assert narrowed_capabilities(Role.PUBLISHER.capabilities, beside.limits, ROLES) == Role.SUBSCRIBER.capabilities


def test_policies_that_agree_replace_the_data():
    limits = [Allow(data="a"), Allow(), Allow(data="a")]
    assert narrow(ASKED, limits, ROLES, issued_at=NOW, now=NOW) == ASKED._replace(data="a")


@pytest.mark.parametrize(
    "limits", [[], [Allow()], [Limit(max_role="moderator", latest_expiry=LATER, data="asked for")]]
)
def test_limits_that_narrow_nothing_leave_the_scope_itself(limits):
    assert narrow(ASKED, limits, ROLES, issued_at=NOW, now=NOW) is ASKED


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (Limit(max_role="publisher"), {"role": "publisher", "capabilities": Role.PUBLISHER.capabilities}),
        (Limit(capabilities=["connect"]), {"capabilities": {"connect"}, "role": None}),
        (Limit(latest_expiry=LATER - 1), {"expires_at": LATER - 1}),
        (Limit(max_lifetime=60), {"expires_at": NOW + 60}),
        (Limit(data="b"), {"data": "b"}),
    ],
)
def test_each_limit_narrows_what_it_is_about_alone(limit, left):
    scope = ASKED._replace(role=untyped(None)) if "role" in left and left["role"] is None else ASKED
    assert narrow(scope, [limit], ROLES, issued_at=NOW, now=NOW) == scope._replace(**left)


def test_a_limit_that_is_over_leaves_nothing():
    with pytest.raises(PolicyDenied, match="no time to live"):
        narrow(ASKED, [Limit(latest_expiry=NOW)], ROLES, issued_at=NOW, now=NOW)


def test_what_is_over_by_itself_is_not_for_the_limits_to_refuse():
    over = ASKED._replace(expires_at=NOW - 1)
    assert narrow(over, [Limit(latest_expiry=LATER)], ROLES, issued_at=NOW, now=NOW) is over


def test_a_scope_of_which_no_role_is_left_is_denied():
    with pytest.raises(PolicyDenied, match="leave nothing of the role 'moderator'"):
        narrow(ASKED, [Limit(capabilities=[])], ROLES, issued_at=NOW, now=NOW)


def test_limits_alone_are_no_vote_for():
    assert not isinstance(Limit(max_role="subscriber"), Allow)
    assert untyped(Limit()) != Allow()


def test_the_bare_limits_of_a_vote_are_no_vote(make_kit):
    class Voter:
        @hookimpl
        def rolecall_vote_session(self):
            return Limits()

    with pytest.raises(PolicyFault, match="a vote is None, Allow"):
        make_kit(plugins=[Voter()]).create_session()


def nothing() -> None:
    """Reserves, and gives back."""


NO_TEXT = "Deny takes reason, code and detail as text"
NO_WAIT = "expected seconds from 0 to 2147483647, as a whole number or a timedelta"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Allow(reason=untyped(7)), "reason is 7; expected text"),
        (lambda: Allow(max_role=untyped(7)), "max_role is 7; expected a role or the name of one"),
        (lambda: Limit(latest_expiry=untyped("x")), "latest_expiry is 'x'; expected a number of seconds"),
        (lambda: Limit(max_lifetime=untyped("x")), "max_lifetime is 'x'; expected a number of seconds"),
        (
            lambda: Allow(capabilities=untyped("publish")),
            "capabilities is the text 'publish'; expected a list, for example ['publish']",
        ),
        (
            lambda: Allow(capabilities=[untyped("fly")]),
            f"'fly' is not a valid Capability; the capabilities are {', '.join(Capability)}",
        ),
        (lambda: Allow(reserve=untyped(7)), "reserve is 7; expected a function that takes no arguments"),
        (
            lambda: Allow(reserve=nothing, release=untyped(7)),
            "release is 7; expected a function that takes no arguments",
        ),
        (lambda: Allow(release=nothing), "release goes with reserve: there is nothing to give back"),
        (lambda: Deny(reason=untyped(7)), NO_TEXT),
        (lambda: Deny(code=untyped(7)), NO_TEXT),
        (lambda: Deny(detail=untyped(7)), NO_TEXT),
        (lambda: Deny(status=404), "status is 404; expected 403 or 429"),
        (lambda: Deny(retry_after=60), "retry_after goes with status=429: a 403 does not change with time"),
        (lambda: Deny(status=429, retry_after=-1), f"retry_after is -1; {NO_WAIT}"),
    ],
)
def test_a_vote_that_cannot_be_meant_is_told_what_was_expected(make, message):
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert str(refused.value) == message


@pytest.mark.parametrize("make", [Allow, Limit])
def test_a_vote_may_reserve_and_need_not_give_back(make):
    assert make(reserve=nothing).release is None
    assert make(reserve=nothing, release=nothing).release is nothing


def test_a_client_may_be_told_to_wait_as_long_as_clients_can_hold():
    assert Deny(status=429, retry_after=2**31 - 1).retry_after == 2**31 - 1


def test_a_refusal_that_nobody_voted_for_says_so():
    assert str(decide([]).refusal()) == "no policy of this service allows the request"


def test_a_fault_names_each_plugin_that_failed_and_has_the_first_ones_error_for_its_cause():
    error = OSError("no disk")
    refusal = decide([Ballot("a", None, "it raised OSError", 0.1, error), Ballot("b", None, "it was late")]).refusal()

    assert str(refusal) == "a policy failed: 'a': it raised OSError; 'b': it was late"
    assert refusal.__cause__ is error


def test_a_limit_that_is_over_says_so():
    assert str(outlived()) == "the policies of this service leave the token no time to live"
