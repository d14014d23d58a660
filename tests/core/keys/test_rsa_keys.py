"""Private RSA keys: what is one, what signs and verifies with it, and that it never shows."""

from __future__ import annotations

import copy
import json
import pickle
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rolecall.encoding.jws import Codec, raw_token
from rolecall.errors import InvalidKey, InvalidToken, RolecallError
from rolecall.keys import HMACKey, Key, KeyRing, RSAKey
from rolecall.keys.issuers import Issuer
from rolecall.keys.published import is_published

from ...budgets import examples
from ...tracebacks import held_by

SECRET = "Xy7!secret-secret-secret-secret-Zq9"
PKCS8, PKCS1, OPENSSH = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL, PrivateFormat.OpenSSH


@cache
def private(name: str) -> rsa.RSAPrivateKey:
    """A private key of this kind, made once."""
    makers: dict[str, Callable[[], Any]] = {
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
        "another RSA": lambda: rsa.generate_private_key(65537, 2048),
        "RSA of 3072 bits": lambda: rsa.generate_private_key(65537, 3072),
        "RSA of 2047 bits": lambda: rsa.generate_private_key(65537, 2047),
        "RSA of 1024 bits": lambda: rsa.generate_private_key(65537, 1024),
        "EC": lambda: ec.generate_private_key(ec.SECP256R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "Ed448": ed448.Ed448PrivateKey.generate,
    }
    return makers[name]()


def pem(name: str = "RSA", form: PrivateFormat = PKCS8, password: bytes | None = None) -> bytes:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return private(name).private_bytes(Encoding.PEM, form, protection)


def public_pem(form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    return private("RSA").public_key().public_bytes(Encoding.PEM, form)


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example.org")])
    life = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, private("EC").public_key(), 1, *life).sign(private("Ed25519"), None)
    return made.public_bytes(Encoding.PEM)


# -- what is a private key -------------------------------------------------------------------------

BOM = b"\xef\xbb\xbf"
SPELLINGS = {
    "PKCS8": pem,
    "PKCS1": lambda: pem(form=PKCS1),
    "text": lambda: pem().decode(),
    "with CRLF": lambda: pem().replace(b"\n", b"\r\n"),
    "with CR": lambda: pem().replace(b"\n", b"\r"),
    "in white space": lambda: b" \r\n\t" + pem() + b"\n \n",
    "without its last line end": lambda: pem().rstrip(),
    "after a BOM": lambda: BOM + pem(),
    "indented": lambda: pem().replace(b"\n", b"\n    "),
    "on one line": lambda: pem().replace(b"\n", b" "),
    "in quotes": lambda: b'"' + pem() + b'"',
    "after its public key": lambda: public_pem() + pem(),
    "after its description": lambda: b"Bag Attributes\n    friendlyName: app\n" + pem(),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_of_a_private_key_is_the_same_key(spelling):
    key = RSAKey(spelling())
    assert RSAKey(pem()).verify(b"message", key.sign(b"message"))
    assert key.derive("x") == RSAKey(pem()).derive("x")


NO_KEYS = {
    "a public key": (public_pem, "public key"),
    "a public key in PKCS1": (lambda: public_pem(PublicFormat.PKCS1), "public key"),
    "a certificate": (certificate, "certificate"),
    "encrypted PKCS8": (lambda: pem(password=b"x"), "encrypted.*openssl pkey"),
    "encrypted PKCS1": (lambda: pem(form=PKCS1, password=b"x"), "encrypted.*openssl pkey"),
    "EC": (lambda: pem("EC"), "another kind; RS256 needs an RSA key"),
    "EC in its own form": (lambda: pem("EC", PKCS1), "another kind"),
    "Ed25519": (lambda: pem("Ed25519"), "another kind"),
    "Ed448": (lambda: pem("Ed448"), "another kind"),
    "RSA of 1024 bits": (lambda: pem("RSA of 1024 bits"), "1024 bits; at least 2048"),
    "RSA of 2047 bits": (lambda: pem("RSA of 2047 bits"), "2047 bits; at least 2048"),
    "the form of OpenSSH": (lambda: pem(form=OPENSSH), "in OpenSSH's form; .*ssh-keygen -p"),
    "DER": (lambda: private("RSA").private_bytes(Encoding.DER, PKCS8, NoEncryption()), "is DER; .*openssl pkey"),
    "PEM in base64": (lambda: b64encode(pem()), "is PEM in base64; decode it"),
    "PEM without its lines": (lambda: b"".join(pem().splitlines()[1:-1]), "without its first and last line"),
    "cut off": (lambda: pem()[:-300], "cannot be read"),
    "without its body": (lambda: b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "cannot be read"),
    "with a changed number": (lambda: pem()[:900] + (b"B" if pem()[900:901] == b"A" else b"A") + pem()[901:],
                              "cannot be read"),
    "a secret": (lambda: SECRET, "cannot be read"),
    "empty": (lambda: "", "cannot be read"),
    "empty bytes": (lambda: b"", "cannot be read"),
    "a lone surrogate": (lambda: pem().decode() + "\ud800", "cannot be read"),
    "a JWK": (lambda: json.dumps({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), "cannot be read"),
    "None": (lambda: None, "PEM text, not NoneType"),
    "a number": (lambda: 5, "PEM text, not int"),
    "a bytearray": (lambda: bytearray(pem()), "PEM text, not bytearray"),
    "a key that is loaded already": (lambda: private("RSA"), "PEM text, not RSAPrivateKey"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "message"), NO_KEYS.values(), ids=NO_KEYS)
def test_anything_but_a_private_rsa_key_is_refused_and_the_message_says_why(given, message):
    with pytest.raises(InvalidKey, match=message):
        RSAKey(given())


def test_a_longer_key_is_taken():
    key = RSAKey(pem("RSA of 3072 bits"))
    assert key.verify(b"message", key.sign(b"message"))


@pytest.mark.parametrize("kid", ["", "k" * 129, "é", 1, True, b"kid"], ids=ascii)
def test_a_kid_is_1_to_128_ascii_characters(kid):
    with pytest.raises(InvalidKey, match="kid"):
        RSAKey(pem(), kid)


@settings(max_examples=examples(200))
@given(st.binary(max_size=200), st.sampled_from([b"", b"RSA ", b"EC ", b"ENCRYPTED ", b"OPENSSH ", b"X"]))
def test_any_body_in_a_pem_is_an_invalid_key_and_nothing_else_escapes(body, label):
    armoured = b"-----BEGIN %bPRIVATE KEY-----\n%b\n-----END %bPRIVATE KEY-----" % (label, b64encode(body), label)
    for text in (armoured, body):
        with pytest.raises(InvalidKey):
            RSAKey(text)


@settings(max_examples=examples(150), deadline=None)  # a key of 2,048 bits is checked while it is loaded
@given(st.integers(28, 1670), st.binary(min_size=1, max_size=3))
def test_a_pem_with_any_change_is_the_same_key_or_an_invalid_key(position, change):
    text = pem()[:position] + change + pem()[position + len(change) :]
    try:
        key = RSAKey(text)
    except InvalidKey:
        return
    assert RSAKey(pem()).verify(b"message", key.sign(b"message"))


# -- what it does ----------------------------------------------------------------------------------


def test_it_is_for_rs256_alone():
    assert RSAKey(pem(), "a").algorithm == "RS256"


def test_a_signature_of_another_key_does_not_fit():
    assert not RSAKey(pem()).verify(b"message", RSAKey(pem("another RSA")).sign(b"message"))


@pytest.mark.parametrize(
    "change",
    [
        lambda signature: b"",
        lambda signature: signature[:-1],
        lambda signature: signature + b"\0",
        lambda signature: b"\0" + signature,
        lambda signature: bytes(256),
        lambda signature: b"\xff" * 256,
        lambda signature: signature[:-1] + bytes([signature[-1] ^ 1]),
        lambda signature: signature * 2,
    ],
    ids=["none", "cut off", "a zero after", "a zero before", "zeros", "above the modulus", "a bit", "twice"],
)
def test_a_changed_signature_does_not_fit(change):
    key = RSAKey(pem())
    assert key.verify(b"message", change(key.sign(b"message"))) is False


def test_the_signature_plus_the_modulus_does_not_fit():
    """It is the same number modulo the modulus: a second spelling of the signature."""
    key, modulus = RSAKey(pem()), private("RSA").public_key().public_numbers().n
    messages = [b"%d" % n for n in range(4000)]
    # Most signatures are too large to leave room for it in 256 bytes.
    message, signature = next((m, s) for m in messages if int.from_bytes(s := key.sign(m)) + modulus < 1 << 2048)
    assert key.verify(message, signature)
    assert not key.verify(message, (int.from_bytes(signature) + modulus).to_bytes(256))


def test_what_is_derived_depends_on_the_key_and_the_purpose():
    keys = RSAKey(pem()), RSAKey(pem("another RSA"))
    assert len({key.derive(purpose) for key in keys for purpose in ("one", "two")}) == 4


def test_what_is_derived_is_32_bytes():
    assert len(RSAKey(pem()).derive("one")) == 32


def test_it_is_no_secret_for_a_format_with_a_mac():
    with pytest.raises(InvalidKey, match="secret"):
        KeyRing([HMACKey(SECRET), RSAKey(pem())]).secrets  # noqa: B018


def test_a_ring_takes_keys_of_both_kinds():
    ring = KeyRing([HMACKey(SECRET, "a"), RSAKey(pem(), "b")])
    assert [key.algorithm for kid in ("a", "b") for key in ring.find(kid)] == ["HS256", "RS256"]


@pytest.mark.parametrize("form", ["as it is", "without its last line end", "in base64"])
def test_its_public_key_is_no_secret(form):
    """A token with HS256 and this public key as its secret can be made by anybody."""
    given = {"as it is": public_pem(), "without its last line end": public_pem().rstrip()}
    with pytest.raises(InvalidKey, match="public key"):
        HMACKey(given.get(form, b64encode(public_pem())))


@pytest.mark.parametrize("form", [PKCS8, PKCS1])
def test_the_private_key_is_no_secret_either(form):
    with pytest.raises(InvalidKey, match="public key"):
        HMACKey(pem(form=form))


# -- public vectors --------------------------------------------------------------------------------


def number(text: str) -> int:
    return int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def der(tag: int, content: bytes) -> bytes:
    length = len(content)
    size = [length] if length < 128 else [0x81, length] if length < 256 else [0x82, length >> 8, length & 255]
    return bytes([tag, *size]) + content


def pem_of(jwk: dict[str, str]) -> bytes:
    """PKCS1 of a private JWK as it is, however bad (RFC 8017, appendix A.1.2)."""
    numbers = [0, *(number(jwk[name]) for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi"))]
    integers = b"".join(der(2, value.to_bytes(value.bit_length() // 8 + 1)) for value in numbers)
    body = b64encode(der(0x30, integers))
    return b"-----BEGIN RSA PRIVATE KEY-----\n" + body + b"\n-----END RSA PRIVATE KEY-----\n"


@cache
def wycheproof_key(modulus: str, kid: str | None) -> RSAKey:
    return RSAKey(pem_of(next(g["private"] for g in RSA_GROUPS if g["private"]["n"] == modulus)), kid)


def codec_of(*keys: Key) -> Codec:
    return Codec(Issuer("an issuer", KeyRing(keys)), typ=None)


def accepts(key: Key, token: str) -> bool:
    try:
        codec_of(key).verify(raw_token(token))
    except InvalidToken:
        return False
    return True


VECTORS = Path(__file__).parents[2] / "vectors"


@pytest.fixture(scope="module")
def cookbook():
    return json.loads((VECTORS / "ietf-cookbook/jws/4_1.rsa_v15_signature.json").read_text("utf-8"))


def wycheproof(name: str) -> dict:
    return json.loads((VECTORS / "wycheproof" / name).read_text("utf-8"))


SIGNATURES = wycheproof("json_web_signature_test.json")["testGroups"]
OVERRIDES = {
    int(case): verdict.startswith("accept")
    for case, verdict in wycheproof("kit_overrides.json").items()
    if case.isdigit()
}  # fmt: skip
RSA_GROUPS = [group for group in SIGNATURES if group["private"]["kty"] == "RSA"]
OURS = [(g, case) for g in RSA_GROUPS if g["private"].get("alg") == "RS256" for case in g["tests"]]
# A PEM says neither what the key is used for, nor which algorithm of RSA it is for.
OTHERS = [
    (group, case)
    for group in RSA_GROUPS
    if group["private"].get("alg", "RS256") != "RS256"
    for case in group["tests"]
    if case["comment"] != "UsingRS256"
]
SECRETS = [(g, case) for g in SIGNATURES if g["private"]["kty"] == "oct" for case in g["tests"]]


def case_id(value: dict) -> str | None:
    return f"{value['tcId']}-{value['comment']}" if "tcId" in value else value["comment"]


def test_the_vectors_are_233_for_rs256_and_more_for_other_algorithms_of_rsa_keys():
    assert (len(OURS), len(OTHERS)) == (233, 81)
    assert sum(case["result"] == "valid" for _, case in OURS) > 3


@pytest.mark.parametrize(("group", "case"), OURS, ids=case_id)
def test_an_rs256_signature_is_accepted_exactly_if_it_is_valid(group, case):
    key = wycheproof_key(group["private"]["n"], group["private"].get("kid"))
    assert accepts(key, case["jws"]) is OVERRIDES.get(case["tcId"], case["result"] == "valid")


@pytest.mark.parametrize(("group", "case"), OTHERS, ids=case_id)
def test_a_signature_of_another_algorithm_by_the_same_key_is_refused(group, case):
    for kid in (group["private"].get("kid"), None):
        assert not accepts(wycheproof_key(group["private"]["n"], kid), case["jws"])


@pytest.mark.parametrize(("group", "case"), SECRETS, ids=case_id)
def test_an_hs256_token_is_refused_by_an_rsa_key(group, case):
    assert not accepts(RSAKey(pem(), group["private"].get("kid")), case["jws"])


KEY_SETS = {
    group["comment"]: (group["private"]["keys"][0] if "keys" in group["private"] else group["private"], case)
    for group in wycheproof("json_web_key_test.json")["testGroups"]
    for case in group["tests"]
    if case["tcId"] in (5, 7, 8, 9)
}
WEAK = {"jws_rsa_roca_key": "ROCA", "keysize_too_small": "1024 bits", "exponentOne": "cannot be read"}


def test_wycheproofs_rsa_key_signs():
    jwk, case = KEY_SETS["rs256"]
    assert accepts(RSAKey(pem_of(jwk), jwk["kid"]), case["jws"])


@pytest.mark.parametrize(("name", "message"), WEAK.items(), ids=WEAK)
def test_a_weak_rsa_key_of_wycheproof_is_refused(name, message):
    with pytest.raises(InvalidKey, match=message):
        RSAKey(pem_of(KEY_SETS[name][0]))


def test_the_cookbooks_example_is_signed_byte_for_byte(cookbook):
    given = cookbook["input"]
    codec = codec_of(RSAKey(pem_of(given["key"]), given["key"]["kid"]))
    assert codec.sign(given["payload"].encode()) == cookbook["output"]["compact"]


def test_the_cookbooks_example_verifies(cookbook):
    given = cookbook["input"]
    codec = codec_of(RSAKey(pem_of(given["key"]), given["key"]["kid"]))
    assert codec.verify(raw_token(cookbook["output"]["compact"])) == given["payload"].encode()


# -- it never shows --------------------------------------------------------------------------------


def canaries(name: str = "RSA") -> list[str]:
    """Pieces of the private key in the forms in which it could show."""
    numbers = private(name).private_numbers()
    secret = [numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp]
    lines = b"".join(pem(name).splitlines()[10:-1]).decode()
    return [*(str(n)[20:60] for n in secret), *(f"{n:x}"[20:50] for n in secret), lines[0:40], lines[200:240]]


def shown_in(text: str) -> list[str]:
    flat = text.replace("\\n", "").replace("\n", "")
    return [canary for canary in canaries() if canary in flat]


def test_the_canaries_would_be_seen():
    numbers = private("RSA").private_numbers()
    assert len(shown_in(pem().decode())) == len(shown_in(repr(pem()))) == 2
    assert len(shown_in(f"{numbers.d} {numbers.p:x}")) == 2


@pytest.mark.parametrize("show", [repr, str, ascii, "{}".format])
def test_a_private_key_does_not_show(show):
    key = RSAKey(pem(), "a")
    assert show(key) == "<Key RS256 kid='a'>"
    assert shown_in(show([key, KeyRing([key]), key._private, key._public])) == []


@pytest.mark.parametrize("clone", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda clone: clone.__name__)
@pytest.mark.parametrize("wrap", [lambda key: key, lambda key: KeyRing([key])], ids=["a key", "a ring"])
def test_a_private_key_is_neither_pickled_nor_copied(clone, wrap):
    holder = wrap(RSAKey(pem()))
    if isinstance(holder, KeyRing) and clone is copy.copy:
        assert copy.copy(holder).current is holder.current
        return
    with pytest.raises(TypeError):
        clone(holder)


MISTAKES = {
    "encrypted": lambda: pem(password=b"x"),
    "cut off": lambda: pem()[:-300],
    "as a bytearray": lambda: bytearray(pem()),
    "with a lone surrogate": lambda: pem().decode() + "\ud800",
    "its body alone": lambda: b"".join(pem().splitlines()[1:-1]),
    "in the form of OpenSSH": lambda: pem(form=OPENSSH),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_no_error_and_no_frame_of_it_holds_the_key(mistake):
    given = mistake()
    with pytest.raises(RolecallError) as caught:
        RSAKey(given)
    assert shown_in(held_by(caught.value)) == []


def test_no_frame_of_an_error_about_the_kid_holds_the_key():
    with pytest.raises(InvalidKey, match="kid") as caught:
        RSAKey(pem(), "é")
    assert shown_in(held_by(caught.value)) == []


# -- published keys --------------------------------------------------------------------------------

#: The public half of a private key that lists of known keys have.
LISTED = """-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAnFWdIwBbLRw4xfFDXYFm
lXKB4BpKeuAtfh1dcs5mhod0WTo/i/Z4DOpiiw/2H05luI4PzOZem8AlHI9hUhHq
5p1+YHM68SyvBQ9OTl+O90nmLYOt2Jzquks11bf29nJh7KwGVHOv2nh3eL39BVsq
HSt0O/rjSa0bV+QtUc2DP9U4WzZ38RhT2bdiRcsDuMfI024u9JGG/O4iG3wDlXyS
5j6G0NVw/KEJJtYYv8ruQVpvlKUdNtx7aE+u6F60SjJYQSfdjMoQNMDglBFwhY11
RlHSmiJ/Ym8aE+Hj11JHhPcB1N+XRWaHV9ply4TnE13PsQtGWVKsLDNQNUeIUljK
dQIDAQAB
-----END PUBLIC KEY-----
"""


def modulus(key: rsa.RSAPublicKey) -> bytes:
    return key.public_numbers().n.to_bytes(key.key_size // 8)


def test_a_key_of_the_public_lists_is_published():
    listed = load_pem_public_key(LISTED.encode())
    assert isinstance(listed, rsa.RSAPublicKey)
    assert is_published(modulus(listed))


def test_a_key_of_ones_own_is_not_published():
    assert not is_published(modulus(private("RSA").public_key()))
    RSAKey(pem("RSA")).refuse_published()
