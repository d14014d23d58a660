"""Tokens of Jitsi Meet: what is minted and how prosody reads it, what is verified, and what is refused."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from rolecall import Capability, Role, Rolecall, RoleTable
from rolecall.errors import ConfigurationError, InvalidClaim, NoMediaService, RoleNotHeld, UnknownKey, WrongTokenKind
from rolecall.formats.claims import ClaimRules
from rolecall.keys.making import pem_of
from rolecall.media import Jitsi
from rolecall.tokens import TokenOptions

from ...sdk_tokens import API_KEY, API_SECRET
from ...tracebacks import held_by
from .prosody import Hangs, Prosody, Refused
from .services import ABSENT, NOW, SERVICES, VECTORS

KNOWN = SERVICES["jitsi"]
TOKENS = {one["inputs"]["label"]: one for one in VECTORS if one["service"] == "jitsi"}
pytestmark = pytest.mark.each_choice

URL, APP, SECRET = "https://meet.test", "rolecall-app", KNOWN.secret
PROSODY = Prosody("meet.test", APP, SECRET)
PEM = pem_of(rsa.generate_private_key(65537, 2048)).decode()


def jitsi(**options: Any) -> Jitsi:
    return Jitsi(URL, APP, **{"app_secret": SECRET, **options})


def jitsi_format(backend: Jitsi | None = None) -> Any:
    return (backend or jitsi()).token_format(ClaimRules(RoleTable(), 10))


FORM = jitsi_format()


def options(role: Role = Role.PUBLISHER, **changes: Any) -> TokenOptions:
    return TokenOptions("demo", role, NOW, NOW + 3600, subject="u1")._replace(**changes)


# -- the vectors -----------------------------------------------------------------------------------

#: The role of each, and the affiliation with which it joined.
READ = {
    "moderator": (Role.MODERATOR, "owner"),
    "moderator by affiliation": (Role.MODERATOR, "owner"),
    "participant": (Role.PUBLISHER, "member"),
}


@pytest.mark.parametrize("label", READ)
def test_vectors_are_read_as_the_service_read_them(label):
    role, affiliation = READ[label]
    token = TOKENS[label]["token"]
    grant = FORM.verify(token.encode(), NOW + 1)
    assert (grant.role, grant.session_id, grant.actor_id, grant.expires_at) == (role, "demo", "u1", NOW + 3600)
    assert PROSODY.affiliation(token, "demo", NOW + 1) == affiliation


def test_the_vector_that_leaves_clients_waiting_is_refused():
    assert {"no sub", *READ} == {*TOKENS}
    token = TOKENS["no sub"]["token"]
    with pytest.raises(Hangs):
        PROSODY.affiliation(token, "demo", NOW + 1)


# -- what is minted --------------------------------------------------------------------------------

FEATURES = dict.fromkeys(["livestreaming", "recording", "outbound-call", "sip-outbound-call", "transcription"], False)


@pytest.mark.parametrize("label", ["moderator", "participant"])
def test_a_minted_token_has_the_claims_of_the_vectors_and_says_all_rights(label):
    role, _ = READ[label]
    ours = json.loads(json.dumps(FORM.inspect(FORM.mint(options(role, name="Alice"))[0].encode()).as_dict()))
    theirs = TOKENS[label]
    assert ours["header"] == theirs["header"]
    features, user = ours["claims"]["context"].pop("features"), ours["claims"]["context"]["user"]
    assert features == {**FEATURES, "send-groupchat": True}
    is_moderator = label == "moderator"
    assert (user.pop("moderator"), user.pop("affiliation")) == (is_moderator, "owner" if is_moderator else "member")
    expected = theirs["claims"]
    for name in ("moderator", "affiliation"):
        expected["context"]["user"].pop(name, None)
    assert ours["claims"] == expected


def test_moderators_alone_get_the_features_of_the_setting():
    form = jitsi_format(jitsi(features=["recording", "file-upload"]))
    switched = {}
    for role in (Role.PUBLISHER, Role.MODERATOR):
        switched[role] = form.inspect(form.mint(options(role))[0].encode()).claims["context"]["features"]
    assert switched[Role.PUBLISHER] == {**FEATURES, "file-upload": False, "send-groupchat": True}
    assert switched[Role.MODERATOR] == {**FEATURES, "recording": True, "file-upload": True, "send-groupchat": True}


@pytest.mark.parametrize("text", ["alice", 'Zoë "雪" \\ \U0001f3a4', "a" * 255], ids=ascii)
@pytest.mark.parametrize("role", [Role.PUBLISHER, Role.MODERATOR])
def test_prosody_takes_a_minted_token_at_once_and_as_long_as_it_lives(role, text):
    token, token_id = FORM.mint(options(role, subject=text, name=text))
    affiliation = "owner" if role == Role.MODERATOR else "member"
    for now in (NOW - 5, NOW, NOW + 3599):  # prosody's clock may be behind
        assert PROSODY.affiliation(token, "demo", now) == affiliation
    for now in (NOW - 6, NOW + 3600):
        with pytest.raises(Refused):
            PROSODY.affiliation(token, "demo", now)
    with pytest.raises(Refused):
        PROSODY.affiliation(token, "another", NOW)
    grant = FORM.verify(token.encode(), NOW)
    assert (grant.role, grant.actor_id, grant.token_id) == (role, text, token_id)


# -- roles -----------------------------------------------------------------------------------------

WIDER: dict[str, tuple[frozenset[Capability], str]] = {
    "subscriber": (Role.SUBSCRIBER.capabilities, "publish signal"),
    "publisheronly": (Role.PUBLISHER_ONLY.capabilities, "signal subscribe"),
    "publisher": (Role.PUBLISHER.capabilities, ""),
    "moderator": (Role.MODERATOR.capabilities, ""),
    "no signal": (Role.PUBLISHER.capabilities - {Capability.SIGNAL}, "signal"),
    "one act alone": (Role.MODERATOR.capabilities - {Capability.FORCE_UNPUBLISH}, "force_unpublish"),
}


@pytest.mark.parametrize("name", WIDER)
def test_all_are_participants_or_moderators_and_what_is_wider_is_said(name):
    capabilities, wider = WIDER[name]
    assert " ".join(sorted(jitsi().wider(Role.PUBLISHER, capabilities))) == wider
    assert FORM.carries(Role.PUBLISHER, capabilities) == (not wider)
    assert jitsi(accept_wider=["publisher"]).wider(Role.PUBLISHER, capabilities) == frozenset()


def test_who_may_not_signal_has_no_group_chat_where_the_server_restricts_it():
    form = jitsi_format(jitsi(accept_wider=["publisher"]))
    capabilities = Role.PUBLISHER.capabilities - {Capability.SIGNAL}
    token = form.mint(options(narrowed=capabilities))[0].encode()
    assert form.inspect(token).claims["context"]["features"]["send-groupchat"] is False
    assert form.verify(token, NOW).capabilities == capabilities


# -- tickets ---------------------------------------------------------------------------------------


def ticket_of(kit: Rolecall, role: Any = "publisher", **options: Any) -> Any:
    session = kit.create_session(**options)
    return session, kit.ticket(kit.verify_token(session.generate_token(role, actor="ada")))


def test_a_ticket_has_the_page_of_the_room(make_kit, clock):
    session, ticket = ticket_of(make_kit(media=Jitsi(URL + "/", APP, SECRET)), "moderator")
    # OpenTok's ids have capitals, which Jitsi folds.
    room = "rc-" + sha256(session.session_id.encode()).hexdigest()[:40]
    assert (ticket.room, ticket.url, ticket.identity) == (room, f"{URL}/{room}", "ada")
    assert PROSODY.affiliation(ticket.token, room, clock()) == "owner"
    assert ticket.expires_at == int(clock()) + 60


def test_rooms_of_sessions_whose_names_differ_in_case_are_apart(make_kit, clock):
    backend = jitsi()
    assert backend.room("demo") == "demo"
    rooms = {backend.room(name) for name in ("demo", "Demo", "DEMO", "démo", "de.mo", backend.room("Demo"))}
    assert len(rooms) == 6
    assert {room.lower() for room in rooms} == rooms


def test_a_subscriber_gets_no_ticket_unless_the_app_takes_it(make_kit):
    with pytest.raises(RoleNotHeld, match=r"would grant publish, signal, too; .*accept_wider={'subscriber'}"):
        ticket_of(make_kit(media=jitsi()), "subscriber")
    _, ticket = ticket_of(make_kit(media=jitsi(accept_wider=["subscriber"])), "subscriber")
    assert PROSODY.affiliation(ticket.token, ticket.room, 1_795_186_800) == "member"


def test_the_kit_cannot_act_in_rooms(make_kit):
    kit = make_kit(media=jitsi())
    session = kit.create_session()
    with pytest.raises(NoMediaService, match="force_disconnect is not done at jitsi: moderators' clients") as refused:
        kit.force_disconnect(session, "c1")
    assert refused.value.public_message == "the media service does not do this: moderators' clients act"
    session.exclude("ada")
    kit.end_session(session)


def test_its_tokens_are_minted_without_a_ticket_and_read_at_the_apps_doors(make_kit, clock):
    kit = make_kit(media=jitsi(), format="jitsi", session_names="plain", accept=["opentok", "jitsi"])
    session = kit.create_session()
    token = session.generate_token("moderator", actor="ada")
    assert PROSODY.affiliation(token, session.session_id, clock()) == "owner"
    grant = kit.verify_token(token, session.session_id)
    assert (grant.role, grant.actor_id) == ("moderator", "ada")


def test_a_ticket_for_a_derived_room_is_no_tokens_of_another_session(make_kit, clock):
    kit = make_kit(media=jitsi(), accept=["opentok", "jitsi"])
    _, ticket = ticket_of(kit)
    with pytest.raises(InvalidClaim, match="room"):
        kit.verify_token(ticket.token)


# -- a private key ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kid", ["keys/2026-11", None])
def test_prosody_finds_the_public_key_by_the_hash_of_its_name(kid):
    backend = jitsi(app_secret=None, private_key=PEM, kid=kid)
    form = jitsi_format(backend)
    token = form.mint(options(Role.MODERATOR))[0]
    header = form.inspect(token.encode()).header
    assert header == {"alg": "RS256", "typ": "JWT", "kid": kid or header["kid"]}
    [(name, pem)] = backend.key_files.items()
    assert name == sha256(header["kid"].encode()).hexdigest() + ".pem"
    assert pem.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert Prosody("meet.test", APP, key_files=backend.key_files).affiliation(token, "demo", NOW) == "owner"
    assert form.verify(token.encode(), NOW).role == "moderator"
    for other in (KNOWN.signed(kid=header["kid"]), KNOWN.signed()):
        with pytest.raises((WrongTokenKind, UnknownKey)):
            form.verify(other, NOW)
    assert jitsi().key_files == {}


# -- what is refused -------------------------------------------------------------------------------

#: What the tests of all services do not have: changes of the claims, or of the header; and the claim in the message.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "other audience": ({"aud": "another"}, "aud"),
    "two audiences": ({"aud": ["jitsi", "another"]}, "aud"),
    "no audience": ({"aud": ABSENT}, "aud"),
    "other domain": ({"sub": "meet.example"}, "sub"),
    "any domain": ({"sub": "*"}, "sub"),
    "no domain": ({"sub": ABSENT}, "sub"),
    "a look-alike of the domain": ({"sub": "meet.te\u017ft"}, "sub"),
    "any room": ({"room": "*"}, "room"),
    "a derived room": ({"room": "rc-" + "0" * 40}, "room"),
    "a look-alike of a room": ({"room": "\u212aarl"}, "room"),
    "a pattern of rooms": ({"context.room": {"regex": True}}, "context.room"),
    "a room in the context": ({"context.room": "demo"}, "context.room"),
    "context as a list": ({"context": []}, "context"),
    "no user": ({"context.user": ABSENT}, "context.user"),
    "moderator is one": ({"context.user.moderator": 1}, "context.user.moderator"),
    "moderator is null": ({"context.user.moderator": None}, "context.user.moderator"),
    "features as a list": ({"context.features": ["recording"]}, "context.features"),
    "group chat is zero": ({"context.features": {"send-groupchat": 0}}, "send-groupchat"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_token_is_refused_with_the_reason(name):
    changes, message = WRONG[name]
    with pytest.raises(InvalidClaim, match=f"the token's \\S*{message} is"):
        FORM.verify(KNOWN.signed(changes), NOW)


@pytest.mark.parametrize("typ", [ABSENT, "jwt", "at+jwt"])
def test_a_token_of_another_type_is_refused_as_by_prosody(typ):
    token = KNOWN.signed(typ=typ)
    with pytest.raises(WrongTokenKind, match="typ"):
        FORM.verify(token, NOW)
    with pytest.raises(Refused, match="typ"):
        PROSODY.affiliation(token.decode(), "demo", NOW)


TAKEN: dict[str, tuple[dict[str, Any], str]] = {
    "good": ({}, "publisher"),
    "a list of one audience": ({"aud": ["jitsi"]}, "publisher"),
    "other case": ({"sub": "MEET.test", "room": "Demo"}, "publisher"),
    "moderator": ({"context.user.moderator": True}, "moderator"),
    "moderator as text": ({"context.user.moderator": "true"}, "moderator"),
    "no moderator, as text": ({"context.user.moderator": "false"}, "publisher"),
    "owner": ({"context.user.affiliation": "owner"}, "moderator"),
    "affiliation moderator": ({"context.user.affiliation": "moderator"}, "moderator"),
    "teacher": ({"context.user.affiliation": "teacher"}, "moderator"),
    "another affiliation": ({"context.user.affiliation": "Owner"}, "publisher"),
    "an affiliation that is none": ({"context.user.affiliation": {"owner": True}}, "publisher"),
    "a role": ({"context.user.role": "moderator"}, "publisher"),
    "moderator at the top": ({"moderator": True}, "publisher"),
    "no pattern": ({"context.room": {"regex": False}}, "publisher"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_token_is_read_as_prosody_reads_it(name):
    changes, role = TAKEN[name]
    token = KNOWN.signed(changes)
    grant = FORM.verify(token, NOW)
    assert (grant.role, grant.session_id, grant.actor_id) == (role, "demo", "alice")
    assert (PROSODY.affiliation(token.decode(), "demo", NOW) == "owner") == (role == "moderator")


# -- settings --------------------------------------------------------------------------------------

BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a WebSocket's URL": ({"url": "wss://meet.test"}, "url is not the URL of a service"),
    "no key": ({"app_secret": None}, "app_secret, and verify_secrets go with it, or with private_key"),
    "two keys": ({"private_key": PEM}, "pass one of the two"),
    "secrets beside a private key": (
        {"app_secret": None, "private_key": PEM, "verify_secrets": [SECRET]},
        "verify_secrets go with it",
    ),
    "a short secret": ({"app_secret": "x" * 31}, "jitsi: app_secret: the secret has 31 bytes"),
    "no private key": ({"app_secret": None, "private_key": "x"}, "jitsi: private_key is neither PEM"),
    "a long kid": ({"app_secret": None, "private_key": PEM, "kid": "k" * 129}, "jitsi: a kid is a string of 1 to 128"),
    "no app id": ({"app_id": ""}, "jitsi: app_id is missing or malformed; expected app_id in prosody"),
    "id and secret swapped": ({"app_id": SECRET, "app_secret": APP}, "jitsi: app_secret: the secret has 12 bytes"),
    "the key for an id": ({"app_id": PEM, "app_secret": None, "private_key": "x"}, "jitsi: private_key is neither PEM"),
    "the key for its name": ({"app_secret": None, "private_key": PEM, "kid": PEM}, "jitsi: a kid is a string of 1"),
    "any domain": ({"domain": "*"}, "jitsi: domain is '\\*'; expected the XMPP domain"),
    "an address for a domain": ({"url": "https://[::1]"}, "jitsi: domain is None; expected the XMPP domain"),
    "no audience": ({"audience": ""}, "jitsi: audience is ''"),
    "features as text": ({"features": "recording"}, "jitsi: features is 'recording'; expected a set"),
    "a feature that is none": ({"features": ["Recording!"]}, "jitsi: features is"),
    "the chat as a feature": ({"features": ["send-groupchat"]}, "jitsi: features is"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_wrong_settings_are_named_and_no_secret_is_quoted(make_kit, name):
    settings, message = BAD_SETTINGS[name]
    config = {"url": URL, "app_id": APP, "app_secret": SECRET, **settings}
    with pytest.raises(ConfigurationError, match=message) as refused:
        make_kit(media="jitsi", media_config={"jitsi": config})
    assert not any(secret in held_by(refused.value) for secret in (SECRET, PEM[60:90]))


def test_the_environment_has_its_settings():
    variables = {
        "ROLECALL_API_KEY": API_KEY,
        "ROLECALL_API_SECRET": API_SECRET,
        "ROLECALL_MEDIA": "jitsi",
        "ROLECALL_JITSI_URL": "https://meet.test/school",
        "ROLECALL_JITSI_APP_ID": APP,
        "ROLECALL_JITSI_PRIVATE_KEY": PEM.replace("\n", "\\n"),
        "ROLECALL_JITSI_DOMAIN": "school",
        "ROLECALL_JITSI_FEATURES": "recording, flip",
        "ROLECALL_JITSI_ACCEPT_WIDER": "subscriber",
    }
    with Rolecall.from_env(variables, session_names="plain") as kit:
        session, ticket = ticket_of(kit, "subscriber")
        found = kit.engine.state.media.of(session)
        backend: Any = found and found[0]
        assert ticket.url == f"https://meet.test/school/{session.session_id}"
        assert (backend.domain, backend.app_id, backend.features) == ("school", APP, {"recording", "flip"})
        assert repr(backend) == "<Jitsi https://meet.test/school>"
        prosody = Prosody("school", APP, key_files=backend.key_files)
        assert prosody.affiliation(ticket.token, ticket.room, kit.engine.state.clock()) == "member"
