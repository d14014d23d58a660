"""Rings: one key signs and all verify, and what leaves the ring is refused wherever a key was used."""

from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm
from jwt.utils import der_to_raw_signature

from rolecall import Web
from rolecall.encoding.jws import Codec, raw_token
from rolecall.errors import (
    BadSignature,
    CsrfFailed,
    InvalidKey,
    InvalidServerCredential,
    InvalidSessionId,
    InvalidToken,
    UnknownKey,
    WrongTokenKind,
)
from rolecall.formats.claims import ClaimRules
from rolecall.formats.opentok import OpenTokFormat
from rolecall.formats.t1 import T1Format
from rolecall.formats.vonage import VonageFormat
from rolecall.http.api.sdk_credentials import ServerCredentials
from rolecall.http.credentials import COOKIE, CSRF_HEADER, Credentials
from rolecall.keys import MAX_NAMELESS, ECKey, Ed25519Key, HMACKey, Key, KeyRing, RSAKey
from rolecall.keys.issuers import Issuer
from rolecall.request import Request
from rolecall.roles import Role, RoleTable
from rolecall.session_ids import OpenTokIds
from rolecall.sessions import MediaMode
from rolecall.tokens import TokenOptions

from ...untyped import untyped

NOW = 1_795_186_800.0
ID = "123456"
APPLICATION = "6b7a1d5e-0f1b-4c56-9a77-1c2b3d4e5f60"
SECRETS = [f"{number}2df95e9fdac14502e8a27a9d8a71e87ef64a502e" for number in range(5)]
OLD, NEW, NEXT, STRANGE = map(HMACKey, SECRETS[:4])


def issuer_of(*keys: Key) -> Issuer:
    return Issuer(ID, KeyRing(keys))


def pem(private) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


# -- the ring --------------------------------------------------------------------------------------


def test_a_ring_without_keys_is_refused():
    with pytest.raises(InvalidKey):
        KeyRing([])


@pytest.mark.parametrize(
    "keys",
    [None, [None], SECRETS, 5, [b""], [HMACKey], [OLD, None], [object()]],
    ids=["None", "[None]", "texts", "5", "[b'']", "the class", "a key and None", "[object]"],
)
def test_a_ring_of_anything_but_keys_is_refused(keys):
    with pytest.raises(InvalidKey, match="at least one Key"):
        KeyRing(keys)


def test_two_keys_of_one_kid_are_refused():
    with pytest.raises(InvalidKey, match="same kid"):
        KeyRing([HMACKey(SECRETS[0], "a"), HMACKey(SECRETS[1], "a")])


def test_a_ring_has_at_most_three_keys_without_a_kid():
    keys = [HMACKey(secret) for secret in SECRETS[: MAX_NAMELESS + 1]]
    assert KeyRing(keys[:-1]).find(None) == tuple(keys[:-1])
    with pytest.raises(InvalidKey, match=r"4 keys without a kid.*at most 3"):
        KeyRing(keys)


def test_keys_with_a_kid_are_as_many_as_one_likes():
    keys = [HMACKey(SECRETS[0], f"key {number}") for number in range(20)]
    assert [KeyRing(keys).find(f"key {number}") for number in range(20)] == [(key,) for key in keys]


def test_the_first_key_signs():
    assert KeyRing([NEW, OLD]).current is NEW


def test_the_keys_come_in_the_order_in_which_they_were_put_on():
    assert list(KeyRing([NEW, OLD, NEXT])) == [NEW, OLD, NEXT]


@pytest.mark.parametrize(("kid", "found"), [("a", [0]), ("b", [1]), (None, []), ("A", []), ("", []), ("a ", [])])
def test_a_kid_is_looked_up_exactly(kid, found):
    keys = [HMACKey(SECRETS[0], "a"), HMACKey(SECRETS[1], "b")]
    assert KeyRing(keys).find(kid) == tuple(keys[index] for index in found)


def test_without_a_kid_no_key_with_a_name_is_meant():
    assert KeyRing([HMACKey(SECRETS[0], "a")]).find(None) == ()
    assert KeyRing([HMACKey(SECRETS[0], "a"), OLD]).find(None) == (OLD,)


def test_a_ring_derives_one_secret_of_each_key_and_keeps_it():
    ring = KeyRing([NEW, OLD])
    derived = ring.derived("a purpose")
    assert [key.sign(b"x") for key in derived] == [HMACKey.derived(key, "a purpose").sign(b"x") for key in (NEW, OLD)]
    assert ring.derived("a purpose") is derived
    assert ring.derived("another")[0].sign(b"x") != derived[0].sign(b"x")


@pytest.mark.parametrize("end", [b"\n", b" ", b'"', b"\0"], ids=repr)
def test_a_derived_secret_may_look_like_text_with_something_around_it(end):
    class Fixed:
        algorithm, kid = "HS256", None

        def derive(self, purpose: str) -> bytes:
            return end + b"a" * 30 + end

    assert len(HMACKey.derived(untyped(Fixed()), "x").sign(b"message")) == 32


# -- tokens ----------------------------------------------------------------------------------------


def test_every_key_of_the_ring_verifies_and_the_first_one_signs():
    codec = Codec(issuer_of(NEW, OLD, NEXT))
    minted = [Codec(issuer_of(key)).sign(b"{}") for key in (NEW, OLD, NEXT)]
    assert [codec.verify(raw_token(token)) for token in minted] == [b"{}"] * 3
    assert codec.sign(b"{}") == minted[0]


def test_a_token_of_no_key_of_the_ring_is_refused():
    with pytest.raises(BadSignature):
        Codec(issuer_of(NEW, OLD, NEXT)).verify(raw_token(Codec(issuer_of(STRANGE)).sign(b"{}")))


class Counting:
    """A key that keeps count of the signatures that it is shown: a key of one's own, as an app would write it."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self.algorithm = key.algorithm
        self.kid = key.kid
        self.tried = 0

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def verify(self, message: bytes, signature: bytes) -> bool:
        self.tried += 1
        return self._key.verify(message, signature)

    def derive(self, purpose: str) -> bytes:
        return self._key.derive(purpose)

    def public_jwk(self) -> dict[str, str] | None:
        return self._key.public_jwk()


def test_what_a_key_of_ones_own_raises_is_told_to_no_client():
    class Failing(Counting):
        def verify(self, message: bytes, signature: bytes) -> bool:
            raise ValueError("the key 0451 is locked")

    token = raw_token(Codec(issuer_of(NEW)).sign(b"{}"))
    with pytest.raises(RuntimeError, match=r"^a Failing could not verify a signature$"):
        Codec(issuer_of(Failing(NEW))).verify(token)


@pytest.mark.parametrize(
    ("signer", "tried"), [(NEW, [1, 0, 0]), (OLD, [1, 1, 0]), (NEXT, [1, 1, 1]), (STRANGE, [1, 1, 1])]
)
def test_without_a_kid_keys_are_tried_in_order_up_to_the_first_that_fits(signer, tried):
    keys = [Counting(key) for key in (NEW, OLD, NEXT)]
    codec = Codec(issuer_of(*keys))
    token = raw_token(Codec(issuer_of(signer)).sign(b"{}"))
    for _ in range(2):  # of the second the header is known
        for key in keys:
            key.tried = 0
        if signer is STRANGE:
            with pytest.raises(BadSignature):
                codec.verify(token)
        else:
            codec.verify(token)
        assert [key.tried for key in keys] == tried


def test_with_a_kid_the_key_of_that_name_alone_is_tried():
    keys = [Counting(HMACKey(secret, kid)) for secret, kid in zip(SECRETS, "abc", strict=False)]
    codec = Codec(issuer_of(*keys))
    codec.verify(raw_token(Codec(issuer_of(HMACKey(SECRETS[2], "c"))).sign(b"{}")))
    with pytest.raises(BadSignature):
        codec.verify(raw_token(Codec(issuer_of(HMACKey(SECRETS[0], "b"))).sign(b"{}")))
    with pytest.raises(UnknownKey):
        codec.verify(raw_token(Codec(issuer_of(HMACKey(SECRETS[0], "d"))).sign(b"{}")))
    assert [key.tried for key in keys] == [0, 1, 1]


def test_a_token_without_a_kid_is_refused_where_all_keys_have_one():
    named = HMACKey(SECRETS[0], "a")
    with pytest.raises(UnknownKey, match="names no key"):
        Codec(issuer_of(named)).verify(raw_token(Codec(issuer_of(HMACKey(SECRETS[0]))).sign(b"{}")))


def test_keys_of_another_algorithm_are_not_tried():
    curve, secret = Counting(ECKey(pem(ec.generate_private_key(ec.SECP256R1())))), Counting(OLD)
    codec = Codec(issuer_of(curve, secret))
    assert codec.verify(raw_token(Codec(issuer_of(OLD)).sign(b"{}"))) == b"{}"
    assert (curve.tried, secret.tried) == (0, 1)
    edwards = Ed25519Key(pem(ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(WrongTokenKind, match="its key is for ES256"):
        codec.verify(raw_token(Codec(issuer_of(edwards)).sign(b"{}")))


def test_a_codec_signs_with_the_key_that_signs_now():
    issuer = issuer_of(OLD)
    codec = Codec(issuer)
    before = codec.sign(b"{}")
    issuer.ring = KeyRing([NEW, OLD])
    assert codec.sign(b"{}") == Codec(issuer_of(NEW)).sign(b"{}") != before


def test_a_codec_refuses_a_retired_key_though_it_knows_its_header():
    issuer = issuer_of(NEW, OLD)
    codec = Codec(issuer)
    token = raw_token(Codec(issuer_of(OLD)).sign(b"{}"))
    assert codec.verify(token) == b"{}"
    issuer.ring = KeyRing([NEW])
    with pytest.raises(BadSignature):
        codec.verify(token)


def test_a_codec_refuses_a_retired_key_with_a_kid():
    old, new = HMACKey(SECRETS[0], "a"), HMACKey(SECRETS[1], "b")
    issuer = issuer_of(new, old)
    codec = Codec(issuer)
    token = raw_token(Codec(issuer_of(old)).sign(b"{}"))
    assert codec.verify(token) == b"{}"
    issuer.ring = KeyRing([new])
    with pytest.raises(UnknownKey):
        codec.verify(token)


OPTIONS = TokenOptions(
    session_id="1_a", role=Role.MODERATOR, issued_at=int(NOW), expires_at=int(NOW) + 60, data="x", layout=(), claims={}
)
TAGGED = OPTIONS._replace(claims={"group": "a"})


def private_rings() -> list[Key]:
    return [RSAKey(pem(rsa.generate_private_key(65537, 2048))) for _ in range(3)]


FORMATS = {
    "opentok": (OpenTokFormat, ID, lambda: [NEW, OLD, STRANGE], OPTIONS),
    "t1": (T1Format, ID, lambda: [NEW, OLD, STRANGE], OPTIONS),
    "t1 with a tag": (T1Format, ID, lambda: [NEW, OLD, STRANGE], TAGGED),
    "vonage": (VonageFormat, APPLICATION, private_rings, OPTIONS),
}


@pytest.mark.parametrize(("form", "owner", "keys", "options"), FORMATS.values(), ids=FORMATS)
def test_each_format_verifies_with_every_key_and_mints_with_the_first(form, owner, keys, options):
    rules = ClaimRules(RoleTable(), 10)
    new, old, retired = keys()
    ours = form([Issuer(owner, KeyRing([new, old]))], rules)
    alone = {key: form([Issuer(owner, KeyRing([key]))], rules) for key in (new, old, retired)}
    for key in (new, old):
        token, token_id = alone[key].mint(options)
        assert ours.verify(token.encode(), NOW).token_id == token_id
    assert alone[new].verify(ours.mint(options)[0].encode(), NOW).role == "moderator"
    with pytest.raises(BadSignature):
        ours.verify(alone[retired].mint(options)[0].encode(), NOW)


# -- session ids -----------------------------------------------------------------------------------


def test_the_id_of_every_key_of_the_ring_is_real():
    ids = OpenTokIds(issuer_of(NEW, OLD, NEXT))
    made = [OpenTokIds(issuer_of(key)).make(MediaMode.RELAYED, NOW) for key in (NEW, OLD, NEXT)]
    assert [ids.check(session_id) for session_id in made] == [ID] * 3


def test_the_id_of_another_key_is_made_up():
    with pytest.raises(InvalidSessionId, match="tag"):
        OpenTokIds(issuer_of(NEW, OLD)).check(OpenTokIds(issuer_of(STRANGE)).make(MediaMode.RELAYED, NOW))


def test_the_key_that_signs_makes_the_tag():
    issuer = issuer_of(OLD)
    ids = OpenTokIds(issuer)
    issuer.ring = KeyRing([NEW, OLD])
    assert OpenTokIds(issuer_of(NEW)).accepts(ids.make(MediaMode.RELAYED, NOW))


def test_an_id_that_was_checked_before_is_made_up_once_its_key_is_retired():
    issuer = issuer_of(NEW, OLD)
    ids = OpenTokIds(issuer)
    made = OpenTokIds(issuer_of(OLD)).make(MediaMode.RELAYED, NOW)
    assert (ids.check(made), ids.made_at(made)) == (ID, NOW)
    issuer.ring = KeyRing([NEW])
    assert not ids.accepts(made)
    assert (ids.owner(made), ids.made_at(made)) == (ID, NOW)  # what it says of itself, without proof


def test_an_id_that_is_made_up_is_real_once_its_key_is_on_the_ring():
    issuer = issuer_of(OLD)
    ids = OpenTokIds(issuer)
    made = OpenTokIds(issuer_of(NEXT)).make(MediaMode.RELAYED, NOW)
    assert not ids.accepts(made)
    issuer.ring = KeyRing([OLD, NEXT])
    assert ids.accepts(made)


# -- proofs of pages -------------------------------------------------------------------------------


NAME = "__Host-rolecall"


def proven(credentials: Credentials, proof: str) -> bool:
    headers = {"cookie": f"{NAME}=t", CSRF_HEADER: proof}
    try:
        return credentials.find(Request("POST", "/", untyped(""), headers, untyped(None))) == ("t", COOKIE)
    except CsrfFailed:
        return False


def credentials_of(issuer: Issuer) -> Credentials:
    return Credentials(Web(cookie=NAME), issuer)


def test_the_proof_of_every_key_of_the_ring_is_taken():
    ours = credentials_of(issuer_of(NEW, OLD, NEXT))
    proofs = [credentials_of(issuer_of(key)).csrf_token("t") for key in (NEW, OLD, NEXT, STRANGE)]
    assert [proven(ours, proof) for proof in proofs] == [True, True, True, False]


def test_the_proof_of_a_retired_key_is_not_taken_and_the_new_key_makes_the_next():
    issuer = issuer_of(OLD)
    ours = credentials_of(issuer)
    before = ours.csrf_token("t")
    issuer.ring = KeyRing([NEW, OLD])
    assert proven(ours, before)
    assert ours.csrf_token("t") == credentials_of(issuer_of(NEW)).csrf_token("t")
    issuer.ring = KeyRing([NEW])
    assert not proven(ours, before)


# -- credentials of servers ------------------------------------------------------------------------


def server_credential(secret: str) -> str:
    claims = {"iss": ID, "ist": "project", "iat": int(NOW), "exp": int(NOW) + 180, "jti": "a"}
    return jwt.encode(claims, secret, algorithm="HS256")


def server_calls(credentials: ServerCredentials, secret: str) -> bool:
    try:
        return credentials.read({"x-opentok-auth": server_credential(secret)}, NOW).server.id == ID
    except InvalidServerCredential:
        return False


def test_a_server_calls_with_any_secret_of_the_ring_and_with_none_that_is_retired():
    issuer = issuer_of(NEW, OLD)
    credentials = ServerCredentials([issuer], None, ID, leeway=0)
    assert [server_calls(credentials, secret) for secret in SECRETS[:3]] == [True, True, False]
    issuer.ring = KeyRing([NEW])
    assert [server_calls(credentials, secret) for secret in SECRETS[:2]] == [False, True]


# -- a kit -----------------------------------------------------------------------------------------


@pytest.fixture
def kit_with(monkeypatch, make_kit):
    """Makes a kit whose project has these keys."""

    def make(*keys: Key, **options):
        with monkeypatch.context() as patched:
            patched.setattr("rolecall.kit.credentials_of", lambda *_: (issuer_of(*keys), None))
            return make_kit(**options)

    return make


@pytest.mark.parametrize("format", ["opentok", "t1"])
def test_a_kit_takes_the_sessions_and_tokens_of_its_old_secret_and_none_of_a_retired_one(kit_with, format):
    old = kit_with(OLD, format=format)
    session = old.create_session()
    token = session.generate_token("moderator")

    rotated = kit_with(NEW, OLD, format=format)
    assert rotated.verify_token(token, session.session_id).role == "moderator"
    renewed = rotated.generate_token(session.session_id, "publisher")
    own = rotated.create_session()

    retired = kit_with(NEW, format=format)
    assert retired.verify_token(own.generate_token()).session_id == own.session_id
    with pytest.raises(InvalidToken):
        retired.verify_token(token)
    with pytest.raises(InvalidSessionId):
        retired.generate_token(session.session_id)
    # Signed by the new secret, though for a session whose id has the old one's tag.
    assert retired.verify_token(renewed).role == "publisher"


@pytest.mark.parametrize("format", ["opentok", "t1"])
def test_a_kit_of_two_releases_takes_what_either_signs(kit_with, format):
    """While servers are updated one by one, one of them signs with the old secret and the other with the new one."""
    before, after = kit_with(OLD, NEW, format=format), kit_with(NEW, OLD, format=format)
    for one, other in ((before, after), (after, before)):
        session = one.create_session()
        assert other.verify_token(session.generate_token(), session.session_id).role == "publisher"
        assert one.verify_token(other.generate_token(session.session_id), session.session_id).role == "publisher"


def test_a_token_that_is_remembered_is_verified_again_once_its_ring_is_replaced(kit_with):
    kit, issuer = kit_with(OLD), issuer_of(OLD)
    token = kit.create_session().generate_token()
    for _ in range(3):  # a token is remembered from the second time on
        kit.verify_token(token)
    remembered = kit.engine.state.verified
    assert len(remembered.young) == 1
    kit.engine.state.replace_ring(issuer, KeyRing([NEW]))
    assert issuer.ring.current is NEW
    assert (kit.engine.state.verified.young, kit.engine.state.verified.old) == ({}, {})


# -- a key of one's own ----------------------------------------------------------------------------


class ManagedKey:
    """A key that stays elsewhere, for an algorithm that the kit does not have: written from the documentation alone."""

    algorithm = "ES384"

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self._elsewhere = ec.generate_private_key(ec.SECP384R1())

    def sign(self, message: bytes) -> bytes:
        return der_to_raw_signature(self._elsewhere.sign(message, ec.ECDSA(SHA384())), ec.SECP384R1())

    def verify(self, message: bytes, signature: bytes) -> bool:
        return ECAlgorithm(ECAlgorithm.SHA384).verify(message, self._elsewhere.public_key(), signature)

    def derive(self, purpose: str) -> bytes:
        return HMACKey(SECRETS[4]).derive(f"{self.kid}: {purpose}")

    def public_jwk(self) -> dict[str, str]:
        return {**ECAlgorithm.to_jwk(self._elsewhere.public_key(), as_dict=True), "alg": "ES384", "kid": self.kid}


def test_a_key_of_ones_own_is_a_key():
    assert isinstance(ManagedKey("a"), Key)


def test_another_library_reads_what_a_key_of_ones_own_signs():
    key = ManagedKey("a")
    token = Codec(issuer_of(key)).sign(b'{"a":1}')
    assert jwt.decode(token, jwt.PyJWK(key.public_jwk()), algorithms=["ES384"]) == {"a": 1}


def test_a_key_of_ones_own_signs_and_verifies_for_a_kit(kit_with):
    old, new = ManagedKey("a"), ManagedKey("b")
    before, after = kit_with(old), kit_with(new, old)
    session = before.create_session()
    assert after.verify_token(session.generate_token("moderator"), session.session_id).role == "moderator"
    with pytest.raises(InvalidToken):
        before.verify_token(after.generate_token(session.session_id))
