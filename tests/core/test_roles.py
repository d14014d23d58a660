"""Roles are sets of capabilities, found by their exact names."""

from __future__ import annotations

import copy
import pickle
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall import Capability, Role
from rolecall.errors import ConfigurationError, InvalidRole, RolecallError
from rolecall.roles import ANY_TOKEN, STANDARD_ROLES, Requirement, RoleTable

from ..ids import as_text
from ..untyped import untyped

CAPABILITIES = {
    "subscriber": {"connect", "subscribe"},
    "publisher": {"connect", "subscribe", "publish", "signal"},
    "publisheronly": {"connect", "publish"},
    "moderator": {"connect", "subscribe", "publish", "signal", "force_disconnect", "force_unpublish"},
}


def test_the_standard_roles_are_these_four():
    assert set(STANDARD_ROLES) == set(CAPABILITIES)


@pytest.mark.parametrize("role", STANDARD_ROLES)
def test_a_standard_role_may_do_exactly_this(role):
    assert role.capabilities == CAPABILITIES[role]


@pytest.mark.parametrize("role", STANDARD_ROLES)
def test_a_standard_role_stands_for_itself_on_the_wire(role):
    assert role.wire_name == role


@pytest.mark.parametrize("role", STANDARD_ROLES)
def test_a_role_is_its_name(role):
    assert role == str(role)
    assert {role: 1}[str(role)] == 1


def test_moderators_include_every_role():
    assert all(Role.MODERATOR.includes(role) for role in STANDARD_ROLES)


@pytest.mark.parametrize(
    ("role", "other"),
    [
        (Role.SUBSCRIBER, Role.PUBLISHER),
        (Role.SUBSCRIBER, Role.PUBLISHER_ONLY),
        (Role.PUBLISHER_ONLY, Role.SUBSCRIBER),
        (Role.PUBLISHER_ONLY, Role.PUBLISHER),
        (Role.PUBLISHER, Role.MODERATOR),
    ],
)
def test_a_role_does_not_include_one_that_may_more(role, other):
    assert not role.includes(other)


@pytest.mark.parametrize("attribute", ["capabilities", "wire_name", "anything"])
def test_a_role_cannot_be_changed(attribute):
    with pytest.raises(AttributeError):
        setattr(Role.SUBSCRIBER, attribute, Role.MODERATOR.capabilities)


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda role: pickle.loads(pickle.dumps(role))])
def test_a_copied_role_keeps_what_it_may(clone):
    role = clone(Role("guest", ["connect"], wire_name="subscriber"))
    assert (role, role.capabilities, role.wire_name) == ("guest", {"connect"}, "subscriber")


@pytest.mark.parametrize(
    "name", ["", "Moderator", "a b", "é", "a\n", "a" * 65, "ⅿoderator", "٣", "a.b", None], ids=ascii
)
def test_a_name_that_is_not_plain_cannot_be_a_role(name):
    with pytest.raises(ConfigurationError):
        Role(name)


@pytest.mark.parametrize("name", [5, b"guest", ["guest"], ["a", "b"], {"a": 1}], ids=as_text)
def test_a_name_that_is_not_text_cannot_be_a_role(name):
    with pytest.raises(ConfigurationError):
        Role(name)


@pytest.mark.parametrize("capabilities", [["fly"], "connect", ["Connect"], [None]], ids=as_text)
def test_a_capability_that_does_not_exist_is_refused(capabilities):
    with pytest.raises(ConfigurationError):
        Role("guest", capabilities)


@pytest.mark.parametrize("name", CAPABILITIES)
def test_a_role_is_found_by_its_exact_name(name):
    assert RoleTable().get(name).capabilities == CAPABILITIES[name]


@given(st.text() | st.sampled_from(list(CAPABILITIES)).flatmap(lambda n: st.sampled_from([n.upper(), n + " ", n[1:]])))
def test_no_other_name_finds_a_role(name):
    if name not in CAPABILITIES:
        assert RoleTable().find(name) is None


@pytest.mark.parametrize("name", [None, 1, True, b"moderator", ["moderator"], {}, object()], ids=as_text)
def test_a_name_that_is_not_text_finds_no_role(name):
    with pytest.raises(InvalidRole, match="subscriber, publisheronly, publisher, moderator"):
        RoleTable().get(name)


def test_two_roles_of_one_name_are_refused():
    with pytest.raises(ConfigurationError, match="twice"):
        RoleTable([Role.PUBLISHER, Role("publisher", ["connect"])])


CAPABILITY_SETS = [
    set_of for size in range(1, len(Capability) + 1) for set_of in combinations(sorted(Capability), size)
]


@pytest.mark.parametrize("standard", STANDARD_ROLES)
@pytest.mark.parametrize("capabilities", CAPABILITY_SETS, ids=" ".join)
def test_the_wire_name_of_a_role_may_do_no_more_than_the_role(standard, capabilities):
    role = Role("helper", capabilities, wire_name=standard)
    if standard.capabilities <= role.capabilities:
        assert RoleTable([*STANDARD_ROLES, role]).find("helper") is role
    else:
        with pytest.raises(ConfigurationError, match=f"wire_name '{standard}', which may do more than the role"):
            RoleTable([*STANDARD_ROLES, role])


def test_a_role_whose_wire_name_is_too_much_is_told_which_are_not():
    with pytest.raises(ConfigurationError, match=r"than the role: signal; choose 'subscriber' or 'publisheronly'$"):
        RoleTable([Role("silent", ["connect", "subscribe", "publish"], wire_name="publisher")])
    with pytest.raises(ConfigurationError, match=r"no standard role does less; give it more capabilities$"):
        RoleTable([Role("waiting", ["connect"], wire_name="subscriber")])


@pytest.mark.parametrize(
    ("capabilities", "role"),
    [
        (CAPABILITIES["moderator"], Role.MODERATOR),
        (CAPABILITIES["moderator"] - {"force_unpublish"}, Role.PUBLISHER),
        (CAPABILITIES["publisher"] - {"signal"}, Role.SUBSCRIBER),
        ({"connect", "publish"}, Role.PUBLISHER_ONLY),
        ({"connect"}, None),
        (set(), None),
    ],
)
def test_the_greatest_role_within_capabilities_has_none_beyond_them(capabilities, role):
    assert RoleTable().greatest_within(frozenset(map(Capability, capabilities))) is role


@pytest.mark.parametrize("role", STANDARD_ROLES)
def test_requiring_a_role_demands_all_its_capabilities(role):
    assert Requirement.of_role(untyped(str(role))) == Requirement(role.capabilities, f"role:{role}")


@pytest.mark.parametrize("name", ["king", "Moderator", "", None, 5])
def test_a_role_that_does_not_exist_cannot_be_required(name):
    with pytest.raises(ConfigurationError):
        Requirement.of_role(name)


@pytest.mark.parametrize("name", ["fly", "PUBLISH", "", None, 5])
def test_a_capability_that_does_not_exist_cannot_be_required(name):
    with pytest.raises(ConfigurationError):
        Requirement.of_capability(name)


def test_any_token_demands_nothing():
    assert ANY_TOKEN.capabilities == frozenset()


def test_a_role_of_ones_own_under_a_standard_name_does_not_become_the_standard_one(kit):
    session = kit.create_session()
    lesser = Role("moderator", ["connect"])
    try:
        grant = kit.verify_token(session.generate_token(lesser))
    except RolecallError:
        return
    assert grant.capabilities <= lesser.capabilities


@pytest.mark.parametrize("demanded", [lambda request: "", RoleTable])
def test_a_guard_that_was_given_the_view_instead_of_a_name_says_how_to_write_it(demanded):
    with pytest.raises(ConfigurationError, match=r'^write @require_role\("publisher"\); for any good token @require_t'):
        Requirement.of_role(demanded)
    with pytest.raises(ConfigurationError, match=r'^write @require_capability\("publish"\); for any good token @req'):
        Requirement.of_capability(demanded)


@pytest.mark.parametrize("several", [list, tuple, set, frozenset])
def test_a_guard_is_for_one_name(several):
    with pytest.raises(ConfigurationError, match=r"^name one role; greater roles are let in, too$"):
        Requirement.of_role(several(["publisher", "moderator"]))
    with pytest.raises(ConfigurationError, match=r"^name one capability; for several put one guard on top"):
        Requirement.of_capability(several(["publish", "signal"]))
