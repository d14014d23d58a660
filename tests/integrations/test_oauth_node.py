"""``openid-client`` for Node.js, a strict judge of answers, asks a running server about tokens, and revokes them."""

from __future__ import annotations

import pytest

from rolecall import RevokedToken

pytestmark = pytest.mark.sdk

SCRIPT = """
const { url, key, secret, calls } = JSON.parse(require("fs").readFileSync(0, "utf8"));
(async () => {
  const oauth = await import("openid-client");
  const server = {
    issuer: url,
    introspection_endpoint: `${url}/tokens/introspect`,
    revocation_endpoint: `${url}/tokens/revoke`,
  };
  const answers = [];
  for (const { call, token, how, wrong } of calls) {
    const authentication = oauth[how](wrong ?? secret);
    const config = new oauth.Configuration(server, key, {}, authentication);
    oauth.allowInsecureRequests(config);
    try {
      answers.push((await oauth[call](config, token)) ?? null);
    } catch (error) {
      answers.push({ thrown: error.code, status: error.status ?? error.cause?.status ?? null });
    }
  }
  console.log(JSON.stringify(answers));
})();
"""


@pytest.mark.parametrize("how", ["ClientSecretBasic", "ClientSecretPost"])
def test_it_takes_every_answer_for_what_it_is(run_node, protected, how):
    kit, session = protected.kit, protected.kit.create_session()
    token = session.generate_token("publisher")
    calls = [
        {"call": "tokenIntrospection", "token": token},
        {"call": "tokenRevocation", "token": token},
        {"call": "tokenRevocation", "token": token},
        {"call": "tokenRevocation", "token": "unknown"},
        {"call": "tokenIntrospection", "token": token},
        {"call": "tokenIntrospection", "token": "unknown"},
        {"call": "tokenIntrospection", "token": token, "wrong": "f" * 40},
        {"call": "tokenRevocation", "token": token, "wrong": "f" * 40},
    ]
    asked = {"url": protected.url, "key": kit.api_key, "secret": protected.secret}
    active, *others = run_node(SCRIPT, {**asked, "calls": [{"how": how, **call} for call in calls]})
    assert (active["active"], active["sid"], active["scope"]) == (
        True,
        session.session_id,
        "connect publish signal subscribe",
    )
    challenged = {"thrown": "OAUTH_WWW_AUTHENTICATE_CHALLENGE", "status": 401}
    assert others == [None, None, None, {"active": False}, {"active": False}, challenged, challenged]
    with pytest.raises(RevokedToken):
        kit.verify_token(token)
