"""A media service's tokens as the kit's own: minted without a ticket, and read at the app's doors."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.api import TokenVerifier

from rolecall import Actor, Capability, Role
from rolecall.driver import drive
from rolecall.errors import (
    BadSignature,
    ConfigurationError,
    InvalidClaim,
    InvalidExpireTime,
    InvalidRole,
    InvalidSessionId,
    InvalidToken,
    NoIdentity,
    RevokedToken,
)
from rolecall.media import LiveKit
from rolecall.tokens import TokenOptions

KEY, SECRET = "APIrolecallTest1", "throwaway-livekit-secret-0123456789abcdefABCDEF"


class Stage(LiveKit):
    """A service that makes a participant of everybody, with rooms of letters and digits, tokens of up to an hour."""

    shortest_life, longest_life = 60, 3600

    def room(self, session_id: str) -> str:
        return session_id if session_id.isalnum() else f"room{len(session_id)}"

    def granted(self, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        return capabilities | {Capability.SUBSCRIBE, Capability.PUBLISH, Capability.SIGNAL}


def livekit(made: Any = LiveKit, **settings: Any) -> LiveKit:
    backend: LiveKit = made("wss://media.example", KEY, SECRET, **settings)
    return backend


def test_the_services_tokens_are_minted_without_a_ticket_and_read_at_the_apps_doors(make_kit):
    kit = make_kit(media=livekit(), format="livekit")
    session = kit.create_session()
    token = session.generate_token("subscriber", actor=Actor("ada", attributes={"name": "Ada"}))
    read = TokenVerifier(KEY, SECRET).verify(token, verify_signature=False)
    assert (read.identity, read.name, read.video and read.video.room) == ("ada", "Ada", session.session_id)
    grant = kit.verify_token(token, session.session_id)
    assert (grant.role, grant.actor_id, grant.session_id) == ("subscriber", "ada", session.session_id)
    assert kit.verify_token(token) == grant  # seen before


def test_both_formats_are_told_apart_by_what_a_token_holds(make_kit):
    kit = make_kit(media=livekit(), accept=["opentok", "livekit"])
    session = kit.create_session()
    own = session.generate_token("moderator", actor="ada")
    ticket = kit.ticket(kit.verify_token(own))
    read = kit.verify_token(ticket.token)
    # A ticket never has an admin's grant, so its bearer is a publisher at the app's doors.
    assert (kit.verify_token(own).role, read.role, read.session_id) == ("moderator", "publisher", session.session_id)
    other = LiveKit("wss://media.example", KEY, "x" + SECRET).token_format(kit.engine.state.rules)
    forged, _ = other.mint(
        kit.engine._options(
            session.session_id, kit.engine.state.api_key, "publisher", None, None, (), other, kit.engine.state.clock()
        )._replace(subject="ada")
    )
    with pytest.raises(BadSignature):
        kit.verify_token(forged)


def test_a_room_that_no_session_can_have_is_refused_as_a_claim(make_kit):
    kit = make_kit(media=livekit(), accept=["opentok", "livekit"])
    mine = kit.engine.state.media.format("livekit")
    token, _ = mine.mint(TokenOptions("é" * 200, Role.PUBLISHER, 1_795_186_800, 1_795_186_860, subject="ada"))
    with pytest.raises(InvalidClaim, match=r"video\.room"):
        kit.verify_token(token)


def test_the_services_tokens_are_good_for_the_sessions_of_each_project(make_kit):
    projects = {"7654321": "0" * 31 + "9f8e7d6c5b4a"}
    kit = make_kit(media=livekit(), accept=["opentok", "livekit"], projects=projects)
    for api_key in (None, "7654321"):
        session = kit.create_session(api_key=api_key)
        ticket = kit.ticket(kit.verify_token(session.generate_token(actor="ada")))
        assert kit.verify_token(ticket.token, session.session_id).actor_id == "ada"


def test_a_kit_reads_no_tokens_of_its_service_unless_it_is_told_so(make_kit):
    kit = make_kit(media=livekit())
    ticket = kit.ticket(kit.verify_token(kit.create_session().generate_token(actor="ada")))
    with pytest.raises(InvalidToken):
        kit.verify_token(ticket.token)


@pytest.mark.parametrize("taken_back", ["excluded", "ended", "revoked"])
def test_what_is_taken_back_is_refused_at_the_apps_doors(make_kit, taken_back):
    kit = make_kit(media=livekit(api_url="http://127.0.0.1:9"), format="livekit")
    session = kit.create_session()
    token = session.generate_token(actor="ada")
    match taken_back:
        case "excluded":
            kit.exclude(session.session_id, "ada")
        case "ended":
            kit.end_session(session.session_id)
        case _:
            kit.revoke_token(token)
    with pytest.raises(RevokedToken):
        kit.verify_token(token)


@pytest.mark.parametrize("taken_back", ["actor", "reset", "project"])
def test_a_token_that_does_not_say_when_it_was_issued_is_none_of_after(make_kit, clock, taken_back):
    kit = make_kit(media=livekit(), accept=["opentok", "livekit"])
    session = kit.create_session()
    match taken_back:
        case "actor":
            kit.revoke_actor("ada")
        case "reset":
            kit.reset_session(session.session_id)
        case _:
            kit.revoke_before()
    clock.now += 3600
    own = kit.verify_token(session.generate_token(actor="ada"))
    # The server renews the tokens of those who have joined, so one of its own could be of before.
    with pytest.raises(RevokedToken):
        kit.verify_token(kit.ticket(own).token)


def test_a_token_for_nobody_is_not_minted(make_kit):
    kit = make_kit(media=livekit(), format="livekit")
    with pytest.raises(NoIdentity, match="actor="):
        kit.create_session().generate_token()


def test_a_role_that_the_service_cannot_hold_is_refused_with_what_it_would_grant(make_kit):
    kit = make_kit(media=livekit(Stage), format="livekit", session_names="plain")
    with pytest.raises(InvalidRole, match=r"it would grant publish, signal, too, .*can hold are publisher, moderator"):
        kit.generate_token("stage", "subscriber", actor="ada")
    stage = livekit(Stage, accept_wider={"subscriber"})
    accepting = make_kit(media=stage, format="livekit", session_names="plain")
    assert accepting.verify_token(accepting.generate_token("stage", "subscriber", actor="ada")).role == "subscriber"


def test_a_session_that_a_token_cannot_name_is_refused(make_kit):
    kit = make_kit(media=livekit(Stage), format="livekit", session_names="plain")
    with pytest.raises(InvalidSessionId, match="can name this session: give its sessions plain names"):
        kit.generate_token("room-1", actor="ada")


def test_a_kit_whose_sessions_no_token_can_name_stops_start_up(make_kit):
    with pytest.raises(ConfigurationError, match="session_names='plain', or mint its tokens as tickets"):
        make_kit(media=livekit(Stage), format="livekit")


def test_such_a_kit_is_ready(make_kit):
    assert drive(make_kit(media=livekit(), format="livekit").engine.broken_parts()) == ()


def test_the_services_lives_are_the_formats(make_kit, clock):
    kit = make_kit(media=livekit(Stage), format="livekit", session_names="plain")
    for life in (59, 3601):
        with pytest.raises(InvalidExpireTime, match="expire_time"):
            kit.generate_token("stage", expire_time=clock() + life, actor="ada")
    assert kit.verify_token(kit.generate_token("stage", expire_time=clock() + 3600, actor="ada"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "livekit"}, "'livekit' does not exist"),
        ({"format": "livekit", "media": livekit(), "actor_claim": False}, "media needs tokens that say for whom"),
        ({"format": "t1", "media": livekit()}, "media needs tokens that say for whom"),
        ({"format": "livekit", "accept": ["opentok"]}, "'livekit' does not exist"),
        ({"format": "livekit", "accept": ["opentok"], "media": livekit()}, "could not verify its own tokens"),
        (
            {"format": "livekit", "media": livekit(), "projects": {"7654321": "0" * 31 + "9f8e7d6c5b4a"}},
            "one issuer alone",
        ),
    ],
)
def test_a_format_whose_service_the_kit_lacks_stops_start_up(make_kit, options, message):
    with pytest.raises(ConfigurationError, match=message):
        make_kit(**options)
