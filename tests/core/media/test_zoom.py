"""Zoom's session tokens: hosts and participants, topics without capitals, and lives of 30 minutes at least."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall import Capability, Rolecall, RoleTable, inspect_token
from rolecall.errors import ConfigurationError, ExpiredToken, InvalidClaim, NoIdentity, RoleNotHeld, WrongTokenKind
from rolecall.media import Zoom

from ...sdk_tokens import API_KEY, API_SECRET
from .services import ABSENT, NOW, SERVICES, VECTORS

pytestmark = pytest.mark.each_choice

KNOWN = SERVICES["zoom"]
ZOOM_KEY = "throwawayZoomSdkKey0001"


def test_a_minted_token_is_that_of_zooms_endpoint_byte_by_byte():
    [vector] = [one for one in VECTORS if one["inputs"]["label"] == "identity of 35"]
    options = KNOWN.options(session_id="d", subject="x" * 35, expires_at=NOW + 7200)
    assert KNOWN.form().mint(options)[0] == vector["token"]


@pytest.mark.parametrize(
    ("role", "role_type", "wider"),
    [
        ("subscriber", 0, "publish signal"),
        ("publisheronly", 0, "signal subscribe"),
        ("publisher", 0, ""),
        ("moderator", 1, ""),
    ],
)
def test_a_moderator_is_a_host_and_all_others_are_participants(role, role_type, wider):
    known = RoleTable().get(role)
    assert inspect_token(KNOWN.form().mint(KNOWN.options(role))[0]).claims["role_type"] == role_type
    assert " ".join(sorted(KNOWN.backend().wider(known, known.capabilities))) == wider
    assert KNOWN.form().carries(known, known.capabilities) is (wider == "")
    assert KNOWN.form(accept_wider={role}).carries(known, known.capabilities)


def test_half_a_moderator_would_be_a_whole_host():
    moderator = RoleTable().get("moderator")
    less = moderator.capabilities - {Capability.FORCE_UNPUBLISH}
    assert KNOWN.backend().wider(moderator, less) == {Capability.FORCE_UNPUBLISH}


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no role": ({"role_type": ABSENT}, InvalidClaim, "role_type"),
    "a role as text": ({"role_type": "1"}, InvalidClaim, "role_type"),
    "a role that is true": ({"role_type": True}, InvalidClaim, "role_type"),
    "another role": ({"role_type": 2}, InvalidClaim, "role_type"),
    "another version": ({"version": 2}, WrongTokenKind, "version"),
    "no version": ({"version": ABSENT}, WrongTokenKind, "version"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_token_that_is_not_a_participants_is_refused(name):
    changes, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        KNOWN.form().verify(KNOWN.signed(changes), NOW)


def test_topics_that_differ_in_capitals_are_one_room():
    assert KNOWN.form().verify(KNOWN.signed({"tpc": "Demo"}), NOW).session_id == "demo"
    rooms = [KNOWN.backend().room(name) for name in ("demo", "Demo", "x" * 200, "x" * 201, "rc-demo")]
    assert rooms[0] == "demo"
    assert rooms[2] == "x" * 200
    assert {room[:3] for room in (rooms[1], rooms[3], rooms[4])} == {"rc-"}
    assert len(set(rooms)) == len(rooms)


def test_a_ticket_lives_for_half_an_hour_and_its_grant_stands_as_long(make_kit, clock):
    kit = make_kit(media=KNOWN.backend())
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token("publisher", actor="ada", expire_time=int(clock()) + 1800))
    assert kit.ticket(grant).expires_at == int(clock()) + 1800
    clock.now += 1
    with pytest.raises(ExpiredToken, match="before the shortest ticket of zoom"):
        kit.ticket(grant)
    with pytest.raises(ConfigurationError, match="ticket_life is 60"):
        KNOWN.backend(ticket_life=60)


def test_an_identity_has_35_bytes_at_most(make_kit):
    kit = make_kit(media=KNOWN.backend())
    session = kit.create_session()
    assert kit.ticket(kit.verify_token(session.generate_token(actor="x" * 35))).identity == "x" * 35
    with pytest.raises(NoIdentity, match="at most 35"):
        kit.ticket(kit.verify_token(session.generate_token(actor="x" * 36)))


def test_its_tokens_are_minted_without_a_ticket_for_sessions_with_plain_names(make_kit):
    kit = make_kit(media=KNOWN.backend(), format="zoom", session_names="plain")
    session = kit.create_session()
    assert kit.verify_token(session.generate_token("moderator", actor="ada"), session).role == "moderator"
    reader = make_kit(media=KNOWN.backend(), accept=["opentok", "zoom"])
    token = reader.create_session().generate_token("subscriber", actor="ada")
    with pytest.raises(RoleNotHeld, match="publish, signal"):
        reader.ticket(reader.verify_token(token))


VARIABLES = {
    "ROLECALL_API_KEY": API_KEY,
    "ROLECALL_API_SECRET": API_SECRET,
    "ROLECALL_MEDIA": "zoom",
    "ROLECALL_ZOOM_SDK_KEY": ZOOM_KEY,
    "ROLECALL_ZOOM_SDK_SECRET": KNOWN.secret,
    "ROLECALL_ZOOM_TICKET_LIFE": "3600",
}


def test_the_environment_has_its_settings():
    with Rolecall.from_env(VARIABLES) as kit:
        backend, _ = kit._state.media._by_name["zoom"]
        assert isinstance(backend, Zoom)
        assert backend.ticket_life == 3600


@pytest.mark.parametrize("key", ["", None, 7, "two words"])
def test_a_wrong_key_stops_start_up(key):
    with pytest.raises(ConfigurationError, match="sdk_key is missing or malformed"):
        Zoom(key, KNOWN.secret)
