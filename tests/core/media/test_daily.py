"""Daily's meeting tokens: the permissions of roles, and what ends a connection."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall import Capability, Rolecall, RoleTable, inspect_token
from rolecall.errors import ConfigurationError, InvalidClaim, InvalidKey, RoleNotHeld
from rolecall.media import Daily

from ...sdk_tokens import API_KEY, API_SECRET
from ...waiting import PATIENCE
from .services import ABSENT, ALL, DOMAIN, EVERYTHING, NOW, SERVICES, VECTORS
from .stand_in import StandIn

pytestmark = pytest.mark.each_choice

KNOWN = SERVICES["daily"]


def permissions(sends: bool, receives: bool) -> dict[str, Any]:
    return {"cs": sends, "cr": {"b": receives}}


def test_a_minted_token_is_what_daily_says_byte_by_byte():
    label = "publisher only: receives nothing"
    [vector] = [one for one in VECTORS if one["service"] == "daily" and one["inputs"]["label"] == label]
    options = KNOWN.options("publisheronly", subject="u1", name="Alice", expires_at=NOW + 3600)
    assert KNOWN.form().mint(options)[0] == vector["token"]


ROLES = {
    "subscriber": permissions(False, True),
    "publisheronly": permissions(True, False),
    "publisher": permissions(True, True),
    "moderator": permissions(True, True),
}


@pytest.mark.parametrize("role", ROLES)
def test_a_token_says_each_permission_and_never_makes_an_owner(role):
    claims = inspect_token(KNOWN.form().mint(KNOWN.options(role))[0]).claims
    assert {**claims["p"], "cr": dict(claims["p"]["cr"])} == ROLES[role]
    assert claims.keys() == {"r", "d", "iat", "exp", "ud", "p"}


@pytest.mark.parametrize("role", ROLES)
def test_who_cannot_signal_gets_a_token_only_where_the_app_accepts_that_daily_lets_everybody(role):
    known = RoleTable().get(role)
    signals = Capability.SIGNAL in known.capabilities
    assert KNOWN.form().carries(known, known.capabilities) is signals
    assert KNOWN.form(accept_wider={role}).carries(known, known.capabilities)


READ: dict[str, tuple[dict[str, Any], str]] = {
    "no permissions": ({"p": ABSENT}, ALL),
    "empty permissions": ({"p": {}}, ALL),
    "sends video alone": ({"p.cs": "v"}, ALL),
    "sends nothing": ({"p.cs": ""}, "connect signal subscribe"),
    "receives audio alone": ({"p.cr.b": "a"}, ALL),
    "receives nothing": ({"p.cr.b": False}, "connect publish signal"),
    "receives some": ({"p.cr": {"b": False, "u": {"ben": True}}}, ALL),
    "neither": ({"p": permissions(False, False)}, "connect signal"),
    "no owner": ({"o": False}, ALL),
    "an owner, whose permissions do not count": ({"o": True, "p": permissions(False, False)}, EVERYTHING),
    "hidden": ({"p.hp": False}, ALL),
}


@pytest.mark.parametrize("name", READ)
def test_the_permissions_of_a_token_are_read(name):
    changes, capabilities = READ[name]
    if capabilities == "connect signal":  # less than any role
        with pytest.raises(InvalidClaim, match="at least one role"):
            KNOWN.form().verify(KNOWN.signed(changes), NOW)
        return
    grant = KNOWN.form().verify(KNOWN.signed(changes), NOW)
    assert " ".join(sorted(grant.capabilities)) == capabilities


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "owner as a number": ({"o": 1}, "o"),
    "owner as text": ({"o": "false"}, "o"),
    "permissions as text": ({"p": "cs"}, "p"),
    "no permissions at all": ({"p": None}, "p"),
    "sends a number": ({"p.cs": 0}, "p.cs"),
    "sends null": ({"p.cs": None}, "p.cs"),
    "receives a list": ({"p.cr.b": ["a"]}, "p.cr.b"),
    "receives as text": ({"p.cr": "b"}, "p"),
}


@pytest.mark.parametrize("name", WRONG)
def test_permissions_of_a_wrong_type_are_refused(name):
    changes, claim = WRONG[name]
    with pytest.raises(InvalidClaim, match=f"{claim} "):
        KNOWN.form().verify(KNOWN.signed(changes), NOW)


@pytest.fixture
def service():
    service = StandIn()
    service.script = [(200, {"privacy": "private"})]
    yield service
    service.stop()


@pytest.mark.parametrize(
    ("settings", "life", "ejects"),
    [
        ({}, 60, False),
        ({"eject_at_expiry": True}, 3600, True),
        ({"eject_at_expiry": True, "ticket_life": 600}, 600, True),
    ],
)
def test_daily_ends_a_connection_with_the_grant_where_the_app_says_so(make_kit, service, clock, settings, life, ejects):
    kit = make_kit(hook_timeout=PATIENCE, media=KNOWN.backend(api_url=service.url, **settings))
    session = kit.create_session()
    token = session.generate_token("publisher", actor="ada", expire_time=int(clock()) + 3600)
    ticket = kit.ticket(kit.verify_token(token))
    assert ticket.expires_at - int(clock()) == life
    assert inspect_token(ticket.token).claims.get("ejt", False) is ejects


def test_rooms_have_names_in_lower_case_and_tickets_their_urls(make_kit, service):
    kit = make_kit(hook_timeout=PATIENCE, media=KNOWN.backend(api_url=service.url))
    ticket = kit.ticket(kit.verify_token(kit.create_session().generate_token(actor="ada")))
    assert ticket.room.startswith("rc-")
    assert ticket.url == f"https://example.daily.co/{ticket.room}"
    assert [KNOWN.backend().room(name) for name in ("physics-1", "x" * 128)] == ["physics-1", "x" * 128]
    assert {KNOWN.backend().room(name)[:3] for name in ("Physics-1", "x" * 129, "a.b", "rc-1")} == {"rc-"}


def test_its_tokens_are_minted_without_a_ticket_for_sessions_with_plain_names(make_kit):
    kit = make_kit(media=KNOWN.backend(), format="daily", session_names="plain")
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token("publisher", actor="ada"), session.session_id)
    assert (grant.actor_id, grant.role) == ("ada", "publisher")
    with pytest.raises(RoleNotHeld, match="signal"):
        kit.ticket(grant._replace(role=RoleTable().get("subscriber"), capabilities=frozenset({"connect", "subscribe"})))
    with pytest.raises(ConfigurationError, match="session_names='plain'"):
        make_kit(media=KNOWN.backend(), format="daily")


VARIABLES = {
    "ROLECALL_API_KEY": API_KEY,
    "ROLECALL_API_SECRET": API_SECRET,
    "ROLECALL_MEDIA": "daily",
    "ROLECALL_DAILY_URL": "https://example.daily.co",
    "ROLECALL_DAILY_DOMAIN_ID": DOMAIN,
    "ROLECALL_DAILY_API_KEY": KNOWN.secret,
    "ROLECALL_DAILY_EJECT_AT_EXPIRY": "1",
    "ROLECALL_DAILY_ACCEPT_WIDER": "subscriber",
    "ROLECALL_DAILY_TIMEOUT": "1.5",
}


def test_the_environment_has_its_settings():
    with Rolecall.from_env(VARIABLES) as kit:
        backend, _ = kit._state.media._by_name["daily"]
        assert isinstance(backend, Daily)
        assert backend.eject_at_expiry
        assert backend.accept_wider == frozenset({"subscriber"})


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"eject_at_expiry": "yes"}, ConfigurationError, "eject_at_expiry is 'yes'"),
        ({"url": "wss://example.daily.co"}, ConfigurationError, "url is not the URL of a service"),
        ({"domain_id": ""}, ConfigurationError, "domain_id is missing"),
        ({"api_key": "ü" + KNOWN.secret}, InvalidKey, "no header"),
        ({"api_key": b"a\n" + KNOWN.secret.encode()}, InvalidKey, "no header"),
        ({"api_url": "api.daily.co"}, ConfigurationError, "api_url is not"),
    ],
)
def test_wrong_settings_stop_start_up(settings, error, message):
    with pytest.raises(error, match=message):
        Daily(**{"url": "https://example.daily.co", "domain_id": DOMAIN, "api_key": KNOWN.secret, **settings})
