"""RateLimit: so many requests, and no more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from rolecall import Deny, hookimpl
from rolecall.errors import ConfigurationError, PolicyDenied, PolicyFault, StoreUnavailable
from rolecall.policies import RateLimit
from rolecall.stores.leases import Full, Slot
from rolecall.stores.memory import MemoryStore

from ...untyped import untyped

pytestmark = pytest.mark.each_choice


class Failing(MemoryStore):
    """A store whose leases can be cut off."""

    down = False

    def take_lease(self, lease: str, slots: Sequence[Slot], now: float) -> Full | None:
        if self.down:
            raise StoreUnavailable("the secret is out")
        return super().take_lease(lease, slots, now)


def refused(ask, session_id, http):
    with pytest.raises(PolicyDenied) as refusal:
        ask.token(session_id, http=http)
    return refusal.value


def test_an_actor_is_told_when_to_try_again(asker, outside):
    ask = asker(RateLimit("2/hour"), allow_all=True)
    session_id = ask.session()
    for _ in range(2):
        ask.token(session_id, http=outside("ada"))

    refusal = refused(ask, session_id, outside("ada"))

    assert (refusal.code, refusal.status) == ("rate_limited", 429)
    assert 0 < refusal.retry_after <= 3600
    assert str(refusal).endswith(f"2 per 1 hour; try again in {refusal.retry_after} s")
    assert ask.token(session_id, http=outside("bob"))


def test_who_is_not_identified_cannot_be_counted(asker, outside):
    ask = asker(RateLimit("2/hour"), allow_all=True)
    assert refused(ask, ask.session(), outside()).code == "not_identified"


def test_an_explanation_is_not_counted(asker, outside):
    ask = asker(RateLimit("1/hour"), allow_all=True)
    session_id, ada = ask.session(), outside("ada")

    assert ask.kit.explain_token(session_id, http=ada).allowed
    assert ask.token(session_id, http=ada)
    assert ask.kit.explain_token(session_id, http=ada).code == "rate_limited"


@pytest.mark.parametrize("name", ["before", "zzz later"])
def test_what_others_refuse_is_not_counted(asker, outside, name):
    class Closed:
        name: str
        open = True

        @hookimpl
        def rolecall_vote_session(self):
            return None if self.open else Deny("closed")

        @hookimpl
        def rolecall_vote_token(self):
            return None if self.open else Deny("closed")

    closed = Closed()
    closed.name = name
    ask = asker(RateLimit("2/hour"), closed, allow_all=True)
    session_id = ask.session()
    closed.open = False
    for _ in range(5):
        assert str(refused(ask, session_id, outside("ada"))) == "closed"
        with pytest.raises(PolicyDenied, match="closed"):
            ask.session(outside("ada"))
    closed.open = True

    for _ in range(2):
        assert ask.token(session_id, http=outside("ada"))
        assert ask.session(outside("ada"))
    assert refused(ask, session_id, outside("ada")).code == "rate_limited"


def test_what_exceeds_one_rate_counts_for_no_other(asker, outside):
    ask = asker(RateLimit("3/day; 1/hour", name="a"), RateLimit("2/day", per="session"), allow_all=True)
    session_id = ask.session()
    assert ask.token(session_id, http=outside("ada"))
    for _ in range(5):
        assert "1 per 1 hour" in str(refused(ask, session_id, outside("ada")))
    assert ask.token(session_id, http=outside("bob"))


def test_the_servers_own_code_is_not_limited(asker):
    ask = asker(RateLimit("1/hour", per="session"))
    session_id = ask.session()
    assert ask.token(session_id)
    assert ask.token(session_id)


def test_a_session_has_a_rate(asker, outside):
    ask = asker(RateLimit("1/hour", per="session"), allow_all=True)
    session_id = ask.session(outside("ada"))
    ask.token(session_id, http=outside("ada"))

    assert refused(ask, session_id, outside("bob")).code == "rate_limited"
    assert ask.token(ask.session(outside("ada")), http=outside("ada"))


def test_sessions_and_tokens_are_counted_apart(asker, outside):
    ask = asker(RateLimit("1/hour"), allow_all=True)
    session_id = ask.session(outside("ada"))

    with pytest.raises(PolicyDenied, match="too many"):
        ask.session(outside("ada"))
    assert ask.token(session_id, http=outside("ada"))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("198.51.100.1, 192.0.2.1", "203.0.113.9,192.0.2.1", True),  # what a client makes up stands before
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:0db8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("192.0.2.1:51812", "192.0.2.1:51813", True),
        ("192.0.2.1:51812", "192.0.2.1", True),
        ("192.0.2.1:51812", "192.0.2.2:51812", False),
        ("[2001:db8::1]:51812", "2001:db8::1", True),
        ("[2001:db8::1]", "[2001:db8::2]:1", True),
        ("[2001:db8::1]:51812", "[2001:db8:0:1::1]:51812", False),
        ("[::ffff:192.0.2.1]:51812", "192.0.2.1", True),
    ],
)
def test_an_address_has_a_rate(asker, outside, first, second, same):
    ask = asker(RateLimit("1/hour", per="address", address_header="X-Forwarded-For"), allow_all=True)
    session_id = ask.session()
    ask.token(session_id, http=outside(**{"x-forwarded-for": first}))

    again = outside(**{"x-forwarded-for": second})
    if same:
        assert refused(ask, session_id, again).code == "rate_limited"
    else:
        assert ask.token(session_id, http=again)


@pytest.mark.parametrize(
    ("trusted", "first", "second", "same"),
    [
        (1, "192.0.2.1, 198.51.100.1", "192.0.2.2, 198.51.100.1", True),
        (2, "192.0.2.1, 198.51.100.1", "192.0.2.2, 198.51.100.1", False),
        (2, "192.0.2.1, 198.51.100.1", "192.0.2.1:4711, 198.51.100.2", True),
        (2, "203.0.113.1, 192.0.2.1, 198.51.100.1", "203.0.113.2,192.0.2.1,198.51.100.1", True),
        (3, "192.0.2.1, unknown, 198.51.100.1", "192.0.2.1, unknown, 198.51.100.1", True),
    ],
)
def test_a_clients_address_is_the_one_that_the_first_of_ones_own_proxies_saw(
    asker, outside, trusted, first, second, same
):
    policy = RateLimit("1/hour", per="address", address_header="x-forwarded-for", trusted_proxies=trusted)
    ask = asker(policy, allow_all=True)
    session_id = ask.session()
    ask.token(session_id, http=outside(**{"x-forwarded-for": first}))

    again = outside(**{"x-forwarded-for": second})
    if same:
        assert refused(ask, session_id, again).code == "rate_limited"
    else:
        assert ask.token(session_id, http=again)


@pytest.mark.parametrize(
    ("trusted", "header"),
    [
        (1, None),
        (1, ""),
        (1, "192.0.2.1, unknown"),
        (1, "192.0.2.1,"),
        (1, "192.0.2.1:"),
        (1, "192.0.2.1:port"),
        (1, "192.0.2.1:123456"),
        (1, "[192.0.2.1"),
        (1, "[2001:db8::1]:"),
        (1, "[2001:db8::1]x"),
        (1, "2001:db8::1:51812"),
        (1, "192.0.2.1:1:2"),
        (2, "192.0.2.1"),  # it came past the first proxy
        (2, "unknown, 192.0.2.1"),
        (3, "192.0.2.1, 198.51.100.1"),
    ],
)
def test_without_an_address_nobody_comes_in(asker, outside, trusted, header):
    policy = RateLimit("1/hour", per="address", address_header="x-real-ip", trusted_proxies=trusted)
    ask = asker(policy, allow_all=True)
    refusal = refused(ask, ask.session(), outside("ada", **({} if header is None else {"x-real-ip": header})))
    assert (refusal.code, refusal.status) == ("unknown_address", 403)


def test_every_one_of_several_rates_holds(asker, outside):
    ask = asker(RateLimit("100/hour; 1/day"), allow_all=True)
    session_id = ask.session()
    ask.token(session_id, http=outside("ada"))
    assert "1 per 1 day" in str(refused(ask, session_id, outside("ada")))


def test_it_opens_no_door(asker, outside):
    ask = asker(RateLimit("9/hour"))
    assert refused(ask, ask.session(), outside("ada")).code == "policy_denied"
    with pytest.raises(PolicyDenied, match="no policy"):
        ask.session(outside("ada"))


def test_threads_never_get_one_too_many(asker, outside):
    ask = asker(RateLimit("7/hour"), allow_all=True)
    session_id = ask.session()

    def attempt(_):
        try:
            return ask.token(session_id, http=outside("ada")) is not None
        except PolicyDenied:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(60))) == 7


def test_a_moving_window_frees_each_place_at_its_own_time(asker, outside, clock):
    ask = asker(RateLimit("2/minute"), allow_all=True)
    session_id = ask.session()
    for _ in range(2):
        assert ask.token(session_id, http=outside("ada"))
        clock.now += 20
    refusal = refused(ask, session_id, outside("ada"))
    assert refusal.retry_after == 20
    clock.now += 20
    assert ask.token(session_id, http=outside("ada"))
    assert refused(ask, session_id, outside("ada")).retry_after == 20


def test_workers_share_their_counts(asker, outside, tmp_path):
    one, other = (asker(RateLimit("2/hour"), allow_all=True, store=f"sqlite:///{tmp_path}/app.db") for _ in range(2))
    session_id = one.session()
    for ask in (one, other):
        assert ask.token(session_id, http=outside("ada"))
    assert refused(one, session_id, outside("ada")).code == "rate_limited"


def test_a_store_that_is_down_refuses_the_request(asker, outside):
    store = Failing()
    ask = asker(RateLimit("9/hour"), allow_all=True, store=store)
    session_id = ask.session()
    assert ask.token(session_id, http=outside("ada"))

    store.down = True
    with pytest.raises(PolicyFault):
        ask.token(session_id, http=outside("ada"))
    with pytest.raises(PolicyFault):
        ask.session(outside("ada"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RateLimit("often"),
        lambda: RateLimit(""),
        lambda: RateLimit(untyped(5)),
        lambda: RateLimit("0/minute"),
        lambda: RateLimit("1/minute; nonsense"),
        lambda: RateLimit("1/minute", per="user"),
        lambda: RateLimit("1/minute", per=untyped(["actor"])),
        lambda: RateLimit("1/minute", per="address"),
        lambda: RateLimit("1/minute", address_header="x-real-ip"),
        lambda: RateLimit("1/minute", per="address", address_header=""),
        lambda: RateLimit("1/minute", per="address", address_header="Forwarded"),
        lambda: RateLimit("1/minute", per="address", address_header="x-real-ip", trusted_proxies=0),
        lambda: RateLimit("1/minute", per="address", address_header="x-real-ip", trusted_proxies=True),
        lambda: RateLimit("1/minute", per="address", address_header="x-real-ip", trusted_proxies=untyped("2")),
        lambda: RateLimit("1/minute", per="address", address_header="x-real-ip", trusted_proxies=untyped(None)),
        lambda: RateLimit("1/minute", trusted_proxies=2),
        lambda: RateLimit("1/minute", name=""),
    ],
)
def test_wrong_arguments_stop_start_up(make):
    with pytest.raises(ConfigurationError):
        make()


@pytest.mark.process
def test_nothing_is_imported_before_it_is_needed():
    code = (
        "import sys, rolecall.policies as p; p.AllowAnyone, p.RoleMap; "
        "sys.exit(any(name in sys.modules for name in ('limits', 'sqlite3', 'zoneinfo', 'tomllib')))"
    )
    # Coverage, which has itself imported in each process, imports sqlite3.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environ).returncode == 0
