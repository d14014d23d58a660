"""Twilio's access tokens: equal to the SDK's, and for one room of one account in the region that has Video."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall import Rolecall, RoleTable, inspect_token
from rolecall.errors import ConfigurationError, InvalidClaim, RoleNotHeld, WrongTokenKind
from rolecall.media import Twilio

from ...sdk_tokens import API_KEY, API_SECRET
from .services import ABSENT, ACCOUNT, NOW, SERVICES, TWILIO_KEY, VECTORS

pytestmark = pytest.mark.each_choice

KNOWN = SERVICES["twilio"]


def test_a_minted_token_is_the_sdks_byte_by_byte():
    [vector] = [
        one for one in VECTORS if one["sdk"] == "twilio (npm)" and one["inputs"]["label"] == "video grant for one room"
    ]
    assert KNOWN.form().mint(KNOWN.options(expires_at=NOW + 3600))[0] == vector["token"]


def test_a_minted_token_has_what_the_sdk_for_python_writes():
    [vector] = [one for one in VECTORS if one["sdk"] == "twilio (PyPI)" and one["inputs"]["label"] == "24 hours"]
    read = inspect_token(KNOWN.form().mint(KNOWN.options(expires_at=NOW + 86_400))[0])
    theirs = dict(vector["claims"])
    assert theirs.pop("nbf") == read.claims["iat"]
    assert {**read.claims, "grants": None} == {**theirs, "grants": None, "iat": NOW}
    assert {**read.claims["grants"], "video": dict(read.claims["grants"]["video"])} == theirs["grants"]
    assert read.header == vector["header"]


@pytest.mark.parametrize("role", ["subscriber", "publisheronly", "publisher", "moderator"])
def test_everybody_is_a_participant_so_lesser_roles_are_for_the_app_to_accept(make_kit, role):
    kit = make_kit(media=KNOWN.backend())
    grant = kit.verify_token(kit.create_session().generate_token(role, actor="ada"))
    if role in ("publisher", "moderator"):
        assert kit.ticket(grant).identity == "ada"
    else:
        with pytest.raises(RoleNotHeld, match="signal"):
            kit.ticket(grant)
    known = RoleTable().get(role)
    assert KNOWN.form(accept_wider={role}).carries(known, known.capabilities)


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = {
    "of another account": ({"sub": "AC" + "f" * 32}, {}, InvalidClaim, "account"),
    "of no account": ({"sub": ABSENT}, {}, InvalidClaim, "account"),
    "for any room": ({"grants.video": {}}, {}, InvalidClaim, r"grants\.video\.room"),
    "for chat": ({"grants": {"identity": "alice", "chat": {}}}, {}, WrongTokenKind, "not for a client of Video"),
    "grants as text": ({"grants": "video"}, {}, WrongTokenKind, "not for a client of Video"),
    "without a content type": ({}, {"cty": ABSENT}, WrongTokenKind, "cty"),
    "of another content type": ({}, {"cty": "twilio-fpa;v=2"}, WrongTokenKind, "cty"),
    "of another region": ({}, {"twr": "ie1"}, WrongTokenKind, "region 'ie1'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_token_that_is_not_for_a_room_is_refused(name):
    changes, header, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        KNOWN.form().verify(KNOWN.signed(changes, **header), NOW)


def test_a_token_that_names_the_region_of_video_is_read():
    assert KNOWN.form().verify(KNOWN.signed(twr="us1"), NOW).actor_id == "alice"


def test_two_tokens_of_one_second_are_told_apart_by_their_content():
    form = KNOWN.form()
    ids = {form.mint(KNOWN.options(subject=subject))[1] for subject in ("ada", "ben")}
    assert len(ids) == 2


VARIABLES = {
    "ROLECALL_API_KEY": API_KEY,
    "ROLECALL_API_SECRET": API_SECRET,
    "ROLECALL_MEDIA": "twilio",
    "ROLECALL_TWILIO_ACCOUNT_SID": ACCOUNT,
    "ROLECALL_TWILIO_API_KEY": TWILIO_KEY,
    "ROLECALL_TWILIO_API_SECRET": KNOWN.secret,
    "ROLECALL_TWILIO_ROOM_TYPE": "group",
}


def test_the_environment_has_its_settings():
    with Rolecall.from_env(VARIABLES) as kit:
        backend, _ = kit._state.media._by_name["twilio"]
        assert (backend.opens_rooms, Twilio.opens_rooms, backend.url) == (
            True,
            False,
            "wss://global.vss.twilio.com/signaling",
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"account_sid": TWILIO_KEY}, "account_sid is malformed"),
        ({"account_sid": None}, "account_sid is malformed"),
        ({"api_key": ACCOUNT}, "api_key is missing or malformed"),
        ({"room_type": "big"}, "room_type is 'big'"),
        ({"ticket_life": 86_401}, "ticket_life is 86401"),
    ],
)
def test_wrong_settings_stop_start_up(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        Twilio(**{"account_sid": ACCOUNT, "api_key": TWILIO_KEY, "api_secret": KNOWN.secret, **settings})
