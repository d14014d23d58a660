"""100ms's auth tokens: roles by the app's map, and rooms by their ids at 100ms."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall import Rolecall, inspect_token
from rolecall.errors import ConfigurationError, InvalidClaim, InvalidSessionId, RoleNotHeld, WrongTokenKind
from rolecall.media import HundredMs

from ...sdk_tokens import API_KEY, API_SECRET
from ...waiting import PATIENCE
from .services import ABSENT, HMS_KEY, NAMES, NOW, SERVICES, VECTORS
from .stand_in import StandIn

pytestmark = pytest.mark.each_choice

KNOWN = SERVICES["100ms"]
ROOM = "650000000000000000000001"


@pytest.fixture
def service():
    service = StandIn()
    service.script = [(200, {"id": ROOM})]
    yield service
    service.stop()


def test_a_minted_token_has_what_the_sdk_writes_and_an_id_of_its_own():
    [vector] = [one for one in VECTORS if one["inputs"]["label"] == "auth token, host"]
    options = KNOWN.options(session_id=ROOM, expires_at=NOW - 10 + 86_400)
    ours = [dict(inspect_token(KNOWN.form().mint(options)[0]).claims) for _ in range(2)]
    assert [*ours[0]] == [*vector["claims"]]
    ids = {one.pop("jti") for one in ours}
    assert len(ids) == 2
    assert all(len(one) == len(vector["claims"]["jti"]) for one in ids)
    assert ours == [{name: value for name, value in vector["claims"].items() if name != "jti"}] * 2


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a management token": ({"type": "management"}, WrongTokenKind, "not for a client"),
    "another version": ({"version": 1}, WrongTokenKind, "not for a client"),
    "a version as text": ({"version": "2"}, WrongTokenKind, "not for a client"),
    "no type": ({"type": ABSENT}, WrongTokenKind, "not for a client"),
    "a name that the app does not have": ({"role": "guest"}, InvalidClaim, "role"),
    "no role": ({"role": ABSENT}, InvalidClaim, "role"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_token_that_is_not_a_users_for_one_room_is_refused(name):
    changes, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        KNOWN.form().verify(KNOWN.signed(changes), NOW)


def test_a_role_without_a_name_gets_no_ticket(make_kit, service):
    kit = make_kit(hook_timeout=PATIENCE, media=KNOWN.backend(api_url=service.url))
    with pytest.raises(RoleNotHeld, match="no name for the role 'publisheronly'"):
        kit.ticket(kit.verify_token(kit.create_session().generate_token("publisheronly", actor="ada")))
    assert service.calls == []


def test_a_kit_that_starts_again_finds_the_room_by_its_name(make_kit, service):
    backends = [KNOWN.backend(api_url=service.url, template_id="t1") for _ in range(2)]
    kits = [make_kit(hook_timeout=PATIENCE, media=backend) for backend in backends]
    session_id = kits[0].create_session().session_id
    for kit in kits:
        assert kit.ticket(kit.verify_token(kit.generate_token(session_id, actor="ada"))).room == ROOM
    name = KNOWN.backend().room(session_id)
    assert name.startswith("rc-")
    assert service.calls == [("POST", "/rooms", {"name": name, "template_id": "t1"})] * 2


def test_no_token_can_name_a_session_so_there_are_tickets_alone(make_kit):
    with pytest.raises(ConfigurationError, match="leave format out"):
        make_kit(media=KNOWN.backend(), format="100ms", session_names="plain")
    assert KNOWN.backend().session_of(ROOM) is None


def test_a_session_whose_id_could_be_a_rooms_has_no_room_so_that_its_tokens_are_no_others(make_kit):
    kit = make_kit(media=KNOWN.backend())
    grant = kit.verify_token(kit.create_session().generate_token(actor="ada"))
    with pytest.raises(InvalidSessionId, match="the form of 100ms's ids"):
        kit.ticket(grant._replace(session_id=ROOM))
    for room in ("demo", "rc-" + "0" * 40, ROOM.upper() + "A", ROOM + "0"):
        with pytest.raises(InvalidClaim, match="room_id"):
            KNOWN.form().verify(KNOWN.signed({"room_id": room}), NOW)


def test_each_call_has_a_credential_of_its_own_for_a_minute(make_kit, service, clock):
    kit = make_kit(hook_timeout=PATIENCE, media=KNOWN.backend(api_url=service.url, clock=clock))
    kit.force_disconnect(kit.create_session(), "p1")
    read = [inspect_token(asked.headers["authorization"].removeprefix("Bearer ")).claims for asked in service.asked]
    assert len({claims["jti"] for claims in read}) == 2
    for claims in read:
        assert (claims["access_key"], claims["type"], claims["version"]) == (HMS_KEY, "management", 2)
        assert claims["iat"] == claims["nbf"] == int(clock()) - 10
        assert claims["exp"] == int(clock()) + 60


VARIABLES = {
    "ROLECALL_API_KEY": API_KEY,
    "ROLECALL_API_SECRET": API_SECRET,
    "ROLECALL_MEDIA": "100ms",
    "ROLECALL_100MS_ACCESS_KEY": HMS_KEY,
    "ROLECALL_100MS_APP_SECRET": KNOWN.secret,
    "ROLECALL_100MS_ROLES": '{"publisher": "host"}',
}


def test_the_environment_has_its_settings():
    with Rolecall.from_env(VARIABLES) as kit:
        backend, _ = kit._state.media._by_name["100ms"]
        assert isinstance(backend, HundredMs)
        assert backend.roles == {"publisher": "host"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"template_id": "a/b"}, "template_id is malformed"),
        ({"access_key": None}, "access_key is missing"),
        ({"roles": None}, "roles is"),
    ],
)
def test_wrong_settings_stop_start_up(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        HundredMs(**{"access_key": HMS_KEY, "app_secret": KNOWN.secret, "roles": NAMES, **settings})
