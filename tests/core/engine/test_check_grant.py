"""``kit.check_grant``: whether a grant that was good still stands."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rolecall import Allow, Deny, hookimpl
from rolecall.errors import ConfigurationError, ExpiredToken, InsufficientRole, PolicyDenied, PolicyFault, RevokedToken
from rolecall.request import Request


class Policy:
    """Votes as it is told, and keeps what it was asked."""

    def __init__(self, vote=None) -> None:
        self.vote = vote
        self.asked: list[Any] = []
        self.told: list[Any] = []

    @hookimpl
    def rolecall_vote_access(self, request):
        self.asked.append(request)
        return self.vote(request) if self.vote else None

    @hookimpl
    def rolecall_on_event(self, event):
        if event.name == "access_refused":
            self.told.append((event.code, event.session_id))


@pytest.fixture(params=["sync", "async"])
def check(request):
    """Looks at a grant again, in both ways."""

    def look(kit, grant, **options):
        if request.param == "async":
            return asyncio.run(kit.aio.check_grant(grant, **options))
        return kit.check_grant(grant, **options)

    return look


def granted(kit, role="publisher", **options):
    return kit.verify_token(kit.create_session().generate_token(role, **options))


def test_a_grant_that_stands_is_what_it_was(check, kit):
    grant = granted(kit)
    assert check(kit, grant) == grant


def test_one_that_has_expired_is_refused_without_leeway(check, kit, clock):
    grant = granted(kit, expire_time=clock() + 60)
    clock.now += 60
    with pytest.raises(ExpiredToken, match="the token's life ended at"):
        check(kit, grant)


def test_one_whose_session_has_ended_is_refused(check, kit):
    grant = granted(kit)
    kit.end_session(grant.session_id)
    with pytest.raises(RevokedToken):
        check(kit, grant)


def test_the_policies_are_shown_that_it_is_a_look_again(check, make_kit):
    policy = Policy()
    kit = make_kit(plugins=[policy])
    grant, http = granted(kit), Request("GET", "/rooms", headers={"X-Room": "7"})
    check(kit, grant, role="publisher", http=http)
    (request,) = policy.asked
    assert (request.again, request.http, request.session_id) == (True, http, grant.session_id)
    assert (request.grant, request.requirement.scope) == (grant, "role:publisher")


def test_without_a_request_the_policies_are_asked_all_the_same(check, make_kit):
    kit = make_kit(plugins=[Policy(lambda request: Deny("no") if not request.http.headers else None)])
    with pytest.raises(PolicyDenied, match="no"):
        check(kit, granted(kit))


def test_the_policies_may_leave_less(check, make_kit):
    kit = make_kit(plugins=[Policy(lambda request: Allow(max_role="subscriber"))])
    grant = granted(kit, "moderator")
    assert check(kit, grant).role == "subscriber"
    with pytest.raises(InsufficientRole, match="role:publisher is required; the policies of this service leave"):
        check(kit, grant, role="publisher")


@pytest.mark.parametrize("required", [{"role": "moderator"}, {"capability": "force_disconnect"}])
def test_less_than_is_required_is_refused_with_policies_or_without(check, required, make_kit):
    for plugins in ([], [Policy()]):
        kit = make_kit(plugins=plugins)
        with pytest.raises(InsufficientRole):
            check(kit, granted(kit), **required)


@pytest.mark.parametrize(
    ("vote", "error"), [(lambda request: Deny("out", code="out"), PolicyDenied), (lambda request: 1 / 0, PolicyFault)]
)
def test_the_plugins_are_told_of_a_refusal(check, vote, error, make_kit):
    policy = Policy(vote)
    kit = make_kit(plugins=[policy])
    grant = granted(kit)
    with pytest.raises(error) as refusal:
        check(kit, grant)
    assert policy.told == [(refusal.value.code, grant.session_id)]


def test_a_role_that_does_not_exist_is_a_mistake(check, kit):
    with pytest.raises(ConfigurationError):
        check(kit, granted(kit), role="teacher")
