"""The ``opentok`` package for Node.js beside the kit: its tokens verify here, and ours are read there."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.sdk

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
ROLES = ["subscriber", "publisher", "publisheronly", "moderator"]

SCRIPT = """
const OpenTok = require("opentok");
const jsonwebtoken = require("jsonwebtoken");
const { key, secret, mint, decode } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const sdk = new OpenTok(key, secret);
console.log(JSON.stringify({
  tokens: mint.map(([session, options, t1]) => sdk.generateToken(session, options, t1)),
  claims: decode.map((token) => jsonwebtoken.verify(token, secret, { algorithms: ["HS256"], issuer: key })),
}));
"""


@pytest.fixture
def sdk(run_node):
    """Runs the SDK: mints what is asked for, and decodes what is given."""

    def run(mint=(), decode=()):
        asked = {"key": KEY, "secret": SECRET, "mint": mint, "decode": decode}
        return run_node(SCRIPT, asked)

    return run


@pytest.fixture
def kit(make_kit):
    return make_kit(clock=time.time, accept=["opentok", "t1"])


@pytest.fixture(params=[False, True], ids=["JWT", "T1"])
def t1(request):
    return request.param


@pytest.mark.parametrize("media_mode", ["relayed", "routed"])
def test_its_tokens_verify_with_their_roles(kit, sdk, t1, media_mode):
    session_id = kit.create_session(media_mode=media_mode).session_id
    tokens = sdk(mint=[(session_id, {"role": role}, t1) for role in ROLES])["tokens"]
    assert [kit.verify_token(token, session_id).role for token in tokens] == ROLES
    assert all(token.startswith("T1==") == t1 for token in tokens)


def test_its_tokens_verify_with_their_expiry_data_and_layout(kit, sdk, t1):
    session_id = kit.create_session("203.0.113.7").session_id
    expire_time = int(time.time()) + 60
    datas = ["name=Ann", "Zoë & Jürgen", "=&+% ~", '{"a": "b"}', "\N{PILE OF POO}\r\n"]
    asked = [{"expireTime": expire_time, "data": data, "initialLayoutClassList": ["focus", "small"]} for data in datas]
    grants = [kit.verify_token(token) for token in sdk(mint=[(session_id, one, t1) for one in asked])["tokens"]]
    assert [grant.data for grant in grants] == datas
    assert {(grant.expires_at, grant.layout) for grant in grants} == {(expire_time, ("focus", "small"))}


def test_its_token_has_its_defaults(kit, sdk, t1):
    session_id = kit.create_session().session_id
    (token,) = sdk(mint=[(session_id, {}, t1)])["tokens"]
    grant = kit.verify_token(token)
    assert (grant.role, grant.data, grant.layout) == ("publisher", None, ())
    assert grant.expires_at - grant.issued_at == pytest.approx(86_400, abs=2)


def test_our_tokens_are_read_there(kit, sdk):
    session = kit.create_session(media_mode="routed")
    expire_time = int(time.time()) + 3600
    tokens = [session.generate_token(role, expire_time, 'Zoë "Z"', ["focus", "small"]) for role in ROLES]
    claims = sdk(decode=tokens)["claims"]
    assert [read["role"] for read in claims] == ROLES
    for read in claims:
        assert (read["session_id"], read["exp"]) == (session.session_id, expire_time)
        assert (read["connection_data"], read["initial_layout_class_list"]) == ('Zoë "Z"', "focus small")
        assert (read["iss"], read["ist"], read["scope"]) == (KEY, "project", "session.connect")
        assert 0 <= read["nonce"] < 2**53, "a number that JavaScript reads exactly"


def test_it_finds_our_api_key_in_our_session_ids(make_kit, sdk):
    foreign = make_kit(api_key="654321", clock=time.time).create_session().session_id
    with pytest.raises(AssertionError, match="unless the session belongs to the API Key"):
        sdk(mint=[(foreign, {}, False)])
