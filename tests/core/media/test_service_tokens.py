"""The tokens of hosted services: one table of attacks for all, the vectors of their SDKs, and what is minted."""

from __future__ import annotations

import base64
import inspect
from typing import Any

import pytest

from rolecall.errors import (
    BadSignature,
    ConfigurationError,
    ExpiredToken,
    InvalidClaim,
    InvalidKey,
    InvalidToken,
    MalformedToken,
    NoIdentity,
    TokenNotYetValid,
    UnknownKey,
    WrongTokenKind,
)

from ...tracebacks import held_by
from .services import ABSENT, ACCOUNT, NOW, SERVICES, TWILIO_KEY, VECTORS, Known, sign

pytestmark = pytest.mark.each_choice

NAMES = list(SERVICES)
VECTOR_ROWS = [
    (name, vector["sdk"] + ": " + vector["inputs"]["label"], vector)
    for name, known in SERVICES.items()
    for vector in VECTORS
    if vector["service"] == known.service
]


def lasting(known: Known) -> int:
    """The life of the good token."""
    life: int = known.claims["exp"] - NOW
    return life


#: Wrong tokens: the changes of the claims, and of the header; the error, and its message.
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], type[InvalidToken], str]] = {
    "HS384": ({}, {"alg": "HS384"}, WrongTokenKind, "HS384"),
    "none": ({}, {"alg": "none"}, WrongTokenKind, "algorithm"),
    "RS256": ({}, {"alg": "RS256"}, WrongTokenKind, "RS256"),
    "no algorithm": ({}, {"alg": ABSENT}, MalformedToken, "algorithm"),
    "another type": ({}, {"typ": "rolecall+jwt"}, WrongTokenKind, "typ"),
    "crit": ({}, {"crit": ["exp"]}, MalformedToken, "crit"),
    "unknown kid": ({}, {"kid": "another"}, UnknownKey, "key"),
    "no exp": ({"exp": ABSENT}, {}, InvalidClaim, "exp"),
    "exp as text": ({"exp": str(NOW + 60)}, {}, InvalidClaim, "exp"),
    "exp is true": ({"exp": True}, {}, InvalidClaim, "exp"),
    "expired": ({"exp": NOW - 11}, {}, ExpiredToken, "expired"),
    "too long a life": ({"exp": NOW + 31 * 86_400}, {}, InvalidClaim, "30 days"),
    "issued in the future": ({"iat": NOW + 11}, {}, TokenNotYetValid, "future"),
    "not yet": ({"nbf": NOW + 11}, {}, TokenNotYetValid, "valid from"),
    "nbf as text": ({"nbf": "0"}, {}, InvalidClaim, "nbf"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_token_is_refused_with_the_reason(name, wrong):
    known = SERVICES[name]
    changes, header, error, message = WRONG[wrong]
    digest = "sha384" if header.get("alg") == "HS384" else "sha256"
    with pytest.raises(error, match=message):
        known.form().verify(known.signed(changes, digest=digest, **header), NOW)


NO_TEXT = {"absent": ABSENT, "null": None, "empty": "", "a number": 7, "a list": ["demo"], "a NUL": "a\x00b"}


@pytest.mark.parametrize("value", NO_TEXT)
@pytest.mark.parametrize("which", ["room", "identity"])
@pytest.mark.parametrize("name", NAMES)
def test_a_token_without_a_room_or_an_identity_is_refused(name, which, value):
    known = SERVICES[name]
    with pytest.raises(InvalidToken, match=getattr(known, which).split(".")[-1]):
        known.form().verify(known.signed({getattr(known, which): NO_TEXT[value]}), NOW)


@pytest.mark.parametrize("name", NAMES)
def test_a_good_token_is_read(name):
    known = SERVICES[name]
    grant = known.form().verify(known.signed(), NOW)
    assert (grant.role, grant.actor_id, grant.expires_at) == ("publisher", "alice", known.claims["exp"])
    assert known.form().verify(known.signed(), NOW + lasting(known) + 9) == grant
    with pytest.raises(ExpiredToken):
        known.form().verify(known.signed(), NOW + lasting(known) + 10)


@pytest.mark.parametrize("name", NAMES)
def test_a_signature_of_another_secret_and_a_changed_token_are_refused(name):
    known, token = SERVICES[name], SERVICES[name].signed()
    head, _, signature = token.rpartition(b".")
    header, _, payload = head.partition(b".")
    other = "another-" + known.secret
    for changed in (header + b"." + payload[:-4] + b"AAAA." + signature, token[:-6] + b"AAAAAA", head + b"."):
        with pytest.raises(BadSignature):
            known.form().verify(changed, NOW)
    with pytest.raises(BadSignature):
        known.form(other).verify(token, NOW)
    for malformed in (b"x", head, token + b".x", token + b"=", sign({"alg": "HS256", "typ": "JWT"}, 7, known.secret)):
        with pytest.raises(InvalidToken):
            known.form().verify(malformed, NOW)
    assert known.form(other, verify_secrets=[known.secret]).verify(token, NOW).actor_id == "alice"


@pytest.mark.parametrize(("name", "label", "vector"), VECTOR_ROWS, ids=lambda one: one if isinstance(one, str) else "")
def test_the_tokens_of_its_sdks_are_read_or_refused(name, label, vector):
    known = SERVICES[name]
    verdict, token = known.vectors[vector["inputs"]["label"]], vector["token"].encode()
    if not isinstance(verdict, str):
        error, message = verdict
        with pytest.raises(error, match=message):
            known.form().verify(token, NOW + 1)
        return
    grant = known.form().verify(token, NOW + 1)
    assert (" ".join(sorted(grant.capabilities)), grant.expires_at) == (verdict, vector["claims"]["exp"])
    with pytest.raises(BadSignature):
        known.form("another-" + known.secret).verify(token, NOW + 1)
    with pytest.raises(ExpiredToken):
        known.form().verify(token, vector["claims"]["exp"] + 11)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_each_vector(name):
    labels = {vector["inputs"]["label"] for vector in VECTORS if vector["service"] == SERVICES[name].service}
    assert labels == SERVICES[name].vectors.keys()


@pytest.mark.parametrize("text", ["alice", 'Zoë "雪" \\ \U0001f3a4'], ids=ascii)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "stream"])  # whose ids of users are plain
def test_what_is_minted_is_read(name, text):
    form = SERVICES[name].form()
    options = SERVICES[name].options(subject=text)
    token, token_id = form.mint(options)
    grant = form.verify(token.encode(), NOW)
    assert (grant.actor_id, grant.expires_at, grant.token_id) == (text, options.expires_at, token_id)


@pytest.mark.parametrize("subject", [None, ""])
@pytest.mark.parametrize("name", NAMES)
def test_a_token_without_an_identity_is_not_minted(name, subject):
    with pytest.raises(NoIdentity, match="the id of the actor"):
        SERVICES[name].form().mint(SERVICES[name].options(subject=subject))


@pytest.mark.parametrize("role", ["subscriber", "publisheronly", "publisher", "moderator"])
@pytest.mark.parametrize("name", NAMES)
def test_no_token_gives_more_at_the_apps_doors_than_its_role_where_the_service_grants_more(name, role):
    form = SERVICES[name].form(accept_wider={role})
    options = SERVICES[name].options(role)
    if not form.carries(options.role, options.role.capabilities):
        assert name in ("stream", "100ms")  # which have no name for it
        return
    token, _ = form.mint(options)
    assert form.verify(token.encode(), NOW).capabilities <= options.role.capabilities


NOBODYS_IDENTITY: dict[str, tuple[str, str, str]] = {
    "the user in whose name the kit acts": ("stream", "rolecall", "server_user"),
    "an email address": ("stream", "ada@example.org", "ASCII letters, digits, '@', '_' and '-'"),
    "an id with a bar": ("stream", "auth0|123", "ASCII letters, digits, '@', '_' and '-'"),
    "a letter beyond ASCII": ("stream", "Zoë", "ASCII letters, digits, '@', '_' and '-'"),
    "a step in the path of a URL": ("twilio", "..", "dots alone"),
    "another participant's SID": ("twilio", "PA" + "0a" * 16, "a SID"),
    "too long": ("zoom", "a" * 36, "at most 35"),
}


@pytest.mark.parametrize("case", NOBODYS_IDENTITY)
def test_who_has_an_id_that_is_no_identity_there_gets_neither_token_nor_ticket(make_kit, case):
    name, actor_id, message = NOBODYS_IDENTITY[case]
    known = SERVICES[name]
    with pytest.raises(NoIdentity, match=message):
        known.form().mint(known.options(subject=actor_id))
    kit = make_kit(media=known.backend())
    session = kit.create_session()
    with pytest.raises(NoIdentity, match=message):  # before anything is asked of the service
        kit.ticket(kit.verify_token(session.generate_token(actor=actor_id)))


def test_tokens_are_told_apart_by_what_they_hold(kit):
    forms = {name: known.form() for name, known in SERVICES.items()}
    tokens: dict[str, bytes] = {"opentok": kit.create_session().generate_token().encode(), "none": b"x"}
    tokens |= {name: known.signed() for name, known in SERVICES.items()}
    tokens |= {f"{vector['service']} {number}": str(vector["token"]).encode() for number, vector in enumerate(VECTORS)}
    for name, form in forms.items():
        others = [one for one in tokens if one.partition(" ")[0] not in (name, SERVICES[name].service)]
        assert form.recognizes(tokens[name])
        assert [one for one in others if form.recognizes(tokens[one])] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_issuer_is_named_unverified(name):
    form = SERVICES[name].form()
    claim = type(form).issuer_claim
    named = form.issuer_of(SERVICES[name].signed())
    assert (named is None) == (claim is None)
    assert form.issuer_of(b"x") is None
    if claim is not None:
        with pytest.raises(UnknownKey, match=claim):
            form.verify(SERVICES[name].signed({claim: "another"}), NOW)


BAD_SECRETS = {"short": "devkey-secret", "none": None, "number": 7}


@pytest.mark.parametrize("which", BAD_SECRETS)
@pytest.mark.parametrize("name", NAMES)
def test_a_weak_secret_stops_start_up_and_is_told_nobody(name, which):
    with pytest.raises(InvalidKey, match=f"^{name}: ") as refused:
        SERVICES[name].make(BAD_SECRETS[which])
    assert "devkey" not in str(refused.value)
    with pytest.raises(InvalidKey, match=f"^{name}: verify_secrets, number 1: "):
        SERVICES[name].backend(verify_secrets=[BAD_SECRETS[which]])


WRONG_SETTINGS: dict[str, dict[str, Any]] = {
    "the first": {"ticket_life": 0},
    "one of the API": {"api_url": "nowhere"},
    "the last": {"timeout": 0},
}


SETTINGS_ROWS = [
    (name, which)
    for name, known in SERVICES.items()
    for which, settings in WRONG_SETTINGS.items()
    if settings.keys() <= {*inspect.signature(type(known.backend())).parameters, "ticket_life"}
]


@pytest.mark.parametrize(("name", "which"), SETTINGS_ROWS)
def test_neither_a_backend_nor_a_traceback_shows_the_secret(name, which):
    known = SERVICES[name]
    shown = [known.secret, base64.b64encode(f"{TWILIO_KEY}:{known.secret}".encode()).decode()]
    assert known.secret not in repr(known.backend()) + str(vars(known.backend()))
    with pytest.raises(ConfigurationError) as refused:
        known.backend(**WRONG_SETTINGS[which])
    assert not any(secret in held_by(refused.value) for secret in shown)


#: Settings that every service takes; where a service has another one, any text is good.
GOOD: dict[str, Any] = {
    "url": "https://media.example",
    "roles": {"publisher": "host"},
    "account_sid": ACCOUNT,
    "api_key": TWILIO_KEY,
}
MISTAKEN_ROWS = [
    (name, one.name)
    for name, known in SERVICES.items()
    for one in inspect.signature(type(known.backend())).parameters.values()
    if one.name in ("url", "api_url") or (one.name != "roles" and one.default is one.empty and one.name != "settings")
]


@pytest.mark.parametrize(("name", "setting"), MISTAKEN_ROWS)
def test_a_setting_that_has_a_secret_by_mistake_is_not_shown(name, setting):
    known = SERVICES[name]
    backend = type(known.backend())
    required = [one.name for one in inspect.signature(backend).parameters.values() if one.default is one.empty]
    given = {one: GOOD.get(one, "throwaway-0123456789-0123456789-0123456789") for one in required if one != "settings"}
    with pytest.raises(ConfigurationError) as refused:
        backend(**{**given, setting: f"https://ada:{known.secret}@media.example/ "})
    assert known.secret not in held_by(refused.value)
