"""Vonage's own SDKs beside the kit: their client tokens verify here, and ours are read there."""

from __future__ import annotations

import json
import time
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from vonage_http_client import Auth, HttpClient
from vonage_video import TokenOptions, Video

from rolecall import InvalidToken, Rolecall

pytestmark = pytest.mark.sdk

APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
API_KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
ROLES = ["subscriber", "publisher", "publisheronly", "moderator"]
DATA = ["name=Ann", "Zoë & Jürgen", '{"a": "b+c%20d"}', "=&+%", "\N{PILE OF POO}\r\n\t", " ", "x" * 1000]
LIFETIMES = [60, 3 * 3600, 86_400, 30 * 86_400 - 60]
UNSIGNED = jwt.utils.base64url_encode(b'{"alg":"none","typ":"JWT"}').decode()

SCRIPT = """
const { Auth } = require("@vonage/auth");
const { Video } = require("@vonage/video");
const { verifySignature } = require("@vonage/jwt");
const jsonwebtoken = require("jsonwebtoken");
const { application, privateKey, publicKey, mint, decode } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const auth = new Auth({ applicationId: application, privateKey });
const sdk = new Video(auth);
(async () => console.log(JSON.stringify({
  tokens: mint.map(([session, options]) => sdk.generateClientToken(session, options ?? undefined)),
  credential: (await auth.createBearerHeader()).replace("Bearer ", ""),
  claims: decode.map((token) => jsonwebtoken.verify(token, publicKey, { algorithms: ["RS256"] })),
  found: decode.map((token) => verifySignature(token, publicKey)),
})))();
"""


@cache
def private(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(name: str) -> str:
    return private(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(name: str) -> str:
    return private(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture(scope="module", params=["an application alone", "beside a project"])
def kit(request):
    project: dict[str, Any] = {"api_key": API_KEY, "api_secret": SECRET} if request.param == "beside a project" else {}
    with Rolecall(**project, application_id=APPLICATION, private_key=pem("ours"), format="vonage") as made:
        yield made


@pytest.fixture(params=["relayed", "routed", "with a location"])
def session(request, kit):
    if request.param == "with a location":
        return kit.create_session("2001:db8::7", "routed")
    return kit.create_session(media_mode=request.param)


def refusal(kit, token) -> str:
    with pytest.raises(InvalidToken) as refused:
        kit.verify_token(token)
    return refused.value.code


def spoilt(token: str) -> list[str]:
    """The token with its role raised, its life prolonged, its session changed, its algorithm off, or a character."""
    header, payload, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    changed = [{**claims, "role": "king"}, {**claims, "exp": claims["exp"] + 1}, {**claims, "session_id": "1_x"}]
    segments = [jwt.utils.base64url_encode(json.dumps(one).encode()).decode() for one in changed]
    return [
        *(f"{header}.{segment}.{signature}" for segment in segments),
        f"{UNSIGNED}.{payload}.",
        f"{header}.{payload}.{signature[:100]}{'A' if signature[100] != 'A' else 'B'}{signature[101:]}",
        f"{header}.{payload}.{signature}=",
        jwt.encode(claims, "a secret of the attacker, long enough", algorithm="HS256"),
        jwt.encode(claims, pem("the attacker's"), algorithm="RS256"),
    ]


# -- vonage-video, for Python ----------------------------------------------------------------------


@pytest.fixture
def sdk():
    return Video(HttpClient(Auth(application_id=APPLICATION, private_key=pem("ours"))))


def minted(sdk, session_id: str, **options) -> str:
    return sdk.generate_client_token(TokenOptions(session_id=session_id, **options)).decode()


@pytest.mark.parametrize("role", ROLES)
def test_its_token_verifies_with_its_role(kit, session, sdk, role):
    grant = kit.verify_token(minted(sdk, session.session_id, role=role), session.session_id)
    assert (grant.role, grant.capabilities) == (role, kit.roles.get(role).capabilities)


def test_its_token_has_its_defaults(kit, session, sdk):
    grant = kit.verify_token(minted(sdk, session.session_id))
    assert (grant.role, grant.data, grant.layout) == ("publisher", None, ())
    assert grant.issued_at == pytest.approx(time.time(), abs=5)
    assert grant.expires_at - grant.issued_at == 15 * 60


@pytest.mark.parametrize("lifetime", LIFETIMES)
def test_its_token_verifies_with_its_expiry(kit, session, sdk, lifetime):
    exp = int(time.time()) + lifetime
    assert kit.verify_token(minted(sdk, session.session_id, exp=exp)).expires_at == exp


@pytest.mark.parametrize("data", DATA, ids=ascii)
def test_its_token_verifies_with_its_data(kit, session, sdk, data):
    assert kit.verify_token(minted(sdk, session.session_id, connection_data=data)).data == data


@pytest.mark.parametrize("layout", [[], ["focus"], ["focus", "small"]], ids=str)
def test_its_token_verifies_with_its_layout(kit, session, sdk, layout):
    assert kit.verify_token(minted(sdk, session.session_id, initial_layout_class_list=layout)).layout == tuple(layout)


def test_its_token_is_known_by_its_id(kit, session, sdk):
    assert kit.verify_token(minted(sdk, session.session_id, jti="an id")).token_id == "an id"


def test_its_token_is_refused_for_another_session_and_once_the_session_has_ended(kit, session, sdk):
    token = minted(sdk, session.session_id)
    with pytest.raises(InvalidToken) as refused:
        kit.verify_token(token, kit.create_session().session_id)
    assert refused.value.code == "wrong_session"
    session.end()
    assert refusal(kit, token) == "revoked_token"


def test_its_token_of_another_application_or_key_is_refused(kit, session):
    another = Auth(application_id=APPLICATION.replace("7", "8"), private_key=pem("ours"))
    assert refusal(kit, minted(Video(HttpClient(another)), session.session_id)) == "unknown_key"
    thief = Auth(application_id=APPLICATION, private_key=pem("the attacker's"))
    assert refusal(kit, minted(Video(HttpClient(thief)), session.session_id)) == "bad_signature"


def test_its_token_is_refused_if_anything_in_it_was_changed(kit, session, sdk):
    codes = [refusal(kit, token) for token in spoilt(minted(sdk, session.session_id, role="subscriber"))]
    assert len(codes) == 8


def test_its_credential_for_the_api_is_no_token(kit):
    auth = Auth(application_id=APPLICATION, private_key=pem("ours"))
    of_an_app: dict[str, Any] = {"acl": {"paths": {"/*/rtc/**": {}}}}
    for options in (None, {"sub": "video"}, of_an_app):
        credential = auth.generate_application_jwt(options).decode()
        assert refusal(kit, credential) == "wrong_token_kind"


def decoded(token: str) -> dict:
    return jwt.decode(token, public_pem("ours"), algorithms=["RS256"], options={"require": ["exp", "iat", "jti"]})


@pytest.mark.parametrize("role", ROLES)
def test_our_token_is_read_by_pyjwt(session, role):
    expire_time = int(time.time()) + 60
    claims = decoded(session.generate_token(role, expire_time, "Zoë", ["focus", "small"]))
    assert (claims["application_id"], claims["sub"], claims["scope"]) == (APPLICATION, "video", "session.connect")
    assert (claims["session_id"], claims["role"], claims["exp"]) == (session.session_id, role, expire_time)
    assert (claims["connection_data"], claims["initial_layout_class_list"]) == ("Zoë", "focus small")
    assert claims["acl"] == {"paths": {"/session/**": {}}}


def test_our_token_is_refused_by_pyjwt_with_another_public_key(session):
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(session.generate_token(), public_pem("the attacker's"), algorithms=["RS256"])


@pytest.mark.parametrize("data", [None, "Ann"])
def test_our_token_says_what_its_token_says(session, sdk, data):
    """The same claims and the same header, but for ``sub``, which it writes as ``subject``."""
    exp = int(time.time()) + 60
    ours = session.generate_token("moderator", exp, data)
    theirs = minted(sdk, session.session_id, role="moderator", exp=exp, connection_data=data)
    ours_read, theirs_read = decoded(ours), decoded(theirs)
    theirs_read["sub"] = theirs_read.pop("subject")
    assert {name: type(value) for name, value in ours_read.items()} == {
        name: type(value) for name, value in theirs_read.items()
    }
    varying = ("iat", "jti")
    assert {n: v for n, v in ours_read.items() if n not in varying} == {
        n: v for n, v in theirs_read.items() if n not in varying
    }
    assert jwt.get_unverified_header(ours) == jwt.get_unverified_header(theirs)


# -- @vonage/video, for Node.js --------------------------------------------------------------------


@pytest.fixture
def node_sdk(run_node):
    """Runs the SDK: mints what is asked for, and reads what is given."""

    def run(mint=(), decode=(), key="ours"):
        asked = {
            "application": APPLICATION,
            "privateKey": pem(key),
            "publicKey": public_pem(key),
            "mint": list(mint),
            "decode": list(decode),
        }
        return run_node(SCRIPT, asked)

    return run


@pytest.fixture
def room(kit):
    """A session; which kind it is makes no difference to the SDK, as the tests above show."""
    return kit.create_session()


def test_its_tokens_in_node_verify_with_their_roles(kit, room, node_sdk):
    tokens = node_sdk(mint=[(room.session_id, {"role": role}) for role in ROLES])["tokens"]
    assert [kit.verify_token(token, room.session_id).role for token in tokens] == ROLES


def test_its_token_in_node_has_its_defaults(kit, room, node_sdk):
    grant = kit.verify_token(node_sdk(mint=[(room.session_id, None)])["tokens"][0])
    assert (grant.role, grant.data, grant.layout) == ("publisher", None, ())
    # It rounds one of the two times, and cuts the other off.
    assert grant.expires_at - grant.issued_at in (86_400, 86_401)


def test_its_tokens_in_node_verify_with_their_expiry(kit, room, node_sdk):
    now = int(time.time())
    tokens = node_sdk(mint=[(room.session_id, {"expireTime": now + one}) for one in LIFETIMES])["tokens"]
    assert [kit.verify_token(token).expires_at - now for token in tokens] == LIFETIMES


def test_its_tokens_in_node_verify_with_their_data_and_layout(kit, room, node_sdk):
    asked = [{"data": data, "initialLayoutClassList": ["focus", "small"]} for data in DATA]
    grants = [kit.verify_token(token) for token in node_sdk(mint=[(room.session_id, one) for one in asked])["tokens"]]
    assert [grant.data for grant in grants] == DATA
    assert {grant.layout for grant in grants} == {("focus", "small")}


def test_its_token_in_node_is_refused_if_anything_in_it_was_changed(kit, room, node_sdk):
    (token,) = node_sdk(mint=[(room.session_id, {"role": "subscriber"})])["tokens"]
    assert kit.verify_token(token)
    assert len([refusal(kit, one) for one in spoilt(token)]) == 8


def test_its_credential_in_node_and_a_token_of_another_key_are_refused(kit, room, node_sdk):
    assert refusal(kit, node_sdk()["credential"]) == "wrong_token_kind"
    thief = node_sdk(mint=[(room.session_id, None)], key="the attacker's")
    assert refusal(kit, thief["tokens"][0]) == "bad_signature"


def test_our_tokens_are_read_in_node(kit, room, node_sdk):
    expire_time = int(time.time()) + 3600
    tokens = [room.generate_token(role, expire_time, 'Zoë "Z"', ["focus", "small"]) for role in ROLES]
    read = node_sdk(decode=tokens)
    assert [claims["role"] for claims in read["claims"]] == ROLES
    assert read["found"] == [True] * 4
    for token, claims in zip(tokens, read["claims"], strict=True):
        assert (claims["session_id"], claims["exp"]) == (room.session_id, expire_time)
        assert (claims["connection_data"], claims["initial_layout_class_list"]) == ('Zoë "Z"', "focus small")
        assert (claims["application_id"], claims["sub"], claims["scope"]) == (APPLICATION, "video", "session.connect")
        assert (claims["acl"], claims["jti"]) == ({"paths": {"/session/**": {}}}, kit.verify_token(token).token_id)
