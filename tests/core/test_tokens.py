"""Minting tokens: what is asked for, within its limits, and messages that say what was wrong."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import jwt
import opentok
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rolecall import Role
from rolecall.errors import (
    ExpiredToken,
    InvalidData,
    InvalidExpireTime,
    InvalidRequest,
    InvalidRole,
    InvalidSessionId,
    RevokedToken,
    RolecallError,
    SessionEnded,
    WrongSession,
)

from ..ids import as_text

NOW = 1_795_186_800
DAY = 86_400
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def session(kit):
    return kit.create_session()


@pytest.fixture(params=["opentok", "t1"])
def each_session(request, make_kit):
    """A session whose tokens are minted in each of the formats."""
    return make_kit(format=request.param).create_session()


def granted(session, **options):
    return session.kit.verify_token(session.generate_token(**options))


# -- defaults --------------------------------------------------------------------------------------


def test_a_token_is_a_publishers_for_24_hours_unless_asked(each_session):
    grant = granted(each_session)
    assert (grant.role, grant.data, grant.layout) == (Role.PUBLISHER, None, ())
    assert (grant.issued_at, grant.expires_at) == (NOW, NOW + DAY)


def test_a_token_is_for_its_session(each_session):
    assert granted(each_session).session_id == each_session.session_id


def test_the_order_of_the_arguments_is_that_of_the_guides(kit, session):
    grant = kit.verify_token(kit.generate_token(session.session_id, "moderator", NOW + 60, "name=Ada"))
    assert (grant.role, grant.expires_at, grant.data) == (Role.MODERATOR, NOW + 60, "name=Ada")


@pytest.mark.parametrize("role", ["subscriber", "publisher", "publisheronly", "moderator"])
def test_a_role_is_given_by_its_name_or_as_itself(role, each_session):
    itself = each_session.kit.roles.get(role)
    assert granted(each_session, role=role).role is granted(each_session, role=itself).role is itself


@pytest.mark.parametrize(
    "role", ["", "king", "Moderator", "moderator ", "ｍoderator", "publisherOnly", None, 1, True, b"moderator", [], {}],
    ids=ascii,
)  # fmt: skip
def test_a_role_that_does_not_exist_is_refused(role, each_session):
    with pytest.raises(InvalidRole, match="the roles are subscriber, publisheronly, publisher, moderator"):
        each_session.generate_token(role)


# -- compared with the SDK's -----------------------------------------------------------------------


@pytest.fixture
def sdk_token(kit, clock, session):
    """A token that the Python SDK minted for the kit's session, on a kit whose clock is the SDK's."""
    clock.now = time.time()
    return opentok.Client(kit.api_key, "2df95e9fdac14502e8a27a9d8a71e87ef64a502e").generate_token


@pytest.mark.parametrize("options", [{}, {"data": "name=Ada"}, {"initial_layout_class_list": ["focus", "small"]}])
def test_a_jwt_has_exactly_the_sdks_claims_and_a_jti(options, session, sdk_token):
    ours, theirs = (
        jwt.decode(token, options={"verify_signature": False})
        for token in (session.generate_token(**options), sdk_token(session.session_id, **options))
    )
    assert set(ours) - set(theirs) == {"jti"}
    assert set(theirs) <= set(ours)
    assert {name: type(ours[name]) for name in theirs} == {name: type(value) for name, value in theirs.items()}


@pytest.mark.parametrize("name", ["session_id", "role", "scope", "iss", "ist", "connection_data"])
def test_a_jwts_claims_say_what_the_sdks_say(name, session, sdk_token):
    ours, theirs = (
        jwt.decode(token, options={"verify_signature": False})
        for token in (session.generate_token(data="x"), sdk_token(session.session_id, data="x"))
    )
    assert ours[name] == theirs[name]


def test_a_jwts_header_is_the_sdks(session, sdk_token):
    ours, theirs = session.generate_token(), sdk_token(session.session_id)
    assert jwt.get_unverified_header(ours) == jwt.get_unverified_header(theirs)


@pytest.mark.parametrize("use_jwt", [True, False])
@pytest.mark.parametrize("role", opentok.Roles)
def test_a_token_of_the_sdk_verifies(use_jwt, role, make_kit, session, sdk_token):
    token = sdk_token(session.session_id, role, data="Jöhn & Co ~*\n", use_jwt=use_jwt)
    grant = make_kit(accept=["opentok", "t1"]).verify_token(token, session.session_id)
    assert (grant.role, grant.data) == (role.value, "Jöhn & Co ~*\n")


@pytest.mark.parametrize("use_jwt", [True, False])
@pytest.mark.parametrize("character", ["a", "é", "你", '"', "\n"], ids=ascii)
def test_a_token_of_the_sdk_with_1000_characters_of_data_verifies(use_jwt, character, make_kit, session, sdk_token):
    token = sdk_token(session.session_id, data=character * 1000, use_jwt=use_jwt)
    assert make_kit(accept=["opentok", "t1"]).verify_token(token).data == character * 1000


def test_another_library_verifies_a_token(session, clock):
    clock.now = time.time()
    claims = jwt.decode(
        session.generate_token(), "2df95e9fdac14502e8a27a9d8a71e87ef64a502e", algorithms=["HS256"], issuer="123456"
    )
    assert claims["session_id"] == session.session_id


# -- uniqueness ------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_ten_thousand_tokens_of_one_second_have_different_ids(each_session):
    tokens = [each_session.generate_token() for _ in range(10_000)]
    assert len({each_session.kit.verify_token(token).token_id for token in tokens}) == 10_000


# -- expire_time -----------------------------------------------------------------------------------

EXPIRIES = {
    "an int": (NOW + 60, NOW + 60),
    "a float": (NOW + 60.0, NOW + 60),
    "a float with a fraction": (NOW + 60.9, NOW + 60),
    "a UTC datetime": (datetime.fromtimestamp(NOW + 60, UTC), NOW + 60),
    "a datetime far east": (datetime.fromtimestamp(NOW + 60, timezone(timedelta(hours=14))), NOW + 60),
    "a datetime with a fraction": (datetime.fromtimestamp(NOW + 60.5, UTC), NOW + 60),
    "a timedelta": (timedelta(minutes=1), NOW + 60),
    "a timedelta with a fraction": (timedelta(seconds=60.9), NOW + 60),
    "the next second": (NOW + 1, NOW + 1),
    "a timedelta of one second": (timedelta(seconds=1), NOW + 1),
    "30 days": (NOW + 30 * DAY, NOW + 30 * DAY),
    "30 days as a timedelta": (timedelta(days=30), NOW + 30 * DAY),
    "a fraction beyond 30 days": (NOW + 30 * DAY + 0.5, NOW + 30 * DAY),
    "None": (None, NOW + DAY),
}


@pytest.mark.parametrize(("expire_time", "expires_at"), EXPIRIES.values(), ids=EXPIRIES)
def test_an_expiry_is_a_number_an_aware_datetime_or_a_timedelta(expire_time, expires_at, each_session):
    assert granted(each_session, expire_time=expire_time).expires_at == expires_at


BAD_EXPIRIES = {
    "now": (NOW, "in the past, or this very second"),
    "within this second": (NOW + 0.9, "in the past, or this very second"),
    "a second ago": (NOW - 1, "in the past"),
    "zero": (0, "in the past"),
    "minus one": (-1, "in the past"),
    "an old datetime": (datetime(2020, 1, 1, tzinfo=UTC), "in the past"),
    "the first datetime": (datetime.min.replace(tzinfo=UTC), "in the past"),
    "no time at all": (timedelta(0), "in the past"),
    "a negative timedelta": (timedelta(days=-1), "in the past"),
    "the least timedelta": (timedelta.min, "in the past"),
    "30 days and a second": (NOW + 30 * DAY + 1, "more than 30 days away"),
    "30 days and a second as a timedelta": (timedelta(days=30, seconds=1), "more than 30 days away"),
    "a year": (NOW + 365 * DAY, "more than 30 days away"),
    "the last datetime": (datetime.max.replace(tzinfo=UTC), "more than 30 days away"),
    "the greatest timedelta": (timedelta.max, "more than 30 days away"),
    "milliseconds": ((NOW + 3600) * 10**3, "can only be milliseconds.*divide by 1,000"),
    "milliseconds as a float": ((NOW + 3600) * 1e3, "can only be milliseconds"),
    "milliseconds of a moment ago": ((NOW - 60) * 10**3, "can only be milliseconds"),
    "microseconds": ((NOW + 3600) * 10**6, "can only be microseconds.*divide by 1,000,000"),
    "nanoseconds": ((NOW + 3600) * 10**9, "can only be nanoseconds.*divide by 1,000,000,000"),
    "a naive datetime": (datetime(2026, 11, 21), "without a time zone"),
    "True": (True, "is True; expected Unix seconds, an aware datetime or a timedelta"),
    "False": (False, "is False; expected"),
    "text": ("1795186860", "is '1795186860'; expected"),
    "empty text": ("", "is ''; expected"),
    "bytes": (b"1795186860", "a value of type bytes; expected"),
    "a Decimal": (Decimal(NOW + 60), "a value of type Decimal; expected"),
    "a Fraction": (Fraction(NOW + 60), "a value of type Fraction; expected"),
    "a complex": (complex(NOW + 60), "a value of type complex; expected"),
    "a date": (datetime(2026, 11, 21, tzinfo=UTC).date(), "a value of type date; expected"),
    "a list": ([NOW + 60], "a value of type list; expected"),
    "NaN": (float("nan"), "is nan, not a time"),
    "infinity": (float("inf"), "is inf, not a time"),
    "minus infinity": (float("-inf"), "is -inf, not a time"),
    "10**400": (10**400, "is a huge int, not a time"),
    "-10**400": (-(10**400), "is a huge int, not a time"),
    "1e308": (1e308, "not a time"),
}  # fmt: skip


@pytest.mark.parametrize(("expire_time", "said"), BAD_EXPIRIES.values(), ids=BAD_EXPIRIES)
def test_another_expiry_is_refused_and_the_message_says_why(expire_time, said, each_session):
    with pytest.raises(InvalidExpireTime, match=said):
        each_session.generate_token(expire_time=expire_time)


@pytest.mark.parametrize("name", sorted(set(BAD_EXPIRIES) - {"a naive datetime"}))
def test_the_message_says_what_now_is(name, each_session):
    with pytest.raises(InvalidExpireTime, match=rf"now is 2026-11-20T15:00:00Z \({NOW}\) by this server's clock"):
        each_session.generate_token(expire_time=BAD_EXPIRIES[name][0])


@SHARED
@given(st.integers() | st.floats() | st.timedeltas() | st.datetimes(timezones=st.none() | st.timezones()))
def test_any_time_gives_an_expiry_within_30_days_or_is_refused(kit, session, expire_time):
    try:
        grant = granted(session, expire_time=expire_time)
    except InvalidExpireTime:
        return
    assert NOW < grant.expires_at <= NOW + 30 * DAY


@SHARED
@given(st.integers(-3600, 3600), st.floats(0, 0.999))
def test_the_edges_hold_at_any_moment_of_a_second(make_kit, clock, offset, fraction):
    session = make_kit().create_session()
    clock.now = NOW + fraction
    for seconds, allowed in ((0, False), (1, True), (30 * DAY, True), (30 * DAY + 1, False)):
        try:
            session.generate_token(expire_time=NOW + seconds)
        except InvalidExpireTime:
            assert not allowed
        else:
            assert allowed


# -- data and layout classes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", ["x", "a" * 1000, "Jöhn & Co ~*\n", '{"a":"b"}', "=&+%~", "%41", "\0", "\u2028", "😀"], ids=ascii
)
def test_data_comes_back_as_it_was(data, each_session):
    assert granted(each_session, data=data).data == data


@pytest.mark.parametrize("character", ["ö", "你", "😀", "\0", '"', "\\"], ids=ascii)
@pytest.mark.parametrize("layout", [[], ["ü" * 1000]], ids=["no layout", "full layout"])
def test_no_token_is_minted_that_is_too_long_to_be_read(character, layout, each_session):
    """Escapes take up to 12 characters each, so a thousand of them may not fit."""
    try:
        grant = granted(each_session, data=character * 1000, initial_layout_class_list=layout)
    except InvalidData:
        return
    assert (grant.data, grant.layout) == (character * 1000, tuple(layout))


@pytest.mark.parametrize("character", ["a", "ö", "你", "😀"], ids=ascii)
def test_a_jwt_holds_a_thousand_characters_of_any_script(character, session):
    assert granted(session, data=character * 1000).data == character * 1000


def test_1001_characters_are_refused(each_session):
    with pytest.raises(InvalidData, match="1001 characters; at most 1000"):
        each_session.generate_token(data="a" * 1001)


@pytest.mark.parametrize("data", [5, True, b"x", ["x"], {"a": 1}, object(), 1.5], ids=as_text)
def test_data_that_is_not_text_is_refused(data, each_session):
    with pytest.raises(InvalidData, match="expected a string"):
        each_session.generate_token(data=data)


@pytest.mark.parametrize("data", ["\ud800", "a\udfff", "\udc00\ud800"], ids=ascii)
def test_data_with_a_lone_surrogate_is_refused(data, each_session):
    with pytest.raises(InvalidData, match="lone surrogate"):
        each_session.generate_token(data=data)


def test_empty_data_is_no_data(each_session):
    assert granted(each_session, data="").data is None


@pytest.mark.parametrize(
    "layout",
    [["focus"], ["focus", "small"], ("a",), {"a"}, iter(["a", "b"]), ["é", "😀"], ["a" * 1000], []],
    ids=as_text,
)
def test_layout_classes_come_back_as_they_were(layout, each_session):
    layout, expected = itertools.tee(layout)
    assert granted(each_session, initial_layout_class_list=layout).layout == tuple(expected)


@pytest.mark.parametrize(
    "layout",
    [
        "focus", b"focus", 5, None, True, [5], [None], [""], ["a b"], ["a+b"], ["a\tb"], ["a\u00a0b"], [" a"], ["a\n"],
        ["\u2028"], ["\ud800"], ["a" * 1001], ["a" * 500, "b" * 500], ["a"] * 501, [["a"]], object(),
    ],
    ids=lambda layout: ascii(layout)[:20],
)  # fmt: skip
def test_other_layout_classes_are_refused(layout, each_session):
    with pytest.raises(InvalidData, match="initial_layout_class_list"):
        each_session.generate_token(initial_layout_class_list=layout)


TEXT = st.text(max_size=150)


@SHARED
@given(TEXT, st.lists(st.text(max_size=20), max_size=5), st.sampled_from(["moderator", "subscriber"]))
def test_what_a_token_says_comes_back_or_was_refused(each_session, data, layout, role):
    try:
        grant = granted(each_session, data=data, initial_layout_class_list=layout, role=role)
    except InvalidData:
        return
    assert (grant.data or "", grant.layout, grant.role) == (data, tuple(layout), role)


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20)
    | st.lists(st.none() | st.text(max_size=5), max_size=3) | st.sets(st.text(), max_size=2)
    | st.decimals() | st.dates() | st.complex_numbers() | st.builds(object)
)  # fmt: skip


@SHARED
@given(
    st.just(Role.PUBLISHER) | ANYTHING,
    st.none() | ANYTHING,
    st.none() | ANYTHING,
    st.just(()) | ANYTHING,
)
def test_arbitrary_options_give_a_token_that_verifies_or_an_invalid_request(
    each_session, role, expire_time, data, layout
):
    try:
        token = each_session.generate_token(role, expire_time, data, layout)
    except InvalidRequest:
        return
    assert each_session.kit.verify_token(token)


@SHARED
@given(ANYTHING | st.text(), ANYTHING | st.text())
def test_arbitrary_tokens_raise_nothing_but_errors_of_the_kit(kit, token, session_id):
    with pytest.raises(RolecallError):
        kit.verify_token(token, session_id)


# -- verifying -------------------------------------------------------------------------------------


def test_a_token_for_another_session_is_refused(kit, each_session):
    other = each_session.kit.create_session()
    with pytest.raises(WrongSession):
        each_session.kit.verify_token(each_session.generate_token(), other.session_id)


def test_an_empty_session_id_is_not_no_session_id(kit):
    with pytest.raises(WrongSession):
        kit.verify_token(kit.create_session().generate_token(), session_id="")


@pytest.mark.parametrize("session_id", [0, False, b"x", [], object()])
def test_a_session_id_to_verify_for_is_a_string(kit, session_id):
    with pytest.raises(InvalidSessionId, match="expected a string"):
        kit.verify_token(kit.create_session().generate_token(), session_id=session_id)


def test_the_session_is_checked_again_for_a_token_that_was_verified_before(session):
    token = session.generate_token()
    session.kit.verify_token(token, session.session_id)
    with pytest.raises(WrongSession):
        session.kit.verify_token(token, session.session_id + "A")


def test_tokens_of_an_ended_session_are_refused_though_they_were_verified_before(each_session):
    token = each_session.generate_token()
    each_session.kit.verify_token(token)
    each_session.kit.end_session(each_session.session_id)
    with pytest.raises(RevokedToken):
        each_session.kit.verify_token(token)


def test_an_ended_session_issues_no_token(each_session):
    each_session.kit.end_session(each_session.session_id)
    with pytest.raises(SessionEnded):
        each_session.generate_token()


@pytest.mark.parametrize("leeway", [0, 10, 60])
@pytest.mark.parametrize("seen_before", [False, True])
def test_a_token_lives_to_its_expiry_and_the_leeway_and_no_longer(leeway, seen_before, make_kit, clock):
    session = make_kit(leeway=leeway).create_session()
    token = session.generate_token(expire_time=timedelta(seconds=60))
    if seen_before:
        session.kit.verify_token(token)
    clock.now = NOW + 60 + leeway - 0.001
    session.kit.verify_token(token)
    clock.now = NOW + 60 + leeway
    with pytest.raises(ExpiredToken):
        session.kit.verify_token(token)


def test_a_refused_token_is_refused_again(each_session, clock):
    token = each_session.generate_token(expire_time=timedelta(seconds=1))
    clock.now += 3600
    for _ in range(3):
        with pytest.raises(ExpiredToken):
            each_session.kit.verify_token(token)


# -- grants ----------------------------------------------------------------------------------------


def test_a_grant_allows_what_its_role_may(session):
    grant = granted(session, role="publisheronly")
    assert [grant.allows(c) for c in ("connect", "publish", "subscribe", "signal")] == [True, True, False, False]


@pytest.mark.parametrize("capability", ["pubish", "Publish", "", None, 5])
def test_a_misspelt_capability_is_an_error_and_not_a_no(capability, session):
    with pytest.raises(ValueError, match="Capability"):
        granted(session).allows(capability)


@pytest.mark.parametrize("name", ["role", "capabilities", "session_id", "expires_at", "claims"])
def test_a_grant_cannot_be_changed(name, each_session):
    with pytest.raises(AttributeError):
        setattr(granted(each_session), name, "moderator")


def test_the_claims_of_a_grant_cannot_be_changed(each_session):
    with pytest.raises(TypeError):
        granted(each_session).claims["role"] = "moderator"


def test_a_grant_and_its_session_do_not_show_the_token(each_session):
    token = each_session.generate_token()
    grant = each_session.kit.verify_token(token)
    assert token[-43:] not in repr(grant) + repr(each_session)
