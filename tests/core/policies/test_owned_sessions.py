"""OwnedSessions: who creates a session is its moderator."""

from __future__ import annotations

import pytest

from rolecall.errors import ConfigurationError, PolicyDenied, PolicyFault
from rolecall.policies import OwnedSessions

from ...untyped import untyped


@pytest.fixture(params=["memory", "file"])
def file(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "owners.db"


def test_the_creator_may_become_moderator_and_needs_no_other_policy(asker, outside, file):
    creators = asker(OwnedSessions(file=file), allow_all=True)
    session_id = creators.session(outside("ada"))
    assert creators.token(session_id, "moderator", outside("ada")).role == "moderator"


@pytest.mark.parametrize("who", [("bob",), ("bob", "teachers"), (), ("ADA",), ("ada ",)])
def test_others_are_limited(asker, outside, file, who):
    ask = asker(OwnedSessions(file=file), allow_all=True)
    session_id = ask.session(outside("ada"))

    assert ask.token(session_id, "publisher", outside(*who)).role == "publisher"
    assert ask.token(session_id, "moderator", outside(*who)).role == "publisher"


def test_others_need_a_policy_that_allows_them(asker, outside, file):
    ask = asker(OwnedSessions(file=file))
    with pytest.raises(PolicyDenied, match="no policy"):
        ask.token(ask.session(), "subscriber", outside("bob"))


def test_others_may_be_kept_out(asker, outside, file):
    ask = asker(OwnedSessions(others=None, file=file), allow_all=True)
    session_id = ask.session(outside("ada"))

    assert ask.token(session_id, "publisher", outside("ada"))
    for http in (outside("bob"), outside()):
        with pytest.raises(PolicyDenied) as refusal:
            ask.token(session_id, "subscriber", http)
        assert refusal.value.code == "not_the_owner"


def test_a_session_of_nobody_has_no_owner(asker, outside, file):
    ask = asker(OwnedSessions(others=None, file=file), allow_all=True)
    for session_id in (ask.session(), ask.session(outside())):
        with pytest.raises(PolicyDenied):
            ask.token(session_id, "subscriber", outside("ada"))


def test_the_servers_own_code_is_not_its_business(asker, outside, file):
    ask = asker(OwnedSessions(others=None, file=file), allow_all=True)
    assert ask.token(ask.session(outside("ada")), "moderator").role == "moderator"


def test_it_opens_no_door_to_sessions(asker, outside, file):
    with pytest.raises(PolicyDenied, match="no policy"):
        asker(OwnedSessions(file=file)).session(outside("ada"))


def test_workers_share_a_file(asker, outside, tmp_path):
    store, file = f"sqlite:///{tmp_path}/app.db", tmp_path / "app.db"
    one = asker(OwnedSessions(file=file), allow_all=True, store=store)
    other = asker(OwnedSessions(file=file), store=store)

    session_id = one.session(outside("ada"))

    assert other.token(session_id, "moderator", outside("ada")).role == "moderator"


def test_what_ends_is_forgotten(asker, outside):
    policy = OwnedSessions()
    ask = asker(policy, allow_all=True)
    session_id = ask.session(outside("ada"))
    ask.kit.end_session(session_id)
    assert policy._owner(session_id) is None


def test_a_file_that_is_lost_refuses_the_request(asker, outside, tmp_path):
    file = tmp_path / "owners.db"
    ask = asker(OwnedSessions(file=file), allow_all=True)
    session_id = ask.session(outside("ada"))
    file.write_bytes(b"no database " * 1000)

    with pytest.raises(PolicyFault):
        ask.token(session_id, "moderator", outside("ada"))


def test_who_could_not_be_remembered_owns_nothing(asker, outside, tmp_path, caplog):
    file = tmp_path / "owners.db"
    ask = asker(OwnedSessions(others=None, file=file), allow_all=True)
    content = file.read_bytes()
    file.write_bytes(b"no database " * 1000)
    session_id = ask.session(outside("ada"))
    file.write_bytes(content)

    with pytest.raises(PolicyDenied):
        ask.token(session_id, "moderator", outside("ada"))


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: OwnedSessions(others=untyped("owner")),
        lambda folder: OwnedSessions(others=untyped(1)),
        lambda folder: OwnedSessions(file=folder / "missing" / "owners.db"),
        lambda folder: OwnedSessions(name=untyped(None)),
    ],
)
def test_wrong_arguments_stop_start_up(make, tmp_path):
    with pytest.raises(ConfigurationError):
        make(tmp_path)
