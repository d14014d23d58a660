"""Stream's call tokens: roles by the app's map, and never a token without a user, which is the app's own key."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall import Capability, Rolecall, RoleTable, hookimpl, inspect_token
from rolecall.errors import ConfigurationError, InvalidClaim, InvalidRole, NoMediaService, RoleNotHeld, WrongTokenKind
from rolecall.media import Stream
from rolecall.policy import Allow

from ...sdk_tokens import API_KEY, API_SECRET
from ...waiting import PATIENCE
from .services import ABSENT, ALL, EVERYTHING, NAMES, NOW, SERVICES, VECTORS
from .stand_in import StandIn

pytestmark = pytest.mark.each_choice

KNOWN = SERVICES["stream"]


def test_a_minted_token_is_the_sdks_byte_by_byte():
    [vector] = [one for one in VECTORS if one["inputs"]["label"] == "call token: role and calls"]
    assert KNOWN.form().mint(KNOWN.options(expires_at=NOW + 3600))[0] == vector["token"]


@pytest.mark.parametrize("role", NAMES)
def test_a_role_has_the_apps_name_for_it(role):
    token = KNOWN.form().mint(KNOWN.options(role))[0]
    assert inspect_token(token).claims["role"] == NAMES[role]
    assert KNOWN.form().verify(token.encode(), NOW).role == role


READ: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "viewer": ({"role": "viewer"}, NAMES, "connect subscribe"),
    "admin": ({"role": "admin"}, NAMES, EVERYTHING),
    "one name for two roles": ({"role": "host"}, {"publisher": "host", "moderator": "host"}, ALL),
    "one name for roles without order": (
        {"role": "member"},
        {"publisher": "member", "subscriber": "member"},
        "connect subscribe",
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_name_is_read_as_what_its_roles_have_in_common(name):
    changes, roles, capabilities = READ[name]
    grant = KNOWN.form(roles=roles).verify(KNOWN.signed(changes), NOW)
    assert " ".join(sorted(grant.capabilities)) == capabilities


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a name that the app does not have": ({"role": "guest"}, InvalidClaim, "role"),
    "no role": ({"role": ABSENT}, InvalidClaim, "role"),
    "role as a list": ({"role": ["host"]}, InvalidClaim, "role"),
    "no call": ({"call_cids": []}, InvalidClaim, "one call"),
    "two calls": ({"call_cids": ["default:demo", "default:other"]}, InvalidClaim, "one call"),
    "a call as text": ({"call_cids": "default:demo"}, InvalidClaim, "one call"),
    "a call of another type": ({"call_cids": ["livestream:demo"]}, InvalidClaim, "type 'default'"),
    "a call without an id": ({"call_cids": ["default:"]}, InvalidClaim, "call_cids"),
    "for all calls": ({"call_cids": ABSENT}, WrongTokenKind, "not for a call"),
    "the server's": ({"server": True}, WrongTokenKind, "own key"),
    "perhaps the server's": ({"server": False}, WrongTokenKind, "own key"),
    "the server's in Python": (dict.fromkeys(KNOWN.claims, ABSENT), WrongTokenKind, "not for a call"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_token_that_is_not_a_users_for_one_call_is_refused(name):
    changes, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        KNOWN.form().verify(KNOWN.signed(changes), NOW)


@pytest.fixture
def service():
    service = StandIn()
    yield service
    service.stop()


def test_what_is_minted_is_read():
    options = KNOWN.options(subject="Ada_1-2@example")
    token, token_id = KNOWN.form().mint(options)
    grant = KNOWN.form().verify(token.encode(), NOW)
    assert (grant.actor_id, grant.expires_at, grant.token_id) == (options.subject, options.expires_at, token_id)


def test_a_role_without_a_name_gets_no_ticket(make_kit, service):
    kit = make_kit(hook_timeout=PATIENCE, media=KNOWN.backend(api_url=service.url))
    with pytest.raises(RoleNotHeld, match="no name for the role 'publisheronly'"):
        kit.ticket(kit.verify_token(kit.create_session().generate_token("publisheronly", actor="ada")))
    direct = make_kit(media=KNOWN.backend(), format="stream", session_names="plain")
    with pytest.raises(InvalidRole):
        direct.create_session().generate_token("publisheronly", actor="ada")
    session = direct.create_session()
    assert direct.verify_token(session.generate_token("moderator", actor="ada"), session).role == "moderator"


def test_a_name_does_not_hold_less_than_its_role():
    publisher = RoleTable().get("publisher")
    less = publisher.capabilities - {Capability.SIGNAL}
    assert KNOWN.backend().wider(publisher, less) == {Capability.SIGNAL}
    assert KNOWN.backend(accept_wider={"publisher"}).wider(publisher, less) == frozenset()
    assert KNOWN.backend().wider(publisher, publisher.capabilities) == frozenset()


def test_a_grant_that_policies_have_narrowed_gets_the_name_of_a_lesser_role(make_kit, service):
    class Quiet:
        @hookimpl
        def rolecall_vote_token(self, request: Any) -> Allow:
            return Allow(capabilities=["connect", "subscribe", "publish"])

    kit = make_kit(hook_timeout=PATIENCE, media=KNOWN.backend(api_url=service.url), plugins=[Quiet()])
    ticket = kit.ticket(kit.verify_token(kit.create_session().generate_token("publisher", actor="ada")))
    assert inspect_token(ticket.token).claims["role"] == "viewer"


def test_those_to_come_are_not_muted_so_all_are_only_where_the_app_takes_that_for_all(make_kit, service):
    kit = make_kit(hook_timeout=PATIENCE, media=KNOWN.backend(api_url=service.url, accept_emulated=()))
    with pytest.raises(NoMediaService, match="those to come"):
        kit.mute_all(kit.create_session())
    assert service.calls == []


def test_each_call_has_a_credential_for_a_minute_that_is_the_servers(make_kit, service, clock):
    kit = make_kit(hook_timeout=PATIENCE, media=KNOWN.backend(api_url=service.url, clock=clock))
    kit.force_disconnect(kit.create_session(), "ada")
    [asked] = service.asked
    read = inspect_token(asked.headers["authorization"])
    assert dict(read.claims) == {"server": True, "iat": int(clock()) - 5, "exp": int(clock()) + 60}
    with pytest.raises(WrongTokenKind, match="own key"):
        KNOWN.form().verify(asked.headers["authorization"].encode(), clock())


VARIABLES = {
    "ROLECALL_API_KEY": API_KEY,
    "ROLECALL_API_SECRET": API_SECRET,
    "ROLECALL_MEDIA": "stream",
    "ROLECALL_STREAM_API_KEY": "throwawaykey1",
    "ROLECALL_STREAM_API_SECRET": KNOWN.secret,
    "ROLECALL_STREAM_ROLES": '{"publisher": "host", "subscriber": "viewer"}',
    "ROLECALL_STREAM_CALL_TYPE": "livestream",
}


def test_the_environment_has_its_settings():
    with Rolecall.from_env(VARIABLES) as kit:
        backend, _ = kit._state.media._by_name["stream"]
        assert isinstance(backend, Stream)
        assert backend.call_type == "livestream"
        assert backend.roles == {"publisher": "host", "subscriber": "viewer"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"roles": {}}, "roles is"),
        ({"roles": "host"}, "roles is of type|roles is a text"),
        ({"roles": {"publisher": ""}}, "roles has ''"),
        ({"roles": {"publisher": 7}}, "roles has 7"),
        ({"roles": {"publisher": 'x"'}}, "roles has"),
        ({"accept_emulated": {"signal"}}, "accept_emulated has 'signal'; expected"),
        ({"call_type": "a:b"}, "call_type is malformed"),
        ({"server_user": ""}, "server_user is malformed"),
        ({"api_key": ""}, "api_key is missing"),
    ],
)
def test_wrong_settings_stop_start_up(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        Stream(**{"api_key": "throwawaykey1", "api_secret": KNOWN.secret, "roles": NAMES, **settings})


def test_a_map_of_roles_that_the_kit_does_not_have_stops_start_up(make_kit):
    with pytest.raises(ConfigurationError, match="'teacher', which is no role of this kit"):
        make_kit(media=KNOWN.backend(roles={"teacher": "host"}))
    assert RoleTable().find("teacher") is None
