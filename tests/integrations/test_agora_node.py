"""The npm package ``agora-token`` beside the kit: its tokens are read here, and ours there."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rolecall import Rolecall, RoleTable
from rolecall.errors import BadSignature, WrongTokenKind
from rolecall.formats.claims import ClaimRules
from rolecall.media import Agora

from ..sdk_tokens import API_KEY, API_SECRET

pytestmark = pytest.mark.sdk

APP_ID, CERTIFICATE, OTHER = (
    "0123456789abcdef0123456789abcdef",
    "fedcba9876543210fedcba9876543210",
    "0f1e2d3c4b5a6978" * 2,
)
SCRIPT = """
const { RtcTokenBuilder, RtmTokenBuilder } = require("agora-token");
const { AccessToken2 } = require("agora-token/src/AccessToken2");
const { app, certificate, mint, verify } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const made = ([account, role, life]) =>
  RtcTokenBuilder.buildTokenWithUserAccount(app, certificate, "demo", account, role, life, life);
const read = (token) => {
  const parsed = new AccessToken2("", "", 0, 0);
  if (!parsed.from_string(token)) return { refused: "form" };
  if (!parsed.verifySignature(certificate)) return { refused: "signature" };
  const [service] = parsed.services;
  const { __channel_name, __uid, __privileges } = service;
  return {
    app: parsed.appId.toString(), life: parsed.expire, services: parsed.services.length, privileges: __privileges,
    channel: __channel_name.toString(), account: __uid.toString(),
  };
};
console.log(JSON.stringify({
  tokens: mint.map(made), claims: verify.map(read), signalling: RtmTokenBuilder.buildToken(app, certificate, "ada", 60),
}));
"""


@pytest.fixture
def sdk(run_node):
    """Runs the SDK: mints what is asked for, and verifies what is given."""

    def run(mint: Any = (), verify: Any = (), certificate: str = CERTIFICATE) -> Any:
        return run_node(SCRIPT, {"app": APP_ID, "certificate": certificate, "mint": mint, "verify": verify})

    return run


def test_its_tokens_are_read_with_their_privileges(sdk):
    form: Any = Agora(APP_ID, CERTIFICATE).token_format(ClaimRules(RoleTable(), 10))
    answer = sdk(mint=[("ada", 1, 60), ("ada", 2, 60), (42, 2, 60)])
    read = [form.verify(token.encode(), time.time()) for token in answer["tokens"]]
    assert [(grant.role, grant.session_id, grant.actor_id) for grant in read] == [
        ("publisher", "demo", "ada"),
        ("subscriber", "demo", "ada"),
        ("subscriber", "demo", "42"),
    ]
    [foreign] = sdk(mint=[("ada", 1, 60)], certificate=OTHER)["tokens"]
    with pytest.raises(BadSignature):
        form.verify(foreign.encode(), time.time())
    with pytest.raises(WrongTokenKind, match="another service"):
        form.verify(answer["signalling"].encode(), time.time())


def test_our_tickets_are_verified_there(sdk):
    project = Agora(APP_ID, CERTIFICATE, cohost_authentication=True)
    with Rolecall(API_KEY, API_SECRET, media=project) as kit:
        session = kit.create_session()
        roles: Any = ["subscriber", "publisher", "moderator"]
        tickets = [kit.ticket(kit.verify_token(session.generate_token(role, actor="bob@x.org"))) for role in roles]
    read = sdk(verify=[ticket.token for ticket in tickets])["claims"]
    room = tickets[0].room
    everything = {"1": 60, "2": 60, "3": 60, "4": 60}
    assert read == [
        {"app": APP_ID, "life": 60, "services": 1, "privileges": held, "channel": room, "account": "bob@x.org"}
        for held in ({"1": 60}, everything, everything)
    ]
    assert sdk(verify=[tickets[0].token], certificate=OTHER)["claims"] == [{"refused": "signature"}]
