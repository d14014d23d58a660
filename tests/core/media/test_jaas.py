"""Tokens of JaaS: what is minted, how the software behind it reads that, and what is verified or refused."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rolecall import Capability, Role, Rolecall, RoleTable
from rolecall.errors import (
    BadSignature,
    ConfigurationError,
    ExpiredToken,
    InvalidClaim,
    InvalidToken,
    NoIdentity,
    RoleNotHeld,
    UnknownKey,
    WrongTokenKind,
)
from rolecall.formats.claims import ClaimRules
from rolecall.media import JaaS
from rolecall.tokens import TokenOptions

from ...sdk_tokens import API_KEY, API_SECRET
from ...tracebacks import held_by
from .prosody import Prosody, Refused
from .services import ABSENT, NOW, SERVICES, VECTORS, sign

TOKENS = {one["inputs"]["label"]: one for one in VECTORS if one["service"] == "jaas"}
SAMPLE = TOKENS["moderator of one room"]
KID, PEM = SAMPLE["secret"]["kid"], SAMPLE["secret"]["private_key"]
APP = KID.partition("/")[0]
FEATURES = ["livestreaming", "recording", "outbound-call", "sip-outbound-call", "transcription"]
CLAIMS = {**SAMPLE["claims"], "exp": NOW + 60}
PROSODY = Prosody(APP, "chat", key_files={sha256(KID.encode()).hexdigest() + ".pem": SAMPLE["secret"]["public_key"]})

pytestmark = pytest.mark.each_choice


def jaas_format(backend: JaaS | None = None) -> Any:
    return (backend or JaaS(KID, PEM)).token_format(ClaimRules(RoleTable(), 10))


FORM = jaas_format()


def options(role: Role = Role.PUBLISHER, **changes: Any) -> TokenOptions:
    return TokenOptions("demo", role, NOW, NOW + 7200, subject="user-uuid-1")._replace(**changes)


def plain_claims(token: str) -> Any:
    return json.loads(json.dumps(FORM.inspect(token.encode()).as_dict()["claims"]))


def signed(changes: dict[str, Any] | None = None, **header: Any) -> bytes:
    """A token of the app's own key, whose claims have these changes."""
    key = load_pem_private_key(PEM.encode(), None)
    assert isinstance(key, RSAPrivateKey)
    claims = {name: one for name, one in {**CLAIMS, **(changes or {})}.items() if one is not ABSENT}
    members = {"alg": "RS256", "kid": KID, "typ": "JWT", **header}
    head = sign(members, claims, "x").rpartition(b".")[0]
    return head + b"." + urlsafe_b64encode(key.sign(head, PKCS1v15(), SHA256())).rstrip(b"=")


def test_the_tokens_of_the_sample_are_read_if_they_are_for_one_room():
    token = SAMPLE["token"].encode()
    grant = FORM.verify(token, NOW + 1)
    assert (grant.role, grant.session_id, grant.actor_id) == ("moderator", "demo", "user-uuid-1")
    assert PROSODY.affiliation(SAMPLE["token"], "demo", NOW + 1) == "owner"
    with pytest.raises(ExpiredToken):
        FORM.verify(token, NOW + 7211)
    any_room = TOKENS["any room"]["token"]
    assert PROSODY.affiliation(any_room, "another", NOW + 1) == "owner"
    with pytest.raises(InvalidClaim, match="room is missing or wrong; expected the id of a session"):
        FORM.verify(any_room.encode(), NOW + 1)
    assert len(TOKENS) == 2


def test_changed_tokens_and_those_of_another_key_are_refused():
    for token in (one["token"].encode() for one in TOKENS.values()):
        head, _, signature = token.rpartition(b".")
        changed = head[:-2] + (b"AA" if head[-2:] != b"AA" else b"BB") + b"." + signature
        for one in (changed, token[:-4] + b"AAAA"):
            with pytest.raises(BadSignature):
                FORM.verify(one, NOW + 1)
    with pytest.raises(UnknownKey):
        FORM.verify(signed(kid=KID + "x"), NOW)


def test_a_minted_token_has_the_claims_of_the_sample():
    token = jaas_format(JaaS(KID, PEM, features=FEATURES)).mint(options(Role.MODERATOR, name="Alice"))[0]
    ours, theirs = plain_claims(token), json.loads(json.dumps(SAMPLE["claims"]))
    assert FORM.inspect(token.encode()).header == SAMPLE["header"]
    # The sample writes a name for nbf that nobody reads, and its jsonwebtoken for Node.js adds iat.
    assert (ours.pop("nbf"), ours.pop("iat")) == (theirs.pop("nbfTime"), NOW)
    assert ours["context"]["features"].pop("send-groupchat") == "true"
    for name in ("email", "avatar"):
        del theirs["context"]["user"][name]
    assert ours == theirs


@pytest.mark.parametrize("role", [Role.PUBLISHER, Role.MODERATOR])
def test_truth_values_are_text_and_jitsi_takes_the_token(role):
    token, token_id = FORM.mint(options(role))
    is_moderator = role == Role.MODERATOR
    context = plain_claims(token)["context"]
    assert context["user"] == {"id": "user-uuid-1", "moderator": "true" if is_moderator else "false"}
    assert context["features"] == {**dict.fromkeys(FEATURES, "false"), "send-groupchat": "true"}
    for now in (NOW - 10, NOW + 7199):
        assert PROSODY.affiliation(token, "demo", now) == ("owner" if is_moderator else "member")
    with pytest.raises(Refused):
        PROSODY.affiliation(token, "another", NOW)
    grant = FORM.verify(token.encode(), NOW)
    assert (grant.role, grant.token_id) == (role, token_id)


def test_a_token_without_an_identity_is_not_minted():
    with pytest.raises(NoIdentity):
        FORM.mint(options(subject=""))


def test_a_ticket_has_the_page_of_the_room_in_the_apps_tenant(make_kit, clock):
    kit = make_kit(media=JaaS(KID, PEM), session_names="plain")
    session = kit.create_session()
    ticket = kit.ticket(kit.verify_token(session.generate_token("moderator", actor="ada")))
    assert ticket.url == f"https://8x8.vc/{APP}/{session.session_id}"
    assert PROSODY.affiliation(ticket.token, ticket.room, clock()) == "owner"
    with pytest.raises(RoleNotHeld, match="publish, signal"):
        kit.ticket(kit.verify_token(session.generate_token("subscriber", actor="ada")))


WRONG: dict[str, tuple[bytes, type[InvalidToken], str]] = {
    "none": (sign({"alg": "none", "typ": "JWT", "kid": KID}, CLAIMS, "x"), WrongTokenKind, "algorithm"),
    "the public key as a secret": (
        sign({"alg": "HS256", "typ": "JWT", "kid": KID}, CLAIMS, SAMPLE["secret"]["public_key"]),
        WrongTokenKind,
        "HS256",
    ),
    "no kid": (signed(kid=ABSENT), UnknownKey, "names no key"),
    "no typ": (signed(typ=ABSENT), WrongTokenKind, "typ"),
    "no exp": (signed({"exp": ABSENT}), InvalidClaim, "exp"),
    "another app": (signed({"sub": APP + "0"}), InvalidClaim, "sub"),
    "any app": (signed({"sub": "*"}), InvalidClaim, "sub"),
    "another issuer": (signed({"iss": "jitsi"}), UnknownKey, "iss"),
    "another audience": (signed({"aud": "chat"}), InvalidClaim, "aud"),
    "no user": (signed({"context": {}}), InvalidClaim, "context.user"),
    "no identity": (signed({"context": {"user": {"moderator": "true"}}}), InvalidClaim, "context.user.id"),
    "moderator is yes": (signed({"context": {"user": {"id": "a", "moderator": "yes"}}}), InvalidClaim, "moderator"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_token_is_refused_with_the_reason(name):
    token, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        FORM.verify(token, NOW)


def test_an_affiliation_makes_no_moderator_here():
    token = signed({"context": {"user": {"id": "a", "affiliation": "owner"}}})
    assert FORM.verify(token, NOW).capabilities == Role.PUBLISHER.capabilities
    without = signed({"context": {"user": {"id": "a"}, "features": {"send-groupchat": "false"}}})
    assert Capability.SIGNAL not in FORM.verify(without, NOW).capabilities


def test_its_tokens_are_told_apart_from_those_of_others(kit):
    own = kit.create_session().generate_token().encode()
    others = [one for one in VECTORS if one["service"] != "jaas" and isinstance(one["token"], str)]
    assert not any(FORM.recognizes(one) for one in (own, b"x", *(one["token"].encode() for one in others)))
    jitsi = SERVICES["jitsi"].form()
    for one in TOKENS.values():
        assert FORM.recognizes(one["token"].encode())
        assert not jitsi.recognizes(one["token"].encode())


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a key id without its app": ({"kid": "abc123"}, "jaas: kid is missing or malformed; expected the id of an API key"),
    "an app without a key id": ({"kid": APP}, "jaas: kid is missing or malformed"),
    "key and id swapped": ({"kid": PEM, "private_key": KID}, "jaas: kid is missing or malformed"),
    "no key": ({"private_key": ""}, "jaas: private_key is missing"),
    "a public key": ({"private_key": SAMPLE["secret"]["public_key"]}, "jaas: this is a public key"),
    "no features": ({"features": "recording"}, "jaas: features is 'recording'"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_wrong_settings_are_named_and_no_key_is_quoted(name):
    settings, message = BAD_SETTINGS[name]
    with pytest.raises(ConfigurationError, match=message) as refused:
        JaaS(**{"kid": KID, "private_key": PEM, **settings})
    assert PEM[60:90] not in held_by(refused.value)


def test_the_environment_has_its_settings(tmp_path):
    (tmp_path / "jaas.pem").write_text(PEM)
    variables = {
        "ROLECALL_API_KEY": API_KEY,
        "ROLECALL_API_SECRET": API_SECRET,
        "ROLECALL_MEDIA": "jaas",
        "ROLECALL_JAAS_KID": KID,
        "ROLECALL_JAAS_PRIVATE_KEY": str(tmp_path / "jaas.pem"),
    }
    with Rolecall.from_env(variables) as kit:
        session = kit.create_session()
        ticket = kit.ticket(kit.verify_token(session.generate_token(actor="ada")))
        assert PROSODY.affiliation(ticket.token, ticket.room, kit.engine.state.clock()) == "member"
    assert repr(JaaS(KID, PEM)) == "<JaaS https://8x8.vc>"
