"""Tokens of Galène: what is minted and how a server reads it, what is verified, and what is refused."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from itertools import combinations
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rolecall import Capability, Role, Rolecall, RoleTable
from rolecall.errors import (
    BadSignature,
    ConfigurationError,
    ExpiredToken,
    InvalidClaim,
    InvalidKey,
    InvalidToken,
    NoIdentity,
    NoMediaService,
    RoleNotHeld,
    TokenNotYetValid,
    UnknownKey,
    WrongTokenKind,
)
from rolecall.formats.claims import ClaimRules
from rolecall.keys.making import pem_of
from rolecall.media import Galene
from rolecall.tokens import TokenOptions

from ...sdk_tokens import API_KEY, API_SECRET
from ...tracebacks import held_by
from .galene_server import GaleneGroup, Refused
from .services import ABSENT, NOW, VECTORS, sign

TOKENS = {one["inputs"]["label"]: one for one in VECTORS if one["service"] == "galene"}
URL = "https://galene.example.org"
SECRET = "throwaway-galene-hs256-key-32byt"
JWK = {"kty": "oct", "alg": "HS256", "k": urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()}
CLAIMS = {
    "sub": "alice",
    "aud": URL + "/group/demo/",
    "permissions": ["present", "message"],
    "iat": NOW,
    "exp": NOW + 60,
}
GROUP = GaleneGroup("demo", [JWK])
EVERYTHING = frozenset(Capability)
RSA, EC = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())

pytestmark = pytest.mark.each_choice


def galene(key: Any = JWK, **settings: Any) -> Galene:
    return Galene(URL, key, **settings)


def galene_format(backend: Galene | None = None) -> Any:
    return (backend or galene()).token_format(ClaimRules(RoleTable(), 10))


FORM = galene_format()


def options(role: Role = Role.PUBLISHER, **changes: Any) -> TokenOptions:
    return TokenOptions("demo", role, NOW, NOW + 30, subject="alice")._replace(**changes)


def signed(changes: dict[str, Any] | None = None, secret: str = SECRET, digest: str = "sha256", **header: Any) -> bytes:
    claims = {name: one for name, one in {**CLAIMS, **(changes or {})}.items() if one is not ABSENT}
    return sign({"alg": "HS256", "typ": "JWT", **header}, claims, secret, digest)


# -- the vectors -----------------------------------------------------------------------------------

READ = {
    "observer": "connect subscribe",
    "publisher": "connect publish signal subscribe",
    "publisher without chat": "connect publish subscribe",
    "publisher, ES256": "connect publish signal subscribe",
    "publisher, RS256": "connect publish signal subscribe",
}


def key_of(vector: dict[str, Any]) -> Any:
    """The key of a vector. Its tokens name no key, so it has no name, either."""
    jwk = {name: one for name, one in vector["secret"]["jwk"].items() if name != "kid"}
    private = vector["secret"].get("private_key")
    return jwk if private is None else nameless(private)


def nameless(pem: str) -> Any:
    """A private key as JWK without a name: tokens of such a key name none."""
    loaded: Any = load_pem_private_key(pem.encode(), None)
    is_rsa = isinstance(loaded, rsa.RSAPrivateKey)
    kind: Any = jwt.algorithms.RSAAlgorithm if is_rsa else jwt.algorithms.ECAlgorithm
    return {**kind.to_jwk(loaded, as_dict=True), "kid": None}


@pytest.mark.parametrize("label", READ)
def test_vectors_are_read_as_the_service_read_them(label):
    vector = TOKENS[label]
    form = galene_format(galene(key_of(vector)))
    grant = form.verify(vector["token"].encode(), NOW + 1)
    assert " ".join(sorted(grant.capabilities)) == READ[label]
    assert (grant.session_id, grant.actor_id, grant.expires_at) == ("demo", "alice", NOW + 30)
    group = GaleneGroup("demo", [vector["secret"]["jwk"]])
    assert group.join(vector["token"], NOW + 1) == ("alice", vector["claims"]["permissions"])
    head, _, signature = vector["token"].encode().rpartition(b".")
    changed = head[:-2] + (b"AA" if head[-2:] != b"AA" else b"BB") + b"." + signature
    for wrong in (changed, vector["token"].encode()[:-4] + b"AAAA"):
        with pytest.raises(BadSignature):
            form.verify(wrong, NOW + 1)
    with pytest.raises(ExpiredToken):
        form.verify(vector["token"].encode(), NOW + 41)


def test_the_vector_for_every_group_is_refused():
    assert {"every group below the root", *READ} == {*TOKENS}
    token = TOKENS["every group below the root"]["token"]
    assert GROUP.join(token, NOW + 1) == ("alice", ["present", "message"])
    with pytest.raises(InvalidClaim, match="aud"):
        FORM.verify(token.encode(), NOW + 1)


# -- what is minted --------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["observer", "publisher", "publisher without chat"])
def test_a_minted_token_has_the_claims_of_the_vectors(label):
    vector = TOKENS[label]
    narrowed = frozenset(map(Capability, READ[label].split()))
    ours = FORM.inspect(FORM.mint(options(narrowed=narrowed))[0].encode()).as_dict()
    assert ours["header"] == vector["header"]
    # It may say who issued it; nobody reads that.
    assert ours["claims"] == {name: one for name, one in vector["claims"].items() if name != "iss"}


@pytest.mark.parametrize("held", [frozenset(some) for size in range(7) for some in combinations(Capability, size)])
def test_a_token_has_the_permissions_of_its_bearer_and_no_others(held):
    wider = galene().wider(Role.PUBLISHER, held)
    acts = held & {Capability.FORCE_DISCONNECT, Capability.FORCE_UNPUBLISH}
    assert wider == (EVERYTHING if acts else {Capability.SUBSCRIBE}) - held
    assert FORM.carries(Role.PUBLISHER, held) == (Capability.CONNECT in held and not wider)
    token = FORM.mint(options(narrowed=held))[0]
    said = {"op": bool(acts), "present": Capability.PUBLISH in held, "message": Capability.SIGNAL in held}
    assert GROUP.join(token, NOW) == ("alice", [name for name, has in said.items() if has])


@pytest.mark.parametrize("text", ["alice", 'Zoë "雪" \\ \U0001f3a4', "a" * 255], ids=ascii)
@pytest.mark.parametrize("role", [Role.SUBSCRIBER, Role.PUBLISHER, Role.MODERATOR])
def test_a_server_takes_a_minted_token_with_a_clock_of_its_own(role, text):
    token, token_id = FORM.mint(options(role, subject=text))
    for now in (NOW - 5, NOW, NOW + 35):
        assert GROUP.join(token, now)[0] == text
    with pytest.raises(Refused):
        GaleneGroup("another", [JWK]).join(token, NOW)
    grant = FORM.verify(token.encode(), NOW)
    assert (grant.role, grant.capabilities, grant.actor_id, grant.token_id) == (role, role.capabilities, text, token_id)


@pytest.mark.parametrize("subject", [None, ""])
def test_a_token_without_an_identity_is_not_minted(subject):
    with pytest.raises(NoIdentity, match="the id of the actor"):
        FORM.mint(options(subject=subject))


# -- keys ------------------------------------------------------------------------------------------

PRIVATE: dict[str, tuple[Any, str]] = {
    "RSA as PEM": (pem_of(RSA).decode(), "RS256"),
    "EC as PEM": (pem_of(EC), "ES256"),
    "RSA as JWK": ({**jwt.algorithms.RSAAlgorithm.to_jwk(RSA, as_dict=True), "kid": "rs1"}, "RS256"),
    "EC as JSON": (json.dumps({**jwt.algorithms.ECAlgorithm.to_jwk(EC, as_dict=True), "kid": "ec1"}), "ES256"),
}


@pytest.mark.parametrize("form", PRIVATE)
def test_a_private_key_signs_and_a_group_gets_the_public_one(form):
    key, algorithm = PRIVATE[form]
    backend = galene(key)
    [public] = backend.auth_keys
    assert public["alg"] == algorithm
    assert public.keys() == {"kty", "alg", "kid", *(("n", "e") if algorithm == "RS256" else ("crv", "x", "y"))}
    token = galene_format(backend).mint(options())[0]
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "JWT", "kid": public["kid"]}
    assert GaleneGroup("demo", [JWK, public]).join(token, NOW) == ("alice", ["present", "message"])
    assert galene_format(backend).verify(token.encode(), NOW).role == "publisher"
    with pytest.raises(Refused):
        GaleneGroup("demo", [JWK, {**public, "kid": "another"}]).join(token, NOW)


def test_a_named_secret_is_named_in_the_token_and_never_published():
    backend = galene(json.dumps({**JWK, "kid": "hs1"}))
    token = galene_format(backend).mint(options())[0]
    assert jwt.get_unverified_header(token)["kid"] == "hs1"
    assert GaleneGroup("demo", [{**JWK, "kid": "hs1"}]).join(token, NOW)[0] == "alice"
    assert backend.auth_keys == []
    with pytest.raises(UnknownKey):
        galene_format(backend).verify(signed(), NOW)


def test_a_key_that_only_verifies_is_taken():
    form = galene_format(galene(pem_of(EC), verify_keys=[JWK]))
    assert form.verify(signed(), NOW).role == "publisher"
    assert jwt.get_unverified_header(form.mint(options())[0])["alg"] == "ES256"


# -- tickets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("parent", ["", "school/2026"])
def test_a_ticket_has_the_page_of_the_group(make_kit, clock, parent):
    kit = make_kit(media=galene(parent=parent))
    session = kit.create_session()
    ticket = kit.ticket(kit.verify_token(session.generate_token("moderator", actor="ada")))
    group = f"{parent}/{session.session_id}".lstrip("/")
    assert (ticket.url, ticket.room) == (f"{URL}/group/{group}/", session.session_id)
    joined = GaleneGroup(group, [JWK]).join(ticket.token, clock())
    assert joined == ("ada", ["op", "present", "message"])
    with pytest.raises(RoleNotHeld, match="would grant subscribe, too"):
        kit.ticket(kit.verify_token(session.generate_token("publisheronly", actor="ada")))
    with pytest.raises(NoMediaService, match="force_disconnect is not done at galene: moderators' clients act"):
        kit.force_disconnect(session, "c1")


def test_a_name_that_a_url_would_escape_has_a_derived_group():
    names = ["demo", "Demo", "démo", "a.b", "a b", "x" * 251]
    rooms = [galene().room(name) for name in names]
    assert rooms[:2] == names[:2]
    assert rooms[2:] == ["rc-" + sha256(name.encode()).hexdigest()[:40] for name in names[2:]]


def test_its_tokens_are_minted_without_a_ticket_and_read_at_the_apps_doors(make_kit, clock):
    kit = make_kit(media=galene(parent="school"), format="galene", accept=["opentok", "galene"])
    session = kit.create_session()
    token = session.generate_token("subscriber", actor="ada")
    assert GaleneGroup(f"school/{session.session_id}", [JWK]).join(token, clock()) == ("ada", [])
    grant = kit.verify_token(token, session.session_id)
    assert (grant.role, grant.actor_id) == ("subscriber", "ada")


# -- what is refused -------------------------------------------------------------------------------

WRONG: dict[str, tuple[bytes, type[InvalidToken], str]] = {
    "other secret": (signed(secret="x" * 32), BadSignature, "signature"),
    "none": (signed(alg="none"), WrongTokenKind, "algorithm"),
    "HS512": (signed(alg="HS512", digest="sha512"), WrongTokenKind, "HS512"),
    "unknown kid": (signed(kid="another"), UnknownKey, "key"),
    "no typ": (signed(typ=ABSENT), WrongTokenKind, "typ"),
    "no exp": (signed({"exp": ABSENT}), InvalidClaim, "exp"),
    "expired": (signed({"exp": NOW - 11}), ExpiredToken, "expired"),
    "too long a life": (signed({"exp": NOW + 31 * 86_400}), InvalidClaim, "30 days"),
    "issued in the future": (signed({"iat": NOW + 11}), TokenNotYetValid, "future"),
    "not yet": (signed({"nbf": NOW + 11}), TokenNotYetValid, "valid from"),
    "no identity": (signed({"sub": ABSENT}), InvalidClaim, "sub"),
    "empty identity": (signed({"sub": ""}), InvalidClaim, "sub"),
    "identity is a number": (signed({"sub": 7}), InvalidClaim, "sub"),
    "no last slash": (signed({"aud": URL + "/group/demo"}), InvalidClaim, "aud"),
    "two slashes": (signed({"aud": URL + "/group/demo//"}), InvalidClaim, "aud"),
    "a subgroup": (signed({"aud": URL + "/group/demo/sub/"}), InvalidClaim, "aud"),
    "all groups": (signed({"aud": URL + "/group/"}), InvalidClaim, "aud"),
    "another host": (signed({"aud": "https://another.example/group/demo/"}), InvalidClaim, "aud"),
    "a path alone": (signed({"aud": "/group/demo/"}), InvalidClaim, "aud"),
    "several groups": (signed({"aud": [URL + "/group/demo/"]}), InvalidClaim, "aud"),
    "no audience": (signed({"aud": ABSENT}), InvalidClaim, "aud"),
    "a derived name": (signed({"aud": URL + "/group/rc-" + "0" * 40 + "/"}), InvalidClaim, "aud"),
    "with subgroups": (signed({"include-subgroups": True}), InvalidClaim, "include-subgroups"),
    "no permissions": (signed({"permissions": ABSENT}), InvalidClaim, "permissions"),
    "null": (signed({"permissions": None}), InvalidClaim, "permissions"),
    "text": (signed({"permissions": "op"}), InvalidClaim, "permissions"),
    "an object": (signed({"permissions": {"op": True}}), InvalidClaim, "permissions"),
    "a number": (signed({"permissions": [1]}), InvalidClaim, "permissions"),
    "a list in it": (signed({"permissions": [["op"]]}), InvalidClaim, "permissions"),
    **{
        permission: (signed({"permissions": ["present", permission]}), InvalidClaim, "permissions")
        for permission in ("system", "admin", "record", "token", "caption", "Op")
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_token_is_refused_with_the_reason(name):
    token, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        FORM.verify(token, NOW)


TAKEN: dict[str, tuple[dict[str, Any], str]] = {
    "good": ({}, "publisher"),
    "no iat": ({"iat": ABSENT}, "publisher"),
    "an issuer": ({"iss": "https://auth.example.org"}, "publisher"),
    "nothing": ({"permissions": []}, "subscriber"),
    "chat alone": ({"permissions": ["message"]}, "subscriber"),
    "an operator": ({"permissions": ["op", "present", "message"]}, "moderator"),
    "no subgroups": ({"include-subgroups": False}, "publisher"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_token_that_the_service_takes_is_good(name):
    changes, role = TAKEN[name]
    token = signed(changes)
    assert FORM.verify(token, NOW).role == role
    assert GROUP.join(token.decode(), NOW)[1] == {**CLAIMS, **changes}["permissions"]


def test_its_tokens_are_told_apart_from_those_of_others(kit):
    own = kit.create_session().generate_token().encode()
    others = [one for one in VECTORS if one["service"] != "galene" and isinstance(one["token"], str)]
    assert not any(FORM.recognizes(one) for one in (own, b"x", *(one["token"].encode() for one in others)))
    assert FORM.recognizes(signed())


# -- settings --------------------------------------------------------------------------------------

BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a WebSocket's URL": ({"url": "wss://galene.example.org"}, "url is not the URL of a service"),
    "a URL with a password": ({"url": f"https://ada:{SECRET}@galene.example.org"}, "url holds a user"),
    "no key": ({"key": None}, "galene: key: the key is missing"),
    "a secret as text": ({"key": SECRET}, "galene: key: private_key is neither PEM"),
    "no JSON": ({"key": "{kty: oct}"}, "galene: key: the JWK is no strict JSON"),
    "a name twice": ({"key": '{"kty": "oct", "kty": "oct"}'}, "the JWK is no strict JSON"),
    "an empty JWK": ({"key": {}}, "galene: key: the JWK, of kty None, is no private key"),
    "a long secret": ({"key": {**JWK, "k": "A" * 44}}, "of exactly 32 bytes"),
    "a secret without alg": ({"key": {"kty": "oct", "k": JWK["k"]}}, "a secret with alg 'HS256'"),
    "HS512": ({"key": {**JWK, "alg": "HS512"}}, "a secret with alg 'HS256'"),
    "a known secret": ({"key": {**JWK, "k": "A" * 43}}, "galene: key: the secret is publicly known"),
    "not base64url": ({"key": {**JWK, "k": "=" * 43}}, "galene: key: the JWK's k is not base64url"),
    "a public JWK": (
        {"key": jwt.algorithms.ECAlgorithm.to_jwk(EC.public_key(), as_dict=True)},
        "of kty 'EC', is no private key",
    ),
    "another curve": (
        {"key": jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()), as_dict=True)},
        "secp384r1; ES256 needs P-256",
    ),
    "Ed25519": ({"key": pem_of(ed25519.Ed25519PrivateKey.generate())}, "the key is for EdDSA; Galène has"),
    "a long kid": (
        {"key": {**json.loads(PRIVATE["EC as JSON"][0]), "kid": "k" * 129}},
        "galene: key: a kid is a string of 1 to 128",
    ),
    "a wrong further key": ({"verify_keys": ["x"]}, "galene: verify_keys, number 1: "),
    "further keys as text": ({"verify_keys": "x"}, "galene: verify_keys is a text"),
    "a parent with a slash": ({"parent": "/school"}, "galene: parent is '/school'; expected the name of a group"),
    "a parent that is none": ({"parent": None}, "galene: parent is None"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_wrong_settings_are_named_and_no_key_is_quoted(name):
    settings, message = BAD_SETTINGS[name]
    with pytest.raises((ConfigurationError, InvalidKey), match=message) as refused:
        Galene(**{"url": URL, "key": JWK, **settings})
    assert not any(secret in held_by(refused.value) for secret in (JWK["k"], SECRET))


def test_the_environment_has_its_settings():
    variables = {
        "ROLECALL_API_KEY": API_KEY,
        "ROLECALL_API_SECRET": API_SECRET,
        "ROLECALL_MEDIA": "galene",
        "ROLECALL_GALENE_URL": URL + "/",
        "ROLECALL_GALENE_KEY": pem_of(EC).decode().replace("\n", "\\n"),
        "ROLECALL_GALENE_VERIFY_KEYS": json.dumps([json.dumps(JWK)]),
        "ROLECALL_GALENE_PARENT": "school",
    }
    with Rolecall.from_env(variables) as kit:
        session = kit.create_session()
        found = kit.engine.state.media.of(session)
        backend: Any = found and found[0]
        ticket = kit.ticket(kit.verify_token(session.generate_token(actor="ada")))
        group = GaleneGroup(f"school/{session.session_id}", backend.auth_keys)
        assert group.join(ticket.token, kit.engine.state.clock())[0] == "ada"
    assert repr(backend) == f"<Galene {URL}/>"
