"""What a kit forgets, and that nothing that was refused is ever good again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rolecall import Rolecall, hookimpl
from rolecall.engine import housekeeping
from rolecall.engine.housekeeping import AGE_MARGIN, Retention
from rolecall.errors import (
    ConfigurationError,
    ExpiredToken,
    InvalidClaim,
    InvalidSessionId,
    RevokedToken,
    SessionEnded,
    SessionNotFound,
    StoreUnavailable,
)
from rolecall.stores.checking import METHODS
from rolecall.stores.memory import MemoryStore
from rolecall.stores.upkeep import Over

from ...sdk_tokens import API_KEY, API_SECRET
from ...untyped import untyped

HOUR, DAY, LEEWAY = 3600.0, 86_400.0, 10
#: A session of the same project that another service made.
FOREIGN = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"


def forget(kit: Rolecall) -> int:
    housekeeper = kit._state.housekeeper
    assert housekeeper is not None
    removed = 0
    while some := housekeeper.forget_some():
        removed += some
    return removed


def test_a_record_is_forgotten_and_its_tokens_stay_refused(make_kit, clock):
    kit = make_kit(session_retention=timedelta(days=7))
    session = kit.create_session()
    token = session.generate_token(expire_time=timedelta(days=30))
    session.end()
    clock.now += 7 * DAY
    assert (forget(kit), kit.get_session(session.session_id).ended_at) == (0, clock.now - 7 * DAY)
    clock.now += 1
    assert forget(kit) == 1
    with pytest.raises(SessionNotFound):
        kit.get_session(session.session_id)
    for _ in range(2):
        with pytest.raises(RevokedToken):
            kit.verify_token(token)
        with pytest.raises(SessionEnded):
            session.generate_token()
        clock.now += 20 * DAY
        forget(kit)


def test_without_retention_only_what_lapsed_is_forgotten(make_kit, clock):
    kit = make_kit()
    session = kit.create_session()
    session.end()
    kit._state.store.use_once("a", clock.now + 10, clock.now)
    clock.now += 400 * DAY
    assert forget(kit) == 1
    assert kit.get_session(session.session_id).ended_at is not None


def test_a_session_is_over_at_its_age(make_kit, clock):
    kit = make_kit(max_session_age=2 * HOUR)
    session = kit.create_session()
    grant = kit.verify_token(token := session.generate_token())
    assert grant.expires_at <= session.created_at + 2 * HOUR
    clock.now += 2 * HOUR - 1
    assert kit.verify_token(token)
    clock.now += 1 + LEEWAY
    with pytest.raises(ExpiredToken):
        kit.verify_token(token)
    with pytest.raises(SessionEnded, match="max_session_age"):
        session.generate_token()


def test_another_kits_longer_token_ends_with_its_session_too(make_kit, clock):
    kit, generous = make_kit(max_session_age=2 * HOUR), make_kit()
    session = kit.create_session()
    token = generous.generate_token(session)
    assert kit.verify_token(token).expires_at == pytest.approx(session.created_at + 2 * HOUR, abs=0.001)
    clock.now += 2 * HOUR + LEEWAY
    with pytest.raises(ExpiredToken):
        kit.verify_token(token)
    late = generous.generate_token(session)
    with pytest.raises(ExpiredToken, match="max_session_age"):
        kit.verify_token(late)


def test_what_its_age_has_ended_is_forgotten_whole_and_no_token_is_good_again(make_kit, clock):
    store = MemoryStore()
    kit = make_kit(max_session_age=2 * HOUR, store=store)
    session, token_of_other_kit = kit.create_session(), make_kit().generate_token
    session.end()
    clock.now += 2 * HOUR + AGE_MARGIN + 1
    assert forget(kit) == 2
    assert dict(store.count()) == {
        "ended": 0,
        "sessions": 0,
        "used": 0,
        "leases": 0,
        "marks": 0,
        "tokens": 0,
        "documents": 0,
    }
    for lifetime in (timedelta(minutes=5), timedelta(days=30)):
        with pytest.raises(ExpiredToken):
            kit.verify_token(token_of_other_kit(session, expire_time=lifetime))


def test_an_id_that_shows_no_age_is_refused(make_kit):
    kit, other = make_kit(max_session_age=DAY), make_kit()
    with pytest.raises(InvalidClaim, match="max_session_age"):
        kit.verify_token(other.generate_token(FOREIGN))
    with pytest.raises(InvalidSessionId, match="shows no age"):
        kit.generate_token(FOREIGN)


def test_ids_of_others_and_an_age_stop_start_up():
    class Service:
        @hookimpl
        def rolecall_create_session(self, request):
            return FOREIGN

    with pytest.raises(ConfigurationError, match="rolecall_create_session"):
        Rolecall(API_KEY, API_SECRET, plugins=[Service()], max_session_age=DAY)
    with pytest.raises(ConfigurationError, match="show their age"):
        Rolecall(API_KEY, API_SECRET, session_names="plain", max_session_age=DAY)


def test_a_store_that_cannot_forget_stops_start_up():
    class Bare:
        def __init__(self) -> None:
            store = MemoryStore()
            for method in METHODS:
                setattr(self, method, getattr(store, method))

    with pytest.raises(ConfigurationError, match="a store that forgets"):
        Rolecall(API_KEY, API_SECRET, store=untyped(Bare()), session_retention=DAY)


@pytest.mark.parametrize("name", ["session_retention", "max_session_age"])
@pytest.mark.parametrize("value", [-1, "7 days", True, float("nan"), float("inf"), timedelta(days=-1)], ids=str)
def test_wrong_arguments_stop_start_up(name, value):
    with pytest.raises(ConfigurationError, match=name):
        Rolecall(API_KEY, API_SECRET, **{name: untyped(value)})


def test_the_environment_sets_both():
    environ = {"ROLECALL_SESSION_RETENTION": "7d", "ROLECALL_MAX_SESSION_AGE": "2h"}
    with Rolecall.from_env({"ROLECALL_API_KEY": API_KEY, "ROLECALL_API_SECRET": API_SECRET, **environ}) as kit:
        assert kit._state.retention == Retention(604_800.0, 7200.0)


@pytest.mark.parametrize("name", ["ROLECALL_SESSION_RETENTION", "ROLECALL_MAX_SESSION_AGE"])
@pytest.mark.parametrize("value", ["90", "1h30", "soon"])
def test_a_variable_without_its_unit_stops_start_up(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} is not a duration with its unit; write for example 90d"):
        Rolecall.from_env({"ROLECALL_API_KEY": API_KEY, "ROLECALL_API_SECRET": API_SECRET, name: value})


class Counting(MemoryStore):
    """Counts what it is reminded of, and fails if it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Over] = []
        self.fails = False

    def forget(self, over: Over) -> int:
        self.asked.append(over)
        if self.fails:
            raise StoreUnavailable("out of reach")
        return super().forget(over)


def test_creating_sessions_reminds_of_it_and_no_faster_than_it_may(make_kit, monkeypatch):
    ticks = [1000.0]
    monkeypatch.setattr(housekeeping, "monotonic", lambda: ticks[0])
    store = Counting()
    kit = make_kit(store=store, session_retention=0)
    monkeypatch.setattr(kit._pools, "submit", lambda purpose, function, args, done: function())

    def asked_after(seconds: float) -> int:
        ticks[0] += seconds
        before = len(store.asked)
        for _ in range(3):
            kit.create_session()
        return len(store.asked) - before

    assert [asked_after(0), asked_after(housekeeping.IDLE - 1), asked_after(1)] == [0, 0, 1]
    assert [asked_after(housekeeping.IDLE - 1), asked_after(1)] == [0, 1]
    store.use_once("a", 1.0, 0.0)  # something to forget
    assert [asked_after(housekeeping.IDLE), asked_after(housekeeping.PAUSE), asked_after(1)] == [1, 1, 0]
    for number in range(1001):  # two batches, and one more
        store.use_once(str(number), 1.0, 0.0)
    assert [asked_after(housekeeping.IDLE), asked_after(housekeeping.SHORT), asked_after(housekeeping.SHORT)] == [
        1,
        1,
        1,
    ]
    assert [asked_after(housekeeping.SHORT), asked_after(housekeeping.PAUSE)] == [0, 1]
    store.fails = True
    assert [asked_after(housekeeping.IDLE), asked_after(housekeeping.IDLE - 1), asked_after(1)] == [1, 0, 1]
