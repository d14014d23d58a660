"""The application JWT: what is minted, what is read, and tokens that must be refused though our own key signed them."""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections import Counter
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from rolecall import Rolecall, hookimpl, inspect_token
from rolecall.encoding import base64url
from rolecall.errors import (
    BadSignature,
    ExpiredToken,
    InvalidClaim,
    InvalidData,
    InvalidToken,
    MalformedToken,
    RolecallError,
    TokenNotYetValid,
    UnknownKey,
    WrongTokenKind,
)

from ...budgets import examples

APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
ANOTHER = "00000000-96f1-4f52-8b0e-0c8a1f7e5d34"
API_KEY = "123456"
SECRET = "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
SESSION = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
NOW = 1_795_186_800
LEEWAY = 10
DAY = 86_400
HEADER = b'{"alg":"RS256","typ":"JWT"}'
ROLES = ("subscriber", "publisheronly", "publisher", "moderator")
LAYOUT = "initial_layout_class_list"

#: In the place of a claim: the token does not have it.
ABSENT = object()


@cache
def private(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(name: str = "ours") -> bytes:
    return private(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem() -> bytes:
    return private("ours").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def make(clock):
    """Makes kits of the application; closes them at the end."""
    kits = []

    def make(**options) -> Rolecall:
        given = {"application_id": APPLICATION, "private_key": pem(), "clock": clock, "entry_points": False, **options}
        kits.append(Rolecall(**given))
        return kits[-1]

    yield make
    for kit in kits:
        kit.close()


@pytest.fixture(scope="module", params=["an application alone", "both"])
def kit(request):
    """A kit with the application, alone or beside a project: neither changes what its tokens say."""
    project: dict[str, Any] = (
        {"api_key": API_KEY, "api_secret": SECRET, "format": "vonage"} if request.param == "both" else {}
    )
    given: dict[str, Any] = {
        "application_id": APPLICATION,
        "private_key": pem(),
        "clock": lambda: NOW,
        "entry_points": False,
    }
    with Rolecall(**given, **project) as made:
        yield made


@pytest.fixture(scope="module")
def sole():
    """A kit with the application alone."""
    with Rolecall(application_id=APPLICATION, private_key=pem(), clock=lambda: NOW, entry_points=False) as made:
        yield made


@pytest.fixture(scope="module")
def beside_a_project():
    """A kit with both, that mints a project's tokens."""
    given: dict[str, Any] = {
        "application_id": APPLICATION,
        "private_key": pem(),
        "clock": lambda: NOW,
        "entry_points": False,
    }
    with Rolecall(API_KEY, SECRET, **given) as made:
        yield made


def claims(**changes) -> bytes:
    """The payload of a good token, with these claims set or ABSENT."""
    members = {
        "application_id": APPLICATION,
        "iat": NOW,
        "exp": NOW + DAY,
        "jti": "an id",
        "session_id": SESSION,
        "role": "publisher",
        "scope": "session.connect",
        "acl": {"paths": {"/session/**": {}}},
        "sub": "video",
        **changes,
    }
    return json.dumps({name: value for name, value in members.items() if value is not ABSENT}).encode()


def plus(members: bytes) -> bytes:
    """The payload of a good token, with raw JSON members behind the others."""
    return claims()[:-1] + b"," + members + b"}"


def forge(payload: bytes, header: bytes = HEADER, key: str = "ours", scheme=None, hash=None) -> str:
    """The token of any payload and header, signed with the right key."""
    signing_input = base64url.encode(header) + b"." + base64url.encode(payload)
    signature = private(key).sign(signing_input, scheme or padding.PKCS1v15(), hash or SHA256())
    return (signing_input + b"." + base64url.encode(signature)).decode()


def forge_mac(secret: bytes, header: bytes = b'{"alg":"HS256","typ":"JWT"}', payload: bytes | None = None) -> str:
    """A token with an HMAC in the place of the signature."""
    signing_input = base64url.encode(header) + b"." + base64url.encode(claims() if payload is None else payload)
    return (signing_input + b"." + base64url.encode(hmac.digest(secret, signing_input, "sha256"))).decode()


# -- what is minted --------------------------------------------------------------------------------


def test_a_token_has_the_claims_of_the_service_and_no_others(kit):
    session_id = kit.create_session().session_id
    token = kit.generate_token(session_id, "moderator", NOW + 60, "Zoë", ["focus", "small"])
    seen = inspect_token(token)
    assert seen.header == {"alg": "RS256", "typ": "JWT"}
    read = json.loads(json.dumps(dict(seen.claims), default=dict))
    assert re.fullmatch(r"0\.[0-9a-f]{32}", read.pop("jti"))
    assert read == {
        "application_id": APPLICATION,
        "iat": NOW,
        "exp": NOW + 60,
        "session_id": session_id,
        "role": "moderator",
        "scope": "session.connect",
        "acl": {"paths": {"/session/**": {}}},
        "sub": "video",
        "initial_layout_class_list": "focus small",
        "connection_data": "Zoë",
    }


def test_what_is_empty_is_left_out(kit):
    seen = inspect_token(kit.create_session().generate_token(data="", initial_layout_class_list=[])).claims
    assert not {"connection_data", LAYOUT} & set(seen)


def test_a_token_lives_24_hours_by_default(kit):
    seen = inspect_token(kit.create_session().generate_token()).claims
    assert (seen["iat"], seen["exp"]) == (NOW, NOW + DAY)


def test_every_token_has_an_id_of_its_own(kit):
    session = kit.create_session()
    assert len({kit.verify_token(session.generate_token()).token_id for _ in range(20)}) == 20


@pytest.mark.each_choice
@pytest.mark.parametrize("role", ROLES)
def test_a_token_grants_its_role(kit, role):
    grant = kit.verify_token(kit.create_session().generate_token(role))
    assert (grant.role, grant.capabilities) == (role, kit.roles.get(role).capabilities)


@pytest.mark.each_choice
@pytest.mark.parametrize(
    "data", ['"\\/\b\n\r\t', "Zoë & Jürgen", "\N{PILE OF POO}\u2028\0\x7f", "x" * 1000, " "], ids=ascii
)
def test_a_token_grants_exactly_its_data(kit, data):
    assert kit.verify_token(kit.create_session().generate_token(data=data)).data == data


@pytest.mark.each_choice
@pytest.mark.parametrize("layout", [[], ["focus"], ["focus", "small"], ['"quoted"', "é"]], ids=ascii)
def test_a_token_grants_exactly_its_layout(kit, layout):
    token = kit.create_session().generate_token(initial_layout_class_list=layout)
    assert kit.verify_token(token).layout == tuple(layout)


def test_a_token_of_the_longest_data_is_read(kit):
    token = kit.create_session().generate_token(data="😀" * 1000, initial_layout_class_list=["focus"])
    assert kit.verify_token(token).data == "😀" * 1000


def test_a_token_that_would_be_too_long_is_not_minted(make):
    class Wordy:
        @hookimpl
        def rolecall_token_claims(self, request):
            return {"words": "x" * 6000}

    with pytest.raises(InvalidData):
        make(plugins=[Wordy()]).create_session().generate_token(data="\0" * 1000)


class Extra:
    """Adds claims of its own."""

    @hookimpl
    def rolecall_token_claims(self, request):
        return {"group": {"names": ["a", "b"]}}


def test_claims_of_a_plugin_are_in_the_token(make):
    kit = make(plugins=[Extra()])
    assert kit.verify_token(kit.create_session().generate_token()).claims["group"]["names"] == ("a", "b")


# -- what is read ----------------------------------------------------------------------------------

GOOD = forge(claims())
HEAD, BODY, SIGNATURE = GOOD.split(".")

READ = {
    "sub": {},
    "subject, as the SDK for Python writes it": {"sub": ABSENT, "subject": "video"},
    "sub and subject": {"subject": "video"},
    "no jti": {"jti": ABSENT},
    "a UUID as jti": {"jti": "0cbd3dd2-5d01-4b3c-9d4a-4e0a9d1e0b5e"},
    "a jti of 255 characters": {"jti": "x" * 255},
    "no acl": {"acl": ABSENT},
    "an empty layout": {LAYOUT: ""},
    "no layout": {LAYOUT: ABSENT},
    "an empty list as layout": {LAYOUT: []},
    "exp just within the leeway": {"exp": NOW - LEEWAY + 0.5, "iat": NOW - 60},
    "iat at the leeway": {"iat": NOW + LEEWAY},
    "nbf at the leeway": {"nbf": NOW + LEEWAY},
    "a life of 15 minutes": {"exp": NOW + 900},
    "a life of 30 days and an hour": {"exp": NOW + 30 * DAY + 3600},
    "no exp, and 24 hours nearly over": {"iat": NOW - DAY - LEEWAY + 0.5, "exp": ABSENT},
    "data of 1000 characters": {"connection_data": "😀" * 150 + "x" * 850},
    "a layout of 1000 characters in a list": {LAYOUT: ["x" * 499, "y" * 500]},
    "claims of an app": {"a": {"b": [1, 2, {"c": None}]}},
    "a session of the application's": {"session_id": "1_x"},
}


@pytest.mark.each_choice
@pytest.mark.parametrize("changes", READ.values(), ids=READ)
def test_a_token_is_read_with_its_values(changes, kit):
    grant = kit.verify_token(forge(claims(**changes)))
    assert grant.session_id == changes.get("session_id", SESSION)
    assert grant.role == "publisher"


@pytest.mark.each_choice
@pytest.mark.parametrize("layout", ["focus small", "focus+small", ["focus", "small"]], ids=str)
def test_a_layout_is_read_from_a_text_and_from_a_list(layout, kit):
    assert kit.verify_token(forge(claims(**{LAYOUT: layout}))).layout == ("focus", "small")


@pytest.mark.each_choice
@pytest.mark.parametrize("layout", [[], ["focus"], ["a class", "b+c"]], ids=str)
def test_the_classes_of_a_list_are_as_they_stand_there(layout, kit):
    grant = kit.verify_token(forge(claims(**{LAYOUT: layout})))
    assert grant.layout == grant.claims[LAYOUT] == tuple(layout)


@pytest.mark.each_choice
@pytest.mark.parametrize(
    "header",
    [
        b'{"typ":"JWT","alg":"RS256"}',
        b'{"alg":"RS256","typ":"JWT"}',
        b'{ "alg" : "RS256" , "typ" : "JWT" }',
        b'{"alg":"\\u0052S256","typ":"JWT"}',
        b'{"typ":"JWT","more":1,"alg":"RS256"}',
    ],
)
def test_the_members_of_a_header_may_stand_in_any_order(header, kit):
    for _ in range(2):
        assert kit.verify_token(forge(claims(), header)).session_id == SESSION


def test_a_token_is_known_by_its_jti(kit):
    assert kit.verify_token(GOOD).token_id == "an id"


def test_a_token_without_a_jti_is_known_by_what_was_signed(kit):
    ids = [kit.verify_token(forge(claims(jti=ABSENT, n=n))).token_id for n in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert re.fullmatch("[0-9a-f]{64}", ids[0])


def test_the_claims_of_a_grant_are_read_only(kit):
    grant = kit.verify_token(forge(claims(**{LAYOUT: ["a"]})))
    for target in (grant.claims, grant.claims["acl"], grant.claims["acl"]["paths"]):
        with pytest.raises(TypeError):
            target["x"] = 1


@pytest.mark.each_choice
@pytest.mark.parametrize("leeway", [0, 60])
def test_the_leeway_is_the_kits(leeway, make):
    kit = make(leeway=leeway)
    assert kit.verify_token(forge(claims(iat=NOW + leeway)))
    with pytest.raises(TokenNotYetValid):
        kit.verify_token(forge(claims(iat=NOW + leeway + 1)))


def test_a_token_that_was_seen_is_refused_once_it_has_expired(make, clock):
    kit = make()
    for _ in range(3):
        kit.verify_token(GOOD)
    clock.now = NOW + DAY + LEEWAY
    with pytest.raises(ExpiredToken):
        kit.verify_token(GOOD)


# -- attacks ---------------------------------------------------------------------------------------


def attackers_jwk() -> bytes:
    return RSAAlgorithm.to_jwk(private("the attacker's").public_key()).encode()


def with_member(member: bytes) -> bytes:
    return HEADER[:-1] + b"," + member + b"}"


BROUGHT_KEYS = {
    "jwk": b'"jwk":' + attackers_jwk(),
    "jwk and its kid": b'"jwk":' + attackers_jwk()[:-1] + b',"kid":"a"}',
    "jku": b'"jku":"https://attacker.example/jwks.json"',
    "x5u": b'"x5u":"https://attacker.example/x.pem"',
    "x5c": b'"x5c":["AAAA"]',
}


def signed_with(signature: bytes) -> str:
    return f"{HEAD}.{BODY}.{base64url.encode(signature).decode()}"


SIGNATURES = {
    "no signature": f"{HEAD}.{BODY}.",
    "another key": forge(claims(), key="the attacker's"),
    "SHA-1": forge(claims(), hash=SHA1()),
    "SHA-512": forge(claims(), hash=SHA512()),
    "PSS": forge(claims(), scheme=padding.PSS(padding.MGF1(SHA256()), 32)),
    "zeros": signed_with(bytes(256)),
    "one": signed_with(bytes(255) + b"\x01"),
    "a zero before it": signed_with(b"\0" + base64url.decode(SIGNATURE.encode())),
    "half of it": f"{HEAD}.{BODY}.{SIGNATURE[:168]}",
    "of another payload": f"{HEAD}.{base64url.encode(claims(role='moderator')).decode()}.{SIGNATURE}",
    "of another header": f"{base64url.encode(HEADER[:-1] + b' }').decode()}.{BODY}.{SIGNATURE}",
    "an HMAC with the public key": forge_mac(public_pem(), HEADER),
    **{f"the key in {name}": forge(claims(), with_member(member), key="the attacker's")
       for name, member in BROUGHT_KEYS.items()},
}  # fmt: skip

HEADERS = {
    "no typ": (b'{"alg":"RS256"}', WrongTokenKind),
    "typ null": (b'{"alg":"RS256","typ":null}', WrongTokenKind),
    "typ jwt": (b'{"alg":"RS256","typ":"jwt"}', WrongTokenKind),
    "typ at+jwt": (b'{"alg":"RS256","typ":"at+jwt"}', WrongTokenKind),
    "crit": (with_member(b'"crit":["exp"]'), MalformedToken),
    "b64": (with_member(b'"b64":false'), MalformedToken),
    "zip": (with_member(b'"zip":"DEF"'), MalformedToken),
    "kid unknown": (with_member(b'"kid":"x"'), UnknownKey),
    "kid the application's id": (with_member(b'"kid":"%s"' % APPLICATION.encode()), UnknownKey),
    "kid empty": (with_member(b'"kid":""'), UnknownKey),
    "kid a path": (with_member(b'"kid":"../../dev/null"'), UnknownKey),
    "kid null": (with_member(b'"kid":null'), MalformedToken),
    "kid a number": (with_member(b'"kid":1'), MalformedToken),
    "kid of 129 characters": (with_member(b'"kid":"%s"' % (b"k" * 129)), MalformedToken),
}

#: Not told to be an application's token by their header; each with the class of a kit that has a project as well.
OTHER_ALGORITHMS = {
    "none": (b'{"alg":"none","typ":"JWT"}', WrongTokenKind),
    "None": (b'{"alg":"None","typ":"JWT"}', WrongTokenKind),
    "rs256": (b'{"alg":"rs256","typ":"JWT"}', WrongTokenKind),
    "RS384": (b'{"alg":"RS384","typ":"JWT"}', WrongTokenKind),
    "RS512": (b'{"alg":"RS512","typ":"JWT"}', WrongTokenKind),
    "PS256": (b'{"alg":"PS256","typ":"JWT"}', WrongTokenKind),
    "ES256": (b'{"alg":"ES256","typ":"JWT"}', WrongTokenKind),
    "EdDSA": (b'{"alg":"EdDSA","typ":"JWT"}', WrongTokenKind),
    "RS256 with white space": (b'{"alg":"RS256 ","typ":"JWT"}', WrongTokenKind),
    "HS256": (b'{"alg":"HS256","typ":"JWT"}', BadSignature),
    "a list": (b'{"alg":["RS256"],"typ":"JWT"}', MalformedToken),
    "null": (b'{"alg":null,"typ":"JWT"}', MalformedToken),
    "no alg": (b'{"typ":"JWT"}', MalformedToken),
    "twice, RS256 last": (b'{"alg":"none","alg":"RS256","typ":"JWT"}', MalformedToken),
    "twice, RS256 first": (b'{"alg":"RS256","alg":"HS256","typ":"JWT"}', MalformedToken),
    "twice by an escape": (b'{"alg":"HS256","\\u0061lg":"RS256","typ":"JWT"}', MalformedToken),
    "a BOM": (b"\xef\xbb\xbf" + HEADER, MalformedToken),
    "UTF-16": (HEADER.decode().encode("utf-16"), MalformedToken),
    "trailing data": (HEADER + b"x", MalformedToken),
    "an array": (b'["RS256"]', MalformedToken),
    "empty": (b"", MalformedToken),
}

WRONG_TEXTS: dict[str, Any] = {"a number": 5, "zero": 0, "true": True, "false": False, "null": None, "an object": {}}
WRONG_TIMES = {"true": True, "text": str(NOW + 5), "null": None, "a list": [NOW], "minus one": -1,
               "milliseconds": NOW * 1000, "2^53": 2**53, "1e300": 1e300}  # fmt: skip

CLAIMS: dict[str, tuple[dict[str, Any], type[RolecallError]]] = {
    **{f"{name} {what}": ({name: value}, InvalidClaim)
       for name in ("iat", "exp", "nbf") for what, value in WRONG_TIMES.items()},
    **{f"{name} {what}": ({name: value}, InvalidClaim)
       for name in ("session_id", "role", "connection_data", "jti", LAYOUT) for what, value in WRONG_TEXTS.items()},
    **{f"{name} {what}": ({name: value}, WrongTokenKind)
       for name in ("scope", "sub", "subject") for what, value in {**WRONG_TEXTS, "a list": ["video"]}.items()},
    **{f"{name} a list": ({name: ["x"]}, InvalidClaim)
       for name in ("session_id", "role", "connection_data", "jti")},
    **{f"application_id {what}": ({"application_id": value}, UnknownKey)
       for what, value in {**WRONG_TEXTS, "a list": [APPLICATION], "absent": ABSENT, "empty": "", "another": ANOTHER,
                           "in capitals": APPLICATION.upper(), "with white space": APPLICATION + " ",
                           "the API key": API_KEY}.items()},
    "a project's claims": ({"application_id": ABSENT, "iss": API_KEY, "ist": "project"}, UnknownKey),
    "iss in the place of application_id": ({"application_id": ABSENT, "iss": APPLICATION}, UnknownKey),
    "neither sub nor subject": ({"sub": ABSENT}, WrongTokenKind),
    "another sub": ({"sub": "ada"}, WrongTokenKind),
    "an empty sub": ({"sub": ""}, WrongTokenKind),
    "sub in capitals": ({"sub": "VIDEO"}, WrongTokenKind),
    "sub with white space": ({"sub": "video "}, WrongTokenKind),
    "another subject": ({"sub": ABSENT, "subject": "ada"}, WrongTokenKind),
    "a wrong subject beside a good sub": ({"subject": "ada"}, WrongTokenKind),
    "a wrong sub beside a good subject": ({"sub": "ada", "subject": "video"}, WrongTokenKind),
    "sub and subject alike and wrong": ({"sub": "ada", "subject": "ada"}, WrongTokenKind),
    "no scope": ({"scope": ABSENT}, WrongTokenKind),
    "an empty scope": ({"scope": ""}, WrongTokenKind),
    "another scope": ({"scope": "session.create"}, WrongTokenKind),
    "two scopes": ({"scope": "session.connect session.create"}, WrongTokenKind),
    "no session": ({"session_id": ABSENT}, WrongTokenKind),
    "an empty session": ({"session_id": ""}, InvalidClaim),
    "a session of 256 characters": ({"session_id": "x" * 256}, InvalidClaim),
    "a credential for the API": ({"session_id": ABSENT, "scope": ABSENT, "role": ABSENT, "sub": ABSENT, "acl": ABSENT},
                                 WrongTokenKind),
    "a credential for the API with rights": (
        {"session_id": ABSENT, "scope": ABSENT, "role": ABSENT, "sub": ABSENT,
         "acl": {"paths": {"/*/sessions/**": {}, "/*/rtc/**": {}}}}, WrongTokenKind),
    "a credential for the API with sub": ({"session_id": ABSENT, "scope": ABSENT, "role": ABSENT}, WrongTokenKind),
    "a credential for a user of another product": (
        {"sub": "ada", "acl": {"paths": {"/*/users/**": {}}}}, WrongTokenKind),
    "an acl without paths": ({"acl": {}}, WrongTokenKind),
    "an acl of no path": ({"acl": {"paths": {}}}, WrongTokenKind),
    "an acl of another path": ({"acl": {"paths": {"/other/**": {}}}}, WrongTokenKind),
    "an acl with a limit": ({"acl": {"paths": {"/session/**": {"methods": ["GET"]}}}}, WrongTokenKind),
    "an acl that is null": ({"acl": None}, WrongTokenKind),
    "an acl as a list": ({"acl": ["/session/**"]}, WrongTokenKind),
    "no role": ({"role": ABSENT}, InvalidClaim),
    "an empty role": ({"role": ""}, InvalidClaim),
    "a role that does not exist": ({"role": "admin"}, InvalidClaim),
    "a role in capitals": ({"role": "MODERATOR"}, InvalidClaim),
    "a role with a long s": ({"role": "ſubscriber"}, InvalidClaim),
    "an empty jti": ({"jti": ""}, InvalidClaim),
    "a jti of 256 characters": ({"jti": "x" * 256}, InvalidClaim),
    "data of 1001 characters": ({"connection_data": "x" * 1001}, InvalidClaim),
    "layout of 1001 characters": ({LAYOUT: "x" * 1001}, InvalidClaim),
    "layout of 1001 characters in a list": ({LAYOUT: ["x" * 500, "y" * 500]}, InvalidClaim),
    "layout with a number in the list": ({LAYOUT: ["focus", 1]}, InvalidClaim),
    "layout with a null in the list": ({LAYOUT: [None]}, InvalidClaim),
    "layout with a list in the list": ({LAYOUT: [["focus"]]}, InvalidClaim),
    "exp as long ago as the leeway": ({"exp": NOW - LEEWAY, "iat": NOW - DAY}, ExpiredToken),
    "exp at the epoch": ({"exp": 0}, ExpiredToken),
    "iat beyond the leeway": ({"iat": NOW + LEEWAY + 0.5}, TokenNotYetValid),
    "nbf beyond the leeway": ({"nbf": NOW + LEEWAY + 0.5}, TokenNotYetValid),
    "a life of 30 days, an hour and a second": ({"exp": NOW + 30 * DAY + 3601}, InvalidClaim),
    "neither exp nor iat": ({"iat": ABSENT, "exp": ABSENT}, InvalidClaim),
    "no exp, and 24 hours over": ({"iat": NOW - DAY - LEEWAY, "exp": ABSENT}, ExpiredToken),
    "a role of an app that does not exist": ({"rolecall_role": "king"}, InvalidClaim),
}  # fmt: skip

PAYLOADS = {
    "role twice": plus(b'"role":"moderator"'),
    "role twice by an escape": plus(b'"\\u0072ole":"moderator"'),
    "application_id twice": plus(b'"application_id":"%s"' % APPLICATION.encode()),
    "sub twice": plus(b'"sub":"video"'),
    "a path of the acl twice": claims().replace(b'{"/session/**": {}}', b'{"/session/**": {}, "/session/**": {}}'),
    "NaN": plus(b'"x":NaN'),
    "2^53+1": plus(b'"x":9007199254740993'),
    "a lone surrogate": plus(b'"x":"\\ud800"'),
    "9 levels": plus(b'"x":' + b"[" * 8 + b"]" * 8),
    "65 elements of layout": claims(**{LAYOUT: ["x"] * 65}),
    "a BOM": b"\xef\xbb\xbf" + claims(),
    "UTF-16": claims().decode().encode("utf-16"),
    "trailing data": claims() + b"x",
    "an array": b"[" + claims() + b"]",
    "empty": b"",
}

FORM = {
    "three dots": f"{GOOD}.",
    "four parts": f"{GOOD}.{SIGNATURE}",
    "one dot": f"{HEAD}.{BODY}",
    "the header alone": HEAD,
    "the signature padded": f"{GOOD}==",
    "the signature not canonical": GOOD[:-1] + chr(ord(GOOD[-1]) + 1),
    "white space after": f"{GOOD} ",
    "a new line after": f"{GOOD}\n",
    "'Bearer ' before": f"Bearer {GOOD}",
    "16 KiB and more": forge(claims(fill="x" * 16_000)),
}


def table():
    """Every attack that an RS256 header announces: what it is, the token, and the exact class that refuses it."""
    yield from ((f"form: {what}", token, MalformedToken) for what, token in FORM.items())
    yield from ((f"signature: {what}", token, BadSignature) for what, token in SIGNATURES.items())
    yield from ((f"header: {what}", forge(claims(), header), error) for what, (header, error) in HEADERS.items())
    yield from ((f"payload: {what}", forge(payload), MalformedToken) for what, payload in PAYLOADS.items())
    yield from ((f"claim: {what}", forge(claims(**changes)), error) for what, (changes, error) in CLAIMS.items())


ATTACKS = [pytest.param(token, error, id=what) for what, token, error in table()]


def test_the_attacks_are_all_different():
    assert [n for n in Counter(attack.values[0] for attack in ATTACKS).values() if n > 1] == []


@pytest.mark.each_choice
@pytest.mark.parametrize(("token", "error"), ATTACKS)
def test_an_attack_is_refused_for_its_own_reason(token, error, kit):
    kit.verify_token(GOOD)
    for _ in range(2):
        with pytest.raises(InvalidToken) as caught:
            kit.verify_token(token)
        assert type(caught.value) is error


@pytest.mark.parametrize(("token", "error"), ATTACKS)
def test_the_message_of_a_refusal_is_fit_for_a_header_and_holds_no_token(token, error, sole):
    with pytest.raises(InvalidToken) as caught:
        sole.verify_token(token)
    message = str(caught.value).replace("±", "").replace("…", "")
    assert message.isascii()
    assert message.isprintable()
    assert not re.search(r"[A-Za-z0-9_-]{37}", message)  # the longest that is shown is an application's id


@pytest.mark.each_choice
@pytest.mark.parametrize(("header", "error"), OTHER_ALGORITHMS.values(), ids=OTHER_ALGORITHMS)
def test_a_header_that_is_not_for_rs256_is_refused_though_our_key_signed_it(header, error, sole, beside_a_project):
    token = forge(claims(), header)
    with pytest.raises(MalformedToken):
        sole.verify_token(token)
    with pytest.raises(InvalidToken) as caught:
        beside_a_project.verify_token(token)
    assert type(caught.value) is error


@pytest.mark.each_choice
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
def test_an_unsigned_token_is_refused(alg, kit):
    header = base64url.encode(json.dumps({"alg": alg, "typ": "JWT"}).encode()).decode()
    for signature in ("", SIGNATURE):
        with pytest.raises(InvalidToken):
            kit.verify_token(f"{header}.{BODY}.{signature}")


def spellings_of_the_public_key() -> dict[str, bytes]:
    public = private("ours").public_key()
    text = public_pem()
    return {
        "PEM": text,
        "PEM without its last line end": text.rstrip(),
        "PEM with CRLF": text.replace(b"\n", b"\r\n"),
        "PKCS1 PEM": public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "SSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "JWK": RSAAlgorithm.to_jwk(public).encode(),
        "the modulus": public.public_numbers().n.to_bytes(256),
        "base64": b64encode(text),
        "base64url": urlsafe_b64encode(text),
        "nothing": b"",
        "the application's id": APPLICATION.encode(),
    }


@pytest.mark.each_choice
@pytest.mark.parametrize("alg", [b"HS256", b"RS256"])
@pytest.mark.parametrize("secret", spellings_of_the_public_key().values(), ids=spellings_of_the_public_key())
def test_what_everybody_knows_is_no_secret_to_sign_with(alg, secret, kit):
    """Algorithm confusion: an HMAC with the public key, announced as what it is and as what it is not."""
    payloads = claims(), claims(application_id=ABSENT, sub=ABSENT, iss=API_KEY, ist="project")
    for payload in payloads:
        with pytest.raises(InvalidToken):
            kit.verify_token(forge_mac(secret, b'{"alg":"%s","typ":"JWT"}' % alg, payload))


@pytest.mark.each_choice
@pytest.mark.parametrize(
    "payload",
    [claims(), claims(application_id=ABSENT, iss=API_KEY, ist="project", sub=ABSENT, acl=ABSENT)],
    ids=["an application's claims", "a project's claims"],
)
def test_a_kit_of_secrets_alone_refuses_rs256(payload, clock):
    """Algorithm confusion, the other way round."""
    with Rolecall(API_KEY, SECRET, clock=clock, entry_points=False) as kit:
        for token in (forge(payload), forge_mac(SECRET.encode(), HEADER, payload)):
            with pytest.raises(WrongTokenKind):
                kit.verify_token(token)


def test_the_keys_of_a_project_and_of_an_application_are_for_their_own_claims_alone(beside_a_project):
    projects = claims(application_id=ABSENT, iss=API_KEY, ist="project", sub=ABSENT, acl=ABSENT)
    assert beside_a_project.verify_token(forge_mac(SECRET.encode(), payload=projects))
    for token in (forge_mac(SECRET.encode()), forge(projects)):
        with pytest.raises(UnknownKey):
            beside_a_project.verify_token(token)


@pytest.mark.each_choice
@pytest.mark.parametrize("member", BROUGHT_KEYS.values(), ids=BROUGHT_KEYS)
def test_a_key_in_the_header_changes_nothing_for_a_token_that_our_key_signed(member, kit):
    assert kit.verify_token(forge(claims(), with_member(member))).session_id == SESSION


def test_a_token_of_another_application_with_our_key_is_refused(make):
    """Two applications may have been given one key pair; their tokens are still not each other's."""
    session_id = make().create_session().session_id
    with pytest.raises(UnknownKey):
        make(application_id=ANOTHER).verify_token(make().generate_token(session_id))


def test_a_token_with_any_character_changed_is_refused(sole):
    token = sole.create_session().generate_token()
    sole.verify_token(token)
    accepted = []
    for index, character in enumerate(token):
        for other in {chr(ord(character) ^ 1), "A", ".", ""} - {character}:
            try:
                sole.verify_token(token[:index] + other + token[index + 1 :])
            except InvalidToken:
                continue
            accepted.append((index, other))
    assert accepted == []


# -- anything at all -------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([*json.loads(claims()), "subject", "nbf", "connection_data", LAYOUT])


@settings(max_examples=examples(150))
@given(changes=st.dictionaries(NAMES, JSON, max_size=3))
def test_signed_claims_of_any_kind_make_a_sound_grant_or_an_invalid_token(sole, changes):
    try:
        grant = sole.verify_token(forge(claims(**changes)))
    except InvalidToken:
        return
    assert grant.role in ROLES
    assert NOW - LEEWAY < grant.expires_at <= NOW + LEEWAY + 30 * DAY + 3600
    assert isinstance(grant.session_id, str)
    assert all(isinstance(name, str) for name in (*grant.layout, grant.token_id))


@settings(max_examples=examples(60))
@given(header=st.binary(max_size=60), payload=st.binary(max_size=60))
def test_signed_bytes_of_any_kind_are_refused_by_an_error_of_the_kit(sole, header, payload):
    for token in (forge(payload), forge(claims(), header), forge(payload, header)):
        with pytest.raises(RolecallError):
            sole.verify_token(token)
