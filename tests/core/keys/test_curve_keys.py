"""Private keys for ES256 and EdDSA: what is one, what signs and verifies with it, and that it never shows."""

from __future__ import annotations

import copy
import hmac
import json
import pickle
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rolecall.encoding import base64url
from rolecall.encoding.jws import Codec, raw_token
from rolecall.errors import InvalidKey, InvalidToken, RolecallError
from rolecall.keys import ECKey, Ed25519Key, HMACKey, Key, KeyRing, RSAKey
from rolecall.keys.issuers import Issuer
from rolecall.keys.published import is_published

from ...budgets import examples
from ...tracebacks import held_by

SECRET = "Xy7!secret-secret-secret-secret-Zq9"
PKCS8, TRADITIONAL, OPENSSH = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL, PrivateFormat.OpenSSH
VECTORS = Path(__file__).parents[2] / "vectors"
#: The orders of the groups of P-256 (FIPS 186) and Ed25519 (RFC 8032, section 5.1).
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
L = 2**252 + 27742317777372353535851937790883648493


@cache
def private(name: str):
    """A private key of this kind, made once."""
    makers = {
        "EC": lambda: ec.generate_private_key(ec.SECP256R1()),
        "another EC": lambda: ec.generate_private_key(ec.SECP256R1()),
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "P-224": lambda: ec.generate_private_key(ec.SECP224R1()),
        "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
        "brainpool": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "another Ed25519": ed25519.Ed25519PrivateKey.generate,
        "Ed448": ed448.Ed448PrivateKey.generate,
        "X25519": x25519.X25519PrivateKey.generate,
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
    }
    return makers[name]()


def pem(name: str, form: PrivateFormat = PKCS8, password: bytes | None = None) -> bytes:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return private(name).private_bytes(Encoding.PEM, form, protection)


def der(name: str, form: PrivateFormat = PKCS8) -> bytes:
    return private(name).private_bytes(Encoding.DER, form, NoEncryption())


def public_pem(name: str) -> bytes:
    return private(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def certificate(name: str) -> bytes:
    named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example.org")])
    life = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(named, named, private(name).public_key(), 1, *life).sign(private("RSA"), SHA256())
    return made.public_bytes(Encoding.PEM)


KINDS: dict[str, Callable[..., ECKey | Ed25519Key]] = {"EC": ECKey, "Ed25519": Ed25519Key}
kinds = pytest.mark.parametrize(("name", "kind"), KINDS.items(), ids=KINDS)


def codec_of(key: Key, typ: str | None = None) -> Codec:
    return Codec(Issuer("an issuer", KeyRing([key])), typ)


def accepts(key: Key, token: str) -> bool:
    try:
        codec_of(key).verify(raw_token(token))
    except InvalidToken:
        return False
    return True


# -- what is a private key -------------------------------------------------------------------------

SPELLINGS: dict[str, Callable[[bytes], bytes | str]] = {
    "as it is": lambda text: text,
    "text": lambda text: text.decode(),
    "with CRLF": lambda text: text.replace(b"\n", b"\r\n"),
    "in white space": lambda text: b" \r\n\t" + text + b"\n \n",
    "without its last line end": lambda text: text.rstrip(),
    "after a BOM": lambda text: b"\xef\xbb\xbf" + text,
    "on one line": lambda text: text.replace(b"\n", b" "),
    "after its description": lambda text: b"Bag Attributes\n    friendlyName: app\n" + text,
}


@kinds
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_of_a_private_key_is_the_same_key(name, kind, spelling):
    key = kind(spelling(pem(name)))
    assert kind(pem(name)).verify(b"message", key.sign(b"message"))
    assert key.derive("x") == kind(pem(name)).derive("x")


@pytest.mark.parametrize(
    "before", [b"", b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"]
)
def test_an_ec_key_in_sec1_is_the_same_key(before):
    """OpenSSL writes the parameters before the key unless it is told not to."""
    assert ECKey(before + pem("EC", TRADITIONAL)).derive("x") == ECKey(pem("EC")).derive("x")


OTHER = {
    "a public key": (public_pem, "public key"),
    "a certificate": (certificate, "certificate"),
    "encrypted": (lambda name: pem(name, password=b"x"), r"encrypted.*openssl pkey"),
    "the form of OpenSSH": (lambda name: pem(name, OPENSSH), r"in OpenSSH's form; .*ssh-keygen -p"),
    "DER": (der, r"is DER; .*openssl pkey"),
    "PEM in base64": (lambda name: b64encode(pem(name)), "is PEM in base64; decode it"),
    "PEM without its lines": (lambda name: b"".join(pem(name).splitlines()[1:-1]), "without its first and last line"),
    "cut off": (lambda name: pem(name)[:-60], "cannot be read"),
    "a secret": (lambda name: SECRET, r"cannot be read; expected PEM of an E\w+ key, which begins with '-----BEGIN P"),
    "empty": (lambda name: "", "cannot be read"),
    "a lone surrogate": (lambda name: pem(name).decode() + "\ud800", "cannot be read"),
    "None": (lambda name: None, "PEM text, not NoneType"),
    "a bytearray": (lambda name: bytearray(pem(name)), "PEM text, not bytearray"),
    "a key that is loaded already": (private, "PEM text, not "),
    "RSA": (lambda name: pem("RSA"), "another kind"),
    "Ed448": (lambda name: pem("Ed448"), "another kind"),
    "X25519": (lambda name: pem("X25519"), "another kind"),
}


@kinds
@pytest.mark.parametrize(("given", "message"), OTHER.values(), ids=OTHER)
def test_anything_but_the_private_key_is_refused_and_the_message_says_why(name, kind, given, message):
    with pytest.raises(InvalidKey, match=message):
        kind(given(name))


@pytest.mark.parametrize("name", ["P-384", "P-521", "P-224", "secp256k1", "brainpool"])
def test_es256_takes_p256_alone(name):
    with pytest.raises(InvalidKey, match=r"on the curve \w+; ES256 needs P-256, which OpenSSL calls prime256v1"):
        ECKey(pem(name))


@pytest.mark.parametrize(
    ("kind", "name"), [(ECKey, "Ed25519"), (Ed25519Key, "EC"), (RSAKey, "EC"), (RSAKey, "Ed25519")]
)
def test_a_key_of_another_curve_is_refused(kind, name):
    with pytest.raises(InvalidKey, match="another kind"):
        kind(pem(name))


@kinds
@pytest.mark.parametrize("kid", ["", "k" * 129, "é", 1, True, b"kid"], ids=ascii)
def test_a_kid_is_1_to_128_ascii_characters(name, kind, kid):
    with pytest.raises(InvalidKey, match="kid"):
        kind(pem(name), kid)


@kinds
@settings(max_examples=examples(100))
@given(st.binary(max_size=200), st.sampled_from([b"", b"EC ", b"ENCRYPTED ", b"OPENSSH ", b"X"]))
def test_any_body_in_a_pem_is_an_invalid_key_and_nothing_else_escapes(name, kind, body, label):
    armoured = b"-----BEGIN %bPRIVATE KEY-----\n%b\n-----END %bPRIVATE KEY-----" % (label, b64encode(body), label)
    for text in (armoured, body):
        with pytest.raises(InvalidKey):
            kind(text)


@pytest.mark.parametrize("value", [0, N, N + 1, 2**256 - 1], ids=["zero", "the order", "above it", "all ones"])
def test_a_number_outside_the_group_is_no_private_key(value):
    # SEC 1 with the number, and without the point that would have to fit it.
    body = b"\x30\x31\x02\x01\x01\x04\x20" + value.to_bytes(32) + b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
    with pytest.raises(InvalidKey, match="cannot be read"):
        ECKey(b"-----BEGIN EC PRIVATE KEY-----\n" + b64encode(body) + b"\n-----END EC PRIVATE KEY-----\n")


# -- what it does ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "algorithm"), [("EC", "ES256"), ("Ed25519", "EdDSA")])
def test_it_is_for_one_algorithm(name, algorithm):
    assert KINDS[name](pem(name)).algorithm == algorithm


@kinds
@given(message=st.binary(max_size=300))
def test_what_it_signs_it_verifies_and_of_64_bytes(name, kind, message):
    key = kind(pem(name))
    signature = key.sign(message)
    assert len(signature) == 64
    assert key.verify(message, signature)
    assert not key.verify(message + b"x", signature)


@kinds
@given(payload=st.binary(max_size=300))
def test_what_a_codec_signs_it_verifies(name, kind, payload):
    codec = codec_of(kind(pem(name), "a"), "JWT")
    assert codec.verify(raw_token(codec.sign(payload))) == payload


@kinds
def test_another_library_reads_the_token_by_its_public_key(name, kind):
    key = kind(pem(name), "a")
    token = codec_of(key, "JWT").sign(b'{"a":1}')
    assert jwt.decode(token, private(name).public_key(), algorithms=[key.algorithm]) == {"a": 1}
    assert jwt.decode(token, jwt.PyJWK(key.public_jwk()), algorithms=[key.algorithm]) == {"a": 1}
    assert jwt.get_unverified_header(token) == {"alg": key.algorithm, "typ": "JWT", "kid": "a"}


@kinds
def test_the_token_of_another_library_verifies(name, kind):
    key = kind(pem(name))
    token = jwt.encode({"a": 1}, private(name), algorithm=key.algorithm)
    assert codec_of(key, "JWT").verify(raw_token(token)) == b'{"a":1}'


@kinds
def test_a_signature_of_another_key_does_not_fit(name, kind):
    assert not kind(pem(name)).verify(b"message", kind(pem(f"another {name}")).sign(b"message"))


CHANGES = {
    "none": lambda signature: b"",
    "cut off": lambda signature: signature[:-1],
    "a zero after": lambda signature: signature + b"\0",
    "a zero before": lambda signature: b"\0" + signature,
    "half": lambda signature: signature[:32],
    "twice": lambda signature: signature * 2,
    "zeros": lambda signature: bytes(64),
    "ones": lambda signature: b"\xff" * 64,
    "the halves swapped": lambda signature: signature[32:] + signature[:32],
    "the first half zero": lambda signature: bytes(32) + signature[32:],
    "the second half zero": lambda signature: signature[:32] + bytes(32),
    "of 64 KiB": lambda signature: signature * 1024,
}


@kinds
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_signature_does_not_fit(name, kind, change):
    key = kind(pem(name))
    assert key.verify(b"message", change(key.sign(b"message"))) is False


@kinds
def test_a_signature_with_any_bit_changed_does_not_fit(name, kind):
    key = kind(pem(name))
    signature = int.from_bytes(key.sign(b"message"))
    fitting = [bit for bit in range(512) if key.verify(b"message", (signature ^ 1 << bit).to_bytes(64))]
    assert fitting == []


@kinds
@given(signature=st.binary(max_size=130) | st.binary(min_size=64, max_size=64))
def test_a_made_up_signature_does_not_fit_and_raises_nothing(name, kind, signature):
    assert kind(pem(name)).verify(b"message", signature) is False


def test_es256_takes_no_der():
    key = ECKey(pem("EC"))
    signature = key.sign(b"message")
    as_der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    private("EC").public_key().verify(as_der, b"message", ec.ECDSA(SHA256()))
    assert not key.verify(b"message", as_der)


def test_eddsa_takes_no_second_spelling_of_s():
    """RFC 8032, section 8.4: S + L would be the same number modulo the order."""
    key = Ed25519Key(pem("Ed25519"))
    signature = key.sign(b"message")
    again = int.from_bytes(signature[32:], "little") + L
    assert not key.verify(b"message", signature[:32] + again.to_bytes(32, "little"))


def test_eddsa_signs_the_same_message_alike_each_time():
    assert Ed25519Key(pem("Ed25519")).sign(b"x") == Ed25519Key(pem("Ed25519")).sign(b"x")


@kinds
def test_what_is_derived_depends_on_the_key_and_the_purpose(name, kind):
    keys = kind(pem(name)), kind(pem(f"another {name}"))
    derived = {key.derive(purpose) for key in keys for purpose in ("one", "two")}
    assert {len(value) for value in derived} == {32}
    assert len(derived) == 4


@kinds
def test_its_public_key_is_no_secret(name, kind):
    with pytest.raises(InvalidKey, match="public key"):
        HMACKey(public_pem(name))


@kinds
def test_the_public_jwk_holds_no_private_member(name, kind):
    assert set(kind(pem(name)).public_jwk()) == {"kty", "crv", "x", "alg", "use", *(["y"] if name == "EC" else [])}
    assert kind(pem(name), "a").public_jwk()["kid"] == "a"


def test_the_coordinates_of_a_public_jwk_have_32_bytes_each():
    """Also where one of them begins with zeros, as in one key of 128."""
    keys = (ec.derive_private_key(number, ec.SECP256R1()) for number in range(1, 2000))
    short = next(key for key in keys if key.public_key().public_numbers().x < 1 << 248)
    key = ECKey(short.private_bytes(Encoding.PEM, PKCS8, NoEncryption()))
    assert {len(base64url.decode(key.public_jwk()[name].encode())) for name in "xy"} == {32}
    assert jwt.decode(codec_of(key, "JWT").sign(b"{}"), jwt.PyJWK(key.public_jwk()), algorithms=["ES256"]) == {}


#: The names of a key's algorithm in a header. EdDSA has a second one for keys on this curve (RFC 9864, section 2.2).
NAMES = {"ES256": ("ES256",), "EdDSA": ("EdDSA", "Ed25519")}


@kinds
@pytest.mark.parametrize("other", ["HS256", "RS256", "ES256", "EdDSA", "Ed25519", "Ed448", "ES384", "none"])
def test_a_header_with_another_algorithm_is_refused(name, kind, other):
    key = kind(pem(name))
    signing_input = base64url.encode(json.dumps({"alg": other}).encode()) + b"." + base64url.encode(b"{}")
    token = signing_input + b"." + base64url.encode(key.sign(signing_input))
    assert accepts(key, token.decode()) == (other in NAMES[key.algorithm])


@kinds
def test_a_mac_with_the_public_key_is_refused(name, kind):
    """A token with HS256 and this public key as its secret can be made by anybody."""
    signing_input = base64url.encode(b'{"alg":"HS256"}') + b"." + base64url.encode(b"{}")
    for public in (public_pem(name), public_pem(name).strip()):
        token = signing_input + b"." + base64url.encode(hmac.digest(public, signing_input, "sha256"))
        assert not accepts(kind(pem(name)), token.decode())


# -- public vectors --------------------------------------------------------------------------------


def number(text: str) -> int:
    return int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def pem_of(jwk: dict[str, str]) -> bytes:
    """PKCS #8 of a private JWK."""
    if jwk["kty"] == "OKP":
        raw = urlsafe_b64decode(jwk["d"] + "=" * (-len(jwk["d"]) % 4))
        loaded: Any = ed25519.Ed25519PrivateKey.from_private_bytes(raw)
    else:
        loaded = ec.derive_private_key(number(jwk["d"]), ec.SECP256R1())
    return loaded.private_bytes(Encoding.PEM, PKCS8, NoEncryption())


#: RFC 7515, appendix A.3.
A3 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
A3_TOKEN = (
    "eyJhbGciOiJFUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
#: RFC 8037, appendix A.1; the token of A.4 stands in the vectors.
A1 = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
RFC_8037 = json.loads((VECTORS / "rfc/rfc_known_answers.json").read_text("utf-8"))["rfc8037_A4_EdDSA"]


def test_rfc_7515_a3_verifies():
    payload = codec_of(ECKey(pem_of(A3))).verify(raw_token(A3_TOKEN))
    assert json.loads(payload) == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}


def test_rfc_8037_a4_is_signed_byte_for_byte():
    codec = codec_of(Ed25519Key(pem_of(A1)))
    assert codec.sign(b"Example of Ed25519 signing") == RFC_8037["token"]


def test_rfc_8037_a5_verifies():
    codec = codec_of(Ed25519Key(pem_of(A1)))
    assert codec.verify(raw_token(RFC_8037["token"])) == b"Example of Ed25519 signing"


@pytest.mark.parametrize(("kind", "jwk"), [(ECKey, A3), (Ed25519Key, A1)], ids=["RFC 7515 A.3", "RFC 8037 A.2"])
def test_the_public_half_is_that_of_the_rfc(kind, jwk):
    public = {name: value for name, value in jwk.items() if name != "d"}
    assert kind(pem_of(jwk)).public_jwk().items() >= public.items()


@pytest.mark.parametrize(("kind", "jwk"), [(ECKey, A3), (Ed25519Key, A1)], ids=["RFC 7515 A.3", "RFC 8037 A.1"])
def test_the_key_of_the_rfc_is_publicly_known(kind, jwk):
    with pytest.raises(InvalidKey, match="publicly known"):
        kind(pem_of(jwk)).refuse_published()


@kinds
def test_a_key_of_ones_own_is_not_publicly_known(name, kind):
    kind(pem(name)).refuse_published()
    public = private(name).public_key()
    raw = public.public_bytes(
        *((Encoding.Raw, PublicFormat.Raw) if name == "Ed25519" else (Encoding.X962, PublicFormat.UncompressedPoint))
    )
    assert not is_published(raw[-64:])


GROUPS = json.loads((VECTORS / "wycheproof/json_web_signature_test.json").read_text("utf-8"))["testGroups"]
CURVES = [group for group in GROUPS if group["private"].get("crv") == "P-256"]
ES256 = [(group, case) for group in CURVES if group["private"].get("alg") == "ES256" for case in group["tests"]]
OTHERS = [(group, case) for group in GROUPS if group["private"]["kty"] != "EC" for case in group["tests"]]
OVERRIDES = {
    int(case): verdict.startswith("accept")
    for case, verdict in json.loads((VECTORS / "wycheproof/kit_overrides.json").read_text("utf-8")).items()
    if case.isdigit()
}


def case_id(value: dict) -> str | None:
    return f"{value['tcId']}-{value['comment']}" if "tcId" in value else value["comment"]


def test_wycheproof_has_39_signatures_for_es256_and_two_of_them_are_good():
    assert [case["result"] for _, case in ES256].count("valid") == 2
    assert len(ES256) == 39


@pytest.mark.parametrize(("group", "case"), ES256, ids=case_id)
def test_an_es256_signature_of_wycheproof_is_accepted_exactly_if_it_is_valid(group, case):
    key = ECKey(pem_of(group["private"]), group["private"].get("kid"))
    assert accepts(key, case["jws"]) is OVERRIDES.get(case["tcId"], case["result"] == "valid")


@pytest.mark.parametrize(("group", "case"), OTHERS, ids=case_id)
def test_a_token_of_another_algorithm_is_refused(group, case):
    kid = group["private"].get("kid")
    assert not accepts(ECKey(pem("EC"), kid), case["jws"])
    assert not accepts(Ed25519Key(pem("Ed25519"), kid), case["jws"])


def test_wycheproofs_key_is_publicly_known():
    with pytest.raises(InvalidKey, match="publicly known"):
        ECKey(pem_of(CURVES[0]["private"])).refuse_published()


# -- it never shows --------------------------------------------------------------------------------


def raw(name: str) -> bytes:
    key = private(name)
    if name.endswith("Ed25519"):
        return key.private_bytes_raw()
    return key.private_numbers().private_value.to_bytes(32)


def canaries(name: str) -> list[str]:
    """Pieces of the private key in the forms in which it could show."""
    text = pem(name).splitlines()[1].decode()
    return [
        raw(name).hex()[10:40],
        str(int.from_bytes(raw(name)))[10:40],
        b64encode(raw(name)).decode()[4:30],
        text[24:60],
    ]


def shown_in(text: str, name: str) -> list[str]:
    flat = text.replace("\\n", "").replace("\n", "")
    return [canary for canary in canaries(name) if canary in flat]


@kinds
def test_the_canaries_would_be_seen(name, kind):
    assert shown_in(pem(name).decode(), name)
    assert shown_in(repr(pem(name)), name)
    assert shown_in(raw(name).hex(), name)


@kinds
@pytest.mark.parametrize("show", [repr, str, ascii, "{}".format])
def test_a_private_key_does_not_show(name, kind, show):
    key = kind(pem(name), "a")
    assert show(key) == f"<Key {key.algorithm} kid='a'>"
    assert shown_in(show([key, KeyRing([key]), Issuer("x", KeyRing([key])), key._private, key._public]), name) == []


@kinds
@pytest.mark.parametrize("clone", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda clone: clone.__name__)
def test_a_private_key_is_neither_pickled_nor_copied(name, kind, clone):
    with pytest.raises(TypeError):
        clone(kind(pem(name)))


MISTAKES = {
    "encrypted": lambda name: pem(name, password=b"x"),
    "cut off": lambda name: pem(name)[:-60],
    "as a bytearray": lambda name: bytearray(pem(name)),
    "with a lone surrogate": lambda name: pem(name).decode() + "\ud800",
    "its body alone": lambda name: b"".join(pem(name).splitlines()[1:-1]),
    "in the form of OpenSSH": lambda name: pem(name, OPENSSH),
}


@kinds
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_no_error_and_no_frame_of_it_holds_the_key(name, kind, mistake):
    given = mistake(name)
    with pytest.raises(RolecallError) as caught:
        kind(given)
    assert shown_in(held_by(caught.value), name) == []


@kinds
def test_no_frame_of_an_error_about_the_kid_holds_the_key(name, kind):
    with pytest.raises(InvalidKey, match="kid") as caught:
        kind(pem(name), "é")
    assert shown_in(held_by(caught.value), name) == []


def test_a_key_of_another_curve_is_in_no_frame_of_the_error():
    with pytest.raises(InvalidKey) as caught:
        Ed25519Key(pem("EC"))
    assert shown_in(held_by(caught.value), "EC") == []
