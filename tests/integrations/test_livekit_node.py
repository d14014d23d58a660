"""The ``livekit-server-sdk`` for Node.js beside the kit: its tokens are read here, and ours there."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rolecall import Role, Rolecall, RoleTable
from rolecall.errors import BadSignature
from rolecall.formats.claims import ClaimRules
from rolecall.media import LiveKit

pytestmark = pytest.mark.sdk

KEY, SECRET = "APIrolecallTest1", "throwaway-livekit-secret-0123456789abcdefABCDEF"
ROLES = [Role.SUBSCRIBER, Role.PUBLISHER_ONLY, Role.PUBLISHER, Role.MODERATOR]

SCRIPT = """
const { AccessToken, TokenVerifier } = require("livekit-server-sdk");
const { key, secret, mint, verify } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const made = async ([options, grant]) => {
  const token = new AccessToken(key, secret, options);
  token.addGrant(grant);
  return token.toJwt();
};
const read = (token) => new TokenVerifier(key, secret).verify(token).catch((error) => ({ refused: error.code }));
(async () => console.log(JSON.stringify({
  tokens: await Promise.all(mint.map(made)), claims: await Promise.all(verify.map(read)),
})))();
"""


@pytest.fixture
def sdk(run_node):
    """Runs the SDK: mints what is asked for, and verifies what is given."""

    def run(mint: Any = (), verify: Any = (), secret: str = SECRET) -> Any:
        return run_node(SCRIPT, {"key": KEY, "secret": secret, "mint": mint, "verify": verify})

    return run


@pytest.fixture
def livekit() -> LiveKit:
    return LiveKit("wss://media.example", KEY, SECRET)


def grants(role: Role) -> dict[str, Any]:
    """The grants of a role, as an app passes them to the SDK."""
    held = role.capabilities
    said = {"canPublish": "publish", "canSubscribe": "subscribe", "canPublishData": "signal"}
    return {"roomJoin": True, "room": "demo", **{name: capability in held for name, capability in said.items()}}


def test_its_tokens_are_read_with_their_roles(livekit, sdk):
    form = livekit.token_format(ClaimRules(RoleTable(), 10))
    asked = [({"identity": "Zoë", "ttl": 60}, {**grants(role), "roomAdmin": role == "moderator"}) for role in ROLES]
    tokens = sdk(mint=asked)["tokens"]
    read = [form.verify(token.encode(), time.time()) for token in tokens]
    assert [(grant.role, grant.session_id, grant.actor_id) for grant in read] == [
        (role, "demo", "Zoë") for role in ROLES
    ]
    [foreign] = sdk(mint=asked[:1], secret="another" + SECRET)["tokens"]
    with pytest.raises(BadSignature):
        form.verify(foreign.encode(), time.time())


def test_our_tickets_are_those_that_it_mints_and_verifies(livekit, sdk):
    with Rolecall("123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e", media=livekit) as kit:
        session = kit.create_session()
        grants_of = [kit.verify_token(session.generate_token(role, actor="Zoë", data="m")) for role in ROLES]
        tickets = [kit.ticket(grant) for grant in grants_of]
    asked = [
        ({"identity": "Zoë", "ttl": 60, "metadata": "m"}, {**grants(role), "room": session.session_id})
        for role in ROLES
    ]
    theirs = sdk(verify=sdk(mint=asked)["tokens"])["claims"]
    ours = sdk(verify=[ticket.token for ticket in tickets])["claims"]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["exp"] - mine["nbf"] == other["exp"] - other["nbf"] == 60
        assert {**mine, "exp": 0, "nbf": 0} == {**other, "exp": 0, "nbf": 0}
    changed = tickets[0].token[:-6] + "AAAAAA"
    assert sdk(verify=[changed])["claims"] == [{"refused": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}]
