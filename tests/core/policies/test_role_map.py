"""RoleMap: the app's groups become roles."""

from __future__ import annotations

import pytest

from rolecall import Role
from rolecall.errors import ConfigurationError, PolicyDenied, PolicyFault
from rolecall.policies import RoleMap
from rolecall.roles import RoleName

from ...untyped import untyped

ROLES: dict[str, Role | RoleName] = {
    "teachers": "moderator",
    "pupils": "publisher",
    "guests": "subscriber",
    "cameras": "publisheronly",
}


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["teachers"], "moderator"),
        (["pupils"], "publisher"),
        (["guests"], "subscriber"),
        (["guests", "pupils"], "publisher"),
        (["pupils", "guests", "teachers", "strangers"], "moderator"),
        (["guests", "cameras", "pupils"], "publisher"),
    ],
)
def test_an_actor_gets_at_most_the_highest_role_of_its_groups(asker, outside, groups, role):
    ask = asker(RoleMap(ROLES))
    assert ask.token(ask.session(), "moderator", outside("ada", *groups)).role == role


def test_two_roles_of_which_none_includes_the_other_are_denied(asker, outside):
    ask = asker(RoleMap(ROLES))

    with pytest.raises(PolicyDenied) as refusal:
        ask.token(ask.session(), "publisher", outside("ada", "guests", "cameras"))

    assert refusal.value.code == "ambiguous_role"


def test_nobody_and_members_of_no_group_are_not_its_business(asker, outside):
    ask = asker(RoleMap(ROLES))
    for http in (outside(), outside("ada"), outside("ada", "strangers")):
        with pytest.raises(PolicyDenied, match="no policy"):
            ask.token(ask.session(), "subscriber", http)
    assert ask.token(ask.session(), "moderator").role == "moderator"


def test_members_of_no_group_may_have_a_default(asker, outside):
    ask = asker(RoleMap(ROLES, default="subscriber"))

    assert ask.token(ask.session(), "moderator", outside("ada")).role == "subscriber"
    with pytest.raises(PolicyDenied):
        ask.token(ask.session(), "subscriber", outside())


def test_some_groups_may_create_sessions(asker, outside):
    ask = asker(RoleMap(ROLES, may_create=["teachers"]))

    assert ask.session(outside("ada", "teachers"))
    for http in (outside(), outside("bob", "pupils")):
        with pytest.raises(PolicyDenied):
            ask.session(http)


def test_a_function_may_find_the_groups(asker, outside):
    ask = asker(RoleMap({"staff": Role.MODERATOR}, groups=lambda actor: {"staff"} if actor.id == "ada" else ()))

    assert ask.token(ask.session(), "moderator", outside("ada")).role == "moderator"
    with pytest.raises(PolicyDenied):
        ask.token(ask.session(), "moderator", outside("bob"))


def fail(_):
    raise OSError


async def later():
    return ["staff"]


@pytest.mark.parametrize(
    "groups",
    [
        fail,
        lambda _: "staff",
        lambda _: None,
        lambda _: True,
        lambda _: [1],
        lambda _: {"staff": False},
        lambda _: iter(["staff"]),
        lambda _: later(),
    ],
)
def test_groups_that_cannot_be_read_refuse_the_request(asker, outside, groups):
    ask = asker(RoleMap({"staff": "moderator"}, default="subscriber", groups=groups, may_create=["staff"]))

    with pytest.raises(PolicyFault):
        ask.token(ask.session(), "publisher", outside("ada"))
    with pytest.raises(PolicyFault):
        ask.session(outside("ada"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RoleMap({"staff": untyped("modrator")}),
        lambda: RoleMap({"staff": untyped(None)}),
        lambda: RoleMap({untyped(1): "moderator"}),
        lambda: RoleMap(untyped([("staff", "moderator")])),
        lambda: RoleMap(ROLES, default=untyped("none")),
        lambda: RoleMap(ROLES, may_create="teachers"),
        lambda: RoleMap(ROLES, may_create=[untyped(None)]),
        lambda: RoleMap(ROLES, groups=untyped(None)),
        lambda: RoleMap(ROLES, groups=""),
        lambda: RoleMap(ROLES, groups=untyped(later)),
        lambda: RoleMap(ROLES, name=""),
    ],
)
def test_wrong_arguments_stop_start_up(make):
    with pytest.raises(ConfigurationError):
        make()
