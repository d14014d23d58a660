"""OwnedSessions: who creates a session is its moderator."""

from __future__ import annotations

import pytest

from rolecall.errors import ConfigurationError, PolicyDenied
from rolecall.policies import OwnedSessions

from ...untyped import untyped


def test_the_creator_may_become_moderator_and_needs_no_other_policy(asker, outside):
    creators = asker(OwnedSessions(), allow_all=True)
    session_id = creators.session(outside("ada"))
    assert creators.token(session_id, "moderator", outside("ada")).role == "moderator"


@pytest.mark.parametrize("who", [("bob",), ("bob", "teachers"), (), ("ADA",), ("adä",)])
def test_others_are_limited(asker, outside, who):
    ask = asker(OwnedSessions(), allow_all=True)
    session_id = ask.session(outside("ada"))

    assert ask.token(session_id, "publisher", outside(*who)).role == "publisher"
    assert ask.token(session_id, "moderator", outside(*who)).role == "publisher"


def test_others_need_a_policy_that_allows_them(asker, outside):
    ask = asker(OwnedSessions())
    with pytest.raises(PolicyDenied, match="no policy"):
        ask.token(ask.session(), "subscriber", outside("bob"))


def test_others_may_be_kept_out(asker, outside):
    ask = asker(OwnedSessions(others=None), allow_all=True)
    session_id = ask.session(outside("ada"))

    assert ask.token(session_id, "publisher", outside("ada"))
    for http in (outside("bob"), outside()):
        with pytest.raises(PolicyDenied) as refusal:
            ask.token(session_id, "subscriber", http)
        assert refusal.value.code == "not_the_owner"


def test_a_session_of_nobody_has_no_owner(asker, outside):
    ask = asker(OwnedSessions(others=None), allow_all=True)
    for session_id in (ask.session(), ask.session(outside())):
        with pytest.raises(PolicyDenied):
            ask.token(session_id, "subscriber", outside("ada"))


def test_the_servers_own_code_is_not_its_business(asker, outside):
    ask = asker(OwnedSessions(others=None), allow_all=True)
    assert ask.token(ask.session(outside("ada")), "moderator").role == "moderator"


def test_it_opens_no_door_to_sessions(asker, outside):
    with pytest.raises(PolicyDenied, match="no policy"):
        asker(OwnedSessions()).session(outside("ada"))


def test_workers_share_a_store(asker, outside, tmp_path):
    store = f"sqlite:///{tmp_path}/app.db"
    one = asker(OwnedSessions(), allow_all=True, store=store)
    other = asker(OwnedSessions(), store=store)

    session_id = one.session(outside("ada"))

    assert other.token(session_id, "moderator", outside("ada")).role == "moderator"


def test_a_session_that_was_there_before_the_policy_has_its_owner(asker, outside, tmp_path):
    store = f"sqlite:///{tmp_path}/app.db"
    session_id = asker(allow_all=True, store=store).session(outside("ada"))
    assert asker(OwnedSessions(), store=store).token(session_id, "moderator", outside("ada")).role == "moderator"


@pytest.mark.parametrize(
    "make",
    [
        lambda: OwnedSessions(others=untyped("owner")),
        lambda: OwnedSessions(others=untyped(1)),
        lambda: OwnedSessions(name=untyped(None)),
    ],
)
def test_wrong_arguments_stop_start_up(make):
    with pytest.raises(ConfigurationError):
        make()
