"""OpeningHours: within the hours, and until closing time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from rolecall.errors import ConfigurationError, PolicyDenied, PolicyFault
from rolecall.hookspecs import AccessRequest
from rolecall.policies import OpeningHours
from rolecall.policy import Deny, Limit
from rolecall.roles import ANY_TOKEN

from ...untyped import untyped

pytestmark = pytest.mark.each_choice

BERLIN = "Europe/Berlin"
SCHOOL = "mon-fri 08:00-17:30"


def at(text, zone=BERLIN, fold=0):
    """A moment in Unix seconds; ``fold=1`` for the second pass of a time that comes twice."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def closing_time(policy, now):
    """When a guarded route closes; None while it is closed."""
    vote = policy.rolecall_vote_access(AccessRequest(untyped(None), ANY_TOKEN, None, now))
    assert isinstance(vote, Limit | Deny)
    return vote.latest_expiry if isinstance(vote, Limit) else None


@pytest.mark.parametrize(
    ("windows", "now", "closes"),
    [
        (SCHOOL, "2026-11-20 07:59:59", None),  # a Friday
        (SCHOOL, "2026-11-20 08:00", "2026-11-20 17:30"),
        (SCHOOL, "2026-11-20 17:29:59", "2026-11-20 17:30"),
        (SCHOOL, "2026-11-20 17:30", None),
        (SCHOOL, "2026-11-21 12:00", None),
        (["sat 10:00-12:00", SCHOOL], "2026-11-21 11:00", "2026-11-21 12:00"),
        ("mon,wed-fri 08:00-09:00", "2026-11-17 08:30", None),
        ("mon,wed-fri 08:00-09:00", "2026-11-19 08:30", "2026-11-19 09:00"),
        ("fri-mon 08:00-09:00", "2026-11-22 08:30", "2026-11-22 09:00"),
        ("fri-mon 08:00-09:00", "2026-11-18 08:30", None),
        ("sat 22:00-02:00", "2026-11-22 01:59", "2026-11-22 02:00"),
        ("sat 22:00-02:00", "2026-11-21 01:59", None),
        ("daily 20:00-24:00", "2026-11-20 23:59", "2026-11-21 00:00"),
        (["daily 08:00-12:00", "daily 12:00-18:00"], "2026-11-20 09:00", "2026-11-20 18:00"),
        (["fri 20:00-24:00", "sat 00:00-03:00"], "2026-11-20 21:00", "2026-11-21 03:00"),
        (["daily 08:00-18:00", "daily 09:00-10:00"], "2026-11-20 09:30", "2026-11-20 18:00"),
    ],
)
def test_the_hours_of_a_week(windows, now, closes):
    policy = OpeningHours(windows, BERLIN)
    assert closing_time(policy, at(now)) == (closes and at(closes))


@pytest.mark.parametrize(
    ("windows", "now", "closes"),
    [
        # The clocks skip 02:00 to 03:00 on 2026-03-29, which is the moment 01:00 UTC.
        ("sun 02:15-04:00", "2026-03-29T00:59:59", None),
        ("sun 02:15-04:00", "2026-03-29T01:00:00", "2026-03-29T02:00:00"),
        ("sun 01:00-02:30", "2026-03-29T00:59:59", "2026-03-29T01:00:00"),
        ("sun 01:00-02:30", "2026-03-29T01:00:00", None),
        ("sun 02:10-02:50", "2026-03-29T01:00:00", None),
        ("sat 23:00-05:00", "2026-03-29T02:59:59", "2026-03-29T03:00:00"),
        # They pass 02:00 to 03:00 twice on 2026-10-25, which are the moments 00:00 to 01:00 and 01:00 to 02:00 UTC.
        ("sun 02:15-02:45", "2026-10-25T00:15:00", "2026-10-25T00:45:00"),
        ("sun 02:15-02:45", "2026-10-25T01:30:00", None),
        ("sun 02:30-03:00", "2026-10-25T01:15:00", "2026-10-25T02:00:00"),
        ("sun 01:00-02:30", "2026-10-25T00:30:00", None),
        ("sat 23:00-05:00", "2026-10-25T03:59:59", "2026-10-25T04:00:00"),
    ],
)
def test_the_clocks_change(windows, now, closes):
    policy = OpeningHours(windows, BERLIN)
    assert closing_time(policy, at(now, "UTC")) == (closes and at(closes, "UTC"))


def test_a_day_that_a_zone_skips_has_no_hours():
    policy = OpeningHours("fri 08:00-17:00", "Pacific/Apia")
    noon = at("2011-12-29 12:00", "Pacific/Apia")
    assert [closing_time(policy, noon + hour * 3600) for hour in range(48)] == [None] * 48


def test_hours_without_an_end_limit_no_token():
    always = OpeningHours("daily 00:00-24:00", BERLIN)
    assert closing_time(always, at("2026-11-20 12:00")) > at("2026-11-20 12:00") + 30 * 86_400


def test_a_token_ends_at_closing_time_at_the_latest(asker, outside, clock):
    clock.now = at("2026-11-20 17:00")
    ask = asker(OpeningHours(SCHOOL, BERLIN), allow_all=True)
    session_id = ask.session()

    own = ask.token(session_id)
    foreign = ask.token(session_id, http=outside("ada"), expire_time=timedelta(minutes=30))

    assert own.expires_at == foreign.expires_at == at("2026-11-20 17:30")
    assert ask.token(session_id, http=outside("ada"), expire_time=timedelta(minutes=5)).expires_at == clock.now + 300
    assert ask.token(session_id, http=outside("ada")).expires_at == at("2026-11-20 17:30")


@pytest.mark.parametrize("who", [None, "ada"])
def test_outside_the_hours_a_token_is_denied_and_told_when_it_opens(asker, outside, clock, who):
    clock.now = at("2026-11-20 18:00")
    ask = asker(OpeningHours(SCHOOL, BERLIN), allow_all=True)

    with pytest.raises(PolicyDenied, match=r"closed until mon 2026-11-23 08:00 \(Europe/Berlin\)") as refusal:
        ask.token(ask.session(), http=who and outside(who))

    assert refusal.value.code == "closed"


def test_it_opens_no_door(asker, outside, clock):
    clock.now = at("2026-11-20 12:00")
    ask = asker(OpeningHours(SCHOOL, BERLIN))
    with pytest.raises(PolicyDenied, match="no policy"):
        ask.token(ask.session(), http=outside("ada"), expire_time=timedelta(minutes=5))


def test_a_session_may_have_hours_of_its_own(asker, clock):
    opens = datetime.fromtimestamp(clock.now + 600, UTC)
    ask = asker(OpeningHours(session=lambda session: (opens, session.created_at + 3600)))
    session_id = ask.session()

    with pytest.raises(PolicyDenied, match="closed until"):
        ask.token(session_id)
    clock.now += 600
    assert ask.token(session_id).expires_at == clock.now + 3000
    clock.now += 3000
    with pytest.raises(PolicyDenied, match="not come again"):
        ask.token(session_id)


@pytest.mark.parametrize(
    ("opens", "closes", "message"),
    [
        ("2026-11-20 18:00", "2026-11-25 18:00", "mon 2026-11-23 08:00"),
        ("2026-11-23 09:00", "2026-11-25 18:00", "mon 2026-11-23 09:00"),
        ("2026-11-21 09:00", "2026-11-22 18:00", "not come again"),
        ("2026-11-20 09:00", "2026-11-20 09:00", "not come again"),
        ("2026-11-23 17:30", None, "tue 2026-11-24 08:00"),
    ],
)
def test_with_both_kinds_of_hours_both_must_be_open(asker, clock, opens, closes, message):
    clock.now = at("2026-11-20 18:00")
    hours = (at(opens), closes and at(closes))
    ask = asker(OpeningHours(SCHOOL, BERLIN, session=lambda _: hours))

    with pytest.raises(PolicyDenied, match=message):
        ask.token(ask.session())


def test_a_session_that_the_store_does_not_know_is_closed(asker, make_kit):
    elsewhere = make_kit().create_session().session_id
    with pytest.raises(PolicyDenied, match="nothing is known"):
        asker(OpeningHours(session=lambda _: (None, None))).token(elsewhere)


def test_a_session_without_bounds_is_open(asker):
    ask = asker(OpeningHours(session=lambda _: (None, None)))
    assert ask.token(ask.session())


@pytest.mark.parametrize(
    "answer",
    [None, True, 1.0, (), (1,), (True, None), ("08:00", None), (datetime(2026, 1, 1), None), (float("nan"), None)],
)
def test_hours_that_cannot_be_read_refuse_the_request(asker, answer):
    ask = asker(OpeningHours(session=lambda _: answer), allow_all=True)
    with pytest.raises(PolicyFault):
        ask.token(ask.session())


@pytest.mark.parametrize(
    "make",
    [
        lambda: OpeningHours(),
        lambda: OpeningHours([], BERLIN),
        lambda: OpeningHours(SCHOOL),
        lambda: OpeningHours(untyped(5), BERLIN),
        lambda: OpeningHours([untyped(None)], BERLIN),
        lambda: OpeningHours("mon-fri", BERLIN),
        lambda: OpeningHours("mo-fr 08:00-17:00", BERLIN),
        lambda: OpeningHours("mon-tue-wed 08:00-17:00", BERLIN),
        lambda: OpeningHours("mon, 08:00-17:00", BERLIN),
        lambda: OpeningHours("mon 8:00-17:00", BERLIN),
        lambda: OpeningHours("mon 08:00-17:60", BERLIN),
        lambda: OpeningHours("mon 24:00-02:00", BERLIN),
        lambda: OpeningHours("mon 08:00-24:01", BERLIN),
        lambda: OpeningHours("mon 08:00-08:00", BERLIN),
        lambda: OpeningHours("mon ٠٨:00-17:00", BERLIN),
        lambda: OpeningHours(SCHOOL, "Europe/Atlantis"),
        lambda: OpeningHours(SCHOOL, "/etc/passwd"),
        lambda: OpeningHours(SCHOOL, ""),
        lambda: OpeningHours(SCHOOL, untyped(1)),
        lambda: OpeningHours(session=untyped("09:00")),
    ],
)
def test_wrong_arguments_stop_start_up(make):
    with pytest.raises(ConfigurationError):
        make()
