"""LiveKit's access tokens: what is minted, what is read, and tokens that must be refused though the key signed them."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from livekit.api import AccessToken, TokenVerifier, VideoGrants

from rolecall import Capability, Role, RoleTable
from rolecall.errors import (
    BadSignature,
    ExpiredToken,
    InvalidClaim,
    InvalidToken,
    MalformedToken,
    NoIdentity,
    TokenNotYetValid,
    UnknownKey,
    WrongTokenKind,
)
from rolecall.formats.claims import ClaimRules
from rolecall.media import LiveKit
from rolecall.tokens import TokenOptions

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "media_tokens.json").read_text("utf-8"))
TOKENS = {f"{one['sdk']}: {one['inputs']['label']}": one for one in VECTORS if one["service"] == "livekit"}
pytestmark = pytest.mark.each_choice

KEY, SECRET = "APIrolecallTest1", "throwaway-livekit-secret-0123456789abcdefABCDEF"
NOW = 1_700_000_000
HEADER = {"alg": "HS256", "typ": "JWT"}
VIDEO = {"roomJoin": True, "room": "demo", "canPublish": True, "canSubscribe": True, "canPublishData": True}
CLAIMS = {"video": VIDEO, "sub": "alice", "iss": KEY, "nbf": NOW, "exp": NOW + 60}
ABSENT = object()
ROLES = [Role.SUBSCRIBER, Role.PUBLISHER_ONLY, Role.PUBLISHER, Role.MODERATOR]

#: What each token of an SDK grants; of the others, why they are no client's.
GRANTED = {
    "attributes": ("publisher", "connect publish signal subscribe"),
    "sources": ("publisher", "connect publish signal subscribe"),
    "moderator": ("moderator", " ".join(sorted(Capability))),
    "default ttl of 6 hours": ("publisher", "connect publish signal subscribe"),
    "subscriber": ("subscriber", "connect subscribe"),
    "subscriber with data": ("subscriber", "connect signal subscribe"),
    "publisher only": ("publisheronly", "connect publish signal"),
    "publisher": ("publisher", "connect publish signal subscribe"),
    "unicode identity and name": ("publisher", "connect publish signal subscribe"),
}
REFUSED = {
    "hidden recorder agent": "grant agent reaches beyond one room",
    "webhook authorization": "no object 'video'",
    "server call: create room": "lacks the grant roomJoin",
    "server call: room admin": "lacks the grant roomJoin",
    "server call: list rooms": "lacks the grant roomJoin",
}


def livekit_format(secret: str = SECRET, **options: Any) -> Any:
    return LiveKit("wss://media.example", KEY, secret, **options).token_format(ClaimRules(RoleTable(), 10))


FORM = livekit_format()


def options(role: Role = Role.PUBLISHER, **changes: Any) -> TokenOptions:
    return TokenOptions("demo", role, NOW, NOW + 3600, subject="alice")._replace(**changes)


def signed(claims: dict[str, Any], header: object = None, secret: str = SECRET, digest: str = "sha256") -> bytes:
    parts = [json.dumps(part).encode() for part in (header or HEADER, claims)]
    head = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return head + b"." + urlsafe_b64encode(hmac.digest(secret.encode(), head, digest)).rstrip(b"=")


def claims(grants: dict[str, Any] | None = None, /, **changes: Any) -> dict[str, Any]:
    """The claims of a good token, with these changes, and with these of its grants."""
    video = {name: one for name, one in {**VIDEO, **(grants or {})}.items() if one is not ABSENT}
    return {name: one for name, one in {**CLAIMS, "video": video, **changes}.items() if one is not ABSENT}


# -- tokens of the SDKs ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_of_the_sdks_are_read_or_refused(name):
    vector = TOKENS[name]
    label = vector["inputs"]["label"]
    if label in REFUSED:
        with pytest.raises(WrongTokenKind, match=REFUSED[label]):
            FORM.verify(vector["token"].encode(), NOW + 1)
        return
    grant = FORM.verify(vector["token"].encode(), NOW + 1)
    assert (grant.role, " ".join(sorted(grant.capabilities))) == GRANTED[label]
    read = vector["claims"]
    assert (grant.session_id, grant.actor_id, grant.expires_at) == (read["video"]["room"], read["sub"], read["exp"])
    assert json.loads(json.dumps(grant.claims["video"], default=dict)) == read["video"]


@pytest.mark.parametrize("name", TOKENS)
def test_changed_tokens_and_those_of_another_secret_are_refused(name):
    token = TOKENS[name]["token"].encode()
    head, _, signature = token.rpartition(b".")
    changed = head[:-2] + (b"AA" if head[-2:] != b"AA" else b"BB") + b"." + signature
    for one, form in ((changed, FORM), (token[:-4] + b"AAAA", FORM), (token, livekit_format("another" + SECRET))):
        with pytest.raises(BadSignature):
            form.verify(one, NOW + 1)
    with pytest.raises((ExpiredToken, WrongTokenKind)):
        FORM.verify(token, NOW + 86_400)


def test_each_token_of_the_sdks_is_in_one_of_the_tables():
    assert {one["inputs"]["label"] for one in TOKENS.values()} == GRANTED.keys() | REFUSED.keys()


# -- what is minted --------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["publisher", "subscriber"])
def test_a_minted_token_is_the_sdks_byte_by_byte(label):
    [vector] = [one for one in TOKENS.values() if one["inputs"]["label"] == label]
    assert FORM.mint(options(RoleTable().get(label), name="Alice"))[0] == vector["token"]


TEXTS = ["alice", 'Zoë "雪" \\ \U0001f3a4', "a" * 255]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
@pytest.mark.parametrize("role", ROLES)
def test_a_minted_token_has_what_the_sdk_writes_for_the_same(role, text):
    held = role.capabilities
    grants = VideoGrants(
        room_join=True,
        room=text,
        can_publish=Capability.PUBLISH in held,
        can_subscribe=Capability.SUBSCRIBE in held,
        can_publish_data=Capability.SIGNAL in held,
    )
    sdk = AccessToken(KEY, SECRET).with_identity(text).with_name(text).with_metadata(text).with_grants(grants)
    token, token_id = FORM.mint(options(role, session_id=text, subject=text, name=text, data=text))
    theirs = FORM.inspect(sdk.to_jwt().encode())
    ours = FORM.inspect(token.encode())
    times = ("nbf", "exp")
    assert ours.header == theirs.header
    assert [*ours.claims] == [*theirs.claims]
    assert {**ours.claims, **dict.fromkeys(times)} == {**theirs.claims, **dict.fromkeys(times)}
    assert FORM.verify(token.encode(), NOW).token_id == token_id


@pytest.mark.parametrize("held", [frozenset(some) for size in range(7) for some in combinations(Capability, size)])
def test_a_token_holds_any_capabilities_with_which_one_can_join_but_never_acts(held):
    assert FORM.carries(Role.PUBLISHER, held) == (Capability.CONNECT in held)
    token = FORM.mint(options(narrowed=held))[0]
    video = FORM.inspect(token.encode()).claims["video"]
    said = {"canPublish": "publish", "canSubscribe": "subscribe", "canPublishData": "signal"}
    assert {name: video[name] for name in said} == {name: held >= {one} for name, one in said.items()}
    assert video.keys() == {"roomJoin", "room", *said}


@pytest.mark.parametrize("subject", [None, ""])
def test_a_token_without_an_identity_is_not_minted(subject):
    with pytest.raises(NoIdentity, match="the id of the actor"):
        FORM.mint(options(subject=subject))


def test_the_official_verifier_takes_a_minted_token():
    now = int(time.time())
    for role in ROLES:
        token = FORM.mint(options(role, issued_at=now, expires_at=now + 60))[0]
        read = TokenVerifier(KEY, SECRET).verify(token)
        assert (read.identity, read.video and read.video.room) == ("alice", "demo")
        assert read.video
        assert not read.video.room_admin


# -- what is refused -------------------------------------------------------------------------------

_SERVERS = "reaches beyond one room"
WRONG: dict[str, tuple[bytes, type[InvalidToken], str]] = {
    "other secret": (signed(CLAIMS, secret="x" * 40), BadSignature, "signature"),
    "none": (signed(CLAIMS, {"alg": "none"}), WrongTokenKind, "algorithm"),
    "HS384": (signed(CLAIMS, {"alg": "HS384", "typ": "JWT"}, digest="sha384"), WrongTokenKind, "HS384"),
    "HS512 without type": (signed(CLAIMS, {"alg": "HS512"}, digest="sha512"), WrongTokenKind, "HS512"),
    "another type": (signed(CLAIMS, {"alg": "HS256", "typ": "rolecall+jwt"}), WrongTokenKind, "typ"),
    "crit": (signed(CLAIMS, {**HEADER, "crit": ["exp"]}), MalformedToken, "crit"),
    "unknown kid": (signed(CLAIMS, {**HEADER, "kid": "another"}), UnknownKey, "key"),
    "no exp": (signed(claims(exp=ABSENT)), InvalidClaim, "exp"),
    "exp as text": (signed(claims(exp=str(NOW + 60))), InvalidClaim, "exp"),
    "expired": (signed(claims(exp=NOW - 11)), ExpiredToken, "expired"),
    "too long a life": (signed(claims(exp=NOW + 31 * 86_400)), InvalidClaim, "30 days"),
    "not yet": (signed(claims(nbf=NOW + 11)), TokenNotYetValid, "future"),
    "issued in the future": (signed(claims(iat=NOW + 11)), TokenNotYetValid, "future"),
    "nbf as text": (signed(claims(nbf="0")), InvalidClaim, "iat"),
    "other issuer": (signed(claims(iss="APIanother")), UnknownKey, "API key"),
    "no issuer": (signed(claims(iss=ABSENT)), UnknownKey, "API key"),
    "an audience": (signed(claims(aud="livekit")), InvalidClaim, "aud"),
    "no identity": (signed(claims(sub=ABSENT)), InvalidClaim, "sub"),
    "identity is null": (signed(claims(sub=None)), InvalidClaim, "sub"),
    "jti for an identity": (signed(claims(sub=ABSENT, jti="alice")), InvalidClaim, "sub"),
    "empty identity": (signed(claims(sub="")), InvalidClaim, "sub"),
    "no video": (signed(claims(video=ABSENT)), WrongTokenKind, "video"),
    "video as a list": (signed(claims(video=[VIDEO])), WrongTokenKind, "video"),
    "no join": (signed(claims({"roomJoin": ABSENT})), WrongTokenKind, "roomJoin"),
    "join is false": (signed(claims({"roomJoin": False})), WrongTokenKind, "roomJoin"),
    "join is one": (signed(claims({"roomJoin": 1})), InvalidClaim, "roomJoin"),
    "no room": (signed(claims({"room": ABSENT})), InvalidClaim, "room"),
    "empty room": (signed(claims({"room": ""})), InvalidClaim, "room"),
    "room is a number": (signed(claims({"room": 7})), InvalidClaim, "room"),
    "publish as text": (signed(claims({"canPublish": "false"})), InvalidClaim, "canPublish"),
    "admin is null": (signed(claims({"roomAdmin": None})), InvalidClaim, "roomAdmin"),
    "sources as text": (signed(claims({"canPublishSources": "camera"})), InvalidClaim, "canPublishSources"),
    "sources are numbers": (signed(claims({"canPublishSources": [1]})), InvalidClaim, "canPublishSources"),
    "no grant at all": (
        signed(claims({"canPublish": False, "canSubscribe": False, "canPublishData": False})),
        InvalidClaim,
        "at least one role",
    ),
    "creates rooms": (signed(claims({"roomCreate": True})), WrongTokenKind, _SERVERS),
    "lists rooms": (signed(claims({"roomList": True})), WrongTokenKind, _SERVERS),
    "records": (signed(claims({"roomRecord": True})), WrongTokenKind, _SERVERS),
    "ingress": (signed(claims({"ingressAdmin": True})), WrongTokenKind, _SERVERS),
    "telephony": (signed(claims(sip={"admin": True})), WrongTokenKind, _SERVERS),
    "no token": (b"x", MalformedToken, "malformed"),
    "four parts": (signed(CLAIMS) + b".x", MalformedToken, "compact JWS|payload"),
    "padded": (signed(CLAIMS) + b"=", MalformedToken, "signature"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_token_is_refused_with_the_reason(name):
    token, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        FORM.verify(token, NOW)


LATITUDE = {
    "good": claims(),
    "no nbf": claims(nbf=ABSENT),
    "both times": claims(iat=NOW),
    "usual grants left out": claims({"canPublish": ABSENT, "canSubscribe": ABSENT, "canPublishData": ABSENT}),
    "expired within the leeway": claims(exp=NOW - 9),
    "sources": claims({"canPublishSources": ["camera"]}),
    "hidden": claims({"hidden": True}),
    "unknown members": claims({"canFly": "yes"}, attributes={"a": "1"}),
    "server grants that are false": claims({"roomCreate": False}, sip={}),
}


@pytest.mark.parametrize("name", LATITUDE)
def test_a_token_that_the_service_takes_is_good(name):
    grant = FORM.verify(signed(LATITUDE[name]), NOW)
    assert (grant.role, grant.session_id, grant.actor_id) == ("publisher", "demo", "alice")


def test_a_secret_that_only_verifies_is_taken():
    old = "old-" + SECRET
    form = livekit_format(verify_secrets=[old])
    assert form.verify(signed(CLAIMS, secret=old), NOW).role == "publisher"
    assert FORM.verify(form.mint(options())[0].encode(), NOW).role == "publisher"


def test_formats_are_told_apart_by_their_shape(kit):
    own = kit.create_session().generate_token().encode()
    assert (FORM.recognizes(signed(CLAIMS)), FORM.recognizes(own), FORM.recognizes(b"x")) == (True, False, False)
    assert (FORM.issuer_of(signed(CLAIMS)), FORM.issuer_of(b"x"), FORM.issuer_of(signed({"iss": 1}))) == (
        KEY,
        None,
        None,
    )
