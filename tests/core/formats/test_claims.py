"""What the claims of a token must say, whatever format carries them: each rule, and what its refusal tells."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from rolecall.errors import ExpiredToken, InvalidClaim, TokenNotYetValid, WrongTokenKind
from rolecall.formats.claims import ClaimRules
from rolecall.keys import HMACKey, KeyRing
from rolecall.keys.issuers import Issuer
from rolecall.roles import STANDARD_ROLES, Capability, Role, RoleTable
from rolecall.session_ids import OpenTokIds
from rolecall.sessions import MediaMode
from rolecall.tokens import Grant
from rolecall.wording import moment

NOW = 1_795_186_800
LEEWAY = 10
DAY = 86_400
#: 30 days, and the hour by which clocks change.
LONGEST = 30 * DAY + 3600
#: The moment from which no time is one any more: the year 10,000.
END_OF_TIME = 253_402_300_800

ASSISTANT = Role("assistant", ["connect", "publish", "subscribe", "signal", "force_disconnect"], wire_name="publisher")


def claims(*without: str, **changed: object) -> dict:
    good = {"session_id": "room", "role": "publisher", "iat": NOW, "exp": NOW + 60, "scope": "session.connect"}
    return {name: value for name, value in (good | changed).items() if name not in without}


def grant_of(claims: dict, now: float = NOW) -> Grant:
    return ClaimRules(RoleTable([*STANDARD_ROLES, ASSISTANT]), LEEWAY).grant(claims, now, "the token's id")


def grant(*without: str, **changed: object) -> Grant:
    return grant_of(claims(*without, **changed))


def test_the_claims_of_a_token_make_its_grant():
    asked = claims(connection_data="Zoë", initial_layout_class_list="focus")

    made = grant_of(asked)

    assert made == ("room", Role.PUBLISHER, Role.PUBLISHER.capabilities, NOW + 60, "the token's id", asked, None)
    assert (made.data, made.layout) == ("Zoë", ("focus",))


def test_the_claims_of_a_grant_are_read_only():
    assert type(grant().claims) is MappingProxyType


@pytest.mark.parametrize("token_id", ["a", "x" * 255, "Zoë's", "1.a\u2028b"])
def test_the_id_of_a_token_is_a_short_text(token_id):
    assert ClaimRules(RoleTable(), LEEWAY).grant(claims(), NOW, token_id).token_id == token_id


@pytest.mark.parametrize("token_id", [None, 7, b"a", "", "x" * 256, "a\0", "a\n", "\x7f", "a\x80", "ë\0"])
def test_a_token_by_whose_id_it_cannot_be_revoked_in_every_store_is_refused(token_id):
    with pytest.raises(InvalidClaim, match="the token's jti is missing or wrong; expected a string of 1 to 255"):
        ClaimRules(RoleTable(), LEEWAY).grant(claims(), NOW, token_id)


@pytest.mark.parametrize("without", ["scope", "connection_data", "initial_layout_class_list"])
def test_what_has_a_default_may_be_left_out(without):
    assert grant(without, connection_data="x", initial_layout_class_list="y").session_id == "room"


@pytest.mark.parametrize(
    "changed",
    [
        {"session_id": "x"},
        {"session_id": "x" * 255},
        {"connection_data": ""},
        {"connection_data": "x" * 1000},
        {"initial_layout_class_list": ""},
        {"initial_layout_class_list": "x" * 1000},
    ],
)
def test_a_text_at_the_edge_of_its_length_is_taken(changed):
    assert grant(**changed).claims.items() >= changed.items()


TEXT = "a string of at most 1000 characters"
WRONG: list[tuple[str, Any, str]] = [
    ("session_id", [None, "", "x" * 256, 7, ["room"]], "a string of 1 to 255 characters"),
    ("role", [None, "", "assistant", "Publisher", 7, ["publisher"]], "one of the standard roles"),
    ("connection_data", [None, "x" * 1001, 7, ["x"]], TEXT),
    ("initial_layout_class_list", [None, "x" * 1001, 7, ["x"]], TEXT),
    ("iat", [None, True, "1", -1, END_OF_TIME, float("nan"), float("inf"), [1]], "a number of Unix seconds"),
    ("exp", [None, True, "1", -1, END_OF_TIME, float("nan"), float("inf"), [1]], "a number of Unix seconds"),
    ("nbf", [None, True, "1", -1, END_OF_TIME, float("nan"), float("inf"), [1]], "a number of Unix seconds"),
    ("rolecall_capabilities", [None, "", "fly", "publish  subscribe", 7, ["publish"]], "capabilities, separated by"),
    ("rolecall_role", [None, "", "nobody", 7, ["assistant"]], "a role of this service that publisher stands for"),
]


@pytest.mark.parametrize(
    ("claim", "value", "expected"), [(claim, value, expected) for claim, values, expected in WRONG for value in values]
)
def test_a_wrong_claim_is_named_with_what_was_expected(claim, value, expected):
    with pytest.raises(InvalidClaim, match=f"^the token's {claim} is missing or wrong; expected {expected}"):
        grant(**{claim: value})


@pytest.mark.parametrize("claim", ["session_id", "role"])
def test_a_token_without_a_session_or_a_role_is_refused(claim):
    with pytest.raises(InvalidClaim, match=f"^the token's {claim} is missing"):
        grant(claim)


@pytest.mark.parametrize("scope", ["session.moderate", "", None, 7])
def test_a_token_of_another_scope_is_of_another_kind(scope):
    with pytest.raises(WrongTokenKind, match=r"^the token's scope is .*; a client's token has 'session\.connect'$"):
        grant(scope=scope)


def test_the_scope_is_shown_as_it_came():
    with pytest.raises(WrongTokenKind, match=r"'session\.moderate'"):
        grant(scope="session.moderate")


# -- roles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", STANDARD_ROLES)
def test_each_standard_role_is_granted_by_its_name(role):
    assert grant(role=str(role))[1:3] == (role, role.capabilities)


def test_a_role_of_the_apps_own_comes_with_the_standard_one_that_stands_for_it():
    assert grant(rolecall_role="assistant")[1:3] == (ASSISTANT, ASSISTANT.capabilities)


@pytest.mark.parametrize(
    ("standard", "own"), [("moderator", "assistant"), ("publisher", "publisher"), ("publisher", "moderator")]
)
def test_no_other_standard_role_stands_for_it(standard, own):
    with pytest.raises(InvalidClaim, match=f"a role of this service that {standard} stands for"):
        grant(role=standard, rolecall_role=own)


def test_capabilities_take_the_place_of_those_of_the_role():
    made = grant(rolecall_capabilities="connect subscribe")
    assert made.role == "publisher"
    assert made.capabilities == {Capability.CONNECT, Capability.SUBSCRIBE}


# -- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "ends"),
    [
        ({"iat": NOW, "exp": NOW + 1}, NOW + 1),
        ({"iat": NOW - LONGEST + 1, "exp": NOW + 1}, NOW + 1),
        ({"iat": 0, "exp": LONGEST - 1, "now": LONGEST - 2}, LONGEST - 1),
        ({"iat": 0, "exp": 1, "now": 0}, 1),
        ({"iat": NOW, "exp": NOW + LONGEST}, NOW + LONGEST),
        ({"iat": NOW - 0.5, "exp": NOW + 0.5}, NOW + 0.5),
        ({"iat": NOW + LEEWAY, "exp": NOW + 60}, NOW + 60),
        ({"iat": NOW - 60, "exp": NOW - LEEWAY + 1}, NOW - LEEWAY + 1),
        ({"iat": NOW, "exp": NOW + 60, "nbf": NOW + LEEWAY}, NOW + 60),
        ({"iat": NOW, "exp": NOW + 60, "nbf": 0}, NOW + 60),
        ({"iat": NOW}, NOW + DAY),
        ({"iat": NOW - DAY - LEEWAY + 1}, NOW - LEEWAY + 1),
        ({"exp": NOW + 60}, NOW + 60),
        ({"exp": NOW + LEEWAY + LONGEST}, NOW + LEEWAY + LONGEST),
        ({"iat": END_OF_TIME - 2, "exp": END_OF_TIME - 1, "now": END_OF_TIME - 2}, END_OF_TIME - 1),
    ],
)
def test_a_token_is_good_within_its_times_and_the_leeway(times, ends):
    now = times.get("now", NOW)
    made = grant_of(claims("iat", "exp") | times, now)
    assert made.expires_at == ends


def grant_without_leeway(now: float, **times: float) -> Grant:
    return ClaimRules(RoleTable(), 0).grant(claims("iat", "exp") | times, now, "id")


@pytest.mark.parametrize("iat", [0, 0.0])
def test_without_leeway_a_token_is_good_from_the_moment_of_its_issue(iat):
    assert grant_without_leeway(0, iat=iat, exp=60).expires_at == 60


@pytest.mark.parametrize("kind", [int, float])
def test_without_leeway_a_token_is_over_at_its_end(kind):
    assert grant_without_leeway(NOW - 1, iat=kind(NOW - 60), exp=kind(NOW)).expires_at == NOW
    with pytest.raises(ExpiredToken):
        grant_without_leeway(NOW, iat=kind(NOW - 60), exp=kind(NOW))


@pytest.mark.parametrize(
    ("times", "now"),
    [
        ({"iat": NOW - 60, "exp": NOW - LEEWAY}, NOW),
        ({"iat": NOW - 60, "exp": NOW - LEEWAY - 1}, NOW),
        ({"iat": NOW - DAY - LEEWAY}, NOW),
        ({"exp": NOW - LEEWAY}, NOW),
        ({"iat": 0, "exp": 0}, LEEWAY),
    ],
)
def test_a_token_is_over_from_its_end_on_leeway_granted(times, now):
    end = times.get("exp", times.get("iat", 0) + DAY)
    with pytest.raises(ExpiredToken) as refused:
        grant_of(claims("iat", "exp") | times, now)
    assert str(refused.value) == f"the token expired at {moment(end)}; now is {moment(now)} by this server's clock"


def test_a_token_issued_beyond_the_leeway_is_not_valid_yet_and_the_clocks_are_blamed():
    with pytest.raises(TokenNotYetValid) as refused:
        grant(iat=NOW + LEEWAY + 1)
    assert str(refused.value) == (
        f"the token says it was issued at {moment(NOW + LEEWAY + 1)}, which is in the future; "
        f"now is {moment(NOW)} by this server's clock: compare the two servers' clocks"
    )


def test_a_token_that_begins_beyond_the_leeway_is_not_valid_yet():
    with pytest.raises(TokenNotYetValid) as refused:
        grant(nbf=NOW + LEEWAY + 1)
    assert str(refused.value) == (
        f"the token is valid from {moment(NOW + LEEWAY + 1)} on; now is {moment(NOW)} by this server's clock"
    )


@pytest.mark.parametrize(
    "times", [{"iat": NOW, "exp": NOW + LONGEST + 1}, {"exp": NOW + LEEWAY + LONGEST + 1}, {"iat": 0, "exp": NOW + 1}]
)
def test_a_token_that_lives_too_long_is_refused(times):
    with pytest.raises(InvalidClaim) as refused:
        grant_of(claims("iat", "exp") | times)
    assert str(refused.value) == (
        "the token's exp is missing or wrong; expected a time at most 30 days, and an hour, after iat"
    )


def test_a_token_without_any_end_is_refused():
    with pytest.raises(InvalidClaim) as refused:
        grant("iat", "exp")
    assert str(refused.value) == (
        "the token's exp is missing or wrong; expected a time, in a token that has no iat either"
    )


# -- projects --------------------------------------------------------------------------------------


def issuer(name: str, secret: str) -> Issuer:
    return Issuer(name, KeyRing([HMACKey(secret)]))


SCHOOL = issuer("1111", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e")
CLINIC = issuer("2222", "second-secret-of-forty-two-characters-x42")


def session_of(name: str) -> str:
    return OpenTokIds(SCHOOL, CLINIC).make(MediaMode.RELAYED, NOW, name)


def grant_among_several(session_id: str, signer: str | None) -> Grant:
    rules = ClaimRules(RoleTable(), LEEWAY, OpenTokIds(SCHOOL, CLINIC))
    return rules.grant(claims(session_id=session_id), NOW, "id", signer)


@pytest.mark.parametrize(("owner", "signer"), [("1111", "1111"), ("1111", None), ("2222", "2222")])
def test_a_token_is_for_a_session_of_the_project_whose_key_signed_it(owner, signer):
    session_id = session_of(owner)
    assert grant_among_several(session_id, signer).session_id == session_id


@pytest.mark.parametrize(("owner", "signer"), [("1111", "2222"), ("2222", "1111"), ("2222", None)])
def test_a_token_for_a_session_of_another_project_is_refused(owner, signer):
    with pytest.raises(InvalidClaim) as refused:
        grant_among_several(session_of(owner), signer)
    assert str(refused.value) == "the token's session_id is not one of the project that the token is of"


@pytest.mark.parametrize("signer", ["1111", None])
def test_among_several_projects_a_session_of_none_is_refused(signer):
    with pytest.raises(InvalidClaim, match="not one of the project"):
        grant_among_several("room", signer)


@pytest.mark.parametrize("names", [None, OpenTokIds(SCHOOL)])
def test_where_there_is_one_project_a_session_needs_no_owner(names):
    assert ClaimRules(RoleTable(), LEEWAY, names).grant(claims(), NOW, "id").session_id == "room"
