"""The SDKs of hosted media services for Node.js beside the kit: tokens for equal input are equal, and read by both."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rolecall import Role, RoleTable
from rolecall.errors import BadSignature, WrongTokenKind
from rolecall.formats import TokenFormat
from rolecall.formats.claims import ClaimRules
from rolecall.media import HundredMs, MediaBackend, Stream, Twilio
from rolecall.tokens import TokenOptions

pytestmark = pytest.mark.sdk

ACCOUNT, KEY = "AC0123456789abcdef0123456789abcdef", "SKfedcba9876543210fedcba9876543210"
SECRET = "throwaway-media-secret-0123456789abcdefABCDEF"
ROLES = {"subscriber": "viewer", "publisher": "host", "moderator": "admin"}
TEXT = 'Zoë "雪" \\ \U0001f3a4'
# Stream takes few characters in the id of a user.
STREAM_USER = "ada@school_1-b"

SCRIPT = """
const say = console.log;
for (const level of ["log", "info", "debug"]) console[level] = () => {};  // that of 100ms logs what it does
const { jwt } = require("twilio");
const { StreamClient } = require("@stream-io/node-sdk");
const { SDK } = require("@100mslive/server-sdk");
const { account, key, secret, asked } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const twilio = ({ identity, room, ttl }) => {
  const token = new jwt.AccessToken(account, key, secret, { identity, ttl });
  token.addGrant(new jwt.AccessToken.VideoGrant({ room }));
  return token.toJwt();
};
const stream = ({ identity, room, role, iat, exp }) => new StreamClient("throwawaykey1", secret).generateCallToken(
  { iat, call_cids: [`default:${room}`], role, user_id: identity, exp });
const server = () => new StreamClient("throwawaykey1", secret).apiClient.apiConfig.token;
const hundredms = ({ identity, room, role, iat, life }) => new SDK(account, secret).auth.getAuthToken(
  { userId: identity, roomId: room, role, issuedAt: iat, validForSeconds: life }).then(({ token }) => token);
const management = () => new SDK(account, secret).auth.getManagementToken().then(({ token }) => token);
const minted = { twilio, stream, server, hundredms, management };
const tokens = asked.map(({ sdk, ...input }) => minted[sdk](input));
Promise.all(tokens).then((all) => say(JSON.stringify(all)));
"""


@pytest.fixture
def sdk(run_node):
    """Mints a token by each SDK that is asked for."""

    def run(*asked: Any, secret: str = SECRET) -> Any:
        return run_node(SCRIPT, {"account": ACCOUNT, "key": KEY, "secret": secret, "asked": asked})

    return run


def form_of(backend: MediaBackend) -> TokenFormat:
    form = backend.token_format(ClaimRules(RoleTable(), 10))
    assert form is not None
    return form


TWILIO = form_of(Twilio(ACCOUNT, KEY, SECRET))
STREAM = form_of(Stream("throwawaykey1", SECRET, ROLES))
HUNDREDMS = form_of(HundredMs(ACCOUNT, SECRET, ROLES))
ROOM = "650000000000000000000001"


def read(form: TokenFormat, token: str) -> Any:
    """The header and the claims of a token, unverified."""
    found = form.inspect(token.encode())
    return dict(found.header), dict(found.claims)


@pytest.mark.parametrize("identity", ["alice", TEXT])
def test_twilios_tokens_are_ours(sdk, identity):
    [theirs, foreign] = [
        sdk({"sdk": "twilio", "identity": identity, "room": "demo", "ttl": 600}, secret=secret)[0]
        for secret in (SECRET, "another-" + SECRET)
    ]
    grant = TWILIO.verify(theirs.encode(), time.time())
    assert (grant.actor_id, grant.session_id, grant.role) == (identity, "demo", "publisher")
    issued_at = grant.claims["iat"]
    ours = TWILIO.mint(TokenOptions("demo", Role.PUBLISHER, issued_at, issued_at + 600, subject=identity))[0]
    assert read(TWILIO, ours) == read(TWILIO, theirs)
    assert (ours == theirs) is identity.isascii()  # other texts are written in two ways
    with pytest.raises(BadSignature):
        TWILIO.verify(foreign.encode(), time.time())


def test_streams_call_tokens_have_what_ours_have(sdk):
    now = int(time.time())
    asked = [
        {"sdk": "stream", "identity": STREAM_USER, "room": "demo", "role": name, "iat": now - 5, "exp": now + 60}
        for name in ROLES.values()
    ]
    for role, theirs in zip(ROLES, sdk(*asked), strict=True):
        ours = STREAM.mint(TokenOptions("demo", RoleTable().get(role), now, now + 60, subject=STREAM_USER))[0]
        assert read(STREAM, ours) == read(STREAM, theirs)
        assert STREAM.verify(theirs.encode(), now).role == role


def test_streams_server_token_is_no_users(sdk):
    [token] = sdk({"sdk": "server"})
    with pytest.raises(WrongTokenKind, match="own key"):
        STREAM.verify(token.encode(), time.time())


def test_the_tokens_of_100ms_have_what_ours_have_but_for_their_own_ids(sdk):
    now = int(time.time())
    asked = [
        {"sdk": "hundredms", "identity": TEXT, "room": ROOM, "role": name, "iat": now - 10, "life": 70}
        for name in ROLES.values()
    ]
    for role, theirs in zip(ROLES, sdk(*asked), strict=True):
        ours = HUNDREDMS.mint(TokenOptions(ROOM, RoleTable().get(role), now, now + 60, subject=TEXT))[0]
        (our_header, our_claims), (their_header, their_claims) = read(HUNDREDMS, ours), read(HUNDREDMS, theirs)
        assert our_header == their_header
        assert our_claims.pop("jti") != their_claims.pop("jti")
        assert our_claims == their_claims
        assert HUNDREDMS.verify(theirs.encode(), now).role == role


def test_a_management_token_of_100ms_is_no_users(sdk):
    [token] = sdk({"sdk": "management"})
    with pytest.raises(WrongTokenKind, match="not for a client"):
        HUNDREDMS.verify(token.encode(), time.time())
