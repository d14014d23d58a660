"""Keys refuse what is no secret, and never show what is."""

from __future__ import annotations

import copy
import gc
import json
import logging
import os
import pickle
import traceback
from base64 import b64encode, encodebytes, urlsafe_b64encode
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from rolecall import Rolecall, RolecallError
from rolecall.errors import ConfigurationError, InvalidKey
from rolecall.keys import HMACKey, KeyRing
from rolecall.keys.published import FINGERPRINT_BYTES, TABLE, is_published

from ...untyped import untyped

SECRET = "Xy7!secret-secret-secret-secret-Zq9"
OTHER = "Ab3!another-another-another-another-Ef5"


@cache
def public_keys() -> dict[str, bytes]:
    """Public keys in every form that they are passed around in."""
    private: dict[str, Any] = {
        "rsa": rsa.generate_private_key(65537, 2048),
        # Fixed, because in one key of fifty the last byte is a white space, which is then trimmed away.
        "ec": ec.derive_private_key(0x1234567, ec.SECP256R1()),
        "ed25519": ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
    }
    writers: dict[str, Any] = {"rsa": RSAAlgorithm, "ec": ECAlgorithm, "ed25519": OKPAlgorithm}
    forms = {}
    for name, key in private.items():
        public = key.public_key()
        forms[f"{name} PEM"] = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        forms[f"{name} DER"] = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        forms[f"{name} SSH"] = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        forms[f"{name} JWK"] = writers[name].to_jwk(public).encode()
        forms[f"{name} private PEM"] = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private["rsa"].public_key()
    forms["rsa PKCS1 PEM"] = public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    forms["rsa PKCS1 DER"] = public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    forms["JWK set"] = json.dumps({"keys": [json.loads(forms["rsa JWK"])]}).encode()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example.org")])
    certificate = x509.CertificateBuilder(
        subject,
        subject,
        private["ec"].public_key(),
        1,
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    ).sign(private["ed25519"], None)
    forms["certificate PEM"] = certificate.public_bytes(Encoding.PEM)
    forms["certificate DER"] = certificate.public_bytes(Encoding.DER)
    return forms


FORMS = [f"{key} {form}" for key in ("rsa", "ec", "ed25519") for form in ("PEM", "DER", "SSH", "JWK", "private PEM")]
FORMS += ["rsa PKCS1 PEM", "rsa PKCS1 DER", "JWK set", "certificate PEM", "certificate DER"]
BINARY = [form for form in FORMS if form.endswith("DER")]

BOM = b"\xef\xbb\xbf"
DISGUISES = {
    "as it is": lambda key: key,
    "after a BOM": lambda key: BOM + key,
    "in white space": lambda key: b" \r\n\t" + key + b"\n \n",
    "after a BOM and in white space": lambda key: BOM + b" \n" + key + b"\n",
    "with CRLF after it": lambda key: key + b"\r\n",
    "in base64": b64encode,
    "in base64 with a new line": lambda key: b64encode(key) + b"\n",
    "in base64 after a BOM": lambda key: BOM + b64encode(key),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_public_key_is_never_a_secret(form, disguise):
    with pytest.raises(InvalidKey, match="public key"):
        HMACKey(DISGUISES[disguise](public_keys()[form]))


@pytest.mark.parametrize("form", [form for form in FORMS if form not in BINARY])
@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_public_key_as_text_is_never_a_secret(form, disguise):
    with pytest.raises(InvalidKey, match="public key"):
        HMACKey(DISGUISES[disguise](public_keys()[form]).decode())


@pytest.mark.parametrize("form", FORMS)
def test_a_public_key_after_white_space_and_a_bom_is_never_a_secret(form):
    with pytest.raises(InvalidKey, match="public key"):
        HMACKey(b"\n" + BOM + public_keys()[form])


@pytest.mark.parametrize("form", BINARY)
def test_a_public_key_in_base64url_is_never_a_secret(form):
    with pytest.raises(InvalidKey, match="public key"):
        HMACKey(urlsafe_b64encode(public_keys()[form]).rstrip(b"="))


@pytest.mark.parametrize("form", BINARY)
def test_a_public_key_in_lines_of_base64_is_never_a_secret(form):
    """The body of a PEM file, without the lines around it."""
    with pytest.raises(InvalidKey, match="public key"):
        HMACKey(encodebytes(public_keys()[form]))


@pytest.mark.parametrize("form", ["rsa PEM", "ec PEM", "certificate PEM"])
def test_a_pem_with_its_line_ends_written_out_is_never_a_secret(form):
    """As environment files hold it."""
    with pytest.raises(InvalidKey, match="public key"):
        HMACKey(public_keys()[form].replace(b"\n", b"\\n"))


@pytest.mark.parametrize("secret", ["", b""])
def test_an_empty_secret_is_refused(secret):
    with pytest.raises(InvalidKey, match="empty"):
        HMACKey(secret)


@pytest.mark.parametrize("secret", [None, 0, 1, True, ["x" * 32], bytearray(32), memoryview(bytes(32)), object()])
def test_a_secret_is_text_or_bytes(secret):
    with pytest.raises(InvalidKey, match="text or bytes"):
        HMACKey(secret)


@pytest.mark.parametrize("length", [1, 16, 31])
def test_a_secret_under_32_bytes_is_refused(length):
    with pytest.raises(InvalidKey, match=f"{length} bytes.*at least 32"):
        HMACKey(SECRET.encode()[:length])


def test_a_secret_of_32_bytes_is_taken():
    assert HMACKey(SECRET[:32]).algorithm == "HS256"


def test_the_bytes_of_a_secret_count_and_not_its_characters():
    assert HMACKey("é" * 16).verify(b"x", HMACKey(("é" * 16).encode()).sign(b"x"))


def test_a_secret_with_a_lone_surrogate_is_refused():
    with pytest.raises(InvalidKey, match="surrogate"):
        HMACKey(SECRET + "\ud800")


@pytest.mark.parametrize("kid", ["", "k" * 129, "é", 1, True, b"kid", ["kid"], "\ud800"], ids=ascii)
def test_a_kid_is_1_to_128_ascii_characters(kid):
    with pytest.raises(InvalidKey, match="kid"):
        HMACKey(SECRET, kid)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_secret_is_either_a_key_or_an_invalid_key(secret):
    try:
        key = HMACKey(secret)
    except InvalidKey:
        return
    assert key.verify(b"x", key.sign(b"x"))


def test_a_secret_of_many_brackets_is_a_key_or_an_invalid_key():
    assert HMACKey("[" * 100_000).algorithm == "HS256"


# -- published secrets -----------------------------------------------------------------------------

PUBLISHED = {
    "RFC 7515 as text": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    "RFC 7520 as text": "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
    "RFC 7520": bytes.fromhex("849b57219dae48de646d07dbb533566e976686457c1491be3a76dcea6c427188"),
    "jwt.io": "a-string-secret-at-least-256-bits-long",
    "FastAPI's tutorial": "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "a Spring tutorial": "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    "the tests of every OpenTok SDK": "1234567890abcdef1234567890abcdef1234567890",
    "the same in capitals": "1234567890ABCDEF1234567890ABCDEF1234567890",
    "a word list": "reallyreallyreallyreallyverysafe",
    "a placeholder": "<random_string_at_least_32_characters_long>",
    "a sample that was copied": "r9iMKoe5CRMgvJBBtp4HrqN7QiPpUToj",
    "Laravel's examples": "base64:FnikDjGbAMiGGAjhYoVAKqdyLjn0Ae5CgQK2VIfl8Xc=",
    "Symfony's examples": "2e0df88180f6229836f94dcfdf303435",
    "one character": "a" * 64,
    "two characters": "ab" * 32,
    "seven characters": "abcdefg" * 8,
    "zeros": bytes(32),
}


@pytest.mark.parametrize("secret", PUBLISHED.values(), ids=PUBLISHED)
def test_a_published_secret_stops_the_kit(secret, make_kit):
    with pytest.raises(InvalidKey, match=r"publicly known|has (a line end|white space|quotes)"):
        make_kit(api_secret=secret)


def test_the_table_of_published_secrets_can_be_searched():
    table = Path(TABLE).read_bytes()
    entries = [table[i : i + FINGERPRINT_BYTES] for i in range(0, len(table), FINGERPRINT_BYTES)]
    assert len(entries) > 25_000
    assert entries == sorted(set(entries))
    assert {len(entry) for entry in entries} == {FINGERPRINT_BYTES}


@pytest.mark.parametrize("write", [bytes, lambda raw: raw.hex().encode(), b64encode], ids=["bytes", "hex", "base64"])
def test_a_random_secret_is_not_published(write):
    assert not any(is_published(write(os.urandom(32))) for _ in range(200))


@pytest.mark.parametrize("secret", [None, "", b"", "short", 5, "-----BEGIN PUBLIC KEY-----\n"])
def test_a_weak_secret_stops_the_kit(secret, make_kit):
    with pytest.raises(ConfigurationError):
        make_kit(api_secret=secret)


# -- JWKs --------------------------------------------------------------------------------------


def jwk(**members) -> dict[str, Any]:
    k = urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")
    return {"kty": "oct", "k": k, "alg": "HS256", "use": "sig", "kid": "a", **members}


def test_a_jwk_makes_the_key_of_its_bytes():
    key = HMACKey.from_jwk(jwk())
    assert (key.kid, key.algorithm) == ("a", "HS256")
    assert key.verify(b"x", HMACKey(SECRET).sign(b"x"))


def test_a_jwk_needs_no_more_than_its_type_and_its_bytes():
    assert HMACKey.from_jwk({"kty": "oct", "k": jwk()["k"]}).kid is None


@pytest.mark.parametrize(
    "members",
    [
        {"kty": None},
        {"kty": "RSA"},
        {"kty": "OCT"},
        {"alg": None},
        {"alg": "HS384"},
        {"alg": "hs256"},
        {"alg": "none"},
        {"alg": ["HS256"]},
        {"alg": "A256GCM"},
        {"use": "enc"},
        {"use": None},
        {"use": ["sig"]},
        {"key_ops": []},
        {"key_ops": None},
        {"key_ops": "verify"},
        {"key_ops": ["sign"]},
        {"key_ops": ["encrypt", "decrypt"]},
        {"key_ops": [["verify"]]},
        {"k": None},
        {"k": 5},
        {"k": ""},
        {"k": "c2hvcnQ"},
        {"k": "é" * 50},
        {"k": "\ud800" * 50},
        {"k": "+/" * 25},
        {"k": jwk()["k"] + "="},
        {"k": jwk()["k"] + "\n"},
        {"k": [jwk()["k"]]},
        {"kid": 5},
        {"kid": ""},
        {"kid": "k" * 129},
    ],
    ids=repr,
)
def test_a_jwk_that_is_not_for_hs256_signatures_is_refused(members):
    with pytest.raises(InvalidKey):
        HMACKey.from_jwk(jwk(**members))


@pytest.mark.parametrize("value", [None, [], "{}", 5, b"{}"], ids=repr)
def test_a_jwk_is_an_object(value):
    with pytest.raises(InvalidKey, match="JSON object"):
        HMACKey.from_jwk(value)


@pytest.mark.parametrize(
    "value", [None, [], "x", {}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": [None]}, {"keys": [[]]}], ids=repr
)
def test_a_jwk_set_holds_a_list_of_jwks(value):
    with pytest.raises(InvalidKey):
        KeyRing.from_jwks(value)


def test_a_jwk_set_with_one_bad_key_is_refused_as_a_whole():
    with pytest.raises(InvalidKey):
        KeyRing.from_jwks({"keys": [jwk(), jwk(kty="RSA", kid="b")]})


def test_a_derived_key_depends_on_its_purpose_and_is_not_the_secret():
    key = HMACKey(SECRET)
    assert len({key.derive("one"), key.derive("two"), SECRET.encode()}) == 3


# -- secrets stay secret ---------------------------------------------------------------------------


def reachable(value: object, seen: set[int]) -> list[object]:
    """All objects of this package that hang on ``value``, as a debugger or an error reporter would walk them."""
    if id(value) in seen:
        return []
    seen.add(id(value))
    found = [value]
    for item in gc.get_referents(value):
        if isinstance(item, dict | list | tuple | set | frozenset) or type(item).__module__.startswith("rolecall"):
            found += reachable(item, seen)
    return found


def secrets_in(text: str, secret: str = SECRET) -> list[str]:
    """The forms of the secret that stand in ``text``; eight characters of it are enough."""
    forms = [secret, secret.encode().hex(), b64encode(secret.encode()).decode()]
    return [form for form in forms if any(form[i : i + 8] in text for i in range(len(form) - 7))]


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format, ascii])
def test_a_key_does_not_show_its_secret(show):
    assert secrets_in(show(HMACKey(SECRET, "a")) + show(KeyRing([HMACKey(SECRET, "a")]))) == []


def test_nothing_that_hangs_on_a_kit_shows_its_secret(make_kit):
    kit = make_kit(api_secret=SECRET)
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token(data="x"))
    objects = [item for root in (kit, kit.aio, session, grant) for item in reachable(root, set())]
    shown = [repr(item) for item in objects if type(item).__module__.startswith("rolecall")]
    assert len(shown) > 20
    assert secrets_in("\n".join(shown)) == []


def test_the_attributes_of_a_kit_do_not_show_its_secret(make_kit):
    kit = make_kit(api_secret=SECRET)
    assert secrets_in(repr(vars(kit)) + repr(vars(kit.engine.state))) == []


@pytest.mark.parametrize("clone", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda clone: clone.__name__)
def test_a_key_is_neither_pickled_nor_copied(clone):
    with pytest.raises(TypeError):
        clone(HMACKey(SECRET))


@pytest.mark.parametrize("clone", [pickle.dumps, copy.deepcopy], ids=lambda clone: clone.__name__)
def test_the_keys_of_a_ring_are_neither_pickled_nor_copied(clone):
    with pytest.raises(TypeError):
        clone(KeyRing([HMACKey(SECRET)]))


def test_a_kit_is_not_pickled(make_kit):
    with pytest.raises(TypeError):
        pickle.dumps(make_kit(api_secret=SECRET))


MISTAKES = {
    "too short": lambda: HMACKey(SECRET[:30]),
    "a lone surrogate": lambda: HMACKey(SECRET + "\ud800"),
    "a bad kid": lambda: HMACKey(SECRET, "é"),
    "the secret in a JWK of another type": lambda: HMACKey.from_jwk({"kty": "RSA", "k": SECRET}),
    "the secret as a JWK's k": lambda: HMACKey.from_jwk({"kty": "oct", "k": SECRET}),
    "the secret as a key ring": lambda: KeyRing.from_jwks(untyped(SECRET)),
    "a store that does not exist": lambda: Rolecall("123456", SECRET, store="nowhere://"),
    "a format that does not exist": lambda: Rolecall("123456", SECRET, format="paseto"),
    "an integer API key": lambda: Rolecall(untyped(123456), SECRET),
    "an impossible leeway": lambda: Rolecall("123456", SECRET, leeway=61),
    "a bad role": lambda: Rolecall("123456", SECRET).create_session().generate_token(untyped("king")),
    "a bad token": lambda: Rolecall("123456", SECRET).verify_token("a.b.c"),
    "the secret as an API key": lambda: Rolecall(SECRET, "123456"),
    "the secret as a JWK": lambda: HMACKey.from_jwk(untyped(SECRET)),
    "the secret as a kid": lambda: HMACKey(OTHER, SECRET * 4),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_no_error_log_or_traceback_shows_a_secret(mistake, caplog):
    try:
        mistake()
    except RolecallError:
        logging.getLogger("app").exception("a mistake")
        assert secrets_in(traceback.format_exc() + caplog.text) == []
    else:
        pytest.fail("this is no mistake")


def test_the_cause_of_an_error_does_not_hold_the_secret():
    with pytest.raises(InvalidKey) as caught:
        HMACKey(SECRET + "\ud800")
    assert secrets_in(repr(caught.value.__context__)) == []
