"""The compact JWS codec: what it signs, and what it refuses though the signature fits."""

from __future__ import annotations

import hmac
import json
import socket
from base64 import urlsafe_b64encode

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.encoding import base64url, jws
from rolecall.encoding.jws import Codec
from rolecall.errors import BadSignature, InvalidToken, MalformedToken, UnknownKey, WrongTokenKind
from rolecall.keys import HMACKey, Key, KeyRing
from rolecall.keys.issuers import Issuer

SECRET = b"a secret of the tests, 0123456789"
OTHER = b"another secret of the tests, 9876543210"


def codec_of(*keys: Key, typ: str | None = "JWT") -> Codec:
    return Codec(Issuer("an issuer", KeyRing(keys)), typ)


CODEC = codec_of(HMACKey(SECRET))


def forge(header: object = None, payload: bytes = b"{}", secret: bytes = SECRET, **members) -> bytes:
    """A token with this header (an object, or bytes), signed by ``secret``."""
    if header is None:
        header = {"alg": "HS256", "typ": "JWT", **members}
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    signing_input = base64url.encode(header) + b"." + base64url.encode(payload)
    return signing_input + b"." + base64url.encode(hmac.digest(secret, signing_input, "sha256"))


@given(st.binary(max_size=200))
def test_what_is_signed_verifies(payload):
    assert CODEC.verify(CODEC.sign(payload).encode()) == payload


@given(st.binary(max_size=200))
def test_the_signature_is_that_of_rfc_7515(payload):
    assert CODEC.sign(payload).encode() == forge(b'{"alg":"HS256","typ":"JWT"}', payload)


def test_another_library_reads_the_token():
    assert jwt.decode(CODEC.sign(b'{"a":1}'), SECRET, algorithms=["HS256"]) == {"a": 1}


def test_the_header_names_the_signing_keys_kid():
    token = codec_of(HMACKey(SECRET, "a"), HMACKey(OTHER, "b")).sign(b"{}")
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": "a"}


@pytest.mark.parametrize(("secret", "kid"), [(SECRET, "a"), (OTHER, "b")])
def test_every_key_of_a_ring_verifies_under_its_kid(secret, kid):
    ring = codec_of(HMACKey(SECRET, "a"), HMACKey(OTHER, "b"))
    assert ring.verify(forge(secret=secret, kid=kid)) == b"{}"


@pytest.mark.parametrize(("secret", "kid"), [(SECRET, "b"), (OTHER, "a")])
def test_no_key_is_tried_but_the_one_that_the_header_names(secret, kid):
    with pytest.raises(BadSignature):
        codec_of(HMACKey(SECRET, "a"), HMACKey(OTHER, "b")).verify(forge(secret=secret, kid=kid))


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_in_a_ring_of_named_keys_a_token_without_a_kid_is_refused(secret):
    with pytest.raises(UnknownKey):
        codec_of(HMACKey(SECRET, "a"), HMACKey(OTHER, "b")).verify(forge(secret=secret))


def test_a_key_that_left_the_ring_verifies_no_more():
    with pytest.raises(UnknownKey):
        codec_of(HMACKey(OTHER, "b")).verify(forge(kid="a"))


def test_a_header_that_was_good_once_does_not_make_a_signature_good():
    codec = codec_of(HMACKey(SECRET))
    codec.verify(forge(payload=b"{}"))
    with pytest.raises(BadSignature):
        codec.verify(forge(payload=b"{}", secret=OTHER))


def test_after_a_hundred_different_headers_tokens_still_verify():
    codec = codec_of(HMACKey(SECRET))
    assert {codec.verify(forge(other=i)) for i in range(100)} == {b"{}"}


def test_a_codec_without_a_type_refuses_tokens_that_have_one():
    with pytest.raises(WrongTokenKind):
        codec_of(HMACKey(SECRET), typ=None).verify(forge())


def test_a_codec_without_a_type_reads_tokens_that_have_none():
    assert codec_of(HMACKey(SECRET), typ=None).verify(forge({"alg": "HS256"})) == b"{}"


ATTACKERS_JWK = {"kty": "oct", "alg": "HS256", "k": urlsafe_b64encode(OTHER).decode().rstrip("=")}

HEADERS = {
    "alg none": ({"alg": "none"}, WrongTokenKind),
    "alg None": ({"alg": "None"}, WrongTokenKind),
    "alg NONE": ({"alg": "NONE"}, WrongTokenKind),
    "alg nOnE": ({"alg": "nOnE"}, WrongTokenKind),
    "alg empty": ({"alg": ""}, WrongTokenKind),
    "alg in lower case": ({"alg": "hs256"}, WrongTokenKind),
    "alg with a space after": ({"alg": "HS256 "}, WrongTokenKind),
    "alg with a space before": ({"alg": " HS256"}, WrongTokenKind),
    "alg with a NUL": ({"alg": "HS256\0"}, WrongTokenKind),
    "alg full-width": ({"alg": "ＨＳ２５６"}, WrongTokenKind),
    "alg HS384": ({"alg": "HS384"}, WrongTokenKind),
    "alg HS512": ({"alg": "HS512"}, WrongTokenKind),
    "alg HS1": ({"alg": "HS1"}, WrongTokenKind),
    "alg RS256": ({"alg": "RS256"}, WrongTokenKind),
    "alg ES256": ({"alg": "ES256"}, WrongTokenKind),
    "alg EdDSA": ({"alg": "EdDSA"}, WrongTokenKind),
    "alg PS256": ({"alg": "PS256"}, WrongTokenKind),
    "alg a list": ({"alg": ["HS256"]}, MalformedToken),
    "alg an object": ({"alg": {"HS256": 1}}, MalformedToken),
    "alg null": ({"alg": None}, MalformedToken),
    "alg true": ({"alg": True}, MalformedToken),
    "alg a number": ({"alg": 256}, MalformedToken),
    "crit with exp": ({"crit": ["exp"]}, MalformedToken),
    "crit empty": ({"crit": []}, MalformedToken),
    "crit null": ({"crit": None}, MalformedToken),
    "crit with alg": ({"crit": ["alg"]}, MalformedToken),
    "crit with b64": ({"crit": ["b64"], "b64": True}, MalformedToken),
    "b64 false": ({"b64": False}, MalformedToken),
    "b64 true": ({"b64": True}, MalformedToken),
    "b64 as text": ({"b64": "false"}, MalformedToken),
    "zip": ({"zip": "DEF"}, MalformedToken),
    "zip null": ({"zip": None}, MalformedToken),
    "kid unknown": ({"kid": "x"}, UnknownKey),
    "kid empty": ({"kid": ""}, UnknownKey),
    "kid a path": ({"kid": "../../../../dev/null"}, UnknownKey),
    "kid SQL": ({"kid": "' UNION SELECT 'x"}, UnknownKey),
    "kid of 128 characters": ({"kid": "k" * 128}, UnknownKey),
    "kid of 129 characters": ({"kid": "k" * 129}, MalformedToken),
    "kid not ASCII": ({"kid": "é"}, MalformedToken),
    "kid null": ({"kid": None}, MalformedToken),
    "kid a number": ({"kid": 0}, MalformedToken),
    "kid false": ({"kid": False}, MalformedToken),
    "kid a list": ({"kid": ["a"]}, MalformedToken),
    "kid an object": ({"kid": {}}, MalformedToken),
    "typ in lower case": ({"typ": "jwt"}, WrongTokenKind),
    "typ capitalised": ({"typ": "Jwt"}, WrongTokenKind),
    "typ with a space": ({"typ": "JWT "}, WrongTokenKind),
    "typ empty": ({"typ": ""}, WrongTokenKind),
    "typ null": ({"typ": None}, WrongTokenKind),
    "typ a list": ({"typ": ["JWT"]}, WrongTokenKind),
    "typ true": ({"typ": True}, WrongTokenKind),
    "typ a number": ({"typ": 1}, WrongTokenKind),
    "typ of an access token": ({"typ": "at+jwt"}, WrongTokenKind),
    "typ of an introspection response": ({"typ": "token-introspection+jwt"}, WrongTokenKind),
    "typ as a media type": ({"typ": "application/jwt"}, WrongTokenKind),
    "typ JOSE": ({"typ": "JOSE"}, WrongTokenKind),
    "typ JWE": ({"typ": "JWE"}, WrongTokenKind),
    "typ with a Greek letter": ({"typ": "JWΤ"}, WrongTokenKind),
    "typ full-width": ({"typ": "ＪＷＴ"}, WrongTokenKind),
}


@pytest.mark.parametrize(("members", "error"), HEADERS.values(), ids=HEADERS)
def test_a_header_that_is_not_this_kinds_is_refused_though_the_signature_fits(members, error):
    with pytest.raises(InvalidToken) as caught:
        CODEC.verify(forge(**members))
    assert type(caught.value) is error


HEADER = b'{"alg":"HS256","typ":"JWT"}'
RAW_HEADERS = {
    "no alg": (b'{"typ":"JWT"}', MalformedToken),
    "no typ": (b'{"alg":"HS256"}', WrongTokenKind),
    "empty": (b"{}", MalformedToken),
    "alg twice": (b'{"alg":"none","alg":"HS256","typ":"JWT"}', MalformedToken),
    "alg twice by an escape": (b'{"\\u0061lg":"none","alg":"HS256","typ":"JWT"}', MalformedToken),
    "typ twice": (b'{"alg":"HS256","typ":"at+jwt","typ":"JWT"}', MalformedToken),
    "Alg beside alg": (b'{"Alg":"HS256","typ":"JWT"}', MalformedToken),
    "a BOM": (b'\xef\xbb\xbf{"alg":"HS256","typ":"JWT"}', MalformedToken),
    "UTF-16": ('{"alg":"HS256","typ":"JWT"}'.encode("utf-16"), MalformedToken),
    "UTF-32": ('{"alg":"HS256","typ":"JWT"}'.encode("utf-32"), MalformedToken),
    "trailing white space": (b'{"alg":"HS256","typ":"JWT"}\n', MalformedToken),
    "leading white space": (b' {"alg":"HS256","typ":"JWT"}', MalformedToken),
    "trailing data": (b'{"alg":"HS256","typ":"JWT"}{}', MalformedToken),
    "an array": (b'["HS256","JWT"]', MalformedToken),
    "a string": (b'"HS256"', MalformedToken),
    "null": (b"null", MalformedToken),
    "nothing": (b"", MalformedToken),
    "not JSON": (b"HS256", MalformedToken),
    "not UTF-8": (b'{"alg":"HS256","typ":"JWT","x":"\xff"}', MalformedToken),
    "a lone surrogate": (b'{"alg":"HS256","typ":"JWT","x":"\\ud800"}', MalformedToken),
    "NaN": (b'{"alg":"HS256","typ":"JWT","x":NaN}', MalformedToken),
    "9 levels": (b'{"alg":"HS256","typ":"JWT","x":' + b"[" * 8 + b"]" * 8 + b"}", MalformedToken),
    "65 members": (HEADER[:-1] + b"".join(b',"%d":0' % i for i in range(63)) + b"}", MalformedToken),
}  # fmt: skip


@pytest.mark.parametrize(("header", "error"), RAW_HEADERS.values(), ids=RAW_HEADERS)
def test_a_header_that_is_not_strict_json_is_refused_though_the_signature_fits(header, error):
    with pytest.raises(InvalidToken) as caught:
        CODEC.verify(forge(header))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "members",
    [
        {"jwk": ATTACKERS_JWK},
        {"jku": "https://attacker.example/jwks.json"},
        {"x5u": "https://attacker.example/certificate.pem"},
        {"x5c": [urlsafe_b64encode(OTHER).decode()]},
        {"x5t": "AAAA"},
        {"jwk": ATTACKERS_JWK, "alg": "none"},
    ],
    ids=lambda members: "+".join(members),
)
def test_a_key_that_the_token_brings_along_is_never_used_or_fetched(members, monkeypatch):
    def no_network(*_):
        pytest.fail("the network was used")

    monkeypatch.setattr(socket, "socket", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises((BadSignature, WrongTokenKind)):
        CODEC.verify(forge(secret=OTHER, **members))


@pytest.mark.parametrize("secret", [b"", b"\0", b"HS256", b"secret", b"JWT", OTHER], ids=repr)
def test_a_signature_by_another_secret_is_refused(secret):
    with pytest.raises(BadSignature):
        CODEC.verify(forge(secret=secret))


@pytest.mark.parametrize("hash_name", ["sha1", "sha384", "sha512", "md5", "sha3_256"])
def test_a_signature_with_another_hash_is_refused(hash_name):
    signing_input = forge().rpartition(b".")[0]
    with pytest.raises(BadSignature):
        CODEC.verify(signing_input + b"." + base64url.encode(hmac.digest(SECRET, signing_input, hash_name)))


@pytest.mark.parametrize("length", range(32))
def test_no_beginning_of_a_signature_is_enough(length):
    signing_input, _, signature = forge().rpartition(b".")
    with pytest.raises(BadSignature):
        CODEC.verify(signing_input + b"." + base64url.encode(base64url.decode(signature)[:length]))


@pytest.mark.parametrize("token", [b"", b".", b"..", b"...", b"a.b", b"a.b.c.d", b"a..b.c", b"....", b"\n.\n.\n"])
def test_what_has_not_three_parts_is_malformed(token):
    with pytest.raises(MalformedToken, match=r"^the token('s header is malformed| is not a compact JWS)"):
        CODEC.verify(token)


@given(st.text(max_size=40) | st.binary(max_size=40) | st.integers() | st.none() | st.lists(st.text()))
def test_anything_but_an_ascii_string_is_no_raw_token(value):
    if isinstance(value, str) and value.isascii() and " " not in value:
        assert jws.raw_token(value) == value.encode()
    else:
        with pytest.raises(MalformedToken):
            jws.raw_token(value)


def test_16384_characters_are_looked_at():
    assert len(jws.raw_token("a" * 16384)) == 16384


def test_16385_characters_are_refused():
    with pytest.raises(MalformedToken, match="16385"):
        jws.raw_token("a" * 16385)


def test_size_is_checked_before_the_characters():
    with pytest.raises(MalformedToken, match="16385"):
        jws.raw_token("é" * 16385)


NOT_COMPACT = "the token is not a compact JWS: three parts with two dots are expected"


@pytest.mark.parametrize("token", [b"", b".", b"a.b", b"a.b.c.d", b"...."])
def test_what_has_not_three_parts_is_not_taken_apart(token):
    with pytest.raises(MalformedToken, match=f"^{NOT_COMPACT}$"):
        jws.split(token)


def test_a_token_is_taken_apart_as_it_stands():
    assert jws.split(b"ab.cd.ef") == (b"ab.cd", b"ab", b"cd", b"ef")
    assert jws.split(b"..") == (b".", b"", b"", b"")


def test_a_payload_is_read_without_looking_at_the_signature():
    assert jws.read_payload(base64url.encode(b"{}")) == b"{}"
    with pytest.raises(MalformedToken, match=r"^the token's payload is malformed: not base64url: "):
        jws.read_payload(b"!!!!")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (7, "a token is a string, not int"),
        ("a" * 16385, "the token has 16385 characters; at most 16384 are read"),
        ("a b", "the token holds a space; pass the token alone, without 'Bearer'"),
        ("aéb", "the token holds a character outside ASCII"),
        (" a", "the token has white space at its beginning; pass the token alone"),
        ("a\xa0", "the token has white space at its end; pass the token alone"),
        ("\u201ca\u201d", "the token has quotes around it; pass the token alone"),
    ],
    ids=repr,
)
def test_what_is_no_raw_token_is_told_what_ails_it(token, message):
    with pytest.raises(MalformedToken) as refused:
        jws.raw_token(token)
    assert str(refused.value) == message


@pytest.mark.parametrize(("token", "said"), [("ab", "no reason"), (7, "no reason"), ('"ab"', "the token has quotes")])
def test_what_was_pasted_around_a_token_is_said_before_any_other_reason(token, said):
    assert str(jws.what_ails(token, MalformedToken("no reason"))).startswith(said)


def test_a_header_is_compact_json():
    header = base64url.decode(codec_of(HMACKey(SECRET, "a")).sign(b"{}").encode().partition(b".")[0])
    assert header == b'{"alg":"HS256","typ":"JWT","kid":"a"}'


def test_a_codec_makes_tokens_that_say_they_are_jwts_unless_it_is_told_otherwise():
    token = Codec(Issuer("an issuer", KeyRing([HMACKey(SECRET)]))).sign(b"{}")
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", None])
def test_a_codec_signs_and_verifies_with_the_ring_that_its_issuer_has_now(typ):
    issuer = Issuer("an issuer", KeyRing([HMACKey(SECRET, "a")]))
    codec = Codec(issuer, typ)
    old = codec.sign(b"{}").encode()

    issuer.ring = KeyRing([HMACKey(OTHER, "b")])

    new = codec.sign(b"{}")
    assert jwt.get_unverified_header(new).get("kid") == "b"
    assert jwt.get_unverified_header(new).get("typ") == typ
    assert codec.verify(new.encode()) == b"{}"
    with pytest.raises(UnknownKey):
        codec.verify(old)


def test_a_codec_that_only_verifies_takes_a_new_ring_too():
    issuer = Issuer("an issuer", KeyRing([HMACKey(SECRET, "a")]))
    codec = Codec(issuer)
    token = codec_of(HMACKey(OTHER, "b")).sign(b"{}").encode()

    issuer.ring = KeyRing([HMACKey(OTHER, "b")])

    assert codec.verify(token) == b"{}"
