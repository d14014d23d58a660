"""The project JWT: tokens that must be refused though our own key signed them, and the edges of those accepted."""

from __future__ import annotations

import hmac
import json
import re
import unicodedata
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rolecall.encoding import base64url
from rolecall.errors import (
    BadSignature,
    ExpiredToken,
    InvalidClaim,
    InvalidToken,
    MalformedToken,
    RolecallError,
    TokenNotYetValid,
    UnknownKey,
    WrongTokenKind,
)

from ...budgets import examples

API_KEY = "123456"
SECRET = b"2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
SESSION = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
NOW = 1_795_186_800
LEEWAY = 10
DAY = 86_400
HEADER = b'{"alg":"HS256","typ":"JWT"}'
ROLES = ("subscriber", "publisheronly", "publisher", "moderator")

#: In the place of a claim: the token does not have it.
ABSENT = object()


def claims(**changes) -> bytes:
    """The payload of a good token, with these claims set or ABSENT."""
    members = {
        "session_id": SESSION,
        "role": "publisher",
        "iat": NOW,
        "exp": NOW + DAY,
        "scope": "session.connect",
        "iss": API_KEY,
        "ist": "project",
        "nonce": 1,
        "jti": "an id",
        **changes,
    }
    return json.dumps({name: value for name, value in members.items() if value is not ABSENT}).encode()


def plus(members: bytes) -> bytes:
    """The payload of a good token, with raw JSON members behind the others."""
    return claims()[:-1] + b"," + members + b"}"


def sign(signing_input: bytes, secret: bytes = SECRET, hash_name: str = "sha256") -> bytes:
    return base64url.encode(hmac.digest(secret, signing_input, hash_name))


def forge(payload: bytes, header: bytes = HEADER, **signing) -> str:
    """The token of any payload and header, signed with the right key."""
    signing_input = base64url.encode(header) + b"." + base64url.encode(payload)
    return (signing_input + b"." + sign(signing_input, **signing)).decode()


def forge_raw(header: str, payload: str) -> str:
    """The token of two segments as they are, signed with the right key."""
    return f"{header}.{payload}.{sign(f'{header}.{payload}'.encode('latin-1')).decode()}"


def filled(length: int) -> str:
    """A good token of exactly so many characters."""
    for spaces in range(4):
        for size in range((length - len(GOOD)) * 3 // 4 - 16, length):
            token = forge(plus(b'"fill":"' + b"x" * size + b'"'), b"{" + b" " * spaces + HEADER[1:])
            if len(token) == length:
                return token
            if len(token) > length:
                break
    raise AssertionError(length)


GOOD = forge(claims())
HEAD, BODY, SIGNATURE = GOOD.split(".")
#: Signed, and with both characters in its signature that standard base64 writes differently.
DASHED = next(t for n in range(1000) if "-" in (s := (t := forge(claims(nonce=n))).split(".")[2]) and "_" in s)
STANDARD = DASHED.rpartition(".")[0] + "." + DASHED.rpartition(".")[2].replace("-", "+").replace("_", "/")
NEXT_LAST = chr(ord(SIGNATURE[-1]) + 1)
ATTACKERS = b"the attacker's own key of 32 bytes"

FORM = {
    "None": None,
    "bytes": GOOD.encode(),
    "bytearray": bytearray(GOOD.encode()),
    "an int": 5,
    "a list": [GOOD],
    "a tuple of parts": tuple(GOOD.split(".")),
    "a dict": {"token": GOOD},
    "empty": "",
    "one dot": f"{HEAD}.{BODY}",
    "no dot": HEAD,
    "three dots": f"{GOOD}.",
    "four parts": f"{GOOD}.{SIGNATURE}",
    "five parts": f"{HEAD}.{BODY}.{BODY}.{BODY}.{SIGNATURE}",
    "only dots": "..",
    "a dot before": f".{GOOD}",
    "a doubled dot": f"{HEAD}..{BODY}.{SIGNATURE}",
    "16 KiB and a character": filled(16_385),
    "a megabyte": GOOD + "A" * 1_000_000,
    "white space before": f" {GOOD}",
    "white space after": f"{GOOD} ",
    "a new line after": f"{GOOD}\n",
    "CRLF after": f"{GOOD}\r\n",
    "a NUL after": f"{GOOD}\0",
    "a BOM before": f"\ufeff{GOOD}",
    "white space at a dot": forge_raw(HEAD, " " + BODY),
    "a new line in the signature": f"{HEAD}.{BODY}.{SIGNATURE[:20]}\n{SIGNATURE[20:]}",
    "'Bearer ' before": f"Bearer {GOOD}",
    "in quotes": f'"{GOOD}"',
    "two tokens": f"{GOOD},{GOOD}",
    "the signature padded": f"{GOOD}=",
    "the signature padded twice": f"{GOOD}==",
    "the signature in standard base64": STANDARD,
    "the signature not canonical": GOOD[:-1] + NEXT_LAST,
    "the signature with a character outside the alphabet": f"{HEAD}.{BODY}.!{SIGNATURE}",
    "the signature with four characters outside the alphabet": f"{HEAD}.{BODY}.!!!!{SIGNATURE}",
    "the signature full-width": f"{HEAD}.{BODY}.{chr(ord(SIGNATURE[0]) + 0xFEE0)}{SIGNATURE[1:]}",
    "the signature with a lone surrogate": f"{GOOD}\ud800",
    "the signature of a length that cannot be": f"{GOOD}AA",
    "the header padded": forge_raw(HEAD + "=", BODY),
    "the header not canonical": forge_raw("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIgfR", BODY),
    "the header with a character outside the alphabet": forge_raw(HEAD + "!", BODY),
    "the header with four characters outside the alphabet": forge_raw(HEAD + "!!!!", BODY),
    "the header empty": forge_raw("", BODY),
    "the payload padded": forge_raw(HEAD, BODY + "=" * (-len(BODY) % 4 or 4)),
    "the payload with a new line": forge_raw(HEAD, BODY + "\n"),
    "the payload with a character outside the alphabet": forge_raw(HEAD, BODY[:8] + "+" + BODY[8:]),
    "the payload empty": forge_raw(HEAD, ""),
    "JSON serialization": json.dumps({"protected": HEAD, "payload": BODY, "signature": SIGNATURE}),
    "the prefix of T1": f"T1=={GOOD}",
}

SIGNATURES = {
    "no signature": f"{HEAD}.{BODY}.",
    "another key": forge(claims(), secret=ATTACKERS),
    "an empty key": forge(claims(), secret=b""),
    "the API key as the secret": forge(claims(), secret=API_KEY.encode()),
    "the secret in hexadecimal": forge(claims(), secret=SECRET.hex().encode()),
    "the secret with a new line": forge(claims(), secret=SECRET + b"\n"),
    "SHA-1": forge(claims(), hash_name="sha1"),
    "SHA-512": forge(claims(), hash_name="sha512"),
    "half of it": f"{HEAD}.{BODY}.{SIGNATURE[:22][:-1]}A",
    "another payload": f"{HEAD}.{base64url.encode(claims(role='moderator')).decode()}.{SIGNATURE}",
    "another header": f"{base64url.encode(HEADER[:-1] + b' }').decode()}.{BODY}.{SIGNATURE}",
    "the header's key": forge(
        claims(),
        b'{"alg":"HS256","typ":"JWT","jwk":{"kty":"oct","k":"%s"}}' % base64url.encode(ATTACKERS),
        secret=ATTACKERS,
    ),
    "the key behind jku": forge(claims(), HEADER[:-1] + b',"jku":"https://attacker.example/"}', secret=ATTACKERS),
    "the key behind x5u": forge(claims(), HEADER[:-1] + b',"x5u":"https://attacker.example/"}', secret=ATTACKERS),
    "the key in x5c": forge(claims(), HEADER[:-1] + b',"x5c":["AAAA"]}', secret=ATTACKERS),
}

HEADERS: dict[str, tuple[Any, type[RolecallError]]] = {
    "alg none, unsigned": (f"{base64url.encode(HEADER.replace(b'HS256', b'none')).decode()}.{BODY}.", WrongTokenKind),
    "alg none": (b'{"alg":"none","typ":"JWT"}', WrongTokenKind),
    "alg None": (b'{"alg":"None","typ":"JWT"}', WrongTokenKind),
    "alg NONE": (b'{"alg":"NONE","typ":"JWT"}', WrongTokenKind),
    "alg hs256": (b'{"alg":"hs256","typ":"JWT"}', WrongTokenKind),
    "alg HS512": (b'{"alg":"HS512","typ":"JWT"}', WrongTokenKind),
    "alg RS256": (b'{"alg":"RS256","typ":"JWT"}', WrongTokenKind),
    "alg ES256": (b'{"alg":"ES256","typ":"JWT"}', WrongTokenKind),
    "alg a list": (b'{"alg":["HS256"],"typ":"JWT"}', MalformedToken),
    "alg null": (b'{"alg":null,"typ":"JWT"}', MalformedToken),
    "no alg": (b'{"typ":"JWT"}', MalformedToken),
    "alg twice": (b'{"alg":"none","alg":"HS256","typ":"JWT"}', MalformedToken),
    "alg twice by an escape": (b'{"alg":"HS256","\\u0061lg":"HS256","typ":"JWT"}', MalformedToken),
    "no typ": (b'{"alg":"HS256"}', WrongTokenKind),
    "typ null": (b'{"alg":"HS256","typ":null}', WrongTokenKind),
    "typ jwt": (b'{"alg":"HS256","typ":"jwt"}', WrongTokenKind),
    "typ at+jwt": (b'{"alg":"HS256","typ":"at+jwt"}', WrongTokenKind),
    "typ a list": (b'{"alg":"HS256","typ":["JWT"]}', WrongTokenKind),
    "Ruby's REST header": (b'{"ist":"project","alg":"HS256"}', WrongTokenKind),
    "crit": (b'{"alg":"HS256","typ":"JWT","crit":["exp"]}', MalformedToken),
    "crit empty": (b'{"alg":"HS256","typ":"JWT","crit":[]}', MalformedToken),
    "b64": (b'{"alg":"HS256","typ":"JWT","b64":false}', MalformedToken),
    "b64 as text": (b'{"alg":"HS256","typ":"JWT","b64":"false"}', MalformedToken),
    "zip": (b'{"alg":"HS256","typ":"JWT","zip":"DEF"}', MalformedToken),
    "kid unknown": (b'{"alg":"HS256","typ":"JWT","kid":"x"}', UnknownKey),
    "kid the API key": (b'{"alg":"HS256","typ":"JWT","kid":"123456"}', UnknownKey),
    "kid null": (b'{"alg":"HS256","typ":"JWT","kid":null}', MalformedToken),
    "kid a number": (b'{"alg":"HS256","typ":"JWT","kid":1}', MalformedToken),
    "kid of 129 characters": (b'{"alg":"HS256","typ":"JWT","kid":"%s"}' % (b"k" * 129), MalformedToken),
    "a BOM": (b"\xef\xbb\xbf" + HEADER, MalformedToken),
    "UTF-16": (HEADER.decode().encode("utf-16"), MalformedToken),
    "trailing data": (HEADER + b"x", MalformedToken),
    "trailing white space": (HEADER + b"\n", MalformedToken),
    "an array": (b'["HS256"]', MalformedToken),
    "not JSON": (b"HS256", MalformedToken),
    "9 levels": (HEADER[:-1] + b',"x":' + b"[" * 8 + b"]" * 8 + b"}", MalformedToken),
}

PAYLOADS = {
    "role twice": plus(b'"role":"moderator"'),
    "role twice, the same": plus(b'"role":"publisher"'),
    "role twice by an escape": plus(b'"\\u0072ole":"moderator"'),
    "exp twice": plus(b'"exp":1795273201'),
    "a nested name twice": plus(b'"x":{"a":1,"a":2}'),
    "a name in an array twice": plus(b'"x":[[{"a":1,"a":2}]]'),
    "NaN": plus(b'"x":NaN'),
    "Infinity": plus(b'"x":Infinity'),
    "minus Infinity": plus(b'"x":-Infinity'),
    "1e999": plus(b'"x":1e999'),
    "2^53+1": plus(b'"x":9007199254740993'),
    "-2^53-1": plus(b'"x":-9007199254740993'),
    "5,000 digits": plus(b'"x":' + b"1" * 5000),
    "a lone surrogate": plus(b'"x":"\\ud800"'),
    "a lone surrogate in a name": plus(b'"\\udc00":1'),
    "9 levels": plus(b'"x":' + b"[" * 8 + b"]" * 8),
    "5,000 levels": plus(b'"x":' + b"[" * 2500 + b"]" * 2500),
    "65 members": json.dumps(json.loads(claims()) | {str(i): i for i in range(56)}).encode(),
    "65 elements": plus(b'"x":[' + b",".join([b"0"] * 65) + b"]"),
    "a BOM": b"\xef\xbb\xbf" + claims(),
    "UTF-16": claims().decode().encode("utf-16"),
    "UTF-16LE": claims().decode().encode("utf-16-le"),
    "UTF-16BE": claims().decode().encode("utf-16-be"),
    "UTF-32": claims().decode().encode("utf-32"),
    "UTF-32LE": claims().decode().encode("utf-32-le"),
    "Latin-1": plus('"x":"é"'.encode("latin-1")),
    "overlong UTF-8": plus(b'"x":"\xc1\x81"'),
    "a surrogate in UTF-8": plus(b'"x":"\xed\xa0\x80"'),
    "a raw new line in a string": plus(b'"x":"\n"'),
    "a raw NUL in a string": plus(b'"x":"\x00"'),
    "trailing data": claims() + b"x",
    "a second object": claims() + claims(),
    "trailing white space": claims() + b" ",
    "leading white space": b"\n" + claims(),
    "a trailing NUL": claims() + b"\0",
    "a trailing comma": claims()[:-1] + b",}",
    "a comment": claims()[:-1] + b"/**/}",
    "single quotes": claims().replace(b'"', b"'"),
    "an array": b"[" + claims() + b"]",
    "a string": b'"x"',
    "null": b"null",
    "not JSON": b"\xff\x00",
    "cut off": claims()[:-1],
    "exp with underscores": claims().replace(b"1795273200", b"1_795_273_200"),
    "exp in Arabic digits": claims().replace(b"1795273200", "١٧٩٥٢٧٣٢٠٠".encode()),
    "exp with a leading zero": claims().replace(b"1795273200", b"01795273200"),
    "exp in hexadecimal": claims().replace(b"1795273200", b"0x6B0136F0"),
    "exp with a plus": claims().replace(b"1795273200", b"+1795273200"),
    "exp NaN": claims(exp=float("nan")),
    "exp Infinity": claims(exp=float("inf")),
    "iat NaN": claims(iat=float("nan")),
    "nbf minus Infinity": claims(nbf=float("-inf")),
    "exp 1e999": claims().replace(b"1795273200", b"1e999"),
}

WRONG_TIMES = {
    "true": True, "false": False, "text": str(NOW + 5), "empty text": "", "a list": [NOW + 5], "an object": {},
    "minus one": -1, "a negative fraction": -0.5, "the year 10000": 253_402_300_800, "milliseconds": NOW * 1000,
    "2^53": 2**53, "1e300": 1e300, "-1e300": -1e300, "a date": "2026-11-20T15:00:00Z",
}  # fmt: skip
WRONG_TEXTS = {
    "a number": 5,
    "zero": 0,
    "true": True,
    "false": False,
    "a list": ["x"],
    "an empty list": [],
    "an object": {},
}

CLAIMS: dict[str, tuple[dict[str, Any], type[RolecallError]]] = {
    **{f"{name} {what}": ({name: value}, InvalidClaim)
       for name in ("iat", "exp", "nbf") for what, value in WRONG_TIMES.items()},
    **{f"{name} {what}": ({name: value}, InvalidClaim)
       for name in ("session_id", "role", "connection_data", "jti", "initial_layout_class_list")
       for what, value in WRONG_TEXTS.items()},
    **{f"scope {what}": ({"scope": value}, WrongTokenKind) for what, value in WRONG_TEXTS.items()},
    **{f"iss {what}": ({"iss": value}, UnknownKey) for what, value in WRONG_TEXTS.items()},
    **{f"ist {what}": ({"ist": value}, WrongTokenKind) for what, value in WRONG_TEXTS.items()},
    "exp as long ago as the leeway": ({"exp": NOW - LEEWAY, "iat": NOW - DAY}, ExpiredToken),
    "exp yesterday": ({"exp": NOW - DAY, "iat": NOW - 2 * DAY}, ExpiredToken),
    "exp at the epoch": ({"exp": 0}, ExpiredToken),
    "exp minus zero": ({"exp": -0.0}, ExpiredToken),
    "iat beyond the leeway": ({"iat": NOW + LEEWAY + 0.5}, TokenNotYetValid),
    "iat tomorrow": ({"iat": NOW + DAY, "exp": NOW + 2 * DAY}, TokenNotYetValid),
    "nbf beyond the leeway": ({"nbf": NOW + LEEWAY + 0.5}, TokenNotYetValid),
    "nbf tomorrow": ({"nbf": NOW + DAY}, TokenNotYetValid),
    "a life of 30 days, an hour and a second": ({"exp": NOW + 30 * DAY + 3601}, InvalidClaim),
    "a life of 30 days, an hour and a bit": ({"exp": NOW + 30 * DAY + 3600.5}, InvalidClaim),
    "a life until 9999": ({"exp": 253_402_300_799}, InvalidClaim),
    "a life of 31 days, nearly over": ({"iat": NOW - 31 * DAY + 60, "exp": NOW + 60}, InvalidClaim),
    "no iat and 31 days to live": ({"iat": ABSENT, "exp": NOW + 31 * DAY}, InvalidClaim),
    "neither exp nor iat": ({"iat": ABSENT, "exp": ABSENT}, InvalidClaim),
    "no exp, and 24 hours over": ({"iat": NOW - DAY - LEEWAY, "exp": ABSENT}, ExpiredToken),
    "no session": ({"session_id": ABSENT}, WrongTokenKind),
    "an empty session": ({"session_id": ""}, InvalidClaim),
    "a session of 256 characters": ({"session_id": "x" * 256}, InvalidClaim),
    "a null session": ({"session_id": None}, InvalidClaim),
    "no role": ({"role": ABSENT}, InvalidClaim),
    "a null role": ({"role": None}, InvalidClaim),
    "an empty role": ({"role": ""}, InvalidClaim),
    "a role that does not exist": ({"role": "admin"}, InvalidClaim),
    "two roles": ({"role": "publisher moderator"}, InvalidClaim),
    "no scope": ({"scope": ABSENT}, WrongTokenKind),
    "a null scope": ({"scope": None}, WrongTokenKind),
    "an empty scope": ({"scope": ""}, WrongTokenKind),
    "another scope": ({"scope": "session.create"}, WrongTokenKind),
    "two scopes": ({"scope": "session.connect session.create"}, WrongTokenKind),
    "a scope in capitals": ({"scope": "SESSION.CONNECT"}, WrongTokenKind),
    "a scope with white space": ({"scope": "session.connect "}, WrongTokenKind),
    "no iss": ({"iss": ABSENT}, UnknownKey),
    "a null iss": ({"iss": None}, UnknownKey),
    "an empty iss": ({"iss": ""}, UnknownKey),
    "another iss": ({"iss": "654321"}, UnknownKey),
    "iss another number": ({"iss": 654321}, UnknownKey),
    "iss the API key as a float": ({"iss": 123456.0}, UnknownKey),
    "iss a list with the API key": ({"iss": ["123456"]}, UnknownKey),
    "iss with white space": ({"iss": "123456 "}, UnknownKey),
    "iss in full-width digits": ({"iss": "１２３４５６"}, UnknownKey),
    "iss longer": ({"iss": "1234567"}, UnknownKey),
    "no ist": ({"ist": ABSENT}, WrongTokenKind),
    "a null ist": ({"ist": None}, WrongTokenKind),
    "ist account": ({"ist": "account"}, WrongTokenKind),
    "ist in capitals": ({"ist": "PROJECT"}, WrongTokenKind),
    "data of 1001 characters": ({"connection_data": "x" * 1001}, InvalidClaim),
    "an empty jti": ({"jti": ""}, InvalidClaim),
    "a jti of 256 characters": ({"jti": "x" * 256}, InvalidClaim),
    "layout of 1001 characters": ({"initial_layout_class_list": "x" * 1001}, InvalidClaim),
    "layout as a list of classes": ({"initial_layout_class_list": ["focus", "small"]}, InvalidClaim),
    "a REST credential": ({"session_id": ABSENT, "scope": ABSENT, "role": ABSENT, "exp": NOW + 180}, WrongTokenKind),
    "an application's token": ({"iss": ABSENT, "ist": ABSENT, "application_id": API_KEY}, UnknownKey),
}  # fmt: skip


def table():
    """Every attack: what it is, the token, and the exact class that refuses it."""
    yield from ((f"form: {what}", token, MalformedToken) for what, token in FORM.items())
    yield from ((f"signature: {what}", token, BadSignature) for what, token in SIGNATURES.items())
    for what, (header, error) in HEADERS.items():
        yield f"header: {what}", header if isinstance(header, str) else forge(claims(), header), error
    yield from ((f"payload: {what}", forge(payload), MalformedToken) for what, payload in PAYLOADS.items())
    yield from ((f"claim: {what}", forge(claims(**changes)), error) for what, (changes, error) in CLAIMS.items())


ATTACKS = [pytest.param(token, error, id=what) for what, token, error in table()]


def test_the_token_that_all_attacks_vary_is_good(kit):
    assert kit.verify_token(GOOD).token_id == "an id"


@pytest.mark.parametrize("token", [DASHED, filled(16_384)], ids=["with - and _", "16 KiB"])
def test_tokens_on_the_good_side_of_an_attack_are_good(token, kit):
    assert kit.verify_token(token)


def test_the_attacks_are_all_different():
    assert [n for n in Counter(repr(attack.values[0]) for attack in ATTACKS).values() if n > 1] == []


@pytest.mark.parametrize(("token", "error"), ATTACKS)
def test_an_attack_is_refused_for_its_own_reason(token, error, kit):
    with pytest.raises(InvalidToken) as caught:
        kit.verify_token(token)
    assert type(caught.value) is error


@pytest.mark.parametrize(("token", "error"), ATTACKS)
def test_a_token_is_refused_again_after_a_good_one(token, error, kit):
    kit.verify_token(GOOD)
    for _ in range(2):
        with pytest.raises(error):
            kit.verify_token(token)


@pytest.mark.parametrize(("token", "error"), ATTACKS)
def test_the_message_of_a_refusal_is_fit_for_a_header_and_holds_no_token(token, error, kit):
    with pytest.raises(InvalidToken) as caught:
        kit.verify_token(token)
    message = str(caught.value).replace("±", "").replace("…", "").replace("⋯", "")
    assert message.isascii()
    assert message.isprintable()
    assert not re.search(r"[A-Za-z0-9_-]{30}", message)


NULLS = ["iat", "exp", "nbf", "connection_data", "jti", "initial_layout_class_list"]


@pytest.mark.parametrize("name", NULLS)
def test_a_null_is_neither_a_time_nor_text(name, kit):
    with pytest.raises(InvalidClaim):
        kit.verify_token(forge(claims(**{name: None})))


# -- roles that look like others -------------------------------------------------------------------


def look_alikes(role: str) -> set[str]:
    """Names that some normalisation or other makes this role, though they are not it."""
    found = {role.upper(), role.title(), role.swapcase(), role + "\0", "\u200b" + role, "\u202e" + role[::-1]}
    found |= {role + space for space in " \t\n\r\x0b\x0c\x1c\x85\u00a0\u2003\u2028\u3000"}
    found |= {space + role for space in " \t\n\ufeff\u00ad\u200d"}
    found |= {role[:i] + "\u0307" + role[i:] for i in range(1, len(role) + 1)}
    found |= {role[:-1], role + role[-1], role + "s", role + ",", role + ":", role + ";", role + "/"}
    alike = [
        (character, form)
        for character in map(chr, (*range(0x80, 0xD800), *range(0xE000, 0x20000)))
        for form in {
            unicodedata.normalize("NFKC", character).casefold(),
            unicodedata.normalize("NFKD", character)[:1].lower(),
            character.lower()[:1],
            character.upper().lower(),
        }
        if form.isascii() and form.isalpha()
    ]
    found |= {role.replace(form, character, 1) for character, form in alike if form in role}
    found |= {role.replace("i", "ı"), role.replace("i", "İ"), role.replace("s", "ſ"), role.replace("o", "о")}
    found |= {role.replace("e", "е"), role.replace("o", "0"), role.replace("b", "Ь")}
    return found - set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_no_look_alike_of_a_role_is_that_role(role, kit):
    names = look_alikes(role)
    assert len(names) > 200
    accepted = []
    for name in names:
        try:
            kit.verify_token(forge(claims(role=name)))
        except InvalidClaim:
            continue
        accepted.append(name)
    assert accepted == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_spelt_by_escapes_is_that_role(role, kit):
    escaped = "".join(f"\\u{ord(c):04x}" for c in role)
    assert kit.verify_token(forge(claims(role="@").replace(b"@", escaped.encode()))).role == role


# -- the edges of what is accepted -----------------------------------------------------------------

EDGES = {
    "exp just within the leeway": {"exp": NOW - LEEWAY + 0.5, "iat": NOW - 60},
    "exp a fraction": {"exp": NOW + 0.5},
    "iat at the leeway": {"iat": NOW + LEEWAY},
    "nbf at the leeway": {"nbf": NOW + LEEWAY},
    "nbf long ago": {"nbf": 0},
    "a life of 30 days": {"exp": NOW + 30 * DAY},
    "a life of 30 days and what an SDK rounds up": {"exp": NOW + 30 * DAY + 0.973},
    "30 days of a calendar whose clock changes": {"exp": NOW + 30 * DAY + 3600},
    "a numeric iss": {"iss": int(API_KEY)},
    "no iat and 30 days to live": {"iat": ABSENT, "exp": NOW + 30 * DAY},
    "no exp, and 24 hours nearly over": {"iat": NOW - DAY - LEEWAY + 0.5, "exp": ABSENT},
    "a session of 255 characters": {"session_id": "x" * 255},
    "data of 1000 characters": {"connection_data": "😀" * 150 + "x" * 850},
    "empty data": {"connection_data": ""},
    "no jti": {"jti": ABSENT},
    "a jti of 255 characters": {"jti": "x" * 255},
    "an empty layout": {"initial_layout_class_list": ""},
    "PHP's nulls": {"data": None, "expireTime": None},
    "Node's times": {"create_time": NOW, "expire_time": NOW + DAY, "nonce": 0.5},
    "claims of an app": {"a": {"b": [1, 2, {"c": None}]}},
}


@pytest.mark.parametrize("changes", EDGES.values(), ids=EDGES)
def test_a_token_at_the_edge_is_accepted(changes, kit):
    assert kit.verify_token(forge(claims(**changes))).session_id == changes.get("session_id", SESSION)


@pytest.mark.parametrize("member", [b'"jwk":{"kty":"oct","k":"AAAA"}', b'"jku":"https://x.example"', b'"x5c":["AAAA"]'])
def test_a_key_in_the_header_changes_nothing_for_a_token_that_our_key_signed(member, kit):
    assert kit.verify_token(forge(claims(), HEADER[:-1] + b"," + member + b"}"))


def test_a_token_without_a_jti_is_known_by_what_was_signed(kit):
    ids = [kit.verify_token(forge(claims(jti=ABSENT, nonce=n))).token_id for n in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert re.fullmatch("[0-9a-f]{64}", ids[0])


def test_one_callers_change_to_a_claim_is_not_the_next_ones_claim(kit):
    token = forge(claims(acl={"paths": ["/session/1"]}))
    with suppress(TypeError, AttributeError):
        kit.verify_token(token).claims["acl"]["paths"].append("/session/2")
    with suppress(TypeError, AttributeError):
        kit.verify_token(token).claims["acl"]["more"] = "/session/3"
    acl = kit.verify_token(token).claims["acl"]
    assert {name: list(paths) for name, paths in acl.items()} == {"paths": ["/session/1"]}


@pytest.mark.parametrize("leeway", [0, 60])
def test_the_leeway_is_the_kits(leeway, make_kit):
    kit = make_kit(leeway=leeway)
    assert kit.verify_token(forge(claims(iat=NOW + leeway)))
    with pytest.raises(TokenNotYetValid):
        kit.verify_token(forge(claims(iat=NOW + leeway + 1)))


def test_a_kit_that_accepts_only_t1_refuses_a_jwt(make_kit):
    with pytest.raises(MalformedToken):
        make_kit(format="t1", accept=["t1"]).verify_token(GOOD)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([*json.loads(claims()), "nbf", "connection_data", "initial_layout_class_list", "kid"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=examples(250))
@given(st.dictionaries(NAMES, JSON, max_size=3))
def test_signed_claims_of_any_kind_make_a_sound_grant_or_an_invalid_token(kit, changes):
    try:
        grant = kit.verify_token(forge(claims(**changes)))
    except InvalidToken:
        return
    assert grant.role in ROLES
    assert NOW - LEEWAY < grant.expires_at <= NOW + LEEWAY + 30 * DAY + 3600
    assert isinstance(grant.session_id, str)
    assert isinstance(grant.data, str | None)
    assert all(isinstance(name, str) for name in (*grant.layout, grant.token_id))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_signed_bytes_of_any_kind_are_refused_by_an_error_of_the_kit(kit, header, payload):
    assume(b"HS256" not in header)  # hypothesis tries texts of this file, and some are good headers
    for token in (forge(payload), forge(claims(), header), forge(payload, header)):
        with pytest.raises(RolecallError):
            kit.verify_token(token)


SECRETS_OF_SERVICES = {
    "of OpenTok": "c0ffee7890abcdef1234567890abcdef12345678",
    "of 16 characters": "aB3dE6gH9jK2mN5p",
    "of this kit's": SECRET.decode(),
}


@pytest.mark.parametrize("secret", SECRETS_OF_SERVICES.values(), ids=SECRETS_OF_SERVICES)
def test_an_iss_that_may_be_a_swapped_secret_is_not_shown(secret, kit):
    with pytest.raises(UnknownKey) as refused:
        kit.verify_token(forge(claims(iss=secret)))
    assert f"a text of {len(secret)} characters" in str(refused.value)
    assert not any(secret[start : start + 4] in str(refused.value) for start in range(len(secret) - 3))


@pytest.mark.parametrize("key", ["654321", "46543210", "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"])
def test_an_iss_that_can_only_be_a_key_is_shown(key, kit):
    with pytest.raises(UnknownKey, match=f"the token's iss is '{key}'"):
        kit.verify_token(forge(claims(iss=key)))


@pytest.mark.parametrize("number", [1, 0, 7])
def test_a_numeric_iss_stands_for_its_decimal_digits_alone(number, make_kit):
    kit = make_kit(api_key=f"0{number}")
    with pytest.raises(UnknownKey):
        kit.verify_token(forge(claims(iss=number)))
    with pytest.raises(UnknownKey):
        make_kit(api_key="1").verify_token(forge(claims(iss=True)))
